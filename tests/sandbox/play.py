"""A stage in virtual time: a storage whose controllers and kubelet move, with shorthands to act on it and see it."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from reroll.sandbox.kinds import CONFIG_MAP, DEPLOYMENT, POD, REPLICA_SET, SECRET, Kind
from reroll.sandbox.rollouts import Rollouts
from reroll.sandbox.storage import Object, Storage

NAMESPACE = "default"
MIDNIGHT = 1_767_225_600.0
"""When the tests begin: 2026-01-01T00:00:00Z."""


def template(app: str = "web", **spec: Any) -> Object:
    """A pod template; `spec` replaces what is in its one container, or `annotations` what is on it."""
    annotations = spec.pop("annotations", None)
    pod = {
        key: spec.pop(key)
        for key in ("volumes", "initContainers", "restartPolicy", "nodeSelector")
        if key in spec
    }
    container = {"name": "main", "image": "app:1", **spec}
    meta: Object = {"labels": {"app": app}}
    if annotations:
        meta["annotations"] = annotations
    return {"metadata": meta, "spec": {"containers": [container], **pod}}


class Play:
    """What a test does on the stage."""

    def __init__(self, storage: Storage, rollouts: Rollouts) -> None:
        self.storage = storage
        self.rollouts = rollouts

    def make(self, kind: Kind, name: str, **fields: Any) -> Object:
        return self.storage.create(kind, {"metadata": {"name": name, "namespace": NAMESPACE}, **fields})

    def deployment(self, name: str = "web", *, pod: Object | None = None, **spec: Any) -> Object:
        selector = {"matchLabels": {"app": name}}
        return self.make(
            DEPLOYMENT,
            name,
            spec={"replicas": 1, "selector": selector, "template": pod or template(name), **spec},
        )

    def config_map(self, name: str, **data: str) -> Object:
        return self.put(CONFIG_MAP, name, data=data)

    def secret(self, name: str, **data: str) -> Object:
        return self.put(
            SECRET, name, data={k: base64.b64encode(v.encode()).decode() for k, v in data.items()}
        )

    def put(self, kind: Kind, name: str, **fields: Any) -> Object:
        """Create it or replace these fields of it."""
        found = self.storage.find(kind, NAMESPACE, name)
        if found is None:
            return self.make(kind, name, **fields)
        return self.storage.update(kind, {**found, **fields})

    def spec(self, kind: Kind, name: str, **fields: Any) -> Object:
        """Change fields of its spec."""
        found = self.get(kind, name)
        return self.storage.update(kind, {**found, "spec": {**found["spec"], **fields}})

    def get(self, kind: Kind, name: str) -> Object:
        return self.storage.get(kind, NAMESPACE, name)

    def status(self, kind: Kind, name: str) -> Object:
        found: Object = self.get(kind, name).get("status", {})
        return found

    def sets(self) -> list[Object]:
        """The ReplicaSets by their revision."""
        annotation = "deployment.kubernetes.io/revision"
        held = self.storage.objects(REPLICA_SET)
        return sorted(held, key=lambda one: int(one["metadata"]["annotations"][annotation]))

    def sizes(self) -> list[int]:
        return [one["spec"]["replicas"] for one in self.sets()]

    def pods(self, app: str = "web") -> list[Object]:
        """Pods of an app by name, those that are ending too."""
        return [p for p in self.storage.objects(POD) if p["metadata"].get("labels", {}).get("app") == app]

    async def rest(self, seconds: float = 5.0) -> None:
        """Let so much (virtual) time pass: enough for everything that is not held up."""
        await asyncio.sleep(seconds)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until it holds, looking after each write."""
        written = asyncio.Event()
        end = self.storage.listen(lambda _: written.set())
        try:
            async with asyncio.timeout(3600):
                while not holds():
                    await written.wait()
                    written.clear()
        finally:
            end()


def condition(obj: Object, type: str) -> tuple[str, str]:
    """(status, reason) of a condition."""
    found: Object = next((c for c in obj.get("status", {}).get("conditions", []) if c["type"] == type), {})
    return found.get("status", ""), found.get("reason", "")


@asynccontextmanager
async def playing(storage: Storage | None = None, **settings: Any) -> AsyncIterator[Play]:
    """A stage with other settings than `play`, or on what another left."""
    loop = asyncio.get_running_loop()
    storage = storage or Storage(now=lambda: MIDNIGHT + loop.time())
    rollouts = Rollouts(storage, **settings)
    task = asyncio.create_task(rollouts.run())
    try:
        yield Play(storage, rollouts)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
