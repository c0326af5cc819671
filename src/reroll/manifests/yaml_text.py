"""The text of one YAML document as nodes with their places, and as plain data.

Below `stream` and `edit`. The C parser composes the nodes; what they mean is told here, and not by PyYAML:

* scalars mean what they mean to Kubernetes, whose tools read YAML with Go: a date is text, ``22:30`` is text and
  no number in base 60, ``=`` is nothing special, keys are text;
* a key that stands twice in one mapping is an error, where PyYAML takes the last in silence;
* aliases are followed once, and what they could multiply into is counted first: a few lines can mean billions;
* nesting that would overflow the C parser's stack is refused before the parser sees it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final, TypeAlias

import yaml

Path: TypeAlias = "tuple[str | int, ...]"
"""The way to a value inside a document: keys of mappings, numbers of items."""

Data: TypeAlias = Any
"""None, bool, int, float, str, and lists and dicts of them, whose keys are text: as decoded from JSON."""

STR: Final = "tag:yaml.org,2002:str"
_NULL: Final = "tag:yaml.org,2002:null"
_BOOL: Final = "tag:yaml.org,2002:bool"
_INT: Final = "tag:yaml.org,2002:int"
_FLOAT: Final = "tag:yaml.org,2002:float"
_MERGE: Final = "tag:yaml.org,2002:merge"
_BINARY: Final = "tag:yaml.org,2002:binary"
_MAP: Final = "tag:yaml.org,2002:map"
_SEQ: Final = "tag:yaml.org,2002:seq"

_TRUE: Final = frozenset(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"))
_FALSE: Final = frozenset(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"))
_NONE: Final = frozenset(("", "~", "null", "Null", "NULL"))
_INFINITE: Final = frozenset(
    sign + word for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")
) | frozenset((".nan", ".NaN", ".NAN"))
_WORDS: Final = frozenset((".inf", "+.inf", "-.inf", ".nan"))
_INTEGER = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO]?[0-7_]+|[1-9][0-9_]*|0)\Z")
_REAL = re.compile(r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?\Z")

_DEEP = 800
"""Levels of nesting that are read. Kubernetes' own schemas have under 30."""
_MANY_OPENINGS = 8_000
"""From so many opening brackets on, the depth is looked at first; a stack of 8 MiB holds more than 20,000."""
_SUSPECT = re.compile(r"(?:[-?:][ \t]+){500}|\n {4000}")

_MANY, _TIMES = 1_000_000, 10
"""A document must not be of so many values with its aliases written out, and so many times what it is without."""
_ENDLESS = 10**12
"""The size of what has an alias of itself in it."""


class Bad(Exception):
    """Something in one document's text; `index` counts characters of it, -1 where it is not known."""

    def __init__(self, message: str, index: int = -1) -> None:
        super().__init__(message)
        self.message = message
        self.index = index


class _Loader(yaml.CSafeLoader):
    """Composes nodes; the tags of plain scalars are told by `tag_of`."""

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        if kind is yaml.ScalarNode:
            return tag_of(value) if implicit[0] else STR
        return _MAP if kind is yaml.MappingNode else _SEQ

    def descend_resolver(self, current_node: Any, current_index: Any) -> None:
        """Tags by path are not used, and looking for them costs a third of the time."""

    def ascend_resolver(self) -> None:
        """As above."""


@lru_cache(maxsize=16384)
def tag_of(plain: str) -> str:
    """What a plain (unquoted) scalar means."""
    if not plain:
        return _NULL
    first = plain[0]
    if first.isalpha():
        if plain in _TRUE or plain in _FALSE:
            return _BOOL
        return _NULL if plain in _NONE else STR
    if first in "0123456789+-.":
        if _INTEGER.match(plain):
            return _INT
        if _REAL.match(plain) or plain in _INFINITE:
            return _FLOAT
        return STR
    if first == "~" and len(plain) == 1:
        return _NULL
    return _MERGE if plain == "<<" else STR


def compose(text: str) -> yaml.Node | None:
    """The root node of a text of one document; None where there is nothing in it.

    `text` has no byte order mark, and `index` of the marks counts its characters. Raises Bad.
    """
    if _SUSPECT.search(text) or text.count("{") + text.count("[") > _MANY_OPENINGS:
        _measure(text)
    loader: _Loader | None = None
    try:
        loader = _Loader(text)
        return loader.get_single_node()
    except (yaml.YAMLError, UnicodeEncodeError, RecursionError) as error:
        raise _bad(error, text) from None
    finally:
        if loader is not None:
            loader.dispose()


def _measure(text: str) -> None:
    """Raise Bad where the nesting is too deep to compose. Events come one by one, so any depth can be measured."""
    depth = 0
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > _DEEP:
                    raise Bad(f"is nested more than {_DEEP} levels deep", _index(event.start_mark))
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
    except (yaml.YAMLError, UnicodeEncodeError) as error:
        raise _bad(error, text) from None


def _index(mark: Any) -> int:
    return mark.index if mark is not None else -1


