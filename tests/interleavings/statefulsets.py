"""The controller of StatefulSets, step by step: one pod at a time, the highest ordinal first (OrderedReady)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from tests.interleavings.pods import Act, Pods, hash_of, ready
from tests.interleavings.server import Key, Object, Server, going, owned_by

REVISION_LABEL = "controller-revision-hash"
MANAGER = "kube-controller-manager"


class StatefulSets:
    def __init__(self, server: Server, pods: Pods) -> None:
        self._server, self._pods = server, pods

    def acts(self) -> Iterator[Act]:
        for found in self._server.all("statefulsets"):
            name = found["metadata"]["name"]
            if self._wants_a_pass(found):
                yield Act(f"stateful set {name} is looked at", partial(self._look, name))
        living = {found["metadata"]["uid"] for found in self._server.all("statefulsets")}
        for revision in self._server.all("controllerrevisions"):
            if revision["metadata"]["ownerReferences"][0]["uid"] not in living:
                key = Key("controllerrevisions", revision["metadata"]["name"])
                yield Act(f"revision {key.name} is collected", partial(self._collect, key))
        for pod in self._server.all("pods"):
            owner = pod["metadata"]["ownerReferences"][0]
            if owner["kind"] == "StatefulSet" and owner["uid"] not in living and not going(pod):
                name = pod["metadata"]["name"]
                yield Act(f"pod {name} is collected", partial(self._delete, name))

    def revisions(self, found: Object) -> list[Object]:
        """The oldest first."""
        every = self._server.owned("controllerrevisions", found["metadata"]["uid"])
        return sorted(every, key=lambda revision: int(revision["revision"]))

    def _collect(self, key: Key) -> None:
        self._server.remove(key)

    def _delete(self, pod: str) -> None:
        self._server.delete("pods", pod)

    # --- one pass ------------------------------------------------------------------------------------

    def _wants_a_pass(self, found: Object) -> bool:
        status = found.get("status") or {}
        if status.get("observedGeneration") != found["metadata"]["generation"]:
            return True
        if going(found):
            return False
        return self._next(found, status) is not None or self._status(found, status) != status

    def _look(self, name: str) -> None:
        found = self._server.copy("statefulsets", name)
        if going(found):
            status = {
                **(found.get("status") or {}),
                "observedGeneration": found["metadata"]["generation"],
            }
            self._server.update_status("statefulsets", name, status)
            return
        status = {**(found.get("status") or {}), "observedGeneration": found["metadata"]["generation"]}
        status["updateRevision"] = self._revision(found)
        status.setdefault("currentRevision", status["updateRevision"])
        act = self._next(found, status)
        if act is not None:
            act()
        self._server.update_status("statefulsets", name, self._status(found, status))

    def _revision(self, found: Object) -> str:
        """The name of its template's revision; one that was there before is the newest again."""
        every = self.revisions(found)
        hashed = hash_of(found["spec"]["template"])
        name = f"{found['metadata']['name']}-{hashed}"
        newest = int(every[-1]["revision"]) if every else 0
        for revision in every:
            if revision["metadata"]["labels"][REVISION_LABEL] == hashed:
                if int(revision["revision"]) < newest:
                    again = self._server.copy("controllerrevisions", revision["metadata"]["name"])
                    again["revision"] = newest + 1
                    self._server.update("controllerrevisions", again, MANAGER)
                found_name: str = revision["metadata"]["name"]
                return found_name
        manifest = {
            "metadata": {
                "name": f"{name}-{found['metadata']['uid'][:8]}",
                "labels": {REVISION_LABEL: hashed},
                "ownerReferences": owned_by(found),
            },
            "data": {"spec": {"template": found["spec"]["template"]}},
            "revision": newest + 1,
        }
        self._server.create("controllerrevisions", manifest, MANAGER)
        made: str = manifest["metadata"]["name"]  # type: ignore[index]
        return made

    def _next(self, found: Object, status: Object) -> Any:
        """What is to be done to one pod now; None: nothing, or it waits."""
        pods = self._by_ordinal(found)
        wanted = found["spec"]["replicas"]
        partition = self._partition(found)
        for ordinal in range(wanted):
            pod = pods.get(ordinal)
            if pod is None:
                revision = status["updateRevision"]
                if ordinal < partition or found["spec"]["updateStrategy"]["type"] == "OnDelete":
                    # Below the partition it is made as it was.
                    revision = status["currentRevision"] if ordinal < partition else revision
                return lambda: self._make(found, ordinal, revision)
            if going(pod) or not ready(pod):
                return None  # one after another
        surplus = [ordinal for ordinal in pods if ordinal >= wanted]
        if surplus:
            last = pods[max(surplus)]
            return None if going(last) else lambda: self._delete(last["metadata"]["name"])
        if found["spec"]["updateStrategy"]["type"] == "OnDelete":
            return None
        for ordinal in range(wanted - 1, partition - 1, -1):
            pod = pods[ordinal]
            if revision_of(pod) != status["updateRevision"]:
                return lambda: self._delete(pod["metadata"]["name"])
        return None

    def _make(self, found: Object, ordinal: int, revision: str) -> None:
        held = self._server.get("controllerrevisions", revision)
        template = held["data"]["spec"]["template"] if held is not None else found["spec"]["template"]
        name = f"{found['metadata']['name']}-{ordinal}"
        self._pods.create(found, template, {REVISION_LABEL: revision}, name)

    def _by_ordinal(self, found: Object) -> dict[int, Object]:
        pods = {
            int(pod["metadata"]["name"].rpartition("-")[2]): pod
            for pod in self._server.owned("pods", found["metadata"]["uid"])
        }
        # The pod of a namesake that was deleted has the name still: nothing can be made there before it is gone.
        for pod in self._server.all("pods"):
            owner = pod["metadata"]["ownerReferences"][0]
            if owner["kind"] == "StatefulSet" and owner["name"] == found["metadata"]["name"]:
                pods.setdefault(int(pod["metadata"]["name"].rpartition("-")[2]), pod)
        return pods

    @staticmethod
    def _partition(found: Object) -> int:
        number: int = found["spec"]["updateStrategy"].get("rollingUpdate", {}).get("partition", 0)
        return number

    def _status(self, found: Object, status: Object) -> dict[str, Any]:
        pods = [pod for pod in self._server.owned("pods", found["metadata"]["uid"]) if not going(pod)]
        update, current = status["updateRevision"], status["currentRevision"]
        updated = sum(revision_of(pod) == update for pod in pods)
        able = sum(map(ready, pods))
        wanted = found["spec"]["replicas"]
        of_current = sum(revision_of(pod) == current for pod in pods)
        rolling = found["spec"]["updateStrategy"]["type"] == "RollingUpdate"
        if rolling and updated == wanted == len(pods) == able:
            current, of_current = update, updated
        return {
            "observedGeneration": status["observedGeneration"],
            "replicas": len(pods),
            "readyReplicas": able,
            "availableReplicas": able,
            "updatedReplicas": updated,
            "currentReplicas": of_current,
            "currentRevision": current,
            "updateRevision": update,
            "collisionCount": 0,
        }


def revision_of(pod: Object) -> str:
    name: str = pod["metadata"]["labels"].get(REVISION_LABEL, "")
    return name
