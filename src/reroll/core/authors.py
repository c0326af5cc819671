"""Who changed a pod template, and was it a person's will?

Kubernetes keeps no record of who removed a field: an update that only removes fields takes none, and the server moves
no time in managedFields (k8s.io/apimachinery managedfields, `managedFieldsUpdater.Update`). So the author of a template
that went back is known where its entry moved, and is otherwise inferred from what was changed together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

PERSONS: Final = (
    "kubectl",
    "oc",
    "k9s",
    "node-fetch",  # Lens
    "Mozilla",  # a browser: the consoles of OpenShift and Rancher
    "dashboard",
    "headlamp",
    "reroll-rollback",  # the commands, not the controller
    "reroll-unversion",
    "argocd-controller",  # Argo CD writes a rollback and a sync under one name
)
"""Field managers by which a person works, each also with a hyphen and more after it (``kubectl-edit``). Where one of
them puts a pod template back, that stands."""

DEPLOYERS: Final = (
    "helm",
    "Helm",
    "argocd",
    "kustomize-controller",
    "helm-controller",
    "Terraform",
    "pulumi",
)
"""Field managers that write a template when somebody deploys, and not again and again. That they own it says nothing of
who put it back."""

UNDO: Final = "kubectl rollout undo"
"""What an undo of a Deployment is called: it puts the object's annotations back, too."""


class Wrote(NamedTuple):
    """One manager of fields of the pod template, other than reroll."""

    manager: str
    time: float
    """When it last changed any of its fields, in seconds since the epoch."""


class Author(NamedTuple):
    name: str
    """"": not known."""
    person: bool


def author(
    wrote: Sequence[Wrote], *, before: float | None, taken_back: bool | None, annotations_go_back: bool
) -> Author:
    """Who made the last change of a pod template.

    `before`: the newest time among `wrote` before the change, None where that is not known. `taken_back`: the record
    on the object's own metadata became an older one with it (True), or went away (None). `annotations_go_back`: an undo
    of this kind does that (Deployment).
    """
    newest = max(wrote, key=lambda each: each.time, default=None)
    if newest is not None and before is not None and newest.time > before:
        return Author(newest.manager, is_person(newest.manager))
    others = [
        each.manager for each in wrote if not is_person(each.manager) and not _is(each.manager, DEPLOYERS)
    ]
    if annotations_go_back:
        if taken_back:
            return Author(UNDO, True)
        if others:
            return Author(others[0], False)
        return Author(UNDO, True) if taken_back is None else Author("", False)
    if others:
        return Author(others[0], False)
    # An undo of a StatefulSet or DaemonSet leaves no trace at all: whoever wrote the template earlier is not named.
    return Author("", True)


def is_person(manager: str) -> bool:
    """Is this a field manager by which a person works?"""
    return _is(manager, PERSONS)


def _is(manager: str, names: Sequence[str]) -> bool:
    return any(manager == name or manager.startswith(f"{name}-") for name in names)
