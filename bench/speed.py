"""Rows of reroll's speed beyond those that are compared: far from the server, of no concern, and with very much."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial

import msgspec

from bench.contestants import Contestant, Running, running
from bench.result import Result
from bench.scenarios import Scenario, Size, bare_loop, crowd, start_up
from bench.stage import DEPLOYMENTS, Stage
from reroll.kube.client import STRATEGIC_MERGE_PATCH

_LARGE = 10
"""How many times the Deployments of the other scenarios are in the one with very much."""


def _afar(row: str, away: float) -> str:
    return f"{away * 1000:.0f} ms on each round trip, {row}"


async def far(stage: Stage, who: Contestant, size: Size, *, away: float) -> list[Result]:
    """The crowd of paused Deployments, from afar."""
    found = await crowd(stage, who, size, paused=True, away=away)
    return [replace(result, row=_afar(result.row, away)) for result in found[:1]]


async def bare_near(stage: Stage, size: Size, *, away: float) -> tuple[str, float]:
    """What that is compared with: the bare loop beside the server."""
    row, seconds = await bare_loop(stage, size, paused=True)
    return _afar(row, away), seconds


async def quiet(stage: Stage, who: Contestant, size: Size) -> list[Result]:
    """Processor time for each event of a watch that concerns nobody: the content of a ConfigMap that nobody follows,
    and the status of a Deployment that is followed. One write after the other, as in life, so that each event wakes
    the process by itself."""
    space = await stage.namespace("bench-quiet")
    await stage.config_map(space, "app", {"a": "0"})
    await stage.config_map(space, "unused", {"a": "0", **{f"key{i}": "x" * 500 for i in range(4)}})
    await stage.deployment(space, "app", ["app"])

    async def content(number: int) -> None:
        await stage.change(space, "unused", str(number))

    async def status(number: int) -> None:
        # A condition of a kind that the controller manager does not know: it leaves it alone.
        condition = {"type": "bench/Seen", "status": "True", "message": str(number)}
        body = msgspec.json.encode({"status": {"conditions": [condition]}})
        path = DEPLOYMENTS.path(space, "app") + "/status"
        await stage.client.patch(path, body, content_type=STRATEGIC_MERGE_PATCH, attempts=4)

    async with running(who, await stage.kubeconfig(who.name)) as process:
        await asyncio.sleep(3.0)
        await stage.calm()
        of_content = await _each_event(process, content, size.events, lambda: 0)
        of_status = await _each_event(process, status, size.events, lambda: stage.templates.events)
    return [
        Result("processor time of an event that concerns nobody: a ConfigMap", "ms", *of_content),
        Result("processor time of an event that concerns nobody: status of a Deployment", "ms", *of_status),
    ]


async def _each_event(
    process: Running, write: Callable[[int], Awaitable[None]], count: int, seen: Callable[[], int]
) -> tuple[float, str]:
    """(ms of processor time for each event of so many writes, what was counted). `seen`: how many events the bench's
    own watch has seen, where it sees these: a controller may answer a write with one of its own."""
    idle = process.cpu()
    await asyncio.sleep(5.0)
    idle = (process.cpu() - idle) / 5.0
    loop = asyncio.get_running_loop()
    before, began, used = seen(), loop.time(), process.cpu()
    for number in range(count):
        await write(number)
    await asyncio.sleep(1.0)
    used = process.cpu() - used - idle * (loop.time() - began)
    events = max(count, seen() - before)
    return used / events * 1000, f"of {events:,} events"


async def large(stage: Stage, who: Contestant, size: Size) -> list[Result]:
    """Memory and start with ten times the Deployments."""
    much = replace(size, many=2 * size.many, crowd=_LARGE * size.crowd)
    memory, start = await start_up(stage, who, much)
    return [memory, replace(start, row=f"{start.row} {much.many + much.crowd:,}")]


def _far(away: float) -> Scenario:
    return Scenario(
        f"the crowd of paused Deployments, with {away * 1000:.0f} ms on each round trip; reroll alone",
        partial(far, away=away),
        rounds=3,
        bare=partial(bare_near, away=away),
        alone=True,
    )


SPEED: dict[str, Scenario] = {
    "far": _far(0.025),
    "farther": _far(0.1),
    "quiet": Scenario(
        "processor time of events that concern nobody; reroll alone", quiet, rounds=3, alone=True
    ),
    "large": Scenario("memory and start with 100,000 ConfigMaps and 10,000 Deployments", large),
}
