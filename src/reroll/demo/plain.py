"""The demo as lines, one for each thing that happens: in a pipe, in a log, on a small terminal."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from reroll.demo.board import Tone

_STYLES: dict[Tone, str] = {"plain": "", "quiet": "dim", "step": "bold", "good": "green", "bad": "bold red"}
_ASCII = {ord("✓"): "ok", ord("✗"): "FAILED:"}


class Plain:
    """Prints each line with the time since the start."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def hear(self, seconds: float, text: str, tone: Tone) -> None:
        """One line of the board."""
        if not self._console.encoding.lower().startswith("utf"):
            text = (
                text.translate(_ASCII)
                .encode(self._console.encoding, "replace")
                .decode(self._console.encoding)
            )
        if tone == "step":
            self._console.print()
        line = Text.assemble((f"{clock(seconds)}  ", "dim"), (text, _STYLES[tone]))
        self._console.print(line, soft_wrap=True, highlight=False)


def clock(seconds: float) -> str:
    """Minutes and seconds, such as 0:07."""
    whole = int(seconds)
    return f"{whole // 60}:{whole % 60:02d}"
