"""Numbers that may be percentages: maxSurge, maxUnavailable and partition."""

from __future__ import annotations

import math


def amount(value: int | str | None, total: int, default: int | str, *, up: bool) -> int:
    """A number of pods out of `total`, where `value` may be such as ``25%``; rounded `up` or down.

    None is `default`. Raises ValueError for what is neither.
    """
    value = default if value is None else value
    if isinstance(value, str) and value.endswith("%"):
        share = int(value[:-1]) * total
        return math.ceil(share / 100) if up else share // 100
    return int(value)
