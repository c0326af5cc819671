"""The file of `reroll snapshot`: JSON, an object a line, between a line that says what it is and one that ends it.

    {"format":"reroll-snapshot","version":1,"made":"2026-...Z","cluster":"...","by":"reroll 0.1.0","key":{...}}
    {"kind":"Namespace","metadata":{...}}
    {"kind":"ConfigMap","metadata":{...},"digests":{"level":"..."}}      or "data" and "binaryData"
    {"kind":"Secret","metadata":{...},"digests":{"password":"..."}}
    {"kind":"Deployment","metadata":{...},"spec":{...}}
    {"kind":"Pods","of":["Deployment","shop","web"],"count":3,"oldest":"2026-...Z"}
    {"kind":"Unreadable","collection":"secret","namespace":"","problem":"..."}
    {"end":7}

There is no value of a Secret in it, only digests with a key that is not in the file: the cluster's digest key,
where it could be read, so that they compare with what is recorded on workloads; else one made for this snapshot.
What is left out of objects is what no decision looks at; pod templates are whole, for their hash is compared.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Container
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal

import msgspec
from msgspec import Struct, field

from reroll.core.applied import APPLIED
from reroll.core.digests import KEY_SIZE, SIZE, DigestKey, config_map_digests, text
from reroll.core.kinds import WORKLOAD_KINDS
from reroll.core.observe import (
    ConfigMapObject,
    ManagedFields,
    NamespaceObject,
    ObjectMeta,
    SecretObject,
    epoch,
)
from reroll.core.proof import PodAges
from reroll.core.records import ConfigId, ConfigKind, WorkloadId
from reroll.dialects import ALL
from reroll.insight.simulation.bad_input import BadInput, Origin
from reroll.insight.simulation.cluster import timestamp
from reroll.insight.simulation.world import Config, ForeignKey, Workload, World

FORMAT: Final = "reroll-snapshot"
VERSION: Final = 1
_BEGINNING: Final = b'{"format":"reroll-snapshot"'

_DATA_FIELDS: Final = (b'"f:data"', b'"f:binaryData"', b'"f:stringData"')
_TEMPLATE_FIELDS: Final = (b'"f:template"',)


class Key(Struct, frozen=True):
    """Which key the digests of Secrets are made with; never the key itself."""

    id: str
    """`DigestKey.id`."""
    of: Literal["cluster", "snapshot"]
    """The installation's own, or one made for this snapshot."""


class Header(Struct, frozen=True, omit_defaults=True):
    """The first line."""

    format: str
    version: int
    made: str
    """When, as the API writes times."""
    cluster: str
    """The API server's address."""
    by: str
    key: Key
    namespaces: tuple[str, ...] = ()
    """Empty: all."""
    values: bool = False
    """The values of ConfigMaps are in it."""
    config_labels: bool = False
    """The labels of ConfigMaps and Secrets are in it, for the setting `config_selector`."""


class _Line(Struct, gc=False, rename="camel"):
    """Any line after the first, as far as it is read at once."""

    kind: str = ""
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    digests: dict[str, str] | None = None
    data: dict[str, str] | None = None
    binary_data: dict[str, str] | None = None
    immutable: bool = False
    of: tuple[str, str, str] | None = None
    count: int = 0
    oldest: str = ""
    collection: str = ""
    namespace: str = ""
    problem: str = ""
    end: int | None = None


_decode_line = msgspec.json.Decoder(_Line).decode
_KINDS: dict[str, ConfigKind] = {"ConfigMap": "configmap", "Secret": "secret"}

# --- writing -----------------------------------------------------------------------------------------


def config_map_line(obj: ConfigMapObject, *, immutable: bool, with_values: bool) -> bytes:
    """A ConfigMap's line: its digests, or all of it."""
    content: dict[str, Any]
    if with_values:
        content = {"data": obj.data or {}, "binaryData": obj.binary_data or {}}
    else:
        content = {"digests": _texts(*config_map_digests(obj.data, obj.binary_data))}
    return _line("ConfigMap", _config_meta(obj.metadata), content | _if(immutable))


def secret_line(obj: SecretObject, *, immutable: bool, content: tuple[tuple[str, ...], bytes]) -> bytes:
    """A Secret's line; `content` is what `core.digests.secret_digests` makes of it."""
    return _line("Secret", _config_meta(obj.metadata), {"digests": _texts(*content)} | _if(immutable))


def namespace_line(obj: NamespaceObject) -> bytes:
    """A Namespace's line: its labels may put it in scope, its annotations are defaults for its workloads."""
    meta = obj.metadata
    return _line("Namespace", {"name": meta.name} | _labels(meta) | _annotations(meta), {})


