"""The mode `restart`: pods are evicted, one after another, and the template stays as it is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from reroll.app import Controller
from reroll.core.kinds import WorkloadKind
from tests.controller.conftest import Define, NewWorkload, Stage

Json = dict[str, Any]
LEVEL = {"env": [{"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "app", "key": "level"}}}]}
RESTART = {"reroll.dev/auto": "true", "reroll.dev/mode": "restart"}


async def pods(stage: Stage, name: str = "web") -> dict[str, Json]:
    """Uid -> pod of a workload, of those that are not being deleted."""
    items = stage._json(await stage.client.list_page(stage.path("Pod") + f"?labelSelector=app%3D{name}"))[
        "items"
    ]
    return {p["metadata"]["uid"]: p for p in items if "deletionTimestamp" not in p["metadata"]}


def is_ready(pod: Json) -> bool:
    return any(
        c["type"] == "Ready" and c["status"] == "True" for c in pod.get("status", {}).get("conditions", ())
    )


async def running(stage: Stage, count: int, name: str = "web") -> dict[str, Json]:
    """Wait until so many pods are ready."""

    async def ready() -> dict[str, Json] | None:
        found = await pods(stage, name)
        return found if len(found) == count and all(map(is_ready, found.values())) else None

    found: dict[str, Json] = await stage.until(ready, f"{name} has not {count} pods that are ready")
    return found


async def restarting(stage: Stage, kind: str = "Deployment") -> str | None:
    value: str | None = (await stage.get(kind, "web"))["metadata"]["annotations"].get("reroll.dev/restarting")
    return value


async def restarted(stage: Stage, before: dict[str, Json], kind: str = "Deployment") -> dict[str, Json]:
    """Wait until other pods run in place of these, and nothing is left to do."""

    async def done() -> dict[str, Json] | None:
        now = await pods(stage)
        return now if len(now) == len(before) and not now.keys() & before.keys() else None

    await stage.until(done, "not all pods were replaced")

    async def over() -> bool:
        return await restarting(stage, kind) is None

    await stage.until(over, "the restart does not end")
    return await running(stage, len(before))


class Evictions:
    """What a controller evicts, and how many pods of the workload were ready at that moment."""

    def __init__(self, stage: Stage, control: Controller) -> None:
        self.names: list[str] = []
        self.ready: list[int] = []
        real = control.client.create

        async def create(path: str, body: bytes, **options: Any) -> bytes:
            if path.endswith("/eviction"):
                self.names.append(path.split("/")[-2])
                self.ready.append(sum(map(is_ready, (await pods(stage)).values())))
            found: bytes = await real(path, body, **options)
            return found

        control.client.create = create  # type: ignore[method-assign]


class Budget:
    """The PodDisruptionBudget of the pods."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._path = f"/apis/policy/v1/namespaces/{stage.namespace}/poddisruptionbudgets"

    async def make(self, **spec: Any) -> None:
        """Create it, and wait until it counts the pods."""
        spec["selector"] = {"matchLabels": {"app": "web"}}
        manifest = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web"}}
        await self._stage.client.create(self._path, self._stage.encode({**manifest, "spec": spec}))

        async def counted() -> bool:
            found = self._stage._json(await self._stage.client.get(f"{self._path}/web"))
            return bool(found.get("status", {}).get("expectedPods"))

        await self._stage.until(counted, "the budget is not counted")

    async def remove(self) -> None:
        await self._stage.client.delete(f"{self._path}/web")


@pytest.fixture
async def budget(stage: Stage) -> Budget:
    """Makes a PodDisruptionBudget of the pods, and takes it away."""
    return Budget(stage)


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet"])
async def test_pods_are_replaced_one_after_another(
    stage: Stage, new_workload: NewWorkload, kind: str
) -> None:
    await stage.config_map("app", {"level": "info", "other": "1"})
    created = await stage.create(
        new_workload("web", kind=kind, annotations=RESTART, replicas=3, container=LEVEL)
    )
    count = 4 if kind == "DaemonSet" else 3  # the nodes of the dev cluster
    before = await running(stage, count)
    async with stage.controller() as control:
        evictions = Evictions(stage, control)
        await stage.adopted("web", kind)
        await stage.set("ConfigMap", "app", {"other": "2"})
        await stage.quiet(control)
        assert evictions.names == []
        await stage.set("ConfigMap", "app", {"level": "debug"})
        await restarted(stage, before, kind)
        await stage.quiet(control)
        assert sorted(evictions.names) == sorted(pod["metadata"]["name"] for pod in before.values())
        assert set(evictions.ready) == {count}
        [event] = await stage.until(lambda: stage.events("web"), "no Event")
        assert event["reason"] == "Rolled"
        assert "its pods are evicted" in event["note"]
        found = await stage.get(kind, "web")
        assert found["spec"]["template"] == created["spec"]["template"]
    # A start alone evicts nothing.
    now = await pods(stage)
    async with stage.controller() as control:
        await stage.quiet(control)
        assert (await pods(stage)).keys() == now.keys()


