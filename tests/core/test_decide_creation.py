"""Objects that come and go, and Deployments that are paused as they are rolled."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from reroll.core.decide import decide
from reroll.core.decision import Decision, Kind, Situation
from reroll.core.policy import Pause, Policy
from reroll.core.records import (
    Applied,
    Change,
    ConfigId,
    ConfigRecord,
    ConfigState,
    Consumed,
    Missing,
    Reference,
    Unknown,
)
from tests.records import deployment

APP = ConfigId("configmap", "shop", "app")
NOW = 1_000.0
FOLLOW = Policy(configmaps=True)
THERE = ConfigRecord(("PORT",), b"0" * 8, stamp=500.0, arrived=500.0, version=5)
OTHER = ConfigRecord(("PORT",), b"1" * 8, stamp=600.0, arrived=600.0, version=6)


def ask(
    state: ConfigState,
    policy: Policy = FOLLOW,
    applied: Applied | None = None,
    *,
    optional: bool = False,
    now: float = NOW,
    **fields: object,
) -> Decision:
    reference = Reference("configmap", "app", "env", "container web: env PORT", ("PORT",), optional)
    return decide(
        Situation(
            workload=deployment(replicas=3, applied=applied, **fields),
            policy=policy,
            consumed=(Consumed(APP, ("PORT",), (reference,)),),
            states={APP: state},
            key_id="k",
            now=now,
        )
    )


def adopted(state: ConfigState, *, optional: bool = False) -> Applied:
    found = ask(state, optional=optional).applied
    assert found is not None
    return found


class TestDeletion:
    def test_by_itself_it_rolls_nothing(self) -> None:
        assert ask(Missing(arrived=990.0), applied=adopted(THERE)).kind is Kind.SKIP

    def test_where_asked_for_it_rolls_though_new_pods_can_not_start(self) -> None:
        policy = replace(FOLLOW, on_delete=True)
        found = ask(Missing(arrived=990.0), policy, adopted(THERE))
        assert (found.kind, found.reason) == (Kind.ROLL, "configmap/app was deleted")
        assert found.applied is not None
        assert found.applied.configs == {"configmap/app": None}
        assert ask(Missing(arrived=990.0), policy, found.applied).kind is Kind.SKIP

    def test_it_settles_like_any_change(self) -> None:
        policy = replace(FOLLOW, on_delete=True)
        found = ask(Missing(arrived=NOW - 0.5), policy, adopted(THERE))
        assert (found.kind, found.until) == (Kind.WAIT, NOW + 0.5)

    def test_what_was_never_there_was_not_deleted(self) -> None:
        policy = replace(FOLLOW, on_delete=True)
        assert ask(Missing(), policy, adopted(Missing(), optional=True), optional=True).kind is Kind.SKIP

    def test_what_can_not_be_read_was_not_deleted(self) -> None:
        policy = replace(FOLLOW, on_delete=True)
        assert ask(Unknown("forbidden"), policy, adopted(THERE)).kind is Kind.SKIP


class TestCreation:
    @pytest.mark.parametrize(
        ("on_create", "optional", "kind"),
        [
            (None, True, Kind.ROLL),
            (None, False, Kind.RECORD),
            (True, True, Kind.ROLL),
            (True, False, Kind.RECORD),  # no pod runs that could do without it
            (False, True, Kind.RECORD),
            (False, False, Kind.RECORD),
        ],
    )
    def test_it_rolls_pods_that_run_without_it(
        self, on_create: bool | None, optional: bool, kind: Kind
    ) -> None:
        before = adopted(Missing(), optional=True)
        found = ask(THERE, replace(FOLLOW, on_create=on_create), before, optional=optional)
        assert found.kind is kind

    @pytest.mark.parametrize("on_create", [None, True, False])
    def test_its_return_with_other_content_is_a_change_and_with_the_same_is_none(
        self, on_create: bool | None
    ) -> None:
        policy = replace(FOLLOW, on_create=on_create)
        assert ask(OTHER, policy, adopted(THERE)).kind is Kind.ROLL
        assert ask(THERE, policy, adopted(THERE)).kind is Kind.SKIP


class TestPause:
    PERIOD = Pause(60.0, "paused-at")

    def test_a_roll_begins_it(self) -> None:
        found = ask(OTHER, replace(FOLLOW, pause=self.PERIOD), adopted(THERE))
        assert (found.kind, found.pause) == (Kind.ROLL, NOW)

    def test_what_a_person_has_paused_is_left_alone(self) -> None:
        found = ask(OTHER, replace(FOLLOW, pause=self.PERIOD), adopted(THERE), paused=True)
        assert (found.kind, found.pause) == (Kind.ROLL, None)

    def test_meanwhile_a_further_change_is_written_at_once_and_the_pause_is_not_begun_anew(self) -> None:
        pause = replace(self.PERIOD, since=NOW - 30)
        found = ask(OTHER, replace(FOLLOW, pause=pause), adopted(THERE), paused=True)
        assert (found.kind, found.pause) == (Kind.ROLL, None)

    def test_at_rest_it_waits_for_its_end(self) -> None:
        pause = replace(self.PERIOD, since=NOW - 30)
        found = ask(THERE, replace(FOLLOW, pause=pause), adopted(THERE), paused=True)
        assert (found.kind, found.until, found.changes) == (Kind.WAIT, NOW + 30, ())

    def test_a_change_that_settles_is_asked_about_first(self) -> None:
        pause = replace(self.PERIOD, since=NOW - 30)
        late = replace(OTHER, arrived=NOW)
        found = ask(late, replace(FOLLOW, pause=pause), adopted(THERE), paused=True)
        assert (found.kind, found.until) == (Kind.WAIT, NOW + 1)

    @pytest.mark.parametrize(
        "pause",
        [
            Pause(60.0, "paused-at", NOW - 60),
            Pause(None, "paused-at", NOW - 1),  # nobody asks for a pause any more
            Pause(60.0, "paused-at", 0.0),  # when it was paused can't be read
        ],
    )
    def test_its_end_resumes(self, pause: Pause) -> None:
        assert ask(THERE, replace(FOLLOW, pause=pause), adopted(THERE), paused=True).kind is Kind.RESUME

    def test_it_ends_though_nothing_is_followed_any_more(self) -> None:
        assert ask(THERE, Policy(pause=Pause(None, "paused-at", 1.0)), paused=True).kind is Kind.RESUME

    def test_a_person_may_end_it(self) -> None:
        pause = replace(self.PERIOD, since=NOW - 1)
        assert ask(THERE, replace(FOLLOW, pause=pause), adopted(THERE), paused=False).kind is Kind.RESUME


def test_what_every_pod_has_read_at_its_start_is_recorded() -> None:
    rotated = replace(OTHER, read_at_start=True)
    assert ask(rotated, applied=adopted(THERE)).kind is Kind.RECORD
    assert ask(OTHER, applied=adopted(THERE)).kind is Kind.ROLL


def test_what_only_new_pods_have_mounted_is_known_to_those_that_were_rolled_for_it() -> None:
    """Of several contents the oldest stands for the class, so that a rotation to any other differs from it."""
    mixed = replace(THERE, mounted=((OTHER.keys, OTHER.digests),))
    found = ask(mixed, applied=adopted(OTHER))
    assert (found.kind, found.applied) == (Kind.SKIP, None)
    assert "newer version" in found.notes[0]
    assert ask(THERE, applied=adopted(OTHER)).kind is Kind.ROLL


def test_a_change_is_described() -> None:
    found = ask(OTHER, applied=adopted(THERE))
    assert found.reason == "configmap/app changed (PORT)"
    assert found.changes[0].change == Change(600.0, 600.0, 6)
