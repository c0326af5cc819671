"""explain says what the controller would do, on a real API server, and shows no content."""

from __future__ import annotations

import io
from typing import Any

import msgspec
import pytest
from rich.console import Console

from reroll.app import Controller
from reroll.cli.explanation import show
from reroll.core.policy import PolicyDefaults
from reroll.core.records import WorkloadId
from reroll.insight.explain import Explanation, explain
from tests.controller.conftest import NewWorkload, Stage

VALUE = "correct-horse-battery"


def container() -> dict[str, Any]:
    refs = {"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "app", "key": "level"}}}
    return {"env": [refs], "envFrom": [{"secretRef": {"name": "db"}}]}


async def ask(stage: Stage, name: str = "web", **settings: Any) -> Explanation:
    return await explain(
        stage.client,
        WorkloadId("Deployment", stage.namespace, name),
        PolicyDefaults(**settings),
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
    await stage.patch("Deployment", "web", {"spec": {"template": {"metadata": {"labels": {"by": "hand"}}}}})
    found = await ask(stage)
    assert found.decision == "record"
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
