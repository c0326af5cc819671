"""metadata.managedFields, moved by the API server's own rule.

An update gives its manager the fields that it added or changed, and takes removed fields away from everybody. The time
of the manager's entry moves only if the update gave it a field: one that only removes fields moves no time
(`managedFieldsUpdater.Update` of structured-merge-diff's caller in apimachinery).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Path = tuple[str, ...]
Entries = dict[str, tuple[frozenset[Path], str]]
"""Manager -> the fields it has, and the time of its entry."""

_OF_METADATA = ("labels", "annotations")
_BY_NAME = ("containers", "env")
_NOT_TRACKED = ("apiVersion", "kind", "metadata")


def leaves(value: Mapping[str, Any], *, status: bool = False) -> dict[Path, Any]:
    """The fields of an object that managers own. Lists count as one field each, but for those of containers and their
    variables, whose items have names; `status`: it counts, too."""
    found: dict[Path, Any] = {}
    for name in _OF_METADATA:
        _add(found, ("metadata", name), value["metadata"].get(name) or {})
    for name, content in value.items():
        if name not in _NOT_TRACKED and (status or name != "status"):
            _add(found, (name,), content)
    return found


def _add(found: dict[Path, Any], at: Path, value: Any) -> None:
    if isinstance(value, dict):
        for name, content in value.items():
            _add(found, (*at, name), content)
    elif at[-1] in _BY_NAME and isinstance(value, list):
        for item in value:
            _add(found, (*at, item["name"]), item)
    else:
        found[at] = value


def updated(
    entries: Entries, before: Mapping[Path, Any], after: Mapping[Path, Any], manager: str, time: str
) -> Entries:
    """The entries after `manager` made `after` of `before`."""
    removed = before.keys() - after.keys()
    taken = frozenset(path for path, value in after.items() if path not in before or before[path] != value)
    found = entries
    if removed:
        found = {name: (owned - removed, when) for name, (owned, when) in entries.items() if owned - removed}
    if not taken:
        return found
    owned = found[manager][0] if manager in found else frozenset()
    return {**found, manager: (owned | taken, time)}


def as_json(entries: Entries) -> list[dict[str, Any]]:
    """metadata.managedFields."""
    return [
        {
            "manager": manager,
            "operation": "Update",
            "apiVersion": "v1",
            "time": time,
            "fieldsType": "FieldsV1",
            "fieldsV1": _nested(owned),
        }
        for manager, (owned, time) in entries.items()
    ]


def _nested(paths: frozenset[Path]) -> dict[str, Any]:
    top: dict[str, Any] = {}
    for path in sorted(paths):
        at = top
        for name in path:
            at = at.setdefault(f"f:{name}", {})
    return top
