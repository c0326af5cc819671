"""An explanation, for people: what is so, then why, then the details."""

from __future__ import annotations

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from reroll.insight.explanation import ConfigExplanation, Explanation

_VERDICTS = {
    "adopt": ("not seen yet", "yellow"),
    "roll": ("stale: it would be rolled now", "red"),
    "record": ("its record is to be written", "yellow"),
    "resume": ("it would be resumed now", "yellow"),
    "refuse": ("not acted on", "red"),
}
_RUNS = {
    "current": ("up to date", "green"),
    "rolling": ("rolling", "yellow"),
    "older": ("recorded, with older pods", "red"),
    "": ("recorded", "yellow"),
}
_COLOURS = {"stale": "red", "same": "green"}
_SEES = {
    "never": "running pods never see a change",
    "later": "running pods see it after 0 to 90 s, if the process reads it again",
    "unknown": "",
}


def show(explanation: Explanation, console: Console | None = None) -> None:
    """Print it; colours on a terminal, plain text in a pipe."""
    (console or Console(highlight=False, soft_wrap=True)).print(render(explanation))


def render(e: Explanation) -> RenderableType:
    """The explanation as something rich can print."""
    words, colour = _verdict(e)
    parts: list[RenderableType] = [
        Text.assemble((e.workload, "bold"), "  ", (words, f"bold {colour}")),
        Text(f"  {e.reason}"),
    ]
    parts += [Text(f"  note: {note}", style="dim") for note in e.notes]
    parts += [Text(f"  problem: {problem}", style="red") for problem in e.problems]
    if not e.enabled and not e.outside:
        parts.append(Text('  To follow everything it references, annotate it with reroll.dev/auto: "true".'))
    parts.append(Text(f"\nPods       {_pods(e)}"))
    if e.rollout is not None:
        parts.append(Text(f"Rollout    {e.rollout}"))
    parts.append(Text("\nPolicy"))
    parts.append(_table([(s.name, s.value, s.origin) for s in e.policy]))
    parts.append(Text("\nConsumes" if e.configs else "\nConsumes   nothing"))
    for config in e.configs:
        parts += _config(config)
    return Group(*parts)


def _verdict(e: Explanation) -> tuple[str, str]:
    """(in few words how it stands, colour). It says no more than the decision and what could be read."""
    if e.outside:
        return "left out by the controller's settings", "yellow"
    if e.left and e.decision in ("skip", "record"):
        return "some of its pods run older configuration, and are left as they are", "red"
    if e.decision == "wait":
        return ("stale: it is not rolled yet", "red") if e.stale else ("it waits", "yellow")
    if e.decision != "skip":
        return _VERDICTS.get(e.decision, (e.decision, "default"))
    if not e.enabled:
        return "not followed", "yellow"
    states = {config.state for config in e.configs if config.followed}
    if not states or "not compared" in states:
        return "nothing is to be done", "yellow"
    if e.runs == "current" and "can't be read" in states:
        return "up to date, as far as it can be read", "yellow"
    return _RUNS[e.runs]


def _pods(e: Explanation) -> str:
    if e.pods is None:
        return "not known"
    replicas = f" of {e.replicas}" if e.replicas is not None else ""
    oldest = f", the oldest created {e.oldest_pod}" if e.oldest_pod else ""
    return f"{e.pods}{replicas}{oldest}{', paused' if e.paused else ''}"


def _config(c: ConfigExplanation) -> list[RenderableType]:
    colour = _COLOURS.get(c.state, "yellow")
    parts: list[RenderableType] = [Text.assemble("  ", (c.config, "bold"), "  ", (c.state, colour))]
    if c.note:
        parts.append(Text(f"    {c.note}"))
    if c.changed:
        parts.append(Text(f"    last change: {c.changed}", style="dim"))
    for place in c.places:
        keys = "every key" if place.keys is None else ", ".join(place.keys)
        sees = _SEES.get(place.sees, "")
        optional = ", optional" if place.optional else ""
        parts.append(Text(f"    {place.where} ({keys}{optional})" + (f": {sees}" if sees else "")))
    rows = [
        (key.key, key.applied or "-", key.current or "-", "" if key.same else "differs") for key in c.keys
    ]
    if rows:
        parts.append(_table([("key", "rolled for", "current", ""), *rows], indent=4))
    return parts


def _table(rows: list[tuple[str, ...]], indent: int = 2) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(no_wrap=True)
    for _ in rows[0] if rows else ():
        table.add_column()
    for row in rows:
        table.add_row(" " * indent, *(escape(cell) for cell in row))
    return table
