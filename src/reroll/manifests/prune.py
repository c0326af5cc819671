"""Former generations of ConfigMaps and Secrets in a cluster: which there are, what names each, which may go.

Every kind of object that the API server lists is looked through, not only those with pods: an old ReplicaSet or
ControllerRevision that a rollback would bring back, a custom resource of an operator, an Ingress.

Deleted is only what was opted in: by the label that `hash_names` writes, or by the name that a person gives. And
never what something names, nor the newest generation of a name, nor what is so young that whatever is to read it
may still be on its way.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import msgspec
from msgspec import Struct

from reroll.core.suffix_hash import ALPHABET, LENGTH
from reroll.kube.client import Client
from reroll.kube.errors import ApiError, Conflict, Forbidden, NotFound
from reroll.kube.pages import METADATA_ONLY, read_list
from reroll.kube.resources import CONFIG_MAPS, SECRETS, Resource
from reroll.manifests.hash_names import BASE_NAME, GENERATED
from reroll.manifests.name_search import NameSearch
from reroll.manifests.served_kinds import served_kinds
from reroll.manifests.together import together

State: TypeAlias = Literal["newest", "named", "young", "unused", "deleted", "changed"]

_AT_ONCE: Final = 8
_NAME = re.compile(rf"(?P<base>.+)-[{ALPHABET}]{{{LENGTH}}}\Z")
_PASSED_OVER: Final = frozenset(("events", "secrets", "leases.coordination.k8s.io"))
"""Events tell of names and read nothing. What is in Secrets is not asked for: nobody may read it for this."""
_MUST_BE_READ: Final = frozenset(
    (
        "pods",
        "podtemplates",
        "replicationcontrollers",
        "serviceaccounts",
        "replicasets.apps",
        "controllerrevisions.apps",
        "deployments.apps",
        "statefulsets.apps",
        "daemonsets.apps",
        "jobs.batch",
        "cronjobs.batch",
    )
)
"""Without these nothing can be told."""


class Generation(Struct, frozen=True):
    """One object that a generator made, and what is to be known before it may go."""

    kind: Literal["ConfigMap", "Secret"]
    namespace: str
    name: str
    base: str
    """What it is called in the manifests."""
    created: str
    """When, as the API server writes it."""
    state: State
    """newest: the last one of its base name; named: something names it; young: not old enough; unused: may go;
    deleted; changed: it was written to or deleted meanwhile, and left."""
    uid: str
    resource_version: str
    named_by: tuple[str, ...] = ()
    """What names it, as kind/name."""


class Found(Struct, frozen=True):
    """The generations, and which kinds could not be looked through."""

    generations: tuple[Generation, ...]
    unreadable: tuple[str, ...] = ()


class Base(NamedTuple):
    """What a person names: all with this name and a suffix are generations of it."""

    kind: str
    name: str


class _Meta(Struct, gc=False, rename="camel"):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    creation_timestamp: str = ""
    deletion_timestamp: str | None = None
    annotations: dict[str, str] | None = None
    labels: dict[str, str] | None = None
    owner_references: list[msgspec.Raw] | None = None


class _Object(Struct, gc=False):
    metadata: _Meta
    kind: str = ""


_object = msgspec.json.Decoder(_Object).decode


class _Candidate(NamedTuple):
    resource: Resource
    meta: _Meta
    base: str


async def survey(
    client: Client,
    *,
    now: float,
    namespaces: Sequence[str] = (),
    bases: Iterable[Base] = (),
    min_age: float = 0.0,
) -> Found:
    """The generations in these namespaces, or () all, with what names each.

    `now` in seconds since the epoch; `min_age` in seconds. `bases` are names whose generations are opted in although
    they carry no label. Raises ApiError when ConfigMaps, Secrets or kinds with pods can't be listed.
    """
    found, named, unreadable = await _look(client, namespaces, tuple(bases))
    newest = _newest(found)
    generations: list[Generation] = []
    for one in found:
        key = (one.resource.kind, one.meta.namespace, one.meta.name)
        by = named.get((one.meta.namespace, one.meta.name), ())
        state: State = "unused"
        if by:
            state = "named"
        elif key in newest:
            state = "newest"
        elif now - _seconds(one.meta.creation_timestamp) < min_age:
            state = "young"
        generations.append(
            Generation(
                "Secret" if one.resource is SECRETS else "ConfigMap",
                one.meta.namespace,
                one.meta.name,
                one.base,
                one.meta.creation_timestamp,
                state,
                one.meta.uid,
                one.meta.resource_version,
                tuple(sorted(by)),
            )
        )
    generations.sort(key=lambda one: (one.namespace, one.kind, one.base, one.created, one.name))
    return Found(tuple(generations), tuple(sorted(unreadable)))


async def delete_unused(client: Client, found: Found) -> Found:
    """Delete what is unused, unless it was written to since it was looked at. Raises ApiError."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(generation: Generation) -> Generation:
        if generation.state != "unused":
            return generation
        resource = SECRETS if generation.kind == "Secret" else CONFIG_MAPS
        held = {"uid": generation.uid, "resourceVersion": generation.resource_version}
        async with gate:
            try:
                await client.delete(
                    resource.path(generation.namespace, generation.name),
                    msgspec.json.encode({"preconditions": held}),
                )
            except (NotFound, Conflict):
                return msgspec.structs.replace(generation, state="changed")
        return msgspec.structs.replace(generation, state="deleted")

    done = await together(one(generation) for generation in found.generations)
    return msgspec.structs.replace(found, generations=tuple(done))


