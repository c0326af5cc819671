"""How far is a rollout? Judged by the workload's status alone, as `kubectl rollout status` does. Pure.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#deployment-status, and for the two
kinds that have no progress deadline the fields of their status.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from reroll.core.kinds import DAEMON_SET, DEPLOYMENT, DEPLOYMENT_CONFIG, ROLLOUT, STATEFUL_SET
from reroll.core.observe import epoch
from reroll.pipeline.live import Live


class Progress(Struct, frozen=True):
    """Where a rollout stands."""

    state: Literal["going", "done", "failed"]
    words: str
    """For people, such as ``2 of 3 pods are new``."""
    new: int = 0
    """Pods of the newest revision, those of them that serve where the kind tells that."""
    wanted: int = 0


def progress(live: Live, kind: str) -> Progress:
    """Judge a workload of this kind (`WorkloadKind.id`)."""
    observed = live.status.observed_generation
    if isinstance(observed, str):  # Argo Rollouts
        observed = int(observed) if observed.isdigit() else 0
    if observed < live.metadata.generation:
        return Progress("going", "its controller has not seen the change yet", 0, _wanted(live))
    if kind == STATEFUL_SET.id:
        return _stateful_set(live)
    if kind == DAEMON_SET.id:
        return _daemon_set(live)
    if kind == ROLLOUT.id:
        return _argo_rollout(live)
    if kind in (DEPLOYMENT.id, DEPLOYMENT_CONFIG.id):
        return _deployment(live)
    return Progress("done", "its controller has seen the change")


def _wanted(live: Live) -> int:
    return live.status.desired_number_scheduled or (1 if live.spec.replicas is None else live.spec.replicas)


def _deployment(live: Live) -> Progress:
    status, wanted = live.status, _wanted(live)
    found = live.condition("Progressing")
    if found is not None and found.reason in (
        "ProgressDeadlineExceeded",
        "ReplicationControllerUpdateFailed",
    ):
        limit = live.spec.progress_deadline_seconds
        within = f" of {limit} s" if limit is not None else ""
        words = f"made no progress within its deadline{within}: {_some(status.available_replicas, wanted)} available"
        return Progress("failed", words, status.updated_replicas, wanted)
    new = min(status.updated_replicas, status.available_replicas)
    if status.updated_replicas < wanted:
        return Progress("going", f"{_some(status.updated_replicas, wanted)} new", new, wanted)
    if status.replicas > status.updated_replicas:
        old = status.replicas - status.updated_replicas
        return Progress("going", f"{old} old pod{'s are' if old > 1 else ' is'} still there", new, wanted)
    if status.available_replicas < status.updated_replicas:
        available = f"{status.available_replicas} of {_pods(status.updated_replicas)} available"
        return Progress("going", f"all pods are new, {available}", new, wanted)
    return Progress(
        "done", f"all {_pods(wanted)} new and available" if wanted else "it has no pods", wanted, wanted
    )


def _stateful_set(live: Live) -> Progress:
    status, wanted = live.status, _wanted(live)
    target = max(0, wanted - live.partition)
    new = min(status.updated_replicas, target)
    if live.strategy == "OnDelete":
        return Progress("done", "its pods change when they are deleted (OnDelete)", new, target)
    if status.update_revision != status.current_revision and status.updated_replicas < target:
        return Progress("going", f"{_some(status.updated_replicas, target)} new", new, target)
    if status.ready_replicas < wanted:
        return Progress("going", f"{_some(status.ready_replicas, wanted)} ready", new, target)
    if live.partition:
        return Progress("done", f"{_pods(target)} new and ready (partition {live.partition})", target, target)
    if status.update_revision != status.current_revision:
        return Progress("going", "the new revision is not current yet", new, target)
    return Progress(
        "done", f"all {_pods(wanted)} new and ready" if wanted else "it has no pods", wanted, wanted
    )


def _daemon_set(live: Live) -> Progress:
    status = live.status
    wanted, new = status.desired_number_scheduled, status.updated_number_scheduled
    if live.strategy == "OnDelete":
        return Progress("done", "its pods change when they are deleted (OnDelete)", new, wanted)
    serving = min(new, status.number_available)
    if new < wanted:
        return Progress("going", f"{_some(new, wanted)} new", serving, wanted)
    if status.number_available < wanted:
        return Progress("going", f"{_some(status.number_available, wanted)} available", serving, wanted)
    return Progress(
        "done", f"all {_pods(wanted)} new and available" if wanted else "it has no pods", wanted, wanted
    )


def _argo_rollout(live: Live) -> Progress:
    status, wanted = live.status, _wanted(live)
    asked, done = epoch(live.spec.restart_at), epoch(status.restarted_at)
    if status.phase == "Degraded":
        return Progress(
            "failed", f"it is degraded: {status.message}".rstrip(": "), status.available_replicas, wanted
        )
    if asked > done:
        return Progress("going", "its controller restarts its pods", 0, wanted)
    if status.phase not in ("Healthy", ""):
        words = f"it is {status.phase.lower()}" + (f": {status.message}" if status.message else "")
        return Progress("going", words, status.updated_replicas, wanted)
    if status.available_replicas < wanted:
        return Progress(
            "going",
            f"{_some(status.available_replicas, wanted)} available",
            status.available_replicas,
            wanted,
        )
    return Progress("done", f"all {_pods(wanted)} available", wanted, wanted)


def _pods(number: int) -> str:
    return f"{number} pod{'' if number == 1 else 's'}"


def _some(number: int, of: int) -> str:
    return f"{number} of {_pods(of)} {'is' if 1 in (number, of) else 'are'}"
