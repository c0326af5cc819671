"""What a scenario found: one number of one row, and how the rounds of a scenario become one. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

Statistic = Literal["median", "p95"]


@dataclass(frozen=True)
class Result:
    """One number of one row. `value` None: it did not come about, and `note` says what did.

    `samples` are what the value is the `statistic` of, where it is one of many.
    """

    row: str
    unit: str
    value: float | None
    note: str = ""
    samples: tuple[float, ...] = ()
    statistic: Statistic = "median"


def percentile(samples: Iterable[float], share: float) -> float:
    """The smallest sample that is not below `share` (0 to 1) of them all. Raises ValueError for none."""
    ordered = sorted(samples)
    if not ordered:
        raise ValueError("no samples")
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def sampled(row: str, unit: str, samples: Sequence[float], statistic: Statistic = "median") -> Result:
    """A row that is a statistic of samples."""
    if not samples:
        return Result(row, unit, None, "no sample", (), statistic)
    value = statistics.median(samples) if statistic == "median" else percentile(samples, 0.95)
    note = f"of {len(samples)}, from {min(samples):.1f} to {max(samples):.1f}"
    return Result(row, unit, value, note, tuple(samples), statistic)


def pooled(rounds: Sequence[Sequence[Result]]) -> list[Result]:
    """Several rounds of one scenario as one: samples are put together, single values become their median.

    A value that did not come about in one of the rounds did not come about.
    """
    if len(rounds) == 1:
        return list(rounds[0])
    together: list[Result] = []
    for row in dict.fromkeys(result.row for found in rounds for result in found):
        same = [result for found in rounds for result in found if result.row == row]
        first = same[0]
        missing = next((result for result in same if result.value is None and not result.samples), None)
        if any(result.samples for result in same):
            samples = [sample for result in same for sample in result.samples]
            together.append(sampled(row, first.unit, samples, first.statistic))
        elif missing is not None:
            together.append(missing)
        else:
            values = [result.value for result in same if result.value is not None]
            each = "median of " + ", ".join(f"{value:.2f}" for value in values)
            note = "; ".join(filter(None, [each, first.note]))
            together.append(replace(first, value=statistics.median(values), note=note))
    return together
