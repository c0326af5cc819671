"""The play's time, in place of the machine's, for everything in reroll that asks the module `time`."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

BASE = 1_790_000_000.0
"""Seconds since the epoch at which each play begins."""


class Clock:
    """Stands in for the module `time`: all of it is the running loop's time."""

    def time(self) -> float:
        return BASE + self.monotonic()

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    perf_counter = monotonic


@contextmanager
def played_time() -> Iterator[None]:
    """While this lasts, modules of reroll see the play's time."""
    asking = [
        module
        for name, module in sys.modules.items()
        if name.startswith("reroll.") and isinstance(module, ModuleType) and vars(module).get("time") is time
    ]
    clock = Clock()
    for module in asking:
        module.time = clock  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for module in asking:
            module.time = time  # type: ignore[attr-defined]
