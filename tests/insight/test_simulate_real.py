"""What simulate says against what the controller then really does, for 50 clusters made up at random.

Each is a namespace of the real control plane: a few workloads with all sorts of references and policies, a few
config objects, and rounds of changes. They are simulated from the manifests alone; then they are created, one
controller adopts them all, the changes are made, and after each round the rollouts of each workload are compared.
"""

from __future__ import annotations

import asyncio
import functools
import io
import os
import random
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import pytest
import yaml

from reroll.app import Controller
from reroll.core.digests import DigestKey
from reroll.core.kinds import WORKLOAD_KINDS
from reroll.core.observe import WorkloadObject
from reroll.core.records import ConfigId, ConfigKind, ConfigRecord, Missing, WorkloadId
from reroll.insight.simulation.changes import Changes
from reroll.insight.simulation.manifests import world_of
from reroll.insight.simulation.result import Simulation
from reroll.insight.simulation.run import simulate
from reroll.insight.simulation.scenario import from_options
from reroll.insight.simulation.world import NO_KEY, value_digest
from reroll.kube.client import Client
from reroll.kube.config import load_config
from reroll.kube.reflector import Collection, Reflector
from reroll.kube.resources import CONFIG_MAPS, NAMESPACES, SECRETS, Resource
from reroll.settings import Settings
from tests.conftest import Cluster

Json: TypeAlias = dict[str, Any]

SEED = int(os.environ.get("REROLL_TEST_SEED", "20261123"))
CLUSTERS = 50
ROUNDS = 4
BETWEEN = 100
"""Virtual seconds between rounds; the real controller is waited for instead."""
STEP = 0.5
"""Virtual seconds between the steps of a round. The real controller has seen each before the next is made: what
it does at once, such as to adopt, would else be a matter of milliseconds."""
SETTLE = 4.0
"""Long against a step, so that a round is what settles together."""
PATIENCE = 60.0

_RESOURCES = {"ConfigMap": CONFIG_MAPS, "Secret": SECRETS} | {
    kind.kind: Resource(kind.group, kind.version, kind.plural, kind.kind) for kind in WORKLOAD_KINDS.values()
}

POLICIES: tuple[Json, ...] = (
    {"reroll.dev/auto": "true"},
    {"reroll.dev/auto": "true"},
    {"reroll.dev/auto": "configmaps"},
    {"reroll.dev/auto": "true", "reroll.dev/ignore": "c1"},
    {"reroll.dev/auto": "true", "reroll.dev/ignore": "c0#a"},
    {"reroll.dev/follow": "c0#a,b c2"},
    {"reroll.dev/follow": "configmap/c*"},
    {"reroll.dev/search": "true"},
    {"reloader.stakater.com/auto": "true"},
    {"configmap.reloader.stakater.com/reload": "c0,c1"},
    {"reroll.dev/auto": "perhaps"},
    {},
)


