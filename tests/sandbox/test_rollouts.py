"""Deployments and ReplicaSets of the sandbox, in virtual time."""

from __future__ import annotations

from typing import Any

import pytest

from reroll.sandbox.kinds import DEPLOYMENT, NODE, POD, REPLICA_SET
from reroll.sandbox.storage import Object
from tests.sandbox.play import NAMESPACE, Play, condition, playing, template

pytestmark = pytest.mark.looptime

BROKEN = {"sandbox.reroll.dev/crash-if": "MODE=bad"}


def mode(value: str, **more: Any) -> Object:
    return template(env=[{"name": "MODE", "value": value}], annotations=BROKEN, **more)


def revisions(play: Play) -> list[tuple[str, str]]:
    """(revision, value of MODE) of each ReplicaSet."""
    found = []
    for held in play.sets():
        (container,) = held["spec"]["template"]["spec"]["containers"]
        revision = held["metadata"]["annotations"]["deployment.kubernetes.io/revision"]
        found.append((revision, container["env"][0]["value"]))
    return found


class TestAtRest:
    async def test_a_deployment_has_a_replica_set_and_its_pods(self, play: Play) -> None:
        play.deployment(replicas=3)
        await play.rest()
        (held,) = play.sets()
        digest = held["metadata"]["labels"]["pod-template-hash"]
        assert held["metadata"]["name"] == f"web-{digest}"
        assert held["spec"]["selector"]["matchLabels"] == {"app": "web", "pod-template-hash": digest}
        assert len(play.pods()) == 3
        for pod in play.pods():
            assert pod["metadata"]["name"].startswith(f"web-{digest}-")
            assert pod["metadata"]["labels"]["pod-template-hash"] == digest
            assert condition(pod, "Ready")[0] == "True"

    async def test_its_status_tells_so(self, play: Play) -> None:
        play.deployment(replicas=3)
        await play.rest()
        deployment = play.get(DEPLOYMENT, "web")
        status = dict(deployment["status"])
        del status["conditions"]
        assert status == {
            "observedGeneration": 1,
            "replicas": 3,
            "updatedReplicas": 3,
            "readyReplicas": 3,
            "availableReplicas": 3,
            "terminatingReplicas": 0,
        }
        assert deployment["metadata"]["annotations"] == {"deployment.kubernetes.io/revision": "1"}
        assert condition(deployment, "Available") == ("True", "MinimumReplicasAvailable")
        assert condition(deployment, "Progressing") == ("True", "NewReplicaSetAvailable")

    async def test_nothing_is_written_at_rest(self, play: Play) -> None:
        play.deployment()
        await play.rest()
        version = play.storage.version
        await play.rest(7200)
        assert play.storage.version == version

    async def test_what_was_there_before_moves_too(self) -> None:
        async with playing() as first:
            first.deployment()
            storage = first.storage
            await first.rest()
        storage.update(
            DEPLOYMENT,
            {**first.get(DEPLOYMENT, "web"), "spec": {**first.get(DEPLOYMENT, "web")["spec"], "replicas": 2}},
        )
        async with playing(storage=storage) as second:
            await second.rest()
            assert second.status(DEPLOYMENT, "web")["availableReplicas"] == 2

    async def test_no_delay_at_all(self) -> None:
        async with playing(ready_after=0, terminate_after=0) as play:
            play.deployment(replicas=4)
            await play.rest(0.1)
            play.spec(DEPLOYMENT, "web", template=mode("2"))
            await play.rest(0.1)
            assert play.status(DEPLOYMENT, "web")["availableReplicas"] == 4
            assert play.sizes() == [0, 4]

    async def test_a_malformed_object_stops_no_other(self, play: Play) -> None:
        play.make(DEPLOYMENT, "malformed", spec={"template": 7})
        play.deployment()
        await play.rest()
        assert play.status(DEPLOYMENT, "web")["availableReplicas"] == 1


