"""Garbage collection of copies: one pass over the cluster.

Nothing is deleted on incomplete knowledge: where one kind of object can't be listed, the pass ends and says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from functools import partial
from typing import Any, Final, Protocol

import msgspec
import structlog

from reroll.core.kinds import WorkloadKind
from reroll.core.records import ConfigKind
from reroll.core.times import timestamp
from reroll.kube.errors import ApiError, Conflict, NotFound
from reroll.kube.pages import METADATA_ONLY, read_list
from reroll.kube.ports import Deleter, Lister, Patcher
from reroll.kube.resources import CONFIG_MAPS, PODS, REPLICA_SETS, SECRETS, Resource
from reroll.versions.copies import SOURCE, UNUSED_SINCE, Copy, read_copy
from reroll.versions.garbage import Plan, expendable, names_in, plan

log = structlog.get_logger("reroll.versions")

CONTROLLER_REVISIONS: Final = Resource("apps", "v1", "controllerrevisions", "ControllerRevision")
REPLICATION_CONTROLLERS: Final = Resource("", "v1", "replicationcontrollers", "ReplicationController")
RESOURCES: Final[dict[ConfigKind, Resource]] = {"configmap": CONFIG_MAPS, "secret": SECRETS}

_HISTORY: Final = (REPLICA_SETS, CONTROLLER_REVISIONS, PODS)
"""What holds templates of the past, and pods. They come after what makes them, so that nothing is missed between."""
_FEW: Final = 5
"""Namespaces that are listed one by one."""


class Api(Lister, Patcher, Deleter, Protocol):
    """What a pass asks of the API server."""


async def list_copies(
    api: Lister, namespaces: Sequence[str], kinds: Iterable[ConfigKind], *, source: str = ""
) -> list[Copy]:
    """The copies of these namespaces (("",): of all). `source`: a value of the label, "" for all sources. Raises
    ApiError."""
    found: list[Copy] = []
    for kind in kinds:
        for namespace in namespaces:
            begun = len(found)

            def take(raw: msgspec.Raw, kind: ConfigKind = kind) -> None:
                copy = read_copy(msgspec.json.decode(raw), kind)
                if copy is not None:
                    found.append(copy)

            def again(begun: int = begun) -> None:
                del found[begun:]

            selector = f"{SOURCE}={source}" if source else SOURCE
            path = partial(RESOURCES[kind].path, namespace or None, None, labelSelector=selector)
            await read_list(api, path, take, begin_again=again, accept=METADATA_ONLY)
    return found


async def collect(
    api: Api,
    kinds: Collection[WorkloadKind],
    now: float,
    *,
    namespaces: Sequence[str] = ("",),
    config_kinds: Iterable[ConfigKind] = ("configmap", "secret"),
) -> Plan:
    """One pass; gives what was done. `kinds`: the workloads that the cluster serves. Raises ApiError."""
    copies = await list_copies(api, namespaces, config_kinds)
    concerned = {copy.config.namespace for copy in expendable(copies, now)}
    concerned |= {copy.config.namespace for copy in copies if copy.unused_since}
    if not concerned:
        return Plan()
    wanted = {(copy.config.namespace, copy.config.name) for copy in copies}
    named = await _named(api, kinds, sorted(concerned), namespaces, wanted)
    todo = plan([copy for copy in copies if copy.config.namespace in concerned], named, now)
    for copy in todo.mark:
        await _mark(api, copy, now)
    for copy in todo.unmark:
        await _mark(api, copy, None)
    for copy in todo.delete:
        await _delete(api, copy)
    return todo


async def _named(
    api: Lister,
    kinds: Collection[WorkloadKind],
    concerned: Sequence[str],
    namespaces: Sequence[str],
    wanted: set[tuple[str, str]],
) -> set[tuple[str, str]]:
    """What of `wanted` is named by anything in these namespaces."""
    named: set[tuple[str, str]] = set()

    def take(raw: msgspec.Raw) -> None:
        names = names_in(bytes(raw))
        if names:
            home = msgspec.json.decode(raw, type=_Named).metadata.namespace
            named.update((home, name) for name in names if (home, name) in wanted)

    workloads = [Resource(k.group, k.version, k.plural, k.kind) for k in kinds]
    optional = {k.plural for k in kinds if k.optional}
    places = concerned if len(concerned) <= _FEW or namespaces != ("",) else ("",)
    for resource in (*workloads, *_HISTORY):
        for namespace in places:
            path = partial(resource.path, namespace or None, None)
            try:
                await read_list(api, path, take, begin_again=lambda: None)
            except NotFound:
                if resource.plural not in optional:
                    raise
            await asyncio.sleep(0)
    return named


async def _mark(api: Patcher, copy: Copy, since: float | None) -> None:
    """Mark as unused, or no longer. Whoever changed it meanwhile had a reason to: the next pass looks again."""
    annotations = {UNUSED_SINCE: None if since is None else timestamp(since)}
    metadata: dict[str, Any] = {"annotations": annotations, "resourceVersion": copy.resource_version}
    try:
        await api.patch(_path(copy), msgspec.json.encode({"metadata": metadata}))
    except (Conflict, NotFound):
        return


async def _delete(api: Deleter, copy: Copy) -> None:
    """Delete exactly what was looked at: an object of its name that was made or touched since then stays."""
    preconditions = {"uid": copy.uid, "resourceVersion": copy.resource_version}
    body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions}
    try:
        await api.delete(_path(copy), msgspec.json.encode(body), attempts=1)
    except (Conflict, NotFound):
        return
    except ApiError as error:
        log.warning("a version was not deleted", version=copy.config.short(""), error=str(error))
        return
    short = f"{copy.config.kind}/{copy.config.namespace}/{copy.config.name}"
    log.info("version deleted", version=short, source=copy.source, reason="nothing names it any more")


def _path(copy: Copy) -> str:
    return RESOURCES[copy.config.kind].path(copy.config.namespace, copy.config.name)


class _Meta(msgspec.Struct, gc=False):
    namespace: str = ""


class _Named(msgspec.Struct, gc=False):
    metadata: _Meta
