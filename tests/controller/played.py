"""A server of workloads in memory, and a reconciler on it: answers and watch events come when the test says."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import msgspec

from reroll.controller.entry import Entry
from reroll.controller.follow import Follow
from reroll.controller.metrics import Metrics
from reroll.controller.reconcile import Reconciler
from reroll.controller.report import Reporter
from reroll.controller.result import Result
from reroll.controller.rules import Rules
from reroll.controller.store import Store
from reroll.controller.term import Term
from reroll.core.digests import DigestKey
from reroll.core.kinds import KINDS
from reroll.core.observe import ConfigMapObject, ManagedFields, ObjectMeta, decode_object
from reroll.core.policy import PolicyDefaults
from reroll.core.records import ConfigId, WorkloadId
from reroll.insight.simulation.cluster import merge
from reroll.kube.client import MERGE_PATCH
from reroll.kube.errors import AlreadyExists, ApiError, Conflict, NotFound
from reroll.kube.events import EventRecorder

Json = dict[str, Any]
DEPLOYMENTS = "/apis/apps/v1/namespaces/shop/deployments"
JOBS = "/apis/batch/v1/namespaces/shop/jobs"
WEB = WorkloadId("Deployment", "shop", "web")
IMPORT = WorkloadId("Job", "shop", "import")


class Server:
    """Objects by their path. Every write gets the next number of one sequence, as from one etcd."""

    def __init__(self) -> None:
        self.objects: dict[str, Json] = {}
        self.pods: list[Json] = []
        self.listed: list[str] = []
        """The query of each list request, without its limit."""
        self.requests: list[tuple[str, str]] = []
        """(verb, name) of each request, those for nothing but a dry run left out."""
        self.fail: Callable[[str, str], ApiError | None] = lambda verb, name: None
        """Whether a request is answered with an error, and not done."""
        self.lose: Callable[[str, str], ApiError | None] = lambda verb, name: None
        """Whether the answer to a request is lost, though it is done."""
        self.meanwhile: Callable[[str, str], None] = lambda verb, name: None
        """What happens between a request and its answer."""
        self._numbers = itertools.count(1)

    def written(self, version: int) -> None:
        """Something else was written with this resourceVersion: etcd numbers all writes in one sequence."""
        self._numbers = itertools.count(max(version + 1, next(self._numbers)))

    # --- what others do --------------------------------------------------------------------------------

    def put(self, path: str, manifest: Json, manager: str = "kubectl") -> Json:
        """Create or replace an object."""
        meta = manifest["metadata"]
        held = self.objects.get(f"{path}/{meta['name']}")
        made = deepcopy(manifest)
        made["metadata"] |= {
            "namespace": "shop",
            "uid": held["metadata"]["uid"] if held else f"uid-{next(self._numbers)}",
            "resourceVersion": str(next(self._numbers)),
            "generation": held["metadata"]["generation"] + 1 if held else 1,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "managedFields": [
                {
                    "manager": manager,
                    "time": "2026-01-01T00:00:00Z",
                    "fieldsV1": {
                        "f:metadata": {
                            "f:annotations": {f"f:{key}": {} for key in meta.get("annotations", ())}
                        }
                    },
                }
            ],
        }
        self.objects[f"{path}/{meta['name']}"] = made
        return made

    def remove(self, path: str) -> None:
        """Delete an object: at once, or where a finalizer holds it, when `release` takes that away."""
        meta = self.objects[path]["metadata"]
        if meta.get("finalizers"):
            meta["deletionTimestamp"] = "2026-01-01T00:00:01Z"
            meta["resourceVersion"] = str(next(self._numbers))
        else:
            del self.objects[path]

    def release(self, path: str) -> None:
        """Take the finalizers away."""
        self.objects[path]["metadata"].pop("finalizers", None)
        if "deletionTimestamp" in self.objects[path]["metadata"]:
            del self.objects[path]

    def names(self, path: str) -> list[str]:
        """What is in a collection."""
        return sorted(key.rpartition("/")[2] for key in self.objects if key.rpartition("/")[0] == path)

    def writes(self) -> list[str]:
        """The requests that change something, in order, such as ``create import``."""
        return [f"{verb} {name}" for verb, name in self.requests if verb not in ("get", "list")]

    # --- what is asked of it ---------------------------------------------------------------------------

    async def get(self, path: str) -> bytes:
        with self._request("get", path):
            return msgspec.json.encode(self._at(path))

    async def patch(self, path: str, body: bytes, *, content_type: str = MERGE_PATCH) -> bytes:
        with self._request("patch", path):
            held, patch = self._at(path), msgspec.json.decode(body)
            for field in ("uid", "resourceVersion"):
                if patch["metadata"].get(field, held["metadata"][field]) != held["metadata"][field]:
                    raise Conflict("the object has been modified", status=409, reason="Conflict")
            merged = merge(held, patch)
            merged["metadata"]["generation"] += merged.get("spec") != held.get("spec")
            merged["metadata"]["resourceVersion"] = str(next(self._numbers))
            self.objects[path] = merged
            return msgspec.json.encode(merged)

    async def create(self, path: str, body: bytes) -> bytes:
        made = msgspec.json.decode(body)
        name = f"{path.partition('?')[0]}/{made['metadata']['name']}"
        if path.endswith("/eviction"):
            with self._request("create", path):
                return b"{}"
        if "dryRun" in path:
            if name in self.objects:
                raise AlreadyExists("it exists", status=409, reason="AlreadyExists")
            return body
        with self._request("create", name):
            if name in self.objects:
                raise AlreadyExists("it exists", status=409, reason="AlreadyExists")
            return msgspec.json.encode(self.put(path, made, "reroll"))

    async def delete(self, path: str, body: bytes | None = None, *, attempts: int = 4) -> bytes:
        with self._request("delete", path):
            wanted = msgspec.json.decode(body or b"{}").get("preconditions") or {}
            meta = self._at(path)["metadata"]
            if any(meta[field] != value for field, value in wanted.items()):
                raise Conflict("the precondition does not hold", status=409, reason="Conflict")
            self.remove(path)
            return b"{}"

    async def list_page(self, path: str, *, accept: str | None = None) -> bytes:
        self.listed.append(parse_query(path))
        with self._request("list", path.partition("?")[0]):
            return msgspec.json.encode({"metadata": {}, "items": self.pods})

    def _at(self, path: str) -> Json:
        if path not in self.objects:
            raise NotFound("not found", status=404, reason="NotFound")
        return self.objects[path]

    def _request(self, verb: str, path: str) -> _Request:
        return _Request(self, verb, path.rpartition("/")[2])


def parse_query(path: str) -> str:
    """The query of a path, without the limit of a page."""
    return "&".join(part for part in path.partition("?")[2].split("&") if not part.startswith("limit="))


class _Request:
    """One request on its way."""

    def __init__(self, server: Server, verb: str, name: str) -> None:
        self.server, self.what = server, (verb, name)

    def __enter__(self) -> None:
        self.server.requests.append(self.what)
        error = self.server.fail(*self.what)
        if error is not None:
            raise error

    def __exit__(self, kind: type[BaseException] | None, *others: object) -> None:
        self.server.meanwhile(*self.what)
        error = self.server.lose(*self.what)
        if error is not None and kind is None:
            raise error


class Events(EventRecorder):
    """Keeps what would be sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []

    def record(
        self,
        regarding: Any,
        *,
        type: str,
        reason: str,
        action: str,
        note: str,
        related: Any = None,
        once: str = "",
    ) -> None:
        self.sent.append((reason, note))


