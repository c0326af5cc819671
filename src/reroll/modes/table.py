"""Which mode does what: one line a mode."""

from __future__ import annotations

from collections.abc import Iterator

from reroll.core.decision import Decision, How, Kind
from reroll.core.records import WorkloadId
from reroll.modes.instantiate import Instantiate
from reroll.modes.mode import Mode, Subject
from reroll.modes.pause import Resume
from reroll.modes.recreate import Recreate
from reroll.modes.restart import Evict, RestartAt
from reroll.modes.rollout import Rollout
from reroll.modes.version import Version


class Modes:
    """One of each mode, for one term of leadership."""

    def __init__(self) -> None:
        self.version = Version()
        self._by_how: dict[How, Mode] = {
            How.TEMPLATE: Rollout(),
            How.EVICT: Evict(),
            How.RESTART_AT: RestartAt(),
            How.AGAIN: Recreate(),
            How.INSTANTIATE: Instantiate(),
            How.VERSION: self.version,
        }
        self._resume: Mode = Resume()

    def __iter__(self) -> Iterator[Mode]:
        yield from self._by_how.values()

    def of(self, decision: Decision) -> Mode:
        """Which one carries this decision out. A record alone is written as a rollout is, without a mark."""
        if decision.kind is Kind.RESUME:
            return self._resume
        return self._by_how[decision.how if decision.kind is Kind.ROLL else How.TEMPLATE]

    def unfinished(self, workload: WorkloadId) -> tuple[Mode, Subject] | None:
        """What goes on though the workload may not be there meanwhile."""
        for mode in self:
            subject = mode.unfinished(workload)
            if subject is not None:
                return mode, subject
        return None

    def all_unfinished(self) -> list[WorkloadId]:
        """All that `unfinished` would tell of: what must not be left half done at the end."""
        return [workload for mode in self for workload in mode.all_unfinished()]

    def forget(self, workload: WorkloadId) -> None:
        """The workload is gone."""
        for mode in self:
            mode.forget(workload)

    def end(self) -> None:
        """The term is over."""
        for mode in self:
            mode.end()
