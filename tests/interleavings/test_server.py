"""The played server and its controllers keep to the rules of the real ones that reroll rests on."""

from __future__ import annotations

from typing import Any

import pytest

from reroll.kube.errors import AlreadyExists, Conflict
from tests.interleavings.clock import BASE
from tests.interleavings.deployments import Deployments
from tests.interleavings.people import People
from tests.interleavings.pods import Act, Pods, Use, ready
from tests.interleavings.server import Object, Server, going
from tests.interleavings.statefulsets import StatefulSets
from tests.interleavings.worlds import config, workload


class Cluster:
    """A server, its controllers, and a clock that is set by hand."""

    def __init__(self) -> None:
        self.now = BASE
        self.server = Server(lambda: self.now)
        self.pods = Pods(self.server)
        self.deployments = Deployments(self.server, self.pods)
        self.stateful_sets = StatefulSets(self.server, self.pods)
        self.people = People(self.server, self.deployments, self.stateful_sets)
        self.server.create("configmaps", config("a", {"X": "0"}), "kubectl-create")

    def create(self, plural: str, replicas: int) -> Object:
        manifest = workload(lambda below: 0, plural, "w", [Use("configmaps", "a", "X", False)])
        manifest["spec"]["replicas"] = replicas
        self.server.create(plural, manifest, "kubectl-create")
        self.work()
        return self.get(plural)

    def get(self, plural: str) -> Object:
        found = self.server.get(plural, "w")
        assert found is not None
        return found

    def acts(self) -> list[Act]:
        return [*self.deployments.acts(), *self.stateful_sets.acts(), *self.pods.acts()]

    def work(self, until: str = "") -> None:
        """Until nothing is left to do, or something with these words was done."""
        for _ in range(500):
            acts = self.acts()
            if not acts:
                return
            acts[0].do()
            if until and until in acts[0].words:
                return
        raise AssertionError(f"it goes on for ever: {self.acts()[0].words}")

    def images(self) -> list[str]:
        living = (pod for pod in self.server.all("pods") if not going(pod) and ready(pod))
        return sorted(pod["spec"]["containers"][0]["image"] for pod in living)


def times(found: Object | None) -> dict[str, str]:
    assert found is not None
    return {entry["manager"]: entry["time"] for entry in found["metadata"]["managedFields"]}


def test_an_update_that_only_removes_moves_no_time() -> None:
    cluster = Cluster()
    cluster.people.set("configmaps", "a", "Y")
    before = times(cluster.server.get("configmaps", "a"))
    cluster.now += 60
    cluster.people.remove_key("configmaps", "a", "X")
    found = cluster.server.get("configmaps", "a")
    assert found is not None
    assert found["data"] == {"Y": "1"}
    assert times(found) == {"kubectl-edit": before["kubectl-edit"]}  # who had only X has nothing left


def test_the_time_moves_with_a_field_that_is_set() -> None:
    cluster = Cluster()
    before = times(cluster.server.get("configmaps", "a"))
    cluster.now += 60
    cluster.people.set("configmaps", "a", "X")
    after = times(cluster.server.get("configmaps", "a"))
    assert after["kubectl-edit"] > before["kubectl-create"]


def test_a_write_that_changes_nothing_is_none() -> None:
    cluster = Cluster()
    version = cluster.server.version
    cluster.server.update("configmaps", cluster.server.copy("configmaps", "a"), "kubectl-edit")
    assert cluster.server.version == version


def test_preconditions() -> None:
    cluster = Cluster()
    found = cluster.server.copy("configmaps", "a")
    cluster.people.set("configmaps", "a", "X")
    with pytest.raises(Conflict):
        cluster.server.update("configmaps", found, "kubectl-edit")
    with pytest.raises(Conflict):
        cluster.server.delete("configmaps", "a", {"uid": "another"})
    with pytest.raises(AlreadyExists):
        cluster.server.create("configmaps", config("a", {}), "kubectl-create")


def test_a_rollout_of_a_deployment_has_never_too_few_pods() -> None:
    cluster = Cluster()
    cluster.create("deployments", 3)
    cluster.people.apply("deployments", "w")
    for _ in range(200):
        acts = cluster.acts()
        if not acts:
            break
        acts[0].do()
        assert len(cluster.images()) >= 3
    assert cluster.images() == ["app:2"] * 3
    assert cluster.get("deployments")["status"]["updatedReplicas"] == 3


def test_an_undo_takes_the_old_pods_that_still_run() -> None:
    cluster = Cluster()
    cluster.create("deployments", 3)
    old = {pod["metadata"]["uid"] for pod in cluster.server.all("pods")}
    cluster.people.apply("deployments", "w")
    cluster.work(until="is taken away")
    assert cluster.people.undo("deployments", "w")
    cluster.work()
    running = {pod["metadata"]["uid"] for pod in cluster.server.all("pods")}
    assert cluster.images() == ["app:1"] * 3
    assert len(running & old) == 2


def test_an_undo_brings_the_old_annotations() -> None:
    cluster = Cluster()
    cluster.create("deployments", 1)
    cluster.people.apply("deployments", "w")
    cluster.work()
    cluster.server.patch("deployments", "w", {"metadata": {"annotations": {"note": "new"}}}, "kubectl")
    cluster.work()
    cluster.people.undo("deployments", "w")
    annotations: dict[str, Any] = cluster.get("deployments")["metadata"]["annotations"]
    assert "note" not in annotations
    assert annotations["reroll.dev/auto"] == "true"


def test_a_stateful_set_rolls_the_highest_ordinal_first() -> None:
    cluster = Cluster()
    cluster.create("statefulsets", 2)
    cluster.people.apply("statefulsets", "w")
    cluster.work(until="ends")
    assert [pod["metadata"]["name"] for pod in cluster.server.all("pods")] == ["w-0"]
    cluster.work()
    status = cluster.get("statefulsets")["status"]
    assert cluster.images() == ["app:2"] * 2
    assert status["currentRevision"] == status["updateRevision"]


def test_a_pod_that_needs_what_is_missing_waits() -> None:
    cluster = Cluster()
    cluster.people.delete_config("configmaps", "a")
    cluster.create("deployments", 1)
    assert cluster.images() == []
    cluster.people.create_config("configmaps", "a", changed=False)
    cluster.work()
    assert cluster.images() == ["app:1"]