class Follower(Follow):
    """Notes which rollouts are to be followed."""

    def __init__(self) -> None:
        self.begun: list[WorkloadId] = []

    def begin(self, entry: Entry) -> None:
        self.begun.append(entry.record.id)

    async def look(self, workload: WorkloadId, entry: Entry | None) -> float | None:
        return None

    def forget(self, workload: WorkloadId) -> None:
        pass


class World:
    """A server, a store, and the reconciler of one term. `now` moves only when the test says."""

    def __init__(
        self,
        *,
        settle: float = 0.0,
        settle_max: float = 10.0,
        auto_all: bool = False,
        server: Server | None = None,
    ) -> None:
        self.now = 1_800_000_000.0
        self.server = server or Server()
        self.asked: list[WorkloadId] = []
        self.store = Store(
            DigestKey(bytes(32)),
            Rules(defaults=PolicyDefaults(settle=settle, settle_max=settle_max, auto_all=auto_all)),
            ask=lambda workload, cause: self.asked.append(workload),
            now=lambda: self.now,
        )
        for kind in ("configmap", "secret", *KINDS):
            self.store.set_collection(kind, "", "")
        self.metrics = Metrics()
        self.key_checks = 0
        self.new_key: DigestKey | None = None
        """What the server has as digest key, where it is another one than ours."""
        self.leads = True
        self.lead()

    def lead(self) -> None:
        """Begin a term."""
        self.events, self.follower = Events(), Follower()
        self.term = Term(lambda workload: self.leads, Reporter(self.events), self.store, follow=self.follower)
        self.reconciler = Reconciler(
            self.store, self.server, self.term, self.metrics, check_key=self._check_key, now=lambda: self.now
        )

    def lose_the_lead(self) -> None:
        """End the term."""
        self.term.end()

    async def _check_key(self) -> bool:
        self.key_checks += 1
        if self.new_key is None:
            return False
        self.store.configs.rekey(self.new_key)
        return True

    async def reconcile(self, workload: WorkloadId = WEB) -> Result:
        return await self.reconciler.reconcile(workload)

    # --- what the watches bring ------------------------------------------------------------------------

    def config(self, name: str = "app", *, version: int, **data: str) -> None:
        """A ConfigMap was written."""
        wrote = ManagedFields(
            manager="kubectl", time="2026-01-01T00:00:00Z", fields_v1=msgspec.Raw(b'{"f:data":{}}')
        )
        self.server.written(version)
        meta = ObjectMeta(name=name, namespace="shop", resource_version=str(version), managed_fields=[wrote])
        self.store.configs.put_live("configmap", ConfigMapObject(metadata=meta, data=data))

    def drop_config(self, name: str = "app") -> None:
        """A ConfigMap was deleted."""
        self.store.configs.drop(ConfigId("configmap", "shop", name))

    def tell(self, path: str, *, live: bool = True) -> None:
        """The watch tells how a workload is now, or that it is gone."""
        kind = "Job" if "/jobs/" in path else "Deployment"
        held = self.server.objects.get(path)
        workload = WorkloadId(kind, "shop", path.rpartition("/")[2])
        if held is None:
            self.store.drop_workload(workload)
        else:
            self.store.put_workload(decode_object(KINDS[kind], msgspec.json.encode(held)), kind, live=live)

    # --- what can be seen ------------------------------------------------------------------------------

    def annotations(self, path: str = f"{DEPLOYMENTS}/web") -> dict[str, str]:
        found: dict[str, str] = self.server.objects[path]["metadata"].get("annotations", {})
        return found

    def mark(self, path: str = f"{DEPLOYMENTS}/web") -> str | None:
        template = self.server.objects[path]["spec"]["template"]
        found: str | None = (template["metadata"].get("annotations") or {}).get("reroll.dev/config")
        return found

    def sample(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


def deployment(**annotations: str) -> Json:
    """A Deployment ``web`` that follows the ConfigMap ``app``."""
    container = {"name": "main", "envFrom": [{"configMapRef": {"name": "app"}}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "annotations": {"reroll.dev/auto": "true", **annotations}},
        "spec": {
            "replicas": 1,
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}},
        },
    }


def pod(name: str = "web-abc-1") -> Json:
    """A pod of the Deployment ``web``, which is ready."""
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-abc", "controller": True}
    return {
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": f"{name}-0123456789",
            "creationTimestamp": "2025-01-01T00:00:00Z",
            "labels": {"pod-template-hash": "abc"},
            "ownerReferences": [owner],
        },
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }


def job(name: str = "import", *, finalizers: tuple[str, ...] = (), **annotations: str) -> Json:
    """A Job that follows the ConfigMap ``app``."""
    made = deployment(**annotations)
    meta: Json = {"name": name, "annotations": made["metadata"]["annotations"]}
    if finalizers:
        meta["finalizers"] = list(finalizers)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": meta,
        "spec": {"template": made["spec"]["template"]},
    }
