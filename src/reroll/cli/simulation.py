"""A simulation, for people: what changes and rolls in the order of time, then what does not, then the count."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from reroll.core.durations import format_duration
from reroll.insight.simulation.result import Made, Roll, Simulation, Start, Stay

_DECISIONS = {
    "skip": "not stale",
    "record": "only recorded",
    "wait": "waits",
    "refuse": "refused",
    "adopt": "adopted",
}


def show(simulation: Simulation, console: Console | None = None) -> None:
    """Print it; colours on a terminal, plain text in a pipe."""
    out = console or Console(highlight=False, soft_wrap=True)
    for line in lines(simulation):
        out.print(line)


def lines(s: Simulation) -> Iterable[Text]:
    """The lines of it."""
    yield Text(f"{s.source}: {_start(s.start)}")
    events = _events(s)
    if events:
        yield Text()
        yield from _columns(("TIME", "WHAT", "OBJECT", "WHY"), events)
    if s.stays:
        yield Text()
        yield from _columns(("NOT ROLLED", "IT IS", "WHY"), [row for stay in s.stays for row in _stay(stay)])
    yield Text()
    yield Text(_summary(s), style="bold")
    for note in s.notes:
        yield Text(f"note: {note}", style="dim")


def _start(start: Start) -> str:
    done = [
        f"{count} {word}"
        for count, word in (
            (start.adopted, "adopted as they are"),
            (start.recorded, "recorded anew"),
            (start.rolled, "rolled at once"),
        )
        if count
    ]
    text = (
        f"{_count(start.workloads, 'workload')}, {start.followed} of them followed, "
        f"and {_count(start.config_objects, 'config object')}"
    )
    return text + (f"; at the start {', '.join(done)}" if done else "")


def _events(s: Simulation) -> list[tuple[str, ...]]:
    """Changes and rollouts by time; at the same time the change comes first, as its cause."""
    rows: list[tuple[float, int, int, tuple[str, ...]]] = []
    idle: dict[tuple[float, str], list[Made]] = {}
    for number, made in enumerate(s.changes):
        if made.effect == "nothing":
            idle.setdefault((made.at, made.action), []).append(made)
        else:
            rows.append((made.at, 0, number, (_time(made.at), made.action, made.object, _effect(made))))
    for (at, action), same in idle.items():
        name = same[0].object if len(same) == 1 else f"{len(same)} objects"
        rows.append((at, 0, len(s.changes), (_time(at), action, name, "no change: it is so already")))
    for roll in s.rolls:
        at = -1.0 if roll.at is None else roll.at
        rows.append((at, 1, roll.order, (_time(roll.at), "rolls", roll.workload, _why(roll))))
    return [row for *_, row in sorted(rows)]


def _effect(made: Made) -> str:
    return ", ".join(made.keys) or made.detail or made.effect


def _why(roll: Roll) -> str:
    return "; ".join((roll.reason, *roll.notes))


def _stay(stay: Stay) -> Iterable[tuple[str, ...]]:
    followed = stay.followed or stay.decision == "refuse"
    state = _DECISIONS.get(stay.decision, stay.decision) if followed else "not followed"
    yield stay.workload, state, stay.reason
    for note in (*stay.notes, *stay.problems):
        yield "", "", note


def _summary(s: Simulation) -> str:
    rolled = len({roll.workload for roll in s.rolls})
    more = f" ({len(s.rolls)} rollouts)" if len(s.rolls) != rolled else ""
    parts = [f"{rolled} of {_count(s.start.workloads, 'workload')} {_s(rolled, 'rolls', 'roll')}{more}"]
    if s.stays:
        parts.append(
            f"{len(s.stays)} {_s(len(s.stays), 'is', 'are')} looked at and {_s(len(s.stays), 'does', 'do')} not"
        )
    if s.unconcerned:
        parts.append(f"{s.unconcerned} {_s(s.unconcerned, 'is', 'are')} not concerned")
    return ", ".join(parts) + f". At rest after {_time(s.ended)}."


def _s(count: int, one: str, many: str) -> str:
    return one if count == 1 else many


def _count(count: int, word: str) -> str:
    return f"{count} {word}" + ("" if count == 1 else "s")


def _time(at: float | None) -> str:
    if at is None:
        return "start"
    return format_duration(at) if at else "0s"


def _columns(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterable[Text]:
    """As kubectl has them: each column as wide as its widest cell, the last one as long as it is."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header) - 1)]
    for row in (header, *rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        text = Text("   ".join([*cells, row[-1]]).rstrip())
        if row is header:
            text.stylize("dim")
        elif row[1] == "rolls":
            text.stylize("green")
        yield text
