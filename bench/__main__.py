"""`python -m bench`, or `make bench ARGS="--peer reloader=PATH"`."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.contestants import ROOT, peer, reroll
from bench.scenarios import IN_FLIGHT, QUICK, SCENARIOS, Result, Size, bare_loop
from bench.stage import stage
from bench.table import data, markdown, number, rows


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument(
        "--peer", action="append", default=[], metavar="NAME=PATH", help="measure this one too"
    )
    parser.add_argument("--only", action="append", choices=SCENARIOS, help="only this scenario")
    parser.add_argument("--quick", action="store_true", help="small sizes, to try the bench itself")
    parser.add_argument("--json", type=Path, help="where to write the numbers")
    parser.add_argument("--markdown", action="store_true", help="print the table for a README")
    options = parser.parse_args()
    try:
        contestants = [*(peer(text) for text in options.peer), reroll()]
    except ValueError as error:
        parser.error(str(error))
    return asyncio.run(measure(options, contestants))


async def measure(options: argparse.Namespace, contestants: list[Any]) -> int:
    console = Console(stderr=True)
    size = QUICK if options.quick else Size()
    chosen = options.only or list(SCENARIOS)
    results: dict[str, list[Result]] = {c.name: [] for c in contestants}
    bare: float | None = None
    broken = 0
    async with stage() as found:
        for name in chosen:
            if name == "crowd":
                bare = await bare_loop(found, size)
                console.print(f"crowd: the bare loop with {IN_FLIGHT} in flight took {bare:.2f} s")
            for contestant in contestants:
                try:
                    new = await SCENARIOS[name](found, contestant, size)
                except Exception as error:
                    console.print(f"[red]{name}: {contestant.name}: broke: {error!r}")
                    broken += 1
                    continue
                results[contestant.name] += new
                for result in new:
                    value = number(result.value, result.unit)
                    console.print(
                        f"{name}: {contestant.name}: {result.row}: {value}  {result.note}", soft_wrap=True
                    )
    about = machine()
    table = rows(results, bare)
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
    if bare is not None:
        crowd = next((r.value for r in results["reroll"] if r.row.startswith("1 ConfigMap")), None)
        times = f", and reroll's {crowd / bare:.2f} times that" if crowd else ""
        print(f"Bare loop of the same patches, {IN_FLIGHT} in flight: {bare:.2f} s{times}.")
    print(
        f"{about['processor']}, {about['cores']} cores shared with the whole control plane, Kubernetes 1.34.4,"
    )
    print(f"Python {about['python']}, Linux {about['kernel']}, {about['date']}. Written to {path}")
    return 1 if broken else 0


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
