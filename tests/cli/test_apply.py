"""`reroll apply` as a command, on a real API server: what it prints, and its exit codes."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.command import reroll
from tests.controller.conftest import NewWorkload, Stage

APP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: app}}\ndata: {{level: {0}}}\n"


@pytest.fixture(autouse=True)
async def goodbye() -> AsyncIterator[None]:
    """Watches that the stage ends still say goodbye by TLS when its client is closed: the loop goes on so long."""
    yield
    await asyncio.sleep(0.2)


async def apply(stage: Stage, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run it, while the stage's watches go on."""
    more = ("-n", stage.namespace, "--kubeconfig", str(stage.kubeconfig))
    return await asyncio.to_thread(reroll, "apply", *arguments, *more, stdin=stdin)


async def test_folders_and_standard_input(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "app.yaml").write_text(APP.format("info"))
    (tmp_path / "notes.txt").write_text("no manifest")
    done = await apply(stage, str(tmp_path))
    assert done.returncode == 0, done.stderr
    where = f"configmap/{stage.namespace}/app"
    assert done.stdout == f"{where}: created\n1 object: 1 created.\n"
    done = await apply(stage, "-", "--exit-code", stdin=APP.format("debug") + "---\n# nothing\n")
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, f"{where}: configured (level)")
    done = await apply(stage, "-", "--exit-code", stdin=APP.format("debug"))
    assert (done.returncode, done.stdout.splitlines()[0]) == (4, f"{where}: unchanged")


async def test_the_plan_as_data(stage: Stage, new_workload: NewWorkload) -> None:
    refs = [{"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "app", "key": "level"}}}]
    await stage.config_map("app", {"level": "info"})
    await stage.create(new_workload("web", container={"env": refs}, annotations={}))
    plan = await apply(stage, "-", "--dry-run", "--force-conflicts", "-o", "json", stdin=APP.format("debug"))
    assert plan.returncode == 0, plan.stderr
    found = json.loads(plan.stdout)
    assert found["dry_run"] is True
    assert [(each["state"], each["keys"]) for each in found["objects"]] == [("configured", ["level"])]
    assert [(each["name"], each["state"]) for each in found["outcomes"]] == [("web", "planned")]
    assert (await stage.get("ConfigMap", "app"))["data"] == {"level": "info"}
    done = await apply(stage, "-", "-o", "yaml", stdin=APP.format("debug"))
    assert done.returncode == 1
    assert "--force-conflicts" in yaml.safe_load(done.stdout)["objects"][0]["message"]


@pytest.mark.parametrize(
    ("arguments", "given", "message"),
    [
        ((), "", "say what to apply"),
        (("/nowhere.yaml",), "", "cannot be read"),
        (("-",), "a: [1\n", "standard input:"),
        (("-",), "just: text\n", "is no Kubernetes object"),
        (("-",), "{apiVersion: v1, kind: Pod, metadata: {generateName: x-}}", "only objects with a name"),
        (("-",), "name: {{ .Values.name }}\n", "render it first"),
        (("-", "--timeout", "30"), "", "write 30s"),
        (("-", "--max-in-flight", "0"), "", "at least 1"),
        (("-", "--log-lines", "-1"), "", "at least 0"),
        (("-", "--no-wait", "--rollback-on-failure"), "", "--rollback-on-failure"),
        (("-", "--prune"), "", "unknown option --prune"),
    ],
)
def test_what_is_not_understood_exits_with_2(
    arguments: tuple[str, ...], given: str, message: str, tmp_path: Any
) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(
        "{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c, user: u}}],"
        " clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}], users: [{name: u, user: {}}]}"
    )
    done = reroll("apply", *arguments, "--kubeconfig", str(file), stdin=given)
    assert done.returncode == 2, done.stderr
    assert message in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_help_has_examples_and_exit_codes() -> None:
    done = reroll("apply", "--help")
    assert done.returncode == 0
    assert "Example: helm template web ./chart | reroll apply -" in done.stdout
    assert "Exit codes" in done.stdout
