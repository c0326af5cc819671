"""The parts that the patches of all modes are made of, and who wrote an annotation when."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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


def owner_of(managed_fields: Iterable[Mapping[str, Any]], annotation: str) -> tuple[str, str]:
    """The field manager that wrote an annotation, and the server's time of its last write, by metadata.managedFields;
    ("", "") where that does not tell."""
    for entry in managed_fields:
        fields = (entry.get("fieldsV1") or {}).get("f:metadata") or {}
        if f"f:{annotation}" in (fields.get("f:annotations") or {}):
            return str(entry.get("manager", "")), str(entry.get("time", ""))
    return "", ""


def written_at(managed_fields: Iterable[Mapping[str, Any]], annotation: str) -> str:
    """The server's time of the last write by the field manager of an annotation; "" where that can't be told."""
    return owner_of(managed_fields, annotation)[1]
