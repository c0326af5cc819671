"""What was deleted a moment ago, so that an answer that is older does not bring it back.

A watch tells in order what is on the server. Beside it come the answers to requests of our own: a read, a patch. An
answer can be older than what the watch has told meanwhile, and where that was a deletion, nothing is held any more that
would tell so. The public record of such a ghost: opensandbox-group/OpenSandbox #1673.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final, Generic, NamedTuple, TypeVar

KEPT: Final = 300.0
"""Seconds for which a deletion is remembered: longer than any request with its retries is under way."""
MOST: Final = 4096
"""How many deletions are remembered at most, the latest ones."""

Id = TypeVar("Id", bound=Hashable)


class _Tombstone(NamedTuple):
    when: float
    version: int
    uid: str


class Tombstones(Generic[Id]):
    """The deletions of the last minutes, by whatever names an object. `clock`: seconds."""

    def __init__(self, clock: Callable[[], float], *, kept: float = KEPT, most: int = MOST) -> None:
        self._clock, self._kept, self._most = clock, kept, most
        self._stones: dict[Id, _Tombstone] = {}

    def __len__(self) -> int:
        return len(self._stones)

    def __contains__(self, id: Id) -> bool:
        """It was deleted a moment ago, and is not known to be there again."""
        stone = self._stones.get(id)
        return stone is not None and stone.when >= self._clock() - self._kept

    def deleted(self, id: Id, version: int, uid: str = "") -> None:
        """It was deleted, at this resourceVersion or before (0: not known); `uid`: which of that name, where known."""
        now = self._clock()
        before = self._stones.pop(id, None)
        self._stones[id] = _Tombstone(now, max(version, before.version if before else 0), uid)
        while self._stones:
            oldest = next(iter(self._stones))
            if len(self._stones) <= self._most and self._stones[oldest].when >= now - self._kept:
                break
            del self._stones[oldest]

    def allows(self, id: Id, version: int, uid: str = "") -> bool:
        """May an answer that holds the object at this resourceVersion (0: not known) be believed?

        Where it can't be told which came first, it may not: what is on the server comes by the watch anyway.
        """
        if id not in self:
            return True
        stone = self._stones[id]
        if uid and uid == stone.uid:
            return False
        return version > stone.version > 0

    def clear(self, id: Id) -> None:
        """A watch or a list told that it is on the server: from here on the version held tells what is older."""
        self._stones.pop(id, None)
