"""The controller as a process of its own, with its log read line by line: one that can really be killed."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import msgspec

from reroll.demo.error import DemoError

READY_WITHIN = 60.0
STOP_WITHIN = 25.0
_LONGEST_LINE = 1 << 20

Line = dict[str, Any]


class ControllerProcess:
    """`reroll controller` with these options. `heard` gets each line of its log, decoded."""

    def __init__(self, options: list[str], heard: Callable[[Line], None]) -> None:
        self.options = options
        self._heard = heard
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._tail: deque[str] = deque(maxlen=5)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def tail(self) -> str:
        """The last lines of its log."""
        return "\n".join(self._tail)

    async def start(self) -> None:
        """Start it and wait until it has read everything. Raises DemoError with its last words."""
        self._ready.clear()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # a folder called reroll in the working directory is not meant
            "-m",
            "reroll",
            "controller",
            *self.options,
            env=environment(os.environ),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            limit=_LONGEST_LINE,
            start_new_session=True,  # Ctrl-C is for the demo, which then stops it in order
            preexec_fn=_die_with_parent(),
        )
        self._reader = asyncio.create_task(self._read(self._process), name="the controller's log")
        ready = asyncio.create_task(self._ready.wait())
        try:
            await asyncio.wait(
                {ready, self._reader}, timeout=READY_WITHIN, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            ready.cancel()
        if not self._ready.is_set():
            raise DemoError(
                f"the controller was not ready after {READY_WITHIN:.0f} s"
                if self.running
                else f"the controller ended before it was ready:\n{self.tail}"
            )

    async def kill(self) -> None:
        """SIGKILL: it can finish nothing."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """SIGTERM, as a node asks a pod to stop; SIGKILL when that takes too long."""
        await self._end(signal.SIGTERM)

    async def _end(self, number: int) -> None:
        if self._process is None:
            return
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)
            try:
                await asyncio.wait_for(self._process.wait(), STOP_WITHIN)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        if self._reader is not None:
            await self._reader
        self._process = self._reader = None

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        async for raw in process.stderr:
            text = raw.decode(errors="replace").rstrip()
            try:
                line = msgspec.json.decode(raw)
            except msgspec.DecodeError:
                line = None
            if not isinstance(line, dict):
                self._tail.append(text)
                continue
            if line.get("level") != "debug":
                self._tail.append(text)
            self._heard(line)
            if line.get("event") == "ready":
                self._ready.set()
        await process.wait()


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without settings of reroll, so that the demo runs with its own alone."""
    return {key: value for key, value in environ.items() if not key.startswith("REROLL_")}


def _die_with_parent() -> Callable[[], None] | None:
    """On Linux: have the kernel kill the controller when the demo is killed and can stop nothing itself."""
    if sys.platform != "linux":
        return None
    # Loaded here and not in the child: between fork and exec as little as possible may happen.
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()
    set_parent_death_signal = 1

    def prepare() -> None:
        prctl(set_parent_death_signal, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return prepare
