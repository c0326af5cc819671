"""What Reloader's flags do, on the real API server."""

from __future__ import annotations

import asyncio
import json
from typing import Any, ClassVar

import msgspec
import pytest
from prometheus_client import generate_latest

from reroll.app import Controller
from tests.conftest import Kubectl
from tests.controller.conftest import Stage
from tests.reloader.conftest import Running

R = "reloader.stakater.com"
CM, AUTO = f"configmap.{R}/reload", f"{R}/auto"
MARK = f"{R}/last-reloaded-from"


def deployment(name: str, annotations: dict[str, str], config: str = "", **spec: Any) -> dict[str, Any]:
    container: dict[str, Any] = {"name": "main", "image": "example.invalid/app:1"}
    if config:
        container["envFrom"] = [
            {"configMapRef": {"name": config}},
            {"secretRef": {"name": config, "optional": True}},
        ]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}},
            **spec,
        },
    }


class Scene:
    """Deployments of the stage, and what became of them."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    async def deploy(self, name: str, annotations: dict[str, str], config: str = "", **spec: Any) -> None:
        await self.stage.create(deployment(name, annotations, config, **spec))

    async def mark(self, name: str) -> dict[str, Any] | None:
        found = await self.stage.get("Deployment", name)
        value = (found["spec"]["template"]["metadata"].get("annotations") or {}).get(MARK)
        return json.loads(value) if value else None

    async def reloaded(self, name: str, *, before: dict[str, Any] | None = None) -> dict[str, Any]:
        """Its mark, when it has one that differs from `before`."""

        async def other() -> dict[str, Any] | None:
            mark = await self.mark(name)
            return mark if mark != before else None

        found: dict[str, Any] = await self.stage.until(other, f"{name} was not reloaded")
        return found

    async def left_alone(self, control: Controller, *names: str) -> None:
        await self.rest(control)
        for name in names:
            assert await self.mark(name) is None, name

    async def rest(self, control: Controller) -> None:
        """Wait until everything done so far has arrived, and nothing is asked or settling any more."""
        await asyncio.sleep(0.4)
        await self.stage.idle(control)


@pytest.fixture
def scene(stage: Stage) -> Scene:
    return Scene(stage)


async def test_auto_reload_all(stage: Stage, scene: Scene, reloader: Running) -> None:
    await stage.config_map("app", {"key": "1"})
    await scene.deploy("plain", {}, "app")
    await scene.deploy("not-this-one", {AUTO: "false"}, "app")
    async with reloader(stage, "--reload-strategy=annotations", "--auto-reload-all") as control:
        await scene.rest(control)
        await stage.set("ConfigMap", "app", {"key": "2"})
        await scene.reloaded("plain")
        await scene.left_alone(control, "not-this-one")


@pytest.mark.parametrize(("ignored", "follows"), [("secrets", "ConfigMap"), ("configMaps", "Secret")])
async def test_resources_to_ignore(
    stage: Stage, scene: Scene, reloader: Running, ignored: str, follows: str
) -> None:
    await stage.config_map("app", {"key": "1"})
    await stage.secret("app", {"key": "1"})
    await scene.deploy("web", {AUTO: "true"}, "app")
    async with reloader(
        stage, "--reload-strategy=annotations", f"--resources-to-ignore={ignored}"
    ) as control:
        await scene.rest(control)
        await stage.set("Secret" if follows == "ConfigMap" else "ConfigMap", "app", {"key": "2"})
        await scene.left_alone(control, "web")
        await stage.set(follows, "app", {"key": "2"})
        assert (await scene.reloaded("web"))["type"] == follows.upper()


async def test_resource_label_selector(stage: Stage, scene: Scene, reloader: Running) -> None:
    await stage.config_map("labelled", {"key": "1"}, labels={"reload": "yes"})
    await stage.config_map("plain", {"key": "1"})
    await scene.deploy("one", {CM: "labelled"}, "labelled")
    await scene.deploy("two", {CM: "plain"}, "plain")
    async with reloader(
        stage, "--reload-strategy=annotations", "--resource-label-selector=reload:yes"
    ) as control:
        await scene.rest(control)
        for name in ("labelled", "plain"):
            await stage.set("ConfigMap", name, {"key": "2"})
        await scene.reloaded("one")
        await scene.left_alone(control, "two")


class TestNamespaces:
    async def second(self, stage: Stage, kubectl: Kubectl, labels: str = "") -> str:
        name = f"{stage.namespace}-2"
        kubectl("create", "namespace", name)
        if labels:
            kubectl("label", "namespace", name, labels)
        return name

    async def both(self, stage: Stage, scene: Scene, kubectl: Kubectl, other: str) -> None:
        """The same workload in the stage's namespace and in another one."""
        await stage.config_map("app", {"key": "1"})
        await scene.deploy("web", {CM: "app"}, "app")
        kubectl("create", "configmap", "app", "--from-literal=key=1", "-n", other)
        kubectl("apply", "-n", other, "-f", "-", input=json.dumps(deployment("web", {CM: "app"}, "app")))

    async def change_both(self, stage: Stage, kubectl: Kubectl, other: str) -> None:
        patch = json.dumps({"data": {"key": "2"}})
        kubectl("patch", "configmap", "app", "-n", other, "--type=merge", "-p", patch)
        await stage.set("ConfigMap", "app", {"key": "2"})

    def mark_in(self, kubectl: Kubectl, namespace: str) -> str:
        template = json.loads(kubectl("get", "deployment", "web", "-n", namespace, "-o", "json"))["spec"][
            "template"
        ]
        return str(template["metadata"].get("annotations", {}).get(MARK, ""))

    async def test_to_ignore(self, stage: Stage, scene: Scene, reloader: Running, kubectl: Kubectl) -> None:
        other = await self.second(stage, kubectl)
        await self.both(stage, scene, kubectl, other)
        flags = ("--reload-strategy=annotations", f"--namespaces-to-ignore={other}")
        async with reloader(stage, *flags, environ={}) as control:
            await scene.rest(control)
            await self.change_both(stage, kubectl, other)
            await scene.reloaded("web")
            await scene.rest(control)
            assert not self.mark_in(kubectl, other)

    async def test_selector_with_the_quotes_of_the_chart(
        self, stage: Stage, scene: Scene, reloader: Running, kubectl: Kubectl
    ) -> None:
        other = await self.second(stage, kubectl)
        kubectl("label", "namespace", stage.namespace, f"reload={stage.namespace}", "team=x")
        await self.both(stage, scene, kubectl, other)
        flags = ("--reload-strategy=annotations", f'--namespace-selector="reload={stage.namespace},team:*"')
        async with reloader(stage, *flags, environ={}) as control:
            await scene.rest(control)
            await self.change_both(stage, kubectl, other)
            await scene.reloaded("web")
            await scene.rest(control)
            assert not self.mark_in(kubectl, other)

    async def test_a_list_of_them(
        self, stage: Stage, scene: Scene, reloader: Running, kubectl: Kubectl
    ) -> None:
        other = await self.second(stage, kubectl)
        await self.both(stage, scene, kubectl, other)
        third = f"{stage.namespace}-3"
        kubectl("create", "namespace", third)
        flags = ("--reload-strategy=annotations", f"--namespaces={stage.namespace},{third}")
        async with reloader(stage, *flags, environ={}) as control:
            await scene.rest(control)
            await self.change_both(stage, kubectl, other)
            await scene.reloaded("web")
            await scene.rest(control)
            assert not self.mark_in(kubectl, other)


