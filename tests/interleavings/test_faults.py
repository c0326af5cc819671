"""Whatever fails, at rest all is right: lost answers, broken watches, lost leads, deaths, and clocks that are set."""

from __future__ import annotations

import pytest

from tests.interleavings.play import Flavour
from tests.interleavings.run import play_many, seeds

# Counting branches makes a play twice as long.
pytestmark = pytest.mark.no_cover

FAULTS = Flavour(faults=True, members=2)
EVERYTHING = Flavour(faults=True, foreign=True, members=2)
CLASSES = FAULTS._replace(kinds=("deployments", "statefulsets"), classes=True)
TWO_AT_ONCE = EVERYTHING._replace(elected=False)


@pytest.mark.timeout(0)
@seeds(2500)
def test_faults(seeds: range) -> None:
    play_many("faults", FAULTS, seeds, share=0.15)


@pytest.mark.timeout(0)
@seeds(2000)
def test_faults_and_people(seeds: range) -> None:
    play_many("faults and people", EVERYTHING, seeds, share=0.25)


@pytest.mark.timeout(0)
@seeds(1000)
def test_faults_of_classes(seeds: range) -> None:
    play_many("faults and classes", CLASSES, seeds, share=0.05)


@pytest.mark.timeout(0)
@seeds(500)
def test_two_controllers_at_once(seeds: range) -> None:
    """Of two installations nobody leads: what both write is one rollout."""
    play_many("two at once", TWO_AT_ONCE, seeds, share=0.05)
