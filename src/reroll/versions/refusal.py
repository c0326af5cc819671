"""What is not done, because it would lose something or can't be told apart: in words for people."""

from __future__ import annotations


class Refused(Exception):
    """Nothing was written."""
