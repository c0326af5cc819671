"""The rows of the table: each does one thing to the cluster and tells what the contestant made of it.

All contestants meet the same objects on the same control plane, one after the other: every Deployment carries
the annotations of all, and only one controller runs at a time. Each scenario has a control plane of its own, so
that what one leaves behind is no load of the next.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import aiohttp
import msgspec

from bench.contestants import Contestant, running
from bench.result import Result, sampled
from bench.stage import DEPLOYMENTS, Stage
from reroll.kube.config import load_config

CROWD = "bench-crowd"
IN_FLIGHT = 40
"""Patches that the bare loop has in flight: more make it no faster."""
NO_SETTLE = "0s"
DEFAULT = ""


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    crowd: int = 1000
    configs: int = 500
    fleet: int = 200
    many: int = 50_000
    some: int = 5_000
    secrets: int = 200
    samples: int = 15
    """Of the latency, in each round."""
    starts: int = 3
    events: int = 3000
    """That concern nobody, of each sort."""
    patience: float = 420.0


QUICK = Size(100, 50, 60, many=3_000, some=500, secrets=20, samples=5, starts=1, events=300, patience=90.0)


@dataclass(frozen=True)
class Scenario:
    """What is done for each contestant, in `rounds` that take turns: A B A B. One round for a slow peer.

    `bare`: before each round of reroll the bare loop is measured, for the row that it gives the name of.
    """

    about: str
    play: Callable[[Any, Contestant, Size], Awaitable[list[Result]]]
    rounds: int = 1
    peers_once: bool = False
    stage: Literal["real", "sandbox", "none"] = "real"
    """What it is done on. All but the real control plane is for reroll alone, see bench/own.py."""
    bare: Callable[[Stage, Size], Awaitable[tuple[str, float]]] | None = None
    alone: bool = False
    """For reroll alone, on the real control plane too."""


def _new() -> str:
    """A content that was never there."""
    return str(time.time_ns())


async def _settled(stage: Stage) -> None:
    """Until the contestant has read everything and brought it to rest."""
    await asyncio.sleep(3.0)
    await stage.calm()


async def requests(stage: Stage, who: Contestant, size: Size) -> list[Result]:
    """Requests per change with one consumer, from the change to rest, of the audit log."""
    space = await _one(stage)
    async with running(who, await stage.kubeconfig(who.name), NO_SETTLE):
        await _settled(stage)
        before = stage.audit_lines()
        stage.templates.begin()
        await stage.change(space, "app", _new())
        await stage.until(lambda: bool(stage.templates.changes), 30)
        await asyncio.sleep(3.0)
        verbs = stage.requests(who.name, before)
    row = "requests per change with one consumer"
    if verbs is None:
        return [Result(row, "", None, "this cluster shows no audit log")]
    note = ", ".join(f"{verbs.count(verb)} {verb}" for verb in sorted(set(verbs)))
    return [Result(row, "", float(len(verbs)), note)]


async def latency(stage: Stage, who: Contestant, size: Size) -> list[Result]:
    """From the server's answer to a change, to the arrival of the changed template at a watch of the bench."""
    space = await _one(stage)
    waits = []
    async with running(who, await stage.kubeconfig(who.name), NO_SETTLE):
        await _settled(stage)
        for number in range(-2, size.samples):
            stage.templates.begin()
            written = await stage.change(space, "app", _new())
            if not await stage.until(lambda: bool(stage.templates.changes), 30):
                return [Result("write acknowledged to template patched, no settle: median", "ms", None)]
            if number >= 0:  # the first ones open connections
                waits.append((stage.templates.changes[space, "app"][0] - written) * 1000)
            await asyncio.sleep(0.4)
    row = "write acknowledged to template patched, no settle"
    return [sampled(f"{row}: median", "ms", waits), sampled(f"{row}: 95th percentile", "ms", waits, "p95")]


async def _one(stage: Stage) -> str:
    space = await stage.namespace("bench-one")
    await stage.config_map(space, "app", {"a": "0"})
    await stage.deployment(space, "app", ["app"])
    return space


def _crowd_row(size: Size, paused: bool) -> str:
    return f"1 ConfigMap, {size.crowd:,} {'paused ' if paused else ''}Deployments: last one patched"


