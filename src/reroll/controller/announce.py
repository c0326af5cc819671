"""Tells a webhook of each change in place of rolling anybody: Reloader's ``--webhook-url``.

A change that arrives while an earlier one of the same object waits to be told is told with it. What can't be told after
all tries is logged and given up: there is no record on the server by which it could be found again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from reroll.alerts.delivery import DeliveryError
from reroll.alerts.webhook import Webhook
from reroll.controller.store import Store
from reroll.core.records import ConfigId

log = structlog.get_logger("reroll.controller")


class Announcer:
    """Collects changes (`arrived`) and posts them (`run`).

    `events`: which of add, update and delete are told. `may_act`: whether this controller is the one that acts.
    """

    def __init__(
        self,
        webhook: Webhook,
        store: Store,
        events: frozenset[str],
        *,
        may_act: Callable[[], bool],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._webhook, self._store, self._events = webhook, store, events
        self._may_act, self._now = may_act, now
        self._waiting: dict[ConfigId, tuple[str, float]] = {}
        self._more = asyncio.Event()
        self.idle = asyncio.Event()
        """Nothing waits to be told."""
        self.idle.set()

    def arrived(self, event: str, config: ConfigId) -> None:
        """A config object was created (add), changed (update) or deleted (delete)."""
        if event in self._events and self._may_act():
            _, since = self._waiting.get(config, ("", self._now()))
            self._waiting[config] = (event, since)  # the last event tells what there is now
            self.idle.clear()
            self._more.set()

    async def run(self) -> None:
        """Post what arrives, until cancelled."""
        async with self._webhook:
            while True:
                await self._more.wait()
                self._more.clear()
                while self._waiting:
                    config = next(iter(self._waiting))
                    event, at = self._waiting.pop(config)
                    await self._tell(config, event, at)
                self.idle.set()

    async def _tell(self, config: ConfigId, event: str, at: float) -> None:
        workloads = sorted(self._store.consumers(config))
        try:
            await self._webhook.send(config, workloads, at=at, reason="" if event == "update" else event)
        except DeliveryError as error:
            log.warning("the webhook was not told of a change", config=str(config), problem=str(error))
        else:
            log.info("the webhook was told of a change", config=str(config), consumers=len(workloads))
