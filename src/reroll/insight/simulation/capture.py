"""Makes a snapshot of a live cluster: lists, page by page, each object reduced to its line as it comes.

Whole Secrets come by, for there is no other way to a digest; each is digested and dropped, and its values are
never written. A collection stands in the snapshot whole or not at all: its lines wait on disk, should memory not
hold them, until its last page was read.
"""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import BinaryIO

import msgspec
from msgspec import Struct, field

from reroll import __version__
from reroll.controller.ages import Ages
from reroll.controller.digest_key import DigestKeySecret
from reroll.core.digests import KEY_SIZE, DigestKey, secret_digests
from reroll.core.kinds import WORKLOAD_KINDS
from reroll.core.observe import ConfigMapObject, NamespaceObject, ObjectMeta, SecretObject, UpdateStrategy
from reroll.insight.simulation import snapshot
from reroll.insight.simulation.cluster import timestamp
from reroll.kube.client import Client
from reroll.kube.errors import ApiError, Forbidden, Gone, NotFound
from reroll.kube.pages import Pager
from reroll.kube.resources import CONFIG_MAPS, NAMESPACES, SECRETS, Resource
from reroll.manifests.os_error import naming

_ATTEMPTS = 3
_IN_MEMORY = 8_000_000


class _ConfigMap(ConfigMapObject, rename="camel"):
    immutable: bool | None = None


class _Secret(SecretObject):
    immutable: bool | None = None


class _Spec(Struct, gc=False, rename="camel", omit_defaults=True):
    template: msgspec.Raw = field(default=msgspec.Raw(b"{}"))
    replicas: int | None = None
    paused: bool = False
    update_strategy: UpdateStrategy | None = None


class _Workload(Struct, gc=False):
    metadata: ObjectMeta
    spec: _Spec


_config_map = msgspec.json.Decoder(_ConfigMap).decode
_secret = msgspec.json.Decoder(_Secret).decode
_namespace = msgspec.json.Decoder(NamespaceObject).decode
_workload = msgspec.json.Decoder(_Workload).decode

Reduce = Callable[[msgspec.Raw], bytes]


async def find_key(client: Client, places: Iterable[tuple[str, str]]) -> DigestKey | None:
    """The installation's digest key, from the first (namespace, name) where it can be read."""
    for namespace, name in places:
        try:
            return await DigestKeySecret(client, namespace, name).read()
        except ApiError:
            continue
    return None


async def capture(
    client: Client,
    out: BinaryIO,
    *,
    now: float,
    namespaces: Sequence[str] = (),
    key: DigestKey | None = None,
    with_values: bool = False,
) -> DigestKey:
    """Write a snapshot of these namespaces, or of all. Returns the key of its digests.

    `key` is the installation's, None where it could not be read: then a random one is made. `with_values`
    puts the values of ConfigMaps in. A collection that may not be read is noted in the snapshot. Raises other
    ApiErrors, and what `out` raises.
    """
    of_cluster = key is not None
    used = key or DigestKey(secrets.token_bytes(KEY_SIZE))
    header = snapshot.Header(
        format=snapshot.FORMAT,
        version=snapshot.VERSION,
        made=timestamp(now),
        cluster=client.config.server,
        by=f"reroll {__version__}",
        key=snapshot.Key(used.id, "cluster" if of_cluster else "snapshot"),
        namespaces=tuple(namespaces),
        values=with_values,
        config_labels=True,
    )
    out.write(snapshot.header_line(header))
    lines = await _namespaces(client, namespaces, out)
    for scope in namespaces or ("",):
        for resource, name, reduce in _collections(used, with_values):
            lines += await _collection(client, resource, name, scope, reduce, out)
        lines += await _pods(client, scope, out)
    out.write(snapshot.end_line(lines))
    return used


def _collections(key: DigestKey, with_values: bool) -> Iterator[tuple[Resource, str, Reduce]]:
    """What is read, as the store calls it, and how an object becomes a line."""
    yield CONFIG_MAPS, "configmap", partial(_config_map_line, with_values)
    yield SECRETS, "secret", partial(_secret_line, key)
    for known in WORKLOAD_KINDS.values():
        resource = Resource(known.group, known.version, known.plural, known.kind)
        yield resource, known.kind, partial(_workload_line, known.kind)


def _config_map_line(with_values: bool, raw: msgspec.Raw) -> bytes:
    obj = _config_map(raw)
    return snapshot.config_map_line(obj, immutable=bool(obj.immutable), with_values=with_values)


def _secret_line(key: DigestKey, raw: msgspec.Raw) -> bytes:
    obj = _secret(raw)
    content = secret_digests(obj.metadata.namespace, obj.metadata.name, obj.data, key)
    return snapshot.secret_line(obj, immutable=bool(obj.immutable), content=content)


def _workload_line(kind: str, raw: msgspec.Raw) -> bytes:
    obj = _workload(raw)
    return snapshot.workload_line(kind, obj.metadata, obj.spec)


async def _collection(
    client: Client, resource: Resource, name: str, scope: str, reduce: Reduce, out: BinaryIO
) -> int:
    """Write the lines of one collection; returns how many."""
    for attempt in range(_ATTEMPTS):
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as lines:
            count = 0

            def take(raw: msgspec.Raw, lines: tempfile.SpooledTemporaryFile[bytes] = lines) -> None:
                nonlocal count
                line = reduce(raw)
                with naming(tempfile.gettempdir()):
                    lines.write(line)
                count += 1

            try:
                await Pager(client, partial(resource.path, scope or None, None)).each(take)
            except NotFound:
                return 0  # a kind that this cluster does not have
            except Forbidden as error:
                out.write(snapshot.unreadable_line(name, scope, error.message))
                return 1
            except Gone:
                if attempt + 1 == _ATTEMPTS:
                    raise
                continue  # it took too long for one list: from the beginning
            lines.seek(0)
            shutil.copyfileobj(lines, out)
            return count
    raise AssertionError("not reached")


async def _namespaces(client: Client, names: Sequence[str], out: BinaryIO) -> int:
    """Of some namespaces, each is asked for by itself: a Role can allow that. Not to know them is no failure,
    for a controller of these namespaces works without as well."""
    if not names:
        reduce: Reduce = lambda raw: snapshot.namespace_line(_namespace(raw))  # noqa: E731
        return await _collection(client, NAMESPACES, "namespaces", "", reduce, out)
    lines = 0
    for name in names:
        try:
            found = _namespace(await client.get(NAMESPACES.path(None, name)))
        except Forbidden:
            continue
        out.write(snapshot.namespace_line(found))
        lines += 1
    return lines


async def _pods(client: Client, scope: str, out: BinaryIO) -> int:
    try:
        ages = await Ages(client).by_workload(scope)
    except Forbidden as error:
        out.write(snapshot.unreadable_line("pods", scope, error.message))
        return 1
    for workload, age in ages.items():
        out.write(snapshot.pods_line(workload, age))
    return len(ages)
