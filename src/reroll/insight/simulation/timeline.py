"""A simulation as a picture: time from left to right, a line a workload, in the order in which they roll.

SVG that loads nothing, with colours for light and dark surroundings. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final
from xml.sax.saxutils import escape

from reroll.core.durations import format_duration
from reroll.insight.simulation.result import Made, Roll, Simulation

WIDTH: Final = 980
_LEFT, _RIGHT = 350, 940
"""Where time begins and ends."""
_MOST_REASONS = 3
_MOST_ROWS = 40
_MOST_CHANGES = 20
_MOST_STAYS = 20
_BETWEEN_LABELS = 52

_STYLE = """
text { font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace; fill: #1f2328 }
.small { font-size: 11px } .dim { fill: #59636e } .bold { font-weight: 600 } .in { fill: #ffffff; font-size: 10px }
.ground { fill: #ffffff } .line { stroke: #d1d9e0 } .when { stroke: #0969da; stroke-dasharray: 3 3 }
.change { fill: #0969da } .settle { fill: #d4a72c } .roll { fill: #1a7f37 }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc } .dim { fill: #9198a1 } .in { fill: #0d1117 } .ground { fill: #0d1117 }
.line { stroke: #3d444d } .when { stroke: #4493f8 } .change { fill: #4493f8 } .settle { fill: #9e6a03 }
.roll { fill: #3fb950 }
}
"""


def picture(s: Simulation) -> str:
    """The SVG."""
    rows = _rows(s.rolls)
    times = sorted({0.0, *(made.at for made in s.changes), *_roll_times(s.rolls)})
    before = any(roll.at is None or roll.since is None for roll in s.rolls)
    place = _scale(times, _LEFT + (70 if before else 0))
    legend = list(_legend(s.changes))
    top = 72 + 18 * len(legend)
    bottom = top + 30 + sum(_height(rolls) for _, rolls in rows)
    parts = [
        *_texts(14, 26, [(_title(s), "bold")]),
        *_texts(14, 46, [(_fitting(s.source, 130), "dim small")]),
    ]
    for number, (words, css) in enumerate(legend):
        y = 70 + 18 * number
        if css:
            parts += _texts(36, y, [(words, css)])
        else:
            parts += [*_badge(22, y - 4, str(number + 1), "change"), *_texts(36, y, [(words, "")])]
    parts += _axis(place, s, top, bottom, before)
    y = top + 30
    for workload, rolls in rows:
        parts += _row(workload, rolls, y, place)
        y += _height(rolls)
    parts += _foot(s, rows, bottom + 24)
    height = bottom + 20 + 18 * len(list(_foot_lines(s, rows)))
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
            f'height="{height}" role="img">',
            f"<title>{escape(_title(s))}</title>",
            f"<style>{_STYLE}</style>",
            f'<rect class="ground" width="{WIDTH}" height="{height}" rx="6"/>',
            *parts,
            "</svg>\n",
        ]
    )


def _title(s: Simulation) -> str:
    rolled = len({roll.workload for roll in s.rolls})
    of = f"{rolled} of {s.start.workloads} workload{'' if s.start.workloads == 1 else 's'}"
    return f"reroll simulate: {of} roll{'s' if rolled == 1 else ''}"


def _rows(rolls: Sequence[Roll]) -> list[tuple[str, list[Roll]]]:
    """The rollouts by workload; workloads in the order of their first one."""
    found: dict[str, list[Roll]] = {}
    for roll in rolls:
        found.setdefault(roll.workload, []).append(roll)
    rows = list(found.items())
    return rows if len(rows) <= _MOST_ROWS else rows[:_MOST_ROWS]


def _roll_times(rolls: Iterable[Roll]) -> Iterator[float]:
    shown = {workload for workload, _ in _rows(list(rolls))}
    for roll in rolls:
        if roll.at is not None and roll.workload in shown:
            yield roll.at


Place = Callable[["float | None"], float]


def _scale(times: Sequence[float], left: float) -> Place:
    """Where a time stands. Gaps are as wide as their logarithm: what happens within a second and an hour later
    are both to be seen. What lies before the start (None) stands at the left."""
    gaps = [b - a for a, b in pairwise(times)]
    shortest = min(gaps, default=1.0)
    weights = [1.0 + math.log(gap / shortest) for gap in gaps]
    total = sum(weights) or 1.0
    positions = [left]
    for weight in weights:
        positions.append(positions[-1] + (_RIGHT - left - 30) * weight / total)

    def place(time: float | None) -> float:
        if time is None:
            return float(_LEFT)
        for (a, b), (x, y) in zip(pairwise(times), pairwise(positions), strict=True):
            if time <= b:
                return x + (y - x) * max(0.0, (time - a) / (b - a))
        return positions[-1]

    return place


def _legend(changes: Sequence[Made]) -> Iterator[tuple[str, str]]:
    for made in changes[:_MOST_CHANGES]:
        what = ", ".join(made.keys) or made.detail
        words = f"{_time(made.at)}  {made.action} {made.object}" + (f" ({what})" if what else "")
        yield _fitting(words, 125), ""
    if len(changes) > _MOST_CHANGES:
        yield f"and {len(changes) - _MOST_CHANGES} more changes", "dim"


def _axis(place: Place, s: Simulation, top: float, bottom: float, before: bool) -> Iterator[str]:
    yield f'<line class="line" x1="{_LEFT - 10}" y1="{top + 18}" x2="{_RIGHT + 10}" y2="{top + 18}"/>'
    if before:
        yield from _texts(_LEFT, top + 4, [("start", "dim small")], middle=True)
    last = -math.inf if not before else float(_LEFT)
    changed = {made.at for made in s.changes}
    for time in sorted(changed | {0.0}):
        x = place(time)
        if time in changed:
            yield f'<line class="when" x1="{x:.1f}" y1="{top + 18}" x2="{x:.1f}" y2="{bottom}"/>'
        if x - last >= _BETWEEN_LABELS:
            yield from _texts(x, top + 4, [(_time(time), "dim small")], middle=True)
            last = x
    numbers: dict[float, list[int]] = {}
    for number, made in enumerate(s.changes[:_MOST_CHANGES], 1):
        numbers.setdefault(made.at, []).append(number)
    for time, made_then in numbers.items():
        label = str(made_then[0]) if len(made_then) == 1 else f"{made_then[0]}-{made_then[-1]}"
        yield from _badge(place(time), top + 18, label, "change")


def _height(rolls: Sequence[Roll]) -> int:
    return 28 + 15 * min(len(rolls), _MOST_REASONS)


def _row(workload: str, rolls: Sequence[Roll], top: int, place: Place) -> Iterator[str]:
    """A workload, the reason of each of its rollouts, and their times."""
    y, bottom = top + 18, top + _height(rolls)
    yield f'<line class="line" x1="14" y1="{bottom}" x2="{_RIGHT + 10}" y2="{bottom}"/>'
    yield from _texts(14, y, [(_fitting(workload, 43), "bold")])
    for number, roll in enumerate(rolls[:_MOST_REASONS]):
        yield from _texts(
            14, y + 15 * (number + 1), [(_fitting(f"{roll.order}: {_why(roll)}", 47), "dim small")]
        )
    for roll in rolls:
        x = place(roll.at)
        since = place(roll.since) if roll.at is not None else x
        yield f"<g><title>{escape(_why(roll))}</title>"
        if x - since > 1:
            yield f'<rect class="settle" x="{since:.1f}" y="{y - 1}" width="{x - since:.1f}" height="6" rx="3"/>'
        yield from _badge(x, y + 2, str(roll.order), "roll")
        if roll.at is not None:
            yield from _texts(x + 14, y + 6, [(_time(roll.at), "dim small")])
        yield "</g>"


def _why(roll: Roll) -> str:
    return "; ".join((roll.reason, *roll.notes))


def _foot(s: Simulation, rows: Sequence[tuple[str, list[Roll]]], y: float) -> Iterator[str]:
    for number, (words, css) in enumerate(_foot_lines(s, rows)):
        yield from _texts(14, y + 18 * number, [(words, css)])


def _foot_lines(s: Simulation, rows: Sequence[tuple[str, list[Roll]]]) -> Iterator[tuple[str, str]]:
    hidden = len({roll.workload for roll in s.rolls}) - len(rows)
    if hidden:
        yield f"and {hidden} more workloads roll", "dim"
    for stay in s.stays[:_MOST_STAYS]:
        yield _fitting(f"not rolled: {stay.workload}: {stay.reason}", 140), "small"
    if len(s.stays) > _MOST_STAYS:
        yield f"and {len(s.stays) - _MOST_STAYS} more are not rolled", "dim small"
    if s.unconcerned:
        yield f"{s.unconcerned} more {'is' if s.unconcerned == 1 else 'are'} not concerned", "dim small"
    yield (
        "long gaps in time are drawn shorter than they are; a bar is the time in which changes settle",
        "dim small",
    )


def _badge(x: float, y: float, words: str, css: str) -> Iterator[str]:
    """A number in a circle, or in a longer one where it has several digits."""
    half = 8 if len(words) < 2 else 4 + 3.2 * len(words)
    yield f'<rect class="{css}" x="{x - half:.1f}" y="{y - 8}" width="{2 * half:.1f}" height="16" rx="8"/>'
    yield from _texts(x, y + 3.5, [(words, "in")], middle=True)


def _texts(x: float, y: float, parts: Sequence[tuple[str, str]], *, middle: bool = False) -> Iterator[str]:
    anchor = ' text-anchor="middle"' if middle else ""
    for words, css in parts:
        style = f' class="{css}"' if css else ""
        yield f'<text x="{x:.1f}" y="{y:.1f}"{anchor}{style}>{escape(words)}</text>'


def _fitting(words: str, most: int) -> str:
    return words if len(words) <= most else words[: most - 1] + "…"


def _time(seconds: float) -> str:
    return format_duration(seconds) if seconds else "0s"
