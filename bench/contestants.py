"""Who is measured: a command line each, and how it is started, looked at and ended."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


@dataclass(frozen=True)
class Contestant:
    """A controller under test; its name is also that of its ServiceAccount. `settles` if it takes ``--settle``."""

    name: str
    command: tuple[str, ...]
    settles: bool = False
    catches_up: bool = False
    """It sees changes that were made while it was down."""

    def arguments(self, settle: str) -> list[str]:
        """Its whole command line; `settle` "" leaves it at its default."""
        return [*self.command, *(("--settle", settle) if self.settles and settle else ())]


DIALECTS = ("reroll", "env-vars", "annotations")
"""How the one of this checkout is run: as itself, or in Reloader's place with one of its strategies."""


def reroll(dialect: str = "reroll") -> Contestant:
    """The one of this checkout."""
    binary = str(ROOT / ".venv" / "bin" / "reroll")
    if dialect != "reroll":
        strategy = f"--reload-strategy={dialect}"
        arguments = ("reloader", "--listen=127.0.0.1:0", "--log-level=warning", strategy)
        return Contestant("reroll", (binary, *arguments), settles=True, catches_up=True)
    command = (binary, "controller", "--listen", "127.0.0.1:0", "--log-level", "warning")
    return Contestant("reroll", command, settles=True, catches_up=True)


def peer(text: str) -> Contestant:
    """``NAME=PATH [ARGUMENTS]``, such as ``reloader=/usr/local/bin/reloader``. Raises ValueError."""
    name, _, command = text.partition("=")
    if not name or not command:
        raise ValueError(f"--peer {text}: write NAME=PATH, such as reloader=/usr/local/bin/reloader")
    if not _NAME.fullmatch(name) or name == "reroll":
        raise ValueError(
            f"--peer {text}: {name} names a ServiceAccount: lower case, digits and -, not reroll"
        )
    path, *arguments = command.split()
    if not os.access(path, os.X_OK):
        raise ValueError(f"--peer {text}: {path} is no program that can be run")
    return Contestant(name, (str(Path(path).resolve()), *arguments))


@dataclass
class Running:
    """A started controller."""

    process: subprocess.Popen[bytes]
    started: float
    """The loop's time just before its process was made."""
    log: Path = field(default_factory=Path)

    def memory(self) -> tuple[float, float]:
        """(resident now, resident at most), MB."""
        return memory_of(Path(f"/proc/{self.process.pid}/status").read_text())

    def cpu(self) -> float:
        """Seconds of processor time used so far."""
        ticks = cpu_ticks(Path(f"/proc/{self.process.pid}/stat").read_text())
        return ticks / os.sysconf("SC_CLK_TCK")

    def kill(self) -> None:
        """SIGKILL."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def memory_of(status: str) -> tuple[float, float]:
    """(VmRSS, VmHWM) of the text of /proc/PID/status, in MB (10^6 bytes)."""
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    now, most = (int(fields[name].split()[0]) * 1024 / 1e6 for name in ("VmRSS", "VmHWM"))
    return now, most


def cpu_ticks(stat: str) -> int:
    """User and system time of the text of /proc/PID/stat, in clock ticks. The name in it may hold anything."""
    numbers = stat.rpartition(")")[2].split()
    return int(numbers[11]) + int(numbers[12])


@asynccontextmanager
async def running(contestant: Contestant, kubeconfig: Path, settle: str = "") -> AsyncIterator[Running]:
    """The contestant as a process of its own, stopped at the end. Raises RuntimeError if it ended before."""
    loop = asyncio.get_running_loop()
    with tempfile.TemporaryDirectory() as home:
        log = Path(home) / "log"
        with log.open("wb") as out:
            started = loop.time()
            process = subprocess.Popen(  # noqa: ASYNC220 - nothing else is going on in this process
                contestant.arguments(settle),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=home,
                env={**os.environ, "KUBECONFIG": str(kubeconfig), "HOME": home},
            )
        try:
            yield Running(process, started, log)
            if process.poll() not in (None, -signal.SIGKILL):
                raise RuntimeError(f"{contestant.name} ended by itself: {log.read_text()[-2000:]}")
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    await asyncio.to_thread(process.wait, 30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
