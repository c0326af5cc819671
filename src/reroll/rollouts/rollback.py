"""Takes a restart back: the pod template becomes what it was before, as long as nobody else has changed it since.

Only our own annotation is put back, so a Deployment's older ReplicaSet is the current one again and the pods of it
that still run go on as they are. Pods that were already gone come back, and read the configuration as it is now:
a restart that is taken back brings no older configuration back.
"""

from __future__ import annotations

import contextlib

import msgspec
from msgspec import Struct

from reroll.core.kinds import KINDS, STATEFUL_SET
from reroll.core.records import WorkloadId
from reroll.kube.client import Client
from reroll.kube.errors import ApiError, Conflict
from reroll.kube.resources import PODS
from reroll.rollouts.live import RESTARTED_AT, Live, decode_live, read
from reroll.rollouts.paths import path
from reroll.rollouts.progress import after_verdict
from reroll.rollouts.reasons import find_pods

_ATTEMPTS = 5


class TakenBack(Struct, frozen=True):
    """What became of a restart that was to be taken back."""

    problem: str = ""
    """Why it was not; "": it was."""
    after: Live | None = None
    """The workload as the change left it."""
    since: float = 0.0
    """See `core.progress.progress`: a Deployment that goes back to a ReplicaSet of its own keeps the verdict on the
    restart that has failed until a count improves."""


async def take_back(client: Client, workload: WorkloadId, ours: str, before: str | None) -> TakenBack:
    """Put the annotation back from `ours` to `before` (None: it was not there).

    A StatefulSet waits for a pod that never becomes ready, also on the way back, so those of ours are deleted
    (https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#forced-rollback). Raises ApiError.
    """
    for _ in range(_ATTEMPTS):
        live = await read(client, workload)
        if live.restarted_at != ours:
            return TakenBack("another client has restarted it since")
        body: dict[str, object] = {RESTARTED_AT: before}
        for field in reversed((*KINDS[workload.kind].template, "metadata", "annotations")):
            body = {field: body}
        body["metadata"] = {"resourceVersion": live.metadata.resource_version}
        try:
            answer = await client.patch(path(workload, KINDS), msgspec.json.encode(body))
        except Conflict:
            continue
        if workload.kind == STATEFUL_SET.id:
            await _delete_broken(client, workload, ours)
        return TakenBack(after=decode_live(answer), since=after_verdict(live, workload.kind))
    return TakenBack("another client changes it all the time")


async def _delete_broken(client: Client, workload: WorkloadId, ours: str) -> None:
    for pod in await find_pods(client, workload, await read(client, workload)):
        if not pod.ready and (pod.metadata.annotations or {}).get(RESTARTED_AT) == ours:
            body = msgspec.json.encode({"preconditions": {"uid": pod.metadata.uid}})
            with contextlib.suppress(ApiError):  # it is gone, or another pod has its name
                await client.delete(PODS.path(workload.namespace, pod.metadata.name), body)
