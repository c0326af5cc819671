"""What was given to simulate and can't be used."""

from __future__ import annotations

from typing import NamedTuple


class Origin(NamedTuple):
    """Where something was read: for messages."""

    file: str
    line: int = 0
    """From 1; 0 where there are no lines, such as of an option."""
    item: int = 0
    """Which item of a list, from 1, where all of them stand in one line; 0 elsewhere."""

    def __str__(self) -> str:
        line = f":{self.line}" if self.line else ""
        item = f" (item {self.item})" if self.item else ""
        return f"{self.file}{line}{item}"


class BadInput(ValueError):
    """The message names the file and line, says what is wrong and what is right, and quotes no value."""

    def __init__(self, origin: Origin, message: str) -> None:
        super().__init__(f"{origin}: {message}")
        self.origin = origin
