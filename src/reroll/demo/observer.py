"""What really became of a change, read off the cluster: revisions, pods and Events.

A rollout is counted where Kubernetes itself counts it: by the revision that the Deployment controller puts
on ReplicaSets, and by the revision of a StatefulSet's ControllerRevisions. An undo brings an old ReplicaSet
back under a new revision, so it counts too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from msgspec import Struct

from reroll.core.applied import APPLIED, CONFIG
from reroll.core.kinds import DEPLOYMENT, STATEFUL_SET, WorkloadKind
from reroll.kube.client import Client
from reroll.kube.resources import EVENTS, PODS, REPLICA_SETS, Resource

DEPLOYMENTS: Final = Resource("apps", "v1", DEPLOYMENT.plural, DEPLOYMENT.kind)
STATEFUL_SETS: Final = Resource("apps", "v1", STATEFUL_SET.plural, STATEFUL_SET.kind)
CONTROLLER_REVISIONS: Final = Resource("apps", "v1", "controllerrevisions", "ControllerRevision")

REVISION: Final = "deployment.kubernetes.io/revision"
_REPORTER = "reroll.dev/controller"

Object = dict[str, Any]


class PodView(Struct, frozen=True, order=True):
    """One pod: of the newest revision or of an older one, ready or not yet."""

    new: bool
    ready: bool


class WorkloadView(Struct, frozen=True):
    """One workload at a moment."""

    name: str
    kind: WorkloadKind
    desired: int
    revision: int
    """Counts rollouts; 0: none was begun yet."""
    pods: tuple[PodView, ...]
    """Those that are not being deleted; the new and ready ones first."""
    settled: bool
    """Its last rollout has ended: every pod is new and available."""
    adopted: bool
    """reroll recorded what its pods run with."""
    mark: str
    """reroll's mark on the pod template."""


class EventView(Struct, frozen=True):
    """An Event of reroll on a workload."""

    id: str
    """Changes when the same Event happens again."""
    workload: str
    reason: str
    note: str


class Look(Struct, frozen=True):
    """The namespace at a moment."""

    workloads: dict[str, WorkloadView]
    events: tuple[EventView, ...]

    @property
    def revisions(self) -> dict[str, int]:
        return {name: view.revision for name, view in self.workloads.items()}


class Observer:
    """Looks at one namespace."""

    def __init__(self, client: Client, namespace: str) -> None:
        self._client = client
        self._namespace = namespace

    async def look(self) -> Look:
        """Everything at once. Raises ApiError."""
        pods, replica_sets, revisions, deployments, stateful_sets, events = await asyncio.gather(
            *map(
                self.list,
                (PODS, REPLICA_SETS, CONTROLLER_REVISIONS, DEPLOYMENTS, STATEFUL_SETS, EVENTS),
            )
        )
        views = [deployment_view(each, replica_sets, pods) for each in deployments]
        views += [stateful_set_view(each, revisions, pods) for each in stateful_sets]
        return Look({view.name: view for view in views}, tuple(events_of_reroll(events)))

    async def list(self, resource: Resource) -> list[Object]:
        """All objects of a resource in the namespace. Raises ApiError."""
        answer = msgspec.json.decode(await self._client.list_page(resource.path(self._namespace)))
        return list(answer.get("items") or ())


def owned(objects: Iterable[Object], owner: Object) -> list[Object]:
    """Those whose controller is `owner`."""
    uid = owner["metadata"]["uid"]
    return [
        each
        for each in objects
        if any(ref["uid"] == uid for ref in each["metadata"].get("ownerReferences") or ())
    ]


def revision_of(replica_set: Object) -> int:
    """The revision of a ReplicaSet; 0 where the Deployment controller has not set it yet."""
    text = (replica_set["metadata"].get("annotations") or {}).get(REVISION, "")
    return int(text) if text.isdigit() else 0


def deployment_view(obj: Object, replica_sets: list[Object], pods: list[Object]) -> WorkloadView:
    """A Deployment: the pods of its newest ReplicaSet are the new ones."""
    mine = owned(replica_sets, obj)
    newest = max(mine, key=revision_of, default=None)
    ours = [pod for each in mine for pod in owned(pods, each)]
    current = owned(ours, newest) if newest is not None else []
    names = {pod["metadata"]["name"] for pod in current}
    return _view(obj, DEPLOYMENT, revision_of(newest) if newest else 0, ours, names)


def stateful_set_view(obj: Object, revisions: list[Object], pods: list[Object]) -> WorkloadView:
    """A StatefulSet: the pods of its update revision are the new ones."""
    update = (obj.get("status") or {}).get("updateRevision", "")
    ours = owned(pods, obj)
    names = {
        pod["metadata"]["name"]
        for pod in ours
        if (pod["metadata"].get("labels") or {}).get("controller-revision-hash") == update
    }
    revision = max((int(each["revision"]) for each in owned(revisions, obj)), default=0)
    return _view(obj, STATEFUL_SET, revision, ours, names)


def _view(obj: Object, kind: WorkloadKind, revision: int, pods: list[Object], new: set[str]) -> WorkloadView:
    metadata, spec, status = obj["metadata"], obj["spec"], obj.get("status") or {}
    desired = int(spec.get("replicas", 1))
    alive = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    views = tuple(sorted((PodView(p["metadata"]["name"] in new, _ready(p)) for p in alive), reverse=True))
    counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")]
    settled = (
        status.get("observedGeneration", 0) >= metadata.get("generation", 1)
        and counts == [desired] * 3
        and len(views) == desired
        and all(pod.new and pod.ready for pod in views)
    )
    template = spec["template"].get("metadata") or {}
    return WorkloadView(
        name=metadata["name"],
        kind=kind,
        desired=desired,
        revision=revision,
        pods=views,
        settled=settled,
        adopted=APPLIED in (metadata.get("annotations") or {}),
        mark=(template.get("annotations") or {}).get(CONFIG, ""),
    )


def _ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def pod_problems(pods: Iterable[Object]) -> list[str]:
    """For each pod that is not ready, what it says of that; at most five."""
    told: list[str] = []
    for pod in pods:
        if _ready(pod):
            continue
        status = pod.get("status") or {}
        waiting = [
            c["state"]["waiting"] for c in status.get("containerStatuses") or () if "waiting" in c["state"]
        ]
        refused = [c for c in status.get("conditions") or () if c["status"] != "True" and c.get("message")]
        reasons = [f"{r.get('reason', '')} {r.get('message', '')}".strip() for r in (waiting or refused)[:1]]
        told.append(f"pod {pod['metadata']['name']}: {(reasons or [status.get('phase', 'no status')])[0]}")
    return told[:5]


def events_of_reroll(events: list[Object]) -> Iterable[EventView]:
    """What reroll told, of all Events, in the order of time."""
    for event in sorted(events, key=lambda event: event.get("eventTime") or ""):
        if event.get("reportingController") != _REPORTER:
            continue
        count = (event.get("series") or {}).get("count", 1)
        yield EventView(
            id=f"{event['metadata']['uid']} {count}",
            workload=event["regarding"].get("name", ""),
            reason=event.get("reason", ""),
            note=event.get("note", ""),
        )
