"""Watches break, expire and lie: nothing is missed, and nothing is taken for a change that is none."""

from __future__ import annotations

import pytest

from tests.alerts.service import Service
from tests.faults.proxy import (
    EXPIRED,
    EXPIRED_EVENT,
    Answer,
    EndWatch,
    ErrorEvent,
    Fault,
    FaultProxy,
    NoBookmarks,
    Silence,
)
from tests.faults.world import World

LIST = "sendInitialEvents=true"
RESUME = r"watch=true&resourceVersion=\d"


@pytest.mark.parametrize("abort", [False, True], ids=["ended", "broken"])
async def test_dropped_all_the_time_under_load(world: World, proxy: FaultProxy, abort: bool) -> None:
    """Each watch lives for part of a second while twelve ConfigMaps change again and again."""
    names = [f"app-{number}" for number in range(12)]
    for name in names:
        await world.config_map(name, {"A": "0"})
        await world.workload(name, config_maps=[name])
    control = await world.controller(proxy.url, settle=0.0)
    await world.until_adopted(*names)

    dropping = proxy.add(EndWatch(0.4, abort=abort), "watch")
    proxy.drop_watches()
    for value in range(1, 7):
        for name in names:
            await world.config_map(name, {"A": str(value)})
        for name in names:
            await world.until_rolled(name, value)
    assert dropping.hits > 3, "the watches were dropped"  # how often depends on how fast it all went
    await world.until_idle(control)
    assert await world.all_rollouts() == dict.fromkeys(names, 6)


async def test_dropped_every_second(world: World, proxy: FaultProxy) -> None:
    """As the issue has it: many changes, some of them put back; what differs in the end was rolled for."""
    names = [f"app-{number}" for number in range(6)]
    for name in names:
        await world.config_map(name, {"A": "0"})
        await world.workload(name, config_maps=[name])
    control = await world.controller(proxy.url, settle=0.4)
    await world.until_adopted(*names)

    dropping = proxy.add(EndWatch(1.0), "watch")
    proxy.drop_watches()
    for value in range(1, 4):
        for name in names:
            await world.config_map(name, {"A": f"passing {value}"})
            await world.config_map(name, {"A": str(value)})
        for name in names:
            await world.until_rolled(name, value)
    assert dropping.hits > 0
    await world.until_idle(control)
    assert await world.all_rollouts() == dict.fromkeys(names, 3)


@pytest.mark.parametrize("fault", [EXPIRED, EXPIRED_EVENT], ids=["HTTP 410", "ERROR event"])
async def test_storm_of_410(world: World, proxy: FaultProxy, fault: Fault) -> None:
    """No watch can be resumed for a while. What changes meanwhile is found by listing, once each."""
    names = [f"app-{number}" for number in range(6)]
    for name in names:
        await world.config_map(name, {"A": "1"})
        await world.workload(name, config_maps=[name])
    control = await world.controller(proxy.url)
    await world.until_adopted(*names)

    proxy.add(EndWatch(0.2, abort=True), "watch", path=LIST)
    storm = proxy.add(fault, "watch", path=RESUME)
    proxy.drop_watches()
    await world.until_true(lambda: storm.hits >= 5, "all five watches met it")
    for name in names:
        await world.config_map(name, {"A": "2"})
    for name in names:
        await world.until_rolled(name, 1)
    proxy.heal()
    await world.config_map("app-0", {"A": "3"})
    await world.until_rolled("app-0", 2)
    await world.until_idle(control)
    assert await world.all_rollouts() == {**dict.fromkeys(names, 1), "app-0": 2}
    assert sum(s.relists for s in control.watches.statistics()) > 0


async def test_storm_of_410_on_lists_too(world: World, proxy: FaultProxy) -> None:
    """Even the list that is to repair it expires: it's tried again, less and less often."""
    await world.config_map("app", {"A": "1"})
    await world.workload("web", config_maps=["app"])
    await world.controller(proxy.url)
    await world.until_adopted("web")

    before = len(proxy.requests("watch"))
    storm = proxy.add(EXPIRED, "watch", path="/configmaps")
    proxy.drop_watches()
    await world.until_true(lambda: storm.hits >= 2, "it was tried again")
    await world.config_map("app", {"A": "2"})
    proxy.remove(storm)
    await world.until_rolled("web", 1)
    assert len(proxy.requests("watch")) - before < 40, "it was not tried without a pause"


@pytest.mark.parametrize(
    "fault", [ErrorEvent(), ErrorEvent(500, "InternalError")], ids=["empty", "ERROR 500"]
)
async def test_watches_without_events(world: World, proxy: FaultProxy, fault: Fault) -> None:
    """Answered with an empty 200, as some servers do for a version they no longer have (kubernetes #104171)."""
    await world.config_map("app", {"A": "1"})
    await world.workload("web", config_maps=["app"])
    await world.controller(proxy.url)
    await world.until_adopted("web")

    before = len(proxy.requests("watch"))
    storm = proxy.add(fault, "watch", path="/configmaps.*&resourceVersion=")
    proxy.drop_watches()
    await world.until_true(lambda: storm.hits >= 2, "it was tried again")
    await world.config_map("app", {"A": "2"})
    proxy.remove(storm)
    await world.until_rolled("web", 1)
    assert len(proxy.requests("watch")) - before < 40, "it was not tried without a pause"


async def test_no_bookmarks(world: World, proxy: FaultProxy) -> None:
    """A watch that is told no versions to go on from goes on from what it saw last, or lists again."""
    await world.config_map("app", {"A": "1"})
    await world.workload("web", config_maps=["app"])
    proxy.add(Answer(422, "Invalid", "sendInitialEvents is forbidden for watch"), "watch", path=LIST)
    without = proxy.add(NoBookmarks(), "watch", path=RESUME)
    control = await world.controller(proxy.url)
    await world.until_adopted("web")
    for value in range(2, 5):
        await world.config_map("app", {"A": str(value)})
        await world.until_rolled("web", value - 1)
        proxy.drop_watches()
    assert without.hits >= 5
    await world.until_idle(control)
    assert await world.rollouts("web") == 3


