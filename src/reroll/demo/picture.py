"""The demo as a picture, `--record FILE.svg`: the story of each step, from a real run.

docs/demo.svg is recorded so: `reroll demo --record docs/demo.svg`.
"""

from __future__ import annotations

import io
import re
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from reroll.demo.board import Board, Shown, brief
from reroll.demo.frame import MARKS, header

WIDTH = 100

_THEME = TerminalTheme(
    (22, 27, 34),
    (201, 209, 217),
    [
        (72, 79, 88),
        (255, 123, 114),
        (63, 185, 80),
        (210, 153, 34),
        (88, 166, 255),
        (188, 140, 255),
        (57, 197, 207),
        (177, 186, 196),
    ],
    [
        (110, 118, 129),
        (255, 161, 152),
        (86, 211, 100),
        (227, 179, 65),
        (121, 192, 255),
        (210, 168, 255),
        (86, 212, 221),
        (240, 246, 252),
    ],
)
_WEB_FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
_FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


def picture(board: Board) -> RenderableType:
    """What is drawn: each step with its command, what came of it, and why. 100 columns, as many lines as
    there are; no boxes, for fonts differ where it is looked at."""
    blocks: list[RenderableType] = [header(board, WIDTH)]
    for number, step in enumerate(board.steps, 1):
        blocks += [Text(""), *_story(number, step)]
    return Group(*blocks, Text(""))


def _story(number: int, step: Shown) -> list[RenderableType]:
    mark, style = MARKS[step.state]
    grid = Table.grid(padding=(0, 1), expand=True)
    grid.add_column(width=3)
    grid.add_column(ratio=1)
    grid.add_column(no_wrap=True, justify="right")
    grid.add_row(
        Text.assemble(" ", (mark, style)),
        Text(f"{number} {step.title}", "bold"),
        Text(f"{step.seen} ", style),
    )
    if step.state == "waiting":
        return [grid]
    body = Table.grid(padding=(0, 1), expand=True)
    body.add_column(width=5)
    body.add_column(ratio=1)
    body.add_row("", Text.assemble(("$ ", "dim"), (step.command, "cyan")))
    for reason in dict.fromkeys(brief(reason) for reason in step.why.values()):
        body.add_row("", Text(reason))
    return [grid, body]


def record(board: Board, path: Path) -> None:
    """Write the picture. Raises OSError."""
    console = Console(
        record=True,
        width=WIDTH,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
        no_color=False,
    )
    console.print(picture(board))
    svg = console.export_svg(title="reroll demo", theme=_THEME, unique_id="reroll-demo")
    # A picture in a README may load nothing, and shall not try: without rich's web font.
    path.write_text(_WEB_FONT.sub("", svg).replace("Fira Code, monospace", _FONTS), encoding="utf-8")