class Made:
    """One cluster: its objects, and the operations of each round as requests and as options of simulate."""

    def __init__(self, rng: random.Random, namespace: str, folder: Path) -> None:
        self.namespace = namespace
        self._rng, self._folder = rng, folder
        self._values = iter(range(1_000_000))
        self.configs = {f"c{n}": self._config(f"c{n}") for n in range(rng.randint(3, 4))}
        self.workloads = {f"w{n}": self._workload(f"w{n}") for n in range(rng.randint(2, 4))}
        absent = rng.random() < 0.4
        self.objects = [
            *([] if absent and name == "c2" else [obj] for name, obj in self.configs.items()),
            *([obj] for obj in self.workloads.values()),
        ]
        self.start: list[Json] = [_copy(obj) for some in self.objects for obj in some]
        self._there = {obj["metadata"]["name"] for obj in self.start}
        self.rounds: list[list[tuple[Json, str]]] = []
        """(object as it is to be, how) in their order."""
        self.options: list[tuple[str, str]] = []
        for number in range(ROUNDS):
            steps: list[tuple[Json, str]] = []
            for _ in range(rng.randint(1, 3)):
                for step in self._operation():
                    self.options.insert(-1, ("at", f"{BETWEEN * number + STEP * len(steps)}s"))
                    steps.append(step)
            self.rounds.append(steps)

    # --- objects -------------------------------------------------------------------------------------

    def _config(self, name: str) -> Json:
        kind = self._rng.choice(["ConfigMap", "ConfigMap", "Secret"])
        annotations = self._rng.choice(
            [{}, {}, {}, {"reroll.dev/match": "true"}, {"reroll.dev/ignore": "true"}]
        )
        keys = self._rng.sample(["a", "b", "c"], self._rng.randint(2, 3))
        return {
            "apiVersion": "v1",
            "kind": kind,
            "metadata": {"name": name, "namespace": self.namespace, "annotations": annotations},
            _field(kind): {key: self._value() for key in keys},
        }

    def _value(self) -> str:
        return f"value {next(self._values)}"

    def _workload(self, name: str) -> Json:
        rng = self._rng
        kind = rng.choice(["DaemonSet", "DaemonSet", "Deployment", "StatefulSet"])
        container: Json = {"name": "main", "image": "example.invalid/app:1"}
        pod: Json = {"containers": [container]}
        for number in range(rng.randint(1, 3)):
            self._refer(pod, container, number)
        spec: Json = {
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": pod},
        }
        if kind == "Deployment":
            spec |= {"replicas": rng.choice([0, 1, 1]), "paused": rng.random() < 0.2}
        elif kind == "StatefulSet":
            spec |= {"replicas": rng.choice([0, 1]), "serviceName": name}
        else:
            spec["updateStrategy"] = {"type": rng.choice(["RollingUpdate", "RollingUpdate", "OnDelete"])}
        return {
            "apiVersion": "apps/v1",
            "kind": kind,
            "metadata": {
                "name": name,
                "namespace": self.namespace,
                "annotations": dict(rng.choice(POLICIES)),
            },
            "spec": spec,
        }

    def _refer(self, pod: Json, container: Json, number: int) -> None:
        """One more place that consumes a config object, which may not be there."""
        rng = self._rng
        name = rng.choice([*self.configs, "nowhere"] if rng.random() < 0.2 else [*self.configs])
        kind = self.configs.get(name, {"kind": "ConfigMap"})["kind"]
        optional = {"optional": True} if rng.random() < 0.4 or name == "nowhere" else {}
        how = rng.choice(["env", "envFrom", "volume", "items", "subPath", "pull"])
        lower = "configMap" if kind == "ConfigMap" else "secret"
        if how == "env":
            reference = {"name": name, "key": rng.choice(["a", "b", "c"]), **optional}
            entry = {"name": f"E{number}", "valueFrom": {f"{lower}KeyRef": reference}}
            container.setdefault("env", []).append(entry)
        elif how == "envFrom":
            container.setdefault("envFrom", []).append({f"{lower}Ref": {"name": name, **optional}})
        elif how == "pull":
            pod.setdefault("imagePullSecrets", []).append({"name": name})
        else:
            source: Json = {"name" if lower == "configMap" else "secretName": name, **optional}
            if how == "items":
                source["items"] = [{"key": rng.choice(["a", "b"]), "path": "file"}]
            pod.setdefault("volumes", []).append({"name": f"v{number}", lower: source})
            mount = {"name": f"v{number}", "mountPath": f"/v{number}"}
            if how == "subPath":
                mount["subPath"] = "a"
            container.setdefault("volumeMounts", []).append(mount)

    # --- operations ----------------------------------------------------------------------------------

    def _operation(self) -> Iterator[tuple[Json, str]]:
        rng = self._rng
        if rng.random() < 0.25:
            yield self._change_workload(rng.choice(list(self.workloads)))
            return
        name = rng.choice(list(self.configs))
        obj = self.configs[name]
        if name not in self._there:
            yield self._apply(obj, "create")
            return
        values = obj[_field(obj["kind"])]
        how = rng.choice(["set", "set", "set", "add", "unset", "delete", "back"])
        if how == "back" and not all(map(_ends, self.workloads.values())):
            # In the middle of a rollout it rolls again, and those that simulate plays are over at once.
            how = "set"
        if how == "unset" and len(values) > 1:
            key = rng.choice(list(values))
            del values[key]
            self.options.append(("unset", f"{self._name(obj)}:{key}"))
            yield _copy(obj), "replace"
        elif how == "delete":
            self._there.discard(name)
            self.options.append(("delete", self._name(obj)))
            yield _copy(obj), "delete"
            if rng.random() < 0.5:
                if rng.random() < 0.5:
                    values[rng.choice(list(values))] = self._value()
                yield self._apply(obj, "create")
        else:
            key = rng.choice(["a", "b", "c"] if how == "add" else list(values))
            before = values.get(key)
            yield self._set(obj, key, self._value())
            if how == "back" and before is not None:
                yield self._set(obj, key, before)

    def _set(self, obj: Json, key: str, value: str) -> tuple[Json, str]:
        obj[_field(obj["kind"])][key] = value
        self.options.append(("set", f"{self._name(obj)}:{key}={value}"))
        return _copy(obj), "replace"

    def _change_workload(self, name: str) -> tuple[Json, str]:
        """By somebody else: a deploy, other annotations, or other replicas."""
        rng = self._rng
        obj = self.workloads[name]
        how = rng.choice(["template", "template", "annotations", "replicas"])
        if how == "template":
            obj["spec"]["template"]["spec"]["containers"][0]["image"] = (
                f"example.invalid/app:{self._value()[6:]}"
            )
        elif how == "annotations" or obj["kind"] == "DaemonSet":
            obj["metadata"]["annotations"] = dict(rng.choice(POLICIES))
        else:
            obj["spec"]["replicas"] = 1 - obj["spec"]["replicas"]
        return self._apply(obj, "merge")

    def _apply(self, obj: Json, how: str) -> tuple[Json, str]:
        self._there.add(obj["metadata"]["name"])
        file = self._folder / f"{self.namespace}-{len(self.options)}.yaml"
        file.write_text(yaml.safe_dump(obj))
        self.options.append(("apply", str(file)))
        return _copy(obj), how

    def _name(self, obj: Json) -> str:
        return f"{obj['kind'].lower()}/{self.namespace}/{obj['metadata']['name']}"

    # --- what simulate says --------------------------------------------------------------------------

    def simulated(self) -> Simulation:
        text = yaml.safe_dump_all(self.start).encode()
        world = world_of(["-"], io.BytesIO(text), DigestKey(NO_KEY), now=1.8e9, default_namespace="none")
        steps = from_options(self.options, "none")
        changes = Changes(steps, world.key, io.BytesIO(), default_namespace="none")
        return simulate(world, changes, Settings(settle=SETTLE, settle_max=60.0), everyone=True)


