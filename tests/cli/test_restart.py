"""`reroll restart` as a command, on a real API server: what it prints, and its exit codes."""

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


@pytest.fixture(autouse=True)
async def goodbye() -> AsyncIterator[None]:
    """Watches that the stage ends still say goodbye by TLS when its client is closed: the loop goes on so long."""
    yield
    await asyncio.sleep(0.2)


async def restart(stage: Stage, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it, while the stage's watches go on."""
    more = ("-n", stage.namespace, "--kubeconfig", str(stage.kubeconfig))
    return await asyncio.to_thread(reroll, "restart", *arguments, *more)


@pytest.fixture
async def web(stage: Stage, new_workload: NewWorkload) -> Stage:
    """A stage with a Deployment that reads a ConfigMap, and whose pods run."""
    refs = [{"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "app", "key": "level"}}}]
    await stage.config_map("app", {"level": "info"})
    await stage.create(
        new_workload("web", container={"env": refs}, annotations={}, progressDeadlineSeconds=2)
    )
    await stage.pods_older_than_now("web")

    async def ready() -> bool:
        return bool((await stage.get("Deployment", "web"))["status"].get("availableReplicas") == 1)

    await stage.until(ready, "web is not ready")
    return stage


async def test_plain_lines_and_the_exit_code(web: Stage) -> None:
    done = await restart(web, "--consumers-of", "configmap/app#level", "--wait")
    assert done.returncode == 0, done.stderr
    where = f"deployment/{web.namespace}/web"
    assert f"{where}: done: all 1 pod new and available" in done.stdout
    assert done.stdout.splitlines()[-1] == "1 workload: 1 restarted."
    assert "\x1b" not in done.stdout


async def test_a_dry_run_as_data(web: Stage) -> None:
    done = await restart(web, "deploy/web", "--dry-run", "-o", "json")
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)["outcomes"]
    assert (found["name"], found["state"]) == ("web", "planned")
    found = yaml.safe_load((await restart(web, "deploy/web", "--dry-run", "-o", "yaml")).stdout)
    assert found["outcomes"][0]["action"] == "rollout"


async def test_nothing_to_do(web: Stage) -> None:
    for arguments in (("--only-stale",), ("--consumers-of", "secret/none"), ("-l", "team=none")):
        done = await restart(web, *arguments)
        assert (done.returncode, done.stdout) == (0, "Nothing is to be restarted.\n"), done.stderr
        assert (await restart(web, *arguments, "--exit-code")).returncode == 4


async def test_failed_and_timed_out(web: Stage) -> None:
    done = await restart(web, "deploy/nope", "--wait")
    assert done.returncode == 1
    assert "there is no such workload" in done.stdout
    body = {"metadata": {"name": "few"}, "spec": {"hard": {"pods": "1"}}}
    await web.client.create(f"/api/v1/namespaces/{web.namespace}/resourcequotas", web.encode(body))
    await asyncio.sleep(0.5)
    done = await restart(web, "deploy/web", "--wait", "--timeout", "500ms")
    assert done.returncode == 3, done.stdout
    assert "timed out" in done.stdout
    done = await restart(web, "deploy/web", "--rollback-on-failure")
    assert done.returncode == 1, done.stdout
    assert "exceeded quota" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "say which workloads"),
        (("web",), "write KIND/NAME"),
        (("pod/web",), "write KIND/NAME"),
        (("deployment/web", "-A"), "is of one namespace"),
        (("-A", "-n", "a", "--only-stale"), "exclude each other"),
        (("-l", "a=b=c"), "label selector"),
        (("--consumers-of", "pod/x/y/z"), "--consumers-of"),
        (("deploy/web", "--timeout", "30"), "write 30s"),
        (("deploy/web", "--max-in-flight", "0"), "at least 1"),
        (("deploy/web", "--log-lines", "-1"), "at least 0"),
        (("deploy/web", "--method", "evict", "--rollback-on-failure"), "--method rollout"),
        (("deploy/web", "--method", "magic"), "magic"),
    ],
)
def test_what_is_not_understood_exits_with_2(arguments: tuple[str, ...], message: str, tmp_path: Any) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(
        "{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c, user: u}}],"
        " clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}], users: [{name: u, user: {}}]}"
    )
    done = reroll("restart", *arguments, "--kubeconfig", str(file))
    assert done.returncode == 2, done.stderr
    assert message in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_help_has_examples_and_exit_codes() -> None:
    done = reroll("restart", "--help")
    assert done.returncode == 0
    assert "Example: reroll restart --consumers-of" in done.stdout
    assert "Exit codes" in done.stdout
