"""A played API server: objects in memory, one sequence of resourceVersions, and no sockets.

It is as much of an API server as the controller can tell. Every write gets the next number; a write that changes
nothing is none; a precondition that does not hold is a Conflict; metadata.generation counts changes of the spec, and
metadata.managedFields move by the server's own rule (`fields`). Times are whole seconds of the play's clock. Everything
is in one namespace.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote

import msgspec

from reroll.core.labels import LabelSelector
from reroll.insight.simulation.cluster import merge, timestamp
from reroll.kube.errors import AlreadyExists, BadRequest, Conflict, NotFound, TooManyRequests
from reroll.sandbox import schema
from reroll.sandbox.patches import strategic_merge_patch
from tests.interleavings import fields

NAMESPACE = "shop"

CLASSES = "secretproviderclasses"
STATUSES = "secretproviderclasspodstatuses"

Object = dict[str, Any]
"""An object's JSON. What `Server.get` gives is nobody's to change; `Server.copy` gives one's own."""

KINDS = {
    "configmaps": ("v1", "ConfigMap"),
    "secrets": ("v1", "Secret"),
    "pods": ("v1", "Pod"),
    "deployments": ("apps/v1", "Deployment"),
    "replicasets": ("apps/v1", "ReplicaSet"),
    "statefulsets": ("apps/v1", "StatefulSet"),
    "controllerrevisions": ("apps/v1", "ControllerRevision"),
    "jobs": ("batch/v1", "Job"),
    "cronjobs": ("batch/v1", "CronJob"),
    STATUSES: ("secrets-store.csi.x-k8s.io/v1", "SecretProviderClassPodStatus"),
}
"""Plural -> (apiVersion, kind)."""

_WITHOUT_FIELDS = ("pods", "replicasets", "controllerrevisions")
"""Nobody asks for managedFields of these."""
_FINISHED = ("Succeeded", "Failed")


class Key(NamedTuple):
    """Which object."""

    plural: str
    name: str

    def __str__(self) -> str:
        return f"{self.plural}/{self.name}"


class Write(NamedTuple):
    """One write, as it was done."""

    type: str
    """ADDED, MODIFIED or DELETED, as watches tell it."""
    key: Key
    before: Object | None
    after: Object
    """Of a deletion the last state, with the version of the deletion."""
    raw: bytes
    manager: str


class _Stored(NamedTuple):
    value: Object
    raw: bytes


