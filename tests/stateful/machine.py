"""A world that hypothesis plays with: config objects, workloads, controllers, and a proxy that fails.

Between two moments of rest it counts what was done; at rest it knows how often each workload may have been rolled:

- at least once, if what it consumes differs from then, and nobody else rolled it since;
- at most as often as what it consumes was changed;
- never, if nothing that it consumes was changed, or it is not opted in.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from prometheus_client import generate_latest

from reroll.app import Controller
from reroll.core.digests import config_map_digests, secret_digests
from reroll.core.policy import PolicyDefaults
from reroll.core.records import ConfigId, ConfigRecord, WorkloadId
from reroll.insight.explain import explain
from reroll.kube.client import Client
from tests.conftest import Cluster
from tests.faults.proxy import (
    EXPIRED,
    EXPIRED_EVENT,
    FORBIDDEN,
    Answer,
    Cut,
    Delay,
    EndWatch,
    Fault,
    FaultProxy,
    NoBookmarks,
    Reset,
)
from tests.faults.world import World

T = TypeVar("T")

SETTLE = 0.1
CONFIG_MAPS = ("a", "b")
KEYS = ("X", "Y")
PASSWORDS = tuple(f"marker-{number}-correct-horse" for number in range(3))
FOLLOWERS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "one": (("a",), ()),
    "both": (("a", "b"), ()),
    "secret": ((), ("s",)),
    "all": (("a", "b"), ("s",)),
}
"""Workload -> the ConfigMaps and Secrets that it takes its environment from."""
BYSTANDER = "bystander"
"""Consumes everything, and asks for nothing."""

FAULTS: tuple[tuple[Fault, tuple[str, ...], str], ...] = (
    (Answer(500), ("patch", "list", "get"), ""),
    (Answer(503, retry_after=1), ("patch", "watch"), ""),
    (Answer(429, "TooManyRequests", retry_after=1), (), ""),
    (Reset(), (), ""),
    (Reset(after=True), ("patch",), ""),
    (Answer(504, after=True), ("patch",), ""),
    (Answer(409, "Conflict"), ("patch",), ""),
    (Cut(40), ("list", "get", "patch"), ""),
    (Delay(0.3), (), ""),
    (EndWatch(0.3), ("watch",), ""),
    (EndWatch(0.2, abort=True), ("watch",), ""),
    (NoBookmarks(), ("watch",), ""),
    (EXPIRED, ("watch",), ""),
    (EXPIRED_EVENT, ("watch",), ""),
    (FORBIDDEN, ("list", "watch"), "/secrets"),
    (Answer(401, "Unauthorized"), ("patch", "list"), ""),
)


class Play(RuleBasedStateMachine):
    """One example: a namespace of its own on the real API server."""

    cluster: Cluster
    namespace: str

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = contextlib.AsyncExitStack()
        self.logged = io.StringIO()
        self.controllers: list[Controller] = []
        self.content: dict[tuple[str, str], dict[str, str]] = {}
        self.rest: dict[tuple[str, str], dict[str, str]] = {}
        self.writes: dict[tuple[str, str], int] = {}
        self.foreign: dict[str, int] = {}
        self.spec_changes: dict[str, int] = {}

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    # --- the beginning ---------------------------------------------------------------------------------

    @initialize()
    def begin(self) -> None:
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(self.logged))
        self.do(self._begin())

    async def _begin(self) -> None:
        self.proxy = await self.stack.enter_async_context(FaultProxy(self.cluster.server, self.cluster.ca))
        self.world = await self.stack.enter_async_context(World(self.cluster, self.namespace))
        self.client = await self.stack.enter_async_context(Client(self.world.config(self.cluster_url)))
        await self.world.request("POST", "/api/v1/namespaces", {"metadata": {"name": self.namespace}})
        for name in CONFIG_MAPS:
            await self._write("configmaps", name, dict.fromkeys(KEYS, "0"))
        await self._write("secrets", "s", {"P": PASSWORDS[0]})
        for name, (config_maps, secrets) in FOLLOWERS.items():
            await self.world.workload(name, config_maps=config_maps, secrets=secrets)
        await self.world.workload(BYSTANDER, config_maps=CONFIG_MAPS, secrets=("s",))
        await self.world.patch("daemonsets", BYSTANDER, {"metadata": {"annotations": None}})
        await self._start()
        await self.world.until_adopted(*FOLLOWERS)
        await self._at_rest(first=True)

    @property
    def cluster_url(self) -> str:
        return self.proxy.url

    # --- what people do --------------------------------------------------------------------------------

    @rule(
        name=st.sampled_from(CONFIG_MAPS),
        data=st.dictionaries(st.sampled_from(KEYS), st.sampled_from("012"), min_size=1),
    )
    def change(self, name: str, data: dict[str, str]) -> None:
        self.do(self._write("configmaps", name, data))

    @rule(password=st.sampled_from(PASSWORDS))
    def rotate(self, password: str) -> None:
        self.do(self._write("secrets", "s", {"P": password}))

    @rule(name=st.sampled_from(CONFIG_MAPS), other=st.sampled_from("345"))
    def change_and_put_back(self, name: str, other: str) -> None:
        before = self.content["configmaps", name]
        self.do(self._write("configmaps", name, {**before, "X": other}))
        self.do(self._write("configmaps", name, before))

    @rule(name=st.sampled_from(sorted(FOLLOWERS)), value=st.sampled_from("abc"))
    def deploy(self, name: str, value: str) -> None:
        """Somebody else changes the pod template."""
        self.do(self._deploy(name, value))

    @rule(name=st.sampled_from(sorted(FOLLOWERS)), value=st.sampled_from([None, "{", '{"v":9}']))
    def garble(self, name: str, value: str | None) -> None:
        """The record on the workload is removed or spoilt, at rest: a change that was not followed yet would be
        forgotten with it by a controller that starts just then, for it is recorded nowhere else."""
        self.do(self._garble(name, value))

    @rule(seconds=st.sampled_from([0.05, 0.3, 0.8]))
    def wait(self, seconds: float) -> None:
        self.do(asyncio.sleep(seconds))

    # --- what goes wrong -------------------------------------------------------------------------------

    @rule(
        fault=st.sampled_from(FAULTS),
        times=st.sampled_from([1, 3, None]),
        probability=st.sampled_from([0.3, 1.0]),
    )
    def fail(self, fault: tuple[Fault, tuple[str, ...], str], times: int | None, probability: float) -> None:
        what, verbs, path = fault
        self.proxy.add(what, *verbs, path=path, times=times, probability=probability)

    @rule()
    def drop_watches(self) -> None:
        self.proxy.drop_watches()
        self.do(asyncio.sleep(0))

    @precondition(lambda self: len(self.controllers) < 2)
    @rule()
    def start(self) -> None:
        self.do(self._start())

    @precondition(lambda self: self.controllers)
    @rule()
    def kill(self) -> None:
        """No orderly stop: what is in flight stays as it is."""
        self.do(self._kill(self.controllers.pop()))

    # --- rest ------------------------------------------------------------------------------------------

    @rule()
    def heal(self) -> None:
        self.do(self._at_rest())

    def teardown(self) -> None:
        try:
            if hasattr(self, "world"):
                self.do(self._at_rest())
                self.do(self._secrecy())
        finally:
            self.runner.run(self._end())
            self.runner.close()
            structlog.reset_defaults()

    # --- how -------------------------------------------------------------------------------------------

    async def _write(self, resource: str, name: str, data: dict[str, str]) -> None:
        if self.content.get((resource, name)) == data:
            return
        if resource == "secrets":
            await self.world.secret(name, data)
        else:
            await self.world.config_map(name, data)
        self.content[resource, name] = data
        self.writes[resource, name] = self.writes.get((resource, name), 0) + 1

    async def _deploy(self, name: str, value: str) -> None:
        template = {"metadata": {"annotations": {"example.com/deploy": value}}}
        before = await self._generation(name)
        answer = await self.world.patch("daemonsets", name, {"spec": {"template": template}})
        self.foreign[name] = self.foreign.get(name, 0) + (answer["metadata"]["generation"] - before > 0)

    async def _garble(self, name: str, value: str | None) -> None:
        await self._at_rest()
        metadata = {"annotations": {"reroll.dev/applied": value}}
        await self.world.patch("daemonsets", name, {"metadata": metadata})
        await self.world.until(self._up_to_date, "the record is written again")

    async def _generation(self, name: str) -> int:
        return int((await self.world.get("daemonsets", name))["metadata"]["generation"])

    async def _start(self) -> None:
        control = self.world.begin(self.world.config(self.proxy.url), settle=SETTLE)
        self.controllers.append(control)

    async def _kill(self, control: Controller) -> None:
        for pair in list(self.world._running):
            if pair[0] is control:
                self.world._running.remove(pair)
                pair[1].cancel()
                await asyncio.gather(pair[1], return_exceptions=True)

    async def _at_rest(self, *, first: bool = False) -> None:
        """All faults are lifted, a controller runs, and everything came to an end: then it has to be right."""
        self.proxy.heal()
        if not self.controllers:
            await self._start()
        await self.world.until_true(lambda: all(c.working for c in self.controllers), "the controllers work")
        await self.world.until_true(
            lambda: all(check.ok for c in self.controllers for check in c.ready_checks()), "all is read"
        )
        await self.world.until(self._equal, "the stores equal the server")
        await self.world.until(self._up_to_date, "nobody runs stale configuration")
        await self.world.until_idle(*self.controllers)
        for name in FOLLOWERS:
            await self._count(name, first=first)
        bystander = await self.world.get("daemonsets", BYSTANDER)
        assert bystander["metadata"]["generation"] == 1
        assert "reroll" not in str(bystander["metadata"].get("annotations"))
        self.rest = dict(self.content)
        self.writes.clear()
        self.foreign.clear()

    async def _equal(self) -> bool:
        """What each store holds of what is followed is what the server has now."""
        for control in self.controllers:
            for (resource, name), data in self.content.items():
                kind = "secret" if resource == "secrets" else "configmap"
                state = control.store.state(ConfigId(kind, self.namespace, name))  # type: ignore[arg-type]
                found = (await self.world.get(resource, name)).get("data") or {}
                if kind == "secret":
                    wanted = secret_digests(self.namespace, name, found, control.store.key)
                else:
                    assert found == data
                    wanted = config_map_digests(found, None)
                if not isinstance(state, ConfigRecord) or (state.keys, state.digests) != wanted:
                    return False
        return True

    async def _up_to_date(self) -> bool:
        """As somebody sees it who knows nothing but the server: every record is whole and says the same."""
        for name in FOLLOWERS:
            told = await explain(
                self.client,
                WorkloadId("DaemonSet", self.namespace, name),
                PolicyDefaults(settle=0.0),
                key_places=[(self.namespace, "reroll-digest-key")],
            )
            if told.stale or told.decision != "skip":
                return False
        return True

    async def _count(self, name: str, *, first: bool) -> None:
        total = await self._generation(name) - 1
        since = total - self.spec_changes.get(name, 0) - self.foreign.get(name, 0)
        self.spec_changes[name] = total
        if first:
            assert total == 0, f"{name} was rolled by its adoption"
            return
        config_maps, secrets = FOLLOWERS[name]
        consumed = [("configmaps", each) for each in config_maps] + [("secrets", each) for each in secrets]
        most = sum(self.writes.get(each, 0) for each in consumed)
        differs = any(self.rest[each] != self.content[each] for each in consumed)
        least = 1 if differs and not self.foreign.get(name) else 0
        assert least <= since <= most, f"{name} was rolled {since} times, not {least} to {most}"

    async def _secrecy(self) -> None:
        """Nothing that is written, told or kept holds a value of a Secret."""
        told = [self.logged.getvalue()]
        told += [repr(vars(control.store)) for control in self.controllers]
        told += [generate_latest(control.metrics.registry).decode() for control in self.controllers]
        for resource in ("events", "daemonsets"):
            told.append(str(await self.world.get(resource)))
        for text in told:
            assert "correct-horse" not in text

    async def _end(self) -> None:
        for control in list(self.controllers):
            await self._kill(control)
        if hasattr(self, "world"):
            await self.world.request("DELETE", f"/api/v1/namespaces/{self.namespace}", allowed=[404])
        await self.stack.aclose()
