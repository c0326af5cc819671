"""R003: pod templates that the API server would refuse."""

from __future__ import annotations

from typing import Any

import pytest

from tests.insight.lint.stage import deployment, env, findings, rules


@pytest.mark.parametrize(
    ("container", "where", "message"),
    [
        (
            {"envFrom": {"configMapRef": {"name": "app"}}},
            "spec.template.spec.containers[0].envFrom",
            "its pod template has a mapping where a list belongs",
        ),
        (
            {"env": [{"name": "A"}, {"name": 5}]},
            "spec.template.spec.containers[0].env[1].name",
            "its pod template has a number where a text belongs",
        ),
        (
            env("app", optional="true"),
            "spec.template.spec.containers[0].env[0].valueFrom.configMapKeyRef.optional",
            "its pod template has a text where true or false belongs",
        ),
        (
            {"volumeMounts": [None]},
            "spec.template.spec.containers[0].volumeMounts",
            "its pod template has nothing where a mapping belongs",
        ),
    ],
)
def test_the_place_is_named(container: dict[str, Any], where: str, message: str) -> None:
    [found] = [one for one in findings(deployment(container=container)) if one.rule == "R003"]
    assert found.path == where
    assert found.message.startswith(message)
    assert found.line > 1


def test_the_others_are_checked_all_the_same() -> None:
    broken = deployment("broken", spec={"volumes": {"name": "conf"}})
    assert rules(broken, deployment(container=env("nothing")), complete=True) == ["R003", "R101"]


@pytest.mark.parametrize(
    "spec",
    [
        {"imagePullSecrets": [None, {"name": "registry"}]},
        {"volumes": [{"name": "v", "projected": {"sources": [None, {"configMap": {"name": "app"}}]}}]},
    ],
)
def test_what_the_server_takes_for_an_empty_entry_is_no_mistake(spec: dict[str, Any]) -> None:
    """Seen on a server of 1.34: these two lists alone may hold a null."""
    assert "R003" not in rules(deployment(spec=spec))


@pytest.mark.parametrize(
    "patch",
    [
        {"replicas": 3},
        {"template": {"spec": {"containers": [{"name": "main", "$patch": "delete"}]}}},
        {"template": {"metadata": {"annotations": {"a": "b"}}}},
        {"template": {"spec": None}},
        {"template": {"spec": {"containers": None}}},
    ],
)
def test_a_patch_of_a_workload_is_no_mistake(patch: dict[str, Any]) -> None:
    assert rules({**deployment(), "spec": patch}) == []
