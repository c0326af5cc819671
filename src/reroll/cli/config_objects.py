"""ConfigMaps and Secrets as command lines name them."""

from __future__ import annotations

from typing import Final

from reroll.cli.failure import Failure
from reroll.core.pointing import Named
from reroll.core.records import ConfigKind

_WORDS: Final[dict[str, ConfigKind]] = {
    "configmap": "configmap",
    "configmaps": "configmap",
    "cm": "configmap",
    "secret": "secret",
    "secrets": "secret",
}


def config_of(word: str) -> Named:
    """(kind, name) of one that is named as KIND/NAME. Raises Failure."""
    kind_word, slash, name = word.partition("/")
    kind = _WORDS.get(kind_word.lower())
    if kind is None or not slash or not name or "/" in name:
        raise Failure(
            f"{word!r} is no config object: write configmap/NAME or secret/NAME, such as configmap/app", 2
        )
    return kind, name
