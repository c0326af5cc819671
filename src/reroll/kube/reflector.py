"""Keeps a handler equal to a collection of objects on the server, after client-go's reflector.

A list, then a watch with bookmarks, resumed at the last resourceVersion. 410 in both its forms lists again.
The first list comes by pages, for then somebody waits: a real server takes more than twice as long to stream
50,000 objects one by one. Every later list is streamed (a watch with ``sendInitialEvents``) where the server
offers it, which costs the server least. Where the handler can do with names at first, lists bring metadata only:
of 50,000 ConfigMaps of 2 kB that is 22 MB in place of 122.

Objects are decoded straight into a small typed struct, handed over and dropped: the handler is the only cache.
What a relist finds is told to the handler as differences only, for the handler compares, and deletions that
happened unseen are told by comparing names.

Sources: k8s.io/client-go tools/cache/reflector.go; KEP-3157 (watch-list); KEP-956 (bookmarks);
kubernetes #104171 and #137089 (a stale version can be answered with an empty 200 stream).
"""

from __future__ import annotations

import asyncio
import os
import random
import time
import traceback
from collections.abc import Callable, Iterable
from typing import Generic, Literal, Protocol, TypeAlias, TypeVar

import msgspec
import structlog

from reroll.kube.backoff import Backoff
from reroll.kube.client import Client
from reroll.kube.errors import (
    ApiError,
    BadRequest,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    Status,
    error_from_status,
)
from reroll.kube.pages import METADATA_ONLY, Pager
from reroll.kube.resources import Resource

log = structlog.get_logger("reroll.kube.reflector")

State: TypeAlias = Literal["starting", "listing", "watching", "refused", "unreachable", "stopped"]


class Meta(Protocol):
    """What the reflector reads of an object's metadata."""

    @property
    def name(self) -> str: ...
    @property
    def namespace(self) -> str: ...
    @property
    def resource_version(self) -> str: ...


class HasMeta(Protocol):
    """An object as the reflector sees it."""

    @property
    def metadata(self) -> Meta: ...


Key: TypeAlias = tuple[str, str]
"""Namespace and name."""

T = TypeVar("T", bound=HasMeta)
T_contra = TypeVar("T_contra", bound=HasMeta, contravariant=True)


class Handler(Protocol[T_contra]):
    """Whom a reflector tells. Calls come in order, from the event loop, and must not block.

    `live` is True for what a watch delivered as it happened, False for what a list found. A handler may raise
    msgspec.DecodeError for a part of an object that it decodes by itself. Any other exception is a fault of the
    handler: what it was told is lost, and the reflector reads that object again, or lists again.
    """

    def upsert(self, obj: T_contra, *, live: bool) -> None: ...
    def delete(self, namespace: str, name: str, *, live: bool, version: str) -> None:
        """`version`: the resourceVersion of its deletion; of one that a list misses, that of the list, which is no
        earlier."""
        ...

    def known(self) -> Iterable[tuple[str, str]]:
        """(namespace, name) of everything held for this collection."""
        ...

    def synced(self) -> None:
        """The handler now equals the server; called after every full list."""
        ...


class Statistics(msgspec.Struct, frozen=True):
    """How one collection's reflector fares."""

    resource: str
    namespace: str
    state: State
    synced: bool
    problem: str
    restarts: int
    relists: int
    last_heard: float
    """time.monotonic() of the last byte of meaning from the server; 0: none yet."""


class _EventMeta(msgspec.Struct, gc=False, rename="camel"):
    name: str = ""
    namespace: str = ""
    resource_version: str = ""
    annotations: dict[str, str] | None = None


class _EventObject(msgspec.Struct, gc=False):
    metadata: _EventMeta = msgspec.field(default_factory=_EventMeta)


class _ListedMeta(msgspec.Struct, gc=False, rename="camel"):
    name: str = ""
    namespace: str = ""
    resource_version: str = ""


class _Listed(msgspec.Struct, gc=False):
    """Of an object of a list of names: its annotations are not needed."""

    metadata: _ListedMeta = msgspec.field(default_factory=_ListedMeta)


class _OneListed(msgspec.Struct, gc=False):
    """A list of one object, or of none."""

    metadata: _ListedMeta = msgspec.field(default_factory=_ListedMeta)
    items: list[msgspec.Raw] = []


class _WatchEvent(msgspec.Struct, gc=False):
    type: str
    object: msgspec.Raw


