"""What people are told: an Event on the workload and a line in the log, each thing once.

No value of a Secret can get here: decisions hold names, keys and digests only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import structlog

from reroll.alerts.notice import Notice, Outcome
from reroll.controller.store import Entry
from reroll.core.compare import ConfigChange
from reroll.core.decision import Decision, Kind
from reroll.core.follow import Report
from reroll.core.kinds import KINDS, WorkloadKind
from reroll.core.records import WorkloadId, WorkloadRecord
from reroll.kube.errors import ApiError
from reroll.kube.events import EventRecorder, ObjectReference

log = structlog.get_logger("reroll.controller")

_SHOWN = 5  # objects named one by one; an Event's note holds 1 kB


_ROLLOUT_REASONS: Mapping[str, str] = {
    "done": "RolloutComplete",
    "healed": "RolloutComplete",
    "failed": "RolloutFailed",
    "blocked": "RolloutBlocked",
    "superseded": "RolloutSuperseded",
}


class EventReasons(NamedTuple):
    """The reasons of Events that differ from tool to tool."""

    rolled: str = "Rolled"
    failed: str = "Failed"


RELOADER_REASONS = EventReasons("Reloaded", "ReloadFail")
"""Those of stakater/Reloader."""


_REASONS = EventReasons()


class About(Protocol):
    """What is told of: `store.Entry` and `modes.mode.Subject` have it."""

    @property
    def record(self) -> WorkloadRecord: ...


class Reporter:
    """Says what was decided and done. Never blocks: Events are sent in the background.

    It remembers what was told, so that each thing is told once. There is one for each term of leadership.

    `kinds`: those that are followed, by `WorkloadKind.id`. `notify` is given what people outside are told.
    """

    def __init__(
        self,
        events: EventRecorder,
        kinds: Mapping[str, WorkloadKind] = KINDS,
        reasons: EventReasons = _REASONS,
        notify: Callable[[Notice], None] = lambda notice: None,
    ) -> None:
        self._events = events
        self._kinds = kinds
        self._reasons = reasons
        self._notify = notify
        self._held: dict[WorkloadId, str] = {}
        self._waits: dict[WorkloadId, str] = {}
        self._warned: dict[WorkloadId, tuple[str, ...]] = {}
        self._problems: dict[WorkloadId, tuple[str, ...]] = {}
        self._failing: dict[WorkloadId, str] = {}

    def decided(self, entry: Entry, decision: Decision) -> None:
        """Told of each decision. Speaks up for what the workload's owner has to know, when it is new."""
        workload = entry.record.id
        problems = tuple(problem.message for problem in entry.policy.problems)
        if problems != self._problems.get(workload, ()):
            self._problems[workload] = problems
            for problem in problems:
                if problem not in decision.reason or decision.kind is not Kind.REFUSE:
                    self.warn(entry, "BadAnnotation", "Configure", problem)
        warning = (decision.reason, *decision.notes) if decision.warning else ()
        if warning != self._warned.get(workload, ()):
            self._warned[workload] = warning
            if warning:
                usual = {Kind.REFUSE: "Refused", Kind.WAIT: "NotRolled"}.get(decision.kind, "Recorded")
                reason = decision.event or usual
                self.warn(entry, reason, "Decide", "; ".join(warning))
                if decision.kind is Kind.REFUSE:
                    self._tell(workload, "refused", decision.reason)
        log.debug("decided", workload=str(workload), decision=decision.kind.value, reason=decision.reason)

    def done(self, entry: Entry, decision: Decision) -> None:
        """Told when a decision was written to the server."""
        workload = entry.record.id
        self._failing.pop(workload, None)
        self._held.pop(workload, None)
        if decision.kind is not Kind.ROLL:
            log.info(
                {Kind.ADOPT: "adopted", Kind.RECORD: "recorded"}.get(decision.kind, decision.kind.value),
                workload=str(workload),
                reason=decision.reason,
                **({"notes": list(decision.notes)} if decision.notes else {}),
            )
            return
        home = workload.namespace
        note = "; ".join([describe(decision.changes, home) or decision.reason, *decision.notes])
        log.info("rolled", workload=str(workload), reason=note)
        self._tell(workload, "reloaded", decision.reason, decision.changes)
        self._events.record(
            reference(entry, self._kinds),
            type="Normal",
            reason=self._reasons.rolled,
            action="Roll",
            note=f"rolled: {note}",
        )

    def rollout(self, entry: Entry | None, workload: WorkloadId, report: Report, about: str) -> None:
        """Told what became of a rollout; `about` is the same for the same news, whoever reports it."""
        seconds = None if report.seconds is None else round(report.seconds, 1)
        took = "" if seconds is None else f" in {seconds:g} s"
        words = {
            "done": f"rollout complete{took}",
            "healed": f"rollout complete after it had failed{took}",
            "failed": "rollout failed",
            "blocked": "rollout is blocked",
            "superseded": "rollout superseded",
        }[report.outcome]
        say = log.warning if report.outcome == "failed" else log.info
        say(words, workload=str(workload), detail=report.words)
        if entry is None:
            return
        if report.outcome == "failed":
            self._tell(workload, "failed", f"{words}: {report.words}")
        self._events.record(
            reference(entry, self._kinds),
            type="Warning" if report.outcome == "failed" else "Normal",
            reason=_ROLLOUT_REASONS[report.outcome],
            action="Follow",
            note=f"{words}: {report.words}",
            once=about,
        )

    def mark_dropped(self, entry: Entry) -> None:
        """Told when the API server took the patch, and left the mark out."""
        note = (
            "its pods run older configuration: the API server drops annotations from the pod template of this kind, "
            "so the mark that would roll it is lost; use the mode restart"
        )
        self.warn(entry, "NotRolled", "Roll", note)

    def warn(self, subject: About, reason: str, action: str, note: str) -> None:
        """A Warning Event, and a line in the log."""
        log.warning(reason, workload=str(subject.record.id), detail=note)
        self._events.record(
            reference(subject, self._kinds), type="Warning", reason=reason, action=action, note=note
        )

    def held(self, subject: About, why: str, action: str = "Evict") -> None:
        """Told when pods can't be evicted yet, or another `action` can't be taken, and with "" when it could. Says so
        once."""
        workload = subject.record.id
        if why == self._held.get(workload, ""):
            return
        self._held[workload] = why
        if why:
            self.warn(subject, "Held", action, why)

    def waits(self, subject: About, why: str) -> None:
        """Told when it waits, which is as it should be: no Event for it. Says so once."""
        workload = subject.record.id
        if why == self._waits.get(workload):
            return
        self._waits[workload] = why
        log.info("waiting", workload=str(workload), reason=why)

    def ended(self, subject: About, reason: str) -> None:
        """Told when a restart is over: the last pod that had to go is gone, or the rest may stay."""
        self._held.pop(subject.record.id, None)
        self._waits.pop(subject.record.id, None)
        log.info("restarted", workload=str(subject.record.id), reason=reason)
        self._events.record(
            reference(subject, self._kinds),
            type="Normal",
            reason="RolloutComplete",
            action="Follow",
            note=f"restart complete: {reason}",
        )

    def failed(
        self,
        entry: Entry | None,
        workload: WorkloadId,
        error: ApiError,
        delay: float,
        *,
        refused: bool = False,
    ) -> None:
        """Told when acting failed; it is tried again in `delay` seconds. An Event says so once until it succeeds, and
        once for each reason for which the server refuses it. The worker logs it."""
        told = self._failing.get(workload)
        if entry is None or (told is not None and (not refused or told == error.reason)):
            return
        self._failing[workload] = error.reason if refused else ""
        self._tell(workload, "failed", error.message)
        self.warn(
            entry,
            self._reasons.failed,
            "Roll",
            f"could not be rolled or recorded, will be tried again: {error.message}",
        )

    def not_created(self, subject: About, error: ApiError) -> None:
        """Told when a Job was deleted and its successor is not taken; it is tried again."""
        workload = subject.record.id
        log.error(
            "Job was deleted and could not be created again, will be tried again",
            workload=str(workload),
            error=str(error),
        )
        if self._held.get(workload) != error.message:
            self._held[workload] = error.message
            note = f"it was deleted to be created again, which fails and is tried again: {error.message}"
            self.warn(subject, "Failed", "Roll", note)

    def settled(self, workload: WorkloadId) -> None:
        """Told when a workload is at rest: a failure after this is told again."""
        self._failing.pop(workload, None)

    def forget(self, workload: WorkloadId) -> None:
        self._warned.pop(workload, None)
        self._problems.pop(workload, None)
        self._failing.pop(workload, None)
        self._held.pop(workload, None)
        self._waits.pop(workload, None)

    def _tell(
        self, workload: WorkloadId, outcome: Outcome, reason: str, changes: Sequence[ConfigChange] = ()
    ) -> None:
        configs = tuple(change.config for change in changes)
        self._notify(Notice(workload, outcome, configs, reason, time.time()))


