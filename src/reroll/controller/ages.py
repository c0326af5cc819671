"""How old a workload's pods are, asked of the server.

Only asked where timestamps are all there is: at adoption, and for changes that were made while no controller
was watching. One list of metadata per namespace serves all its workloads for a while, so that a thousand
questions after a restart are one request.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

import msgspec
from msgspec import Struct

from reroll.core.decide import PodAges
from reroll.core.observe import epoch
from reroll.core.records import WorkloadId
from reroll.kube.errors import Forbidden, Gone
from reroll.kube.resources import PODS

_METADATA = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json"
_FRESH = 5.0
_HASH_LABEL = "pod-template-hash"


class _Owner(Struct, gc=False):
    kind: str = ""
    name: str = ""
    controller: bool = False


class _Meta(Struct, gc=False, rename="camel"):
    namespace: str = ""
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    labels: dict[str, str] | None = None
    owner_references: list[_Owner] | None = None


class _Pod(Struct, gc=False):
    metadata: _Meta


class _ListMeta(Struct, gc=False):
    continue_: str | None = msgspec.field(default=None, name="continue")


class _Pods(Struct, gc=False):
    metadata: _ListMeta
    items: list[_Pod] | None = None


_decode = msgspec.json.Decoder(_Pods).decode


def workload_of(namespace: str, labels: dict[str, str] | None, owner: _Owner) -> WorkloadId:
    """The workload behind a pod's controller. A ReplicaSet of a Deployment is named after it, with the
    pod-template-hash appended, so that no ReplicaSet has to be read."""
    suffix = "-" + (labels or {}).get(_HASH_LABEL, "\0")
    if owner.kind == "ReplicaSet" and owner.name.endswith(suffix):
        return WorkloadId("Deployment", namespace, owner.name.removesuffix(suffix))
    return WorkloadId(owner.kind, namespace, owner.name)


class Lister(Protocol):
    """What is asked of the server; `kube.client.Client` does it."""

    async def list_page(self, path: str, *, accept: str | None = None) -> bytes: ...


class Ages:
    """Answers for the pods' ages, from one list per namespace that is fresh for a few seconds."""

    def __init__(self, client: Lister) -> None:
        self._client = client
        self._lists: dict[str, tuple[float, dict[WorkloadId, PodAges] | None]] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def of(self, workload: WorkloadId) -> PodAges | None:
        """The ages of its pods; None if pods may not be listed. Raises ApiError."""
        namespace = workload.namespace
        async with self._locks.setdefault(namespace, asyncio.Lock()):
            made, ages = self._lists.get(namespace, (float("-inf"), None))
            if time.monotonic() - made > _FRESH:
                try:
                    ages = await self.by_workload(namespace)
                except Forbidden:
                    ages = None
                self._lists = {k: v for k, v in self._lists.items() if time.monotonic() - v[0] < _FRESH}
                self._lists[namespace] = (time.monotonic(), ages)
        return None if ages is None else ages.get(workload, PodAges(0, 0.0))

    async def by_workload(self, namespace: str) -> dict[WorkloadId, PodAges]:
        """The ages of all pods of a namespace, or ("") of all, asked now. Raises ApiError."""
        ages: dict[WorkloadId, PodAges] = {}
        token: str | None = None
        while True:
            path = PODS.path(namespace, limit=500, **{"continue": token})
            try:
                page = _decode(await self._client.list_page(path, accept=_METADATA))
            except Gone:
                ages, token = {}, None
                continue
            for pod in page.items or ():
                meta = pod.metadata
                if meta.deletion_timestamp is not None:
                    continue
                for owner in meta.owner_references or ():
                    if owner.controller:
                        workload = workload_of(namespace, meta.labels, owner)
                        known = ages.get(workload, PodAges(0, float("inf")))
                        created = epoch(meta.creation_timestamp)
                        ages[workload] = PodAges(known.count + 1, min(known.oldest, created))
            token = page.metadata.continue_
            if not token:
                return ages
