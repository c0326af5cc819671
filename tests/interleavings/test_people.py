"""Whatever order things happen in, at rest all is right: plays without faults, calm ones and with people in the way."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.interleavings.play import Flavour
from tests.interleavings.run import Choices, play, play_choices, play_many, played, seeds

# Counting branches makes a play twice as long.
pytestmark = pytest.mark.no_cover

CALM = Flavour()
PEOPLE = Flavour(foreign=True)
CLASSES = Flavour(kinds=("deployments", "statefulsets"), classes=True, foreign=True)


@pytest.mark.timeout(0)
@seeds(3000)
def test_one_rollout_per_net_change(seeds: range) -> None:
    play_many("calm", CALM, seeds, share=0.2)


@pytest.mark.timeout(0)
@seeds(2500)
def test_people_and_tools(seeds: range) -> None:
    play_many("people", PEOPLE, seeds, share=0.25)


@pytest.mark.timeout(0)
@seeds(1000)
def test_classes(seeds: range) -> None:
    play_many("classes", CLASSES, seeds, share=0.05)


@settings(max_examples=200, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False))
def test_hypothesis_orders_the_steps(drawn: random.Random) -> None:
    with played():
        failure = play_choices(CALM, Choices(drawn.randrange))
    assert failure is None, f"\n{failure}"


def test_a_seed_repeats_exactly() -> None:
    flavour = PEOPLE._replace(faults=True, members=2)
    with played():
        for seed in range(20):
            first: list[str] = []
            second: list[str] = []
            play(flavour, seed, steps=first)
            play(flavour, seed, steps=second)
            assert len(first) > 20
            assert first == second
