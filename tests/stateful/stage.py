"""A world of plays on the real control plane: what people do in it, and what is noted of that."""

from __future__ import annotations

import asyncio
import contextlib
import io
import time
from collections.abc import Iterable
from functools import partial
from typing import Any

import structlog

from reroll.app import Controller
from reroll.kube.client import Client
from reroll.kube.config import load_config
from reroll.kube.reflector import Collection, Reflector
from reroll.kube.resources import Resource
from tests.conftest import Cluster
from tests.faults.proxy import Fault, FaultProxy, Silence
from tests.faults.world import World
from tests.stateful.cast import (
    BYSTANDER,
    CONFIG_MAPS,
    CONFIGS,
    DEPLOYMENTS,
    DONE,
    FOLLOWERS,
    HOLD,
    JOBS,
    KEYS,
    PASSWORDS,
    RESOURCES,
    Follower,
    manifest,
    template_of,
)
from tests.stateful.watched import Seen, Watched

Content = dict[str, str] | None
"""None: it does not exist."""
SETTLE = 1.0
LEASE = (4.0, 3.0, 0.4)
"""Seconds of an election: duration, deadline of renewal, retry. The usual ones are for controllers far away."""
PODS = Resource("", "v1", "pods", "Pod")
_NOT_COPIED = ("deployment.kubernetes.io/revision", "kubectl.kubernetes.io/last-applied-configuration")
AGAIN = 5
"""How often a mark that another client takes away is written again, at most."""


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


