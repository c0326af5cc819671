"""Jobs: one that is made again under its name, and one that is started from a CronJob.

The pod template of a Job can't be changed. So a stale one is deleted and created again, as it was, with the record
and the mark in it; what the server and the Job's controller put into the old one is left out, for it would tie
the new one to the old one's pods.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgspec

from reroll.core.applied import APPLIED, STANDS_IN_FOR, encode
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
    made = _anew(job)
    made["metadata"]["annotations"][APPLIED] = encode(decision.applied)
    if decision.mark is not None:
        style.put(made["spec"]["template"], decision.mark)
    return msgspec.json.encode(made)


def stand_in(job: bytes, uid: str) -> tuple[str, bytes]:
    """Name and manifest of the Job that stands in for `job`, a manifest of `again`, while that is created: the same,
    suspended. `uid`: of the one that is deleted, so that the name is that of no other Job."""
    made: dict[str, Any] = msgspec.json.decode(job)
    meta = made["metadata"]
    # A finalizer would keep the stand-in from going, so it is only written down.
    meta["annotations"][STANDS_IN_FOR] = " ".join([meta["name"], *meta.pop("finalizers", ())])
    meta["name"] = (
        f"{meta['name'][:_NAME].rstrip('-.')}-{hashlib.blake2b(uid.encode(), digest_size=5).hexdigest()}"
    )
    made["spec"]["suspend"] = True
    return meta["name"], msgspec.json.encode(made)


def behind(stand_in: dict[str, Any]) -> tuple[str, bytes]:
    """Name and manifest of the Job that this one, as the API server has it, stands in for."""
    made = _anew(stand_in)
    meta = made["metadata"]
    meta["name"], *finalizers = meta["annotations"].pop(STANDS_IN_FOR).split()
    if finalizers:
        meta["finalizers"] = finalizers
    made["spec"].pop("suspend", None)
    return meta["name"], msgspec.json.encode(made)


def _anew(job: dict[str, Any]) -> dict[str, Any]:
    """The manifest of a Job that the API server has, without what it and the Job's controller put into it."""
    meta = {key: value for key, value in job["metadata"].items() if key not in _OF_THE_SERVER}
    finalizers = [name for name in meta.pop("finalizers", ()) if name not in _OF_ITS_DELETION]
    if finalizers:
        meta["finalizers"] = finalizers
    meta["annotations"] = dict(meta.get("annotations") or {})
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
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": spec}


def is_of(job: bytes, decision: Decision) -> bool:
    """Is this Job, as the API server has it, the one that was made for this decision?"""
    annotations: dict[str, str] = msgspec.json.decode(job)["metadata"].get("annotations") or {}
    return decision.applied is not None and annotations.get(APPLIED) == encode(decision.applied)


def deletion(record: WorkloadRecord | None) -> bytes:
    """The options of a deletion, of a Job and its pods with it: of the object that was decided on and no later one
    (`record`), or (None) of whatever has its name."""
    options: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "propagationPolicy": "Background",
    }
    if record is not None:
        options["preconditions"] = {"uid": record.uid, "resourceVersion": record.resource_version}
    return msgspec.json.encode(options)


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
