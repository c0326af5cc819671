"""A test that takes too long ends, with its name and a traceback. A pytest plugin, beside pytest-timeout.

pytest-timeout raises in the test when its limit is over (`timeout`, by SIGALRM), wherever its main thread waits:
in an event loop, for a child process, for a lock. Three things it leaves to this file:

- A failure of the test takes its timer away, and then nothing limits the tear-down: it gets a limit of its own.
- What it raises may be caught, and C code that keeps the GIL never sees it: `timeout_grace` seconds later
  faulthandler prints where all threads are, and ends the process. Of pytest-xdist's processes the one that runs
  the tests names the test, and ends the run (--max-worker-restart=0, in the Makefile); without that it
  begins the same file again, in a new process, as often as it dies: this looks as if the run stood still.
- scripts/run_tests.py, which limits the run as a whole, wants to know what is running. Each process that runs tests
  keeps a file with the name of its test in the directory that RUNNING_TESTS names, and writes where
  all its threads are into a second one when it gets SIGUSR1.
"""

from __future__ import annotations

import asyncio
import faulthandler
import io
import os
import signal
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

DIRECTORY = "RUNNING_TESTS"
STACKS = ".stacks"
"""The end of the names of the files with stacks; the ones with the names of tests have the number of their process."""

SETTINGS = pytest.StashKey[Any]()
TERMINAL = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("timeout_grace", "seconds from the limit of a test to the end of its process", default="30")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Keep stderr as it is before pytest captures it, and begin to tell what runs."""
    config.stash[TERMINAL] = os.dup(2)
    if directory := os.environ.get(DIRECTORY):
        config.pluginmanager.register(Running(Path(directory)), "running-tests")


def pytest_unconfigure(config: pytest.Config) -> None:
    faulthandler.cancel_dump_traceback_later()
    os.close(config.stash[TERMINAL])


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> None:
    """Set a second timer, behind the one of pytest-timeout."""
    item.stash[SETTINGS] = settings
    seconds = settings.timeout + float(item.config.getini("timeout_grace"))
    faulthandler.dump_traceback_later(seconds, exit=True, file=item.config.stash[TERMINAL])


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_timeout_cancel_timer(item: pytest.Item) -> None:
    faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """Begin the limit anew, for it's over or taken away when the test failed."""
    settings = item.stash.get(SETTINGS, None)
    if settings is not None:
        item.ihook.pytest_timeout_set_timer(item=item, settings=settings)
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add where the tasks are, if an event loop was ended: its own traceback says only that it waited."""
    report = yield
    if call.excinfo is not None and str(call.excinfo.value).startswith("Timeout (>"):
        for entry in call.excinfo.traceback:
            loop = entry.frame.f_locals.get("self")
            if isinstance(loop, asyncio.AbstractEventLoop) and not loop.is_closed():
                text = io.StringIO()
                for task in asyncio.all_tasks(loop):
                    task.print_stack(file=text)
                report.sections.append(("Tasks of the event loop", text.getvalue()))
                break
    return report


class Running:
    """The files that tell what this process runs."""

    def __init__(self, directory: Path) -> None:
        self._name = os.open(directory / str(os.getpid()), os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        self._stacks = (directory / f"{os.getpid()}{STACKS}").open("w")
        faulthandler.register(signal.SIGUSR1, file=self._stacks, all_threads=True)

    def _write(self, name: str) -> None:
        os.ftruncate(self._name, 0)
        os.pwrite(self._name, name.encode(), 0)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self._write(item.nodeid)
        try:
            return (yield)
        finally:
            self._write("")

    def pytest_unconfigure(self) -> None:
        faulthandler.unregister(signal.SIGUSR1)
        self._stacks.close()
        os.close(self._name)
