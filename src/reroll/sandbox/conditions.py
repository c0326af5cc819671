"""status.conditions, as all kinds have them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

Condition = dict[str, Any]


def find(conditions: Sequence[Condition] | None, type: str) -> Condition | None:
    """The condition of this type."""
    return next((condition for condition in conditions or () if condition.get("type") == type), None)


def is_true(obj: dict[str, Any], type: str) -> bool:
    """True if an object has this condition with status True."""
    condition = find(obj.get("status", {}).get("conditions"), type)
    return condition is not None and condition.get("status") == "True"


def put(
    conditions: Sequence[Condition],
    type: str,
    status: str,
    reason: str,
    message: str,
    timestamp: str,
    *,
    updated: bool = False,
) -> list[Condition]:
    """The conditions with this one. Its lastTransitionTime stays while its status does; `updated`: it has a
    lastUpdateTime too, as those of a Deployment, which moves."""
    before = find(conditions, type)
    made: Condition = {"type": type, "status": status}
    if updated:
        made["lastUpdateTime"] = timestamp
    kept = before is not None and before.get("status") == status
    made["lastTransitionTime"] = before["lastTransitionTime"] if before and kept else timestamp
    made |= {"reason": reason} if reason else {}
    made |= {"message": message} if message else {}
    return [*(condition for condition in conditions if condition is not before), made]


def seconds(timestamp: str | None) -> float:
    """Seconds since the epoch of an API timestamp; 0.0 for none."""
    return datetime.fromisoformat(timestamp).timestamp() if timestamp else 0.0