async def crowd(
    stage: Stage, who: Contestant, size: Size, *, paused: bool, away: float = 0.0
) -> list[Result]:
    """One ConfigMap and its thousand Deployments, and two unrelated changes meanwhile.

    `away`: seconds that each round trip takes longer for the contestant.
    """
    await _make_crowd(stage, size, paused=paused)
    other = await stage.namespace("bench-other")
    for space in (CROWD, other):
        await stage.config_map(space, "lonely", {"a": "0"})
        await stage.deployment(space, "lonely", ["lonely"], paused=paused)
    async with (
        stage.from_afar(who.name, away) as kubeconfig,
        running(who, kubeconfig, NO_SETTLE) as process,
    ):
        await _settled(stage)
        cpu = process.cpu()
        changes = stage.templates
        start = changes.begin()
        written = await stage.change(CROWD, "crowd", _new())
        await asyncio.sleep(0.2)
        asked = {space: await stage.change(space, "lonely", _new()) for space in (CROWD, other)}
        everybody = size.crowd + len(asked)
        done = await stage.until(lambda: len(changes.changes) >= everybody, size.patience)
        used = process.cpu() - cpu
        times = {key: when for key, when in changes.changes.items() if key[1].startswith("crowd-")}
        waits = {
            s: changes.changes[s, "lonely"][0] - asked[s] for s in asked if (s, "lonely") in changes.changes
        }
        await stage.calm()
    last = max((when[0] for when in times.values()), default=start)
    kind = "paused " if paused else ""
    note = f"{used:.1f} s of its processor time" if done else f"{len(times)} patched in {size.patience:.0f} s"
    return [
        Result(_crowd_row(size, paused), "s", last - written if len(times) >= size.crowd else None, note),
        Result(
            f"an unrelated change of the same namespace during that waits{_of(kind)}", "s", waits.get(CROWD)
        ),
        Result(
            f"an unrelated change of another namespace during that waits{_of(kind)}", "s", waits.get(other)
        ),
    ]


def _of(kind: str) -> str:
    return f" ({kind.strip()})" if kind else ""


async def bare_loop(stage: Stage, size: Size, *, paused: bool) -> tuple[str, float]:
    """The crowd's row, and the seconds for a loop of the same patches and nothing else, with as many in flight.

    Measured as the contestants are: to the arrival of the last template at the watch.
    """
    await _make_crowd(stage, size, paused=paused)
    await stage.calm()
    async with _bare_patches(stage) as patch:
        start = stage.templates.begin()
        await stage.many(lambda i: patch(CROWD, f"crowd-{i}"), size.crowd, IN_FLIGHT)
        took = await _last_arrival(stage, size.crowd) - start
    await stage.calm()
    return _crowd_row(size, paused), took


async def bare_each(stage: Stage, size: Size) -> tuple[str, float]:
    """The row of many ConfigMaps changed at once, and the seconds for the same writes with a loop of patches beside
    them that waits for nothing."""
    space = await _make_each(stage, size)
    async with _bare_patches(stage) as patch:
        start, value = stage.templates.begin(), _new()
        await asyncio.gather(
            stage.many(lambda i: stage.change(space, f"c-{i}", value), size.configs, 40),
            stage.many(lambda i: patch(space, f"c-{i}"), size.configs, IN_FLIGHT),
        )
        took = await _last_arrival(stage, size.configs) - start
    await stage.calm()
    return f"{_each_row(size)}: no settle", took


@asynccontextmanager
async def _bare_patches(stage: Stage) -> AsyncIterator[Callable[[str, str], Awaitable[None]]]:
    """Gives what changes a Deployment's template by one request, as cheap as aiohttp can."""
    config = load_config(kubeconfig=str(await stage.kubeconfig("bare-loop")))
    headers = {**await config.credentials.headers(), "Content-Type": "application/merge-patch+json"}
    connector = aiohttp.TCPConnector(ssl=config.ssl_context() or True, limit=0)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        mark = {"metadata": {"annotations": {"bench/config": _new()}}}
        body = msgspec.json.encode({**mark, "spec": {"template": mark}})

        async def patch(namespace: str, name: str) -> None:
            url = config.server + DEPLOYMENTS.path(namespace, name)
            async with session.patch(url, data=body) as answer:
                await answer.read()
                answer.raise_for_status()

        yield patch


async def _last_arrival(stage: Stage, count: int) -> float:
    """When the last of so many changed templates came."""
    await stage.until(lambda: len(stage.templates.changes) >= count, 60)
    return max(when[0] for when in stage.templates.changes.values())


