"""Takes the place of the controller's reporter: keeps what was decided and done, with the virtual time of it."""

from __future__ import annotations

import asyncio

from msgspec import Struct

from reroll.controller.metrics import Metrics, Step
from reroll.controller.report import Reporter
from reroll.controller.store import Entry
from reroll.core.decision import Decision, Kind
from reroll.core.follow import Report
from reroll.core.records import WorkloadId
from reroll.kube.errors import ApiError


class Act(Struct, frozen=True):
    """A decision that was written to the cluster."""

    at: float
    """Loop time."""
    workload: WorkloadId
    decision: Decision


class Recorder(Reporter):
    """Everything that the reconciler reports."""

    def __init__(self) -> None:
        self.acts: list[Act] = []
        self.last: dict[WorkloadId, Decision] = {}
        """The last decision that was no writing one, by workload."""

    def decided(self, entry: Entry, decision: Decision) -> None:
        if decision.kind in (Kind.WAIT, Kind.SKIP, Kind.REFUSE):
            self.last[entry.record.id] = decision

    def done(self, entry: Entry, decision: Decision) -> None:
        self.last.pop(entry.record.id, None)
        self.acts.append(Act(asyncio.get_running_loop().time(), entry.record.id, decision))

    def failed(
        self,
        entry: Entry | None,
        workload: WorkloadId,
        error: ApiError,
        delay: float,
        *,
        refused: bool = False,
    ) -> None:
        raise RuntimeError(f"the played cluster failed on {workload}: {error}") from error

    def rollout(self, entry: Entry | None, workload: WorkloadId, report: Report, about: str) -> None:
        return  # here every rollout ends at once

    def settled(self, workload: WorkloadId) -> None:
        return

    def forget(self, workload: WorkloadId) -> None:
        self.last.pop(workload, None)


class StrictMetrics(Metrics):
    """A controller outlives a decision that fails, and asks again for ever; a simulation would never end."""

    def failed(self, step: Step, reason: str) -> None:
        if reason == "internal":
            raise RuntimeError("a decision failed: this is a mistake in reroll, please report it")
        super().failed(step, reason)
