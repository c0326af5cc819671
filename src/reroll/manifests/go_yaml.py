"""YAML as the Go tools of Kubernetes write it, byte for byte: keys sorted, block style, lines folded after 80.

`kustomize build` turns each object into JSON and writes that with sigs.k8s.io/yaml. Who compares two outputs, or keeps
one in Git, must not see a difference that means nothing, so `reroll generate` writes the same. The rules here were
learned from that output:

* keys are in natural order (``a2`` before ``a10``, what is no letter before letters);
* text is plain where it means text to YAML 1.1 as well, else in double quotes; text of several lines is a literal
  block, unless a line ends in a space or it holds what can't be seen;
* lists are not indented below their key.

One thing is not followed: U+0085, U+2028 and U+2029 are line ends to Go's YAML, and come out as something else. Here
they are escaped, and stay.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from functools import cmp_to_key, lru_cache
from typing import Any, Final

_WIDTH: Final = 80
_SIMPLE_KEY: Final = 128
"""Bytes that a key may have to stand before a colon on its line."""

# fmt: off
_WORDS: Final = frozenset((
    "", "y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON", "n", "N", "no", "No", "NO",
    "false", "False", "FALSE", "off", "Off", "OFF", "~", "null", "Null", "NULL", ".nan", ".NaN", ".NAN",
    ".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf", "-.INF",
))
# fmt: on
_NUMBER_LIKE = re.compile(r"[-+.0-9]")
_INTEGER = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|[1-9][0-9]*|0)\Z")
_REAL = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_BASE_60 = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?\Z")
_TIMESTAMP = re.compile(
    r"(?P<year>[0-9]{4})-(?P<month>[0-9]{1,2})-(?P<day>[0-9]{1,2})"
    r"(?:(?P<between>[Tt ])(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{1,2}):(?P<second>[0-9]{1,2})"
    r"(?P<fraction>[.,][0-9]+)?(?P<zone>Z|[-+][0-9]{2}:[0-9]{2})?)?\Z"
)

_UNSEEN = re.compile("[^\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd]")
"""What is written as an escape, and line ends that are not those of Unix."""
_PLAIN = re.compile(r"[A-Za-z_/(<$^=;\\][A-Za-z0-9_./@%=+()*<>$,;^~!?\[\]{}&|'\"\\-]*\Z")
"""Text without a blank that can't be mistaken for a mark, if it is no word of `_WORDS`: nearly all there is."""
_OPENS: Final = frozenset("#,[]{}&*!|>'\"%@`")
_MARKS = re.compile(r":(?=[ \t]|\Z)|(?<=[ \t])#")
_ESCAPES: Final = {
    "\0": "0",
    "\a": "a",
    "\b": "b",
    "\t": "t",
    "\n": "n",
    "\v": "v",
    "\f": "f",
    "\r": "r",
    "\x1b": "e",
    '"': '"',
    "\\": "\\",
    "\x85": "N",
    "\xa0": "_",
    "\u2028": "L",
    "\u2029": "P",
}
_BREAK = re.compile("[\n\r\x85\u2028\u2029]")
_LETTERS_ONLY = re.compile(r"[A-Za-z]+\Z")


def dump(value: Mapping[str, Any]) -> str:
    """The text of one document. `value` is as decoded from JSON. Raises ValueError for an infinite number."""
    out: list[str] = []
    _mapping(out, _without_merges(value), 0, "")
    return "".join(out)


def _without_merges(value: Any) -> Any:
    """Without entries named ``<<``, which Go's YAML takes for merges though they be quoted, and drops."""
    if isinstance(value, dict):
        return {key: _without_merges(held) for key, held in value.items() if key != "<<"}
    if isinstance(value, list):
        return [_without_merges(held) for held in value]
    return value


def _mapping(out: list[str], value: Mapping[str, Any], indent: int, before: str) -> None:
    """`before` is what stands on the first line already (a dash), as wide as the indentation."""
    if not value:
        out.append(f"{before}{{}}\n")
        return
    margin = " " * indent
    lead = before or margin
    for key in ordered(value):
        held = value[key]
        if _BREAK.search(key) or len(key.encode("utf-8", "surrogatepass")) > _SIMPLE_KEY:
            out.append(f"{lead}? ")
            _scalar(out, key, indent + 1, indent + 2)
            lead = margin
            _value(out, held, f"{margin}:", indent, compact=True)
        else:
            _value(out, held, f"{lead}{_key(key)}:", indent, compact=False)
            lead = margin


