"""explain says what the controller would do, on a real API server, and shows no content."""

from __future__ import annotations

import asyncio
import io
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from reroll.app import Controller
from reroll.cli.explanation import show
from reroll.core.records import WorkloadId
from reroll.insight.explain import explain
from reroll.insight.explanation import ConfigExplanation, Explanation
from reroll.settings import Settings
from tests.cli.command import reroll
from tests.controller.conftest import NewWorkload, Stage

VALUE = "correct-horse-battery"


def container() -> dict[str, Any]:
    refs = {"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "app", "key": "level"}}}
    return {"env": [refs], "envFrom": [{"secretRef": {"name": "db"}}]}


async def ask(stage: Stage, name: str = "web", **settings: Any) -> Explanation:
    return await explain(
        stage.client,
        WorkloadId("Deployment", stage.namespace, name),
        Settings(**settings),
        key_places=[(stage.namespace, "reroll-digest-key")],
    )


def text(explanation: Explanation) -> str:
    out = io.StringIO()
    show(explanation, Console(file=out, width=120))
    return out.getvalue()


async def test_up_to_date_then_stale_then_followed(stage: Stage, new_workload: NewWorkload) -> None:
    await stage.config_map("app", {"level": "info", "other": "1"})
    await stage.secret("db", {"password": VALUE})
    await stage.create(new_workload("web", container=container()))
    async with stage.controller() as control:
        await stage.adopted("web")
        await stage.quiet(control)
    found = await ask(stage)
    assert (found.decision, found.stale, found.enabled) == ("skip", False, True)
    assert [(c.config, c.followed, c.stale) for c in found.configs] == [
        ("configmap/app", True, False),
        ("secret/db", True, False),
    ]
    assert "running pods never see a change" in text(found)
    assert (
        next(s.origin for s in found.policy if s.name == "auto")
        == "annotation reroll.dev/auto of the workload"
    )

    # Each change is in a later second than the pods, which is what a time stamp can tell.
    await stage.pods_older_than_now("web")
    await stage.set("Secret", "db", {"password": VALUE + "2"})
    found = await ask(stage)
    assert (found.decision, found.stale) == ("roll", True)
    [stale] = [c for c in found.configs if c.stale]
    assert stale.config == "secret/db"
    assert [(k.key, k.same) for k in stale.keys] == [("password", False)]
    assert "secret/db changed (password)" in text(found)
    assert "stale: it would be rolled now" in text(found)
    whole = text(found) + msgspec.json.encode(found).decode()
    assert VALUE not in whole

    async with stage.controller():
        await stage.rolled("web", 1)
    assert (await ask(stage)).decision == "skip"


@pytest.mark.parametrize("marks", ["reroll", "env-vars", "annotations", "wave"])
async def test_marks_of_any_style_are_no_change_by_somebody_else(
    stage: Stage, new_workload: NewWorkload, marks: str
) -> None:
    await stage.config_map("app", {"level": "info"})
    await stage.secret("db", {"password": VALUE})
    await stage.create(new_workload("web", container=container()))
    async with stage.controller(marks=marks) as control:
        await stage.adopted("web")
        await stage.set("ConfigMap", "app", {"level": "debug"})
        await stage.rolled("web", 1)
        await stage.quiet(control)
    found = await ask(stage)
    assert (found.decision, found.stale) == ("skip", False), found.reason
    # Times are whole seconds: of what happens in one and the same, it can't be told which came first.
    await asyncio.sleep(1.1)
    await stage.patch("Deployment", "web", {"spec": {"template": {"metadata": {"labels": {"by": "hand"}}}}})
    found = await ask(stage)
    assert found.decision in ("wait", "record"), "until its rollout has ended, and then"
    assert not found.stale
    assert "another client changed its pod template" in found.reason


async def test_what_is_not_followed_and_what_is_missing_is_said(
    stage: Stage, control: Controller, new_workload: NewWorkload
) -> None:
    await stage.create(new_workload("web", annotations={}, container=container()))
    found = await ask(stage)
    assert not found.enabled
    assert 'reroll.dev/auto: "true"' in text(found)
    assert [c.note for c in found.configs] == ["the policy does not follow it"] * 2
    found = await ask(stage, auto_all=True)
    assert found.decision == "adopt"
    assert [c.exists for c in found.configs] == [False, False]
    assert "does not exist" in text(found)


async def test_many_keys_and_one_that_is_left_out(stage: Stage, new_workload: NewWorkload) -> None:
    """Of many keys one digest is recorded; a key that was chosen not to count is no difference."""
    await stage.config_map("big", {f"K{number}": "1" for number in range(40)})
    await stage.config_map("small", {"A": "1", "B": "1"})
    refs = [{"configMapRef": {"name": name}} for name in ("big", "small")]
    annotations = {"reroll.dev/auto": "true", "reroll.dev/ignore": "small#B"}
    await stage.create(new_workload("web", annotations=annotations, container={"envFrom": refs}))
    async with stage.controller() as control:
        await stage.adopted("web")
        await stage.quiet(control)
    await stage.set("ConfigMap", "small", {"B": "2"})
    found = await ask(stage)
    assert {c.config: [(k.key, k.same) for k in c.keys] for c in found.configs} == {
        "configmap/big": [("(all keys)", True)],
        "configmap/small": [("A", True)],
    }
    assert found.decision == "skip"
    await stage.pods_older_than_now("web")
    await stage.set("ConfigMap", "big", {"K7": "2"})
    found = await ask(stage)
    assert next(c for c in found.configs if c.config == "configmap/big").keys[0].same is False


# --- the settings of the controller --------------------------------------------------------------------


def of(found: Explanation, config: str) -> ConfigExplanation:
    return next(c for c in found.configs if c.config == config)


async def adopted(stage: Stage, new_workload: NewWorkload, **settings: Any) -> None:
    """web, which reads configmap/app and secret/db, as a controller with these settings left it."""
    await stage.config_map("app", {"level": "info"})
    await stage.secret("db", {"password": VALUE})
    await stage.create(new_workload("web", container=container()))
    async with stage.controller(**settings) as control:
        await stage.adopted("web")
        await stage.quiet(control)
    await stage.pods_older_than_now("web")


async def test_a_deletion_that_rolls_is_not_said_to_roll_nothing(
    stage: Stage, new_workload: NewWorkload
) -> None:
    """C15: the decision was to roll, and the note beside it said that the deletion alone rolls nothing."""
    await adopted(stage, new_workload)
    await stage.delete("ConfigMap", "app")
    kept = await ask(stage)
    assert (kept.decision, kept.stale, of(kept, "configmap/app").state) == ("skip", False, "does not exist")
    assert "that alone rolls nothing" in of(kept, "configmap/app").note

    found = await ask(stage, on_delete=True)
    assert (found.decision, found.reason, found.stale) == ("roll", "configmap/app was deleted", True)
    assert (of(found, "configmap/app").state, of(found, "configmap/app").note) == (
        "stale",
        "configmap/app was deleted",
    )
    assert "rolls nothing" not in text(found)
    assert "controller setting --on-delete" in text(found)

    await stage.patch("Deployment", "web", {"metadata": {"annotations": {"reroll.dev/on-delete": "true"}}})
    by_annotation = await ask(stage)
    assert by_annotation.decision == "roll"
    assert "rolls nothing" not in text(by_annotation)


async def test_it_decides_as_a_controller_with_its_settings(stage: Stage, new_workload: NewWorkload) -> None:
    """Each setting that can change the decision, asked where it does."""
    await adopted(stage, new_workload)
    await stage.set("ConfigMap", "app", {"level": "debug"})
    assert (await ask(stage)).decision == "roll"

    for settings, reason in (
        (
            {"namespaces_to_ignore": (stage.namespace,)},
            "its namespace is left alone (--namespaces-to-ignore)",
        ),
        (
            {"namespaces": ("other",)},
            "its namespace is none of those that the controller works in (--namespace)",
        ),
        ({"namespace_selector": "no=such"}, "the labels of its namespace don't match --namespace-selector"),
        ({"workload_selector": "no=such"}, "its labels don't match --workload-selector"),
        ({"kinds": "daemonsets"}, "its kind is none of those that the controller follows (--kinds"),
        ({"webhook_url": "http://x"}, "rolls nothing (--webhook-url)"),
    ):
        found = await ask(stage, **settings)
        assert (found.decision, found.stale, found.enabled) == ("skip", False, False), settings
        assert reason in found.reason
        assert found.outside == found.reason
        assert "left out by the controller's settings" in text(found)
        assert 'reroll.dev/auto: "true"' not in text(found)
        assert {c.note for c in found.configs} == {"the workload is left out"}

    found = await ask(stage, config_kinds="secrets")
    assert (found.decision, of(found, "configmap/app").note) == (
        "record",
        "its kind is not followed (--config-kinds)",
    )
    found = await ask(stage, config_selector="no=such")
    assert not found.stale
    assert of(found, "configmap/app").note == "its labels don't match --config-selector"
    found = await ask(stage, settle=7.0, settle_max=30.0)
    assert next(s.value for s in found.policy if s.name == "settle") == "7s (at most 30s)"


async def test_what_appears_is_told_by_on_create(stage: Stage, new_workload: NewWorkload) -> None:
    refs = {
        "name": "MODE",
        "valueFrom": {"configMapKeyRef": {"name": "more", "key": "mode", "optional": True}},
    }
    await stage.create(new_workload("web", container={"env": [refs]}))
    async with stage.controller() as control:
        await stage.adopted("web")
        await stage.quiet(control)
    await stage.pods_older_than_now("web")
    await stage.config_map("more", {"mode": "x"})
    found = await ask(stage)
    assert (found.decision, of(found, "configmap/more").note) == ("roll", "configmap/more appeared")
    found = await ask(stage, on_create="never")
    assert (found.decision, found.stale) == ("record", False)
    assert of(found, "configmap/more").state == "not recorded yet"


async def test_reloaders_annotations(stage: Stage, new_workload: NewWorkload) -> None:
    await stage.config_map("app", {"level": "info"})
    refs = {"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "app", "key": "level"}}}
    annotations = {"reloader.stakater.com/auto": "true"}
    await stage.create(new_workload("web", annotations=annotations, container={"env": [refs]}))
    here: dict[str, Any] = {"namespaces": (stage.namespace,)}

    async def follows(**settings: Any) -> tuple[bool, bool]:
        """Whether it is followed: by a controller, and as explain says."""
        async with stage.controller(**settings) as control:
            entry = control.store.workload(WorkloadId("Deployment", stage.namespace, "web"))
            assert entry is not None
            return entry.policy.enabled, (await ask(stage, **here, **settings)).enabled

    assert await follows() == (True, True)
    assert await follows(reloader_annotations=False) == (False, False)
    reloader = new_workload("reloader", annotations={}, container={"image": "ghcr.io/stakater/reloader:v1"})
    reloader["metadata"]["labels"] = {"app": "reloader"}
    await stage.create(reloader)
    assert await follows() == (False, False)
    assert await follows(beside_reloader=True) == (True, True)
    found = await ask(stage, **here)
    assert f"deployment/{stage.namespace}/reloader is stakater/Reloader" in " ".join(found.notes)


async def test_the_command_reads_settings_as_the_controller_does(
    stage: Stage, new_workload: NewWorkload, tmp_path: Path
) -> None:
    await adopted(stage, new_workload)
    await stage.delete("ConfigMap", "app")
    command = ["explain", "deployment/web", "-n", stage.namespace, "-o", "json"]
    command += ["--key-namespace", stage.namespace]

    async def decision(*options: object, **environ: str) -> str:
        environ["KUBECONFIG"] = str(stage.kubeconfig)
        done = await asyncio.to_thread(partial(reroll, *command, *options, **environ))  # type: ignore[arg-type]
        assert done.returncode == 0, done.stderr
        return str(msgspec.json.decode(done.stdout)["decision"])

    file = tmp_path / "settings.yaml"
    file.write_text("on_delete: true\n")
    assert await decision() == "skip"
    assert await decision("--on-delete") == "roll"
    assert await decision(REROLL_ON_DELETE="true") == "roll"
    assert await decision("--config", file) == "roll"
    assert await decision(REROLL_CONFIG=str(file)) == "roll"
    assert await decision("--no-on-delete", REROLL_CONFIG=str(file)) == "skip"
