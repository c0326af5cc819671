"""How far is the rollout of a workload that was just read? `core.progress` has the rules. Pure."""

from __future__ import annotations

from reroll.core.progress import FOLLOWED, Progress, RolloutStatus, SpecFacts, rollout_status
from reroll.core.progress import progress as judge
from reroll.rollouts.live import Live

_OF_WORKLOAD = "rollout.argoproj.io/workload-generation"


def status_of(live: Live, kind: str) -> RolloutStatus:
    """What a workload of this kind (`WorkloadKind.id`) says of its rollout."""
    spec = live.spec
    facts = SpecFacts(
        generation=live.metadata.generation,
        replicas=spec.replicas,
        paused=spec.paused,
        on_delete=live.strategy == "OnDelete",
        partition=live.partition,
        within=spec.progress_deadline_seconds,
        restart_at=spec.restart_at,
        of_workload=(live.metadata.annotations or {}).get(_OF_WORKLOAD, ""),
    )
    return rollout_status(facts, live.status, kind)


def progress(live: Live, kind: str, *, since: float = 0.0) -> Progress:
    """Judge the rollout of a workload of this kind. `since`: see `core.progress.progress`."""
    status = status_of(live, kind)
    if kind in FOLLOWED or not status.seen:
        return judge(status, kind, since=since)
    return Progress("done", "its controller has observed the change")


def after_verdict(live: Live, kind: str) -> float:
    """The `since` of a rollout that begins now: a verdict that stands already is about an earlier one.

    By the time that the verdict itself has, so that no two clocks are compared. Times are whole seconds, and a later
    verdict of the same rollout controller is at least a second, its progress deadline, later.
    """
    judged = status_of(live, kind).judged
    return judged + 1.0 if judged else 0.0


def waits_for_a_person(live: Live, kind: str) -> bool:
    """A rollout that is blocked goes on when somebody resumes the workload, or allows its pods. Where its strategy
    leaves older pods in place it is at its end."""
    status = status_of(live, kind)
    return status.paused or bool(status.refused)
