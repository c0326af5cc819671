"""The actors, and the one caller of the queue.

An actor takes a key, has it reconciled, and turns what comes back into one call of the queue: a result or an error
in, a time to ask again out, in one switch (`Worker._settle`, `Worker._failed`). controller-runtime has the same
place, `reconcileHandler` in pkg/internal/controller/controller.go. Nothing here knows what is reconciled.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Final, Generic, Protocol, TypeVar

import structlog

from reroll.controller.metrics import Metrics
from reroll.controller.queue import Queue, QueueClosed
from reroll.controller.result import Again, Done, Held, Result
from reroll.kube.errors import ApiError

log = structlog.get_logger("reroll.controller")

TIME_LIMIT: Final = 120.0
"""Seconds for one reconcile. Each request has limits of its own that end long before it; this one is for what
nobody thought of, so that no actor is lost for ever."""

LAST_REFUSAL: Final = 300.0
"""Seconds between two tries of what the server refuses, in the end."""

_FIRST_REFUSAL = 0.2
_PASSING: Final = frozenset({401, 408, 409, 410, 429})
"""4xx answers that the same request can do better than with time alone, or after a fresh read."""

K = TypeVar("K", bound=Hashable)
_K = TypeVar("_K", bound=Hashable, contravariant=True)


class Listener(Protocol[_K]):
    """Who hears of what became of a key."""

    def failed(self, key: _K, error: ApiError, delay: float, *, refused: bool) -> None:
        """A request failed, and the key is asked about again in `delay` seconds. `refused`: the server said no,
        and goes on doing so until somebody changes something."""

    def settled(self, key: _K) -> None:
        """The key is at rest."""


class Worker(Generic[K]):
    """Runs actors on a queue.

    `reconcile` brings one key as far as it can. `known`: does the key stand for something? The queue forgets all of
    one that does not, and of no other: what came back under the same name is worked on.
    """

    def __init__(
        self,
        queue: Queue[K],
        reconcile: Callable[[K], Awaitable[Result]],
        listener: Listener[K],
        metrics: Metrics,
        *,
        known: Callable[[K], bool] = lambda key: True,
        time_limit: float = TIME_LIMIT,
    ) -> None:
        self._queue = queue
        self._reconcile = reconcile
        self._listener = listener
        self._metrics = metrics
        self._known = known
        self._time_limit = time_limit
        self._refusals: dict[K, int] = {}

    async def run(self, actors: int, stopping: asyncio.Event, within: float) -> None:
        """Work with this many actors until `stopping` is set; then nothing new is begun, and what is in flight gets
        `within` seconds to finish. Where it is cancelled, what is in flight is cancelled too."""
        tasks = [asyncio.create_task(self.work(), name=f"actor {number}") for number in range(actors)]
        stopped = asyncio.create_task(stopping.wait())
        try:
            running: set[asyncio.Task[Any]] = {stopped, *tasks}
            while not stopped.done():
                ended, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in ended:
                    if not task.cancelled():
                        task.result()  # an actor that fails is a fault of reroll: better to end than to go on without
            log.info("stopping: requests in flight are finished, nothing new is started")
            self._queue.close()
            await asyncio.wait(tasks, timeout=within)
        finally:
            for task in (stopped, *tasks):
                task.cancel()
            await asyncio.gather(stopped, *tasks, return_exceptions=True)

    async def work(self) -> None:
        """One actor: until the queue is closed."""
        while True:
            try:
                key = await self._queue.get()
            except QueueClosed:
                return
            began = time.monotonic()
            try:
                await self._work_on(key)
            finally:
                self._metrics.reconciled(time.monotonic() - began)
                self._queue.done(key)

    async def _work_on(self, key: K) -> None:
        limit = asyncio.timeout(self._time_limit)
        try:
            async with limit:
                result = await self._reconcile(key)
        except ApiError as error:
            self._failed(key, error)
        except Exception as error:
            # Never a crash because of one object: it is logged, counted and asked about again.
            late = isinstance(error, TimeoutError) and limit.expired()
            delay = self._queue.retry(key)
            if late:
                log.error("reconcile timed out, will be tried again", workload=str(key), seconds=delay)
            else:
                log.exception(
                    "reconcile failed with an internal error, will be tried again", workload=str(key)
                )
            self._metrics.failed("act" if late else "decide", "timeout" if late else "internal")
        else:
            self._settle(key, result)

    def _settle(self, key: K, result: Result) -> None:
        if isinstance(result, Held):
            log.debug("held", workload=str(key), reason=result.why)
            if result.failed:
                self._metrics.failed("act", result.failed)
            if result.at_least is not None:
                self._queue.retry(key, at_least=result.at_least)
                return
        self._refusals.pop(key, None)
        self._queue.forget(key)
        if isinstance(result, Again):
            self._queue.add_at(key, asyncio.get_running_loop().time() + max(result.after, 0.0))
        elif isinstance(result, Done):
            self._listener.settled(key)
            if not self._known(key):
                self._queue.discard(key)

    def _failed(self, key: K, error: ApiError) -> None:
        """Ask again after a delay that doubles: up to a minute, or `LAST_REFUSAL` where the server refuses it. What
        is refused is logged as a warning once; a change of the object has it asked at once, as for any other."""
        refused, at_least, again = is_refusal(error), error.retry_after or 0.0, 0
        if refused:
            again = self._refusals.get(key, 0)
            self._refusals[key] = again + 1
            at_least = max(at_least, min(_FIRST_REFUSAL * 2.0 ** min(again, 32), LAST_REFUSAL))
        delay = self._queue.retry(key, at_least=at_least)
        self._metrics.failed("act", error.reason)
        (log.debug if again else log.warning)(
            "refused, will be tried again" if refused else "failed, will be tried again",
            workload=str(key),
            error=str(error),
            seconds=round(delay, 1),
        )
        self._listener.failed(key, error, delay, refused=refused)


def is_refusal(error: ApiError) -> bool:
    """Did the server say no in a way that only somebody's change can turn: 403, 404, 400, 422 and their like?"""
    return 400 <= error.status < 500 and error.status not in _PASSING
