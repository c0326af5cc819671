"""Command lines, and what /proc tells of a process."""

from __future__ import annotations

import sys

import pytest

from bench.contestants import cpu_ticks, memory_of, peer, reroll


def test_a_peer_is_a_name_and_a_command_line() -> None:
    found = peer(f"reloader={sys.executable} --flag")
    assert found.name == "reloader"
    assert found.command[1:] == ("--flag",)
    assert found.arguments("0s") == list(found.command)  # no settle time: no flag


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("reloader", "NAME=PATH"),
        ("=/bin/sh", "NAME=PATH"),
        ("Reloader=/bin/sh", "lower case"),
        ("reroll=/bin/sh", "not reroll"),
        ("reloader=/no/such/program", "no program that can be run"),
    ],
)
def test_a_bad_peer_is_refused_in_words(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        peer(text)


def test_the_settle_time_is_left_alone_unless_asked_for() -> None:
    assert reroll().arguments("0s")[-2:] == ["--settle", "0s"]
    assert "--settle" not in reroll().arguments("")


def test_memory_is_read_in_megabytes() -> None:
    status = "Name:\treroll: odd\nVmHWM:\t  100000 kB\nVmRSS:\t   50000 kB\n"
    assert memory_of(status) == pytest.approx((51.2, 102.4))


def test_processor_time_is_read_behind_a_name_that_looks_like_numbers() -> None:
    stat = "42 (a) 1 2 3) S 1 42 42 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 1 0 12345"
    assert cpu_ticks(stat) == 300
