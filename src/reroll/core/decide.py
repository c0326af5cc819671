"""Is this workload stale, and what is to be done about it? The heart of reroll, and a pure function.

`decide` sees one workload, what it consumes, the digests of that now, how far its rollout is, its policy and the time,
and answers with a `Decision` that carries its reason in words. It is asked again whenever anything of this changed, and
asking twice gives the same answer: nothing here depends on an event having been seen (rules 1 and 2 of the
design). What another client's rollout is worth is judged by `core.proof`.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from reroll.core.applied import ABSENT, WILDCARD
from reroll.core.compare import Comparison, ConfigChange, compare, current, followed
from reroll.core.decision import Decision, How, Kind, Situation
from reroll.core.digests import keyed
from reroll.core.kinds import JOB
from reroll.core.order import is_later
from reroll.core.policy import Policy
from reroll.core.proof import New, Old, Proof, is_superseded, prove
from reroll.core.put_back import by_another, put_back
from reroll.core.records import (
    Applied,
    AppliedKeys,
    ConfigRecord,
    ConfigState,
    Consumed,
    Unknown,
    WorkloadRecord,
)
from reroll.core.roll import cannot_start, decided_at, how_to_roll, latest, roll
from reroll.core.versioned import names_present_versions, point, told, unpointed, with_versions
from reroll.core.what_runs import what_runs


def decide(s: Situation) -> Decision:
    """The decision for one workload. Pure; never raises for any content of the records."""
    decision = _decide(s)
    if decision.applied is not None:
        pointed = decision.kind is Kind.ROLL and decision.how is How.VERSION
        applied = with_versions(s, decision.applied, moved=pointed)
        decision = replace(decision, applied=applied)
    decision = told(s, decision)
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
    if w.applied is None or before is None:
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
        after = replace(after, at=decided_at(s))
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
        proof = _proof(s, latest(stale))
        rolled = "another client changed its pod template after that"
        if not isinstance(proof, Old) or w.template_change.willed:
            return by_another(s, proof, record, f"{changes}; {rolled}", since=latest(stale))
        notes += (put_back(w, proof),)
    how = how_to_roll(s)
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
    blocked = [f.blocked for f in findings if f.blocked]
    if blocked:
        return cannot_start(changes, blocked, stale, notes)
    return roll(s, changes, stale, after, since=latest(stale), notes=notes)


def _proof(s: Situation, since: float) -> Proof:
    """What another client's rollout is worth. Where its template names the versions with the present content, that is
    what all pods of it read, whenever they were created."""
    if s.progress is not None and s.progress.complete and names_present_versions(s):
        return New()
    return prove(s.workload, s.progress, s.pods, since)


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
    """What is as recorded, and was not while pods were being replaced, has changed for those that started then. Where
    it was changed back by removing a key, the server's time of that is one from before (see `compare`)."""
    state = s.states[f.consumed.config]
    if f.stale is not None or (f.write and not f.returned) or f.short not in s.workload.mixed:
        return f
    if not isinstance(state, ConfigRecord):
        return f
    change = replace(state.change, stamp=0.0)
    references = f.consumed.references
    return replace(
        f, stale=ConfigChange(f.consumed.config, None, references=references, change=change, between=True)
    )


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
    began = w.started_with.configs if w.started_with is not None and w.started_with.key_id == s.key_id else {}
    for c in counting:
        state, short = s.states[c.config], c.config.short(w.id.namespace)
        if short in began:
            configs[short] = began[short]  # what changed since it was created is a change
        elif not isinstance(state, Unknown):
            configs[short] = current(state, c)
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
        since = latest(changes) if changes else float(before.since)
        since = max(since, float(before.since)) if since else 0.0
        if unproved and not changes:
            since = w.template_change.stamp
        proof = _proof(s, since)
        listed = "; ".join(change.describe(w.id.namespace) for change in changes)
        reason = "another client changed its pod template"
        if superseded:
            reason += " after it was rolled"
        if changes:
            after_that = _rolled_since(w, changes) or "its pods were all started after that"
            reason = f"{listed}; {after_that}"
        if not isinstance(proof, New):
            blocked = [f.blocked for f in findings if f.blocked]
            return by_another(s, proof, record, reason, since=since, blocked=blocked)
        words = f"{reason}, and its new pods read the current configuration{proof.words}"
        return replace(record, reason=words)
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
    elif plain := unpointed(s):
        blocked = [f.blocked for f in findings if f.blocked]
        return point(s, plain, replace(_still_owed(before, after), again=0), notes, blocked)
    else:
        runs, words = what_runs(s, before)
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
    if s.pods.count <= 0:
        return record
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


def _reads_other_content(before: Applied, after: Applied) -> bool:
    """Does a pod that has read `after` differ from one that has read `before`, in what both consume?"""
    for name in before.configs.keys() & after.configs.keys():
        old, new = before.configs[name], after.configs[name]
        if isinstance(old, dict) and isinstance(new, dict):
            whole = WILDCARD in old and WILDCARD in new  # then a key that one lacks was not there
            keys = old.keys() | new.keys() if whole else old.keys() & new.keys()
            if any(old.get(key, ABSENT) != new.get(key, ABSENT) for key in keys):
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
