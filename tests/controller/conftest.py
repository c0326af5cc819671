"""A stage for tests of the whole controller: a namespace on the real API server, and a controller in it."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import msgspec
import pytest

from reroll.app import Controller
from reroll.core.kinds import KINDS, WORKLOAD_KINDS, WorkloadKind
from reroll.core.observe import WorkloadObject, epoch
from reroll.core.records import ConfigId, ConfigRecord
from reroll.kube.client import Client
from reroll.kube.config import load_config
from reroll.kube.reflector import Collection, Handler, Reflector
from reroll.kube.resources import CONFIG_MAPS, EVENTS, PODS, SECRETS, Resource
from reroll.settings import Settings

Json: TypeAlias = dict[str, Any]
NewWorkload: TypeAlias = Callable[..., Json]
"""The fixture `new_workload`: `workload`."""
Define: TypeAlias = Callable[..., AbstractContextManager[None]]
"""The fixture `define`: serves kinds, of WorkloadKind, while its body runs."""
DEADLINE = 10.0


class HasKubeconfig(Protocol):
    @property
    def kubeconfig(self) -> Path: ...


class Templates:
    """Counts changes of pod templates, by an own watch: generation grows with annotations too."""

    def __init__(self) -> None:
        self.versions: dict[tuple[str, str], str] = {}
        self.changes: dict[tuple[str, str], int] = {}
        self._last: dict[tuple[str, str], bytes] = {}

    def of(self, kind: str) -> Handler[WorkloadObject]:
        return _OneKind(self, kind)

    def take(self, kind: str, obj: WorkloadObject) -> None:
        key = (kind, obj.metadata.name)
        template = bytes(obj.spec.template)
        changed = key in self._last and self._last[key] != template
        self.changes[key] = self.changes.get(key, 0) + changed
        self._last[key] = template
        self.versions[key] = obj.metadata.resource_version


class _OneKind:
    def __init__(self, templates: Templates, kind: str) -> None:
        self._templates, self._kind = templates, kind

    def upsert(self, obj: WorkloadObject, *, live: bool) -> None:
        self._templates.take(self._kind, obj)

    def delete(self, namespace: str, name: str, *, live: bool, version: str) -> None:
        pass

    def known(self) -> list[tuple[str, str]]:
        return []

    def synced(self) -> None:
        pass


class Stage:
    """One namespace: what a person would do in it with kubectl, and what can be seen there."""

    def __init__(self, client: Client, namespace: str, kubeconfig: Path) -> None:
        self.client, self.namespace, self.kubeconfig = client, namespace, kubeconfig
        self.kinds = dict(KINDS)
        """Kinds of workload, by what the tests call them; custom ones are added where they are defined."""
        self._markers = itertools.count(1)
        self._templates = Templates()

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Count template changes while the body runs."""
        tasks = []
        for known in WORKLOAD_KINDS.values():
            resource = Resource(known.group, known.version, known.plural, known.kind)
            reflector = Reflector(
                self.client,
                Collection(resource, WorkloadObject, self.namespace),
                self._templates.of(known.kind),
            )
            tasks.append(asyncio.create_task(reflector.run()))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # --- doing ---------------------------------------------------------------------------------------

    def path(self, kind: str, name: str | None = None) -> str:
        resources = {"ConfigMap": CONFIG_MAPS, "Secret": SECRETS, "Event": EVENTS, "Pod": PODS}
        if kind in self.kinds:
            known = self.kinds[kind]
            return Resource(known.group, known.version, known.plural, known.kind).path(self.namespace, name)
        return resources[kind].path(self.namespace, name)

    async def create(self, manifest: Json) -> Json:
        body = msgspec.json.encode(manifest)
        return self._json(await self.client.create(self.path(manifest["kind"]), body, attempts=3))

    async def get(self, kind: str, name: str) -> Json:
        return self._json(await self.client.get(self.path(kind, name)))

    async def patch(self, kind: str, name: str, patch: Json) -> Json:
        return self._json(await self.client.patch(self.path(kind, name), msgspec.json.encode(patch)))

    async def delete(self, kind: str, name: str) -> None:
        await self.client.delete(self.path(kind, name))

    async def config_map(self, name: str, data: dict[str, str], **metadata: Any) -> None:
        """Create a ConfigMap."""
        await self.create(config_map(name, data, **metadata))

    async def secret(self, name: str, data: dict[str, str], **metadata: Any) -> None:
        """Create a Secret."""
        await self.create(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, **metadata}, "stringData": data}
        )

    async def set(self, kind: str, name: str, data: dict[str, str | None]) -> None:
        """Change keys of a ConfigMap or Secret; None removes a key."""
        await self.patch(kind, name, {"stringData" if kind == "Secret" else "data": data})

    # --- seeing --------------------------------------------------------------------------------------

    async def rollouts(self, name: str, kind: str = "Deployment") -> int:
        """How often the pod template was changed since the workload was created."""
        version = (await self.get(kind, name))["metadata"]["resourceVersion"]

        async def seen() -> bool:
            return int(self._templates.versions.get((kind, name), 0)) >= int(version)

        await self.until(seen, f"{name} was not seen")
        return self._templates.changes[kind, name]

    async def until(self, condition: Callable[[], Any], what: str) -> Any:
        """Ask until the (async) condition holds."""
        async with asyncio.timeout(DEADLINE):
            while True:
                found = await condition()
                if found:
                    return found
                await asyncio.sleep(0.03)
        raise AssertionError(what)

    async def adopted(self, name: str, kind: str = "Deployment") -> Json:
        """Wait until reroll has recorded the workload."""

        async def recorded() -> Json | None:
            annotations = (await self.get(kind, name))["metadata"].get("annotations", {})
            return msgspec.json.decode(annotations.get("reroll.dev/applied", "null"))  # type: ignore[no-any-return]

        found: Json = await self.until(recorded, f"{name} was not adopted")
        return found

    async def complete(self, name: str) -> None:
        """Wait until the rollout of a Deployment has ended."""

        async def is_complete() -> bool:
            return complete(await self.get("Deployment", name))

        await self.until(is_complete, f"the rollout of {name} has not ended")

    async def rolled(self, name: str, times: int, kind: str = "Deployment") -> None:
        """Wait until the template was changed this often, no more, no less, in all."""

        async def enough() -> bool:
            return await self.rollouts(name, kind) >= times

        await self.until(enough, f"{name} was rolled fewer than {times} times")
        assert await self.rollouts(name, kind) == times

    async def quiet(self, control: Controller) -> None:
        """Wait until everything done so far has been seen by the controller and brought to rest.

        A watch delivers in order, so a change of each kind that is seen means that all before it were.
        """
        data = {"n": str(next(self._markers))}
        name = "zz-marker"
        for kind in ("ConfigMap", "Secret"):
            try:
                await self.set(kind, name, dict(data))
            except Exception:
                await (self.config_map if kind == "ConfigMap" else self.secret)(name, data)
        for kind in WORKLOAD_KINDS:
            for item in self._json(await self.client.list_page(self.path(kind)))["items"]:
                await self._seen_workload(control, kind, item["metadata"]["name"])
        for kind in ("configmap", "secret"):
            await self._seen_config(control, ConfigId(kind, self.namespace, name), data["n"])  # type: ignore[arg-type]

        await self.idle(control)

    async def idle(self, control: Controller) -> None:
        """Wait until nothing is asked, settling or being done."""

        async def at_rest() -> bool:
            now = control.queue.statistics()
            return now.ready == now.processing == 0 and not control.queue.due_within(60.0)

        await self.until(at_rest, "the queue did not come to rest")

    async def seen_config(self, control: Controller, kind: str, name: str) -> None:
        """Wait until the controller holds a ConfigMap or Secret as it is now on the server."""
        config = ConfigId("configmap" if kind == "ConfigMap" else "secret", self.namespace, name)
        await self._seen_config(control, config, "")

    async def _seen_config(self, control: Controller, config: ConfigId, value: str) -> None:
        async def seen() -> bool:
            held = control.store.configs.state(config)
            path = self.path("ConfigMap" if config.kind == "configmap" else "Secret", config.name)
            now = self._json(await self.client.get(path))["metadata"]["resourceVersion"]
            return isinstance(held, ConfigRecord) and (held.version == int(now) or held.version == 0)

        await self.until(seen, f"{config} was not seen")

    async def _seen_workload(self, control: Controller, kind: str, name: str) -> None:
        async def seen() -> bool:
            now = await self.get(kind, name)
            names = {(w.kind, w.name): control.store.workload(w) for w in control.store.workloads()}
            entry = names.get((kind, name))
            return entry is not None and entry.record.generation >= now["metadata"]["generation"]

        await self.until(seen, f"{kind} {name} was not seen")

    async def revision(self, name: str, number: int) -> None:
        """Wait until a Deployment's own controller has made its revision of this number current."""

        async def current() -> bool:
            found = await self.get("Deployment", name)
            marks = found["metadata"].get("annotations", {})
            return bool(str(number) == marks.get("deployment.kubernetes.io/revision"))

        await self.until(current, f"{name} has no revision {number}")

    async def pods_older_than_now(self, name: str) -> None:
        """Wait until the pods of a workload run, and were created in an earlier second than this one."""

        async def older() -> bool:
            selector = f"?labelSelector=app%3D{name}"
            path = PODS.path(self.namespace) + selector
            times = [
                p["metadata"]["creationTimestamp"]
                for p in self._json(await self.client.list_page(path))["items"]
            ]
            return bool(times) and max(map(epoch, times)) < int(time.time())

        await self.until(older, f"{name} has no pods of an earlier second")

    def encode(self, value: Json | list[Any]) -> bytes:
        return msgspec.json.encode(value)

    async def at_least_events(self, name: str, count: int) -> list[Json] | None:
        """Events on one workload, when there are so many."""
        found = await self.events(name)
        return found if len(found) >= count else None

    async def events(self, name: str) -> list[Json]:
        """Events on one workload, of reroll: what it decided and did."""
        return [event for event in await self._all_events(name) if event["action"] != "Follow"]

    async def ends(self, name: str) -> list[Json]:
        """Events on one workload, of reroll: what became of its rollouts."""
        return [event for event in await self._all_events(name) if event["action"] == "Follow"]

    async def _all_events(self, name: str) -> list[Json]:
        items = self._json(await self.client.list_page(self.path("Event")))["items"]
        return [
            event
            for event in items
            if event["regarding"]["name"] == name and "reroll" in (event.get("reportingController") or "")
        ]

    def _json(self, body: bytes) -> Json:
        return msgspec.json.decode(body)  # type: ignore[no-any-return]

    # --- the controller ------------------------------------------------------------------------------

    @asynccontextmanager
    async def controller(self, **settings: Any) -> AsyncIterator[Controller]:
        """A controller of this namespace, in this process; gives it when it works."""
        values: dict[str, Any] = {
            "settle": 0.2,
            "settle_max": 2.0,
            "listen": "",
            "namespaces": (self.namespace,),
            **settings,
        }
        control = Controller(
            load_config(kubeconfig=str(self.kubeconfig)), Settings(key_namespace=self.namespace, **values)
        )
        async with at_work(control):
            yield control


