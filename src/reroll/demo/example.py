"""The example app: the manifests in `app/`, in a namespace of their own that is made and removed here.

Nothing outside that namespace is ever written, and a namespace of that name that is not the demo's is left
alone.
"""

from __future__ import annotations

import asyncio
import time
from importlib.resources import files
from typing import Any, Final

import msgspec
import yaml

from reroll.demo.error import DemoError
from reroll.demo.observer import DEPLOYMENTS, STATEFUL_SETS, Object
from reroll.kube.client import APPLY_PATCH, Client
from reroll.kube.errors import NotFound
from reroll.kube.resources import CONFIG_MAPS, NAMESPACES, SECRETS, Resource

NAMESPACE: Final = "reroll-demo"
LABELS: Final = {"app.kubernetes.io/managed-by": "reroll-demo"}
MANIFESTS: Final = ("web", "api", "worker", "cache")
OPERATOR: Final = "shop-operator"
"""Who applies those of `OPERATED`, as an operator does that makes Deployments from a resource of its own."""
OPERATED: Final = ("api",)
GONE_WITHIN = 120.0
"""Seconds that the removal of a namespace may take."""

_RESOURCES = {
    "ConfigMap": CONFIG_MAPS,
    "Secret": SECRETS,
    "Service": Resource("", "v1", "services", "Service"),
    "Deployment": DEPLOYMENTS,
    "StatefulSet": STATEFUL_SETS,
}

# What all containers have in common: they do nothing, and are allowed anywhere.
_POD = {
    "terminationGracePeriodSeconds": 1,
    "automountServiceAccountToken": False,
    "securityContext": {
        "runAsNonRoot": True,
        "runAsUser": 65534,
        "seccompProfile": {"type": "RuntimeDefault"},
    },
}
_CONTAINER = {
    "command": ["sleep", "infinity"],
    "resources": {
        "requests": {"cpu": "1m", "memory": "4Mi"},
        "limits": {"cpu": "100m", "memory": "16Mi"},
    },
    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
}


def manifests() -> list[Object]:
    """All objects of the app, configuration before who consumes it."""
    folder = files("reroll.demo") / "app"
    objects: list[Object] = []
    for name in MANIFESTS:
        objects += yaml.safe_load_all((folder / f"{name}.yaml").read_text(encoding="utf-8"))
    for each in objects:
        if "template" in each.get("spec", {}):
            pod = each["spec"]["template"]["spec"]
            pod.update(_POD)
            for container in pod["containers"]:
                container.update(_CONTAINER)
    return sorted(objects, key=lambda each: "template" in each.get("spec", {}))


async def apply(client: Client, operator: Client, namespace: str) -> int:
    """Create the app, and return how many objects that are. `operator` writes as `OPERATOR`. Raises ApiError."""
    objects = manifests()
    config = [each for each in objects if "template" not in each.get("spec", {})]
    await asyncio.gather(*(_apply(client, namespace, each) for each in config))
    workloads = objects[len(config) :]
    await asyncio.gather(
        *(
            _apply(operator if each["metadata"]["name"] in OPERATED else client, namespace, each)
            for each in workloads
        )
    )
    return len(objects)


async def _apply(client: Client, namespace: str, obj: Object) -> None:
    path = _RESOURCES[obj["kind"]].path(namespace, obj["metadata"]["name"])
    await client.patch(path, msgspec.json.encode(obj), content_type=APPLY_PATCH, attempts=4)


async def claim_namespace(client: Client, namespace: str) -> bool:
    """Make the namespace; what an earlier demo left there is removed first, which is answered with True.

    Raises DemoError for a namespace that is somebody else's, and ApiError.
    """
    found = await _namespace(client, namespace)
    if found is not None:
        if not _ours(found):
            raise DemoError(
                f"there is a namespace {namespace} already, and it is not the demo's (it has no label "
                f"{_label()}): nothing was touched. Remove it, or use another cluster",
                2,
            )
        await remove_namespace(client, namespace, wait=True)
    body: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": namespace, "labels": dict(LABELS)},
    }
    await client.create(NAMESPACES.path(), msgspec.json.encode(body))
    return found is not None


async def remove_namespace(client: Client, namespace: str, *, wait: bool) -> None:
    """Delete the namespace if it is ours. Raises DemoError when it is not gone in time, and ApiError."""
    found = await _namespace(client, namespace)
    if found is None or not _ours(found):
        return
    # Of exactly this namespace, should somebody make another of its name just now.
    condition = {"preconditions": {"uid": found["metadata"]["uid"]}}
    try:
        await client.delete(NAMESPACES.path(None, namespace), msgspec.json.encode(condition))
    except NotFound:
        return
    deadline = time.monotonic() + GONE_WITHIN
    while wait:
        found = await _namespace(client, namespace)
        if found is None:
            return
        if time.monotonic() > deadline:
            raise DemoError(
                f"namespace {namespace} is being deleted, and was not gone after {GONE_WITHIN:.0f} s: "
                f"look what holds it with `kubectl get namespace {namespace} -o yaml`"
            )
        await asyncio.sleep(0.3)


async def _namespace(client: Client, name: str) -> Object | None:
    try:
        found: Object = msgspec.json.decode(await client.get(NAMESPACES.path(None, name)))
    except NotFound:
        return None
    return found


def _ours(namespace: Object) -> bool:
    labels = namespace["metadata"].get("labels") or {}
    return all(labels.get(key) == value for key, value in LABELS.items())


def _label() -> str:
    return ",".join(f"{key}={value}" for key, value in LABELS.items())
