"""A real control plane for the demo: `devcluster/` of the checkout, started and stopped as a process.

The first start builds it, which takes minutes; its progress is passed on. It lives as long as the demo, or
with `keep` until `devcluster/cluster.py down`.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

import reroll
from reroll.demo.error import DemoError

NO_GO = 3
"""Exit code of cluster.py without (new enough) Go."""
STOP_WITHIN = 30.0

OTHERWISE = "or use a cluster of your own: reroll demo --context NAME"

Progress = Callable[[str], None]


def script() -> Path:
    """devcluster/cluster.py of the checkout. Raises DemoError where reroll runs from elsewhere."""
    path = Path(reroll.__file__).resolve().parents[2] / "devcluster" / "cluster.py"
    if not path.is_file():
        raise DemoError(
            f"the demo's own control plane needs a checkout of reroll and Go 1.26 or newer; {OTHERWISE}", 2
        )
    return path


class DevCluster:
    """One dev cluster. `start` returns its kubeconfig; `stop` is safe to call at any time."""

    def __init__(self, progress: Progress, *, keep: bool = False, program: Path | None = None) -> None:
        self._script = program or script()
        self._progress = progress
        self._keep = keep
        self._process: asyncio.subprocess.Process | None = None
        self._began_it = False
        self._reader: asyncio.Task[None] | None = None
        self._last_words = ""

    async def start(self) -> str:
        """Build what isn't built, start, and return the path of the kubeconfig. Raises DemoError."""
        if self._keep:
            if found := await self._running():
                self._progress("dev cluster: the one that runs already is used")
                return found
            self._began_it = True
            await self._spawn("up")
            line = await self._first_line()
            kubeconfig = line.removeprefix("export KUBECONFIG=")
            await self._wait()
            return kubeconfig
        await self._spawn("run", "--until-stdin-closes")
        return str(msgspec.json.decode(await self._first_line())["kubeconfig"])

    async def stop(self) -> None:
        """Stop it and remove its data; one that ran before is left alone."""
        if self._process is not None:
            await self._interrupt()
        if self._began_it:
            self._began_it = False
            await self._spawn("down")
            await self._wait()

    async def _running(self) -> str:
        """The kubeconfig of the cluster that `up` started, or ""."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(self._script),
            "status",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        output, _ = await process.communicate()
        lines = [line for line in output.decode().splitlines() if line.startswith("export KUBECONFIG=")]
        return lines[-1].removeprefix("export KUBECONFIG=") if lines else ""

    async def _spawn(self, *arguments: str) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(self._script),
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=1 << 20,
            # Ctrl-C is for the demo, which first cleans up on the cluster.
            start_new_session=True,
        )
        self._reader = asyncio.create_task(self._read_progress(self._process), name="progress")

    async def _first_line(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        line = (await self._process.stdout.readline()).decode().strip()
        if line:
            return line
        code = await self._wait()
        if code == NO_GO:
            raise DemoError(f"{self._last_words}; {OTHERWISE}", 2)
        raise DemoError(f"the dev cluster did not start: {self._last_words}")

    async def _read_progress(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        async for raw in process.stderr:
            line = raw.decode(errors="replace").rstrip()
            if line.startswith("devcluster: "):
                self._last_words = line.removeprefix("devcluster: ")
            elif line.startswith("    ") and self._last_words:
                self._last_words += f"\n{line}"
            elif line:
                self._progress(line)

    async def _wait(self) -> int:
        process, reader = self._process, self._reader
        assert process is not None
        assert reader is not None
        if process.stdin is not None:
            process.stdin.close()
        await reader
        code = await process.wait()
        self._process = self._reader = None
        return code

    async def _interrupt(self) -> None:
        """SIGINT: it stops a build as well as a running cluster. SIGKILL when that takes too long, after
        which its own watchdogs clean up."""
        assert self._process is not None
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGINT)
        try:
            await asyncio.wait_for(asyncio.shield(self._process.wait()), STOP_WITHIN)
        except TimeoutError:
            self._process.kill()
        await self._wait()
