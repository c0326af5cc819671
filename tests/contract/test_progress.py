"""How far a rollout is, by `core.progress`, where it stands still: on the sandbox and on the real control plane alike.

What the rules read of a status has to be in both, with the same meaning: the demo, simulate's plays and many tests
follow rollouts on the sandbox.
"""

from __future__ import annotations

import json
from time import monotonic, sleep

import pytest

from reroll.core.kinds import DAEMON_SET, DEPLOYMENT, STATEFUL_SET, WorkloadKind
from reroll.core.observe import decode_object, status_of
from reroll.core.progress import Progress, Verdict, progress
from tests.contract.servers import Server
from tests.contract.test_rollouts import WAIT, Stage, workload

WITHIN = 40.0
PARTITION = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}


@pytest.fixture
def stage(server: Server) -> Stage:
    """One of the two."""
    return Stage(server)


def look(stage: Stage, kind: WorkloadKind) -> Progress:
    obj = decode_object(kind, json.dumps(stage.get(kind.kind.lower())).encode())
    status = status_of(obj, kind.id)
    assert status is not None
    return progress(status, kind.id)


def until(stage: Stage, kind: WorkloadKind, verdict: Verdict, words: str) -> Progress:
    """Look until it stands so."""
    end = monotonic() + WITHIN
    while True:
        found = look(stage, kind)
        if (found.verdict, found.words) == (verdict, words):
            return found
        assert monotonic() < end, f"it stays at {found}"
        sleep(0.1)


def test_a_deployment_that_is_stuck_and_put_back(stage: Stage) -> None:
    stage.apply(workload("Deployment", replicas=4))
    assert until(stage, DEPLOYMENT, "done", "all 4 pods new and available").complete
    spec = {"spec": {"template": {"spec": {"nodeSelector": {"nowhere": "true"}}}}}
    stage.kubectl("patch", "deployment/web", "--patch", json.dumps(spec))
    stuck = until(stage, DEPLOYMENT, "going", "2 of 4 pods are new")
    assert (stuck.new, stuck.wanted, stuck.complete) == (2, 4, False)
    stage.kubectl("rollout", "undo", "deployment/web")
    assert until(stage, DEPLOYMENT, "done", "all 4 pods new and available").complete


def test_a_deployment_that_is_paused_and_scaled_to_nothing(stage: Stage) -> None:
    stage.apply(workload("Deployment", replicas=2))
    until(stage, DEPLOYMENT, "done", "all 2 pods new and available")
    stage.kubectl("rollout", "pause", "deployment/web")
    assert until(stage, DEPLOYMENT, "done", "all 2 pods new and available").complete
    stage.image("deployment", "app:2")
    assert not until(stage, DEPLOYMENT, "blocked", "it is paused: 0 of 2 pods are new").complete
    stage.kubectl("scale", "deployment/web", "--replicas=0")
    assert until(stage, DEPLOYMENT, "blocked", "it has no replicas").complete


def test_a_deployment_that_makes_no_progress(stage: Stage) -> None:
    stage.apply(workload("Deployment", replicas=2, progressDeadlineSeconds=2))
    until(stage, DEPLOYMENT, "done", "all 2 pods new and available")
    spec = {"spec": {"template": {"spec": {"nodeSelector": {"nowhere": "true"}}}}}
    stage.kubectl("patch", "deployment/web", "--patch", json.dumps(spec))
    words = "it made no progress within its deadline of 2 s: 2 of 2 pods are available"
    failed = until(stage, DEPLOYMENT, "failed", words)
    assert not failed.complete
    assert failed.judged, "the condition has its time"


@pytest.mark.parametrize(
    ("strategy", "words"),
    [
        ({"type": "OnDelete"}, "its update strategy is OnDelete: 0 of 2 pods are new"),
        (PARTITION, "its partition 1 keeps 1 pod of the older revision"),
    ],
    ids=["OnDelete", "partition"],
)
def test_a_stateful_set_that_is_held_back_and_put_back(
    stage: Stage, strategy: dict[str, object], words: str
) -> None:
    stage.apply(workload("StatefulSet", replicas=2, serviceName="web", updateStrategy=strategy))
    until(stage, STATEFUL_SET, "done", "all 2 pods new and available")
    stage.image("statefulset", "app:2")
    assert not until(stage, STATEFUL_SET, "blocked", words).complete
    stage.image("statefulset", "app:1")
    assert until(stage, STATEFUL_SET, "done", "all 2 pods new and available").complete


def test_a_daemon_set_that_is_held_back(stage: Stage) -> None:
    stage.apply(workload("DaemonSet", updateStrategy={"type": "OnDelete"}))
    nodes = len(stage.all("nodes"))
    pods = f"{nodes} pod{'' if nodes == 1 else 's'}"
    until(stage, DAEMON_SET, "done", f"all {pods} new and available")
    stage.image("daemonset", "app:2")
    held = until(
        stage,
        DAEMON_SET,
        "blocked",
        f"its update strategy is OnDelete: 0 of {pods} {'is' if nodes == 1 else 'are'} new",
    )
    assert not held.complete
    for pod in stage.pods():
        stage.kubectl("delete", "pod", pod["metadata"]["name"], WAIT)
    assert until(stage, DAEMON_SET, "done", f"all {pods} new and available").complete
