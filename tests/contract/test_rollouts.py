"""What rollouts look like at rest, by kubectl: on the sandbox and on the real control plane alike."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from tests.contract.servers import Server

Json = dict[str, Any]

REVISION: Final = "deployment.kubernetes.io/revision"
WAIT: Final = "--timeout=40s"


def template(image: str, app: str = "web", **spec: Any) -> Json:
    container = {"name": "main", "image": image}
    return {"metadata": {"labels": {"app": app}}, "spec": {"containers": [container], **spec}}


def workload(kind: str, image: str = "app:1", **spec: Any) -> Json:
    selector = {"matchLabels": {"app": "web"}}
    spec = {"selector": selector, "template": template(image), **spec}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "web"}, "spec": spec}


class Stage:
    """What the cases do on one of the two servers."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def kubectl(self, *arguments: str, input: str = "") -> str:
        """Run kubectl, which must succeed. Returns what it says."""
        said = self.server.kubectl(*arguments, input=input)
        assert "\nexit " not in f"\n{said}", said
        return said

    def apply(self, obj: Json) -> None:
        self.kubectl("apply", "--filename=-", input=json.dumps(obj))

    def get(self, kind: str, name: str = "web") -> Json:
        found: Json = json.loads(self.kubectl("get", kind, name, "--output=json"))
        return found

    def all(self, kind: str) -> list[Json]:
        found: list[Json] = json.loads(self.kubectl("get", kind, "--output=json"))["items"]
        return found

    def no_ending(self) -> Json:
        """What the status of a Deployment or a ReplicaSet tells of pods that are ending where none is (KEP-3973)."""
        return {"terminatingReplicas": 0} if self.server.minor >= 35 else {}

    def status(self, kind: str) -> Json:
        """The status, with the reasons of its conditions, and without names and times."""
        status = self.get(kind)["status"]
        held = status.pop("conditions", [])
        status["conditions"] = {one["type"]: (one["status"], one.get("reason")) for one in held}
        for field in ("currentRevision", "updateRevision"):
            if field in status:
                status[field] = status[field].rpartition("-")[0]
        return dict(status)

    def settle(self, kind: str = "deployment") -> None:
        """Wait until the rollout is done and its old pods are gone, and with them what its status says of them."""
        self.kubectl("rollout", "status", f"{kind}/web", WAIT)
        generation = self.get(kind)["metadata"]["generation"]
        self.kubectl(
            "wait", f"{kind}/web", f"--for=jsonpath={{.status.observedGeneration}}={generation}", WAIT
        )

    def image(self, kind: str, image: str) -> None:
        self.kubectl("set", "image", f"{kind}/web", f"main={image}")

    def sets(self) -> list[tuple[str, str, int]]:
        """(revision, image, replicas) of each ReplicaSet, by revision."""
        found = []
        for held in self.all("replicasets"):
            revision = held["metadata"]["annotations"][REVISION]
            spec = held["spec"]
            found.append((revision, spec["template"]["spec"]["containers"][0]["image"], spec["replicas"]))
        return sorted(found)

    def pods(self) -> list[Json]:
        return [pod for pod in self.all("pods") if "deletionTimestamp" not in pod["metadata"]]

    def images(self) -> list[tuple[str, str]]:
        return sorted((pod["metadata"]["name"], pod["spec"]["containers"][0]["image"]) for pod in self.pods())

    def revisions(self) -> list[tuple[int, str]]:
        """(revision, image) of each ControllerRevision."""
        return sorted(
            (held["revision"], held["data"]["spec"]["template"]["spec"]["containers"][0]["image"])
            for held in self.all("controllerrevisions")
        )


@pytest.fixture
def stage(server: Server) -> Stage:
    """One of the two."""
    return Stage(server)