def _field(kind: str) -> str:
    return "data" if kind == "ConfigMap" else "stringData"


def _ends(obj: Json) -> bool:
    """Does a rollout of this workload come to its end by itself?"""
    spec = obj["spec"]
    return not spec.get("paused") and spec.get("updateStrategy", {}).get("type") != "OnDelete"


def _is_over(obj: Json) -> bool:
    """Is no rollout of this workload under way that would end by itself?"""
    status, spec = obj.get("status") or {}, obj["spec"]
    if not _ends(obj):
        return True
    if status.get("observedGeneration", 0) < obj["metadata"]["generation"]:
        return False
    if obj["kind"] == "DaemonSet":
        wanted = status["desiredNumberScheduled"]
        return bool(wanted == status.get("updatedNumberScheduled", 0) == status.get("numberAvailable", 0))
    wanted = spec["replicas"]
    fields = ("replicas", "updatedReplicas", "availableReplicas")
    if obj["kind"] == "StatefulSet" and status.get("currentRevision") != status.get("updateRevision"):
        return bool(wanted == 0)
    return all(status.get(field, 0) == wanted for field in fields)


def _copy(obj: Json) -> Json:
    return msgspec.json.decode(msgspec.json.encode(obj))  # type: ignore[no-any-return]


def expected(simulation: Simulation, round_number: int) -> Counter[str]:
    """Rollouts up to the end of a round."""
    end = BETWEEN * (round_number + 1)
    return Counter(roll.workload for roll in simulation.rolls if roll.at is not None and roll.at < end)


