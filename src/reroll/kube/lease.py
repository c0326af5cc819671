"""A Lease (``coordination.k8s.io/v1``) as one of those who share it sees it: read, write and watch it.

Every write is on top of what was read last, so of two writes the server takes one. What others put on the object
stays there. https://kubernetes.io/docs/concepts/architecture/leases/
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import msgspec

from reroll.kube.errors import NotFound
from reroll.kube.ports import LeaseClient
from reroll.kube.resources import Resource

LEASES: Final = Resource("coordination.k8s.io", "v1", "leases", "Lease")

_WATCH_SECONDS = 600


class LeaseSpec(msgspec.Struct, frozen=True, rename="camel"):
    """Who holds a Lease, and the times as they stand there. Any change of it is a sign of life."""

    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None


class Lease:
    """One Lease, as it was last read or written. Methods raise ApiError, and msgspec.MsgspecError for an answer that
    is no Lease; then it stays as it was."""

    def __init__(self, client: LeaseClient, namespace: str, name: str) -> None:
        self.namespace, self.name = namespace, name
        self._client = client
        self._object: dict[str, Any] | None = None
        self._path = LEASES.path(namespace, name)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def known(self) -> bool:
        """It exists, as far as is known."""
        return self._object is not None

    def annotation(self, name: str) -> str | None:
        """An annotation as it was last read or written; None where it has none."""
        if self._object is None:
            return None
        value = (self._object["metadata"].get("annotations") or {}).get(name)
        return None if value is None else str(value)

    def forget(self) -> None:
        """It was deleted: the next write creates it."""
        self._object = None

    async def read(self) -> LeaseSpec:
        """The Lease as it is in etcd now. Raises NotFound, and forgets it then."""
        try:
            answer = await self._client.get(self._path, attempts=1)
        except NotFound:
            self.forget()
            raise
        return self._take_in(answer)

    async def write(self, spec: LeaseSpec, annotations: Mapping[str, str | None]) -> LeaseSpec:
        """Replace the spec, and set these annotations (None: remove it); create the Lease where it is not known.

        Raises Conflict where it was written since it was read, AlreadyExists where it was created, and NotFound where
        it was deleted.
        """
        written = msgspec.to_builtins(spec)
        told = {name: value for name, value in annotations.items() if value is not None}
        if self._object is None:
            lease = {
                "apiVersion": LEASES.api_version,
                "kind": LEASES.kind,
                "metadata": {"name": self.name, "namespace": self.namespace, "annotations": told},
                "spec": written,
            }
            path = LEASES.path(self.namespace)
            return self._take_in(await self._client.create(path, msgspec.json.encode(lease), attempts=1))
        metadata = {k: v for k, v in self._object["metadata"].items() if k != "managedFields"}
        others = {k: v for k, v in (metadata.get("annotations") or {}).items() if k not in annotations}
        metadata["annotations"] = others | told
        lease = self._object | {"metadata": metadata, "spec": (self._object.get("spec") or {}) | written}
        return self._take_in(await self._client.replace(self._path, msgspec.json.encode(lease), attempts=1))

    def watch(self) -> AbstractAsyncContextManager[Any] | None:
        """Its changes since it was last read or written; None while it is not known.

        Never without a version: the API server answers such a watch from etcd (kubernetes #123448).
        """
        if self._object is None:
            return None
        path = LEASES.path(
            self.namespace,
            watch=True,
            fieldSelector=f"metadata.name={self.name}",
            resourceVersion=self._object["metadata"].get("resourceVersion") or "0",
            allowWatchBookmarks=True,
            timeoutSeconds=_WATCH_SECONDS,
        )
        return self._client.stream(path)

    def _take_in(self, body: bytes) -> LeaseSpec:
        lease = msgspec.json.decode(body, type=dict[str, Any])
        if not isinstance(lease.get("metadata"), dict):
            raise msgspec.ValidationError("it has no metadata")
        spec = msgspec.convert(lease.get("spec") or {}, LeaseSpec)
        self._object = lease
        return spec
