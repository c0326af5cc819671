"""The scale subresource: ``autoscaling/v1`` Scale, a small object made of a few fields of the workload.

Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#scale-subresource
"""

from __future__ import annotations

from typing import Any, TypeAlias

from reroll.sandbox.kinds import DEPLOYMENT, REPLICA_SET, STATEFUL_SET
from reroll.sandbox.served import Served
from reroll.sandbox.storage import Object, copied

Json: TypeAlias = dict[str, Any]


def scale_of(served: Served, obj: Object) -> Json:
    """The Scale of a workload."""
    spec_path, status_path, selector_path = served.scale_paths
    meta = obj["metadata"]
    status: Json = {"replicas": _look(obj, status_path) or 0}
    if served.kind in (DEPLOYMENT, REPLICA_SET, STATEFUL_SET):
        labels = (obj["spec"].get("selector") or {}).get("matchLabels") or {}
        status["selector"] = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
    elif selector_path and _look(obj, selector_path):
        status["selector"] = _look(obj, selector_path)
    wanted = _look(obj, spec_path)
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: meta[key] for key in kept if key in meta},
        "spec": {"replicas": wanted} if wanted else {},
        "status": status,
    }


def scaled(served: Served, obj: Object, scale: Json) -> Object:
    """A workload as a Scale wants it; the Scale's resourceVersion and uid are conditions."""
    made: Object = copied(obj)
    here = made
    *parents, last = served.scale_paths[0].removeprefix(".").split(".")
    for part in parents:
        here = here.setdefault(part, {})
    here[last] = (scale.get("spec") or {}).get("replicas", 0)
    given = scale.get("metadata") or {}
    for field in ("resourceVersion", "uid"):
        made["metadata"].pop(field, None)
        if given.get(field):
            made["metadata"][field] = given[field]
    return made


def _look(obj: Object, path: str) -> Any:
    here: Any = obj
    for part in path.removeprefix(".").split("."):
        here = here.get(part) if isinstance(here, dict) else None
    return here
