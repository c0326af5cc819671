"""One workload as the controller holds it: its record, and what follows from it."""

from __future__ import annotations

from msgspec import Struct

from reroll.core.policy import Policy
from reroll.core.progress import Progress
from reroll.core.records import Consumed, WorkloadRecord
from reroll.core.selector import Selector


class Entry(Struct, frozen=True, gc=False):
    """What follows from a record is derived once per change, not per question."""

    record: WorkloadRecord
    policy: Policy
    consumed: tuple[Consumed, ...]
    patterns: tuple[Selector, ...]
    progress: Progress | None = None
    """How far its rollout is, by its status; None where its kind doesn't show that."""
