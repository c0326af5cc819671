"""The live view, the lines, the picture and the last words: on 80 columns, and without colour."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from reroll.demo.board import Board, Shown
from reroll.demo.ending import ending
from reroll.demo.frame import frame
from reroll.demo.live import fits
from reroll.demo.observer import Look
from reroll.demo.picture import record
from reroll.demo.plain import Plain, clock
from reroll.demo.result import DemoResult, StepResult
from reroll.demo.run import Options
from reroll.demo.steps import STEPS

MakeLook = Callable[..., Look]


@pytest.fixture
def board(look: MakeLook) -> Board:
    """In the fourth step, with everything as long as it gets."""
    board = Board(clock=lambda: 83.0)
    board.cluster = (
        "Kubernetes v1.34.4, https://a-very-long-name-of-a-cluster.example.org:6443 (context x of y)"
    )
    board.namespace = "reroll-demo"
    board.steps = [Shown(step.title, step.command, step.expected, step.outcome) for step in STEPS]
    for shown in board.steps[:3]:
        board.begin(shown)
        shown.state, shown.seen = "passed", "web: 1 rollout, 3/3 pods new"
        shown.why = {"web": "configmap/web changed (LOG_LEVEL): " + "container web: env LOG_LEVEL " * 9}
    board.begin(board.steps[3])
    views = look(api=2, worker=1).workloads
    views |= look(settled=False, web=3).workloads
    board.observed(list(views.values()), {"api": 1, "web": 2, "worker": 0})
    board.controller = "running"
    for number in range(40):
        board.decided("worker", "rolled", f"configmap/rules-{number} changed (rules): " + "somewhere " * 20)
    return board


def text_of(board: Board, width: int, height: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height)
    with console.capture() as captured:
        console.print(frame(board, width, height))
    return captured.get().splitlines()


@pytest.mark.parametrize(("width", "height"), [(80, 23), (72, 23), (100, 30), (120, 40), (200, 50)])
def test_a_frame_has_exactly_its_size(board: Board, width: int, height: int) -> None:
    lines = text_of(board, width, height)
    assert len(lines) == height
    assert {len(line) for line in lines[1:]} == {min(width, 120)}


def test_a_frame_tells_all_without_colour(board: Board) -> None:
    text = "\n".join(text_of(board, 80, 23))
    for step in STEPS:
        assert step.title in text
    assert "✓ A key in use changes" in text
    assert "▸ A password is rotated" in text
    assert "· An undo" in text
    assert "deploy/web    ●○            2" in text
    assert "controller running" in text
    assert "configmap/rules-39 changed" in text, "the latest decision"
    assert "expect one rollout of api (envFrom) and one of cache (subPath)" in text


def test_a_failed_step_is_told_in_full(board: Board) -> None:
    step = board.steps[3]
    step.state, step.outcome = "failed", "failed"
    step.seen = "cache: 2 rollouts instead of 1; api: its rollout has not ended, and this is the end"
    text = " ".join(line.strip("│ ") for line in text_of(board, 80, 24))
    assert "and this is the end" in text
    assert "✗ A password is rotated" in text


def test_what_goes_on_between_steps_is_shown(board: Board) -> None:
    board.doing("removing namespace reroll-demo")
    assert any("removing namespace reroll-demo" in line for line in text_of(board, 80, 23))


def test_small_or_plain_terminals_get_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")

    def console(width: int, height: int, encoding: str = "utf-8", terminal: bool = True) -> Console:
        file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        return Console(file=file, width=width, height=height, force_terminal=terminal)

    assert fits(console(80, 24))
    assert not fits(console(60, 24))
    assert not fits(console(80, 20))
    assert not fits(console(80, 24, encoding="ascii"))
    assert not fits(console(80, 24, terminal=False))


def test_lines_have_the_time_and_survive_an_old_encoding() -> None:
    raw = io.BytesIO()
    console = Console(file=io.TextIOWrapper(raw, encoding="ascii"), width=40)
    Plain(console).hear(67.9, "✓ web: 1 rollout, " + "and a long remark " * 5, "good")
    console.file.flush()
    assert raw.getvalue().decode().startswith("1:07  ok web: 1 rollout, and a long")
    assert raw.getvalue().count(b"\n") == 1, "one thing, one line"


def test_clock() -> None:
    assert [clock(0.4), clock(59.9), clock(600)] == ["0:00", "0:59", "10:00"]


def test_the_picture_loads_nothing_and_tells_every_step(board: Board, tmp_path: Path) -> None:
    path = tmp_path / "demo.svg"
    record(board, path)
    svg = path.read_text()
    assert svg.startswith("<svg")
    assert "@font-face" not in svg
    assert "href" not in svg
    assert svg.count("url(") == svg.count("url(#"), "only parts of itself"
    flat = svg.replace("&#160;", " ")
    for step in STEPS:
        assert step.title in flat


def result(*, ok: bool, keep: bool = False) -> DemoResult:
    steps = [
        StepResult(
            number=1,
            title="A key in use changes",
            command="kubectl patch",
            expected="one rollout of web",
            ok=ok,
            seen="web: 2 rollouts instead of 1",
            why={"web": "LOG_LEVEL changed"},
            rollouts={"web": 2},
            seconds=3.0,
        )
    ]
    return DemoResult(ok, "Kubernetes", "reroll-demo", "/k/config" if keep else "", 41.0, steps)


def words(result: DemoResult, options: Options) -> str:
    console = Console(file=io.StringIO(), width=80)
    with console.capture() as captured:
        console.print(ending(result, options), soft_wrap=True)
    return captured.get()


def test_the_last_words() -> None:
    assert f"All {len(STEPS)} steps did what they say, in 41 s." in words(result(ok=True), Options())
    failed = words(result(ok=False), Options())
    assert f"Step 1 of {len(STEPS)} did not do what it says: A key in use changes" in failed
    assert "expected  one rollout of web" in failed
    assert "seen      web: 2 rollouts instead of 1" in failed
    assert "LOG_LEVEL changed" in failed
    assert f"All {len(STEPS)}" not in failed


def test_what_is_kept_can_be_found_again() -> None:
    box = words(result(ok=True, keep=True), Options(keep=True))
    assert "until you press Ctrl-C here" in box
    assert "cluster-down" not in box
    own = words(result(ok=True, keep=True), Options(keep=True, real=True))
    assert "export KUBECONFIG=/k/config" in own
    assert "make cluster-down" in own
    assert "reroll controller -n reroll-demo --key-namespace reroll-demo" in own
    theirs = words(result(ok=True, keep=True), Options(keep=True, context="my dev"))
    assert "kubectl --context 'my dev' delete namespace reroll-demo" in theirs
    assert "cluster-down" not in theirs
