"""Jittered exponential backoff, the numbers of client-go's reflector."""

from __future__ import annotations

import random
from collections.abc import Callable


class Backoff:
    """Delays that double from `first` to `most` seconds, each with up to `jitter` of itself added.

    `reset` starts again at `first`; call it once things have been well for a while.
    """

    def __init__(
        self,
        first: float = 0.8,
        most: float = 30.0,
        *,
        factor: float = 2.0,
        jitter: float = 1.0,
        random: Callable[[], float] = random.random,
    ) -> None:
        self.first, self.most, self.factor, self.jitter = first, most, factor, jitter
        self._random = random
        self._next = first
        self.failures = 0

    def next(self) -> float:
        """Seconds to wait before the next try."""
        delay = self._next
        self.failures += 1
        self._next = min(self._next * self.factor, self.most)
        return delay * (1.0 + self.jitter * self._random())

    def reset(self) -> None:
        self._next = self.first
        self.failures = 0
