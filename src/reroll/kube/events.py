"""Events (``events.k8s.io/v1``): what people see under ``kubectl describe``, sent in the background.

An Event never delays a patch. `EventRecorder.record` only puts it in a bounded buffer, and two senders
empty the buffer beside everything else. What repeats becomes a series on the Event that is already there,
so that a workload refused a thousand times is one object in etcd and two requests a minute. Events are
news and no record of truth: when too many wait, or the server will not take one, they are dropped and counted.

Sources: KEP-383 (the new Event API and its series); the aggregation window is that of k8s.io/client-go
tools/events.
"""

from __future__ import annotations

import asyncio
import heapq
import socket
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeAlias

import msgspec
import structlog

from reroll.kube.backoff import Backoff
from reroll.kube.client import MERGE_PATCH
from reroll.kube.errors import AlreadyExists, ApiError, Conflict, NotFound
from reroll.kube.event_object import (
    FIELD_LIMIT,
    NOTE_LIMIT,
    Event,
    EventType,
    Metadata,
    ObjectReference,
    Series,
    SeriesPatch,
    cut,
    event_name,
    microtime,
)
from reroll.kube.ports import Sender
from reroll.kube.resources import EVENTS

__all__ = [
    "CONTROLLER",
    "SERIES_INTERVAL",
    "SERIES_WINDOW",
    "EventRecorder",
    "ObjectReference",
    "Statistics",
]

log = structlog.get_logger("reroll.kube.events")

CONTROLLER: Final = "reroll.dev/controller"
SERIES_WINDOW: Final = 360.0
"""Seconds in which a repetition joins the series of an Event; client-go's number. Each one renews it."""
SERIES_INTERVAL: Final = 30.0
"""Seconds between two writes of one Event. A series is a counter, and 30 s is how stale it may be: short
enough for a person who watches, and a fault that repeats every second costs two requests a minute."""

GIVE_WAY: Final = 30.0
"""Seconds that an Event waits at most for more urgent work."""

_TICK = 0.05
_SENDERS = 2  # enough for hundreds a second, and few next to the requests that patches may have in flight
_ATTEMPTS = 6  # with the backoff below, 15 to 30 s: a restart of the API server loses few
_FIRST_RETRY, _LAST_RETRY = 0.5, 8.0
_WARN_EVERY = 600.0  # seconds between log lines about drops for the same reason
_FULL = "too many Events wait to be sent; the oldest go first, Normal before Warning"


class Statistics(msgspec.Struct, frozen=True):
    """What became of the Events so far."""

    waiting: int
    """Writes that wait for a sender or are in its hands."""
    series_waiting: int
    """Series whose next write is not due yet."""
    recorded: int
    """Calls of `record`."""
    merged: int
    """Of these, those that joined an Event that was there or still waited."""
    created: int
    updated: int
    """Writes of a series."""
    retried: int
    dropped: int
    """Writes given up: the buffer was full, or the server would not take them."""


_Key: TypeAlias = tuple[object, ...]


class _Entry:
    """One Event, from `record` to the end of its series."""

    __slots__ = (
        "count",
        "created",
        "event",
        "key",
        "last",
        "number",
        "path",
        "seen",
        "told",
        "waiting",
        "written",
    )

    def __init__(self, key: _Key, event: Event, path: str, number: int, seen: float) -> None:
        self.key = key
        self.event = event
        self.path = path  # of the namespace's collection
        self.number = number  # order of arrival
        self.seen = seen  # loop time of the last `record`
        self.last = event.event_time  # the same, as the API writes it
        self.count = 1
        self.told = 0  # the count that the server knows
        self.created = False
        self.waiting = True  # in the buffer, in a sender's hands, or with a write of its series due later
        self.written = 0.0  # loop time of the last write


