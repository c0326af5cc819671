"""The mode `rollout`: change the pod template, and let the workload's own controller roll its pods.

One merge patch writes the record on the workload and the mark on its pod template together, so there is no
moment in which one says what the other does not. It carries the resourceVersion that the decision was made
on: if anything was written in between, the server answers 409, and the question is asked again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from reroll.core.applied import APPLIED, encode
from reroll.core.decide import Decision
from reroll.core.kinds import DEPLOYMENT, WorkloadKind
from reroll.core.marks import NATIVE, MarkStyle
from reroll.core.policy import Pause
from reroll.core.records import WorkloadRecord
from reroll.rollouts.paths import path as path
from reroll.rollouts.paths import resource as resource


def merge_patch(
    record: WorkloadRecord,
    decision: Decision,
    kind: WorkloadKind = DEPLOYMENT,
    style: MarkStyle = NATIVE,
    template: Mapping[str, Any] | None = None,
    pause: Pause | None = None,
) -> bytes:
    """The patch for a decision: the record alone (Adopt, Record), or the record and the mark (Roll), and that it is
    paused where its policy says so.

    Of a style that merges by name it is a strategic merge patch; for a kind that takes none, `template` is its
    whole pod template, and the patch holds all of what the mark is in.
    """
    if decision.applied is None:
        raise ValueError(f"a decision to {decision.kind.value} has nothing to write")
    annotations: dict[str, str | None] = {APPLIED: encode(decision.applied)}
    if decision.pause is not None and pause is not None:
        annotations[pause.annotation] = timestamp(decision.pause)
    body = on_top(record, annotations)
    if decision.pause is not None and pause is not None:
        place(body, ("spec", "paused"), True)
    if decision.mark is not None:
        if template is None:
            place(body, kind.template, style.patch(decision.mark, record.mark))
        else:
            place(body, kind.template, marked(template, decision.mark, style))
    return msgspec.json.encode(body)


def resume(record: WorkloadRecord, pause: Pause) -> bytes:
    """The patch that ends a pause."""
    return msgspec.json.encode(on_top(record, {pause.annotation: None}) | {"spec": {"paused": None}})


def timestamp(seconds: float) -> str:
    """A time as the API server writes it."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def marked(template: Mapping[str, Any], mark: str, style: MarkStyle) -> dict[str, Any]:
    """The parts of a whole pod template that change as the mark is put into it: a merge patch of it."""
    after = dict(template)
    style.put(after, mark)
    return {name: value for name, value in after.items() if value != template.get(name)}


def on_top(record: WorkloadRecord, annotations: Mapping[str, str | None]) -> dict[str, Any]:
    """A merge patch of a workload's own annotations, for the object that was decided on and no later one."""
    return {
        "metadata": {
            "resourceVersion": record.resource_version,
            "uid": record.uid,
            "annotations": dict(annotations),
        }
    }


def place(body: dict[str, Any], at: Sequence[str], value: object) -> None:
    """Put a value into a patch at this path of fields."""
    for name in at[:-1]:
        body = body.setdefault(name, {})
    body[at[-1]] = value
