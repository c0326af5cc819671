"""Times as the API server writes them: whole seconds, in RFC 3339."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache


@lru_cache(maxsize=4096)  # objects that were made together share their times
def epoch(timestamp: str | None) -> float:
    """Seconds since the epoch of an API timestamp such as ``2026-11-23T02:39:30Z``; 0.0 for none, a bad one,
    and one before the epoch."""
    if not timestamp:
        return 0.0
    try:
        return max(0.0, datetime.fromisoformat(timestamp).timestamp())
    except (ValueError, OverflowError):
        return 0.0


def timestamp(seconds: float) -> str:
    """A time as the API server writes it."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
