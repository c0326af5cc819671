"""Tells a webhook of each change in place of rolling anybody: Reloader's ``--webhook-url``.

A change that arrives while an earlier one of the same object waits to be told is told with it. What can't be told after
all tries is logged and given up: there is no record on the server by which it could be found again. For the same
reason a controller that stands by remembers what the one that leads may not have told, and tells it when it leads
itself; and who loses the lead goes on with what it was to tell. Rather twice than never.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from typing import Final, NamedTuple

import structlog

from reroll.alerts.delivery import DeliveryError
from reroll.alerts.webhook import Webhook
from reroll.controller.metrics import Delivered
from reroll.controller.store import Store
from reroll.core.records import ConfigId
from reroll.kube.election import LeaderElection, running_time
from reroll.settings import Settings

log = structlog.get_logger("reroll.controller")

BEHIND: Final = "reroll.dev/behind-seconds"
"""Annotation of the Lease: by how many seconds its holder was behind with telling at its last renewal, if it was."""
_SLACK: Final = 5.0
"""Seconds by which two controllers may see one and the same change apart from each other."""
_AT_ONCE: Final = 8
"""Posts that are under way at the same time: one that hangs must not hold up all others."""
_NAMED: Final = 10
"""How many of the objects whose changes are left untold are named in the log."""


class _Change(NamedTuple):
    event: str
    """add, update or delete; of several the last, which tells what there is now."""
    version: int
    at: float
    """When the first of them arrived, in seconds since the epoch."""
    first: float
    """The same by `clock`."""
    last: float
    """When the last of them arrived, by `clock`."""


class Announcer:
    """Collects changes (`arrived`) and posts them (`run`).

    `events`: which of add, update and delete are told. `may_act`: whether this controller is the one that acts.
    `others_done_until`: up to which time, by `clock`, another one had told everything when it was last seen; -inf: none
    was seen.
    """

    def __init__(
        self,
        webhook: Webhook,
        store: Store,
        events: frozenset[str],
        *,
        may_act: Callable[[], bool],
        others_done_until: Callable[[], float] = lambda: float("-inf"),
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = running_time,
    ) -> None:
        self._webhook, self._store, self._events = webhook, store, events
        self._may_act, self._others_done_until = may_act, others_done_until
        self._now, self._clock = now, clock
        self._waiting: dict[ConfigId, _Change] = {}
        self._telling: dict[ConfigId, _Change] = {}
        """Those that are being posted, one of each object at a time."""
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
        now = self._clock()
        change = _Change(event, version, self._now(), now, now)
        _add(self._waiting if mine else self._left_to_others, config, change)
        if mine:
            self._wake()

    def lead(self) -> None:
        """From now on this controller acts: what another one may not have told is told."""
        self._trust_others()
        for config, change in self._left_to_others.items():
            _add(self._waiting, config, change)
        self._left_to_others.clear()
        if self._waiting:
            self._wake()

    def behind(self) -> float:
        """For how many seconds the oldest change of those that are not told yet has waited; 0: all are told."""
        changes = [*self._waiting.values(), *self._telling.values()]
        return max((self._clock() - change.first for change in changes), default=0.0)

    async def act(self, stopping: asyncio.Event, within: float) -> None:
        """Lead until `stopping` is set, and tell what is left then, for `within` seconds at most."""
        self.lead()
        await stopping.wait()
        log.info("stopping: sending the changes that the webhook has not received")
        await self.tell_the_rest(within)

    async def tell_the_rest(self, within: float) -> None:
        """Wait until the webhook was told of everything, for `within` seconds at most."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.idle.wait(), max(0.0, within))

    def statistics(self) -> Delivered:
        """What became of what was posted."""
        return self._webhook.statistics()

    async def run(self) -> None:
        """Post what arrives, until cancelled. Says what is left then."""
        async with self._webhook:
            try:
                async with asyncio.TaskGroup() as posts:
                    while True:
                        await self._more.wait()
                        self._more.clear()
                        for config in self._next():
                            change = self._telling[config] = self._waiting.pop(config)
                            posts.create_task(self._tell(config, change))
            finally:
                self._give_up()

    def _next(self) -> list[ConfigId]:
        """Those to be told now, in the order of their arrival."""
        free = _AT_ONCE - len(self._telling)
        return list(islice((config for config in self._waiting if config not in self._telling), free))

    def _wake(self) -> None:
        self.idle.clear()
        self._more.set()

    def _trust_others(self) -> None:
        """Forget what arrived before another one had told everything."""
        until = self._others_done_until() - _SLACK
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
            log.warning(
                "webhook call failed: the change was not delivered", config=str(config), problem=str(error)
            )
        else:
            log.info("webhook called: a change was delivered", config=str(config), consumers=len(workloads))
        del self._telling[config]
        if self._waiting:
            self._more.set()
        elif not self._telling:
            self.idle.set()

    def _give_up(self) -> None:
        left = sorted(str(config) for config in {**self._waiting, **self._telling})
        if not left:
            return
        self._webhook.give_up(len(left))
        log.warning(
            "stopped before the webhook received all changes: only a standby controller can still send them",
            changes=len(left),
            configs=left[:_NAMED],
        )


def _add(changes: dict[ConfigId, _Change], config: ConfigId, change: _Change) -> None:
    """Put a change behind all others, together with an earlier one of the same object."""
    earlier = changes.pop(config, None)
    changes[config] = change if earlier is None else change._replace(at=earlier.at, first=earlier.first)


def announcer_of(
    settings: Settings, store: Store, election: LeaderElection | None, may_act: Callable[[], bool]
) -> Announcer | None:
    """The announcer that the settings ask for, if they do. `may_act`: see `Announcer`."""
    if not settings.webhook_url:
        return None
    events = {"update"}
    events |= {"add"} if settings.on_create == "always" else set()
    events |= {"delete"} if settings.on_delete else set()
    webhook = Webhook(settings.webhook_url, proxy=settings.alert_proxy)

    def others_done_until() -> float:
        return election.others_done_until if election is not None else float("-inf")

    return Announcer(webhook, store, frozenset(events), may_act=may_act, others_done_until=others_done_until)