def _value(out: list[str], held: Any, start: str, indent: int, *, compact: bool) -> None:
    """What follows a key. `compact`: after a key with a question mark, collections begin on the line of the colon."""
    if isinstance(held, dict):
        if compact or not held:
            _mapping(out, held, indent + 2, f"{start} ")
        else:
            out.append(f"{start}\n")
            _mapping(out, held, indent + 2, "")
    elif isinstance(held, list):
        if compact or not held:
            _sequence(out, held, indent + 2, f"{start} ")
        else:
            out.append(f"{start}\n")
            _sequence(out, held, indent, "")
    else:
        out.append(f"{start} ")
        _scalar(out, held, len(start), indent + 2)


def _sequence(out: list[str], value: Sequence[Any], indent: int, before: str) -> None:
    if not value:
        out.append(f"{before}[]\n")
        return
    margin = " " * indent
    lead = before or margin
    for item in value:
        if isinstance(item, dict):
            _mapping(out, item, indent + 2, f"{lead}- ")
        elif isinstance(item, list):
            _sequence(out, item, indent + 2, f"{lead}- ")
        else:
            out.append(f"{lead}- ")
            _scalar(out, item, len(lead) + 1, indent + 2)
        lead = margin


def _scalar(out: list[str], value: Any, column: int, indent: int) -> None:
    """A scalar and the end of its line. `column` is where the line is, before the blank that was written."""
    if not isinstance(value, str):
        out.append(f"{_other(value)}\n")
        return
    if "\n" in value:
        if value[-1] != " " and " \n" not in value and not _UNSEEN.search(value):
            _literal(out, value, indent)
            return
        text = _double(value, column + 1, indent)
    else:
        style = _style(value)
        if style == "":
            text = value if column + len(value) <= _WIDTH else _folded(value, column + 1, indent, "")
        elif style == "'":
            text = _folded(value.replace("'", "''"), column + 2, indent, "'")
        else:
            text = _double(value, column + 1, indent)
    out.append(f"{text}\n")


def _key(key: str) -> str:
    style = _style(key) if key else "'" if not _means_else(key) else '"'
    if style == "":
        return key
    return f"'{key.replace(chr(39), chr(39) * 2)}'" if style == "'" else _double(key, 0, -1)


@lru_cache(maxsize=16384)
def _style(text: str) -> str:
    """The quotes of a text on one line: none, single or double ones."""
    if _PLAIN.match(text):
        return '"' if text in _WORDS else ""
    if _UNSEEN.search(text) or _means_else(text):
        return '"'
    if text[0] == " " or text[-1] == " " or text[0] in _OPENS or text.startswith(("---", "...")):
        return "'"
    if text[0] in "-?" and (len(text) == 1 or text[1] == " "):
        return "'"
    return "'" if _MARKS.search(text) else ""


def _means_else(text: str) -> bool:
    """Whether plain text would not be text for YAML 1.1, or for those who read numbers in base 60."""
    if text in _WORDS:
        return True
    if not _NUMBER_LIKE.match(text):
        return False
    return meaning(text) != "text" or _BASE_60.match(text) is not None


def meaning(text: str) -> str:
    """What plain text that is none of YAML's words means to Go: text, integer, real, or timestamp."""
    if not _NUMBER_LIKE.match(text):
        return "text"
    if text[0] != ".":
        if timestamp(text) is not None:
            return "timestamp"
        text = text.replace("_", "")
        if _INTEGER.match(text) and -(1 << 63) <= integer(text) < 1 << 64:
            return "integer"
    return "real" if _REAL.match(text) and abs(float(text)) != float("inf") else "text"


def integer(text: str) -> int:
    """What `meaning` calls an integer; a leading zero is octal."""
    digits = text.replace("_", "").lower()
    sign = -1 if digits.startswith("-") else 1
    digits = digits.lstrip("+-")
    for prefix, base in (("0x", 16), ("0b", 2), ("0o", 8)):
        if digits.startswith(prefix):
            return sign * int(digits[2:], base)
    return sign * int(digits, 8 if len(digits) > 1 and digits[0] == "0" else 10)


def timestamp(text: str) -> str | None:
    """The time that plain text is to Go's YAML, as JSON has it; None: it is none."""
    found = _TIMESTAMP.match(text)
    if found is None:
        return None
    between, zone = found["between"], found["zone"]
    if (between == " " and zone) or (between in ("T", "t") and not zone):
        return None
    try:
        day = date(int(found["year"]), int(found["month"]), int(found["day"]))
    except ValueError:
        return None
    hour, minute, second = (int(found[part] or 0) for part in ("hour", "minute", "second"))
    if hour > 23 or minute > 59 or second > 59:
        return None
    fraction = (found["fraction"] or "")[1:10].rstrip("0")
    clock = f"{hour:02}:{minute:02}:{second:02}" + (f".{fraction}" if fraction else "")
    if zone is None or zone[1:] == "00:00":
        zone = "Z"
    elif zone != "Z" and (int(zone[1:3]) > 24 or int(zone[4:]) > 59):
        return None
    return f"{day:%Y-%m-%d}T{clock}{zone}".rjust(20, "0")


