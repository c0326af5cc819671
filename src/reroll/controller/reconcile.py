"""One workload at a time: load, follow, decide, gate, begin, report, proceed. The first step with a result ends it.

The worker says which workload and takes the result to the queue (`controller.worker`); everything else is read from
the store at that moment. What has to be remembered is the term's (`controller.term`); how a workload is acted on is
a mode's affair (`modes`).
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Final

from msgspec.structs import replace

from reroll.controller.ages import Ages
from reroll.controller.clock import steady_time
from reroll.controller.ledger import TRUCE
from reroll.controller.metrics import Metrics
from reroll.controller.result import Again, Done, Held, Result
from reroll.controller.store import Entry, Store
from reroll.controller.term import Term
from reroll.controller.writer import Writer
from reroll.core.decide import decide
from reroll.core.decision import Decision, Kind, Situation
from reroll.core.proof import NOT_PERMITTED, PodAges
from reroll.core.records import Applied, WorkloadId
from reroll.kube.errors import Conflict, NotFound
from reroll.modes.mode import Api, Leave, Outcome, Patch, Wait
from reroll.modes.restart import selector_of

_CONFLICTS: Final = 4
"""Answers of 409 in a row that are asked again at once; then the backoff takes over."""
_FOREIGN_KEY: Final = 5.0
"""Seconds for which our digest key is believed to be in force, though records were made with another one."""
_PODS_AGAIN: Final = 5.0
"""Seconds after which pods that could not be listed are asked for again."""
_WRITES: Final = frozenset({Kind.ADOPT, Kind.ROLL, Kind.RECORD, Kind.RESUME})


class Course:
    """One workload on its way through the steps. `entry` is set by load, `decision` by decide."""

    __slots__ = ("decision", "entry", "look_again", "workload", "written")
    entry: Entry
    decision: Decision

    def __init__(self, workload: WorkloadId) -> None:
        self.workload = workload
        self.look_again: float | None = None
        """After how many seconds to look at its rollout although nothing is heard of it."""
        self.written = False
        """The decision was written to the server, and is not told yet."""


class Reconciler:
    """Brings workloads to rest, within one term.

    `check_key` asks the server for the digest key in force. Where it is another one, the store has been told
    when this returns (True), and Secrets are being read again.
    """

    def __init__(
        self,
        store: Store,
        api: Api,
        term: Term,
        metrics: Metrics,
        *,
        check_key: Callable[[], Awaitable[bool]],
        now: Callable[[], float] = steady_time,
    ) -> None:
        self._store = store
        self._term = term
        self._metrics = metrics
        self._writer = Writer(store, api, term, metrics, now)
        self._ages = Ages(api)
        self._check_key = check_key
        self._now = now

    def situation(self, entry: Entry) -> Situation:
        """Everything that a decision about this workload is made of, as of now."""
        now = self._now()
        return Situation(
            workload=entry.record,
            policy=entry.policy,
            consumed=entry.consumed,
            states={c.config: self._store.configs.state(c.config) for c in entry.consumed},
            key_id=self._store.configs.key.id,
            now=now,
            pending_since=self._term.settling.since(entry.record.id, now),
            kind=self._store.kinds[entry.record.id.kind],
            marks=self._store.marks,
            progress=entry.progress,
        )

    async def reconcile(self, workload: WorkloadId) -> Result:
        """Ask and act until the workload is at rest or has to wait. Raises ApiError."""
        if not self._term.owns(workload):
            return Done()  # whoever owns it next asks about all of them
        unfinished = self._term.modes.unfinished(workload)
        if unfinished is not None:
            mode, subject = unfinished
            return self._result_of(await mode.proceed(subject))
        for _ in range(_CONFLICTS):
            course = Course(workload)
            try:
                try:
                    return await self._run_steps(course)
                except Conflict:
                    self._metrics.failed("act", "Conflict")
                    await self._writer.read_again(course.entry)
            except NotFound:
                return self._vanished(course.entry)
        return Held("another client changed it each time that reroll tried to write it", at_least=0.0)

    async def _run_steps(self, course: Course) -> Result:
        for step in (
            self._load,
            self._follow,
            self._decide,
            self._gate,
            self._begin,
            self._report,
            self._follow,
            self._proceed,
        ):
            result = await step(course)
            if result is not None:
                return _no_later(result, course.look_again)
        return _no_later(Done(), course.look_again)

    # --- the steps -----------------------------------------------------------------------------------

    async def _load(self, course: Course) -> Result | None:
        """What is known of the workload, a lost answer included."""
        entry = self._store.workload(course.workload)
        if entry is None:
            self._term.forget(course.workload)
            return Done()
        course.entry = entry
        self._writer.confirm_lost_answer(entry)
        return None

    async def _follow(self, course: Course) -> Result | None:
        """Is the rollout that was started, earlier or just now, at its end? Asked of the workload as it is held at this
        moment: after a write that is another one than was decided on."""
        course.look_again = await self._term.follow.look(
            course.workload, self._store.workload(course.workload)
        )
        return None

    async def _decide(self, course: Course) -> Result | None:
        """What is to be done about it (`core.decide`), with the ages of its pods where that counts."""
        entry, workload = course.entry, course.workload
        situation = self.situation(entry)
        decision = decide(situation)
        if decision.ask_pods:
            if decision.kind is Kind.ADOPT and decision.applied is not None:
                # From here on, what changes is a change, also while the pods' ages are on their way.
                self._store.adopted(workload, decision.applied)
            ages = await self._ages_of(entry, decision)
            if ages is None and decision.kind is Kind.RECORD:
                # What they prove is what is recorded: an answer that fails to come must not stand for them.
                return Held(f"{decision.reason}; {self._ages.problem}", at_least=_PODS_AGAIN)
            decision = decide(replace(situation, pods=ages if ages is not None else NOT_PERMITTED))
        course.decision = decision
        self._metrics.decided(decision.kind.value, workload.kind)
        self._term.reporter.decided(entry, decision)
        if decision.kind is not Kind.WAIT:
            return None
        if decision.until is None:
            # Something else has to change first, and what changes then settles as if it were the first.
            self._term.settling.block(workload)
            return Held(decision.reason)
        if decision.changes:
            self._term.settling.wait(workload, self._now())
        return Again(decision.until - self._now(), decision.reason)

    async def _ages_of(self, entry: Entry, decision: Decision) -> PodAges | None:
        """The ages of its pods. Where they prove what a rollout did, they are asked for as they are at this moment, by
        the workload's own selector. Where they could spare one, as for many workloads at a start, these share a list.
        Raises ApiError."""
        workload, kind = entry.record.id, self._store.kinds[entry.record.id.kind]
        if decision.kind is not Kind.RECORD:
            return await self._ages.of(workload, kind=kind)
        selector = selector_of(kind, await self._writer.read(entry))
        return await self._ages.of(workload, selector, kind, within=0.0)

    async def _gate(self, course: Course) -> Result | None:
        """May it be done now?"""
        return gate(course.entry, course.decision)

    async def _begin(self, course: Course) -> Result | None:
        """Write what was decided. What the server answers with is cached at once, ahead of the watch."""
        entry, decision, workload = course.entry, course.decision, course.workload
        if decision.kind not in _WRITES:
            return None
        if decision.applied is not None and await self._is_another_key(entry, decision.applied):
            return Again(0.0, "the digest key was replaced, so what was to be written can't be compared")
        if not self._term.owns(workload):
            return Done()
        if decision.kind is Kind.RECORD and self._term.ledger.fought_over(workload, self._now()):
            return Again(TRUCE, "another client rewrites its record again and again")
        if decision.kind is Kind.ADOPT and decision.applied is not None:
            self._store.adopted(workload, decision.applied)
        outcome = await self._term.modes.of(decision).begin(self._writer.subject(entry), decision)
        if not isinstance(outcome, Patch):
            return self._result_of(outcome)
        await self._writer.write(entry, decision, outcome)
        course.written = True
        return None

    async def _report(self, course: Course) -> Result | None:
        """Tell what was written; before going on, so that it is told though that fails."""
        if course.written:
            course.written = False
            self._writer.tell_written(course.workload, course.decision)
        return None

    async def _proceed(self, course: Course) -> Result | None:
        """Go on with what was begun earlier, such as evicting the next pod."""
        entry = self._store.workload(course.workload)
        if entry is None or entry.record.deleting or entry.policy.refused:
            return None
        self._term.settling.over(course.workload)
        subject = self._writer.subject(entry)
        for mode in self._term.modes:
            outcome = await mode.proceed(subject)
            if isinstance(outcome, Patch):
                await self._writer.patch(entry, outcome)
                self._term.reporter.ended(entry, outcome.ends)
            elif outcome is not None:
                return self._result_of(outcome)
        return None

    # --- what modes give back ------------------------------------------------------------------------

    def _result_of(self, outcome: Outcome | None) -> Result:
        if outcome is None or isinstance(outcome, Patch):
            return Again(0.0, "it is decided on again")
        if isinstance(outcome, Wait):
            if outcome.after is None:
                return Held(outcome.why, at_least=outcome.at_least, failed=outcome.failed)
            return Again(outcome.after, outcome.why)
        if isinstance(outcome, Leave):
            return Done()
        self._writer.cache_answer(outcome.workload, outcome.answer, made=True)
        if outcome.decision is None:
            return Again(0.0, "another object of this name exists, and is decided on")
        self._writer.tell_written(outcome.workload, outcome.decision)
        return Done()

    # --- what went wrong -----------------------------------------------------------------------------

    def _vanished(self, entry: Entry) -> Result:
        """The server knows no workload of this name. The watch tells of its end, and of another one that took its
        name, which is not touched by this."""
        workload = entry.record.id
        self._term.ledger.restore(workload, None)
        held = self._store.workload(workload)
        if held is None:
            self._term.forget(workload)
            return Done()
        if held.record.uid != entry.record.uid:
            return Again(0.0, "another one has its name")
        return Held("it was deleted, and the watch has not reported that yet", at_least=0.0)

    async def _is_another_key(self, entry: Entry, writing: Applied) -> bool:
        """Before Secrets are recorded anew because the key differs: is ours still the one in force?

        The server is asked once in a while, whichever other keys turn up: a thousand workloads can have the same, and
        whoever may write a record can put a new one into it each time. Where ours was replaced, by this question or
        meanwhile, what was to be written can't be compared.
        """
        recorded = entry.record.applied
        if recorded is not None and recorded.key_id != self._store.configs.key.id:
            now = time.monotonic()
            if now - self._term.key_asked > _FOREIGN_KEY:
                await self._check_key()
                self._term.key_asked = now
        return writing.key_id != self._store.configs.key.id


def gate(entry: Entry, decision: Decision) -> Result | None:
    """May this decision be carried out now? None: yes. The place for holds, maintenance windows, limits and the
    circuit breaker: pure, and asked of each decision before anything is written. Today everything may."""
    return None


def _no_later(result: Result, look_again: float | None) -> Result:
    """The same result, and asked again after `look_again` seconds at the latest: a rollout that is followed may fail
    silently, also while something else is waited for. What is tried again with a growing delay stays that."""
    if look_again is None or (isinstance(result, Held) and result.at_least is not None):
        return result
    if isinstance(result, Again) and result.after <= look_again:
        return result
    return Again(look_again, "its rollout is followed")
