"""Policies that workloads share, for they say the same."""

from __future__ import annotations

import json

import msgspec
from msgspec.structs import replace

from reroll.core.observe import WorkloadObject, workload_record
from reroll.core.policy import PolicyDefaults
from reroll.core.records import WorkloadId, WorkloadRecord
from reroll.dialects import ALL, Dialects


def workload(name: str, namespace: str = "shop", **annotations: str) -> WorkloadRecord:
    found = {key.replace("_", "-"): value for key, value in annotations.items()}
    metadata = {
        "name": name,
        "namespace": namespace,
        "annotations": {f"reroll.dev/{k}": v for k, v in found.items()},
    }
    obj = msgspec.json.decode(json.dumps({"metadata": metadata, "spec": {}}), type=WorkloadObject)
    return workload_record(obj, "Deployment", None, relevant=ALL.relevant, arrived=0.0)


def test_the_same_words_are_one_policy() -> None:
    defaults = PolicyDefaults()
    one = ALL.resolve_policy(workload("a", auto="true"), {}, defaults)
    two = ALL.resolve_policy(workload("b", auto="true"), {}, defaults)
    assert one is two
    assert one.configmaps


def test_whatever_bears_on_a_policy_makes_another() -> None:
    one = workload("a", auto="true", follow="configmap/other/app")
    defaults = PolicyDefaults()
    found = ALL.resolve_policy(one, {}, defaults)
    elsewhere = ALL.resolve_policy(
        workload("a", "other", auto="true", follow="configmap/other/app"), {}, defaults
    )
    assert found.problems
    assert not elsewhere.problems
    assert ALL.resolve_policy(one, {"reroll.dev/settle": "7s"}, defaults).settle == 7
    assert ALL.resolve_policy(one, {}, replace(defaults, settle=3.0)).settle == 3
    assert ALL.resolve_policy(workload("a", auto="false"), {}, defaults) != found

    of_reloader = replace(workload("a"), annotations={"reloader.stakater.com/auto": "true"})
    assert ALL.resolve_policy(of_reloader, {}, defaults).configmaps
    assert not Dialects(reloader=None).resolve_policy(of_reloader, {}, defaults).configmaps
    in_template = replace(workload("a"), template_annotations={"reloader.stakater.com/auto": "true"})
    assert ALL.resolve_policy(in_template, {}, defaults).configmaps


def test_kinds_do_not_share() -> None:
    asked = replace(workload("a"), annotations={"reroll.dev/auto": "true", "reroll.dev/mode": "restart"})
    job = replace(asked, id=WorkloadId("Job", "shop", "a"))
    assert ALL.resolve_policy(asked, {}, PolicyDefaults()) is not ALL.resolve_policy(
        job, {}, PolicyDefaults()
    )


def test_long_annotations_are_not_kept() -> None:
    long = workload("a", follow=",".join(f"configmap/app-{number}" for number in range(200)))
    one, two = (ALL.resolve_policy(long, {}, PolicyDefaults()) for _ in range(2))
    assert one == two
    assert one is not two
