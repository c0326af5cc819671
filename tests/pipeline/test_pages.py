"""The pages of stale, restart and apply: every option is told, every command is understood, and the steps for CI
do on a real API server what they are there for."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest
import yaml

from reroll.cli.main import app
from tests.controller.conftest import NewWorkload, Stage
from tests.pipeline.starts import started_before_now

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = ("stale", "restart", "apply")
GENERAL = {"--kubeconfig", "--context", "--help", "-h", "--version"}


@pytest.fixture(autouse=True)
async def goodbye() -> AsyncIterator[None]:
    """Watches that the stage ends still say goodbye by TLS when its client is closed: the loop goes on so long."""
    yield
    await asyncio.sleep(0.2)


def text(page: str) -> str:
    return (DOCS / f"{page}.md").read_text()


def commands(page: str) -> Iterator[str]:
    """Each `reroll stale`, `restart` or `apply` of the page that has arguments."""
    for match in re.finditer(rf"reroll (?:{'|'.join(PAGES)}) [^`\n|&]+", text(page)):
        command = match[0].partition(" > ")[0].strip()
        if " tells" not in command:
            yield command


def steps(page: str) -> list[str]:
    """The scripts of its steps for CI."""
    found: list[str] = []
    for block in re.findall(r"^```yaml\n(.*?)^```$", text(page), re.MULTILINE | re.DOTALL):
        data = yaml.safe_load(block)
        if isinstance(data, list):
            found += [step["run"] for step in data]
        else:
            found += ["\n".join(job["script"]) for job in data.values()]
    return found


@pytest.mark.parametrize("page", PAGES)
def test_every_option_is_told(page: str) -> None:
    for argument in app[page].assemble_argument_collection():
        names = [name for name in argument.names if name.startswith("--")]
        if names and not GENERAL & set(names):
            assert any(f"`{name}" in text(page) for name in names), names


@pytest.mark.parametrize("command", sorted({c for page in PAGES for c in commands(page)}))
def test_every_command_is_understood(command: str) -> None:
    name, bound, _ = app.parse_args(shlex.split(command)[1:], exit_on_error=False, print_error=False)
    assert bound.arguments, command
    assert name.__name__ in PAGES


def test_there_is_something_to_test() -> None:
    assert len(steps("restart")) == len(steps("apply")) == 2


async def test_the_steps_for_ci(stage: Stage, new_workload: NewWorkload, tmp_path: Path) -> None:
    """All of them, one after the other, in a pipeline of a Deployment `web` that reads a ConfigMap."""
    kubeconfig = msgspec.yaml.decode(stage.kubeconfig.read_bytes())
    for context in kubeconfig["contexts"]:
        context["context"]["namespace"] = stage.namespace
    (tmp_path / "kubeconfig").write_bytes(msgspec.json.encode(kubeconfig))
    refs = [{"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "app", "key": "level"}}}]
    web = new_workload("web", container={"env": refs}, annotations={})
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy" / "web.yaml").write_bytes(msgspec.json.encode(web))

    def deploy(level: str) -> None:
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "app"},
            "data": {"level": level},
        }
        (tmp_path / "deploy" / "app.yaml").write_bytes(msgspec.json.encode(body))

    async def step(script: str) -> str:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("REROLL_")}
        environment["KUBECONFIG"] = str(tmp_path / "kubeconfig")
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        command = ["bash", "-e", "-c", script]
        done = await asyncio.to_thread(
            subprocess.run,
            command,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return str(done.stdout)

    plan, real = steps("apply")
    follow_all, restart_web = steps("restart")
    deploy("info")
    assert "2 objects: 2 created." in await step(real)
    await started_before_now(stage, "web")
    assert "Nothing is to be restarted." in await step(follow_all)
    deploy("debug")
    planned = await step(plan)
    assert f"configmap/{stage.namespace}/app: would be configured (level)" in planned
    assert "1 would be rolled" in planned
    assert "1 workload: 1 rolled." in await step(real)
    await started_before_now(stage, "web")
    assert "1 workload: 1 restarted." in await step(restart_web)
    await started_before_now(stage, "web")
    await stage.set("ConfigMap", "app", {"level": "trace"})
    assert "1 workload: 1 restarted." in await step(follow_all)
