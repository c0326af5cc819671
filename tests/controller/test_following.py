"""Workloads follow what they consume, and nothing else: the whole controller on a real API server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from reroll.app import Controller
from reroll.core.observe import STARTS_WITHIN
from reroll.core.records import ConfigRecord
from tests.conftest import Kubectl
from tests.controller.conftest import NewWorkload, Stage

Json = dict[str, Any]


def mounted(source: Json, **mount: Any) -> Json:
    """A workload's fields for one mounted volume."""
    return {
        "container": {"volumeMounts": [{"name": "v", "mountPath": "/etc/app", **mount}]},
        "volumes": [{"name": "v", **source}],
    }


def env(key: str, name: str = "app", kind: str = "configMap", **extra: Any) -> Json:
    ref = {"name": name, "key": key, **extra}
    return {"container": {"env": [{"name": "X", "valueFrom": {f"{kind}KeyRef": ref}}]}}


OPTIONAL = {"name": "b", "optional": True}

# How a pod template consumes it; the kind of object; a key that counts; one that does not (None: all count).
CONSUMPTION = {
    "env": (env("used"), "ConfigMap", "used", "other"),
    "env from a Secret": (env("used", kind="secret"), "Secret", "used", "other"),
    "envFrom": ({"container": {"envFrom": [{"configMapRef": {"name": "app"}}]}}, "ConfigMap", "used", None),
    "volume": (mounted({"configMap": {"name": "app"}}), "ConfigMap", "used", None),
    "volume with items": (
        mounted({"secret": {"secretName": "app", "items": [{"key": "used", "path": "f"}]}}),
        "Secret",
        "used",
        "other",
    ),
    "subPath": (mounted({"configMap": {"name": "app"}}, subPath="used"), "ConfigMap", "used", "other"),
    "projected": (
        mounted({"projected": {"sources": [{"secret": {"name": "app"}}, {"configMap": OPTIONAL}]}}),
        "Secret",
        "used",
        None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("means", CONSUMPTION)
async def test_a_key_that_is_consumed_rolls_once_and_another_does_not(
    stage: Stage, control: Controller, new_workload: NewWorkload, means: str
) -> None:
    fields, kind, used, other = CONSUMPTION[means]
    make = stage.secret if kind == "Secret" else stage.config_map
    await make("app", {"used": "1", "other": "1"})
    await stage.create(new_workload("web", **fields))
    await stage.adopted("web")
    if other is not None:
        await stage.set(kind, "app", {other: "2"})
        await stage.quiet(control)
        assert await stage.rollouts("web") == 0
    await stage.set(kind, "app", {used: "2"})
    await stage.rolled("web", 1)
    await stage.quiet(control)
    assert await stage.rollouts("web") == 1
    [event] = await stage.until(lambda: stage.events("web"), "no Event")
    assert event["reason"] == "Rolled"
    assert f"{kind.lower()}/app changed (used)" in event["note"]


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
async def test_other_kinds_follow(
    stage: Stage, control: Controller, new_workload: NewWorkload, kind: str
) -> None:
    await stage.config_map("app", {"used": "1"})
    await stage.create(new_workload("web", kind=kind, **env("used")))
    await stage.adopted("web", kind)
    await stage.set("ConfigMap", "app", {"used": "2"})
    await stage.rolled("web", 1, kind)
    await stage.quiet(control)
    assert await stage.rollouts("web", kind) == 1


async def test_what_is_not_opted_in_is_never_touched(
    stage: Stage, control: Controller, new_workload: NewWorkload
) -> None:
    await stage.config_map("app", {"used": "1"})
    await stage.create(new_workload("web", annotations={}, **env("used")))
    await stage.create(new_workload("off", annotations={"reroll.dev/auto": "false"}, **env("used")))
    await stage.set("ConfigMap", "app", {"used": "2"})
    await stage.quiet(control)
    for name in ("web", "off"):
        found = await stage.get("Deployment", name)
        assert await stage.rollouts(name) == 0
        assert "reroll.dev/applied" not in found["metadata"].get("annotations", {})


async def test_labels_and_annotations_of_a_config_object_roll_nothing(
    stage: Stage, control: Controller, new_workload: NewWorkload
) -> None:
    await stage.config_map("app", {"used": "1"})
    await stage.create(new_workload("web", **env("used")))
    await stage.adopted("web")
    await stage.patch("ConfigMap", "app", {"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}}})
    await stage.quiet(control)
    assert await stage.rollouts("web") == 0


async def starts_no_pods(control: Controller) -> bool:
    """Does the controller know that the one workload's rollout has ended, or stands still?"""
    [entry] = control.store.entries()
    return entry.progress is not None and (entry.progress.ended or entry.progress.standing)


@pytest.mark.parametrize("kind", ["ConfigMap", "Secret"])
async def test_what_changes_between_its_creation_and_its_adoption_is_a_change(
    stage: Stage, new_workload: NewWorkload, kind: str
) -> None:
    """On a busy machine, much can happen until a new workload is decided on."""
    make = stage.secret if kind == "Secret" else stage.config_map
    fields = env("used", kind="secret" if kind == "Secret" else "configMap")
    async with stage.controller() as control:
        await make("app", {"used": "1"})
        decide = control.store.ask
        control.store.ask = lambda workload, cause: None
        await stage.create(new_workload("web", **fields))
        await stage.complete("web")
        await stage.set(kind, "app", {"used": "2"})
        await stage.until(lambda: is_held(control), "it was not seen")
        control.store.ask = decide
        for workload in list(control.store.workloads()):
            control.store.ask(workload, None)
        await stage.rolled("web", 1)
        await stage.quiet(control)
        assert await stage.rollouts("web") == 1


async def is_held(control: Controller) -> bool:
    """Have both watches brought all there is?"""
    [entry] = control.store.entries()
    state = control.store.configs.state(entry.consumed[0].config)
    return (
        entry.progress is not None
        and entry.progress.ended
        and isinstance(state, ConfigRecord)
        and state.change.live
    )


async def test_many_changes_within_the_settle_time_are_one_rollout(
    stage: Stage, new_workload: NewWorkload
) -> None:
    async with stage.controller(settle=1.0, settle_max=10.0) as control:
        sources = [{"configMap": {"name": f"part-{i}"}} for i in range(15)]
        for i in range(15):
            await stage.config_map(f"part-{i}", {"a": "1"})
        await stage.create(new_workload("web", **mounted({"projected": {"sources": sources}})))
        await stage.adopted("web")
        for i in range(15):
            await stage.set("ConfigMap", f"part-{i}", {"a": "2"})
        await stage.rolled("web", 1)
        await stage.quiet(control)
        assert await stage.rollouts("web") == 1


@pytest.mark.parametrize("paused", [False, True])
async def test_changed_and_put_back_is_no_rollout(
    stage: Stage, new_workload: NewWorkload, paused: bool
) -> None:
    async with stage.controller(settle=0.8) as control:
        await stage.config_map("app", {"used": "1"})
        await stage.create(new_workload("web", paused=paused, **env("used")))
        await stage.adopted("web")
        # Pods that start in between read the other content, as far as the controller knows.
        await stage.until(lambda: starts_no_pods(control), "pods may start at any time")
        await stage.set("ConfigMap", "app", {"used": "2"})
        await stage.set("ConfigMap", "app", {"used": "1"})
        await stage.quiet(control)
        assert await stage.rollouts("web") == 0


async def test_a_change_while_no_controller_runs_is_caught_up_and_a_restart_alone_rolls_nothing(
    stage: Stage, new_workload: NewWorkload
) -> None:
    await stage.config_map("app", {"used": "1"})
    await stage.secret("db", {"password": "1"})
    await stage.create(new_workload("web", **env("used")))
    await stage.create(new_workload("api", **env("password", "db", "secret")))
    async with stage.controller() as control:
        await stage.adopted("web")
        await stage.adopted("api")
        await stage.quiet(control)
    await stage.set("ConfigMap", "app", {"used": "2"})
    async with stage.controller() as control:
        await stage.rolled("web", 1)
        await stage.quiet(control)
    async with stage.controller() as control:
        await stage.quiet(control)
        assert await stage.rollouts("web") == 1
        assert await stage.rollouts("api") == 0


class TestTheUsersRolloutWins:
    async def test_one_deploy_that_changes_both_is_one_rollout(
        self, stage: Stage, new_workload: NewWorkload
    ) -> None:
        async with stage.controller(settle=0.5) as control:
            await stage.config_map("app", {"used": "1"})
            await stage.create(new_workload("web", **env("used")))
            await stage.adopted("web")
            await stage.set("ConfigMap", "app", {"used": "2"})
            image = {"name": "main", "image": "example.invalid/app:2"}
            await stage.client.patch(
                stage.path("Deployment", "web"),
                stage.encode({"spec": {"template": {"spec": {"containers": [image]}}}}),
                content_type="application/strategic-merge-patch+json",
            )
            await stage.quiet(control)
            assert await stage.rollouts("web") == 1
            await stage.set("ConfigMap", "app", {"used": "3"})
            await stage.rolled("web", 2)

    async def test_an_undo_stays_undone_and_later_changes_are_followed(
        self, stage: Stage, control: Controller, new_workload: NewWorkload, kubectl: Kubectl
    ) -> None:
        await stage.config_map("app", {"used": "1"})
        await stage.create(new_workload("web", **env("used")))
        await stage.adopted("web")
        await stage.revision("web", 1)
        await stage.set("ConfigMap", "app", {"used": "2"})
        await stage.rolled("web", 1)
        await stage.revision("web", 2)
        kubectl("rollout", "undo", "deployment/web", "-n", stage.namespace)
        await stage.quiet(control)
        assert await stage.rollouts("web") == 2  # the roll and the undo
        # The content that the undone template was made for comes back: its pods were started with other content.
        await stage.set("ConfigMap", "app", {"used": "1"})
        await stage.rolled("web", 3)
        await stage.quiet(control)
        assert await stage.rollouts("web") == 3

    async def test_a_restart_by_hand_within_the_settle_time_is_enough(
        self, stage: Stage, new_workload: NewWorkload, kubectl: Kubectl
    ) -> None:
        async with stage.controller(settle=2.0) as control:
            await stage.config_map("app", {"used": "1"})
            await stage.create(new_workload("web", **env("used")))
            await stage.adopted("web")
            await stage.set("ConfigMap", "app", {"used": "2"})
            kubectl("rollout", "restart", "deployment/web", "-n", stage.namespace)
            await stage.quiet(control)
            assert await stage.rollouts("web") == 1


class TestMissingObjects:
    async def test_a_required_one_that_appears_rolls_nothing(
        self, stage: Stage, control: Controller, new_workload: NewWorkload
    ) -> None:
        await stage.create(new_workload("web", **env("used")))
        await stage.adopted("web")
        await stage.config_map("app", {"used": "1"})
        await stage.quiet(control)
        assert await stage.rollouts("web") == 0
        await stage.set("ConfigMap", "app", {"used": "2"})
        await stage.rolled("web", 1)

    async def test_a_required_one_that_was_changed_before_it_was_seen_rolls(
        self, stage: Stage, new_workload: NewWorkload
    ) -> None:
        await stage.create(new_workload("web", **env("used")))
        async with stage.controller():
            await stage.adopted("web")
        await stage.config_map("app", {"used": "1"})
        await asyncio.sleep(STARTS_WITHIN + 0.1)
        await stage.set("ConfigMap", "app", {"used": "2"})
        async with stage.controller() as control:
            await stage.rolled("web", 1)
            await stage.quiet(control)
        assert await stage.rollouts("web") == 1

    async def test_an_optional_one_that_appears_rolls(
        self, stage: Stage, control: Controller, new_workload: NewWorkload
    ) -> None:
        await stage.create(new_workload("web", **env("used", optional=True)))
        await stage.adopted("web")
        await stage.config_map("app", {"used": "1"})
        await stage.rolled("web", 1)

    async def test_a_deletion_rolls_nothing_and_a_return_with_other_content_does(
        self, stage: Stage, control: Controller, new_workload: NewWorkload
    ) -> None:
        await stage.config_map("app", {"used": "1"})
        await stage.create(new_workload("web", **env("used")))
        await stage.adopted("web")
        await stage.delete("ConfigMap", "app")
        await stage.quiet(control)
        await stage.config_map("app", {"used": "1"})
        await stage.quiet(control)
        assert await stage.rollouts("web") == 0
        await stage.delete("ConfigMap", "app")
        await stage.config_map("app", {"used": "2"})
        await stage.rolled("web", 1)

    async def test_no_rollout_into_pods_that_could_not_start(
        self, stage: Stage, control: Controller, new_workload: NewWorkload
    ) -> None:
        await stage.config_map("app", {"used": "1"})
        await stage.secret("db", {"password": "1"})
        container = env("used")["container"]
        container["envFrom"] = [{"secretRef": {"name": "db"}}]
        await stage.create(new_workload("web", container=container))
        await stage.adopted("web")
        await stage.delete("Secret", "db")
        await stage.set("ConfigMap", "app", {"used": "2"})
        await stage.quiet(control)
        assert await stage.rollouts("web") == 0
        [event] = await stage.until(lambda: stage.events("web"), "no Event")
        assert event["type"] == "Warning"
        assert "secret/db does not exist" in event["note"]
        await stage.secret("db", {"password": "1"})
        await stage.rolled("web", 1)


class TestStatesOfAWorkload:
    async def test_paused_is_marked_and_reported(
        self, stage: Stage, control: Controller, new_workload: NewWorkload
    ) -> None:
        await stage.config_map("app", {"used": "1"})
        await stage.create(new_workload("web", paused=True, **env("used")))
        await stage.adopted("web")
        await stage.set("ConfigMap", "app", {"used": "2"})
        await stage.rolled("web", 1)
        [event] = await stage.until(lambda: stage.events("web"), "no Event")
        assert "paused" in event["note"]
        assert (await stage.get("Deployment", "web"))["spec"]["paused"] is True

    async def test_on_delete_is_marked_and_reported(
        self, stage: Stage, control: Controller, new_workload: NewWorkload
    ) -> None:
        await stage.config_map("app", {"used": "1"})
        strategy = {"updateStrategy": {"type": "OnDelete"}}
        await stage.create(new_workload("web", kind="StatefulSet", **env("used"), **strategy))
        await stage.adopted("web", "StatefulSet")
        await stage.set("ConfigMap", "app", {"used": "2"})
        await stage.rolled("web", 1, "StatefulSet")
        [event] = await stage.until(lambda: stage.events("web"), "no Event")
        assert "OnDelete" in event["note"]

    async def test_without_replicas_nothing_is_rolled(
        self, stage: Stage, control: Controller, new_workload: NewWorkload
    ) -> None:
        await stage.config_map("app", {"used": "1"})
        await stage.create(new_workload("web", replicas=0, **env("used")))
        before = await stage.adopted("web")
        await stage.set("ConfigMap", "app", {"used": "2"})
        await stage.quiet(control)
        assert await stage.rollouts("web") == 0
        assert (await stage.adopted("web"))["configs"] != before["configs"]


class TestPolicy:
    async def test_defaults_of_the_namespace(self, stage: Stage, new_workload: NewWorkload) -> None:
        path = f"/api/v1/namespaces/{stage.namespace}"
        await stage.client.patch(
            path, stage.encode({"metadata": {"annotations": {"reroll.dev/auto": "true"}}})
        )
        async with stage.controller() as control:
            await stage.config_map("app", {"used": "1"})
            await stage.create(new_workload("web", annotations={}, **env("used")))
            await stage.create(new_workload("off", annotations={"reroll.dev/auto": "false"}, **env("used")))
            await stage.adopted("web")
            await stage.set("ConfigMap", "app", {"used": "2"})
            await stage.rolled("web", 1)
            await stage.quiet(control)
            assert await stage.rollouts("off") == 0

    async def test_follow_names_what_the_template_does_not(
        self, stage: Stage, control: Controller, new_workload: NewWorkload
    ) -> None:
        await stage.config_map("rules", {"a": "1", "b": "1"})
        await stage.create(new_workload("web", annotations={"reroll.dev/follow": "configmap/rules#a"}))
        await stage.adopted("web")
        await stage.set("ConfigMap", "rules", {"b": "2"})
        await stage.quiet(control)
        assert await stage.rollouts("web") == 0
        await stage.set("ConfigMap", "rules", {"a": "2"})
        await stage.rolled("web", 1)

    async def test_ignored_objects_and_opting_in_later(
        self, stage: Stage, control: Controller, new_workload: NewWorkload
    ) -> None:
        await stage.config_map("app", {"used": "1"}, annotations={"reroll.dev/ignore": "true"})
        await stage.create(new_workload("web", annotations={}, **env("used")))
        await stage.patch("Deployment", "web", {"metadata": {"annotations": {"reroll.dev/auto": "true"}}})
        await stage.set("ConfigMap", "app", {"used": "2"})
        await stage.quiet(control)
        assert await stage.rollouts("web") == 0
        await stage.patch("ConfigMap", "app", {"metadata": {"annotations": {"reroll.dev/ignore": None}}})
        await stage.adopted("web")
        await stage.set("ConfigMap", "app", {"used": "3"})
        await stage.rolled("web", 1)

    @pytest.mark.parametrize(
        "annotations",
        [
            {"reloader.stakater.com/auto": "true"},
            {"configmap.reloader.stakater.com/auto": "true"},
            {"configmap.reloader.stakater.com/reload": "app"},
            {"configmap.reloader.stakater.com/reload": "other,a.*"},
        ],
    )
    async def test_annotations_of_reloader(
        self, stage: Stage, control: Controller, new_workload: NewWorkload, annotations: dict[str, str]
    ) -> None:
        await stage.config_map("app", {"used": "1"})
        await stage.create(new_workload("web", annotations=annotations, **env("used")))
        await stage.adopted("web")
        await stage.set("ConfigMap", "app", {"used": "2"})
        await stage.rolled("web", 1)

    async def test_a_bad_annotation_stops_only_itself(
        self, stage: Stage, control: Controller, new_workload: NewWorkload
    ) -> None:
        await stage.config_map("app", {"used": "1"})
        annotations = {"reroll.dev/auto": "true", "reroll.dev/settle": "soon", "reroll.dev/atuo": "x"}
        await stage.create(new_workload("web", annotations=annotations, **env("used")))
        await stage.adopted("web")
        events = await stage.until(lambda: stage.at_least_events("web", 2), "no Events")
        notes = " ".join(event["note"] for event in events)
        assert "reroll.dev/settle" in notes
        assert "reroll.dev/auto" in notes  # the nearest valid word
        await stage.set("ConfigMap", "app", {"used": "2"})
        await stage.rolled("web", 1)
