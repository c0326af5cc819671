"""Numbers and times that are written as text, by whomever."""

from __future__ import annotations

import pytest

from reroll.core.numbers import whole_number
from reroll.core.observe import version_number
from reroll.core.progress import SpecFacts, StatusObject, rollout_status
from reroll.core.times import epoch

HOSTILE = ["", "\u00b2", "\u0663", "-1", "+1", " 1", "1.0", "1_0", "0x1", "9" * 5000, "9" * 20, "a\x00"]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_no_number_is_0(text: str) -> None:
    assert whole_number(text) == version_number(text) == 0
    status = StatusObject(observed_generation=text, replicas=1, updated_replicas=1, available_replicas=1)
    assert not rollout_status(SpecFacts(generation=1), status, "Rollout").seen


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("7", 7), ("9223372036854775807", 2**63 - 1)])
def test_a_number(text: str, number: int) -> None:
    assert whole_number(text) == version_number(text) == number


@pytest.mark.parametrize(
    "text",
    ["", "\u00b2", "0001-01-01", "0001-01-01T00:00:00Z", "9" * 5000, "9999-12-31", "1969-12-31T00:00:00Z"],
)
def test_no_time_raises_or_is_before_the_epoch(text: str) -> None:
    assert 0.0 <= epoch(text) <= 253_402_387_200.0