async def test_half_open(world: World, proxy: FaultProxy) -> None:
    """A watch from which no byte comes any more. Nothing is concluded from its silence, the others go on, and what
    it missed is found when it is there again."""
    for name in ("app", "other"):
        await world.config_map(name, {"A": "1"})
        await world.workload(name, config_maps=[name])
    control = await world.controller(proxy.url)
    await world.until_adopted("app", "other")

    silent = proxy.add(Silence(), "watch", path="/configmaps")
    proxy.drop_watches()
    await world.until_true(lambda: silent.hits > 0, "the watch is silent")
    await world.until_true(
        lambda: all(
            s.state == "watching" for s in control.watches.statistics() if s.resource != "configmaps"
        ),
        "the others go on",
    )
    await world.config_map("app", {"A": "2"})
    await world.delete("configmaps", "other")
    await world.secret("db", {"p": "1"})
    await world.workload("third", secrets=["db"])
    await world.until_adopted("third")
    await world.secret("db", {"p": "2"})
    await world.until_rolled("third", 1)
    assert await world.rollouts("app") == 0
    proxy.heal()
    await world.until_rolled("app", 1)
    await world.until_idle(control)
    assert await world.all_rollouts() == {"app": 1, "other": 0, "third": 1}


async def test_deleted_while_nobody_watched(world: World, proxy: FaultProxy) -> None:
    """Deletions that no watch tells of: found by the list, believed, and what comes back is a change."""
    for name in ("gone", "back", "same"):
        await world.config_map(name, {"A": "1"})
        await world.workload(name, config_maps=[name])
    await world.config_map("kept", {"A": "1"})
    await world.workload("kept", config_maps=["kept"])
    control = await world.controller(proxy.url)
    await world.until_adopted("gone", "back", "same", "kept")

    await proxy.close()
    await world.delete("configmaps", "gone")
    await world.delete("daemonsets", "gone")
    await world.delete("configmaps", "back")
    await world.delete("configmaps", "same")
    await world.config_map("back", {"A": "2"})
    await world.config_map("same", {"A": "1"})
    proxy.add(EXPIRED, "watch", path=RESUME, times=5)
    await proxy.open()

    await world.until_rolled("back", 1)
    await world.until_true(lambda: "DaemonSet" in control.store.counts(), "the store is read")

    def ghosts() -> bool:
        known = {name for _, name in control.store.configs.names("configmap", world.namespace)}
        return "gone" in known or any(w.name == "gone" for w in control.store.workloads())

    await world.until_true(lambda: not ghosts(), "the deleted are forgotten")
    await world.config_map("kept", {"A": "2"})
    await world.until_rolled("kept", 1)
    await world.until_idle(control)
    assert await world.all_rollouts() == {"back": 1, "same": 0, "kept": 1}
    assert not [seen for seen in proxy.requests("patch", name="gone") if seen.status == 404]


async def test_changes_while_nobody_watched_are_told_to_a_webhook(world: World, proxy: FaultProxy) -> None:
    """Found by the list: what a webhook is told is all that happens of them."""
    for name in ("changed", "same", "gone"):
        await world.config_map(name, {"A": "1"})
    async with Service() as service:
        control = await world.controller(
            proxy.url, webhook_url=service.url, on_create="always", on_delete=True
        )
        await world.until_true(lambda: control.working, "it works")
        await proxy.close()
        await world.config_map("changed", {"A": "2"})
        await world.config_map("new", {"A": "1"})
        await world.delete("configmaps", "gone")
        proxy.add(EXPIRED, "watch", path=RESUME, times=5)
        await proxy.open()
        await world.until_true(lambda: len(service.received) >= 3, "the webhook was told")
        await world.config_map("same", {"A": "2"})
        await world.until_true(lambda: len(service.received) >= 4, "the webhook was told")
        told = service.bodies
    assert sorted((body["name"], body.get("reason", "")) for body in told) == [
        ("changed", ""),
        ("gone", "delete"),
        ("new", "add"),
        ("same", ""),
    ]


@pytest.mark.parametrize("code", [400, 422])
async def test_no_streaming_lists(world: World, proxy: FaultProxy, code: int) -> None:
    """A server that refuses sendInitialEvents is asked for pages; a page's token can expire like any other."""
    for number in range(30):
        await world.workload(f"other-{number}")
    await world.config_map("app", {"A": "1"})
    await world.workload("zz-web", config_maps=["app"])
    reason = "Invalid" if code == 422 else "BadRequest"
    proxy.add(Answer(code, reason, "sendInitialEvents is forbidden for watch"), "watch", path=LIST)
    proxy.add(NoBookmarks(), "watch", path=RESUME)
    expired = proxy.add(EXPIRED, "list", path="continue=", times=1)
    control = await world.controller(proxy.url)
    await world.until_adopted("zz-web")
    assert expired.hits == 1
    pages = proxy.requests("list", resource="daemonsets")
    assert [page.query.get("continue", "") != "" for page in pages][:3] == [False, True, False]
    assert control.store.counts()["DaemonSet"] == 31

    await world.config_map("app", {"A": "2"})
    await world.until_rolled("zz-web", 1)
    proxy.drop_watches()
    await world.config_map("app", {"A": "3"})
    await world.until_rolled("zz-web", 2)
    await world.until_idle(control)
    assert await world.rollouts("zz-web") == 2
