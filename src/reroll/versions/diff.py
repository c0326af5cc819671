"""What differs between two versions of a ConfigMap or Secret, key by key. Pure.

Of a Secret nothing but the names of its keys is told, not even how long a value is, unless values are asked for.
"""

from __future__ import annotations

import base64
import binascii
import difflib
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from msgspec import Struct

from reroll.core.records import ConfigKind

_CONTEXT: Final = 3
"""Lines around a change, as everywhere."""
_MOST_LINES: Final = 5000
"""Lines that are aligned with each other: that takes the square of their number. More are told as replaced."""


class KeyChange(Struct, frozen=True):
    """What became of one key."""

    key: str
    change: Literal["added", "removed", "changed"]
    unified: tuple[str, ...] = ()
    """The lines of a unified diff of its value, from the first ``@@`` on; () where values are not told."""
    size_before: int | None = None
    """Of a value that is no text: its bytes; None: it is text, was not there, or is not told."""
    size_after: int | None = None


def compare(
    kind: ConfigKind, before: Mapping[str, Any], after: Mapping[str, Any], *, values: bool
) -> tuple[KeyChange, ...]:
    """The keys that differ between two objects of this kind, sorted. `values`: tell the values, too."""
    old, new = contents(kind, before), contents(kind, after)
    found = []
    for key in sorted(old.keys() | new.keys()):
        was, is_ = old.get(key), new.get(key)
        if was == is_:
            continue
        change: Literal["added", "removed", "changed"] = (
            "added" if was is None else "removed" if is_ is None else "changed"
        )
        found.append(_of_values(key, change, was, is_) if values else KeyChange(key, change))
    return tuple(found)


def _of_values(
    key: str, change: Literal["added", "removed", "changed"], was: bytes | None, is_: bytes | None
) -> KeyChange:
    texts = [_text(was), _text(is_)]
    if None in texts:
        sizes = [len(value) if value is not None else None for value in (was, is_)]
        return KeyChange(key, change, size_before=sizes[0], size_after=sizes[1])
    return KeyChange(key, change, tuple(unified(texts[0] or "", texts[1] or "")))


def unified(before: str, after: str) -> list[str]:
    """A unified diff of two texts, without the two lines that name files."""
    # Values of variables have no line end, which is not worth a word unless that is what changed.
    marked = bool(before and after) and before.endswith("\n") != after.endswith("\n")
    old, new = _lines(before, marked=marked), _lines(after, marked=marked)
    head = 0
    while head < min(len(old), len(new)) and old[head] == new[head]:
        head += 1
    tail = 0
    while tail < min(len(old), len(new)) - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    if max(len(old), len(new)) - head - tail > _MOST_LINES:
        return _apart(_replaced(old, new, head, tail))
    # What is equal at both ends is left to it only as far as it is shown.
    first = max(0, head - _CONTEXT)
    last = max(0, tail - _CONTEXT)
    found = list(
        difflib.unified_diff(
            old[first : len(old) - last], new[first : len(new) - last], n=_CONTEXT, lineterm=""
        )
    )[2:]
    return _apart([_moved(line, first) if line.startswith("@@") else line for line in found])


def _apart(lines: Sequence[str]) -> list[str]:
    """Lines, with what is told of one as a line of its own."""
    return [part for line in lines for part in line.split("\n")]


def _replaced(old: Sequence[str], new: Sequence[str], head: int, tail: int) -> list[str]:
    gone, come = old[head : len(old) - tail], new[head : len(new) - tail]
    return [
        f"@@ -{head + 1},{len(gone)} +{head + 1},{len(come)} @@",
        *(f"-{line}" for line in gone),
        *(f"+{line}" for line in come),
    ]


def _moved(header: str, by: int) -> str:
    """The same ``@@ -1,2 +1,2 @@`` of texts of which so many lines were left out."""
    old, new = header.split()[1:3]
    return f"@@ {_shifted(old, by)} {_shifted(new, by)} @@"


def _shifted(words: str, by: int) -> str:
    start, comma, length = words[1:].partition(",")
    return f"{words[0]}{int(start) + by}{comma}{length}"


def _lines(text: str, *, marked: bool) -> list[str]:
    """`marked`: whether the text ends without a line end is one of the things that differ."""
    if not text:
        return []
    lines = text.split("\n")
    if lines[-1] == "":
        return lines[:-1]
    return [*lines[:-1], f"{lines[-1]}\n\\ No newline at end of file"] if marked else lines


def contents(kind: ConfigKind, obj: Mapping[str, Any]) -> dict[str, bytes]:
    """The bytes of each key, wherever the object has them: what a pod sees."""
    found = {}
    for key, value in (obj.get("data") or {}).items():
        found[key] = _decoded(value) if kind == "secret" else value.encode("utf-8", "surrogatepass")
    for key, value in (obj.get("binaryData") or {}).items():
        found[key] = _decoded(value)
    return found


def _decoded(value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return value.encode()  # no API server sends this; what can't be decoded is still told apart


def _text(value: bytes | None) -> str | None:
    """A value as text, "" for one that is not there; None: it is no text."""
    if value is None:
        return ""
    if b"\0" in value:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None
