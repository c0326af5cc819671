"""CronJobs: only the template is changed, or a Job is started from it, once."""

from __future__ import annotations

import asyncio
from typing import Any

from reroll.kube.errors import Unreachable
from tests.controller.conftest import Stage

Json = dict[str, Any]
LEVEL = [{"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "app", "key": "level"}}}]


def cron_job(name: str = "report", **spec: Any) -> Json:
    """A CronJob that its schedule starts at no time of these tests."""
    pod = {
        "restartPolicy": "Never",
        "containers": [{"name": "main", "image": "example.invalid/app:1", "env": LEVEL}],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": name, "annotations": {"reroll.dev/auto": "true"}},
        "spec": {
            "schedule": "0 0 29 2 *",
            "jobTemplate": {
                "metadata": {"labels": {"team": "web"}, "annotations": {"note": "kept"}},
                "spec": {"template": {"spec": pod}},
            },
            **spec,
        },
    }


async def mark(stage: Stage, name: str = "report") -> str | None:
    found = await stage.get("CronJob", name)
    template = found["spec"]["jobTemplate"]["spec"]["template"]
    value: str | None = template.get("metadata", {}).get("annotations", {}).get("reroll.dev/config")
    return value


async def jobs(stage: Stage) -> list[Json]:
    items: list[Json] = stage._json(await stage.client.list_page(stage.path("Job")))["items"]
    return items


class TestByDefault:
    async def test_the_next_job_carries_the_new_mark_and_none_is_started(self, stage: Stage) -> None:
        await stage.config_map("app", {"level": "info", "other": "1"})
        await stage.create(cron_job())
        async with stage.controller() as control:
            await stage.adopted("report", "CronJob")
            await stage.set("ConfigMap", "app", {"other": "2"})
            await stage.quiet(control)
            assert await mark(stage) is None
            await stage.set("ConfigMap", "app", {"level": "debug"})
            first = await stage.until(lambda: mark(stage), "no mark")
            await stage.quiet(control)
            version = (await stage.get("CronJob", "report"))["metadata"]["resourceVersion"]
        assert await jobs(stage) == []
        [event] = await stage.until(lambda: stage.events("report"), "no Event")
        assert event["regarding"]["kind"] == "CronJob"
        assert "configmap/app changed (level)" in event["note"]
        # A start alone writes nothing.
        async with stage.controller() as control:
            await stage.quiet(control)
            assert await mark(stage) == first
            assert (await stage.get("CronJob", "report"))["metadata"]["resourceVersion"] == version

    async def test_a_change_while_no_controller_ran_is_found(self, stage: Stage) -> None:
        await stage.config_map("app", {"level": "info"})
        await stage.create(cron_job())
        async with stage.controller():
            await stage.adopted("report", "CronJob")
        await stage.set("ConfigMap", "app", {"level": "debug"})
        async with stage.controller():
            await stage.until(lambda: mark(stage), "no mark")

    async def test_one_deploy_of_both_is_the_owners_rollout(self, stage: Stage) -> None:
        await stage.config_map("app", {"level": "info"})
        await stage.create(cron_job())
        async with stage.controller(settle=0.5) as control:
            await stage.adopted("report", "CronJob")
            await stage.set("ConfigMap", "app", {"level": "debug"})
            image = {"name": "main", "image": "example.invalid/app:2"}
            spec = {"jobTemplate": {"spec": {"template": {"spec": {"containers": [image]}}}}}
            await stage.patch("CronJob", "report", {"spec": spec})
            await stage.quiet(control)
            assert await mark(stage) is None

    async def test_a_job_that_it_made_is_left_to_its_end(self, stage: Stage) -> None:
        await stage.config_map("app", {"level": "info"})
        await stage.create(cron_job())
        made = await started_by_hand(stage, "report")
        async with stage.controller(auto_all=True) as control:
            await stage.adopted("report", "CronJob")
            await stage.set("ConfigMap", "app", {"level": "debug"})
            await stage.until(lambda: mark(stage), "no mark")
            await stage.quiet(control)
        [job] = await jobs(stage)
        assert job["metadata"]["uid"] == made["metadata"]["uid"]
        assert "reroll.dev/applied" not in job["metadata"].get("annotations", {})


async def started_by_hand(stage: Stage, name: str) -> Json:
    """A Job of a CronJob, that has not come to its end."""
    owner = (await stage.get("CronJob", name))["metadata"]
    template = (await stage.get("CronJob", name))["spec"]["jobTemplate"]["spec"]["template"]
    template["spec"]["nodeSelector"] = {"no": "such-node"}
    reference = {"apiVersion": "batch/v1", "kind": "CronJob", "name": name, "uid": owner["uid"]}
    found: Json = await stage.create(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": f"{name}-1", "ownerReferences": [{**reference, "controller": True}]},
            "spec": {"template": template},
        }
    )
    return found


class TestWhereAJobIsStarted:
    async def test_once_for_each_change(self, stage: Stage) -> None:
        await stage.config_map("app", {"level": "info"})
        await stage.create(cron_job())
        async with stage.controller(cron_jobs="instantiate") as control:
            await stage.adopted("report", "CronJob")
            assert await jobs(stage) == []
            await stage.set("ConfigMap", "app", {"level": "debug"})
            await stage.until(lambda: jobs(stage), "no Job")
            await stage.quiet(control)
            [job] = await jobs(stage)
            await stage.set("ConfigMap", "app", {"level": "info"})
            await stage.until(lambda: two(stage), "no second Job")
            await stage.quiet(control)
        assert len(await jobs(stage)) == 2
        owner = await stage.get("CronJob", "report")
        [reference] = job["metadata"]["ownerReferences"]
        assert reference["uid"] == owner["metadata"]["uid"]
        assert (reference["kind"], reference["controller"]) == ("CronJob", True)
        assert job["metadata"]["annotations"]["cronjob.kubernetes.io/instantiate"] == "manual"
        assert job["metadata"]["annotations"]["note"] == "kept"
        assert job["metadata"]["labels"]["team"] == "web"
        assert await mark(stage) is None
        async with stage.controller(cron_jobs="instantiate") as control:
            await stage.quiet(control)
            assert len(await jobs(stage)) == 2

    async def test_none_while_it_is_suspended(self, stage: Stage) -> None:
        await stage.config_map("app", {"level": "info"})
        await stage.create(cron_job(suspend=True))
        async with stage.controller(cron_jobs="instantiate") as control:
            await stage.adopted("report", "CronJob")
            await stage.set("ConfigMap", "app", {"level": "debug"})
            await stage.quiet(control)
            await stage.patch("CronJob", "report", {"spec": {"suspend": False}})
            await stage.quiet(control)
            assert await jobs(stage) == []
            await stage.set("ConfigMap", "app", {"level": "trace"})
            await stage.until(lambda: jobs(stage), "no Job")

    async def test_once_though_the_record_could_not_be_written(self, stage: Stage) -> None:
        """The Job is there, and the patch that records it is lost: the next try finds the Job."""
        await stage.config_map("app", {"level": "info"})
        await stage.create(cron_job())
        async with stage.controller(cron_jobs="instantiate") as control:
            await stage.adopted("report", "CronJob")
            real, failures = control.client.patch, 0

            async def patch(path: str, body: bytes, **options: Any) -> bytes:
                nonlocal failures
                if failures < 2 and b"reroll.dev/applied" in body:
                    failures += 1
                    raise Unreachable("lost on the way")
                found: bytes = await real(path, body, **options)
                return found

            control.client.patch = patch  # type: ignore[method-assign]
            await stage.set("ConfigMap", "app", {"level": "debug"})
            await stage.until(lambda: asyncio.sleep(0, failures == 2), "the record was not tried")
            await stage.quiet(control)
        assert len(await jobs(stage)) == 1

    async def test_its_name_is_no_longer_than_a_pods_label_can_be(self, stage: Stage) -> None:
        name = "a" * 52
        await stage.config_map("app", {"level": "info"})
        await stage.create(cron_job(name))
        async with stage.controller(cron_jobs="instantiate"):
            await stage.adopted(name, "CronJob")
            await stage.set("ConfigMap", "app", {"level": "debug"})
            [job] = await stage.until(lambda: jobs(stage), "no Job")
        assert len(job["metadata"]["name"]) <= 63


async def two(stage: Stage) -> bool:
    return len(await jobs(stage)) >= 2
