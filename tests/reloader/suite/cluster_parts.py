"""Plays what Reloader's suite needs beside Kubernetes: the statuses and pods of Argo Rollouts and DeploymentConfigs,
and the secrets-store CSI driver, which tells in SecretProviderClassPodStatuses what it mounted and rotated."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from contextlib import suppress
from typing import Any, Final, TypeAlias

import yaml

from reroll.controller.class_statuses import CLASS, STATUS
from reroll.core.kinds import DEPLOYMENT_CONFIG, ROLLOUT, WorkloadKind
from reroll.kube.client import Client
from reroll.kube.config import load_config
from reroll.kube.errors import ApiError
from tests.controller.conftest import definition
from tests.reloader.suite.vault import file_of

Json: TypeAlias = dict[str, Any]

DEFINITIONS: Final = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
EVERY: Final = 0.05
"""Seconds between looks: a pod's status has to be there before the suite sees the pod ready."""


async def main() -> None:
    """Make the definitions, print a line, and play until terminated."""
    async with Client(load_config(kubeconfig=os.environ["KUBECONFIG"]), field_manager="parts") as client:
        for kind in (ROLLOUT, DEPLOYMENT_CONFIG, CLASS, STATUS):
            with_status = kind in (ROLLOUT, DEPLOYMENT_CONFIG)  # the driver's have no status subresource
            await _create(client, DEFINITIONS, definition(kind, status_subresource=with_status))
        await _create(client, "/api/v1/namespaces", {"metadata": {"name": "vault"}})
        await _create(client, "/apis/apps/v1/namespaces/vault/daemonsets", _provider())
        await asyncio.sleep(2.0)  # until the definitions are established
        print("ready", flush=True)
        parts = Parts(client)
        while True:
            # A namespace went, or somebody else wrote: the next look sees it.
            with suppress(ApiError):
                await parts.look()
            await asyncio.sleep(EVERY)


class Parts:
    """Remembers for which template each workload has a pod."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._pods: dict[str, str] = {}

    async def look(self) -> None:
        """Bring everything in line once."""
        for kind in (ROLLOUT, DEPLOYMENT_CONFIG):
            for workload in await self._items(_path(kind)):
                await self._roll(workload)
                await self._tell(kind, workload)
        classes = {_at(found): found for found in await self._items(_path(CLASS))}
        if not classes:
            return
        statuses = {_at(found): found for found in await self._items(_path(STATUS))}
        for pod in await self._items("/api/v1/pods"):
            if "deletionTimestamp" in pod["metadata"]:
                continue
            for volume in pod["spec"].get("volumes", ()):
                name = volume.get("csi", {}).get("volumeAttributes", {}).get("secretProviderClass")
                provider = classes.get((pod["metadata"]["namespace"], name))
                if provider is not None:
                    await self._mount(pod, provider, statuses)

    async def _roll(self, workload: Json) -> None:
        """One pod of the present template, if it mounts a class; the one before goes."""
        meta, template = workload["metadata"], workload["spec"].get("template") or {}
        if not any("csi" in volume for volume in template.get("spec", {}).get("volumes", ())):
            return
        revision = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:8]
        before = self._pods.get(meta["uid"])
        if before == revision:
            return
        self._pods[meta["uid"]] = revision
        path = f"/api/v1/namespaces/{meta['namespace']}/pods"
        owned = {
            "labels": template["metadata"]["labels"],
            "name": f"{meta['name']}-{revision}",
            "ownerReferences": [_owner(workload)],
        }
        await _create(self._client, path, {"metadata": owned, "spec": template["spec"]})
        if before is not None:
            await self._client.delete(f"{path}/{meta['name']}-{before}")

    async def _tell(self, kind: WorkloadKind, workload: Json) -> None:
        """It is ready, always."""
        meta, count = workload["metadata"], workload["spec"].get("replicas", 1)
        generation = meta["generation"]
        status = dict.fromkeys(("replicas", "readyReplicas", "availableReplicas", "updatedReplicas"), count)
        if kind is ROLLOUT:
            status |= {"observedGeneration": str(generation), "phase": "Healthy"}
        else:
            status |= {"observedGeneration": generation, "latestVersion": 1, "unavailableReplicas": 0}
        if workload.get("status") != status:
            path = f"{_path(kind, meta['namespace'])}/{meta['name']}/status"
            await self._client.replace(path, json.dumps(workload | {"status": status}).encode())

    async def _mount(self, pod: Json, provider: Json, statuses: dict[tuple[str, str], Json]) -> None:
        """What the driver writes when a pod starts, and when it rotates."""
        meta, name = pod["metadata"], provider["metadata"]["name"]
        objects = []
        for found in yaml.safe_load(provider["spec"]["parameters"]["objects"]):
            version = _version(found["secretPath"], found["secretKey"])
            if version is None:
                return  # the real one lets the pod wait
            objects.append({"id": found["objectName"], "version": version})
        status = {
            "podName": meta["name"],
            "secretProviderClassName": name,
            "mounted": True,
            "targetPath": "/mnt",
            "objects": objects,
        }
        own = f"{meta['name']}-{meta['namespace']}-{name}"
        before = statuses.get((meta["namespace"], own))
        path = _path(STATUS, meta["namespace"])
        if before is None:
            owned = {"name": own, "ownerReferences": [_owner(pod | {"apiVersion": "v1", "kind": "Pod"})]}
            made = {"apiVersion": f"{STATUS.group}/{STATUS.version}", "kind": STATUS.kind, "metadata": owned}
            await _create(self._client, path, made | {"status": status})
        elif before["status"] != status:
            await self._client.replace(f"{path}/{own}", json.dumps(before | {"status": status}).encode())

    async def _items(self, path: str) -> list[Json]:
        found: list[Json] = json.loads(await self._client.get(path))["items"]
        return found


def _version(path: str, key: str) -> str | None:
    """A digest of what the store has there; None: nothing."""
    file = file_of(path.replace("secret/data/", "secret/", 1))
    if not file.exists():
        return None
    value = json.loads(file.read_text()).get(key)
    return hashlib.sha256(json.dumps([key, value]).encode()).hexdigest()[:32]


def _path(kind: WorkloadKind, namespace: str = "") -> str:
    place = f"namespaces/{namespace}/" if namespace else ""
    return f"/apis/{kind.group}/{kind.version}/{place}{kind.plural}"


def _at(obj: Json) -> tuple[str, str]:
    return obj["metadata"]["namespace"], obj["metadata"]["name"]


def _owner(obj: Json) -> Json:
    meta = obj["metadata"]
    return {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "name": meta["name"], "uid": meta["uid"]}


def _provider() -> Json:
    """By this the suite knows that Vault's provider is installed."""
    labels = {"app": "vault-csi-provider"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "main"}]}}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    return {"metadata": {"name": "vault-csi-provider"}, "spec": spec}


async def _create(client: Client, path: str, obj: Json) -> None:
    await client.create(path, json.dumps(obj).encode())


if __name__ == "__main__":
    asyncio.run(main())
