"""Pausing a Deployment as it is rolled (`reroll.dev/pause-period`), and ending that after a while.

A pause that a person has put there is never touched: `core.decide` tells the two apart by the annotation that says
since when reroll has it paused.
"""

from __future__ import annotations

from typing import Any

import msgspec

from reroll.core.decision import Decision
from reroll.core.policy import Pause
from reroll.core.records import WorkloadRecord
from reroll.modes.bodies import on_top, place, timestamp
from reroll.modes.mode import Mode, Patch, Subject


class Resume(Mode):
    """Ends a pause."""

    async def begin(self, subject: Subject, decision: Decision) -> Patch:
        """See `Mode`."""
        assert subject.policy.pause is not None, "it was paused"
        return Patch(resume(subject.record, subject.policy.pause))


def put(body: dict[str, Any], decision: Decision, pause: Pause | None) -> None:
    """Have the patch of a rollout pause the workload, where the decision says so."""
    if decision.pause is not None and pause is not None:
        body["metadata"]["annotations"][pause.annotation] = timestamp(decision.pause)
        place(body, ("spec", "paused"), True)


def resume(record: WorkloadRecord, pause: Pause) -> bytes:
    """The patch that ends a pause."""
    return msgspec.json.encode(on_top(record, {pause.annotation: None}) | {"spec": {"paused": None}})
