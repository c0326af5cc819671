"""Applying manifests on a real API server: what is written, who is restarted, who is left alone, what is refused."""

from __future__ import annotations

import asyncio
import base64
import uuid
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from reroll.app import Controller
from reroll.kube.client import Client
from reroll.kube.config import load_config
from reroll.pipeline.apply import ApplyOptions, ApplyResult, apply
from reroll.pipeline.place import Manifest, in_order
from reroll.pipeline.restart import Options
from reroll.rollouts.live import RESTARTED_AT
from tests.conftest import Cluster
from tests.controller.conftest import NewWorkload, Stage
from tests.pipeline.starts import started_before_now

ENV_FROM = [{"configMapRef": {"name": "app"}}]
VALUE = "correct-horse-battery"


@pytest.fixture(autouse=True)
async def goodbye() -> AsyncIterator[None]:
    """Watches that the stage ends still say goodbye by TLS when its client is closed: the loop goes on so long."""
    yield
    await asyncio.sleep(0.2)


def config(name: str = "app", kind: str = "ConfigMap", **data: str) -> dict[str, Any]:
    body = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}}
    return body | {"stringData" if kind == "Secret" else "data": data}


def env(key: str, of: str = "configMapKeyRef", name: str = "app") -> dict[str, Any]:
    return {"env": [{"name": key.upper(), "valueFrom": {of: {"name": name, "key": key}}}]}


async def run(stage: Stage, *bodies: dict[str, Any], **settings: Any) -> ApplyResult:
    own = {key: settings.pop(key) for key in ("force_conflicts", "files", "restarts") if key in settings}
    options = ApplyOptions(Options(**{"wait": True, "timeout": 60.0, **settings}), stage.namespace, **own)
    manifests = [Manifest(body, f"test:{number}") for number, body in enumerate(bodies)]
    async with Client(load_config(kubeconfig=str(stage.kubeconfig)), field_manager="reroll-apply") as client:
        return await apply(client, manifests, options)


def objects(result: ApplyResult) -> dict[str, tuple[str, tuple[str, ...]]]:
    return {each.object.rpartition("/")[2]: (each.state, each.keys) for each in result.objects}


def workloads(result: ApplyResult) -> dict[str, tuple[str, str]]:
    return {each.name: (each.state, each.action) for each in result.outcomes}


async def mark(stage: Stage, name: str, kind: str = "Deployment") -> str | None:
    template = (await stage.get(kind, name))["spec"]["template"]
    return (template["metadata"].get("annotations") or {}).get(RESTARTED_AT)


async def test_only_who_would_not_notice_is_restarted(stage: Stage, new_workload: NewWorkload) -> None:
    level = new_workload("level", container=env("level"), annotations={})
    rolls = new_workload("rolls", container=env("level"), annotations={})
    manifests = [rolls, level, config(level="info", port="80")]
    first = await run(stage, *manifests)
    assert objects(first)["app"] == ("created", ("level", "port"))
    assert workloads(first) == {"rolls": ("done", "followed"), "level": ("done", "followed")}
    assert first.code(exit_code=True) == 0
    await stage.create(new_workload("port", kind="StatefulSet", container=env("port"), annotations={}))
    await stage.create(new_workload("beside", kind="DaemonSet", container=env("level"), annotations={}))
    await stage.pods_older_than_now("beside")

    assert workloads(again := await run(stage, *manifests)) == {}
    assert {state for state, _ in objects(again).values()} == {"unchanged"}
    assert again.code(exit_code=True) == 4

    rolls["spec"]["template"]["metadata"]["annotations"] = {"version": "2"}
    manifests[2] = config(level="debug", port="80")
    plan = await run(stage, *manifests, dry_run=True)
    expected = {"rolls": "followed", "level": "rollout", "beside": "rollout"}
    assert {name: action for name, (_, action) in workloads(plan).items()} == expected
    assert {state for state, _ in workloads(plan).values()} == {"planned"}
    assert (await stage.get("ConfigMap", "app"))["data"]["level"] == "info"
    assert await mark(stage, "level") is None

    done = await run(stage, *manifests)
    assert objects(done) == {
        "app": ("configured", ("level",)),
        "rolls": ("configured", ()),
        "level": ("unchanged", ()),
    }
    assert workloads(done) == {name: ("done", action) for name, action in expected.items()}
    assert await mark(stage, "level")
    assert await mark(stage, "beside", "DaemonSet")
    assert await mark(stage, "rolls") is None
    assert await mark(stage, "port", "StatefulSet") is None
    assert done.outcomes[1].why[0].startswith("consumes configmap/app: container main: env LEVEL")

    # What restarted it stays: the annotation is another manager's.
    level_mark = await mark(stage, "level")
    assert workloads(await run(stage, *manifests)) == {}
    assert await mark(stage, "level") == level_mark


