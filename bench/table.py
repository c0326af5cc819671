"""Results as a table with goals and ratios, and as JSON. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.result import Result

Results = Mapping[str, Sequence[Result]]
"""Contestant -> what was measured of it."""

# Of design.md and issue 13, for the full sizes: a row's name begins so, and its value is to be at most this.
GOALS: tuple[tuple[str, float], ...] = (
    ("requests per change", 2),
    ("an unrelated change", 0.25),
    ("500 ConfigMaps changed", 2.5),
    ("15 configs", 1),
    ("changed and put back", 0),
    ("killed", 0),
    ("memory with 5,000", 60),
    ("memory with 50,000", 69),
    ("memory with 100,000", 120),
    ("start of the controller to its first reaction with those 110,000", 3.0),
    ("start of the controller", 1.8),
    ("times a bare loop (1 ConfigMap", 1.15),
    ("times a bare loop (25 ms", 1.15),
    ("times a bare loop (100 ms", 1.15),
    ("processor time of an event", 0.1),
    ("on the sandbox, 1 ConfigMap", 2.0),
    ("simulate: seconds", 5.0),
    ("simulate: memory", 300),
)


def goal(row: str) -> float | None:
    """What reroll is to reach in this row, if there is a goal."""
    return next((value for start, value in GOALS if row.startswith(start)), None)


def number(value: float | None, unit: str) -> str:
    """A value as a person reads it."""
    if value is None:
        return "never"
    if unit in ("", "rollouts"):
        return f"{value:.0f}"
    digits = 0 if value >= 100 or unit == "MB" else 1 if value >= 10 else 2
    return f"{value:.{digits}f} {unit}".rstrip()


def ratio(mine: float | None, other: float | None) -> str:
    """How many times the other's value is of mine."""
    if mine is None or other is None or mine <= 0:
        return ""
    return f"{other / mine:.1f}x" if other / mine < 100 else f"{other / mine:.0f}x"


def against_bare(found: Sequence[Result], bare: Mapping[str, float]) -> list[Result]:
    """`found`, with a row after each that a bare loop was run for: how many times that loop's time it took.

    `bare` is by the row's name, in seconds.
    """
    rows = []
    for result in found:
        rows.append(result)
        seconds = bare.get(result.row)
        if seconds:
            value = None if result.value is None else result.value / seconds
            name = f"times a bare loop ({result.row.partition(':')[0]})"
            rows.append(Result(name, "times", value, f"that takes {seconds:.2f} s"))
    return rows


def rows(results: Results) -> list[list[str]]:
    """Header and rows: name, a column a contestant (reroll last), ratio, goal."""
    names = [name for name in results if name != "reroll"] + (["reroll"] if "reroll" in results else [])
    mine = {r.row: r for r in results.get("reroll", ())}
    first = names[0] if len(names) > 1 else None
    header = ["", *names] + ([f"{first} / reroll"] if first else []) + ["goal"]
    table = [header]
    for row in dict.fromkeys(r.row for found in results.values() for r in found):
        cells = [row]
        for name in names:
            found = next((r for r in results[name] if r.row == row), None)
            cells.append(number(found.value, found.unit) if found else "")
        own = mine.get(row)
        if first:
            other = next((r for r in results[first] if r.row == row), None)
            cells.append(ratio(own.value if own else None, other.value if other else None))
        limit = goal(row)
        met = limit is None or own is None or (own.value is not None and own.value <= limit)
        cells.append(
            "" if limit is None else f"{number(limit, own.unit if own else '')}{'' if met else ', missed'}"
        )
        table.append(cells)
    return table


def markdown(table: Sequence[Sequence[str]]) -> str:
    """The table for a README."""
    head, *body = table
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in body])


def data(results: Results, bare: Mapping[str, float], machine: Mapping[str, Any]) -> dict[str, Any]:
    """Everything, for programs."""
    return {
        "machine": dict(machine),
        "bare_loop_seconds": dict(bare),
        "results": {
            name: [
                {"row": r.row, "unit": r.unit, "value": r.value, "note": r.note, "samples": list(r.samples)}
                for r in found
            ]
            for name, found in results.items()
        },
    }
