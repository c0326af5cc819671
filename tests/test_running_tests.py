"""A run of tests ends whatever its tests do: small suites of bad tests, each run as `make test` runs ours."""

from __future__ import annotations

import functools
import itertools
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from scripts.run_tests import LATE, duration

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent
RUN = [sys.executable, str(ROOT / "scripts" / "run_tests.py")]
XDIST = ("--numprocesses=2", "--dist=loadfile", "--max-worker-restart=0")

INI = """
[pytest]
timeout = 1
timeout_method = signal
timeout_grace = 100
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
addopts = -p no:cacheprovider --import-mode=importlib
"""
IMPORTS = """
import asyncio, faulthandler, os, signal, subprocess, sys, threading, time
import pytest
"""

# The machine may be slow: only what's bad has the limit of a second.
GOOD = """
@pytest.mark.timeout(100)
def test_good():
    pass
"""

Suite: TypeAlias = Callable[..., list[str]]


def write(directory: Path, text: str, *arguments: str, limit: str = "100s") -> list[str]:
    """A suite with the file test_bad.py of this text, and one that is good; gives the command that runs it."""
    (directory / "pytest.ini").write_text(INI)
    (directory / "conftest.py").write_text('pytest_plugins = ["tests.limits"]\n')
    (directory / "test_bad.py").write_text(f"{IMPORTS}\n{text}\n{GOOD}")
    (directory / "test_good.py").write_text(f"{IMPORTS}\n{GOOD}")
    where = [f"--rootdir={directory}", f"--config-file={directory / 'pytest.ini'}", str(directory)]
    return [*RUN, f"--limit={limit}", "--", *where, *arguments]


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    """`write`, in a directory of the test's own."""
    return functools.partial(write, tmp_path)


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL)


TOO_SLOW = """
def test_sleeps():
    time.sleep(1000)

def test_waits_for_a_child_process():
    subprocess.run(["sleep", "1000"])

def test_waits_for_a_thread():
    thread = threading.Thread(target=time.sleep, args=(1000,), daemon=True)
    thread.start()
    thread.join()

async def test_waits_in_an_event_loop():
    await asyncio.sleep(1000)

@pytest.fixture
def slow_to_begin():
    time.sleep(1000)

def test_is_set_up_for_too_long(slow_to_begin):
    pass

@pytest.fixture
async def slow_to_end():
    yield
    await asyncio.sleep(1000)

async def test_is_torn_down_for_too_long(slow_to_end):
    pass

async def test_fails_and_is_torn_down_for_too_long(slow_to_end):
    assert False
"""
FAILS_BY_ITSELF = re.findall(r"def (test_\w+)", TOO_SLOW)


@pytest.fixture(scope="module")
def too_slow(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """One run of all that are too slow."""
    return run(write(tmp_path_factory.mktemp("slow"), TOO_SLOW))


@pytest.mark.parametrize("name", FAILS_BY_ITSELF)
def test_one_that_takes_too_long_fails_by_itself(
    too_slow: subprocess.CompletedProcess[str], name: str
) -> None:
    what = "ERROR" if "up_for" in name or "down_for" in name else "FAILED"
    assert re.search(rf"^{what} \S*test_bad.py::{name}\b", too_slow.stdout, re.M)
    told = too_slow.stdout.partition(" short test summary info ")[0]
    parts = re.split(r"^_+ (.*) _+$", told, flags=re.M)
    [body] = [part for title, part in itertools.pairwise(parts) if name in title and "Timeout" in part]
    assert "Failed: Timeout (>1.0s) from pytest-timeout." in body
    # What is shown leads to the line that waits.
    assert re.search(r"(sleep|run|join)\(.*\n", body)
    assert re.search(
        r"await asyncio\.sleep\(1000\)" if "event_loop" in name else r"test_bad\.py:\d+|1000", body
    )


def test_the_others_run_on(too_slow: subprocess.CompletedProcess[str]) -> None:
    # With the one that is too slow when all that it asserts has passed.
    assert "5 failed, 3 passed, 3 errors" in too_slow.stdout


ENDS_ITS_PROCESS = {
    "ends its process": """
def test_bad():
    os._exit(3)
""",
    "is killed": """
def test_bad():
    os.kill(os.getpid(), signal.SIGKILL)
""",
    "takes no notice of its limit": """
def test_bad():
    while True:
        try:
            time.sleep(1000)
        except BaseException:
            pass
""",
    "takes no notice in C": """
def test_bad():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    time.sleep(1000)
""",
}


@pytest.mark.parametrize("name", ENDS_ITS_PROCESS)
def test_a_worker_that_dies_ends_the_run_and_names_the_test(suite: Suite, name: str) -> None:
    done = run(suite(ENDS_ITS_PROCESS[name], "--override-ini=timeout_grace=0.5", *XDIST))
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"crashed while running '.*test_bad\.py::test_bad'", done.stdout)
    if "takes no notice" in name:
        assert re.search(r"^Timeout .*\n(.*\n)*?.*test_bad\.py\", line \d+ in test_bad", done.stderr, re.M)


