"""Several controllers, of which one acts: whoever goes, and however, nothing is lost and nothing rolled twice."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from reroll.app import Controller
from reroll.kube.errors import NotFound
from tests.alerts.service import Service
from tests.controller.conftest import NewWorkload, Stage

ELECT = {"leader_election": True, "lease_name": "test"}


async def leader(stage: Stage) -> str:
    """The identity that the Lease names."""
    path = f"/apis/coordination.k8s.io/v1/namespaces/{stage.namespace}/leases/test"
    found = msgspec.json.decode(await stage.client.get(path))
    return str(found["spec"].get("holderIdentity") or "")


def leads(control: Controller) -> bool:
    """Whether it holds the Lease."""
    return control.election is not None and control.election.is_leader


async def test_one_acts_and_the_other_takes_over_when_it_goes(
    stage: Stage, new_workload: NewWorkload
) -> None:
    await stage.config_map("app", {"PORT": "1"})
    container = {"envFrom": [{"configMapRef": {"name": "app"}}]}
    names = [f"web-{number}" for number in range(12)]
    for name in names:
        await stage.create(new_workload(name, container=container))
    elect = {**ELECT, "lease_namespace": stage.namespace}
    async with stage.controller(**elect) as standby_or_leader, stage.controller(**elect) as other:
        for name in names:
            await stage.adopted(name)
        acting = [control for control in (standby_or_leader, other) if leads(control)]
        assert len(acting) == 1
        await stage.set("ConfigMap", "app", {"PORT": "2"})
        # It goes in the middle of it.
        await stage.rolled(names[0], 1)
        acting[0].stop()
        rest = other if acting[0] is standby_or_leader else standby_or_leader
        await stage.until(lambda: _true(leads(rest)), "nobody took over")
        for name in names:
            await stage.rolled(name, 1)
        await stage.set("ConfigMap", "app", {"PORT": "3"})
        for name in names:
            await stage.rolled(name, 2)


async def _true(value: bool) -> bool:
    return value


async def test_who_lost_the_lease_writes_nothing_more(stage: Stage, new_workload: NewWorkload) -> None:
    await stage.config_map("app", {"PORT": "1"})
    await stage.create(new_workload("web", container={"envFrom": [{"configMapRef": {"name": "app"}}]}))
    async with stage.controller(**ELECT, lease_namespace=stage.namespace) as control:
        await stage.adopted("web")
        path = f"/apis/coordination.k8s.io/v1/namespaces/{stage.namespace}/leases/test"
        now = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
        theirs = {"spec": {"holderIdentity": "somebody", "renewTime": now, "leaseDurationSeconds": 15}}
        await stage.client.patch(path, json.dumps(theirs).encode())
        await stage.until(lambda: _true(not leads(control)), "it did not see that it lost")
        # Its term is over, with the queue and the actors: nothing is left that could act on what it sees.
        await stage.until(lambda: _true(control.acting.lead is None), "its term goes on")
        await stage.set("ConfigMap", "app", {"PORT": "2"})
        await stage.seen_config(control, "ConfigMap", "app")
        assert await stage.rollouts("web") == 0
        await stage.client.patch(path, json.dumps({"spec": {"holderIdentity": ""}}).encode())
        await stage.rolled("web", 1)


async def test_a_leader_that_is_killed_is_replaced(stage: Stage, new_workload: NewWorkload) -> None:
    await stage.config_map("app", {"PORT": "1"})
    await stage.create(new_workload("web", container={"envFrom": [{"configMapRef": {"name": "app"}}]}))
    with leading_process(stage) as process:
        await stage.adopted("web")
        first = await leader(stage)
        async with stage.controller(**ELECT, lease_namespace=stage.namespace) as control:
            assert not leads(control)
            process.send_signal(signal.SIGKILL)
            await stage.set("ConfigMap", "app", {"PORT": "2"})
            async with asyncio.timeout(20):
                while not leads(control):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            await stage.rolled("web", 1)
            assert await leader(stage) != first


async def test_the_webhook_hears_of_changes_while_the_lead_changes_hands(
    stage: Stage, service: Service
) -> None:
    """It has no record by which a change could be found later, so the one who stands by has to remember."""
    await stage.config_map("app", {"PORT": "1"})
    await stage.config_map("other", {"PORT": "1"})
    hooked = {**ELECT, "lease_namespace": stage.namespace, "webhook_url": service.url}
    with leading_process(stage, REROLL_WEBHOOK_URL=service.url) as process:
        await stage.until(lambda: _led(stage), "nobody leads")
        async with stage.controller(**hooked) as second, stage.controller(**hooked) as third:
            await stage.set("ConfigMap", "app", {"PORT": "2"})
            await stage.until(lambda: _true(said(service, "name") == ["app"]), "the leader did not tell")
            process.send_signal(signal.SIGKILL)
            await stage.set("ConfigMap", "other", {"PORT": "2"})
            async with asyncio.timeout(25):
                while "other" not in said(service, "name"):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            # `app` may have been told again: whoever took over can't know that it was. Its id tells.
            assert len(set(said(service, "id"))) == 2
            leader_now, stands_by = (second, third) if leads(second) else (third, second)
            service.received.clear()
            service.slow = 0.3
            await stage.set("ConfigMap", "app", {"PORT": "3"})
            await stage.until(lambda: _true(bool(service.bodies)), "the leader did not tell")
            await stage.set("ConfigMap", "other", {"PORT": "3"})
            await asyncio.sleep(0.1)  # it knows, and is busy with the first
            leader_now.stop()
            await stage.until(lambda: _true(leads(stands_by)), "nobody took over")
            await stage.set("ConfigMap", "other", {"PORT": "4"})
            await stage.until(lambda: _true(len(set(said(service, "id"))) >= 3), "changes were lost")
            assert {body["name"] for body in service.bodies} == {"app", "other"}


async def _led(stage: Stage) -> str:
    try:
        return await leader(stage)
    except NotFound:
        return ""


def said(service: Service, field: str) -> list[str]:
    return [body[field] for body in service.bodies]


@contextmanager
def leading_process(stage: Stage, **more: str) -> Iterator[subprocess.Popen[bytes]]:
    """A controller that stands for election, in a process of its own that can be killed."""
    settings = {
        "REROLL_NAMESPACES": stage.namespace,
        "REROLL_KEY_NAMESPACE": stage.namespace,
        "REROLL_LEASE_NAMESPACE": stage.namespace,
        "REROLL_LEASE_NAME": "test",
        "REROLL_LISTEN": "",
        "KUBECONFIG": str(stage.kubeconfig),
        **more,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "reroll", "controller", "--leader-election"],
        env={**os.environ, **settings},
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
