"""`reroll history`, `diff`, `rollback` and `unversion` as commands, on a real API server."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from typing import Any

import pytest
import yaml

from tests.cli.command import reroll
from tests.controller.conftest import NewWorkload, Stage
from tests.versions.conftest import Scene

COMMANDS = ["history", "diff", "rollback", "unversion"]


@pytest.fixture(autouse=True)
async def goodbye() -> AsyncIterator[None]:
    """Watches that the stage ends still say goodbye by TLS when its client is closed: the loop goes on so long."""
    yield
    await asyncio.sleep(0.2)


async def run(stage: Stage, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it, while the stage's watches go on."""
    more = ("-n", stage.namespace, "--kubeconfig", str(stage.kubeconfig))
    return await asyncio.to_thread(reroll, *arguments, *more)


@pytest.fixture
async def scene(stage: Stage, new_workload: NewWorkload) -> Scene:
    """A Deployment that has had two contents of a ConfigMap and of a Secret."""
    found = Scene(stage, new_workload)
    await stage.config_map("app", {"a": "1", "same": "x"})
    await stage.secret("db", {"password": "hunter1", "user": "web"})
    container = {"envFrom": [{"configMapRef": {"name": "app"}}, {"secretRef": {"name": "db"}}]}
    await found.workload(container=container)
    async with stage.controller():
        await stage.rolled("web", 1)
        await stage.set("ConfigMap", "app", {"a": "2"})
        await stage.rolled("web", 2)
        changes = {"stringData": {"password": "hunter2", "host": "db1"}, "data": {"user": None}}
        await stage.patch("Secret", "db", changes)
        await stage.rolled("web", 3)
        await stage.complete("web")
    return found


async def test_history_and_diff(stage: Stage, scene: Scene) -> None:
    names = await scene.copies()
    done = await run(stage, "history", "configmap/app")
    assert done.returncode == 0, done.stderr
    header, one, two, _, star = done.stdout.splitlines()
    assert header.split()[:3] == ["VERSION", "NAME", "CHANGED"]
    assert one.split()[:2] == ["1", names[0]]
    assert "(revision 2 of deployment/web)" in one
    assert two.split()[:3] == ["2", "*", names[1]]
    assert "deployment/web" in two
    assert star == "* the content that it has now"
    assert "\x1b" not in done.stdout

    [row, _] = json.loads((await run(stage, "history", "cm/app", "-o", "json")).stdout)["rows"]
    assert (row["version"], row["name"], row["changed_by"]) == (1, names[0], "test")

    done = await run(stage, "diff", "configmap/app", "--exit-code")
    assert done.returncode == 1, done.stderr
    assert done.stdout.splitlines()[1:] == ["changed: a", "@@ -1 +1 @@", "-1", "+2"]
    found = yaml.safe_load((await run(stage, "diff", "configmap/app", "1", "2", "-o", "yaml")).stdout)
    assert (found["before"]["name"], found["after"]["version"]) == (names[0], 2)
    assert [key["key"] for key in found["keys"]] == ["a"]
    done = await run(stage, "diff", "configmap/app", "2", "source", "--exit-code")
    assert (done.returncode, "same content" in done.stdout) == (0, True)


async def test_of_a_secret_no_value_is_shown_unasked(stage: Stage, scene: Scene) -> None:
    for command in ("history", "diff"):
        for form in ("text", "json", "yaml"):
            done = await run(stage, command, "secret/db", "-o", form)
            assert done.returncode == 0, done.stderr
            assert "hunter" not in done.stdout + done.stderr
            assert "aHVudGVy" not in done.stdout + done.stderr
    done = await run(stage, "diff", "secret/db")
    assert done.stdout.splitlines()[1:] == ["added: host", "changed: password", "removed: user"]
    assert "-hunter1" in (await run(stage, "diff", "secret/db", "--show-secrets")).stdout


async def test_back_and_out(stage: Stage, scene: Scene) -> None:
    names, secrets = await scene.copies(), await scene.copies("db", "secret")
    done = await run(stage, "rollback", "deployment/web", "--dry-run", "-o", "json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["state"], found["where"], len(found["steps"])) == ("planned", "revision 3", 1)
    done = await run(
        stage, "rollback", "deploy/web", "--to-version", "1", "--config", "cm/app", "--restore-source"
    )
    assert done.returncode == 0, done.stderr
    assert f"configmap/app: {names[1]} -> {names[0]} (version 1)" in done.stdout
    assert f"what it had is kept as {names[1]}" in done.stdout
    assert (await scene.data("app"))["a"] == "1"
    done = await run(stage, "rollback", "deploy/web", "--to-version", "1", "--config", "cm/app")
    assert (done.returncode, "is at version 1 already" in done.stdout) == (0, True)

    done = await run(stage, "rollback", "deployment/web", "--to-version", "1", "--config", "secret/db")
    assert done.returncode == 0, done.stderr
    done = await run(stage, "unversion", "deployment/web")
    assert done.returncode == 1
    assert f"secret/db has other content than {secrets[0]}" in done.stdout
    done = await run(stage, "unversion", "--all", "--restore-source", "-o", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["workloads"][0]["state"] == "pointed back"
    assert "hunter" not in done.stdout
    assert await scene.names() == "app"
    assert (await scene.data("db", "Secret"))["password"] == "aHVudGVyMQ=="


async def test_what_is_not_there(stage: Stage) -> None:
    for arguments, message in [
        (("history", "configmap/nope"), "there is no configmap/nope in namespace"),
        (("diff", "configmap/nope"), "there is no configmap/nope in namespace"),
        (("rollback", "deployment/nope"), "there is no deployment/nope in namespace"),
    ]:
        done = await run(stage, *arguments)
        assert done.returncode == 1
        assert message in done.stderr
    await stage.config_map("app", {"a": "1"})
    done = await run(stage, "history", "configmap/app")
    assert (done.returncode, "app (no version yet)" in done.stdout) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("history", "app"), "write configmap/NAME or secret/NAME"),
        (("history", "pod/app"), "write configmap/NAME or secret/NAME"),
        (("history",), "CONFIG"),
        (("diff", "configmap/"), "write configmap/NAME or secret/NAME"),
        (("diff", "cm/app", "-o", "xml"), "xml"),
        (("rollback", "web"), "write KIND/NAME"),
        (("rollback", "deploy/web", "--to-revision", "1", "--to-version", "2"), "exclude each other"),
        (("rollback", "deploy/web", "--to-revision", "x"), "x"),
        (("rollback", "deploy/web", "--config", "web"), "write configmap/NAME or secret/NAME"),
        (("unversion",), "say which workloads"),
        (("unversion", "deploy/web", "-A"), "say which workloads"),
        (("unversion", "pod/web"), "write KIND/NAME"),
        (("unversion", "-A", "-n", "a"), "exclude each other"),
        (("unversion", "deploy/web", "-n", "a", "-n", "b"), "is of one namespace"),
    ],
)
def test_what_is_not_understood_exits_with_2(arguments: tuple[str, ...], message: str, tmp_path: Any) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(
        "{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c, user: u}}],"
        " clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}], users: [{name: u, user: {}}]}"
    )
    done = reroll(*arguments, "--kubeconfig", str(file))
    assert done.returncode == 2, done.stderr
    assert message in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples_and_exit_codes(command: str) -> None:
    done = reroll(command, "--help")
    assert done.returncode == 0
    assert f"Example: reroll {command} " in done.stdout
    assert "Exit codes" in done.stdout
