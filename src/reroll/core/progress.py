"""How far is a rollout? Judged by the workload's own status, as `kubectl rollout status` does. Pure.

The API server sends the status with every change of a workload, so following a rollout costs no request.

Sources: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#deployment-status;
https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#update-strategies; KEP-3973 (terminating
replicas of Deployments); kubernetes #110171 (a rollout that is complete while old pods still serve), #136831
(a StatefulSet counts ready, not available pods).
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from reroll.core.kinds import DAEMON_SET, DEPLOYMENT, DEPLOYMENT_CONFIG, ROLLOUT, STATEFUL_SET
from reroll.core.numbers import whole_number
from reroll.core.times import epoch

Verdict: TypeAlias = Literal["going", "done", "ending", "failed", "blocked"]
"""going: its controller works on it. done: every pod is of the newest revision, and serves. ending: done, but old pods
are still terminating. failed: its controller has given up, and may yet succeed. blocked: it goes no further until a
person does something (paused, OnDelete, partition), or no pod exists."""

FOLLOWED: frozenset[str] = frozenset(
    (DEPLOYMENT.id, STATEFUL_SET.id, DAEMON_SET.id, ROLLOUT.id, DEPLOYMENT_CONFIG.id)
)
"""Kinds whose status shows how far a rollout is, by `WorkloadKind.id`."""


class Condition(Struct, gc=False, rename="camel"):
    """One of status.conditions."""

    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""
    last_update_time: str | None = None


class StatusObject(Struct, gc=False, rename="camel"):
    """status of any of the kinds, as the API has it; what a kind does not have is 0 or empty."""

    observed_generation: int | str = 0
    replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int | None = None
    terminating_replicas: int = 0
    desired_number_scheduled: int = 0
    updated_number_scheduled: int = 0
    number_ready: int = 0
    number_available: int = 0
    phase: str = ""
    message: str = ""
    restarted_at: str | None = None
    workload_observed_generation: str = ""
    start_time: str | None = None
    last_schedule_time: str | None = None
    conditions: list[Condition] | None = None


class RolloutStatus(Struct, frozen=True, gc=False):
    """What a workload says of its rollout: the facts of its spec and status that the rules below need."""

    seen: bool = False
    """Its controller has observed the newest spec (status.observedGeneration)."""
    wanted: int = 0
    total: int = 0
    """Pods that exist, without those that are terminating."""
    updated: int = 0
    """Those of them that are of the newest revision."""
    available: int = 0
    """Pods of any revision that have been ready for minReadySeconds."""
    ending: int = 0
    """Pods that are terminating; 0 where the server does not count them (before Kubernetes 1.35)."""
    paused: bool = False
    on_delete: bool = False
    partition: int = 0
    """Of a StatefulSet: pods of lower ordinals keep the older revision."""
    deadline: str = ""
    """Why its controller has given up, such as ``ProgressDeadlineExceeded``; "": it has not."""
    judged: float = 0.0
    """When its controller last wrote that condition, in seconds since the epoch; 0 where it does not say."""
    within: int | None = None
    """spec.progressDeadlineSeconds."""
    min_ready: int = 0
    """spec.minReadySeconds."""
    refused: str = ""
    """Why its controller can't create pods (condition ReplicaFailure), such as a quota."""
    phase: str = ""
    """Of an Argo Rollout."""
    message: str = ""
    restarting: bool = False
    """Of an Argo Rollout: its controller still has to restart pods (spec.restartAt)."""


class Progress(Struct, frozen=True, gc=False):
    """Where a rollout stands."""

    verdict: Verdict
    words: str
    """For people, such as ``2 of 3 pods are new``."""
    new: int = 0
    """Pods of the newest revision; where all are, those of them that serve."""
    wanted: int = 0
    ending: int = 0
    """Old pods that are still terminating."""
    complete: bool = False
    """No pod of an older revision is left, but for those that are terminating: the rollout has replaced them all."""
    judged: float = 0.0
    """When its controller gave up, in seconds since the epoch; 0 where it did not, or does not say when. Of a change
    that it has not observed yet, this is about an earlier rollout."""
    within: int = 0
    """Seconds that its spec grants for one more pod to be new: progressDeadlineSeconds, or minReadySeconds where its
    kind has no deadline; 0 where it says neither."""
    standing: bool = False
    """It is paused, and every pod that exists is available: its controller replaces none, and none starts. Where older
    pods wait to be deleted (OnDelete, a partition), each that is deleted starts anew."""

    @property
    def ended(self) -> bool:
        """It has come to its good end."""
        return self.verdict in ("done", "ending")