_decode_event = msgspec.json.Decoder(_WatchEvent).decode
_decode_list = msgspec.json.Decoder(_OneListed).decode
_decode_listed = msgspec.json.Decoder(_Listed).decode
_decode_meta = msgspec.json.Decoder(_EventObject).decode
_decode_status = msgspec.json.Decoder(Status).decode

_HEALTHY_AFTER = 120.0  # seconds of watching after which the backoff starts anew
_SHORT_WATCH = 1.0
_INCOMPLETE_LISTS = 3  # in a row; then it is pages from here on
_FAULTY_LISTS = 3  # in a row, in which the handler fails; then what it fails on is given up
_READ_AGAIN_AFTER = (0.5, 5.0, 60.0)  # seconds, where it fails on what a watch told of; then that is given up
_UNREADABLE = (msgspec.DecodeError, RecursionError, UnicodeError)  # what an object can do to who decodes it
_SLICE = 0.01  # seconds of decoding before other tasks get their turn
_INITIAL_END = "k8s.io/initial-events-end"


class Collection(msgspec.Struct, Generic[T], frozen=True):
    """Which objects a reflector follows, and into what they are decoded."""

    resource: Resource
    object_type: type[T]
    """A msgspec struct."""
    namespace: str = ""
    """"": all namespaces."""
    label_selector: str = ""
    field_selector: str = ""
    stream_first: bool = False
    """Stream the first list too."""
    gather: float = 0.0
    """Seconds that events may gather in where they come in close succession (`Client.stream`)."""


