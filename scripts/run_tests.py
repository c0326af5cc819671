"""Runs pytest within a limit, and leaves no process of it behind: `run_tests.py --limit=30m -- ARGUMENTS OF PYTEST`.

When the limit is over it says which tests were running and where they were, ends everything that they
started, and exits with 124, as timeout(1) does. A run that ends by itself gives its own exit code.
What runs it knows from tests/limits.py. On Linux whatever the tests start stays below this process (it adopts orphans:
prctl(2), PR_SET_CHILD_SUBREAPER), daemons too; elsewhere an orphan is out of its reach.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

DIRECTORY, STACKS = "RUNNING_TESTS", ".stacks"  # as in tests/limits.py
PR_SET_CHILD_SUBREAPER = 36
LATE = 124
ORDERLY = 10.0
"""Seconds that processes have to end by themselves: a control plane stops, and removes its files."""
SOON = 3.0
"""Seconds for what need not be orderly: stacks to be written, killed processes to be gone."""

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}


class Ended(Exception):
    """This process was told to end, by the signal `number`."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def duration(text: str) -> float:
    """Seconds of "90", "90s", "30m", "1.5h"; a ValueError for anything else."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smh]?)", text)
    if not found or not float(found[1]):
        raise ValueError(f"{text!r} is no duration such as 90s, 30m or 1h")
    return float(found[1]) * _UNITS[found[2]]


def main(argv: list[str]) -> int:
    """Run pytest; gives its exit code, or 124 when the limit is over."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--limit", type=duration, default="30m", help="how long all may take: 90s, 30m, 1h")
    parser.add_argument("arguments", nargs="*", metavar="ARGUMENT", help="of pytest")
    given = parser.parse_args(argv)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    # Ctrl-C reaches pytest too, which ends in order; a second one ends it at once.
    signal.signal(signal.SIGINT, _interrupted)
    with tempfile.TemporaryDirectory(prefix="reroll-tests-") as directory:
        return _run(given.arguments, given.limit, Path(directory))


def _run(arguments: list[str], limit: float, directory: Path) -> int:
    environment = os.environ | {DIRECTORY: str(directory)}
    # Else each process of tests would prepare all files of tests anew in each run, for 4 s of CPU.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    process = subprocess.Popen([sys.executable, "-m", "pytest", *arguments], env=environment)
    try:
        code = process.wait(limit)
    except subprocess.TimeoutExpired:
        _say(f"the tests are not done after {limit:g} s, their limit as a whole (make test LIMIT=1h)")
        for pid, test in running(directory):
            _say(f"still running: {test}\n{_stack(directory, pid)}")
        code = LATE
    except Ended as end:
        code = 128 + end.number
    else:
        for _, test in running(directory):
            _say(f"its process ended in the middle of {test}")
            code = code or 1
    finally:
        left = _end_all(process, at_once=process.poll() is None)
    for command in left:
        _say(f"left behind by the tests, and killed now: {command}")
    # A process that a signal ended has a negative code; the shell's way to tell it is positive.
    return code if code >= 0 else 128 - code


def running(directory: Path) -> list[tuple[int, str]]:
    """Which process runs which test at this moment."""
    found = [(file.name, file.read_text()) for file in sorted(directory.iterdir()) if file.name.isdigit()]
    return [(int(pid), test) for pid, test in found if test]


def _stack(directory: Path, pid: int) -> str:
    """Where the threads of a process are, by itself."""
    path = directory / f"{pid}{STACKS}"
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGUSR1)
    until = time.monotonic() + SOON
    while time.monotonic() < until:
        text = path.read_text()
        time.sleep(0.1)
        # Written line by line: whole when it doesn't grow any more.
        if text and text == path.read_text():
            return text
    return "(it does not say where it is)"


def _end_all(process: subprocess.Popen[bytes], *, at_once: bool) -> list[str]:
    """End what's below this process: by a signal first if `at_once`, else waiting for it. Gives the commands
    of what had to be killed."""
    if at_once:
        for pid in descendants():
            _signal(pid, signal.SIGTERM)
    _wait_for_none(process, ORDERLY)
    left = [_command(pid) for pid in descendants()]
    until = time.monotonic() + ORDERLY
    while (found := descendants()) and time.monotonic() < until:
        for pid in found:
            _signal(pid, signal.SIGKILL)
        _wait_for_none(process, SOON)
    return left


def _wait_for_none(process: subprocess.Popen[bytes], seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        process.poll()
        _reap(process.pid)
        if not descendants():
            return
        time.sleep(0.05)


def _reap(but: int) -> None:
    """Take note of the end of orphans; pytest's own end is for its Popen to see."""
    for pid, parent in _processes():
        if parent == os.getpid() and pid != but:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def descendants() -> list[int]:
    """All processes below this one, parents first."""
    children: dict[int, list[int]] = {}
    for pid, parent in _processes():
        children.setdefault(parent, []).append(pid)
    found, waiting = [], [os.getpid()]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def _processes() -> Iterator[tuple[int, int]]:
    """Each process with its parent, without `ps` itself."""
    if not Path("/proc/self/stat").exists():
        with subprocess.Popen(["ps", "-Ao", "pid=,ppid="], stdout=subprocess.PIPE, text=True) as ps:
            lines = ps.communicate()[0].splitlines()
        yield from ((int(pid), int(parent)) for pid, parent in map(str.split, lines) if int(pid) != ps.pid)
        return
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                # The command is in brackets, and may itself hold some.
                yield int(entry.name), int((entry / "stat").read_text().rpartition(")")[2].split()[1])


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return f"process {pid}"


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _end(number: int, _frame: FrameType | None) -> None:
    raise Ended(number)


def _interrupted(_number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGINT, _end)


def _say(text: str) -> None:
    print(f"reroll: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
