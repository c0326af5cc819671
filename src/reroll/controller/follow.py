"""Follows the rollouts that reroll started to their ends, by the status that the watch brings: no list, no poll.

The rules are `core.follow`. What is kept here is one small record per rollout that is under way. After a restart of the
controller, or a change of the lead, it is made again from the record on the workload, which holds the mark that was
written and what its pods are owed; so an end that came meanwhile is reported, too. Each report is an Event whose name
follows from what it is about, so that no end is reported twice.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeAlias

from msgspec.structs import replace

from reroll.controller.clock import steady_time
from reroll.controller.entry import Entry
from reroll.core.follow import Following, Outcome, Report, begin, step
from reroll.core.proof import is_superseded
from reroll.core.records import WorkloadId

RECENT: Final = 3600.0
"""Seconds after the decision for which the end of a rollout is still reported by a controller that did not see its
beginning: as long as Events are kept, whose names tell that it was reported already."""


class Ends(Protocol):
    """Who is told what becomes of a rollout; `controller.report.Reporter` is."""

    def rollout(self, entry: Entry | None, workload: WorkloadId, report: Report, about: str) -> None:
        """`entry`: None where the workload is gone. `about`: the same for the same news of the same rollout, whoever
        reports it."""


class Counts(Protocol):
    """Who counts it; `controller.metrics.Metrics` does."""

    def rollout_ended(self, workload_kind: str, outcome: str, seconds: float | None) -> None: ...


Why: TypeAlias = Callable[[Entry], Awaitable[str]]
"""Asks the cluster why a rollout fails, in words; "" where nothing is found. Raises nothing."""


Hold: TypeAlias = Callable[[Entry, Outcome], Awaitable[None]]
"""Hears how a rollout stands before it is told, to hold what failed. Raises nothing."""

_Rollout: TypeAlias = tuple[str, str, str, str]
"""What tells a rollout from every other one: uid, both parts of the revision, and when it was decided."""


async def _unasked(entry: Entry) -> str:
    return ""


async def _unheld(entry: Entry, outcome: Outcome) -> None:
    return


class Follow:
    """The rollouts that are under way. `clock` only goes forward; `now` is the time of day. Both in seconds."""

    def __init__(
        self,
        ends: Ends,
        counts: Counts,
        *,
        why: Why = _unasked,
        hold: Hold = _unheld,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = steady_time,
    ) -> None:
        self._ends, self._counts, self._why, self._hold = ends, counts, why, hold
        self._clock, self._now = clock, now
        self._following: dict[WorkloadId, Following] = {}
        self._ended: dict[WorkloadId, _Rollout] = {}
        """Workload -> the rollout whose end was reported last."""

    def __len__(self) -> int:
        return len(self._following)

    def begin(self, entry: Entry) -> None:
        """A rollout of this workload was started just now: `entry` is as the API server answered."""
        record, workload = entry.record, entry.record.id
        if entry.progress is None or record.applied is None or not record.applied.since:
            return
        before = self._following.pop(workload, None)
        if before is not None:
            self._report(workload, entry, before, step(before, record, entry.progress, self._clock()).report)
        self._following[workload] = begin(record, entry.progress, self._clock())

    async def look(self, workload: WorkloadId, entry: Entry | None) -> float | None:
        """Look at a workload that was asked about, and report what is new. Returns after how many seconds to look
        again although nothing is heard until then; None: that is not needed."""
        following = self._following.get(workload) or self._found(workload, entry)
        if following is None:
            return None
        record, progress = (entry.record, entry.progress) if entry is not None else (None, None)
        late = workload not in self._following and progress is not None and progress.ended
        now = self._clock()
        found = step(following, record, progress, now)
        if found.following is None:
            self._following.pop(workload, None)
        else:
            self._following[workload] = found.following
        report = found.report
        if report is not None and report.outcome == "failed" and entry is not None:
            why = await self._why(entry)
            report = replace(report, words=f"{report.words}; {why}" if why else report.words)
        if report is not None and entry is not None:
            await self._hold(entry, report.outcome)
        self._report(workload, entry, following, report, late=late)
        return None if found.look_again is None else max(0.0, found.look_again - now)

    def forget(self, workload: WorkloadId) -> None:
        """The workload is gone."""
        self._ended.pop(workload, None)
        following = self._following.pop(workload, None)
        if following is not None:
            self._report(workload, None, following, step(following, None, None, self._clock()).report)

    def _found(self, workload: WorkloadId, entry: Entry | None) -> Following | None:
        """A rollout whose beginning this process did not see, if there is one to follow."""
        if entry is None or entry.progress is None:
            return None
        record, applied = entry.record, entry.record.applied
        if applied is None or not applied.since or applied.left or record.unsaved or is_superseded(record):
            return None
        found = begin(record, entry.progress, self._clock(), witnessed=False)
        if self._ended.get(workload) == _identity(found):
            return None
        if entry.progress.complete and (now := self._now()) - applied.decided(now) > RECENT:
            self._ended[workload] = _identity(
                found
            )  # what becomes of its pods from here on is another matter
            return None
        return found

    def _report(
        self,
        workload: WorkloadId,
        entry: Entry | None,
        following: Following,
        report: Report | None,
        *,
        late: bool = False,
    ) -> None:
        """`late`: it had ended before this controller looked, so that another one may have counted it."""
        if report is None:
            return
        if report.outcome in ("done", "healed"):
            self._ended[workload] = _identity(following)
        about = "\n".join((*_identity(following), report.outcome))
        self._ends.rollout(entry, workload, report, about)
        if not late and report.outcome != "blocked":
            self._counts.rollout_ended(workload.kind, report.outcome, report.seconds)


def _identity(following: Following) -> _Rollout:
    return (following.uid, *following.revision, str(following.at))
