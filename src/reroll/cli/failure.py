"""An error that ends a command."""

from __future__ import annotations


class Failure(Exception):
    """An error for the person at the terminal, in words; `code` becomes the exit code."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code
