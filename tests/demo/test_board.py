"""What is told of the controller's decisions, and what is left out."""

from __future__ import annotations

from reroll.demo.board import Board, Shown, brief


def board_with_lines() -> tuple[Board, list[str]]:
    lines: list[str] = []
    return Board(lambda seconds, text, tone: lines.append(text.strip()), clock=lambda: 7.0), lines


def test_repetitions_are_left_out() -> None:
    board, lines = board_with_lines()
    for _ in range(3):
        board.decided("web", "skip", "up to date")
    assert lines == ["reroll: web: skip: up to date"]


def test_the_echo_of_a_rollout_is_left_out() -> None:
    board, lines = board_with_lines()
    board.decided("web", "rolled", "LOG changed")
    board.decided("web", "skip", "up to date")
    assert lines == ["reroll: web: rolled: LOG changed"]


def test_a_step_begins_afresh() -> None:
    board, lines = board_with_lines()
    board.decided("web", "rolled", "LOG changed")
    board.begin(Shown("title", "command", "expected", "outcome"))
    assert board.last_decision("web") is None
    board.decided("web", "skip", "up to date")
    assert lines[-1] == "reroll: web: skip: up to date"


def test_a_wait_that_grows_stays_one_line() -> None:
    board, lines = board_with_lines()
    board.decided("web", "wait", "a changed")
    board.decided("web", "wait", "a changed; b changed")
    assert len(lines) == 1
    assert [told.reason for told in board.decisions] == ["a changed; b changed"]


def test_many_objects_are_counted() -> None:
    many = "; ".join(f"configmap/c{number} changed (k)" for number in range(15))
    cut = brief(f"{many}; waiting for changes to settle")
    assert cut == ("configmap/c0 changed (k); and 14 more; waiting for changes to settle")
    assert brief("a changed (k); b") == "a changed (k); b"


def test_the_clock_stops_at_the_end() -> None:
    now = [100.0]
    board = Board(clock=lambda: now[0])
    now[0] = 105.0
    board.finish()
    now[0] = 200.0
    assert board.seconds == 5.0
