"""The mode `rollout`: change the pod template, and let the workload's own controller roll its pods.

One merge patch writes the record on the workload and the mark on its pod template together, so there is no
moment in which one says what the other does not. It carries the resourceVersion that the decision was made
on: if anything was written in between, the server answers 409, and the question is asked again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from reroll.core.applied import APPLIED, encode
from reroll.core.decision import Decision
from reroll.core.kinds import DEPLOYMENT, WorkloadKind
from reroll.core.marks import NATIVE, MarkStyle
from reroll.core.policy import Pause
from reroll.core.records import WorkloadRecord
from reroll.kube.client import MERGE_PATCH, STRATEGIC_MERGE_PATCH
from reroll.modes import pause as pausing
from reroll.modes.bodies import on_top, place
from reroll.modes.mode import Mode, Outcome, Patch, Subject

_MERGED_BY_NAME = ("apps", "batch")  # groups of kinds that take a strategic merge patch


class Rollout(Mode):
    """Writes the record, and for a decision to roll the mark with it."""

    async def begin(self, subject: Subject, decision: Decision) -> Outcome:
        """See `Mode`."""
        template, content_type = None, MERGE_PATCH
        if subject.style.by_name and decision.mark is not None:
            if subject.kind.group in _MERGED_BY_NAME:
                content_type = STRATEGIC_MERGE_PATCH
            else:
                template = await subject.read()
                for name in subject.kind.template:
                    template = template[name]
        pause = subject.policy.pause
        body = merge_patch(subject.record, decision, subject.kind, subject.style, template, pause)
        return Patch(body, content_type)


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
    body = on_top(record, {APPLIED: encode(decision.applied)})
    pausing.put(body, decision, pause)
    if decision.mark is not None:
        if template is None:
            place(body, kind.template, style.patch(decision.mark, record.mark))
        else:
            place(body, kind.template, marked(template, decision.mark, style))
    return msgspec.json.encode(body)


def marked(template: Mapping[str, Any], mark: str, style: MarkStyle) -> dict[str, Any]:
    """The parts of a whole pod template that change as the mark is put into it: a merge patch of it."""
    after = dict(template)
    style.put(after, mark)
    return {name: value for name, value in after.items() if value != template.get(name)}
