"""How many writes may be in flight: as many as the server can take, by how long it takes to answer.

A server answers in some time while it has little to do for us. Beyond its capacity each further request only waits,
and everybody's requests wait with it. So the limit follows the time of an answer: it grows while that is little more
than with few in flight, and shrinks in proportion when it is more than that and an allowance for waiting. The idea is
that of TCP Vegas (Brakmo and Peterson, 1995) and of the gradient in Netflix's concurrency-limits; the allowance in
seconds is that of LEDBAT (RFC 6817), because what is bounded here is how long somebody else's change waits behind a
crowd. As in BBR, the time with few in flight is measured anew before the limit shrinks: where the network is far or
others keep the server busy, fewer of ours would be slower, and no answer would come sooner.

Pure arithmetic over (seconds, in flight, time): no clock, no I/O, no event loop.
"""

from __future__ import annotations

import math
import statistics
from typing import Final

from msgspec import Struct

ALLOWANCE: Final = 0.125
"""Seconds that an answer may take longer than with few in flight."""

FIRST: Final = 40
"""The limit before anything is known."""

_STEPS: Final = 4
"""A step is judged by this many answers at least."""
_CUT: Final = 0.5
"""What is left of the limit after a refusal, and at least after answers that are too slow."""
_CUT_EVERY: Final = 0.2
"""Seconds in which refusals count as one: a server that sheds load refuses many at once."""
_TRUSTED: Final = 10.0
"""Seconds for which a measured time with few in flight is believed while answers are slow."""
_REMEMBERED: Final = 60.0
"""Seconds for which it is believed at all, where it matters."""


class Statistics(Struct, frozen=True):
    """The limiter at one moment."""

    limit: int
    """Writes that may be in flight."""
    base_seconds: float
    """The time of an answer with few in flight; 0: not known yet."""
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
        self._base = float("inf")
        self._base_at = self._measured_at = float("-inf")
        """When the base was last found to be so, in any way, and with few in flight."""
        self._before = 0.0
        """The limit before the base began to be measured; 0: it is not being measured."""

    @property
    def limit(self) -> int:
        """Writes that may be in flight."""
        return int(self._limit)

    def statistics(self) -> Statistics:
        """The limiter now."""
        return Statistics(self.limit, self._base if self._base < float("inf") else 0.0, self._present)

    def answered(self, seconds: float, in_flight: int, now: float) -> None:
        """The server answered a write after so many seconds, with anything but a refusal for load.

        `in_flight`: how many there were, this one included. `now`: seconds of a clock that never goes back.
        """
        self._busiest = max(self._busiest, in_flight)
        if now - seconds < self._changed:
            return
        self._answers.append(seconds)
        if len(self._answers) < max(_STEPS, self._limit / 2):
            return
        median = statistics.median(self._answers)
        if self._before:
            self._base, self._base_at, self._measured_at = median, now, now
            limit, self._before = self._before, 0.0
            self._set(limit * self._share_in_time(), now)
            return
        self._present = median
        if median < self._base:
            self._base, self._base_at = median, now
        if self._is_in_doubt(now):
            self._before = self._limit
            self._set(float(self._least), now)
        else:
            self._set(self._judged(), now)

    def refused(self, now: float) -> None:
        """The server refused a write because of its load (429, 5xx), or did not answer at all."""
        if now - self._cut_at < max(_CUT_EVERY, 2 * self._present):
            return
        self._cut_at = now
        self._doubling = False
        limit, self._before = max(self._limit, self._before), 0.0
        self._set(limit * _CUT, now)

    @property
    def _slack(self) -> float:
        """How much of the allowance is left, 1 to 0; below that, answers are too slow."""
        return (self._base + self._allowance - self._present) / self._allowance

    def _is_in_doubt(self, now: float) -> bool:
        """Is the base to be measured before anything is made of it?"""
        if self._limit <= self._least:
            return False
        if self._slack < 0:
            return now - self._measured_at > _TRUSTED
        matters = self._present > self._allowance / 2 and self._busiest >= self._limit - 2
        return matters and now - self._base_at > _REMEMBERED

    def _share_in_time(self) -> float:
        """The share of the limit that is answered in time. Where requests wait, their time is in proportion to their
        number (Little's law)."""
        return min(1.0, max(_CUT, (self._base + self._allowance) / self._present))

    def _judged(self) -> float:
        """The limit by the answers of this step."""
        slack = self._slack
        if slack < 0:
            self._doubling = False
            return self._limit * self._share_in_time()
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