class SpecFacts(Struct, frozen=True, gc=False):
    """What the rules need of a workload's metadata and spec."""

    generation: int
    replicas: int | None = None
    paused: bool = False
    on_delete: bool = False
    partition: int = 0
    within: int | None = None
    min_ready: int = 0
    restart_at: str | None = None
    of_workload: str = ""
    """Of an Argo Rollout with a workloadRef: the annotation rollout.argoproj.io/workload-generation."""


_GAVE_UP = ("ProgressDeadlineExceeded", "ReplicationControllerUpdateFailed")


def rollout_status(spec: SpecFacts, status: StatusObject, kind: str) -> RolloutStatus:
    """Put together what a workload of this kind (`WorkloadKind.id`) says of its rollout."""
    progressing = refused = None
    for condition in status.conditions or ():
        if condition.type == "Progressing":
            progressing = condition
        elif condition.type == "ReplicaFailure" and condition.status == "True":
            refused = condition
    gave_up = progressing is not None and progressing.reason in _GAVE_UP
    daemon_set = kind == DAEMON_SET.id
    if daemon_set:
        wanted, total = status.desired_number_scheduled, status.desired_number_scheduled
        updated, available = status.updated_number_scheduled, status.number_available
    else:
        wanted, total = (1 if spec.replicas is None else spec.replicas), status.replicas
        updated = status.updated_replicas
        # The API leaves a 0 of a Deployment out; only a StatefulSet of an old server has no such field.
        without = status.ready_replicas if kind == STATEFUL_SET.id else 0
        available = without if status.available_replicas is None else status.available_replicas
    return RolloutStatus(
        seen=_observed(spec, status),
        wanted=wanted,
        total=total,
        updated=updated,
        available=available,
        ending=status.terminating_replicas,
        paused=spec.paused,
        on_delete=spec.on_delete,
        partition=spec.partition,
        deadline=progressing.reason if progressing is not None and gave_up else "",
        judged=epoch(progressing.last_update_time) if progressing is not None and gave_up else 0.0,
        within=spec.within,
        min_ready=spec.min_ready,
        refused=refused.message if refused is not None else "",
        phase=status.phase if kind == ROLLOUT.id else "",
        message=status.message if kind == ROLLOUT.id else "",
        restarting=kind == ROLLOUT.id and epoch(spec.restart_at) > epoch(status.restarted_at),
    )


def _observed(spec: SpecFacts, status: StatusObject) -> bool:
    observed = status.observed_generation
    if isinstance(observed, str):  # Argo Rollouts write a string
        observed = whole_number(observed)
    if spec.of_workload and status.workload_observed_generation not in ("", spec.of_workload):
        return False
    return 0 < observed >= spec.generation


def progress(s: RolloutStatus, kind: str, *, since: float = 0.0) -> Progress:
    """Judge the rollout of a workload of this kind (`WorkloadKind.id`, one of `FOLLOWED`).

    `since`: a controller's verdict from before that, by the server's clock, is about an earlier rollout: a Deployment
    that goes back to a ReplicaSet of its own keeps it until a count improves.
    """
    found = _judged(s, kind, since)
    within = s.min_ready if s.within is None else s.within
    return replace(found, within=within) if within else found


def _judged(s: RolloutStatus, kind: str, since: float) -> Progress:
    if not s.seen:
        words = "its controller has not observed the change yet"
        return Progress("going", words, 0, s.wanted, judged=s.judged)
    if kind == STATEFUL_SET.id:
        return _stateful_set(s)
    if kind == DAEMON_SET.id:
        return _daemon_set(s)
    if kind == ROLLOUT.id:
        return _argo_rollout(s)
    return _deployment(s, since)


def _deployment(s: RolloutStatus, since: float) -> Progress:
    complete = s.updated >= s.wanted and s.total <= s.updated
    if not s.wanted:
        return _no_pods(s)
    if complete and s.available >= s.updated:
        return _ended(s, "new and available")
    if s.paused and not complete:
        paused = _blocked(s, f"it is paused: {_some(s.updated, s.wanted)} new")
        return replace(paused, standing=s.available >= s.total)
    if s.deadline and not (s.judged and s.judged < since):
        within = f" of {s.within} s" if s.within is not None else ""
        words = f"it made no progress within its deadline{within}: {_some(s.available, s.wanted)} available"
        return Progress("failed", words, s.updated, s.wanted, s.ending, complete, s.judged)
    if s.refused and s.updated < s.wanted:
        return _blocked(s, f"its pods can't be created: {s.refused}")
    if s.updated < s.wanted:
        words = f"{_some(s.updated, s.wanted)} new"
    elif s.total > s.updated:
        old = s.total - s.updated
        words = f"{old} old pod{'s' if old > 1 else ''} still exist{'' if old > 1 else 's'}"
    else:
        words = f"all pods are new, {s.available} of {_pods(s.updated)} available"
    return Progress("going", words, min(s.updated, s.available), s.wanted, s.ending, complete)


