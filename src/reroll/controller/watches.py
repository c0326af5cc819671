"""Every watch of the controller: what is watched, into which part of the store, and how each fares.

One watch per resource, in each namespace to work in, or in all at once. Kinds that not every cluster serves are
watched while they are served (`controller.served`); reroll is ready without them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from typing import Any, TypeAlias

import msgspec
import structlog

from reroll.controller import class_statuses
from reroll.controller.class_statuses import Classes, ClassObject, ClassStatuses, Statuses, StatusObject
from reroll.controller.handlers import Configs, Namespaces, Workloads
from reroll.controller.served import ServedKinds
from reroll.controller.store import Store
from reroll.controller.tasks import Start
from reroll.core.kinds import WorkloadKind
from reroll.core.observe import ConfigMapObject, NamespaceObject, SecretObject, object_type
from reroll.core.records import ConfigKind
from reroll.kube.client import Client
from reroll.kube.errors import ApiError
from reroll.kube.reflector import Collection, Handler, Reflector, Statistics
from reroll.kube.resources import CONFIG_MAPS, NAMESPACES, SECRETS, Resource
from reroll.settings import Settings

log = structlog.get_logger("reroll")

SERVED_POLL = 15.0
"""Seconds between two questions which kinds are served."""

GATHER = 0.025
"""Seconds that events of workloads may gather in. Nearly all of them are news of pods, many at a time, and concern
nobody; what is decided on is config objects, and theirs are read as they come."""

_NAMESPACE_POLL = 60.0
_KINDS_OF = {"configmaps": "configmap", "secrets": "secret"}

_decode_namespace = msgspec.json.Decoder(NamespaceObject).decode

AnyReflector: TypeAlias = Reflector[Any]


class Watches:
    """Reflectors of all that the settings name. `start` starts them, `read` waits until they have read everything.

    `kinds`: the kinds of workload, by `WorkloadKind.id`; what a custom one's objects are called is learned and put
    in. `config_kinds`: the kinds of config object. `failed` is called for each failure of a handler.
    """

    def __init__(
        self,
        client: Client,
        store: Store,
        settings: Settings,
        kinds: MutableMapping[str, WorkloadKind],
        config_kinds: Sequence[ConfigKind],
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        self._client, self._store, self._kinds, self._config_kinds = client, store, kinds, config_kinds
        self._failed = failed
        self._selector = settings.workload_selector
        self._namespaces = settings.namespaces
        self._scopes = settings.namespaces or ("",)
        self._classes = ClassStatuses(store)
        self._told: dict[tuple[str, str], str] = {}
        """(resource, namespace) -> its problem as it was last logged: each is said once."""
        self.required: list[AnyReflector] = list(self._make())
        self.optional: list[AnyReflector] = []
        self._served = [ServedKinds(client, kinds, self._follow, asked_every=SERVED_POLL)]
        if "secretproviderclass" in config_kinds:
            of_the_driver = dict(class_statuses.KINDS)
            self._served.append(
                ServedKinds(client, of_the_driver, self._follow_classes, asked_every=SERVED_POLL)
            )

    # --- start ---------------------------------------------------------------------------------------

    async def read(self, start: Start) -> None:
        """Start every watch, and wait until each collection was listed or refused."""
        for reflector in self.required:
            start(reflector.run(), f"watch {reflector.resource.plural} {reflector.namespace}")
        for namespace in self._namespaces:
            start(self._poll_namespace(namespace), f"namespace {namespace}")
        while not all(s.synced or s.state == "refused" for s in self.statistics()):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        for served in self._served:
            start(served.run(), "kinds that are served")
        for served in self._served:
            await served.asked.wait()
        while any(s.state in ("starting", "listing") for s in self.of_optional()):  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    def _make(self) -> Iterator[AnyReflector]:
        """Those of what every cluster serves."""
        if not self._namespaces:
            yield self._reflector(Collection(NAMESPACES, NamespaceObject), Namespaces(self._store))
        for scope in self._scopes:
            if "configmap" in self._config_kinds:
                yield self._of_configs(CONFIG_MAPS, "configmap", ConfigMapObject, scope)
            if "secret" in self._config_kinds:
                yield self._of_configs(SECRETS, "secret", SecretObject, scope)
            for kind in self._kinds.values():
                if not kind.optional:
                    yield self._of_workloads(kind, Workloads(self._store, kind.id, scope), scope)

    def _reflector(
        self,
        collection: Collection[Any],
        handler: Handler[Any],
        listed: Callable[[str, str, str], None] | None = None,
    ) -> AnyReflector:
        return Reflector[Any](
            self._client,
            collection,
            handler,
            listed=listed,
            on_state=self._on_state,
            on_fault=self._failed,
        )

    def _of_configs(
        self, resource: Resource, kind: ConfigKind, object_type: type, scope: str
    ) -> AnyReflector:
        """Its lists bring names only: what is in an object is read by `controller.reader` where it counts."""
        handler = Configs(self._store, kind, scope)
        return self._reflector(Collection(resource, object_type, scope), handler, handler.listed)

    def _of_workloads(self, kind: WorkloadKind, handler: Workloads, scope: str) -> AnyReflector:
        resource = Resource(kind.group, kind.version, kind.plural, kind.kind, custom=kind.custom)
        collection = Collection(resource, object_type(kind), scope, self._selector, gather=GATHER)
        return self._reflector(collection, handler)

    async def _follow(self, kind: WorkloadKind) -> None:
        """Watch a kind for as long as this is not cancelled: it is served only now, or may cease to be."""
        handlers = [Workloads(self._store, kind.id, scope) for scope in self._scopes]
        reflectors = [
            self._of_workloads(kind, handler, scope)
            for handler, scope in zip(handlers, self._scopes, strict=True)
        ]
        await self._while_served(reflectors, handlers)

    async def _follow_classes(self, kind: WorkloadKind) -> None:
        """The same of what the secrets-store CSI driver brings."""
        of_status = kind.kind == class_statuses.STATUS.kind
        handlers = [
            Statuses(self._classes, scope) if of_status else Classes(self._classes, scope)
            for scope in self._scopes
        ]
        resource = Resource(kind.group, kind.version, kind.plural, kind.kind)
        reflectors = [
            self._reflector(Collection(resource, StatusObject if of_status else ClassObject, scope), handler)
            for handler, scope in zip(handlers, self._scopes, strict=True)
        ]
        await self._while_served(reflectors, handlers)

    async def _while_served(
        self, reflectors: list[AnyReflector], handlers: Sequence[Workloads | Statuses | Classes]
    ) -> None:
        self.optional += reflectors
        try:
            await asyncio.gather(*(reflector.run() for reflector in reflectors))
        finally:
            self.optional = [reflector for reflector in self.optional if reflector not in reflectors]
            for handler, reflector in zip(handlers, reflectors, strict=True):
                handler.gone()
                self._told.pop((reflector.resource.id, reflector.namespace), None)

    # --- what happens on the way ---------------------------------------------------------------------

    def _on_state(self, statistics: Statistics) -> None:
        """A watch changed its state: say so, and don't take what can't be read for missing."""
        where = {"resource": statistics.resource, "namespace": statistics.namespace or "*"}
        place = (statistics.resource, statistics.namespace)
        if statistics.problem:
            if self._told.get(place) != statistics.problem:
                self._told[place] = statistics.problem
                log.warning("watch failed", state=statistics.state, problem=statistics.problem, **where)
        elif statistics.state == "watching":
            self._told.pop(place, None)
            if statistics.restarts:
                log.info("watching again", **where)
        if not statistics.synced:
            kind = _KINDS_OF.get(statistics.resource, statistics.resource)
            self._store.set_collection(kind, statistics.namespace, statistics.problem or "it is being read")

    async def _poll_namespace(self, namespace: str) -> None:
        """Defaults on a Namespace, where namespaces may not be watched: a Role can allow to get its own."""
        while True:
            try:
                path = NAMESPACES.path(None, namespace)
                self._store.put_namespace(_decode_namespace(await self._client.get(path)))
            except ApiError as error:
                log.debug(
                    "annotations of the namespace are not read", namespace=namespace, problem=str(error)
                )
            await asyncio.sleep(_NAMESPACE_POLL)

    def list_secrets_again(self) -> None:
        """Another digest key is in force: what was digested with the other one is read again."""
        self._classes.forget_digests()
        for reflector in (*self.required, *self.optional):
            if reflector.resource is SECRETS or reflector.resource.plural == class_statuses.STATUS.plural:
                reflector.list_again()

    # --- what others ask -----------------------------------------------------------------------------

    def statistics(self) -> list[Statistics]:
        """How each watch fares."""
        return self.of_required() + self.of_optional()

    def of_required(self) -> list[Statistics]:
        """The same, of what every cluster serves."""
        return [reflector.statistics() for reflector in self.required]

    def of_optional(self) -> list[Statistics]:
        """The same, of kinds that not every cluster serves."""
        return [reflector.statistics() for reflector in self.optional]
