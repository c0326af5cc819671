"""`reroll sandbox`: what is loaded, what is printed, and what each Pod runs with."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from reroll.sandbox.loading import load
from reroll.sandbox.server import Sandbox

pytestmark = pytest.mark.slow


REROLL = [sys.executable, "-m", "reroll", "sandbox"]
VALUE = "correct-horse-battery"


def manifests(level: str = "info") -> list[dict[str, Any]]:
    refs = [{"configMapRef": {"name": "app"}}, {"secretRef": {"name": "db"}}]
    labels = {"app": "web"}
    spec = {"containers": [{"name": "main", "image": "web:1", "envFrom": refs}]}
    template = {"metadata": {"labels": labels}, "spec": spec}
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "shop", "resourceVersion": "77"},
            "spec": {"selector": {"matchLabels": labels}, "template": template},
        },
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "app", "namespace": "shop"},
            "data": {"LEVEL": level},
        },
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "db", "namespace": "shop"},
            "stringData": {"PASSWORD": VALUE},
        },
    ]


async def page(sandbox: Sandbox) -> str:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{sandbox.url}/{sandbox.token}/sandbox/pods") as answer,
    ):
        assert answer.status == 200
        return await answer.text()


async def shows(sandbox: Sandbox, words: str) -> str:
    async with asyncio.timeout(20):
        while words not in (text := await page(sandbox)):  # noqa: ASYNC110 - it is on a server
            await asyncio.sleep(0.02)
    return text


async def test_a_pod_goes_on_with_what_it_started_with() -> None:
    async with Sandbox(ready_after=0.0) as sandbox:
        assert await page(sandbox) == "There are no Pods.\n"
        told = await load(sandbox, [("a.yaml:1", each) for each in manifests()])
        assert told == ["loaded: 1 ConfigMap, 1 Deployment, 1 Secret"]
        assert "main LEVEL = 'info' (envFrom of configmap/app, key LEVEL)" in await shows(sandbox, "LEVEL")
        changed = manifests(level="debug")[1:2]
        await load(sandbox, [("b.yaml:1", each) for each in changed])
        text = await shows(sandbox, "OLD")
        assert "OLD, a new Pod has 'debug', and this one will never see it" in text
        assert VALUE not in text
        assert "a value of a Secret" in text


async def test_the_page_is_not_for_everybody() -> None:
    async with (
        Sandbox() as sandbox,
        aiohttp.ClientSession() as session,
        session.get(f"{sandbox.url}/sandbox/pods") as answer,
    ):
        assert answer.status == 401


async def test_what_it_does_not_know_or_take_is_left_out_and_said() -> None:
    strange = {"apiVersion": "example.com/v1", "kind": "Rocket", "metadata": {"name": "r"}}
    wrong = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "Not_A_Name"}, "data": {}}
    async with Sandbox() as sandbox:
        told = await load(sandbox, [("a.yaml:3", strange), ("b.yaml:9", wrong)])
    assert "Rocket r (a.yaml:3): the sandbox does not know example.com/v1" in told[1]
    assert "ConfigMap Not_A_Name (b.yaml:9)" in told[2]


def test_as_a_command(tmp_path: Path) -> None:
    folder, kubeconfig = tmp_path / "manifests", tmp_path / "kubeconfig"
    folder.mkdir()
    (folder / "all.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests()}))
    arguments = ["--load", str(folder), "--kubeconfig", str(kubeconfig), "-o", "json"]
    process = subprocess.Popen([*REROLL, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    ready = json.loads(process.stdout.readline())
    assert ready["kubeconfig"] == str(kubeconfig)
    assert kubeconfig.stat().st_mode & 0o077 == 0
    explained = subprocess.run(
        [
            *REROLL[:-1],
            "explain",
            "deployment/web",
            "-n",
            "shop",
            "-o",
            "json",
            "--kubeconfig",
            str(kubeconfig),
        ],
        capture_output=True,
        text=True,
    )
    assert '"configmap/app"' in explained.stdout, explained.stderr
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    process.stdout.close()
    assert not kubeconfig.exists()


def test_bad_input(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("kind: ConfigMap\napiVersion: v1\nmetadata: [\n")
    for arguments, words in (
        (["--load", str(bad)], f"{bad}:"),
        (["--load", str(tmp_path / "none.yaml")], "cannot be read"),
        (["--ready-after", "soon"], "--ready-after soon"),
    ):
        done = subprocess.run([*REROLL, *arguments], capture_output=True, text=True)
        assert done.returncode == 2
        assert words in done.stderr
        assert done.stdout == ""