class Marks:
    """Counts changes of reroll's mark on pod templates, by an own watch: what really rolled."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._last: dict[str, str] = {}
        self.rolled: Counter[str] = Counter()
        self.versions: dict[str, int] = {}

    def upsert(self, obj: WorkloadObject, *, live: bool) -> None:
        name = str(WorkloadId(self._kind, obj.metadata.namespace, obj.metadata.name))
        meta = msgspec.json.decode(obj.spec.template).get("metadata") or {}
        mark = (meta.get("annotations") or {}).get("reroll.dev/config", "")
        self.rolled[name] += mark != self._last.get(name, "")
        self._last[name] = mark
        self.versions[name] = int(obj.metadata.resource_version)

    async def seen(self, name: str, version: int) -> None:
        """Wait until a workload was seen in this version."""
        await until(lambda: self.versions.get(name, 0) >= version, f"{name} is watched")

    def delete(self, namespace: str, name: str, *, live: bool, version: str) -> None: ...

    def known(self) -> list[tuple[str, str]]:
        return []

    def synced(self) -> None: ...


class Stand:
    """The real control plane, as far as the test needs it."""

    def __init__(self, client: Client, cluster: Cluster, label: str) -> None:
        self.client, self.cluster, self.label = client, cluster, label
        self.marks = [Marks(kind) for kind in WORKLOAD_KINDS]

    async def make(self, obj: Json, how: str) -> int:
        """One operation; returns the object's version, 0 where it was deleted."""
        meta = obj["metadata"]
        resource = _RESOURCES[obj["kind"]]
        path = resource.path(meta["namespace"], meta["name"])
        if how == "delete":
            await self.client.delete(path)
            return 0
        body = obj
        if how == "merge":
            # What kubectl apply would send: annotations that are no longer in the manifest are taken away.
            present = msgspec.json.decode(await self.client.get(path))["metadata"].get("annotations") or {}
            gone = {key: None for key in present if "applied" not in key and "deployment." not in key}
            changes = {"annotations": {**gone, **meta["annotations"]}}
            body = {"metadata": changes, "spec": _without_selector(obj["spec"])}
            answer = await self.client.patch(path, msgspec.json.encode(body))
        elif how == "replace":
            answer = await self.client.replace(path, msgspec.json.encode(_whole(body)))
        else:
            answer = await self.client.create(resource.path(meta["namespace"]), msgspec.json.encode(body))
        return int(msgspec.json.decode(answer)["metadata"]["resourceVersion"])

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        tasks = []
        for known, marks in zip(WORKLOAD_KINDS.values(), self.marks, strict=True):
            reflector = Reflector(self.client, Collection(_RESOURCES[known.kind], WorkloadObject), marks)
            tasks.append(asyncio.create_task(reflector.run()))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    @asynccontextmanager
    async def controller(self, home: str) -> AsyncIterator[Controller]:
        settings = Settings(
            namespace_selector=f"reroll-test={self.label}",
            key_namespace=home,
            settle=SETTLE,
            settle_max=60.0,
            listen="",
        )
        control = Controller(load_config(kubeconfig=str(self.cluster.kubeconfig)), settings)
        task = asyncio.create_task(control.run())
        try:
            await until(lambda: control.working or task.done(), "the controller works")
            yield control
        finally:
            control.stop()
            await task

    async def seen(self, control: Controller, obj: Json, how: str, version: int) -> None:
        """Wait until the controller has taken in an object that was just written or deleted."""
        meta = obj["metadata"]
        if obj["kind"] in WORKLOAD_KINDS:
            workload = WorkloadId(obj["kind"], meta["namespace"], meta["name"])
            await until(lambda: _version(control, workload) >= version, f"{workload} is seen")
            return
        kind: ConfigKind = "configmap" if obj["kind"] == "ConfigMap" else "secret"
        config = ConfigId(kind, meta["namespace"], meta["name"])
        values = {key: value.encode() for key, value in obj[_field(obj["kind"])].items()}

        def taken_in() -> bool:
            state = control.store.configs.state(config)
            if how == "delete" or not isinstance(state, ConfigRecord):
                return how == "delete" and isinstance(state, Missing)
            digests = [
                value_digest(config, key, values[key], control.store.configs.key) for key in sorted(values)
            ]
            return state.digests == b"".join(digests)

        await until(taken_in, f"{config} is seen")

    async def halt(self, control: Controller) -> None:
        """Wait until the controller has nothing to do but to wait for what settles."""

        def nothing_to_do() -> bool:
            now = control.queue.statistics()
            return now.ready == now.processing == 0

        await until(nothing_to_do, "the controller has done what it can do at once")

    async def rest(self, control: Controller) -> None:
        """Wait until the controller has nothing more to do, and until our own watch has seen what it did."""

        def idle() -> bool:
            now = control.queue.statistics()
            return now.ready == now.processing == 0 and not control.queue.due_within(60.0)

        await until(idle, "the controller is at rest")
        for known, marks in zip(WORKLOAD_KINDS.values(), self.marks, strict=True):
            for item in await self._at_their_ends(known.kind):
                meta = item["metadata"]
                workload = WorkloadId(known.kind, meta["namespace"], meta["name"])
                version = int(meta["resourceVersion"])
                await marks.seen(str(workload), version)
                seen = functools.partial(_is_seen, control, workload, version)
                await until(seen, f"{workload} is seen by the controller")

    async def _at_their_ends(self, kind: str) -> list[Json]:
        """All workloads of a kind, when no rollout of one of this test is under way."""
        path = _RESOURCES[kind].path()
        async with asyncio.timeout(PATIENCE):
            while True:
                listed = msgspec.json.decode(await self.client.list_page(path))["items"]
                home = f"sim-{self.label}-"
                ours = [item for item in listed if item["metadata"]["namespace"].startswith(home)]
                if all(_is_over({"kind": kind, **item}) for item in ours):
                    return ours
                await asyncio.sleep(0.2)

    def rolled(self, namespace: str) -> Counter[str]:
        found: Counter[str] = Counter()
        for marks in self.marks:
            found.update(
                {n: count for n, count in marks.rolled.items() if n.split("/")[1] == namespace and count}
            )
        return found


