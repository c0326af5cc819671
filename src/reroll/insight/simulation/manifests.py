"""Manifests become the objects of a world: those that count, checked as far as they are read.

What the API server would refuse is refused here, with file and line; its defaults are not needed.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, BinaryIO, TypeAlias

import msgspec
from msgspec import Struct

from reroll.core.digests import DigestKey
from reroll.core.kinds import KINDS, WORKLOAD_KINDS
from reroll.core.observe import NamespaceObject, ObjectMeta, decode_workload
from reroll.core.records import ConfigId, ConfigKind, WorkloadId
from reroll.core.template import PodTemplate
from reroll.insight.simulation.bad_input import BadInput, Origin
from reroll.insight.simulation.documents import Document, read, word
from reroll.insight.simulation.world import Config, Workload, World, value_digest

_CONFIG_KINDS: dict[str, ConfigKind] = {"ConfigMap": "configmap", "Secret": "secret"}
_NAME = re.compile(r"[a-z0-9](?:[-.a-z0-9]{0,251}[a-z0-9])?")
_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_template = msgspec.json.Decoder(PodTemplate).decode


class GivenWorkload(Struct):
    """A workload as a manifest has it."""

    id: WorkloadId
    value: dict[str, Any]
    origin: Origin


class GivenNamespace(Struct):
    name: str
    value: NamespaceObject
    origin: Origin


Given: TypeAlias = Config | GivenWorkload | GivenNamespace


def objects(
    documents: Iterable[Document], key: DigestKey, *, default_namespace: str, others: Counter[str]
) -> Iterable[Given]:
    """The objects that count of these documents; what else there is is counted by kind in `others`.

    Raises BadInput.
    """
    for document in documents:
        origin, value = document
        kind, version = value["kind"], value["apiVersion"]
        known = WORKLOAD_KINDS.get(kind)
        if known is not None and version == known.api_version:
            yield _workload(value, origin, default_namespace)
        elif version == "v1" and kind in _CONFIG_KINDS:
            yield _config(value, origin, _CONFIG_KINDS[kind], key, default_namespace)
        elif version == "v1" and kind == "Namespace":
            meta = _meta(value, origin, kind, "")
            yield GivenNamespace(meta.name, NamespaceObject(meta), origin)
        else:
            others[kind] += 1


def world_of(
    paths: Sequence[str],
    stdin: BinaryIO,
    key: DigestKey,
    *,
    now: float,
    default_namespace: str,
) -> World:
    """The world that these files, folders and ("-") standard input describe. Raises BadInput."""
    world = World(
        source=", ".join("standard input" if path == "-" else path for path in paths), key=key, now=now
    )
    others: Counter[str] = Counter()
    seen: dict[object, Origin] = {}
    for path in paths:
        documents = read(path, stdin)
        for found in objects(documents, key, default_namespace=default_namespace, others=others):
            name: object = found.id if not isinstance(found, GivenNamespace) else f"namespace/{found.name}"
            if name in seen:
                raise BadInput(found.origin, f"{name} was defined before, at {seen[name]}")
            seen[name] = found.origin
            if isinstance(found, Config):
                world.configs[found.id] = found
            elif isinstance(found, GivenWorkload):
                world.workloads[found.id] = Workload(msgspec.json.encode(found.value), found.origin)
            else:
                world.namespaces[found.name] = found.value
    if not seen:
        what = f"only {_listed(others)}" if others else "no object at all"
        raise BadInput(
            Origin(world.source), f"holds {what}: no workload that reroll follows, no ConfigMap and no Secret"
        )
    world.notes.extend(passed_over(others))
    return world


def passed_over(others: Counter[str], where: str = "") -> Iterable[str]:
    """What a person should know of the objects that are not looked at. `others`: how many, by kind; `where`: such as
    " in the changes"."""
    acted_on = {kind.kind for kind in KINDS.values()}
    unplayed = Counter({kind: count for kind, count in others.items() if kind in acted_on})
    if unplayed:
        yield f"passed over{where}, because a simulation does not play such workloads: {_listed(unplayed)}"
    if rest := others - unplayed:
        yield f"passed over{where}, for reroll does not act on them: {_listed(rest)}"


def _listed(others: Counter[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(others.items()))


def _meta(value: Mapping[str, Any], origin: Origin, kind: str, default_namespace: str) -> ObjectMeta:
    raw = value.get("metadata")
    if not isinstance(raw, dict) or not isinstance(raw.get("name"), str) or not raw["name"]:
        raise BadInput(origin, f"this {kind} has no metadata.name")
    try:
        meta: ObjectMeta = msgspec.json.decode(_encode(raw, origin), type=ObjectMeta)
    except msgspec.ValidationError as error:
        raise BadInput(origin, f"{kind.lower()}/{raw['name']}: metadata: {error}") from error
    if not _NAME.fullmatch(meta.name):
        raise BadInput(
            origin, f"{meta.name[:80]!r} is no name of a {kind}: lower case letters, digits, - and ."
        )
    if default_namespace:
        meta.namespace = meta.namespace or default_namespace
    return meta


def _encode(value: object, origin: Origin) -> bytes:
    """JSON, as the API takes it: keys are text."""
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadInput(origin, f"this object is nothing that JSON can hold: {error}") from error


def _workload(value: dict[str, Any], origin: Origin, default_namespace: str) -> GivenWorkload:
    kind = value["kind"]
    meta = _meta(value, origin, kind, default_namespace)
    workload = WorkloadId(kind, meta.namespace, meta.name)
    value["metadata"]["namespace"] = meta.namespace
    if not isinstance(value.get("spec"), dict) or not isinstance(value["spec"].get("template"), dict):
        raise BadInput(origin, f"{workload} has no spec.template, so it has no pods")
    try:
        obj = decode_workload(_encode(value, origin))
        _template(obj.spec.template)
    except msgspec.ValidationError as error:
        raise BadInput(origin, f"{workload}: {error}") from error
    return GivenWorkload(workload, value, origin)


def _config(
    value: Mapping[str, Any], origin: Origin, kind: ConfigKind, key: DigestKey, default_namespace: str
) -> Config:
    meta = _meta(value, origin, value["kind"], default_namespace)
    config = ConfigId(kind, meta.namespace, meta.name)
    contents: dict[str, bytes] = {}
    fields = ("binaryData", "data") if kind == "configmap" else ("data", "stringData")
    for name in fields:
        encoded = name == "binaryData" or (kind == "secret" and name == "data")
        for item, text in _mapping(value, name, config, origin).items():
            if not isinstance(text, str):
                if text is None and kind == "secret":
                    text = ""
                else:
                    raise BadInput(
                        origin,
                        f"{config}: {name}.{item} is {word(text)}, and has to be text: put it in quotes",
                    )
            contents[item] = _bytes(text, config, item, name, origin) if encoded else _utf8(text)
    immutable = value.get("immutable") is True
    digests = {item: value_digest(config, item, content, key) for item, content in contents.items()}
    return Config(config, meta, digests, immutable, origin)


def _mapping(value: Mapping[str, Any], name: str, config: ConfigId, origin: Origin) -> dict[str, Any]:
    found = value.get(name)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise BadInput(origin, f"{config}: {name} is {word(found)}, and has to be a mapping")
    plain = {str(key): content for key, content in found.items()}
    for key in plain:
        if not _KEY.fullmatch(key) or key in (".", ".."):
            raise BadInput(
                origin,
                f"{config}: {name} has a key that is none: letters, digits, -, _ and . are what keys hold",
            )
    return plain


def _bytes(text: str, config: ConfigId, item: str, name: str, origin: Origin) -> bytes:
    try:
        return base64.b64decode(re.sub(r"\s", "", text), validate=True)
    except (binascii.Error, ValueError) as error:
        hint = "; plain text goes in stringData" if config.kind == "secret" else ""
        raise BadInput(origin, f"{config}: {name}.{item} is not base64{hint}") from error


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
