"""Leader election on a real API server: processes that are killed, frozen and asked to go, and cut off."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import pytest

from reroll.kube.auth import Fixed, UserCredentials
from reroll.kube.client import Client
from reroll.kube.config import ClusterConfig
from reroll.kube.election import LeaderElection
from reroll.kube.lease import LEASES
from tests.conftest import Cluster, Kubectl
from tests.faults.proxy import FORBIDDEN, Fault, FaultProxy, Reset, Silence

PATIENCE = 40.0
"""Seconds after which a test gives up waiting: a bound against a test that hangs, not a measurement."""

TIMES = {"duration": 3.0, "renew_deadline": 2.0, "retry": 0.4}

PROGRAM = """
import asyncio, signal, sys, time
from reroll.kube.auth import Fixed, UserCredentials
from reroll.kube.client import Client
from reroll.kube.config import ClusterConfig
from reroll.kube.election import LeaderElection

server, token, namespace, identity = sys.argv[1:]


async def main():
    config = ClusterConfig(server=server, credentials=UserCredentials(Fixed("Bearer " + token)))
    async with Client(config) as client:
        election = LeaderElection(
            client, namespace, "reroll", identity, duration=3.0, renew_deadline=2.0, retry=0.4
        )
        stopping = asyncio.Event()

        def stop():
            stopping.set()
            election.stop()

        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)

        async def lead():
            try:
                while not stopping.is_set():
                    # The clock first: frozen between the two lines, it would write an older time.
                    at = time.monotonic()
                    if election.is_leader:
                        print("act", at, flush=True)
                    await asyncio.sleep(0.01)
            finally:
                print("end", time.monotonic(), flush=True)

        print("up", time.monotonic(), flush=True)
        await election.run(lead)


