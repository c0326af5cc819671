"""The example app, and the namespace that it lives in."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator

import msgspec
import pytest

from reroll.core.references import references
from reroll.core.template import PodTemplate
from reroll.demo import example
from reroll.demo.error import DemoError
from reroll.demo.steps import COUNTRIES, QUEUES
from reroll.kube.client import Client
from reroll.kube.config import load_config
from tests.conftest import Cluster, Kubectl


def workloads() -> dict[str, PodTemplate]:
    return {
        each["metadata"]["name"]: msgspec.convert(each["spec"]["template"], PodTemplate)
        for each in example.manifests()
        if "template" in each.get("spec", {})
    }


def test_three_deployments_and_a_stateful_set() -> None:
    objects = example.manifests()
    kinds = [each["kind"] for each in objects if "template" in each.get("spec", {})]
    assert sorted(kinds) == ["Deployment", "Deployment", "Deployment", "StatefulSet"]
    first_workload = next(i for i, each in enumerate(objects) if "template" in each.get("spec", {}))
    assert all("template" in each["spec"] for each in objects[first_workload:]), "configuration goes first"


def test_every_means_of_consuming_occurs() -> None:
    found = {
        (ref.kind, "subPath" if ref.sub_path else ref.means)
        for template in workloads().values()
        for ref in references(template)
    }
    assert {means for _, means in found} == {"env", "envFrom", "volume", "subPath", "projected"}
    assert {kind for kind, _ in found} == {"configmap", "secret"}


def test_what_the_steps_change_is_there_and_consumed_as_they_say() -> None:
    names = {(each["kind"], each["metadata"]["name"]) for each in example.manifests()}
    consumed = {name: {(r.kind, r.name) for r in references(t)} for name, t in workloads().items()}
    fifteen = {("configmap", f"rules-{country}") for country in COUNTRIES}
    fifteen |= {("secret", f"queue-{queue}") for queue in QUEUES}
    assert consumed["worker"] == fifteen
    assert len(fifteen) == 15
    assert {(name, ("secret", "db") in refs) for name, refs in consumed.items()} == {
        ("api", True),
        ("cache", True),
        ("web", False),
        ("worker", False),
    }
    kinds = {"configmap": "ConfigMap", "secret": "Secret"}
    assert {(kinds[kind], name) for refs in consumed.values() for kind, name in refs} <= names
    (level,) = [ref for ref in references(workloads()["web"]) if ref.name == "web"]
    assert level.keys == ("LOG_LEVEL",)


@pytest.fixture
async def client(cluster: Cluster) -> AsyncIterator[Client]:
    async with Client(load_config(kubeconfig=str(cluster.kubeconfig))) as client:
        yield client


async def test_a_namespace_of_somebody_else_is_not_touched(
    client: Client, kubectl: Kubectl, namespace: str
) -> None:
    before = json.loads(kubectl("get", "namespace", namespace, "-o", "json"))
    with pytest.raises(DemoError, match="it is not the demo's") as raised:
        await example.claim_namespace(client, namespace)
    assert raised.value.code == 2
    await example.remove_namespace(client, namespace, wait=True)
    after = json.loads(kubectl("get", "namespace", namespace, "-o", "json"))
    assert after["metadata"] == before["metadata"]


async def test_what_an_earlier_demo_left_is_removed(client: Client, kubectl: Kubectl) -> None:
    name = f"demo-{uuid.uuid4().hex[:8]}"
    assert await example.claim_namespace(client, name) is False
    first = json.loads(kubectl("get", "namespace", name, "-o", "json"))
    assert await example.claim_namespace(client, name) is True
    second = json.loads(kubectl("get", "namespace", name, "-o", "json"))
    assert first["metadata"]["uid"] != second["metadata"]["uid"]
    await example.remove_namespace(client, name, wait=True)
    assert kubectl("get", "namespace", name, "--ignore-not-found") == ""


async def test_the_app_is_taken_under_the_strictest_pod_security(client: Client, kubectl: Kubectl) -> None:
    name = f"demo-{uuid.uuid4().hex[:8]}"
    await example.claim_namespace(client, name)
    kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    assert await example.apply(client, client, name) == len(example.manifests())
    for workload in ("deployment/web", "deployment/api", "deployment/worker", "statefulset/cache"):
        kubectl("rollout", "status", workload, "-n", name, "--timeout=60s")
    await example.remove_namespace(client, name, wait=False)