async def test_a_budget_delays_it_and_is_told(
    stage: Stage, new_workload: NewWorkload, budget: Budget
) -> None:
    await stage.config_map("app", {"level": "info"})
    await stage.create(new_workload("web", annotations=RESTART, replicas=2, container=LEVEL))
    before = await running(stage, 2)
    await budget.make(minAvailable="100%")
    async with stage.controller():
        await stage.adopted("web")
        await stage.set("ConfigMap", "app", {"level": "debug"})
        events = await stage.until(lambda: stage.at_least_events("web", 2), "no Event")
        [held] = [event for event in events if event["reason"] == "Held"]
        assert held["type"] == "Warning"
        assert "disruption budget" in held["note"]
        assert (await pods(stage)).keys() == before.keys()
        assert len((await restarting(stage) or "").split()) == 2
        await budget.remove()
        await restarted(stage, before)
        assert len([e for e in await stage.events("web") if e["reason"] == "Held"]) == 1


async def test_those_that_are_not_ready_go_first(stage: Stage, new_workload: NewWorkload) -> None:
    await stage.config_map("app", {"level": "info"})
    await stage.create(new_workload("web", annotations=RESTART, replicas=3, container=LEVEL))
    before = await running(stage, 3)
    broken = max(pod["metadata"]["name"] for pod in before.values())
    condition = {"type": "Ready", "status": "False"}
    await stage.client.patch(
        stage.path("Pod", broken) + "/status",
        stage.encode({"status": {"conditions": [condition]}}),
        content_type="application/strategic-merge-patch+json",
    )
    async with stage.controller() as control:
        evictions = Evictions(stage, control)
        await stage.adopted("web")
        await stage.set("ConfigMap", "app", {"level": "debug"})
        await restarted(stage, before)
        assert evictions.names[0] == broken
        assert evictions.ready == [2, 3, 3]


async def test_a_controller_that_ends_in_the_middle_is_followed_by_one_that_goes_on(
    stage: Stage, new_workload: NewWorkload, budget: Budget
) -> None:
    await stage.config_map("app", {"level": "info"})
    await stage.create(new_workload("web", annotations=RESTART, replicas=3, container=LEVEL))
    before = await running(stage, 3)
    async with stage.controller() as control:
        await stage.adopted("web")
        real = control.client.create
        done: list[str] = []

        async def first_only(path: str, body: bytes, **options: Any) -> bytes:
            if path.endswith("/eviction"):
                if done:
                    await asyncio.Event().wait()  # it is ended here
                done.append(path)
            found: bytes = await real(path, body, **options)
            return found

        control.client.create = first_only  # type: ignore[method-assign]
        await stage.set("ConfigMap", "app", {"level": "debug"})

        async def one_is_new() -> dict[str, Json] | None:
            now = await pods(stage)
            ready = len(now) == 3 and all(map(is_ready, now.values()))
            return now if ready and len(now.keys() - before.keys()) == 1 else None

        between = await stage.until(one_is_new, "none was replaced")
        kill_actors()
    assert await restarting(stage)
    async with stage.controller():
        after = await restarted(stage, before)
    # The one that was new already has stayed.
    assert len(between.keys() & after.keys()) == 1


def kill_actors() -> None:
    """End the actors at once, as the end of the process would."""
    for task in asyncio.all_tasks():
        if task.get_name().startswith("actor "):
            task.cancel()


