"""StatefulSets: pods with names of their own, one after the other.

The rules are those of pkg/controller/statefulset/stateful_set_control.go;
https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/ tells them to people. Volume claims are not made.
"""

from __future__ import annotations

from reroll.sandbox import revisions
from reroll.sandbox.amounts import amount
from reroll.sandbox.clockwork import Clockwork, with_status
from reroll.sandbox.kinds import POD, STATEFUL_SET
from reroll.sandbox.pods import (
    active,
    adopt,
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


class StatefulSets:
    """The StatefulSet controller."""

    def __init__(self, clockwork: Clockwork) -> None:
        self._clockwork = clockwork

    def sync(self, namespace: str, name: str) -> None:
        """Take one StatefulSet's next step, and tell its status."""
        found = self._clockwork.storage.find(STATEFUL_SET, namespace, name)
        if found is not None and "deletionTimestamp" not in found["metadata"]:
            _Step(self._clockwork, found).take()


class _Step:
    """One StatefulSet at one moment."""

    def __init__(self, clockwork: Clockwork, owner: Object) -> None:
        self.clockwork = clockwork
        self.storage = clockwork.storage
        self.owner = owner
        self.name: str = owner["metadata"]["name"]
        self.spec = owner["spec"]
        self.replicas: int = self.spec.get("replicas", 1)
        self.first: int = (self.spec.get("ordinals") or {}).get("start", 0)
        self.ordered = self.spec.get("podManagementPolicy") != "Parallel"
        strategy = self.spec.get("updateStrategy") or {}
        self.rolling = strategy.get("type", "RollingUpdate") == "RollingUpdate"
        self.partition = amount((strategy.get("rollingUpdate") or {}).get("partition"), 0, 0, up=False)
        self.update = revisions.current(self.storage, STATEFUL_SET, owner, "controller.kubernetes.io/hash")
        told = (owner.get("status") or {}).get("currentRevision")
        kept = {held["metadata"]["name"]: held for held in revisions.history(self.storage, owner)}
        self.current = kept.get(told, self.update)

    def take(self) -> None:
        if self._fill() and self.rolling:
            self._roll()
        self._tell()

    def _pods(self) -> dict[int, Object]:
        """By ordinal."""
        found = {}
        for pod in owned(self.storage, POD, self.owner):
            stem, _, ordinal = pod["metadata"]["name"].rpartition("-")
            if stem == self.name and ordinal.isdecimal():
                found[int(ordinal)] = pod
        return found

    def _is_up(self, pod: Object) -> bool:
        """It counts as there, so that the next one may follow."""
        up = available(self.clockwork, [pod], STATEFUL_SET, self.owner)
        return bool(up) and not is_ending(pod)

    def _fill(self) -> bool:
        """Create what is missing upwards and delete what is too much downwards; in order, each waits for the one
        before. True if a rolling update may go on."""
        pods = self._pods()
        wanted = range(self.first, self.first + self.replicas)
        for ordinal in wanted:
            pod = pods.get(ordinal)
            if pod is not None and has_ended(pod) and not is_ending(pod):
                delete_pod(self.storage, pod)
                pod = None
            if pod is None:
                pod = self._create(ordinal)
            if self.ordered and not self._is_up(pod):
                return False
        for ordinal in sorted(pods.keys() - set(wanted), reverse=True):
            delete_pod(self.storage, pods[ordinal])
            if self.ordered:
                return False
        return True

    def _create(self, ordinal: int) -> Object:
        name = f"{self.name}-{ordinal}"
        if adopt(self.storage, POD, STATEFUL_SET, self.owner, name):
            return self.storage.get(POD, self.owner["metadata"]["namespace"], name)
        held_back = self.rolling and ordinal < self.first + self.partition
        revision = self.current if held_back else self.update
        labels = {
            revisions.HASH: revision["metadata"]["name"],
            "statefulset.kubernetes.io/pod-name": name,
            "apps.kubernetes.io/pod-index": str(ordinal),
        }
        spec = {"hostname": name, "subdomain": self.spec.get("serviceName", "")}
        template = revisions.template_of(revision)
        return create_pod(
            self.storage,
            STATEFUL_SET,
            self.owner,
            template,
            stem=f"{self.name}-",
            name=name,
            labels=labels,
            spec=spec,
        )

    def _roll(self) -> None:
        """Delete the highest pod that is old and not held back by the partition, when all above it are up."""
        pods = self._pods()
        update = self.update["metadata"]["name"]
        for ordinal in range(self.first + self.replicas - 1, self.first + self.partition - 1, -1):
            pod = pods.get(ordinal)
            if pod is None:
                return
            if label(pod, revisions.HASH) != update and not is_ending(pod):
                delete_pod(self.storage, pod)
                return
            if not self._is_up(pod):
                return

    def _tell(self) -> None:
        pods = list(self._pods().values())
        current, update = self.current["metadata"]["name"], self.update["metadata"]["name"]
        of = [label(pod, revisions.HASH) for pod in active(pods)]
        ready = [pod for pod in pods if is_ready(pod)]
        updated = of.count(update)
        if self.rolling and updated == self.replicas == len(pods) == len(ready):
            current = update
        status = {
            "observedGeneration": self.owner["metadata"]["generation"],
            "readyReplicas": len(ready),
            "currentReplicas": of.count(current),
            "updatedReplicas": updated,
            "currentRevision": current,
            "updateRevision": update,
        }
        told = with_status(self.owner, status)
        up = available(self.clockwork, ready, STATEFUL_SET, self.owner)
        told["status"] |= {"replicas": len(pods), "availableReplicas": len(up), "collisionCount": 0}
        self.storage.update(STATEFUL_SET, told, subresource="status")
        revisions.trim(self.storage, self.owner, [current, update, *(name for name in of if name)])