def workload_line(kind: str, meta: ObjectMeta, spec: Struct) -> bytes:
    """A workload's line; `spec` has its template, replicas, paused and updateStrategy."""
    found = {"namespace": meta.namespace} | _identity(meta) | {"generation": meta.generation}
    if meta.deletion_timestamp:
        found["deletionTimestamp"] = meta.deletion_timestamp
    annotations = ALL.relevant(meta.annotations or {})
    if meta.annotations and APPLIED in meta.annotations:
        annotations[APPLIED] = meta.annotations[APPLIED]
    found |= _labels(meta) | ({"annotations": annotations} if annotations else {})
    fields: dict[str, Any] = {"f:spec": {"f:template": {}}}
    return _line(kind, found | _managed(meta, _TEMPLATE_FIELDS, fields), {"spec": spec})


def pods_line(workload: WorkloadId, ages: PodAges) -> bytes:
    """When the pods of a workload were created, as a starting controller may ask."""
    return _encode(
        {"kind": "Pods", "of": list(workload), "count": ages.count, "oldest": timestamp(ages.oldest)}
    )


def unreadable_line(collection: str, namespace: str, problem: str) -> bytes:
    """Why a collection is not in it."""
    return _encode(
        {"kind": "Unreadable", "collection": collection, "namespace": namespace, "problem": problem}
    )


def header_line(header: Header) -> bytes:
    """The first line."""
    return msgspec.json.encode(header) + b"\n"


def end_line(lines: int) -> bytes:
    """`lines`: how many stand between the first and this one."""
    return _encode({"end": lines})


def _line(kind: str, meta: dict[str, Any], rest: dict[str, Any]) -> bytes:
    return _encode({"kind": kind, "metadata": meta} | rest)


def _encode(value: object) -> bytes:
    return msgspec.json.encode(value) + b"\n"


def _if(immutable: bool) -> dict[str, Any]:
    return {"immutable": True} if immutable else {}


def _identity(meta: ObjectMeta) -> dict[str, Any]:
    return {
        "name": meta.name,
        "uid": meta.uid,
        "resourceVersion": meta.resource_version,
        "creationTimestamp": meta.creation_timestamp,
    }


def _config_meta(meta: ObjectMeta) -> dict[str, Any]:
    """Of annotations those that reroll reads: one of kubectl's holds the whole object as it was applied."""
    found = {"namespace": meta.namespace} | _identity(meta) | _labels(meta)
    return found | _annotations(meta) | _managed(meta, _DATA_FIELDS, {"f:data": {}})


def _labels(meta: ObjectMeta) -> dict[str, Any]:
    return {"labels": meta.labels} if meta.labels else {}


def _annotations(meta: ObjectMeta) -> dict[str, Any]:
    annotations = ALL.relevant(meta.annotations or {})
    return {"annotations": annotations} if annotations else {}


def _managed(meta: ObjectMeta, names: tuple[bytes, ...], instead: dict[str, Any]) -> dict[str, Any]:
    """The entries of managedFields that own one of the fields `names`, with that field alone."""
    kept = [
        {"manager": entry.manager, "time": entry.time, "fieldsV1": instead}
        for entry in meta.managed_fields or ()
        if entry.time and not entry.subresource and _owns(entry, names)
    ]
    return {"managedFields": kept} if kept else {}


def _owns(entry: ManagedFields, names: tuple[bytes, ...]) -> bool:
    owned = bytes(entry.fields_v1)
    return any(name in owned for name in names)


def _texts(keys: tuple[str, ...], joined: bytes) -> dict[str, str]:
    return {key: text(joined[i * SIZE : (i + 1) * SIZE]) for i, key in enumerate(keys)}


# --- reading -----------------------------------------------------------------------------------------


def key_line(key: DigestKey) -> str:
    """What a key file holds. It is to be kept as a Secret is: with it and a snapshot, values can be guessed."""
    return base64.b64encode(key.raw()).decode() + "\n"


def read_key(path: str) -> DigestKey:
    """The key of a key file. Raises BadInput."""
    try:
        return DigestKey(base64.b64decode(Path(path).read_bytes().strip(), validate=True))
    except OSError as error:
        raise BadInput(Origin(path), f"cannot be read: {error.strerror}") from error
    except (ValueError, binascii.Error) as error:
        raise BadInput(
            Origin(path, 1), "holds no digest key: reroll snapshot --key-file writes one"
        ) from error


def is_snapshot(beginning: bytes) -> bool:
    """Whether a file that begins so is a snapshot."""
    return beginning.startswith(_BEGINNING)


