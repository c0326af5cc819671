"""Objects in memory with what etcd and the registry do for them: versions, conflicts, generations, deletion.

Objects are dicts as JSON has them. Those that go in are copied, those that come out are shared and must not be
changed: who wants to change one makes a copy, changes that, and calls `update`. All is synchronous and belongs
to one event loop; listeners are called within the write that they are told of, in order.
"""

from __future__ import annotations

import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias

from msgspec import Struct

from reroll.sandbox.kinds import DEPLOYMENT, NAMESPACE, POD, Kind

Object: TypeAlias = dict[str, Any]
ChangeType: TypeAlias = Literal["ADDED", "MODIFIED", "DELETED"]
Propagation: TypeAlias = Literal["Background", "Foreground", "Orphan"]

HISTORY: Final = 20_000
"""Changes that a watch can resume within."""


class Change(Struct, frozen=True):
    """One write."""

    type: ChangeType
    kind: Kind
    object: Object
    """As it is after the write; of a deletion as it last was, with the version of the deletion."""
    previous: Object | None
    version: int


class StorageError(Exception):
    """A write or read that can't be: what the API answers with a Status. `reason` as Kubernetes has it."""

    def __init__(self, reason: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.details = details
        """What the Status tells for programs: the object and the causes."""
        self.metadata: dict[str, Any] = {}


class NotFound(StorageError):
    def __init__(self, kind: Kind, name: str) -> None:
        super().__init__("NotFound", f'{_qualified(kind)} "{name}" not found', _details(kind, name))


class AlreadyExists(StorageError):
    def __init__(self, kind: Kind, name: str) -> None:
        super().__init__("AlreadyExists", f'{_qualified(kind)} "{name}" already exists', _details(kind, name))


class Conflict(StorageError):
    def __init__(self, kind: Kind, name: str, detail: str = "") -> None:
        why = detail or (
            "the object has been modified; please apply your changes to the latest version and try again"
        )
        message = f'Operation cannot be fulfilled on {_qualified(kind)} "{name}": {why}'
        super().__init__("Conflict", message, _details(kind, name))


class Expired(StorageError):
    def __init__(self, version: int, oldest: int) -> None:
        super().__init__("Expired", f"too old resource version: {version} ({oldest})")


def _qualified(kind: Kind) -> str:
    return f"{kind.plural}.{kind.group}" if kind.group else kind.plural


def _details(kind: Kind, name: str) -> dict[str, Any]:
    return {"name": name, "group": kind.group, "kind": kind.plural}


class Storage:
    """All objects of one sandbox. `now` gives seconds since the epoch."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self.now = now
        self.version = 1
        """The resourceVersion of the last write: one sequence for all kinds, as etcd has it."""
        self._objects: dict[Kind, dict[str, dict[str, Object]]] = {}
        """By kind, namespace and name."""
        self._owned: dict[str, dict[tuple[Kind, str, str], None]] = {}
        """By the uid of an owner, what names it in its ownerReferences."""
        self._history: deque[Change] = deque()
        self._forgotten = 0
        self._listeners: list[Callable[[Change], None]] = []

    # --- reading -------------------------------------------------------------------------------------

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """One object. Raises NotFound."""
        found = self.find(kind, namespace, name)
        if found is None:
            raise NotFound(kind, name)
        return found

    def find(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """One object, or None."""
        return self._objects.get(kind, {}).get(namespace, {}).get(name)

    def objects(self, kind: Kind, namespace: str = "") -> list[Object]:
        """All objects of a kind, of one namespace or ("") all, ordered by namespace and name."""
        held = self._objects.get(kind, {})
        spaces = [namespace] if namespace else sorted(held)
        return [obj for space in spaces for _, obj in sorted(held.get(space, {}).items(), key=_first)]

    def kinds(self) -> list[Kind]:
        """The kinds that there are, or were, objects of."""
        return list(self._objects)

    def dependents(self, uid: str) -> Iterator[tuple[Kind, Object]]:
        """Everything that names this uid in its ownerReferences."""
        for kind, namespace, name in tuple(self._owned.get(uid, ())):
            obj = self.find(kind, namespace, name)
            if obj is not None:
                yield kind, obj

    def timestamp(self, after: float = 0.0) -> str:
        """The time now, or so many seconds later, as the API writes it."""
        return datetime.fromtimestamp(self.now() + after, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    # --- watching ------------------------------------------------------------------------------------

    def listen(self, listener: Callable[[Change], None]) -> Callable[[], None]:
        """Be told of every write from now on; returns what ends it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    def since(self, version: int) -> list[Change]:
        """The writes after this version. Raises Expired where they are no longer known."""
        if version < self._forgotten:
            raise Expired(version, self._forgotten)
        return [change for change in self._history if change.version > version]

    def forget_history(self) -> None:
        """A watch can resume at nothing older than now, as after a compaction of etcd: a test of 410 Gone."""
        self._history.clear()
        self._forgotten = self.version

    def redeclare(self, old: Kind, new: Kind) -> None:
        """A declared kind changed, such as by a subresource more: its objects are of the new one."""
        self._objects[new] = self._objects.pop(old, {})
        for uid, owned in self._owned.items():
            self._owned[uid] = {(new if k == old else k, space, name): None for k, space, name in owned}

    # --- writing -------------------------------------------------------------------------------------

    def create(
        self, kind: Kind, obj: Object, *, uid: str = "", dry_run: bool = False, copy: bool = True
    ) -> Object:
        """Store a new object. Raises AlreadyExists. metadata.name and namespace are set by the caller.

        With `dry_run`, here and below, nothing is stored: the answer is what would be. Without `copy` the caller
        hands `obj` over, and changes nothing of it any more.
        """
        made = copied(obj) if copy else {**obj, "metadata": dict(obj["metadata"])}
        meta = made["metadata"]
        if self.find(kind, meta.get("namespace", ""), meta["name"]) is not None:
            raise AlreadyExists(kind, meta["name"])
        made["apiVersion"], made["kind"] = kind.api_version, kind.kind
        meta["uid"] = uid or str(uuid.uuid4())
        meta["creationTimestamp"] = self.timestamp()
        if kind.generation:
            meta["generation"] = 1
        for field in ("deletionTimestamp", "resourceVersion"):
            meta.pop(field, None)
        return made if dry_run else self._write("ADDED", kind, made, None)

    def update(
        self,
        kind: Kind,
        obj: Object,
        *,
        subresource: str = "",
        dry_run: bool = False,
        copy: bool = True,
    ) -> Object:
        """Replace an object. Returns it as it is stored; what changes nothing writes nothing.

        A resourceVersion or uid in it is a condition. `subresource` "status" replaces status alone; without,
        status stays as it is for kinds that have the subresource. Raises NotFound and Conflict.
        """
        meta = obj["metadata"]
        before = self.get(kind, meta.get("namespace", ""), meta["name"])
        was = before["metadata"]
        if meta.get("uid") not in (None, "", was["uid"]):
            detail = (
                f"Precondition failed: UID in precondition: {meta['uid']}, UID in object meta: {was['uid']}"
            )
            raise Conflict(kind, meta["name"], detail)
        if meta.get("resourceVersion") not in (None, "", was["resourceVersion"]):
            raise Conflict(kind, meta["name"])
        if kind.status and subresource == "status":
            # Objects that are stored never change, so what is not written can be shared with the one before.
            made = {**before, "metadata": dict(was), "status": copied(obj.get("status", {}))}
            # A Deployment's revision is an annotation, and its controller writes it with the status: so the
            # API server lets it, and the generation stays (pkg/registry/apps/deployment/strategy.go).
            for field in ("managedFields", "annotations") if kind is DEPLOYMENT else ("managedFields",):
                if field in meta:
                    made["metadata"][field] = copied(meta[field])
        else:
            made = copied(obj) if copy else {**obj, "metadata": dict(meta)}
        if kind.status and subresource != "status":
            made.pop("status", None)
            if "status" in before:
                made["status"] = before["status"]
        made["apiVersion"], made["kind"] = kind.api_version, kind.kind
        new = made["metadata"]
        for field in (
            "uid",
            "creationTimestamp",
            "generation",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
        ):
            new.pop(field, None)
            if field in was:
                new[field] = was[field]
        new["resourceVersion"] = was["resourceVersion"]
        if _without_times(made) == _without_times(before):
            return before
        if kind.generation and not subresource and _counts(kind, made) != _counts(kind, before):
            new["generation"] = was.get("generation", 0) + 1
        if dry_run:
            return made
        written = self._write("MODIFIED", kind, made, before)
        graceful = bool(new.get("deletionGracePeriodSeconds"))
        held = self.find(kind, new.get("namespace", ""), new["name"])
        # A listener may have removed it meanwhile.
        if held is written and new.get("deletionTimestamp") and not _finalizers(kind, made) and not graceful:
            self._remove(kind, written)
        return written

    def delete(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        *,
        propagation: Propagation = "Background",
        grace: int | None = None,
        dry_run: bool = False,
    ) -> Object:
        """Delete an object, and what depends on it unless `Orphan`. Raises NotFound.

        One with finalizers is marked and stays until they are gone. So is a Pod that runs on a node, until its
        kubelet deletes it with a `grace` of 0 seconds; None is what its spec says. Returns the object as it
        is then, or as it last was.
        """
        obj = self.get(kind, namespace, name)
        meta = obj["metadata"]
        on_a_node = kind is POD and bool(obj.get("spec", {}).get("nodeName"))
        seconds = (_grace(obj) if grace is None else grace) if on_a_node else 0
        if dry_run:
            return obj
        if not seconds and not _finalizers(kind, obj):
            return self._remove(kind, obj, propagation)
        if meta.get("deletionTimestamp") and seconds >= meta.get("deletionGracePeriodSeconds", 0):
            return obj
        marked = {**obj, "metadata": dict(meta)}
        marked["metadata"]["deletionTimestamp"] = self.timestamp(seconds)
        marked["metadata"]["deletionGracePeriodSeconds"] = seconds
        return self._write("MODIFIED", kind, marked, obj)

    def _remove(self, kind: Kind, obj: Object, propagation: Propagation = "Background") -> Object:
        meta = obj["metadata"]
        del self._objects[kind][meta.get("namespace", "")][meta["name"]]
        self._own(kind, obj, None)
        last = copied(obj)
        written = self._announce("DELETED", kind, last, obj)
        for dependent_kind, dependent in self.dependents(meta["uid"]):
            inner = dependent["metadata"]
            owners = [o for o in inner["ownerReferences"] if o.get("uid") != meta["uid"]]
            if propagation == "Orphan" or owners:
                kept = copied(dependent)
                kept["metadata"]["ownerReferences"] = owners
                if not owners:
                    del kept["metadata"]["ownerReferences"]
                self._write("MODIFIED", dependent_kind, kept, dependent)
            elif self.find(dependent_kind, inner.get("namespace", ""), inner["name"]) is not None:
                self.delete(dependent_kind, inner.get("namespace", ""), inner["name"])
        return written

    def _write(self, type: ChangeType, kind: Kind, obj: Object, previous: Object | None) -> Object:
        meta = obj["metadata"]
        self._objects.setdefault(kind, {}).setdefault(meta.get("namespace", ""), {})[meta["name"]] = obj
        self._own(kind, previous, obj)
        return self._announce(type, kind, obj, previous)

    def _own(self, kind: Kind, before: Object | None, after: Object | None) -> None:
        """Keep the index of owners."""
        was, now = ((obj["metadata"].get("ownerReferences") or [] if obj else []) for obj in (before, after))
        if was == now:
            return
        meta = (after or before or {})["metadata"]
        key = (kind, meta.get("namespace", ""), meta["name"])
        for owner in was:
            held = self._owned.get(owner.get("uid"), {})
            held.pop(key, None)
            if not held:
                self._owned.pop(owner.get("uid"), None)
        for owner in now:
            self._owned.setdefault(owner.get("uid"), {})[key] = None

    def _announce(self, type: ChangeType, kind: Kind, obj: Object, previous: Object | None) -> Object:
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        change = Change(type, kind, obj, previous, self.version)
        self._history.append(change)
        if len(self._history) > HISTORY:
            self._forgotten = self._history.popleft().version
        for listener in list(self._listeners):
            listener(change)
        return obj


def copied(value: Any) -> Any:
    """A deep copy of what JSON can hold: several times faster than `copy.deepcopy`, which most writes would be."""
    if type(value) is dict:
        return {key: copied(inner) for key, inner in value.items()}
    if type(value) is list:
        return [copied(inner) for inner in value]
    return value


def _grace(pod: Object) -> int:
    """terminationGracePeriodSeconds, whose default is 30; a Pod that has ended has nothing to wait for."""
    if pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
        return 0
    seconds = pod.get("spec", {}).get("terminationGracePeriodSeconds")
    return 30 if seconds is None else int(seconds)


def _first(pair: tuple[str, Object]) -> str:
    return pair[0]


def _finalizers(kind: Kind, obj: Object) -> list[str]:
    """What has to be done before an object goes. A Namespace has some in its spec, too: that it be emptied."""
    own: list[str] = obj["metadata"].get("finalizers") or []
    return [*own, *(obj.get("spec") or {}).get("finalizers", ())] if kind is NAMESPACE else own


def _counts(kind: Kind, obj: Object) -> Object:
    """What metadata.generation counts: everything but metadata and status; of a Deployment its annotations too."""
    counted = {field: value for field, value in obj.items() if field not in ("metadata", "status")}
    if kind is DEPLOYMENT:
        counted["annotations"] = obj["metadata"].get("annotations") or {}
    return counted


def _without_times(obj: Object) -> Object:
    """An object without what moves though nothing was changed: the times in managedFields."""
    meta = {k: v for k, v in obj["metadata"].items() if k != "managedFields"}
    fields = [{k: v for k, v in f.items() if k != "time"} for f in obj["metadata"].get("managedFields") or ()]
    return {**obj, "metadata": {**meta, "managedFields": fields}}
