"""Is this workload stale, and what is to be done about it? The heart of reroll, and a pure function.

`decide` sees one workload, what it consumes, the digests of that now, how far its rollout is, its policy and the time,
and answers with a `Decision` that carries its reason in words. It is asked again whenever anything of this changed, and
asking twice gives the same answer: nothing here depends on an event having been seen (rules 1 and 2 of the
design). What another client's rollout is worth is judged by `core.proof`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import Enum
from typing import Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from reroll.core.compare import Comparison, ConfigChange, compare, current, followed
from reroll.core.digests import keyed
from reroll.core.kinds import CRON_JOB, DEPLOYMENT, JOB, WorkloadKind
from reroll.core.marks import NATIVE, MarkStyle
from reroll.core.order import is_later
from reroll.core.policy import Policy
from reroll.core.progress import Progress
from reroll.core.proof import New, Old, Proof, Rolling, Unasked, is_superseded, mark_id, prove
from reroll.core.proof import PodAges as PodAges
from reroll.core.records import (
    Applied,
    AppliedKeys,
    ConfigId,
    ConfigRecord,
    ConfigState,
    Consumed,
    Unknown,
    WorkloadRecord,
)


class Kind(Enum):
    """What is to be done."""

    ADOPT = "adopt"
    """Seen for the first time: record its digests, roll nothing."""
    ROLL = "roll"
    """Its pods run older configuration: change its pod template."""
    RECORD = "record"
    """Its pods run the current configuration, and what is recorded says otherwise: correct the record."""
    WAIT = "wait"
    """It is stale, and it is not yet time."""
    SKIP = "skip"
    """Nothing to do."""
    RESUME = "resume"
    """It was paused as it was rolled, and that was long enough."""
    REFUSE = "refuse"
    """Its policy can't be told: acting could do what its owner forbade."""


class Situation(Struct, frozen=True):
    """Everything a decision is made of."""

    workload: WorkloadRecord
    policy: Policy
    consumed: Sequence[Consumed]
    states: Mapping[ConfigId, ConfigState]
    key_id: str
    """`DigestKey.id` that the digests of Secrets were made with."""
    now: float
    """Seconds since the epoch, on this process's clock."""
    pending_since: float | None = None
    """When the first change that was not yet acted on arrived; None: nothing is pending."""
    kind: WorkloadKind = DEPLOYMENT
    pods: PodAges | None = None
    """None: not asked. See `Decision.ask_pods`."""
    progress: Progress | None = None
    """How far its rollout is; None where its kind doesn't show that."""
    marks: MarkStyle = NATIVE
    """How a pod template is marked."""


class How(Enum):
    """By which means a stale workload is rolled."""

    TEMPLATE = "template"
    """The mark on its pod template is changed."""
    EVICT = "evict"
    """Its pods are evicted, and its template is left as it is (mode `restart`)."""
    RESTART_AT = "restart at"
    """Its own controller is told to restart its pods (mode `restart` of a kind that has a field for it)."""
    AGAIN = "again"
    """It is deleted and created again (Job)."""
    INSTANTIATE = "instantiate"
    """A Job is started from it (CronJob)."""


Runs: TypeAlias = Literal["current", "rolling", "older", ""]
"""current: its pods run the current configuration. rolling: they will, when its rollout has ended. older: some may run
older configuration. "": it was not asked."""


class Decision(Struct, frozen=True):
    """What is to be done about one workload, and why."""

    kind: Kind
    reason: str
    changes: tuple[ConfigChange, ...] = ()
    """Why it is stale."""
    applied: Applied | None = None
    """To be written (Adopt, Roll, Record)."""
    mark: str | None = None
    """To be written on the pod template (Roll)."""
    how: How = How.TEMPLATE
    """By which means (Roll)."""
    pause: float | None = None
    """To be paused as it is rolled, as of this time (Roll)."""
    until: float | None = None
    """When to ask again (Wait), in seconds since the epoch; None: when something changes."""
    notes: tuple[str, ...] = ()
    """What a person should know beside the reason."""
    warning: bool = False
    """The owner of the workload should hear of it (Warning Event)."""
    event: str = ""
    """The reason of that Event, where it has one of its own."""
    ask_pods: bool = False
    """The decision rests on the ages of its pods: ask for them, and decide again."""
    findings: tuple[Comparison, ...] = ()
    """What it consumes, compared with what its pods were last rolled for."""
    runs: Runs = ""
    """What its pods run, as far as it is known (Skip)."""


