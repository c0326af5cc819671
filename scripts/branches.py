"""Prints how many branches of the controller the tests took, and fails below --at-least=PERCENT.

Reads .coverage, which `make test` leaves. What is measured says pyproject.toml; what is left out, and why,
docs/testing.md.
"""

from __future__ import annotations

import argparse
import collections
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

WORST = 8
"""Files that are named with the most branches that no test took."""


def main(argv: list[str]) -> int:
    """Print the table; gives 1 when too few branches were taken."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--at-least", type=float, default=0.0, metavar="PERCENT", help="of branches")
    wanted = parser.parse_args(argv).at_least
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "coverage.json")
        subprocess.run([sys.executable, "-m", "coverage", "json", "--quiet", "-o", path], check=True)
        files = json.loads(path.read_text())["files"]
    print(f"\n{table(files)}")
    taken, all_of_them = branches(files)
    if (found := percent(taken, all_of_them)) < wanted:
        print(
            f"reroll: {found:.1f} % of the branches were taken by tests; {wanted:g} % have to be",
            file=sys.stderr,
        )
        return 1
    return 0


def branches(files: dict[str, Any]) -> tuple[int, int]:
    """Branches taken and branches in all."""
    summaries = [file["summary"] for file in files.values()]
    return sum(s["covered_branches"] for s in summaries), sum(s["num_branches"] for s in summaries)


def percent(part: int, whole: int) -> float:
    return 100 * part / whole if whole else 100.0


def table(files: dict[str, Any]) -> str:
    """A line for each package, one for all, and one for each file that lacks most."""
    packages: dict[str, dict[str, Any]] = collections.defaultdict(dict)
    for name, file in files.items():
        inside = Path(name).parts
        packages[inside[inside.index("reroll") + 1]][name] = file
    lines = [_line(f"branches of {package}", some) for package, some in sorted(packages.items())]
    lines.append(_line("branches in all", files))
    missing = sorted(files, key=lambda name: -files[name]["summary"]["missing_branches"])[:WORST]
    for name in missing:
        if lacks := files[name]["missing_branches"]:
            places = ", ".join(str(line) for line in sorted({abs(start) for start, _ in lacks})[:12])
            lines.append(f"  not taken: {len(lacks)} in {name}, from lines {places}")
    return "\n".join(lines)


def _line(name: str, files: dict[str, Any]) -> str:
    taken, whole = branches(files)
    return f"{name:24} {percent(taken, whole):5.1f} %  ({taken} of {whole})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