async def _make_crowd(stage: Stage, size: Size, *, paused: bool) -> None:
    await stage.namespace(CROWD)
    await stage.config_map(CROWD, "crowd", {"a": "0"})
    await stage.many(lambda i: stage.deployment(CROWD, f"crowd-{i}", ["crowd"], paused=paused), size.crowd)
    await stage.calm()


async def many_at_once(stage: Stage, who: Contestant, size: Size) -> list[Result]:
    """Five hundred ConfigMaps, a Deployment each, changed at once: without settle time and with the default.

    Who has no settle time is measured once, and that is its number in both rows.
    """
    space = await _make_each(stage, size)
    names = {NO_SETTLE: "no settle", DEFAULT: "default settings"}
    found: dict[str, Result] = {}
    for settle in (NO_SETTLE, DEFAULT) if who.settles else (NO_SETTLE,):
        async with running(who, await stage.kubeconfig(who.name), settle):
            await _settled(stage)
            start, value = stage.templates.begin(), _new()
            await stage.many(lambda i, value=value: stage.change(space, f"c-{i}", value), size.configs, 40)  # type: ignore[misc]
            wrote = stage.now - start
            done = await stage.until(lambda: len(stage.templates.changes) >= size.configs, size.patience)
            times = stage.templates.of(space)
            last = max((each[0] for each in times.values()), default=start)
            await stage.calm()
        note = (
            f"from the first write; the writes alone took {wrote:.1f} s" if done else f"{len(times)} patched"
        )
        found[settle] = Result("", "s", last - start if done else None, note)
    row = _each_row(size)
    results = {settle: found.get(settle, found[NO_SETTLE]) for settle in names}
    return [Result(f"{row}: {names[s]}", r.unit, r.value, r.note) for s, r in results.items()]


async def _make_each(stage: Stage, size: Size) -> str:
    space = await stage.namespace("bench-each")
    await stage.many(lambda i: stage.config_map(space, f"c-{i}", {"a": "0"}), size.configs)
    await stage.many(lambda i: stage.deployment(space, f"c-{i}", [f"c-{i}"]), size.configs)
    await stage.calm()
    return space


def _each_row(size: Size) -> str:
    return f"{size.configs} ConfigMaps changed at once, last Deployment patched"


async def one_deploy(stage: Stage, who: Contestant, size: Size) -> list[Result]:
    """Fifteen configs of one app within a second, and one that is put back; with default settings."""
    space = await stage.namespace("bench-app")
    names = [f"part-{i}" for i in range(15)]
    for name in names:
        await stage.config_map(space, name, {"a": "0"})
    await stage.deployment(space, "app", names)
    async with running(who, await stage.kubeconfig(who.name), DEFAULT):
        await _settled(stage)
        start, value = stage.templates.begin(), _new()
        for name in names:
            await stage.change(space, name, value)
        spread = stage.now - start
        await asyncio.sleep(4.0)
        await stage.calm()
        together = len(stage.templates.of(space).get("app", []))
        start = stage.templates.begin()
        await stage.change(space, "part-0", _new())
        await asyncio.sleep(0.1)
        await stage.change(space, "part-0", value)
        apart = stage.now - start
        await asyncio.sleep(4.0)
        await stage.calm()
        back = len(stage.templates.of(space).get("app", []))
    return [
        Result("15 configs of one app applied within a second", "rollouts", together, f"in {spread:.2f} s"),
        Result("changed and put back within 200 ms", "rollouts", back, f"in {apart * 1000:.0f} ms"),
    ]


