"""The secrets-store CSI driver: what pods mount of a vault, one SecretProviderClassPodStatus per pod and class.

A status is made as its pod starts, with the vault's version of that moment. The driver rotates them one after another,
and the server collects them when their pods are gone; a pod that comes under the same name before that (StatefulSet)
gets its mount put into the old status (pkg/secrets-store/utils.go of the driver).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from tests.interleavings.pods import Act, uses
from tests.interleavings.server import CLASSES, STATUSES, Key, Object, Server

DRIVER = "secrets-store-csi-driver"


class Driver:
    """`Server.vault` says which version the vault has of each class, `Server.rotated` the newest rotated to."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def mount(self, pod: Object) -> None:
        """A pod starts."""
        for use in uses(pod):
            if use.plural != CLASSES:
                continue
            name = f"{pod['metadata']['name']}-{pod['metadata']['namespace']}-{use.name}"
            status = _status(pod, use.name, self._server.vault[use.name])
            if self._server.get(STATUSES, name) is None:
                self._server.create(STATUSES, _manifest(pod, name, status), DRIVER)
            else:
                changed = self._server.copy(STATUSES, name)
                changed["metadata"]["ownerReferences"] = _owner(pod)
                changed["status"] = status
                self._server.update(STATUSES, changed, DRIVER)

    def acts(self) -> Iterator[Act]:
        for status in self._server.all(STATUSES):
            name = status["metadata"]["name"]
            pod = self._server.get("pods", status["status"]["podName"])
            if pod is None or pod["metadata"]["uid"] != status["metadata"]["ownerReferences"][0]["uid"]:
                yield Act(f"status {name} is collected", partial(self._collect, name))
            elif version_of(status) < self._server.vault[status["status"]["secretProviderClassName"]]:
                yield Act(f"status {name} is rotated", partial(self._rotate, name))

    def _collect(self, name: str) -> None:
        self._server.remove(Key(STATUSES, name))

    def _rotate(self, name: str) -> None:
        changed = self._server.copy(STATUSES, name)
        of = changed["status"]["secretProviderClassName"]
        version = self._server.vault[of]
        changed["status"]["objects"] = [{"id": "secret/password", "version": str(version)}]
        self._server.rotated[of] = version
        self._server.update(STATUSES, changed, DRIVER)


def version_of(status: Object) -> int:
    return int(status["status"]["objects"][0]["version"])


def _owner(pod: Object) -> list[dict[str, Any]]:
    meta = pod["metadata"]
    return [{"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta["uid"]}]


def _manifest(pod: Object, name: str, status: dict[str, Any]) -> Object:
    return {"metadata": {"name": name, "ownerReferences": _owner(pod)}, "status": status}


def _status(pod: Object, of: str, version: int) -> dict[str, Any]:
    place = f"/var/lib/kubelet/pods/{pod['metadata']['uid']}/volumes/kubernetes.io~csi/{of}/mount"
    return {
        "podName": pod["metadata"]["name"],
        "secretProviderClassName": of,
        "targetPath": place,
        "mounted": True,
        "objects": [{"id": "secret/password", "version": str(version)}],
    }
