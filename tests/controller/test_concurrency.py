"""The number of writes in flight, against a server of so many hands on virtual time."""

from __future__ import annotations

import heapq
import random
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from reroll.controller.concurrency import ALLOWANCE, FIRST, Limiter


@dataclass
class Server:
    """Serves as many requests at once as it has hands, each in `service` seconds, in their order. `away`: seconds of
    the network, there and back."""

    hands: int
    service: float
    away: float = 0.0
    free: list[float] = field(default_factory=list)

    def answers_at(self, sent: float, luck: random.Random) -> float:
        """When the answer to a request that is sent now arrives."""
        if not self.free:
            self.free = [0.0] * self.hands
        begins = max(sent + self.away / 2, heapq.heappop(self.free))
        ends = begins + self.service * luck.uniform(0.8, 1.2)
        heapq.heappush(self.free, ends)
        return ends + self.away / 2


@dataclass
class Play:
    """What happened to so many writes, sent as fast as the limit allows from `start` on."""

    seconds: float
    limits: list[int]
    """After each answer."""
    waits: list[float]
    """Of each answer, in the order of their arrival."""


def play(
    limiter: Limiter,
    server: Server,
    writes: int,
    *,
    most: int = 1000,
    start: float = 1000.0,
    refuses: Callable[[int], bool] = lambda number: False,
) -> Play:
    """Send so many writes, `most` at once at most; `refuses` says which answers are a refusal."""
    luck = random.Random(7)
    now, sent = start, 0
    flying: list[tuple[float, int, float]] = []
    seen = Play(0.0, [], [])
    while len(seen.waits) < writes:
        while sent < writes and len(flying) < min(limiter.limit, most):
            heapq.heappush(flying, (server.answers_at(now, luck), sent, now))
            sent += 1
        in_flight = len(flying)
        now, number, began = heapq.heappop(flying)
        if refuses(number):
            limiter.refused(now)
        else:
            limiter.answered(now - began, in_flight, now)
        seen.limits.append(limiter.limit)
        seen.waits.append(now - began)
    seen.seconds = now - start
    return seen


@pytest.mark.parametrize("away", [0.0, 0.025, 0.1])
def test_a_quick_server_is_used_to_the_full_however_far_it_is(away: float) -> None:
    seen = play(Limiter(4, 100), Server(8, 0.001, away), 1000)
    assert seen.limits[200] == 100
    assert seen.limits[-1] == 100


@pytest.mark.parametrize("away", [0.0, 0.025, 0.1])
def test_the_time_lost_on_the_way_up_is_a_few_round_trips(away: float) -> None:
    rate = 500.0  # of the server, a second
    fixed = play(Limiter(100, 100), Server(8, 8 / rate, away), 1000).seconds
    found = play(Limiter(4, 100), Server(8, 8 / rate, away), 1000).seconds
    assert found < fixed + 3 * away + 0.1


