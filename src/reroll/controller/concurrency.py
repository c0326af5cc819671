"""How many writes may be in flight: as many as the server can take, by how long it takes to answer.

A server answers in some lowest time while it has little to do. Beyond its capacity each further request only waits,
and everybody's requests wait with it. So the limit follows the time of an answer: it grows while an answer takes little
more than the lowest one seen, and shrinks in proportion when it takes longer than that and an allowance for waiting.
The idea is that of TCP Vegas (Brakmo and Peterson, 1995) and of the gradient in Netflix's concurrency-limits; the
allowance in seconds is that of LEDBAT (RFC 6817), for what is bounded here is how long a change of somebody else waits
behind a crowd. A network that is far away adds to the lowest time and to every other one alike, and takes nothing away.

Pure arithmetic over (seconds, in flight, time): no clock, no I/O, no event loop.
"""

from __future__ import annotations

import math
import statistics
from typing import Final

from msgspec import Struct

ALLOWANCE: Final = 0.2
"""Seconds that an answer may take above the lowest one."""

FIRST: Final = 10
"""The limit before anything is known."""

_STEPS: Final = 4
"""A step is judged by this many answers at least."""
_CUT: Final = 0.5
"""What is left of the limit after a refusal, and at least after answers that are too slow."""
_CUT_EVERY: Final = 0.2
"""Seconds in which refusals count as one: a server that sheds load refuses many at once."""
_MEMORY: Final = 5000
"""Answers for which the lowest time is believed, once or twice."""
_OLD: Final = 600.0
"""Seconds for which it is believed where answers are few."""


class Statistics(Struct, frozen=True):
    """The limiter at one moment."""

    limit: int
    """Writes that may be in flight."""
    lowest_seconds: float
    """The lowest time of an answer in memory; 0: none yet."""
    present_seconds: float
    """The median time of the answers that the limit was last judged by; 0: none yet."""


class Limiter:
    """The limit, between `least` and `most`. Raises ValueError where those are not 1 <= least <= most.

    It is judged in steps: each takes as many answers as half the limit, of requests sent since the step before, so
    that a change has had its effect before the next. It begins by doubling in each step, and goes on in smaller ones
    after the first sign of waiting.
    """

    def __init__(self, least: int, most: int, *, allowance: float = ALLOWANCE) -> None:
        if not 1 <= least <= most:
            raise ValueError(f"bounds of a limit: 1 <= {least} <= {most} does not hold")
        self._least, self._most, self._allowance = least, most, allowance
        self._limit = float(min(max(FIRST, least), most))
        self._doubling = True
        self._changed = float("-inf")
        """When the limit was last judged: what was sent before says nothing of it."""
        self._cut_at = float("-inf")
        self._answers: list[float] = []
        self._busiest = 0
        self._present = 0.0
        # The lowest time of two spans of memory, the one that is being filled and the one before it.
        self._lowest = self._lowest_before = float("inf")
        self._remembered, self._since = 0, float("-inf")
        self._after_probe = 0.0
        """The limit to come back to when the lowest time was measured anew; 0: it is not being measured."""

    @property
    def limit(self) -> int:
        """Writes that may be in flight."""
        return int(self._limit)

    def statistics(self) -> Statistics:
        """The limiter now."""
        lowest = min(self._lowest, self._lowest_before)
        return Statistics(self.limit, lowest if lowest < float("inf") else 0.0, self._present)

    def answered(self, seconds: float, in_flight: int, now: float) -> None:
        """The server answered a write after so many seconds, with anything but a refusal for load.

        `in_flight`: how many there were, this one included. `now`: seconds of a clock that never goes back.
        """
        self._remember(seconds, now)
        self._busiest = max(self._busiest, in_flight)
        if now - seconds < self._changed:
            return
        self._answers.append(seconds)
        if len(self._answers) < max(_STEPS, self._limit / 2):
            return
        self._present = statistics.median(self._answers)
        if self._after_probe:
            self._set(self._after_probe, now)
            self._after_probe = 0.0
        else:
            self._set(self._judged(), now)

    def refused(self, now: float) -> None:
        """The server refused a write because of its load (429, 5xx), or did not answer at all."""
        if now - self._cut_at < max(_CUT_EVERY, 2 * self._present):
            return
        self._cut_at = now
        self._doubling = False
        self._after_probe *= _CUT
        self._set(self._limit * _CUT, now)

    def _judged(self) -> float:
        """The limit by the answers of this step."""
        lowest = min(self._lowest, self._lowest_before)
        slack = (lowest + self._allowance - self._present) / self._allowance
        if slack < 0:
            # Where requests wait, their time is in proportion to their number (Little's law).
            self._doubling = False
            return self._limit * max(_CUT, (lowest + self._allowance) / self._present)
        if self._busiest < self._limit - 2:
            return self._limit  # nobody needs more, and how a higher one would do is not known
        if self._doubling and slack > 0.5:
            return self._limit * 2
        self._doubling = False
        return self._limit + max(1.0, slack * math.sqrt(self._limit)) if slack > 0.1 else self._limit

    def _set(self, limit: float, now: float) -> None:
        self._limit = min(max(limit, float(self._least)), float(self._most))
        self._changed = now
        self._answers.clear()
        self._busiest = 0

    def _remember(self, seconds: float, now: float) -> None:
        """Keep the lowest time, and forget that of long ago: the way to the server may be another by now.

        A server that has been busy ever since shows no low time. So after much work the limit goes down to the least
        for one step, and what that takes is the lowest time of today.
        """
        self._lowest = min(self._lowest, seconds)
        self._remembered += 1
        if self._since == float("-inf"):
            self._since = now
        if self._remembered < _MEMORY and now - self._since < _OLD:
            return
        busy = self._remembered >= _MEMORY
        self._lowest_before, self._lowest = self._lowest, float("inf")
        self._remembered, self._since = 0, now
        if busy and not self._after_probe and self._limit > self._least:
            self._after_probe = self._limit
            self._set(float(self._least), now)
