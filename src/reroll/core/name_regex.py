"""Regular expressions over object names, matched in linear time.

Reloader's annotations hold regular expressions in Go's syntax (RE2), written by whoever may edit a workload.
Python's own `re` would let one of them, such as ``(a+)+b``, stall the controller for everybody, and it reads
some of Go's syntax differently. So the small part of RE2 that can say anything about a name is compiled here
to a set of states that is followed character by character: there is no backtracking to explode.

Names of ConfigMaps and Secrets are DNS subdomains: lower-case letters, digits, ``-`` and ``.``. A class of
characters is therefore a bit mask over 38 characters, and whatever can't occur in a name matches nothing.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from functools import lru_cache
from typing import Final, TypeVar

from msgspec import Struct

ALPHABET: Final = "-." + string.digits + string.ascii_lowercase
K = TypeVar("K")
V = TypeVar("V")

_BIT: Final = {char: 1 << i for i, char in enumerate(ALPHABET)}
_ALL: Final = (1 << len(ALPHABET)) - 1

MAX_LENGTH: Final = 512
MAX_DEPTH: Final = 50
MAX_SIZE: Final = 600
"""States of one expression, repetitions written out. ``[a-z0-9]{63}`` has 63."""
MAX_REPEAT: Final = 1000  # RE2's own limit
_MAX_CACHED: Final = 256


def _mask(chars: str) -> int:
    return sum(_BIT[char] for char in chars if char in _BIT)


_WORD: Final = _mask(string.digits + string.ascii_lowercase)
_CLASSES: Final = {"d": _mask(string.digits), "w": _WORD, "s": 0}
_POSIX: Final = {
    "alnum": _WORD,
    "alpha": _mask(string.ascii_lowercase),
    "ascii": _ALL,
    "blank": 0,
    "cntrl": 0,
    "digit": _mask(string.digits),
    "graph": _ALL,
    "lower": _mask(string.ascii_lowercase),
    "print": _ALL,
    "punct": _mask("-."),
    "space": 0,
    "upper": 0,
    "word": _WORD,
    "xdigit": _mask(string.digits + "abcdef"),
}


class RegexError(ValueError):
    """The expression is not valid RE2, or uses what can't be told of a name. The message says where."""


class _Chars(Struct, frozen=True):
    mask: int


class _Anchor(Struct, frozen=True):
    end: bool


class _Cat(Struct, frozen=True):
    parts: tuple[_Node, ...]


class _Alt(Struct, frozen=True):
    options: tuple[_Node, ...]


class _Repeat(Struct, frozen=True):
    node: _Node
    low: int
    high: int | None


_Node = _Chars | _Anchor | _Cat | _Alt | _Repeat


