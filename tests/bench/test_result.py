"""How rounds become one number."""

from __future__ import annotations

import pytest

from bench.result import Result, percentile, pooled, sampled


def test_a_percentile_is_one_of_the_samples() -> None:
    samples = [float(n) for n in range(1, 101)]
    assert percentile(reversed(samples), 0.95) == 95.0
    assert percentile([7.0], 0.95) == 7.0
    assert percentile([3.0, 1.0], 0.0) == 1.0
    with pytest.raises(ValueError, match="no samples"):
        percentile([], 0.5)


def test_no_samples_are_no_value() -> None:
    assert sampled("latency", "ms", []).value is None


def test_samples_of_several_rounds_are_put_together() -> None:
    first = [sampled("median", "ms", [1.0, 2.0, 9.0]), sampled("p95", "ms", [1.0, 2.0, 9.0], "p95")]
    second = [sampled("median", "ms", [3.0, 4.0]), sampled("p95", "ms", [3.0, 4.0], "p95")]
    median, p95 = pooled([first, second])
    assert (median.value, p95.value) == (3.0, 9.0)
    assert median.samples == (1.0, 2.0, 9.0, 3.0, 4.0)
    assert median.note == "of 5, from 1.0 to 9.0"


def test_single_values_become_their_median_and_each_is_told() -> None:
    (found,) = pooled([[Result("crowd", "s", value, "busy")] for value in (3.0, 9.0, 4.0)])
    assert found == Result("crowd", "s", 4.0, "median of 3.00, 9.00, 4.00; busy")


def test_what_failed_to_come_about_in_one_round_did_not_come_about() -> None:
    missing = Result("crowd", "s", None, "17 patched in 60 s")
    assert pooled([[Result("crowd", "s", 3.0)], [missing]]) == [missing]


def test_one_round_is_left_as_it_is() -> None:
    only = [Result("killed", "", 0, "20 were rolled")]
    assert pooled([only]) == only
