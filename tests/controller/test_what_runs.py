"""What counts is what runs: rollouts that other clients cut short, on a real API server with its own controllers.

A Deployment of 4 and a StatefulSet of 3, whose pods count after a second, so that a rollout takes some seconds and
somebody can come in its middle.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from reroll.controller.metrics import Metrics
from reroll.core import put_back
from reroll.core.observe import epoch
from reroll.core.records import WorkloadId
from reroll.insight.explain import explain
from reroll.insight.explanation import Explanation
from reroll.kube.client import Client
from reroll.kube.config import load_config
from reroll.kube.errors import Conflict
from reroll.settings import Settings
from tests.conftest import Cluster, Kubectl
from tests.controller.conftest import NewWorkload, Stage, complete

Json = dict[str, Any]
ENV = {"envFrom": [{"configMapRef": {"name": "app"}}]}
MARK = "reroll.dev/config"
LONG = 45.0
"""Seconds that a whole fight over a rollout may take."""

pytestmark = pytest.mark.timeout(120)


class Play:
    """The stage, with what these tests look at. `kind`: of the workload web."""

    def __init__(self, stage: Stage, kind: str) -> None:
        self.stage, self.kind = stage, kind

    async def until(self, condition: Callable[[], Awaitable[Any]], what: str, within: float = LONG) -> Any:
        try:
            async with asyncio.timeout(within):
                while not (found := await condition()):  # noqa: ASYNC110 - it is on a server
                    await asyncio.sleep(0.05)
        except TimeoutError:
            told = [(e["reason"], e["note"]) for e in await self.stage._all_events("web")]
            raise AssertionError(f"{what}: {told}") from None
        return found

    async def web(self) -> Json:
        return await self.stage.get(self.kind, "web")

    async def mark(self) -> str | None:
        metadata = (await self.web())["spec"]["template"].get("metadata", {})
        value: str | None = metadata.get("annotations", {}).get(MARK)
        return value

    async def pods(self) -> list[Json]:
        path = f"{self.stage.path('Pod')}?labelSelector=app%3Dweb"
        found: list[Json] = json.loads(await self.stage.client.list_page(path))["items"]
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    async def older(self, change: float) -> int:
        """How many of its pods were created before this time."""
        return sum(epoch(pod["metadata"]["creationTimestamp"]) < change for pod in await self.pods())

    async def change(self, value: str) -> float:
        """Change its ConfigMap, in a second of its own; gives the time."""
        await asyncio.sleep(1.0 - time.time() % 1.0)
        await self.stage.set("ConfigMap", "app", {"LEVEL": value})
        return float(int(time.time()))

    async def in_the_middle(self, before: str | None = None) -> None:
        """Wait until the template has another mark than `before`, and some of the pods are replaced, not all."""

        async def some() -> bool:
            status, mark = (await self.web())["status"], await self.mark()
            seen = status.get("observedGeneration", 0) >= (await self.web())["metadata"]["generation"]
            return mark not in (None, before) and seen and status.get("updatedReplicas", 0) >= 1

        await self.until(some, "no rollout is in its middle", 20.0)

    async def a_second_later(self, change: float) -> None:
        """Times are whole seconds: wait until what happens is surely later than that change."""
        await asyncio.sleep(max(0.0, change + 1.05 - time.time()))

    async def complete(self) -> None:
        async def is_complete() -> bool:
            return complete(await self.web())

        await self.until(is_complete, "the rollout has not ended")

    async def told(self, reason: str) -> list[Json]:
        return [event for event in await self.stage._all_events("web") if event["reason"] == reason]

    async def event(self, reason: str) -> Json:
        found: list[Json] = await self.until(lambda: self.told(reason), f"no Event {reason}")
        return found[-1]

    async def explained(self) -> Explanation:
        return await explain(
            self.stage.client,
            WorkloadId(self.kind, self.stage.namespace, "web"),
            Settings(),
            key_places=[(self.stage.namespace, "reroll-digest-key")],
        )

    async def says(self, words: str) -> Explanation:
        """Wait until explain says so."""

        async def said() -> Explanation | None:
            found = await self.explained()
            return found if words in found.reason else None

        found: Explanation = await self.until(said, f"explain does not say {words!r}", 20.0)
        return found


def manifest(new_workload: NewWorkload, kind: str, image: str = "1", **spec: Any) -> Json:
    """The workload web, whose pods count after a second."""
    fields = {"replicas": 4 if kind == "Deployment" else 3, "minReadySeconds": 1, **spec}
    if kind == "StatefulSet":
        fields.setdefault("podManagementPolicy", "Parallel")
    container = {"image": f"example.invalid/app:{image}", **ENV}
    made: Json = new_workload("web", kind=kind, container=container, **fields)
    return made


@pytest.fixture(params=["Deployment", "StatefulSet"])
async def play(request: pytest.FixtureRequest, stage: Stage) -> Play:
    await stage.config_map("app", {"LEVEL": "info"})
    return Play(stage, request.param)


@pytest.fixture
async def deployment(stage: Stage) -> Play:
    await stage.config_map("app", {"LEVEL": "info"})
    return Play(stage, "Deployment")


@asynccontextmanager
async def by(stage: Stage, manager: str) -> AsyncIterator[Client]:
    """Another client, which writes under this name."""
    config = load_config(kubeconfig=str(stage.kubeconfig))
    async with Client(config, field_manager=manager) as client:
        yield client


async def write_whole(play: Play, client: Client, made: Json) -> None:
    """What a simple operator does: it writes the object as it knows it, with nothing that it does not know."""
    path = play.stage.path(play.kind, "web")
    for _ in range(9):
        held = json.loads(await client.get(path))
        body = {
            **made,
            "metadata": {**made["metadata"], "resourceVersion": held["metadata"]["resourceVersion"]},
        }
        try:
            await client.replace(path, msgspec.json.encode(body))
        except Conflict:
            continue
        return
    raise AssertionError("it was in conflict each time")


async def remove_the_mark(play: Play, kubectl: Kubectl) -> None:
    """Take reroll's mark away, as somebody would by kubectl."""
    name = MARK.replace("/", "~1")
    patch = [{"op": "remove", "path": f"/spec/template/metadata/annotations/{name}"}]
    kubectl("patch", play.kind, "web", "-n", play.stage.namespace, "--type", "json", "-p", json.dumps(patch))


