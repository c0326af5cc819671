"""Label selectors, in the syntax of kubectl and the API: ``a=b,c!=d,e in (x,y),f notin (z),g,!h``."""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec import Struct

_SET = re.compile(r"(?P<key>[^\s!=,()]+)\s+(?P<op>in|notin)\s*\((?P<values>[^()]*)\)$")
_EQUAL = re.compile(r"(?P<key>[^\s!=,()]+)\s*(?P<op>==|=|!=)\s*(?P<value>[^\s!=,()]*)$")
_EXISTS = re.compile(r"(?P<no>!?)\s*(?P<key>[^\s!=,()]+)$")
_COMMA = re.compile(r",(?![^(]*\))")


class _Requirement(Struct, frozen=True):
    key: str
    values: frozenset[str] | None
    """None: any."""
    wanted: bool

    def holds(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        found = value is not None and (self.values is None or value in self.values)
        return found is self.wanted


class LabelSelector(Struct, frozen=True):
    """A parsed selector; all its requirements must hold. An empty one matches everything."""

    requirements: tuple[_Requirement, ...] = ()

    @classmethod
    def parse(cls, text: str) -> LabelSelector:
        """Raises ValueError that names the part that is not understood."""
        return cls(tuple(_requirement(part.strip()) for part in _COMMA.split(text) if part.strip()))

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(requirement.holds(labels) for requirement in self.requirements)


def _requirement(part: str) -> _Requirement:
    if found := _SET.match(part):
        values = frozenset(value.strip() for value in found["values"].split(","))
        return _Requirement(found["key"], values, found["op"] == "in")
    if found := _EQUAL.match(part):
        return _Requirement(found["key"], frozenset({found["value"]}), found["op"] != "!=")
    if found := _EXISTS.match(part):
        return _Requirement(found["key"], None, not found["no"])
    raise ValueError(
        f"label selector: {part!r} is not understood; write key=value, key!=value, key in (a,b), "
        f"key notin (a,b), key or !key, with commas between"
    )
