"""What can be changed in a manifest, and what a change means for its data; where it stands in the text is `page`'s."""

from __future__ import annotations

from copy import deepcopy
from typing import NamedTuple, TypeAlias

from reroll.manifests.problem import ManifestError
from reroll.manifests.stream import Document
from reroll.manifests.yaml_text import Data, Path


class Set(NamedTuple):
    """Make this the value at `path`. Mappings that are missing on the way there are made."""

    path: Path
    value: Data


class Remove(NamedTuple):
    """Take the entry or item at `path` out. Nothing happens where there is none."""

    path: Path


Edit: TypeAlias = Set | Remove


def made(document: Document, data: Data, edit: Edit) -> Data:
    """The edit made in the plain data; the data is written into."""
    if not edit.path:
        raise ManifestError(document.origin, document.line, 0, "a document is not edited as a whole")
    if isinstance(edit, Set) and data is None:
        raise ManifestError(document.origin, document.line, 0, "there is nothing in this document to edit")
    at = data
    for number, step in enumerate(edit.path[:-1]):
        after = _down(at, step)
        if after is None:
            if isinstance(edit, Remove):
                return data
            if not isinstance(at, dict) or not isinstance(step, str):
                raise no_way(document, edit.path[: number + 1])
            after = at[step] = {}
        at = after
    last = edit.path[-1]
    if isinstance(at, dict) and isinstance(last, str):
        if isinstance(edit, Set):
            at[last] = deepcopy(edit.value)
        else:
            at.pop(last, None)
    elif isinstance(at, list) and isinstance(last, int) and 0 <= last < len(at):
        if isinstance(edit, Set):
            at[last] = deepcopy(edit.value)
        else:
            del at[last]
    elif isinstance(edit, Set):
        raise no_way(document, edit.path)
    return data


def _down(at: Data, step: str | int) -> Data:
    if isinstance(at, dict) and isinstance(step, str):
        return at.get(step)
    if isinstance(at, list) and isinstance(step, int) and 0 <= step < len(at):
        return at[step]
    return None


def no_way(document: Document, path: Path) -> ManifestError:
    line, column = document.where(path)
    shown = ".".join(str(step) for step in path)
    return ManifestError(document.origin, line, column, f"there is no place for {shown} here")