def _bad(error: Exception, text: str) -> Bad:
    """The parser's complaint, without what it quotes."""
    if isinstance(error, RecursionError):
        return Bad("is nested too deeply")
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = str(getattr(error, "problem", None) or getattr(error, "reason", None) or "it can't be parsed")
    index = -1
    if mark is not None:
        index = mark.index
    elif isinstance(position := getattr(error, "position", None), int):
        # The reader counts bytes.
        index = len(text.encode("utf-8", "replace")[:position].decode("utf-8", "ignore"))
    if problem.startswith("but found another document"):
        return Bad("holds several documents in one: are its lines ended by bare carriage returns?", index)
    if 0 <= index < len(text) and text[index] == "\t" and "token" in problem:
        return Bad("is not valid YAML: a tab can't be used for indentation, write spaces", index)
    if "alias" in problem:
        return Bad("is not valid YAML: an alias names an anchor that is not defined before it", index)
    words = re.sub(r"['\"].*['\"]", "...", problem)
    return Bad(f"is not valid YAML: {words}", index)


def plain(node: yaml.Node) -> Data:
    """What a node means. Raises Bad: duplicate keys, keys that are no scalars, aliases that multiply without end."""
    distinct: dict[int, int] = {}
    try:
        return _plain(node, {})
    except _Shared:
        pass
    except RecursionError:
        raise Bad("is nested too deeply", node.start_mark.index) from None
    try:
        size = _size(node, distinct)
        if size > max(_MANY, _TIMES * len(distinct)):
            raise Bad(
                f"repeats its {len(distinct)} values by aliases until they are more than {min(size, 10**9):,}",
                node.start_mark.index,
            )
        return _plain(node, None)
    except RecursionError:
        raise Bad("is nested too deeply", node.start_mark.index) from None


class _Shared(Exception):
    """An alias of a collection was met: count before going on."""


def _plain(node: yaml.Node, seen: dict[int, None] | None) -> Data:
    """`seen` holds the collections met so far, and ends all with `_Shared` at the first that is met again; None:
    the aliases are known to be harmless."""
    value = node.value
    if type(node) is yaml.ScalarNode:
        return value if node.tag == STR else _scalar(node)
    if seen is not None:
        if id(node) in seen:
            raise _Shared
        seen[id(node)] = None
    if type(node) is yaml.SequenceNode:
        return [
            each.value if type(each) is yaml.ScalarNode and each.tag == STR else _plain(each, seen)
            for each in value
        ]
    found: dict[str, Data] = {}
    merged: list[yaml.Node] = []
    for key_node, held in value:
        if type(key_node) is not yaml.ScalarNode:
            raise Bad("has a list or a mapping for a key", key_node.start_mark.index)
        if key_node.tag == STR:
            key = key_node.value
        elif key_node.tag == _MERGE:
            if merged:
                raise Bad("has the key << twice in one mapping", key_node.start_mark.index)
            merged.append(held)
            continue
        else:
            key = _key(key_node)
        if key in found:
            raise Bad(f"has the key {_shown(key)} twice in one mapping", key_node.start_mark.index)
        found[key] = held.value if type(held) is yaml.ScalarNode and held.tag == STR else _plain(held, seen)
    for source in merged:
        for given in source.value if type(source) is yaml.SequenceNode else (source,):
            if type(given) is not yaml.MappingNode:
                raise Bad("merges (<<) something that is no mapping", given.start_mark.index)
            for key, held in _plain(given, seen).items():
                found.setdefault(key, held)
    return found


def _shown(key: str) -> str:
    return key if len(key) <= 60 and key.isprintable() else "of this name"


def _key(node: yaml.ScalarNode) -> str:
    """Keys are text in JSON: numbers and booleans are written out."""
    if node.tag == _MERGE:
        return "<<"
    value = _scalar(node)
    if value is None:
        raise Bad("has null for a key", node.start_mark.index)
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _scalar(node: yaml.ScalarNode) -> Data:
    tag, value = node.tag, node.value
    try:
        if tag == _NULL:
            return None
        if tag == _BOOL:
            if value in _TRUE:
                return True
            if value in _FALSE:
                return False
            raise ValueError
        if tag == _INT:
            return _integer(value)
        if tag == _FLOAT:
            number = value.replace("_", "").lower()
            return float(number.replace(".", "") if number in _WORDS else number)
        if tag == _BINARY:
            import base64

            return base64.b64decode(value).decode()
    except ValueError:
        raise Bad("holds a value that does not fit its tag", node.start_mark.index) from None
    return value


def _integer(value: str) -> int:
    digits = value.replace("_", "").lower()
    sign = -1 if digits.startswith("-") else 1
    digits = digits.lstrip("+-")
    for prefix, base in (("0x", 16), ("0b", 2), ("0o", 8)):
        if digits.startswith(prefix):
            return sign * int(digits[2:], base)
    if len(digits) > 4000:
        raise ValueError
    return sign * int(digits, 8 if len(digits) > 1 and digits[0] == "0" else 10)


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """How many nodes there are below, counting what aliases repeat. `known` is of the nodes counted before."""
    found = known.get(id(node))
    if found is None:
        known[id(node)] = _ENDLESS
        found = 1
        if type(node) is yaml.SequenceNode:
            found += sum(_size(each, known) for each in node.value)
        elif type(node) is yaml.MappingNode:
            found += sum(_size(key, known) + _size(value, known) for key, value in node.value)
        known[id(node)] = found
    return found


def child(node: yaml.Node | None, step: str | int) -> tuple[yaml.Node, yaml.Node] | None:
    """The node one step below, with the node before which it stands (its key; of an item, itself)."""
    if type(node) is yaml.MappingNode and isinstance(step, str):
        for key, value in node.value:
            if type(key) is yaml.ScalarNode and (key.value if key.tag == STR else _key(key)) == step:
                return key, value
    elif type(node) is yaml.SequenceNode and isinstance(step, int) and 0 <= step < len(node.value):
        return node.value[step], node.value[step]
    return None