@pytest.mark.parametrize(("rate", "expected"), [(100.0, (14, 26)), (50.0, (9, 18)), (20.0, (6, 13))])
def test_a_busy_server_has_no_more_in_flight_than_it_answers_in_time(
    rate: float, expected: tuple[int, int]
) -> None:
    hands = 8
    seen = play(Limiter(4, 40), Server(hands, hands / rate), 600)
    assert expected[0] <= statistics.median(seen.limits[300:]) <= expected[1]
    settled = sorted(seen.waits[300:])
    assert settled[len(settled) // 2] < hands / rate + 1.3 * ALLOWANCE


@pytest.mark.parametrize("rate", [20.0, 50.0, 100.0, 400.0])
def test_it_is_as_fast_as_with_all_in_flight(rate: float) -> None:
    fixed = play(Limiter(40, 40), Server(4, 4 / rate), 600).seconds
    found = play(Limiter(4, 40), Server(4, 4 / rate), 600).seconds
    assert found <= 1.05 * fixed


def test_it_comes_down_when_the_server_slows_down_and_up_again() -> None:
    limiter = Limiter(4, 40)
    assert play(limiter, Server(8, 0.01), 200).limits[-1] == 40
    slow = play(limiter, Server(8, 0.16), 200, start=1010.0)
    assert slow.limits[-1] < 25
    assert min(slow.limits[:100]) < 25, "within two round trips and a measurement"
    assert play(limiter, Server(8, 0.01), 400, start=1100.0).limits[-1] == 40


def test_a_refusal_cuts_it_once_for_all_of_the_same_moment() -> None:
    limiter = Limiter(4, 40)
    play(limiter, Server(8, 0.01), 200)
    for _ in range(10):
        limiter.refused(2000.0)
    assert limiter.limit == 20
    limiter.refused(2001.0)
    assert limiter.limit == 10
    for second in range(10):
        limiter.refused(2002.0 + second)
    assert limiter.limit == 4


def test_it_comes_back_after_refusals() -> None:
    limiter = Limiter(4, 40)
    seen = play(limiter, Server(8, 0.01), 1000, refuses=lambda number: 100 <= number < 140)
    assert min(seen.limits[100:]) == 20
    assert seen.limits[-1] == 40


def test_what_is_not_used_is_not_raised() -> None:
    limiter = Limiter(4, 40)
    play(limiter, Server(8, 0.01), 500, most=3)
    assert limiter.limit == FIRST


def test_one_slow_answer_of_many_changes_nothing() -> None:
    limiter = Limiter(4, 40)
    play(limiter, Server(8, 0.01), 200)
    for number in range(40):
        limiter.answered(5.0 if number == 7 else 0.05, 39, 2000.0 + number)
    assert limiter.limit == 40


def test_where_others_keep_the_server_busy_fewer_would_only_be_slower() -> None:
    """Each answer takes long, and as long with four in flight as with forty."""
    limiter = Limiter(4, 40)
    play(limiter, Server(8, 0.005), 200)
    seen = play(limiter, Server(1000, 0.6), 2000, start=1010.0)
    assert seen.limits[-1] == 40
    assert sum(limit == 40 for limit in seen.limits) > 1600


def test_the_time_with_few_in_flight_is_measured_before_the_limit_shrinks_and_seldom() -> None:
    limiter = Limiter(4, 40)
    play(limiter, Server(8, 0.01), 200)
    seen = play(limiter, Server(2, 0.025), 8000, start=1010.0)
    measuring = [number for number in range(1, 8000) if seen.limits[number] == 4 < seen.limits[number - 1]]
    assert 1 <= len(measuring) < seen.seconds / 9
    assert limiter.statistics().base_seconds < 0.06
    assert 10 <= seen.limits[-1] <= 20


def test_a_base_of_worse_days_is_measured_anew() -> None:
    limiter = Limiter(4, 40)
    play(limiter, Server(1000, 0.6), 300)
    assert limiter.statistics().base_seconds > 0.4
    play(limiter, Server(8, 0.04), 200, start=2000.0)  # 0.2 s with forty in flight
    assert limiter.statistics().base_seconds < 0.1


def test_another_way_to_the_server_is_learned() -> None:
    limiter = Limiter(4, 40)
    play(limiter, Server(8, 0.01), 200)
    seen = play(limiter, Server(8, 0.01, away=1.0), 300, start=2000.0)
    assert seen.limits[-1] == 40


@pytest.mark.parametrize(("least", "most"), [(0, 4), (5, 4)])
def test_bounds_that_make_no_sense(least: int, most: int) -> None:
    with pytest.raises(ValueError, match="bounds of a limit"):
        Limiter(least, most)


def test_bounds_hold_from_the_first_on() -> None:
    assert Limiter(4, 6).limit == 6
    assert Limiter(20, 40).limit == FIRST
    assert Limiter(20, 100).limit == FIRST
    assert Limiter(60, 100).limit == 60
    assert set(play(Limiter(7, 7), Server(8, 0.5), 100, refuses=lambda number: number == 50).limits) == {7}
