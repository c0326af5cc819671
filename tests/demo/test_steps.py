"""What a step has to come to, and how what came of it is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reroll.demo.board import Board
from reroll.demo.observer import Look, events_of_reroll
from reroll.demo.run import compare, why
from reroll.demo.stage import Stage
from reroll.demo.steps import STEPS, Step

MakeLook = Callable[..., Look]


async def _nothing(stage: Stage) -> None:
    return None


def step(*, told: tuple[str, ...] = (), **rollouts: int) -> Step:
    return Step("title", "command", "expected", "outcome", _nothing, ("web",), rollouts, told)


def test_what_is_as_the_step_says(look: MakeLook) -> None:
    before, after = look(web=1, api=1), look({"web": "why"}, web=2, api=1)
    assert compare(step(web=1, told=("web",)), before, after) == ""
    assert compare(step(), before, before) == ""
    assert compare(step(web=1), before, look(web=2, api=1)) == "", "an undo: a rollout, and no Event of ours"


def test_each_difference_is_told(look: MakeLook) -> None:
    before = look(web=1, api=1)
    one = step(web=1, told=("web",))
    assert "web: 2 rollouts instead of 1" in compare(one, before, look({"web": "why"}, web=3, api=1))
    assert "web: 0 rollouts instead of 1" in compare(one, before, look({"web": "why"}, web=1, api=1))
    assert "api: 1 rollout instead of none" in compare(one, before, look({"web": "why"}, web=2, api=2))
    assert "no Event" in compare(one, before, look(web=2, api=1))
    assert "has not ended" in compare(one, before, look({"web": "why"}, settled=False, web=2, api=1))
    assert "api: it is gone" in compare(one, before, look({"web": "why"}, web=2))
    assert "web: rolled by reroll (rolled: a)" in compare(
        step(web=1), before, look({"web": "a"}, web=2, api=1)
    )


def test_an_event_of_an_earlier_step_explains_nothing(look: MakeLook) -> None:
    before, after = look({"web": "old"}, web=2), look({"web": "old"}, web=3)
    assert "no Event" in compare(step(web=1, told=("web",)), before, after)


def test_the_reason_is_the_events_and_else_the_last_decision(look: MakeLook) -> None:
    board = Board()
    board.decided("web", "skip", "its pods run the current configuration")
    assert why(step(), look(web=1), look(web=1), board) == {"web": "its pods run the current configuration"}
    assert why(step(), look(web=1), look({"web": "LOG changed"}, web=2), board) == {"web": "LOG changed"}


def test_two_rollouts_of_one_step_are_explained_in_their_order() -> None:
    def event(name: str, at: str, note: str) -> dict[str, Any]:
        metadata = {"uid": name}
        about = {"regarding": {"name": "web"}, "reason": "Rolled", "note": f"rolled: {note}", "eventTime": at}
        return {"metadata": metadata, "reportingController": "reroll.dev/controller", **about}

    events = [
        event("a", "2026-12-01T00:00:02.5Z", "put back"),
        event("b", "2026-12-01T00:00:01.5Z", "LOG changed"),
    ]
    after = Look({}, tuple(events_of_reroll(events)))
    assert why(step(), Look({}, ()), after, Board()) == {"web": "LOG changed; then put back"}


def test_a_reason_that_the_event_had_no_room_for_is_taken_from_the_log(look: MakeLook) -> None:
    board = Board()
    board.decided("web", "rolled", "a changed; b changed; c changed")
    after = look({"web": "a changed; b ch…"}, web=2)
    assert why(step(), look(web=1), after, board) == {"web": "a changed; b changed; c changed"}


def test_the_steps_are_those_of_the_issue() -> None:
    """Nothing, one, two at once, fifteen in one, put back, dead, undone, put back by an operator; and only an undo is
    nobody's Event."""
    assert [step.rollouts for step in STEPS] == [
        {},
        {},
        {"web": 1},
        {"api": 1, "cache": 1},
        {"worker": 1},
        {},
        {"api": 1},
        {"web": 1},
        {"api": 3},
    ]
    assert [step.title for step in STEPS if set(step.rollouts) != set(step.told)] == ["An undo"]
