"""The objects of manifests: which they are, where they live in the API, and in which order they are applied."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO, Final

import msgspec
from msgspec import Struct

from reroll.core.kinds import KINDS, WorkloadKind
from reroll.core.records import WorkloadId
from reroll.kube.errors import NotFound
from reroll.kube.ports import Getter
from reroll.kube.resources import Resource
from reroll.manifests.problem import ManifestError
from reroll.manifests.stamp.run import sources
from reroll.manifests.stream import Document

_FIRST: Final = {"Namespace": 0, "CustomResourceDefinition": 1, "ConfigMap": 2, "Secret": 2}
_OTHERS, _WORKLOADS = 3, 4


class Manifest(Struct, frozen=True):
    """One object that is to be applied."""

    body: dict[str, Any]
    origin: str
    """Where it was read, for people."""

    @property
    def api_version(self) -> str:
        return str(self.body["apiVersion"])

    @property
    def group(self) -> str:
        return self.api_version.rpartition("/")[0]

    @property
    def kind(self) -> str:
        return str(self.body["kind"])

    @property
    def name(self) -> str:
        return str(self.body["metadata"]["name"])

    @property
    def namespace(self) -> str:
        """As it is written; "" where it is not."""
        return str(self.body["metadata"].get("namespace") or "")

    @property
    def workload_kind(self) -> WorkloadKind | None:
        """Its kind of workload, None where it is none."""
        kind = KINDS.get(self.kind)
        return kind if kind is not None and kind.group == self.group else None

    @property
    def rank(self) -> int:
        """Lower ones are applied first: namespaces, definitions, configuration, the rest, workloads."""
        if self.kind in _FIRST and self.group in ("", "apiextensions.k8s.io"):
            return _FIRST[self.kind]
        return _WORKLOADS if self.workload_kind is not None else _OTHERS


class Place(Struct, frozen=True):
    """Where an object lives."""

    resource: Resource
    namespace: str
    """"" for an object of the whole cluster."""
    name: str

    @property
    def path(self) -> str:
        return self.resource.path(self.namespace or None, self.name)

    def __str__(self) -> str:
        parts = (self.resource.kind.lower(), self.namespace, self.name)
        return "/".join(part for part in parts if part)

    @property
    def workload(self) -> WorkloadId:
        return WorkloadId(self.resource.kind, self.namespace, self.name)


def read_manifests(paths: Sequence[str], stdin: BinaryIO) -> list[Manifest]:
    """All objects of files, folders and "-", standard input. Raises ManifestError, also where there is none: what
    was to make them has failed."""
    with sources(paths, stdin) as given:
        found = [each for source in given for document in source.documents() for each in _manifests(document)]
    if not found:
        where = ", ".join("standard input" if path == "-" else path for path in paths)
        raise ManifestError(where, 0, 0, "holds no object to apply: did the command that writes it fail?")
    return found


def _manifests(document: Document) -> Iterator[Manifest]:
    if not document.placed and document.data is not None and not _is_list(document.data):
        raise ManifestError(
            document.origin, document.line, 0, "is no Kubernetes object: it has no apiVersion and kind"
        )
    for one in document.placed:
        line, column = document.where((*one.path, "metadata"))
        metadata = one.value.get("metadata")
        if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
            words = "has no metadata.name: only objects with a name can be applied"
            raise ManifestError(document.origin, line, column, f"{one.value['kind']} {words}")
        yield Manifest(one.value, f"{document.origin}:{line}")


def _is_list(data: object) -> bool:
    """An empty List."""
    return isinstance(data, dict) and str(data.get("kind", "")).endswith("List") and "apiVersion" in data


def in_order(manifests: Iterable[Manifest]) -> list[Manifest]:
    """In the order in which they are applied; those of one rank as they were given."""
    return sorted(manifests, key=lambda each: each.rank)


class _ApiResource(Struct, gc=False):
    name: str = ""
    kind: str = ""
    namespaced: bool = False


class _ApiResources(Struct, gc=False):
    resources: list[_ApiResource] = []


class Served:
    """What the API server serves, asked for once for each group and version."""

    def __init__(self, client: Getter) -> None:
        self._client = client
        self._known: dict[str, dict[str, Resource]] = {}

    async def resource(self, api_version: str, kind: str) -> Resource | None:
        """Where a kind lives; None where it is not served. Raises ApiError."""
        if api_version not in self._known:
            self._known[api_version] = await self._ask(api_version)
        return self._known[api_version].get(kind)

    def forget(self) -> None:
        """Ask again: a definition was added."""
        self._known.clear()

    async def _ask(self, api_version: str) -> dict[str, Resource]:
        group, _, version = api_version.rpartition("/")
        try:
            body = await self._client.get(f"/apis/{api_version}" if group else f"/api/{version}")
        except NotFound:
            return {}
        found = msgspec.json.decode(body, type=_ApiResources).resources
        return {
            each.kind: Resource(group, version, each.name, each.kind, namespaced=each.namespaced)
            for each in found
            if "/" not in each.name
        }
