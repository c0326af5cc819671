"""The audit of a real API server: what is found, what is asked for, and what is never seen."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from reroll.core.records import WorkloadId
from reroll.insight.stale.audit import audit
from reroll.insight.stale.report import Report
from reroll.kube.client import Client
from reroll.kube.config import load_config
from reroll.kube.errors import Forbidden
from tests.conftest import Cluster, Kubectl
from tests.controller.conftest import NewWorkload, Stage

VALUE = "correct-horse-battery"


@pytest.fixture(autouse=True)
async def goodbye() -> AsyncIterator[None]:
    """Watches that the stage ends still say goodbye by TLS when its client is closed: the loop goes on so long."""
    yield
    await asyncio.sleep(0.2)


async def ask(stage: Stage, **settings: Any) -> Report:
    return await audit(stage.client, now=time.time(), namespaces=(stage.namespace,), **settings)


def env(key: str, config: str = "app") -> dict[str, Any]:
    return {"name": key.upper(), "valueFrom": {"configMapKeyRef": {"name": config, "key": key}}}


def found(report: Report) -> dict[str, list[tuple[str, tuple[str, ...], str]]]:
    return {each.name: [(f.config, f.keys, f.certainty) for f in each.findings] for each in report.workloads}


async def test_who_is_behind_by_which_reference_and_how_sure(stage: Stage, new_workload: NewWorkload) -> None:
    await stage.config_map("app", {"level": "info", "port": "80"})
    await stage.secret("db", {"password": VALUE})
    files = [{"name": "conf", "configMap": {"name": "app"}}]
    await stage.create(new_workload("level", container={"env": [env("level")]}, annotations={}))
    await stage.create(new_workload("port", container={"env": [env("port")]}, annotations={}))
    mount = {"volumeMounts": [{"name": "conf", "mountPath": "/etc/app"}]}
    await stage.create(
        new_workload("files", kind="StatefulSet", container=mount, volumes=files, annotations={})
    )
    whole = {"envFrom": [{"secretRef": {"name": "db"}}]}
    await stage.create(new_workload("secret", kind="DaemonSet", container=whole, annotations={}))
    for name in ("level", "port", "files", "secret"):
        await stage.pods_older_than_now(name)
    report = await ask(stage)
    assert found(report) == {"files": [], "level": [], "port": [], "secret": []}
    assert (len(report.workloads), report.stale, report.notes) == (4, (), ())

    # The test's own manager made the objects, so it takes another to have a time for one key alone.
    async with Client(load_config(kubeconfig=str(stage.kubeconfig)), field_manager="other") as other:
        await other.patch(stage.path("ConfigMap", "app"), b'{"data": {"level": "debug"}}')
    report = await ask(stage)
    assert found(report) == {
        "files": [("configmap/app", ("level",), "possible")],
        "level": [("configmap/app", ("level",), "certain")],
        "port": [],
        "secret": [],
    }
    assert report.stale_pods == 2
    assert found(await ask(stage, at_least="certain"))["files"] == []

    # The same manager wrote both keys at first: that of a change of one is no later than its entry's.
    await stage.set("ConfigMap", "app", {"extra": "1"})
    await stage.set("Secret", "db", {"password": VALUE + "2"})
    report = await ask(stage)
    assert found(report)["port"] == [("configmap/app", ("port",), "likely")]
    port = next(each for each in report.workloads if each.name == "port").findings[0]
    assert port.bound
    assert port.beside == ("extra",)
    assert found(report)["secret"] == [("secret/db", ("password",), "certain")]

    only = {WorkloadId("Deployment", stage.namespace, "port")}
    assert list(found(await ask(stage, only=only))) == ["port"]


async def test_pods_that_follow_are_behind_no_more(stage: Stage, new_workload: NewWorkload) -> None:
    await stage.config_map("app", {"level": "info"})
    await stage.create(new_workload("web", container={"env": [env("level")]}, annotations={}))
    await stage.pods_older_than_now("web")
    await stage.set("ConfigMap", "app", {"level": "debug"})
    assert [each.name for each in (await ask(stage)).stale] == ["web"]
    template = {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "2026-11-23T10:00:00Z"}}}
    await stage.patch("Deployment", "web", {"spec": {"template": template}})

    async def fresh() -> bool:
        report = await ask(stage)
        return bool(report.workloads) and not report.stale

    await stage.until(fresh, "its pods were not replaced")


async def test_by_labels(stage: Stage, new_workload: NewWorkload) -> None:
    await stage.config_map("app", {"level": "info"})
    for name in ("one", "two"):
        manifest = new_workload(name, container={"env": [env("level")]}, annotations={})
        manifest["metadata"]["labels"] = {"team": name}
        await stage.create(manifest)
    await stage.pods_older_than_now("one")
    await stage.pods_older_than_now("two")
    assert list(found(await ask(stage, selector="team=two"))) == ["two"]
    assert list(found(await ask(stage, selector="team in (one, two)"))) == ["one", "two"]
    assert not (await ask(stage, selector="team=three")).workloads


async def test_cleared_managed_fields_are_told(stage: Stage, new_workload: NewWorkload) -> None:
    await stage.config_map("app", {"level": "info"})
    await stage.create(new_workload("web", container={"env": [env("level")]}, annotations={}))
    await stage.pods_older_than_now("web")
    await stage.patch("ConfigMap", "app", {"metadata": {"managedFields": [{}]}, "data": {"level": "debug"}})
    report = await ask(stage)
    assert not report.stale
    assert f"configmap/{stage.namespace}/app" in report.notes[0]
    assert "managedFields" in report.notes[0]


class Listening(Client):
    """Keeps what the server sent."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.heard: list[bytes] = []

    async def list_page(self, path: str, *, accept: str | None = None, attempts: int = 4) -> bytes:
        body = await super().list_page(path, accept=accept, attempts=attempts)
        self.heard.append(body)
        return body


async def test_no_content_is_ever_sent(stage: Stage, new_workload: NewWorkload) -> None:
    await stage.config_map("app", {"level": VALUE})
    await stage.secret("db", {"password": VALUE})
    refs = [{"configMapRef": {"name": "app"}}, {"secretRef": {"name": "db"}}]
    await stage.create(new_workload("web", container={"envFrom": refs}, annotations={}))
    await stage.pods_older_than_now("web")
    client = Listening(load_config(kubeconfig=str(stage.kubeconfig)))
    async with client:
        report = await audit(client, now=time.time(), namespaces=(stage.namespace,))
        sent = b"".join(client.heard)
    assert len(report.workloads) == 1
    assert b"password" in sent, "the names of keys stand in managedFields"
    assert VALUE.encode() not in sent
    assert base64.b64encode(VALUE.encode()) not in sent


async def test_what_may_not_be_listed(
    stage: Stage, cluster: Cluster, namespace: str, kubectl: Kubectl
) -> None:
    if not cluster.tokens:
        pytest.skip("acts as a user of our own cluster")
    kubectl("-n", namespace, "create", "role", "some", "--verb=list", "--resource=pods,configmaps")
    kubectl("-n", namespace, "create", "rolebinding", "some", "--role=some", "--user=nobody")
    config = load_config(kubeconfig=str(stage.kubeconfig), context="nobody")
    async with Client(config) as client:
        report = await audit(client, now=time.time(), namespaces=(namespace,))
        assert [note.partition(":")[0] for note in report.notes] == ["secrets were not looked at"]
        with pytest.raises(Forbidden):
            await audit(client, now=time.time())
