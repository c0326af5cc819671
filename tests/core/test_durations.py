"""Durations in annotations and flags."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reroll.core.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("0s", 0.0),
        ("1s", 1.0),
        (" 500ms ", 0.5),
        ("1m30s", 90.0),
        ("1h", 3600.0),
        ("1.5s", 1.5),
        ("1h1m1s1ms", 3661.001),
    ],
)
def test_reads_what_people_write(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "s", "1", "-1s", "+1s", "1 s", "1d", "1s,", "inf", "nan", "1e3s", "١s", ".5s"]
)
def test_refuses_the_rest(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration such as"):
        parse_duration(text)


def test_a_number_without_a_unit_is_told_what_to_write() -> None:
    with pytest.raises(ValueError, match="write 30s for seconds"):
        parse_duration("30")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0"), (0.5, "500ms"), (90, "1m30s"), (3600, "1h"), (1.5, "1s500ms")]
)
def test_formats_shortly(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@settings(deadline=None)
@given(st.integers(min_value=0, max_value=10**9))
def test_what_is_formatted_reads_back(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds / 1000)) == pytest.approx(
        milliseconds / 1000, abs=1e-4
    )
