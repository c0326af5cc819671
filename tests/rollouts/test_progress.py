"""What a workload's status says of its rollout, kind by kind."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from reroll.rollouts.live import Live, decode_live
from reroll.rollouts.progress import after_verdict, progress, waits_for_a_person


def live(spec: dict[str, Any], generation: int = 2, **status: Any) -> Live:
    body = {
        "metadata": {"generation": generation},
        "spec": {"replicas": 3, **spec},
        "status": {"observedGeneration": 2, **status},
    }
    return decode_live(msgspec.json.encode(body))


def counts(updated: int, total: int = 3, available: int = 3) -> dict[str, int]:
    return {
        "updatedReplicas": updated,
        "replicas": total,
        "availableReplicas": available,
        "readyReplicas": available,
    }


def revisions(updated: int, current: str = "a", update: str = "b") -> dict[str, Any]:
    return {**counts(updated), "currentRevision": current, "updateRevision": update}


LATE = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
ON_DELETE = {"updateStrategy": {"type": "OnDelete"}}
REVISIONS = {"currentRevision": "a", "updateRevision": "b"}


@pytest.mark.parametrize(
    ("kind", "spec", "status", "state", "words"),
    [
        (
            "Deployment",
            {},
            {"observedGeneration": 1},
            "going",
            "its controller has not observed the change yet",
        ),
        ("Deployment", {}, counts(1), "going", "1 of 3 pods is new"),
        ("Deployment", {}, counts(3, 5), "going", "2 old pods still exist"),
        ("Deployment", {}, counts(3, 4), "going", "1 old pod still exists"),
        ("Deployment", {}, counts(3, 3, 2), "going", "all pods are new, 2 of 3 pods available"),
        ("Deployment", {}, counts(3), "done", "all 3 pods new and available"),
        ("Deployment", {"replicas": 0}, {}, "blocked", "it has no replicas"),
        (
            "Deployment",
            {"progressDeadlineSeconds": 60},
            {**counts(1, 4, 3), "conditions": [LATE]},
            "failed",
            "it made no progress within its deadline of 60 s: 3 of 3 pods are available",
        ),
        ("StatefulSet", {}, {**counts(1), **REVISIONS}, "going", "1 of 3 pods is new"),
        ("StatefulSet", {}, {**counts(3, 3, 2), **REVISIONS}, "going", "2 of 3 pods are available"),
        ("StatefulSet", {}, counts(3), "done", "all 3 pods new and available"),
        (
            "StatefulSet",
            ON_DELETE,
            counts(0),
            "blocked",
            "its update strategy is OnDelete: 0 of 3 pods are new",
        ),
        (
            "StatefulSet",
            {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}},
            {**counts(1), **REVISIONS},
            "blocked",
            "its partition 2 keeps 2 pods of the older revision",
        ),
        (
            "DaemonSet",
            {},
            {"desiredNumberScheduled": 2, "updatedNumberScheduled": 1, "numberAvailable": 2},
            "going",
            "1 of 2 pods is new",
        ),
        (
            "DaemonSet",
            {},
            {"desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 1},
            "going",
            "1 of 2 pods is available",
        ),
        (
            "DaemonSet",
            {},
            {"desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2},
            "done",
            "all 2 pods new and available",
        ),
        (
            "Rollout",
            {"restartAt": "2026-01-01T00:00:10Z", "strategy": {"canary": {}}},
            {"observedGeneration": "2", "restartedAt": "2026-01-01T00:00:00Z", "phase": "Healthy"},
            "going",
            "its controller restarts its pods",
        ),
        ("Rollout", {}, {"phase": "Degraded", "message": "too late"}, "failed", "it is degraded: too late"),
        ("Rollout", {}, {"phase": "Paused", "message": "a step"}, "blocked", "it is paused: a step"),
        ("Rollout", {}, {"phase": "Healthy", **counts(3)}, "done", "all 3 pods available"),
    ],
)
def test_what_a_status_says(
    kind: str, spec: dict[str, Any], status: dict[str, Any], state: str, words: str
) -> None:
    found = progress(live(spec, **status), kind)
    assert (found.verdict, found.words) == (state, words)
    assert found.new <= found.wanted


def late(at: str) -> dict[str, str]:
    return {**LATE, "lastUpdateTime": at}


class TestAVerdictOfTheControllerThatStands:
    """A Deployment that goes back to a ReplicaSet of its own keeps the condition until a count improves
    (kubernetes/pkg/controller/deployment/progress.go; seen in jordigilh/kubernaut#199)."""

    FAILED = "2026-01-01T00:00:10Z"

    def test_says_nothing_of_a_rollout_that_is_complete(self) -> None:
        found = progress(live({}, **counts(3), conditions=[late(self.FAILED)]), "Deployment")
        assert found.verdict == "done"

    def test_says_nothing_of_a_rollout_that_began_after_it(self) -> None:
        before = live({}, **counts(1, 4, 3), conditions=[late(self.FAILED)])
        assert progress(before, "Deployment").verdict == "failed"
        since = after_verdict(before, "Deployment")
        taken_back = live({}, **counts(2, 3, 2), conditions=[late(self.FAILED)])
        assert progress(taken_back, "Deployment", since=since).verdict == "going"

    def test_counts_where_it_is_a_later_one(self) -> None:
        since = after_verdict(live({}, conditions=[late(self.FAILED)]), "Deployment")
        again = live({}, **counts(1, 4, 3), conditions=[late("2026-01-01T00:00:11Z")])
        assert progress(again, "Deployment", since=since).verdict == "failed"

    def test_a_workload_without_one_has_nothing_to_wait_for(self) -> None:
        assert after_verdict(live({}, **counts(3)), "Deployment") == 0.0


class TestOldPodsThatAreStillTerminating:
    """status.terminatingReplicas, from Kubernetes 1.35 on (KEP-3973; kubectl#1628, kubernetes#110171)."""

    def test_are_told_of(self) -> None:
        found = progress(live({}, **counts(3), terminatingReplicas=2), "Deployment")
        assert (found.verdict, found.ending, found.ended) == ("ending", 2, True)
        assert found.words == "all 3 pods new and available; 2 old pods are still terminating"

    def test_are_none_where_the_server_does_not_count_them(self) -> None:
        assert progress(live({}, **counts(3)), "Deployment").verdict == "done"


class TestMinReadySeconds:
    """Ready pods are available only after minReadySeconds."""

    def test_of_a_deployment_whose_zero_the_api_leaves_out(self) -> None:
        found = progress(live({}, replicas=3, updatedReplicas=3, readyReplicas=3), "Deployment")
        assert (found.verdict, found.words) == ("going", "all pods are new, 0 of 3 pods available")

    def test_of_a_stateful_set(self) -> None:
        """The controller makes the revision current when pods are ready (kubernetes#136831)."""
        found = progress(live({}, **(revisions(3, "b", "b") | {"availableReplicas": 1})), "StatefulSet")
        assert (found.verdict, found.words) == ("going", "1 of 3 pods is available")

    def test_a_stateful_set_that_counts_no_available_pods(self) -> None:
        status = {"replicas": 3, "updatedReplicas": 3, "readyReplicas": 3}
        assert progress(live({}, **status), "StatefulSet").verdict == "done"


PARTITION = {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 5}}}


