"""The demo as most people see it first: on the sandbox, with nothing but Python."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys

import pytest

from reroll.demo.steps import STEPS

REROLL = [sys.executable, "-m", "reroll", "demo"]


@pytest.mark.timeout(180)
def test_every_step_does_what_it_says() -> None:
    """No program but Python is there to be found: no Go, no kubectl, no compiler."""
    done = subprocess.run(
        [*REROLL, "-o", "json"], capture_output=True, text=True, env={"PATH": "/nowhere", "HOME": "/nowhere"}
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert [step["rollouts"] for step in result["steps"]] == [step.rollouts for step in STEPS]
    assert "sandbox" in result["cluster"]
    assert "second" not in done.stderr.replace("seconds", ""), "no content of a Secret"


@pytest.mark.timeout(180)
async def test_kept_until_it_is_interrupted() -> None:
    process = await asyncio.create_subprocess_exec(
        *REROLL, "--keep", stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, env=os.environ
    )
    assert process.stdout is not None
    lines: list[str] = []
    kubeconfig = ""
    async for raw in process.stdout:
        lines.append(raw.decode().strip())
        if lines[-1].startswith("export KUBECONFIG="):
            kubeconfig = lines[-1].removeprefix("export KUBECONFIG=").split()[0]
            explain = [sys.executable, "-m", "reroll", "explain", "deployment/web", "-n", "reroll-demo"]
            told = await asyncio.to_thread(
                subprocess.run,
                [*explain, "--kubeconfig", kubeconfig, "--key-namespace", "reroll-demo"],
                capture_output=True,
                text=True,
            )
            assert "configmap/web" in told.stdout, told.stderr
            process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0, lines
    assert "The sandbox is gone, with all that was in it." in lines
    assert not os.path.exists(kubeconfig)


def test_real_is_a_cluster_of_its_own() -> None:
    done = subprocess.run([*REROLL, "--real", "--context", "c"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "--real starts a cluster of its own" in done.stderr
