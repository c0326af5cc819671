"""`kubectl rollout undo`, done as kubectl does it."""

from __future__ import annotations

from typing import Any

import pytest

from reroll.demo.observer import REVISION
from reroll.demo.undo import undo_patch

Object = dict[str, Any]


def replica_set(name: str, revision: int, **annotations: str) -> Object:
    return {
        "metadata": {
            "name": name,
            "ownerReferences": [{"uid": "d"}],
            "annotations": {REVISION: str(revision)} | annotations,
        },
        "spec": {
            "template": {"metadata": {"labels": {"app": "web", "pod-template-hash": name}}, "spec": name}
        },
    }


DEPLOYMENT: Object = {
    "metadata": {
        "name": "web",
        "uid": "d",
        "annotations": {REVISION: "3", "reroll.dev/applied": "new", "mine": "x"},
    }
}


def test_template_and_annotations_of_the_revision_before() -> None:
    sets = [
        replica_set("c", 3),
        replica_set("a", 1),
        replica_set(
            "b", 2, **{"reroll.dev/applied": "old", "deployment.kubernetes.io/desired-replicas": "9"}
        ),
    ]
    template, annotations = undo_patch(DEPLOYMENT, sets)
    assert template == {
        "op": "replace",
        "path": "/spec/template",
        "value": {"metadata": {"labels": {"app": "web"}}, "spec": "b"},
    }
    assert annotations["path"] == "/metadata/annotations"
    assert annotations["value"] == {REVISION: "3", "reroll.dev/applied": "old"}
    assert sets[2]["spec"]["template"]["metadata"]["labels"]["pod-template-hash"] == "b", (
        "what was read is not changed"
    )


def test_no_earlier_revision() -> None:
    with pytest.raises(ValueError, match="no earlier revision"):
        undo_patch(DEPLOYMENT, [replica_set("a", 1)])
