"""Argo's Rollouts: by their template, by `restartAt`, and with the template of a Deployment (`workloadRef`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reroll.app import Controller
from reroll.core.kinds import ROLLOUT
from reroll.core.records import WorkloadId
from reroll.insight.explain import explain
from reroll.insight.explanation import Explanation
from reroll.settings import Settings
from tests.controller.conftest import NewWorkload, Stage

Json = dict[str, Any]
LEVEL = [{"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "app", "key": "level"}}}]
REF = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "template"}


@pytest.fixture(scope="module", autouse=True)
def definitions(define: Callable[..., Any]) -> Iterator[None]:
    """Rollouts are served."""
    with define(ROLLOUT):
        yield


def a_rollout(name: str = "web", annotations: dict[str, str] | None = None, **spec: Any) -> Json:
    return {
        "apiVersion": ROLLOUT.api_version,
        "kind": "Rollout",
        "metadata": {"name": name, "annotations": {"reroll.dev/auto": "true", **(annotations or {})}},
        "spec": {"replicas": 2, **spec},
    }


def template() -> Json:
    containers = [{"name": "main", "image": "example.invalid/app:1", "env": LEVEL}]
    return {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": containers}}


@pytest.fixture
def deployment(new_workload: NewWorkload) -> Json:
    """The Deployment that Rollouts name: scaled down, and not annotated."""
    found: Json = new_workload("template", replicas=0, annotations={}, container={"env": LEVEL})
    return found


async def restart_at(stage: Stage, name: str = "web") -> str | None:
    value: str | None = (await stage.get("Rollout", name))["spec"].get("restartAt")
    return value


async def test_with_the_mode_restart_its_controller_is_told(stage: Stage) -> None:
    await stage.config_map("app", {"level": "info"})
    await stage.create(a_rollout(annotations={"reroll.dev/mode": "restart"}, template=template()))
    before = datetime.now(UTC).replace(microsecond=0)
    async with stage.controller() as control:
        await stage.adopted("web", "Rollout")
        await stage.set("ConfigMap", "app", {"level": "debug"})
        told = await stage.until(lambda: restart_at(stage), "restartAt is not set")
        await stage.quiet(control)
        found = await stage.get("Rollout", "web")
    # The second after: pods that were created in the same one count.
    assert before < datetime.fromisoformat(told) <= datetime.now(UTC) + timedelta(seconds=1)
    assert found["spec"] == {**a_rollout(template=template())["spec"], "restartAt": told}
    assert "reroll.dev/restarting" not in found["metadata"]["annotations"]
    async with stage.controller() as control:
        await stage.quiet(control)
        assert (await stage.get("Rollout", "web"))["metadata"]["generation"] == found["metadata"][
            "generation"
        ]


class TestWithTheTemplateOfADeployment:
    async def test_it_follows_what_the_deployment_consumes(self, stage: Stage, deployment: Json) -> None:
        await stage.config_map("app", {"level": "info", "other": "1"})
        await stage.create(deployment)
        await stage.create(a_rollout(workloadRef=REF))
        async with stage.controller() as control:
            await stage.adopted("web", "Rollout")
            await stage.set("ConfigMap", "app", {"other": "2"})
            await stage.quiet(control)
            assert await restart_at(stage) is None
            await stage.set("ConfigMap", "app", {"level": "debug"})
            told = await stage.until(lambda: restart_at(stage), "restartAt is not set")
            await stage.quiet(control)
            assert await restart_at(stage) == told
            told_of = await explained(stage)
            assert not told_of.stale
            assert [config.config for config in told_of.configs] == ["configmap/app"]
            [event] = await stage.until(lambda: stage.events("web"), "no Event")
            assert "configmap/app changed (level): container main: env LEVEL" in event["note"]
        found = await stage.get("Rollout", "web")
        assert "template" not in found["spec"]
        assert await stage.rollouts("template") == 0
        # A start alone does nothing, and what changed meanwhile is found.
        async with stage.controller() as control:
            await stage.quiet(control)
            assert (await stage.get("Rollout", "web"))["metadata"]["generation"] == found["metadata"][
                "generation"
            ]
        await stage.set("ConfigMap", "app", {"level": "trace"})
        assert (await explained(stage)).decision == "roll"
        async with stage.controller():

            async def again() -> bool:
                now = await stage.get("Rollout", "web")
                return bool(now["metadata"]["generation"] > found["metadata"]["generation"])

            await stage.until(again, "it was not restarted for what changed meanwhile")

    async def test_the_owners_change_of_the_deployment_is_enough(
        self, stage: Stage, deployment: Json
    ) -> None:
        await stage.config_map("app", {"level": "info"})
        await stage.create(deployment)
        await stage.create(a_rollout(workloadRef=REF))
        async with stage.controller(settle=0.5) as control:
            before = await stage.adopted("web", "Rollout")
            await stage.set("ConfigMap", "app", {"level": "debug"})
            image = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "app:2"}]
            await stage.client.patch(
                stage.path("Deployment", "template"),
                stage.encode(image),
                content_type="application/json-patch+json",
            )
            await stage.quiet(control)
            assert await restart_at(stage) is None
            assert await stage.adopted("web", "Rollout") != before

    async def test_a_change_of_what_it_consumes_is_followed(self, stage: Stage, deployment: Json) -> None:
        await stage.config_map("app", {"level": "info"})
        await stage.config_map("more", {"level": "info"})
        await stage.create(deployment)
        await stage.create(a_rollout(workloadRef=REF))
        async with stage.controller() as control:
            await stage.adopted("web", "Rollout")
            op = {
                "op": "replace",
                "path": "/spec/template/spec/containers/0/env/0/valueFrom/configMapKeyRef/name",
            }
            await stage.client.patch(
                stage.path("Deployment", "template"),
                stage.encode([{**op, "value": "more"}]),
                content_type="application/json-patch+json",
            )

            async def recorded() -> bool:
                return list((await stage.adopted("web", "Rollout"))["configs"]) == ["configmap/more"]

            await stage.until(recorded, "it is not followed")
            await stage.set("ConfigMap", "app", {"level": "debug"})
            await stage.quiet(control)
            assert await restart_at(stage) is None
            await stage.set("ConfigMap", "more", {"level": "debug"})
            await stage.until(lambda: restart_at(stage), "restartAt is not set")

    async def test_while_the_deployment_is_missing_nothing_is_concluded(
        self, stage: Stage, deployment: Json
    ) -> None:
        await stage.config_map("app", {"level": "info"})
        await stage.create(deployment)
        await stage.create(a_rollout(workloadRef=REF))
        async with stage.controller() as control:
            before = await stage.adopted("web", "Rollout")
            await stage.delete("Deployment", "template")
            await stage.until(lambda: forgotten(control), "the Deployment is still there")
            await stage.set("ConfigMap", "app", {"level": "debug"})
            await stage.quiet(control)
            assert "deployment" in (await explained(stage)).reason
            assert await stage.adopted("web", "Rollout") == before
            assert await restart_at(stage) is None
            await stage.create(deployment)
            await stage.until(lambda: restart_at(stage), "restartAt is not set")

    async def test_one_that_comes_before_its_deployment(self, stage: Stage, deployment: Json) -> None:
        await stage.config_map("app", {"level": "info"})
        await stage.create(a_rollout(workloadRef=REF))
        async with stage.controller():
            await stage.create(deployment)
            await stage.adopted("web", "Rollout")
            await stage.set("ConfigMap", "app", {"level": "debug"})
            await stage.until(lambda: restart_at(stage), "restartAt is not set")

    async def test_two_can_share_one(self, stage: Stage, deployment: Json) -> None:
        await stage.config_map("app", {"level": "info"})
        await stage.create(deployment)
        for name in ("web", "api"):
            await stage.create(a_rollout(name, workloadRef=REF))
        async with stage.controller() as control:
            for name in ("web", "api"):
                await stage.adopted(name, "Rollout")
            await stage.client.delete(stage.path("Rollout", "api"))
            await stage.set("ConfigMap", "app", {"level": "debug"})
            await stage.until(lambda: restart_at(stage), "restartAt is not set")
            await stage.client.delete(stage.path("Rollout", "web"))
            await stage.until(lambda: alone(control), "the Rollouts are still there")
            assert not control.store._borrowers

    async def test_one_that_gets_a_template_of_its_own_is_rolled_by_it(
        self, stage: Stage, deployment: Json
    ) -> None:
        await stage.config_map("app", {"level": "info"})
        await stage.create(deployment)
        await stage.create(a_rollout(workloadRef=REF))
        async with stage.controller() as control:
            await stage.adopted("web", "Rollout")
            await stage.patch("Rollout", "web", {"spec": {"workloadRef": None, "template": template()}})
            await stage.until(lambda: alone_with_it(control), "the change is not seen")
            await stage.quiet(control)
            await stage.set("ConfigMap", "app", {"level": "debug"})

            async def mark() -> str | None:
                metadata = (await stage.get("Rollout", "web"))["spec"]["template"]["metadata"]
                value: str | None = metadata.get("annotations", {}).get("reroll.dev/config")
                return value

            await stage.until(mark, "no mark")
            assert await restart_at(stage) is None


async def explained(stage: Stage) -> Explanation:
    """What `reroll explain rollout/web` says."""
    workload = WorkloadId("Rollout", stage.namespace, "web")
    return await explain(
        stage.client, workload, Settings(), key_places=[(stage.namespace, "reroll-digest-key")]
    )


async def forgotten(control: Controller) -> bool:
    return not any(w.kind == "Deployment" for w in control.store.workloads())


async def alone(control: Controller) -> bool:
    return not any(w.kind == "Rollout" for w in control.store.workloads())


async def alone_with_it(control: Controller) -> bool:
    return not control.store._borrowers
