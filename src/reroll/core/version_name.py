"""The names of immutable versions: ``app-9k2m4c5f6h`` is the ConfigMap `app` with one content. Pure.

Equal content has an equal name, so that content that comes back needs no new object, and two controllers that make a
version at once make one. The suffix of a ConfigMap is kustomize's (`core.suffix_hash`): what a pipeline generated with
equal content has the equal name. That of a Secret is made of keyed digests: kustomize's is a hash of the value alone,
by which whoever may list names can test guesses of it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

from reroll.core.suffix_hash import ALPHABET, LENGTH, encode, suffix_hash, wrapped_base64

LONGEST: Final = 253
"""Characters of the longest name of a ConfigMap or Secret."""

LENGTHS: Final = (LENGTH, 16, 26)
"""Characters of a suffix: longer ones where shorter ones belong to other content."""

_SHORT: Final = 8
"""Hexadecimal digits that stand for the rest of a name that is cut."""


def config_map_suffix(
    data: Mapping[str, str] | None, binary_data: Mapping[str, str] | None, length: int = LENGTH
) -> str:
    """The suffix for this content of a ConfigMap, as the API has it."""
    generated = {key: _as_generated(value) for key, value in (binary_data or {}).items()}
    value = {"kind": "ConfigMap", "data": data or None, "binaryData": generated or None}
    return suffix_hash(value, length)


def secret_suffix(keys: Sequence[str], digests: bytes, length: int = LENGTH) -> str:
    """The suffix for this content of a Secret, by the keyed digests of its keys (`core.digests.secret_digests`), which
    are bound to its namespace and name: it tells nothing without the installation's key."""
    content = "\0".join(keys).encode("utf-8", "surrogatepass")
    return encode(hashlib.sha256(len(content).to_bytes(8, "big") + content + digests).hexdigest(), length)


def copy_name(source: str, suffix: str) -> str:
    """The name of the version of `source` with this suffix. A name that would be too long is cut, and has a hash of
    all of it in place of the rest."""
    room = LONGEST - 1 - len(suffix)
    if len(source) > room:
        short = hashlib.sha256(source.encode()).hexdigest()[:_SHORT]
        source = f"{source[: room - _SHORT - 1].rstrip('-.')}-{short}"
    return f"{source}-{suffix}"


def is_version(name: str, source: str, suffix: str) -> bool:
    """Is `name` that of the version of `source` with this suffix, or with a longer one that begins so, because the name
    was taken by other content?"""
    plain = copy_name(source, suffix)
    return name == plain or (name.startswith(plain) and len(name) > len(plain) >= LENGTH)


def can_be_version(name: str, source: str) -> bool:
    """Can `name` be that of some version of `source`?"""
    suffix = name.rpartition("-")[2]
    return len(suffix) in LENGTHS and set(suffix) <= set(ALPHABET) and copy_name(source, suffix) == name


def _as_generated(value: str) -> str:
    """Base64 as kustomize writes it into what it generates: the line ends are part of what it hashes."""
    try:
        return wrapped_base64(base64.b64decode(value, validate=True))
    except (binascii.Error, ValueError):
        return value