class TestRollingUpdate:
    @pytest.mark.parametrize(
        ("surge", "unavailable", "most", "least"),
        [
            (None, None, 5, 3),  # 25% of 4 each
            ("25%", "25%", 5, 3),
            ("30%", "30%", 6, 3),  # 1.2 pods: rounded up to surge, down to be missing
            (0, 1, 4, 3),
            (1, 0, 5, 4),
            (0, 0, 4, 3),  # nothing could move: one may be missing
            ("100%", 0, 8, 4),
            (0, "100%", 4, 0),
        ],
    )
    async def test_it_keeps_within_its_bounds(
        self, play: Play, surge: int | str | None, unavailable: int | str | None, most: int, least: int
    ) -> None:
        bounds = {"maxSurge": surge, "maxUnavailable": unavailable}
        rolling = {name: value for name, value in bounds.items() if value is not None}
        play.deployment(
            replicas=4, pod=mode("1"), strategy={"type": "RollingUpdate", "rollingUpdate": rolling}
        )
        await play.rest()
        totals: set[int] = set()
        available: set[int] = set()

        def look(_: object) -> None:
            totals.add(sum(held["spec"]["replicas"] for held in play.storage.objects(REPLICA_SET)))
            ready = [p for p in play.pods() if condition(p, "Ready")[0] == "True"]
            available.add(len([p for p in ready if "deletionTimestamp" not in p["metadata"]]))

        play.storage.listen(look)
        play.spec(DEPLOYMENT, "web", template=mode("2"))
        await play.rest()
        assert play.sizes() == [0, 4]
        assert max(totals) == most
        assert min(available) == least

    async def test_pods_that_are_ending_are_told(self) -> None:
        """terminatingReplicas (KEP-3973): those that count as replicas no more and still run."""
        async with playing(terminate_after=10.0) as play:
            play.deployment(replicas=4, pod=mode("1"))
            await play.rest()
            told: list[int] = []
            play.storage.listen(lambda _: told.append(play.status(DEPLOYMENT, "web")["terminatingReplicas"]))
            play.spec(DEPLOYMENT, "web", template=mode("2"))
            await play.rest()
            status = play.status(DEPLOYMENT, "web")
            assert (status["replicas"], status["updatedReplicas"], status["terminatingReplicas"]) == (4, 4, 4)
            assert max(told) == 4
            await play.rest(15)
            assert play.status(DEPLOYMENT, "web")["terminatingReplicas"] == 0
            assert [held["status"]["terminatingReplicas"] for held in play.sets()] == [0, 0]

    async def test_pods_that_never_get_ready_hold_it_up(self, play: Play) -> None:
        play.deployment(replicas=4, pod=mode("1"), progressDeadlineSeconds=30)
        await play.rest()
        play.spec(DEPLOYMENT, "web", template=mode("bad"))
        await play.rest(10)
        deployment = play.get(DEPLOYMENT, "web")
        assert play.sizes() == [3, 2]
        assert deployment["status"]["availableReplicas"] == 3
        assert deployment["status"]["unavailableReplicas"] == 2
        assert condition(deployment, "Progressing") == ("True", "ReplicaSetUpdated")
        await play.rest(30)
        assert condition(play.get(DEPLOYMENT, "web"), "Progressing") == ("False", "ProgressDeadlineExceeded")

    async def test_an_undo_brings_it_back_and_forgets_the_deadline(self, play: Play) -> None:
        play.deployment(replicas=4, pod=mode("1"), progressDeadlineSeconds=30)
        await play.rest()
        play.spec(DEPLOYMENT, "web", template=mode("bad"))
        await play.rest(60)
        play.spec(DEPLOYMENT, "web", template=mode("1"))
        await play.rest()
        deployment = play.get(DEPLOYMENT, "web")
        assert revisions(play) == [("2", "bad"), ("3", "1")]
        assert play.sizes() == [0, 4]
        assert deployment["status"]["availableReplicas"] == 4
        assert condition(deployment, "Progressing") == ("True", "NewReplicaSetAvailable")

    async def test_min_ready_seconds_make_it_wait(self, play: Play) -> None:
        play.deployment(replicas=1, pod=mode("1"), minReadySeconds=60)
        await play.rest(30)
        assert play.status(DEPLOYMENT, "web")["readyReplicas"] == 1
        assert "availableReplicas" not in play.status(DEPLOYMENT, "web")
        await play.rest(40)
        assert play.status(DEPLOYMENT, "web")["availableReplicas"] == 1

    async def test_a_change_in_the_middle_starts_over(self, play: Play) -> None:
        play.deployment(replicas=4, pod=mode("1"))
        await play.rest()
        play.spec(DEPLOYMENT, "web", template=mode("2"))
        await play.until(lambda: len(play.sets()) == 2 and play.sizes()[1] > 0)
        play.spec(DEPLOYMENT, "web", template=mode("3"))
        await play.rest()
        assert play.sizes() == [0, 0, 4]


