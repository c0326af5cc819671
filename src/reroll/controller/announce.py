"""Tells a webhook of each change in place of rolling anybody: Reloader's ``--webhook-url``.

A change that arrives while an earlier one of the same object waits to be told is told with it. What can't be told after
all tries is logged and given up: there is no record on the server by which it could be found again. For the same
reason a controller that stands by remembers what the one that leads may not have told in the last seconds before it
went, and tells it when it leads itself: rather twice than never.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

import structlog

from reroll.alerts.delivery import DeliveryError
from reroll.alerts.webhook import Webhook
from reroll.controller.store import Store
from reroll.core.records import ConfigId
from reroll.kube.lease import running_time

log = structlog.get_logger("reroll.controller")

_BEFORE = 5.0
"""Seconds before its last sign of life for which a leader that went may have left something untold."""


class _Change(NamedTuple):
    event: str
    """add, update or delete; of several the last, which tells what there is now."""
    version: int
    at: float
    """When the first of them arrived, in seconds since the epoch."""
    last: float
    """When the last of them arrived, by `clock`."""


class Announcer:
    """Collects changes (`arrived`) and posts them (`run`).

    `events`: which of add, update and delete are told. `may_act`: whether this controller is the one that acts.
    `others_seen_at`: when another one that acts was last seen alive, by `clock`; -inf: never.
    """

    def __init__(
        self,
        webhook: Webhook,
        store: Store,
        events: frozenset[str],
        *,
        may_act: Callable[[], bool],
        others_seen_at: Callable[[], float] = lambda: float("-inf"),
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = running_time,
    ) -> None:
        self._webhook, self._store, self._events = webhook, store, events
        self._may_act, self._others_seen_at = may_act, others_seen_at
        self._now, self._clock = now, clock
        self._waiting: dict[ConfigId, _Change] = {}
        self._left_to_others: dict[ConfigId, _Change] = {}
        self._more = asyncio.Event()
        self.idle = asyncio.Event()
        """Nothing waits to be told."""
        self.idle.set()

    def arrived(self, event: str, config: ConfigId, version: int) -> None:
        """A config object was created (add), changed (update) or deleted (delete); `version`: its resourceVersion."""
        if event not in self._events:
            return
        self._trust_others()
        mine = self._may_act()
        of = self._waiting if mine else self._left_to_others
        earlier = of.pop(config, None)
        at = earlier.at if earlier is not None else self._now()
        of[config] = _Change(event, version, at, self._clock())
        if mine:
            self._wake()

    def lead(self) -> None:
        """From now on this controller acts: what another one may not have told is told."""
        self._trust_others()
        for config, change in self._left_to_others.items():
            self._waiting.setdefault(config, change)
        self._left_to_others.clear()
        if self._waiting:
            self._wake()

    def stand_by(self) -> None:
        """From now on another one acts: what was not told is left to it."""
        self._left_to_others = {**self._waiting, **self._left_to_others}
        self._waiting.clear()

    async def run(self) -> None:
        """Post what arrives, until cancelled."""
        async with self._webhook:
            while True:
                await self._more.wait()
                self._more.clear()
                while self._waiting:
                    config = next(iter(self._waiting))
                    await self._tell(config, self._waiting.pop(config))
                self.idle.set()

    def _wake(self) -> None:
        self.idle.clear()
        self._more.set()

    def _trust_others(self) -> None:
        """Forget what arrived long enough before another one was last seen alive: it told that."""
        until = self._others_seen_at() - _BEFORE
        for config, change in list(self._left_to_others.items()):
            if change.last >= until:
                break  # they stand in the order of their arrival
            del self._left_to_others[config]

    async def _tell(self, config: ConfigId, change: _Change) -> None:
        workloads = sorted(self._store.consumers(config))
        reason = "" if change.event == "update" else change.event
        try:
            await self._webhook.send(config, workloads, at=change.at, reason=reason, version=change.version)
        except DeliveryError as error:
            log.warning("the webhook was not told of a change", config=str(config), problem=str(error))
        else:
            log.info("the webhook was told of a change", config=str(config), consumers=len(workloads))
