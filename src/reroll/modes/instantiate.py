"""The mode of CronJobs with `cron_jobs: instantiate`: start a Job at once, as `kubectl create job --from` does.

The Job's name follows from the digests it is started for, and from when the record was last written, so a controller
that ends between the start and the record starts none twice. The same change can come back later (A, B, A, B): the
record was written in between, so it gets another name.
"""

from __future__ import annotations

import contextlib
import hashlib
from typing import Any, Final

import msgspec

from reroll.core.applied import APPLIED, total
from reroll.core.decision import Decision
from reroll.core.kinds import CRON_JOB
from reroll.core.records import Applied, AppliedKeys
from reroll.kube.errors import AlreadyExists
from reroll.modes.bodies import written_at
from reroll.modes.mode import Outcome, Subject, Wait
from reroll.modes.recreate import JOBS
from reroll.modes.rollout import Rollout

INSTANTIATE: Final = "cronjob.kubernetes.io/instantiate"
"""What `kubectl create job --from` and the CronJob's controller take for: started by hand."""

_NAME: Final = 52  # as for CronJobs themselves: with what is appended, a name of at most 63 characters
_LOOK_AGAIN = 10.0  # seconds after which the end of a Job that runs is looked for


class Instantiate(Rollout):
    """Starts a Job, and writes the record."""

    async def begin(self, subject: Subject, decision: Decision) -> Outcome:
        """See `Mode`."""
        cron_job = await subject.read()
        active = active_of_forbid(cron_job)
        if active:
            why = f"job {active} of it runs, and its concurrencyPolicy is Forbid"
            subject.tell.waits(subject, why)
            return Wait(why, after=_LOOK_AGAIN)
        before = subject.record.started_with or subject.record.applied
        body = from_cron_job(cron_job, name_of(cron_job, decision, before))
        with contextlib.suppress(
            AlreadyExists
        ):  # a try whose answer, or whose record, was lost has started it
            await subject.api.create(JOBS.path(subject.record.id.namespace), body)
        return await super().begin(subject, decision)


def active_of_forbid(cron_job: dict[str, Any]) -> str:
    """The name of a Job that runs, where the CronJob forbids a second one beside it; "" for none."""
    if cron_job["spec"].get("concurrencyPolicy") != "Forbid":
        return ""
    active = (cron_job.get("status") or {}).get("active") or ()
    return next((str(job.get("name", "")) for job in active), "")


def name_of(cron_job: dict[str, Any], decision: Decision, before: Applied | None) -> str:
    """The name of the Job that is started for a decision: it follows from the CronJob, from the digests before and
    after, and from the server's time of the last record."""
    applied = decision.applied.configs if decision.applied is not None else {}
    earlier = before.configs if before is not None else {}
    meta = cron_job["metadata"]
    shorts = sorted({change.config.short(meta["namespace"]) for change in decision.changes} or applied)
    digests = [f"{short} {_digest(earlier, short)} {_digest(applied, short)}" for short in shorts]
    cause = [meta["uid"], written_at(meta.get("managedFields") or (), APPLIED), *digests]
    suffix = hashlib.blake2b("\n".join(cause).encode(), digest_size=5).hexdigest()
    return f"{meta['name'][:_NAME].rstrip('-.')}-{suffix}"


def _digest(configs: dict[str, AppliedKeys], short: str) -> str:
    return total(configs[short]) if short in configs else "-"


def from_cron_job(cron_job: dict[str, Any], name: str) -> bytes:
    """The manifest of a Job of this name, started from a CronJob."""
    meta = cron_job["metadata"]
    template = cron_job["spec"]["jobTemplate"]
    of_template = template.get("metadata") or {}
    owner = {
        "apiVersion": CRON_JOB.api_version,
        "kind": CRON_JOB.kind,
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
    }
    return msgspec.json.encode(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {
                "name": name,
                "namespace": meta["namespace"],
                "labels": of_template.get("labels") or {},
                "annotations": {**(of_template.get("annotations") or {}), INSTANTIATE: "manual"},
                "ownerReferences": [owner],
            },
            "spec": template["spec"],
        }
    )
