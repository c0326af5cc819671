"""The work queue: which workload to ask about next. It stands between the index and decide.

Keys, not events, wait in it: however often a key is added, it is handed out once for all of it, and never
to two workers at a time (the three sets of client-go's workqueue: ready, dirty, processing). On top of
that it is fair: ready keys wait in one line per *flow*, and the flows take turns, so that a crowd, such as
the thousand consumers of one config object, delays a newcomer by one turn and not by a thousand. Where
the keys in hand are limited, one place is kept for flows that have none, and a flow that has more than
its share waits while others are at work: what a newcomer asks of the server then waits behind less.

Delayed keys cost a heap entry each and one timer of the event loop in all; there is no task per key.
All methods belong to the event loop's thread, and all times are the loop's.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from contextlib import suppress
from enum import Enum
from typing import Final, Generic, TypeVar

from msgspec import Struct

K = TypeVar("K", bound=Hashable)

FIRST_RETRY: Final = 0.1
"""Seconds before the first retry of a failed key, at least."""
LAST_RETRY: Final = 60.0
"""Seconds between retries of a key that keeps failing, at most."""

_SLICE: Final = 0.01
"""Seconds of handing out without a break before the rest of the process gets its turn: a key that needs nothing done
is decided on without waiting, and ten thousand of them would hold up the requests for the others."""

_AT_ONCE: Final = float("-inf")


class _Same(Enum):
    """The default for a flow that is not named."""

    FLOW = "same"


class QueueClosed(Exception):
    """The queue hands out no more keys: the controller is stopping."""


class Statistics(Struct, frozen=True):
    """The queue at one moment."""

    ready: int
    """Keys that wait for a worker."""
    delayed: int
    """Keys that wait for their time."""
    processing: int
    """Keys in the hands of workers."""
    flows: int
    """Flows that have ready keys."""
    retrying: int
    """Keys that failed last time and were not forgotten since."""
    adds: int
    """Calls of `add` and `add_at` since the start; those merged into a waiting key count too."""
    oldest_wait_seconds: float
    """How long the key that is ready longest has waited for a worker; 0 if none waits."""


class Queue(Generic[K]):
    """A fair queue of keys that are each worked on by one worker at a time.

    `waited` is told, at each `get`, the seconds that the key was ready and waited for a worker. `places` tells how many
    keys may be in hand at once (at least 1), and is asked before each is handed out; None: as many as there are
    workers. When it grows, the next `done` shows it.
    """

    def __init__(
        self,
        *,
        waited: Callable[[float], None] | None = None,
        random: Callable[[], float] = random.random,
        places: Callable[[], int] | None = None,
    ) -> None:
        self._waited = waited
        self._places = places
        self._random = random
        # The flow whose turn it is stands first; each holds its keys in order, with the time they got ready.
        # OrderedDicts, for taking the first of a plain dict that shrinks from the front is O(n).
        self._flows: OrderedDict[Hashable, OrderedDict[K, float]] = OrderedDict()
        self._flow_of: dict[K, Hashable] = {}
        # Delayed keys: the dict is the truth, the heap may hold outdated entries, told by their number.
        self._delayed: dict[K, tuple[float, int, Hashable]] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._number = 0
        self._timer: asyncio.Handle | None = None
        self._rings_at = _AT_ONCE
        """What the timer is set to. Not asked of it: a loop that rounds may give a handle that knows no time."""
        self._processing: dict[K, Hashable] = {}
        self._in_hand: dict[Hashable, int] = {}
        """Flow -> how many of its keys are in the hands of workers; without those that have none."""
        self._dirty: dict[K, tuple[float, Hashable]] = {}
        self._failures: dict[K, int] = {}
        self._since: dict[K, float] = {}
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._closed = False
        self._paused_at = _AT_ONCE
        """When `get` last let others run."""
        self._adds = 0

    # --- asking for work ---------------------------------------------------------------------------

    def add(self, key: K, *, flow: Hashable = _Same.FLOW) -> None:
        """Ask for `key` to be worked on as soon as it is its turn in `flow`.

        A key that is ready keeps its place and flow; a delayed one becomes ready. A key that is being worked
        on becomes ready again at its `done`, so that what was added is never missed.

        Where no flow is named, a key that is being worked on or delayed stays in the flow it has: one of a
        crowd that is put off does not leave the crowd. Any other key is in the flow None, as good as any.
        """
        self._adds += 1
        self._put(key, _AT_ONCE, flow, self._note(key))

    def add_at(self, key: K, when: float, *, flow: Hashable = _Same.FLOW) -> None:
        """Ask for `key` to be worked on at `when` (loop time). An earlier time that is already set stays."""
        self._adds += 1
        self._put(key, when, flow, self._note(key))

    def retry(self, key: K, *, at_least: float = 0.0) -> float:
        """Ask for a failed key again, after a delay that doubles with each failure; returns the delay.

        0.1 to 0.2 s after the first failure, 30 to 60 s in the end, for ever: a workload is never given up
        (rule 1 of the design). Half of the delay is random, so that a thousand workloads that failed
        together do not come back together. `at_least` is the server's own word (Retry-After), in seconds.
        Call it before `done`: the key then stays in its flow.
        """
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        ceiling = min(2 * FIRST_RETRY * 2.0 ** min(failures, 32), LAST_RETRY)
        delay = max(ceiling * (0.5 + 0.5 * self._random()), at_least)
        now = self._note(key)
        self._put(key, now + delay, _Same.FLOW, now)
        return delay

    def forget(self, key: K) -> None:
        """The key succeeded: its next failure starts with the shortest delay again."""
        self._failures.pop(key, None)

    def discard(self, key: K) -> None:
        """What the key stands for is gone: it waits no more, and its failures are forgotten.

        A worker that has the key in hand keeps it, and still owes its `done`.
        """
        if key in self._flow_of:
            self._leave_flow(key)
        self._delayed.pop(key, None)
        self._dirty.pop(key, None)
        self._failures.pop(key, None)
        self._since.pop(key, None)

    # --- doing the work ----------------------------------------------------------------------------

    async def get(self) -> K:
        """The next key, first of the flow whose turn it is; `done` must follow. Waits until there is one.

        Raises QueueClosed after `close`, whatever still waits.
        """
        if _now() - self._paused_at > _SLICE:
            await asyncio.sleep(0)
            self._paused_at = _now()
        while not self._closed and (flow := self._next_flow()) is _Same.FLOW:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self._wake_one()  # woken and cancelled in the same moment: pass it on, or a key is left
                else:
                    with suppress(ValueError):  # _wake_one drops cancelled waiters that it passes
                        self._waiters.remove(waiter)
                raise
        if self._closed:
            raise QueueClosed("the queue is closed: no more work is handed out")
        keys = self._flows[flow]
        key, ready_at = keys.popitem(last=False)
        if keys:
            self._flows.move_to_end(flow)
        else:
            del self._flows[flow]
        del self._flow_of[key]
        self._since.pop(key, None)
        self._processing[key] = flow
        self._in_hand[flow] = self._in_hand.get(flow, 0) + 1
        if self._places is not None and self._next_flow() is not _Same.FLOW:
            self._wake_one()  # there may be room for several since the last `done`
        if self._waited is not None:
            self._waited(max(0.0, _now() - ready_at))
        return key

    def done(self, key: K) -> None:
        """The worker's hands are off the key. If it was added in between, it waits again.

        Raises ValueError if no worker has it.
        """
        if key not in self._processing:
            raise ValueError(f"done() for {key}, which was not handed out, or was done already")
        flow = self._processing.pop(key)
        if self._in_hand[flow] > 1:
            self._in_hand[flow] -= 1
        else:
            del self._in_hand[flow]
        dirty = self._dirty.pop(key, None)
        if dirty is not None:
            when, flow = dirty
            self._put(key, when, flow, _now())
        if self._places is not None and self._next_flow() is not _Same.FLOW:
            self._wake_one()

    def close(self) -> None:
        """Hand out nothing more: all waiting and later `get` raise QueueClosed. `done` works as before."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiters:
            self._wake_one()

    # --- looking at it -----------------------------------------------------------------------------

    def __len__(self) -> int:
        """How many keys are ready and wait for a worker."""
        return len(self._flow_of)

    @property
    def in_hand(self) -> int:
        """How many keys are in the hands of workers."""
        return len(self._processing)

    def since(self, key: K) -> float | None:
        """Loop time at which the key was first asked for since it was last handed out; None if it was not."""
        return self._since.get(key)

    def due_within(self, seconds: float) -> int:
        """How many delayed keys get ready within so many seconds. O(delayed)."""
        until = _now() + seconds
        return sum(when <= until for when, _, _ in self._delayed.values())

    def statistics(self) -> Statistics:
        """The queue now. O(flows)."""
        # The first of each flow is its oldest, for a key only ever joins at the end of its flow.
        oldest = min((next(iter(keys.values())) for keys in self._flows.values()), default=None)
        return Statistics(
            ready=len(self._flow_of),
            delayed=len(self._delayed),
            processing=len(self._processing),
            flows=len(self._flows),
            retrying=len(self._failures),
            adds=self._adds,
            oldest_wait_seconds=max(0.0, _now() - oldest) if oldest is not None else 0.0,
        )

    # --- inside ------------------------------------------------------------------------------------

    def _next_flow(self) -> Hashable:
        """The flow whose turn it is, of those that may have another key handed out; _Same.FLOW: none may.

        O(places): a flow that has nothing in hand may always, and of others there are no more than places.
        """
        if self._places is None or not self._flows:
            return next(iter(self._flows), _Same.FLOW)
        places, taken = max(1, self._places()), len(self._processing)
        if taken >= places:
            return _Same.FLOW
        # Of flows that are at work. Keys that are only asked about, and need nothing, are done at once.
        share = max(1, (places - 1) // max(1, len(self._in_hand)))
        for flow in self._flows:
            mine = self._in_hand.get(flow, 0)
            if not mine or (mine < share and taken < places - 1):
                return flow
        return _Same.FLOW

    def _note(self, key: K) -> float:
        now = _now()
        self._since.setdefault(key, now)
        return now

    def _put(self, key: K, when: float, flow: Hashable, now: float) -> None:
        """Put the key where it belongs if it is asked for at `when`."""
        if key in self._processing:
            dirty = self._dirty.get(key)
            if dirty is None or when < dirty[0]:
                self._dirty[key] = (when, self._processing[key] if flow is _Same.FLOW else flow)
        elif key not in self._flow_of:
            delayed = self._delayed.get(key)
            if flow is _Same.FLOW:
                flow = delayed[2] if delayed is not None else None
            if when <= now:
                self._delayed.pop(key, None)
                self._make_ready(key, flow, now)
            elif delayed is None or when < delayed[0]:
                self._delay(key, when, flow)

    def _make_ready(self, key: K, flow: Hashable, now: float) -> None:
        keys = self._flows.get(flow)
        if keys is None:
            keys = self._flows[flow] = OrderedDict()
        keys[key] = now
        self._flow_of[key] = flow
        self._wake_one()

    def _leave_flow(self, key: K) -> None:
        flow = self._flow_of.pop(key)
        keys = self._flows[flow]
        del keys[key]
        if not keys:
            del self._flows[flow]

    def _wake_one(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _delay(self, key: K, when: float, flow: Hashable) -> None:
        self._number += 1
        self._delayed[key] = (when, self._number, flow)
        heapq.heappush(self._heap, (when, self._number, key))
        if len(self._heap) > 2 * len(self._delayed) + 64:
            # Mostly outdated entries: rebuilt at a cost that the pushes since the last time have paid for.
            self._heap = [(entry[0], entry[1], key) for key, entry in self._delayed.items()]
            heapq.heapify(self._heap)
        self._set_timer()

    def _set_timer(self) -> None:
        """Have the timer ring no later than the first delayed key is due. A ring too early is harmless."""
        if self._closed or not self._heap:
            return
        when = self._heap[0][0]
        if self._timer is not None:
            if self._rings_at <= when:
                return
            self._timer.cancel()
        self._rings_at = when
        self._timer = asyncio.get_running_loop().call_at(when, self._ring)

    def _ring(self) -> None:
        # The loop may ring early by its clock's resolution, which is a millisecond with uvloop; what it rang for is due
        # nevertheless.
        self._timer = None
        now = _now()
        due = max(now, self._rings_at)
        while self._heap and self._heap[0][0] <= due:
            _, number, key = heapq.heappop(self._heap)
            entry = self._delayed.get(key)
            if entry is not None and entry[1] == number:
                del self._delayed[key]
                self._make_ready(key, entry[2], now)
        self._set_timer()


def _now() -> float:
    return asyncio.get_running_loop().time()