class Reflector(Generic[T]):
    """Follows one resource, in one namespace or in all.

    `listed`: lists ask for metadata only, and tell it (namespace, name, resourceVersion) of each object, in place of
    the handler's `upsert`; what a watch delivers is whole all the same. `on_state` is told of every change of state,
    with the problem in words. `on_fault` is called for each failure of the handler. `run` never returns and never
    raises but for cancellation.

    An object that can't be decoded is passed over, and named in the log. Where the handler fails on one that a watch
    told of, that one alone is read again, a few times: whoever can write one object must not have all listed anew.
    Where it fails on one in a list, all is listed again, and the collection does not count as synced until then. An
    object on which it fails each time is given up, because one fault must not keep all others away; it is named then,
    and told to the handler again with its next event.
    """

    def __init__(
        self,
        client: Client,
        collection: Collection[T],
        handler: Handler[T],
        *,
        listed: Callable[[str, str, str], None] | None = None,
        on_state: Callable[[Statistics], None] | None = None,
        on_fault: Callable[[], None] = lambda: None,
    ) -> None:
        self.resource = collection.resource
        self.namespace = collection.namespace
        self._client = client
        self._handler = handler
        self._decode: Callable[[bytes | msgspec.Raw], T] = msgspec.json.Decoder(collection.object_type).decode
        self._selectors: dict[str, object] = {
            "labelSelector": collection.label_selector or None,
            "fieldSelector": collection.field_selector or None,
        }
        self._on_state = on_state or (lambda statistics: None)
        self._on_fault = on_fault
        self._backoff = Backoff(0.5, 15.0, jitter=0.5)
        self._stream_first = collection.stream_first
        self._gather = collection.gather
        self._streaming = listed is None  # until the server says that it has no streaming lists
        self._resume = ""  # the resourceVersion to watch from; "": list first
        self._empty_watches = 0
        self._incomplete_lists = 0
        self._faulty_lists = 0
        self._failed_on: set[Key] = set()
        """What the handler has failed on in the list that is on its way."""
        self._given_up: set[Key] = set()
        self._to_read: dict[Key, int] = {}
        """What the handler has failed on while watching, and how often it was read again since."""
        self._reading: asyncio.Task[None] | None = None
        self._told = False  # the watch of this turn told something
        self._watching_since = float("inf")
        self._turn: asyncio.Task[float] | None = None
        self._state: State = "starting"
        self._problem = ""
        self._synced = False
        self._restarts = 0
        self._relists = -1  # the first list is not a relist
        self._last_heard = 0.0
        self._listed = listed
        self._pager = Pager(client, self._path, accept=METADATA_ONLY if listed is not None else None)

    def statistics(self) -> Statistics:
        return Statistics(
            resource=self.resource.id,
            namespace=self.namespace,
            state=self._state,
            synced=self._synced,
            problem=self._problem,
            restarts=self._restarts,
            relists=max(self._relists, 0),
            last_heard=max(self._last_heard, self._pager.heard),
        )

    def list_again(self) -> None:
        """Forget where the watch stands: list, and tell the handler everything that differs from what it
        holds. For when the handler threw away what it held."""
        self._resume = ""
        self._synced = False
        if self._turn is not None:
            self._turn.cancel()

    async def run(self) -> None:
        """List and watch for ever."""
        try:
            await self._run()
        finally:
            if self._reading is not None:
                self._reading.cancel()

    async def _run(self) -> None:
        while True:
            self._turn = asyncio.create_task(self._list_or_watch())
            try:
                delay = await self._turn
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                delay = 0.0  # only the turn was cancelled, by list_again
            self._restarts += 1
            await asyncio.sleep(delay)

    async def _list_or_watch(self) -> float:
        """One turn: until the watch ends or fails. Returns the seconds to wait before the next."""
        started = time.monotonic()
        self._told, self._watching_since = False, float("inf")
        try:
            if self._resume:
                await self._watch()
            elif self._streaming and (self._stream_first or self._relists >= 0):
                await self._streaming_list_and_watch()
            else:
                await self._paged_list()
                await self._watch()
            delay = 0.05 * random.random()
        except Gone as error:
            log.info("watch expired (410 Gone), listing again", detail=error.message, **self._where())
            self._resume = ""
            delay = 0.0 if self._worked() else self._backoff.next()
        except _NotOffered:
            self._streaming = False
            delay = 0.0
        except ApiError as error:
            delay = self._failed(error)
        except _HandlerFailed:
            self._resume = ""
            self._synced = False
            self._set_state("listing", "a fault of reroll kept a change from being taken in: listing again")
            delay = self._backoff.next()
        except msgspec.DecodeError as error:
            # The envelope of an event; an object that can't be read is passed over in _apply.
            log.warning("watch stream unreadable, starting it again", detail=str(error), **self._where())
            delay = self._backoff.next()
        if time.monotonic() - started > _HEALTHY_AFTER:
            self._backoff.reset()
        return delay

    def _where(self) -> dict[str, str]:
        return {"resource": self.resource.id, "namespace": self.namespace or "*"}

    def _worked(self) -> bool:
        """This turn's watch was a working one: to resume it at once can't be a tight loop without progress."""
        return self._told or time.monotonic() - self._watching_since > _SHORT_WATCH

    def _failed(self, error: ApiError) -> float:
        """Note a failure, and return how long to wait."""
        if error.too_large_version:
            # The server we reached is behind the one we read from: it will catch up, or a list will tell.
            self._resume = ""
        refused = isinstance(error, Forbidden | NotFound) or error.status == 401
        if self._worked() and not refused and error.retry_after is None:
            # It was a working watch that broke: resume at once, as after an orderly end.
            self._set_state("unreachable" if error.status == 0 else self._state, error.message)
            return 0.05 + 0.2 * random.random()
        self._set_state("refused" if refused else "unreachable", error.message)
        delay = self._backoff.next()
        return max(delay, error.retry_after or 0.0)

    def _set_state(self, state: State, problem: str = "") -> None:
        if (state, problem) != (self._state, self._problem):
            self._state, self._problem = state, problem
            self._on_state(self.statistics())

    # --- list --------------------------------------------------------------------------------------

    def _path(self, **query: object) -> str:
        return self.resource.path(self.namespace or None, None, **self._selectors, **query)

    async def _streaming_list_and_watch(self) -> None:
        if self._incomplete_lists >= _INCOMPLETE_LISTS:
            # Something between swallows the bookmark that ends it, or the connection never holds so long.
            log.warning("streaming lists do not end, listing by pages", **self._where())
            raise _NotOffered
        self._set_state("listing")
        self._failed_on.clear()
        path = self._path(
            watch=True,
            sendInitialEvents=True,
            resourceVersionMatch="NotOlderThan",
            allowWatchBookmarks=True,
            timeoutSeconds=random.randint(300, 600),
        )
        try:
            await self._consume(path, initial=True)
        except (BadRequest, Invalid) as error:
            if self._resume:
                raise
            log.debug("no streaming lists here", resource=self.resource.plural, detail=error.message)
            raise _NotOffered from error

    async def _paged_list(self) -> None:
        self._set_state("listing")
        self._failed_on.clear()
        # Before the first sync nothing can have vanished unseen.
        seen: set[Key] | None = set() if any(True for _ in self._handler.known()) else None
        # Names may be a little old at first: the watch goes on from there, and contents are read for themselves.
        cached = self._listed is not None and self._relists < 0
        version = await self._pager.each(lambda raw: self._take(raw, seen), cached=cached)
        self._finish_list(seen, version)

    def _take(self, raw: msgspec.Raw, seen: set[Key] | None) -> None:
        """Hand over one object of a list by pages."""
        if self._listed is None:
            self._apply(raw, live=False, seen=seen)
            return
        meta = _decode_listed(raw).metadata
        if seen is not None:
            seen.add((meta.namespace, meta.name))
        try:
            self._listed(meta.namespace, meta.name, meta.resource_version)
        except Exception as error:
            self._handler_failed(error, (meta.namespace, meta.name), live=False)

    def _finish_list(self, seen: set[Key] | None, version: str) -> None:
        """`seen`: what the list held; None if nothing can have vanished. Raises _HandlerFailed where the handler has
        failed on something in it, until that is given up."""
        if seen is not None:
            for key in [key for key in self._handler.known() if key not in seen]:
                try:
                    self._handler.delete(*key, live=False, version=version)
                except Exception as error:
                    self._handler_failed(error, key, live=False)
        self._incomplete_lists = 0
        self._faulty_lists = self._faulty_lists + 1 if self._failed_on - self._given_up else 0
        if 0 < self._faulty_lists <= _FAULTY_LISTS:
            raise _HandlerFailed
        for key in sorted(self._failed_on - self._given_up):
            self._give_up(key)
        self._given_up &= self._failed_on
        self._faulty_lists = 0
        try:
            self._handler.synced()
        except Exception as error:
            self._handler_failed(error, None, live=False)
        self._resume = version
        self._relists += 1
        self._synced = True

    # --- watch -------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        path = self._path(
            watch=True,
            resourceVersion=self._resume,
            allowWatchBookmarks=True,
            timeoutSeconds=random.randint(300, 600),
        )
        await self._consume(path, initial=False)

    async def _consume(self, path: str, *, initial: bool) -> None:
        """Read one watch to its end."""
        seen: set[Key] | None = set() if initial else None
        events = 0
        async with self._client.stream(path, gather=self._gather) as batches:
            if initial:
                self._incomplete_lists += 1  # until its end is seen
            else:
                self._begin_watching()
            async for lines in batches:
                self._last_heard = time.monotonic()
                began = time.perf_counter()
                for line in lines:
                    event = _decode_event(line)
                    events += 1
                    if event.type == "BOOKMARK":
                        meta = _decode_meta(event.object).metadata
                        if seen is not None:
                            if (meta.annotations or {}).get(_INITIAL_END) != "true":
                                continue
                            self._finish_list(seen, meta.resource_version)
                            seen = None
                            self._begin_watching()
                        self._resume = meta.resource_version
                    elif event.type == "ERROR":
                        raise error_from_status(
                            _decode_status(event.object), request=f"WATCH {self.resource.plural}"
                        )
                    elif event.type == "DELETED":
                        meta = _decode_meta(event.object).metadata
                        key = (meta.namespace, meta.name)
                        try:
                            self._handler.delete(*key, live=seen is None, version=meta.resource_version)
                            self._taken_in(key)
                        except Exception as error:
                            self._handler_failed(error, key, live=seen is None)
                        if seen is None:
                            self._resume = meta.resource_version or self._resume
                        else:
                            seen.discard(key)
                    else:
                        version = self._apply(event.object, live=seen is None, seen=seen)
                        # Versions of initial events are no points to resume at: they come in no order.
                        if seen is None:
                            self._resume = version
                    self._told = self._told or seen is None
                    if time.perf_counter() - began > _SLICE:
                        await asyncio.sleep(0)
                        began = time.perf_counter()
        if seen is not None:
            raise ApiError("a streaming list ended before it was complete")
        if events:
            self._empty_watches = 0
        elif not self._worked():
            self._empty_watches += 1
            if self._empty_watches >= 3:
                self._empty_watches = 0
                raise Gone("several watches in a row ended at once and empty")
            await asyncio.sleep(self._backoff.next())

    def _begin_watching(self) -> None:
        self._watching_since = time.monotonic()
        self._set_state("watching")

    def _apply(self, raw: msgspec.Raw, *, live: bool, seen: set[Key] | None) -> str:
        """Decode and hand over one object; returns its resourceVersion.

        One that can't be decoded is passed over: it must not stop all others.
        """
        try:
            obj = self._decode(raw)
        except Exception as error:
            return self._pass_over(raw, error, seen)
        meta = obj.metadata
        key = (meta.namespace, meta.name)
        try:
            self._handler.upsert(obj, live=live)
            if self._given_up or self._to_read:
                self._taken_in(key)
        except _UNREADABLE as error:
            return self._pass_over(raw, error, seen)
        except Exception as error:
            self._handler_failed(error, key, live=live)
        if seen is not None:
            seen.add(key)
        return meta.resource_version

    def _pass_over(self, raw: msgspec.Raw, error: Exception, seen: set[Key] | None) -> str:
        meta = _decode_meta(raw).metadata
        log.warning(
            "object can't be decoded and is skipped",
            resource=self.resource.plural,
            namespace=meta.namespace,
            name=meta.name,
            # Never the error's text for Secrets: it may quote a value.
            detail=type(error).__name__ if self.resource.plural == "secrets" else str(error),
        )
        if seen is not None:
            seen.add((meta.namespace, meta.name))
        return meta.resource_version

    def _handler_failed(self, error: Exception, key: Key | None, *, live: bool) -> None:
        """The handler raised an error on one object, or (None) on all. Raises _HandlerFailed on all; one that a watch
        told of is read again, and a list goes on, until `_finish_list` raises."""
        self._on_fault()
        namespace, name = key or ("", "")
        # Each is named once until it is taken in: who writes it again and again must not fill the log.
        if key not in self._to_read and not (live and key in self._given_up):
            log.error(
                "handler failed: this is a bug in reroll",
                handler=type(self._handler).__name__,
                resource=self.resource.plural,
                namespace=namespace,
                name=name,
                # Never the error's text: it may quote a value.
                detail=type(error).__name__,
                at=where_raised(error),
            )
        if key is None:
            raise _HandlerFailed from None
        if not live:
            self._failed_on.add(key)
        elif key not in self._given_up:
            self._to_read.setdefault(key, 0)
            if self._reading is None or self._reading.done():
                self._reading = asyncio.create_task(self._read_again())

    # --- what the handler has failed on ------------------------------------------------------------

    async def _read_again(self) -> None:
        """Read what the handler has failed on, one by one, until it takes that or it is given up."""
        while self._to_read:
            await asyncio.sleep(_READ_AGAIN_AFTER[min(self._to_read.values())])
            for key in list(self._to_read):
                if key not in self._to_read:
                    continue  # a watch or a list told of it meanwhile, and it was taken in
                try:
                    await self._read_one(key)
                except (ApiError, msgspec.DecodeError):
                    if self._to_read.get(key, 0) + 1 >= len(_READ_AGAIN_AFTER):
                        self._to_read.clear()
                        self.list_again()
                        return
                if key in self._to_read:
                    self._to_read[key] += 1
                    if self._to_read[key] >= len(_READ_AGAIN_AFTER):
                        del self._to_read[key]
                        self._give_up(key)

    async def _read_one(self, key: Key) -> None:
        """Read one object by a list of it alone, which whoever may list may do, and tell the handler. Raises ApiError,
        or msgspec.DecodeError where the answer is none."""
        namespace, name = key
        selectors = [self._selectors["fieldSelector"], f"metadata.name={name}"]
        path = self.resource.path(
            namespace or None,
            None,
            **{**self._selectors, "fieldSelector": ",".join(str(each) for each in selectors if each)},
        )
        found = _decode_list(await self._client.get(path))
        if key not in self._to_read:
            return
        try:
            if found.items:
                self._handler.upsert(self._decode(found.items[0]), live=False)
            else:
                self._handler.delete(*key, live=False, version=found.metadata.resource_version)
        except _UNREADABLE as error:
            self._pass_over(found.items[0], error, None)
        except Exception as error:
            self._handler_failed(error, key, live=True)
            return
        self._taken_in(key)

    def _taken_in(self, key: Key) -> None:
        self._given_up.discard(key)
        self._to_read.pop(key, None)

    def _give_up(self, key: Key) -> None:
        self._given_up.add(key)
        log.error(
            "object skipped, because its handler failed again and again",
            namespace=key[0],
            name=key[1],
            resource=self.resource.plural,
        )


def where_raised(error: Exception) -> str:
    """File and line, for who looks for the fault."""
    last = traceback.extract_tb(error.__traceback__)[-1:]
    return "".join(f"{os.path.basename(frame.filename)}:{frame.lineno}" for frame in last)


class _HandlerFailed(Exception):
    """The handler failed on what it was told: it no longer equals the server."""


class _NotOffered(Exception):
    """The server has no streaming lists (feature WatchList off)."""
