"""Killed at any point of a fan-out: after the restart none is missed, and none is rolled twice."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from tests.faults.proxy import Exchange, Fault, FaultProxy
from tests.faults.world import World

FAN_OUT = 50


def kubeconfig(world: World, server: str, path: Path) -> Path:
    """A kubeconfig for a process of its own."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "it", "cluster": {"server": server}}],
        "users": [{"name": "me", "user": {"token": world.cluster.tokens["reroll"]}}],
        "contexts": [
            {"name": "it", "context": {"cluster": "it", "user": "me", "namespace": world.namespace}}
        ],
        "current-context": "it",
    }
    path.write_text(json.dumps(content))
    return path


@asynccontextmanager
async def controller_process(world: World, config: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """`reroll controller` as a process; killed when the body ends, if it still runs."""
    code = "from reroll.cli.main import run; run()"
    arguments = ["controller", "--namespace", world.namespace, "--kubeconfig", str(config)]
    arguments += ["--settle", "0s", "--listen", "127.0.0.1:0", "--actors", str(ACTORS)]
    with (config.parent / "controller.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


ACTORS = 4


class HeldAfter(Fault):
    """The first `passed` requests are passed on. Of the later ones none is answered; every other one is done."""

    def __init__(self, passed: int) -> None:
        self.passed, self.held = passed, 0

    async def __call__(self, exchange: Exchange) -> web.StreamResponse:
        if self.passed > 0:
            self.passed -= 1
            return await exchange.pass_on()
        self.held += 1
        if self.held % 2:
            await exchange.ask()
        await asyncio.Event().wait()
        raise AssertionError("waits for ever")


@pytest.mark.parametrize("seed", range(2))
async def test_killed_in_the_middle_of_a_fan_out(
    world: World, proxy: FaultProxy, tmp_path: Path, seed: int
) -> None:
    """SIGKILL after a random number of patches, in the middle of others; then a new process."""
    chance = random.Random(seed)
    names = [f"app-{number}" for number in range(FAN_OUT)]
    await world.config_map("app", {"A": "1"})
    await world.secret("db", {"B": "1"})
    await asyncio.gather(*(world.workload(name, config_maps=["app"], secrets=["db"]) for name in names))
    config = kubeconfig(world, proxy.url, tmp_path / "kubeconfig")

    after = chance.randint(1, FAN_OUT - 10)
    held = HeldAfter(after)
    async with controller_process(world, config):
        await world.until_adopted(*names)
        rule = proxy.add(held, "patch", path="/daemonsets/")
        if seed % 2:
            await world.secret("db", {"B": "2"})
        else:
            await world.config_map("app", {"A": "2"})
        # Patches wait for their answers: of the first that is held it was done, the second never arrived.
        await world.until_true(lambda: held.held >= 2, "the fan-out came to the patches that are held")
        # Leaving kills it.
    proxy.remove(rule)
    rolled = sum((await world.all_rollouts()).values())
    assert after <= rolled <= after + ACTORS < FAN_OUT, "it was killed in the middle"

    await world.config_map("marker", {"A": "1"})
    await world.workload("marker", config_maps=["marker"])
    async with controller_process(world, config):
        for name in names:
            await world.until_rolled(name, 1)
        await world.until_adopted("marker")
        await world.config_map("marker", {"A": "2"})
        await world.until_rolled("marker", 1)
        assert await world.all_rollouts() == dict.fromkeys([*names, "marker"], 1)
        # A change that comes now is one more rollout of each.
        await world.config_map("app", {"A": "3"})
        for name in names:
            await world.until_rolled(name, 2)
    assert "Traceback" not in (tmp_path / "controller.log").read_text()


async def test_killed_again_and_again(world: World, proxy: FaultProxy, tmp_path: Path) -> None:
    """Several kills at random moments, also while it starts, and the content goes on changing."""
    chance = random.Random(7)
    names = [f"app-{number}" for number in range(20)]
    await world.config_map("app", {"A": "0"})
    await asyncio.gather(*(world.workload(name, config_maps=["app"]) for name in names))
    config = kubeconfig(world, proxy.url, tmp_path / "kubeconfig")
    async with controller_process(world, config):
        await world.until_adopted(*names)

    await world.config_map("app", {"A": "1"})
    for _ in range(3):
        wanted = chance.randint(1, 25)
        seen = len(proxy.seen)
        async with controller_process(world, config):
            await world.until_true(lambda: len(proxy.seen) >= seen + wanted, "it sends requests")  # noqa: B023
    async with controller_process(world, config):
        for name in names:
            await world.until_rolled(name, 1)
        await world.config_map("app", {"A": "2"})
        for name in names:
            await world.until_rolled(name, 2)
    assert await world.all_rollouts() == dict.fromkeys(names, 2)