class TestDeployment:
    def test_at_rest(self, stage: Stage) -> None:
        stage.apply(workload("Deployment", replicas=2))
        stage.settle()
        assert stage.status("deployment") == {
            "observedGeneration": 1,
            "replicas": 2,
            "updatedReplicas": 2,
            "readyReplicas": 2,
            "availableReplicas": 2,
            **stage.no_ending(),
            "conditions": {
                "Available": ("True", "MinimumReplicasAvailable"),
                "Progressing": ("True", "NewReplicaSetAvailable"),
            },
        }
        assert stage.sets() == [("1", "app:1", 2)]
        (held,) = stage.all("replicasets")
        digest = held["metadata"]["labels"]["pod-template-hash"]
        annotations = held["metadata"]["annotations"]
        assert held["metadata"]["name"] == f"web-{digest}"
        assert annotations["deployment.kubernetes.io/desired-replicas"] == "2"
        assert annotations["deployment.kubernetes.io/max-replicas"] == "3"
        assert held["spec"]["selector"]["matchLabels"] == {"app": "web", "pod-template-hash": digest}
        assert held["status"] == {
            "replicas": 2,
            "fullyLabeledReplicas": 2,
            "readyReplicas": 2,
            "availableReplicas": 2,
            "observedGeneration": 1,
            **stage.no_ending(),
        }
        for pod in stage.pods():
            assert pod["metadata"]["name"].startswith(f"web-{digest}-")
            (owner,) = pod["metadata"]["ownerReferences"]
            assert (owner["kind"], owner["uid"], owner["controller"]) == (
                "ReplicaSet",
                held["metadata"]["uid"],
                True,
            )

    def test_a_rollout_its_history_and_an_undo(self, stage: Stage) -> None:
        stage.apply(workload("Deployment"))
        stage.settle()
        (first,) = stage.all("replicasets")
        stage.kubectl("annotate", "deployment/web", "kubernetes.io/change-cause=second")
        stage.image("deployment", "app:2")
        stage.settle()
        assert stage.sets() == [("1", "app:1", 0), ("2", "app:2", 1)]
        history = stage.kubectl("rollout", "history", "deployment/web").split("\n")
        assert [line.split() for line in history[2:4]] == [["1", "second"], ["2", "second"]]
        assert "app:1" in stage.kubectl("rollout", "history", "deployment/web", "--revision=1")

        stage.kubectl("rollout", "undo", "deployment/web")
        stage.settle()
        assert stage.sets() == [("2", "app:2", 0), ("3", "app:1", 1)]
        assert (
            stage.get("replicaset", first["metadata"]["name"])["metadata"]["uid"] == first["metadata"]["uid"]
        )
        assert stage.get("deployment")["metadata"]["annotations"][REVISION] == "3"

        stage.kubectl("rollout", "undo", "deployment/web", "--to-revision=2")
        stage.settle()
        assert stage.sets() == [("3", "app:1", 0), ("4", "app:2", 1)]

    def test_a_restart_is_a_revision(self, stage: Stage) -> None:
        stage.apply(workload("Deployment"))
        stage.settle()
        stage.kubectl("rollout", "restart", "deployment/web")
        stage.settle()
        assert stage.sets() == [("1", "app:1", 0), ("2", "app:1", 1)]

    def test_a_change_beside_the_template_is_none(self, stage: Stage) -> None:
        stage.apply(workload("Deployment"))
        stage.settle()
        stage.kubectl("annotate", "deployment/web", "note=x")
        stage.kubectl("label", "deployment/web", "team=y")
        stage.settle()
        assert stage.sets() == [("1", "app:1", 1)]
        assert stage.get("deployment")["metadata"]["generation"] == 2

    def test_paused_and_resumed(self, stage: Stage) -> None:
        stage.apply(workload("Deployment"))
        stage.settle()
        stage.kubectl("rollout", "pause", "deployment/web")
        stage.image("deployment", "app:2")
        generation = stage.get("deployment")["metadata"]["generation"]
        stage.kubectl(
            "wait", "deployment/web", f"--for=jsonpath={{.status.observedGeneration}}={generation}", WAIT
        )
        assert stage.sets() == [("1", "app:1", 1)]
        assert stage.status("deployment")["conditions"]["Progressing"] == ("Unknown", "DeploymentPaused")
        stage.kubectl("rollout", "resume", "deployment/web")
        stage.settle()
        assert stage.sets() == [("1", "app:1", 0), ("2", "app:2", 1)]

    def test_an_undo_of_what_is_paused_is_refused(self, stage: Stage) -> None:
        stage.apply(workload("Deployment"))
        stage.settle()
        stage.image("deployment", "app:2")
        stage.kubectl("rollout", "pause", "deployment/web")
        assert "cannot rollback a paused deployment" in stage.server.kubectl(
            "rollout", "undo", "deployment/web"
        )

    def test_scaled_to_nothing(self, stage: Stage) -> None:
        stage.apply(workload("Deployment", replicas=2))
        stage.settle()
        stage.kubectl("scale", "deployment/web", "--replicas=0")
        stage.settle()
        stage.kubectl("wait", "pods", "--all", "--for=delete", WAIT)
        assert stage.status("deployment") == {
            "observedGeneration": 2,
            **stage.no_ending(),
            "conditions": {
                "Available": ("True", "MinimumReplicasAvailable"),
                "Progressing": ("True", "NewReplicaSetAvailable"),
            },
        }
        stage.image("deployment", "app:2")
        stage.settle()
        assert stage.sets() == [("1", "app:1", 0), ("2", "app:2", 0)]
        stage.kubectl("scale", "deployment/web", "--replicas=3")
        stage.settle()
        assert stage.sets() == [("1", "app:1", 0), ("2", "app:2", 3)]

    def test_recreate(self, stage: Stage) -> None:
        stage.apply(workload("Deployment", replicas=2, strategy={"type": "Recreate"}))
        stage.settle()
        stage.image("deployment", "app:2")
        stage.settle()
        assert stage.sets() == [("1", "app:1", 0), ("2", "app:2", 2)]

    def test_old_revisions_go(self, stage: Stage) -> None:
        stage.apply(workload("Deployment", revisionHistoryLimit=1))
        stage.settle()
        for number in (2, 3):
            stage.image("deployment", f"app:{number}")
            stage.settle()
        assert stage.sets() == [("2", "app:2", 0), ("3", "app:3", 1)]

    def test_the_deadline(self, stage: Stage) -> None:
        # No node has this label, so its pods never start.
        pods = template("app:1", nodeSelector={"nowhere": "true"})
        stage.apply(workload("Deployment", progressDeadlineSeconds=2, template=pods))
        said = stage.server.kubectl("rollout", "status", "deployment/web", WAIT)
        assert 'deployment "web" exceeded its progress deadline' in said
        assert said.endswith("exit 1\n")
        status = stage.status("deployment")
        assert status == {
            "observedGeneration": 1,
            "replicas": 1,
            "updatedReplicas": 1,
            "unavailableReplicas": 1,
            **stage.no_ending(),
            "conditions": {
                "Available": ("False", "MinimumReplicasUnavailable"),
                "Progressing": ("False", "ProgressDeadlineExceeded"),
            },
        }
        (pod,) = stage.pods()
        assert pod["status"]["phase"] == "Pending"

    def test_a_rollout_that_is_stuck_keeps_the_old_pods(self, stage: Stage) -> None:
        stage.apply(workload("Deployment", replicas=4))
        stage.settle()
        spec = {"spec": {"template": {"spec": {"nodeSelector": {"nowhere": "true"}}}}}
        stage.kubectl("patch", "deployment/web", "--patch", json.dumps(spec))
        stage.kubectl("wait", "deployment/web", "--for=jsonpath={.status.unavailableReplicas}=2", WAIT)
        assert [size for _, _, size in stage.sets()] == [3, 2]
        stage.kubectl("rollout", "undo", "deployment/web")
        stage.settle()
        assert [(revision, size) for revision, _, size in stage.sets()] == [("2", 0), ("3", 4)]

    def test_a_deleted_pod_is_replaced(self, stage: Stage) -> None:
        stage.apply(workload("Deployment"))
        stage.settle()
        (before,) = stage.pods()
        stage.kubectl("delete", "pod", before["metadata"]["name"], WAIT)
        stage.settle()
        (after,) = stage.pods()
        assert after["metadata"]["uid"] != before["metadata"]["uid"]

    def test_all_goes_with_it(self, stage: Stage) -> None:
        stage.apply(workload("Deployment"))
        stage.settle()
        stage.kubectl("delete", "deployment/web", WAIT)
        stage.kubectl("wait", "replicasets,pods", "--all", "--for=delete", WAIT)
        assert stage.all("replicasets") == []
        assert stage.pods() == []


