"""What people are told: an Event on the workload and a line in the log, each thing once.

No value of a Secret can get here: decisions hold names, keys and digests only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import structlog

from reroll.alerts.notice import Notice, Outcome
from reroll.controller.store import Entry
from reroll.core.compare import ConfigChange
from reroll.core.decide import Decision, Kind
from reroll.core.kinds import KINDS, WorkloadKind
from reroll.core.records import WorkloadId
from reroll.kube.errors import ApiError
from reroll.kube.events import EventRecorder, ObjectReference

log = structlog.get_logger("reroll.controller")

_SHOWN = 5  # objects named one by one; an Event's note holds 1 kB


class Words(NamedTuple):
    """The reasons of Events."""

    rolled: str = "Rolled"
    failed: str = "Failed"


RELOADER_WORDS = Words("Reloaded", "ReloadFail")
"""Those of stakater/Reloader."""


_WORDS = Words()


class Reporter:
    """Says what was decided and done. Never blocks: Events are sent in the background.

    `kinds`: those that are followed, by `WorkloadKind.id`. `notify` is given what people outside are told.
    """

    def __init__(
        self,
        events: EventRecorder,
        kinds: Mapping[str, WorkloadKind] = KINDS,
        words: Words = _WORDS,
        notify: Callable[[Notice], None] = lambda notice: None,
    ) -> None:
        self._events = events
        self._kinds = kinds
        self._words = words
        self._notify = notify
        self._held: dict[WorkloadId, str] = {}
        self._waits: dict[WorkloadId, str] = {}
        self._warned: dict[WorkloadId, tuple[str, ...]] = {}
        self._problems: dict[WorkloadId, tuple[str, ...]] = {}
        self._failing: set[WorkloadId] = set()

    def decided(self, entry: Entry, decision: Decision) -> None:
        """Told of each decision. Speaks up for what the workload's owner has to know, when it is new."""
        workload = entry.record.id
        problems = tuple(problem.message for problem in entry.policy.problems)
        if problems != self._problems.get(workload, ()):
            self._problems[workload] = problems
            for problem in problems:
                if problem not in decision.reason or decision.kind is not Kind.REFUSE:
                    self._warn(entry, "BadAnnotation", "Configure", problem)
        warning = (decision.reason, *decision.notes) if decision.warning else ()
        if warning != self._warned.get(workload, ()):
            self._warned[workload] = warning
            if warning:
                reason = {Kind.REFUSE: "Refused", Kind.WAIT: "NotRolled"}.get(decision.kind, "Recorded")
                self._warn(entry, reason, "Decide", "; ".join(warning))
                if decision.kind is Kind.REFUSE:
                    self._tell(workload, "refused", decision.reason)
        log.debug("decided", workload=str(workload), decision=decision.kind.value, reason=decision.reason)

    def done(self, entry: Entry, decision: Decision) -> None:
        """Told when a decision was written to the server."""
        workload = entry.record.id
        self._failing.discard(workload)
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
        note = "; ".join([describe(decision.changes, home), *decision.notes])
        log.info("rolled", workload=str(workload), reason=note)
        self._tell(workload, "reloaded", decision.reason, decision.changes)
        self._events.record(
            reference(entry, self._kinds),
            type="Normal",
            reason=self._words.rolled,
            action="Roll",
            note=f"rolled: {note}",
        )

    def mark_dropped(self, entry: Entry) -> None:
        """Told when the API server took the patch, and left the mark out."""
        note = (
            "its pods run older configuration: the API server drops annotations from the pod template of this kind, "
            "so the mark that would roll it is lost; use the mode restart"
        )
        self._warn(entry, "NotRolled", "Roll", note)

    def held(self, entry: Entry, why: str) -> None:
        """Told when pods can't be evicted yet, and with "" when they could. Says so once."""
        workload = entry.record.id
        if why == self._held.get(workload, ""):
            return
        self._held[workload] = why
        if why:
            self._warn(entry, "Held", "Evict", why)

    def no_pods(self, entry: Entry) -> None:
        """Told when no pod was found to evict, of a kind that may have some all the same."""
        note = (
            "none of its pods was found, so none is evicted: the mode restart is for kinds that own their pods "
            "themselves; use the mode rollout"
        )
        self._warn(entry, "NotRolled", "Evict", note)

    def waits(self, entry: Entry, why: str) -> None:
        """Told when the next pod waits for another one, which is as it should be: no Event for it. Says so once."""
        workload = entry.record.id
        if why == self._waits.get(workload):
            return
        self._waits[workload] = why
        log.info("the restart waits", workload=str(workload), reason=why)

    def restarted(self, entry: Entry, left: int) -> None:
        """Told when the last pod that had to go is gone, or when the rest of them, `left`, may stay."""
        self._held.pop(entry.record.id, None)
        self._waits.pop(entry.record.id, None)
        reason = f"the mode was taken away, {left} stay" if left else "all pods that ran before are gone"
        log.info("restarted", workload=str(entry.record.id), reason=reason)

    def failed(self, entry: Entry | None, workload: WorkloadId, error: ApiError, delay: float) -> None:
        """Told when acting failed; it is tried again in `delay` seconds."""
        log.warning(
            "failed, will be tried again", workload=str(workload), error=str(error), seconds=round(delay, 1)
        )
        if entry is not None and workload not in self._failing:
            self._failing.add(workload)
            self._tell(workload, "failed", error.message)
            self._warn(
                entry,
                self._words.failed,
                "Roll",
                f"could not be rolled or recorded, will be tried again: {error.message}",
            )

    def not_created(self, entry: Entry, error: ApiError, delay: float) -> None:
        """Told when a Job was deleted and its successor is not taken; it is tried again in `delay` seconds."""
        workload = entry.record.id
        log.error(
            "a Job was deleted and is not created again yet, will be tried again",
            workload=str(workload),
            error=str(error),
            seconds=round(delay, 1),
        )
        if self._held.get(workload) != error.message:
            self._held[workload] = error.message
            note = f"it was deleted to be created again, which fails and is tried again: {error.message}"
            self._warn(entry, "Failed", "Roll", note)

    def forget(self, workload: WorkloadId) -> None:
        self._warned.pop(workload, None)
        self._problems.pop(workload, None)
        self._failing.discard(workload)
        self._held.pop(workload, None)
        self._waits.pop(workload, None)

    def _tell(
        self, workload: WorkloadId, outcome: Outcome, reason: str, changes: Sequence[ConfigChange] = ()
    ) -> None:
        configs = tuple(change.config for change in changes)
        self._notify(Notice(workload, outcome, configs, reason, time.time()))

    def _warn(self, entry: Entry, reason: str, action: str, note: str) -> None:
        log.warning(reason, workload=str(entry.record.id), detail=note)
        self._events.record(
            reference(entry, self._kinds), type="Warning", reason=reason, action=action, note=note
        )


def reference(entry: Entry, kinds: Mapping[str, WorkloadKind] = KINDS) -> ObjectReference:
    """A workload as Events refer to it."""
    record = entry.record
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
