"""`python -m bench`, or `make bench ARGS="--peer reloader=PATH"`."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import time
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from bench.contestants import DIALECTS, ROOT, Contestant, peer, reroll
from bench.own import OWN
from bench.result import Result, pooled
from bench.scenarios import IN_FLIGHT, QUICK, SCENARIOS, Scenario, Size
from bench.speed import SPEED
from bench.stage import Stage, sandbox, stage
from bench.table import against_bare, data, markdown, number, rows

ALL = {**SCENARIOS, **SPEED, **OWN}
console = Console(stderr=True, highlight=False)


def main() -> int:
    """Run the command line; 1 if a scenario broke, and 0 also where a goal is missed."""
    parser = argparse.ArgumentParser(
        prog="bench",
        description=__doc__,
        epilog="example: python -m bench --peer reloader=/path/to/reloader --only crowd; bench/README.md tells more",
    )
    parser.add_argument(
        "--peer", action="append", default=[], metavar="NAME=PATH", help="measure this controller too"
    )
    parser.add_argument(
        "--only", action="append", choices=ALL, metavar="NAME", help="only this scenario; see --list"
    )
    parser.add_argument(
        "--dialect",
        choices=DIALECTS,
        default="reroll",
        help="run reroll as itself, or as `reroll reloader` with one of Reloader's strategies",
    )
    parser.add_argument("--list", action="store_true", help="list the scenarios and end")
    parser.add_argument("--quick", action="store_true", help="small sizes, to try the bench itself")
    parser.add_argument("--kubeconfig", type=Path, help="use this cluster, not a fresh one of our own")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the numbers")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    options = parser.parse_args()
    if options.list:
        for name, scenario in ALL.items():
            print(f"{name:8} {scenario.about}")
        return 0
    try:
        contestants = [*(peer(text) for text in options.peer), reroll(options.dialect)]
    except ValueError as error:
        parser.error(str(error))
    return asyncio.run(measure(options, contestants))


async def measure(options: argparse.Namespace, contestants: list[Contestant]) -> int:
    """Run the chosen scenarios and print and write what they found."""
    size = QUICK if options.quick else Size()
    results: dict[str, list[Result]] = {c.name: [] for c in contestants}
    bare: dict[str, float] = {}
    about = machine()
    broken = 0
    for name in options.only or ALL:
        scenario = ALL[name]
        together = scenario.stage == "real" and not scenario.alone
        playing = contestants if together else [c for c in contestants if c.name == "reroll"]
        try:
            async with _place(scenario, options.kubeconfig) as found:
                if scenario.stage == "real":
                    about["kubernetes"] = await version(found)
                new, loops, broke = await play(name, scenario, found, playing, size)
        except Exception as error:
            console.print(f"{name}: [red]broke[/]: {error!r}")
            broken += 1
            continue
        broken += broke
        bare |= loops
        for contestant in playing:
            results[contestant.name] += against_bare(new[contestant.name], loops)
    table = rows(results)
    path = options.json or ROOT / "bench" / "results" / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data(results, bare, about), indent=2) + "\n")
    if options.markdown:
        print(markdown(table))
    else:
        shown = Table(*table[0])
        for row in table[1:]:
            shown.add_row(*row)
        Console().print(shown)
    for row_name, seconds in bare.items():
        print(f"Bare loop, {row_name}: {seconds:.2f} s with {IN_FLIGHT} in flight")
    print(
        f"{about['processor']}, {about['cores']} cores shared with the whole control plane,"
        f" {about['memory_gib']} GiB, Linux {about['kernel']},"
    )
    kubernetes = f"Kubernetes {about['kubernetes']}, " if "kubernetes" in about else ""
    print(f"{kubernetes}Python {about['python']}, {about['date']}.")
    print(f"Written to {path}")
    return 1 if broken else 0


def _place(scenario: Scenario, kubeconfig: Path | None) -> AbstractAsyncContextManager[Any]:
    """The stage of a scenario; None for one that needs none."""
    if scenario.stage == "sandbox":
        return sandbox()
    return stage(kubeconfig) if scenario.stage == "real" else nullcontext()


async def play(
    name: str, scenario: Scenario, found: Any, contestants: list[Contestant], size: Size
) -> tuple[dict[str, list[Result]], dict[str, float], int]:
    """One scenario in its rounds: (results by contestant, seconds of the bare loop by row, how many broke)."""
    rounds: dict[str, list[list[Result]]] = {c.name: [] for c in contestants}
    loops: dict[str, list[float]] = {}
    out: set[str] = set()
    for turn in range(scenario.rounds):
        for contestant in contestants:
            mine = contestant.name == "reroll"
            if contestant.name in out or (turn and scenario.peers_once and not mine):
                continue
            try:
                if scenario.bare and mine:
                    row, seconds = await scenario.bare(found, size)
                    loops.setdefault(row, []).append(seconds)
                    console.print(f"{name}: bare loop: {seconds:.2f} s", soft_wrap=True)
                new = await scenario.play(found, contestant, size)
            except Exception as error:
                console.print(f"{name}: {contestant.name}: [red]broke[/]: {error!r}", soft_wrap=True)
                out.add(contestant.name)
                continue
            rounds[contestant.name].append(new)
            for result in new:
                value = number(result.value, result.unit)
                text = f"{name}: {contestant.name}: {result.row}: {value}  {result.note}"
                console.print(text, soft_wrap=True)
    pool = {name: pooled(each) if each else [] for name, each in rounds.items()}
    return pool, {row: statistics.median(each) for row, each in loops.items()}, len(out)


async def version(found: Stage) -> str:
    """The server's version, such as 1.34.4."""
    answer = msgspec.json.decode(await found.client.get("/version"))
    return str(answer["gitVersion"]).removeprefix("v")


def machine() -> dict[str, Any]:
    """What was measured on."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    models = [line.split(":", 1)[1].strip() for line in info.splitlines() if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }


if __name__ == "__main__":
    sys.exit(main())