def decide(s: Situation) -> Decision:
    """The decision for one workload. Pure; never raises for any content of the records."""
    decision = _decide(s)
    pause = s.policy.pause
    if pause is None or pause.since is None or s.workload.deleting:
        return decision
    if decision.kind not in (Kind.SKIP, Kind.WAIT, Kind.REFUSE):
        return decision
    if not s.workload.paused:
        resumed = "it was resumed, and no longer counts as paused by reroll"
        return Decision(Kind.RESUME, resumed, findings=decision.findings)
    if pause.over(s.now):
        long_enough = "it was paused when it was rolled, and that was long enough"
        return Decision(Kind.RESUME, long_enough, findings=decision.findings)
    over = pause.since + (pause.period or 0.0)
    if decision.kind is Kind.WAIT:
        return replace(decision, until=over if decision.until is None else min(over, decision.until))
    return replace(
        decision, kind=Kind.WAIT, until=over, notes=(*decision.notes, "reroll keeps it paused until then")
    )


def _decide(s: Situation) -> Decision:
    w, policy = s.workload, s.policy
    if w.deleting:
        return Decision(Kind.SKIP, "it is being deleted")
    if policy.refused:
        return Decision(Kind.REFUSE, policy.refused, warning=True)
    if not policy.enabled:
        return Decision(Kind.SKIP, "nothing asks reroll to follow its configuration")

    apart = _left_alone(w, policy)
    if apart:
        return Decision(Kind.SKIP, apart)

    home = w.id.namespace
    before = w.started_with or w.applied
    recorded = before.configs.keys() if before is not None else ()
    coming = [c.config for c in s.consumed if _is_coming(s.states[c.config])]
    if coming:
        names = ", ".join(config.short(home) for config in coming)
        return Decision(Kind.WAIT, f"{names} is being read")
    counting, notes = followed(s.consumed, s.states, home, recorded=recorded)
    if before is None:
        if not counting and not policy.on_create:
            return Decision(Kind.SKIP, "it consumes nothing that it follows", notes=notes)
        return _adopt(s, counting, notes)

    rekeyed = before.key_id != s.key_id and any(map(keyed, before.configs))
    findings = tuple(_with_mixed(s, f) for f in _compare(s, counting, before, rekeyed))
    notes = notes + tuple(f.note for f in findings if f.note)
    stale = tuple(f.stale for f in findings if f.stale is not None)
    if not stale:
        return replace(_settled(s, counting, findings, rekeyed, notes), findings=findings)
    return replace(_stale(s, stale, findings, notes), findings=findings)


def _stale(
    s: Situation,
    stale: tuple[ConfigChange, ...],
    findings: Sequence[Comparison],
    notes: tuple[str, ...],
) -> Decision:
    """Its configuration has changed since its pods were last rolled for it."""
    w = s.workload
    after = _after(s, findings, replaced=True)
    if w.mixed:
        # A later decision ends what was mixed (`core.observe`), also where the same content is recorded again.
        after = replace(after, at=_at(s))
    changes = "; ".join(change.describe(w.id.namespace) for change in stale)
    record = Decision(Kind.RECORD, "", changes=stale, applied=after, notes=notes)
    if w.replicas == 0:
        if s.progress is not None and not s.progress.complete:
            reason = f"{changes}; it is being scaled to 0, and its pods still run: {s.progress.words}"
            return Decision(Kind.WAIT, reason, changes=stale, notes=notes)
        return replace(
            record, reason=f"{changes}; it has no replicas, and pods started later read the new content"
        )
    proof: Proof | None = None
    if _rolled_since(w, stale):
        proof = prove(w, s.progress, s.pods, _latest(stale))
        rolled = "another client changed its pod template after that"
        if not isinstance(proof, Old) or w.template_change.willed:
            words = f"{changes}; {rolled}"
            return _by_another(s, proof, record, words, findings, since=_latest(stale))
        notes += (_put_back(w, proof),)
    how = _how(s)
    if how is How.INSTANTIATE and w.suspended:
        return replace(record, reason=f"{changes}; it is suspended, and its next Job reads the new content")
    if s.pods is not None and s.pods.count > 0:
        oldest = s.pods.oldest
        if all(0 < change.change.stamp < oldest for change in stale):
            return replace(record, reason=f"{changes}; all its pods were created after that")

    due = _due(s, stale)
    if s.now < due:
        return Decision(
            Kind.WAIT, f"{changes}; waiting for changes to settle", changes=stale, until=due, notes=notes
        )
    return _blocked(changes, record, findings) or _roll(
        s, changes, stale, after, since=_latest(stale), notes=notes
    )


