"""The real control plane, the objects on it, and an own watch that tells when a pod template changed."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from bench.contestants import ROOT
from reroll.core.observe import WorkloadObject
from reroll.kube.client import Client
from reroll.kube.config import load_config
from reroll.kube.errors import AlreadyExists
from reroll.kube.reflector import Reflector
from reroll.kube.resources import CONFIG_MAPS, NAMESPACES, SECRETS, Resource

DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")
BOTH = {"reroll.dev/auto": "true", "reloader.stakater.com/auto": "true"}
Key = tuple[str, str]


@dataclass
class Templates:
    """When which Deployment's pod template changed, by the loop's clock. A reflector's handler."""

    changes: dict[Key, list[float]] = field(default_factory=dict)
    last_event: float = 0.0
    _last: dict[Key, bytes] = field(default_factory=dict)

    def upsert(self, obj: WorkloadObject, *, live: bool) -> None:
        now = asyncio.get_running_loop().time()
        key = (obj.metadata.namespace, obj.metadata.name)
        template = bytes(obj.spec.template)
        if self._last.get(key, template) != template:
            self.changes.setdefault(key, []).append(now)
        self._last[key] = template
        self.last_event = now

    def delete(self, namespace: str, name: str, *, live: bool) -> None:
        self._last.pop((namespace, name), None)
        self.last_event = asyncio.get_running_loop().time()

    def known(self) -> Iterable[Key]:
        return list(self._last)

    def synced(self) -> None:
        pass

    def since(self, start: float) -> dict[Key, list[float]]:
        """Deployment -> times of its changes after `start`."""
        found = {key: [t for t in times if t >= start] for key, times in self.changes.items()}
        return {key: times for key, times in found.items() if times}


class Stage:
    """What the scenarios do to the cluster, as its admin."""

    def __init__(self, client: Client, ready: dict[str, Any]) -> None:
        self.client = client
        self.ready = ready
        self.templates = Templates()

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def kubeconfig(self, user: str) -> Path:
        return Path(self.ready["data_dir"]) / f"kubeconfig-{user}"

    # --- objects -------------------------------------------------------------------------------------

    async def create(self, resource: Resource, namespace: str, manifest: dict[str, Any]) -> None:
        """Create it; one that is there already stays as it is."""
        try:
            await self.client.create(resource.path(namespace), msgspec.json.encode(manifest), attempts=6)
        except AlreadyExists:
            return

    async def namespace(self, name: str) -> str:
        await self.create(NAMESPACES, "", {"metadata": {"name": name}})
        return name

    async def config_map(self, namespace: str, name: str, data: dict[str, str]) -> None:
        await self.create(CONFIG_MAPS, namespace, {"metadata": {"name": name}, "data": data})

    async def secret(self, namespace: str, name: str, data: dict[str, str]) -> None:
        await self.create(SECRETS, namespace, {"metadata": {"name": name}, "stringData": data})

    async def deployment(self, namespace: str, name: str, configs: Iterable[str]) -> None:
        """A Deployment of one pod that takes the key `a` of each ConfigMap into its environment."""
        env = [
            {"name": f"V{i}", "valueFrom": {"configMapKeyRef": {"name": config, "key": "a"}}}
            for i, config in enumerate(configs)
        ]
        labels = {"app": name}
        spec = {"containers": [{"name": "main", "image": "example.invalid/app", "env": env}]}
        manifest = {
            "metadata": {"name": name, "annotations": BOTH},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": spec},
            },
        }
        await self.create(DEPLOYMENTS, namespace, manifest)

    async def change(self, namespace: str, name: str, value: str) -> float:
        """Set the key `a` of a ConfigMap; returns the time of the server's answer."""
        body = msgspec.json.encode({"data": {"a": value}})
        await self.client.patch(CONFIG_MAPS.path(namespace, name), body, attempts=4)
        return self.now

    async def many(self, each: Callable[[int], Awaitable[object]], count: int, at_once: int = 60) -> None:
        """Run `each` of 0..count-1, so many at once."""
        numbers = iter(range(count))

        async def work() -> None:
            for number in numbers:
                await each(number)

        await asyncio.gather(*(work() for _ in range(at_once)))

    # --- waiting -------------------------------------------------------------------------------------

    async def calm(self, seconds: float = 3.0, most: float = 240.0) -> None:
        """Until no Deployment has changed in any way for so long: all rollouts are over."""
        start = self.now
        while (  # noqa: ASYNC110
            self.now - max(self.templates.last_event, start) < seconds and self.now - start < most
        ):
            await asyncio.sleep(0.1)

    async def until(self, condition: Callable[[], bool], most: float) -> bool:
        """True once it holds, False if it did not in so many seconds."""
        start = self.now
        while not condition():
            if self.now - start > most:
                return False
            await asyncio.sleep(0.002)
        return True

    def requests(self, user: str, before: int) -> list[dict[str, Any]]:
        """Audit events of a user's finished requests after the first `before` lines."""
        lines = Path(self.ready["audit_log"]).read_text().splitlines()[before:]
        events = [json.loads(line) for line in lines]
        return [
            event
            for event in events
            if event["user"]["username"] == user
            and event["stage"] == "ResponseComplete"
            and event["verb"] != "watch"
            and event.get("objectRef", {}).get("resource") != "leases"
        ]

    def audit_lines(self) -> int:
        with Path(self.ready["audit_log"]).open("rb") as file:
            return sum(1 for _ in file)


@asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    """A fresh control plane of our own, gone afterwards."""
    process = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, str(ROOT / "devcluster" / "cluster.py"), "run", "--until-stdin-closes"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = await asyncio.to_thread(process.stdout.readline)
        if not line:
            raise RuntimeError("the control plane did not start, see above")
        ready = json.loads(line)
        config = load_config(kubeconfig=ready["kubeconfig"])
        async with Client(config, max_in_flight=100, field_manager="bench") as client:
            found = Stage(client, ready)
            watch = Reflector(client, DEPLOYMENTS, found.templates, WorkloadObject)
            task = asyncio.create_task(watch.run())
            try:
                while not watch.statistics().synced:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
                yield found
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
    finally:
        process.stdin.close()
        await asyncio.to_thread(process.wait, 60)
        process.stdout.close()
