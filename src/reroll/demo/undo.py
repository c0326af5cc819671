"""What `kubectl rollout undo deployment/NAME` does, done the same way.

It replaces the whole pod template and the whole annotations of the Deployment by those of the ReplicaSet
before the current one, so that also what reroll had recorded goes back to what it was then. Source:
k8s.io/kubectl pkg/polymorphichelpers/rollback.go.
"""

from __future__ import annotations

import copy
from typing import Any

from reroll.demo.observer import REVISION, Object, owned, revision_of

_KEPT = frozenset(
    {
        "kubectl.kubernetes.io/last-applied-configuration",
        REVISION,
        "deployment.kubernetes.io/revision-history",
        "deployment.kubernetes.io/desired-replicas",
        "deployment.kubernetes.io/max-replicas",
        "deprecated.deployment.rollback.to",
    }
)
"""Annotations that stay the Deployment's own."""


def undo_patch(deployment: Object, replica_sets: list[Object]) -> list[dict[str, Any]]:
    """The JSON patch. Raises ValueError when there is no revision to go back to."""
    history = sorted(owned(replica_sets, deployment), key=revision_of)
    if len(history) < 2:
        raise ValueError(f"deployment/{deployment['metadata']['name']} has no earlier revision to go back to")
    earlier = history[-2]
    template = copy.deepcopy(earlier["spec"]["template"])
    template.get("metadata", {}).get("labels", {}).pop("pod-template-hash", None)
    theirs = earlier["metadata"].get("annotations") or {}
    ours = deployment["metadata"].get("annotations") or {}
    annotations = {key: value for key, value in ours.items() if key in _KEPT}
    annotations |= {key: value for key, value in theirs.items() if key not in _KEPT}
    return [
        {"op": "replace", "path": "/spec/template", "value": template},
        {"op": "replace", "path": "/metadata/annotations", "value": annotations},
    ]