asyncio.run(main())
"""


@pytest.fixture
async def proxy(cluster: Cluster) -> AsyncIterator[FaultProxy]:
    if not cluster.tokens:
        pytest.skip("speaks to the API server with the tokens of our own cluster")
    async with FaultProxy(cluster.server, cluster.ca) as proxy:
        yield proxy


async def until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, f"in vain: {what}"
        await asyncio.sleep(0.02)


@dataclass
class Elector:
    """A process that acts while it leads, and writes down when it did."""

    name: str
    process: asyncio.subprocess.Process
    up: bool = False
    acts: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)

    async def read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            what, *rest = line.decode().split()
            if what == "act":
                self.acts.append(float(rest[0]))
            elif what == "end":
                self.ends.append(float(rest[0]))
            elif what == "up":
                self.up = True


@asynccontextmanager
async def electors(
    proxy: FaultProxy, cluster: Cluster, namespace: str, *names: str
) -> AsyncIterator[list[Elector]]:
    """Processes, the first of which leads."""
    started: list[Elector] = []
    readers: list[asyncio.Task[None]] = []
    try:
        for name in names:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                PROGRAM,
                proxy.url,
                cluster.tokens["reroll"],
                namespace,
                name,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
            )
            elector = Elector(name, process)
            started.append(elector)
            readers.append(asyncio.create_task(elector.read()))
            if len(started) == 1:
                await until(lambda: bool(started[0].acts), f"{name} leads")
        await until(lambda: all(elector.up for elector in started), "all are up")
        yield started
    finally:
        for elector in started:
            if elector.process.returncode is None:
                elector.process.kill()
                await elector.process.wait()
        await asyncio.gather(*readers, return_exceptions=True)


async def test_killed_another_one_takes_over(
    proxy: FaultProxy, cluster: Cluster, namespace: str, kubectl: Kubectl
) -> None:
    async with electors(proxy, cluster, namespace, "a", "b", "c") as (first, *others):
        first.process.kill()
        await first.process.wait()
        await until(lambda: any(other.acts for other in others), "another one leads")
        (second,) = (other for other in others if other.acts)
        assert first.acts[-1] < second.acts[0]
        lease = json.loads(kubectl("get", "lease", "reroll", "-n", namespace, "-o", "json"))
        assert lease["spec"]["holderIdentity"] == second.name
        assert lease["spec"]["leaseTransitions"] == 1
        assert lease["spec"]["leaseDurationSeconds"] == 3
        second.process.kill()
        await second.process.wait()
        (third,) = (other for other in others if other is not second)
        await until(lambda: bool(third.acts), "the last one leads")
        assert second.acts[-1] < third.acts[0]


async def test_frozen_it_finds_itself_deposed_before_it_acts_again(
    proxy: FaultProxy, cluster: Cluster, namespace: str
) -> None:
    async with electors(proxy, cluster, namespace, "a", "b") as (first, second):
        first.process.send_signal(signal.SIGSTOP)
        await until(lambda: bool(second.acts), "the other one leads")
        first.process.send_signal(signal.SIGCONT)
        await until(lambda: bool(first.ends), "the frozen one ended its work")
        assert first.acts[-1] < second.acts[0]
        # And it stands by: when the other one goes, it leads again.
        before = len(first.acts)
        second.process.send_signal(signal.SIGTERM)
        assert await second.process.wait() == 0
        await until(lambda: len(first.acts) > before, "it leads again")
        assert second.acts[-1] < first.acts[before]


async def test_asked_to_go_it_gives_the_lease_back(
    proxy: FaultProxy, cluster: Cluster, namespace: str, kubectl: Kubectl
) -> None:
    async with electors(proxy, cluster, namespace, "a") as (only,):
        only.process.send_signal(signal.SIGTERM)
        assert await only.process.wait() == 0
        lease = json.loads(kubectl("get", "lease", "reroll", "-n", namespace, "-o", "json"))
        assert not lease["spec"].get("holderIdentity")
        assert only.ends
        assert [seen.verb for seen in proxy.requests() if seen.verb == "watch"] == []


class Pair:
    """Two in this process, with tokens of their own, so that one of them can be cut off."""

    def __init__(self, proxy: FaultProxy, cluster: Cluster, namespace: str) -> None:
        self.acting: list[str] = []
        self.elections: dict[str, LeaderElection] = {}
        self.clients = {
            user: Client(
                ClusterConfig(
                    server=proxy.url, credentials=UserCredentials(Fixed(f"Bearer {cluster.tokens[user]}"))
                )
            )
            for user in ("reroll", "peer")
        }
        for user, client in self.clients.items():
            self.elections[user] = LeaderElection(client, namespace, "reroll", user, **TIMES)  # type: ignore[arg-type]

    async def run(self, user: str) -> None:
        async def lead() -> None:
            assert self.acting == [], f"{user} begins while {self.acting} acts"
            self.acting.append(user)
            try:
                await asyncio.Event().wait()
            finally:
                self.acting.remove(user)

        await self.elections[user].run(lead)


@pytest.mark.parametrize("fault", [Silence(), Reset(), Reset(after=True), FORBIDDEN], ids=repr)
async def test_cut_off_it_stops_before_the_other_one_begins(
    proxy: FaultProxy, cluster: Cluster, namespace: str, fault: Fault
) -> None:
    pair = Pair(proxy, cluster, namespace)
    async with AsyncExitStack() as stack:
        for client in pair.clients.values():
            await stack.enter_async_context(client)
        tasks = [asyncio.create_task(pair.run("reroll"))]
        try:
            await until(lambda: pair.acting == ["reroll"], "the first one leads")
            tasks.append(asyncio.create_task(pair.run("peer")))
            await until(lambda: pair.elections["peer"].status().holder == "reroll", "the other one stands by")
            rule = proxy.add(fault, path="leases", token=cluster.tokens["reroll"])
            await until(lambda: not pair.elections["reroll"].is_leader, "it sees itself deposed")
            assert pair.elections["reroll"].status().problem
            if fault == Reset(after=True):
                # Its renewals arrive, only the answers don't: nobody may take the Lease from it.
                await until(lambda: pair.elections["reroll"].status().lost == 1, "it gave up")
                assert not pair.elections["peer"].is_leader
            else:
                await until(lambda: pair.acting == ["peer"], "the other one leads")
            proxy.remove(rule)
            await until(lambda: pair.elections["reroll"].status().problem == "", "it is back")
            await until(lambda: len(pair.acting) == 1, "one leads")
        finally:
            proxy.heal()
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ended), ended


async def test_what_is_missing_in_rbac_is_named(proxy: FaultProxy, cluster: Cluster, namespace: str) -> None:
    credentials = UserCredentials(Fixed(f"Bearer {cluster.tokens['nobody']}"))
    async with Client(ClusterConfig(server=proxy.url, credentials=credentials)) as client:
        election = LeaderElection(client, namespace, "reroll", "nobody", **TIMES)  # type: ignore[arg-type]
        task = asyncio.create_task(election.run(asyncio.Event().wait))  # type: ignore[arg-type]
        await until(lambda: bool(election.status().problem), "it is refused")
        problem = election.status().problem
        assert LEASES.path(namespace, "reroll") in problem
        assert problem.endswith("Allow get, create and update of leases.coordination.k8s.io")
        election.stop()
        await task


async def test_the_lease_stays_valid_to_kubectl(
    proxy: FaultProxy, cluster: Cluster, namespace: str, kubectl: Kubectl
) -> None:
    """Labels that somebody puts on it are kept, and their edit is no loss."""
    async with electors(proxy, cluster, namespace, "a") as (only,):
        kubectl("label", "lease", "reroll", "team=x", "-n", namespace)
        acts = len(only.acts)
        updates = len(proxy.requests("update", resource="leases"))
        await until(lambda: len(proxy.requests("update", resource="leases")) > updates + 2, "it was renewed")
        assert len(only.acts) > acts
        assert only.ends == []
        lease = json.loads(kubectl("get", "lease", "reroll", "-n", namespace, "-o", "json"))
        assert lease["metadata"]["labels"] == {"team": "x"}
        assert lease["spec"]["leaseTransitions"] == 0
