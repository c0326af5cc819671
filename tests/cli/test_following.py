"""Restarts as they are shown: on a terminal, in a pipe, and at the end."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from reroll.cli.following import LiveView, PlainView, summary, table, view
from reroll.core.records import WorkloadId
from reroll.pipeline.result import Outcome, Result
from reroll.rollouts.reasons import Reason

WEB = WorkloadId("Deployment", "shop", "web")
FAILED = Outcome(
    *WEB,
    state="failed",
    message="made no progress",
    reasons=(Reason("pod web-1, container main: CrashLoopBackOff", ("no such level",)),),
    seconds=61.2,
)


def test_in_a_pipe_each_change_is_a_line() -> None:
    out = io.StringIO()
    with PlainView(out) as shown:
        for words in ("1 of 2 pods is new", "1 of 2 pods is new", "2 of 2 pods are new"):
            shown.going(WEB, words, 1, 2)
        shown.ended(FAILED)
    assert out.getvalue().splitlines() == [
        "deployment/shop/web: 1 of 2 pods is new",
        "deployment/shop/web: 2 of 2 pods are new",
        "deployment/shop/web: failed: made no progress (61.2 s)",
        "  pod web-1, container main: CrashLoopBackOff",
        "    | no such level",
    ]


def test_on_a_terminal_what_goes_on_is_a_table() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100, color_system=None)
    with LiveView(console) as shown:
        shown.going(WEB, "1 of 2 pods is new", 1, 2)
        console.print(table({WEB: ("1 of 2 pods is new", 1, 2)}))
        shown.ended(FAILED)
    text = out.getvalue()
    assert "deployment/shop/web" in text
    assert "#####....." in text
    assert "CrashLoopBackOff" in text


def test_a_long_table_is_cut() -> None:
    console = Console(file=io.StringIO(), width=80)
    going = {WorkloadId("Deployment", "shop", f"web-{n}"): ("waits", 0, 1) for n in range(40)}
    console.print(table(going))
    assert isinstance(console.file, io.StringIO)
    assert "and 15 more" in console.file.getvalue()


def test_data_is_never_mixed_with_progress(capsys: pytest.CaptureFixture[str]) -> None:
    with view(machine=True) as shown:
        shown.going(WEB, "1 of 2 pods is new", 1, 2)
    said = capsys.readouterr()
    assert said.out == ""
    assert "1 of 2 pods is new" in said.err


def test_the_counts() -> None:
    assert summary(Result(())) == "Nothing is to be restarted."
    assert summary(Result((FAILED,))) == "1 workload: 1 failed."
    assert summary(Result((FAILED, FAILED)), verb="rolled") == "2 workloads: 2 failed."
