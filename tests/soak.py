"""Plays for a given time: failures are told as they come, and are the test's failure at its end.

`make soak` (scripts/soak.py) gives the minutes in REROLL_SOAK_MINUTES, and in REROLL_SOAK_SUMMARY a file for a line on
each test.
"""

from __future__ import annotations

import os
import sys
import time

import pytest

MINUTES = float(os.environ.get("REROLL_SOAK_MINUTES", "0"))
"""0: there is no soak, and the first failure ends a test."""


class Soak:
    """What became of the plays of one test. `share`: of the minutes."""

    def __init__(self, name: str, *, share: float = 1.0) -> None:
        self.name = name
        self.plays = 0
        self.seeds = 0
        self.failed: list[int] = []
        self._until = time.monotonic() + 60 * MINUTES * share

    @property
    def goes_on(self) -> bool:
        return time.monotonic() < self._until

    def failure(self, seed: int, words: str) -> None:
        """Tell of one now."""
        self.failed.append(seed)
        _say(f"\n{self.name}, seed {seed} FAILED (repeat with REROLL_SEED={seed}):\n{words}")

    def end(self) -> None:
        """Tell how it was; raises the test's failure, if any play failed."""
        seeds = ", ".join(map(str, self.failed))
        line = f"{self.name}: {self.plays} plays, {self.seeds} seeds, {len(self.failed)} failures"
        line += f": REROLL_SEED={seeds}" if seeds else ""
        _say(line)
        if path := os.environ.get("REROLL_SOAK_SUMMARY"):
            with open(path, "a") as summary:
                summary.write(f"{line}\n")
        if self.failed:
            pytest.fail(line, pytrace=False)


def _say(words: str) -> None:
    # For people, while it goes on: make soak has pytest not capture it.
    print(words, file=sys.stderr, flush=True)  # noqa: T201
