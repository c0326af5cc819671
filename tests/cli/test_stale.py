"""`reroll stale` as a command, on a real API server: what it prints, and its exit codes."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import subprocess
from collections.abc import AsyncIterator
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.cli.command import reroll
from tests.controller.conftest import NewWorkload, Stage

REFS = [{"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "app", "key": "level"}}}]


@pytest.fixture(autouse=True)
async def goodbye() -> AsyncIterator[None]:
    """Watches that the stage ends still say goodbye by TLS when its client is closed: the loop goes on so long."""
    yield
    await asyncio.sleep(0.2)


async def stale(stage: Stage, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it, while the stage's watches go on."""
    command = ["stale", *arguments, "--kubeconfig", str(stage.kubeconfig)]
    return await asyncio.to_thread(reroll, *command)


@pytest.fixture
async def behind(stage: Stage, new_workload: NewWorkload) -> Stage:
    """A stage with two Deployments, of which one is behind."""
    await stage.config_map("app", {"level": "info"})
    await stage.create(new_workload("web", container={"env": REFS}, annotations={}))
    optional = [{"configMapRef": {"name": "nowhere", "optional": True}}]
    await stage.create(new_workload("api", container={"envFrom": optional}, annotations={}))
    await stage.pods_older_than_now("web")
    await stage.pods_older_than_now("api")
    await stage.set("ConfigMap", "app", {"level": "debug"})
    return stage


async def test_in_each_form(behind: Stage) -> None:
    where = ("-n", behind.namespace)
    done = await stale(behind, *where)
    assert done.returncode == 0, done.stderr
    assert f"deployment/{behind.namespace}/web" in done.stdout
    assert "configmap/app#level: container main: env LEVEL" in done.stdout
    assert f"1 of 2 workloads in {behind.namespace} (2 pods) has pods that run older" in done.stdout

    found = json.loads((await stale(behind, *where, "-o", "json")).stdout)
    assert [(each["name"], each["stale_pods"], each["certainty"]) for each in found["workloads"]] == [
        ("api", 0, None),
        ("web", 1, "certain"),
    ]
    rows = list(csv.DictReader(io.StringIO((await stale(behind, *where, "-o", "csv")).stdout)))
    assert [row["name"] for row in rows] == ["web"]
    junit = ElementTree.fromstring((await stale(behind, *where, "-o", "junit")).stdout)
    assert (junit.get("tests"), junit.get("failures")) == ("2", "1")
    sarif = json.loads((await stale(behind, *where, "-o", "sarif")).stdout)
    assert [each["ruleId"] for each in sarif["runs"][0]["results"]] == ["stale-certain"]
    assert "<!doctype html>" in (await stale(behind, *where, "-o", "html")).stdout


async def test_the_exit_code_for_ci(behind: Stage) -> None:
    where = ("-n", behind.namespace, "--exit-code")
    assert (await stale(behind, *where)).returncode == 1
    assert (await stale(behind, "deployment/web", *where)).returncode == 1
    assert (await stale(behind, "deploy/api", *where)).returncode == 0
    done = await stale(behind, "deploy/nope", *where)
    assert done.returncode == 1
    assert f"there is no deployment/nope in namespace {behind.namespace}" in done.stderr


async def test_a_gate_that_asks_for_more_certainty(behind: Stage, new_workload: NewWorkload) -> None:
    mount = {"volumeMounts": [{"name": "conf", "mountPath": "/etc/app"}]}
    volumes = [{"name": "conf", "configMap": {"name": "late"}}]
    await behind.config_map("late", {"file": "1"})
    await behind.create(new_workload("files", container=mount, volumes=volumes, annotations={}))
    await behind.pods_older_than_now("files")
    await behind.set("ConfigMap", "late", {"file": "2"})
    where = ("deployment/files", "-n", behind.namespace, "--exit-code")
    assert (await stale(behind, *where)).returncode == 1
    assert (await stale(behind, *where, "--sure", "likely")).returncode == 0


async def test_all_namespaces_and_labels(behind: Stage) -> None:
    await behind.patch("Deployment", "web", {"metadata": {"labels": {"team": behind.namespace}}})
    done = await stale(behind, "-A", "-l", f"team={behind.namespace}", "-o", "json")
    assert [each["name"] for each in json.loads(done.stdout)["workloads"]] == ["web"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("web",), "write KIND/NAME"),
        (("pod/web",), "write KIND/NAME"),
        (("deployment/web/x",), "write KIND/NAME"),
        (("deployment/web", "-A"), "is of one namespace"),
        (("deployment/web", "-n", "a", "-n", "b"), "is of one namespace"),
        (("-A", "-n", "a"), "exclude each other"),
        (("-l", "a=b=c"), "label selector"),
        (("-o", "xml"), "xml"),
        (("--sure", "perhaps"), "perhaps"),
        (("--kubeconfig", "/nowhere"), "/nowhere"),
    ],
)
def test_what_is_not_understood_exits_with_2(arguments: tuple[str, ...], message: str, tmp_path: Any) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(
        "{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c, user: u}}],"
        " clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}], users: [{name: u, user: {}}]}"
    )
    given = () if "--kubeconfig" in arguments else ("--kubeconfig", str(file))
    done = reroll("stale", *arguments, *given)
    assert done.returncode == 2, done.stderr
    assert message in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_has_examples_and_exit_codes(flag: str) -> None:
    done = reroll("stale", flag)
    assert done.returncode == 0
    assert "Example: reroll stale -A" in done.stdout
    assert "Exit codes" in done.stdout
