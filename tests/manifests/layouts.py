"""Random YAML as people write it: for properties of what edits its text."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

KEYS = st.sampled_from(["a", "b", "annotations", "metadata", "spec", "x-y", "e.f/g", "é", "😀", "name"])
WORDS = st.sampled_from(
    ["", "x", "1", "true", "null", "a b", "it's", "a: b", "# no", "é😀", "2024-01-01", "- z", "a\nb\n"]
)
SCALARS = st.one_of(WORDS, st.integers(-5, 5), st.booleans(), st.none(), st.sampled_from([1.5, -0.25]))


def values(depth: int = 3) -> st.SearchStrategy[Any]:
    if not depth:
        return SCALARS
    below = values(depth - 1)
    return st.one_of(SCALARS, st.dictionaries(KEYS, below, max_size=4), st.lists(below, max_size=3))


MAPPINGS = st.dictionaries(KEYS, values(), min_size=1, max_size=5)


@st.composite
def written(draw: st.DrawFn) -> tuple[dict[str, Any], str]:
    """(a mapping, a text of it)."""
    value = draw(MAPPINGS)
    writer = _Writer(draw)
    text = writer.prologue() + writer.mapping(value, 0, draw(st.integers(2, 4)))
    if draw(st.booleans()):
        text += "# the end\n"
    if draw(st.booleans()) and text.endswith("\n") and not writer.keeps:
        text = text[:-1]
    if draw(st.booleans()):
        text = text.replace("\n", "\r\n")
    return value, text


class _Writer:
    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.keeps = False

    def one(self, *choices: Any) -> Any:
        return self.draw(st.sampled_from(choices))

    def text(self, *choices: str) -> str:
        return self.draw(st.sampled_from(choices))

    def prologue(self) -> str:
        return self.text("", "---\n", "# top 😀\n---\n", "--- # first\n\n")

    def gap(self, indent: int) -> str:
        return self.text("", "", "", "\n", " " * indent + "# é comment\n")

    def tail(self) -> str:
        return self.text("", "", "", "  # tail 😀", " ")

    def mapping(self, value: dict[str, Any], indent: int, step: int, lead: str = "") -> str:
        text = ""
        for key, held in value.items():
            text += (
                (lead or self.gap(indent) + " " * indent)
                + self.key(key)
                + ":"
                + self.value(held, indent, step)
            )
            lead = ""
        return text

    def key(self, key: str) -> str:
        return self.text(key, key, json.dumps(key, ensure_ascii=False), f"'{key}'")

    def value(self, value: Any, indent: int, step: int) -> str:
        """What follows a key."""
        if isinstance(value, dict | list) and value and self.one(True, True, False):
            text = self.tail() + "\n"
            if isinstance(value, dict):
                return text + self.mapping(value, indent + step, step)
            return text + self.items(value, self.one(indent, indent + step), step)
        if isinstance(value, str) and value.endswith("\n") and self.one(True, False):
            pad = " " * (indent + step)
            self.keeps = True
            return " |\n" + "".join(f"{pad}{line}\n" for line in value[:-1].split("\n")) + self.text("", "\n")
        shown = self.flow(value)
        return (f" {shown}" if shown else "") + self.tail() + "\n"

    def items(self, value: list[Any], indent: int, step: int) -> str:
        text = ""
        for each in value:
            lead = self.gap(indent) + " " * indent + "-"
            if isinstance(each, dict) and each and self.one(True, True, False):
                text += self.mapping(each, indent + 2, step, lead + " ")
            else:
                shown = self.flow(each)
                text += lead + (f" {shown}" if shown else "") + self.tail() + "\n"
        return text

    def flow(self, value: Any) -> str:
        if isinstance(value, dict):
            space = self.text("", " ")
            comma = self.text(", ", ",") if value else ""
            inner = comma.join(f"{self.key(k)}: {self.flow(v) or 'null'}" for k, v in value.items())
            return "{" + space + inner + space + "}"
        if isinstance(value, list):
            return "[" + ", ".join(self.flow(v) or "~" for v in value) + "]"
        if value is None:
            return self.text("", "null", "~")
        if isinstance(value, str):
            quoted = json.dumps(value, ensure_ascii=False)
            single = "'" + value.replace("'", "''") + "'"
            plain = value if value in ("x", "a b", "it's", "é😀") else quoted
            return self.text(quoted, plain, quoted if "\n" in value else single)
        return json.dumps(value)
