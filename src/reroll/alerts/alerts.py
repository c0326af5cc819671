"""The queue between what the controller does and whom it tells. Nobody ever waits for it.

Every target has a queue of its own, so that one that hangs holds up no other. What comes within a window is
one message. A message that is not taken is tried again for some minutes and then dropped and counted; so are the
oldest notices when too many wait: alerts are news and no record of truth.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import structlog
from msgspec import Struct

from reroll.alerts.addresses import parse_targets
from reroll.alerts.delivery import DeliveryError, Poster, persist
from reroll.alerts.message import Message, Style, compose
from reroll.alerts.notice import Notice
from reroll.alerts.target import Target
from reroll.kube.backoff import Backoff
from reroll.settings import Settings

log = structlog.get_logger("reroll.alerts")

_WARN_EVERY: Final = 600.0  # seconds between log lines about one target


class AlertStatistics(Struct, frozen=True):
    """What became of the notices so far. With several targets each counts, except in `noticed`."""

    noticed: int
    """Calls of `Alerts.put`."""
    waiting: int
    """Notices that wait, or are in a message on its way."""
    sent: int
    """Messages that were taken."""
    told: int
    """Notices in them."""
    retried: int
    """Tries that failed and were followed by another."""
    failed: int
    """Messages that were given up."""
    dropped: int
    """Notices that nobody is told of: in messages that were given up, or too many waited."""
    problem: str
    """Why the last try failed, for each target where it did; "" if none did."""


class Alerts:
    """Tells `targets`. `put` from anywhere in the event loop; `run` beside everything else.

    `window`: seconds from a first notice to its message, in which others join it. `most`: notices told one by one
    in a message. `room`: notices that may wait for each target. `attempts`: tries of a message, over some two
    minutes with the usual backoff. `info` is put in front of each message. `proxy` and `timeout` are `Poster`'s.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        *,
        style: Style = "reroll",
        info: str = "",
        window: float = 5.0,
        most: int = 20,
        room: int = 1000,
        attempts: int = 7,
        proxy: str = "",
        timeout: float = 10.0,
        backoff: Callable[[], Backoff] = lambda: Backoff(1.0, 60.0),
    ) -> None:
        self._poster = Poster(proxy=proxy, timeout=timeout)
        self._noticed = 0
        self._hurry = asyncio.Event()

        def written(notices: Sequence[Notice], lost: int, limit: int) -> Message:
            return compose(notices, style=style, info=info.strip(), lost=lost, most=most, limit=limit)

        self._lines = [
            _Line(target, self._hurry, written, window, room, attempts, backoff) for target in targets
        ]

    def put(self, notice: Notice) -> None:
        """Have it told. Returns at once, whatever happens to it."""
        self._noticed += 1
        for line in self._lines:
            line.put(notice)

    async def run(self) -> None:
        """Send what is put, until cancelled."""
        async with self._poster as poster, asyncio.TaskGroup() as group:
            for line in self._lines:
                group.create_task(line.run(poster), name=f"alerts to {line.target.label}")

    async def flush(self, seconds: float) -> None:
        """Send what waits now, without waiting for a window; for `seconds` at most. `run` has to run beside it."""
        self._hurry.set()
        try:
            async with asyncio.timeout(seconds):
                for line in self._lines:
                    await line.idle.wait()
        except TimeoutError:
            log.warning("some alerts were not sent in time", waiting=self.statistics().waiting)
        finally:
            self._hurry.clear()

    def dropped(self) -> int:
        """Notices that nobody is told of."""
        return sum(line.dropped for line in self._lines)

    def statistics(self) -> AlertStatistics:
        """What became of the notices so far."""
        lines = self._lines
        return AlertStatistics(
            noticed=self._noticed,
            waiting=sum(len(line.waiting) + line.on_the_way for line in lines),
            sent=sum(line.sent for line in lines),
            told=sum(line.told for line in lines),
            retried=sum(line.retried for line in lines),
            failed=sum(line.failed for line in lines),
            dropped=self.dropped(),
            problem="; ".join(line.problem for line in lines if line.problem),
        )


class _Line:
    """The queue of one target."""

    def __init__(
        self,
        target: Target,
        hurry: asyncio.Event,
        written: Callable[[Sequence[Notice], int, int], Message],
        window: float,
        room: int,
        attempts: int,
        backoff: Callable[[], Backoff],
    ) -> None:
        self.target = target
        self.waiting: deque[Notice] = deque()
        self.on_the_way = 0
        self.sent = self.told = self.retried = self.failed = self.dropped = 0
        self.problem = ""
        self.idle = asyncio.Event()
        self.idle.set()
        self._something = asyncio.Event()
        self._lost = 0  # dropped since the last message
        self._warned_at = -_WARN_EVERY
        self._hurry, self._written = hurry, written
        self._window, self._room, self._attempts, self._backoff = window, room, attempts, backoff

    def put(self, notice: Notice) -> None:
        if len(self.waiting) >= self._room:
            self.waiting.popleft()
            self._drop(1, "too many wait; the oldest go first")
        self.waiting.append(notice)
        self.idle.clear()
        self._something.set()

    async def run(self, poster: Poster) -> None:
        while True:
            await self._something.wait()
            await self._until_the_window_closes()
            batch, lost = tuple(self.waiting), self._lost
            self.waiting.clear()
            self._something.clear()
            self._lost = 0
            self.on_the_way = len(batch)
            try:
                await self._send(batch, lost, poster)
            finally:
                self.on_the_way = 0
            if not self.waiting:
                self.idle.set()

    async def _until_the_window_closes(self) -> None:
        try:
            async with asyncio.timeout(self._window):
                await self._hurry.wait()
        except TimeoutError:
            pass

    async def _send(self, batch: Sequence[Notice], lost: int, poster: Poster) -> None:
        message = self._written(batch, lost, self.target.limit)
        try:
            await persist(
                lambda: self.target.deliver(message, poster),
                attempts=self._attempts,
                backoff=self._backoff(),
                retried=self._again,
            )
        except Exception as error:  # a fault in one target must not end the controller
            known = isinstance(error, DeliveryError)
            self.problem = str(error) if known else f"{self.target.label}: {type(error).__name__}"
            self.failed += 1
            self._lost += lost
            self._drop(len(batch), self.problem)
        else:
            if self.problem:
                log.info("alerts are taken again", target=self.target.label)
            self.problem = ""
            self.sent += 1
            self.told += len(batch)

    def _again(self, error: DeliveryError) -> None:
        self.retried += 1
        self.problem = str(error)
        log.debug("an alert was not taken and is tried again", problem=str(error))

    def _drop(self, count: int, why: str) -> None:
        self.dropped += count
        self._lost += count
        if (now := time.monotonic()) - self._warned_at >= _WARN_EVERY:
            self._warned_at = now
            log.warning("alerts are dropped", target=self.target.label, problem=why, dropped=self.dropped)


def alerts_of(settings: Settings, style: Style) -> Alerts | None:
    """The alerts that the settings ask for, if they do. Raises ValueError for an address that is not understood."""
    if not settings.alert_url:
        return None
    targets = parse_targets(settings.alert_url, settings.alert_sink)
    return Alerts(targets, style=style, info=settings.alert_info, proxy=settings.alert_proxy)