class TestRecreate:
    async def test_no_new_pod_before_the_last_old_one_is_gone(self) -> None:
        async with playing(terminate_after=1.0) as play:
            play.deployment(replicas=2, pod=mode("1"), strategy={"type": "Recreate"})
            await play.rest()
            play.spec(DEPLOYMENT, "web", template=mode("2"))
            await play.rest(0.5)
            assert play.sizes() == [0]
            assert len(play.pods()) == 2
            await play.rest()
            assert play.sizes() == [0, 2]
            assert play.status(DEPLOYMENT, "web")["availableReplicas"] == 2


class TestRevisions:
    async def test_an_undo_takes_the_replica_set_of_that_template(self, play: Play) -> None:
        play.deployment(pod=mode("1"))
        await play.rest()
        (first,) = play.sets()
        play.spec(DEPLOYMENT, "web", template=mode("2"))
        await play.rest()
        play.spec(DEPLOYMENT, "web", template=mode("1"))
        await play.rest()
        assert revisions(play) == [("2", "2"), ("3", "1")]
        assert play.sets()[1]["metadata"]["uid"] == first["metadata"]["uid"]
        assert play.sets()[1]["metadata"]["annotations"]["deployment.kubernetes.io/revision-history"] == "1"
        annotations = play.get(DEPLOYMENT, "web")["metadata"]["annotations"]
        assert annotations["deployment.kubernetes.io/revision"] == "3"

    async def test_as_many_are_kept_as_the_limit_says(self, play: Play) -> None:
        play.deployment(pod=mode("1"), revisionHistoryLimit=2)
        for value in "23456":
            await play.rest()
            play.spec(DEPLOYMENT, "web", template=mode(value))
        await play.rest()
        assert revisions(play) == [("4", "4"), ("5", "5"), ("6", "6")]

    async def test_the_same_template_has_the_same_name(self, play: Play) -> None:
        play.deployment(pod=mode("1"))
        await play.rest()
        (name,) = (held["metadata"]["name"] for held in play.sets())
        play.storage.delete(DEPLOYMENT, NAMESPACE, "web")
        await play.rest()
        assert play.sets() == []
        assert play.pods() == []
        play.deployment(pod=mode("1"))
        await play.rest()
        assert [held["metadata"]["name"] for held in play.sets()] == [name]

    async def test_an_orphan_is_adopted(self, play: Play) -> None:
        play.deployment(pod=mode("1"))
        await play.rest()
        before = [pod["metadata"]["uid"] for pod in play.pods()]
        play.storage.delete(DEPLOYMENT, NAMESPACE, "web", propagation="Orphan")
        await play.rest()
        play.deployment(pod=mode("1"))
        await play.rest()
        assert [pod["metadata"]["uid"] for pod in play.pods()] == before
        assert play.status(DEPLOYMENT, "web")["availableReplicas"] == 1

    async def test_annotations_go_to_the_replica_set_and_leave_the_pods(self, play: Play) -> None:
        play.deployment(pod=mode("1"))
        await play.rest()
        found = play.get(DEPLOYMENT, "web")
        meta = {
            **found["metadata"],
            "annotations": {**found["metadata"]["annotations"], "kubernetes.io/change-cause": "me"},
        }
        play.storage.update(DEPLOYMENT, {**found, "metadata": meta})
        await play.rest()
        (held,) = play.sets()
        assert held["metadata"]["annotations"]["kubernetes.io/change-cause"] == "me"
        assert play.status(DEPLOYMENT, "web")["observedGeneration"] == 2