class _Parser:
    """Recursive descent over the expression."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.fold = False
        self.depth = 0

    def parse(self) -> _Node:
        node = self.alternatives()
        if self.at < len(self.text):
            raise self.error("an unmatched ')'")
        return node

    def error(self, what: str) -> RegexError:
        return RegexError(f"{what} at character {min(self.at, len(self.text)) + 1}")

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def take(self, expected: str) -> bool:
        if self.text.startswith(expected, self.at):
            self.at += len(expected)
            return True
        return False

    def alternatives(self) -> _Node:
        options = [self.sequence()]
        while self.take("|"):
            options.append(self.sequence())
        return options[0] if len(options) == 1 else _Alt(tuple(options))

    def sequence(self) -> _Node:
        parts: list[_Node] = []
        while (char := self.peek()) and char not in "|)":
            node = self.atom()
            if node is not None:
                parts.append(self.repeated(node))
        return _Cat(tuple(parts))

    def repeated(self, node: _Node) -> _Node:
        bounds = self.quantifier()
        if bounds is None:
            return node
        self.take("?")  # lazy or greedy: the same set of names
        before = self.at
        if self.quantifier() is not None:
            self.at = before
            raise self.error("a repetition of a repetition")
        return _Repeat(node, *bounds)

    def quantifier(self) -> tuple[int, int | None] | None:
        if self.take("*"):
            return 0, None
        if self.take("+"):
            return 1, None
        if self.take("?"):
            return 0, 1
        if self.peek() != "{":
            return None
        close = self.text.find("}", self.at)
        low, comma, high = self.text[self.at + 1 : max(close, self.at)].partition(",")
        if close < 0 or not _number(low) or (high and not _number(high)):
            raise self.error(
                "a '{' that begins no repetition such as {3} (a comma always begins the next item)"
            )
        bounds = int(low), int(low) if not comma else int(high) if high else None
        if bounds[0] > MAX_REPEAT or (bounds[1] is not None and not bounds[0] <= bounds[1] <= MAX_REPEAT):
            raise self.error("a repetition out of range")
        self.at = close + 1
        return bounds

    def atom(self) -> _Node | None:
        """One item, or None for a group that only sets flags."""
        char = self.peek()
        if char == "(":
            return self.group()
        if char == "[":
            return _Chars(self.char_class())
        if char in "*+?":
            raise self.error(f"nothing to repeat before '{char}'")
        if char in "{}":
            raise self.error(
                f"a '{char}' that belongs to no repetition such as {{3}} (a comma begins the next item)"
            )
        if char == "\\":
            return self.escape()
        self.at += 1
        if char == ".":
            return _Chars(_ALL)
        if char in "^$":
            return _Anchor(end=char == "$")
        return _Chars(_mask(char.lower() if self.fold else char))

    def group(self) -> _Node | None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.error("groups nested too deeply")
        fold = self.fold
        self.at += 1
        if self.take("?"):
            if self.take("P<") or (self.text[self.at + 1 : self.at + 2] not in ("=", "!") and self.take("<")):
                close = self.text.find(">", self.at)
                if close < 0 or not self.text[self.at : close].isidentifier():
                    raise self.error("a bad name of a group")
                self.at = close + 1
            elif not self.flags():
                self.depth -= 1
                return None  # (?i): the flag holds to the end of the surrounding group
        node = self.alternatives()
        if not self.take(")"):
            raise self.error("a missing ')'")
        self.fold = fold
        self.depth -= 1
        return node

    def flags(self) -> bool:
        """Read ``i:`` or ``i)`` after ``(?``; True if a group's content follows."""
        value = True
        while char := self.peek():
            self.at += 1
            if char in ":)":
                return char == ":"
            if char == "-" and value:
                value = False
            elif char == "i":
                self.fold = value
            elif char not in "msU":  # of no meaning for one name on one line
                self.at -= 1
                break
        raise self.error("a group that Go's regular expressions do not have")

    def escape(self) -> _Node:
        self.at += 1
        char = self.peek()
        self.at += 1
        if char in ("A", "z"):
            return _Anchor(end=char == "z")
        mask = self.escaped(char)
        return _Chars(mask)

    def escaped(self, char: str) -> int:
        """The characters that ``\\`` followed by `char` (already read) stands for."""
        if char and char.lower() in _CLASSES:
            mask = _CLASSES[char.lower()]
            return mask if char.islower() else _ALL & ~mask
        if char in ("a", "f", "n", "r", "t", "v"):
            return 0
        if char and char.isascii() and not char.isalnum():
            return _mask(char)
        self.at -= 1
        raise self.error(f"the escape \\{char}, which is not known here,")

    def char_class(self) -> int:
        self.at += 1
        negated = self.take("^")
        mask = 0
        first = True
        while first or self.peek() != "]":
            first = False
            if not self.peek():
                raise self.error("a missing ']'")
            mask |= self.class_item()
        self.at += 1
        return _ALL & ~mask if negated else mask

    def class_item(self) -> int:
        if self.take("[:"):
            negated = self.take("^")
            close = self.text.find(":]", self.at)
            name = self.text[self.at : max(close, self.at)]
            if name not in _POSIX:
                raise self.error("an unknown class of characters")
            self.at = close + 2
            mask = _POSIX["lower"] if self.fold and name == "upper" else _POSIX[name]
            return _ALL & ~mask if negated else mask
        low, mask = self.class_char()
        if low is None or self.peek() != "-" or self.text[self.at + 1 : self.at + 2] in ("]", ""):
            return mask
        self.at += 1
        high, _ = self.class_char()
        if high is None or high < low:
            raise self.error("a bad range of characters")
        return sum(
            bit
            for char, bit in _BIT.items()
            if low <= char <= high or (self.fold and low <= char.upper() <= high)
        )

    def class_char(self) -> tuple[str | None, int]:
        """(the character where it is a single one, its mask)."""
        char = self.peek()
        self.at += 1
        if char != "\\":
            return char, _mask(char.lower() if self.fold else char)
        char = self.peek()
        self.at += 1
        mask = self.escaped(char)
        return (None if char.isalnum() else char), mask


def _number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 9


def _size(node: _Node) -> int:
    """Upper bound of the states that `node` compiles to, repetitions written out."""
    match node:
        case _Cat(parts):
            return sum(map(_size, parts))
        case _Alt(options):
            return 1 + sum(map(_size, options))
        case _Repeat(inner, low, high):
            return (_size(inner) + 1) * max(1, low + 1 if high is None else high)
        case _:
            return 1


class NameRegex:
    """A compiled expression. The automaton is made as names are matched, and the most of it is kept."""

    __slots__ = ("_accepts", "_begin", "_next", "_program", "_steps")

    def __init__(self, pattern: str) -> None:
        if len(pattern) > MAX_LENGTH:
            raise RegexError(f"longer than {MAX_LENGTH} characters")
        node = _Parser(pattern).parse()
        if _size(node) > MAX_SIZE:
            raise RegexError("too large once its repetitions are written out")
        # State 0 is the match; every other is characters, an anchor or a fork, and leads to earlier ones or loops.
        self._program: list[_Chars | _Anchor | None] = [None]
        self._next: list[list[int]] = [[]]
        self._begin = 1 << self._build(node, 0)
        self._steps: dict[tuple[int, str], int] = {}
        self._accepts: dict[int, bool] = {}

    def fullmatch(self, name: str) -> bool:
        """True if the whole of `name` matches: each alternative too, unlike Reloader's ``^a|b$``."""
        states = self._begin
        first = True
        for char in name:
            key = (-1 if first else states, char)
            known = self._steps.get(key)
            if known is None:
                known = _remember(self._steps, key, self._step(states, char, first))
            if not known:
                return False
            states, first = known, False
        if first:
            return bool(self._closure(states, begin=True, end=True) & 1)
        accepts = self._accepts.get(states)
        if accepts is None:
            accepts = _remember(self._accepts, states, bool(self._closure(states, begin=False, end=True) & 1))
        return accepts

    def _step(self, states: int, char: str, first: bool) -> int:
        bit = _BIT.get(char, 0)
        result = 0
        for index in _members(self._closure(states, begin=first, end=False)):
            item = self._program[index]
            if isinstance(item, _Chars) and item.mask & bit:
                result |= 1 << self._next[index][0]
        return result

    def _closure(self, states: int, *, begin: bool, end: bool) -> int:
        """The states reached without reading a character."""
        seen = states
        pending = list(_members(states))
        while pending:
            index = pending.pop()
            item = self._program[index]
            if isinstance(item, _Chars) or (isinstance(item, _Anchor) and not (end if item.end else begin)):
                continue
            for target in self._next[index]:
                if not seen >> target & 1:
                    seen |= 1 << target
                    pending.append(target)
        return seen

    def _add(self, item: _Chars | _Anchor | None, targets: list[int]) -> int:
        self._program.append(item)
        self._next.append(targets)
        return len(self._program) - 1

    def _build(self, node: _Node, then: int) -> int:
        """Compile `node`, which goes on to state `then`; its first state."""
        match node:
            case _Cat(parts):
                for part in reversed(parts):
                    then = self._build(part, then)
                return then
            case _Alt(options):
                return self._add(None, [self._build(option, then) for option in options])
            case _Repeat(inner, low, high):
                if high is None:
                    after = self._add(None, [then])
                    self._next[after].append(self._build(inner, after))
                else:
                    after = then
                    for _ in range(high - low):
                        after = self._add(None, [then, self._build(inner, after)])
                for _ in range(low):
                    after = self._build(inner, after)
                return after
            case _Chars() | _Anchor():
                return self._add(node, [then])


def _remember(cache: dict[K, V], key: K, value: V) -> V:
    if len(cache) >= _MAX_CACHED:
        cache.clear()
    cache[key] = value
    return value


def _members(states: int) -> list[int]:
    """The numbers of the bits that are set."""
    found = []
    while states:
        low = states & -states
        found.append(low.bit_length() - 1)
        states ^= low
    return found


Matcher = Callable[[str], bool]


@lru_cache(maxsize=1024)
def compile_regex(pattern: str) -> Matcher:
    """A function that tells whether a whole name matches `pattern`; kept, for workloads are asked often.

    Raises RegexError.
    """
    return NameRegex(pattern).fullmatch