def _version(control: Controller, workload: WorkloadId) -> int:
    entry = control.store.workload(workload)
    return int(entry.record.resource_version) if entry is not None else 0


def _is_seen(control: Controller, workload: WorkloadId, version: int) -> bool:
    return _version(control, workload) >= version


def _without_selector(spec: Json) -> Json:
    return {key: value for key, value in spec.items() if key not in ("selector", "serviceName")}


def _whole(obj: Json) -> Json:
    """For a PUT: keys that are gone are gone."""
    if obj["kind"] != "Secret":
        return obj
    import base64

    data = {key: base64.b64encode(value.encode()).decode() for key, value in obj["stringData"].items()}
    return {key: value for key, value in obj.items() if key != "stringData"} | {"data": data}


async def until(holds: Callable[[], bool], what: str) -> None:
    try:
        async with asyncio.timeout(PATIENCE):
            while not holds():  # noqa: ASYNC110 - what it waits for is on a server
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"not within {PATIENCE:.0f} s: {what}") from None


@pytest.mark.timeout(400)
async def test_the_controller_does_what_simulate_says(cluster: Cluster, tmp_path: Path) -> None:
    label = uuid.uuid4().hex[:8]
    rng = random.Random(SEED)
    made = [Made(rng, f"sim-{label}-{number}", tmp_path) for number in range(CLUSTERS)]
    says = [await asyncio.to_thread(one.simulated) for one in made]
    total = sum(len(simulation.rolls) for simulation in says)
    assert total > CLUSTERS  # the clusters are made so that much of them rolls

    async with Client(load_config(kubeconfig=str(cluster.kubeconfig)), field_manager="test") as client:
        stand = Stand(client, cluster, label)
        try:
            await asyncio.gather(*(_create(stand, one) for one in made))
            home = made[0].namespace
            async with stand.watched(), stand.controller(home) as control:
                await stand.rest(control)
                for number in range(ROUNDS):
                    for step in range(max(len(one.rounds[number]) for one in made)):
                        await asyncio.gather(*(_play(stand, control, one, number, step) for one in made))
                        await stand.halt(control)
                    await stand.rest(control)
                    for one, simulation in zip(made, says, strict=True):
                        assert stand.rolled(one.namespace) == expected(simulation, number), _told(
                            one, simulation, number
                        )
        finally:
            paths = [NAMESPACES.path(None, one.namespace) for one in made]
            await asyncio.gather(*(client.delete(path) for path in paths), return_exceptions=True)


async def _create(stand: Stand, one: Made) -> None:
    labels = {"reroll-test": stand.label}
    body = {"metadata": {"name": one.namespace, "labels": labels}}
    await stand.client.create(NAMESPACES.path(), msgspec.json.encode(body))
    for obj in one.start:
        await stand.make(obj, "create")


async def _play(stand: Stand, control: Controller, one: Made, number: int, step: int) -> None:
    """One step of one round, if it has so many."""
    if step < len(one.rounds[number]):
        obj, how = one.rounds[number][step]
        version = await stand.make(obj, how)
        await stand.seen(control, obj, how, version)


def _told(one: Made, simulation: Simulation, number: int) -> str:
    """Everything that is needed to look at one that differs."""
    rolls = "\n".join(f"{roll.at} {roll.workload} {roll.reason}" for roll in simulation.rolls)
    stays = "\n".join(f"{stay.workload} {stay.decision} {stay.reason}" for stay in simulation.stays)
    changes = "\n".join(map(str, one.options))
    objects = yaml.safe_dump_all(one.start)
    return f"seed {SEED}, {one.namespace}, round {number}\n{objects}\n{changes}\nsimulated:\n{rolls}\n{stays}"