def _blocked(reason: str, record: Decision, findings: Sequence[Comparison]) -> Decision | None:
    """It is not rolled into pods that can't start; None: they can."""
    blocked = [f.blocked for f in findings if f.blocked]
    if not blocked:
        return None
    return Decision(
        Kind.WAIT,
        f"{reason}; not rolled, because new pods could not start: {'; '.join(blocked)}",
        changes=record.changes,
        notes=record.notes,
        warning=True,
    )


def _roll(
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
    w, how = s.workload, _how(s)
    pause = _pause(s, how)
    if how is How.TEMPLATE:
        if w.paused:
            notes += ("it is paused: its pods follow when it is resumed",)
        if w.on_delete:
            notes += ("its update strategy is OnDelete: each pod follows when it is deleted",)
        if w.partition:
            notes += (f"its partition is {w.partition}: pods of lower ordinals follow when that is lowered",)
    mark = None
    if how in (How.TEMPLATE, How.AGAIN):
        mark = _mark_again(s, after) if again else s.marks.next(w, after, stale)
    after = replace(after, at=_at(s))
    if how in (How.TEMPLATE, How.RESTART_AT) and s.progress is not None:
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
        notes=notes + _SAYS.get(how, ()),
        ask_pods=s.pods is None and not again and not all(change.change.live for change in stale),
    )


def _at(s: Situation) -> int:
    """When this is decided, as a record holds it. What ends `WorkloadRecord.mixed` is a later time than that of the
    decision before, which can have been in this very second, or by a clock that goes ahead."""
    now, before = int(s.now), s.workload.applied
    return max(now, before.at + 1) if s.workload.mixed and before is not None else now


def _mark_again(s: Situation, after: Applied) -> str:
    """The mark that another client took away; another one where the template carries that very mark, or where pods that
    carry it have read other content."""
    w = s.workload
    owed = w.applied.mark if w.applied is not None else None
    if owed and not owed.startswith("#") and owed != w.mark and not w.mixed:
        return owed
    everything = tuple(ConfigChange(c.config, None, references=c.references) for c in s.consumed)
    return s.marks.next(w, after, everything)


def _latest(stale: Collection[ConfigChange]) -> float:
    """The server's time of the last of these changes; 0 where it is not known of each."""
    stamps = [change.change.stamp for change in stale]
    return max(stamps) if stamps and all(stamps) else 0.0


AGAIN_AFTER: tuple[float, ...] = (0.0, 10.0, 40.0, 160.0, 640.0)
"""Seconds after the last writing of a mark at which it is written again, where another client puts the pod template
back. After as many times it is left as it is, and a Warning Event says so."""


def _by_another(
    s: Situation,
    proof: Proof,
    record: Decision,
    reason: str,
    findings: Sequence[Comparison],
    *,
    since: float,
) -> Decision:
    """Another client had its pods started, or meant to: what follows from what is known of that.

    `record`: the decision to record that they were, with all but its reason. `since`: the time of the change that its
    pods are owed, 0 where that is not known.
    """
    w, before = s.workload, s.workload.applied
    if isinstance(proof, Rolling):
        words = f"{reason}; its rollout is not over: {proof.words}"
        waits = Decision(Kind.WAIT, words, changes=record.changes, notes=record.notes)
        # It does not end by itself, and until then older pods run: somebody has to know.
        return replace(waits, warning=True, event="RolloutBlocked") if proof.blocked else waits
    if isinstance(proof, New):
        return replace(record, reason=f"{reason}, and its new pods read the new content")
    if isinstance(proof, Unasked):
        words = f"{reason}, and went back to a revision that had pods before"
        return replace(record, reason=words, ask_pods=True)
    back = _put_back(w, proof)
    again = before.again if before is not None else 0
    if not w.template_change.willed and again < len(AGAIN_AFTER):
        due = (before.at if before is not None else 0) + AGAIN_AFTER[again]
        if s.now < due:
            words = f"{back}; reroll rolls it again later"
            return Decision(Kind.WAIT, words, until=due, notes=record.notes)
        blocked = _blocked(back, record, findings)
        if blocked is not None:
            return blocked
        assert record.applied is not None, "it is to be recorded"
        words = f"{back}; reroll rolls it again ({again + 1} of {len(AGAIN_AFTER)})"
        return _roll(s, words, (), record.applied, since=since, notes=record.notes, again=again + 1)
    assert record.applied is not None, "it is to be recorded"
    left = replace(
        record.applied,
        mark=mark_id(w.mark),
        since=int(since) or int(s.now),
        at=int(s.now),
        left=proof.old or 1,
        of=proof.of,
        by=w.template_change.by,
    )
    if w.template_change.willed:
        words = f"{back}; reroll leaves them as they are"
        ways = ("kubectl rollout restart replaces them",)
    else:
        words = f"{back}, {len(AGAIN_AFTER)} times; reroll does not roll it again"
        ways = (
            "to replace them, annotate it with reroll.dev/mode: restart, or install the admission policy that "
            "keeps reroll's mark",
        )
    event = "PutBack" if w.template_change.willed else "Contested"
    return replace(
        record, reason=words, applied=left, warning=True, event=event, notes=(*record.notes, *ways)
    )


