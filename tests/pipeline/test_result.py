"""The exit code of several workloads."""

from __future__ import annotations

import pytest

from reroll.pipeline.result import Outcome, Result, State


def outcomes(*states: State) -> Result:
    return Result(tuple(Outcome("Deployment", "shop", state, state, "") for state in states))


@pytest.mark.parametrize(
    ("states", "code", "with_exit_code"),
    [
        ((), 0, 4),
        (("skipped",), 0, 4),
        (("done", "skipped"), 0, 0),
        (("planned",), 0, 0),
        (("done", "refused"), 1, 1),
        (("timed out", "not started"), 3, 3),
        (("failed", "timed out"), 1, 1),
        (("not started",), 1, 1),
    ],
)
def test_exit_codes(states: tuple[State, ...], code: int, with_exit_code: int) -> None:
    assert outcomes(*states).code(exit_code=False) == code
    assert outcomes(*states).code(exit_code=True) == with_exit_code
