"""One frame of the live view: workloads on the left, steps on the right, what is going on, the decisions.

Pure: a board and a size in, something that rich can print out. Made for 80 columns and 23 lines, and better
with more. Nothing is told by colour alone.
"""

from __future__ import annotations

from collections.abc import Iterable

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from reroll.demo.board import Board, Shown, Told, brief
from reroll.demo.observer import WorkloadView
from reroll.demo.plain import clock

LEAST_WIDTH, LEAST_HEIGHT = 72, 23
MOST_WIDTH = 120
_NOW_LINES = 4

MARKS = {
    "waiting": ("·", "dim"),
    "running": ("▸", "bold cyan"),
    "passed": ("✓", "green"),
    "failed": ("✗", "bold red"),
}
_PODS = {"ready": ("●", "green"), "starting": ("◐", "cyan"), "old": ("○", "yellow")}
_WORDS = {
    "rolled": "bold green",
    "adopted": "cyan",
    "recorded": "cyan",
    "wait": "yellow",
    "skip": "dim",
    "refuse": "red",
}
_SHORT_KINDS = {"Deployment": "deploy", "StatefulSet": "sts"}


def frame(board: Board, width: int, height: int) -> RenderableType:
    """Exactly `height` lines of at most `width` columns (up to 120)."""
    width = min(width, MOST_WIDTH)
    top = len(board.steps) + 2
    now = _NOW_LINES + 2
    rest = max(3, height - 1 - top - now)
    title, body = _now(board)
    return Group(
        header(board, width),
        overview(board, width),
        _panel(title, body, now, width),
        _panel("decisions of the controller", decisions(board, rest - 2, width - 4), rest, width),
    )


def overview(board: Board, width: int) -> RenderableType:
    """Workloads and steps, side by side."""
    left = 34 if width < 96 else 40
    height = len(board.steps) + 2
    grid = Table.grid(padding=0)
    grid.add_column(width=left)
    grid.add_column(width=width - left)
    grid.add_row(
        _panel("workloads", workloads(board), height, left),
        _panel("steps", steps(board), height, width - left),
    )
    return grid


def header(board: Board, width: int) -> RenderableType:
    """One line: where, and for how long."""
    line = Table.grid(expand=False, padding=0)
    line.add_column(width=width - 6, no_wrap=True, overflow="ellipsis")
    line.add_column(width=6, justify="right", no_wrap=True)
    where = f"  {board.cluster}, namespace {board.namespace}" if board.cluster else ""
    line.add_row(
        Text.assemble((" reroll demo", "bold"), (where, "dim"), no_wrap=True),
        Text(clock(board.seconds), "dim"),
    )
    return line


def workloads(board: Board) -> RenderableType:
    """Pods and rollouts of each workload, and whether the controller runs."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True, min_width=13)
    grid.add_column(no_wrap=True, min_width=6)
    grid.add_column(no_wrap=True, justify="right")
    grid.add_row(Text(""), Text("pods", "dim"), Text("rollouts", "dim"))
    for view in board.workloads.values():
        count = board.rollouts.get(view.name, 0)
        style = "bold" if not view.settled else ""
        grid.add_row(
            Text(f"{_SHORT_KINDS[view.kind.kind]}/{view.name}", style), _pods(view), Text(str(count), style)
        )
    tone = {"running": "green", "killed": "bold red"}.get(board.controller, "dim")
    legend = Text("  ").join(Text.assemble(glyph, (f" {word}", "dim")) for word, glyph in _legend())
    return Group(grid, Text(""), Text.assemble(("controller ", "dim"), (board.controller, tone)), legend)


def _legend() -> Iterable[tuple[str, tuple[str, str]]]:
    return (("new", _PODS["ready"]), ("starting", _PODS["starting"]), ("old", _PODS["old"]))


def _pods(view: WorkloadView) -> Text:
    text = Text(no_wrap=True)
    for pod in view.pods:
        text.append(*_PODS["old" if not pod.new else "ready" if pod.ready else "starting"])
    return text


def steps(board: Board) -> RenderableType:
    """The steps with their marks, and in two words what came of each."""
    grid = Table.grid(padding=(0, 1), expand=True)
    grid.add_column(width=1)
    grid.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    grid.add_column(no_wrap=True, justify="right")
    for step in board.steps:
        mark, style = MARKS[step.state]
        ended = step.state in ("passed", "failed")
        grid.add_row(
            Text(mark, style),
            Text(step.title, {"waiting": "dim", "running": "bold"}.get(step.state, "")),
            Text(step.outcome if ended else "", style if ended else ""),
        )
    return grid


def _now(board: Board) -> tuple[str, RenderableType]:
    """Title and text of what is going on."""
    step = board.current
    if step is None:
        return "now", Text(board.activity)
    return board.activity or step.title, Group(*story(step))


def story(step: Shown) -> list[RenderableType]:
    """One step: the command, what is expected of it, or what was seen, and why. Cut to a line
    each, so that it stays in its place; only what a failed step saw is told in full."""
    if step.state in ("waiting", "running"):
        return [_row("$", Text(step.command, "cyan")), _row("expect", Text(step.expected))]
    mark, style = MARKS[step.state]
    failed = step.state == "failed"
    rows = [_row("$", Text(step.command, "cyan"), cut=True)]
    if failed:
        rows.append(_row("expect", Text(step.expected), cut=True))
    rows.append(_row(mark, Text(step.seen, style), cut=not failed, style=style))
    reasons = dict.fromkeys(brief(reason) for reason in step.why.values())
    rows += [_row("why", Text(reason), cut=True) for reason in reasons]
    return rows


def _row(label: str, text: Text, *, cut: bool = False, style: str = "dim") -> RenderableType:
    """A label and its text, wrapped or cut to one line."""
    grid = Table.grid(padding=(0, 1), expand=True)
    grid.add_column(width=6, style=style, no_wrap=True)
    grid.add_column(ratio=1, no_wrap=cut, overflow="ellipsis" if cut else "fold")
    grid.add_row(label, text)
    return grid


def decisions(board: Board, lines: int, width: int) -> RenderableType:
    """The latest that fit, oldest first."""
    grid = Table.grid(padding=(0, 1))
    for _ in range(3):
        grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True, overflow="ellipsis", max_width=max(10, width - 24))
    for told in list(board.decisions)[-max(0, lines) :]:
        grid.add_row(*_told(told))
    return grid


def _told(told: Told) -> tuple[Text, ...]:
    return (
        Text(f"{clock(told.seconds):>4}", "dim"),
        Text(f"{told.workload:<6}"),
        Text(f"{told.word:<8}", _WORDS.get(told.word, "")),
        Text(brief(told.reason)),
    )


def _panel(title: str, body: RenderableType, height: int, width: int) -> Panel:
    return Panel(
        body,
        title=Text(f" {title} ", "bold"),
        title_align="left",
        border_style="bright_black",
        box=box.ROUNDED,
        height=height,
        width=width,
        padding=(0, 1),
    )
