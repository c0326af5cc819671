"""What others get to see of `reroll reloader`: alerts, the webhook, Events, and the ConfigMap about itself; and that
`reroll controller` leaves Reloader's annotations to Reloader."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from reroll.app import Controller
from reroll.controller.meta_info import publish
from reroll.controller.report import RELOADER_REASONS
from reroll.kube.config import load_config
from reroll.settings import Settings
from tests.alerts.service import Service
from tests.controller.conftest import Stage, at_work
from tests.reloader.conftest import Running

AUTO = "reloader.stakater.com/auto"


def deployment(name: str, image: str = "example.invalid/app:1", **metadata: Any) -> dict[str, Any]:
    container = {
        "name": "main",
        "image": image,
        "envFrom": [{"configMapRef": {"name": "app", "optional": True}}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "annotations": {AUTO: "true"}, **metadata},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}},
        },
    }


def delivered(control: Controller, to: str) -> dict[str, float | None]:
    """Outcome -> how often, as a scrape shows it."""
    sample = control.metrics.registry.get_sample_value
    return {
        outcome: sample("reroll_deliveries_total", {"to": to, "outcome": outcome})
        for outcome in ("sent", "retried", "failed")
    }


async def test_an_alert_tells_what_was_reloaded(stage: Stage, reloader: Running, service: Service) -> None:
    await stage.config_map("app", {"key": "confidential-1"})
    await stage.create(deployment("web"))
    environ = {
        "KUBERNETES_NAMESPACE": stage.namespace,
        "ALERT_ON_RELOAD": "true",
        "ALERT_SINK": "slack",
        "ALERT_WEBHOOK_URL": service.url,
        "ALERT_ADDITIONAL_INFO": "cluster one",
    }
    async with reloader(stage, environ=environ) as control:
        await stage.adopted("web")
        await stage.set("ConfigMap", "app", {"key": "confidential-2"})
        await asyncio.sleep(1.0)
    assert delivered(control, "alert") == {"sent": 1, "retried": 0, "failed": 0}
    text = json.dumps(service.bodies)
    assert len(service.bodies) == 1
    for word in ("cluster one", "web", "app", stage.namespace, "attachments"):
        assert word in text
    assert "confidential" not in text


async def test_the_webhook_takes_the_place_of_reloads(
    stage: Stage, reloader: Running, service: Service
) -> None:
    await stage.config_map("app", {"key": "1"})
    await stage.config_map("nobodys", {"key": "1"})
    await stage.create(deployment("web"))
    async with reloader(stage, f"--webhook-url={service.url}") as control:
        await stage.patch("ConfigMap", "app", {"metadata": {"labels": {"a": "b"}}})

        async def told(posts: int) -> bool:
            return len(service.bodies) >= posts

        await stage.set("ConfigMap", "nobodys", {"key": "2"})
        await stage.until(lambda: told(1), "the webhook was not told")
        await stage.set("ConfigMap", "app", {"key": "2"})
        await stage.until(lambda: told(2), "the webhook was not told")
        await asyncio.sleep(0.3)
        assert delivered(control, "webhook") == {"sent": 2, "retried": 0, "failed": 0}
    assert [(body["webhook"], body["name"]) for body in service.bodies] == [
        ("update successful", "nobodys"),
        ("update successful", "app"),
    ]
    assert [w["name"] for w in service.bodies[1]["workloads"]] == ["web"]
    found = await stage.get("Deployment", "web")
    assert "env" not in found["spec"]["template"]["spec"]["containers"][0]


async def test_it_tells_how_it_was_started(stage: Stage) -> None:
    for strategy in ("annotations", "env-vars"):
        await publish(stage.client, stage.namespace, "reloader", {"reload-strategy": strategy})
        found = await stage.get("ConfigMap", "reloader-meta-info")
        assert found["metadata"]["labels"] == {"reloader.stakater.com/meta-info": "reloader"}
        assert json.loads(found["data"]["reloaderOptions"]) == {"reload-strategy": strategy}


async def test_events_have_reloaders_reasons(stage: Stage) -> None:
    await stage.config_map("app", {"key": "1"})
    await stage.create(deployment("web"))
    settings = Settings(
        namespaces=(stage.namespace,), key_namespace=stage.namespace, listen="", settle=0.1, marks="env-vars"
    )
    control = Controller(load_config(kubeconfig=str(stage.kubeconfig)), settings, reasons=RELOADER_REASONS)
    async with at_work(control):
        await stage.adopted("web")
        await stage.set("ConfigMap", "app", {"key": "2"})
        events = await stage.until(lambda: stage.at_least_events("web", 1), "there is no Event")
        assert events[0]["reason"] == "Reloaded"


@pytest.mark.parametrize("beside", [False, True])
async def test_the_controller_leaves_reloaders_annotations_to_it(stage: Stage, beside: bool) -> None:
    await stage.config_map("app", {"key": "1"})
    labels = {"app.kubernetes.io/name": "reloader"}
    await stage.create(deployment("theirs", "ghcr.io/stakater/reloader:v1.4.21", labels=labels))
    await stage.create(deployment("web"))
    settings = Settings(
        namespaces=(stage.namespace,),
        key_namespace=stage.namespace,
        listen="",
        settle=0.1,
        beside_reloader=beside,
    )
    control = Controller(load_config(kubeconfig=str(stage.kubeconfig)), settings)
    async with at_work(control):
        if beside:
            await stage.adopted("web")
            return
        await asyncio.sleep(0.5)
        assert "reroll.dev/applied" not in (await stage.get("Deployment", "web"))["metadata"]["annotations"]
        # It is stopped, and reroll goes on in its place.
        await stage.patch("Deployment", "theirs", {"spec": {"replicas": 0}})
        await control.presence.look()
        await stage.adopted("web")
