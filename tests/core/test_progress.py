"""What the numbers of a status say of a rollout. Whole objects, as the API has them, are in tests/rollouts."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from msgspec.structs import replace

from reroll.core.kinds import DAEMON_SET, DEPLOYMENT, DEPLOYMENT_CONFIG, ROLLOUT, STATEFUL_SET
from reroll.core.progress import (
    FOLLOWED,
    Condition,
    Progress,
    RolloutStatus,
    SpecFacts,
    StatusObject,
    decode_status,
    progress,
    rollout_status,
)

LATE = "2026-01-01T00:00:10Z"
LATE_EPOCH = 1767225610.0


def a(kind: str = "Deployment", *, since: float = 0.0, **fields: Any) -> Progress:
    """The progress of 3 pods that are all new and available, but for these fields."""
    usual = {"seen": True, "wanted": 3, "total": 3, "updated": 3, "available": 3}
    return progress(RolloutStatus(**{**usual, **fields}), kind, since=since)


@pytest.mark.parametrize("kind", sorted(FOLLOWED))
class TestEveryKind:
    def test_is_going_before_its_controller_has_seen_the_change(self, kind: str) -> None:
        found = a(kind, seen=False)
        assert (found.verdict, found.complete, found.new, found.wanted) == ("going", False, 0, 3)

    def test_is_done_when_all_pods_are_new_and_serve(self, kind: str) -> None:
        found = a(kind)
        assert (found.verdict, found.complete, found.ended) == ("done", True, True)

    def test_is_not_complete_while_a_pod_is_older(self, kind: str) -> None:
        found = a(kind, updated=2, phase="Progressing" if kind == ROLLOUT.id else "")
        assert not found.complete
        assert not found.ended

    def test_of_no_pods_is_no_success(self, kind: str) -> None:
        """Nothing was tried, so it proves nothing (a canary of 0 replicas)."""
        found = a(kind, wanted=0, total=0, updated=0, available=0)
        assert (found.verdict, found.complete) == ("blocked", True)

    def test_more_pods_that_are_new_never_make_it_less(self, kind: str) -> None:
        """Over all counts: complete only if no pod can be older; ended only if complete."""
        for wanted, total, updated, available in itertools.product(range(4), repeat=4):
            if updated > total or available > total:
                continue
            found = a(kind, wanted=wanted, total=total, updated=updated, available=available)
            if found.complete and kind not in (DAEMON_SET.id, STATEFUL_SET.id):
                assert updated == total or not wanted
            if found.complete:
                assert updated >= wanted
            if found.ended:
                assert found.complete
                assert available >= wanted


class TestADeployment:
    @pytest.mark.parametrize(
        ("fields", "verdict", "complete", "words"),
        [
            ({"updated": 0, "total": 4}, "going", False, "0 of 3 pods are new"),
            ({"total": 4}, "going", False, "1 old pod still exists"),
            ({"available": 2}, "going", True, "all pods are new, 2 of 3 pods available"),
            ({"paused": True, "updated": 1}, "blocked", False, "it is paused: 1 of 3 pods is new"),
            ({"paused": True}, "done", True, "all 3 pods new and available"),
            ({"paused": True, "available": 1}, "going", True, "all pods are new, 1 of 3 pods available"),
            (
                {"updated": 1, "refused": "exceeded quota"},
                "blocked",
                False,
                "its pods can't be created: exceeded quota",
            ),
            ({"wanted": 0, "total": 2, "updated": 2}, "going", False, "2 pods still to go"),
            (
                {"wanted": 1, "total": 1, "updated": 1, "available": 1},
                "done",
                True,
                "all 1 pod new and available",
            ),
            ({"ending": 1}, "ending", True, "all 3 pods new and available; 1 old pod is still terminating"),
            ({"ending": 2, "updated": 1}, "going", False, "1 of 3 pods is new"),
        ],
    )
    def test_where_it_stands(self, fields: dict[str, Any], verdict: str, complete: bool, words: str) -> None:
        found = a(**fields)
        assert (found.verdict, found.complete, found.words) == (verdict, complete, words)

    @pytest.mark.parametrize(
        ("fields", "standing"),
        [
            ({"paused": True, "updated": 1}, True),
            ({"paused": True, "updated": 0, "total": 0, "available": 0}, True),
            ({"paused": True, "updated": 1, "available": 2}, False),
            ({"updated": 1, "refused": "exceeded quota"}, False),
            ({"updated": 1}, False),
        ],
    )
    def test_starts_no_pod_while_it_is_paused_and_all_of_them_serve(
        self, fields: dict[str, Any], standing: bool
    ) -> None:
        assert a(**fields).standing == standing

    def test_scaled_up_during_its_rollout_has_more_to_do(self) -> None:
        assert a(wanted=5).verdict == "going"

    def test_scaled_down_during_its_rollout_waits_for_the_pods_that_go(self) -> None:
        assert a(wanted=2).verdict == "done"
        assert a(wanted=2, total=3, updated=2).verdict == "going"

    def test_a_verdict_of_its_controller(self) -> None:
        found = a(updated=1, total=4, deadline="ProgressDeadlineExceeded", judged=100.0, within=60)
        assert (found.verdict, found.judged) == ("failed", 100.0)
        assert "within its deadline of 60 s" in found.words

    def test_a_verdict_says_nothing_of_pods_that_are_all_there(self) -> None:
        assert a(deadline="ProgressDeadlineExceeded", judged=100.0).verdict == "done"

    def test_a_verdict_of_before_is_about_an_earlier_rollout(self) -> None:
        old: dict[str, Any] = {
            "updated": 1,
            "total": 4,
            "deadline": "ProgressDeadlineExceeded",
            "judged": 100.0,
        }
        assert a(**old, since=101.0).verdict == "going"
        assert a(**old, since=100.0).verdict == "failed"

    def test_a_verdict_without_a_time_counts(self) -> None:
        assert a(updated=1, deadline="ProgressDeadlineExceeded", since=101.0).verdict == "failed"

    def test_what_was_judged_before_the_change_was_observed_is_known(self) -> None:
        """By that a follower tells a verdict that stands from one about the rollout that it follows."""
        assert a(seen=False, deadline="ProgressDeadlineExceeded", judged=100.0).judged == 100.0

    def test_paused_before_it_was_judged(self) -> None:
        assert a(paused=True, updated=1, deadline="ProgressDeadlineExceeded").verdict == "blocked"


class TestAStatefulSet:
    @pytest.mark.parametrize(
        ("fields", "verdict", "complete", "words"),
        [
            ({"updated": 1, "available": 2}, "going", False, "1 of 3 pods is new"),
            ({"available": 2}, "going", True, "2 of 3 pods are available"),
            ({"total": 4}, "going", False, "3 of 3 pods are available"),
            ({"partition": 2, "updated": 0}, "going", False, "0 of 1 pod is new"),
            (
                {"partition": 2, "updated": 1, "available": 2},
                "going",
                False,
                "2 of 3 pods are available",
            ),
            (
                {"partition": 2, "updated": 1},
                "blocked",
                False,
                "its partition 2 keeps 2 pods of the older revision",
            ),
            (
                {"partition": 9, "updated": 0},
                "blocked",
                False,
                "its partition 9 keeps 3 pods of the older revision",
            ),
            ({"partition": 2}, "done", True, "all 3 pods new and available"),
            (
                {"on_delete": True, "updated": 1},
                "blocked",
                False,
                "its update strategy is OnDelete: 1 of 3 pods is new",
            ),
            ({"on_delete": True}, "done", True, "all 3 pods new and available"),
            ({"on_delete": True, "available": 2}, "going", True, "2 of 3 pods are available"),
        ],
    )
    def test_where_it_stands(self, fields: dict[str, Any], verdict: str, complete: bool, words: str) -> None:
        found = a("StatefulSet", **fields)
        assert (found.verdict, found.complete, found.words) == (verdict, complete, words)


class TestADaemonSet:
    @pytest.mark.parametrize(
        ("fields", "verdict", "complete", "words"),
        [
            ({"updated": 1}, "going", False, "1 of 3 pods is new"),
            ({"available": 1}, "going", True, "1 of 3 pods is available"),
            (
                {"on_delete": True, "updated": 0},
                "blocked",
                False,
                "its update strategy is OnDelete: 0 of 3 pods are new",
            ),
            ({"wanted": 0}, "blocked", True, "no node is chosen for its pods"),
        ],
    )
    def test_where_it_stands(self, fields: dict[str, Any], verdict: str, complete: bool, words: str) -> None:
        found = a("DaemonSet", **fields)
        assert (found.verdict, found.complete, found.words) == (verdict, complete, words)

    def test_whose_older_pods_serve_while_new_ones_surge(self) -> None:
        """numberAvailable counts older pods, too."""
        assert a("DaemonSet", updated=2, available=3).verdict == "going"


class TestAnArgoRollout:
    @pytest.mark.parametrize(
        ("fields", "verdict", "complete"),
        [
            ({"phase": "Healthy"}, "done", True),
            ({"phase": "Progressing", "updated": 1}, "going", False),
            ({"phase": "Paused", "updated": 1}, "blocked", False),
            ({"phase": "Degraded", "updated": 1, "message": "aborted"}, "failed", False),
            ({"phase": "Healthy", "restarting": True}, "going", False),
            ({"phase": "Healthy", "available": 2}, "going", True),
            ({"phase": "Healthy", "total": 5}, "done", True),
            ({"phase": "Healthy", "updated": 2}, "going", False),
            # Of an Argo that writes no phase, the counts alone tell.
            ({}, "done", True),
            ({"total": 4}, "going", False),
        ],
    )
    def test_where_it_stands(self, fields: dict[str, Any], verdict: str, complete: bool) -> None:
        found = a("Rollout", **fields)
        assert (found.verdict, found.complete) == (verdict, complete)


class TestWhatAStatusSays:
    def of(self, kind: str, spec: SpecFacts | None = None, **status: Any) -> RolloutStatus:
        return rollout_status(spec or SpecFacts(generation=2, replicas=3), StatusObject(**status), kind)

    @pytest.mark.parametrize(
        ("observed", "seen"),
        [(0, False), (1, False), (2, True), (3, True), ("", False), ("1", False), ("2", True), ("x", False)],
    )
    def test_its_controller_has_seen_the_newest_spec(self, observed: int | str, seen: bool) -> None:
        assert self.of("Deployment", observed_generation=observed).seen is seen

    def test_a_rollout_that_has_not_seen_its_workload(self) -> None:
        spec = SpecFacts(generation=2, of_workload="7")
        assert not self.of("Rollout", spec, observed_generation="2", workload_observed_generation="6").seen
        assert self.of("Rollout", spec, observed_generation="2", workload_observed_generation="7").seen

    def test_replicas_that_are_left_out_are_one(self) -> None:
        assert self.of("Deployment", SpecFacts(generation=1)).wanted == 1
        assert self.of("Deployment", SpecFacts(generation=1, replicas=0)).wanted == 0

    def test_the_pods_of_a_daemon_set(self) -> None:
        found = self.of(
            "DaemonSet", desired_number_scheduled=4, updated_number_scheduled=2, number_available=3
        )
        assert (found.wanted, found.total, found.updated, found.available) == (4, 4, 2, 3)

    @pytest.mark.parametrize("kind", [DEPLOYMENT.id, DEPLOYMENT_CONFIG.id])
    def test_ready_pods_of_a_deployment_are_not_available_ones(self, kind: str) -> None:
        assert self.of(kind, ready_replicas=3).available == 0

    def test_a_condition_that_does_not_hold_refuses_nothing(self) -> None:
        held = Condition("ReplicaFailure", "True", "FailedCreate", "quota")
        assert self.of("Deployment", conditions=[held]).refused == "quota"
        gone = Condition("ReplicaFailure", "False", "", "quota")
        assert self.of("Deployment", conditions=[gone]).refused == ""

    def test_a_verdict_and_its_time(self) -> None:
        gave_up = Condition("Progressing", "False", "ProgressDeadlineExceeded", "", LATE)
        found = self.of("Deployment", conditions=[gave_up])
        assert (found.deadline, found.judged) == ("ProgressDeadlineExceeded", LATE_EPOCH)
        progressing = Condition("Progressing", "True", "ReplicaSetUpdated", "", LATE)
        found = self.of("Deployment", conditions=[progressing])
        assert (found.deadline, found.judged) == ("", 0.0)

    def test_what_can_not_be_read_is_empty(self) -> None:
        assert decode_status(b'{"replicas": "many"}') == StatusObject()


class TestTheTimeThatItsSpecGrants:
    def test_its_deadline(self) -> None:
        assert a(updated=1, within=1800).within == 1800

    def test_of_a_kind_without_one_the_seconds_for_which_a_pod_has_to_be_ready(self) -> None:
        assert a("StatefulSet", updated=1, min_ready=900).within == 900

    def test_does_not_depend_on_where_it_stands(self) -> None:
        for fields in ({"seen": False}, {}, {"paused": True, "updated": 0}):
            assert a(within=60, **fields).within == 60


def test_words_never_depend_on_numbers_that_are_out_of_order() -> None:
    """A status can hold anything for a moment: nothing of it raises."""
    odd = RolloutStatus(seen=True, wanted=-1, total=0, updated=5, available=-3, partition=-2)
    for kind in FOLLOWED:
        progress(odd, kind)
        progress(replace(odd, wanted=2, on_delete=True), kind)