@asynccontextmanager
async def at_work(control: Controller) -> AsyncIterator[None]:
    """Run a controller; the body begins when it works, and at its end it is stopped."""
    ready = asyncio.Event()
    task = asyncio.create_task(control.run(lambda address: ready.set()))
    waiting = asyncio.create_task(ready.wait())
    try:
        async with asyncio.timeout(DEADLINE):
            await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
        yield
    finally:
        waiting.cancel()
        control.stop()
        await task


def config_map(name: str, data: dict[str, str], **metadata: Any) -> Json:
    """A ConfigMap's manifest."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}, "data": data}


def workload(
    name: str,
    *,
    kind: str = "Deployment",
    annotations: dict[str, str] | None = None,
    container: Json | None = None,
    volumes: list[Json] | None = None,
    replicas: int = 1,
    **spec: Any,
) -> Json:
    """A workload's manifest: one container, and what the test is about."""
    labels = {"app": name}
    pod = {"containers": [{"name": "main", "image": "example.invalid/app:1", **(container or {})}]}
    manifest: Json = {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {
            "name": name,
            "annotations": {"reroll.dev/auto": "true"} if annotations is None else annotations,
        },
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": pod | ({"volumes": volumes} if volumes else {}),
            },
            **spec,
        },
    }
    if kind != "DaemonSet":
        manifest["spec"]["replicas"] = replicas
    if kind == "StatefulSet":
        manifest["spec"].setdefault("serviceName", name)
    return manifest


