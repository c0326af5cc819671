"""Where a workload lives in the API."""

from __future__ import annotations

from collections.abc import Mapping

from reroll.core.kinds import KINDS, WorkloadKind
from reroll.core.records import WorkloadId
from reroll.kube.resources import Resource


def resource(workload: WorkloadId, kinds: Mapping[str, WorkloadKind] = KINDS) -> Resource:
    """Where a workload's kind lives in the API. `kinds`: those that are followed, by `WorkloadKind.id`."""
    kind = kinds[workload.kind]
    return Resource(kind.group, kind.version, kind.plural, kind.kind)


def path(workload: WorkloadId, kinds: Mapping[str, WorkloadKind] = KINDS) -> str:
    """The URL path of one workload."""
    return resource(workload, kinds).path(workload.namespace, workload.name)
