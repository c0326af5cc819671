"""The webhook in place of rollouts: who tells what, when the lead goes from one to another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from structlog.testing import capture_logs

from reroll.alerts.webhook import Webhook, change_id
from reroll.controller.announce import Announcer
from reroll.controller.store import Store
from reroll.core.digests import DigestKey
from reroll.core.records import ConfigId, WorkloadId

APP = ConfigId("configmap", "shop", "app")
DB = ConfigId("secret", "shop", "db")

Post = tuple[str, str, int]


class Recorded(Webhook):
    """Writes down what it is told; waits while it is held, or the object is."""

    def __init__(self) -> None:
        super().__init__("http://example.invalid/")
        self.posts: list[Post] = []
        self.open = asyncio.Event()
        self.open.set()
        self.asked = asyncio.Event()
        """It was told something, which may wait."""
        self._held: dict[str, asyncio.Event] = {}

    def hold(self, name: str) -> asyncio.Event:
        """Posts of this object wait until what is returned is set."""
        return self._held.setdefault(name, asyncio.Event())

    async def send(self, config: ConfigId, workloads: Sequence[WorkloadId] = (), **told: Any) -> None:
        self.asked.set()
        await self.open.wait()
        if config.name in self._held:
            await self._held[config.name].wait()
        self.posts.append((config.name, told["reason"], told["version"]))


class Play:
    """One controller, whose clock and whose lead the test sets."""

    def __init__(self, *, leads: bool) -> None:
        self.leads, self.time, self.others_done_until = leads, 1000.0, float("-inf")
        self.webhook = Recorded()
        self.announcer = Announcer(
            self.webhook,
            Store(DigestKey(bytes(32))),
            frozenset({"update", "delete"}),
            may_act=lambda: self.leads,
            others_done_until=lambda: self.others_done_until,
            clock=lambda: self.time,
        )

    async def told(self) -> list[Post]:
        await asyncio.wait_for(self.announcer.idle.wait(), 5.0)
        return self.webhook.posts


@asynccontextmanager
async def play(*, leads: bool) -> AsyncIterator[Play]:
    one = Play(leads=leads)
    running = asyncio.create_task(one.announcer.run())
    try:
        yield one
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_each_change_is_told_once_and_what_was_not_asked_for_is_not() -> None:
    async with play(leads=True) as one:
        one.announcer.arrived("update", APP, 5)
        one.announcer.arrived("add", DB, 6)
        one.announcer.arrived("delete", DB, 7)
        assert await one.told() == [("app", "", 5), ("db", "delete", 7)]
        one.announcer.arrived("update", APP, 8)
        assert (await one.told())[2:] == [("app", "", 8)]


async def test_changes_of_one_object_that_wait_are_told_together() -> None:
    async with play(leads=True) as one:
        one.webhook.open.clear()
        for version in (5, 6, 7):
            one.announcer.arrived("update", APP, version)
            # The first is being told when the others come.
            await asyncio.sleep(0)
            if version == 5:
                async with asyncio.timeout(5.0):
                    await one.webhook.asked.wait()
        one.webhook.open.set()
        assert [post[2] for post in await one.told()] == [5, 7]


async def test_who_stands_by_tells_what_the_last_leader_may_not_have_told() -> None:
    async with play(leads=False) as one:
        one.others_done_until = 1000.0
        one.announcer.arrived("update", APP, 5)
        one.time = one.others_done_until = 1020.0
        one.time = 1021.0
        one.announcer.arrived("update", DB, 9)
        assert await one.told() == []
        one.time, one.leads = 1036.0, True
        one.announcer.lead()
        assert await one.told() == [("db", "", 9)]


async def test_what_came_shortly_before_the_last_sign_of_life_is_told_again() -> None:
    async with play(leads=False) as one:
        one.announcer.arrived("update", APP, 5)
        one.time = one.others_done_until = 1003.0
        one.leads = True
        one.announcer.lead()
        assert await one.told() == [("app", "", 5)]


async def test_without_any_other_everything_is_told() -> None:
    """A change between the first list and the beginning of work."""
    async with play(leads=False) as one:
        one.announcer.arrived("update", APP, 5)
        one.time, one.leads = 2000.0, True
        one.announcer.lead()
        assert await one.told() == [("app", "", 5)]


async def test_who_loses_the_lead_still_tells_what_it_was_to_tell_and_leaves_what_comes_later() -> None:
    async with play(leads=True) as one:
        one.webhook.open.clear()
        one.announcer.arrived("update", APP, 5)
        await asyncio.sleep(0.01)  # being told
        one.announcer.arrived("update", APP, 6)
        one.leads = False
        one.announcer.arrived("update", DB, 7)
        one.webhook.open.set()
        assert await one.told() == [("app", "", 5), ("app", "", 6)]
        one.time = one.others_done_until = 1010.0
        one.time, one.leads = 1030.0, True
        one.announcer.lead()
        assert len(await one.told()) == 2


async def test_who_leads_again_tells_the_later_of_two_changes_of_one_object() -> None:
    async with play(leads=True) as one:
        one.webhook.open.clear()
        for version in (5, 6):
            one.announcer.arrived("update", APP, version)
            await asyncio.sleep(0.01)
        one.leads = False
        one.announcer.arrived("delete", APP, 6)
        one.leads = True
        one.announcer.lead()
        one.webhook.open.set()
        assert await one.told() == [("app", "", 5), ("app", "delete", 6)]


async def test_a_backlog_of_the_last_leader_is_told_by_the_next() -> None:
    """100 changes, of which the leader could tell but a few in all the time until it went."""
    async with play(leads=True) as leader, play(leads=False) as next_one:
        leader.webhook.open.clear()
        for number in range(100):
            for one in (leader, next_one):
                one.announcer.arrived("update", ConfigId("configmap", "shop", f"app-{number}"), number)
        leader.time = next_one.time = 1060.0
        assert leader.announcer.behind() == 60.0
        next_one.others_done_until = 1060.0 - leader.announcer.behind()
        next_one.leads = True
        next_one.announcer.lead()
        assert len(await next_one.told()) == 100
        assert next_one.announcer.behind() == 0.0


async def test_a_post_that_hangs_holds_up_no_other_object_and_no_order_of_its_own() -> None:
    async with play(leads=True) as one:
        held = one.webhook.hold("app")
        one.announcer.arrived("update", APP, 5)
        await asyncio.sleep(0.01)
        one.announcer.arrived("update", APP, 6)
        one.announcer.arrived("update", DB, 7)
        await asyncio.sleep(0.01)
        assert one.webhook.posts == [("db", "", 7)]
        held.set()
        assert (await one.told())[1:] == [("app", "", 5), ("app", "", 6)]


async def test_what_is_left_untold_at_the_end_is_said_and_counted() -> None:
    with capture_logs() as logs:
        async with play(leads=True) as one:
            one.webhook.hold("app")
            one.announcer.arrived("update", APP, 5)
            await asyncio.sleep(0.01)
            one.announcer.arrived("update", APP, 6)
    (said,) = [entry for entry in logs if entry["log_level"] == "warning"]
    assert (said["changes"], said["configs"]) == (1, ["configmap/shop/app"])
    assert one.webhook.statistics().failed == 1


def test_one_change_has_one_id_whoever_tells_of_it() -> None:
    assert change_id(APP, "", 5) == change_id(APP, "", 5)
    assert len({change_id(APP, "", 5), change_id(APP, "", 6), change_id(DB, "", 5)}) == 3
    assert change_id(APP, "", 5) != change_id(APP, "delete", 5)
    assert change_id(APP, "", 0) != change_id(APP, "", 0)  # not known
