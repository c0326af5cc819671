"""What it takes to have the pods of a workload replaced: the means, the mark, and what is recorded. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from msgspec.structs import replace

from reroll.core.compare import ConfigChange
from reroll.core.decision import Decision, How, Kind, Situation
from reroll.core.kinds import CRON_JOB, JOB
from reroll.core.proof import mark_id
from reroll.core.records import LATEST, Applied, Change, ConfigRecord, ConfigState

_SAYS: Mapping[How, tuple[str, ...]] = {
    How.EVICT: ("its pods are evicted, its pod template stays as it is",),
    How.RESTART_AT: ("its own controller restarts its pods, its pod template stays as it is",),
    How.AGAIN: ("it is deleted and created again",),
    How.INSTANTIATE: ("a Job is started from it",),
    How.VERSION: ("it is pointed at immutable versions",),
}


def roll(
    s: Situation,
    reason: str,
    stale: tuple[ConfigChange, ...],
    after: Applied,
    *,
    since: float,
    notes: tuple[str, ...],
    again: int = 0,
) -> Decision:
    """Have its pods replaced. `again`: how often its mark was written again by now, for the same content."""
    w, how = s.workload, how_to_roll(s)
    pause = _pause(s, how)
    if how in (How.TEMPLATE, How.VERSION):
        if w.paused:
            notes += ("it is paused: its pods follow when it is resumed",)
        if w.on_delete:
            notes += ("its update strategy is OnDelete: each pod follows when it is deleted",)
        if w.partition:
            notes += (f"its partition is {w.partition}: pods of lower ordinals follow when that is lowered",)
    mark = None
    if how in (How.TEMPLATE, How.VERSION, How.AGAIN):
        mark = (
            _mark_again(s, after) if again else s.marks.next(w, after, stale, since=_unless_known(s, since))
        )
    after = replace(after, at=decided_at(s))
    if how in (How.TEMPLATE, How.VERSION, How.RESTART_AT) and s.progress is not None:
        present = w.mark if mark is None else mark
        after = replace(after, mark=mark_id(present), since=int(since) or int(s.now), again=again)
    return Decision(
        Kind.ROLL,
        reason,
        changes=stale,
        applied=after,
        mark=mark,
        how=how,
        pause=pause,
        notes=notes + _says(s, how),
        ask_pods=s.pods is None and not again and not all(change.change.live for change in stale),
    )


def _says(s: Situation, how: How) -> tuple[str, ...]:
    if how is How.VERSION and s.policy.mode != "version":
        return ("it is pointed back at what it was pointed at versions of",)
    return _SAYS.get(how, ())


def decided_at(s: Situation) -> int:
    """When this is decided, as a record holds it. What ends `WorkloadRecord.mixed` is a later time than that of the
    decision before, which can have been in this very second, or by a clock that goes ahead."""
    now, before = int(s.now), s.workload.applied
    if before is None or not s.workload.mixed:
        return now
    return min(max(now, before.at + 1), LATEST)


def _mark_again(s: Situation, after: Applied) -> str:
    """The mark that another client took away; another one where the template carries that very mark, or where pods that
    carry it have read other content."""
    w = s.workload
    owed = w.applied.mark if w.applied is not None else None
    if owed and not owed.startswith("#") and owed != w.mark and not w.mixed:
        return owed
    everything = tuple(
        ConfigChange(c.config, None, references=c.references, change=_changed(s.states[c.config]))
        for c in s.consumed
    )
    return s.marks.next(w, after, everything)


def _changed(state: ConfigState) -> Change:
    return state.change if isinstance(state, ConfigRecord) else Change()


def _unless_known(s: Situation, since: float) -> int:
    """What makes a mark one that no pod has, where it is not known which revisions have pods: the time of the change
    that it is for, else that of the decision before; 0 where they are known."""
    w, before = s.workload, s.workload.applied
    if w.revisions is not None or s.progress is None or s.progress.complete:
        return 0
    return int(since) or (before.at if before is not None else 0) or int(s.now)


def latest(stale: Collection[ConfigChange]) -> float:
    """The server's time of the last of these changes; 0 where it is not known of each."""
    stamps = [change.change.stamp for change in stale]
    return max(stamps) if stamps and all(stamps) else 0.0


def how_to_roll(s: Situation) -> How:
    """What makes the pods of this kind, under this policy, read the new content."""
    kind = s.kind
    if kind is JOB:
        return How.AGAIN
    if s.workload.template_of is None and (s.policy.mode == "version" or _names_copies(s)):
        return How.VERSION
    if kind is CRON_JOB:
        return How.INSTANTIATE if s.policy.instantiate else How.TEMPLATE
    if s.policy.mode == "restart" or s.workload.template_of is not None:
        return How.RESTART_AT if kind.restart_at else How.EVICT
    return How.TEMPLATE


def _names_copies(s: Situation) -> bool:
    """Was it in the mode `version`, so that its template has to be pointed back at what it is to read?"""
    return any(each.copy for c in s.consumed for each in c.references)


def _pause(s: Situation, how: How) -> float | None:
    """Since when it is to be paused as it is rolled; None: it is not. What a person has paused is left alone."""
    pause = s.policy.pause
    if pause is None or not pause.period or s.workload.paused or how not in (How.TEMPLATE, How.VERSION):
        return None
    return s.now


def cannot_start(
    reason: str, blocked: Sequence[str], stale: tuple[ConfigChange, ...], notes: tuple[str, ...]
) -> Decision:
    """Its pods would have to be replaced, and new ones could not start: `blocked` says why."""
    words = f"{reason}; not rolled, because new pods could not start: {'; '.join(blocked)}"
    return Decision(Kind.WAIT, words, changes=stale, notes=notes, warning=True)