def _put_back(w: WorkloadRecord, proof: Old) -> str:
    """In words, who put a template back, and what its pods run."""
    who = w.template_change.by or "another client"
    return f"{who} put the pod template back to an older revision: {proof.words} run older configuration"


_SAYS: Mapping[How, tuple[str, ...]] = {
    How.EVICT: ("its pods are evicted, its pod template stays as it is",),
    How.RESTART_AT: ("its own controller restarts its pods, its pod template stays as it is",),
    How.AGAIN: ("it is deleted and created again",),
    How.INSTANTIATE: ("a Job is started from it",),
}


def _pause(s: Situation, how: How) -> float | None:
    """Since when it is to be paused as it is rolled; None: it is not. What a person has paused is left alone."""
    pause = s.policy.pause
    if pause is None or not pause.period or s.workload.paused or how is not How.TEMPLATE:
        return None
    return s.now


def _compare(
    s: Situation, counting: Sequence[Consumed], before: Applied, rekeyed: bool
) -> tuple[Comparison, ...]:
    home, policy = s.workload.id.namespace, s.policy
    return tuple(
        compare(
            c,
            s.states[c.config],
            before,
            home=home,
            rekeyed=rekeyed,
            on_create=policy.on_create,
            on_delete=policy.on_delete,
        )
        for c in counting
    )


def _with_mixed(s: Situation, f: Comparison) -> Comparison:
    """What is as recorded, and was not while pods were being replaced, has changed for those that started then."""
    state = s.states[f.consumed.config]
    if f.stale is not None or f.write or f.short not in s.workload.mixed:
        return f
    if not isinstance(state, ConfigRecord):
        return f
    config, references = f.consumed.config, f.consumed.references
    return replace(
        f, stale=ConfigChange(config, None, references=references, change=state.change, between=True)
    )


def _how(s: Situation) -> How:
    """What makes the pods of this kind, under this policy, read the new content."""
    kind = s.kind
    if kind is JOB:
        return How.AGAIN
    if kind is CRON_JOB:
        return How.INSTANTIATE if s.policy.instantiate else How.TEMPLATE
    if s.policy.mode == "restart" or s.workload.template_of is not None:
        return How.RESTART_AT if kind.restart_at else How.EVICT
    return How.TEMPLATE


def _left_alone(w: WorkloadRecord, policy: Policy) -> str:
    """Why this Job, or this Rollout without a pod template, is not followed; "" for all else."""
    if w.template_of is not None and not w.template_hash:
        return (
            f"its pod template is that of {w.template_of}, which does not exist or which reroll does not read"
        )
    if w.id.kind != JOB.id:
        return ""
    if w.stands_in_for:
        return "it stands in for a Job that is being created again, and is deleted when that Job exists"
    if w.owned:
        return "it belongs to another object (such as a CronJob), which makes the next one"
    if w.finished and not policy.finished_jobs:
        return "it is finished, and what has run is not run again"
    return ""


def _is_coming(state: ConfigState) -> bool:
    return isinstance(state, Unknown) and state.reading