class TestCreation:
    async def test_by_default_it_reloads_nothing(self, stage: Stage, scene: Scene, reloader: Running) -> None:
        await scene.deploy("web", {CM: "later"})
        async with reloader(stage, "--reload-strategy=annotations") as control:
            await stage.adopted("web")
            await stage.config_map("later", {"key": "1"})
            await scene.left_alone(control, "web")
            # From then on it is followed like any other.
            await stage.set("ConfigMap", "later", {"key": "2"})
            await scene.reloaded("web")

    @pytest.mark.parametrize("pattern", ["later", "lat.*"])
    async def test_where_asked_for_it_does(
        self, stage: Stage, scene: Scene, reloader: Running, pattern: str
    ) -> None:
        await scene.deploy("config", {CM: pattern})
        await scene.deploy("secret", {f"secret.{R}/reload": pattern})
        await stage.config_map("lat", {"key": "1"})
        async with reloader(stage, "--reload-strategy=annotations", "--reload-on-create=true") as control:
            await scene.rest(control)
            await stage.config_map("later", {"key": "1"})
            await stage.secret("later", {"key": "1"})
            assert (await scene.reloaded("config"))["name"] == "later"
            assert (await scene.reloaded("secret"))["type"] == "SECRET"


class TestDeletion:
    async def test_by_default_it_reloads_nothing(self, stage: Stage, scene: Scene, reloader: Running) -> None:
        await stage.config_map("app", {"key": "1"})
        await scene.deploy("web", {CM: "app"})
        async with reloader(stage, "--reload-strategy=annotations") as control:
            await stage.adopted("web")
            await stage.delete("ConfigMap", "app")
            await scene.left_alone(control, "web")

    @pytest.mark.parametrize("config", ["", "app"])
    async def test_where_asked_for_it_does(
        self, stage: Stage, scene: Scene, reloader: Running, config: str
    ) -> None:
        await stage.config_map("app", {"key": "1"})
        await stage.secret("app", {"key": "1"})
        await scene.deploy("web", {CM: "app"}, config)
        await scene.deploy("other", {f"secret.{R}/reload": "app"})
        async with reloader(stage, "--reload-strategy=annotations", "--reload-on-delete=true"):
            await stage.adopted("web")
            await stage.adopted("other")
            await stage.delete("ConfigMap", "app")
            await stage.delete("Secret", "app")
            await scene.reloaded("web")
            await scene.reloaded("other")


