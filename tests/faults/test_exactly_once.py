"""One change is one rollout, and one Event tells of it: whoever else writes, and whatever gets lost."""

from __future__ import annotations

import asyncio

import pytest

from tests.faults.proxy import Answer, Cut, Fault, FaultProxy, Meanwhile, Reset, Rule, Seen, Silence
from tests.faults.world import World


async def until_told(world: World, name: str, times: int) -> None:
    """Wait for the Rolled Events of a workload, and for a time with no more of them."""

    async def told() -> bool:
        events = await world.events("Rolled", name)
        count: int = sum(event.get("series", {}).get("count", 1) for event in events)
        assert count <= times, f"{name}: {count} Rolled Events for {times} rollouts"
        return count == times

    await world.until(told, f"{times} Rolled Events of {name}")


async def test_two_controllers_at_once(world: World, proxy: FaultProxy) -> None:
    names = [f"app-{number}" for number in range(8)]
    await world.config_map("shared")
    await world.secret("hidden", {})
    for name in names:
        await world.workload(name, config_maps=["shared"], secrets=["hidden"])
    first = world.begin(world.config(proxy.url))
    second = world.begin(world.config(proxy.url))
    await world.until_adopted(*names)
    await world.until_true(lambda: first.working and second.working, "both work")

    for value in range(1, 4):
        # Another key each time: the same Event again would be a series, which is written every 30 s only.
        await world.config_map("shared", {f"K{number}": "" for number in range(value)})
        for name in names:
            await world.until_rolled(name, 2 * value - 1)
        await world.secret("hidden", {f"K{number}": "" for number in range(value)})
        for name in names:
            await world.until_rolled(name, 2 * value)
    await world.until_idle(first, second)
    assert await world.all_rollouts() == dict.fromkeys(names, 6)
    for name in names:
        await until_told(world, name, 6)


async def test_two_controllers_of_which_one_lags(world: World, proxy: FaultProxy) -> None:
    """Found by a random play: the one whose watch of ConfigMaps stands still does not roll back what the other did."""
    await world.config_map("app", {"A": "1"})
    await world.config_map("marker", {"A": "1"})
    await world.workload("web", config_maps=["app"])
    await world.workload("last", config_maps=["marker"])
    ahead = await world.controller(proxy.url)
    await world.until_adopted("web", "last")
    token = world.cluster.tokens["peer"]
    proxy.add(Silence(), "watch", path="/configmaps", token=token)
    behind = world.begin(world.config(proxy.url, token=token))
    await world.until_true(lambda: behind.working, "the other one works")

    await world.config_map("app", {"A": "2"})
    await world.until_rolled("web", 1)
    await world.patch("daemonsets", "last", {"metadata": {"annotations": {"reroll.dev/settle": "0s"}}})

    def seen() -> bool:
        """The watch brings this annotation after all that was written to `web`."""
        entries = [
            behind.store.workload(workload)
            for workload in behind.store.workloads()
            if workload.name == "last"
        ]
        return any(entry is not None and entry.policy.settle == 0 for entry in entries)

    await world.until_true(seen, "the one that lags has seen the rollout of the other")
    await world.until_idle(ahead, behind)
    assert await world.all_rollouts() == {"web": 1, "last": 0}


@pytest.mark.parametrize(
    "fault",
    [
        Reset(after=True),
        Cut(100),
        Answer(500, "InternalError", after=True),
        Answer(504, "Timeout", after=True),
    ],
    ids=["reset", "cut", "500", "504"],
)
@pytest.mark.parametrize("echo", [True, False], ids=["seen", "unseen"])
async def test_answer_lost_after_the_patch_was_done(
    world: World, proxy: FaultProxy, fault: Fault, echo: bool
) -> None:
    """No second rollout, and the Event is sent; also when the watch is too late to tell that it was done."""
    await world.config_map("app", {"A": "1"})
    await world.workload("web", config_maps=["app"])
    control = await world.controller(proxy.url)
    await world.until_adopted("web")

    if not echo:
        proxy.add(Silence(), "watch", path="/daemonsets")
        proxy.drop_watches()
        await world.until_true(
            lambda: any(seen.verb == "watch" and seen.resource == "daemonsets" for seen in proxy.seen[-5:]),
            "the watches are there again",
        )
    lost = proxy.add(fault, "patch", path="/daemonsets", times=1)
    await world.config_map("app", {"A": "2"})
    await world.until_rolled("web", 1)
    await world.until_true(lambda: lost.hits == 1, "the answer was lost")
    await until_told(world, "web", 1)
    proxy.heal()

    await world.config_map("app", {"A": "2", "B": "1"})  # the same key again would join the Event's series
    await world.until_rolled("web", 2)
    await until_told(world, "web", 2)
    await world.until_idle(control)
    assert await world.rollouts("web") == 2


