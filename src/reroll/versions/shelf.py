"""All versions of one ConfigMap or Secret, and which of them a word on a command line means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final, Protocol

import msgspec
from msgspec import Struct

from reroll.core.records import ConfigId
from reroll.core.suffix_hash import LENGTH
from reroll.kube.errors import NotFound
from reroll.kube.pages import read_list
from reroll.kube.ports import Getter, Lister
from reroll.versions.collect import RESOURCES
from reroll.versions.copies import SOURCE, Copy, read_copy, same_content, source_label
from reroll.versions.refusal import Refused

SOURCE_WORD: Final = "source"
"""What the object that people edit is called beside its versions; none of these can have that name."""

_SHOWN: Final = 10
"""Versions that an error lists."""


class Reader(Getter, Lister, Protocol):
    """What is asked of the API server."""


class Shelf(Struct, frozen=True):
    """The versions of one source, as they were read."""

    config: ConfigId
    copies: tuple[Copy, ...]
    """The first one first."""
    same: frozenset[str]
    """Names of the copies with the content that the source has now."""
    source: Mapping[str, Any] | None = None
    """The source, as the API has it; None: it does not exist."""

    def __repr__(self) -> str:
        return f"Shelf({self.config}, {len(self.copies)} copies)"  # the source can be a Secret

    @property
    def newest(self) -> Copy | None:
        return self.copies[-1] if self.copies else None

    def choose(self, word: str) -> Copy | None:
        """The version that is meant: by its ordinal, its name or its suffix; None: the source as it is now.

        Raises Refused."""
        if word in (SOURCE_WORD, self.config.name):
            if self.source is None:
                raise Refused(f"{short(self.config)} does not exist in namespace {self.config.namespace}")
            return None
        return choose(self.copies, word, self.config)


def short(config: ConfigId) -> str:
    """What a person calls it, such as ``configmap/app``."""
    return config.short(config.namespace)


def choose(copies: Sequence[Copy], word: str, config: ConfigId) -> Copy:
    """The copy of `config` that a word means. Raises Refused."""
    # Where labels were edited, two can have one ordinal: the newer one is that of the last change.
    if word.isascii() and word.isdigit() and len(word) < LENGTH:
        found = [copy for copy in copies if copy.ordinal == int(word)]
    else:
        found = [copy for copy in copies if word == copy.config.name or copy.config.name.endswith(f"-{word}")]
    if found:
        return found[-1]
    if not copies:
        raise Refused(f"{short(config)} has no versions")
    listed = ", ".join(f"{copy.ordinal} ({copy.config.name})" for copy in copies[-_SHOWN:])
    raise Refused(f"{short(config)} has no version {word!r}; it has {listed}")


async def read_shelf(api: Reader, config: ConfigId) -> Shelf:
    """The versions of a source. Each content is compared with that of the source as it comes, and dropped.

    Raises ApiError, and msgspec.DecodeError for an answer that is not understood."""
    source = await read_object(api, config)
    copies: list[Copy] = []
    same: set[str] = set()

    def take(raw: msgspec.Raw) -> None:
        obj = msgspec.json.decode(raw)
        copy = read_copy(obj, config.kind)
        if copy is not None and copy.source == config.name:
            copies.append(copy)
            if source is not None and same_content(obj, source):
                same.add(copy.config.name)

    def again() -> None:
        copies.clear()
        same.clear()

    selector = f"{SOURCE}={source_label(config.name)}"
    path = partial(RESOURCES[config.kind].path, config.namespace, None, labelSelector=selector)
    await read_list(api, path, take, begin_again=again)
    copies.sort(key=lambda copy: (copy.ordinal, copy.created, copy.config.name))
    return Shelf(config, tuple(copies), frozenset(same), source)


async def read_object(api: Getter, config: ConfigId) -> dict[str, Any] | None:
    """A ConfigMap or Secret as the API has it, None where there is none. Raises ApiError."""
    try:
        found: dict[str, Any] = msgspec.json.decode(
            await api.get(RESOURCES[config.kind].path(config.namespace, config.name))
        )
    except NotFound:
        return None
    found["kind"] = RESOURCES[config.kind].kind
    return found