class Stage:
    """A namespace of its own, as an async context manager; `begin` fills it."""

    def __init__(self, cluster: Cluster, namespace: str, *, settle: float = SETTLE) -> None:
        self.cluster, self.namespace, self.settle = cluster, namespace, settle
        self.stack = contextlib.AsyncExitStack()
        self.logged = io.StringIO()
        self.controllers: dict[int, Controller] = {}
        """By the proxy that each has for itself."""
        self.elected = False
        """Of two controllers one leads; otherwise both act."""
        self.rough = False
        """Something failed, or no controller was there, since it was last at rest."""
        self.content: dict[tuple[str, str], Content] = {}
        self.history: dict[tuple[str, str], list[tuple[int, Content]]] = {}
        """By resourceVersion."""
        self.times: dict[tuple[str, str], float] = {}
        """When each was written last, in seconds since the epoch."""
        self.rest: dict[str, dict[tuple[str, str], Content]] = {}
        """By workload: the content of everything when it was last at rest and followed."""
        self.writes: dict[str, int] = {}
        """By workload: writes since then of what it consumes."""
        self.foreign: dict[str, int] = {}
        """By workload: changes of its template by others, since it was last counted."""
        self.again: dict[str, int] = {}
        """By workload: how often its mark may be written again."""
        self.restarted: set[str] = set()
        """Another client had all its pods started, or stopped, since it was last at rest and followed."""
        self.empty: set[str] = set()
        self.paused: set[str] = set()
        self.off: set[str] = set()
        self.gone: set[str] = set()
        self.operated: set[str] = set()
        self.deploys = 0
        self.seen = Seen()
        self.counted: dict[str, int] = {}

    async def __aenter__(self) -> Stage:
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(self.logged))
        self.stack.callback(structlog.reset_defaults)
        proxies = [FaultProxy(self.cluster.server, self.cluster.ca) for _ in range(2)]
        self.proxies = [await self.stack.enter_async_context(proxy) for proxy in proxies]
        self.world = await self.stack.enter_async_context(World(self.cluster, self.namespace))
        config = load_config(kubeconfig=str(self.cluster.kubeconfig))
        self.client = await self.stack.enter_async_context(Client(config))
        return self

    async def __aexit__(self, *error: object) -> None:
        for slot in list(self.controllers):
            await self.kill(slot)
        await self.release()
        await self.world.request("DELETE", f"/api/v1/namespaces/{self.namespace}", allowed=[404])
        await self.stack.aclose()

    async def begin(self, *, elected: bool = False) -> None:
        self.elected = elected
        await self.world.request("POST", "/api/v1/namespaces", {"metadata": {"name": self.namespace}})
        for name in CONFIG_MAPS:
            await self.write("configmaps", name, dict.fromkeys(KEYS, "0"))
        await self.write("secrets", "s", {"P": PASSWORDS[0]})
        for resource in (*RESOURCES, PODS):
            await self._watch(resource)
        for name in FOLLOWERS:
            await self._create(name)
        await self._begin_bystanders()
        await self.start()
        for name in FOLLOWERS:
            await self.world.until(partial(self._adopted, name), f"{name} is adopted")

    async def _begin_bystanders(self) -> None:
        await self.world.workload(BYSTANDER, config_maps=CONFIG_MAPS, secrets=("s",))
        await self.world.patch("daemonsets", BYSTANDER, {"metadata": {"annotations": None}})
        await self.world.request("POST", self.world.path("jobs"), manifest(DONE, Follower(JOBS, ("a",))))

        async def done() -> bool:
            return bool((await self.world.get("jobs", DONE)).get("status", {}).get("completionTime"))

        await self.world.until(done, "a Job has finished")

    async def _watch(self, resource: Resource) -> None:
        told = self.seen.of(resource.kind)
        watch = Reflector(self.client, Collection(resource, Watched, self.namespace), told)
        task = asyncio.create_task(watch.run())
        self.stack.push_async_callback(_cancelled, task)

    async def _adopted(self, name: str) -> bool:
        plural = FOLLOWERS[name].resource.plural
        return await self.world.applied(name, resource=plural) != ""

    # --- config objects --------------------------------------------------------------------------------

    async def write(self, resource: str, name: str, data: Content) -> None:
        """Have it hold exactly this; None deletes it. What does not exist is created."""
        if self.content.get((resource, name)) == data:
            return
        if data is None:
            await self.world.delete(resource, name)
            # The server does not say at which version; no later than now.
            found = await self.world.get(resource)
        elif resource == "secrets":
            found = await self.world.secret(name, data)
        else:
            found = await self.world.config_map(name, data)
        self.content[resource, name], self.times[resource, name] = data, time.time()
        self.history.setdefault((resource, name), []).append(
            (int(found["metadata"]["resourceVersion"]), data)
        )
        for workload, follower in FOLLOWERS.items():
            if (resource, name) in follower.consumed:
                self.writes[workload] = self.writes.get(workload, 0) + 1

    async def write_all(self, values: Iterable[tuple[tuple[str, str], str]]) -> bool:
        """Several writes in a row. True: each came within the settle time of the one before."""
        clock = asyncio.get_running_loop().time
        before, soon = clock(), True
        for (resource, name), value in values:
            key = "P" if resource == "secrets" else "X"
            value = f"marker-{value}-correct-horse" if resource == "secrets" else value
            await self.write(resource, name, {**(self.content[resource, name] or {}), key: value})
            now = clock()
            soon, before = soon and now - before < SETTLE / 2, now
        return soon

    # --- workloads -------------------------------------------------------------------------------------

    async def get(self, name: str) -> dict[str, Any]:
        return await self.world.get(FOLLOWERS[name].resource.plural, name)

    async def _patch(self, name: str, body: object, manager: str = "kubectl-edit") -> dict[str, Any]:
        path = self.world.path(FOLLOWERS[name].resource.plural, name)
        return await self.world.request("PATCH", f"{path}?fieldManager={manager}", body)

    def _another_rolled(self, name: str) -> None:
        self.foreign[name] = self.foreign.get(name, 0) + 1
        self.restarted.add(name)

    async def _create(self, name: str) -> None:
        follower = FOLLOWERS[name]
        await self.world.request("POST", self.world.path(follower.resource.plural), manifest(name, follower))

    async def remove(self, name: str) -> None:
        """Delete a workload, and wait until its name is free."""
        plural = FOLLOWERS[name].resource.plural
        path = self.world.path(plural, name)
        uid = (await self.get(name))["metadata"]["uid"]
        body = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        while True:
            answer = await self.world.request("DELETE", path, body, allowed=[404, 409])
            if answer.get("code") != 409:
                break
            # reroll has made this Job again in the meantime.
            await self.release()
            uid = (await self.get(name))["metadata"]["uid"]
            body["preconditions"] = {"uid": uid}

        async def gone() -> bool:
            await self.release()
            found = await self.world.request("GET", path, allowed=[404])
            return found.get("code") == 404 or found["metadata"]["uid"] != uid

        async def without_pods() -> bool:
            found = await self.world.request("GET", self.world.path("pods"))
            owners = [owner for pod in found["items"] for owner in pod["metadata"].get("ownerReferences", ())]
            return all(owner["uid"] != uid for owner in owners)

        await self.world.until(gone, f"{name} is gone")
        if plural == "daemonsets":
            # Their controller remembers by name which pods it waits for. Where a DaemonSet comes back before it has
            # seen that it was gone, it creates no pods until it gives that up, after five minutes.
            await self.world.until(without_pods, f"the pods of {name} are gone")
        self.gone.add(name)

    async def make_again(self, name: str) -> None:
        """As it was written at first."""
        await self._create(name)
        if FOLLOWERS[name].resource is JOBS:
            self.foreign[name] = self.foreign.get(name, 0) + 1
        self.restarted.add(name)
        for which in (self.gone, self.off, self.paused, self.empty):
            which.discard(name)

    async def release(self) -> None:
        """Take the finalizers of the play from what is being deleted."""
        found = await self.world.get("jobs")
        for job in found["items"]:
            meta = job["metadata"]
            if meta.get("deletionTimestamp") and HOLD in meta.get("finalizers", ()):
                kept = [each for each in meta["finalizers"] if each != HOLD]
                body = {"metadata": {"finalizers": kept, "resourceVersion": meta["resourceVersion"]}}
                await self.world.patch("jobs", meta["name"], body, allowed=[404, 409])

    async def deploy(self, name: str) -> None:
        """Ever another value, so that it is a change whatever another client writes in between."""
        self.deploys += 1
        template = {"metadata": {"annotations": {"example.com/deploy": str(self.deploys)}}}
        spec: dict[str, Any] = {"template": template}
        if "jobTemplate" in (await self.get(name))["spec"]:
            spec = {"jobTemplate": {"spec": spec}}
        await self._patch(name, {"spec": spec}, "kubectl-client-side-apply")
        self._another_rolled(name)

    async def undo(self, name: str) -> None:
        """As kubectl does it: the template of the revision before, and of a Deployment its annotations, too."""
        resource = FOLLOWERS[name].resource
        while True:
            found = await self.get(name)
            target = await self._revision_before(resource, found)
            if target is None or found["spec"].get("paused"):
                return
            template, annotations = target
            if resource is DEPLOYMENTS:
                own = found["metadata"].get("annotations", {})
                kept = {key: text for key, text in own.items() if key in _NOT_COPIED}
                back = {key: text for key, text in annotations.items() if key not in _NOT_COPIED}
                found["metadata"]["annotations"] = kept | back
            answer = await self._replace_template(name, found, template, "kubectl-rollout")
            if answer is not None:
                if answer["metadata"]["annotations"].get("reroll.dev/auto") == "true":
                    self.off.discard(name)
                return

    async def operate(self, name: str) -> None:
        """An operator writes its own template again, whole: what others put into it goes."""
        self.operated.add(name)
        while True:
            found = await self.get(name)
            template = template_of(manifest(name, FOLLOWERS[name]))
            deployed = template_of(found)["metadata"].get("annotations", {}).get("example.com/deploy")
            if deployed is not None:
                template["metadata"]["annotations"] = {"example.com/deploy": deployed}
            if await self._replace_template(name, found, template, "operator") is not None:
                self.again[name] = self.again.get(name, 0) + AGAIN
                return

    async def _replace_template(
        self, name: str, found: dict[str, Any], template: dict[str, Any], manager: str
    ) -> dict[str, Any] | None:
        """On the condition that nobody wrote in between, so that it can be counted; None: somebody did."""
        before = template_of(found)
        found["spec"]["template"] = template
        path = self.world.path(FOLLOWERS[name].resource.plural, name)
        answer = await self.world.request("PUT", f"{path}?fieldManager={manager}", found, allowed=[409])
        if answer["kind"] == "Status":
            return None
        if template_of(answer) != before:
            self._another_rolled(name)
        return answer

    async def _revision_before(
        self, resource: Resource, workload: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, str]] | None:
        """Template and annotations of the newest revision that is not the workload's current template."""
        found: list[tuple[int, dict[str, Any], dict[str, str]]] = []
        for each in await self.owned(
            "replicasets" if resource is DEPLOYMENTS else "controllerrevisions", workload
        ):
            annotations = each["metadata"].get("annotations", {})
            if resource is DEPLOYMENTS:
                revision = int(annotations.get("deployment.kubernetes.io/revision", "0"))
                template = each["spec"]["template"]
                template["metadata"]["labels"].pop("pod-template-hash", None)
            else:
                revision, template = each["revision"], each["data"]["spec"]["template"]
                template.pop("$patch", None)
            found.append((revision, template, annotations))
        now = workload["spec"]["template"]["metadata"].get("annotations")
        others = [each for each in found if each[1]["metadata"].get("annotations") != now]
        return max(others, key=lambda each: each[0])[1:] if others else None

    async def owned(self, plural: str, owner: dict[str, Any]) -> list[dict[str, Any]]:
        found = await self.world.get(plural)
        uid = owner["metadata"]["uid"]
        return [
            each
            for each in found["items"]
            if any(reference["uid"] == uid for reference in each["metadata"].get("ownerReferences", ()))
        ]

    async def pause(self, name: str, paused: bool) -> None:
        await self._patch(name, {"spec": {"paused": paused}})
        self.paused = self.paused | {name} if paused else self.paused - {name}

    async def scale(self, name: str, replicas: int) -> None:
        before = (await self.get(name))["spec"]["replicas"]
        await self._patch(name, {"spec": {"replicas": replicas}}, "kubectl-scale")
        # Where there are no pods there is nothing to roll, and those that come read what is there.
        if 0 in (before, replicas):
            self.restarted.add(name)
        self.empty = self.empty - {name} if replicas else self.empty | {name}

    async def switch(self, name: str) -> None:
        self.off ^= {name}
        value = "false" if name in self.off else "true"
        await self._patch(name, {"metadata": {"annotations": {"reroll.dev/auto": value}}})

    async def spoil(self, name: str, value: str | None) -> None:
        await self._patch(name, {"metadata": {"annotations": {"reroll.dev/applied": value}}})

    async def slow_down(self, name: str) -> None:
        """A new pod of this Deployment counts after some seconds, which changes no template."""
        await self._patch(name, {"spec": {"minReadySeconds": 3}})

    async def until_marked(self, name: str, seconds: float) -> None:
        """Wait for the next change of its template, no longer than this."""
        key = FOLLOWERS[name].resource.kind, name
        before = self.seen.changes.get(key, 0)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.seen.changes.get(key, 0) == before:  # noqa: ASYNC110 - a watch tells
                    await asyncio.sleep(0.01)

    # --- controllers -----------------------------------------------------------------------------------

    async def start(self) -> None:
        slot = min({0, 1} - self.controllers.keys())
        config = self.world.config(self.proxies[slot].url)
        control = self.world.begin(config, settle=self.settle, settle_max=10.0, leader_election=self.elected)
        if control.election is not None:
            election = control.election
            election.duration, election.renew_deadline, election.retry = LEASE
        self.controllers[slot] = control
        # What this one has not seen happen it can't order exactly.
        self.rough = True

    async def kill(self, slot: int) -> None:
        """No orderly stop: what is in flight stays as it is."""
        self.rough = True
        control = self.controllers.pop(slot)
        for pair in list(self.world._running):
            if pair[0] is control:
                self.world._running.remove(pair)
                pair[1].cancel()
                await asyncio.gather(pair[1], return_exceptions=True)

    def freeze(self, slot: int) -> None:
        """No byte reaches it any more, nor comes from it: who leads loses the lead."""
        self.rough = True
        self.proxies[slot].add(Silence())
        self.proxies[slot].drop_watches()

    def fail(
        self, fault: Fault, verbs: tuple[str, ...], path: str, times: int | None, probability: float
    ) -> None:
        self.rough = True
        for proxy in self.proxies:
            proxy.add(fault, *verbs, path=path, times=times, probability=probability)

    def drop_watches(self) -> None:
        self.rough = True
        for proxy in self.proxies:
            proxy.drop_watches()

    async def end_all(self) -> None:
        """What keeps a workload from its end is over: everything exists, goes on and follows."""
        for resource, name in CONFIGS:
            if self.content[resource, name] is None:
                data = {"P": PASSWORDS[0]} if resource == "secrets" else dict.fromkeys(KEYS, "0")
                await self.write(resource, name, data)
        for name in list(self.gone):
            await self.make_again(name)
        for name in list(self.paused):
            await self.pause(name, False)
