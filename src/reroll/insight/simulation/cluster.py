"""A cluster that is played: it holds the objects, numbers their versions, and answers the reconciler's requests.

It is as much of an API server as the controller's own rules can tell: every write gets the next number of one
sequence, as from one etcd; a patch on an older version is a conflict; a template's change moves managedFields
and generation. Everything is forgotten at the end; nothing is written anywhere.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
from msgspec.structs import replace

from reroll.core.applied import APPLIED, decode, encode
from reroll.core.kinds import DEPLOYMENT, WORKLOAD_KINDS
from reroll.core.labels import LabelSelector
from reroll.core.marks import NATIVE, MarkStyle
from reroll.core.observe import ManagedFields, ObjectMeta, decode_workload, epoch, version_number
from reroll.core.proof import PodAges
from reroll.core.records import ConfigId, WorkloadId
from reroll.dialects.marks import SIGNS, style_of
from reroll.insight.simulation.world import Config, Workload, World
from reroll.kube.client import MERGE_PATCH, STRATEGIC_MERGE_PATCH
from reroll.kube.errors import Conflict, Forbidden, NotFound
from reroll.sandbox import schema
from reroll.sandbox.patches import strategic_merge_patch

MANAGER = "somebody else"
"""Who makes the changes of a scenario, as far as managedFields tell."""

_KINDS = {kind.plural: kind.kind for kind in WORKLOAD_KINDS.values()}
_DATA = msgspec.Raw(b'{"f:data":{}}')


class Cluster:
    """The objects, as they are now. `latency`: seconds that a request takes; `max_in_flight`: how many wait for an
    answer at once, as the client has it; `marks`: how the controller that is played marks pod templates."""

    def __init__(
        self, world: World, *, latency: float = 0.0, max_in_flight: int = 40, marks: MarkStyle = NATIVE
    ) -> None:
        self.configs: dict[ConfigId, Config] = world.configs
        self.workloads: dict[WorkloadId, Workload] = world.workloads
        self._pods: dict[str, list[tuple[WorkloadId, PodAges]]] | None = None
        if world.pods is not None:
            self._pods = {}
            for workload_id, ages in world.pods.items():
                self._pods.setdefault(workload_id.namespace, []).append((workload_id, ages))
        self._latency = latency
        self._free = asyncio.Semaphore(max_in_flight)
        self._now = world.now
        self._number = max(map(_versions, self._metas(world)), default=0)
        self._uids = itertools.count(1)
        for config in list(self.configs.values()):
            if not version_number(config.meta.resource_version):
                config.meta.resource_version = self._next()
        for workload in self.workloads.values():
            workload.raw = self._completed(_in_our_marks(workload.raw, marks))

    # --- what it holds -------------------------------------------------------------------------------

    def set_time(self, now: float) -> None:
        """Seconds since the epoch, for the times that writes leave in managedFields."""
        self._now = now

    def put_config(self, config: Config) -> Config:
        """Write a config object, new or changed."""
        before = self.configs.get(config.id)
        wrote = ManagedFields(manager=MANAGER, time=self._timestamp(), fields_v1=_DATA)
        meta = replace(
            config.meta, resource_version=self._next(), managed_fields=[wrote], deletion_timestamp=None
        )
        if before is None:
            meta.creation_timestamp = self._timestamp()
        written = self.configs[config.id] = replace(config, meta=meta)
        return written

    def delete_config(self, config: ConfigId) -> None:
        del self.configs[config]
        self._next()

    def put_workload(self, workload: WorkloadId, value: dict[str, Any], origin: Workload) -> bytes:
        """Write a workload, new or changed, as somebody else than reroll."""
        before = self.workloads.get(workload)
        old = msgspec.json.decode(before.raw) if before is not None else {"metadata": {}, "spec": {}}
        meta = value.setdefault("metadata", {})
        meta["resourceVersion"] = self._next()
        meta["uid"] = old["metadata"].get("uid") or self._uid()
        meta["generation"] = old["metadata"].get("generation", 0) + (value["spec"] != old["spec"])
        if before is None:
            meta["creationTimestamp"] = self._timestamp()
        if value["spec"].get("template") != old["spec"].get("template"):
            wrote = {"manager": MANAGER, "time": self._timestamp()}
            fields: dict[str, Any] = {"f:spec": {"f:template": {}}}
            meta["managedFields"] = [*(meta.get("managedFields") or []), {**wrote, "fieldsV1": fields}]
        raw = msgspec.json.encode(_rolled_out(value))
        self.workloads[workload] = Workload(raw, origin.origin)
        return raw

    def delete_workload(self, workload: WorkloadId) -> None:
        del self.workloads[workload]
        self._next()

    # --- what the reconciler asks for ----------------------------------------------------------------

    async def get(self, path: str) -> bytes:
        """One workload. Raises NotFound."""
        async with self._free:
            await self._take(1.0)
            return self._at(path).raw

    async def patch(self, path: str, body: bytes, *, content_type: str = MERGE_PATCH) -> bytes:
        """A patch of a workload, as `modes` make them: a merge patch, or a strategic one where the marks are merged
        by name. Raises NotFound and Conflict."""
        async with self._free:
            await self._take(0.5)
            answer = self._patched(path, msgspec.json.decode(body), content_type)
            await self._take(0.5)
            return answer

    def _patched(self, path: str, patch: dict[str, Any], content_type: str) -> bytes:
        workload = self._at(path)
        value: dict[str, Any] = msgspec.json.decode(workload.raw)
        wanted = patch["metadata"].get("resourceVersion")
        if wanted is not None and wanted != value["metadata"]["resourceVersion"]:
            raise Conflict("the object has been modified", status=409)
        spec = value.get("spec")
        merged = (
            strategic_merge_patch(value, patch, self._shape(path))
            if content_type == STRATEGIC_MERGE_PATCH
            else merge(value, patch)
        )
        merged["metadata"]["resourceVersion"] = self._next()
        merged["metadata"]["generation"] = value["metadata"]["generation"] + (merged.get("spec") != spec)
        workload.raw = msgspec.json.encode(_rolled_out(merged))
        return workload.raw

    async def create(self, path: str, body: bytes) -> bytes:
        """Jobs and evictions are not played."""
        raise Forbidden("nothing is created here", status=403)

    async def delete(self, path: str, body: bytes | None = None, *, attempts: int = 4) -> bytes:
        """Jobs are not played."""
        raise Forbidden("nothing is deleted here", status=403)

    async def list_page(self, path: str, *, accept: str | None = None) -> bytes:
        """The pods of a namespace, as far as their ages are known, or the Deployments that run Reloader. Raises
        Forbidden where pods are not known."""
        where = urlsplit(path)
        if where.path.endswith("/deployments"):
            selector = LabelSelector.parse(parse_qs(where.query).get("labelSelector", [""])[0])
            return self._reloader(where.path, selector)
        if self._pods is None:
            raise Forbidden("pods are not known here", status=403)
        namespace = unquote(where.path.split("/")[4])
        pods = [
            {
                "metadata": {
                    "namespace": namespace,
                    "creationTimestamp": timestamp(ages.oldest),
                    "ownerReferences": [{"kind": owner.kind, "name": owner.name, "controller": True}],
                }
            }
            for owner, ages in self._pods.get(namespace, ())
            for _ in range(ages.count)
        ]
        return msgspec.json.encode({"metadata": {}, "items": pods})

    # --- inside --------------------------------------------------------------------------------------

    def _reloader(self, path: str, selector: LabelSelector) -> bytes:
        """Deployments whose image may be Reloader's, which is all that is ever asked for."""
        *_, scope, namespace, _ = path.split("/")
        found = [
            workload.raw
            for id, workload in self.workloads.items()
            if id.kind == DEPLOYMENT.kind
            and (scope != "namespaces" or id.namespace == unquote(namespace))
            and b"stakater/reloader" in workload.raw.lower()
            and selector.matches(_meta(workload.raw).labels or {})
        ]
        return b'{"metadata":{},"items":[' + b",".join(found) + b"]}"

    @staticmethod
    def _shape(path: str) -> schema.Type:
        kind = WORKLOAD_KINDS[_KINDS[path.split("/")[-2]]]
        shape = schema.called(kind.api_version, kind.kind)
        assert shape is not None, "every kind that is played is built in"
        return shape

    async def _take(self, share: float) -> None:
        if self._latency:
            await asyncio.sleep(self._latency * share)

    def _at(self, path: str) -> Workload:
        *_, namespace, plural, name = path.split("/")
        workload = self.workloads.get(WorkloadId(_KINDS[plural], unquote(namespace), unquote(name)))
        if workload is None:
            raise NotFound(f"{plural} {name} not found", status=404)
        return workload

    def _next(self) -> str:
        self._number += 1
        return str(self._number)

    def _uid(self) -> str:
        return f"simulated-{next(self._uids)}"

    def _timestamp(self) -> str:
        return timestamp(self._now)

    def _completed(self, raw: bytes) -> bytes:
        """What a server adds to a plain manifest, as far as it counts."""
        meta = _meta(raw)
        value: dict[str, Any] = msgspec.json.decode(raw)
        found = value["metadata"]
        found["uid"] = meta.uid or self._uid()
        found["generation"] = meta.generation or 1
        if not version_number(meta.resource_version):
            found["resourceVersion"] = self._next()
        return msgspec.json.encode(_rolled_out(value))

    @staticmethod
    def _metas(world: World) -> Iterator[ObjectMeta]:
        yield from (config.meta for config in world.configs.values())
        yield from (_meta(workload.raw) for workload in world.workloads.values())