def reference(about: About, kinds: Mapping[str, WorkloadKind] = KINDS) -> ObjectReference:
    """A workload as Events refer to it."""
    record = about.record
    kind = kinds[record.id.kind]
    return ObjectReference(
        api_version=kind.api_version,
        kind=kind.kind,
        namespace=record.id.namespace,
        name=record.id.name,
        uid=record.uid,
        resource_version=record.resource_version,
    )


def describe(changes: Sequence[ConfigChange], home: str) -> str:
    """Changes with the places that consume them, such as
    ``configmap/app changed (PORT): container web: env PORT``. Objects read at the same place stand together.
    """
    together: dict[str, list[str]] = {}
    for change in changes:
        together.setdefault(_places(change), []).append(change.describe(home))
    parts = []
    for places, words in together.items():
        shown = ", ".join(words[:_SHOWN]) + (
            f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""
        )
        parts.append(f"{shown}: {places}" if places else shown)
    return "; ".join(parts)


def _places(change: ConfigChange) -> str:
    wanted = None if change.keys is None else set(change.keys)
    places = list(
        dict.fromkeys(
            ref.where
            for ref in change.references
            if wanted is None or ref.keys is None or wanted & set(ref.keys)
        )
    )
    return ", ".join(places[:3]) + (f" and {len(places) - 3} more" if len(places) > 3 else "")
