"""What a rollout of another client proves about the pods."""

from __future__ import annotations

from typing import Any

import pytest

from reroll.core.applied import decode, encode
from reroll.core.progress import Progress
from reroll.core.proof import (
    NOT_PERMITTED,
    New,
    Old,
    PodAges,
    Proof,
    Rolling,
    Unasked,
    is_superseded,
    mark_id,
    prove,
)
from reroll.core.records import Applied
from tests.records import deployment

SINCE = 100.0
DONE = Progress("done", "all 4 pods new and available", 4, 4, complete=True)
GOING = Progress("going", "1 of 4 pods is new", 1, 4)
YOUNG, MIXED = PodAges(2, 101.0, (101.0, 105.0)), PodAges(3, 90.0, (90.0, 100.0, 101.0))


@pytest.mark.parametrize(
    ("origin", "progress", "pods", "since", "proof"),
    [
        ("new", GOING, None, SINCE, Rolling(GOING.words)),
        ("returned", GOING, YOUNG, SINCE, Rolling(GOING.words)),
        ("unseen", GOING, YOUNG, SINCE, Rolling(GOING.words)),
        ("new", DONE, None, SINCE, New()),
        ("new", DONE, MIXED, SINCE, New()),
        ("new", DONE, None, 0.0, New()),
        ("returned", DONE, None, SINCE, Unasked()),
        ("unseen", DONE, None, SINCE, Unasked()),
        ("returned", DONE, YOUNG, SINCE, New()),
        ("unseen", DONE, YOUNG, SINCE, New()),
        # A pod that was created in the second of the change: of a revision from before, it may have read the older.
        ("returned", DONE, MIXED, SINCE, Old(2, 3)),
        ("unseen", DONE, MIXED, SINCE, Old(2, 3)),  # a tie that can't be told
        ("returned", DONE, PodAges(3, 90.0), SINCE, Old(1, 3)),
        ("returned", DONE, PodAges(0, 0.0), SINCE, New()),
        # The time is not known: none can be shown to be young enough.
        ("returned", DONE, YOUNG, 0.0, Old(0, 0)),
        ("unseen", DONE, PodAges(0, 0.0), 0.0, New()),
        ("returned", DONE, NOT_PERMITTED, SINCE, Old(0, 0)),
        ("unseen", DONE, NOT_PERMITTED, SINCE, New(proved=False)),
        ("returned", None, None, SINCE, New()),
    ],
)
def test_what_it_proves(
    origin: str, progress: Progress | None, pods: PodAges | None, since: float, proof: Proof
) -> None:
    assert prove(deployment(origin=origin), progress, pods, since) == proof


def test_a_pause_or_a_failure_proves_nothing() -> None:
    for verdict in ("blocked", "failed"):
        stuck = Progress(verdict, "0 of 4 pods are new", 0, 4)
        assert isinstance(prove(deployment(origin="new"), stuck, None, SINCE), Rolling)


def test_all_pods_are_new_though_not_all_serve() -> None:
    unready = Progress("going", "all pods are new, 1 of 4 pods available", 1, 4, complete=True)
    assert prove(deployment(origin="new"), unready, None, SINCE) == New()


@pytest.mark.parametrize(
    ("time", "or_then", "older"),
    [(90.0, False, 0), (90.0, True, 1), (91.0, False, 1), (100.0, True, 2), (200.0, False, 3)],
)
def test_pods_before_a_time(time: float, or_then: bool, older: int) -> None:
    assert MIXED.before(time, or_then=or_then) == older


@pytest.mark.parametrize(
    ("pods", "words"),
    [(Old(3, 4), "3 of 4 pods"), (Old(0, 0), "some of its pods"), (Old(4, 4), "4 of 4 pods")],
)
def test_words(pods: Old, words: str) -> None:
    assert pods.words == words


class TestSuperseded:
    def of(self, present: str | None, template: str = "t", **applied: Any) -> bool:
        usual: dict[str, Any] = {"mark": "m1", "since": 100, "at": 100}
        before = Applied("t", "k", {}, **(usual | applied))
        return is_superseded(deployment(template_hash=template, mark=present, applied=before))

    def test_while_the_mark_is_there_it_is_not(self) -> None:
        assert not self.of("m1")

    def test_a_mark_that_went_away(self) -> None:
        assert self.of(None)

    def test_another_mark(self) -> None:
        assert self.of("m0")

    def test_another_template_that_keeps_the_mark(self) -> None:
        assert self.of("m1", template="t2")

    def test_where_no_mark_was_written(self) -> None:
        assert not self.of(None, mark="")

    @pytest.mark.parametrize(
        "of_an_older_reroll", [{"mark": None, "since": 0, "at": 0}, {"since": 0}, {"mark": None}]
    )
    def test_a_record_that_promises_nothing(self, of_an_older_reroll: dict[str, Any]) -> None:
        assert not self.of(None, template="t2", **of_an_older_reroll)

    def test_nothing_recorded(self) -> None:
        assert not is_superseded(deployment())

    @pytest.mark.parametrize("mark", ["a\nb", "\ud800", "x" * 65])
    def test_a_mark_is_held_as_a_record_can_hold_it(self, mark: str) -> None:
        held = mark_id(mark)
        assert held.startswith("#")
        assert decode(encode(Applied("t", "k", {}, mark=held))).mark == held

    def test_a_long_mark_is_compared_by_its_digest(self) -> None:
        long = "x" * 1_000
        assert len(mark_id(long)) < 64
        assert not self.of(long, mark=mark_id(long))
        assert self.of(long + "y", mark=mark_id(long))
        assert mark_id(None) == ""
        assert mark_id("m1") == "m1"