def complete(workload: Json) -> bool:
    """Has the rollout of this Deployment or StatefulSet ended, with all pods available?"""
    status, wanted = workload.get("status", {}), workload["spec"]["replicas"]
    counts = {status.get(f"{which}eplicas", 0) for which in ("r", "updatedR", "availableR")}
    seen = status.get("observedGeneration", 0) >= workload["metadata"]["generation"]
    return bool(seen and counts == {wanted})


def definition(kind: WorkloadKind, *, status_subresource: bool = True) -> Json:
    """The CustomResourceDefinition of a kind that takes anything in its spec, and in its pod template."""
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"type": "object", "properties": {"spec": anything, "status": anything}}
    version = {
        "name": kind.version,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        **({"subresources": {"status": {}}} if status_subresource else {}),
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{kind.group}"},
        "spec": {
            "group": kind.group,
            "names": {"kind": kind.kind, "plural": kind.plural},
            "scope": "Namespaced",
            "versions": [version],
        },
    }


@pytest.fixture(scope="session")
def define(
    cluster: HasKubeconfig, kubectl: Callable[..., str]
) -> Callable[..., AbstractContextManager[None]]:
    """A context manager: kinds that are served while its body runs. Only on a cluster of our own, for another may
    have them in earnest."""
    if not getattr(cluster, "tokens", None):
        pytest.skip("installs CustomResourceDefinitions, which a cluster of the environment may have already")

    @contextmanager
    def defined(*kinds: WorkloadKind) -> Iterator[None]:
        names = [f"crd/{kind.plural}.{kind.group}" for kind in kinds]
        manifests = {"apiVersion": "v1", "kind": "List", "items": [definition(kind) for kind in kinds]}
        kubectl("apply", "-f", "-", input=msgspec.json.encode(manifests).decode())
        try:
            kubectl("wait", "--for=condition=Established", "--timeout=30s", *names)
            yield
        finally:
            kubectl("delete", "--ignore-not-found", "--timeout=60s", *names)

    return defined


@pytest.fixture
def new_workload() -> Callable[..., Json]:
    """Makes a workload's manifest; see `workload`."""
    return workload


@pytest.fixture
async def stage(cluster: HasKubeconfig, namespace: str) -> AsyncIterator[Stage]:
    """A new namespace, and a client of the cluster's admin."""
    async with Client(load_config(kubeconfig=str(cluster.kubeconfig)), field_manager="test") as client:
        found = Stage(client, namespace, cluster.kubeconfig)
        async with found.watched():
            yield found


@pytest.fixture
async def control(stage: Stage) -> AsyncIterator[Controller]:
    """A controller that works in the stage's namespace."""
    async with stage.controller() as running:
        yield running