async def test_an_operator_that_writes_its_template_once(play: Play, new_workload: NewWorkload) -> None:
    """In the end all pods run the new content, because the mark is written again."""
    stage = play.stage
    made = manifest(new_workload, play.kind)
    async with by(stage, "operator") as operator:
        await operator.create(stage.path(play.kind), msgspec.json.encode(made))
        await play.complete()
        async with stage.controller():
            await stage.adopted("web", play.kind)
            change = await play.change("debug")
            await play.in_the_middle()
            await write_whole(play, operator, made)

            async def all_follow() -> bool:
                return await play.mark() is not None and await play.older(change) == 0

            await play.until(all_follow, "pods run older configuration")
            await play.complete()
            await play.says("its pods run the current configuration")
            assert not await play.told("Contested")
            assert not await play.told("PutBack")


async def test_an_operator_that_writes_its_template_again_and_again(
    deployment: Play, new_workload: NewWorkload, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mark is written again a few times, with growing waits, and then somebody is told who it is."""
    play, stage = deployment, deployment.stage
    monkeypatch.setattr(put_back, "AGAIN_AFTER", (0.0, 1.0, 1.0))
    made = manifest(new_workload, "Deployment", minReadySeconds=5)
    async with by(stage, "operator") as operator:
        await operator.create(stage.path("Deployment"), msgspec.json.encode(made))
        await play.complete()
        async with stage.controller():
            await stage.adopted("web")
            change = await play.change("debug")

            async def fight() -> None:
                while True:
                    if await play.mark() is not None:
                        await play.in_the_middle()
                        await write_whole(play, operator, made)
                    await asyncio.sleep(0.2)

            fighting = asyncio.create_task(fight())
            try:
                event = await play.event("Contested")
            finally:
                fighting.cancel()
                await asyncio.gather(fighting, return_exceptions=True)
            assert event["type"] == "Warning"
            assert "operator put the pod template back" in event["note"]
            assert "of 4 pods run older configuration" in event["note"]
            assert len(await play.told("Rolled")) == 1 + 3
            assert await play.mark() is None
            assert await play.older(change) >= 1
            await play.says("run older configuration, because operator put the pod template back")
        # A change of configuration begins anew.
        async with stage.controller():
            change = await play.change("trace")
            await play.in_the_middle()
            await play.complete()
            assert await play.older(change) == 0
            await play.says("its pods run the current configuration")


async def test_an_undo_in_the_middle_stays_undone_and_is_told(
    play: Play, new_workload: NewWorkload, kubectl: Kubectl
) -> None:
    stage = play.stage
    made = manifest(new_workload, play.kind, minReadySeconds=4)
    kubectl("create", "-f", "-", "-n", stage.namespace, input=json.dumps(made))
    await play.complete()
    async with stage.controller():
        await stage.adopted("web", play.kind)
        change = await play.change("debug")
        await play.in_the_middle()
        await play.a_second_later(change)
        kubectl("rollout", "undo", f"{play.kind}/web", "-n", stage.namespace)
        event = await play.event("PutBack")
        assert event["type"] == "Warning"
        older, of = await play.older(change), len(await play.pods())
        assert older >= 1
        assert f"{older} of {of} pods run older configuration" in event["note"]
        assert await play.mark() is None
        await play.says(f"{older} of {of} pods run older configuration")
    async with stage.controller() as control:
        await stage.quiet(control)
        assert await play.mark() is None
        await play.says(f"{older} of {of} pods run older configuration")
        # What somebody does later is followed, and then all is well.
        await play.change("trace")
        await play.in_the_middle()
        await play.complete()
        await play.says("its pods run the current configuration")


async def test_a_deploy_of_both_that_is_undone_in_the_middle(
    deployment: Play, new_workload: NewWorkload, kubectl: Kubectl
) -> None:
    """A new image and new content at once are one rollout; after an undo, nothing calls its pods current."""
    play, stage = deployment, deployment.stage
    made = manifest(new_workload, "Deployment", minReadySeconds=4)
    kubectl("create", "-f", "-", "-n", stage.namespace, input=json.dumps(made))
    await play.complete()
    async with stage.controller():
        await stage.adopted("web")
        change = await play.change("debug")
        kubectl("set", "image", "deployment/web", "main=example.invalid/app:2", "-n", stage.namespace)

        async def some() -> bool:
            return bool((await play.web())["status"].get("updatedReplicas") in (1, 2, 3))

        await play.until(some, "no rollout is in its middle", 20.0)
        assert "its pods run the current configuration" not in (await play.explained()).reason
        await play.a_second_later(change)
        kubectl("rollout", "undo", "deployment/web", "-n", stage.namespace)
        event = await play.event("PutBack")
        await play.complete()
        older, of = await play.older(change), len(await play.pods())
        assert f"{older} of {of} pods run older configuration" in event["note"]
        assert older >= 1
        await play.says(f"{older} of {of} pods run older configuration")
        assert not await play.told("Rolled")


async def test_a_mark_that_is_taken_away_by_kubectl_patch(
    play: Play, new_workload: NewWorkload, kubectl: Kubectl
) -> None:
    """The server notes nobody who removes a field: managedFields show neither a new entry nor a new time. All pods
    follow, or somebody is told that they do not."""
    stage = play.stage
    kubectl("create", "-f", "-", "-n", stage.namespace, input=json.dumps(manifest(new_workload, play.kind)))
    await play.complete()
    async with stage.controller():
        await stage.adopted("web", play.kind)
        change = await play.change("debug")
        await play.in_the_middle()
        before = await writers(play)
        await remove_the_mark(play, kubectl)
        assert await writers(play) - before == set()

        async def right_or_told() -> bool:
            if await play.told("PutBack"):
                return True
            return await play.mark() is not None and await play.older(change) == 0

        await play.until(right_or_told, "pods run older configuration, and nobody is told")
        if await play.older(change):
            await play.says("run older configuration")
        else:
            await play.says("its pods run the current configuration")


async def writers(play: Play) -> set[tuple[str, str]]:
    """(manager, time) of those that own fields of the pod template, but for reroll itself."""
    held = json.loads(await play.stage.client.get(play.stage.path(play.kind, "web")))
    return {
        (entry["manager"], entry["time"])
        for entry in held["metadata"]["managedFields"]
        if not entry.get("subresource")
        and entry["manager"] != "reroll"
        and "f:template" in json.dumps(entry["fieldsV1"])
    }


HELD_UP: dict[str, tuple[str, Json, str]] = {
    "paused": ("Deployment", {"paused": True}, "it is paused"),
    "OnDelete": ("StatefulSet", {"updateStrategy": {"type": "OnDelete"}}, "OnDelete"),
    "OnDelete of a DaemonSet": ("DaemonSet", {"updateStrategy": {"type": "OnDelete"}}, "OnDelete"),
    "partition": (
        "StatefulSet",
        {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}},
        "partition",
    ),
}


@pytest.mark.parametrize("how", HELD_UP)
async def test_pods_that_are_held_up_are_never_called_current(
    stage: Stage, new_workload: NewWorkload, how: str
) -> None:
    kind, spec, words = HELD_UP[how]
    play = Play(stage, kind)
    await stage.config_map("app", {"LEVEL": "info"})
    pause = spec.get("paused", False)
    spec = {field: value for field, value in spec.items() if field != "paused"}
    await stage.create(manifest(new_workload, kind, **spec))
    if kind != "DaemonSet":
        await play.complete()
    else:
        await play.until(play.pods, "no pods", 20.0)
    if pause:
        await stage.patch(kind, "web", {"spec": {"paused": True}})
    async with stage.controller() as control:
        await stage.adopted("web", kind)
        change = await play.change("debug")
        await stage.rolled("web", 1, kind)
        found = await play.says(words)
        assert await play.older(change) >= 1
        assert "its pods run the current configuration" not in found.reason
        [rolled] = await stage.until(lambda: play.told("Rolled"), "no Event")
        assert words in rolled["note"]
        await stage.idle(control)
        assert not await play.told("RolloutComplete")
    async with stage.controller() as control:
        await stage.quiet(control)
        assert await stage.rollouts("web", kind) == 1
        assert "its pods run the current configuration" not in (await play.explained()).reason
        if pause:
            await stage.patch(kind, "web", {"spec": {"paused": False}})
            await play.event("RolloutComplete")
            await play.says("its pods run the current configuration")


async def test_a_rollout_that_fails_and_heals(
    deployment: Play, new_workload: NewWorkload, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each pod wants a node of its own, and each node has one: a pod more finds none."""
    play, stage = deployment, deployment.stage
    ended: list[str] = []
    count = Metrics.rollout_ended

    def counted(metrics: Metrics, workload_kind: str, outcome: str, seconds: float | None) -> None:
        ended.append(outcome)
        count(metrics, workload_kind, outcome, seconds)

    monkeypatch.setattr(Metrics, "rollout_ended", counted)
    nodes = len(json.loads(await stage.client.list_page("/api/v1/nodes"))["items"])
    made = manifest(
        new_workload,
        "Deployment",
        replicas=nodes,
        minReadySeconds=0,
        progressDeadlineSeconds=2,
        strategy={"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
    )
    apart = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}}}
    made["spec"]["template"]["spec"]["affinity"] = {
        "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [apart]}
    }
    await stage.create(made)
    await play.complete()
    async with stage.controller() as control:
        await stage.adopted("web")
        await play.change("debug")
        event = await play.event("RolloutFailed")
        assert event["type"] == "Warning"
        assert "it made no progress within its deadline of 2 s" in event["note"]
        assert "can't be scheduled" in event["note"]
        assert "its pods run the current configuration" not in (await play.explained()).reason
        room = {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
        await stage.patch("Deployment", "web", {"spec": {"strategy": room}})
        event = await play.event("RolloutComplete")
        assert event["type"] == "Normal"
        assert event["note"].startswith("rollout complete after it had failed in ")
        await play.says("its pods run the current configuration")
        await stage.idle(control)
        assert len(await play.told("RolloutFailed")) == 1
        assert not await play.told("RolloutSuperseded")
    assert ended == ["failed", "healed"]


async def test_another_controller_tells_the_end_once(play: Play, new_workload: NewWorkload) -> None:
    stage = play.stage
    await stage.create(manifest(new_workload, play.kind))
    await play.complete()
    async with stage.controller():
        await stage.adopted("web", play.kind)
        await play.change("debug")
        await play.in_the_middle()
    async with stage.controller():
        await play.event("RolloutComplete")
    async with stage.controller() as control:
        await stage.quiet(control)
        await play.says("its pods run the current configuration")
    assert len(await play.told("RolloutComplete")) == 1
    assert len(await play.told("Rolled")) == 1
    assert not await play.told("RolloutSuperseded")


async def test_each_end_of_the_same_content_is_told(deployment: Play, new_workload: NewWorkload) -> None:
    """The mark follows from content, so two rollouts can have the same."""
    play, stage = deployment, deployment.stage
    await stage.create(manifest(new_workload, "Deployment", minReadySeconds=0))
    await play.complete()
    async with stage.controller() as control:
        await stage.adopted("web")
        for number, level in enumerate(("debug", "info", "debug"), 1):
            await play.change(level)

            async def told(number: int = number) -> bool:
                # Two that took as long are one Event, and its count is written later.
                await control.events.flush(5.0)
                ends = await play.told("RolloutComplete")
                return bool(sum((end.get("series") or {"count": 1})["count"] for end in ends) == number)

            await play.until(told, f"the end of rollout {number} is not told", 20.0)


async def test_a_deploy_of_config_and_image_within_a_second(
    deployment: Play, new_workload: NewWorkload, kubectl: Kubectl, cluster: Cluster
) -> None:
    """One rollout, and no pod is asked for its age."""
    play, stage = deployment, deployment.stage
    kubectl(
        "create", "-f", "-", "-n", stage.namespace, input=json.dumps(manifest(new_workload, "Deployment"))
    )
    await play.complete()
    async with stage.controller() as control:
        await stage.adopted("web")
        await stage.quiet(control)
        listed = pod_lists(cluster, stage.namespace)
        assert listed, "its adoption asked for the ages of pods, so the audit log shows such lists"
        await stage.set("ConfigMap", "app", {"LEVEL": "debug"})
        kubectl("set", "image", "deployment/web", "main=example.invalid/app:2", "-n", stage.namespace)

        async def recorded() -> bool:
            entry = control.store.workload(WorkloadId("Deployment", stage.namespace, "web"))
            assert entry is not None
            return (
                entry.record.applied is not None
                and entry.record.applied.template == entry.record.template_hash
            )

        await play.until(recorded, "the deploy is not recorded")
        await stage.quiet(control)
        assert await stage.rollouts("web") == 1
        assert pod_lists(cluster, stage.namespace) == listed
        assert not await play.told("Rolled")
        # explain itself lists pods, so it comes last.
        await play.says("its pods run the current configuration")


async def test_following_fifty_rollouts_costs_no_list(
    stage: Stage, new_workload: NewWorkload, cluster: Cluster
) -> None:
    await stage.config_map("app", {"LEVEL": "info"})
    names = [f"web-{number}" for number in range(50)]
    await asyncio.gather(*(stage.create(new_workload(name, container=ENV)) for name in names))
    async with stage.controller() as control:
        for name in names:
            await stage.adopted(name)
        await stage.quiet(control)
        listed = lists(cluster, stage.namespace)
        assert listed, "a controller lists at its start, so the audit log shows lists"
        await stage.set("ConfigMap", "app", {"LEVEL": "debug"})

        async def all_ended() -> bool:
            entries = [control.store.workload(WorkloadId("Deployment", stage.namespace, n)) for n in names]
            return all(
                entry is not None
                and entry.record.mark is not None
                and entry.progress is not None
                and entry.progress.ended
                for entry in entries
            )

        await Play(stage, "Deployment").until(all_ended, "not all have ended")
        await stage.idle(control)
        assert lists(cluster, stage.namespace) == listed
    for name in names:
        assert await stage.rollouts(name) == 1


def pod_lists(cluster: Cluster, namespace: str) -> int:
    """How often pods of the namespace were listed by reroll."""
    return sum("/pods" in uri for uri in list_requests(cluster, namespace))


def lists(cluster: Cluster, namespace: str) -> int:
    return len(list_requests(cluster, namespace))


def list_requests(cluster: Cluster, namespace: str) -> list[str]:
    """The lists that were asked for in a namespace, but for those of Events, which the tests themselves look at. The
    controllers of these tests and the tests are one user, so both count."""
    return [
        event["requestURI"]
        for event in cluster.requests_of("admin")
        if event["verb"] == "list"
        and f"/namespaces/{namespace}/" in event["requestURI"]
        and "/events" not in event["requestURI"]
    ]
