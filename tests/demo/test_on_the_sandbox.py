"""The demo as most people see it first: on the sandbox, with nothing but Python."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from reroll.demo.steps import STEPS

pytestmark = pytest.mark.slow


REROLL = [sys.executable, "-m", "reroll", "demo"]


@pytest.fixture(scope="module")
def kept() -> Iterator[subprocess.Popen[str]]:
    """A demo that lingers. It runs beside the other one, for each takes half a minute, most of it waiting."""
    with subprocess.Popen(
        [*REROLL, "--keep"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.terminate()


@pytest.mark.timeout(180)
@pytest.mark.usefixtures("kept")
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
def test_kept_until_it_is_interrupted(kept: subprocess.Popen[str]) -> None:
    assert kept.stdout is not None
    lines: list[str] = []
    kubeconfig = ""
    for raw in kept.stdout:
        lines.append(raw.strip())
        if lines[-1].startswith("export KUBECONFIG="):
            kubeconfig = lines[-1].removeprefix("export KUBECONFIG=").split()[0]
            explain = [sys.executable, "-m", "reroll", "explain", "deployment/web", "-n", "reroll-demo"]
            key = ["--kubeconfig", kubeconfig, "--key-namespace", "reroll-demo"]
            told = subprocess.run([*explain, *key], capture_output=True, text=True)
            assert "configmap/web" in told.stdout, told.stderr
            kept.send_signal(signal.SIGTERM)
    assert kept.wait() == 0, lines
    assert "The sandbox is gone, with all that was in it." in lines
    assert kubeconfig
    assert not os.path.exists(kubeconfig)


def test_real_is_a_cluster_of_its_own() -> None:
    done = subprocess.run([*REROLL, "--real", "--context", "c"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "--real starts a cluster of its own" in done.stderr