def read_snapshot(file: BinaryIO, name: str, key: DigestKey | None = None) -> World:
    """The world that a snapshot holds. `key` is its digest key, where it is at hand. Raises BadInput."""
    header = _header(file.readline(), name)
    if key is not None and key.id != header.key.id:
        raise BadInput(
            Origin(name, 1),
            f"its digests are made with the key {header.key.id}, and the key file holds {key.id}",
        )
    world = World(
        source=f"snapshot of {header.cluster}, made {header.made}",
        key=key or ForeignKey(header.key.id, secrets.token_bytes(KEY_SIZE)),
        now=max(epoch(header.made), 1.0),
        secrets_comparable=key is not None,
        config_labels=header.config_labels,
    )
    if header.key.of == "snapshot":
        world.notes.append(
            "the snapshot was made without the cluster's digest key: what workloads have recorded of Secrets "
            "can't be compared, and counts as current"
        )
    world.scopes, world.pods = header.namespaces, {}
    number = 1
    for number, line in enumerate(file, 2):
        try:
            found = _decode_line(line)
        except (msgspec.DecodeError, RecursionError) as error:
            cut = "" if line.endswith(b"\n") else ": the file is cut off here"
            raise BadInput(Origin(name, number), f"is no line of a snapshot{cut or f' ({error})'}") from error
        if found.end is not None:
            if found.end != number - 2:
                raise BadInput(
                    Origin(name, number), f"{found.end} lines should stand before, not {number - 2}"
                )
            if file.read(1):
                raise BadInput(Origin(name, number + 1), "the snapshot has ended, and something follows")
            return world
        _take_in(world, found, line, Origin(name, number))
    raise BadInput(Origin(name, number), "the snapshot is cut off after this line: make it again")


def _header(line: bytes, name: str) -> Header:
    """The first line. Its version is looked at before anything that another version may have otherwise."""
    origin = Origin(name, 1)
    try:
        version = msgspec.json.decode(line, type=_Version).version
        if version != VERSION:
            raise BadInput(
                origin,
                f"this snapshot has version {version}, and this reroll reads version {VERSION}: "
                + ("read it with a newer reroll" if version > VERSION else "make it again"),
            )
        return msgspec.json.decode(line, type=Header)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadInput(origin, f"is no first line of a snapshot: {error}") from error


class _Version(Struct):
    version: int


def _take_in(world: World, line: _Line, raw: bytes, origin: Origin) -> None:
    meta = line.metadata
    if line.kind in _KINDS:
        config = ConfigId(_KINDS[line.kind], meta.namespace, meta.name)
        _named(config, world.configs, origin)
        world.configs[config] = Config(config, meta, _digests(line, config, origin), line.immutable, origin)
    elif line.kind in WORKLOAD_KINDS:
        workload = WorkloadId(line.kind, meta.namespace, meta.name)
        _named(workload, world.workloads, origin)
        world.workloads[workload] = Workload(raw, origin)
    elif line.kind == "Namespace":
        world.namespaces[meta.name] = NamespaceObject(meta)
    elif line.kind == "Pods" and line.of is not None:
        if world.pods is not None:
            world.pods[WorkloadId(*line.of)] = PodAges(line.count, epoch(line.oldest))
    elif line.kind == "Unreadable":
        world.notes.append(f"not in the snapshot: {_places(line)}: {line.problem}")
        if line.collection == "pods":
            world.pods = None
        else:
            world.unreadable.append((line.collection, line.namespace, line.problem))
    else:
        raise BadInput(origin, f"a line of the kind {line.kind[:60]!r} is not known")


def _named(name: ConfigId | WorkloadId, there: Container[object], origin: Origin) -> None:
    if not all(name):
        raise BadInput(origin, "this object has no name or no namespace")
    if name in there:
        raise BadInput(origin, f"{name} stands in the snapshot twice")


def _places(line: _Line) -> str:
    return f"{line.collection} of {line.namespace}" if line.namespace else line.collection


def _digests(line: _Line, config: ConfigId, origin: Origin) -> dict[str, bytes]:
    if line.digests is None:
        if config.kind == "secret":
            raise BadInput(origin, f"{config} has no digests")
        keys, joined = config_map_digests(line.data, line.binary_data)
        return {key: joined[i * SIZE : (i + 1) * SIZE] for i, key in enumerate(keys)}
    try:
        found = {
            key: base64.b64decode(value, altchars=b"-_", validate=True) for key, value in line.digests.items()
        }
    except (ValueError, binascii.Error) as error:
        raise BadInput(origin, f"{config} has a digest that is none") from error
    if any(len(digest) != SIZE for digest in found.values()):
        raise BadInput(origin, f"{config} has a digest that is not {SIZE} bytes long")
    return found
