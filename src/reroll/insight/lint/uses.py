"""Every place where a pod template uses a ConfigMap or Secret, with the path of the place.

`reroll.core.references` answers what a change means to the pods; this answers where in the manifest it stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from reroll.core.places import CONTAINERS
from reroll.core.references import ROOT_CA
from reroll.insight.lint.shape import entries, mapping, text
from reroll.manifests.yaml_text import Path

Kind: TypeAlias = Literal["configmap", "secret"]


class Use(Struct, frozen=True):
    """One place."""

    kind: Kind
    name: str
    how: Literal["env", "envFrom", "volume", "pull"]
    where: str
    """For people: ``env LEVEL of container web``."""
    path: Path
    """Of the field that holds the name, from the pod template."""
    keys: tuple[tuple[str, Path], ...] | None = None
    """The keys that are named, with their paths; None: all that there are."""
    optional: bool = False
    ended: bool = False
    """By a plain init container only: it has ended."""


class SubPath(Struct, frozen=True):
    """A mount that shows one file or folder of a volume, bound when the container starts."""

    kind: Kind
    name: str
    where: str
    path: Path


def uses(template: object) -> list[Use]:
    """The uses of a pod template of any shape."""
    spec = mapping(mapping(template).get("spec"))
    found: list[Use] = []
    for name, at, container, ended in _containers(spec):
        found += _environment(name, at, container, ended)
    mounted = _mounted(spec)
    for number, volume in entries(spec.get("volumes")):
        if text(volume.get("name")) in mounted:
            found += _volume(volume, ("spec", "volumes", number))
    for number, pull in entries(spec.get("imagePullSecrets")):
        if text(pull.get("name")):
            path = ("spec", "imagePullSecrets", number, "name")
            found.append(Use("secret", pull["name"], "pull", "imagePullSecrets", path, ()))
    return [use for use in found if (use.kind, use.name) != ("configmap", ROOT_CA)]


def sub_paths(template: object) -> list[SubPath]:
    """The mounts by subPath or subPathExpr of volumes that are filled from ConfigMaps and Secrets, by containers
    that run on."""
    spec = mapping(mapping(template).get("spec"))
    volumes = {
        text(volume.get("name")): _volume(volume, ("spec", "volumes", number))
        for number, volume in entries(spec.get("volumes"))
    }
    found = []
    for name, at, container, ended in _containers(spec):
        for number, mount in entries(container.get("volumeMounts")):
            used = volumes.get(text(mount.get("name")), [])
            field = next((each for each in ("subPath", "subPathExpr") if text(mount.get(each))), "")
            if not ended and field and used:
                where = f"container {name} mounts {text(mount.get('mountPath')) or '?'} by {field}"
                path = (*at, "volumeMounts", number, field)
                first = used[0]
                found.append(SubPath(first.kind, first.name, where, path))
    return found


def _containers(spec: dict[str, Any]) -> Iterator[tuple[str, Path, dict[str, Any], bool]]:
    """(name, path, container, it has ended) of all containers."""
    for field in CONTAINERS:
        for number, container in entries(spec.get(field)):
            ended = field == "initContainers" and container.get("restartPolicy") != "Always"
            yield text(container.get("name")) or "?", ("spec", field, number), container, ended


def _environment(name: str, at: Path, container: dict[str, Any], ended: bool) -> Iterator[Use]:
    fields: tuple[tuple[str, Kind], ...] = (("configMapKeyRef", "configmap"), ("secretKeyRef", "secret"))
    for number, variable in entries(container.get("env")):
        origin = mapping(variable.get("valueFrom"))
        for field, kind in fields:
            ref = mapping(origin.get(field))
            if text(ref.get("name")):
                path = (*at, "env", number, "valueFrom", field)
                key = text(ref.get("key"))
                yield Use(
                    kind,
                    ref["name"],
                    "env",
                    f"env {text(variable.get('name')) or '?'} of container {name}",
                    (*path, "name"),
                    ((key, (*path, "key")),) if key else (),
                    ref.get("optional") is True,
                    ended,
                )
    fields = (("configMapRef", "configmap"), ("secretRef", "secret"))
    for number, imported in entries(container.get("envFrom")):
        for field, kind in fields:
            ref = mapping(imported.get(field))
            if text(ref.get("name")):
                where = f"envFrom of container {name}"
                path = (*at, "envFrom", number, field, "name")
                yield Use(kind, ref["name"], "envFrom", where, path, None, ref.get("optional") is True, ended)


def _mounted(spec: dict[str, Any]) -> set[str]:
    return {
        text(mount.get("name"))
        for _, _, container, _ in _containers(spec)
        for _, mount in entries(container.get("volumeMounts"))
    }


def _volume(volume: dict[str, Any], at: Path) -> list[Use]:
    where = f"volume {text(volume.get('name')) or '?'}"
    found = [
        *_source("configmap", volume.get("configMap"), "name", where, (*at, "configMap")),
        *_source("secret", volume.get("secret"), "secretName", where, (*at, "secret")),
    ]
    projected = mapping(volume.get("projected"))
    for number, source in entries(projected.get("sources")):
        path = (*at, "projected", "sources", number)
        found += _source("configmap", source.get("configMap"), "name", where, (*path, "configMap"))
        found += _source("secret", source.get("secret"), "name", where, (*path, "secret"))
    return found


def _source(kind: Kind, value: object, field: str, where: str, at: Path) -> Iterator[Use]:
    source = mapping(value)
    if not text(source.get(field)):
        return
    keys = tuple(
        (item["key"], (*at, "items", number, "key"))
        for number, item in entries(source.get("items"))
        if text(item.get("key"))
    )
    yield Use(
        kind, source[field], "volume", where, (*at, field), keys or None, source.get("optional") is True
    )
