"""The revisions of a workload that its own controller keeps, with the pod template of each.

A Deployment and an Argo Rollout have a ReplicaSet for each, which carries its number in an annotation; a StatefulSet
and a DaemonSet have ControllerRevisions, whose data is a patch that holds the template (kubernetes,
pkg/controller/history). A CronJob keeps none.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import msgspec
from msgspec import Struct

from reroll.core.kinds import DAEMON_SET, DEPLOYMENT, ROLLOUT, STATEFUL_SET, WorkloadKind
from reroll.kube.pages import read_list
from reroll.kube.ports import Lister
from reroll.kube.resources import REPLICA_SETS, Resource
from reroll.versions.collect import CONTROLLER_REVISIONS
from reroll.versions.uses import REVISIONS

_OF_KIND: Final[Mapping[str, Resource]] = {
    DEPLOYMENT.id: REPLICA_SETS,
    ROLLOUT.id: REPLICA_SETS,
    STATEFUL_SET.id: CONTROLLER_REVISIONS,
    DAEMON_SET.id: CONTROLLER_REVISIONS,
}
_OF_A_REPLICA_SET: Final = ("pod-template-hash", "rollouts-pod-template-hash")
"""Labels that the pod template of a ReplicaSet has, and that of its Deployment or Rollout has not."""


class Revision(Struct, frozen=True):
    """One of them."""

    number: int
    name: str
    template: dict[str, Any]
    """The pod template, as the workload had it."""


def keeps_revisions(kind: WorkloadKind) -> bool:
    """Is there anything to go back to by number?"""
    return kind.id in _OF_KIND


async def read_revisions(api: Lister, kind: WorkloadKind, obj: Mapping[str, Any]) -> list[Revision]:
    """The revisions of this workload, as the API has it, the oldest first; none of a kind that keeps none.

    Raises ApiError, and msgspec.DecodeError for an answer that is not understood."""
    resource = _OF_KIND.get(kind.id)
    if resource is None:
        return []
    uid, namespace = obj["metadata"]["uid"], obj["metadata"]["namespace"]
    found: list[Revision] = []

    def take(raw: msgspec.Raw) -> None:
        each = msgspec.json.decode(raw)
        owners = each["metadata"].get("ownerReferences") or ()
        if any(owner.get("uid") == uid and owner.get("controller") for owner in owners):
            revision = _of_replica_set(each) if resource is REPLICA_SETS else _of_controller_revision(each)
            if revision is not None:
                found.append(revision)

    await read_list(api, partial(resource.path, namespace, None), take, begin_again=found.clear)
    return sorted(found, key=lambda revision: (revision.number, revision.name))


def _of_replica_set(obj: dict[str, Any]) -> Revision | None:
    annotations = obj["metadata"].get("annotations") or {}
    number = next((annotations[key] for key in REVISIONS if key in annotations), "")
    if not (number.isascii() and number.isdigit()):
        return None
    template: dict[str, Any] = obj["spec"]["template"]
    labels = (template.get("metadata") or {}).get("labels") or {}
    for label in _OF_A_REPLICA_SET:
        labels.pop(label, None)
    return Revision(int(number), obj["metadata"]["name"], template)


def _of_controller_revision(obj: dict[str, Any]) -> Revision | None:
    data = obj.get("data")
    spec = data.get("spec") if isinstance(data, dict) else None
    template = spec.get("template") if isinstance(spec, dict) else None
    if not isinstance(template, dict):
        return None
    template.pop("$patch", None)
    return Revision(int(obj.get("revision") or 0), obj["metadata"]["name"], template)