async def test_a_pod_that_was_created_after_the_change_stays(stage: Stage, new_workload: NewWorkload) -> None:
    await stage.config_map("app", {"level": "info"})
    await stage.create(new_workload("web", annotations=RESTART, replicas=1, container=LEVEL))
    before = await running(stage, 1)
    async with stage.controller() as control:
        await stage.adopted("web")
        await stage.pods_older_than_now("web")
        await stage.quiet(control)
    await stage.set("ConfigMap", "app", {"level": "debug"})
    changed = (await stage.get("ConfigMap", "app"))["metadata"]["managedFields"][-1]["time"]
    await asyncio.sleep(1.1)  # times are whole seconds
    await stage.patch("Deployment", "web", {"spec": {"replicas": 2}})
    now = await running(stage, 2)
    [new] = now.keys() - before.keys()
    assert now[new]["metadata"]["creationTimestamp"] > changed
    async with stage.controller():

        async def replaced() -> bool:
            found = await pods(stage)
            return len(found) == 2 and not found.keys() & before.keys()

        await stage.until(replaced, "the old pod is still there")
        await stage.until(lambda: over(stage), "the restart does not end")
    assert new in await pods(stage)


async def over(stage: Stage) -> bool:
    return await restarting(stage) is None


async def test_where_the_mode_is_taken_away_the_rest_stays(
    stage: Stage, new_workload: NewWorkload, budget: Budget
) -> None:
    await stage.config_map("app", {"level": "info"})
    await stage.create(new_workload("web", annotations=RESTART, replicas=2, container=LEVEL))
    before = await running(stage, 2)
    await budget.make(minAvailable="100%")
    async with stage.controller() as control:
        await stage.adopted("web")
        await stage.set("ConfigMap", "app", {"level": "debug"})
        await stage.until(lambda: restarting(stage), "no restart was begun")
        await stage.patch("Deployment", "web", {"metadata": {"annotations": {"reroll.dev/mode": None}}})
        await stage.until(lambda: over(stage), "the restart does not end")
        await budget.remove()
        await stage.quiet(control)
        assert (await pods(stage)).keys() == before.keys()


async def test_an_operator_that_undoes_changes_of_its_template_has_nothing_to_undo(
    stage: Stage, new_workload: NewWorkload
) -> None:
    """It writes the Deployment as it wants it, annotations included, whenever it looks different."""
    await stage.config_map("app", {"level": "info"})
    wanted = await stage.create(new_workload("web", annotations=RESTART, replicas=2, container=LEVEL))
    before = await running(stage, 2)
    undone: list[str] = []

    async def operate() -> None:
        while True:
            now = await stage.get("Deployment", "web")
            if now["spec"]["template"] != wanted["spec"]["template"]:
                undone.append("template")
                await stage.patch("Deployment", "web", {"spec": {"template": wanted["spec"]["template"]}})
            if "reroll.dev/restarting" in now["metadata"]["annotations"]:
                undone.append("annotation")
                await stage.patch(
                    "Deployment", "web", {"metadata": {"annotations": {"reroll.dev/restarting": None}}}
                )
            await asyncio.sleep(0.1)

    operator = asyncio.create_task(operate())
    try:
        async with stage.controller() as control:
            await stage.adopted("web")
            await stage.set("ConfigMap", "app", {"level": "debug"})

            async def replaced() -> bool:
                return not (await pods(stage)).keys() & before.keys()

            await stage.until(replaced, "not all pods were replaced")
            now = await running(stage, 2)
            await stage.quiet(control)
            assert (await pods(stage)).keys() == now.keys()
    finally:
        operator.cancel()
        await asyncio.gather(operator, return_exceptions=True)
    assert "template" not in undone
    assert "annotation" in undone


async def test_a_kind_whose_pods_are_not_found_is_told(stage: Stage, define: Define) -> None:
    kind = WorkloadKind("Service", "serving.knative.dev", "v1", "services", custom=True)
    stage.kinds[kind.id] = kind
    await stage.config_map("app", {"level": "info"})
    template = {"spec": {"containers": [{"name": "main", "image": "example.invalid/app:1", **LEVEL}]}}
    manifest = {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"name": "web", "annotations": RESTART},
        "spec": {"template": template},
    }
    with define(kind):
        await stage.client.create(stage.path(kind.id), stage.encode(manifest))
        async with stage.controller(custom_kinds="services.v1.serving.knative.dev"):
            await stage.adopted("web", kind.id)
            await stage.set("ConfigMap", "app", {"level": "debug"})

            async def told() -> bool:
                return "NotRolled" in [event["reason"] for event in await stage.events("web")]

            await stage.until(told, "it is not told")
