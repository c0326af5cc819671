"""What ends the demo early."""

from __future__ import annotations


class DemoError(Exception):
    """The demo can't go on; the message says what is needed. `code` becomes the exit code."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


class StepFailed(Exception):
    """A step did not do what it says; the message is what was seen instead."""
