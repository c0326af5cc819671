"""Whatever people and networks do, at rest all is right: random plays on the real control plane.

`make test` makes a few, `make soak MINUTES=60` as many as fit. The seed is printed; REROLL_SEED repeats it.
"""

from __future__ import annotations

import os
import random
import sys
import traceback
import uuid

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from reroll.core import decide
from reroll.core.proof import New
from tests.conftest import Cluster
from tests.soak import MINUTES, Soak
from tests.stateful.machine import Play
from tests.stateful.stage import SETTLE, Stage
from tests.stateful.verdict import Verdict

EXAMPLES, STEPS = 8, 16
"""Plays of one round, and steps of a play."""


@pytest.mark.timeout(0)
def test_plays(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    if not cluster.tokens:
        pytest.skip("speaks to the API server with the tokens of our own cluster")
    given = os.environ.get("REROLL_SEED")
    soak = Soak("on the real control plane")
    while True:
        number = int(given) if given else random.SystemRandom().randrange(10**9)
        with capsys.disabled():
            # It is for people; and where pytest has several processes, only this stream of them is seen.
            print(f"\nseed {number}: repeat with REROLL_SEED={number}", file=sys.stderr, flush=True)  # noqa: T201
        soak.seeds += 1
        try:
            play(cluster, number, soak)
        except Exception as error:
            if not MINUTES:
                raise
            soak.failure(number, "".join(traceback.format_exception(error)))
        if not soak.goes_on:
            break
    if MINUTES:
        soak.end()


def play(cluster: Cluster, number: int, soak: Soak) -> None:
    """One round with one seed."""

    class Ours(Play):
        def __init__(self) -> None:
            super().__init__()
            self.cluster = cluster
            self.namespace = f"play-{uuid.uuid4().hex[:8]}"
            soak.plays += 1

    # No shrinking: what another run meets depends on the time it takes, and each step is a request or more.
    rules = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        derandomize=False,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    seed(number)(Ours)
    run_state_machine_as_test(Ours, settings=rules)


BURST = [(("configmaps", name), value) for value in "12121" for name in ("a", "b")]


@pytest.mark.parametrize("settle", [SETTLE, 0.0])
async def test_one_rollout_per_net_change_and_without_settling_more(cluster: Cluster, settle: float) -> None:
    """The plays notice where several changes are not made one rollout."""
    if not cluster.tokens:
        pytest.skip("speaks to the API server with the tokens of our own cluster")
    async with Stage(cluster, f"play-{uuid.uuid4().hex[:8]}", settle=settle) as stage:
        verdict = Verdict(stage)
        await stage.begin()
        await verdict.at_rest(first=True)
        soon = await stage.write_all(BURST)
        if settle:
            await verdict.at_rest(exact=soon)
        else:
            with pytest.raises(AssertionError, match=r"was rolled \d+ times, not 1 to 1"):
                await verdict.at_rest(exact=True)


@pytest.mark.parametrize("believed", [False, True])
async def test_older_pods_after_a_revert_are_noticed(
    cluster: Cluster, believed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator writes its own template again in the middle of reroll's rollout. The plays notice where another
    client's rollout is `believed` to replace all pods."""
    if not cluster.tokens:
        pytest.skip("speaks to the API server with the tokens of our own cluster")
    if believed:
        monkeypatch.setattr(decide, "prove", lambda *of_anything: New())
    async with Stage(cluster, f"play-{uuid.uuid4().hex[:8]}") as stage:
        verdict = Verdict(stage)
        await stage.begin()
        await verdict.at_rest(first=True)
        # Of two pods one is replaced at a time, and a new one counts only after some seconds.
        await stage.slow_down("one")
        await stage.write("configmaps", "a", {"X": "1"})
        await stage.until_marked("one", 20.0)
        await stage.operate("one")
        if not believed:
            await verdict.at_rest()
        else:
            with pytest.raises(AssertionError, match=r"one: pod one-.* runs old content of configmaps/a"):
                await verdict.at_rest(within=12.0)
