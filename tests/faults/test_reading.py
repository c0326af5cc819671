"""Lists bring names; contents are read where somebody follows them, and what can't be read holds up nobody else."""

from __future__ import annotations

from tests.faults.proxy import FORBIDDEN, Answer, FaultProxy, Meanwhile, Reset, Seen, StaleList
from tests.faults.world import World


def reads(proxy: FaultProxy) -> list[str]:
    """The names of the objects that were read for themselves, of this namespace, in order."""
    return [
        seen.query["fieldSelector"].removeprefix("metadata.name=")
        for seen in proxy.seen
        if seen.query.get("fieldSelector", "").startswith("metadata.name=")
    ]


async def test_what_nobody_follows_is_not_read(world: World, proxy: FaultProxy) -> None:
    for number in range(60):
        await world.config_map(f"other-{number}", {"A": "1"})
    await world.config_map("app", {"A": "1"})
    await world.secret("token", {"A": "1"})
    await world.secret("unused", {"A": "1"})
    await world.workload("web", config_maps=["app"])
    control = await world.controller(proxy.url)
    await world.until_adopted("web")
    assert reads(proxy) == ["app"]
    lists = [s for s in proxy.requests("list") if s.resource in ("configmaps", "secrets")]
    assert lists[0].query.get("resourceVersion") == "0"

    # Followed from now on, and read for it.
    await world.workload("api", config_maps=["other-7"], secrets=["token"])
    await world.until_adopted("api")
    assert sorted(reads(proxy)) == ["app", "other-7", "token"]

    await world.config_map("other-7", {"A": "2"})
    await world.until_rolled("api", 1)
    await world.until_idle(control)
    assert len(reads(proxy)) == 3, "a change is delivered by the watch, whole"


async def test_many_are_read_together(world: World, proxy: FaultProxy) -> None:
    for number in range(30):
        await world.config_map(f"app-{number}", {"A": "1"})
        await world.workload(f"web-{number}", config_maps=[f"app-{number}"])
    await world.controller(proxy.url)
    await world.until_adopted(*(f"web-{number}" for number in range(30)))
    assert reads(proxy) == []


async def test_changed_while_away_is_found_though_the_list_is_old(world: World, proxy: FaultProxy) -> None:
    """The first list may come from a cache that lags behind; what is followed is read as it is now."""
    await world.config_map("app", {"A": "1"})
    await world.workload("web", config_maps=["app"])
    control = await world.controller(proxy.url)
    await world.until_adopted("web")
    await world.end(control)
    old = StaleList()
    rule = proxy.add(old, "list", path=r"/configmaps\?.*resourceVersion=0")
    control = await world.controller(proxy.url)
    await world.end(control)
    assert len(old.answers) == 1

    await world.config_map("app", {"A": "2"})
    await world.config_map("app", {"A": "3"})
    control = await world.controller(proxy.url, settle=0.0)
    await world.until_rolled("web", 1)
    assert rule.hits == 2
    # The watch goes on from the old list, and repeats what was read already.
    await world.config_map("marker", {"A": "1"})
    await world.workload("last", config_maps=["marker"])
    await world.until_adopted("last")
    await world.until_idle(control)
    assert await world.rollouts("web") == 1


async def test_one_that_cant_be_read_holds_up_only_its_own(world: World, proxy: FaultProxy) -> None:
    for name in ("bad", "good"):
        await world.config_map(name, {"A": "1"})
        await world.workload(name, config_maps=[name])
    for number in range(100):
        await world.config_map(f"other-{number}", {"A": "1"})
    control = await world.controller(proxy.url)
    await world.until_adopted("bad", "good")
    await world.end(control)
    await world.config_map("bad", {"A": "2"})
    await world.config_map("good", {"A": "2"})

    broken = proxy.add(Answer(500), "list", path="metadata.name%3Dbad")
    control = await world.controller(proxy.url)
    await world.until_rolled("good", 1)
    assert await world.rollouts("bad") == 0
    failed = control.metrics.registry.get_sample_value(
        "reroll_failures_total", {"step": "read", "reason": "server_error"}
    )
    assert failed
    assert failed >= 1

    proxy.remove(broken)
    await world.until_rolled("bad", 1)


async def test_bulk_that_fails_is_made_up_for_one_by_one(world: World, proxy: FaultProxy) -> None:
    for name in ("a", "b", "c"):
        await world.config_map(name, {"A": "1"})
        await world.workload(name, config_maps=[name])
    rule = proxy.add(Reset(), "list", path=r"/configmaps\?limit=\d+$")
    await world.controller(proxy.url)
    await world.until_adopted("a", "b", "c")
    assert rule.hits
    assert sorted(reads(proxy)) == ["a", "b", "c"]


async def test_deleted_between_list_and_read(world: World, proxy: FaultProxy) -> None:
    await world.config_map("app", {"A": "1"})
    await world.config_map("kept", {"A": "1"})
    await world.workload("web", config_maps=["app"])
    await world.workload("api", config_maps=["kept"])

    async def vanish(seen: Seen) -> None:
        if "app" in {item["metadata"]["name"] for item in (await world.get("configmaps"))["items"]}:
            await world.delete("configmaps", "app")

    proxy.add(Meanwhile(vanish), "list", path=r"/configmaps\?limit=\d+$", times=1)
    await world.controller(proxy.url)
    await world.until_adopted("api", "web")
    assert await world.applied("web") != await world.applied("api")
    await world.config_map("app", {"A": "1"})
    await world.config_map("kept", {"A": "2"})
    await world.until_rolled("api", 1)
    assert await world.rollouts("web") == 0, "its pods could not have started without it"


async def test_forbidden_and_then_permitted(world: World, proxy: FaultProxy) -> None:
    await world.secret("token", {"A": "1"})
    await world.workload("web", secrets=["token"])
    await world.config_map("app", {"A": "1"})
    await world.workload("api", config_maps=["app"])
    refused = proxy.add(FORBIDDEN, "list", "watch", path="/secrets")
    control = await world.controller(proxy.url)
    await world.until_adopted("api")
    assert await world.applied("web") == "" or '"secret/token"' not in await world.applied("web")

    proxy.remove(refused)
    await world.until_true(
        lambda: all(check.ok for check in control.ready_checks()), "Secrets are listed at last"
    )

    async def recorded() -> bool:
        return '"secret/token"' in await world.applied("web")

    await world.until(recorded, "what is in it was read")
    await world.secret("token", {"A": "2"})
    await world.until_rolled("web", 1)
