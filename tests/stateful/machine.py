"""A world that hypothesis plays with: config objects, workloads, controllers, and a proxy that fails.

Between two moments of rest it counts what was done; at rest it knows how often each workload may have been rolled:

- at least once, if what it consumes differs from then, and nobody else started its pods since;
- at most as often as what it consumes was changed;
- never, if nothing that it consumes was changed, or it is not opted in.

Rollouts are counted by a watch, which is told of each write of a template.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import Coroutine
from functools import partial
from typing import Any, NamedTuple, TypeVar

import structlog
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from prometheus_client import generate_latest

from reroll.app import Controller
from reroll.core.digests import config_map_digests, secret_digests
from reroll.core.records import ConfigId, ConfigRecord, WorkloadId
from reroll.insight.explain import explain
from reroll.kube.client import Client
from reroll.kube.config import load_config
from reroll.kube.reflector import Collection, Reflector
from reroll.kube.resources import Resource
from reroll.settings import Settings
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
from tests.stateful.templates import Templates, Watched

T = TypeVar("T")

SETTLE = 0.1
CONFIG_MAPS = ("a", "b")
KEYS = ("X", "Y")
PASSWORDS = tuple(f"marker-{number}-correct-horse" for number in range(3))


class Follower(NamedTuple):
    """A workload, and the ConfigMaps and Secrets that it takes its environment from."""

    resource: Resource
    config_maps: tuple[str, ...]
    secrets: tuple[str, ...]

    @property
    def consumed(self) -> list[tuple[str, str]]:
        return [("configmaps", n) for n in self.config_maps] + [("secrets", n) for n in self.secrets]


DEPLOYMENTS, STATEFUL_SETS, DAEMON_SETS = (
    Resource("apps", "v1", f"{kind.lower()}s", kind) for kind in ("Deployment", "StatefulSet", "DaemonSet")
)
FOLLOWERS = {
    "one": Follower(DEPLOYMENTS, ("a",), ()),
    "both": Follower(DAEMON_SETS, ("a", "b"), ()),
    "secret": Follower(STATEFUL_SETS, (), ("s",)),
    "all": Follower(DEPLOYMENTS, ("a", "b"), ("s",)),
}
PAUSABLE = ("one", "all")
SCALABLE = ("one", "secret", "all")
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


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


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
        self.rest: dict[str, dict[tuple[str, str], dict[str, str]]] = {}
        """By workload: the content of everything when it was last at rest and followed."""
        self.writes: dict[str, int] = {}
        """By workload: writes since then of what it consumes."""
        self.foreign: dict[str, int] = {}
        """By workload: changes of its template by somebody else, since it was last counted."""
        self.restarted: set[str] = set()
        """Somebody else had all its pods started, or stopped, since it was last at rest and followed."""
        self.empty: set[str] = set()
        """Scaled to nothing."""
        self.off: set[str] = set()
        self.deploys = 0
        self.seen = Templates()
        self.counted: dict[str, int] = {}

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
        for name, (resource, config_maps, secrets) in FOLLOWERS.items():
            await self.world.workload(
                name, config_maps=config_maps, secrets=secrets, resource=resource.plural
            )
        await self._watch_templates()
        await self.world.workload(BYSTANDER, config_maps=CONFIG_MAPS, secrets=("s",))
        await self.world.patch("daemonsets", BYSTANDER, {"metadata": {"annotations": None}})
        await self._start()
        for name, follower in FOLLOWERS.items():
            await self.world.until(partial(self._adopted, name, follower), f"{name} is adopted")
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

    @rule(name=st.sampled_from(sorted(FOLLOWERS)))
    def deploy(self, name: str) -> None:
        """Somebody else changes the pod template."""
        self.do(self._deploy(name))

    @rule(name=st.sampled_from(sorted(FOLLOWERS)))
    def undo(self, name: str) -> None:
        """``kubectl rollout undo``: the template of the revision before."""
        self.do(self._undo(name))

    @rule(name=st.sampled_from(PAUSABLE), paused=st.booleans())
    def pause(self, name: str, paused: bool) -> None:
        """``kubectl rollout pause`` and ``resume``; the template of a paused Deployment changes all the same."""
        self.do(self._patch(name, {"spec": {"paused": paused}}))

    @rule(name=st.sampled_from(SCALABLE), replicas=st.sampled_from([0, 1, 3]))
    def scale(self, name: str, replicas: int) -> None:
        """Who scales up from nothing has pods started with what is there."""
        self.do(self._scale(name, replicas))

    @rule(name=st.sampled_from(sorted(FOLLOWERS)))
    def switch(self, name: str) -> None:
        """To follow or not, by the annotation and at rest, so that it is known which changes it is to hold for."""
        self.do(self._switch(name))

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
        for workload, follower in FOLLOWERS.items():
            if (resource, name) in follower.consumed:
                self.writes[workload] = self.writes.get(workload, 0) + 1

    async def _patch(self, name: str, body: object) -> dict[str, Any]:
        return await self.world.patch(FOLLOWERS[name].resource.plural, name, body)

    async def _get(self, name: str) -> dict[str, Any]:
        return await self.world.get(FOLLOWERS[name].resource.plural, name)

    def _somebody_rolled(self, name: str) -> None:
        self.foreign[name] = self.foreign.get(name, 0) + 1
        self.restarted.add(name)

    async def _deploy(self, name: str) -> None:
        # Ever another value, so that it is a change whatever somebody else writes in between.
        self.deploys += 1
        mark = {"metadata": {"annotations": {"example.com/deploy": str(self.deploys)}}}
        await self._patch(name, {"spec": {"template": mark}})
        self._somebody_rolled(name)

    async def _undo(self, name: str) -> None:
        """As kubectl does it, but on the condition that nobody wrote in between, so that it can be counted."""
        resource = FOLLOWERS[name].resource
        while True:
            found = await self._get(name)
            target = await self._revision_before(resource, found)
            if target is None:
                return
            operations = [
                {
                    "op": "test",
                    "path": "/metadata/resourceVersion",
                    "value": found["metadata"]["resourceVersion"],
                },
                {"op": "replace", "path": "/spec/template", "value": target},
            ]
            answer = await self.world.patch(
                resource.plural, name, operations, type="json", allowed=[409, 422]
            )
            if answer["kind"] == "Status":
                continue
            if answer["spec"]["template"] != found["spec"]["template"]:
                self._somebody_rolled(name)
            return

    async def _revision_before(self, resource: Resource, workload: dict[str, Any]) -> dict[str, Any] | None:
        """The template of the newest revision that is not the workload's current template."""
        found: list[tuple[int, dict[str, Any]]] = []
        if resource is DEPLOYMENTS:
            for each in await self._owned("replicasets", workload):
                revision = (
                    each["metadata"].get("annotations", {}).get("deployment.kubernetes.io/revision", "0")
                )
                each["spec"]["template"]["metadata"]["labels"].pop("pod-template-hash", None)
                found.append((int(revision), each["spec"]["template"]))
        else:
            for each in await self._owned("controllerrevisions", workload):
                each["data"]["spec"]["template"].pop("$patch", None)
                found.append((each["revision"], each["data"]["spec"]["template"]))
        now = workload["spec"]["template"]["metadata"].get("annotations")
        others = [each for each in found if each[1]["metadata"].get("annotations") != now]
        return max(others, key=lambda each: each[0])[1] if others else None

    async def _owned(self, plural: str, owner: dict[str, Any]) -> list[dict[str, Any]]:
        found = await self.world.get(plural)
        uid = owner["metadata"]["uid"]
        return [
            each
            for each in found["items"]
            if any(reference["uid"] == uid for reference in each["metadata"].get("ownerReferences", ()))
        ]

    async def _scale(self, name: str, replicas: int) -> None:
        before = (await self._get(name))["spec"]["replicas"]
        await self._patch(name, {"spec": {"replicas": replicas}})
        # Where there are no pods there is nothing to roll, and those that come read what is there.
        if 0 in (before, replicas):
            self.restarted.add(name)
        self.empty = self.empty - {name} if replicas else self.empty | {name}

    async def _switch(self, name: str) -> None:
        await self._at_rest()
        self.off ^= {name}
        value = "false" if name in self.off else "true"
        await self._patch(name, {"metadata": {"annotations": {"reroll.dev/auto": value}}})

    async def _garble(self, name: str, value: str | None) -> None:
        await self._at_rest()
        if name in self.off:
            return
        await self._patch(name, {"metadata": {"annotations": {"reroll.dev/applied": value}}})
        await self.world.until(self._up_to_date, "the record is written again")

    async def _adopted(self, name: str, follower: Follower) -> bool:
        return await self.world.applied(name, resource=follower.resource.plural) != ""

    async def _watch_templates(self) -> None:
        config = load_config(kubeconfig=str(self.cluster.kubeconfig))
        client = await self.stack.enter_async_context(Client(config))
        for resource in (DEPLOYMENTS, STATEFUL_SETS, DAEMON_SETS):
            watch = Reflector(
                client, Collection(resource, Watched, self.namespace), self.seen.of(resource.kind)
            )
            task = asyncio.create_task(watch.run())
            self.stack.push_async_callback(_cancelled, task)

    async def _all_seen(self) -> bool:
        """The watch of templates has told of everything that there is."""
        for name, follower in FOLLOWERS.items():
            found = await self._get(name)
            if self.seen.last.get((follower.resource.kind, name)) != found["spec"]["template"]:
                return False
        return True

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
        await self.world.until(self._all_seen, "the watch of templates has told of all")
        for name in FOLLOWERS:
            self._count(name, first=first)
        bystander = await self.world.get("daemonsets", BYSTANDER)
        assert bystander["metadata"]["generation"] == 1
        assert "reroll" not in str(bystander["metadata"].get("annotations"))

    async def _equal(self) -> bool:
        """What each store holds of what is followed is what the server has now."""
        followed = {each for name in FOLLOWERS.keys() - self.off for each in FOLLOWERS[name].consumed}
        for control in self.controllers:
            for resource, name in followed:
                data = self.content[resource, name]
                kind = "secret" if resource == "secrets" else "configmap"
                state = control.store.configs.state(ConfigId(kind, self.namespace, name))  # type: ignore[arg-type]
                found = (await self.world.get(resource, name)).get("data") or {}
                if kind == "secret":
                    wanted = secret_digests(self.namespace, name, found, control.store.configs.key)
                else:
                    assert found == data
                    wanted = config_map_digests(found, None)
                if not isinstance(state, ConfigRecord) or (state.keys, state.digests) != wanted:
                    return False
        return True

    async def _up_to_date(self) -> bool:
        """As somebody sees it who knows nothing but the server: every record is whole and says the same."""
        for name in FOLLOWERS.keys() - self.off:
            told = await explain(
                self.client,
                WorkloadId(FOLLOWERS[name].resource.kind, self.namespace, name),
                Settings(settle=0.0),
                key_places=[(self.namespace, "reroll-digest-key")],
            )
            if told.stale or told.decision != "skip":
                return False
        return True

    def _count(self, name: str, *, first: bool) -> None:
        follower = FOLLOWERS[name]
        total = self.seen.changes.get((follower.resource.kind, name), 0)
        since = total - self.counted.get(name, 0) - self.foreign.pop(name, 0)
        self.counted[name] = total
        if first:
            assert total == 0, f"{name} was rolled by its adoption"
        elif name in self.off:
            assert since == 0, f"{name} was rolled {since} times while it was not to be"
            return
        else:
            most = self.writes.get(name, 0)
            differs = any(self.rest[name][each] != self.content[each] for each in follower.consumed)
            least = 1 if differs and name not in self.restarted | self.empty else 0
            assert least <= since <= most, f"{name} was rolled {since} times, not {least} to {most}"
        self.rest[name] = dict(self.content)
        self.writes.pop(name, None)
        self.restarted.discard(name)

    async def _secrecy(self) -> None:
        """Nothing that is written, told or kept holds a value of a Secret."""
        told = [self.logged.getvalue()]
        told += [repr(vars(control.store)) for control in self.controllers]
        told += [generate_latest(control.metrics.registry).decode() for control in self.controllers]
        for resource in ("events", "daemonsets", "deployments", "statefulsets"):
            told.append(str(await self.world.get(resource)))
        for text in told:
            assert "correct-horse" not in text

    async def _end(self) -> None:
        for control in list(self.controllers):
            await self._kill(control)
        if hasattr(self, "world"):
            await self.world.request("DELETE", f"/api/v1/namespaces/{self.namespace}", allowed=[404])
        await self.stack.aclose()
