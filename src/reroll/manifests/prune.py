"""Former generations of ConfigMaps and Secrets in a cluster: which there are, what names each, which may go.

A name with a hash is one of a kind, so that something names it can be told from the text alone, wherever it stands.
Every kind of object that the API server lists is looked through, not only those with pods: an old ReplicaSet or
ControllerRevision that a rollback would bring back, a custom resource of an operator, an Ingress.

Deleted is only what was opted in: by the label that `hash_names` writes, or by the name that a person gives. And
never what something names, nor the newest generation of a name, nor what is so young that whatever is to read it
may still be on its way.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import msgspec
from msgspec import Struct

from reroll.kube.client import Client
from reroll.kube.errors import ApiError, Conflict, Forbidden, Gone, NotFound
from reroll.kube.pages import METADATA_ONLY, Pager
from reroll.kube.resources import CONFIG_MAPS, SECRETS, Resource
from reroll.manifests.hash_names import BASE_NAME, GENERATED
from reroll.manifests.suffix_hash import ALPHABET, LENGTH

State: TypeAlias = Literal["newest", "named", "young", "unused", "deleted", "changed"]

_ATTEMPTS: Final = 3
_AT_ONCE: Final = 8
_SUFFIX = re.compile(rf"-([{ALPHABET}]{{{LENGTH}}})(?![a-z0-9])".encode())
_NAME = re.compile(rf"(?P<base>.+)-[{ALPHABET}]{{{LENGTH}}}\Z")
_PASSED_OVER: Final = frozenset(("events", "secrets", "leases"))
"""Events tell of names and read nothing. What is in Secrets is not asked for: nobody may read it for this."""
_NOT_STORED: Final = frozenset(
    ("metrics.k8s.io", "custom.metrics.k8s.io", "external.metrics.k8s.io", "events.k8s.io")
)
"""Groups whose objects nobody wrote."""
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


class _Served(Struct, gc=False):
    name: str = ""
    kind: str = ""
    namespaced: bool = False
    verbs: list[str] = []


class _Resources(Struct, gc=False):
    resources: list[_Served] | None = None


class _Version(Struct, gc=False, rename="camel"):
    group_version: str = ""


class _Group(Struct, gc=False, rename="camel"):
    name: str = ""
    preferred_version: _Version = msgspec.field(default_factory=_Version)


class _Groups(Struct, gc=False):
    groups: list[_Group] | None = None


_object = msgspec.json.Decoder(_Object).decode
_resources = msgspec.json.Decoder(_Resources).decode
_groups = msgspec.json.Decoder(_Groups).decode


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

    done = await _together([one(generation) for generation in found.generations])
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
    names: dict[bytes, set[bytes]] = {}
    for one in found:
        names.setdefault(one.meta.name[-LENGTH:].encode(), set()).add(one.meta.name.encode())
    named: dict[tuple[str, str], list[str]] = {}
    unreadable: set[str] = set()
    if not found:
        return found, named, unreadable
    gate = asyncio.Semaphore(_AT_ONCE)
    homes: dict[str, set[str]] = {}
    for one in found:
        homes.setdefault(one.meta.name, set()).add(one.meta.namespace)

    async def through(resource: Resource, scope: str) -> None:
        async with gate:
            try:
                await _search(client, resource, scope, names, homes, named)
            except (Forbidden, NotFound) as error:
                if resource.id in _MUST_BE_READ:
                    raise
                if isinstance(error, Forbidden):
                    unreadable.add(resource.id)
            except ApiError as error:
                if resource.id in _MUST_BE_READ or error.status not in (405, 503):
                    raise
                unreadable.add(resource.id)

    served = await _served(client, unreadable)
    await _together(
        [through(each, scope) for each in served for scope in (scopes if each.namespaced else ("",))]
    )
    return found, named, unreadable


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

    await _listed(client, path, take, METADATA_ONLY, found.clear)
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


async def _served(client: Client, unreadable: set[str]) -> list[Resource]:
    """Every kind that can be listed, in the version that the server prefers."""
    groups = _groups(await client.get("/apis")).groups or ()
    versions = ["v1", *(one.preferred_version.group_version for one in groups if one.name not in _NOT_STORED)]
    found: list[Resource] = []
    for each in versions:
        group_name, _, version = each.rpartition("/")
        try:
            body = await client.get(f"/apis/{each}" if group_name else f"/api/{version}")
        except ApiError:
            if group_name in ("apps", "batch", ""):
                raise
            unreadable.add(each)  # an aggregated API that is down
            continue
        found += [
            Resource(group_name, version, served.name, served.kind, served.namespaced, bool(group_name))
            for served in _resources(body).resources or ()
            if "list" in served.verbs and "/" not in served.name and served.name not in _PASSED_OVER
        ]
    return found


async def _search(
    client: Client,
    resource: Resource,
    scope: str,
    names: dict[bytes, set[bytes]],
    homes: dict[str, set[str]],
    named: dict[tuple[str, str], list[str]],
) -> None:
    """Look through all objects of a kind for the names, and note what names which."""
    hits: dict[tuple[str, str], list[str]] = {}

    def path(**query: Any) -> str:
        return resource.path(scope or None, **query)

    def take(raw: msgspec.Raw) -> None:
        text = bytes(raw)
        if not _names_in(text, names):
            return
        value: dict[str, Any] = msgspec.json.decode(text)
        value.pop("status", None)  # tells what there is, and reads nothing
        metadata = value.get("metadata") or {}
        metadata.pop("managedFields", None)
        itself = metadata.pop("name", "")
        home = metadata.get("namespace") or ""
        by = f"{resource.kind.lower()}/{itself}"
        if resource == CONFIG_MAPS:
            annotations = metadata.get("annotations") or {}
            annotations.pop("kubectl.kubernetes.io/last-applied-configuration", None)  # its own name
        for name in _names_in(msgspec.json.encode(value), names):
            for namespace in homes[name]:
                if home and home != namespace and f'"namespace":"{namespace}"'.encode() not in text:
                    continue  # equal content has equal names in every namespace
                hits.setdefault((namespace, name), []).append(by)

    await _listed(client, path, take, None, hits.clear)
    for key, several in hits.items():
        named.setdefault(key, []).extend(several)


def _names_in(text: bytes, names: dict[bytes, set[bytes]]) -> set[str]:
    """Which of the names, given by their suffixes, stand in a text: each as the end of a word."""
    return {
        name.decode()
        for match in _SUFFIX.finditer(text)
        for name in names.get(match[1], ())
        if text.endswith(name, 0, match.end())
    }


async def _listed(
    client: Client,
    path: Callable[..., str],
    take: Callable[[msgspec.Raw], object],
    accept: str | None,
    begin_again: Callable[[], object],
) -> None:
    """A whole list, page by page; again from its beginning when the server forgot where we were."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            await Pager(client, path, accept=accept).each(take)
            return
        except Gone:
            begin_again()
            if attempt == _ATTEMPTS:
                raise


async def _together(jobs: Sequence[Any]) -> list[Any]:
    """All at once; the first failure ends them, and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(job) for job in jobs]
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time.replace("Z", "+00:00")).timestamp() if time else 0.0
