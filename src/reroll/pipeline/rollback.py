"""Takes a restart back: the pod template becomes what it was before, as long as nobody else has changed it since.

Only our own annotation is put back, so a Deployment's older ReplicaSet is the current one again and the pods of it
that still run go on as they are. Pods that were already gone come back, and read the configuration as it is now:
a restart that is taken back brings no older configuration back.
"""

from __future__ import annotations

import contextlib

import msgspec

from reroll.core.kinds import KINDS, STATEFUL_SET
from reroll.core.records import WorkloadId
from reroll.kube.client import Client
from reroll.kube.errors import ApiError, Conflict
from reroll.kube.resources import PODS
from reroll.modes.bodies import place
from reroll.modes.rollout import path
from reroll.pipeline.live import RESTARTED_AT, read
from reroll.pipeline.reasons import find_pods

_ATTEMPTS = 5


async def take_back(client: Client, workload: WorkloadId, ours: str, before: str | None) -> str:
    """Put the annotation back from `ours` to `before` (None: it was not there). Returns "" when done, else why not.

    A StatefulSet waits for a pod that never becomes ready, also on the way back, so those of ours are deleted
    (https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#forced-rollback). Raises ApiError.
    """
    for _ in range(_ATTEMPTS):
        live = await read(client, workload)
        if live.restarted_at != ours:
            return "somebody else has restarted it since"
        body: dict[str, object] = {"metadata": {"resourceVersion": live.metadata.resource_version}}
        place(body, (*KINDS[workload.kind].template, "metadata", "annotations", RESTARTED_AT), before)
        try:
            await client.patch(path(workload, KINDS), msgspec.json.encode(body))
        except Conflict:
            continue
        if workload.kind == STATEFUL_SET.id:
            await _delete_broken(client, workload, ours)
        return ""
    return "it is changed all the time by somebody else"


async def _delete_broken(client: Client, workload: WorkloadId, ours: str) -> None:
    for pod in await find_pods(client, workload, await read(client, workload)):
        if not pod.ready and (pod.metadata.annotations or {}).get(RESTARTED_AT) == ours:
            body = msgspec.json.encode({"preconditions": {"uid": pod.metadata.uid}})
            with contextlib.suppress(ApiError):  # it is gone, or another pod has its name
                await client.delete(PODS.path(workload.namespace, pod.metadata.name), body)
