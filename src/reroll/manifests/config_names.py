"""Every field by which Kubernetes finds a ConfigMap or Secret: what `hash_names` rewrites.

kustomize's own table (`name_references`) and what it leaves out: ephemeral containers, volumes of drivers, kinds with
pods that it does not know, ServiceAccounts, Gateways, storage.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from reroll.core import places
from reroll.manifests.name_references import CONFIG_MAP, PLACES, Fields, Place, found_at, split_path
from reroll.manifests.names import Gvk, is_cluster_scoped
from reroll.manifests.stamp.options import Templates
from reroll.manifests.yaml_text import Path

_KINDS: Final = {"configmap": "ConfigMap", "secret": "Secret"}
_IN_PODS: Final = tuple((_KINDS[place.kind], place.fields) for place in places.PLACES if place.kind in _KINDS)
"""Every field of a pod's spec that names a ConfigMap or Secret."""

_SPECS: Final[dict[tuple[str, str], Fields]] = {
    ("", "Pod"): (),
    ("", "PodTemplate"): ("template",),
    ("", "ReplicationController"): ("spec", "template"),
    ("apps", "ReplicaSet"): ("spec", "template"),
    ("serving.knative.dev", "Service"): ("spec", "template"),
    ("serving.knative.dev", "Configuration"): ("spec", "template"),
}
"""Pods and what has a pod template, beside the workloads that reroll knows anyway."""

_ELSEWHERE: Final[tuple[tuple[str, Gvk, str], ...]] = (
    ("Secret", Gvk(kind="ServiceAccount"), "secrets/name"),
    ("Secret", Gvk("gateway.networking.k8s.io", "", "Gateway"), "spec/listeners/tls/certificateRefs"),
)
"""Beside kustomize's table: what is read there as well."""
_VOLUME_SECRETS: Final = (
    "csi/controllerPublishSecretRef",
    "csi/nodeStageSecretRef",
    "csi/nodePublishSecretRef",
    "csi/controllerExpandSecretRef",
    "csi/nodeExpandSecretRef",
    *(f"{plugin}/secretRef" for plugin in places.PLUGINS),
)
"""Below spec of a PersistentVolume: mappings of a name and a namespace."""
_CLASS_SECRET = re.compile(r"csi\.storage\.k8s\.io/[a-z-]+-secret-name\Z")


class Key(NamedTuple):
    """A config object. `namespace` is "" where none is known."""

    kind: str
    namespace: str
    name: str


class Named(NamedTuple):
    """A field with the name of a config object."""

    key: Key
    path: Path
    """In its object."""
    anywhere: bool
    """The object has no namespace, so any namespace may be meant."""


def namespace_of(metadata: object, default: str) -> str:
    """The namespace that an object names, or else `default`."""
    own = metadata.get("namespace") if isinstance(metadata, dict) else None
    return own if isinstance(own, str) and own else default


def names_in(
    value: dict[str, Any], templates: Templates, more: Sequence[Place], namespace: str
) -> Iterator[Named]:
    """Every field of an object that names a ConfigMap or Secret.

    `templates` tells where kinds have their pod template, `more` further fields, of custom kinds; `namespace` is
    that of objects that name none.
    """
    group, _, version = value["apiVersion"].rpartition("/")
    kind = value["kind"]
    gvk = Gvk(group, version, kind)
    anywhere = is_cluster_scoped(gvk)
    home = "" if anywhere else namespace_of(value.get("metadata"), namespace)
    template = templates.get((group, kind), _SPECS.get((group, kind)))
    if template is not None:
        above = tuple(map(str, template))
        for target, fields in _IN_PODS:
            for path, name in found_at(value, (*above, "spec", *fields)):
                if isinstance(name, str):
                    yield Named(Key(target, home, name), path, anywhere)
    for target, fields in _places(gvk, template is not None, more):
        for path, name in found_at(value, fields):
            if isinstance(name, str):
                yield Named(Key(target, home, name), path, anywhere)
            elif isinstance(name, dict) and name.get("kind", target) == target:
                other, inner = name.get("namespace"), name.get("name")
                space = other if isinstance(other, str) and other else home
                if isinstance(inner, str):
                    yield Named(Key(target, space, inner), (*path, "name"), anywhere and not space)
    if gvk.group == "storage.k8s.io" and kind == "StorageClass":
        yield from _of_class(value)
    elif group == "" and kind == "PersistentVolume":
        for way in _VOLUME_SECRETS:
            for path, mapping in found_at(value, ("spec", *way.split("/"))):
                if isinstance(mapping, dict) and isinstance(mapping.get("name"), str):
                    space = mapping.get("namespace") or ""
                    yield Named(Key("Secret", str(space), mapping["name"]), (*path, "name"), not space)


def _places(gvk: Gvk, pods: bool, more: Sequence[Place]) -> Iterator[tuple[str, Fields]]:
    for place in PLACES:
        if place.target.kind in ("ConfigMap", "Secret") and place.referrer.selects(gvk):
            if pods and place.fields[0] in ("spec", "template"):
                continue  # `_IN_PODS` has these, and more
            yield place.target.kind, place.fields
    for target, referrer, way in _ELSEWHERE:
        if referrer.selects(gvk):
            yield target, split_path(way)
    for place in more:
        if place.referrer.selects(gvk):
            for kind in ("ConfigMap", "Secret"):
                if place.target.selects(CONFIG_MAP._replace(kind=kind)):
                    yield kind, place.fields


def _of_class(value: dict[str, Any]) -> Iterator[Named]:
    """A StorageClass names Secrets for CSI drivers by parameters, the namespace by another one; both may be patterns
    such as ``${pvc.name}``, which no name here can match."""
    parameters = value.get("parameters")
    if not isinstance(parameters, dict):
        return
    for parameter, name in parameters.items():
        if _CLASS_SECRET.match(parameter) and isinstance(name, str):
            space = parameters.get(f"{parameter.removesuffix('name')}namespace")
            space = space if isinstance(space, str) and "$" not in space else ""
            yield Named(Key("Secret", space, name), ("parameters", parameter), not space)