async def test_mounted_files_can_be_left_to_the_kubelet(stage: Stage, new_workload: NewWorkload) -> None:
    mount = {"volumeMounts": [{"name": "conf", "mountPath": "/etc/app"}]}
    volumes = [{"name": "conf", "secret": {"secretName": "app"}}]
    await run(stage, config(kind="Secret", file="1"))
    await stage.create(new_workload("files", container=mount, volumes=volumes, annotations={}))
    await stage.pods_older_than_now("files")
    assert workloads(await run(stage, config(kind="Secret", file="2"), files=False)) == {}
    assert workloads(await run(stage, config(kind="Secret", file="3"))) == {"files": ("done", "rollout")}
    assert workloads(await run(stage, config(kind="Secret", file="4"), restarts=False)) == {}


async def test_one_that_the_controller_follows_is_left_to_it(
    stage: Stage, control: Controller, new_workload: NewWorkload
) -> None:
    await run(stage, config(level="info"))
    await stage.create(new_workload("web", container=env("level")))
    await stage.adopted("web")
    await stage.pods_older_than_now("web")
    done = await run(stage, config(level="debug"))
    assert workloads(done) == {"web": ("done", "followed")}
    assert await mark(stage, "web") is None
    await stage.quiet(control)
    assert await stage.rollouts("web") == 1


