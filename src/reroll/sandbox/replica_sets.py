"""ReplicaSets: as many pods of one template as they are told to have."""

from __future__ import annotations

from reroll.sandbox.clockwork import Clockwork, with_status
from reroll.sandbox.kinds import POD, REPLICA_SET
from reroll.sandbox.pods import (
    active,
    available,
    create_pod,
    delete_pod,
    has_ended,
    is_ending,
    is_ready,
    label,
    owned,
)
from reroll.sandbox.storage import Object


class ReplicaSets:
    """The ReplicaSet controller."""

    def __init__(self, clockwork: Clockwork) -> None:
        self._clockwork = clockwork
        self._storage = clockwork.storage

    def sync(self, namespace: str, name: str) -> None:
        """Bring one to its number of replicas, and tell its status."""
        replica_set = self._storage.find(REPLICA_SET, namespace, name)
        if replica_set is None or "deletionTimestamp" in replica_set["metadata"]:
            return
        spec = replica_set["spec"]
        template: Object = spec.get("template") or {}
        held = owned(self._storage, POD, replica_set)
        pods = active(held)
        excess = len(pods) - spec.get("replicas", 1)
        for _ in range(-excess):
            pods.append(create_pod(self._storage, REPLICA_SET, replica_set, template, stem=f"{name}-"))
        if excess > 0:
            pods.reverse()  # of those that are equally far the newest goes first
            pods.sort(key=_progress)
            for pod in pods[:excess]:
                delete_pod(self._storage, pod)
            pods = pods[excess:]
        labels = ((template.get("metadata") or {}).get("labels") or {}).items()
        status = {
            "fullyLabeledReplicas": sum(
                all(label(pod, key) == value for key, value in labels) for pod in pods
            ),
            "readyReplicas": sum(map(is_ready, pods)),
            "availableReplicas": len(available(self._clockwork, pods, REPLICA_SET, replica_set)),
            "observedGeneration": replica_set["metadata"]["generation"],
        }
        told = with_status(replica_set, status)
        ending = sum(is_ending(pod) and not has_ended(pod) for pod in held)
        told["status"] |= {"replicas": len(pods), "terminatingReplicas": ending}
        self._storage.update(REPLICA_SET, told, subresource="status")


def _progress(pod: Object) -> tuple[bool, bool, bool]:
    """How far a pod is: the least far is given up first."""
    running = pod.get("status", {}).get("phase") == "Running"
    return bool(pod["spec"].get("nodeName")), running, is_ready(pod)