def _adopt(s: Situation, counting: Sequence[Consumed], notes: tuple[str, ...]) -> Decision:
    w = s.workload
    configs: dict[str, AppliedKeys] = {}
    for c in counting:
        state = s.states[c.config]
        if not isinstance(state, Unknown):
            configs[c.config.short(w.id.namespace)] = current(state, c)
    applied = Applied(template=w.template_hash, key_id=s.key_id, configs=configs)
    count = f"{len(configs)} config object{'' if len(configs) == 1 else 's'}"
    reason = f"seen for the first time: what it consumes ({count}) is recorded, nothing is rolled"
    if w.applied_problem:
        reason = f"{w.applied_problem}; what it consumes ({count}) is recorded again, nothing is rolled"
    doubtful: list[str] = []
    ask = False
    for c in counting:
        state = s.states[c.config]
        if isinstance(state, ConfigRecord) and state.stamp:
            if s.pods is None:
                ask = True
            # Within the same second it can't be told; nearly always one apply made both, in this order.
            elif s.pods.count > 0 and s.pods.oldest < state.stamp:
                doubtful.append(c.config.short(w.id.namespace))
    if doubtful:
        notes += (_may_be_older(doubtful),)
    return Decision(
        Kind.ADOPT, reason, applied=applied, notes=notes, warning=bool(w.applied_problem), ask_pods=ask
    )


def _may_be_older(names: Sequence[str]) -> str:
    return (
        f"some of its pods were created before the last change of {', '.join(names)}: they may run older "
        f"configuration. reroll does not restart them unasked; kubectl rollout restart does"
    )


def _after(s: Situation, findings: Sequence[Comparison], *, replaced: bool) -> Applied:
    """What is to be recorded.

    `replaced`: its pods were or are being replaced. Those that start now do without what vanished, so its
    return, with whatever content, is to be seen as its appearing.
    """
    return Applied(
        template=s.workload.template_hash,
        key_id=s.key_id,
        configs={f.short: None if replaced and f.vanished else f.record for f in findings if f.recorded},
    )


def _settled(
    s: Situation,
    counting: Sequence[Consumed],
    findings: Sequence[Comparison],
    rekeyed: bool,
    notes: tuple[str, ...],
) -> Decision:
    """Nothing is stale: is what is recorded still right?"""
    w = s.workload
    before = w.applied
    assert before is not None, "it was adopted"
    seen = w.started_with is not None
    after = _after(s, findings, replaced=before.template != w.template_hash and not seen)
    changes = _changed_before_the_start(s, counting, before) if seen else ()
    record = Decision(Kind.RECORD, "", changes=changes, applied=after, notes=notes)
    superseded = is_superseded(w)
    unproved = seen and _reads_other_content(before, after)
    if changes or superseded or unproved:
        # Pods are owed something, and another client has changed the template: does what it started pay for that?
        since = _latest(changes) if changes else float(before.since)
        since = max(since, float(before.since)) if since else 0.0
        if unproved and not changes:
            since = w.template_change.stamp
        proof = prove(w, s.progress, s.pods, since)
        listed = "; ".join(change.describe(w.id.namespace) for change in changes)
        reason = "another client changed its pod template"
        if superseded:
            reason += " after it was rolled"
        if changes:
            after_that = _rolled_since(w, changes) or "its pods were all started after that"
            reason = f"{listed}; {after_that}"
        if not isinstance(proof, New):
            return _by_another(s, proof, record, reason, findings, since=since)
        return replace(record, reason=f"{reason}, and its new pods read the current configuration")
    new = [f.short for f in findings if f.write]
    dropped = sorted(before.configs.keys() - {f.short for f in findings})
    if w.applied_problem:
        reason = f"{w.applied_problem}; this controller writes again what it knows of its pods"
    elif w.unsaved:
        reason = "its record is missing from the object and is written again"
    elif rekeyed:
        reason = "the digest key changed: Secrets are recorded again, nothing is rolled"
    elif before.template != after.template:
        reason = "another client changed its pod template; its new pods read the current configuration"
    elif seen and after.configs != before.configs:
        reason = "its pods were all started by another client, and read the current configuration"
    elif new and not seen:
        reason = f"recorded, nothing to roll: {', '.join(new)}"
    elif dropped and not seen:
        reason = f"it no longer consumes {', '.join(dropped)}"
    else:
        runs, words = _what_runs(s, before)
        return Decision(Kind.SKIP, words, notes=notes, runs=runs)
    record = replace(
        record, reason=reason, applied=_still_owed(before, after), warning=bool(w.applied_problem)
    )
    return _with_what_returned(s, record, findings)