async def killed(stage: Stage, who: Contestant, size: Size) -> list[Result]:
    """SIGKILL in the middle of a fan-out, then a new start."""
    space = await stage.namespace("bench-fleet")
    await stage.config_map(space, "fleet", {"a": "0"})
    await stage.many(lambda i: stage.deployment(space, f"fleet-{i}", ["fleet"]), size.fleet)
    await stage.calm()
    changes = stage.templates
    async with running(who, await stage.kubeconfig(who.name), DEFAULT) as process:
        await _settled(stage)
        changes.begin()
        await stage.change(space, "fleet", _new())
        await stage.until(lambda: len(changes.changes) >= size.fleet // 10, 60)
        process.kill()
    await stage.calm()
    at_kill = len(changes.changes)
    async with running(who, await stage.kubeconfig(who.name), DEFAULT):
        await stage.until(lambda: len(changes.changes) >= size.fleet, 30)
        await stage.calm()
    times = changes.of(space)
    row = f"killed in the middle of a fan-out of {size.fleet}"
    note = f"{at_kill} were rolled when it was killed"
    return [
        Result(f"{row}: never rolled", "", size.fleet - len(times), note),
        Result(f"{row}: rolled twice", "", sum(len(each) > 1 for each in times.values())),
    ]


async def memory(stage: Stage, who: Contestant, size: Size) -> list[Result]:
    """Resident memory with some thousand objects and large Secrets."""
    await _make_crowd(stage, size, paused=True)
    space = await stage.namespace("bench-some")
    blob = "x" * 150_000
    await stage.many(lambda i: stage.config_map(space, f"c-{i}", _content(i)), size.some)
    await stage.many(lambda i: stage.secret(space, f"s-{i}", {"blob": f"{i} {blob}"}), size.secrets, 10)
    async with running(who, await stage.kubeconfig(who.name), DEFAULT) as process:
        await _settled(stage)
        await asyncio.sleep(10)
        now, most = process.memory()
    row = (
        f"memory with {size.some:,} ConfigMaps, {size.secrets} Secrets of 150 kB, {size.crowd:,} Deployments"
    )
    return [Result(row, "MB", now, f"at most {most:.0f} MB")]


async def start_up(stage: Stage, who: Contestant, size: Size) -> list[Result]:
    """Memory with very many objects, and from the start of the process to its first reaction."""
    await _make_crowd(stage, size, paused=True)
    space = await stage.namespace("bench-many")
    await stage.many(lambda i: stage.config_map(space, f"c-{i}", _content(i)), size.many)
    await stage.deployment(space, "early", ["c-0"])
    key = (space, "early")
    await stage.calm()
    kubeconfig = await stage.kubeconfig(who.name)
    async with running(who, kubeconfig, DEFAULT) as process:
        await _settled(stage)
        await asyncio.sleep(10)
        await stage.calm()
        now, most = process.memory()
    changes, waits = stage.templates, list[float]()
    for _ in range(size.starts):
        await asyncio.sleep(3)
        changes.begin()
        await stage.change(space, "c-0", _new())
        async with running(who, kubeconfig, DEFAULT) as process:
            for _ in range(600):
                if await stage.until(lambda: key in changes.changes, 0.1):
                    waits.append(changes.changes[key][0] - process.started)
                    break
                if not who.catches_up:
                    await stage.change(space, "c-0", _new())
            await stage.calm()
    row = "start of the controller to its first reaction with those"
    started = sampled(row, "s", waits) if len(waits) == size.starts else Result(row, "s", None)
    missed = "it misses what changed before it was ready: changed each 100 ms until it reacted; "
    note = ("" if who.catches_up else missed) + started.note
    return [
        Result(
            f"memory with {size.many:,} ConfigMaps of 2 kB and {size.crowd:,} Deployments",
            "MB",
            now,
            f"at most {most:.0f} MB",
        ),
        Result(row, "s", started.value, note, started.samples),
    ]


def _content(number: int) -> dict[str, str]:
    return {"a": str(number), **{f"key{i}": "x" * 500 for i in range(4)}}


SCENARIOS: dict[str, Scenario] = {
    "one": Scenario("requests per change with one consumer", requests),
    "latency": Scenario("from a change to the patched template, contestants in turns", latency, rounds=4),
    "crowd": Scenario(
        "1 ConfigMap with 1,000 Deployments that really roll, and unrelated changes meanwhile",
        partial(crowd, paused=False),
        rounds=3,
        peers_once=True,
        bare=partial(bare_loop, paused=False),
    ),
    "paused": Scenario(
        "the same with paused Deployments: no rollouts that keep the control plane busy",
        partial(crowd, paused=True),
        rounds=3,
        peers_once=True,
        bare=partial(bare_loop, paused=True),
    ),
    "each": Scenario("500 ConfigMaps with a Deployment each, changed at once", many_at_once, bare=bare_each),
    "app": Scenario("15 configs of one app applied at once; a change that is put back", one_deploy),
    "fleet": Scenario("SIGKILL in the middle of a fan-out of 200", killed),
    "memory": Scenario("memory with 5,000 ConfigMaps, 200 large Secrets and 1,000 Deployments", memory),
    "start": Scenario("memory and start with 50,000 ConfigMaps and 1,000 Deployments", start_up),
}
