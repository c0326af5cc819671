"""Who is measured: a command line each, and how to tell that it has begun to work."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Contestant:
    """A controller under test. `user` is whom the audit log sees; `settles` if it takes ``--settle``."""

    name: str
    command: tuple[str, ...]
    user: str
    settles: bool = False
    catches_up: bool = False
    """It sees changes that were made while it was down."""

    def arguments(self, settle: str) -> list[str]:
        return [*self.command, *(("--settle", settle) if self.settles else ())]


def reroll() -> Contestant:
    binary = str(ROOT / ".venv" / "bin" / "reroll")
    command = (binary, "controller", "--listen", "127.0.0.1:0", "--log-level", "warning")
    return Contestant("reroll", command, "reroll", settles=True, catches_up=True)


def peer(text: str) -> Contestant:
    """``NAME=PATH [ARGUMENTS]``, such as ``reloader=/usr/local/bin/reloader``."""
    name, _, command = text.partition("=")
    if not name or not command:
        raise ValueError(f"--peer {text}: write NAME=PATH, such as reloader=/usr/local/bin/reloader")
    return Contestant(name, tuple(command.split()), "peer")


@dataclass
class Running:
    """A started controller."""

    process: subprocess.Popen[bytes]
    started: float
    log: Path = field(default_factory=Path)

    def memory(self) -> tuple[float, float]:
        """(resident now, resident at most), MB."""
        fields = dict(
            line.split(":", 1) for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        )
        return tuple(int(fields[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))  # type: ignore[return-value]

    def cpu(self) -> float:
        """Seconds of processor time used so far."""
        numbers = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@asynccontextmanager
async def running(contestant: Contestant, kubeconfig: Path, settle: str = "0s") -> AsyncIterator[Running]:
    """The contestant as a process of its own, stopped at the end."""
    loop = asyncio.get_running_loop()
    with tempfile.TemporaryDirectory() as home:
        log = Path(home) / "log"
        with log.open("wb") as out:
            process = subprocess.Popen(  # noqa: ASYNC220 - nothing is measured in this process meanwhile
                contestant.arguments(settle),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=home,
                env={**os.environ, "KUBECONFIG": str(kubeconfig), "HOME": home},
            )
        found = Running(process, loop.time(), log)
        try:
            yield found
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
