"""Every kind of object that an API server lists."""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec
from msgspec import Struct

from reroll.kube.client import Client
from reroll.kube.errors import ApiError
from reroll.kube.resources import Resource
from reroll.manifests.together import together

_AT_ONCE: Final = 8
_NOT_STORED: Final = frozenset(
    ("metrics.k8s.io", "custom.metrics.k8s.io", "external.metrics.k8s.io", "events.k8s.io")
)
"""Groups whose objects nobody wrote."""
_OWN_GROUPS: Final = frozenset(("", "apps", "batch"))
"""Those of the workloads that Kubernetes has itself; without them nothing can be told."""


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
    versions: list[_Version] = []
    preferred_version: _Version = msgspec.field(default_factory=_Version)


class _Groups(Struct, gc=False):
    groups: list[_Group] | None = None


_resources = msgspec.json.Decoder(_Resources).decode
_groups = msgspec.json.Decoder(_Groups).decode


async def served_kinds(client: Client) -> tuple[list[Resource], set[str]]:
    """(every kind that can be listed, group/versions that did not answer).

    A kind is given once: in the version that the server prefers, or else in one that has it, for a kind can be in an
    older version of its group only. An aggregated API that is down is not answered for. Raises ApiError.
    """
    groups = [
        group for group in _groups(await client.get("/apis")).groups or () if group.name not in _NOT_STORED
    ]
    silent: set[str] = set()
    gate = asyncio.Semaphore(_AT_ONCE)

    async def of_version(group: str, version: str) -> list[Resource]:
        path = f"/apis/{group}/{version}" if group else f"/api/{version}"
        async with gate:
            try:
                body = await client.get(path)
            except ApiError:
                if group in _OWN_GROUPS:
                    raise
                silent.add(f"{group}/{version}")
                return []
        return [
            Resource(group, version, one.name, one.kind, one.namespaced, bool(group))
            for one in _resources(body).resources or ()
            if "list" in one.verbs and "/" not in one.name
        ]

    jobs = [of_version("", "v1")]
    for group in groups:
        first = group.preferred_version.group_version
        every = dict.fromkeys([first, *(version.group_version for version in group.versions)])
        jobs += [of_version(group.name, each.rpartition("/")[2]) for each in every if each]
    found: dict[str, Resource] = {}
    for resources in await together(jobs):
        for resource in resources:
            found.setdefault(resource.id, resource)
    return list(found.values()), silent