class TestAStatefulSet:
    def test_of_a_partition_above_its_replicas_keeps_all_pods(self) -> None:
        found = progress(live(PARTITION, **revisions(0)), "StatefulSet")
        assert (found.verdict, found.wanted) == ("blocked", 3)

    def test_of_a_partition_whose_pods_are_all_new_all_the_same(self) -> None:
        assert progress(live(PARTITION, **counts(3)), "StatefulSet").verdict == "done"

    def test_whose_template_went_back_while_pods_are_newer(self) -> None:
        """Both revisions are equal at once; the counts are not."""
        found = progress(live({}, **revisions(2, "a", "a")), "StatefulSet")
        assert (found.verdict, found.words) == ("going", "2 of 3 pods are new")


@pytest.mark.parametrize(
    ("spec", "status", "person"),
    [
        ({"paused": True}, counts(1), True),
        (
            {},
            {
                **counts(1),
                "conditions": [{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}],
            },
            True,
        ),
        ({"replicas": 0}, {}, False),
    ],
)
def test_what_a_blocked_rollout_waits_for(spec: dict[str, Any], status: dict[str, Any], person: bool) -> None:
    found = live(spec, **status)
    assert progress(found, "Deployment").verdict == "blocked"
    assert waits_for_a_person(found, "Deployment") is person


def test_a_kind_that_shows_no_rollout() -> None:
    assert progress(live({}, generation=3), "CronJob").verdict == "going"
    assert progress(live({}), "CronJob").verdict == "done"
