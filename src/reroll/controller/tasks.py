"""Tasks of the controller: those that run beside everything else, and work that a stop cuts short."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeAlias

Start: TypeAlias = Callable[[Coroutine[Any, Any, None], str], None]
"""Starts a task that runs for as long as the controller does, by its name."""


@asynccontextmanager
async def background() -> AsyncIterator[Start]:
    """Tasks for as long as the body runs; one that fails ends the body with its error."""
    tasks: list[asyncio.Task[None]] = []
    async with asyncio.TaskGroup() as group:
        try:
            yield lambda work, name: tasks.append(group.create_task(work, name=name))
        finally:
            for task in tasks:
                task.cancel()


async def unless_stopped(work: Coroutine[Any, Any, None], stopping: asyncio.Event) -> bool:
    """Run to the end (True), or until `stopping` is set (False)."""
    task = asyncio.ensure_future(work)
    stopped = asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            return False
        task.result()
        return True
    finally:
        for each in (task, stopped):
            each.cancel()
        await asyncio.gather(task, stopped, return_exceptions=True)


@contextmanager
def little_garbage() -> Iterator[None]:
    """Look for garbage seldom while the body reads everything, because nearly all that is made then stays. What is
    there at its end is taken out of later collections."""
    usual = gc.get_threshold()
    gc.set_threshold(200_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*usual)
    gc.collect()
    gc.freeze()
