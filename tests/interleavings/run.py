"""Runs plays: from a seed, or from the choices of one that failed, made shorter."""

from __future__ import annotations

import asyncio
import random
from typing import NamedTuple

from reroll.insight.simulation.clock import VirtualLoop
from tests.interleavings.play import Flavour, Play


class Failure(NamedTuple):
    """A play in which something did not hold."""

    problem: str
    steps: list[str]
    choices: list[int]

    def __str__(self) -> str:
        return "\n".join([*self.steps, "", self.problem])


class Choices:
    """Draws by a seed and notes what it drew; or repeats `given`, and then always the plainest."""

    def __init__(self, seed: int, given: list[int] | None = None) -> None:
        self._random = random.Random(seed)
        self._given = given
        self.made: list[int] = []

    def __call__(self, below: int) -> int:
        if self._given is None:
            number = self._random.randrange(below)
        else:
            at = len(self.made)
            number = self._given[at] % below if at < len(self._given) else 0
        self.made.append(number)
        return number


def play(flavour: Flavour, seed: int, given: list[int] | None = None) -> Failure | None:
    """One play to its end."""
    choices = Choices(seed, given)
    random.seed(seed)  # the jitter of backoffs
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(_run(choices, flavour))


async def _run(choices: Choices, flavour: Flavour) -> Failure | None:
    played = Play(choices, flavour)
    try:
        await played.run()
    except Exception as error:
        words = str(error) if type(error).__name__ == "Fault" else _trace(error)
        return Failure(words, played.steps, choices.made)
    return None


def _trace(error: Exception) -> str:
    import traceback

    return "".join(traceback.format_exception(error))


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