class TestStatefulSet:
    def test_at_rest(self, stage: Stage) -> None:
        stage.apply(workload("StatefulSet", replicas=2, serviceName="web"))
        stage.settle("statefulset")
        assert stage.status("statefulset") == {
            "observedGeneration": 1,
            "replicas": 2,
            "readyReplicas": 2,
            "availableReplicas": 2,
            "currentReplicas": 2,
            "updatedReplicas": 2,
            "currentRevision": "web",
            "updateRevision": "web",
            "collisionCount": 0,
            "conditions": {},
        }
        assert stage.images() == [("web-0", "app:1"), ("web-1", "app:1")]
        labels = stage.get("pod", "web-1")["metadata"]["labels"]
        (revision,) = stage.all("controllerrevisions")
        assert labels == {
            "app": "web",
            "controller-revision-hash": revision["metadata"]["name"],
            "statefulset.kubernetes.io/pod-name": "web-1",
            "apps.kubernetes.io/pod-index": "1",
        }

    def test_a_rollout_its_history_and_an_undo(self, stage: Stage) -> None:
        stage.apply(workload("StatefulSet", replicas=2, serviceName="web"))
        stage.settle("statefulset")
        stage.image("statefulset", "app:2")
        stage.settle("statefulset")
        assert stage.images() == [("web-0", "app:2"), ("web-1", "app:2")]
        assert stage.revisions() == [(1, "app:1"), (2, "app:2")]
        history = stage.kubectl("rollout", "history", "statefulset/web").split("\n")
        assert [line.split()[0] for line in history[2:4]] == ["1", "2"]
        stage.kubectl("rollout", "undo", "statefulset/web")
        stage.settle("statefulset")
        assert stage.images() == [("web-0", "app:1"), ("web-1", "app:1")]
        assert stage.revisions() == [(2, "app:2"), (3, "app:1")]

    def test_on_delete(self, stage: Stage) -> None:
        strategy = {"type": "OnDelete"}
        stage.apply(workload("StatefulSet", replicas=2, serviceName="web", updateStrategy=strategy))
        stage.kubectl("wait", "statefulset/web", "--for=jsonpath={.status.readyReplicas}=2", WAIT)
        stage.image("statefulset", "app:2")
        stage.kubectl("wait", "statefulset/web", "--for=jsonpath={.status.observedGeneration}=2", WAIT)
        assert stage.images() == [("web-0", "app:1"), ("web-1", "app:1")]
        # To wait for the end of a pod that comes back under its name, kubectl is sometimes too late.
        stage.kubectl("delete", "pod", "web-1", "--wait=false")
        stage.kubectl("wait", "statefulset/web", "--for=jsonpath={.status.updatedReplicas}=1", WAIT)
        assert stage.images() == [("web-0", "app:1"), ("web-1", "app:2")]
        said = stage.server.kubectl("rollout", "status", "statefulset/web", WAIT)
        assert "rollout status is only available for RollingUpdate strategy type" in said

    def test_a_partition(self, stage: Stage) -> None:
        strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
        stage.apply(workload("StatefulSet", replicas=2, serviceName="web", updateStrategy=strategy))
        stage.settle("statefulset")
        stage.image("statefulset", "app:2")
        assert "partitioned roll out complete" in stage.kubectl("rollout", "status", "statefulset/web", WAIT)
        assert stage.images() == [("web-0", "app:1"), ("web-1", "app:2")]