async def _look(
    client: Client, namespaces: Sequence[str], bases: tuple[Base, ...]
) -> tuple[list[_Candidate], dict[tuple[str, str], list[str]], set[str]]:
    """(candidates, what names each by namespace and name, kinds that can't be read)."""
    scopes = tuple(namespaces) or ("",)
    found: list[_Candidate] = []
    for resource in (CONFIG_MAPS, SECRETS):
        for scope in scopes:
            found += await _candidates(client, resource, scope, bases)
    if not found:
        return found, {}, set()
    search = NameSearch((one.meta.namespace, one.meta.name) for one in found)
    served, unreadable = await served_kinds(client)
    gate = asyncio.Semaphore(_AT_ONCE)

    async def through(resource: Resource, scope: str) -> None:
        async with gate:
            try:
                await search.through(client, resource, scope)
            except (Forbidden, NotFound) as error:
                if resource.id in _MUST_BE_READ:
                    raise
                if isinstance(error, Forbidden):
                    unreadable.add(resource.id)
            except ApiError as error:
                if resource.id in _MUST_BE_READ or error.status not in (405, 503):
                    raise
                unreadable.add(resource.id)

    await together(
        through(each, scope)
        for each in served
        if each.id not in _PASSED_OVER
        for scope in (scopes if each.namespaced else ("",))
    )
    return found, search.named_by, unreadable


async def _candidates(
    client: Client, resource: Resource, scope: str, bases: tuple[Base, ...]
) -> list[_Candidate]:
    """What is opted in, of one kind."""
    ours = {base.name for base in bases if base.kind == resource.kind}
    selector = None if ours else f"{GENERATED}=true"
    found: list[_Candidate] = []

    def path(**query: Any) -> str:
        return resource.path(scope or None, labelSelector=selector, **query)

    def take(raw: msgspec.Raw) -> None:
        meta = _object(raw).metadata
        match = _NAME.match(meta.name)
        if match is None or meta.deletion_timestamp is not None or meta.owner_references:
            return  # what has an owner goes when that goes
        marked = (meta.labels or {}).get(GENERATED) == "true"
        own = (meta.annotations or {}).get(BASE_NAME)
        if (marked and own == match["base"]) or match["base"] in ours:
            found.append(_Candidate(resource, meta, match["base"]))

    await read_list(client, path, take, begin_again=found.clear, accept=METADATA_ONLY)
    return found


def _newest(found: Sequence[_Candidate]) -> set[tuple[str, str, str]]:
    """The last made of each base name; all that were made in the same second."""
    last: dict[tuple[str, str, str], str] = {}
    for one in found:
        key = (one.resource.kind, one.meta.namespace, one.base)
        last[key] = max(last.get(key, ""), one.meta.creation_timestamp)
    return {
        (one.resource.kind, one.meta.namespace, one.meta.name)
        for one in found
        if last[one.resource.kind, one.meta.namespace, one.base] == one.meta.creation_timestamp
    }


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time.replace("Z", "+00:00")).timestamp() if time else 0.0
