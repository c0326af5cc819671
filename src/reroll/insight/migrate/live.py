"""A cluster as a scene: its workloads whole, of ConfigMaps and Secrets the metadata only, and Reloader as it runs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import msgspec
from msgspec import Struct

from reroll.core.kinds import KINDS
from reroll.dialects.presence import find_reloader
from reroll.insight.lint.shape import entries, mapping, text
from reroll.insight.migrate.scene import Scene, Source
from reroll.kube.client import Client
from reroll.kube.errors import ApiError, Forbidden, NotFound
from reroll.kube.pages import METADATA_ONLY, Pager
from reroll.kube.resources import CONFIG_MAPS, NAMESPACES, SECRETS, Resource

_CLASSES: Final = Resource("secrets-store.csi.x-k8s.io", "v1", "secretproviderclasses", "SecretProviderClass")
_DEPLOYMENTS: Final = Resource("apps", "v1", "deployments", "Deployment")
_OURS: Final = "app.kubernetes.io/name=reroll"
_HERE: Final = Source()


class Running(Struct, frozen=True):
    """Reloader, as it was started."""

    where: str
    """``NAMESPACE/NAME`` of its Deployment."""
    arguments: tuple[str, ...]
    environ: dict[str, str]
    """The variables that have a plain value."""


async def read_scene(client: Client, namespaces: Sequence[str]) -> Scene:
    """Everything in these namespaces, or in all. What may not be read is noted. Raises other ApiErrors, and
    msgspec.DecodeError."""
    scene = Scene(complete=True, where="the cluster")
    for scope in namespaces or ("",):
        for kind in KINDS.values():
            resource = Resource(kind.group, kind.version, kind.plural, kind.kind)
            await _list(client, resource, scope, scene, whole=True)
        for resource in (CONFIG_MAPS, SECRETS, _CLASSES):
            if not await _list(client, resource, scope, scene, whole=False):
                scene.complete = False
    if namespaces:
        for name in namespaces:
            try:
                value = msgspec.json.decode(await client.get(NAMESPACES.path(None, name)))
            except ApiError as error:
                scene.notes.append(
                    f"namespace {name} can't be read, and counts as without annotations: {error.message}"
                )
            else:
                scene.add({**value, "apiVersion": "v1", "kind": "Namespace"}, _HERE)
    else:
        await _list(client, NAMESPACES, "", scene, whole=False)
    scene.controllers = await _controllers(client, namespaces)
    scene.lend()
    return scene


async def _list(client: Client, resource: Resource, scope: str, scene: Scene, *, whole: bool) -> bool:
    """Take in a collection; False if it may not be read."""
    api = {"apiVersion": resource.api_version, "kind": resource.kind}

    def take(raw: msgspec.Raw) -> None:
        value: dict[str, Any] = {**msgspec.json.decode(raw), **api}
        metadata = mapping(value.get("metadata"))
        if whole and any(
            owner.get("controller") is True for _, owner in entries(metadata.get("ownerReferences"))
        ):
            return  # what is written on it comes from another object: the Job of a CronJob
        if not whole:
            value = {
                **api,
                "metadata": metadata,
            }  # a server that can't leave the content out is not to fill memory
        scene.add(value, _HERE)

    accept = None if whole else METADATA_ONLY
    try:
        await Pager(client, partial(resource.path, scope or None, None), accept=accept).each(take)
    except NotFound:
        return True  # a kind that this cluster does not have
    except Forbidden as error:
        scene.notes.append(f"{resource.plural} can't be read: {error.message}")
        return False
    return True


async def running_reloader(client: Client, namespaces: Sequence[str], notes: list[str]) -> Running | None:
    """Reloader, if one runs in the cluster, or, where only these namespaces may be read, in them."""
    found = await find_reloader(client, ("",))
    if found is None and namespaces:
        found = await find_reloader(client, tuple(namespaces))
    if found is None:
        notes.append("whether Reloader runs can't be told: Deployments of the cluster can't be listed")
    if found == "":
        notes.append("Reloader was not found running: what its annotations ask for is told as if it ran")
    if not found:
        return None
    namespace, _, name = found.partition("/")
    try:
        value = msgspec.json.decode(await client.get(_DEPLOYMENTS.path(namespace, name)))
    except ApiError as error:
        notes.append(f"Reloader runs as {found}, and can't be read: {error.message}")
        return Running(found, (), {})
    pods = mapping(mapping(mapping(mapping(value).get("spec")).get("template")).get("spec"))
    containers = [one for _, one in entries(pods.get("containers"))]
    its = [one for one in containers if "stakater/reloader" in text(one.get("image")).lower()]
    if not its:
        return Running(found, (), {})
    words = [*(its[0].get("command") or ())[1:], *(its[0].get("args") or ())]
    variables = {
        text(one.get("name")): text(one.get("value"))
        for _, one in entries(its[0].get("env"))
        if one.get("value")
    }
    for _, one in entries(its[0].get("env")):
        path = mapping(mapping(one.get("valueFrom")).get("fieldRef")).get("fieldPath")
        if path == "metadata.namespace":
            variables[text(one.get("name"))] = namespace
    return Running(found, tuple(word for word in words if isinstance(word, str)), variables)


async def _controllers(client: Client, namespaces: Sequence[str]) -> list[str]:
    """Deployments that run reroll. Not to know is no failure."""
    for scope in ("", *namespaces):
        path = _DEPLOYMENTS.path(scope or None, labelSelector=_OURS, limit=50)
        try:
            items = mapping(msgspec.json.decode(await client.list_page(path))).get("items")
        except ApiError:
            continue
        return [
            f"{text(meta.get('namespace'))}/{text(meta.get('name'))}"
            for _, one in entries(items)
            if (meta := mapping(one.get("metadata"))) and mapping(one.get("spec")).get("replicas") != 0
        ]
    return []
