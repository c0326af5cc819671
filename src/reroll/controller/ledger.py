"""What was written in this term, as far as it is not settled: patches without an answer, and how often a record was.

A patch whose answer was lost may have been done all the same. It is kept here until the workload shows whether it
was: then it counts, and is told, once.
"""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

from reroll.core.decision import Decision, Kind
from reroll.core.records import Applied, WorkloadId, WorkloadRecord

TRUCE: Final = 30.0
"""Seconds in which the record of one workload is written at most `RECORDS` times without a rollout."""
RECORDS: Final = 5


class Echoes(Protocol):
    """Who has to know what is being written, so that its echo is not taken for somebody else's change."""

    def writing(self, workload: WorkloadId, mark: str | None, applied: Applied | None = None) -> None: ...


class Unanswered(NamedTuple):
    """A decision that was, or is being, written."""

    uid: str
    """Of the object that it was decided on."""
    decision: Decision


class Ledger:
    """The writes of one term. All methods but `begin` and `fought_over` may be called for any workload at any time."""

    def __init__(self, echoes: Echoes) -> None:
        self._echoes = echoes
        self._unanswered: dict[WorkloadId, Unanswered] = {}
        self._recorded: dict[WorkloadId, tuple[float, ...]] = {}

    def begin(self, record: WorkloadRecord, decision: Decision) -> Unanswered | None:
        """Note a decision that is about to be written. Returns the one before it whose answer was lost, for
        `restore`."""
        earlier = self._unanswered.get(record.id)
        self._echoes.writing(record.id, decision.mark, decision.applied)
        self._unanswered[record.id] = Unanswered(record.uid, decision)
        return earlier

    def restore(self, workload: WorkloadId, earlier: Unanswered | None) -> None:
        """The last one was surely not done. `earlier`, whose answer was lost, may have been."""
        if earlier is None:
            self._unanswered.pop(workload, None)
            self._echoes.writing(workload, None)
        else:
            self._unanswered[workload] = earlier
            self._echoes.writing(workload, earlier.decision.mark)

    def finish(self, workload: WorkloadId, decision: Decision, now: float) -> None:
        """A decision was written, at `now` in seconds since the epoch."""
        self.restore(workload, None)
        if decision.kind is Kind.RECORD:
            self._recorded[workload] = (*self._recorded.get(workload, ())[1 - RECORDS :], now)

    def confirm_lost_answer(self, record: WorkloadRecord, now: float) -> Decision | None:
        """The decision whose answer was lost, where the workload shows that it was written after all: it is finished
        by this, and to be told. None: there is none."""
        uid, decision = self._unanswered.get(record.id, ("", None))
        if decision is None:
            return None
        if uid != record.uid:
            self.restore(record.id, None)  # another object has its name: nobody will ever see an answer
            return None
        if record.unsaved or record.applied != decision.applied:
            return None
        if decision.mark is not None and record.mark != decision.mark:
            self.restore(record.id, None)  # whoever wrote this record, its mark was taken away again since
            return None
        self.finish(record.id, decision, now)
        return decision

    def fought_over(self, workload: WorkloadId, now: float) -> bool:
        """Does somebody rewrite or remove the record again and again (a GitOps tool, or a second installation with
        another digest key)? Then it is not written for a while. What it would hold is known here meanwhile, so
        nothing is missed."""
        return sum(1 for at in self._recorded.get(workload, ()) if now - at < TRUCE) >= RECORDS

    def forget(self, workload: WorkloadId) -> None:
        """The workload is gone."""
        self._recorded.pop(workload, None)
        self.restore(workload, None)
