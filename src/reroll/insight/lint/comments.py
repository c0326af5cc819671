"""Comments that tell lint to be silent: ``# reroll:ignore R101``."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

_COMMENT = re.compile(r"(?:^|\s)#+\s*reroll:ignore\b(?:[ \t]+(R\d+(?:[ \t,]+R\d+)*))?", re.IGNORECASE)
_ALONE = re.compile(r"\s*#")
_OPENING = re.compile(r"\s*(?:#.*)?\Z|---(?:[ \t]+#.*)?\s*\Z|%.*\Z")


class Ignored(NamedTuple):
    """What the comments of a text ignore. An empty set of rules is all of them."""

    head: tuple[frozenset[str], ...]
    """In the whole document."""
    lines: dict[int, frozenset[str]]
    """By the number of the line, from 0, on which it holds."""
    named: tuple[tuple[int, str], ...]
    """(line, rule) of every rule that a comment names."""

    def covers(self, rule: str, line: int) -> bool:
        """Is a finding of this rule on this line (from 0) ignored?"""
        at = self.lines.get(line)
        return any(not rules or rule in rules for rules in (*self.head, *(() if at is None else (at,))))


@lru_cache(maxsize=256)
def ignored(text: str) -> Ignored:
    """The comments of one document. One on a line of its own holds for the next line that is no comment; one before
    anything else of its document holds for all of it; any other for its line."""
    head: list[frozenset[str]] = []
    lines: dict[int, frozenset[str]] = {}
    named: list[tuple[int, str]] = []
    if "reroll:ignore" not in text.lower():
        return Ignored((), {}, ())
    waiting: frozenset[str] | None = None
    opening = True
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n")):
        match = _COMMENT.search(line)
        rules = frozenset((match[1] or "").upper().replace(",", " ").split()) if match is not None else None
        named += [(number, rule) for rule in sorted(rules or ())]
        opening = opening and _OPENING.match(line) is not None
        if opening:
            if rules is not None:
                head.append(rules)
            continue
        if _ALONE.match(line):
            if rules is not None:
                waiting = rules if waiting is None else _both(waiting, rules)
            continue
        if waiting is not None:
            rules = waiting if rules is None else _both(waiting, rules)
            waiting = None
        if rules is not None:
            lines[number] = rules
    return Ignored(tuple(head), lines, tuple(named))


def _both(one: frozenset[str], other: frozenset[str]) -> frozenset[str]:
    return one | other if one and other else frozenset()
