"""CronJobs: a Job at each time of a schedule. The rules are those of pkg/controller/cronjob."""

from __future__ import annotations

import uuid
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim

from reroll.sandbox import conditions
from reroll.sandbox.clockwork import Clockwork, with_status
from reroll.sandbox.defaults import begin, fill
from reroll.sandbox.jobs import is_finished
from reroll.sandbox.kinds import CRON_JOB, JOB
from reroll.sandbox.pods import owned, owner_reference
from reroll.sandbox.storage import AlreadyExists, Object, copied

_MACROS: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


class CronJobs:
    """The CronJob controller."""

    def __init__(self, clockwork: Clockwork) -> None:
        self._clockwork = clockwork
        self._storage = clockwork.storage

    def sync(self, namespace: str, name: str) -> None:
        """Start one CronJob's Job where it is time, and tell its status. Jobs that others made of it count too."""
        owner = self._storage.find(CRON_JOB, namespace, name)
        if owner is None or "deletionTimestamp" in owner["metadata"]:
            return
        self._clean_up(owner)
        status = dict(owner.get("status") or {})
        if owner["spec"].get("suspend") is not True:
            scheduled = self._scheduled(owner)
            if scheduled is not None and self._start(owner, scheduled):
                status["lastScheduleTime"] = scheduled.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        jobs = owned(self._storage, JOB, owner)
        done = [
            job["status"].get("completionTime", "") for job in jobs if conditions.is_true(job, "Complete")
        ]
        status["lastSuccessfulTime"] = max([status.get("lastSuccessfulTime", ""), *done])
        status["active"] = [_reference(job) for job in jobs if not is_finished(job)]
        self._storage.update(CRON_JOB, with_status(owner, status), subresource="status")

    def _scheduled(self, owner: Object) -> datetime | None:
        """The last time that has come since a Job was started; it asks to be looked at when the next comes."""
        spec, meta = owner["spec"], owner["metadata"]
        now = self._storage.now()
        zone = ZoneInfo(spec["timeZone"]) if spec.get("timeZone") else UTC
        here = datetime.fromtimestamp(now, zone)
        schedule = _MACROS.get(spec["schedule"].strip(), spec["schedule"])
        coming = next(CronSim(schedule, here))
        self._clockwork.touch_in(coming.timestamp() - now, CRON_JOB, meta["namespace"], meta["name"])
        # Backwards it begins before the time it is given, and this very second may be one.
        latest = next(CronSim(schedule, datetime.fromtimestamp(int(now) + 1, zone), reverse=True))
        told = (owner.get("status") or {}).get("lastScheduleTime")
        since = conditions.seconds(told or meta["creationTimestamp"])
        deadline = spec.get("startingDeadlineSeconds")
        if latest.timestamp() <= since or (deadline is not None and latest.timestamp() < now - deadline):
            return None
        return latest

    def _start(self, owner: Object, scheduled: datetime) -> bool:
        """True if this time is dealt with: its Job is there."""
        meta, spec = owner["metadata"], owner["spec"]
        running = [job for job in owned(self._storage, JOB, owner) if not is_finished(job)]
        policy = spec.get("concurrencyPolicy", "Allow")
        if running and policy == "Forbid":
            return False
        for job in running if policy == "Replace" else ():
            self._storage.delete(JOB, meta["namespace"], job["metadata"]["name"])
        template = spec["jobTemplate"]
        given = template.get("metadata") or {}
        when = {
            "batch.kubernetes.io/cronjob-scheduled-timestamp": scheduled.isoformat().replace("+00:00", "Z")
        }
        made: Object = {
            "metadata": {
                "name": f"{meta['name'][:52]}-{int(scheduled.timestamp()) // 60}",
                "namespace": meta["namespace"],
                "annotations": {**(given.get("annotations") or {}), **when},
                "ownerReferences": [owner_reference(CRON_JOB, owner)],
            },
            "spec": copied(template["spec"]),
        }
        if given.get("labels"):
            made["metadata"]["labels"] = given["labels"]
        with suppress(AlreadyExists):
            uid = str(uuid.uuid4())
            fill(JOB, made)
            begin(JOB, made, uid)
            self._storage.create(JOB, made, uid=uid)
        return True

    def _clean_up(self, owner: Object) -> None:
        """Keep as many finished Jobs as the history limits say."""
        finished = [job for job in owned(self._storage, JOB, owner) if is_finished(job)]
        for condition, limit, default in (
            ("Complete", "successfulJobsHistoryLimit", 3),
            ("Failed", "failedJobsHistoryLimit", 1),
        ):
            held = [job for job in finished if conditions.is_true(job, condition)]
            for job in held[: max(0, len(held) - owner["spec"].get(limit, default))]:
                self._storage.delete(JOB, job["metadata"]["namespace"], job["metadata"]["name"])


def _reference(job: Object) -> Object:
    meta = job["metadata"]
    return {
        "apiVersion": JOB.api_version,
        "kind": JOB.kind,
        "name": meta["name"],
        "namespace": meta["namespace"],
        "uid": meta["uid"],
        "resourceVersion": meta["resourceVersion"],
    }
