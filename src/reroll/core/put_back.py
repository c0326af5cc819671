"""Another client changed a pod template: what follows from what is known of the pods. Pure.

A person's will stands, and somebody is told. Where any other client puts an older template back, such as an operator
that writes whole objects, the mark is written again, a few times and ever later.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from reroll.core.applied import by_whom
from reroll.core.decision import Decision, Kind, Situation
from reroll.core.proof import New, Old, Proof, Rolling, Unasked, mark_id
from reroll.core.records import WorkloadRecord
from reroll.core.roll import cannot_start, roll

AGAIN_AFTER: tuple[float, ...] = (0.0, 10.0, 40.0, 160.0, 640.0)
"""Seconds after the last writing of a mark at which it is written again, where another client puts the pod template
back. After as many times it is left as it is, and a Warning Event says so."""


def by_another(
    s: Situation,
    proof: Proof,
    record: Decision,
    reason: str,
    *,
    since: float,
    blocked: Sequence[str] = (),
) -> Decision:
    """Another client had its pods started, or meant to: what follows from what is known of that.

    `record`: the decision to record that they were, with all but its reason. `since`: the time of the change that its
    pods are owed, 0 where that is not known. `blocked`: why new pods could not start.
    """
    w, before = s.workload, s.workload.applied
    if isinstance(proof, Rolling):
        words = f"{reason}; its rollout is not over: {proof.words}"
        waits = Decision(Kind.WAIT, words, changes=record.changes, notes=record.notes)
        # It does not end by itself, and until then older pods run: somebody has to know.
        return replace(waits, warning=True, event=f"Rollout{proof.stuck.title()}") if proof.stuck else waits
    if isinstance(proof, New):
        return replace(record, reason=f"{reason}, and its new pods read the new content{proof.words}")
    if isinstance(proof, Unasked):
        words = f"{reason}, and went back to a revision that had pods before"
        return replace(record, reason=words, ask_pods=True)
    if record.applied is not None and not record.applied.configs:
        return replace(
            record, reason=f"{reason}; it consumes nothing that its pods could run an older one of"
        )
    back = put_back(w, proof)
    again = before.again if before is not None else 0
    if not w.template_change.willed and again < len(AGAIN_AFTER):
        due = (before.decided(s.now) if before is not None else 0) + AGAIN_AFTER[again]
        if s.now < due:
            words = f"{back}; reroll rolls it again later"
            return Decision(Kind.WAIT, words, until=due, notes=record.notes)
        if blocked:
            return cannot_start(back, blocked, record.changes, record.notes)
        assert record.applied is not None, "it is to be recorded"
        words = f"{back}; reroll rolls it again ({again + 1} of {len(AGAIN_AFTER)})"
        return roll(s, words, (), record.applied, since=since, notes=record.notes, again=again + 1)
    assert record.applied is not None, "it is to be recorded"
    left = replace(
        record.applied,
        mark=mark_id(w.mark),
        since=int(since) or int(s.now),
        at=int(s.now),
        left=proof.old or 1,
        of=proof.of,
        by=by_whom(w.template_change.by),
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


def put_back(w: WorkloadRecord, proof: Old) -> str:
    """In words, who put a template back, and what its pods run."""
    who = w.template_change.by or "another client"
    return f"{who} put the pod template back to an older revision: {proof.words} run older configuration"
