"""The admission policy of docs/how-it-decides.md keeps reroll's mark from an operator, on the real API server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
import yaml

from reroll.core.applied import CONFIG
from tests.conftest import Kubectl

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-it-decides.md"
OPERATOR = "system:serviceaccount:shop:shop-operator"
WITHIN = 30.0
"""Seconds until a policy is in force."""

Json = dict[str, Any]


def deployment(image: str, mark: str | None = None) -> Json:
    metadata: Json = {"labels": {"app": "web"}}
    if mark is not None:
        metadata["annotations"] = {CONFIG: mark}
    template = {"metadata": metadata, "spec": {"containers": [{"name": "main", "image": image}]}}
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}


@pytest.fixture
def policy(kubectl: Kubectl) -> Iterator[str]:
    """The policy, for the lifetime of the test."""
    if int(json.loads(kubectl("get", "--raw", "/version"))["minor"].rstrip("+")) < 36:
        pytest.skip("admission policies that mutate are v1 since Kubernetes 1.36")
    block = next(block for block in PAGE.read_text().split("```yaml\n") if "MutatingAdmissionPolicy" in block)
    text = block.split("```")[0]
    assert [each["kind"] for each in yaml.safe_load_all(text)] == [
        "MutatingAdmissionPolicy",
        "MutatingAdmissionPolicyBinding",
    ]
    kubectl("apply", "--filename=-", input=text)
    yield text
    kubectl("delete", "--filename=-", input=text)


def test_the_operator_keeps_the_mark_and_others_may_remove_it(
    policy: str, kubectl: Kubectl, namespace: str
) -> None:
    assert OPERATOR in policy

    def replace(image: str, *arguments: str, mark: str | None = None) -> Json:
        obj = json.dumps(deployment(image, mark))
        answer = kubectl("replace", "-n", namespace, "--filename=-", "-o", "json", *arguments, input=obj)
        template: Json = json.loads(answer)["spec"]["template"]
        return template

    as_operator = (f"--as={OPERATOR}", "--as-group=system:masters")
    kubectl("create", "-n", namespace, "--filename=-", input=json.dumps(deployment("app:1", "0123")))
    until = monotonic() + WITHIN
    while "annotations" not in replace("app:2", *as_operator, "--dry-run=server")["metadata"]:
        assert monotonic() < until, "the policy is not in force"
        sleep(0.2)
    kept = replace("app:2", *as_operator)
    assert kept["metadata"]["annotations"] == {CONFIG: "0123"}
    assert kept["spec"]["containers"][0]["image"] == "app:2", "all else is as the operator wants it"
    assert replace("app:2", *as_operator, mark="4567")["metadata"]["annotations"] == {CONFIG: "4567"}
    assert "annotations" not in replace("app:2")["metadata"], "a person removes it"
