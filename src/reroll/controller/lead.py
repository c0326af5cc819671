"""Acting, for as long as this controller leads: one term with its queue and its actors, made anew each time.

Who stands by has no queue, for there is nothing to ask: when it leads, it asks about every workload.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from typing import Final

import structlog

from reroll.controller.clock import steady_time
from reroll.controller.concurrency import Limiter
from reroll.controller.entry import Entry
from reroll.controller.follow import Follow
from reroll.controller.metrics import Metrics
from reroll.controller.queue import Queue
from reroll.controller.reconcile import Reconciler
from reroll.controller.report import Reporter
from reroll.controller.store import Store
from reroll.controller.term import Term, Told
from reroll.controller.worker import Worker
from reroll.core.follow import Outcome
from reroll.core.records import ConfigId, WorkloadId
from reroll.kube.errors import ApiError
from reroll.modes.mode import Api
from reroll.rollouts.reasons import in_short
from reroll.versions.hold import hold

log = structlog.get_logger("reroll.controller")

STOP_WITHIN: Final = 20.0
"""Seconds that what is in flight gets to finish after SIGTERM; a pod has 30 in all."""

FINISH_WITHIN: Final = 5.0
"""Seconds after that for what must not be left half done: a Job that was deleted to be created again."""

_FINISH_AGAIN = 0.5  # seconds between tries at the end


class Acting:
    """Makes leads. `check_key` as in `Reconciler`; `reporter` makes one for each lead; `limiter` says how many writes
    may be in flight, and learns by `requested`."""

    def __init__(
        self,
        store: Store,
        api: Api,
        metrics: Metrics,
        reporter: Callable[[], Reporter],
        *,
        check_key: Callable[[], Awaitable[bool]],
        limiter: Limiter,
        now: Callable[[], float] = steady_time,
    ) -> None:
        self.store = store
        self.api = api
        self.metrics = metrics
        self.reporter = reporter
        self.check_key = check_key
        self.limiter = limiter
        self.now = now
        self._idle: Queue[WorkloadId] = Queue()
        self.lead: Lead | None = None
        """The one that acts now."""

    @property
    def queue(self) -> Queue[WorkloadId]:
        """What waits; nothing while nobody acts."""
        return self.lead.queue if self.lead is not None else self._idle

    def ask(self, workload: WorkloadId, cause: ConfigId | None) -> None:
        """A workload has to be decided on. Its flow is what caused it, so that a crowd behind one change and the
        single consumer of another take turns."""
        if self.lead is not None:
            self.lead.ask(workload, cause or workload.namespace)

    def requested(self, verb: str, code: str, seconds: float) -> None:
        """The client's request was answered, or failed: see `Metrics.requested`."""
        self.metrics.requested(verb, code, seconds)
        if verb != "patch" or code == "error":  # cancelled
            return
        if code == "429" or not code.isdigit() or code >= "500":
            self.limiter.refused(time.monotonic())
        else:
            self.limiter.answered(seconds, self.queue.in_hand, time.monotonic())

    async def act(self, owns: Callable[[WorkloadId], bool], actors: int, stopping: asyncio.Event) -> None:
        """Act until `stopping` is set, and finish what must not be left half done. Where it is cancelled, for the lead
        was lost, nothing more is written. Either way the term is dropped."""
        self.lead = Lead(self, owns)
        try:
            await self.lead.act(actors, stopping)
        except asyncio.CancelledError:
            log.warning("lost leadership: nothing more is written")
            raise
        finally:
            self.lead.term.end()
            self.lead = None


class Lead:
    """One term at work. `owns`: may this workload be acted on, at this moment?"""

    def __init__(self, acting: Acting, owns: Callable[[WorkloadId], bool]) -> None:
        self._acting, store = acting, acting.store
        reporter = acting.reporter()
        self.term = Term(
            owns, reporter, store, Follow(reporter, acting.metrics, why=self._why, hold=self._hold)
        )
        self.queue: Queue[WorkloadId] = Queue(
            waited=acting.metrics.waited, places=lambda: acting.limiter.limit
        )
        self.reconciler = Reconciler(
            store,
            acting.api,
            self.term,
            acting.metrics,
            check_key=acting.check_key,
            now=acting.now,
        )
        self._worker = Worker(
            self.queue,
            self.reconciler.reconcile,
            Told(self.term, store),
            acting.metrics,
            known=self._is_known,
        )

    def ask(self, workload: WorkloadId, flow: Hashable) -> None:
        """Have a workload decided on."""
        self.queue.add(workload, flow=flow)

    async def act(self, actors: int, stopping: asyncio.Event) -> None:
        """Ask about every workload, and act until `stopping` is set."""
        for entry in list(self._acting.store.entries()):
            # Those to be adopted are one crowd. Of the others few have anything to be done, and do not wait behind it.
            workload = entry.record.id
            self.ask(workload, "start" if entry.record.applied is None else workload.namespace)
        await self._worker.run(actors, stopping, STOP_WITHIN)
        await self._finish()

    async def _finish(self) -> None:
        """Before the end: create what was deleted and is not there again, which nobody knows as well."""
        loop = asyncio.get_running_loop()
        until = loop.time() + FINISH_WITHIN
        while (unfinished := self.term.modes.all_unfinished()) and loop.time() < until:
            for workload in unfinished:
                with suppress(ApiError):
                    await self.reconciler.reconcile(workload)
            await asyncio.sleep(_FINISH_AGAIN if self.term.modes.all_unfinished() else 0)

    def _is_known(self, workload: WorkloadId) -> bool:
        return self._acting.store.workload(workload) is not None

    async def _hold(self, entry: Entry, outcome: Outcome) -> None:
        """Let nobody else be pointed at the versions whose rollout failed (`controller.follow.Hold`)."""
        await hold(self._acting.api, entry.record, outcome)
        self.term.modes.version.look_again()

    async def _why(self, entry: Entry) -> str:
        """Why its rollout fails (`controller.follow.Why`)."""
        return await in_short(self._acting.api, entry.record.id)
