"""`reroll demo`: see it work."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

READING_TIME = 1.5
"""Seconds between two steps of the live view."""


def demo(
    *,
    kubeconfig: str | None = None,
    context: str | None = None,
    real: Annotated[bool, Parameter(negative="")] = False,
    keep: Annotated[bool, Parameter(negative="")] = False,
    pause: Annotated[bool, Parameter(negative="")] = False,
    record: Path | None = None,
    output: Annotated[Literal["text", "json", "yaml"], Parameter(name=["--output", "-o"])] = "text",
) -> int:
    """Change the configuration of an example app step by step, and see what reroll does and why.

    It works on a sandbox, a small Kubernetes API in memory that needs nothing else; with --real on a real
    control plane of its own on this machine (from a checkout; the first time it is built with Go, in some
    minutes); or on a cluster of yours. There it works in the namespace `reroll-demo` alone, which it makes
    and removes. It exits with 0 only if every step did what it says.

    Example: `reroll demo --context kind-dev`

    Parameters
    ----------
    kubeconfig
        Use the cluster of this kubeconfig.
    context
        Use the cluster of this context.
    real
        Use a real control plane, built and started on this machine.
    keep
        Leave the app (and the dev cluster) at the end, and print how to play with it; the sandbox stays
        until Ctrl-C.
    pause
        Wait for a key before each step.
    record
        Write a picture of the end, as SVG, to this file.
    output
        text for people; json or yaml prints the results of the steps as data, and all else to stderr.
    """
    import asyncio

    from rich.console import Console

    from reroll.cli.failure import Failure
    from reroll.cli.output import dump
    from reroll.demo.board import Board
    from reroll.demo.ending import ending
    from reroll.demo.error import DemoError
    from reroll.demo.live import LiveView, fits, key_press
    from reroll.demo.picture import record as write_picture
    from reroll.demo.plain import Plain
    from reroll.demo.result import DemoResult
    from reroll.demo.run import Options, run

    if pause and not sys.stdin.isatty():
        raise Failure("--pause waits for a key press, and standard input is no terminal", 2)
    if record is not None and not record.parent.is_dir():
        raise Failure(f"--record {record}: there is no folder {record.parent}", 2)
    console = Console(stderr=output != "text", highlight=False)
    live = fits(console)
    board = Board(None if live else Plain(console).hear)
    if real and (kubeconfig or context):
        raise Failure("--real starts a cluster of its own: leave out --kubeconfig and --context", 2)
    options = Options(kubeconfig=kubeconfig, context=context, real=real, keep=keep)

    async def next_step() -> None:
        if pause:
            board.doing("press a key for the next step")
            await key_press()
        elif live:
            await asyncio.sleep(READING_TIME)

    def tell(result: DemoResult) -> None:
        if record is not None:
            write_picture(board, record)
        if output != "text":
            dump(result, output)
        console.print()
        console.print(ending(result, options), soft_wrap=True)

    view = LiveView(console, board) if live else None
    kept: list[DemoResult] = []

    async def linger(result: DemoResult) -> None:
        """The sandbox ends with this process: tell how to play with it, and wait for Ctrl-C."""
        kept.append(result)
        if view is not None:
            await view.stop()
        tell(result)
        await asyncio.Event().wait()

    async def work() -> DemoResult:
        # As Ctrl-C: whoever ends the demo, what it started and made is cleaned up.
        for number in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, os.kill, os.getpid(), signal.SIGINT)
        if view is None:
            return await run(options, board, next_step, linger)
        if options.place == "given":
            console.print(
                f"Works in namespace {options.namespace} of the cluster of"
                f" {f'context {context}' if context else kubeconfig}, and touches nothing else there."
            )
        async with view:
            return await run(options, board, next_step, linger)

    # A shell starts what it puts in the background with SIGINT ignored; the demo ends by it all the same.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        result = asyncio.run(work())
    except KeyboardInterrupt:
        if kept:
            console.print("\nThe sandbox is gone, with all that was in it.")
            return 0 if kept[0].ok else 1
        if board.activity:
            console.print(f"\nInterrupted twice: not finished was {board.activity}.")
        else:
            console.print("\nInterrupted: what the demo started is stopped, and what it made is removed.")
        return 130
    except DemoError as error:
        raise Failure(str(error), error.code) from error
    finally:
        if board.left:
            console.print(board.left)
    tell(result)
    return 0 if result.ok else 1
