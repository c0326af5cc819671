"""The command as a process of its own, as a user runs it, without the time that a new Python takes to start."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import reroll as package

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60.0
"""How long a command may take."""


def reroll(
    *arguments: object, stdin: str = "", cwd: Path | None = None, **environ: str
) -> subprocess.CompletedProcess[str]:
    """`reroll ARGUMENTS`, on a terminal of 100 columns, with nothing in its environment but `environ` that could lead
    it to a cluster or set anything."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("REROLL_", "KUBE"))}
    done = reroll_in({**environment, "COLUMNS": "100", **environ}, *arguments, stdin=stdin.encode(), cwd=cwd)
    words = (stream.decode().replace("\r\n", "\n") for stream in (done.stdout, done.stderr))
    return subprocess.CompletedProcess(done.args, done.returncode, *words)


def reroll_in(
    environment: Mapping[str, str], *arguments: object, stdin: bytes = b"", cwd: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    """`reroll ARGUMENTS` with this environment, and none of Python's own variables, which are read at its start."""
    command = {
        "program": str(Path(package.__file__).parent / "__main__.py"),
        "arguments": [*map(str, arguments)],
        "environ": dict(environment),
        "cwd": str(cwd or Path.cwd()),
    }
    ours, theirs = socket.socketpair()
    reading, writing = os.pipe()
    with ours, tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        with theirs:
            socket.send_fds(_warm(), [b"!"], [theirs.fileno()])
        with open(writing, "wb") as pipe:
            with open(reading, "rb"):
                text = json.dumps(command).encode()
                sent = socket.send_fds(ours, [text], [reading, output.fileno(), errors.fileno()])
                ours.sendall(text[sent:])
                ours.shutdown(socket.SHUT_WR)
                told = ours.makefile("r")
                process = int(told.readline())
            try:
                with contextlib.suppress(BrokenPipeError):  # it need not read all, as with subprocess.run
                    pipe.write(stdin)
                    pipe.flush()
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
                ours.settimeout(SECONDS)
                status = told.readline()
            except BaseException:
                os.kill(process, signal.SIGKILL)
                raise
        code = os.waitstatus_to_exitcode(int(status))
        output.seek(0)
        errors.seek(0)
        return subprocess.CompletedProcess(
            ["reroll", *command["arguments"]], code, output.read(), errors.read()
        )


@functools.cache
def _warm() -> socket.socket:
    """The way to the process that becomes each command."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.cli.warm"],
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
            cwd=ROOT,
        )

    @atexit.register
    def end() -> None:
        ours.close()
        process.wait(SECONDS)

    return ours
