"""The invariants notice what they are there for: reroll with one thing broken does not get through the plays."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from reroll.controller.config_objects import ConfigObjects
from reroll.controller.ledger import Ledger
from reroll.controller.queue import Queue
from reroll.controller.report import Reporter
from reroll.controller.store import Store
from reroll.core.decide import decide
from reroll.core.decision import Decision, Kind, Situation
from reroll.core.records import ConfigId, ConfigRecord
from reroll.modes.recreate import Recreate
from tests.interleavings import play as plays
from tests.interleavings.play import Flavour
from tests.interleavings.run import play, played

# Counting branches makes a play twice as long.
pytestmark = pytest.mark.no_cover

Break = Callable[[pytest.MonkeyPatch], None]

ENOUGH = 400
"""Plays within which it has to be noticed."""


def nothing_is_rolled(monkeypatch: pytest.MonkeyPatch) -> None:
    def lazy(situation: Situation) -> Decision:
        decision = decide(situation)
        return Decision(Kind.SKIP, "not today") if decision.kind is Kind.ROLL else decision

    monkeypatch.setattr("reroll.controller.reconcile.decide", lazy)


def each_change_is_rolled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing settles."""
    monkeypatch.setattr(plays, "DEFAULTS", replace(plays.DEFAULTS, settle=0.0, settle_max=0.0))


def every_key_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(situation: Situation) -> Decision:
        consumed = [replace(c, keys=None, except_keys=()) for c in situation.consumed]
        return decide(replace(situation, consumed=consumed))

    monkeypatch.setattr("reroll.controller.reconcile.decide", careless)


def deleted_workloads_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "drop_workload", lambda self, workload: None)


def deleted_configs_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ConfigObjects, "drop", lambda self, config, **options: None)


def lists_are_believed_to_be_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a list names is not read again."""
    listed = ConfigObjects.listed

    def lazy(self: ConfigObjects, kind: Any, namespace: str, name: str, version: str) -> None:
        if not isinstance(self.state(ConfigId(kind, namespace, name)), ConfigRecord):
            listed(self, kind, namespace, name, version)

    monkeypatch.setattr(ConfigObjects, "listed", lazy)


def failures_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Queue, "retry", lambda self, key, **options: 0.0)


def nobody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Reporter, "warn", lambda self, *words: None)


def answers_are_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A write whose answer was lost is remembered for ever."""
    monkeypatch.setattr(Ledger, "confirm_lost_answer", lambda self, record, now: None)
    monkeypatch.setattr(Ledger, "restore", lambda self, workload, earlier: None)


def no_stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(self: Recreate, *given: Any) -> None: ...

    monkeypatch.setattr(Recreate, "_put_stand_in", nothing)


PEOPLE = Flavour(foreign=True)
FAULTS = Flavour(faults=True, members=2)


CASES: dict[Break, tuple[Flavour, str]] = {
    nothing_is_rolled: (Flavour(), "runs old content"),
    each_change_is_rolled: (Flavour(), r"rolled \d times, [01] was due"),
    every_key_counts: (Flavour(), r"rolled \d times, 0 was due|rolled \d times for 0 changes"),
    deleted_workloads_stay: (PEOPLE, "its store has a ghost|it does not come to rest"),
    deleted_configs_stay: (PEOPLE, "runs old content|other content|a ghost|to rest|was due|not known"),
    lists_are_believed_to_be_old: (FAULTS, "has other content in its store|runs old content"),
    failures_are_forgotten: (FAULTS, "runs old content|is lost|still|was due|remembers|not known"),
    nobody_is_told: (PEOPLE, "nobody was told"),
    answers_are_not_missed: (FAULTS, "writes without an answer"),
    no_stand_ins: (FAULTS._replace(kinds=("jobs",)), "job w. is lost"),
}
"""What is broken -> plays in which that is noticed, and the words of it."""


@pytest.mark.parametrize("breaks", CASES, ids=lambda breaks: breaks.__name__)
def test_what_is_broken_is_noticed(monkeypatch: pytest.MonkeyPatch, breaks: Break) -> None:
    flavour, noticed = CASES[breaks]
    breaks(monkeypatch)
    problem = ""
    with played():
        for seed in range(ENOUGH):
            failure = play(flavour, seed)
            if failure is not None and re.search(noticed, failure.problem):
                return
            problem = failure.problem if failure is not None else problem
    pytest.fail(f"not noticed in {ENOUGH} plays; the last failure was: {problem or 'none'}", pytrace=False)
