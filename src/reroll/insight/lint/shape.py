"""Data of any shape, read as if it had the right one: lint never raises on what people write."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from reroll.manifests.yaml_text import Path


def mapping(value: object) -> dict[Any, Any]:
    """The mapping, or an empty one."""
    return value if isinstance(value, dict) else {}


def text(value: object) -> str:
    """The string, or an empty one."""
    return value if isinstance(value, str) else ""


def entries(value: object) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number, item) of those items of a list that are mappings."""
    for number, item in enumerate(value if isinstance(value, list) else ()):
        if isinstance(item, dict):
            yield number, item


def strings(value: object) -> dict[str, str]:
    """Those entries of a mapping that are strings under strings: annotations as the API has them."""
    return {k: v for k, v in mapping(value).items() if isinstance(k, str) and isinstance(v, str)}


def at(value: object, path: Path) -> Any:
    """What stands at a path; None where nothing does."""
    for step in path:
        if isinstance(value, dict) and isinstance(step, str):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and 0 <= step < len(value):
            value = value[step]
        else:
            return None
    return value
