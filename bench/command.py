"""One command as a user runs it: its output, and what it cost."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import NamedTuple


class Ran(NamedTuple):
    """What came of it."""

    output: bytes
    seconds: float
    megabytes: float
    """Resident, at most; 10^6 bytes."""
    cpu: float
    """Seconds of processor time."""


def reroll(*arguments: str) -> Ran:
    """`reroll ARGUMENTS`, of this checkout. Raises RuntimeError if it fails."""
    return run([sys.executable, "-m", "reroll", *arguments])


def run(command: Sequence[str]) -> Ran:
    """Run it to its end. Raises RuntimeError if it fails."""
    with tempfile.TemporaryFile() as out:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=out)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"{' '.join(command[1:4])} ended with {process.returncode}")
        out.seek(0)
        return Ran(out.read(), seconds, usage.ru_maxrss * 1024 / 1e6, usage.ru_utime + usage.ru_stime)