def _stateful_set(s: RolloutStatus) -> Progress:
    # Counts, not revisions: a template that goes back makes both revisions equal at once, with newer pods left.
    target = max(0, s.wanted - s.partition)
    complete = s.updated >= s.wanted and s.total <= max(s.updated, s.wanted)
    if not s.wanted:
        return _no_pods(s)
    if complete and s.available >= s.wanted:
        return _ended(s, "new and available")
    if not complete and s.on_delete:
        words = f"its update strategy is OnDelete: {_some(s.updated, s.wanted)} new"
        return _blocked(s, words)
    if not complete and s.partition and s.updated >= target and s.available >= s.wanted:
        words = f"its partition {s.partition} keeps {_pods(s.wanted - s.updated)} of the older revision"
        return _blocked(s, words)
    words = f"{_some(s.available, s.wanted)} available"
    if s.updated < target:
        words = f"{_some(s.updated, target)} new"
    return Progress("going", words, min(s.updated, target), target, s.ending, complete)


def _daemon_set(s: RolloutStatus) -> Progress:
    complete = s.updated >= s.wanted
    if not s.wanted:
        return Progress("blocked", "no node is chosen for its pods", 0, 0, 0, complete=True)
    if complete and s.available >= s.wanted:
        return _ended(s, "new and available")
    if not complete and s.on_delete:
        return _blocked(s, f"its update strategy is OnDelete: {_some(s.updated, s.wanted)} new")
    words = (
        f"{_some(s.updated if not complete else s.available, s.wanted)} {'available' if complete else 'new'}"
    )
    return Progress("going", words, min(s.updated, s.available), s.wanted, s.ending, complete)


def _argo_rollout(s: RolloutStatus) -> Progress:
    complete = s.updated >= s.wanted and s.total <= s.updated and not s.restarting
    if not s.wanted:
        return _no_pods(s)
    if s.phase == "Degraded":
        words = f"it is degraded: {s.message}".rstrip(": ")
        return Progress("failed", words, s.updated, s.wanted, complete=complete)
    if s.restarting:
        return Progress("going", "its controller restarts its pods", 0, s.wanted)
    if s.phase == "Paused":
        return _blocked(s, f"it is paused: {s.message}".rstrip(": "))
    if s.phase not in ("Healthy", ""):
        words = f"it is {s.phase.lower()}" + (f": {s.message}" if s.message else "")
        return Progress("going", words, s.updated, s.wanted, complete=complete)
    if s.available < s.wanted:
        words = f"{_some(s.available, s.wanted)} available"
        return Progress("going", words, s.available, s.wanted, complete=complete)
    # Healthy with older pods left: after a blue-green switch they serve nobody, and go after a delay.
    if s.updated < s.wanted or not (complete or s.phase):
        return Progress("going", f"{_some(s.updated, s.wanted)} new", s.updated, s.wanted)
    return Progress("done", f"all {_pods(s.wanted)} available", s.wanted, s.wanted, complete=True)


def _ended(s: RolloutStatus, how: str) -> Progress:
    words = f"all {_pods(s.wanted)} {how}"
    if s.ending:
        words += f"; {s.ending} old pod{'s are' if s.ending > 1 else ' is'} still terminating"
    return Progress("ending" if s.ending else "done", words, s.wanted, s.wanted, s.ending, complete=True)


def _no_pods(s: RolloutStatus) -> Progress:
    if s.total:
        return Progress("going", f"{_pods(s.total)} still to go", 0, 0, s.ending)
    return Progress("blocked", "it has no replicas", 0, 0, s.ending, complete=True)


def _blocked(s: RolloutStatus, words: str) -> Progress:
    return Progress("blocked", words, s.updated, s.wanted, s.ending)


def _pods(number: int) -> str:
    return f"{number} pod{'' if number == 1 else 's'}"


def _some(number: int, of: int) -> str:
    return f"{number} of {_pods(of)} {'is' if 1 in (number, of) else 'are'}"


_decode_status = msgspec.json.Decoder(StatusObject).decode


def decode_status(raw: msgspec.Raw | bytes) -> StatusObject:
    """A status out of its JSON. What can't be read, as of a custom kind whose fields mean something else, is empty."""
    try:
        return _decode_status(raw)
    except msgspec.DecodeError:
        return StatusObject()