class TestPause:
    PERIOD, AT = f"deployment.{R}/pause-period", f"deployment.{R}/paused-at"

    async def state(self, stage: Stage) -> tuple[bool, bool]:
        """(paused, noted since when)"""
        found = await stage.get("Deployment", "web")
        return found["spec"].get("paused", False), self.AT in found["metadata"]["annotations"]

    async def test_a_reload_pauses_and_the_end_resumes(
        self, stage: Stage, scene: Scene, reloader: Running
    ) -> None:
        await stage.config_map("app", {"key": "1"})
        await scene.deploy("web", {CM: "app", self.PERIOD: "2s"}, "app")
        async with reloader(stage, "--reload-strategy=annotations"):
            await stage.adopted("web")
            await stage.set("ConfigMap", "app", {"key": "2"})
            first = await scene.reloaded("web")
            assert await self.state(stage) == (True, True)
            # What changes meanwhile is written at once: one rollout at the end of the pause has both.
            await stage.set("ConfigMap", "app", {"key": "3"})
            await scene.reloaded("web", before=first)
            assert await self.state(stage) == (True, True)

            async def resumed() -> bool:
                return await self.state(stage) == (False, False)

            await stage.until(resumed, "it stayed paused")

    async def test_a_pause_outlives_whoever_began_it(
        self, stage: Stage, scene: Scene, reloader: Running
    ) -> None:
        await stage.config_map("app", {"key": "1"})
        await scene.deploy("web", {CM: "app", self.PERIOD: "1s"}, "app")
        async with reloader(stage):
            await stage.adopted("web")
            await stage.set("ConfigMap", "app", {"key": "2"})

            async def paused() -> bool:
                return await self.state(stage) == (True, True)

            await stage.until(paused, "it was not paused")
        async with reloader(stage):

            async def resumed() -> bool:
                return await self.state(stage) == (False, False)

            await stage.until(resumed, "it stayed paused")

    async def test_what_a_person_has_paused_stays_so(
        self, stage: Stage, scene: Scene, reloader: Running
    ) -> None:
        await stage.config_map("app", {"key": "1"})
        await scene.deploy("web", {CM: "app", self.PERIOD: "1s"}, "app", paused=True)
        async with reloader(stage, "--reload-strategy=annotations") as control:
            await stage.adopted("web")
            await stage.set("ConfigMap", "app", {"key": "2"})
            await scene.reloaded("web")
            await scene.rest(control)
            assert await self.state(stage) == (True, False)


