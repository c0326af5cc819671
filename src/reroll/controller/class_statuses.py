"""What pods have mounted of a SecretProviderClass, put together into one config object.

The secrets-store CSI driver keeps one SecretProviderClassPodStatus per pod and class: which object of the store, in
which version. When it rotates, it changes those of all pods one after another, and pods that start have theirs made
with the new versions. `core.mounts` says what follows from them together.

A status that was never rotated is told by its generation: the CustomResourceDefinition has no status subresource, so
each change of it counts. The driver names a status after its pod, and where the pod was replaced by one of the same
name (StatefulSet) before the status was collected as garbage, it puts the new pod's mount into the old status, seen in
its targetPath, which holds the pod's uid. Such a change is a mount, and no rotation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from reroll.controller.store import Store
from reroll.core.kinds import WorkloadKind
from reroll.core.mounts import Mount, class_content
from reroll.core.observe import ObjectMeta, config_record, last_change, version_number
from reroll.core.records import Change, ConfigId, ConfigRecord

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
    target_path: str = ""


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
    target: str
    mount: Mount


class ClassStatuses:
    """Tells the store what there is of each class. All methods belong to the event loop's thread."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._statuses: dict[tuple[str, str], _Status] = {}
        self._of_class: dict[ConfigId, dict[tuple[str, str], Mount]] = {}
        self._announced: dict[ConfigId, Mount] = {}
        """The content that was announced of a class, while any pod has it mounted."""
        self._listed: set[ConfigId] = set()
        """Classes of which a list that is on its way has brought something new."""
        self._classes: dict[tuple[str, str], dict[str, str]] = {}

    def put_status(self, obj: StatusObject, *, live: bool) -> None:
        """Take in the status of one pod. What a list brings counts when the list is complete (`synced`)."""
        meta, status = obj.metadata, obj.status or PodStatus()
        at = (meta.namespace, meta.name)
        config = ConfigId("secretproviderclass", meta.namespace, status.secret_provider_class_name)
        mounted = {found.id: found.version for found in status.objects or ()}
        keys = tuple(sorted(mounted))
        key = self._store.configs.key
        joined = b"".join(key.digest(config.namespace, config.name, k, mounted[k].encode()) for k in keys)
        before = self._statuses.get(at)
        if before is not None and before.uid != meta.uid:
            before = None
        same_pod = before is not None and before.target == status.target_path
        if (
            before is not None
            and same_pod
            and (before.config, before.mount.content) == (config, (keys, joined))
        ):
            return  # labels, or a list that brought it once more
        former = self._forget(at)
        change = Change(
            stamp=last_change(meta, (b'"f:status"',)),
            arrived=self._store.configs.now() if live else 0.0,
            version=version_number(meta.resource_version),
        )
        mount = Mount((keys, joined), change, rotated=same_pod if before is not None else meta.generation > 1)
        self._statuses[at] = _Status(config, meta.uid, status.target_path, mount)
        self._of_class.setdefault(config, {})[at] = mount
        for each in dict.fromkeys((former or config, config)):
            if live:
                self._tell(each)
            else:
                self._listed.add(each)

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
        self._announced.clear()
        self._listed.clear()

    def statuses(self, namespace: str) -> Iterable[tuple[str, str]]:
        """(namespace, name) of those held, of one namespace or ("") all."""
        return [at for at in self._statuses if not namespace or at[0] == namespace]

    def classes(self, namespace: str) -> Iterable[tuple[str, str]]:
        return [at for at in self._classes if not namespace or at[0] == namespace]

    def synced(self, namespace: str) -> None:
        """A list is complete, of one namespace or ("") all."""
        for config in sorted(self._listed):
            if not namespace or config.namespace == namespace:
                self._tell(config)
        self._store.set_collection("secretproviderclass", namespace, "")

    def _forget(self, at: tuple[str, str]) -> ConfigId | None:
        status = self._statuses.pop(at, None)
        if status is None:
            return None
        del self._of_class[status.config][at]
        if not self._of_class[status.config]:
            del self._of_class[status.config]
        return status.config

    def _tell(self, config: ConfigId) -> None:
        self._listed.discard(config)
        mounts = self._of_class.get(config)
        if not mounts:
            self._announced.pop(config, None)
            self._store.configs.drop(config)
            return
        found = class_content(mounts.values(), self._announced.get(config))
        if found.announced is None:
            self._announced.pop(config, None)
        else:
            self._announced[config] = found.announced
        meta = ObjectMeta(
            config.name,
            config.namespace,
            annotations=self._classes.get((config.namespace, config.name)),
        )

        def record(previous: ConfigRecord | None) -> ConfigRecord:
            """The time of a content that nobody announced means nothing, and moves as pods come and go."""
            made = config_record(meta, found.content, previous, flags=self._store.configs.flags, arrived=0.0)
            change = found.change
            if previous is not None and found.announced is None and previous.read_at_start:
                same = (previous.keys, previous.digests) == found.content
                change = previous.change if same else change
            return replace(
                made,
                stamp=change.stamp,
                arrived=change.arrived,
                version=change.version,
                read_at_start=found.announced is None,
                mounted=found.newer,
            )

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
