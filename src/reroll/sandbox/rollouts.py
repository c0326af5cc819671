"""Makes the objects of a sandbox move: what controllers and kubelets do in a cluster.

clockwork ─► deployments ─► replica_sets ─► pods ─► kubelet, and stateful_sets, daemon_sets and jobs beside them.
Each is told of every write by the storage, and looks at what the write may concern.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from reroll.sandbox.clockwork import Clockwork
from reroll.sandbox.crashes import CrashRule
from reroll.sandbox.cron_jobs import CronJobs
from reroll.sandbox.daemon_sets import DaemonSets
from reroll.sandbox.deployments import Deployments
from reroll.sandbox.jobs import Jobs
from reroll.sandbox.kinds import (
    CONFIG_MAP,
    CRON_JOB,
    DAEMON_SET,
    DEPLOYMENT,
    JOB,
    KINDS,
    NODE,
    POD,
    REPLICA_SET,
    SECRET,
    STATEFUL_SET,
    Kind,
)
from reroll.sandbox.kubelet import Kubelet, Pace
from reroll.sandbox.pods import controller_of
from reroll.sandbox.replica_sets import ReplicaSets
from reroll.sandbox.stateful_sets import StatefulSets
from reroll.sandbox.storage import Change, Object, Storage

NODE_NAME: Final = "sandbox"
"""The node of a sandbox to which nobody gave one."""
_BY_NAME: Final = {kind.kind: kind for kind in KINDS}


class Rollouts:
    """The controllers and the kubelet of one storage.

    `ready_after`, `kubelet_sync`, `terminate_after`, `finish_after` and `crash_backoff` are seconds: see `Pace`.
    `crash` tells whether a pod's containers crash with what they were given: see `CrashRule`. `busy` tells
    whether requests come in, to which all else gives way.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        ready_after: float = 0.5,
        kubelet_sync: float = 2.0,
        terminate_after: float = 0.1,
        finish_after: float = 1.0,
        crash_backoff: float = 1.0,
        crash: CrashRule | None = None,
        busy: Callable[[], bool] = lambda: False,
    ) -> None:
        self._storage = storage
        self._clockwork = Clockwork(storage, busy)
        pace = Pace(ready_after, kubelet_sync, terminate_after, finish_after, crash_backoff)
        self.kubelet = Kubelet(self._clockwork, pace, crash)
        self._syncs = {
            POD: self.kubelet.sync,
            REPLICA_SET: ReplicaSets(self._clockwork).sync,
            STATEFUL_SET: StatefulSets(self._clockwork).sync,
            DAEMON_SET: DaemonSets(self._clockwork).sync,
            JOB: Jobs(self._clockwork).sync,
            DEPLOYMENT: Deployments(self._clockwork).sync,
            CRON_JOB: CronJobs(self._clockwork).sync,
        }

    async def run(self) -> None:
        """Act until cancelled."""
        if not self._storage.objects(NODE):
            node = {
                "metadata": {"name": NODE_NAME, "labels": {"kubernetes.io/hostname": NODE_NAME}},
                "spec": {},
            }
            ready = {"type": "Ready", "status": "True", "reason": "KubeletReady"}
            self._storage.create(NODE, {**node, "status": {"conditions": [ready]}})
        end = self._storage.listen(self._told)
        try:
            for kind in self._syncs:
                self._touch_all(kind)
            await self._clockwork.run(self._syncs)
        finally:
            end()

    def _touch_all(self, kind: Kind) -> None:
        for obj in self._storage.objects(kind):
            self._clockwork.touch(kind, obj["metadata"]["namespace"], obj["metadata"]["name"])

    def _told(self, change: Change) -> None:
        """Touch what a write may concern."""
        kind, obj = change.kind, change.object
        meta = obj["metadata"]
        namespace, name = meta.get("namespace", ""), meta["name"]
        if kind in (CONFIG_MAP, SECRET):
            self.kubelet.config_changed(kind, namespace, name)
            return
        if kind is NODE:
            self._touch_all(DAEMON_SET)
            for pod in self._storage.objects(POD):
                if not pod["spec"].get("nodeName"):
                    self._clockwork.touch(POD, pod["metadata"]["namespace"], pod["metadata"]["name"])
            return
        if kind is POD and change.type == "DELETED":
            self.kubelet.forget(namespace, name, meta["uid"])
        if kind in self._syncs and _concerns_itself(change):
            self._clockwork.touch(kind, namespace, name)
        owner = self._touch_owner(obj)
        if kind is POD and change.type == "DELETED" and owner is not None:
            # Recreate waits until the last pod of a ReplicaSet is gone, of which its status says nothing.
            self._touch_owner(owner)

    def _touch_owner(self, obj: Object) -> Object | None:
        """Touch the controller of an object, and return it where it is there."""
        reference = controller_of(obj)
        kind = _BY_NAME.get(reference["kind"]) if reference else None
        if reference is None or kind not in self._syncs:
            return None
        namespace, name = obj["metadata"].get("namespace", ""), reference["name"]
        self._clockwork.touch(kind, namespace, name)
        return self._storage.find(kind, namespace, name)


def _concerns_itself(change: Change) -> bool:
    """False for a write of status alone: whoever wrote it has looked at the object."""
    meta = change.object["metadata"]
    if change.previous is None or change.type == "DELETED" or "deletionTimestamp" in meta:
        return True
    return change.kind is not POD and meta["generation"] != change.previous["metadata"]["generation"]
