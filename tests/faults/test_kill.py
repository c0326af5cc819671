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

from tests.faults.proxy import FaultProxy
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
    arguments += ["--settle", "0s", "--listen", "127.0.0.1:0", "--actors", "4"]
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

    def patches() -> int:
        return len(proxy.requests("patch", resource="daemonsets"))

    async with controller_process(world, config):
        await world.until_adopted(*names)
        begun = patches()
        if seed % 2:
            await world.secret("db", {"B": "2"})
        else:
            await world.config_map("app", {"A": "2"})
        after = chance.randint(1, FAN_OUT - 10)
        print(f"seed {seed}: killed after {after} patches")  # noqa: T201 - for whoever looks at a failure
        await world.until_true(lambda: patches() >= begun + after, "the fan-out has begun")
        # Leaving kills it: some patches are on their way, some answers are not read, no Event need be sent.
    rolled = sum((await world.all_rollouts()).values())
    assert 0 < rolled < FAN_OUT, "it was killed in the middle"

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
