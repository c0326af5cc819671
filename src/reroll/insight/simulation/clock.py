"""Virtual time: an event loop that never waits. When all has come to a stop, its clock jumps to the next timer.

So an hour of settling, backoffs and gaps between changes passes in as long as its events take to compute, in
the order in which it would have passed, and each run is like the one before.
"""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Mapping
from typing import Any


class _Jump(selectors.BaseSelector):
    """Stands in for waiting on sockets. There are none, but for the loop's own, on which nothing arrives."""

    def __init__(self) -> None:
        self.now = 0.0
        self.at_rest: list[asyncio.Future[None]] = []
        self.at_halt: list[asyncio.Future[None]] = []
        self._keys: dict[Any, selectors.SelectorKey] = {}

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self.at_halt and (timeout is None or timeout > 0):
            self.at_halt = _wake(self.at_halt)
            return []
        if timeout is not None:
            if timeout > 0:
                # Past the timer by the least there is: the loop rings what lies before its time, not at it.
                self.now = math.nextafter(self.now + timeout, math.inf)
            return []
        if not self.at_rest:
            raise RuntimeError("everything waits, and nothing is going to happen")
        self.at_rest = _wake(self.at_rest)
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        number = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        key = self._keys[fileobj] = selectors.SelectorKey(fileobj, number, events, data)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys


def _wake(waiting: list[asyncio.Future[None]]) -> list[asyncio.Future[None]]:
    for future in waiting:
        if not future.done():
            future.set_result(None)
    return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose `time()` starts at 0 and moves only when nothing else is left to do.

    Not at a time of day: near 0 a float tells nanoseconds, and the loop's own arithmetic counts on that.
    """

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.now

    async def halt(self) -> None:
        """Return when nothing more can be done at this moment: what is left waits for a timer."""
        future = self.create_future()
        self._jump.at_halt.append(future)
        await future

    async def rest(self) -> None:
        """Return when every task waits for something that no timer brings."""
        future = self.create_future()
        self._jump.at_rest.append(future)
        await future