class TestDaemonSet:
    def test_a_rollout_and_an_undo(self, stage: Stage) -> None:
        stage.apply(workload("DaemonSet"))
        stage.settle("daemonset")
        nodes = len(stage.all("nodes"))
        assert stage.status("daemonset") == {
            "observedGeneration": 1,
            "desiredNumberScheduled": nodes,
            "currentNumberScheduled": nodes,
            "updatedNumberScheduled": nodes,
            "numberReady": nodes,
            "numberAvailable": nodes,
            "numberMisscheduled": 0,
            "conditions": {},
        }
        stage.image("daemonset", "app:2")
        stage.settle("daemonset")
        assert {image for _, image in stage.images()} == {"app:2"}
        stage.kubectl("rollout", "undo", "daemonset/web")
        stage.settle("daemonset")
        assert {image for _, image in stage.images()} == {"app:1"}
        assert stage.revisions() == [(2, "app:2"), (3, "app:1")]

    def test_on_delete(self, stage: Stage) -> None:
        stage.apply(workload("DaemonSet", updateStrategy={"type": "OnDelete"}))
        nodes = len(stage.all("nodes"))
        stage.kubectl("wait", "daemonset/web", f"--for=jsonpath={{.status.numberReady}}={nodes}", WAIT)
        stage.image("daemonset", "app:2")
        stage.kubectl("wait", "daemonset/web", "--for=jsonpath={.status.observedGeneration}=2", WAIT)
        assert {image for _, image in stage.images()} == {"app:1"}
        (pod, *_) = stage.pods()
        stage.kubectl("delete", "pod", pod["metadata"]["name"], WAIT)
        stage.kubectl("wait", "daemonset/web", "--for=jsonpath={.status.updatedNumberScheduled}=1", WAIT)
        assert "app:2" in {image for _, image in stage.images()}


