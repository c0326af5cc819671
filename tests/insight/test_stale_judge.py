"""Which containers run with older content: their starts against the times of keys, pods as a server has them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from reroll.core.observe import epoch
from reroll.core.records import ConfigId
from reroll.insight.stale.judge import judge
from reroll.insight.stale.pods import Pods
from reroll.insight.stale.report import Certainty, WorkloadAudit, time_text
from reroll.insight.stale.times import ConfigTimes, Written

NINE, TEN, ELEVEN = (epoch(f"2026-11-23T{hour:02d}:00:00Z") for hour in (9, 10, 11))
APP = ConfigId("configmap", "shop", "app")

ENV = {"env": [{"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "app", "key": "level"}}}]}
FROM = {"envFrom": [{"configMapRef": {"name": "app"}}]}
FILES = {"volumeMounts": [{"name": "conf", "mountPath": "/etc/app"}]}
SUB_PATH = {"volumeMounts": [{"name": "conf", "mountPath": "/etc/level", "subPath": "level"}]}


def at(seconds: float) -> str:
    return time_text(seconds)


def pod(
    reads: dict[str, Any],
    *,
    name: str = "web-1",
    started: float = TEN,
    state: str = "running",
    phase: str = "Running",
    init: dict[str, Any] | None = None,
    owner: tuple[str, str] = ("ReplicaSet", "web-5c9"),
    labels: dict[str, str] | None = None,
    deleted: bool = False,
) -> dict[str, Any]:
    """A pod of the Deployment web, whose container `main` reads something."""
    status: dict[str, Any] = {
        "phase": phase,
        "containerStatuses": [{"name": "main", "state": {state: {"startedAt": at(started)}}}],
    }
    spec: dict[str, Any] = {
        "containers": [{"name": "main", **reads}],
        "volumes": [{"name": "conf", "configMap": {"name": "app"}}],
    }
    if init is not None:
        spec["initContainers"] = [{"name": "first", **init}]
        status["initContainerStatuses"] = [
            {"name": "first", "state": {"terminated": {"startedAt": at(TEN), "reason": "Completed"}}}
        ]
    kind, owner_name = owner
    meta: dict[str, Any] = {
        "name": name,
        "namespace": "shop",
        "creationTimestamp": at(NINE),
        "labels": {"pod-template-hash": "5c9"} if labels is None else labels,
        "ownerReferences": [{"kind": kind, "name": owner_name, "controller": True}] if kind else [],
    }
    if deleted:
        meta["deletionTimestamp"] = at(ELEVEN)
    return {"metadata": meta, "spec": spec, "status": status}


def told(
    *pods: dict[str, Any],
    times: dict[ConfigId, ConfigTimes] | None = None,
    at_least: Certainty = "possible",
) -> tuple[WorkloadAudit, ...]:
    taken = Pods()
    for each in pods:
        taken.take(msgspec.Raw(msgspec.json.encode(each)))
    return judge(taken.pods, {APP: written(ELEVEN)} if times is None else times, at_least=at_least)


def written(time: float, keys: str = "level", *, more: bool = False, created: float = 1.0) -> ConfigTimes:
    return ConfigTimes(created, (Written(time, frozenset(keys.split()), more),))


@pytest.mark.parametrize(
    ("reads", "certainty", "sees"),
    [
        (ENV, "certain", "never"),
        (FROM, "certain", "never"),
        (SUB_PATH, "certain", "never"),
        (FILES, "possible", "later"),
    ],
)
def test_what_changed_after_the_start(reads: dict[str, Any], certainty: str, sees: str) -> None:
    (found,) = told(pod(reads))
    assert (found.kind, found.name, found.pods, found.stale_pods) == ("Deployment", "web", 1, 1)
    (each,) = found.findings
    assert (each.certainty, each.sees, each.config, each.keys) == (
        certainty,
        sees,
        "configmap/app",
        ("level",),
    )
    assert found.since == each.changed == at(ELEVEN)
    assert each.started == at(TEN)
    assert each.pods == ("web-1",)


@pytest.mark.parametrize("change", [NINE, TEN])
def test_what_changed_before_the_start_or_in_its_second(change: float) -> None:
    (found,) = told(pod(ENV), times={APP: written(change)})
    assert (found.findings, found.certainty, found.since, found.stale_pods) == ((), None, None, 0)


def test_a_container_that_was_started_again_has_read_the_change() -> None:
    """Its pod is older than the change, its variables are not."""
    (found,) = told(pod(ENV, started=ELEVEN))
    assert not found.findings


@pytest.mark.parametrize("state", ["waiting", "terminated"])
def test_a_container_that_does_not_run_will_read_it(state: str) -> None:
    (found,) = told(pod(ENV, state=state))
    assert not found.findings


def test_an_init_container_has_run_to_its_end_and_runs_in_a_new_pod_only() -> None:
    (found,) = told(pod({}, init=FILES))
    assert [(each.where, each.certainty) for each in found.findings] == [
        ("init container first: volume conf at /etc/app", "certain")
    ]


@pytest.mark.parametrize("phase", ["Pending", "Succeeded", "Failed"])
def test_only_pods_that_run_are_looked_at(phase: str) -> None:
    assert told(pod(ENV, phase=phase)) == ()
    assert told(pod(ENV, deleted=True)) == ()
    assert told(pod({})) == (), "it reads nothing"


def test_a_time_that_may_be_of_something_beside_it_is_likely() -> None:
    for times in (written(ELEVEN, "level other"), written(ELEVEN, more=True)):
        (found,) = told(pod(ENV), times={APP: times})
        assert [(each.certainty, each.bound) for each in found.findings] == [("likely", True)]
        assert "or only" in found.findings[0].how_sure
        assert told(pod(ENV), times={APP: times}, at_least="certain")[0].findings == ()
        assert told(pod(ENV), times={APP: times}, at_least="likely")[0].findings == found.findings
    (found,) = told(pod(FROM), times={APP: written(ELEVEN, "level other")})
    assert found.certainty == "certain", "it reads both"


def test_an_object_made_after_the_start_may_have_been_there_before() -> None:
    (found,) = told(pod(ENV), times={APP: written(ELEVEN, created=ELEVEN)})
    assert [(each.certainty, each.created_later) for each in found.findings] == [("likely", True)]
    assert "made again" in found.findings[0].how_sure


def test_a_key_that_it_does_not_read_does_not_count() -> None:
    other = ConfigTimes(
        1.0, (Written(ELEVEN, frozenset({"x"}), False), Written(NINE, frozenset({"level"}), False))
    )
    assert not told(pod(ENV), times={APP: other})[0].findings
    assert [each.keys for each in told(pod(FROM), times={APP: other})[0].findings] == [("x",)]


def test_an_object_that_is_not_there_tells_nothing() -> None:
    (found,) = told(pod(ENV), times={})
    assert not found.findings


def test_the_surest_finding_speaks_for_the_workload_and_pods_are_counted_once() -> None:
    both = {"env": ENV["env"], **FILES}
    (found,) = told(
        pod(both, name="web-1", started=NINE),
        pod(both, name="web-2"),
        pod(both, name="web-3", started=ELEVEN),
    )
    assert (found.pods, found.stale_pods, found.certainty) == (3, 2, "certain")
    assert [(each.certainty, each.pods, each.started) for each in found.findings] == [
        ("certain", ("web-1", "web-2"), at(NINE)),
        ("possible", ("web-1", "web-2"), at(NINE)),
    ]


@pytest.mark.parametrize(
    ("owner", "labels", "expected"),
    [
        (("ReplicaSet", "web-5c9"), {"pod-template-hash": "5c9"}, "Deployment/web"),
        (("ReplicaSet", "web-5c9"), {"rollouts-pod-template-hash": "5c9"}, "Rollout/web"),
        (("ReplicaSet", "own"), {}, "ReplicaSet/own"),
        (("StatefulSet", "db"), {"controller-revision-hash": "db-1"}, "StatefulSet/db"),
        (("Job", "once"), {}, "Job/once"),
        (("", ""), {}, "Pod/web-1"),
    ],
)
def test_whose_pod_it_is(owner: tuple[str, str], labels: dict[str, str], expected: str) -> None:
    (found,) = told(pod(ENV, owner=owner, labels=labels))
    assert f"{found.kind}/{found.name}" == expected


def test_pods_of_one_revision_that_admission_gave_another_container() -> None:
    injected = pod({}, name="web-2")
    injected["spec"]["containers"].append({"name": "proxy", **FROM})
    injected["status"]["containerStatuses"].append(
        {"name": "proxy", "state": {"running": {"startedAt": at(TEN)}}}
    )
    (found,) = told(pod({}, name="web-1"), injected)
    assert [(each.where, each.pods) for each in found.findings] == [("container proxy: envFrom", ("web-2",))]
    assert found.pods == 1, "the other one reads nothing"


def test_what_the_two_revisions_of_a_rollout_read() -> None:
    before, after = pod(ENV, name="web-1"), pod(FILES, name="web-2")
    after["metadata"]["labels"] = {"pod-template-hash": "77f"}
    after["metadata"]["ownerReferences"][0]["name"] = "web-77f"
    (found,) = told(before, after)
    assert [each.pods for each in found.findings] == [("web-1",), ("web-2",)]


def test_workloads_are_in_order() -> None:
    pods = [pod(ENV, name=f"{name}-0", owner=("StatefulSet", name), labels={}) for name in ("b", "a", "c")]
    assert [each.name for each in told(*pods)] == ["a", "b", "c"]
