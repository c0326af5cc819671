"""Reloader's regular expressions, as items of `reroll.dev/follow`, which has names and globs.

Most expressions that people write are names with ``.*`` or a choice in them, and these have an equal. The others do
not: they are left as they are. What is made here matches exactly the names that the expression matches
(`tests/insight/migrate/test_patterns.py` compares), but for ``kube-root-ca.crt``, which no pattern means.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from reroll.core.consumption import UNMEANT
from reroll.core.selector import NAME

MOST: Final = 20
"""Items that one expression may become; more are harder to read than the expression."""

_GLOB: Final = re.compile(r"(?:[-.a-z0-9*?]|\[!?[-.a-z0-9]+\]){1,253}")
_CLASS: Final = re.compile(r"\[(?P<not>\^?)(?P<set>(?:[a-z]-[a-z]|[0-9]-[0-9]|[a-z0-9.])+)\]")
_TIMES: Final = re.compile(r"\{([0-9]{1,2})\}")
_ESCAPES: Final = {".": ".", "-": "-", "d": "[0-9]", "w": "[a-z0-9]"}


class _NoEqual(Exception):
    """The expression says something that globs can't."""


def as_items(pattern: str) -> tuple[str, ...] | None:
    """The names and globs that together match what an expression of `reroll.core.name_regex` matches, sorted as they
    stand in it; None: there are none that do."""
    try:
        reader = _Reader(pattern)
        variants = reader.choice()
        if reader.at != len(pattern):
            raise _NoEqual
    except _NoEqual:
        return None
    found = []
    for one in dict.fromkeys(variants):
        if one in UNMEANT:
            continue
        if re.search(r"[*?\[]", one) is None:
            if NAME.fullmatch(one):
                found.append(one)
        elif _GLOB.fullmatch(one):
            found.append(one)
        else:
            return None
    return tuple(found)


class _Reader:
    """Recursive descent over an expression; each method gives all variants of what it read."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.depth = 0

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def choice(self) -> list[str]:
        found = self.sequence()
        while self.peek() == "|":
            self.at += 1
            found = _few([*found, *self.sequence()])
        return found

    def sequence(self) -> list[str]:
        found = [""]
        if not self.depth and self.peek() == "^":
            self.at += 1
        while self.peek() not in ("", "|", ")"):
            if not self.depth and self.peek() == "$" and self.text[self.at + 1 : self.at + 2] in ("", "|"):
                self.at += 1
                break
            after = self.repeated()
            found = _few([one + other for one in found for other in after])
        return found

    def repeated(self) -> list[str]:
        atom = self.atom()
        sign = self.peek()
        if sign in ("*", "+") and atom == ["?"]:
            self.at += 1
            atom = ["*"] if sign == "*" else ["?*"]
        elif sign == "?":
            self.at += 1
            atom = [*atom, ""]
        elif (times := _TIMES.match(self.text, self.at)) is not None:
            self.at = times.end()
            found = [""]
            for _ in range(int(times[1])):
                found = _few([one + other for one in found for other in atom])
            atom = found
        else:
            if sign in ("*", "+", "{"):
                raise _NoEqual
            return atom
        if self.peek() == "?":
            self.at += 1  # the lazy form of a repetition matches the same names
        if self.peek() in ("*", "+", "?", "{"):
            raise _NoEqual
        return atom

    def atom(self) -> list[str]:
        char = self.peek()
        self.at += 1
        if char == ".":
            return ["?"]
        if char == "(":
            return self.group()
        if char == "\\":
            escaped = _ESCAPES.get(self.peek())
            if escaped is None:
                raise _NoEqual
            self.at += 1
            return [escaped]
        if char == "[":
            return [self.char_class()]
        if char and char in "-abcdefghijklmnopqrstuvwxyz0123456789":
            return [char]
        raise _NoEqual

    def group(self) -> list[str]:
        if self.text.startswith("?:", self.at):
            self.at += 2
        elif self.peek() == "?":
            raise _NoEqual
        self.depth += 1
        if self.depth > 10:
            raise _NoEqual
        found = self.choice()
        if self.peek() != ")":
            raise _NoEqual
        self.at += 1
        self.depth -= 1
        return found

    def char_class(self) -> str:
        match = _CLASS.match(self.text, self.at - 1)
        if match is None or any(low > high for low, high in re.findall(r"(.)-(.)", match["set"])):
            raise _NoEqual
        self.at = match.end()
        return f"[{'!' if match['not'] else ''}{match['set']}]"


def _few(variants: Iterable[str]) -> list[str]:
    found = list(dict.fromkeys(variants))
    if len(found) > MOST or any(len(one) > 253 for one in found):
        raise _NoEqual
    return found
