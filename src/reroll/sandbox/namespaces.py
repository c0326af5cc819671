"""What happens to namespaces: each begins with a ConfigMap and a ServiceAccount, and ends when it is empty."""

from __future__ import annotations

from typing import Final

from reroll.sandbox.kinds import CONFIG_MAP, NAMESPACE, SERVICE_ACCOUNT
from reroll.sandbox.storage import Change, Object, Storage, copied

FIRST: Final = ("default", "kube-node-lease", "kube-public", "kube-system")
"""The namespaces of a new cluster."""
_ROOT_CA: Final = "kube-root-ca.crt"
_NO_CA: Final = "# The sandbox speaks plain HTTP on loopback: there is no certificate.\n"


class Namespaces:
    """Follows the namespaces of a storage."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._ending: set[str] = set()
        storage.listen(self._changed)

    def begin(self) -> None:
        """Make the first namespaces."""
        for name in FIRST:
            self._storage.create(
                NAMESPACE,
                {
                    "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
                    "spec": {"finalizers": ["kubernetes"]},
                    "status": {"phase": "Active"},
                },
            )

    def _changed(self, change: Change) -> None:
        if change.kind is not NAMESPACE:
            space = change.object["metadata"].get("namespace", "")
            found = self._storage.find(NAMESPACE, "", space) if change.type == "DELETED" and space else None
            if found is not None and found["metadata"].get("deletionTimestamp"):
                self._end(found)
            elif found is not None and change.kind in (SERVICE_ACCOUNT, CONFIG_MAP):
                self._furnish(space)
        elif change.type == "ADDED":
            self._furnish(change.object["metadata"]["name"])
        elif change.type == "MODIFIED":
            self._end(change.object)

    def _furnish(self, namespace: str) -> None:
        """Make what each namespace has, where it is missing."""
        for kind, name, content in (
            (SERVICE_ACCOUNT, "default", {}),
            (CONFIG_MAP, _ROOT_CA, {"data": {"ca.crt": _NO_CA}}),
        ):
            if self._storage.find(kind, namespace, name) is None:
                self._storage.create(kind, {"metadata": {"namespace": namespace, "name": name}, **content})

    def _end(self, namespace: Object) -> None:
        """Take a step towards the end of a namespace that is to be deleted: mark it, empty it, let it go."""
        if not namespace["metadata"].get("deletionTimestamp"):
            return
        name = namespace["metadata"]["name"]
        if namespace.get("status", {}).get("phase") != "Terminating":
            marked = {**namespace, "status": {"phase": "Terminating"}}
            self._storage.update(NAMESPACE, marked, subresource="status")
            return  # which was told of, and so has done the rest
        if name not in self._ending:  # what is deleted here is told of, too
            self._ending.add(name)
            try:
                self._empty(name)
            finally:
                self._ending.discard(name)

    def _empty(self, namespace: str) -> None:
        left = False
        for kind in filter(lambda kind: kind.namespaced, self._storage.kinds()):
            for obj in self._storage.objects(kind, namespace):
                name = obj["metadata"]["name"]
                if self._storage.find(kind, namespace, name) is not None:
                    self._storage.delete(kind, namespace, name, grace=0)
                left = left or self._storage.find(kind, namespace, name) is not None
        now = self._storage.find(NAMESPACE, "", namespace)
        if not left and now is not None and (now.get("spec") or {}).get("finalizers"):
            freed = copied(now)
            freed["spec"]["finalizers"] = []
            self._storage.update(NAMESPACE, freed)
