"""Jobs: one that is made again under its name, and one that is started from a CronJob.

The pod template of a Job can't be changed. So a stale one is deleted and created again, as it was, with the record
and the mark in it; what the server and the Job's controller put into the old one is left out, for it would tie
the new one to the old one's pods.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgspec

from reroll.core.applied import APPLIED, encode
from reroll.core.decide import Decision
from reroll.core.kinds import CRON_JOB, OF_THE_JOB
from reroll.core.marks import NATIVE, MarkStyle
from reroll.core.records import WorkloadRecord

INSTANTIATE: Final = "cronjob.kubernetes.io/instantiate"
"""What `kubectl create job --from` and the CronJob's controller take for: started by hand."""

_OF_THE_SERVER: Final = (
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
)
_OF_ITS_DELETION: Final = ("orphan", "foregroundDeletion")
_NAME: Final = 52  # as for CronJobs themselves: with what is appended, a name of at most 63 characters


def again(job: dict[str, Any], decision: Decision, style: MarkStyle = NATIVE) -> bytes:
    """The manifest of a Job that takes the place of `job`, which it keeps name, owner references, labels,
    annotations and spec of."""
    if decision.applied is None:
        raise ValueError("a Job is created again with a record of what it is created for")
    meta = {key: value for key, value in job["metadata"].items() if key not in _OF_THE_SERVER}
    finalizers = [name for name in meta.pop("finalizers", ()) if name not in _OF_ITS_DELETION]
    if finalizers:
        meta["finalizers"] = finalizers
    meta["annotations"] = {**meta.get("annotations", {}), APPLIED: encode(decision.applied)}
    if "labels" in meta:
        meta["labels"] = _without(meta["labels"])
    spec = dict(job["spec"])
    template = dict(spec["template"])
    pod = dict(template.get("metadata") or {})
    if not spec.get("manualSelector"):
        spec.pop("selector", None)
        pod["labels"] = _without(pod.get("labels") or {})
    pod.pop("creationTimestamp", None)
    spec["template"] = {**template, "metadata": pod}
    if decision.mark is not None:
        style.put(spec["template"], decision.mark)
    return msgspec.json.encode({"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": spec})


def is_of(job: bytes, decision: Decision) -> bool:
    """Is this Job, as the API server has it, the one that was made for this decision?"""
    annotations: dict[str, str] = msgspec.json.decode(job)["metadata"].get("annotations") or {}
    return decision.applied is not None and annotations.get(APPLIED) == encode(decision.applied)


def deletion(record: WorkloadRecord) -> bytes:
    """The options of a deletion: of the object that was decided on and no later one, and of its pods with it."""
    return msgspec.json.encode(
        {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": record.uid, "resourceVersion": record.resource_version},
        }
    )


def from_cron_job(cron_job: dict[str, Any], decision: Decision) -> bytes:
    """The manifest of a Job started from a CronJob. Its name follows from what it is started for, so that it is
    started once, however often it is tried."""
    meta = cron_job["metadata"]
    template = cron_job["spec"]["jobTemplate"]
    of_template = template.get("metadata") or {}
    cause = [meta["uid"], *sorted(f"{c.config}@{c.change.version}" for c in decision.changes)]
    suffix = hashlib.blake2b("\n".join(cause).encode(), digest_size=5).hexdigest()
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
                "name": f"{meta['name'][:_NAME].rstrip('-.')}-{suffix}",
                "namespace": meta["namespace"],
                "labels": of_template.get("labels") or {},
                "annotations": {**(of_template.get("annotations") or {}), INSTANTIATE: "manual"},
                "ownerReferences": [owner],
            },
            "spec": template["spec"],
        }
    )


def _without(labels: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in labels.items() if key not in OF_THE_JOB}
