"""Jobs and CronJobs of the sandbox, in virtual time, from a midnight on."""

from __future__ import annotations

from typing import Any

import pytest

from reroll.sandbox.kinds import CRON_JOB, JOB, POD
from reroll.sandbox.storage import Object
from tests.sandbox.play import NAMESPACE, Play, condition, template

pytestmark = pytest.mark.looptime

CRASHES = {"sandbox.reroll.dev/crash-if": "MODE=bad"}


def once(value: str = "good", restart: str = "Never") -> Object:
    env = [{"name": "MODE", "value": value}]
    return template(env=env, annotations=CRASHES, restartPolicy=restart)


def job(play: Play, name: str = "web", **spec: Any) -> Object:
    return play.make(JOB, name, spec={"template": once(), "completions": 1, "parallelism": 1, **spec})


def cron_job(play: Play, **spec: Any) -> Object:
    inner = {"spec": {"template": once(), "completions": 1, "parallelism": 1}}
    return play.make(CRON_JOB, "web", spec={"schedule": "*/5 * * * *", "jobTemplate": inner, **spec})


def jobs(play: Play) -> list[str]:
    return [one["metadata"]["name"] for one in play.storage.objects(JOB)]


class TestJob:
    async def test_it_completes(self, play: Play) -> None:
        job(play)
        await play.rest(0.7)
        assert play.status(JOB, "web")["active"] == 1
        assert play.status(JOB, "web")["ready"] == 1
        await play.rest()
        status = play.status(JOB, "web")
        assert status["succeeded"] == 1
        assert "active" not in status
        assert status["completionTime"] > status["startTime"]
        assert condition(play.get(JOB, "web"), "Complete") == ("True", "CompletionsReached")
        (pod,) = play.pods()
        assert pod["status"]["phase"] == "Succeeded"
        assert pod["metadata"]["labels"]["job-name"] == "web"
        (container,) = pod["status"]["containerStatuses"]
        assert container["state"]["terminated"]["exitCode"] == 0

    async def test_so_many_completions_so_many_at_once(self, play: Play) -> None:
        job(play, completions=5, parallelism=2)
        await play.rest(0.5)
        assert len(play.pods()) == 2
        await play.rest(10)
        assert len(play.pods()) == 5
        assert play.status(JOB, "web")["succeeded"] == 5

    async def test_what_ended_counts_though_it_was_deleted(self, play: Play) -> None:
        job(play, completions=2)
        await play.rest(1.2)
        for pod in play.pods():
            if pod["status"]["phase"] == "Succeeded":
                play.storage.delete(POD, NAMESPACE, pod["metadata"]["name"])
        await play.rest()
        assert play.status(JOB, "web")["succeeded"] == 2
        assert len(play.pods()) == 1

    async def test_failures_end_it_at_the_limit(self, play: Play) -> None:
        job(play, template=once("bad"), backoffLimit=2)
        await play.rest()
        assert condition(play.get(JOB, "web"), "Failed") == ("True", "BackoffLimitExceeded")
        assert play.status(JOB, "web")["failed"] == 3
        assert [pod["status"]["phase"] for pod in play.pods()] == ["Failed"] * 3

    async def test_restarts_in_place_count_too(self, play: Play) -> None:
        job(play, template=once("bad", "OnFailure"), backoffLimit=2)
        await play.rest(60)
        assert condition(play.get(JOB, "web"), "Failed") == ("True", "BackoffLimitExceeded")
        assert play.pods() == []

    async def test_suspended_and_resumed(self, play: Play) -> None:
        job(play, suspend=True)
        await play.rest()
        assert play.pods() == []
        assert condition(play.get(JOB, "web"), "Suspended") == ("True", "JobSuspended")
        play.spec(JOB, "web", suspend=False)
        await play.rest()
        assert condition(play.get(JOB, "web"), "Suspended") == ("False", "JobResumed")
        assert condition(play.get(JOB, "web"), "Complete")[0] == "True"

    async def test_a_deadline_ends_it(self, play: Play) -> None:
        pod = once()
        pod["metadata"]["annotations"] = {"sandbox.reroll.dev/finish-after": "1h"}
        job(play, template=pod, activeDeadlineSeconds=30)
        await play.rest(20)
        assert len(play.pods()) == 1
        await play.rest(20)
        assert condition(play.get(JOB, "web"), "Failed") == ("True", "DeadlineExceeded")
        assert play.pods() == []

    async def test_it_goes_when_its_time_is_over(self, play: Play) -> None:
        job(play, ttlSecondsAfterFinished=30)
        await play.rest(20)
        assert jobs(play) == ["web"]
        await play.rest(20)
        assert jobs(play) == []
        assert play.pods() == []


class TestCronJob:
    async def test_a_job_at_each_time(self, play: Play) -> None:
        cron_job(play)
        await play.rest(290)
        assert jobs(play) == []
        await play.rest(20)
        (name,) = jobs(play)
        # Named by the minutes since the epoch, as a real cluster does it.
        assert name == f"web-{1_767_225_600 // 60 + 5}"
        status = play.status(CRON_JOB, "web")
        assert status["lastScheduleTime"] == "2026-01-01T00:05:00Z"
        assert status["lastSuccessfulTime"].startswith("2026-01-01T00:05:0")
        assert "active" not in status

    async def test_as_many_are_kept_as_the_limits_say(self, play: Play) -> None:
        cron_job(play, successfulJobsHistoryLimit=2)
        await play.rest(3600)
        assert len(jobs(play)) == 2

    async def test_nothing_while_it_is_suspended(self, play: Play) -> None:
        cron_job(play, suspend=True)
        await play.rest(900)
        assert jobs(play) == []

    async def test_a_time_zone_and_a_macro(self, play: Play) -> None:
        # At midnight in Greenwich it is 05:45 in Kathmandu, and the next full hour there is at a quarter past.
        cron_job(play, schedule="@hourly", timeZone="Asia/Kathmandu")
        await play.rest(1000)
        assert play.status(CRON_JOB, "web")["lastScheduleTime"] == "2026-01-01T00:15:00Z"

    @pytest.mark.parametrize(("policy", "count"), [("Allow", 3), ("Forbid", 1), ("Replace", 1)])
    async def test_what_becomes_of_one_that_still_runs(self, play: Play, policy: str, count: int) -> None:
        pod = once()
        pod["metadata"]["annotations"] = {"sandbox.reroll.dev/finish-after": "2h"}
        cron_job(play, concurrencyPolicy=policy, jobTemplate={"spec": {"template": pod, "completions": 1}})
        await play.rest(1000)
        assert len(jobs(play)) == len(play.status(CRON_JOB, "web")["active"]) == count
        newest = policy != "Forbid"
        assert (f"web-{1_767_225_600 // 60 + 15}" in jobs(play)) is newest

    async def test_one_made_of_it_by_hand_is_its_own(self, play: Play) -> None:
        made = cron_job(play)
        meta = {
            "name": "manual",
            "namespace": NAMESPACE,
            "annotations": {"cronjob.kubernetes.io/instantiate": "manual"},
        }
        owner = {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "name": "web",
            "uid": made["metadata"]["uid"],
            "controller": True,
        }
        spec = made["spec"]["jobTemplate"]["spec"]
        play.storage.create(JOB, {"metadata": {**meta, "ownerReferences": [owner]}, "spec": spec})
        await play.rest()
        assert condition(play.get(JOB, "manual"), "Complete")[0] == "True"
        play.storage.delete(CRON_JOB, NAMESPACE, "web")
        await play.rest()
        assert jobs(play) == []
        assert play.pods() == []
