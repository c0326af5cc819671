"""What the bench prints."""

from __future__ import annotations

import pytest

from bench.result import Result
from bench.table import against_bare, data, goal, markdown, number, ratio, rows

CROWD = "1 ConfigMap, 1,000 Deployments: last one patched"


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (2.0, "", "2"),
        (0.1234, "s", "0.12 s"),
        (12.34, "ms", "12.3 ms"),
        (198.4, "s", "198 s"),
        (63.6, "MB", "64 MB"),
        (None, "s", "never"),
    ],
)
def test_number(value: float | None, unit: str, text: str) -> None:
    assert number(value, unit) == text


@pytest.mark.parametrize(
    ("mine", "other", "text"),
    [(2.0, 7.0, "3.5x"), (0.0, 7.0, ""), (None, 1.0, ""), (1.0, None, ""), (1, 150, "150x")],
)
def test_ratio(mine: float | None, other: float | None, text: str) -> None:
    assert ratio(mine, other) == text


def test_goals_are_those_of_the_design() -> None:
    assert goal("memory with 50,000 ConfigMaps of 2 kB and 1,000 Deployments") == 69
    assert goal("an unrelated change of the same namespace during that waits (paused)") == 0.25
    assert goal("memory with 3,000 ConfigMaps") is None
    assert goal(CROWD) is None
    assert goal("start of the controller to its first reaction with those 110,000") == 3.0
    assert (
        goal("times a bare loop (100 ms on each round trip, 1 ConfigMap, 1,000 paused Deployments)") == 1.15
    )
    assert goal("processor time of an event that concerns nobody: a ConfigMap") == 0.1


def test_a_row_with_a_bare_loop_is_followed_by_how_many_times_that_it_took() -> None:
    found = [Result(CROWD, "s", 3.0), Result("15 configs", "rollouts", 1)]
    assert against_bare(found, {CROWD: 2.5}) == [
        found[0],
        Result("times a bare loop (1 ConfigMap, 1,000 Deployments)", "times", 1.2, "that takes 2.50 s"),
        found[1],
    ]
    assert against_bare([Result(CROWD, "s", None)], {CROWD: 2.5})[1].value is None
    assert goal("times a bare loop (1 ConfigMap, 1,000 Deployments)") == 1.15


def test_rows_put_reroll_last_and_mark_a_missed_goal() -> None:
    results = {
        "reroll": [
            Result("start of the controller", "s", 3.0),
            Result("changed and put back", "rollouts", 0),
        ],
        "reloader": [Result("start of the controller", "s", 7.5)],
    }
    table = rows(results)
    assert table == [
        ["", "reloader", "reroll", "reloader / reroll", "goal"],
        ["start of the controller", "7.50 s", "3.00 s", "2.5x", "1.80 s, missed"],
        ["changed and put back", "", "0", "", "0"],
    ]
    assert markdown(table).splitlines()[1] == "| --- | ---: | ---: | ---: | ---: |"


def test_what_never_came_about_misses_its_goal() -> None:
    table = rows({"reroll": [Result("start of the controller", "s", None)]})
    assert table[1] == ["start of the controller", "never", "1.80 s, missed"]


def test_the_json_holds_samples_and_the_bare_loop() -> None:
    result = Result("latency", "ms", 2.0, "of 3", (1.0, 2.0, 3.0))
    written = data({"reroll": [result]}, {CROWD: 2.5}, {"cores": 2})
    assert written == {
        "machine": {"cores": 2},
        "bare_loop_seconds": {CROWD: 2.5},
        "results": {
            "reroll": [
                {"row": "latency", "unit": "ms", "value": 2.0, "note": "of 3", "samples": [1.0, 2.0, 3.0]}
            ]
        },
    }
