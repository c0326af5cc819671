"""A stream of manifests taken apart into its documents, of each its very text.

All the manifest tools read through here. The stream is cut at the lines that YAML itself cuts at (``---``, and
the line after ``...``), without parsing, so a stream of many gigabytes needs memory for its largest document only,
and the texts of all documents, one after the other, are the stream again, byte for byte: what a tool does not
change, it can't damage. A document is parsed when somebody asks what is in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any, Final, NamedTuple, Protocol

import yaml

from reroll.manifests import yaml_text
from reroll.manifests.problem import ManifestError
from reroll.manifests.yaml_text import Bad, Data, Path

CHUNK: Final = 1 << 20
"""So many bytes are read at once."""

BOM: Final = "\ufeff"

_MARKER = re.compile(rb"^(?:---|\.\.\.)(?=[ \t\r\n]|\Z)", re.MULTILINE)
_PROLOGUE = re.compile(rb"(?:\xef\xbb\xbf)?(?:[ \t\r]*(?:#[^\n]*)?(?:\n|\Z)|%[^\n]*(?:\n|\Z))*\Z")
"""What may stand before a document's ``---`` and belongs to it: blank lines, comments, directives."""
_TEMPLATE = re.compile(
    r"\{\{[^\n]*?\}\}|\{\{-?[ \t]*(?:if|range|with|include|define|template|end|toYaml|/\*)\b"
)
_NOTHING = re.compile(
    r"(?:[ \t\r]*(?:#[^\n]*)?(?:\n|\Z)|---[ \t\r]*(?:#[^\n]*)?(?:\n|\Z)|\.\.\.[ \t\r]*(?:\n|\Z))*\Z"
)


class Readable(Protocol):
    """A file opened for reading bytes."""

    def read(self, size: int = -1, /) -> bytes: ...


class Placed(NamedTuple):
    """An object, and its place in its document: () where the document is the object, else as in ("items", 3)."""

    path: Path
    value: dict[str, Any]


class Document:
    """One document of a stream.

    `objects` and `placed` are the Kubernetes objects in it: one, or those of a List, or none. What has no apiVersion
    and kind is none, and is passed through by the tools as it is.
    """

    def __init__(self, text: str, origin: str, line: int) -> None:
        self.text = text
        """The very text, with comments, line ends and a byte order mark."""
        self.origin = origin
        """The file, for people."""
        self.line = line
        """The number of its first line in the file, from 1."""

    def __repr__(self) -> str:
        return f"Document({self.origin}:{self.line}, {len(self.text)} characters)"

    @property
    def shift(self) -> int:
        """How many characters of `text` stand before what the parser sees: 1 for a byte order mark."""
        return 1 if self.text.startswith(BOM) else 0

    def compose(self) -> yaml.Node | None:
        """Its root node, parsed anew; None where it is empty. To the indexes of marks, `shift` is to be added.

        Raises ManifestError.
        """
        try:
            return yaml_text.compose(self.text[self.shift :])
        except Bad as bad:
            raise self.error(bad) from None

    @cached_property
    def node(self) -> yaml.Node | None:
        """The same, kept."""
        return self.compose()

    @cached_property
    def data(self) -> Data:
        """What the whole document means, as decoded from JSON; None where it is empty. Raises ManifestError."""
        if _NOTHING.match(self.text, self.shift):
            return None
        node = self.node if "node" in self.__dict__ else self.compose()
        if node is None:
            return None
        try:
            return yaml_text.plain(node)
        except Bad as bad:
            raise self.error(bad) from None

    @cached_property
    def placed(self) -> tuple[Placed, ...]:
        """The Kubernetes objects in it, with their places. Raises ManifestError."""
        found = tuple(_objects(self.data, ()))
        for one in found:
            metadata = one.value.get("metadata")
            name = metadata.get("name") if isinstance(metadata, dict) else None
            if isinstance(name, str) and "{{" in name:
                line, column = self.where((*one.path, "metadata", "name"))
                raise ManifestError(self.origin, line, column, _RENDER)
        return found

    @property
    def objects(self) -> list[dict[str, Any]]:
        """The Kubernetes objects in it. Raises ManifestError."""
        return [one.value for one in self.placed]

    def where(self, path: Path) -> tuple[int, int]:
        """(line, column) in the file, from 1, of the key or item at `path`, or of the nearest there is above it."""
        node = place = self.node
        for step in path:
            found = yaml_text.child(node, step)
            if found is None:
                break
            place, node = found
        return self.position(place.start_mark.index if place is not None else 0)

    def position(self, index: int) -> tuple[int, int]:
        """(line, column) in the file, from 1, of a character that the parser counted."""
        index += self.shift
        return self.line + self.text.count("\n", 0, index), index - self.text.rfind("\n", 0, index)

    def error(self, bad: Bad) -> ManifestError:
        """The error for people: where in the file; and of a template, what to do with it."""
        line, column = self.position(bad.index) if bad.index >= 0 else (self.line, 0)
        template = _TEMPLATE.search(self.text)
        if template is not None:
            line, column = self.position(template.start() - self.shift)
            return ManifestError(self.origin, line, column, _RENDER)
        return ManifestError(self.origin, line, column, bad.message)


