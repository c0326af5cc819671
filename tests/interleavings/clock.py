"""The play's time, in place of the machine's, for everything in reroll that asks the module `time`."""

from __future__ import annotations

import asyncio
import inspect
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FunctionType, ModuleType
from typing import Any

from reroll.controller.clock import steady_time

BASE = 1_790_000_000.0
"""Seconds since the epoch at which each play begins."""

skew: ContextVar[Callable[[], float]] = ContextVar("skew", default=lambda: 0.0)
"""By how many seconds the clock of the process whose task runs goes ahead of the servers'."""
skew_at_start: ContextVar[float] = ContextVar("skew_at_start", default=0.0)
"""The same as the process started, which is what its steady clock goes by."""


class Clock:
    """Stands in for the module `time`: all of it is the running loop's time."""

    def time(self) -> float:
        return BASE + self.monotonic() + skew.get()()

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def steady(self) -> float:
        return BASE + self.monotonic() + skew_at_start.get()

    perf_counter = monotonic


CLOCK = Clock()
_INSTEAD: dict[object, object] = {
    time.time: CLOCK.time,
    time.monotonic: CLOCK.monotonic,
    steady_time: CLOCK.steady,
}


@contextmanager
def played_time() -> Iterator[None]:
    """While this lasts, modules of reroll see the play's time, also where it is the default of a parameter."""
    undo: list[Callable[[], None]] = []
    for name, module in list(sys.modules.items()):
        if not name.startswith("reroll.") or not isinstance(module, ModuleType):
            continue
        if vars(module).get("time") is time:
            undo.append(_set(module, "time", CLOCK))
        if not name.startswith("reroll.controller."):
            continue
        for function in _functions(module):
            given = function.__kwdefaults__ or {}
            played = {key: _INSTEAD[value] for key, value in given.items() if _is_clock(value)}
            if played:
                undo.append(_set(function, "__kwdefaults__", {**given, **played}))
    try:
        yield
    finally:
        for each in undo:
            each()


def _functions(module: ModuleType) -> Iterator[FunctionType]:
    for found in list(vars(module).values()):
        if inspect.isclass(found) and found.__module__ == module.__name__:
            init = vars(found).get("__init__")
            if isinstance(init, FunctionType):
                yield init
        elif isinstance(found, FunctionType) and found.__module__ == module.__name__:
            yield found


def _is_clock(value: Any) -> bool:
    return any(value is each for each in _INSTEAD)


def _set(of: object, name: str, value: object) -> Callable[[], None]:
    before = getattr(of, name)
    setattr(of, name, value)
    return lambda: setattr(of, name, before)