class TestMarks:
    async def test_the_annotation_tells_the_cause(
        self, stage: Stage, scene: Scene, reloader: Running
    ) -> None:
        await stage.config_map("app", {"key": "1"})
        await scene.deploy("web", {AUTO: "true"}, "app")
        async with reloader(stage, "--reload-strategy=annotations"):
            await stage.adopted("web")
            await stage.set("ConfigMap", "app", {"key": "2"})
            mark = await scene.reloaded("web")
        assert {key: mark[key] for key in ("type", "name", "namespace", "containerRefs")} == {
            "type": "CONFIGMAP",
            "name": "app",
            "namespace": stage.namespace,
            "containerRefs": ["main"],
        }

    async def test_a_restart_reloads_nothing_and_finds_what_changed_meanwhile(
        self, stage: Stage, scene: Scene, reloader: Running
    ) -> None:
        await stage.config_map("app", {"key": "1"})
        await stage.config_map("still", {"key": "1"})
        await scene.deploy("web", {AUTO: "true"}, "app")
        await scene.deploy("idle", {AUTO: "true"}, "still")
        flags = ("--reload-strategy=annotations", "--reload-on-create=true", "--sync-after-restart")
        async with reloader(stage, *flags):
            await stage.adopted("web")
            await stage.adopted("idle")
        await stage.set("ConfigMap", "app", {"key": "2"})
        async with reloader(stage, *flags) as control:
            await scene.reloaded("web")
            await scene.left_alone(control, "idle")

    async def test_other_variables_of_a_container_stay(self, stage: Stage, reloader: Running) -> None:
        await stage.config_map("app.name", {"key": "1"})
        manifest = deployment("web", {AUTO: "true"}, "app.name")
        manifest["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "A", "value": "1"}]
        await stage.create(manifest)
        async with reloader(stage):
            await stage.adopted("web")
            await stage.set("ConfigMap", "app.name", {"key": "2"})

            async def variables() -> list[str] | None:
                found = await stage.get("Deployment", "web")
                names = [e["name"] for e in found["spec"]["template"]["spec"]["containers"][0]["env"]]
                return names if len(names) > 1 else None

            found = await stage.until(variables, "it was not reloaded")
        assert sorted(found) == ["A", "STAKATER_APP_NAME_CONFIGMAP"]
        template = (await stage.get("Deployment", "web"))["spec"]["template"]
        assert "annotations" not in template["metadata"]


async def test_several_changes_within_a_moment_are_one_reload(
    stage: Stage, scene: Scene, reloader: Running
) -> None:
    names = [f"app-{number}" for number in range(8)]
    for name in names:
        await stage.config_map(name, {"key": "1"})
    await scene.deploy("web", {CM: ",".join(names)})
    async with reloader(stage, "--reload-strategy=annotations") as control:
        await stage.adopted("web")
        generation = (await stage.get("Deployment", "web"))["metadata"]["generation"]
        await asyncio.gather(*(stage.set("ConfigMap", name, {"key": "2"}) for name in names))
        await scene.reloaded("web")
        await scene.rest(control)
        # Of a Deployment the generation grows with its annotations too; both are in the one patch.
        assert (await stage.get("Deployment", "web"))["metadata"]["generation"] == generation + 1


async def test_metrics_have_reloaders_names(stage: Stage, scene: Scene, reloader: Running) -> None:
    await stage.config_map("app", {"key": "1"})
    await scene.deploy("web", {AUTO: "true"}, "app")
    async with reloader(stage, "--reload-strategy=annotations") as control:
        await stage.adopted("web")
        await stage.set("ConfigMap", "app", {"key": "2"})
        await scene.reloaded("web")
        await scene.rest(control)
        text = generate_latest(control.metrics.registry).decode()
    for line in (
        'reloader_reload_executed_total{success="true"} 1.0',
        'reloader_reload_executed_total{success="false"} 0.0',
        f'reloader_reload_executed_total_by_namespace{{namespace="{stage.namespace}",success="true"}} 1.0',
        'reloader_action_total{result="success",workload_kind="Deployment"} 1.0',
        'reloader_events_received_total{event_type="update",resource_type="configmap"} 1.0',
        'reloader_workloads_matched_total{kind="Deployment"} 1.0',
        'reloader_reconcile_total{result="success"} 1.0',
        "reloader_workqueue_depth 0.0",
        "reroll_rollouts_total",
    ):
        assert line in text, line


class TestJobs:
    TEMPLATE: ClassVar[dict[str, Any]] = {
        "spec": {
            "restartPolicy": "Never",
            "containers": [
                {
                    "name": "main",
                    "image": "example.invalid/app:1",
                    "envFrom": [{"configMapRef": {"name": "app"}}],
                }
            ],
        }
    }

    async def job(self, stage: Stage, name: str) -> dict[str, Any]:
        return await stage.get("Job", name)

    async def test_a_job_is_created_again_under_its_name(self, stage: Stage, reloader: Running) -> None:
        await stage.config_map("app", {"key": "1"})
        await stage.create(
            {
                "apiVersion": "batch/v1",
                "kind": "Job",
                "metadata": {"name": "once", "annotations": {AUTO: "true"}},
                "spec": {"template": self.TEMPLATE},
            }
        )
        before = (await self.job(stage, "once"))["metadata"]["uid"]
        async with reloader(stage, "--reload-strategy=annotations"):
            await stage.adopted("once", "Job")
            await stage.set("ConfigMap", "app", {"key": "2"})

            async def again() -> bool:
                try:
                    return bool((await self.job(stage, "once"))["metadata"]["uid"] != before)
                except Exception:
                    return False  # between its deletion and its creation

            await stage.until(again, "it was not created again")
        assert MARK in (await self.job(stage, "once"))["spec"]["template"]["metadata"]["annotations"]

    @pytest.mark.parametrize(
        ("flags", "starts"), [((), True), (("--ignored-workload-types=cronjobs",), False)]
    )
    async def test_a_cron_job_starts_a_job_at_once(
        self, stage: Stage, scene: Scene, reloader: Running, flags: tuple[str, ...], starts: bool
    ) -> None:
        await stage.config_map("app", {"key": "1"})
        await stage.create(
            {
                "apiVersion": "batch/v1",
                "kind": "CronJob",
                "metadata": {"name": "nightly", "annotations": {CM: "app"}},
                "spec": {"schedule": "0 3 * * *", "jobTemplate": {"spec": {"template": self.TEMPLATE}}},
            }
        )

        async def started() -> list[Any]:
            items = msgspec.json.decode(await stage.client.list_page(stage.path("Job")))["items"]
            key = "cronjob.kubernetes.io/instantiate"
            return [item for item in items if key in item["metadata"].get("annotations", {})]

        async with reloader(stage, *flags) as control:
            await scene.rest(control)
            await stage.set("ConfigMap", "app", {"key": "2"})
            if starts:
                await stage.until(started, "no Job was started")
            await scene.rest(control)
            assert len(await started()) == starts
