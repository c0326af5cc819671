"""Numbers that the API, or whoever writes a custom kind's status, has as text."""

from __future__ import annotations

from typing import Final

_DIGITS: Final = 19  # of an int64, and far more than any counter comes to; int() refuses thousands of them


def whole_number(text: str) -> int:
    """A resourceVersion or a generation as a number; 0 where it is none. Never raises: ``"\u00b2".isdigit()`` holds."""
    return int(text) if len(text) <= _DIGITS and text.isascii() and text.isdecimal() else 0
