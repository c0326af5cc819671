"""By which means each kind of workload is rolled, and which are left alone."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from reroll.core.decide import decide
from reroll.core.decision import Decision, How, Kind, Situation
from reroll.core.digests import config_map_digests
from reroll.core.kinds import (
    CRON_JOB,
    DAEMON_SET,
    DEPLOYMENT,
    DEPLOYMENT_CONFIG,
    JOB,
    ROLLOUT,
    STATEFUL_SET,
    WorkloadKind,
)
from reroll.core.observe import ObjectMeta, OtherObject, workload_object, workload_record
from reroll.core.policy import Policy
from reroll.core.records import (
    ConfigId,
    ConfigRecord,
    Consumed,
    Reference,
    WorkloadId,
    WorkloadRecord,
)

CLONE_SET = WorkloadKind("CloneSet", "apps.kruise.io", "v1alpha1", "clonesets", optional=True, custom=True)
APP = ConfigId("configmap", "shop", "app")
FOLLOW = Policy(configmaps=True)


def content(value: str) -> ConfigRecord:
    keys, digests = config_map_digests({"level": value}, None)
    return ConfigRecord(keys, digests, stamp=100.0, arrived=100.0, version=10)


def a_stale(kind: WorkloadKind, policy: Policy = FOLLOW, **fields: Any) -> Decision:
    """What is done about a workload of this kind whose config has changed, and settled."""
    reference = Reference("configmap", "app", "env", "container main: env LEVEL", ("level",))
    consumed = (Consumed(APP, ("level",), (reference,)),)
    record = WorkloadRecord(
        id=WorkloadId(kind.id, "shop", "web"),
        uid="u",
        resource_version="1",
        generation=1,
        annotations={},
        template_annotations={},
        references=(reference,),
        template_hash="t",
        mark=None,
        applied=None,
    )
    situation = Situation(record, policy, consumed, {APP: content("info")}, "k", now=1000.0, kind=kind)
    adopted = decide(situation).applied
    assert adopted is not None
    record = replace(record, **{"applied": adopted, **fields})
    return decide(replace(situation, workload=record, states={APP: content("debug")}))


@pytest.mark.parametrize(
    ("kind", "policy", "how"),
    [
        (DEPLOYMENT, FOLLOW, How.TEMPLATE),
        (STATEFUL_SET, FOLLOW, How.TEMPLATE),
        (DAEMON_SET, FOLLOW, How.TEMPLATE),
        (CRON_JOB, FOLLOW, How.TEMPLATE),
        (CRON_JOB, replace(FOLLOW, instantiate=True), How.INSTANTIATE),
        (CRON_JOB, replace(FOLLOW, mode="restart"), How.TEMPLATE),
        (JOB, FOLLOW, How.AGAIN),
        (JOB, replace(FOLLOW, mode="restart"), How.AGAIN),
        (ROLLOUT, FOLLOW, How.TEMPLATE),
        (ROLLOUT, replace(FOLLOW, mode="restart"), How.RESTART_AT),
        (DEPLOYMENT_CONFIG, FOLLOW, How.TEMPLATE),
        (CLONE_SET, FOLLOW, How.TEMPLATE),
        (CLONE_SET, replace(FOLLOW, mode="restart"), How.EVICT),
        (DEPLOYMENT, replace(FOLLOW, mode="restart"), How.EVICT),
        (STATEFUL_SET, replace(FOLLOW, mode="restart"), How.EVICT),
        (DAEMON_SET, replace(FOLLOW, mode="restart"), How.EVICT),
    ],
)
def test_the_means(kind: WorkloadKind, policy: Policy, how: How) -> None:
    decision = a_stale(kind, policy)
    assert (decision.kind, decision.how) == (Kind.ROLL, how)
    # A mark is there exactly where a pod template gets it.
    assert (decision.mark is not None) is (how in (How.TEMPLATE, How.AGAIN))


def test_a_cron_job_that_is_suspended_starts_nothing_and_is_up_to_date_afterwards() -> None:
    decision = a_stale(CRON_JOB, replace(FOLLOW, instantiate=True), suspended=True)
    assert decision.kind is Kind.RECORD
    assert "suspended" in decision.reason
    assert a_stale(CRON_JOB, suspended=True).how is How.TEMPLATE


class TestJobs:
    def test_a_finished_one_is_left_alone_unless_it_is_asked_for(self) -> None:
        decision = a_stale(JOB, finished=True)
        assert decision.kind is Kind.SKIP
        assert "finished" in decision.reason
        assert a_stale(JOB, replace(FOLLOW, finished_jobs=True), finished=True).how is How.AGAIN

    def test_one_that_belongs_to_another_object_is_left_alone(self) -> None:
        for policy in (FOLLOW, replace(FOLLOW, finished_jobs=True)):
            assert a_stale(JOB, policy, owned=True).kind is Kind.SKIP

    def test_one_that_stands_in_for_another_is_left_alone(self) -> None:
        annotations = {"reroll.dev/auto": "true", "reroll.dev/stands-in-for": "web example.com/keep"}
        record = record_of(JOB, {"template": {}}, annotations=annotations)
        assert record.stands_in_for == "web"
        decision = a_stale(JOB, replace(FOLLOW, finished_jobs=True), stands_in_for="web")
        assert decision.kind is Kind.SKIP

    def test_that_others_belong_to_somebody_is_no_matter(self) -> None:
        assert a_stale(DEPLOYMENT, owned=True, finished=True).kind is Kind.ROLL

    @pytest.mark.parametrize(
        ("conditions", "finished"),
        [
            ([], False),
            ([{"type": "Complete", "status": "True"}], True),
            ([{"type": "Failed", "status": "True"}], True),
            ([{"type": "Complete", "status": "False"}], False),
            ([{"type": "FailureTarget", "status": "True"}], False),
            ([{"type": "SuccessCriteriaMet", "status": "True"}], False),
            ([{"type": "Suspended", "status": "True"}], False),
        ],
    )
    def test_when_it_is_finished(self, conditions: list[dict[str, str]], finished: bool) -> None:
        assert record_of(JOB, {"template": {}}, {"conditions": conditions}).finished is finished

    def test_its_uid_is_no_part_of_its_template(self) -> None:
        def labelled(uid: str, **more: str) -> str:
            labels = {
                "controller-uid": uid,
                "batch.kubernetes.io/controller-uid": uid,
                "job-name": "web",
                "batch.kubernetes.io/job-name": "web",
                **more,
            }
            return record_of(JOB, {"template": {"metadata": {"labels": labels}, "spec": {}}}).template_hash

        assert labelled("1") == labelled("2") == record_of(JOB, {"template": {"spec": {}}}).template_hash
        assert labelled("1", app="web") == labelled("2", app="web") != labelled("1")

    def test_one_that_is_suspended_has_no_pods(self) -> None:
        assert record_of(JOB, {"template": {}, "suspend": True}).replicas == 0
        assert record_of(JOB, {"template": {}, "suspend": False}).replicas is None
        assert record_of(CRON_JOB, {"suspend": True}).replicas is None


def record_of(
    kind: WorkloadKind, spec: Any, status: Any = None, annotations: dict[str, str] | None = None
) -> WorkloadRecord:
    """What is kept of an object of this kind."""
    meta = ObjectMeta(
        name="web", namespace="shop", uid="u", resource_version="5", generation=1, annotations=annotations
    )
    raw = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in spec.items()}
    obj = OtherObject(meta, raw, msgspec.Raw(msgspec.json.encode(status or {})))
    return workload_record(
        workload_object(kind, obj), kind.id, None, relevant=lambda annotations: {}, arrived=1.0
    )


class TestRolloutsWithTheTemplateOfAnother:
    LENT = WorkloadId("Deployment", "shop", "template")

    def test_it_is_restarted_in_either_mode(self) -> None:
        for policy in (FOLLOW, replace(FOLLOW, mode="restart")):
            assert a_stale(ROLLOUT, policy, template_of=self.LENT).how is How.RESTART_AT

    def test_while_the_other_is_not_known_nothing_is_concluded(self) -> None:
        decision = a_stale(ROLLOUT, template_of=self.LENT, template_hash="")
        assert decision.kind is Kind.SKIP
        assert "deployment/shop/template" in decision.reason

    def test_whose_template_it_is(self) -> None:
        ref = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "template"}
        assert record_of(ROLLOUT, {"workloadRef": ref}).template_of == self.LENT
        assert record_of(ROLLOUT, {"template": {}}).template_of is None
        # A field of that name means nothing in any other kind.
        assert record_of(CLONE_SET, {"workloadRef": ref}).template_of is None


def test_without_replicas_no_means_are_needed() -> None:
    for kind in (ROLLOUT, DEPLOYMENT_CONFIG, CLONE_SET):
        assert a_stale(kind, replicas=0).kind is Kind.RECORD


def test_a_pause_stops_a_rollout_and_no_eviction() -> None:
    assert "paused" in " ".join(a_stale(DEPLOYMENT, paused=True).notes)
    assert "paused" not in " ".join(a_stale(DEPLOYMENT, replace(FOLLOW, mode="restart"), paused=True).notes)


def test_what_is_recorded_is_the_same_by_all_means() -> None:
    first = a_stale(DEPLOYMENT).applied
    assert first is not None
    for kind in (DEPLOYMENT, CRON_JOB, JOB, ROLLOUT, CLONE_SET):
        for mode in ("rollout", "restart"):
            assert a_stale(kind, replace(FOLLOW, mode=mode)).applied == first
