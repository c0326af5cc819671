"""Runs plays: many seeds in a row, or the choices of one that failed, made shorter.

`make test` plays the same seeds each time; `make soak` plays ever new ones and goes on after a failure, and
REROLL_SEED=N plays that one, exactly as it was.
"""

from __future__ import annotations

import asyncio
import os
import random
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest
import structlog

from reroll.dialects.marks import STYLES
from reroll.insight.simulation.clock import VirtualLoop
from tests.interleavings.clock import played_time
from tests.interleavings.member import Fault
from tests.interleavings.play import Flavour, Play
from tests.soak import MINUTES, Soak

MARKS = ("reroll", "reroll", "reroll", "env-vars", "annotations", "wave")
"""How pod templates are marked, by the seed of a play."""


class Failure(NamedTuple):
    """A play in which something did not hold."""

    problem: str
    steps: list[str]
    choices: list[int]

    def __str__(self) -> str:
        return "\n".join([*self.steps, "", self.problem])


class Choices:
    """Draws by `below` and notes what it drew; or repeats `given`, and then always the plainest."""

    def __init__(self, below: Callable[[int], int], given: list[int] | None = None) -> None:
        self._below = below
        self._given = given
        self.made: list[int] = []

    def __call__(self, below: int) -> int:
        if self._given is None:
            number = self._below(below)
        else:
            at = len(self.made)
            number = self._given[at] % below if at < len(self._given) else 0
        self.made.append(number)
        return number


def play(
    flavour: Flavour, seed: int, given: list[int] | None = None, *, steps: list[str] | None = None
) -> Failure | None:
    """One play to its end, in `played`. `steps` is filled with what happened."""
    return play_choices(flavour, Choices(random.Random(seed).randrange, given), seed, steps)


def play_choices(
    flavour: Flavour, choices: Choices, seed: int = 0, steps: list[str] | None = None
) -> Failure | None:
    """The same with choices by others. `seed`: of the jitter of backoffs, and of the style of marks."""
    random.seed(seed)
    marks = MARKS[seed % len(MARKS)]
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(_run(choices, flavour, [] if steps is None else steps, marks))


@contextmanager
def played() -> Iterator[None]:
    """While this lasts, reroll sees the time of plays, and logs nothing."""
    before, state = structlog.get_config(), random.getstate()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    try:
        with played_time():
            yield
    finally:
        structlog.configure(**before)
        random.setstate(state)


def seeds(count: int) -> pytest.MarkDecorator:
    """A tenth of so many seeds in `make quick`, and all of them in `make test`."""
    some, many = range(count // 10), range(count // 10, count)
    return pytest.mark.parametrize(
        "seeds", [some, pytest.param(many, marks=pytest.mark.slow)], ids=["some", "many"]
    )


def play_many(name: str, flavour: Flavour, seeds: range, *, share: float) -> None:
    """Play these seeds; or what the environment says, where they begin with 0. `share`: of the minutes of a soak. Fails
    with the first play in which something does not hold, made shorter."""
    given = os.environ.get("REROLL_SEED")
    if (given or MINUTES) and seeds.start:
        return
    with played():
        if MINUTES and not given:
            return _soak(name, flavour, share)
        for seed in [int(given)] if given else seeds:
            failure = play(flavour, seed)
            if failure is not None:
                words = _made_shorter(flavour, seed, failure)
                pytest.fail(f"{name}, seed {seed} (repeat with REROLL_SEED={seed}){words}", pytrace=False)


def _soak(name: str, flavour: Flavour, share: float) -> None:
    """Ever new seeds until the time is over. The first failure of each kind is made shorter."""
    soak, kinds = Soak(name, share=share), set[str]()
    while soak.goes_on:
        seed = random.SystemRandom().randrange(10**9)
        soak.seeds += 1
        soak.plays += 1
        failure = play(flavour, seed)
        if failure is not None:
            another = _kind(failure) not in kinds
            kinds.add(_kind(failure))
            soak.failure(seed, _made_shorter(flavour, seed, failure) if another else failure.problem)
    soak.end()


def _made_shorter(flavour: Flavour, seed: int, failure: Failure) -> str:
    short = shorter(flavour, seed, failure)
    return f", made shorter:\n{short}\n\nthe whole play ended with:\n{failure.problem}"


async def _run(choices: Choices, flavour: Flavour, steps: list[str], marks: str) -> Failure | None:
    steps.append(f"          marks: {marks}")
    try:
        await Play(choices, flavour, steps, STYLES[marks]).run()
    except Exception as error:
        words = str(error) if isinstance(error, Fault) else "".join(traceback.format_exception(error))
        return Failure(words, steps, choices.made)
    return None


def shorter(flavour: Flavour, seed: int, failure: Failure, *, tries: int = 400) -> Failure:
    """The same kind of failure with fewer and plainer choices."""
    kind = _kind(failure)
    best = failure
    size = max(1, len(best.choices) // 2)
    while size and tries > 0:
        at = 0
        while at < len(best.choices) and tries > 0:
            tries -= 1
            without = best.choices[:at] + best.choices[at + size :]
            found = play(flavour, seed, without)
            if found is not None and _kind(found) == kind and len(found.steps) < len(best.steps):
                best = found
            else:
                at += size
        size //= 2
    return best


def _kind(failure: Failure) -> str:
    """The failure without names and numbers."""
    first = failure.problem.strip().splitlines()[-1 if "Traceback" in failure.problem else 0]
    return "".join(c for c in first.partition(":")[2] if not c.isdigit())[:40]
