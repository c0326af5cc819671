"""Puts manifests into a sandbox, as `kubectl apply` would: namespaces are made where they are missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec

from reroll.kube.auth import Fixed, UserCredentials
from reroll.kube.client import APPLY_PATCH, Client
from reroll.kube.config import ClusterConfig
from reroll.kube.errors import ApiError
from reroll.kube.resources import NAMESPACES, Resource
from reroll.sandbox.kinds import NAMESPACE
from reroll.sandbox.server import Sandbox

MANAGER = "reroll-sandbox"
_FIRST = {"CustomResourceDefinition": 0, "Namespace": 1}


async def load(sandbox: Sandbox, manifests: Iterable[tuple[str, dict[str, Any]]]) -> list[str]:
    """Apply (origin, object) pairs. Returns what came of it, in words: counts, then what was left out and why."""
    credentials = UserCredentials(Fixed(f"Bearer {sandbox.token}"))
    config = ClusterConfig(server=sandbox.url, namespace="default", credentials=credentials)
    applied: Counter[str] = Counter()
    left_out: list[str] = []
    async with Client(config, field_manager=MANAGER) as client:
        for origin, obj in sorted(manifests, key=lambda pair: _FIRST.get(pair[1].get("kind", ""), 2)):
            what = f"{obj.get('kind')} {(obj.get('metadata') or {}).get('name', '')} ({origin})"
            served = sandbox.catalog.kind_of(obj.get("apiVersion", ""), obj.get("kind", ""))
            if served is None:
                left_out.append(f"left out: {what}: the sandbox does not know {obj.get('apiVersion')}")
                continue
            try:
                await _apply(client, sandbox, served.kind.plural, served.kind.namespaced, obj)
                applied[served.kind.kind] += 1
            except ApiError as error:
                left_out.append(f"left out: {what}: {error.message}")
    counts = ", ".join(f"{count} {kind}" for kind, count in sorted(applied.items()))
    return [f"loaded: {counts or 'nothing'}", *left_out] if applied or left_out else []


async def _apply(
    client: Client, sandbox: Sandbox, plural: str, namespaced: bool, obj: dict[str, Any]
) -> None:
    group, _, version = obj["apiVersion"].rpartition("/")
    resource = Resource(group, version, plural, obj["kind"], namespaced)
    meta = {key: value for key, value in (obj.get("metadata") or {}).items() if key not in _OF_THE_SERVER}
    if namespaced:
        meta.setdefault("namespace", "default")
        if sandbox.storage.find(NAMESPACE, "", meta["namespace"]) is None:
            await _send(client, NAMESPACES, {"metadata": {"name": meta["namespace"]}})
    await _send(client, resource, {**obj, "metadata": meta})


_OF_THE_SERVER = (
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "managedFields",
    "deletionTimestamp",
)
"""Fields of metadata in what was read off a cluster, which can't be applied."""


async def _send(client: Client, resource: Resource, obj: dict[str, Any]) -> None:
    body = {"apiVersion": resource.api_version, "kind": resource.kind, **obj}
    body.pop("status", None)
    meta = body["metadata"]
    path = resource.path(meta.get("namespace"), meta.get("name", ""))
    await client.patch(path, msgspec.json.encode(body), content_type=APPLY_PATCH, force=True)
