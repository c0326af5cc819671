"""What pods have mounted of a SecretProviderClass, put together into one config object.

The secrets-store CSI driver keeps one SecretProviderClassPodStatus per pod and class: which object of the store, in
which version. When it rotates, it changes those of all pods one after another, and pods that start have theirs made
with the new versions. So the content of a class is what the last of them to change says: the first pod that is rotated
makes it another one, and all others say the same. Where every pod has had it since its start, none of them has to be
rolled for it (`ConfigRecord.read_at_start`).

A status that was never rotated is told by its generation: the CustomResourceDefinition has no status subresource, so
each change of it counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from reroll.controller.config_objects import Content
from reroll.controller.store import Store
from reroll.core.kinds import WorkloadKind
from reroll.core.observe import ObjectMeta, config_record, last_change, version_number
from reroll.core.records import ConfigId, ConfigRecord

_GROUP, _VERSION = "secrets-store.csi.x-k8s.io", "v1"

CLASS = WorkloadKind("SecretProviderClass", _GROUP, _VERSION, "secretproviderclasses", optional=True)
STATUS = WorkloadKind(
    "SecretProviderClassPodStatus", _GROUP, _VERSION, "secretproviderclasspodstatuses", optional=True
)
KINDS: Mapping[str, WorkloadKind] = {kind.kind: kind for kind in (CLASS, STATUS)}
"""Both are there while the driver is installed. They own no pod template; the record says where they live."""


class MountedObject(Struct, gc=False):
    """One entry of status.objects."""

    id: str = ""
    version: str = ""


class PodStatus(Struct, gc=False, rename="camel"):
    """status."""

    secret_provider_class_name: str = ""
    objects: list[MountedObject] | None = None


class StatusObject(Struct, gc=False):
    """A SecretProviderClassPodStatus, as far as it is read."""

    metadata: ObjectMeta
    status: PodStatus | None = None


class ClassObject(Struct, gc=False):
    """A SecretProviderClass: what matters here are its annotations."""

    metadata: ObjectMeta


class _Status(Struct, frozen=True, gc=False):
    """What is kept of one."""

    config: ConfigId
    uid: str
    content: Content
    version: int
    stamp: float
    rotated: bool
    arrived: float


class ClassStatuses:
    """Tells the store what there is of each class. All methods belong to the event loop's thread."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._statuses: dict[tuple[str, str], _Status] = {}
        self._of_class: dict[ConfigId, set[tuple[str, str]]] = {}
        self._classes: dict[tuple[str, str], dict[str, str]] = {}

    def put_status(self, obj: StatusObject, *, live: bool) -> None:
        """Take in the status of one pod."""
        meta, status = obj.metadata, obj.status or PodStatus()
        at = (meta.namespace, meta.name)
        before = self._statuses.get(at)
        config = ConfigId("secretproviderclass", meta.namespace, status.secret_provider_class_name)
        mounted = {found.id: found.version for found in status.objects or ()}
        keys = tuple(sorted(mounted))
        key = self._store.configs.key
        joined = b"".join(key.digest(config.namespace, config.name, k, mounted[k].encode()) for k in keys)
        same = before is not None and before.uid == meta.uid and before.content == (keys, joined)
        if before is not None and same and before.config == config:
            return  # labels, or a list that brought it once more
        self._forget(at)
        self._statuses[at] = _Status(
            config=config,
            uid=meta.uid,
            content=(keys, joined),
            version=version_number(meta.resource_version),
            stamp=last_change(meta, (b'"f:status"',)),
            rotated=meta.generation > 1 or (before is not None and before.uid == meta.uid),
            arrived=self._store.configs.now() if live else 0.0,
        )
        self._of_class.setdefault(config, set()).add(at)
        self._tell(config)

    def drop_status(self, namespace: str, name: str) -> None:
        config = self._forget((namespace, name))
        if config is not None:
            self._tell(config)

    def put_class(self, obj: ClassObject) -> None:
        """Take in a class: its annotations say who may follow it."""
        meta = obj.metadata
        self._classes[meta.namespace, meta.name] = meta.annotations or {}
        self._tell(ConfigId("secretproviderclass", meta.namespace, meta.name))

    def drop_class(self, namespace: str, name: str) -> None:
        if self._classes.pop((namespace, name), None) is not None:
            self._tell(ConfigId("secretproviderclass", namespace, name))

    def forget_digests(self) -> None:
        """Another digest key is in force: all is to be listed again."""
        for at in list(self._statuses):
            self._forget(at)

    def statuses(self, namespace: str) -> Iterable[tuple[str, str]]:
        """(namespace, name) of those held, of one namespace or ("") all."""
        return [at for at in self._statuses if not namespace or at[0] == namespace]

    def classes(self, namespace: str) -> Iterable[tuple[str, str]]:
        return [at for at in self._classes if not namespace or at[0] == namespace]

    def synced(self, namespace: str) -> None:
        self._store.set_collection("secretproviderclass", namespace, "")

    def _forget(self, at: tuple[str, str]) -> ConfigId | None:
        status = self._statuses.pop(at, None)
        if status is None:
            return None
        self._of_class[status.config].discard(at)
        if not self._of_class[status.config]:
            del self._of_class[status.config]
        return status.config

    def _tell(self, config: ConfigId) -> None:
        statuses = [self._statuses[at] for at in self._of_class.get(config, ())]
        if not statuses:
            self._store.configs.drop(config)
            return
        last = max(statuses, key=lambda status: status.version)
        everywhere = all(status.content == last.content and not status.rotated for status in statuses)
        meta = ObjectMeta(
            name=config.name,
            namespace=config.namespace,
            resource_version=str(last.version),
            annotations=self._classes.get((config.namespace, config.name)),
        )

        def record(previous: ConfigRecord | None) -> ConfigRecord:
            found = config_record(
                meta,
                last.content,
                previous,
                flags=self._store.configs.flags,
                arrived=last.arrived,
            )
            if found is not previous and (previous is None or found.version != previous.version):
                found = replace(found, stamp=last.stamp)
            return found if found.read_at_start == everywhere else replace(found, read_at_start=everywhere)

        self._store.configs.put_record(config, record)


class Statuses:
    """Handler of a reflector of SecretProviderClassPodStatuses, in one namespace or ("") all."""

    def __init__(self, all: ClassStatuses, namespace: str = "") -> None:
        self._all, self._namespace = all, namespace

    def upsert(self, obj: StatusObject, *, live: bool) -> None:
        self._all.put_status(obj, live=live)

    def delete(self, namespace: str, name: str, *, live: bool, version: str) -> None:
        self._all.drop_status(namespace, name)

    def known(self) -> Iterable[tuple[str, str]]:
        return self._all.statuses(self._namespace)

    def synced(self) -> None:
        self._all.synced(self._namespace)

    def gone(self) -> None:
        """The kind is no longer served: none of it is left."""
        for at in list(self.known()):
            self._all.drop_status(*at)


class Classes:
    """Handler of a reflector of SecretProviderClasses."""

    def __init__(self, all: ClassStatuses, namespace: str = "") -> None:
        self._all, self._namespace = all, namespace

    def upsert(self, obj: ClassObject, *, live: bool) -> None:
        self._all.put_class(obj)

    def delete(self, namespace: str, name: str, *, live: bool, version: str) -> None:
        self._all.drop_class(namespace, name)

    def known(self) -> Iterable[tuple[str, str]]:
        return self._all.classes(self._namespace)

    def synced(self) -> None:
        """Nothing waits for it: a class without annotations is like one that is not known."""

    def gone(self) -> None:
        for at in list(self.known()):
            self._all.drop_class(*at)
