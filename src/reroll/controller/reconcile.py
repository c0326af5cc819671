"""One workload at a time: ask, decide, act, report.

The queue says which workload; everything else is read from the store at that moment. A failure re-asks the
question after a backoff, for ever, and holds up nobody else.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import structlog
from msgspec.structs import replace

from reroll.controller.ages import Ages
from reroll.controller.metrics import Metrics
from reroll.controller.queue import Queue, QueueClosed
from reroll.controller.recreate import JOBS, Recreation, Step
from reroll.controller.report import Reporter
from reroll.controller.store import Entry, Store
from reroll.core.decide import Decision, How, Kind, Situation, decide
from reroll.core.kinds import JOB
from reroll.core.observe import decode_object
from reroll.core.proof import NOT_PERMITTED
from reroll.core.records import Applied, WorkloadId
from reroll.kube.client import MERGE_PATCH, STRATEGIC_MERGE_PATCH
from reroll.kube.errors import AlreadyExists, ApiError, Conflict, NotFound, TooManyRequests
from reroll.kube.ports import Server, Writer
from reroll.modes import jobs, restart, rollout

log = structlog.get_logger("reroll.controller")

_CONFLICTS = 4  # answers of 409 in a row that are asked again at once; then the backoff takes over
_FOREIGN_KEY = 5.0  # seconds for which a digest key is believed not to be in force
_TRUCE = 30.0  # seconds in which our annotation is written at most _RECORDS times, without a rollout
_RECORDS = 5
_MERGED_BY_NAME = ("apps", "batch")  # groups of kinds that take a strategic merge patch
_FINISH_AGAIN = 0.5  # seconds between tries at the end
_LOOK_AGAIN = 1.0  # seconds after which a restart that has begun is looked after


class Reconciler:
    """Takes workloads from the queue and brings each to rest.

    `check_key` asks the server for the digest key in force. Where it is another one, the store has been told
    when this returns (True), and Secrets are being read again. `writer` is not needed where there are no Jobs, no
    CronJobs and no pods to evict. `may_act` is asked before each write.
    """

    def __init__(
        self,
        store: Store,
        queue: Queue[WorkloadId],
        client: Server,
        reporter: Reporter,
        metrics: Metrics,
        *,
        check_key: Callable[[], Awaitable[bool]],
        now: Callable[[], float] = time.time,
        writer: Writer | None = None,
        may_act: Callable[[], bool] = lambda: True,
    ) -> None:
        self._store = store
        self._queue = queue
        self._client = client
        self._writer = writer
        self._may_act = may_act
        self.recreation = Recreation(client, self._write_by, now)
        self._reporter = reporter
        self._metrics = metrics
        self._ages = Ages(client)
        self._check_key = check_key
        self._now = now
        self._pending_since: dict[WorkloadId, float] = {}
        self._unanswered: dict[WorkloadId, Decision] = {}
        self._recorded: dict[WorkloadId, tuple[float, ...]] = {}
        self._foreign_keys: dict[str, float] = {}
        self._restarting: dict[WorkloadId, tuple[str, ...]] = {}

    async def work(self) -> None:
        """One actor: until the queue is closed."""
        while True:
            try:
                workload = await self._queue.get()
            except QueueClosed:
                return
            began = time.monotonic()
            try:
                await self.reconcile(workload)
            except ApiError as error:
                delay = self._queue.retry(workload, at_least=error.retry_after or 0.0)
                self._metrics.failed("act", error.reason)
                pending = self.recreation.pending.get(workload)
                if pending is not None:
                    self._reporter.not_created(pending.entry, error, delay)
                else:
                    self._reporter.failed(self._store.workload(workload), workload, error, delay)
            except Exception:
                # Never a crash because of one object: it is logged, counted and asked about again.
                log.exception("a decision failed and will be asked for again", workload=str(workload))
                self._metrics.failed("decide", "internal")
                self._queue.retry(workload)
            finally:
                self._metrics.reconciled(time.monotonic() - began)
                self._queue.done(workload)

    def situation(self, entry: Entry) -> Situation:
        """Everything that a decision about this workload is made of, as of now."""
        return Situation(
            workload=entry.record,
            policy=entry.policy,
            consumed=entry.consumed,
            states={c.config: self._store.configs.state(c.config) for c in entry.consumed},
            key_id=self._store.configs.key.id,
            now=self._now(),
            pending_since=self._pending_since.get(entry.record.id),
            kind=self._store.kinds[entry.record.id.kind],
            marks=self._store.marks,
            progress=entry.progress,
        )

    async def reconcile(self, workload: WorkloadId) -> None:
        """Ask and act until the workload is at rest or has to wait. Raises ApiError."""
        if not self._may_act():
            return  # asked again when this controller leads
        if workload in self.recreation.pending:
            await self._create_pending(workload)
            return
        for _ in range(_CONFLICTS):
            entry = self._store.workload(workload)
            if entry is None:
                self._forget(workload)
                return
            if workload.kind == JOB.id and entry.record.stands_in_for:
                await self._look_after_stand_in(entry)
                return
            self._landed(entry)
            decision = await self._decide(entry)
            self._metrics.decided(decision.kind.value, workload.kind)
            self._reporter.decided(entry, decision)
            if decision.kind is Kind.WAIT:
                self._wait(workload, decision)
                return
            if decision.kind is Kind.RESUME:
                await self._resume(entry, decision)
                return
            if decision.applied is None:
                await self._go_on(workload)
                return
            if await self._other_key(entry, decision.applied) or not self._may_act():
                return
            if decision.kind is Kind.RECORD and self._fought_over(entry):
                self._ask_in(workload, _TRUCE)
                return
            try:
                await self._write(entry, decision)
            except Conflict:
                self._metrics.failed("act", "Conflict")
                await self._refresh(workload)
                self._settle_unanswered(workload)
                continue
            except NotFound:
                self._forget(workload)
                return
            if workload in self.recreation.pending:
                await self._create_pending(workload)
            else:
                await self._go_on(workload)
            return
        self._queue.retry(workload)

    async def _decide(self, entry: Entry) -> Decision:
        situation = self.situation(entry)
        decision = decide(situation)
        if not decision.ask_pods:
            return decision
        if decision.kind is Kind.ADOPT and decision.applied is not None:
            # From here on, what changes is a change, also while the pods' ages are on their way.
            self._store.adopted(entry.record.id, decision.applied)
        ages = await self._ages.of(entry.record.id)
        return decide(replace(situation, pods=ages if ages is not None else NOT_PERMITTED))

    async def _write(self, entry: Entry, decision: Decision) -> None:
        """One patch. What the server answers with is taken in at once, ahead of the watch."""
        record = entry.record
        workload = record.id
        kind = self._store.kinds[workload.kind]
        style, content_type = self._store.marks, MERGE_PATCH
        how = decision.how if decision.kind is Kind.ROLL else How.TEMPLATE
        if how is How.AGAIN:
            await self.recreation.delete(entry, decision, await self._read_for(entry), style)
            return
        if how is How.INSTANTIATE:
            await self._instantiate(entry, decision)
        if decision.kind is Kind.ADOPT and decision.applied is not None:
            self._store.adopted(workload, decision.applied)
        if how is How.EVICT:
            pods = await restart.pods_of(self._client, workload, kind)
            if kind.custom and not pods:
                self._reporter.no_pods(entry)
            body = restart.begin(record, decision, restart.to_go(pods, decision))
        elif how is How.RESTART_AT:
            body = restart.tell(record, decision, kind, self._now(), await self._read_for(entry))
        else:
            template = None
            if style.by_name and decision.mark is not None:
                if kind.group in _MERGED_BY_NAME:
                    content_type = STRATEGIC_MERGE_PATCH
                else:
                    template = await self._read_for(entry)
                    for name in kind.template:
                        template = template[name]
            body = rollout.merge_patch(record, decision, kind, style, template, entry.policy.pause)
        earlier = self._unanswered.get(workload)
        self._store.writing(workload, decision.mark, decision.applied)
        self._unanswered[workload] = decision
        try:
            answer = await self._client.patch(self._path(workload), body, content_type=content_type)
        except ApiError as error:
            if 400 <= error.status < 500:
                # This one was surely not done. One before it, whose answer was lost, may have been.
                self._restore_unanswered(workload, earlier)
            raise
        self._take_in(workload, answer)
        self._finished(workload, decision)
        self._check_mark(workload, decision)

    def _check_mark(self, workload: WorkloadId, decision: Decision) -> None:
        """The schema of a custom kind may know no annotations in its pod template: then the API server drops the mark
        without a word, and nothing rolls."""
        entry = self._store.workload(workload)
        if entry is not None and decision.mark is not None and entry.record.mark is None:
            self._reporter.mark_dropped(entry)

    async def _resume(self, entry: Entry, decision: Decision) -> None:
        """End a pause. Whoever else has written meanwhile is asked about again by the watch."""
        workload = entry.record.id
        assert entry.policy.pause is not None, "it was paused"
        try:
            answer = await self._client.patch(
                self._path(workload), rollout.resume(entry.record, entry.policy.pause)
            )
        except (Conflict, NotFound):
            await self._refresh(workload)
            self._ask_in(workload, 0.0)
            return
        self._reporter.done(entry, decision)
        self._take_in(workload, answer)
        self._rest(workload)

    def _path(self, workload: WorkloadId) -> str:
        return rollout.path(workload, self._store.kinds)

    def _take_in(self, workload: WorkloadId, answer: bytes) -> None:
        obj = decode_object(self._store.kinds[workload.kind], answer)
        self._store.put_workload(obj, workload.kind, live=True)

    # --- Jobs ----------------------------------------------------------------------------------------

    async def _read_for(self, entry: Entry) -> dict[str, Any]:
        """The whole object, as it was decided on. Raises ApiError; Conflict where it is another one by now."""
        found: dict[str, Any] = msgspec.json.decode(await self._client.get(self._path(entry.record.id)))
        if found["metadata"]["resourceVersion"] != entry.record.resource_version:
            raise Conflict("it has changed since it was decided on", status=409)
        return found

    async def _instantiate(self, entry: Entry, decision: Decision) -> None:
        """Start a Job from a CronJob. One that is there already was started by a try whose answer, or whose
        record, was lost."""
        body = jobs.from_cron_job(await self._read_for(entry), decision)
        with contextlib.suppress(AlreadyExists):
            await self._write_by().create(JOBS.path(entry.record.id.namespace), body)

    async def _create_pending(self, workload: WorkloadId) -> None:
        """Create the Job whose predecessor was deleted; again and again, until it is there. Raises ApiError."""
        pending = self.recreation.pending[workload]
        tried = await self.recreation.create(workload)
        if tried.step is Step.NOT_YET:
            self._queue.retry(workload)
        elif tried.step is Step.NO_LONGER:
            self._forget(workload)
        elif tried.step is Step.OTHERS:
            self._take_in(workload, tried.job)
            self._ask_in(workload, 0.0)
        else:
            self._take_in(workload, tried.job)
            self._finished(workload, pending.decision)
            self._rest(workload)
            with contextlib.suppress(ApiError):  # asked about again by the watch
                await self.recreation.clean_up(pending)

    async def _look_after_stand_in(self, entry: Entry) -> None:
        """Raises ApiError."""
        stand_in = entry.record.id
        found = await self.recreation.look_after(entry)
        if found.created:
            self._take_in(stand_in._replace(name=entry.record.stands_in_for), found.created)
        if found.again_in is not None:
            self._ask_in(stand_in, found.again_in)

    async def finish(self, within: float) -> None:
        """Before the end: create what was deleted and is not there again, for nobody else knows what it was.

        `within`: seconds for which that is tried.
        """
        until = time.monotonic() + within
        pending = self.recreation.pending
        while pending and time.monotonic() < until:
            for workload in list(pending):
                with contextlib.suppress(ApiError):
                    await self._create_pending(workload)
            await asyncio.sleep(_FINISH_AGAIN if pending else 0)
        for workload in pending:
            log.error("a Job was deleted and could not be created again", workload=str(workload))

    # --- the mode `restart` --------------------------------------------------------------------------

    async def _go_on(self, workload: WorkloadId) -> None:
        """The record is right. If pods are still to be evicted, go on with that; else the workload is at rest."""
        entry = self._store.workload(workload)
        if entry is None or entry.record.deleting or entry.policy.refused:
            self._rest(workload)
            return
        # Somebody who removes annotations that he does not know does not end a restart.
        written = entry.record.restarting or self._restarting.get(workload, ())
        if not written:
            self._rest(workload)
            return
        self._restarting[workload] = written
        self._pending_since.pop(workload, None)
        kind = self._store.kinds[workload.kind]
        pods = await restart.pods_of(self._client, workload, kind)
        wanted = entry.record.replicas
        if wanted is None:
            wanted = restart.desired(await self._client.get(self._path(workload)))
        step = restart.next_step(written, pods, wanted)
        if not step.left or not entry.policy.enabled or entry.policy.mode != "restart":
            try:
                self._take_in(
                    workload, await self._client.patch(self._path(workload), restart.end(entry.record))
                )
            except (Conflict, NotFound):
                await self._refresh(workload)
                self._ask_in(workload, 0.0)
                return
            self._restarting.pop(workload, None)
            self._reporter.restarted(entry, step.left)
            self._rest(workload)
            return
        for pod in step.evict:
            try:
                await restart.evict(self._write_by(), workload.namespace, pod)
            except TooManyRequests as error:
                self._reporter.held(
                    entry, f"pod {pod.name} can't be evicted yet, and is tried again: {error.message}"
                )
                self._queue.retry(workload, at_least=error.retry_after or 0.0)
                return
        if step.wait_for:
            self._reporter.waits(entry, step.wait_for)
        else:
            self._reporter.held(entry, "")
        self._queue.forget(workload)
        self._ask_in(workload, _LOOK_AGAIN)

    def _write_by(self) -> Writer:
        if self._writer is None:
            raise RuntimeError("this reconciler was made without a writer")
        return self._writer

    def _finished(self, workload: WorkloadId, decision: Decision) -> None:
        """A decision was written: note it, once."""
        self._unanswered.pop(workload, None)
        self._store.writing(workload, None)
        if decision.kind is Kind.RECORD:
            self._recorded[workload] = (*self._recorded.get(workload, ())[1 - _RECORDS :], self._now())
        if decision.kind is Kind.ROLL:
            arrivals = [change.change.arrived for change in decision.changes if change.change.live]
            seconds = self._now() - min(arrivals) if arrivals else None
            self._metrics.rolled(workload.kind, seconds, namespace=workload.namespace)
        entry = self._store.workload(workload)
        if entry is not None:
            self._reporter.done(entry, decision)

    def _landed(self, entry: Entry) -> None:
        """A patch whose answer was lost may have been done all the same: then it counts, and is told."""
        decision = self._unanswered.get(entry.record.id)
        if decision is None or entry.record.unsaved or entry.record.applied != decision.applied:
            return
        if decision.mark is None or entry.record.mark == decision.mark:
            self._finished(entry.record.id, decision)

    def _restore_unanswered(self, workload: WorkloadId, decision: Decision | None) -> None:
        if decision is None:
            self._unanswered.pop(workload, None)
            self._store.writing(workload, None)
        else:
            self._unanswered[workload] = decision
            self._store.writing(workload, decision.mark)

    def _settle_unanswered(self, workload: WorkloadId) -> None:
        """The workload was read anew after a conflict: a patch without an answer shows now, or never will,
        for the server refuses it from here on."""
        entry = self._store.workload(workload)
        if entry is not None:
            self._landed(entry)
        self._restore_unanswered(workload, None)

    async def _refresh(self, workload: WorkloadId) -> None:
        """Read a workload that was changed in between. Raises ApiError."""
        try:
            answer = await self._client.get(self._path(workload))
        except NotFound:
            self._store.drop_workload(workload)
            return
        self._take_in(workload, answer)

    async def _other_key(self, entry: Entry, writing: Applied) -> bool:
        """Before Secrets are recorded anew because the key differs: is ours still the one in force?

        The server is asked once in a while for each key that turns up, for a thousand workloads have the same.
        Where ours was replaced, by this question or meanwhile, what was to be written can't be compared.
        """
        recorded = entry.record.applied
        if recorded is not None and recorded.key_id != self._store.configs.key.id:
            asked = self._foreign_keys.get(recorded.key_id, float("-inf"))
            if time.monotonic() - asked > _FOREIGN_KEY:
                await self._check_key()
                self._foreign_keys[recorded.key_id] = time.monotonic()
        return writing.key_id != self._store.configs.key.id

    def _fought_over(self, entry: Entry) -> bool:
        """Somebody rewrites or removes our annotation again and again (a GitOps tool, or a second installation
        with another digest key): slow down, don't fight. The record is known here meanwhile, so that nothing
        is missed."""
        now = self._now()
        times = [t for t in self._recorded.get(entry.record.id, ()) if now - t < _TRUCE]
        return len(times) >= _RECORDS

    def _wait(self, workload: WorkloadId, decision: Decision) -> None:
        if decision.until is None:
            return  # asked again when something changes
        if decision.changes:
            self._pending_since.setdefault(workload, self._now())
        self._ask_in(workload, decision.until - self._now())

    def _ask_in(self, workload: WorkloadId, seconds: float) -> None:
        self._queue.add_at(workload, asyncio.get_running_loop().time() + max(seconds, 0.0))

    def _rest(self, workload: WorkloadId) -> None:
        self._pending_since.pop(workload, None)
        self._queue.forget(workload)

    def _forget(self, workload: WorkloadId) -> None:
        self._rest(workload)
        self._unanswered.pop(workload, None)
        self._recorded.pop(workload, None)
        self._restarting.pop(workload, None)
        self.recreation.forget(workload)
        self._store.writing(workload, None)
        self._reporter.forget(workload)
        self._queue.discard(workload)
