"""What the reflectors talk to: each passes on to the store what a watch of one resource brings."""

from __future__ import annotations

from collections.abc import Iterable

from reroll.controller.store import Store
from reroll.core.observe import (
    ConfigMapObject,
    NamespaceObject,
    OtherObject,
    SecretObject,
    WorkloadObject,
    version_number,
    workload_object,
)
from reroll.core.records import ConfigId, ConfigKind, WorkloadId


class Configs:
    """Handler of a reflector of ConfigMaps or Secrets, in one namespace or ("") all."""

    def __init__(self, store: Store, kind: ConfigKind, namespace: str = "") -> None:
        self._store, self._kind, self._namespace = store, kind, namespace

    def upsert(self, obj: ConfigMapObject | SecretObject, *, live: bool) -> None:
        self._store.configs.put_live(self._kind, obj)

    def listed(self, namespace: str, name: str, resource_version: str) -> None:
        self._store.configs.listed(self._kind, namespace, name, resource_version)

    def delete(self, namespace: str, name: str, *, live: bool, version: str) -> None:
        config = ConfigId(self._kind, namespace, name)
        self._store.configs.drop(config, live=live, version=version_number(version))

    def known(self) -> Iterable[tuple[str, str]]:
        return self._store.configs.names(self._kind, self._namespace)

    def synced(self) -> None:
        self._store.set_collection(self._kind, self._namespace, "")


class Workloads:
    """Handler of a reflector of one kind of workload."""

    def __init__(self, store: Store, kind: str, namespace: str = "") -> None:
        self._store, self._kind, self._namespace = store, kind, namespace

    def upsert(self, obj: WorkloadObject | OtherObject, *, live: bool) -> None:
        found = workload_object(self._store.kinds[self._kind], obj)
        self._store.put_workload(found, self._kind, live=live)

    def gone(self) -> None:
        """The kind is no longer served: none of it is left."""
        for namespace, name in list(self.known()):
            self._store.drop_workload(WorkloadId(self._kind, namespace, name))

    def delete(self, namespace: str, name: str, *, live: bool, version: str) -> None:
        self._store.drop_workload(WorkloadId(self._kind, namespace, name))

    def known(self) -> Iterable[tuple[str, str]]:
        return self._store.workload_names(self._kind, self._namespace)

    def synced(self) -> None:
        self._store.set_collection(self._kind, self._namespace, "")


class Namespaces:
    """Handler of the reflector of Namespaces."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def upsert(self, obj: NamespaceObject, *, live: bool) -> None:
        self._store.put_namespace(obj)

    def delete(self, namespace: str, name: str, *, live: bool, version: str) -> None:
        self._store.drop_namespace(name)

    def known(self) -> Iterable[tuple[str, str]]:
        return [("", name) for name in self._store.namespaces()]

    def synced(self) -> None:
        self._store.set_collection("namespace", "", "")
