"""A pod template that a person points at other versions, or at its sources again. Pure.

Its mark goes with it. A mark stands for the content that pods read, and a controller that sees the mark change knows
that somebody else has started a rollout, which it then follows and records.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from reroll.core.applied import APPLIED
from reroll.core.kinds import WorkloadKind
from reroll.core.marks import MarkStyle
from reroll.core.pointing import Named, Template, named, pointed, to_sources
from reroll.dialects.marks import style_of
from reroll.versions.revisions import Revision


def template_of(kind: WorkloadKind, obj: Mapping[str, Any]) -> Template | None:
    """The pod template of a workload; None: it has none of its own (Argo Rollout, spec.workloadRef)."""
    found: Any = obj
    for field in kind.template:
        found = found.get(field) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else None


def style_in(kind: WorkloadKind, obj: Mapping[str, Any]) -> MarkStyle:
    """How the controller of this workload marks it."""
    recorded = (obj["metadata"].get("annotations") or {}).get(APPLIED)
    return style_of(msgspec.json.encode(template_of(kind, obj)), recorded)


def at_versions(
    template: Template, names: Mapping[Named, str], revisions: Sequence[Revision], style: MarkStyle
) -> Template:
    """The template with these versions. Where a revision had just these, it gets the mark of that, so that what is
    equal to it is that revision again; else none."""
    after = pointed(template, names)
    style.take(after)
    wanted = named(after)
    for revision in reversed(revisions):
        if named(revision.template) == wanted:
            mark = style.take(copy.deepcopy(revision.template))
            if mark is not None:
                style.put(after, mark)
            break
    return after


def at_sources(template: Template, style: MarkStyle) -> Template:
    """The template with its sources, without any mark."""
    after = copy.deepcopy(template)
    to_sources(after)
    style.take(after)
    return after


def replacement(
    kind: WorkloadKind,
    obj: Mapping[str, Any],
    template: Template,
    annotations: Mapping[str, str] | None = None,
) -> bytes:
    """A JSON patch that gives the workload this template, and annotations, as long as it is still the object that was
    read: else the server answers with a Conflict."""
    version = obj["metadata"]["resourceVersion"]
    operations: list[dict[str, Any]] = [
        {"op": "replace", "path": "/metadata/resourceVersion", "value": version},
        {"op": "replace", "path": "/".join(("", *kind.template)), "value": template},
    ]
    if annotations:
        present = obj["metadata"].get("annotations") or {}
        value = {**present, **annotations}
        operations.append({"op": "add", "path": "/metadata/annotations", "value": value})
    return msgspec.json.encode(operations)