def _folded(text: str, column: int, indent: int, quote: str) -> str:
    """Plain or single-quoted text, broken at single blanks past the 80th column."""
    margin = "\n" + " " * indent
    parts: list[str] = []
    start = 0
    spaces = False
    for at, character in enumerate(text):
        if character != " ":
            spaces = False
            column += 1
            continue
        inside = not quote or 0 < at < len(text) - 1
        if not spaces and column > _WIDTH and inside and text[at + 1 : at + 2] != " ":
            parts += (text[start:at], margin)
            start, column = at + 1, indent
        else:
            column += 1
        spaces = True
    parts.append(text[start:])
    return f"{quote}{''.join(parts)}{quote}"


def _double(text: str, column: int, indent: int) -> str:
    """Double-quoted text; a negative `indent`: on one line."""
    all_of_it = text.startswith("\ufeff")  # as Go has it
    margin = "\n" + " " * indent
    parts = ['"']
    column += 1
    spaces = False
    for at, character in enumerate(text):
        if character == " " and not all_of_it:
            if indent >= 0 and not spaces and column > _WIDTH and 0 < at < len(text) - 1:
                parts.append(margin)
                column = indent
                if text[at + 1] == " ":
                    parts.append("\\")
                    column += 1
            else:
                parts.append(" ")
                column += 1
            spaces = True
            continue
        written = character
        if all_of_it or character in '"\\\n' or _UNSEEN.match(character):
            written = _escaped(character)
        parts.append(written)
        column += len(written)
        spaces = False
    parts.append('"')
    return "".join(parts)


def _escaped(character: str) -> str:
    if (known := _ESCAPES.get(character)) is not None:
        return f"\\{known}"
    code = ord(character)
    return f"\\x{code:02X}" if code <= 0xFF else f"\\u{code:04X}" if code <= 0xFFFF else f"\\U{code:08X}"


def _literal(out: list[str], value: str, indent: int) -> None:
    hint = "2" if value[0] in " \n" else ""
    chomp = "-" if value[-1] != "\n" else "+" if value[-2:] in ("\n", "\n\n") else ""
    margin = " " * indent
    out.append(f"|{hint}{chomp}\n")
    lines = value.split("\n")
    if not lines[-1]:
        lines.pop()
    out += [f"{margin}{line}\n" if line else "\n" for line in lines]


def _other(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and -(1 << 63) <= value < 1 << 64:
        return str(value)
    if isinstance(value, int | float):
        return _real(float(value))
    raise TypeError(f"{type(value).__name__} is nothing that JSON has")


def _real(value: float) -> str:
    """A real number after its way through JSON, in Go's shortest format. What is whole and fits is an integer again."""
    if value != value or abs(value) == float("inf"):
        raise ValueError("an infinite number, or none, can't be written: JSON has no such thing")
    shortest = Decimal(repr(value)).normalize()
    if value.is_integer() and -(1 << 63) <= shortest < 1 << 64:
        return str(int(shortest))
    _, digits, exponent = shortest.as_tuple()
    power = int(exponent) + len(digits) - 1
    if -4 <= power < 6:
        return f"{value:.{max(0, -int(exponent))}f}"
    whole, *fraction = map(str, digits)
    point = "." if fraction else ""
    return f"{'-' if value < 0 else ''}{whole}{point}{''.join(fraction)}e{'-' if power < 0 else '+'}{abs(power):02}"


def ordered(keys: Mapping[str, Any]) -> Iterator[str] | list[str]:
    """Keys in Go's natural order."""
    names = sorted(keys)
    if len(names) < 2 or all(map(_LETTERS_ONLY.match, names)):
        return names
    return sorted(names, key=_natural)


def _compare(one: str, other: str) -> int:
    for at, (a, b) in enumerate(zip(one, other, strict=False)):
        if a == b:
            continue
        letters = a.isalpha(), b.isalpha()
        if letters == (True, True):
            return -1 if a < b else 1
        if any(letters):
            return -1 if letters[1] else 1
        first, second = _digits(one, at), _digits(other, at)
        lead = 0
        if "0" in (a, b):
            back = at - 1
            while back >= 0 and one[back].isdecimal():
                if one[back] != "0":
                    lead = 1
                    break
                back -= 1
        numbers = int(f"{lead}{first}"), int(f"{lead}{second}")
        if numbers[0] != numbers[1]:
            return -1 if numbers[0] < numbers[1] else 1
        if len(first) != len(second):
            return -1 if len(first) < len(second) else 1
        return -1 if a < b else 1
    return len(one) - len(other)


def _digits(text: str, at: int) -> str:
    end = at
    while end < len(text) and text[end].isdecimal():
        end += 1
    return text[at:end]


_natural: Final[Callable[[str], Any]] = cmp_to_key(_compare)
