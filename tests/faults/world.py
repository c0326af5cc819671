"""A small world on the real server: what a test writes, waits for and counts, past every proxy."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Awaitable, Callable, Iterable
from types import TracebackType
from typing import Any

import aiohttp

from reroll.app import Controller
from reroll.kube.auth import Fixed, UserCredentials
from reroll.kube.config import ClusterConfig
from reroll.settings import Settings
from tests.conftest import Cluster
from tests.faults.proxy import close_session

PATIENCE = 40.0
"""Seconds after which a test gives up waiting: a bound against a test that hangs, not a measurement."""

APPLIED = "reroll.dev/applied"
CONFIG = "reroll.dev/config"


class World:
    """One namespace, and the controllers that work in it, as an async context manager."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self._session: aiohttp.ClientSession | None = None
        self._running: list[tuple[Controller, asyncio.Task[None]]] = []

    async def __aenter__(self) -> World:
        context = ssl.create_default_context(cafile=self.cluster.ca)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=20, ssl=context),
            headers={"Authorization": f"Bearer {self.cluster.tokens['admin']}"},
            timeout=aiohttp.ClientTimeout(total=30),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for control, _ in self._running:
                control.stop()
            for _, task in self._running:
                async with asyncio.timeout(PATIENCE):
                    await task
        finally:
            assert self._session is not None
            await close_session(self._session)

    # --- the API -----------------------------------------------------------------------------------

    async def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        allowed: Iterable[int] = (),
        type: str = "merge",
    ) -> dict[str, Any]:
        """One request as admin. Fails with the server's words, unless the code is `allowed`."""
        assert self._session is not None
        kind = f"application/{type}-patch+json" if method == "PATCH" else "application/json"
        headers = {"Content-Type": kind}
        url = self.cluster.server + path
        async with self._session.request(method, url, json=body, headers=headers) as response:
            answer: dict[str, Any] = await response.json()
            if response.status >= 300 and response.status not in allowed:
                raise AssertionError(f"{method} {path}: {answer.get('message')}")
            return answer

    def path(self, resource: str, name: str = "", *, namespace: str = "") -> str:
        """The path of one object of the namespace, or of all of a resource."""
        roots = {"configmaps": "/api/v1", "secrets": "/api/v1", "pods": "/api/v1"}
        roots |= {"events": "/apis/events.k8s.io/v1", "jobs": "/apis/batch/v1", "cronjobs": "/apis/batch/v1"}
        root = roots.get(resource, "/apis/apps/v1")
        return f"{root}/namespaces/{namespace or self.namespace}/{resource}" + (f"/{name}" if name else "")

    async def get(self, resource: str, name: str = "", *, namespace: str = "") -> dict[str, Any]:
        return await self.request("GET", self.path(resource, name, namespace=namespace))

    async def _put(self, resource: str, name: str, content: dict[str, Any], namespace: str) -> dict[str, Any]:
        """Create, or replace."""
        body = {"metadata": {"name": name}} | content
        answer = await self.request(
            "PUT", self.path(resource, name, namespace=namespace), body, allowed=[404, 409]
        )
        if answer.get("kind") == "Status":
            answer = await self.request("POST", self.path(resource, namespace=namespace), body)
        return answer

    async def config_map(
        self,
        name: str,
        data: dict[str, str] | None = None,
        *,
        binary: dict[str, bytes] | None = None,
        namespace: str = "",
    ) -> dict[str, Any]:
        """A ConfigMap with exactly this content."""
        content = {"data": data or {}, "binaryData": _base64(binary or {})}
        return await self._put("configmaps", name, content, namespace)

    async def secret(self, name: str, data: dict[str, str], *, namespace: str = "") -> dict[str, Any]:
        """A Secret with exactly this content."""
        encoded = _base64({key: value.encode() for key, value in data.items()})
        return await self._put("secrets", name, {"data": encoded}, namespace)

    async def delete(self, resource: str, name: str) -> None:
        await self.request("DELETE", self.path(resource, name))

    async def workload(
        self,
        name: str,
        *,
        config_maps: Iterable[str] = (),
        secrets: Iterable[str] = (),
        namespace: str = "",
        resource: str = "daemonsets",
    ) -> dict[str, Any]:
        """A DaemonSet, unless it is to be another, that takes its whole environment from ConfigMaps and Secrets,
        and follows them.

        No node suits it, so that a hundred of them can be rolled without a single pod. Its generation counts
        changes of its spec only; that of a Deployment counts its annotations too.
        """
        template = _template(name, config_maps, secrets)
        template["spec"]["nodeSelector"] = {"no-such-label": "true"}
        return await self._create(resource, name, {"template": template}, namespace)

    async def deployment(
        self, name: str, *, config_maps: Iterable[str] = (), secrets: Iterable[str] = ()
    ) -> dict[str, Any]:
        """The same as a Deployment of one pod."""
        return await self._create(
            "deployments", name, {"template": _template(name, config_maps, secrets)}, ""
        )

    async def _create(self, resource: str, name: str, spec: dict[str, Any], namespace: str) -> dict[str, Any]:
        metadata = {"name": name, "annotations": {"reroll.dev/auto": "true"}}
        body = {"metadata": metadata, "spec": {"selector": {"matchLabels": {"app": name}}} | spec}
        return await self.request("POST", self.path(resource, namespace=namespace), body)

    async def patch(
        self, resource: str, name: str, body: object, *, type: str = "merge", allowed: Iterable[int] = ()
    ) -> dict[str, Any]:
        """A merge patch, or one of another `type`: strategic-merge, json."""
        return await self.request("PATCH", self.path(resource, name), body, allowed=allowed, type=type)

    # --- what became of it -------------------------------------------------------------------------

    async def rollouts(self, name: str, *, namespace: str = "") -> int:
        """How often the spec of a workload (a DaemonSet) was changed since its creation: nobody but reroll
        does it here."""
        found = await self.get("daemonsets", name, namespace=namespace)
        return int(found["metadata"]["generation"]) - 1

    async def all_rollouts(self) -> dict[str, int]:
        """The same of all workloads of the namespace."""
        found = await self.get("daemonsets")
        return {each["metadata"]["name"]: each["metadata"]["generation"] - 1 for each in found["items"]}

    async def replica_sets(self, name: str) -> int:
        """How many ReplicaSets a Deployment has had."""
        found = await self.get("replicasets")
        owners = [rs["metadata"]["ownerReferences"][0]["name"] for rs in found["items"]]
        return owners.count(name)

    async def applied(self, name: str, *, namespace: str = "", resource: str = "daemonsets") -> str:
        """The annotation reroll.dev/applied of a workload; "" while it has none."""
        found = await self.get(resource, name, namespace=namespace)
        return str(found["metadata"].get("annotations", {}).get(APPLIED, ""))

    async def events(self, reason: str, name: str = "") -> list[dict[str, Any]]:
        """The Events on the namespace's workloads."""
        found = await self.get("events")
        return [
            event
            for event in found["items"]
            if event["reason"] == reason
            and event["reportingController"] == "reroll.dev/controller"
            and name in ("", event["regarding"]["name"])
        ]

    async def until(self, holds: Callable[[], Awaitable[bool]], what: str) -> None:
        """Wait until something holds."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not await holds():  # noqa: ASYNC110 - what it waits for is on a server
                    await asyncio.sleep(0.03)
        except TimeoutError:
            raise AssertionError(f"not within {PATIENCE:.0f} s: {what}") from None

    async def until_rolled(self, name: str, times: int, *, namespace: str = "") -> None:
        """Wait for a workload's rollouts; fails at once if there are more."""

        async def rolled() -> bool:
            count = await self.rollouts(name, namespace=namespace)
            assert count <= times, f"{name} was rolled {count} times, not {times}"
            return count == times

        await self.until(rolled, f"{name} was rolled {times} times")

    async def until_adopted(self, *names: str, namespace: str = "") -> None:
        """Wait until reroll has recorded what these workloads run with."""
        for name in names:

            async def adopted(name: str = name) -> bool:
                return await self.applied(name, namespace=namespace) != ""

            await self.until(adopted, f"{name} is adopted")

    async def until_true(self, holds: Callable[[], bool], what: str) -> None:
        """`until`, for what needs no waiting to be told."""

        async def asked() -> bool:
            return holds()

        await self.until(asked, what)

    # --- controllers -------------------------------------------------------------------------------

    def config(self, server: str = "", *, token: str = "") -> ClusterConfig:
        """The way to the server, or to a proxy of it, as the user `reroll`."""
        credentials = UserCredentials(Fixed(f"Bearer {token or self.cluster.tokens['reroll']}"))
        return ClusterConfig(server=server, namespace=self.namespace, credentials=credentials)

    def settings(self, **settings: Any) -> Settings:
        """Of a controller that works in this namespace alone, and soon."""
        ours: dict[str, Any] = {
            "namespaces": (self.namespace,),
            "key_namespace": self.namespace,
            "listen": "",
            "settle": 0.1,
            "settle_max": 2.0,
        }
        return Settings(**(ours | settings))

    def begin(self, config: ClusterConfig, **settings: Any) -> Controller:
        """Start a controller, and don't wait for it. It's stopped at the end, or by `end`."""
        control = Controller(config, self.settings(**settings))
        self._running.append((control, asyncio.create_task(control.run())))
        return control

    async def controller(self, server: str, **settings: Any) -> Controller:
        """Start a controller, and wait until it works."""
        control = self.begin(self.config(server), **settings)
        await self.until_true(lambda: control.working or self._died(control), "the controller works")
        return control

    async def end(self, control: Controller) -> None:
        """Stop a controller in order."""
        control.stop()
        for each, task in list(self._running):
            if each is control:
                async with asyncio.timeout(PATIENCE):
                    await task
                self._running.remove((each, task))

    def _died(self, control: Controller) -> bool:
        for each, task in self._running:
            if each is control and task.done():
                task.result()
                return True
        return False

    async def until_idle(self, *controls: Controller) -> None:
        """Wait until these controllers have nothing more to do of what they know."""

        def idle() -> bool:
            queues = [control.queue.statistics() for control in controls]
            return all(q.ready + q.delayed + q.processing == 0 for q in queues)

        await self.until_true(idle, "the queue is empty")


def _template(name: str, config_maps: Iterable[str], secrets: Iterable[str]) -> dict[str, Any]:
    env_from = [{"configMapRef": {"name": each}} for each in config_maps]
    env_from += [{"secretRef": {"name": each}} for each in secrets]
    container = {"name": "main", "image": "app:1", "envFrom": env_from}
    return {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}


def _base64(values: dict[str, bytes]) -> dict[str, str]:
    return {key: base64.b64encode(value).decode() for key, value in values.items()}
