"""The API server is away, slow, refuses or forgets who we are: reroll waits, and then misses nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from reroll.app import Controller
from reroll.kube.auth import TokenFile, UserCredentials
from reroll.kube.config import ClusterConfig
from tests.faults.proxy import (
    FORBIDDEN,
    UNAUTHORIZED,
    Answer,
    Cut,
    Delay,
    Fault,
    FaultProxy,
    Reset,
    Silence,
    Trickle,
)
from tests.faults.world import World


def problems(control: Controller) -> list[str]:
    """What /readyz would complain about."""
    return [f"{check.name}: {check.reason}" for check in control.ready_checks() if not check.ok]


async def test_one_change_is_one_rollout_of_one_patch(world: World, proxy: FaultProxy) -> None:
    await world.config_map("app", {"A": "1"})
    await world.deployment("web", config_maps=["app"])
    control = await world.controller(proxy.url)

    async def replica_sets(count: int) -> bool:
        return await world.replica_sets("web") == count

    await world.until(lambda: replica_sets(1), "the Deployment has its first ReplicaSet")
    await world.until_true(lambda: len(proxy.requests("patch", resource="deployments")) == 1, "adopted")

    await world.config_map("app", {"A": "2"})
    await world.until(lambda: replica_sets(2), "it is rolled")
    await world.until_idle(control)
    assert len(proxy.requests("patch", resource="deployments")) == 2
    assert await world.replica_sets("web") == 2


async def test_unreachable_at_the_start(world: World, proxy: FaultProxy) -> None:
    await world.config_map("app", {"A": "1"})
    await world.workload("web", config_maps=["app"])
    await proxy.close()

    control = world.begin(world.config(proxy.url))
    await world.until_true(lambda: "cannot reach" in "".join(problems(control)), "the problem is told")
    assert not control.working

    await proxy.open()
    await world.until_adopted("web")
    await world.until_true(lambda: problems(control) == [], "it is ready")
    await world.config_map("app", {"A": "2"})
    await world.until_rolled("web", 1)


async def test_unreachable_later(world: World, proxy: FaultProxy) -> None:
    for name in ("kept", "changed", "reverted"):
        await world.config_map(name, {"A": "1"})
        await world.workload(name, config_maps=[name])
    control = await world.controller(proxy.url)
    await world.until_adopted("kept", "changed", "reverted")

    await proxy.close()
    await world.until_true(
        lambda: all(s.state == "unreachable" for s in control.watches.statistics()), "the loss is noticed"
    )
    await world.config_map("changed", {"A": "2"})
    await world.config_map("reverted", {"A": "2"})
    await world.config_map("reverted", {"A": "1"})
    await proxy.open()

    await world.until_rolled("changed", 1)
    await world.config_map("kept", {"A": "2"})
    await world.until_rolled("kept", 1)
    await world.until_idle(control)
    assert await world.all_rollouts() == {"kept": 1, "changed": 1, "reverted": 0}


async def test_unreachable_during_a_patch(world: World, proxy: FaultProxy) -> None:
    """The patch in hand fails with everything else, and is done once the server is back."""
    await world.config_map("app", {"A": "1"})
    await world.workload("web", config_maps=["app"])
    await world.controller(proxy.url)
    await world.until_adopted("web")

    held = proxy.add(Silence(), "patch")
    await world.config_map("app", {"A": "2"})
    await world.until_true(lambda: held.hits > 0, "the patch is sent")
    await proxy.close()
    proxy.remove(held)
    await proxy.open()
    await world.until_rolled("web", 1)


def token_file_config(world: World, proxy: FaultProxy, file: Path) -> ClusterConfig:
    credentials = UserCredentials(TokenFile(str(file), "test"))
    return ClusterConfig(server=proxy.url, namespace=world.namespace, credentials=credentials)


async def test_token_file_rotated(world: World, proxy: FaultProxy, tmp_path: Path) -> None:
    """A token that ran out is replaced by what its file holds by then; nothing is lost in between."""
    file = tmp_path / "token"
    file.write_text(world.cluster.tokens["reroll"])
    await world.config_map("app", {"A": "1"})
    await world.workload("web", config_maps=["app"])
    control = world.begin(token_file_config(world, proxy, file))
    await world.until_adopted("web")

    proxy.add(UNAUTHORIZED, token=world.cluster.tokens["reroll"])
    proxy.drop_watches()  # a watch lives on with the token it began with
    file.write_text(world.cluster.tokens["peer"])
    await world.config_map("app", {"A": "2"})
    await world.until_rolled("web", 1)
    assert problems(control) == []


async def test_token_expired_for_a_while(world: World, proxy: FaultProxy, tmp_path: Path) -> None:
    """The new token comes late: until then each request is refused by the real server, and told."""
    file = tmp_path / "token"
    file.write_text("no-longer-valid")
    await world.config_map("app", {"A": "1"})
    await world.workload("web", config_maps=["app"])
    control = world.begin(token_file_config(world, proxy, file))
    await world.until_true(lambda: "Unauthorized" in "".join(problems(control)), "the problem is told")

    file.write_text(world.cluster.tokens["reroll"])
    await world.until_adopted("web")
    assert "no-longer-valid" not in "".join(problems(control))

    expired = proxy.add(UNAUTHORIZED)
    proxy.drop_watches()
    await world.until_true(
        lambda: all(s.state == "refused" for s in control.watches.statistics()), "it is refused"
    )
    await world.config_map("app", {"A": "2"})
    proxy.remove(expired)
    await world.until_rolled("web", 1)


@pytest.mark.parametrize(
    "fault",
    [Answer(500), Answer(503, retry_after=1), Reset(), Reset(after=True), Delay(0.2)],
    ids=["500", "503", "reset", "answer lost", "slow"],
)
async def test_every_third_request_fails(world: World, proxy: FaultProxy, fault: Fault) -> None:
    names = [f"app-{number}" for number in range(8)]
    proxy.add(fault, probability=0.33)
    for name in names:
        await world.config_map(name, {"A": "1"})
        await world.workload(name, config_maps=[name])
    control = await world.controller(proxy.url)
    await world.until_adopted(*names)

    for name in names:
        await world.config_map(name, {"A": "2"})
    for name in names:
        await world.until_rolled(name, 1)
    await world.until_idle(control)
    assert await world.all_rollouts() == dict.fromkeys(names, 1)


async def test_answers_are_cut(world: World, proxy: FaultProxy) -> None:
    """Connections break in the middle of a body, and of a line: half of an answer is none."""
    names = [f"app-{number}" for number in range(8)]
    for name in names:
        await world.config_map(name, {"A": "1"})
        await world.workload(name, config_maps=[name])
    read = proxy.add(Cut(200), "list", "get", times=6)
    proxy.add(Cut(1500), "watch", times=12)
    control = await world.controller(proxy.url)
    await world.until_adopted(*names)

    written = proxy.add(Cut(40), "patch", probability=0.5)
    watched = proxy.add(Cut(900), "watch", probability=0.5)
    proxy.drop_watches()
    for name in names:
        await world.config_map(name, {"A": "2"})
    for name in names:
        await world.until_rolled(name, 1)
    assert min(read.hits, written.hits, watched.hits) > 0
    proxy.heal()
    await world.until_idle(control)
    assert await world.all_rollouts() == dict.fromkeys(names, 1)


@pytest.mark.parametrize("verbs", [("list", "get", "patch"), ("watch",)], ids=["answers", "watches"])
async def test_answers_trickle(world: World, proxy: FaultProxy, verbs: tuple[str, ...]) -> None:
    """A slow network delays what is read, and nothing of it is lost."""
    for name in ("a", "b"):
        await world.config_map(name, {"A": "1"})
        await world.workload(name, config_maps=[name])
    slow = proxy.add(Trickle(pieces=5, seconds=0.2), *verbs)
    control = await world.controller(proxy.url)
    await world.until_adopted("a", "b")
    await world.config_map("a", {"A": "2"})
    await world.until_rolled("a", 1)
    await world.until_idle(control)
    assert slow.hits > 2
    assert await world.all_rollouts() == {"a": 1, "b": 0}


async def test_one_of_two_controllers_is_refused(world: World, proxy: FaultProxy) -> None:
    """What befalls one user befalls nobody else: the other controller does the work."""
    await world.config_map("app", {"A": "1"})
    await world.workload("web", config_maps=["app"])
    refused = await world.controller(proxy.url)
    other = world.begin(world.config(proxy.url, token=world.cluster.tokens["peer"]))
    await world.until_true(lambda: other.working, "the other one works")
    await world.until_adopted("web")
    proxy.add(FORBIDDEN, "patch", token=world.cluster.tokens["reroll"])
    await world.config_map("app", {"A": "2"})
    await world.until_rolled("web", 1)
    await world.until_idle(refused, other)
    assert await world.rollouts("web") == 1


async def test_patches_told_to_come_later(world: World, proxy: FaultProxy) -> None:
    """A storm of 429 puts off who met it, and nobody else; all get their one rollout."""
    names = [f"app-{number}" for number in range(30)]
    await world.config_map("app", {"A": "1"})
    await world.config_map("other", {"A": "1"})
    for name in names:
        await world.workload(name, config_maps=["app"])
    await world.workload("other", config_maps=["other"])
    control = await world.controller(proxy.url)
    await world.until_adopted(*names, "other")

    storm = proxy.add(Answer(429, "TooManyRequests", retry_after=1), "patch", path="/app-")
    await world.config_map("app", {"A": "2"})
    await world.until_true(lambda: storm.hits >= len(names), "each was told to come later")
    await world.config_map("other", {"A": "2"})
    await world.until_rolled("other", 1)
    assert set((await world.all_rollouts()).values()) == {0, 1}

    proxy.remove(storm)
    for name in names:
        await world.until_rolled(name, 1)
    await world.until_idle(control)
    assert await world.all_rollouts() == dict.fromkeys([*names, "other"], 1)


async def test_told_to_come_later_by_everything(world: World, proxy: FaultProxy) -> None:
    """The server is overloaded while the controller starts: it comes back when it was told to."""
    await world.config_map("app", {"A": "1"})
    await world.workload("web", config_maps=["app"])
    busy = proxy.add(Answer(429, "TooManyRequests", retry_after=1), times=4)
    control = world.begin(world.config(proxy.url))
    await world.until_adopted("web")
    assert busy.hits == 4
    await world.config_map("app", {"A": "2"})
    await world.until_rolled("web", 1)
    await world.until_idle(control)
    assert await world.rollouts("web") == 1


async def test_changes_while_a_patch_is_slow(world: World, proxy: FaultProxy) -> None:
    """What arrives while a patch is on its way is one more rollout, however often it changed."""
    await world.config_map("app", {"A": "1"})
    await world.workload("web", config_maps=["app"])
    control = await world.controller(proxy.url, settle=0.0, settle_max=0.0)
    await world.until_adopted("web")

    slow = proxy.add(Delay(0.5), "patch", times=1)
    await world.config_map("app", {"A": "2"})
    await world.until_true(lambda: slow.hits == 1, "the patch is sent")
    for value in ("3", "4", "5"):
        await world.config_map("app", {"A": value})
    await world.until_rolled("web", 2)
    await world.until_idle(control)
    assert await world.rollouts("web") == 2
