"""Restarts on a real API server: what is written, what is waited for, what is refused, and what is taken back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from reroll.core.records import WorkloadId
from reroll.core.selector import parse_items
from reroll.kube.client import Client
from reroll.kube.config import load_config
from reroll.pipeline.restart import Options, restart
from reroll.pipeline.result import Outcome, Result
from reroll.pipeline.selection import Target, Wanted, select
from reroll.rollouts.live import RESTARTED_AT
from tests.controller.conftest import NewWorkload, Stage
from tests.pipeline.starts import started_before_now

KINDS = ("Deployment", "StatefulSet", "DaemonSet")
QUOTA = "/api/v1/namespaces/{}/resourcequotas"


@pytest.fixture(autouse=True)
async def goodbye() -> AsyncIterator[None]:
    """Watches that the stage ends still say goodbye by TLS when its client is closed: the loop goes on so long."""
    yield
    await asyncio.sleep(0.2)


def target(stage: Stage, name: str, kind: str = "Deployment", **more: Any) -> Target:
    return Target(WorkloadId(kind, stage.namespace, name), **more)


async def run(stage: Stage, *targets: Target, view: Any = None, **options: Any) -> Result:
    settings: dict[str, Any] = {"wait": True, "timeout": 60.0, **options}
    return await restart(stage.client, targets, Options(**settings), view)


async def only(stage: Stage, one: Target, **options: Any) -> Outcome:
    (found,) = (await run(stage, one, **options)).outcomes
    return found


async def mark(stage: Stage, name: str, kind: str = "Deployment") -> str | None:
    template = (await stage.get(kind, name))["spec"]["template"]
    return (template["metadata"].get("annotations") or {}).get(RESTARTED_AT)


async def pods(stage: Stage, name: str) -> set[str]:
    items = msgspec.json.decode(await stage.client.list_page(stage.path("Pod")))["items"]
    return {
        each["metadata"]["uid"]
        for each in items
        if each["metadata"]["labels"].get("app") == name and "deletionTimestamp" not in each["metadata"]
    }


async def running(stage: Stage, *names: str, kind: str = "Deployment") -> None:
    for name in names:
        await stage.pods_older_than_now(name)

        async def ready(name: str = name) -> bool:
            status = (await stage.get(kind, name)).get("status", {})
            number = status.get("readyReplicas", 0) or status.get("numberReady", 0)
            wanted = status.get("desiredNumberScheduled") or (await stage.get(kind, name))["spec"].get(
                "replicas"
            )
            return bool(number and number == wanted)

        await stage.until(ready, f"{name} is not ready")


@pytest.mark.parametrize("kind", KINDS)
async def test_each_kind_to_its_end(stage: Stage, new_workload: NewWorkload, kind: str) -> None:
    await stage.create(new_workload("web", kind=kind, replicas=2))
    await running(stage, "web", kind=kind)
    before = await pods(stage, "web")
    done = await only(stage, target(stage, "web", kind))
    assert done.state == "done", done
    assert "new and" in done.message
    assert not before & await pods(stage, "web")
    assert await mark(stage, "web", kind)


async def test_a_second_restart_is_one_more(stage: Stage, new_workload: NewWorkload) -> None:
    await stage.create(new_workload("web"))
    await running(stage, "web")
    first = await only(stage, target(stage, "web"), wait=False)
    assert first.state == "restarted"
    one = await mark(stage, "web")
    assert (await only(stage, target(stage, "web"), wait=False)).state == "restarted"
    assert one != await mark(stage, "web")


async def test_what_can_not_be_restarted_is_told(stage: Stage, new_workload: NewWorkload) -> None:
    await stage.create(new_workload("paused", paused=True))
    await stage.create(new_workload("idle", replicas=0))
    on_delete = {"updateStrategy": {"type": "OnDelete"}}
    await stage.create(new_workload("deleted", kind="DaemonSet", **on_delete))
    held = {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}}
    await stage.create(new_workload("held", kind="StatefulSet", replicas=2, **held))
    await running(stage, "deleted", kind="DaemonSet")
    asked = [
        target(stage, "paused"),
        target(stage, "idle"),
        target(stage, "deleted", "DaemonSet"),
        target(stage, "held", "StatefulSet"),
        target(stage, "nope"),
        target(stage, "nightly", "CronJob"),
    ]
    found = await run(stage, *asked, max_in_flight=6)
    told = {each.name: (each.state, each.message) for each in found.outcomes}
    assert told["paused"][0] == "refused"
    assert "resume it first" in told["paused"][1]
    assert told["idle"][0] == "skipped"
    assert told["deleted"][0] == "refused"
    assert "OnDelete" in told["deleted"][1]
    assert told["held"][0] == "refused"
    assert "partition 2" in told["held"][1]
    assert told["nope"] == ("failed", "there is no such workload")
    assert told["nightly"][0] == "refused"
    assert await mark(stage, "paused") is None
    assert found.code(exit_code=False) == 1


async def test_a_dry_run_changes_nothing(stage: Stage, new_workload: NewWorkload) -> None:
    await stage.create(new_workload("web", strategy={"type": "Recreate"}))
    done = await only(stage, target(stage, "web"), dry_run=True)
    assert done.state == "planned"
    assert "Recreate" in done.message
    assert await mark(stage, "web") is None


async def _no_more_pods(stage: Stage, number: int) -> None:
    body = {"metadata": {"name": "few"}, "spec": {"hard": {"pods": str(number)}}}
    await stage.client.create(QUOTA.format(stage.namespace), stage.encode(body))

    async def counted() -> bool:
        path = QUOTA.format(stage.namespace) + "/few"
        status = msgspec.json.decode(await stage.client.get(path)).get("status", {})
        return bool(status.get("used", {}).get("pods") == str(number))

    await stage.until(counted, "the quota is not counted")


async def test_a_failure_is_told_taken_back_and_ends_it(stage: Stage, new_workload: NewWorkload) -> None:
    for name in ("web", "api"):
        await stage.create(new_workload(name, progressDeadlineSeconds=2))
    await running(stage, "web", "api")
    before = await pods(stage, "web")
    await _no_more_pods(stage, 2)
    asked = [target(stage, "web"), target(stage, "api")]
    found = await run(stage, *asked, max_in_flight=1, rollback=True)
    web, api = found.outcomes
    assert web.state == "failed"
    assert "no progress within its deadline of 2 s" in web.message
    assert "taken back: all 1 pod new and available" in web.message
    assert web.rolled_back
    assert any("exceeded quota" in each.what for each in web.reasons)
    assert api.state == "not started"
    assert await mark(stage, "web") is None
    assert await mark(stage, "api") is None
    assert await pods(stage, "web") == before
    assert found.code(exit_code=True) == 1


async def test_a_restart_of_somebody_else_is_not_taken_back(stage: Stage, new_workload: NewWorkload) -> None:
    await stage.create(new_workload("web", progressDeadlineSeconds=2))
    await running(stage, "web")
    await _no_more_pods(stage, 1)
    theirs = "2026-01-02T03:04:05Z"
    template = {"metadata": {"annotations": {RESTARTED_AT: theirs}}}

    class Meddling:
        """Restarts it too, as soon as it is seen to be restarted."""

        done: asyncio.Task[Any] | None = None

        def going(self, workload: Any, words: str, new: int, wanted: int) -> None:
            if self.done is None:
                self.done = asyncio.create_task(
                    stage.patch("Deployment", "web", {"spec": {"template": template}})
                )

        def ended(self, outcome: Outcome) -> None:
            pass

    found = (await run(stage, target(stage, "web"), rollback=True, view=Meddling())).outcomes[0]
    assert found.state == "failed"
    assert not found.rolled_back
    assert "changed again in the meantime; not taken back" in found.message
    assert await mark(stage, "web") == theirs


async def test_the_time_is_over(stage: Stage, new_workload: NewWorkload) -> None:
    await stage.create(new_workload("web"))
    await running(stage, "web")
    await _no_more_pods(stage, 1)
    found = await run(stage, target(stage, "web"), timeout=1.0)
    assert found.outcomes[0].state == "timed out"
    assert found.code(exit_code=False) == 3
    assert any("exceeded quota" in each.what for each in found.outcomes[0].reasons)


@pytest.mark.parametrize("method", ["evict", "delete-pods"])
async def test_pods_go_one_by_one(stage: Stage, new_workload: NewWorkload, method: Any) -> None:
    await stage.create(new_workload("web", replicas=3))
    await running(stage, "web")
    before = await pods(stage, "web")
    done = await only(stage, target(stage, "web"), method=method)
    assert (done.state, done.message) == ("done", "3 pods replaced, 3 ready")
    assert not before & await pods(stage, "web")
    assert await mark(stage, "web") is None


async def test_deleting_pods_is_for_on_delete(stage: Stage, new_workload: NewWorkload) -> None:
    strategy = {"type": "OnDelete"}
    await stage.create(new_workload("web", kind="StatefulSet", updateStrategy=strategy))
    await running(stage, "web", kind="StatefulSet")
    before = await pods(stage, "web")
    done = await only(stage, target(stage, "web", "StatefulSet"), method="delete-pods")
    assert done.state == "done", done
    assert not before & await pods(stage, "web")


async def test_a_budget_is_kept(stage: Stage, new_workload: NewWorkload) -> None:
    await stage.create(new_workload("web"))
    await running(stage, "web")
    before = await pods(stage, "web")
    budget = {
        "metadata": {"name": "web"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}},
    }
    path = f"/apis/policy/v1/namespaces/{stage.namespace}/poddisruptionbudgets"
    await stage.client.create(path, stage.encode(budget))

    async def counted() -> bool:
        status = msgspec.json.decode(await stage.client.get(f"{path}/web")).get("status", {})
        return bool(status.get("currentHealthy") == 1)

    await stage.until(counted, "the budget is not counted")
    done = await only(stage, target(stage, "web"), method="evict", timeout=1.5)
    assert done.state == "timed out"
    assert "PodDisruptionBudget" in done.message
    assert await pods(stage, "web") == before


# --- which are meant -------------------------------------------------------------------------------------


async def found_by(stage: Stage, **wanted: Any) -> dict[str, tuple[str, ...]]:
    targets, _ = await select(stage.client, Wanted(scopes=(stage.namespace,), **wanted))
    return {each.workload.name: each.why for each in targets}


async def test_by_what_they_consume_and_by_labels(stage: Stage, new_workload: NewWorkload) -> None:
    def env(key: str, of: str = "configMapKeyRef", name: str = "app") -> Any:
        return {"env": [{"name": key.upper(), "valueFrom": {of: {"name": name, "key": key}}}]}

    level = new_workload("level", container=env("level"))
    level["metadata"]["labels"] = {"team": "shop"}
    await stage.create(level)
    await stage.create(new_workload("port", container=env("port"), kind="StatefulSet"))
    await stage.create(new_workload("secret", container=env("level", "secretKeyRef"), kind="DaemonSet"))
    await stage.create(new_workload("other", container=env("level", name="else")))

    async def consumers(text: str, **more: Any) -> set[str]:
        return set(await found_by(stage, consumers_of=parse_items(text).selectors, **more))

    assert await consumers("configmap/app") == {"level", "port"}
    assert await consumers("configmap/app#level") == {"level"}
    assert await consumers("app") == {"level", "port", "secret"}
    assert await consumers("secret/app") == {"secret"}
    assert await consumers("configmap/nowhere") == set()
    assert await consumers("configmap/app", labels="team=shop") == {"level"}
    assert set(await found_by(stage, labels="team=shop")) == {"level"}
    names = (
        WorkloadId("StatefulSet", stage.namespace, "port"),
        WorkloadId("Deployment", stage.namespace, "other"),
    )
    assert await consumers("configmap/app", names=names) == {"port"}
    why = await found_by(stage, consumers_of=parse_items("configmap/app#level").selectors)
    assert why == {"level": ("consumes configmap/app: container main: env LEVEL",)}


async def test_only_those_that_are_stale(stage: Stage, new_workload: NewWorkload) -> None:
    refs = [{"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "app", "key": "level"}}}]
    await stage.config_map("app", {"level": "info"})
    await stage.create(new_workload("behind", container={"env": refs}, annotations={}))
    await stage.create(new_workload("other", annotations={}))
    await running(stage, "behind", "other")
    await started_before_now(stage, "behind", "other")
    assert await found_by(stage, only_stale=True) == {}
    async with Client(load_config(kubeconfig=str(stage.kubeconfig)), field_manager="other") as other:
        await other.patch(stage.path("ConfigMap", "app"), b'{"data": {"level": "debug"}}')
    (why,) = (await found_by(stage, only_stale=True)).values()
    assert why == ("certain: older configmap/app#level: container main: env LEVEL",)
    assert set(
        await found_by(stage, only_stale=True, consumers_of=parse_items("configmap/app").selectors)
    ) == {"behind"}
    assert await found_by(stage, only_stale=True, consumers_of=parse_items("configmap/b").selectors) == {}

    targets, _ = await select(stage.client, Wanted(scopes=(stage.namespace,), only_stale=True))
    found = await run(stage, *targets)
    assert [each.state for each in found.outcomes] == ["done"]
    assert await found_by(stage, only_stale=True) == {}
