"""Values of a manifest changed in its text, so that nothing else of the text changes.

Every edit is made at the places that the parser tells of its nodes (their marks), in the text as it is. Comments,
order, quotes, anchors, folded lines, line ends and flow style of all the rest stay what they are, byte for byte.
To read a document into a tree that remembers comments and to write that out again (as round-trip libraries do)
keeps less: it rewraps long lines, moves comments, and settles indentation anew.

What came out is parsed again and compared with what was meant, always: an edit that this file can't do right is
an error and never a broken manifest. Edits through an alias write it out in its place; what stands at an anchor is
not edited while aliases repeat it elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

from reroll.manifests import yaml_text
from reroll.manifests.edits import Edit, Remove, Set, made
from reroll.manifests.page import Page, Span
from reroll.manifests.problem import ManifestError
from reroll.manifests.stream import BOM, Document, read_documents
from reroll.manifests.yaml_text import Bad, Data, Path

__all__ = ["Edit", "Remove", "Set", "apply_edits", "remove", "set_value"]


def set_value(text: str, path: Path, value: Data) -> str:
    """The text of one document with `value` at `path`. See `apply_edits`."""
    return apply_edits(_single(text), [Set(path, value)])


def remove(text: str, path: Path) -> str:
    """The text of one document without the entry or item at `path`. See `apply_edits`."""
    return apply_edits(_single(text), [Remove(path)])


def _single(text: str) -> Document:
    documents = list(read_documents(text, "text"))
    if len(documents) > 1:
        raise ManifestError(
            "text", documents[1].line, 1, "one document is edited at a time, and these are several"
        )
    return documents[0] if documents else Document("", "text", 1)


def apply_edits(document: Document, edits: Sequence[Edit]) -> str:
    """The document's text with all the edits made, one after the other.

    Raises ManifestError where an edit is not possible: a way that leads through a scalar or past the end of a list,
    a value that aliases repeat elsewhere, and layouts that can't be edited surely.
    """
    body = document.text[document.shift :]
    meant = deepcopy(document.data)
    for edit in edits:
        meant = made(document, meant, edit)
    if meant == document.data:
        return document.text
    try:
        changed = _edited(body, edits)
        node = yaml_text.compose(changed)
        done = yaml_text.plain(node) if node is not None else None
    except Bad as bad:
        raise _impossible(document, edits, bad.message) from None
    if not _equal(done, meant):
        raise _impossible(document, edits, "its layout can't be edited surely")
    return (BOM if document.shift else "") + changed


def _impossible(document: Document, edits: Sequence[Edit], why: str) -> ManifestError:
    line, column = document.where(edits[0].path)
    shown = ".".join(str(step) for step in edits[0].path)
    return ManifestError(
        document.origin, line, column, f"{shown} is not changed here: {why}. Edit it by hand"
    )


def _equal(one: Data, other: Data) -> bool:
    """Equal as JSON: 1 and true are not."""
    if isinstance(one, dict):
        return (
            isinstance(other, dict)
            and one.keys() == other.keys()
            and all(_equal(value, other[key]) for key, value in one.items())
        )
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(_equal, one, other))
    return type(one) is type(other) and (one == other or one != one)


def _edited(text: str, edits: Sequence[Edit]) -> str:
    """Edits that do not touch each other are made on one parse; a parse is new where they do."""
    waiting = list(edits)
    while waiting:
        page = Page(text)
        spans: list[Span] = []
        together: list[Edit] = []
        while waiting:
            edit = waiting[0]
            if any(_related(edit.path, other.path) or _siblings(edit, other) for other in together):
                break
            span = page.span(edit)
            if span is not None and any(_touch(span, other) for other in spans):
                break
            waiting.pop(0)
            together.append(edit)
            if span is not None:
                spans.append(span)
        for span in sorted(spans, reverse=True):
            text = text[: span.start] + span.new + text[span.end :]
    return text


def _related(one: Path, other: Path) -> bool:
    """True if one is at or below the other, or if they are items whose numbers one of them moves."""
    shared = min(len(one), len(other))
    for a, b in zip(one[:shared], other[:shared], strict=True):
        if a != b:
            return isinstance(a, int) and isinstance(b, int)
    return True


def _siblings(one: Edit, other: Edit) -> bool:
    """True if one takes out an entry beside that of the other: what is left of the mapping decides how."""
    return one.path[:-1] == other.path[:-1] and (isinstance(one, Remove) or isinstance(other, Remove))


def _touch(one: Span, other: Span) -> bool:
    return one.start <= other.end and other.start <= one.end
