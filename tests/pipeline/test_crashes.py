"""Restarts whose new pods crash, on the sandbox, which plays kubelet: the reason, and the way back."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from reroll.core.records import WorkloadId
from reroll.kube.client import Client
from reroll.kube.config import load_config
from reroll.pipeline.restart import Options, restart
from reroll.pipeline.selection import Target
from reroll.rollouts.live import RESTARTED_AT, read
from reroll.rollouts.paths import path
from reroll.rollouts.progress import progress
from reroll.rollouts.wait import follow
from reroll.sandbox.crashes import CRASH_IF
from reroll.sandbox.server import Sandbox
from tests.controller.conftest import NewWorkload


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    """A client of a sandbox of its own, in which a ConfigMap `app` is."""
    async with Sandbox(ready_after=0.1) as sandbox:
        sandbox.write_kubeconfig(tmp_path / "kubeconfig")
        async with Client(load_config(kubeconfig=str(tmp_path / "kubeconfig"))) as found:
            body = {"metadata": {"name": "app"}, "data": {"LEVEL": "info"}}
            await found.create("/api/v1/namespaces/default/configmaps", msgspec.json.encode(body))
            yield found


def ignore(*_: object) -> None:
    pass


async def deploy(client: Client, kind: str, new_workload: NewWorkload, **spec: Any) -> WorkloadId:
    """Two pods that crash where LEVEL is debug, and that run."""
    workload = WorkloadId(kind, "default", "web")
    manifest = new_workload("web", kind=kind, replicas=2, annotations={}, **spec)
    template = manifest["spec"]["template"]
    template["metadata"]["annotations"] = {CRASH_IF: "LEVEL=debug"}
    template["spec"]["containers"][0]["envFrom"] = [{"configMapRef": {"name": "app"}}]
    await client.create(path(workload).rpartition("/")[0], msgspec.json.encode(manifest))

    ended = await follow(client, workload, deadline=time.monotonic() + 20, told=ignore)
    assert ended.state == "done", ended
    await client.patch("/api/v1/namespaces/default/configmaps/app", b'{"data": {"LEVEL": "debug"}}')
    return workload


async def test_a_deployment_goes_back_to_the_pods_that_still_run(
    client: Client, new_workload: NewWorkload
) -> None:
    workload = await deploy(client, "Deployment", new_workload, progressDeadlineSeconds=2)
    options = Options(wait=True, timeout=20, rollback=True)
    (found,) = (await restart(client, [Target(workload)], options)).outcomes
    assert found.state == "failed", found
    assert any("container main: CrashLoopBackOff" in each.what for each in found.reasons), found
    assert found.rolled_back
    assert "taken back: all 2 pods new and available" in found.message
    assert (await read(client, workload)).restarted_at is None


async def test_a_stateful_set_is_freed_of_its_broken_pod(client: Client, new_workload: NewWorkload) -> None:
    workload = await deploy(client, "StatefulSet", new_workload)
    options = Options(wait=True, timeout=3, rollback=True)
    (found,) = (await restart(client, [Target(workload)], options)).outcomes
    assert found.state == "timed out", found
    assert any("CrashLoopBackOff" in each.what for each in found.reasons), found
    assert found.rolled_back
    live = await read(client, workload)
    assert live.restarted_at is None
    items = msgspec.json.decode(await client.list_page("/api/v1/namespaces/default/pods"))["items"]
    assert all(RESTARTED_AT not in each["metadata"].get("annotations", {}) for each in items)
    # What was taken away came back, and reads what it read: a restart taken back brings no older content back.
    assert progress(live, "StatefulSet").verdict == "going"