class TestPause:
    async def test_nothing_rolls_until_it_is_resumed(self, play: Play) -> None:
        play.deployment(pod=mode("1"))
        await play.rest()
        play.spec(DEPLOYMENT, "web", paused=True)
        await play.rest()
        play.spec(DEPLOYMENT, "web", template=mode("2"))
        await play.rest()
        deployment = play.get(DEPLOYMENT, "web")
        assert revisions(play) == [("1", "1")]
        assert condition(deployment, "Progressing") == ("Unknown", "DeploymentPaused")
        assert deployment["status"]["observedGeneration"] == deployment["metadata"]["generation"]
        play.spec(DEPLOYMENT, "web", paused=False)
        await play.rest()
        assert revisions(play) == [("1", "1"), ("2", "2")]
        assert play.sizes() == [0, 1]

    async def test_it_scales_all_the_same(self, play: Play) -> None:
        play.deployment(replicas=1, paused=False)
        await play.rest()
        play.spec(DEPLOYMENT, "web", paused=True, replicas=3)
        await play.rest()
        assert len(play.pods()) == 3


class TestScale:
    async def test_to_nothing_and_back(self, play: Play) -> None:
        play.deployment(replicas=2)
        await play.rest()
        play.spec(DEPLOYMENT, "web", replicas=0)
        await play.rest()
        assert play.pods() == []
        assert "replicas" not in play.status(DEPLOYMENT, "web")
        assert condition(play.get(DEPLOYMENT, "web"), "Available")[0] == "True"
        play.spec(DEPLOYMENT, "web", replicas=2)
        await play.rest()
        assert len(play.pods()) == 2
        assert len(play.sets()) == 1

    async def test_a_template_changed_at_nothing_is_a_revision_too(self, play: Play) -> None:
        play.deployment(replicas=0, pod=mode("1"))
        await play.rest()
        play.spec(DEPLOYMENT, "web", template=mode("2"))
        await play.rest()
        assert revisions(play) == [("1", "1"), ("2", "2")]
        assert condition(play.get(DEPLOYMENT, "web"), "Progressing") == ("True", "NewReplicaSetAvailable")

    async def test_in_the_middle_of_a_rollout_by_shares(self, play: Play) -> None:
        play.deployment(
            replicas=10, pod=mode("1"), strategy={"rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}}
        )
        await play.rest()
        play.spec(DEPLOYMENT, "web", template=mode("bad"))
        await play.rest()
        assert play.sizes() == [8, 5]
        # The documentation's example: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/
        play.spec(DEPLOYMENT, "web", replicas=15)
        await play.rest()
        assert play.sizes() == [11, 7]


class TestPods:
    async def test_a_deleted_pod_is_replaced(self, play: Play) -> None:
        play.deployment()
        await play.rest()
        (pod,) = play.pods()
        play.storage.delete(POD, NAMESPACE, pod["metadata"]["name"])
        assert "deletionTimestamp" in play.get(POD, pod["metadata"]["name"])["metadata"]
        await play.rest()
        (other,) = play.pods()
        assert other["metadata"]["name"] != pod["metadata"]["name"]
        assert play.status(DEPLOYMENT, "web")["availableReplicas"] == 1

    async def test_the_least_far_goes_first(self, play: Play) -> None:
        play.deployment(replicas=1)
        await play.rest()
        (old,) = play.pods()
        for node in play.storage.objects(NODE):
            play.storage.update(NODE, {**node, "spec": {"unschedulable": True}})
        play.spec(DEPLOYMENT, "web", replicas=3)
        await play.rest()
        assert sorted(pod["status"]["phase"] for pod in play.pods()) == ["Pending", "Pending", "Running"]
        play.spec(DEPLOYMENT, "web", replicas=1)
        await play.rest()
        assert [pod["metadata"]["uid"] for pod in play.pods()] == [old["metadata"]["uid"]]