def _in_our_marks(raw: bytes, ours: MarkStyle) -> bytes:
    """A workload that its controller marks in another style than the one that is played, without these marks: it would
    take them for a change by somebody else."""
    if not any(sign in raw for sign in SIGNS):
        return raw
    obj = decode_workload(raw)
    style = style_of(obj.spec.template, (obj.metadata.annotations or {}).get(APPLIED))
    if style is NATIVE or style is ours:
        return raw  # reroll's own mark is taken for one in every style
    value: dict[str, Any] = msgspec.json.decode(raw)
    style.take(value["spec"]["template"])
    annotations = value["metadata"]["annotations"]
    annotations[APPLIED] = encode(replace(decode(annotations[APPLIED]), mark=None))
    return msgspec.json.encode(value)


def _rolled_out(value: dict[str, Any]) -> dict[str, Any]:
    """A workload as its controller leaves it when its rollout has ended: here every rollout ends at once."""
    wanted = value["spec"].get("replicas", 1)
    value["status"] = {
        "observedGeneration": value["metadata"]["generation"],
        **dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), wanted),
        "desiredNumberScheduled": 1,
        "updatedNumberScheduled": 1,
        "numberAvailable": 1,
    }
    return value


class _Object(msgspec.Struct, gc=False):
    metadata: ObjectMeta


_decode_object = msgspec.json.Decoder(_Object).decode


def _meta(raw: bytes) -> ObjectMeta:
    return _decode_object(raw).metadata


def _versions(meta: ObjectMeta) -> int:
    return version_number(meta.resource_version)


def merge(value: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON merge patch (RFC 7396): null removes, objects merge, everything else replaces."""
    merged = dict(value)
    for key, change in patch.items():
        if change is None:
            merged.pop(key, None)
        elif isinstance(change, dict):
            present = merged.get(key)
            merged[key] = merge(present if isinstance(present, dict) else {}, change)
        else:
            merged[key] = change
    return merged


def timestamp(seconds: float) -> str:
    """A time as the API writes it: whole seconds. `core.observe.epoch` reads it."""
    text = datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z")
    assert epoch(text) == int(seconds)
    return text
