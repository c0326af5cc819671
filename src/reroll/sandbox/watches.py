"""Watches: what happened since a version, and then all that happens, with bookmarks and the two ways to be told 410.

Sources: https://kubernetes.io/docs/reference/using-api/api-concepts/ (efficient detection of changes, watch
bookmarks, streaming lists); KEP-956; KEP-3157.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any, Final, TypeAlias

from reroll.sandbox.lists import Query, Selection, parse_version
from reroll.sandbox.problems import Cause, OptionsInvalid, status
from reroll.sandbox.served import Served
from reroll.sandbox.storage import Change, Expired, Object, Storage

Json: TypeAlias = dict[str, Any]
Event: TypeAlias = tuple[str, Json]
"""(ADDED, MODIFIED, DELETED, BOOKMARK or ERROR, object as served)."""

_INITIAL_END: Final = "k8s.io/initial-events-end"


class Watch:
    """One watch. Iterate over `events`: batches as they come, an empty one never.

    `bookmark` seconds lie between bookmarks. Raises Refused at once for a request that makes no sense.
    """

    def __init__(
        self, storage: Storage, served: Served, selection: Selection, query: Query, bookmark: float
    ) -> None:
        self._storage, self._served, self._selection = storage, served, selection
        self._bookmark = bookmark if query.get("allowWatchBookmarks") == "true" else 0.0
        self._initial = query.get("sendInitialEvents") == "true"
        self._only_new = query.get("sendInitialEvents") == "false"
        self._check(query)
        self._version = query.get("resourceVersion", "")
        seconds = parse_version(query.get("timeoutSeconds") or "0")
        # A server lets go of all at random times between half an hour and an hour, so that they spread.
        self._seconds = seconds or random.randint(1800, 3600)
        self._coming: asyncio.Queue[Change] = asyncio.Queue()

    def _check(self, query: Query) -> None:
        """The rules of a streaming list (k8s.io/apimachinery pkg/apis/meta/internalversion/validation)."""
        match = query.get("resourceVersionMatch", "")
        why = ""
        if query.get("sendInitialEvents"):
            if match != "NotOlderThan":
                why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        elif match:
            why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        if why:
            raise OptionsInvalid("ListOptions", Cause("resourceVersionMatch", "Forbidden", why))

    def check_version(self) -> None:
        """Raise Expired where the version to begin at is forgotten, before anything was answered."""
        if self._version not in ("", "0"):
            self._storage.since(parse_version(self._version))

    async def events(self) -> AsyncIterator[list[Event]]:
        """All that is to be told, until the time is up."""
        unlisten = self._storage.listen(self._heard)
        try:
            async for batch in self._told():
                yield batch
        finally:
            unlisten()

    def _heard(self, change: Change) -> None:
        if (change.kind.group, change.kind.kind) == (self._served.kind.group, self._served.kind.kind):
            self._coming.put_nowait(change)

    async def _told(self) -> AsyncIterator[list[Event]]:
        loop = asyncio.get_running_loop()
        end = loop.time() + self._seconds
        try:
            batch = self._begin()
        except Expired as error:
            yield [("ERROR", status(error))]
            return
        if batch:
            yield batch
        next_bookmark = loop.time() + self._bookmark if self._bookmark else float("inf")
        while (now := loop.time()) < end:
            try:
                async with asyncio.timeout_at(min(end, next_bookmark)):
                    changes = [await self._coming.get()]
            except TimeoutError:
                if self._bookmark and now < end:
                    next_bookmark = loop.time() + self._bookmark
                    yield [self._bookmark_event()]
                continue
            while not self._coming.empty():
                changes.append(self._coming.get_nowait())
            events = [event for change in changes if (event := self._event(change)) is not None]
            if events:
                yield events

    def _begin(self) -> list[Event]:
        """What is told at once: what there is, or what happened since the version of the request."""
        if not self._initial and self._version not in ("", "0"):
            changes = self._storage.since(parse_version(self._version))
            mine = (self._served.kind.group, self._served.kind.kind)
            events = [self._event(c) for c in changes if (c.kind.group, c.kind.kind) == mine]
            return [event for event in events if event is not None]
        if self._only_new:
            return []
        shown = map(self._served.shown, self._storage.objects(self._served.kind, self._selection.namespace))
        batch: list[Event] = [("ADDED", obj) for obj in shown if self._selection.takes(obj)]
        if self._initial and self._bookmark:
            batch.append(self._bookmark_event({_INITIAL_END: "true"}))
        return batch

    def _event(self, change: Change) -> Event | None:
        """A change as this watch sees it: an object that comes into its selection was added, one that leaves it
        was deleted."""
        obj = self._served.shown(change.object)
        was = change.previous is not None and self._selection.takes(self._served.shown(change.previous))
        is_ = change.type != "DELETED" and self._selection.takes(obj)
        if is_:
            return ("MODIFIED" if was else "ADDED"), obj
        return ("DELETED", self._last(change, obj)) if was else None

    def _last(self, change: Change, obj: Object) -> Object:
        """Of an object that left: as it last was within, with the version of the change."""
        if change.type == "DELETED" or change.previous is None:
            return obj
        last = self._served.shown(change.previous)
        return {**last, "metadata": {**last["metadata"], "resourceVersion": str(change.version)}}

    def _bookmark_event(self, annotations: dict[str, str] | None = None) -> Event:
        meta: Json = {"resourceVersion": str(self._storage.version)}
        if annotations:
            meta["annotations"] = annotations
        else:
            meta["creationTimestamp"] = None
        return "BOOKMARK", {
            "kind": self._served.kind.kind,
            "apiVersion": self._served.api_version,
            "metadata": meta,
        }