@pytest.mark.parametrize("times", [1, 3, 7])
async def test_others_write_at_the_same_time(world: World, proxy: FaultProxy, times: int) -> None:
    """Somebody writes the workload between our reading and our patch, again and again: a real 409 each."""
    await world.config_map("app", {"A": "1"})
    await world.workload("web", config_maps=["app"])
    control = await world.controller(proxy.url)
    await world.until_adopted("web")
    numbers = iter(range(1000))

    async def annotate(seen: Seen) -> None:
        await world.patch(
            "daemonsets", "web", {"metadata": {"annotations": {"somebody": f"wrote {next(numbers)}"}}}
        )

    proxy.add(Meanwhile(annotate), "patch", path="/daemonsets", times=times)
    await world.config_map("app", {"A": "2"})
    await world.until_rolled("web", 1)
    await world.until_idle(control)
    answers = [seen.status for seen in proxy.requests("patch", resource="daemonsets")]
    assert answers == [200, *[409] * times, 200]
    assert await world.rollouts("web") == 1
    await until_told(world, "web", 1)


async def test_somebody_rolls_at_the_same_time(world: World, proxy: FaultProxy) -> None:
    """A deploy between our decision and our patch: its pods read the new content, so ours is not needed."""
    await world.config_map("app", {"A": "1"})
    await world.workload("web", config_maps=["app"])
    control = await world.controller(proxy.url)
    await world.until_adopted("web")

    async def deploy(seen: Seen) -> None:
        await world.patch(
            "daemonsets", "web", {"spec": {"template": {"metadata": {"annotations": {"version": "2"}}}}}
        )

    proxy.add(Meanwhile(deploy), "patch", path="/daemonsets", times=1)
    before = await world.applied("web")
    await world.config_map("app", {"A": "2"})

    async def recorded() -> bool:
        return await world.applied("web") != before

    await world.until(recorded, "what the deploy's pods read is recorded")
    await world.until_idle(control)
    assert await world.rollouts("web") == 1


async def test_changes_again_while_the_patch_is_on_its_way(world: World, proxy: FaultProxy) -> None:
    """The content changes between our decision and our patch: the patch is right for what it says, and the
    next one for what came after."""
    await world.config_map("app", {"A": "1"})
    await world.workload("web", config_maps=["app"])
    control = await world.controller(proxy.url)
    await world.until_adopted("web")

    async def change(seen: Seen) -> None:
        await world.config_map("app", {"A": "3"})

    proxy.add(Meanwhile(change), "patch", path="/daemonsets", times=1)
    await world.config_map("app", {"A": "2"})
    await world.until_rolled("web", 2)
    await world.until_idle(control)
    assert await world.rollouts("web") == 2


@pytest.mark.parametrize(
    "fault",
    [Answer(500, "InternalError"), Answer(403, "Forbidden"), Silence(), Reset()],
    ids=["500", "403", "silent", "reset"],
)
async def test_events_fail(world: World, proxy: FaultProxy, fault: Fault) -> None:
    """Nobody takes Events: no patch waits for that."""
    names = [f"app-{number}" for number in range(10)]
    await world.config_map("app", {"A": "0"})
    for name in names:
        await world.workload(name, config_maps=["app"])
    control = await world.controller(proxy.url)
    await world.until_adopted(*names)

    failing: Rule = proxy.add(fault, path="/events.k8s.io/")
    for value in (1, 2, 3):
        await world.config_map("app", {"A": str(value)})
        for name in names:
            await world.until_rolled(name, value)
    assert failing.hits > 0
    assert await world.events("Rolled") == []
    await world.until_idle(control)
    assert await world.all_rollouts() == dict.fromkeys(names, 3)


async def test_events_are_sent_once_they_are_taken_again(world: World, proxy: FaultProxy) -> None:
    await world.config_map("app", {"A": "1"})
    await world.workload("web", config_maps=["app"])
    await world.controller(proxy.url)
    await world.until_adopted("web")

    failing = proxy.add(Answer(503, "ServiceUnavailable"), path="/events.k8s.io/")
    await world.config_map("app", {"A": "2"})
    await world.until_rolled("web", 1)
    await world.until_true(lambda: failing.hits >= 1, "it was tried")
    proxy.remove(failing)
    await until_told(world, "web", 1)


async def test_stopped_in_the_middle_of_a_fan_out(world: World, proxy: FaultProxy) -> None:
    """Stopped in order: what is in flight is finished, and the next controller does the rest, once each."""
    names = [f"app-{number}" for number in range(40)]
    await world.config_map("app", {"A": "1"})
    await asyncio.gather(*(world.workload(name, config_maps=["app"]) for name in names))
    control = await world.controller(proxy.url, actors=4)
    await world.until_adopted(*names)

    patched = len(proxy.requests("patch", resource="daemonsets"))
    await world.config_map("app", {"A": "2"})
    await world.until_true(
        lambda: len(proxy.requests("patch", resource="daemonsets")) > patched + 5, "the fan-out has begun"
    )
    await world.end(control)
    done = [seen for seen in proxy.requests("patch", resource="daemonsets")[patched:] if seen.done]
    rolled = await world.all_rollouts()
    assert sum(rolled.values()) == len(done), "all that was in flight was finished"
    assert 0 < len(done) < len(names)

    again = await world.controller(proxy.url)
    for name in names:
        await world.until_rolled(name, 1)
    await world.until_idle(again)
    assert await world.all_rollouts() == dict.fromkeys(names, 1)
