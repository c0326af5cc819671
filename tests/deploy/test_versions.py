"""The mode `version` with exactly the permissions that deploy/kustomize/versions grants."""

from __future__ import annotations

import asyncio
import json
import time
from functools import partial
from pathlib import Path

import pytest

from reroll.core.kinds import DEPLOYMENT
from tests.conftest import Cluster, Kubectl
from tests.deploy.test_install import (
    DEPLOY,
    USER,
    eventually,
    fresh,
    granted,
    guard,
    in_a_pod,
    ours,
    read,
    the,
    used,
    workload,
)

__all__ = ["fresh", "ours"]

OBJECTS = """
apiVersion: v1
kind: ConfigMap
metadata: {name: app}
data: {LEVEL: info, UNUSED: a}
---
apiVersion: v1
kind: Secret
metadata: {name: db}
stringData: {password: first}
"""


def later(hours: int) -> float:
    return time.time() + hours * 3600


@pytest.mark.timeout(300)
async def test_what_is_granted_is_what_it_takes(
    fresh: None, cluster: Cluster, kubectl: Kubectl, namespace: str, tmp_path: Path
) -> None:
    role = DEPLOY / "kustomize" / "versions" / "cluster-role.yaml"
    web = workload(DEPLOYMENT, mode="version")
    web["spec"]["revisionHistoryLimit"] = 0
    await asyncio.to_thread(kubectl, "apply", "-f", str(DEPLOY / "install.yaml"))
    await asyncio.to_thread(kubectl, "apply", "-f", str(role))
    policy = guard("reroll-only-touches-copies")
    await asyncio.to_thread(kubectl, "apply", "-f", "-", input=policy)
    await asyncio.to_thread(kubectl, "apply", "-n", namespace, "-f", "-", input=OBJECTS)
    await asyncio.to_thread(kubectl, "apply", "-n", namespace, "-f", "-", input=json.dumps(web))
    since = len(cluster.requests_of(USER))
    deployment = the(read(DEPLOY / "install.yaml"), "Deployment")
    try:
        async with in_a_pod(deployment, cluster, kubectl, namespace, tmp_path / "pod") as running:

            async def env() -> list[str]:
                found = (await running.objects())["deployment"]
                sources = [
                    each["valueFrom"] for each in found["spec"]["template"]["spec"]["containers"][0]["env"]
                ]
                return [
                    source.get("configMapKeyRef", source.get("secretKeyRef"))["name"] for source in sources
                ]

            async def pointed(before: list[str]) -> list[str]:
                async def anew() -> bool:
                    return all(name not in before for name in await env())

                await eventually(anew, "it is pointed at new versions")
                return await env()

            names = [await pointed(["app", "db"])]
            for number in range(4):
                await running.set_config(LEVEL=str(number))
                await running.set_password(str(number))
                names.append(await pointed(names[-1]))
            garbage = running.controller.garbage
            for hours in (2, 3):
                garbage._now = partial(later, hours)
                await garbage.once()
            with pytest.raises(AssertionError, match="reroll changes and deletes copies that it made"):
                await running.run_kubectl("delete", "configmap", "app", f"--as={USER}")
            left = await running.run_kubectl(
                "get", "configmap,secret", "-l", "reroll.dev/source", "-o", "name"
            )
            kept = {name for pair in names[-3:] for name in pair}
            assert {line.partition("/")[2] for line in left.split()} >= kept
    finally:
        await asyncio.to_thread(kubectl, "delete", "-f", str(role))
        await asyncio.to_thread(kubectl, "delete", "-f", "-", input=policy)
    found = used(cluster, since, only=(namespace, ""))
    asked = found[namespace] | found[""]
    allowed = granted(read(role), "ClusterRole", "reroll-versions")
    assert allowed <= asked, "what is granted is used"
