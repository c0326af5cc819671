"""Several controllers, of which one acts: whoever goes, and however, nothing is lost and nothing rolled twice."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

import msgspec

ELECT = {"leader_election": True, "lease_name": "test"}


async def leader(stage: Any) -> str:
    """The identity that the Lease names."""
    path = f"/apis/coordination.k8s.io/v1/namespaces/{stage.namespace}/leases/test"
    found = msgspec.json.decode(await stage.client.get(path))
    return str(found["spec"].get("holderIdentity") or "")


async def test_one_acts_and_the_other_takes_over_when_it_goes(stage: Any, new_workload: Any) -> None:
    await stage.config_map("app", {"PORT": "1"})
    container = {"envFrom": [{"configMapRef": {"name": "app"}}]}
    names = [f"web-{number}" for number in range(12)]
    for name in names:
        await stage.create(new_workload(name, container=container))
    elect = {**ELECT, "lease_namespace": stage.namespace}
    async with stage.controller(**elect) as standby_or_leader, stage.controller(**elect) as other:
        for name in names:
            await stage.adopted(name)
        acting = [control for control in (standby_or_leader, other) if control.election.is_leader]
        assert len(acting) == 1
        await stage.set("ConfigMap", "app", {"PORT": "2"})
        # It goes in the middle of it.
        await stage.rolled(names[0], 1)
        acting[0].stop()
        rest = other if acting[0] is standby_or_leader else standby_or_leader
        await stage.until(lambda: _true(rest.election.is_leader), "nobody took over")
        for name in names:
            await stage.rolled(name, 1)
        await stage.set("ConfigMap", "app", {"PORT": "3"})
        for name in names:
            await stage.rolled(name, 2)


async def _true(value: bool) -> bool:
    return value


async def test_who_lost_the_lease_writes_nothing_more(stage: Any, new_workload: Any) -> None:
    await stage.config_map("app", {"PORT": "1"})
    await stage.create(new_workload("web", container={"envFrom": [{"configMapRef": {"name": "app"}}]}))
    async with stage.controller(**ELECT, lease_namespace=stage.namespace) as control:
        await stage.adopted("web")
        path = f"/apis/coordination.k8s.io/v1/namespaces/{stage.namespace}/leases/test"
        now = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
        theirs = {"spec": {"holderIdentity": "somebody", "renewTime": now, "leaseDurationSeconds": 15}}
        await stage.client.patch(path, json.dumps(theirs).encode())
        await stage.until(lambda: _true(not control.election.is_leader), "it did not see that it lost")
        await stage.set("ConfigMap", "app", {"PORT": "2"})
        await asyncio.sleep(1.0)
        assert await stage.rollouts("web") == 0
        await stage.client.patch(path, json.dumps({"spec": {"holderIdentity": ""}}).encode())
        await stage.rolled("web", 1)


async def test_a_leader_that_is_killed_is_replaced(stage: Any, new_workload: Any) -> None:
    await stage.config_map("app", {"PORT": "1"})
    await stage.create(new_workload("web", container={"envFrom": [{"configMapRef": {"name": "app"}}]}))
    settings = {
        "REROLL_NAMESPACES": stage.namespace,
        "REROLL_KEY_NAMESPACE": stage.namespace,
        "REROLL_LEASE_NAMESPACE": stage.namespace,
        "REROLL_LEASE_NAME": "test",
        "REROLL_LISTEN": "",
        "KUBECONFIG": str(stage.kubeconfig),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "reroll", "controller", "--leader-election"],
        env={**os.environ, **settings},
        stderr=subprocess.DEVNULL,
    )
    try:
        await stage.adopted("web")
        first = await leader(stage)
        async with stage.controller(**ELECT, lease_namespace=stage.namespace) as control:
            assert not control.election.is_leader
            process.send_signal(signal.SIGKILL)
            await stage.set("ConfigMap", "app", {"PORT": "2"})
            async with asyncio.timeout(20):
                while not control.election.is_leader:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            await stage.rolled("web", 1)
            assert await leader(stage) != first
    finally:
        process.kill()
        process.wait()
