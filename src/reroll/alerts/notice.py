"""What there is to tell of one workload. It holds names and reasons; nothing in it is content of a config object."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from reroll.core.records import ConfigId, WorkloadId

Outcome: TypeAlias = Literal["reloaded", "failed", "refused"]


class Notice(Struct, frozen=True):
    """One workload was reloaded, could not be, or must not be."""

    workload: WorkloadId
    outcome: Outcome
    configs: tuple[ConfigId, ...] = ()
    """The config objects that changed."""
    reason: str = ""
    """Why, for people: a `Decision.reason`, or the message of an `ApiError`. Shown where it was not reloaded."""
    at: float = 0.0
    """When, in seconds since the epoch."""