def test_in_one_process_the_test_that_ended_it_is_named_too(suite: Suite) -> None:
    done = run(suite("def test_bad():\n    os._exit(0)\n"))
    assert done.returncode == 1
    assert "in the middle of test_bad.py::test_bad" in done.stderr


DAEMON = """
def test_bad():
    # As a control plane is started; and what it started is nobody's child.
    code = "import subprocess, time; print(subprocess.Popen(['sleep', '1000']).pid, flush=True); time.sleep({})"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True)
    with open(PIDS, "wb") as file:
        file.write(child.stdout.readline())
    time.sleep({})
"""


def ended(pid: int) -> bool:
    """Whether there's no such process; a zombie that its parent has not taken note of counts as none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.skipif(sys.platform != "linux", reason="orphans are adopted on Linux alone")
class TestProcesses:
    """What the tests start ends with the run."""

    @pytest.mark.parametrize("arguments", [(), XDIST], ids=["one process", "xdist"])
    def test_a_run_over_its_limit_tells_what_ran_and_ends_it_all(
        self, suite: Suite, tmp_path: Path, arguments: tuple[str, ...]
    ) -> None:
        pids = tmp_path / "pids"
        text = f"PIDS = {str(pids)!r}\n" + DAEMON.format(1000, 1000)
        command = suite(text, "--timeout=0", *arguments, limit="1000s")
        # Its clock is moved on when the test is under way, however long pytest takes to get there.
        started = subprocess.Popen(
            [sys.executable, "-c", WITH_A_LIMIT_WHEN_TOLD, str(pids), *command[1:]],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        told = started.communicate()[1]
        assert started.returncode == LATE, told
        assert "still running: test_bad.py::test_bad\n" in told
        assert re.search(r"test_bad\.py\", line \d+ in test_bad", told)
        assert ended(int(pids.read_text()))

    def test_what_a_run_leaves_behind_is_killed_and_told(self, suite: Suite, tmp_path: Path) -> None:
        pids = tmp_path / "pids"
        done = run(suite(f"PIDS = {str(pids)!r}\n" + DAEMON.format(0, 0)))
        assert done.returncode == 0, done.stdout + done.stderr
        assert "left behind by the tests, and killed now: sleep 1000" in done.stderr
        assert ended(int(pids.read_text()))

    def test_a_run_that_is_told_to_end_leaves_nothing(self, suite: Suite, tmp_path: Path) -> None:
        pids = tmp_path / "pids"
        text = f"PIDS = {str(pids)!r}\n" + DAEMON.format(1000, 1000)
        quiet = subprocess.DEVNULL
        with subprocess.Popen(suite(text, "--timeout=0"), cwd=ROOT, stdout=quiet, stderr=quiet) as started:
            while not (pids.exists() and pids.read_text()):
                time.sleep(0.05)
            started.send_signal(signal.SIGTERM)
            assert started.wait() == 128 + signal.SIGTERM
        assert ended(int(pids.read_text()))


# A run whose limit is over when a file is there.
WITH_A_LIMIT_WHEN_TOLD = """
import os, subprocess, sys, time
sys.path.insert(0, os.getcwd())
from scripts import run_tests

class Popen(subprocess.Popen):
    def wait(self, timeout=None):
        path = sys.argv[1]
        while not (os.path.exists(path) and os.path.getsize(path)):
            time.sleep(0.05)
        raise subprocess.TimeoutExpired(self.args, timeout)

run_tests.subprocess.Popen = Popen
sys.exit(run_tests.main(sys.argv[3:]))
"""


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90.0), ("90s", 90.0), ("30m", 1800.0), ("1.5h", 5400.0)]
)
def test_the_limit_is_a_duration(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "-1m", "1d", "half an hour"])
def test_a_limit_that_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        duration(text)
    done = run([*RUN, f"--limit={text}", "--", "--version"])
    assert done.returncode == 2
    assert "--limit" in done.stderr
