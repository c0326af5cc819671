"""The rows of the table: each does one thing to the cluster and tells what the contestant made of it.

All contestants meet the same objects on the same control plane, one after the other: every Deployment carries
the annotations of both, and only one controller runs at a time.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiohttp
import msgspec

from bench.contestants import Contestant, running
from bench.stage import DEPLOYMENTS, Stage
from reroll.kube.config import load_config
from reroll.settings import Settings

CROWD = "bench-crowd"
IN_FLIGHT = Settings().actors


@dataclass(frozen=True)
class Size:
    """How much of everything; `quick` is for trying the bench itself."""

    crowd: int = 1000
    configs: int = 500
    fleet: int = 200
    many: int = 50_000
    some: int = 5_000
    secrets: int = 200
    samples: int = 40
    patience: float = 420.0


QUICK = Size(crowd=100, configs=50, fleet=60, many=3_000, some=500, secrets=20, samples=10, patience=90.0)


@dataclass(frozen=True)
class Result:
    """One number of one row. `value` None: it did not come about, and `note` says what did."""

    row: str
    unit: str
    value: float | None
    note: str = ""


Scenario = Callable[[Stage, Contestant, Size], Awaitable[list[Result]]]


def _new() -> str:
    """A content that was never there."""
    return str(time.time_ns())


async def _settled(stage: Stage, contestant: Contestant) -> None:
    """Until the contestant has read everything and brought it to rest."""
    await asyncio.sleep(3.0)
    await stage.calm()


async def requests_and_latency(stage: Stage, who: Contestant, size: Size) -> list[Result]:
    """Requests per change with one consumer, and from the server's answer to the template's change."""
    space = await stage.namespace("bench-one")
    await stage.config_map(space, "app", {"a": "0"})
    await stage.deployment(space, "app", ["app"])
    key = (space, "app")
    async with running(who, stage.kubeconfig(who.user)):
        await _settled(stage, who)
        before = stage.audit_lines()
        start = stage.now
        await stage.change(space, "app", _new())
        await stage.until(lambda: key in stage.templates.since(start), 30)
        await asyncio.sleep(3.0)
        verbs = [event["verb"] for event in stage.requests(who.user, before)]
        waits = []
        for _ in range(size.samples):
            start = stage.now
            written = await stage.change(space, "app", _new())
            if await stage.until(lambda start=start: key in stage.templates.since(start), 30):  # type: ignore[misc]
                waits.append(stage.templates.since(start)[key][0] - written)
            await asyncio.sleep(0.25)
    note = ", ".join(f"{verbs.count(verb)} {verb}" for verb in sorted(set(verbs)))
    return [
        Result("requests per change with one consumer", "", float(len(verbs)), note),
        Result(
            "write acknowledged to template patched, no settle: median",
            "ms",
            statistics.median(waits) * 1000 if waits else None,
        ),
    ]


async def crowd(stage: Stage, who: Contestant, size: Size) -> list[Result]:
    """One ConfigMap and its thousand Deployments, and two unrelated changes meanwhile."""
    await _make_crowd(stage, size)
    other = await stage.namespace("bench-other")
    for space in (CROWD, other):
        await stage.config_map(space, "lonely", {"a": "0"})
        await stage.deployment(space, "lonely", ["lonely"])
    async with running(who, stage.kubeconfig(who.user)) as process:
        await _settled(stage, who)
        cpu = process.cpu()
        start = stage.now
        written = await stage.change(CROWD, "crowd", _new())
        await asyncio.sleep(0.2)
        asked = {space: await stage.change(space, "lonely", _new()) for space in (CROWD, other)}

        def followed() -> int:
            return sum(name.startswith("crowd-") for _, name in stage.templates.since(start))

        done = await stage.until(lambda: followed() >= size.crowd, size.patience)
        await stage.until(lambda: all((s, "lonely") in stage.templates.since(start) for s in asked), 60)
        changes = stage.templates.since(start)
        last = max((t[-1] for (_, name), t in changes.items() if name.startswith("crowd-")), default=start)
        waits = {s: changes[s, "lonely"][0] - asked[s] for s in asked if (s, "lonely") in changes}
        used = process.cpu() - cpu
        await stage.calm()
    return [
        Result(
            f"1 ConfigMap, {size.crowd:,} Deployments: last one patched",
            "s",
            last - written if done else None,
            f"{used:.1f} s of processor time" if done else f"{followed()} patched in {size.patience:.0f} s",
        ),
        Result("an unrelated change of the same namespace during that waits", "s", waits.get(CROWD)),
        Result("an unrelated change of another namespace during that waits", "s", waits.get(other)),
    ]


async def bare_loop(stage: Stage, size: Size) -> float:
    """Seconds for a loop of the same patches and nothing else, with as many in flight."""
    await _make_crowd(stage, size)
    await stage.calm()
    config = load_config(kubeconfig=str(stage.kubeconfig("admin")))
    headers = {**await config.credentials.headers(), "Content-Type": "application/merge-patch+json"}
    value = _new()
    connector = aiohttp.TCPConnector(ssl=config.ssl_context() or True, limit=0)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        mark = {"metadata": {"annotations": {"bench/config": value}}}
        body = msgspec.json.encode({**mark, "spec": {"template": mark}})

        async def patch(number: int) -> None:
            url = config.server + DEPLOYMENTS.path(CROWD, f"crowd-{number}")
            async with session.patch(url, data=body) as answer:
                await answer.read()
                answer.raise_for_status()

        start = stage.now
        await stage.many(patch, size.crowd, IN_FLIGHT)
        took = stage.now - start
    await stage.calm()
    return took


async def _make_crowd(stage: Stage, size: Size) -> None:
    await stage.namespace(CROWD)
    await stage.config_map(CROWD, "crowd", {"a": "0"})
    await stage.many(lambda i: stage.deployment(CROWD, f"crowd-{i}", ["crowd"]), size.crowd)
    await stage.calm()


async def many_at_once(stage: Stage, who: Contestant, size: Size) -> list[Result]:
    """Five hundred ConfigMaps, a Deployment each, changed at once."""
    space = await stage.namespace("bench-each")
    await stage.many(lambda i: stage.config_map(space, f"c-{i}", {"a": "0"}), size.configs)
    await stage.many(lambda i: stage.deployment(space, f"c-{i}", [f"c-{i}"]), size.configs)
    await stage.calm()
    async with running(who, stage.kubeconfig(who.user)):
        await _settled(stage, who)
        start, value = stage.now, _new()
        await stage.many(lambda i: stage.change(space, f"c-{i}", value), size.configs, 40)
        wrote = stage.now - start
        done = await stage.until(lambda: len(stage.templates.since(start)) >= size.configs, size.patience)
        changes = stage.templates.since(start)
        last = max((times[-1] for times in changes.values()), default=start)
        await stage.calm()
    note = f"the writes alone took {wrote:.1f} s" if done else f"{len(changes)} patched"
    row = f"{size.configs} ConfigMaps changed at once, last Deployment patched"
    return [Result(row, "s", last - start if done else None, note)]


async def one_deploy(stage: Stage, who: Contestant, size: Size) -> list[Result]:
    """Fifteen configs of one app within a second, and one that is put back; with the default settle time."""
    space = await stage.namespace("bench-app")
    names = [f"part-{i}" for i in range(15)]
    for name in names:
        await stage.config_map(space, name, {"a": "0"})
    await stage.deployment(space, "app", names)
    key = (space, "app")
    async with running(who, stage.kubeconfig(who.user), settle="1s"):
        await _settled(stage, who)
        start, value = stage.now, _new()
        for name in names:
            await stage.change(space, name, value)
        spread = stage.now - start
        await asyncio.sleep(4.0)
        await stage.calm()
        together = len(stage.templates.since(start).get(key, []))
        start = stage.now
        await stage.change(space, "part-0", _new())
        await asyncio.sleep(0.1)
        await stage.change(space, "part-0", value)
        await asyncio.sleep(4.0)
        await stage.calm()
        back = len(stage.templates.since(start).get(key, []))
    return [
        Result("15 configs of one app applied within a second", "rollouts", together, f"in {spread:.2f} s"),
        Result("changed and put back within 200 ms", "rollouts", back),
    ]


async def killed(stage: Stage, who: Contestant, size: Size) -> list[Result]:
    """SIGKILL in the middle of a fan-out, then a new start."""
    space = await stage.namespace("bench-fleet")
    await stage.config_map(space, "fleet", {"a": "0"})
    await stage.many(lambda i: stage.deployment(space, f"fleet-{i}", ["fleet"]), size.fleet)
    await stage.calm()
    start = stage.now
    async with running(who, stage.kubeconfig(who.user)) as process:
        await _settled(stage, who)
        start = stage.now
        await stage.change(space, "fleet", _new())
        await stage.until(lambda: len(stage.templates.since(start)) >= size.fleet // 10, 60)
        process.kill()
    await stage.calm()
    at_kill = len(stage.templates.since(start))
    async with running(who, stage.kubeconfig(who.user)):
        await stage.until(lambda: len(stage.templates.since(start)) >= size.fleet, 30)
        await stage.calm()
    times = [t for (place, _), t in stage.templates.since(start).items() if place == space]
    row = f"killed in the middle of a fan-out of {size.fleet}"
    return [
        Result(
            f"{row}: never rolled", "", size.fleet - len(times), f"{at_kill} were rolled when it was killed"
        ),
        Result(f"{row}: rolled twice", "", sum(len(t) > 1 for t in times)),
    ]


async def memory(stage: Stage, who: Contestant, size: Size) -> list[Result]:
    """Resident memory with some thousand objects and large Secrets."""
    await _make_crowd(stage, size)
    space = await stage.namespace("bench-some")
    blob = "x" * 150_000
    await stage.many(lambda i: stage.config_map(space, f"c-{i}", _content(i)), size.some)
    await stage.many(lambda i: stage.secret(space, f"s-{i}", {"blob": f"{i} {blob}"}), size.secrets, 10)
    async with running(who, stage.kubeconfig(who.user)) as process:
        await _settled(stage, who)
        await asyncio.sleep(5)
        now, most = process.memory()
    row = (
        f"memory with {size.some:,} ConfigMaps, {size.secrets} Secrets of 150 kB, {size.crowd:,} Deployments"
    )
    return [Result(row, "MB", now, f"at most {most:.0f} MB")]


async def start_up(stage: Stage, who: Contestant, size: Size) -> list[Result]:
    """Memory with very many objects, and from the start of the process to its first reaction."""
    await _make_crowd(stage, size)
    space = await stage.namespace("bench-many")
    await stage.many(lambda i: stage.config_map(space, f"c-{i}", _content(i)), size.many)
    await stage.deployment(space, "early", ["c-0"])
    key = (space, "early")
    await stage.calm()
    async with running(who, stage.kubeconfig(who.user)) as process:
        await _settled(stage, who)
        await asyncio.sleep(10)
        await stage.calm()
        now, most = process.memory()
    await asyncio.sleep(2.1)
    start = stage.now
    await stage.change(space, "c-0", _new())
    missed = ""
    async with running(who, stage.kubeconfig(who.user)) as process:
        if who.catches_up:
            await stage.until(lambda: key in stage.templates.since(start), 60)
        else:
            missed = "changes made before it was ready were missed: one was made each 100 ms until it reacted"
            while key not in stage.templates.since(start) and stage.now - start < 60:
                await stage.change(space, "c-0", _new())
                await stage.until(lambda: key in stage.templates.since(start), 0.1)
        found = stage.templates.since(start).get(key)
        reacted = found[0] - process.started if found else None
        await stage.calm()
    row = f"memory with {size.many:,} ConfigMaps of 2 kB and {size.crowd:,} Deployments"
    return [
        Result(row, "MB", now, f"at most {most:.0f} MB"),
        Result("start of the controller to its first reaction with those", "s", reacted, missed),
    ]


def _content(number: int) -> dict[str, str]:
    return {"a": str(number), **{f"key{i}": "x" * 500 for i in range(4)}}


SCENARIOS: dict[str, Scenario] = {
    "one": requests_and_latency,
    "crowd": crowd,
    "each": many_at_once,
    "app": one_deploy,
    "fleet": killed,
    "memory": memory,
    "start": start_up,
}
