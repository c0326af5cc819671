"""The parts that the patches of all modes are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from reroll.core.records import WorkloadRecord


def timestamp(seconds: float) -> str:
    """A time as the API server writes it."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


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