_RENDER = (
    "this is a template and no manifest yet, for it has {{ }} in it: render it first and give what comes out "
    "(helm template CHART | reroll ... -)"
)


def read_documents(source: str | bytes | Readable | Iterable[bytes], origin: str) -> Iterator[Document]:
    """The documents of a stream, in order. `source` is text, bytes, a file opened for bytes, or bytes in pieces;
    `origin` names it in messages.

    Nothing is parsed here. Raises ManifestError for what is not UTF-8.
    """
    line = 1
    for raw in _cut(_pieces(source)):
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            before = raw[: error.start]
            raise ManifestError(
                origin,
                line + before.count(b"\n"),
                len(before.rpartition(b"\n")[2].decode("utf-8", "replace")) + 1,
                "is not UTF-8 text: convert it (iconv -t UTF-8)",
            ) from None
        yield Document(text, origin, line)
        line += raw.count(b"\n")


def _pieces(source: str | bytes | Readable | Iterable[bytes]) -> Iterator[bytes]:
    if isinstance(source, str):
        yield source.encode("utf-8", "surrogatepass")
    elif isinstance(source, bytes):
        yield source
    elif (read := getattr(source, "read", None)) is not None:
        while piece := read(CHUNK):
            yield piece
    else:
        yield from source  # type: ignore[misc]  # what can be read was dealt with


def _cut(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The stream, cut where a document begins. A line is looked at when it is whole."""
    held: list[bytes] = []  # the document so far
    opening = True  # nothing of it was met yet but what may stand before its ---
    begun: list[bytes] = []  # a line that is not whole
    for piece in pieces:
        whole = piece.rfind(b"\n") + 1
        if not whole:
            begun.append(piece)
            continue
        region = b"".join((*begun, piece[:whole]))
        begun = [piece[whole:]]
        start = 0
        for cut, ends in _cuts(region):
            part = region[start:cut]
            if ends:
                yield b"".join((*held, part))
                held, opening = [], True
            else:
                whole_so_far = b"".join((*held, part))
                if opening and _PROLOGUE.match(whole_so_far):
                    held = [whole_so_far]
                else:
                    if whole_so_far:
                        yield whole_so_far
                    held = []
                opening = False
            start = cut
        held.append(region[start:])
    # The last line has no end: it can be a marker still.
    rest = b"".join(begun)
    if rest.startswith(b"---") and _MARKER.match(rest) and not (opening and _PROLOGUE.match(b"".join(held))):
        if whole_so_far := b"".join(held):
            yield whole_so_far
        held = []
    if last := b"".join((*held, rest)):
        yield last


def _cuts(region: bytes) -> Iterator[tuple[int, bool]]:
    """(where, True if a document ends there for sure; False: one may begin there)."""
    for found in _MARKER.finditer(region):
        if region[found.start()] == 0x2D:
            yield found.start(), False
        else:
            yield region.index(b"\n", found.end()) + 1, True


def _objects(value: Data, path: Path) -> Iterator[Placed]:
    """One object, or the items of a List, be it a List of Lists."""
    if not isinstance(value, dict):
        return
    kind, version = value.get("kind"), value.get("apiVersion")
    if not isinstance(kind, str) or not kind or not isinstance(version, str) or not version:
        return
    items = value.get("items")
    if not kind.endswith("List") or not (isinstance(items, list) or (kind == "List" and items is None)):
        yield Placed(path, value)
        return
    for number, item in enumerate(items or ()):
        if isinstance(item, dict) and kind != "List":
            # kubectl get --raw: the server names the kind once, for all items.
            item = {"apiVersion": version, "kind": kind.removesuffix("List"), **item}
        yield from _objects(item, (*path, "items", number))
