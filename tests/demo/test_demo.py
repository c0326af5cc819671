"""The whole demo, on a real control plane."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from reroll.demo.board import Board
from reroll.demo.controller_process import ControllerProcess, environment
from reroll.demo.error import DemoError
from reroll.demo.run import Options, run
from reroll.demo.steps import STEPS, Step
from tests.conftest import Cluster, Kubectl

REROLL = [sys.executable, "-m", "reroll", "demo"]


def options(cluster: Cluster, *steps: Step, keep: bool = False) -> Options:
    name = f"demo-{uuid.uuid4().hex[:8]}"
    return Options(kubeconfig=str(cluster.kubeconfig), namespace=name, steps=steps, keep=keep)


def named(title: str) -> Step:
    return next(step for step in STEPS if step.title == title)


@pytest.mark.timeout(240)
def test_every_step_does_what_it_says(cluster: Cluster, kubectl: Kubectl, tmp_path: Path) -> None:
    picture = tmp_path / "demo.svg"
    done = subprocess.run(
        [*REROLL, "--kubeconfig", str(cluster.kubeconfig), "-o", "json", "--record", str(picture)],
        capture_output=True,
        text=True,
        # Settings of reroll in the environment are not the demo's.
        env=os.environ | {"REROLL_SETTLE": "9s", "REROLL_LISTEN": "not an address"},
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    assert result["ok"] is True
    assert [step["ok"] for step in result["steps"]] == [True] * len(STEPS)
    assert [step["rollouts"] for step in result["steps"]] == [step.rollouts for step in STEPS]
    assert "configmap/web changed (LOG_LEVEL)" in result["steps"][2]["why"]["web"]
    why = result["steps"][4]["why"]["worker"]
    assert why.count(" changed (") + int(re.findall(r"and (\d+) more", why)[0]) == 15
    assert "second" not in done.stderr.replace("seconds", ""), "no content of a Secret"
    assert done.stderr.index("namespace: reroll-demo") < done.stderr.index("making namespace")
    assert f"All {len(STEPS)} steps did what they say" in done.stderr
    assert "fill" in picture.read_text()
    assert kubectl("get", "namespace", "reroll-demo", "--ignore-not-found") == ""


@pytest.mark.timeout(120)
async def test_a_step_that_does_something_else_fails_and_ends_the_demo(
    cluster: Cluster, kubectl: Kubectl
) -> None:
    used = named("A key in use changes")
    wrong = Step("A lie", used.command, "nothing", "nothing", used.act, ("web",))
    chosen = options(cluster, named("reroll starts"), wrong, named("An undo"))
    lines: list[str] = []
    result = await run(chosen, Board(lambda seconds, text, tone: lines.append(text)))
    assert not result.ok
    assert [step.ok for step in result.steps] == [True, False], "what comes after it is not begun"
    assert "web: 1 rollout instead of none" in result.steps[1].seen
    assert any(line.startswith("✗ web: 1 rollout instead of none") for line in lines)
    assert kubectl("get", "namespace", chosen.namespace, "--ignore-not-found") == ""


@pytest.mark.timeout(120)
async def test_kept_is_kept(cluster: Cluster, kubectl: Kubectl) -> None:
    chosen = options(cluster, named("reroll starts"), keep=True)
    result = await run(chosen, Board())
    assert result.ok
    assert result.kubeconfig == str(cluster.kubeconfig)
    assert "web" in kubectl("get", "deployments", "-n", chosen.namespace)
    kubectl("delete", "namespace", chosen.namespace, "--wait=false")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_an_interrupt_cleans_up(cluster: Cluster, kubectl: Kubectl, number: int) -> None:
    process = await asyncio.create_subprocess_exec(
        *REROLL,
        "--kubeconfig",
        str(cluster.kubeconfig),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        env=environment(os.environ),
    )
    assert process.stdout is not None
    lines: list[str] = []
    async for raw in process.stdout:
        lines.append(raw.decode())
        if "the controller runs" in lines[-1]:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
            controllers = [int(pid) for pid in children.read_text().split()] if children.exists() else []
            process.send_signal(number)
    assert await process.wait() == 130
    assert any("Interrupted" in line for line in lines), lines
    assert kubectl("get", "namespace", "reroll-demo", "--ignore-not-found") == ""
    for pid in controllers:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_a_controller_that_can_not_start_tells_why() -> None:
    controller = ControllerProcess(["--kubeconfig", "/no/such/file"], lambda line: None)
    with pytest.raises(DemoError, match="/no/such/file"):
        await controller.start()
    await controller.stop()


def test_a_pause_needs_a_terminal_and_a_picture_a_folder() -> None:
    for arguments in (["--pause"], ["--record", "/no/such/folder/demo.svg"]):
        done = subprocess.run([*REROLL, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        assert done.returncode == 2
        assert arguments[0] in done.stderr
        assert done.stdout == ""
