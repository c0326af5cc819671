"""The mode `rollout`: change the pod template, and let the workload's own controller roll its pods.

One merge patch writes the record on the workload and the mark on its pod template together, so there is no
moment in which one says what the other does not. It carries the resourceVersion that the decision was made
on: if anything was written in between, the server answers 409, and the question is asked again.
"""

from __future__ import annotations

import msgspec

from reroll.core.applied import APPLIED, CONFIG, encode
from reroll.core.decide import Decision
from reroll.core.kinds import WORKLOAD_KINDS
from reroll.core.records import WorkloadId, WorkloadRecord
from reroll.kube.resources import Resource


def resource(workload: WorkloadId) -> Resource:
    """Where a workload's kind lives in the API."""
    kind = WORKLOAD_KINDS[workload.kind]
    return Resource(kind.group, kind.version, kind.plural, kind.kind)


def path(workload: WorkloadId) -> str:
    """The URL path of one workload."""
    return resource(workload).path(workload.namespace, workload.name)


def merge_patch(record: WorkloadRecord, decision: Decision) -> bytes:
    """The patch for a decision: the record alone (Adopt, Record), or the record and the mark (Roll)."""
    if decision.applied is None:
        raise ValueError(f"a decision to {decision.kind.value} has nothing to write")
    body: dict[str, object] = {
        "metadata": {
            "resourceVersion": record.resource_version,
            "uid": record.uid,
            "annotations": {APPLIED: encode(decision.applied)},
        }
    }
    if decision.mark is not None:
        body["spec"] = {"template": {"metadata": {"annotations": {CONFIG: decision.mark}}}}
    return msgspec.json.encode(body)