def _with_what_returned(s: Situation, record: Decision, findings: Sequence[Comparison]) -> Decision:
    """Pods that could not start wait for what was missing, and read it when it returns. Where all have started, and
    some no later than that, it can't be told what these have read."""
    returned = {f.short: f.consumed.config for f in findings if f.returned}
    if not returned or (s.progress is not None and not s.progress.complete):
        return record
    if s.pods is None:
        return replace(record, ask_pods=True)
    older = [
        short
        for short, config in returned.items()
        if isinstance(state := s.states[config], ConfigRecord) and s.pods.before(state.stamp, or_then=True)
    ]
    if not older:
        return record
    return replace(record, notes=(*record.notes, _may_be_older(older)), warning=True)


def _still_owed(before: Applied, after: Applied) -> Applied:
    """What is recorded anew, for the same template, still owes its pods what the record before owed them."""
    if not before.since or before.template != after.template:
        return after
    return replace(
        after,
        mark=before.mark,
        since=before.since,
        at=before.at,
        again=before.again,
        left=before.left,
        of=before.of,
        by=before.by,
    )


def _what_runs(s: Situation, before: Applied) -> tuple[Runs, str]:
    """What is known of the pods of a workload whose record is right."""
    progress, pods = s.progress, s.pods if s.pods is not None and s.pods.count >= 0 else None
    if before.left:
        who = before.by or "another client"
        of = f"{before.left} of {before.of} pods" if before.of else "some of its pods"
        older = pods.before(before.since, or_then=True) if pods is not None else -1
        if older == 0:
            return "current", "its pods run the current configuration"
        if pods is not None:
            of = f"{older} of {pods.count} pods"
        return "older", f"recorded; {of} run older configuration, because {who} put the pod template back"
    if before.since:
        older = pods.before(before.since) if pods is not None else 0
        if progress is None or progress.ended or (progress.complete and not older):
            return "current", "its pods run the current configuration"
        words = f"rolled for the current configuration, and the rollout is not over: {progress.words}"
        if older and pods is not None:
            words += f"; {older} of {pods.count} pods were created before the change"
        return "rolling", words
    recorded = "nothing that it consumes has changed since it was recorded"
    if pods is None:
        return "", recorded
    home = s.workload.id.namespace
    changed = {
        c.config.short(home): state.stamp
        for c in s.consumed
        if isinstance(state := s.states[c.config], ConfigRecord)
    }
    last = max(changed, key=lambda name: changed[name], default="")
    older = pods.before(changed.get(last, 0.0))
    if older:
        words = f"{recorded}; {older} of {pods.count} pods were created before the last change of {last}"
        return "older", words
    return "current", "its pods run the current configuration"


def _reads_other_content(before: Applied, after: Applied) -> bool:
    """Does a pod that has read `after` differ from one that has read `before`, in what both consume?"""
    for name in before.configs.keys() & after.configs.keys():
        old, new = before.configs[name], after.configs[name]
        if isinstance(old, dict) and isinstance(new, dict):
            if any(old[key] != new[key] for key in old.keys() & new.keys()):
                return True
        elif old != new:
            return True
    return False


def _changed_before_the_start(
    s: Situation, counting: Sequence[Consumed], before: Applied
) -> tuple[ConfigChange, ...]:
    """What differs from what is recorded, and was read by pods that somebody else had started."""
    findings = _compare(s, counting, before, before.key_id != s.key_id)
    return tuple(f.stale for f in findings if f.stale is not None)


def _rolled_since(w: WorkloadRecord, stale: Sequence[ConfigChange]) -> str:
    """Why the pods read the new content anyway (rule 4); "" if they don't, or if it can't be told.

    A change of the template that was only found in a list is believed if the template differs from the
    recorded one: the time in managedFields alone moves with other fields of the same manager too.
    """
    template = w.template_change
    if not template.live and w.applied is not None and w.template_hash == w.applied.template:
        return ""
    if all(is_later(template, change.change) for change in stale):
        return "another client changed its pod template after that"
    return ""


def _due(s: Situation, stale: Sequence[ConfigChange]) -> float:
    """When the changes count as settled. What was found in a list settled long ago."""
    arrivals = [change.change.arrived for change in stale if change.change.live]
    if not arrivals:
        return 0.0
    first = s.pending_since if s.pending_since is not None else min(arrivals)
    return min(max(arrivals) + s.policy.settle, first + max(s.policy.settle_max, s.policy.settle))