class Server:
    """The objects. `now`: seconds since the epoch on the servers' clock."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._objects: dict[str, dict[str, _Stored]] = {plural: {} for plural in KINDS}
        self._owned: dict[tuple[str, str], dict[str, Object]] = {}
        """(plural, uid of the owner) -> what it controls, by name."""
        self._fields: dict[Key, fields.Entries] = {}
        self._leaves: dict[Key, dict[fields.Path, Any]] = {}
        self.version = 100
        self._uids = 0
        self.watchers: list[Callable[[Write], None]] = []
        self.looked: Counter[Key] = Counter()
        """How often an object was read, or its kind listed (with "" as the name)."""
        self.vault: dict[str, int] = {}
        """Version that the vault has of each SecretProviderClass, which is no object here."""
        self.rotated: dict[str, int] = {}
        """The newest version that the driver has rotated a pod's mount to."""
        self.evict: Callable[[Object], bool] = lambda pod: True
        """Do the budgets allow that this pod is evicted?"""

    # --- questions -----------------------------------------------------------------------------------

    def timestamp(self) -> str:
        return timestamp(self._now())

    def get(self, plural: str, name: str) -> Object | None:
        stored = self._objects[plural].get(name)
        return stored.value if stored is not None else None

    def copy(self, plural: str, name: str) -> Object:
        """One's own copy of what is there. Raises NotFound."""
        found: Object = msgspec.json.decode(self._at(Key(plural, name)).raw)
        return found

    def raw(self, plural: str, name: str) -> bytes:
        """Its JSON. Raises NotFound."""
        return self._at(Key(plural, name)).raw

    def all(self, plural: str) -> list[Object]:
        """In the order in which they were created."""
        return [stored.value for stored in self._objects[plural].values()]

    def owned(self, plural: str, uid: str) -> list[Object]:
        """Those that an object controls, in the order in which they were created."""
        found = self._owned.get((plural, uid))
        return list(found.values()) if found else []

    def snapshot(self, plural: str) -> tuple[str, list[bytes]]:
        """What a list answers: its resourceVersion, and the objects."""
        self.looked[Key(plural, "")] += 1
        return str(self.version), [stored.raw for stored in self._objects[plural].values()]

    # --- writes --------------------------------------------------------------------------------------

    def create(
        self, plural: str, manifest: Mapping[str, Any], manager: str, *, dry_run: bool = False
    ) -> bytes:
        """Raises AlreadyExists."""
        key = Key(plural, manifest["metadata"]["name"])
        if key.name in self._objects[plural]:
            raise AlreadyExists(f"{key} already exists", status=409, reason="AlreadyExists")
        api_version, kind = KINDS[plural]
        self._uids += 1
        meta = {
            **manifest["metadata"],
            "namespace": NAMESPACE,
            "uid": f"{self._uids:08x}-0000-4000-8000-000000000000",
            "creationTimestamp": self.timestamp(),
            "generation": 1,
        }
        value = {**manifest, "apiVersion": api_version, "kind": kind, "metadata": meta}
        if plural == "jobs":
            value = _with_labels_of_the_job(value)
        if dry_run:
            self._uids -= 1
            return msgspec.json.encode(value)
        return self._store("ADDED", key, None, value, manager)

    def update(self, plural: str, value: Object, manager: str) -> bytes:
        """Write an object of `copy`, changed. Raises NotFound; Conflict where it was changed since."""
        key = Key(plural, value["metadata"]["name"])
        before = self._at(key).value
        if value["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]:
            raise Conflict(f"{key}: the object has been modified", status=409)
        return self._replace(key, before, value, manager)

    def update_status(self, plural: str, name: str, status: Mapping[str, Any], **annotations: str) -> None:
        """What a controller writes to the status subresource. `annotations`: those of its own, beside."""
        key = Key(plural, name)
        before = self._at(key).value
        if before.get("status") == status and not annotations:
            return
        value = {**before, "status": status}
        if annotations:
            own = {k.replace("__", "/").replace("_", "."): v for k, v in annotations.items()}
            kept = before["metadata"].get("annotations") or {}
            value["metadata"] = {**before["metadata"], "annotations": {**kept, **own}}
        if value != before:
            self._store("MODIFIED", key, before, value, "kube-controller-manager", fields_move=False)

    def patch(
        self, plural: str, name: str, patch: Mapping[str, Any], manager: str, *, by_name: bool = False
    ) -> bytes:
        """A JSON merge patch, or a strategic one (`by_name`). Raises NotFound and Conflict."""
        key = Key(plural, name)
        before = self._at(key).value
        meta = patch.get("metadata", {})
        for given in ("resourceVersion", "uid"):
            if meta.get(given) not in (None, before["metadata"][given]):
                raise Conflict(f"{key}: the object has been modified", status=409)
        after = strategic_merge_patch(before, patch, _shape(plural)) if by_name else merge(before, patch)
        return self._replace(key, before, after, manager)

    def delete(self, plural: str, name: str, preconditions: Mapping[str, str] | None = None) -> bytes:
        """Where finalizers hold it, it is marked as being deleted. Raises NotFound and Conflict."""
        key = Key(plural, name)
        stored = self._at(key)
        meta = stored.value["metadata"]
        for given, wanted in (preconditions or {}).items():
            if meta[given] != wanted:
                raise Conflict(f"{key}: precondition failed: {given}", status=409)
        graceful = plural == "pods" and stored.value["status"].get("phase") not in _FINISHED
        if meta.get("finalizers") or graceful:
            if meta.get("deletionTimestamp"):
                return stored.raw
            going = {**meta, "deletionTimestamp": self.timestamp(), "generation": meta["generation"] + 1}
            return self._store("MODIFIED", key, stored.value, {**stored.value, "metadata": going}, "")
        return self.remove(key)

    def remove(self, key: Key) -> bytes:
        """It is gone for good."""
        stored = self._objects[key.plural].pop(key.name)
        self._fields.pop(key, None)
        self._leaves.pop(key, None)
        owner = owner_of(stored.value)
        if owner:
            del self._owned[key.plural, owner][key.name]
        value = {**stored.value, "metadata": {**stored.value["metadata"], "resourceVersion": self._next()}}
        raw = msgspec.json.encode(value)
        self._tell(Write("DELETED", key, stored.value, value, raw, ""))
        return raw

    # --- as it is asked over HTTP --------------------------------------------------------------------

    def request(
        self, method: str, path: str, body: bytes | None, manager: str, *, by_name: bool = False
    ) -> bytes:
        """What one request does. Raises ApiError."""
        place, _, query = path.partition("?")
        parts = [unquote(part) for part in place.split("/")]
        parts = parts[3 if parts[1] == "api" else 4 :]
        if parts[:1] == ["namespaces"]:
            parts = parts[2:]
        plural, *rest = parts
        asked = dict(parse_qsl(query))
        if plural not in self._objects:
            raise NotFound(f"no resource {plural}", status=404)
        content: Any = msgspec.json.decode(body) if body else {}
        if method == "GET":
            self.looked[Key(plural, rest[0] if rest else "")] += 1
            return self._at(Key(plural, rest[0])).raw if rest else self._list(plural, asked)
        if method == "PATCH":
            return self.patch(plural, rest[0], content, manager, by_name=by_name)
        if method == "DELETE":
            return self.delete(plural, rest[0], content.get("preconditions"))
        if method == "POST" and rest[1:] == ["eviction"]:
            return self._evict(rest[0], content)
        if method == "POST" and not rest:
            return self.create(plural, content, manager, dry_run=asked.get("dryRun") == "All")
        raise BadRequest(f"{method} {path} is not played", status=400)

    def _list(self, plural: str, asked: Mapping[str, str]) -> bytes:
        chosen: Iterator[_Stored] = iter(self._objects[plural].values())
        for condition in filter(None, asked.get("fieldSelector", "").split(",")):
            chosen = filter(_field_is(condition), chosen)
        if asked.get("labelSelector"):
            selector = LabelSelector.parse(asked["labelSelector"])
            chosen = (s for s in chosen if selector.matches(s.value["metadata"].get("labels") or {}))
        items = [msgspec.Raw(stored.raw) for stored in chosen]
        return msgspec.json.encode({"metadata": {"resourceVersion": str(self.version)}, "items": items})

    def _evict(self, name: str, eviction: Mapping[str, Any]) -> bytes:
        pod = self._at(Key("pods", name)).value
        wanted = eviction.get("deleteOptions", {}).get("preconditions", {})
        if wanted.get("uid") not in (None, pod["metadata"]["uid"]):
            raise Conflict("precondition failed: uid", status=409)
        if not self.evict(pod):
            raise TooManyRequests("the disruption budget needs it", status=429)
        self.delete("pods", name)
        return b"{}"

    # --- inside --------------------------------------------------------------------------------------

    def _at(self, key: Key) -> _Stored:
        stored = self._objects[key.plural].get(key.name)
        if stored is None:
            raise NotFound(f"{key} not found", status=404)
        return stored

    def _next(self) -> str:
        self.version += 1
        return str(self.version)

    def _replace(self, key: Key, before: Object, value: Object, manager: str) -> bytes:
        stored = self._at(key)
        meta, old = dict(value["metadata"]), before["metadata"]
        value["metadata"] = meta
        meta["resourceVersion"] = old["resourceVersion"]
        if "managedFields" in old:
            meta["managedFields"] = old["managedFields"]
        if value == before:
            return stored.raw
        counted = "status" if key.plural == STATUSES else "spec"  # a kind without a status subresource
        meta["generation"] = old["generation"] + (value.get(counted) != before.get(counted))
        raw = self._store("MODIFIED", key, before, value, manager)
        if before["metadata"].get("deletionTimestamp") and not value["metadata"].get("finalizers"):
            self.remove(key)
        return raw

    def _store(
        self,
        type: str,
        key: Key,
        before: Object | None,
        value: Object,
        manager: str,
        *,
        fields_move: bool = True,
    ) -> bytes:
        meta = value["metadata"] = dict(value["metadata"])
        meta["resourceVersion"] = self._next()
        if fields_move and manager and key.plural not in _WITHOUT_FIELDS:
            now = fields.leaves(value, status=key.plural == STATUSES)
            entries = fields.updated(
                self._fields.get(key, {}), self._leaves.get(key, {}), now, manager, self.timestamp()
            )
            self._fields[key], self._leaves[key] = entries, now
            meta["managedFields"] = fields.as_json(entries)
        raw = msgspec.json.encode(value)
        self._objects[key.plural][key.name] = _Stored(value, raw)
        owner = owner_of(value)
        if owner:
            self._owned.setdefault((key.plural, owner), {})[key.name] = value
        self._tell(Write(type, key, before, value, raw, manager))
        return raw

    def _tell(self, write: Write) -> None:
        for watcher in self.watchers:
            watcher(write)


def _field_is(condition: str) -> Callable[[_Stored], bool]:
    """One condition of a fieldSelector."""
    field, _, wanted = condition.partition("=")
    unlike = field.endswith("!")
    path = field.rstrip("!").split(".")

    def matches(stored: _Stored) -> bool:
        found: Any = stored.value
        for name in path:
            found = found.get(name) or {}
        return bool(found == wanted) is not unlike

    return matches


def owner_of(value: Object) -> str:
    """The uid of what controls it; "" if nothing does."""
    for owner in value["metadata"].get("ownerReferences") or ():
        if owner.get("controller"):
            uid: str = owner["uid"]
            return uid
    return ""


def owned_by(owner: Object) -> list[dict[str, Any]]:
    """metadata.ownerReferences of what this object controls."""
    return [
        {
            "apiVersion": owner["apiVersion"],
            "kind": owner["kind"],
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
            "controller": True,
        }
    ]


def going(value: Object) -> bool:
    """It is being deleted."""
    return value["metadata"].get("deletionTimestamp") is not None


def _with_labels_of_the_job(job: Object) -> Object:
    """The server puts labels that tell this Job from any other of its name into its pod template."""
    meta, template = job["metadata"], job["spec"]["template"]
    own = {"controller-uid": meta["uid"], "job-name": meta["name"]}
    of_pod = template.get("metadata") or {}
    labels = {**(of_pod.get("labels") or {}), **own}
    template = {**template, "metadata": {**of_pod, "labels": labels}}
    selector = {"matchLabels": {"controller-uid": meta["uid"]}}
    return {**job, "spec": {**job["spec"], "template": template, "selector": selector}}


def _shape(plural: str) -> schema.Type:
    """Which of its lists have items with names."""
    found = schema.called(*KINDS[plural])
    assert found is not None, "every kind that is played is built in"
    return found
