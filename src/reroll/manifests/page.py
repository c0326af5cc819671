"""The text of one document with its nodes, and which part of the text an edit replaces by what.

The places are those that the parser tells of its nodes (their marks). What comes out is compared with what was meant
by `reroll.manifests.edit`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import yaml

from reroll.manifests import yaml_text
from reroll.manifests.edits import Edit, Remove, Set, made
from reroll.manifests.scalar import double_quoted, scalar
from reroll.manifests.stream import Document
from reroll.manifests.yaml_text import Bad, Data, Path, child


class Span(NamedTuple):
    """`text[start:end]` becomes `new`."""

    start: int
    end: int
    new: str


_ALIAS = re.compile(r"[ \t]*:(?:[ \t\r\n]|#[^\n]*\n)*(\*[^\s,\[\]{}]+)")


class Page:
    """One text and its nodes."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.root = yaml_text.compose(text)
        self.newline = "\r\n" if "\r\n" in text else "\n"
        stripped = text.lstrip(" \t\r\n")
        self.json = stripped.startswith("{")
        self._repeated: set[int] | None = None

    def span(self, edit: Edit) -> Span | None:
        """What is to be replaced for this edit; None: nothing."""
        if self.root is None:
            raise Bad("there is nothing in it")
        above: yaml.Node | None = None
        node: yaml.Node = self.root
        self._only_here(node)
        for number, step in enumerate(edit.path):
            found = child(node, step)
            if found is None:
                if isinstance(edit, Remove):
                    return None
                # `made` has seen to it that what is missing are keys.
                value = edit.value
                for missing in reversed(edit.path[number + 1 :]):
                    value = {missing: value}
                assert isinstance(step, str)
                return self._inserted(above, node, edit.path[:number], step, value)
            place, below = found
            last = number + 1 == len(edit.path)
            if last and isinstance(edit, Remove):
                return self._removed(above, node, place, edit.path[:number])
            if self._aliased(node, place, below):
                value = yaml_text.plain(below)
                rest = edit.path[number + 1 :]
                if isinstance(edit, Remove) or rest:
                    holder = {"": value}
                    made(Document(self.text, "", 1), holder, edit._replace(path=("", *rest)))
                    value = holder[""]
                else:
                    value = edit.value
                return self._replaced(node, place, below, value)
            if last:
                assert isinstance(edit, Set)
                return self._replaced(node, place, below, edit.value)
            self._only_here(below)
            above, node = node, below
        return None

    # Anchors and aliases

    def _aliased(self, parent: yaml.Node, place: yaml.Node, node: yaml.Node) -> bool:
        """True if an alias stands here: then the node is the anchor's, which is further up."""
        if place is not node:
            return bool(node.start_mark.index < place.end_mark.index)
        at = parent.start_mark.index
        for item in parent.value:
            if item.start_mark.index < at:
                if item is node:
                    return True
                continue
            if item is node:
                return False
            at = item.start_mark.index + 1
        return False

    def _only_here(self, node: yaml.Node) -> None:
        if self._is_repeated(node):
            raise Bad("what stands here is repeated elsewhere by an alias, and would change there too")

    def _is_repeated(self, node: yaml.Node) -> bool:
        if "*" not in self.text or "&" not in self.text:
            return False
        if self._repeated is None:
            self._repeated = set()
            met: set[int] = set()
            waiting = [self.root]
            while waiting:
                one = waiting.pop()
                if one is None:
                    continue
                if id(one) in met:
                    self._repeated.add(id(one))
                    continue
                met.add(id(one))
                if type(one) is yaml.SequenceNode:
                    waiting += one.value
                elif type(one) is yaml.MappingNode:
                    waiting += [each for pair in one.value for each in pair]
        return id(node) in self._repeated

    # Where things end

    def _flow(self, node: yaml.Node) -> bool:
        return isinstance(node, yaml.CollectionNode) and bool(node.flow_style)

    def _end(self, parent: yaml.Node, place: yaml.Node, node: yaml.Node) -> int:
        """Where the content of a value ends: not after the comments and blank lines that follow it.

        `place` is its key, or itself where it is an item.
        """
        if self._aliased(parent, place, node):
            if place is node:
                raise Bad("an alias in a list stands here")
            return self._alias(place).end(1)
        if type(node) is yaml.ScalarNode:
            return int(node.end_mark.index)
        if self._flow(node):
            return int(node.end_mark.index)
        value = node.value
        if type(node) is yaml.MappingNode:
            key, held = value[-1]
            return max(self._end(node, key, held), self._colon(key, held))
        return self._end(node, value[-1], value[-1])

    def _alias(self, key: yaml.Node) -> re.Match[str]:
        found = _ALIAS.match(self.text, key.end_mark.index)
        if found is None:
            raise Bad("an alias in an unusual place stands here")
        return found

    def _colon(self, key: yaml.Node, value: yaml.Node) -> int:
        """The place after the colon that ends a key; the key's own end, where there is none (``{a}``)."""
        found = re.compile(r"[ \t]*:").match(self.text, key.end_mark.index)
        return found.end() if found else int(key.end_mark.index)

    def _line_end(self, index: int) -> int:
        """The end of the line that this place is in, before its line end; of a block scalar's end, that place."""
        if index and self.text[index - 1] == "\n":
            return index
        end = self.text.find("\n", index)
        if end < 0:
            return len(self.text)
        return end - 1 if end > index and self.text[end - 1] == "\r" else end

    def _line_start(self, index: int) -> int:
        return self.text.rfind("\n", 0, index) + 1

    def _step(self) -> int:
        """By how much the file indents mappings."""
        found = re.search(
            r"^[\w./\"'-]+:[ \t]*(?:#[^\n]*)?\r?\n(?:[ \t]*(?:#[^\n]*)?\r?\n)*( +)(?![ -])", self.text, re.M
        )
        return len(found[1]) if found else 2

    # Writing

    def _key(self, key: str, quoted: bool) -> str:
        return double_quoted(key) if quoted else scalar(key)

    def _inline(self, value: Data, quoted: bool) -> str:
        """A value on one line, as in flow style."""
        if isinstance(value, dict):
            return (
                "{"
                + ", ".join(f"{self._key(k, quoted)}: {self._inline(v, quoted)}" for k, v in value.items())
                + "}"
            )
        if isinstance(value, list):
            return "[" + ", ".join(self._inline(each, quoted) for each in value) + "]"
        return double_quoted(value) if quoted and isinstance(value, str) else scalar(value)

    def _block(self, value: Data, indent: int, step: int) -> str:
        """What follows a key's colon: a value on the same line, or lines below, without the last line end."""
        pad = self.newline + " " * indent
        if isinstance(value, dict) and value:
            return "".join(
                f"{pad}{self._key(k, False)}:{self._block(v, indent + step, step)}" for k, v in value.items()
            )
        if isinstance(value, list) and value:
            lines = []
            for each in value:
                if isinstance(each, dict) and each:
                    first = self._block(each, indent + 2, step)
                    lines.append(f"{pad}- {first[len(self.newline) + indent + 2 :]}")
                else:
                    lines.append(f"{pad}- {self._inline(each, False)}")
            return "".join(lines)
        return " " + self._inline(value, False)

    # The edits

    def _inserted(self, above: yaml.Node | None, node: yaml.Node, path: Path, key: str, value: Data) -> Span:
        """A new entry in the mapping `node`, which stands at `path` in `above`."""
        if type(node) is yaml.ScalarNode:
            # null: there is no mapping yet
            if above is None:
                raise Bad("there is nothing in it")
            found = child(above, path[-1])
            assert found is not None
            return self._replaced(above, found[0], node, {key: value})
        assert type(node) is yaml.MappingNode
        entries = node.value
        if any(k.tag == "tag:yaml.org,2002:merge" for k, _ in entries) and self._merges(node, key):
            raise Bad(f"{key} comes here by a merge (<<)")
        if self._flow(node):
            return self._inserted_in_flow(node, key, value)
        first = entries[0][0]
        indent = self._indent(first)
        key_last, held = entries[-1]
        end = self._line_end(max(self._end(node, key_last, held), self._colon(key_last, held)))
        entry = (
            f"{' ' * indent}{self._key(key, False)}:{self._block(value, indent + self._step(), self._step())}"
        )
        if end and self.text[end - 1] == "\n":
            return Span(end, end, entry + self.newline)
        return Span(end, end, self.newline + entry)

    def _merges(self, node: yaml.MappingNode, key: str) -> bool:
        merged = yaml_text.plain(node)
        return key in merged and isinstance(merged[key], dict | list)

    def _indent(self, first: yaml.Node) -> int:
        """The column of a block mapping's keys."""
        start = first.start_mark.index
        before = self.text[self._line_start(start) : start]
        if not re.fullmatch(r"[ ]*(?:-[ ]+)*", before):
            raise Bad("its keys are written in an unusual way")
        return len(before)

    def _inserted_in_flow(self, node: yaml.MappingNode, key: str, value: Data) -> Span:
        entries = node.value
        quoted = self.json or any(k.style == '"' for k, _ in entries)
        entry = f"{self._key(key, quoted)}: {self._inline(value, quoted)}"
        if not entries:
            opening = self.text.index("{", self._after_properties(node)) + 1
            inside = self.text[opening : node.end_mark.index - 1]
            return Span(opening, opening if inside.strip() else node.end_mark.index - 1, entry)
        key_last, held = entries[-1]
        end = max(self._end(node, key_last, held), self._colon(key_last, held))
        start = key_last.start_mark.index
        before = self.text[self._line_start(start) : start]
        between = ", " if before.strip() else f",{self.newline}{before}"
        return Span(end, end, between + entry)

    def _after_properties(self, node: yaml.Node) -> int:
        """The start of a node's content: past its anchor and tag."""
        at: int = node.start_mark.index
        while found := re.compile(r"[&!][^\s,\[\]{}]*(?:[ \t\r\n]|#[^\n]*\n)*").match(self.text, at):
            at = found.end()
        return at

    def _replaced(self, parent: yaml.Node, place: yaml.Node, node: yaml.Node, value: Data) -> Span:
        """Another value in place of `node`, whose key is `place` (of an item, itself)."""
        aliased = self._aliased(parent, place, node)
        if not aliased:
            self._only_below(node)
        item = place is node
        if aliased:
            if item:
                raise Bad("an alias in a list stands here")
            found = self._alias(place)
            start, end = found.span(1)
        else:
            start, end = int(node.start_mark.index), self._end(parent, place, node)
        if self._flow(parent):
            new = self._inline(value, self.json or self._quotes(node))
            if start == end:
                colon = start if item else self._colon(place, node)
                if item or colon == place.end_mark.index:
                    return Span(start, end, f" {new}" if item else f": {new}")
                return Span(colon, start if self.text[colon:start].isspace() else colon, f" {new}")
            return Span(start, end, new)
        # A block scalar, which may be the last of what is replaced, ends with its line: so does what comes there.
        tail = self.newline if start < end and self.text[end - 1] == "\n" else ""
        simple = not isinstance(value, dict | list) or not value
        if simple or (self._flow(node) and not aliased):
            new = self._inline(value, False)
            if isinstance(value, str) and type(node) is yaml.ScalarNode and not aliased:
                new = scalar(value, node.style or "")
            if start == end:
                return self._filled(item, place, node, f" {new}")
            if (
                not item
                and self._colon(place, node) <= start
                and "\n" in self.text[place.end_mark.index : start]
            ):
                # It stands on lines of its own below its key: what replaces it comes beside the key.
                return Span(self._colon(place, node), end, f" {new}{tail}")
            return Span(start, end, new + tail)
        if item:
            raise Bad("an item of a list becomes a collection")
        indent = self._indent(place) + self._step()
        new = self._block(value, indent, self._step())
        if start == end:
            return self._filled(item, place, node, new)
        return Span(self._colon(place, node), end, new + tail)

    def _filled(self, item: bool, place: yaml.Node, node: yaml.Node, new: str) -> Span:
        """A value where there is none: after the colon or the dash; lines of it below, past a comment."""
        at = int(node.start_mark.index) if item else self._colon(place, node)
        if new.startswith(self.newline):
            at = self._line_end(at)
        return Span(at, at, new)

    def _quotes(self, node: yaml.Node) -> bool:
        return type(node) is yaml.ScalarNode and node.style == '"'

    def _only_below(self, node: yaml.Node) -> None:
        """Nothing that is about to go may be what an alias elsewhere repeats."""
        if "*" not in self.text:
            return
        waiting = [node]
        while waiting:
            one = waiting.pop()
            self._only_here(one)
            if type(one) is yaml.SequenceNode:
                waiting += one.value
            elif type(one) is yaml.MappingNode:
                waiting += [each for pair in one.value for each in pair]

    def _removed(self, above: yaml.Node | None, node: yaml.Node, place: yaml.Node, path: Path) -> Span:
        """The entry whose key is `place`, or the item that it is, out of `node`, which stands at `path`."""
        entries: list[tuple[Any, Any]]
        mapping = type(node) is yaml.MappingNode
        entries = list(node.value) if mapping else [(each, each) for each in node.value]
        number = next(i for i, (key, _) in enumerate(entries) if key is place)
        key, held = entries[number]
        if not self._aliased(node, key, held):
            self._only_below(held)
        if len(entries) == 1:
            empty: Data = {} if type(node) is yaml.MappingNode else []
            if self._flow(node):
                start = self._after_properties(node)
                return Span(start, int(node.end_mark.index), "{}" if empty == {} else "[]")
            if above is None:
                return Span(int(node.start_mark.index), self._entry_end(node, key, held), "{}")
            found = child(above, path[-1])
            assert found is not None
            return self._replaced(above, found[0], node, empty)
        if self._flow(node):
            if number + 1 < len(entries):
                return Span(self._entry_start(key), self._entry_start(entries[number + 1][0]), "")
            before_key, before = entries[number - 1]
            return Span(self._entry_end(node, before_key, before), self._entry_end(node, key, held), "")
        return self._removed_lines(node, entries, number)

    def _entry_start(self, key: yaml.Node) -> int:
        return int(key.start_mark.index)

    def _entry_end(self, node: yaml.Node, key: yaml.Node, held: yaml.Node) -> int:
        end = self._end(node, key, held)
        return end if key is held else max(end, self._colon(key, held))

    def _removed_lines(self, node: yaml.Node, entries: Sequence[tuple[Any, Any]], number: int) -> Span:
        key, held = entries[number]
        start = self._entry_start(key)
        if key is held:
            dash = re.compile(r"-(?:[ \t]|\r?\n|#[^\n]*\n)*\Z").search(
                self.text, self._line_start(start), start
            )
            if dash is None:
                raise Bad("its items are written in an unusual way")
            start = dash.start()
        end = self._line_end(self._entry_end(node, key, held))
        before = self.text[self._line_start(start) : start]
        if before.strip(" "):
            # It begins on the line of a dash: the next one takes its place.
            if number:
                raise Bad("its layout is unusual")
            after = self._entry_start(entries[1][0])
            if key is held or "#" in self.text[end:after]:
                raise Bad("its layout is unusual")
            return Span(start, after, "")
        start = self._line_start(start)
        if end and self.text[end - 1] == "\n":
            return Span(start, end, "")
        following = self.text.find("\n", end)
        return Span(start, len(self.text) if following < 0 else following + 1, "")
