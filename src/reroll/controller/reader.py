"""Reads the contents of config objects that a list only named, where somebody follows them.

At the start it reads them in bulk, where what is wanted is a good part of a collection, and else one by one;
later each as it comes to be wanted: when a workload begins to follow an object that nobody followed, or when
a list, after a gap in a watch, names another version than the one held. Read is by lists of one object
(``fieldSelector=metadata.name=NAME``), so that nothing but `list` and `watch` has to be permitted.

A workload is not decided on before all that it follows is read (`core.decide`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Protocol, TypeAlias

import msgspec
import structlog

from reroll.controller.metrics import Metrics
from reroll.controller.queue import Queue, QueueClosed
from reroll.core.observe import ConfigMapObject, SecretObject
from reroll.core.records import ConfigId, ConfigKind
from reroll.kube.client import Client
from reroll.kube.errors import ApiError
from reroll.kube.pages import Pager
from reroll.kube.resources import CONFIG_MAPS, SECRETS, Resource

log = structlog.get_logger("reroll.controller")

ConfigObject: TypeAlias = ConfigMapObject | SecretObject

ACTORS = 8
"""Objects that are read at once."""

_BULK = 40
"""An object in a page costs the server about this many times less than one by itself (24 µs and 1 ms, seen)."""

_RESOURCES: Mapping[ConfigKind, Resource] = {"configmap": CONFIG_MAPS, "secret": SECRETS}


class _Meta(msgspec.Struct, gc=False):
    name: str = ""
    namespace: str = ""


class _Named(msgspec.Struct, gc=False):
    metadata: _Meta


class _List(msgspec.Struct, gc=False):
    items: list[msgspec.Raw] | None = None


_decode_named = msgspec.json.Decoder(_Named).decode
_decode_list = msgspec.json.Decoder(_List).decode
_decoders: Mapping[ConfigKind, Callable[[bytes | msgspec.Raw], ConfigObject]] = {
    "configmap": msgspec.json.Decoder(ConfigMapObject).decode,
    "secret": msgspec.json.Decoder(SecretObject).decode,
}


class Held(Protocol):
    """What it asks of `controller.config_objects`, and tells it."""

    def wanted(self, config: ConfigId) -> bool: ...
    def put_read(self, kind: ConfigKind, obj: ConfigObject) -> None: ...
    def not_there(self, config: ConfigId) -> None: ...
    def counts(self) -> Mapping[str, int]: ...


class Reader:
    """Reads what `want` names. `scopes`: the namespaces that are watched, ("",) for all."""

    def __init__(self, client: Client, configs: Held, metrics: Metrics, scopes: Iterable[str]) -> None:
        self._client = client
        self._configs = configs
        self._metrics = metrics
        self._scopes = tuple(scopes)
        self._queue: Queue[ConfigId] = Queue()
        self._untried: set[ConfigId] = set()
        self._tried = asyncio.Event()
        self._started = False
        self.caught_up = False
        """What was followed at the start has been read, or tried."""

    def want(self, config: ConfigId) -> None:
        """The content of this object must be read. One of a kind that can't be read by itself is refused, and said."""
        if config.kind not in _RESOURCES:
            self._metrics.failed("read", "internal")
            log.error(
                "objects of this kind can't be read one by one: this is a bug in reroll", object=str(config)
            )
        elif self._started:
            self._queue.add(config, flow=config.namespace)
        else:
            self._untried.add(config)

    async def catch_up(self) -> None:
        """Read what was wanted so far. Returns when each was tried once: one that fails keeps nobody waiting."""
        for kind in _RESOURCES:
            wanted = {config for config in self._untried if config.kind == kind}
            if wanted and len(wanted) * _BULK >= self._configs.counts().get(kind, 0):
                await self._read_collections(kind, wanted)
        self._started = True
        if self._untried:
            for config in self._untried:
                self.want(config)
            await self._tried.wait()
        self.caught_up = True

    async def run(self) -> None:
        """Read for ever; `catch_up` is to be called meanwhile."""
        try:
            await asyncio.gather(*(self._work() for _ in range(ACTORS)))
        finally:
            self._queue.close()

    async def _work(self) -> None:
        while True:
            try:
                config = await self._queue.get()
            except QueueClosed:
                return
            try:
                if self._configs.wanted(config):
                    await self._read(config)
                self._queue.forget(config)
            except ApiError as error:
                delay = self._queue.retry(config, at_least=error.retry_after or 0.0)
                self._failed(config, error.reason, error.message, delay)
            except Exception as error:
                # Never the error's text: it may quote a value.
                self._failed(config, "internal", type(error).__name__, self._queue.retry(config))
            finally:
                self._queue.done(config)
                self._untried.discard(config)
                if not self._untried:
                    self._tried.set()

    def _failed(self, config: ConfigId, reason: str, detail: str, delay: float) -> None:
        self._metrics.failed("read", reason)
        log.warning(
            "object could not be read: the workloads that follow it wait",
            object=str(config),
            problem=detail,
            seconds=round(delay, 1),
        )

    async def _read(self, config: ConfigId) -> None:
        """One object. One that is not there is the watch's to tell of."""
        selector = f"metadata.name={config.name}"
        path = _RESOURCES[config.kind].path(config.namespace, fieldSelector=selector)
        answer = await self._client.list_page(path, attempts=1)
        items = _decode_list(answer).items
        for raw in items or ():
            self._configs.put_read(config.kind, _decoders[config.kind](raw))
        if not items:
            self._configs.not_there(config)

    async def _read_collections(self, kind: ConfigKind, wanted: set[ConfigId]) -> None:
        """Whole collections, for what is wanted of them. What can't be had this way is left for one by one."""

        def take(raw: msgspec.Raw) -> None:
            meta = _decode_named(raw).metadata
            config = ConfigId(kind, meta.namespace, meta.name)
            if config in wanted:
                try:
                    self._configs.put_read(kind, _decoders[kind](raw))
                except Exception:
                    return  # it is tried again by itself, and told of there
                self._untried.discard(config)

        for scope in self._scopes:
            path = partial(_RESOURCES[kind].path, scope or None, None)
            try:
                await Pager(self._client, path).each(take)
            except (ApiError, msgspec.DecodeError) as error:
                log.debug("collection was not read with one list", kind=kind, problem=type(error).__name__)
