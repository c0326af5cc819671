"""The demo on a terminal: one picture that changes in place, and a key press between steps."""

from __future__ import annotations

import asyncio
import os
import sys
import termios
import tty
from contextlib import suppress
from types import TracebackType

from rich.console import Console
from rich.live import Live

from reroll.demo.board import Board
from reroll.demo.frame import LEAST_HEIGHT, LEAST_WIDTH, frame

_REDRAW_EVERY = 0.1
_MOST_LINES = 30


def fits(console: Console) -> bool:
    """A terminal, large enough, that can show the signs of the view."""
    return (
        console.is_terminal
        and not console.is_dumb_terminal
        and console.encoding.lower().startswith("utf")
        and console.width >= LEAST_WIDTH
        and console.height > LEAST_HEIGHT
    )


class LiveView:
    """Shows the board while the body runs, as an async context manager. The last frame stays."""

    def __init__(self, console: Console, board: Board) -> None:
        self._console = console
        self._board = board
        # Drawn from the event loop, not from a thread of rich: the board changes there.
        self._live = Live(console=console, auto_refresh=False, transient=False)
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> LiveView:
        self._live.start()
        self._task = asyncio.create_task(self._redraw(), name="live view")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Draw the last frame, and leave it. Harmless when done already."""
        if self._task is None:
            return
        task, self._task = self._task, None
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        self._draw()
        self._live.stop()

    async def _redraw(self) -> None:
        while True:
            self._draw()
            await asyncio.sleep(_REDRAW_EVERY)

    def _draw(self) -> None:
        height = min(self._console.height - 1, _MOST_LINES)
        self._live.update(frame(self._board, self._console.width, height), refresh=True)


async def key_press() -> None:
    """Wait for any key on the terminal that is standard input."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    loop = asyncio.get_running_loop()
    pressed = asyncio.Event()
    tty.setcbreak(descriptor, termios.TCSADRAIN)
    loop.add_reader(descriptor, pressed.set)
    try:
        await pressed.wait()
        os.read(descriptor, 1024)
    finally:
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
