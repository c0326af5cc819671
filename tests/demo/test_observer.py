"""What is read off a cluster: revisions, old and new pods, Events."""

from __future__ import annotations

from typing import Any

from reroll.demo.observer import (
    REVISION,
    PodView,
    deployment_view,
    events_of_reroll,
    pod_problems,
    stateful_set_view,
)

Object = dict[str, Any]


def deployment(**status: int) -> Object:
    return {
        "metadata": {"name": "web", "uid": "d", "generation": 4, "annotations": {"reroll.dev/applied": "{}"}},
        "spec": {"replicas": 2, "template": {"metadata": {"annotations": {"reroll.dev/config": "abc"}}}},
        "status": status,
    }


def replica_set(uid: str, revision: str) -> Object:
    annotations = {REVISION: revision} if revision else {}
    return {"metadata": {"uid": uid, "annotations": annotations, "ownerReferences": [{"uid": "d"}]}}


def pod(name: str, owner: str, *, ready: bool = True, going: bool = False, revision: str = "") -> Object:
    metadata: Object = {"name": name, "ownerReferences": [{"uid": owner}]}
    metadata |= {"labels": {"controller-revision-hash": revision}} if revision else {}
    metadata |= {"deletionTimestamp": "2026-01-01T00:00:00Z"} if going else {}
    return {
        "metadata": metadata,
        "status": {"conditions": [{"type": "Ready", "status": "True" if ready else "False"}]},
    }


SETTLED = {"observedGeneration": 4, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}


def test_a_deployment_at_rest() -> None:
    sets = [replica_set("r1", "1"), replica_set("r2", "2"), {"metadata": {"uid": "other"}}]
    view = deployment_view(deployment(**SETTLED), sets, [pod("a", "r2"), pod("b", "r2"), pod("x", "other")])
    assert (view.revision, view.settled, view.adopted, view.mark) == (2, True, True, "abc")
    assert view.pods == (PodView(True, True), PodView(True, True))


def test_a_deployment_in_a_rollout() -> None:
    sets = [replica_set("r1", "1"), replica_set("r2", "2")]
    pods = [pod("a", "r1"), pod("b", "r2", ready=False), pod("c", "r1", going=True)]
    view = deployment_view(deployment(**SETTLED), sets, pods)
    assert view.pods == (PodView(True, False), PodView(False, True))
    assert not view.settled


def test_an_undo_brings_an_old_replica_set_back_under_a_new_revision() -> None:
    sets = [replica_set("r1", "3"), replica_set("r2", "2")]
    view = deployment_view(deployment(**SETTLED), sets, [pod("a", "r1"), pod("b", "r1")])
    assert view.revision == 3
    assert all(each.new for each in view.pods)


def test_a_change_that_no_controller_has_seen_yet_is_no_end() -> None:
    status = SETTLED | {"observedGeneration": 3}
    pods = [pod("a", "r1"), pod("b", "r1")]
    assert not deployment_view(deployment(**status), [replica_set("r1", "1")], pods).settled
    assert deployment_view(deployment(), [], []).revision == 0


def test_a_stateful_set_by_its_controller_revisions() -> None:
    obj = deployment(**SETTLED)
    obj["status"]["updateRevision"] = "web-b"
    owner = [{"uid": "d"}]
    revisions = [
        {"metadata": {"name": "web-a", "ownerReferences": owner}, "revision": 1},
        {"metadata": {"name": "web-b", "ownerReferences": owner}, "revision": 2},
        {"metadata": {"name": "other-z"}, "revision": 9},
    ]
    pods = [pod("web-0", "d", revision="web-a"), pod("web-1", "d", revision="web-b")]
    view = stateful_set_view(obj, revisions, pods)
    assert view.revision == 2
    assert view.pods == (PodView(True, True), PodView(False, True))


def test_only_events_of_reroll_count_and_a_repetition_is_news() -> None:
    event: Object = {
        "metadata": {"uid": "e"},
        "reportingController": "reroll.dev/controller",
        "reason": "Rolled",
        "note": "rolled: why",
        "regarding": {"name": "web"},
    }
    other = event | {"reportingController": "deployment-controller"}
    (once,) = events_of_reroll([event, other])
    (again,) = events_of_reroll([event | {"series": {"count": 2}}])
    assert (once.workload, once.reason, once.note) == ("web", "Rolled", "rolled: why")
    assert once.id != again.id


def test_a_pod_that_does_not_start_says_why() -> None:
    waiting = pod("a", "r", ready=False)
    waiting["status"]["containerStatuses"] = [{"state": {"waiting": {"reason": "ImagePullBackOff"}}}]
    pending = pod("b", "r", ready=False)
    pending["status"]["conditions"] = [
        {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"}
    ]
    silent = {"metadata": {"name": "c"}, "status": {"phase": "Pending"}}
    assert pod_problems([pod("ok", "r"), waiting, pending, silent]) == [
        "pod a: ImagePullBackOff",
        "pod b: 0/1 nodes are available",
        "pod c: Pending",
    ]
