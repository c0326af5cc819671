"""One object of a manifest and its counterpart in the cluster: where it lives, what it was, and applying it.

Server-side apply (https://kubernetes.io/docs/reference/using-api/server-side-apply/): the server merges, checks and
defaults, and tells the outcome, in a dry run too. What the object was before is read just before. Of Secrets and
ConfigMaps only digests outlive the comparison, made with a key that is forgotten with the command.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Struct

from reroll.core.digests import KEY_SIZE, SIZE, DigestKey, config_map_digests, secret_digests
from reroll.core.policy import config_flags
from reroll.kube.client import APPLY_PATCH, Client
from reroll.kube.errors import ApiError, Conflict, NotFound
from reroll.kube.resources import Resource
from reroll.pipeline.manifests import Given

Action: TypeAlias = Literal["created", "changed", "unchanged", "not known"]

_BOOKKEEPING: Final = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp")
_ASKED_EVERY: Final = 0.2


class Applied(Struct, frozen=True):
    """What became, or in a dry run would become, of one object."""

    kind: str
    namespace: str
    name: str
    action: Action
    """`not known`: a dry run can't tell, for its namespace or its kind is only made along with it."""
    keys: tuple[str, ...] = ()
    """Of a ConfigMap or Secret: those whose content is another, sorted."""
    place: str = ""
    new_pods: bool = False
    """Its pod template is another, so its own controller starts a rollout."""
    ignored: bool = False
    """An annotation on this config object says that nothing is restarted for it (``reroll.dev/ignore``)."""

    def __str__(self) -> str:
        where = f"{self.namespace}/" if self.namespace else ""
        return f"{self.kind.lower()}/{where}{self.name}"


class _ApiResource(Struct, gc=False):
    name: str
    kind: str
    namespaced: bool = False


class _ApiResources(Struct, gc=False):
    resources: list[_ApiResource] | None = None


class UnknownKind(Exception):
    """The API server does not serve the kind of an object."""


class Objects:
    """Applies objects, one at a time or several at once. `namespace` is that of objects that name none."""

    def __init__(self, client: Client, namespace: str, *, force: bool = False) -> None:
        self._client, self._namespace, self._force = client, namespace, force
        self._served: dict[str, dict[str, _ApiResource]] = {}
        self._key = DigestKey(os.urandom(KEY_SIZE))

    async def resource(self, given: Given) -> Resource:
        """Where its kind lives. Raises UnknownKind and ApiError."""
        version = given.api_version
        kinds = self._served.get(version)
        if kinds is None or given.kind not in kinds:
            kinds = self._served[version] = await self._discover(version)
        found = kinds.get(given.kind)
        if found is None:
            raise UnknownKind(
                f"the API server serves no {given.kind} of {version}: is its CustomResourceDefinition installed?"
            )
        group, _, number = version.rpartition("/")
        return Resource(group, number, found.name, given.kind, found.namespaced)

    async def _discover(self, version: str) -> dict[str, _ApiResource]:
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        try:
            body = await self._client.get(root)
        except NotFound:
            return {}
        found = msgspec.json.decode(body, type=_ApiResources).resources or ()
        return {each.kind: each for each in found if "/" not in each.name}

    def namespace_of(self, given: Given, resource: Resource) -> str:
        """The namespace it lands in, "" where its kind has none."""
        return (given.namespace or self._namespace) if resource.namespaced else ""

    async def apply(self, given: Given, *, dry_run: bool) -> Applied:
        """Apply one object. Raises UnknownKind and ApiError; NotFound also where its namespace is not there."""
        resource = await self.resource(given)
        namespace = self.namespace_of(given, resource)
        path = resource.path(namespace or None, given.name)
        try:
            before: dict[str, Any] | None = msgspec.json.decode(await self._client.get(path))
        except NotFound:
            before = None
        value = given.value
        if namespace and not given.namespace:
            value = {**value, "metadata": {**value["metadata"], "namespace": namespace}}
        body = msgspec.json.encode(value)
        try:
            answer = await self._client.patch(
                f"{path}?dryRun=All" if dry_run else path,
                body,
                content_type=APPLY_PATCH,
                attempts=4,
                force=self._force,
            )
        except Conflict as error:
            if "conflict" not in error.message:
                raise
            raise Conflict(
                f"{error.message}; another manager owns a field of it: leave the field out of the manifest, or take "
                f"it over with --force-conflicts",
                status=error.status,
                reason=error.reason,
                request=error.request,
            ) from error
        after: dict[str, Any] = msgspec.json.decode(answer)
        keys: tuple[str, ...] = ()
        ignored = False
        if resource.group == "" and resource.kind in ("ConfigMap", "Secret"):
            keys = _differing(self._digests(before, namespace), self._digests(after, namespace))
            ignored = config_flags(after["metadata"].get("annotations") or {}).ignored
        return Applied(
            kind=given.kind,
            namespace=namespace,
            name=given.name,
            action="created" if before is None else "unchanged" if _same(before, after) else "changed",
            keys=keys,
            place=given.place,
            new_pods=before is not None and _template(before) != _template(after),
            ignored=ignored,
        )

    def _digests(self, obj: Mapping[str, Any] | None, namespace: str) -> dict[str, bytes]:
        """The keys of a ConfigMap or Secret, each with a digest of its content."""
        if obj is None:
            return {}
        if obj.get("kind") == "Secret":
            keys, joined = secret_digests(namespace, obj["metadata"]["name"], obj.get("data"), self._key)
        else:
            keys, joined = config_map_digests(obj.get("data"), obj.get("binaryData"))
        return {key: joined[number * SIZE : (number + 1) * SIZE] for number, key in enumerate(keys)}

    async def established(self, given: Given) -> None:
        """Wait until a CustomResourceDefinition that was applied is served. The caller limits the time."""
        resource = await self.resource(given)
        while True:
            body = msgspec.json.decode(await self._client.get(resource.path(None, given.name)))
            conditions = (body.get("status") or {}).get("conditions") or ()
            if any(each["type"] == "Established" and each["status"] == "True" for each in conditions):
                return
            await asyncio.sleep(_ASKED_EVERY)


def _differing(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> tuple[str, ...]:
    return tuple(sorted(key for key in {*before, *after} if before.get(key) != after.get(key)))


def _template(obj: Mapping[str, Any]) -> object:
    spec = obj.get("spec")
    return spec.get("template") if isinstance(spec, Mapping) else None


def _same(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Nothing but the server's own bookkeeping differs."""
    return _essence(before) == _essence(after)


def _essence(obj: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {key: value for key, value in obj["metadata"].items() if key not in _BOOKKEEPING}
    return {**{key: value for key, value in obj.items() if key != "status"}, "metadata": metadata}


def words_of(error: ApiError | UnknownKind) -> str:
    """What the server said, for people."""
    return error.message if isinstance(error, ApiError) else str(error)