class TestJobs:
    def test_a_job_runs_to_its_end(self, stage: Stage) -> None:
        pods = template("app:1", restartPolicy="Never")
        spec = {"template": pods, "completions": 2, "parallelism": 2}
        stage.apply({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "web"}, "spec": spec})
        stage.kubectl("wait", "job/web", "--for=condition=Complete", WAIT)
        status = stage.status("job")
        assert status["succeeded"] == 2
        assert "active" not in status
        assert status["conditions"]["Complete"][0] == "True"
        for pod in stage.pods():
            assert pod["metadata"]["labels"]["job-name"] == "web"
            assert pod["status"]["phase"] == "Succeeded"

    def test_one_that_is_suspended_waits(self, stage: Stage) -> None:
        pods = template("app:1", restartPolicy="Never")
        spec = {"template": pods, "suspend": True}
        stage.apply({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "web"}, "spec": spec})
        stage.kubectl("wait", "job/web", "--for=condition=Suspended", WAIT)
        assert stage.pods() == []
        stage.kubectl("patch", "job/web", "--patch", '{"spec": {"suspend": false}}')
        stage.kubectl("wait", "job/web", "--for=condition=Complete", WAIT)
        assert stage.status("job")["conditions"]["Suspended"] == ("False", "JobResumed")

    def test_one_made_of_a_cron_job(self, stage: Stage) -> None:
        pods = template("app:1", restartPolicy="Never")
        spec = {"schedule": "0 0 1 1 *", "suspend": True, "jobTemplate": {"spec": {"template": pods}}}
        stage.apply({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "web"}, "spec": spec})
        stage.kubectl("create", "job", "manual", "--from=cronjob/web")
        stage.kubectl("wait", "job/manual", "--for=condition=Complete", WAIT)
        (owner,) = stage.get("job", "manual")["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"]) == ("CronJob", "web")