class EventRecorder:
    """Buffers, aggregates and sends Events. All methods belong to the event loop's thread.

    `capacity` bounds the Events that wait, and those remembered for their series, each. `instance` names
    this process to people: the host's name by default, which in a pod is the pod's. `on_drop` is called
    for each Event dropped. While `busy` says that there is more urgent work, Events wait, `GIVE_WAY` seconds at
    most and while there is room: a crowd's patches go first, on the server too.
    """

    def __init__(
        self,
        sender: Sender,
        *,
        capacity: int = 2000,
        instance: str | None = None,
        controller: str = CONTROLLER,
        on_drop: Callable[[], None] | None = None,
        busy: Callable[[], bool] = lambda: False,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._sender = sender
        self._capacity = capacity
        self._instance = cut(instance or socket.gethostname() or "unknown", FIELD_LIMIT)
        self._controller = controller
        self._on_drop = on_drop
        self._busy = busy
        self._wall = wall
        # Two lines, for the oldest Normal Event is dropped first; `number` gives the order over both.
        self._normal: deque[_Entry] = deque()
        self._warning: deque[_Entry] = deque()
        self._series: list[tuple[float, int, _Entry]] = []  # heap of writes that are due later
        self._known: OrderedDict[_Key, _Entry] = OrderedDict()  # the one seen last stands last
        self._number = 0
        self._in_hand = 0
        self._wake = asyncio.Event()
        self._changed = asyncio.Event()
        self._warned: dict[str, float] = {}
        self._recorded = self._merged = self._created = self._updated = self._retried = self._dropped = 0

    # --- what callers use --------------------------------------------------------------------------

    def record(
        self,
        regarding: ObjectReference,
        *,
        type: EventType,
        reason: str,
        action: str,
        note: str,
        related: ObjectReference | None = None,
        once: str = "",
    ) -> None:
        """Have an Event sent some time soon. Never waits and never fails.

        `reason` is why it happened and `action` what was done or tried, each one word in CamelCase for
        machines; `note` is for people and is cut to the 1,024 bytes that the API allows. The same again
        within six minutes becomes a series of the first. What may be said is the caller's to know: a note
        must not hold a value of a Secret. `once`: what it is about; two processes that report the same make one Event,
        because its name follows from that.
        """
        self._recorded += 1
        now = asyncio.get_running_loop().time()
        note = cut(note, NOTE_LIMIT)
        # Without the resourceVersion: each patch gives the object another one, and nothing would repeat.
        key = (_identity(regarding), type, reason, action, note, _identity(related))
        self._forget_old(now)
        entry = self._known.get(key)
        if entry is not None:
            self._merged += 1
            entry.count += 1
            entry.seen, entry.last = now, microtime(self._wall())
            self._known.move_to_end(key)
            self._plan_series(entry)
            return
        entry = self._new_entry(key, regarding, type, reason, action, note, related, now)
        if once:
            entry.event.metadata.name = event_name(regarding.name, once)
        if len(self._normal) + len(self._warning) >= self._capacity and not self._make_room(type):
            self._drop(entry, "full", _FULL)
            return
        self._known[key] = entry
        if len(self._known) > self._capacity:
            self._known.popitem(last=False)  # its series ends here, and a repetition is a new Event
        self._line(entry).append(entry)
        self._wake.set()

    async def run(self) -> None:
        """Send what is recorded, until cancelled. Raises nothing else."""
        async with asyncio.TaskGroup() as group:
            for number in range(_SENDERS):
                group.create_task(self._send_forever(), name=f"events {number}")

    async def flush(self, timeout: float) -> int:
        """Send now what waits, also series that are not due yet; returns how many writes were left after
        `timeout` seconds. For an orderly stop, whether `run` still runs or not."""
        self._release(float("inf"))
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout), asyncio.TaskGroup() as group:
                for _ in range(_SENDERS):
                    group.create_task(self._send_waiting())
        left = len(self._normal) + len(self._warning) + self._in_hand
        if left:
            log.warning("Events were not sent", events=left, seconds=timeout)
        return left

    def statistics(self) -> Statistics:
        """What became of the Events so far."""
        return Statistics(
            waiting=len(self._normal) + len(self._warning) + self._in_hand,
            series_waiting=len(self._series),
            recorded=self._recorded,
            merged=self._merged,
            created=self._created,
            updated=self._updated,
            retried=self._retried,
            dropped=self._dropped,
        )

    # --- the buffer --------------------------------------------------------------------------------

    def _new_entry(
        self,
        key: _Key,
        regarding: ObjectReference,
        type: EventType,
        reason: str,
        action: str,
        note: str,
        related: ObjectReference | None,
        now: float,
    ) -> _Entry:
        # The server wants the Event in the namespace of its object; those of the cluster's go to default.
        namespace = regarding.namespace or "default"
        self._number += 1
        event = Event(
            metadata=Metadata(event_name(regarding.name), namespace),
            event_time=microtime(self._wall()),
            reporting_controller=self._controller,
            reporting_instance=self._instance,
            action=cut(action, FIELD_LIMIT),
            reason=cut(reason, FIELD_LIMIT),
            regarding=regarding,
            note=note,
            type=type,
            related=related,
            api_version=EVENTS.api_version,
            kind=EVENTS.kind,
        )
        return _Entry(key, event, EVENTS.path(namespace), self._number, now)

    def _line(self, entry: _Entry) -> deque[_Entry]:
        return self._warning if entry.event.type == "Warning" else self._normal

    def _make_room(self, type: EventType) -> bool:
        """Drop the oldest Event that matters least; False if the newcomer itself matters less than all."""
        if self._normal:
            line = self._normal
        elif type == "Warning" and self._warning:
            line = self._warning
        else:
            return False
        self._drop(line.popleft(), "full", _FULL)
        return True

    def _plan_series(self, entry: _Entry) -> None:
        """Have the new count written once the Event may be written again."""
        if entry.waiting:
            return  # the write that is to come tells the count of that time
        if len(self._series) >= self._capacity:
            return  # the count is not lost: the next repetition asks again
        entry.waiting = True
        heapq.heappush(self._series, (entry.written + SERIES_INTERVAL, entry.number, entry))
        self._wake.set()

    def _release(self, now: float) -> None:
        """Put the series that are due in the line of what is sent."""
        while self._series and self._series[0][0] <= now:
            _, _, entry = heapq.heappop(self._series)
            self._line(entry).append(entry)
            self._wake.set()

    def _take(self) -> _Entry | None:
        """The next to send: the one recorded first, of both lines."""
        self._release(asyncio.get_running_loop().time())
        lines = [line for line in (self._normal, self._warning) if line]
        return min(lines, key=lambda line: line[0].number).popleft() if lines else None

    def _forget_old(self, now: float) -> None:
        while self._known:
            oldest = next(iter(self._known.values()))
            if now - oldest.seen <= SERIES_WINDOW:
                return
            del self._known[oldest.key]

    def _drop(self, entry: _Entry, reason: str, problem: str) -> None:
        """Give an Event up. A repetition starts afresh."""
        self._dropped += 1
        if self._known.get(entry.key) is entry:
            del self._known[entry.key]
        if self._on_drop is not None:
            self._on_drop()
        now = asyncio.get_running_loop().time()
        if now - self._warned.get(reason, -_WARN_EVERY) >= _WARN_EVERY:
            self._warned[reason] = now
            regarding = entry.event.regarding
            log.warning(
                "Event dropped; more of them for the same reason are only counted for 10 minutes",
                problem=problem,
                regarding=f"{regarding.kind.lower()}/{regarding.namespace}/{regarding.name}",
                about=entry.event.reason,
                dropped=self._dropped,
            )

    # --- sending -----------------------------------------------------------------------------------

    async def _send_forever(self) -> None:
        while True:
            if await self._give_way():
                continue
            entry = self._take()
            if entry is not None:
                await self._send(entry)
                continue
            self._wake.clear()
            due = self._series[0][0] if self._series else None
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._wake.wait()

    async def _give_way(self) -> bool:
        """True after a short wait, if what is waiting can wait for more urgent work."""
        lines = [line[0] for line in (self._normal, self._warning) if line]
        if not lines or not self._busy():
            return False
        oldest = asyncio.get_running_loop().time() - min(entry.seen for entry in lines)
        if oldest > GIVE_WAY or len(self._normal) + len(self._warning) > self._capacity // 2:
            return False
        await asyncio.sleep(_TICK)
        return True

    async def _send_waiting(self) -> None:
        """Send until nothing waits and no sender has anything in hand."""
        while True:
            self._release(float("inf"))
            entry = self._take()
            if entry is not None:
                await self._send(entry)
            elif self._in_hand:
                self._changed.clear()
                await self._changed.wait()
            else:
                return

    async def _send(self, entry: _Entry) -> None:
        """Write one Event, or its series, and come back whatever happens."""
        self._in_hand += 1
        try:
            await self._write_patiently(entry)
            entry.waiting = False
            if entry.count > entry.told:  # it was repeated while it was written
                self._plan_series(entry)
        except asyncio.CancelledError:
            self._line(entry).appendleft(entry)  # its name is its own, so sending it again is harmless
            raise
        except ApiError as error:
            self._drop(entry, error.reason, str(error))
        except Exception as error:
            log.exception("Event could not be sent")  # one Event is never the end of the senders
            self._drop(entry, type(error).__name__, str(error))
        finally:
            self._in_hand -= 1
            self._changed.set()

    async def _write_patiently(self, entry: _Entry) -> None:
        """Write, and again where the server may yet take it. Raises the last ApiError."""
        backoff = Backoff(_FIRST_RETRY, _LAST_RETRY)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                await self._write(entry)
                return
            except ApiError as error:
                if attempt == _ATTEMPTS or not (error.retryable or isinstance(error, Conflict)):
                    raise
                self._retried += 1
                # Not longer than the longest delay, whatever the server says: it holds up the others.
                delay = min(max(backoff.next(), error.retry_after or 0.0), 2 * _LAST_RETRY)
                await asyncio.sleep(delay)

    async def _write(self, entry: _Entry) -> None:
        count = entry.count
        series = Series(count, entry.last)
        if entry.created:
            path = f"{entry.path}/{entry.event.metadata.name}"
            try:
                body = msgspec.json.encode(SeriesPatch(series))
                await self._sender.patch(path, body, content_type=MERGE_PATCH)
                self._updated += 1
            except NotFound:
                entry.created = False  # its time to live ran out (an hour, by default): send it whole
        if not entry.created:
            # The server refuses a series of fewer than two.
            entry.event.series = series if count > 1 else None
            try:
                await self._sender.create(entry.path, msgspec.json.encode(entry.event))
            except AlreadyExists:
                count = 1  # an earlier try arrived and its answer was lost: what it told, can't be known
            entry.created = True
            self._created += 1
        entry.told = count
        entry.written = asyncio.get_running_loop().time()


def _identity(reference: ObjectReference | None) -> tuple[str, ...] | None:
    if reference is None:
        return None
    return (reference.api_version, reference.kind, reference.namespace, reference.name, reference.uid)
