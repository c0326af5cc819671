"""What the bench prints."""

from __future__ import annotations

import pytest

from bench.contestants import peer
from bench.scenarios import Result
from bench.table import data, goal, markdown, number, ratio, rows

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


def test_goals_are_those_of_the_design_and_the_crowds_follows_the_bare_loop() -> None:
    assert goal(CROWD, 2.0) == pytest.approx(2.6)
    assert goal(CROWD, None) is None
    assert goal("memory with 50,000 ConfigMaps of 2 kB and 1,000 Deployments", None) == 100
    assert goal("memory with 3,000 ConfigMaps", None) is None


def test_rows_put_reroll_last_and_mark_a_missed_goal() -> None:
    results = {
        "reloader": [Result(CROWD, "s", 198.0)],
        "reroll": [Result(CROWD, "s", 3.0), Result("changed and put back within 200 ms", "rollouts", 0)],
    }
    table = rows(results, 2.0)
    assert table == [
        ["", "reloader", "reroll", "reloader / reroll", "goal"],
        [CROWD, "198 s", "3.00 s", "66.0x", "2.60 s, missed"],
        ["changed and put back within 200 ms", "", "0", "", "0"],
    ]
    assert markdown(table).splitlines()[1] == "| --- | ---: | ---: | ---: | ---: |"
    assert data(results, 2.0, {})["results"]["reroll"][0]["value"] == 3.0


def test_a_peer_without_a_path_is_refused() -> None:
    assert peer("reloader=/bin/r --flag").command == ("/bin/r", "--flag")
    with pytest.raises(ValueError, match="NAME=PATH"):
        peer("reloader")
