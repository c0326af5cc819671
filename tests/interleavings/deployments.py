"""The controller of Deployments and their ReplicaSets, step by step.

One step is one pass of the real controller over a Deployment (maxSurge 1, maxUnavailable 0, or Recreate), or one pod
that a ReplicaSet makes or takes away. A template that was there before gets its ReplicaSet again, with what of its pods
still runs. The annotations of a Deployment are copied to its newest ReplicaSet at each pass
(`deploymentutil.SetNewReplicaSetAnnotations`).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from tests.interleavings.pods import Act, Pods, condition, hash_of, ready
from tests.interleavings.server import Key, Object, Server, going, owned_by

REVISION = "deployment.kubernetes.io/revision"
HASH = "pod-template-hash"
NOT_COPIED = ("kubectl.kubernetes.io/last-applied-configuration", REVISION)
"""`annotationsToSkip`: neither copied to a ReplicaSet, nor taken from one by an undo."""
MANAGER = "kube-controller-manager"


class Deployments:
    def __init__(self, server: Server, pods: Pods) -> None:
        self._server, self._pods = server, pods
        self._hashes: dict[tuple[str, int], str] = {}

    def acts(self) -> Iterator[Act]:
        for deployment in self._server.all("deployments"):
            name = deployment["metadata"]["name"]
            if self._wants_a_pass(deployment):
                yield Act(f"deployment {name} is looked at", partial(self._look, name))
        for replica_set in self._server.all("replicasets"):
            yield from self._of_replica_set(replica_set)

    def replica_sets(self, deployment: Object) -> list[Object]:
        return self._server.owned("replicasets", deployment["metadata"]["uid"])

    def newest(self, deployment: Object) -> Object | None:
        """The ReplicaSet of its template."""
        wanted = self._hash(deployment)
        for found in self.replica_sets(deployment):
            if found["metadata"]["labels"][HASH] == wanted:
                return found
        return None

    def _hash(self, deployment: Object) -> str:
        """Of its template; another one for a namesake, whose ReplicaSets may still be there."""
        at = (deployment["metadata"]["uid"], deployment["metadata"]["generation"])
        found = self._hashes.get(at)
        if found is None:
            found = self._hashes[at] = hash_of([at[0], deployment["spec"]["template"]])
        return found

    # --- ReplicaSets ---------------------------------------------------------------------------------

    def _of_replica_set(self, replica_set: Object) -> Iterator[Act]:
        meta = replica_set["metadata"]
        owner = meta["ownerReferences"][0]
        deployment = self._server.get("deployments", owner["name"])
        if deployment is None or deployment["metadata"]["uid"] != owner["uid"]:
            yield Act(f"replica set {meta['name']} is collected", partial(self._collect, meta["name"]))
            return
        pods = [pod for pod in self._server.owned("pods", meta["uid"]) if not going(pod)]
        wanted = replica_set["spec"]["replicas"]
        if len(pods) < wanted:
            yield Act(f"replica set {meta['name']} makes a pod", partial(self._make, replica_set))
        elif len(pods) > wanted:
            first = min(pods, key=lambda pod: (ready(pod), pod["metadata"]["name"]))["metadata"]["name"]
            yield Act(f"pod {first} is taken away", partial(self._take, first))

    def _make(self, replica_set: Object) -> None:
        labels = {HASH: replica_set["metadata"]["labels"][HASH]}
        self._pods.create(replica_set, replica_set["spec"]["template"], labels)

    def _take(self, pod: str) -> None:
        self._server.delete("pods", pod)

    def _collect(self, name: str) -> None:
        replica_set = self._server.copy("replicasets", name)
        for pod in self._server.owned("pods", replica_set["metadata"]["uid"]):
            self._server.delete("pods", pod["metadata"]["name"])
        self._server.remove(Key("replicasets", name))

    # --- Deployments ---------------------------------------------------------------------------------

    def _wants_a_pass(self, deployment: Object) -> bool:
        status = deployment.get("status") or {}
        if status.get("observedGeneration") != deployment["metadata"]["generation"]:
            return True
        if going(deployment):
            return False
        newest = self.newest(deployment)
        if newest is None:
            return not deployment["spec"].get("paused")
        return (
            self._copied(deployment, newest) != newest["metadata"].get("annotations")
            or bool(self._scales(deployment, newest))
            or self._status(deployment, newest) != status
        )

    def _look(self, name: str) -> None:
        deployment = self._server.copy("deployments", name)
        newest = self.newest(deployment)
        revision = ""
        if newest is None and not deployment["spec"].get("paused"):
            newest = self._create(deployment)
        if newest is not None:
            newest, revision = self._annotate(deployment, newest)
        for replica_set, replicas in self._scales(deployment, newest):
            scaled = self._server.copy("replicasets", replica_set["metadata"]["name"])
            scaled["spec"]["replicas"] = replicas
            self._server.update("replicasets", scaled, MANAGER)
        status = self._status(deployment, newest)
        status["observedGeneration"] = deployment["metadata"]["generation"]
        annotations = {"deployment_kubernetes_io__revision": revision} if revision else {}
        self._server.update_status("deployments", name, status, **annotations)

    def _create(self, deployment: Object) -> Object:
        template = deployment["spec"]["template"]
        hashed = self._hash(deployment)
        labels = {**((template.get("metadata") or {}).get("labels") or {}), HASH: hashed}
        manifest = {
            "metadata": {
                "name": f"{deployment['metadata']['name']}-{hashed}",
                "labels": labels,
                "ownerReferences": owned_by(deployment),
            },
            "spec": {"replicas": 0, "template": template},
        }
        self._server.create("replicasets", manifest, MANAGER)
        return self._server.copy("replicasets", manifest["metadata"]["name"])

    def _annotate(self, deployment: Object, newest: Object) -> tuple[Object, str]:
        """Copy annotations to the newest ReplicaSet, and number it above all others."""
        others = [found for found in self.replica_sets(deployment) if found is not newest]
        uid = newest["metadata"]["uid"]
        most = max((revision_of(found) for found in others if found["metadata"]["uid"] != uid), default=0)
        revision = revision_of(newest) if revision_of(newest) > most else most + 1
        changed = self._server.copy("replicasets", newest["metadata"]["name"])
        changed["metadata"]["annotations"] = {**self._copied(deployment, newest), REVISION: str(revision)}
        self._server.update("replicasets", changed, MANAGER)
        return self._server.copy("replicasets", newest["metadata"]["name"]), str(revision)

    @staticmethod
    def _copied(deployment: Object, newest: Object) -> dict[str, str]:
        own = deployment["metadata"].get("annotations") or {}
        kept = newest["metadata"].get("annotations") or {}
        return {**kept, **{name: text for name, text in own.items() if name not in NOT_COPIED}}

    def _scales(self, deployment: Object, newest: Object | None) -> list[tuple[Object, int]]:
        """Which ReplicaSets are to have another number of pods now."""
        wanted = deployment["spec"]["replicas"]
        every = self.replica_sets(deployment)
        if deployment["spec"].get("paused"):
            return self._scales_paused(wanted, every)
        if newest is None:
            return []
        uid = newest["metadata"]["uid"]
        newest = next(found for found in every if found["metadata"]["uid"] == uid)
        old = [found for found in every if found is not newest and found["spec"]["replicas"] > 0]
        has = newest["spec"]["replicas"]
        if deployment["spec"].get("strategy", {}).get("type") == "Recreate":
            if old:
                return [(found, 0) for found in old]
            ended = all(found is newest or not self._of(found) for found in every)
            return [(newest, wanted)] if ended and has != wanted else []
        if has > wanted:
            return [(newest, wanted)]
        total = sum(found["spec"]["replicas"] for found in every)
        if has < wanted and total < wanted + 1:
            return [(newest, min(wanted, has + wanted + 1 - total))]
        if not old:
            return []
        return self._scale_down(wanted, newest, old, total)

    def _scale_down(
        self, wanted: int, newest: Object, old: list[Object], total: int
    ) -> list[tuple[Object, int]]:
        unavailable = newest["spec"]["replicas"] - self._available(newest)
        spare = total - wanted - unavailable
        if spare <= 0:
            return []
        for found in old:  # those that are not ready go first
            broken = found["spec"]["replicas"] - self._available(found)
            if broken > 0:
                return [(found, found["spec"]["replicas"] - min(broken, spare))]
        spare = sum(map(self._available, [newest, *old])) - wanted
        first = old[0]
        return [(first, max(0, first["spec"]["replicas"] - spare))] if spare > 0 else []

    def _scales_paused(self, wanted: int, every: list[Object]) -> list[tuple[Object, int]]:
        """A paused Deployment is scaled, by the newest of what it has."""
        if sum(found["spec"]["replicas"] for found in every) == wanted or not every:
            return []
        if wanted == 0:
            return [(found, 0) for found in every if found["spec"]["replicas"]]
        newest = max(every, key=revision_of)
        return [(found, wanted if found is newest else 0) for found in every]

    def _of(self, replica_set: Object) -> list[Object]:
        return self._server.owned("pods", replica_set["metadata"]["uid"])

    def _available(self, replica_set: Object) -> int:
        return sum(ready(pod) and not going(pod) for pod in self._of(replica_set))

    def _status(self, deployment: Object, newest: Object | None) -> dict[str, Any]:
        every = self.replica_sets(deployment)
        pods = {found["metadata"]["name"]: self._of(found) for found in every}
        living = [pod for found in pods.values() for pod in found if not going(pod)]
        available = sum(map(ready, living))
        of_newest = pods.get(newest["metadata"]["name"], []) if newest is not None else []
        updated = sum(not going(pod) for pod in of_newest)
        wanted = deployment["spec"]["replicas"]
        done = updated == wanted == len(living) == available
        was = deployment.get("status") or {}
        status: dict[str, Any] = {
            "observedGeneration": was.get("observedGeneration", 0),
            "replicas": len(living),
            "updatedReplicas": updated,
            "readyReplicas": available,
            "availableReplicas": available,
            "unavailableReplicas": max(0, wanted - available),
            "terminatingReplicas": sum(map(len, pods.values())) - len(living),
            "conditions": [
                condition("Available", "True" if available >= wanted else "False", "MinimumReplicas"),
                condition("Progressing", "True", "NewReplicaSetAvailable" if done else "ReplicaSetUpdated"),
            ],
        }
        if deployment["spec"].get("paused"):
            status["conditions"][1] = condition("Progressing", "Unknown", "DeploymentPaused")
        return status


def revision_of(replica_set: Object) -> int:
    return int((replica_set["metadata"].get("annotations") or {}).get(REVISION, "0"))
