"""What a workload's status says of its rollout, kind by kind."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from reroll.pipeline.live import Live, decode_live
from reroll.pipeline.progress import progress
from reroll.pipeline.result import Outcome, Result, State


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


LATE = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
ON_DELETE = {"updateStrategy": {"type": "OnDelete"}}
REVISIONS = {"currentRevision": "a", "updateRevision": "b"}


@pytest.mark.parametrize(
    ("kind", "spec", "status", "state", "words"),
    [
        ("Deployment", {}, {"observedGeneration": 1}, "going", "its controller has not seen the change yet"),
        ("Deployment", {}, counts(1), "going", "1 of 3 pods is new"),
        ("Deployment", {}, counts(3, 5), "going", "2 old pods are still there"),
        ("Deployment", {}, counts(3, 4), "going", "1 old pod is still there"),
        ("Deployment", {}, counts(3, 3, 2), "going", "all pods are new, 2 of 3 pods available"),
        ("Deployment", {}, counts(3), "done", "all 3 pods new and available"),
        ("Deployment", {"replicas": 0}, {}, "done", "it has no pods"),
        (
            "Deployment",
            {"progressDeadlineSeconds": 60},
            {**counts(1, 4, 3), "conditions": [LATE]},
            "failed",
            "made no progress within its deadline of 60 s: 3 of 3 pods are available",
        ),
        ("StatefulSet", {}, {**counts(1), **REVISIONS}, "going", "1 of 3 pods is new"),
        ("StatefulSet", {}, {**counts(3, 3, 2), **REVISIONS}, "going", "2 of 3 pods are ready"),
        ("StatefulSet", {}, {**counts(3), **REVISIONS}, "going", "the new revision is not current yet"),
        ("StatefulSet", {}, counts(3), "done", "all 3 pods new and ready"),
        ("StatefulSet", ON_DELETE, counts(0), "done", "its pods change when they are deleted (OnDelete)"),
        (
            "StatefulSet",
            {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}},
            {**counts(1), **REVISIONS},
            "done",
            "1 pod new and ready (partition 2)",
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
        ("Rollout", {}, {"phase": "Paused", "message": "a step"}, "going", "it is paused: a step"),
        ("Rollout", {}, {"phase": "Healthy", **counts(3)}, "done", "all 3 pods available"),
    ],
)
def test_what_a_status_says(
    kind: str, spec: dict[str, Any], status: dict[str, Any], state: str, words: str
) -> None:
    found = progress(live(spec, **status), kind)
    assert (found.state, found.words) == (state, words)
    assert found.new <= found.wanted


def outcomes(*states: State) -> Result:
    return Result(tuple(Outcome("Deployment", "shop", state, state, "") for state in states))


@pytest.mark.parametrize(
    ("states", "code", "with_exit_code"),
    [
        ((), 0, 4),
        (("skipped",), 0, 4),
        (("done", "skipped"), 0, 0),
        (("planned",), 0, 0),
        (("done", "refused"), 1, 1),
        (("timed out", "not started"), 3, 3),
        (("failed", "timed out"), 1, 1),
        (("not started",), 1, 1),
    ],
)
def test_exit_codes(states: tuple[State, ...], code: int, with_exit_code: int) -> None:
    assert outcomes(*states).code(exit_code=False) == code
    assert outcomes(*states).code(exit_code=True) == with_exit_code
