"""Whose a pod is, and how a selector is written."""

from __future__ import annotations

import json
from typing import Any

import pytest

from reroll.kube.pods import Controller, decode_pod, selector_of


def a_pod(*owners: dict[str, Any], **meta: Any) -> Any:
    return decode_pod(json.dumps({"metadata": {"name": "p", "ownerReferences": owners, **meta}}).encode())


def by(version: str, kind: str, name: str, *, controller: bool | None = True) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "name": name, "uid": "u", "controller": controller}


class TestTheWorkloadOfAPod:
    @pytest.mark.parametrize(
        ("label", "group", "kind"),
        [
            ("pod-template-hash", "apps", "Deployment"),
            ("rollouts-pod-template-hash", "argoproj.io", "Rollout"),
        ],
    )
    def test_stands_above_its_replica_set(self, label: str, group: str, kind: str) -> None:
        pod = a_pod(by("apps/v1", "ReplicaSet", "web-abc"), labels={label: "abc"})
        assert pod.metadata.workload == Controller(group, kind, "web")
        assert pod.metadata.revision == "web-abc"

    def test_is_the_replica_set_where_its_name_has_no_hash(self) -> None:
        for labels in ({}, {"pod-template-hash": "abd"}):
            pod = a_pod(by("apps/v1", "ReplicaSet", "web-abc"), labels=labels)
            assert pod.metadata.workload == Controller("apps", "ReplicaSet", "web-abc")
            assert pod.metadata.revision == ""

    def test_is_a_deployment_config_by_annotation(self) -> None:
        owner = by("v1", "ReplicationController", "web-3")
        named = {"openshift.io/deployment-config.name": "web"}
        assert a_pod(owner, annotations=named).metadata.workload == Controller(
            "apps.openshift.io", "DeploymentConfig", "web"
        )
        assert a_pod(owner).metadata.workload == Controller("", "ReplicationController", "web-3")

    def test_is_its_controller_else(self) -> None:
        pod = a_pod(by("apps/v1", "StatefulSet", "db"), labels={"controller-revision-hash": "db-1"})
        assert pod.metadata.workload == Controller("apps", "StatefulSet", "db")
        assert pod.metadata.revision == "db-1"

    def test_is_none_where_nothing_controls_it(self) -> None:
        for controller in (False, None):
            assert a_pod(by("v1", "Node", "n", controller=controller)).metadata.workload is None
        assert a_pod().metadata.workload is None
        assert a_pod().metadata.revision == ""


@pytest.mark.parametrize(
    ("selector", "text"),
    [
        (None, ""),
        ({}, ""),
        ({"matchLabels": {"b": "2", "a": "1"}}, "a=1,b=2"),
        ({"app": "web"}, "app=web"),
        (
            {
                "matchLabels": {"a": "1"},
                "matchExpressions": [
                    {"key": "t", "operator": "In", "values": ["x", "y"]},
                    {"key": "u", "operator": "NotIn", "values": ["z"]},
                    {"key": "v", "operator": "Exists"},
                    {"key": "w", "operator": "DoesNotExist"},
                ],
            },
            "a=1,t in (x,y),u notin (z),v,!w",
        ),
    ],
)
def test_a_selector_as_the_api_takes_it(selector: object, text: str) -> None:
    assert selector_of(json.dumps(selector).encode()) == text
