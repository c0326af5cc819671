"""Writes what was decided about one workload, takes in what the server answers, and tells it, once.

Answers go to the store ahead of the watch, so a change costs two requests and no wait. This is the one place that does
so.
"""

from __future__ import annotations

from collections.abc import Callable

from reroll.controller.metrics import Metrics
from reroll.controller.store import Entry, Store
from reroll.controller.term import Term
from reroll.core.decision import Decision, Kind
from reroll.core.observe import decode_object
from reroll.core.records import WorkloadId
from reroll.kube.errors import ApiError
from reroll.modes.mode import Api, Patch, Subject


class Writer:
    """Requests for workloads, within one term. `now`: seconds since the epoch."""

    def __init__(
        self,
        store: Store,
        api: Api,
        term: Term,
        metrics: Metrics,
        now: Callable[[], float],
    ) -> None:
        self._store = store
        self._api = api
        self._term = term
        self._metrics = metrics
        self._now = now

    def subject(self, entry: Entry) -> Subject:
        """What a mode is handed of a workload."""
        return Subject(
            record=entry.record,
            policy=entry.policy,
            kind=self._store.kinds[entry.record.id.kind],
            style=self._store.marks,
            api=self._api,
            tell=self._term.reporter,
            now=self._now(),
            manager=self._store.field_manager,
            key=self._store.configs.key,
        )

    async def write(self, entry: Entry, decision: Decision, patch: Patch) -> None:
        """Write a decision, so that it counts also where the answer is lost."""
        workload, ledger = entry.record.id, self._term.ledger
        if decision.applied is None:
            await self.patch(entry, patch)
            return
        earlier = ledger.begin(entry.record, decision)
        try:
            await self.patch(entry, patch)
        except ApiError as error:
            if 400 <= error.status < 500:
                # This one was surely not done. One before it, whose answer was lost, may have been.
                ledger.restore(workload, earlier)
            raise

    async def patch(self, entry: Entry, patch: Patch) -> None:
        path = self.subject(entry).path
        self.cache_answer(
            entry.record.id, await self._api.patch(path, patch.body, content_type=patch.content_type)
        )

    async def read(self, entry: Entry) -> bytes:
        """The workload as it is on the server. Raises ApiError."""
        return await self._api.get(self.subject(entry).path)

    def cache_answer(
        self, workload: WorkloadId, answer: bytes, *, made: bool = False, seen: bool = True
    ) -> None:
        """Take in an answer of the server ahead of the watch: of the object that is held, and no other, because one
        that the watch told the end of must not come back. `made`: of one that was created just now. `seen`: others
        can't have written it since what is held, as the server does no patch of an older version."""
        obj = decode_object(self._store.kinds[workload.kind], answer)
        held = self._store.workload(workload)
        if made or (held is not None and held.record.uid == obj.metadata.uid):
            self._store.put_workload(obj, workload.kind, live=True, seen=seen)

    def tell_written(self, workload: WorkloadId, decision: Decision) -> None:
        """Count and tell a decision that was written, once."""
        if decision.applied is not None:
            self._term.ledger.finish(workload, decision, self._now())
        self._tell(workload, decision)

    def _tell(self, workload: WorkloadId, decision: Decision) -> None:
        reporter = self._term.reporter
        if decision.kind is Kind.ROLL:
            arrivals = [change.change.arrived for change in decision.changes if change.change.live]
            seconds = self._now() - min(arrivals) if arrivals else None
            self._metrics.rolled(workload.kind, seconds, namespace=workload.namespace)
        entry = self._store.workload(workload)
        if entry is None:
            return
        reporter.done(entry, decision)
        if decision.kind is Kind.ROLL:
            self._term.follow.begin(entry)
        if decision.mark is not None and entry.record.mark is None:
            # The schema of a custom kind may know no annotations in its pod template: then the API server drops the
            # mark without a word, and nothing rolls.
            reporter.mark_dropped(entry)

    def confirm_lost_answer(self, entry: Entry) -> None:
        """A patch whose answer was lost may have been done all the same: then it counts, and is told."""
        decision = self._term.ledger.confirm_lost_answer(entry.record, self._now())
        if decision is not None:
            self._tell(entry.record.id, decision)

    async def read_again(self, entry: Entry) -> None:
        """Read a workload that was changed in between. A patch without an answer shows now, or never will, because
        the server refuses it from here on. Raises ApiError; NotFound where it is gone."""
        workload = entry.record.id
        self.cache_answer(workload, await self.read(entry), seen=False)
        found = self._store.workload(workload)
        if found is not None:
            self.confirm_lost_answer(found)
        self._term.ledger.restore(workload, None)
