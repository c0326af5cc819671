"""Durations as people write them in annotations and flags: ``500ms``, ``1s``, ``1m30s``, ``2h``, ``0``.

The notation is that of Go, which Kubernetes users know, without the units below a millisecond and without
signs: nothing in reroll waits for less, or for a negative time.
"""

from __future__ import annotations

import re
from typing import Final

_UNITS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(h|ms|m|s)")
_WHOLE: Final = re.compile(rf"(?:{_PART.pattern})+")


def parse_duration(text: str) -> float:
    """Seconds in `text`. Raises ValueError, in words for people.

    One or more numbers, each with its unit (``h``, ``m``, ``s``, ``ms``), are added up; ``0`` needs no unit. A
    number without a unit is refused rather than guessed at: ``30`` has meant seconds to some and minutes to others.
    """
    text = text.strip()
    if text == "0":
        return 0.0
    if not _WHOLE.fullmatch(text):
        hint = f"; write {text}s for seconds" if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) else ""
        raise ValueError(f"not a duration such as 500ms, 1s, 1m30s or 2h{hint}")
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))


def format_duration(seconds: float) -> str:
    """The shortest text that `parse_duration` reads back as `seconds`, to the millisecond: ``1m30s``, ``1s500ms``."""
    rest = round(max(0.0, seconds) * 1000)
    parts = []
    for unit, size in (("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0"
