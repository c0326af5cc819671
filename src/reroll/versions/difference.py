"""Two versions of a ConfigMap or Secret, read and compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from reroll.core.records import ConfigId
from reroll.versions.copies import Copy, last_write
from reroll.versions.diff import KeyChange, compare
from reroll.versions.refusal import Refused
from reroll.versions.shelf import SOURCE_WORD, Reader, Shelf, read_object, read_shelf, short


class Side(Struct, frozen=True):
    """One of the two."""

    name: str
    version: int
    """Its ordinal; 0: the source as it is now."""
    changed_by: str = ""
    changed_at: str = ""

    def __str__(self) -> str:
        return f"version {self.version} ({self.name})" if self.version else f"{SOURCE_WORD} ({self.name})"


class Difference(Struct, frozen=True):
    """What differs."""

    config: str
    """Such as configmap/shop/app."""
    before: Side
    after: Side
    keys: tuple[KeyChange, ...]


async def difference(
    api: Reader, config: ConfigId, before: str | None, after: str | None, *, values: bool
) -> Difference:
    """`before` and `after`: words that `Shelf.choose` understands; None: see `pair`. Raises Refused and ApiError."""
    shelf = await read_shelf(api, config)
    old, new = pair(shelf, before, after)
    one, other = await _content(api, shelf, old), await _content(api, shelf, new)
    return Difference(
        str(config), _side(shelf, old), _side(shelf, new), compare(config.kind, one, other, values=values)
    )


def pair(shelf: Shelf, before: str | None, after: str | None) -> tuple[Copy | None, Copy | None]:
    """The two versions that are meant; None for the source as it is now. Pure; raises Refused.

    Without `after` it is the source, or the newest version where the source is gone. Without `before`, too, it is the
    newest version with other content: what has changed last."""
    if shelf.source is None and not shelf.copies:
        raise Refused(f"there is no {short(shelf.config)} in namespace {shelf.config.namespace}")
    new = shelf.choose(after) if after is not None else (None if shelf.source is not None else shelf.newest)
    if before is not None:
        return shelf.choose(before), new
    same = shelf.same if new is None else {new.config.name}
    older = [copy for copy in shelf.copies if copy.config.name not in same]
    if not older:
        raise Refused(f"{short(shelf.config)} has no version with other content to compare with")
    return older[-1], new


async def _content(api: Reader, shelf: Shelf, copy: Copy | None) -> Mapping[str, Any]:
    if copy is None:
        assert shelf.source is not None, "it was chosen"
        return shelf.source
    found = await read_object(api, copy.config)
    if found is None:
        raise Refused(f"version {copy.ordinal} ({copy.config.name}) was deleted just now")
    return found


def _side(shelf: Shelf, copy: Copy | None) -> Side:
    if copy is not None:
        return Side(copy.config.name, copy.ordinal, copy.changed_by, copy.changed_at)
    meta = (shelf.source or {}).get("metadata") or {}
    return Side(shelf.config.name, 0, *last_write(meta.get("managedFields") or ()))
