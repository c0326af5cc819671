"""What `reroll stale` costs on a large cluster: time and memory of the whole command, against a real control plane.

    python -m bench.stale [--small] [--kubeconfig FILE]

2,000 Deployments with 10,000 pods are made on a fresh control plane. Each reads a ConfigMap and a Secret of its own
and one ConfigMap that its namespace shares; then a tenth of the ConfigMaps is changed.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from bench.command import Ran, reroll
from bench.result import Result
from bench.stage import DEPLOYMENTS, Stage, stage
from reroll.kube.resources import CONFIG_MAPS

_PER_NAMESPACE = 100
_PODS = 5
_ROUNDS = 3
_AT_ONCE = 40
_GOALS = {"stale: seconds": 5.0, "stale: memory": 150.0}
"""Of issue 6, for the full size."""


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.stale")
    parser.add_argument("--small", action="store_true", help="a tenth of it, to see that it works")
    parser.add_argument("--kubeconfig", type=Path, help="use this cluster, not a fresh one of our own")
    options = parser.parse_args()
    workloads = 200 if options.small else 2_000
    for result in asyncio.run(measure(workloads, options.kubeconfig)):
        aim = "" if options.small else f"   (aim: at most {_GOALS[result.row]:g} {result.unit})"
        print(f"{result.row:24} {result.value:8.2f} {result.unit}{aim}   {result.note}")
    return 0


async def measure(workloads: int, kubeconfig: Path | None = None) -> list[Result]:
    """Rows: seconds (the median of some runs) and megabytes (the most of them)."""
    async with stage(kubeconfig, nodes=workloads * _PODS // 1_000 + 2) as found:
        where = await found.kubeconfig("stale")
        began = time.perf_counter()
        await _make(found, workloads)
        pods = await _ready(found, workloads * _PODS)
        print(f"{workloads} workloads, {pods} pods, made in {time.perf_counter() - began:.0f} s", flush=True)
        expected = await _change(found, workloads)
        await asyncio.sleep(3)  # what the server still does with the changes is not the command's
        runs = [await asyncio.to_thread(_run, where) for _ in range(_ROUNDS)]
    for told, _ in runs:
        if told != (workloads, pods, expected):
            raise RuntimeError(f"told (workloads, pods, stale): {told}, not {(workloads, pods, expected)}")
    seconds = [ran.seconds for _, ran in runs]
    note = (
        f"{expected} of {workloads} workloads stale, {pods} pods; {', '.join(f'{s:.2f}' for s in seconds)} s, "
        f"of which {statistics.median(ran.cpu for _, ran in runs):.2f} s CPU of its own"
    )
    return [
        Result("stale: seconds", "s", statistics.median(seconds), note),
        Result("stale: memory", "MB", max(ran.megabytes for _, ran in runs), note),
    ]


async def _make(found: Stage, workloads: int) -> None:
    names = [f"team-{number}" for number in range(-(-workloads // _PER_NAMESPACE))]
    for name in names:
        await found.namespace(name)
        await found.config_map(name, "shared", {"region": "eu", "log": "info"})

    async def each(number: int) -> None:
        namespace, own = names[number // _PER_NAMESPACE], f"app-{number}"
        data = {f"KEY_{i}": f"a value of some length {i}" for i in range(10)}
        await found.config_map(namespace, own, data)
        await found.secret(namespace, own, {"password": "hunter2" * 4, "user": own})
        await found.create(DEPLOYMENTS, namespace, _deployment(own))

    await found.many(each, workloads, at_once=_AT_ONCE)


def _deployment(own: str) -> dict[str, Any]:
    labels = {"app": own}
    container = {
        "name": "main",
        "image": f"registry.invalid/team/{own}:1.2.3",
        "env": [{"name": f"SETTING_{i}", "value": f"a value of some length {i}"} for i in range(12)],
        "envFrom": [{"configMapRef": {"name": own}}, {"secretRef": {"name": own}}],
        "volumeMounts": [{"name": "shared", "mountPath": "/etc/shared"}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}},
        "resources": {"requests": {"cpu": "1m", "memory": "1Mi"}},
    }
    spec = {
        "containers": [container],
        "volumes": [{"name": "shared", "configMap": {"name": "shared"}}],
    }
    return {
        "metadata": {"name": own, "labels": labels},
        "spec": {
            "replicas": _PODS,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


class _Status(msgspec.Struct, rename="camel"):
    ready_replicas: int = 0


class _Deployment(msgspec.Struct):
    status: _Status


class _Deployments(msgspec.Struct):
    items: list[_Deployment]


async def _ready(found: Stage, pods: int) -> int:
    """Wait until so many pods are ready; returns how many there are."""
    while True:
        page = await found.client.list_page(DEPLOYMENTS.path(None, None, resourceVersion="0"))
        ready = sum(each.status.ready_replicas for each in msgspec.json.decode(page, type=_Deployments).items)
        if ready >= pods:
            return ready
        print(f"{ready} of {pods} pods are ready", file=sys.stderr, flush=True)
        await asyncio.sleep(10)


async def _change(found: Stage, workloads: int) -> int:
    """Change the ConfigMap of each tenth workload, in a later second than their pods started; returns how many."""
    await asyncio.sleep(2)
    changed = range(0, workloads, 10)

    async def each(index: int) -> None:
        number = changed[index]
        path = CONFIG_MAPS.path(f"team-{number // _PER_NAMESPACE}", f"app-{number}")
        await found.client.patch(path, b'{"data": {"KEY_0": "changed"}}', attempts=6)

    await found.many(each, len(changed), at_once=_AT_ONCE)
    return len(changed)


def _run(kubeconfig: Path) -> tuple[tuple[int, int, int], Ran]:
    """((workloads, pods, stale), what it cost) of the command."""
    ran = reroll("stale", "-A", "-o", "json", "--kubeconfig", str(kubeconfig))
    found = msgspec.json.decode(ran.output)
    stale = sum(1 for each in found["workloads"] if each["findings"])
    return (len(found["workloads"]), found["pods"], stale), ran


if __name__ == "__main__":
    sys.exit(main())
