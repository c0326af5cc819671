"""Which of two changes came later."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reroll.core.order import CONTRADICTION, is_later
from reroll.core.records import Change


def live(version: int, *, arrived: float = 1000.0, stamp: float = 0.0) -> Change:
    return Change(stamp=stamp, arrived=arrived, version=version)


def listed(stamp: float, version: int = 0) -> Change:
    return Change(stamp=stamp, version=version)


@pytest.mark.parametrize(
    ("a", "b", "later"),
    [
        pytest.param(live(8), live(7), True, id="by resourceVersion"),
        pytest.param(live(7), live(8), False, id="by resourceVersion, earlier"),
        pytest.param(live(8, arrived=999.0), live(7, arrived=1000.0), True, id="though it arrived first"),
        pytest.param(live(7), live(7), False, id="the same version is a tie"),
        pytest.param(live(0, arrived=1001.0), live(7, arrived=1000.0), True, id="no version: by arrival"),
        pytest.param(live(0, arrived=1000.0), live(0, arrived=1000.0), False, id="arrived at once: a tie"),
        pytest.param(
            live(1, arrived=1000.0 + CONTRADICTION + 1),
            live(900, arrived=1000.0),
            True,
            id="two etcds, later",
        ),
        pytest.param(
            live(900, arrived=1000.0),
            live(1, arrived=1000.0 + CONTRADICTION + 1),
            False,
            id="two etcds, earlier",
        ),
        pytest.param(
            live(8, arrived=1000.0),
            live(7, arrived=1000.0 + CONTRADICTION),
            True,
            id="a lag is no contradiction",
        ),
        pytest.param(listed(11.0), listed(10.0), True, id="by stamp"),
        pytest.param(listed(10.0), listed(10.0), False, id="the same second is a tie"),
        pytest.param(listed(10.0), listed(11.0), False, id="by stamp, earlier"),
        pytest.param(listed(10.0), listed(0.0), False, id="an unknown stamp of the other"),
        pytest.param(listed(0.0), listed(10.0), False, id="an unknown stamp"),
        pytest.param(
            listed(10.0, version=9), listed(10.0, version=3), False, id="versions of lists don't order"
        ),
        pytest.param(live(8, stamp=12.0), listed(10.0), True, id="live and listed: by stamp"),
        pytest.param(live(8, stamp=10.0), listed(10.0), False, id="live and listed in one second"),
        pytest.param(
            live(8, stamp=0.0), listed(10.0, version=7), True, id="live, above the listed object's version"
        ),
        pytest.param(live(8, stamp=5.0), listed(10.0, version=7), True, id="the same against the stamps"),
        pytest.param(live(6, stamp=0.0), listed(10.0, version=7), False, id="live, below the listed version"),
        pytest.param(
            listed(10.0, version=9), live(8, stamp=10.0), False, id="a listed version proves nothing"
        ),
        pytest.param(listed(11.0, version=7), live(8, stamp=10.0), False, id="stamps against versions"),
        pytest.param(Change(), Change(), False, id="nothing known"),
    ],
)
def test_order(a: Change, b: Change, later: bool) -> None:
    assert is_later(a, b) is later


changes = st.builds(
    Change,
    stamp=st.sampled_from([0.0, 10.0, 11.0]),
    arrived=st.sampled_from([0.0, 10.0, 10.5, 40.0]),
    version=st.integers(0, 4),
)


@given(changes, changes)
def test_never_both_ways(a: Change, b: Change) -> None:
    assert not (is_later(a, b) and is_later(b, a))


@given(changes)
def test_never_later_than_itself(a: Change) -> None:
    assert not is_later(a, a)