async def test_no_controller_acts(
    stage: Stage, new_workload: NewWorkload, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reroll.pipeline.apply.CONTROLLER_WITHIN", 0.5)
    annotations = {"reroll.dev/auto": "true", "reroll.dev/settle": "100ms"}
    await run(stage, config(level="info"))
    await stage.create(new_workload("web", container=env("level"), annotations=annotations))
    await stage.pods_older_than_now("web")
    plan = await run(stage, config(level="debug"), dry_run=True)
    assert plan.outcomes[0].message == "is left to the controller that follows it"
    done = await run(stage, config(level="debug"))
    assert workloads(done) == {"web": ("timed out", "followed")}
    assert "is it running?" in done.outcomes[0].message
    assert await mark(stage, "web") is None


async def test_what_an_earlier_apply_left_undone_is_done(stage: Stage, new_workload: NewWorkload) -> None:
    await run(stage, config(level="info", port="80"))
    await stage.create(new_workload("web", container={"envFrom": ENV_FROM}, annotations={}))
    await stage.create(new_workload("other", annotations={}))
    await stage.create(new_workload("theirs", container={"envFrom": ENV_FROM}))
    await started_before_now(stage, "web", "other", "theirs")
    await run(stage, config(level="debug", port="80"), restarts=False)
    assert workloads(await run(stage, config(level="debug", port="80"), restarts=False)) == {}
    plan = await run(stage, config(level="debug", port="80"), dry_run=True)
    assert workloads(plan) == {"web": ("planned", "rollout")}
    assert plan.outcomes[0].why[-1] == "its pods ran older configuration already"
    assert workloads(await run(stage, config(level="debug", port="80"))) == {"web": ("done", "rollout")}
    assert workloads(await run(stage, config(level="debug", port="80"))) == {}


async def test_conflicts_are_told_before_anything_is_written(stage: Stage) -> None:
    await run(stage, config(level="info"), config("other", level="info"))
    await stage.set("ConfigMap", "app", {"level": "debug"})
    refused = await run(stage, config(level="trace"), config("other", level="trace"))
    assert objects(refused)["app"][0] == "failed"
    assert objects(refused)["other"][0] == "not applied"
    told = refused.objects[0].message
    assert 'conflict with "test"' in told
    assert ".data.level" in told
    assert "--force-conflicts" in told
    assert refused.code(exit_code=False) == 1
    assert (await stage.get("ConfigMap", "other"))["data"]["level"] == "info"
    assert objects(await run(stage, config(level="trace"), force_conflicts=True))["app"] == (
        "configured",
        ("level",),
    )


async def test_what_the_server_refuses(stage: Stage) -> None:
    bad = config("Bad_Name", level="1")
    unknown = {"apiVersion": "example.invalid/v1", "kind": "Nothing", "metadata": {"name": "x"}}
    secret = config("db", "Secret", password=VALUE) | {"type": "kubernetes.io/tls"}
    refused = await run(stage, config(level="1"), bad, unknown, secret, config(level="2"))
    told = {
        each.object.rpartition("/")[2]: each.message for each in refused.objects if each.state == "failed"
    }
    assert "Bad_Name" in told
    assert told["x"] == "the server knows no kind Nothing in example.invalid/v1"
    assert "it was given already, in test:0" in told["app"]
    assert told["db"]
    assert VALUE not in str(refused)
    assert base64.b64encode(VALUE.encode()).decode() not in str(refused)
    assert msgspec.json.decode(await stage.client.list_page(stage.path("Secret")))["items"] == []


async def test_namespaces_and_definitions_come_first(stage: Stage, cluster: Cluster) -> None:
    if not cluster.tokens:
        pytest.skip("makes a namespace and a definition on our own cluster")
    unique = uuid.uuid4().hex[:8]
    space, group = f"test-{unique}", f"x{unique}.example.com"
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"things.{group}"},
        "spec": {
            "group": group,
            "names": {"kind": "Thing", "plural": "things"},
            "scope": "Namespaced",
            "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": anything}}
            ],
        },
    }
    thing = {"apiVersion": f"{group}/v1", "kind": "Thing", "metadata": {"name": "one", "namespace": space}}
    inside = config(level="info")
    inside["metadata"]["namespace"] = space
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}}
    manifests = [thing, inside, definition, namespace]
    try:
        plan = await run(stage, *manifests, dry_run=True)
        assert [state for state, _ in objects(plan).values()] == ["created"] * 4
        done = await run(stage, *manifests)
        assert [state for state, _ in objects(done).values()] == ["created"] * 4, done
        assert {state for state, _ in objects(await run(stage, *manifests)).values()} == {"unchanged"}
    finally:
        await stage.client.delete(f"/api/v1/namespaces/{space}")
        await stage.client.delete(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/things.{group}")


def test_the_order() -> None:
    kinds = ["Deployment", "Service", "Secret", "CustomResourceDefinition", "ConfigMap", "Namespace", "Job"]
    versions = {
        "Deployment": "apps/v1",
        "CustomResourceDefinition": "apiextensions.k8s.io/v1",
        "Job": "batch/v1",
    }
    given = [
        Manifest({"apiVersion": versions.get(kind, "v1"), "kind": kind, "metadata": {"name": "x"}}, "")
        for kind in kinds
    ]
    assert [each.kind for each in in_order(given)] == [
        "Namespace",
        "CustomResourceDefinition",
        "Secret",
        "ConfigMap",
        "Service",
        "Deployment",
        "Job",
    ]
