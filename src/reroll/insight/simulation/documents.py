"""Manifests as text: YAML of many documents, JSON, and Lists taken apart, each object with its file and line.

YAML is read by the C loader, as Kubernetes reads it: a date is a string, and ``=`` is nothing special.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import msgspec
import yaml

from reroll.insight.simulation.bad_input import BadInput, Origin

_SUFFIXES = (".yaml", ".yml", ".json")
_BUILT = {
    "kustomization.yaml": "kubectl kustomize {} | reroll simulate - ...",
    "kustomization.yml": "kubectl kustomize {} | reroll simulate - ...",
    "Kustomization": "kubectl kustomize {} | reroll simulate - ...",
    "Chart.yaml": "helm template {} | reroll simulate - ...",
}
"""Files that make a folder a source of manifests rather than a place of them, and what to do with it."""


class Document(NamedTuple):
    """One object, as it was written."""

    origin: Origin
    value: dict[str, Any]


class _Loader(yaml.CSafeLoader):
    """Scalars as the API sees them, after a conversion to JSON."""


_MANY, _TIMES = 1_000_000, 10
"""A document must not be of so many values with its aliases written out, and so many times what it is without."""

_ENDLESS = 10**12
"""The size of what has an alias of itself in it."""

_NOT_IN_JSON = ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value")
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _NOT_IN_JSON]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def read(path: str, stdin: BinaryIO) -> Iterator[Document]:
    """All objects of a file, of a folder and those below it (files named .yaml, .yml or .json, in the order of
    their names), or ("-") of standard input. Raises BadInput."""
    if path == "-":
        yield from parse(stdin.read(), "standard input")
        return
    place = Path(path)
    files = sorted(_files(place)) if place.is_dir() else [place]
    if not files:
        raise BadInput(Origin(path), "there is no file named .yaml, .yml or .json in this folder")
    for file in files:
        try:
            text = file.read_bytes()
        except OSError as error:
            raise BadInput(Origin(str(file)), f"cannot be read: {error.strerror}") from error
        yield from parse(text, str(file))


def _files(folder: Path) -> Iterator[Path]:
    for name, instead in _BUILT.items():
        for found in folder.rglob(name):
            raise BadInput(
                Origin(str(found.parent)),
                f"holds a {name}: what is in it becomes manifests only by a build. Write: "
                + instead.format(found.parent),
            )
    for path in folder.rglob("*"):
        if path.suffix in _SUFFIXES and path.is_file():
            yield path


def parse(text: bytes, file: str) -> Iterator[Document]:
    """The objects in one text; empty documents are passed over. Raises BadInput."""
    if text.lstrip()[:1] == b"{":
        try:
            value = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            pass  # YAML can begin so too; and if it is none either, its parser knows the line
        else:
            yield from _objects(value, Origin(file, 1), None)
            return
    try:
        decoded = text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        raise BadInput(Origin(file, line), "is not UTF-8 text") from error
    try:
        loader = _Loader(decoded)
    except yaml.YAMLError as error:
        raise BadInput(*yaml_problem(error, file, decoded)) from error
    try:
        while loader.check_node():
            node = loader.get_node()
            if node is None:
                continue
            distinct: dict[int, int] = {}
            if (size := _size(node, distinct)) > max(_MANY, _TIMES * len(distinct)):
                raise BadInput(
                    Origin(file, node.start_mark.line + 1),
                    f"repeats its {len(distinct)} values by aliases until they are more than {min(size, 10**9):,}",
                )
            value = loader.construct_document(node)
            if value is not None:
                yield from _objects(value, Origin(file, node.start_mark.line + 1), node)
    except yaml.YAMLError as error:
        raise BadInput(*yaml_problem(error, file, decoded)) from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(
            Origin(file), "holds a value that YAML can't mean, such as a number out of range"
        ) from error
    finally:
        loader.dispose()


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """How many nodes there are below, counting what aliases repeat: a few lines of them can mean billions, and
    whatever walks through the objects would never end. `known` is of the nodes counted before."""
    found = known.get(id(node))
    if found is None:
        known[id(node)] = _ENDLESS
        found = 1
        if isinstance(node, yaml.SequenceNode):
            found += sum(_size(each, known) for each in node.value)
        elif isinstance(node, yaml.MappingNode):
            found += sum(_size(key, known) + _size(value, known) for key, value in node.value)
        known[id(node)] = found
    return found


def yaml_problem(error: yaml.YAMLError, file: str, text: str) -> tuple[Origin, str]:
    """Where, and what in the parser's words, which never quote the text around: it may be a Secret's."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    position = getattr(error, "position", None)
    line = text.count("\n", 0, position) + 1 if isinstance(position, int) else 0
    if mark is not None:
        line = mark.line + 1
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "it can't be parsed"
    words = re.sub(r"['\"].*['\"]", "...", str(problem))
    return Origin(file, line), f"is not valid YAML: {words}"


def _objects(value: object, origin: Origin, node: yaml.Node | None) -> Iterator[Document]:
    """One object, or the items of a List."""
    if not isinstance(value, dict):
        raise BadInput(origin, f"expected an object with apiVersion, kind and metadata, found {word(value)}")
    kind, version = value.get("kind"), value.get("apiVersion")
    if not isinstance(kind, str) or not kind or not isinstance(version, str) or not version:
        raise BadInput(origin, "this object says no apiVersion and kind, so it is not known what it is")
    if not kind.endswith("List") or not ("items" in value or kind == "List"):
        yield Document(origin, value)
        return
    items = value.get("items") or []
    if not isinstance(items, list):
        raise BadInput(origin, f"the items of this {kind} are no list")
    nodes = _item_nodes(node)
    for number, item in enumerate(items):
        if nodes is not None and number < len(nodes):
            where, inner = Origin(origin.file, nodes[number].start_mark.line + 1), nodes[number]
        else:
            where, inner = Origin(origin.file, origin.line, number + 1), None
        if isinstance(item, dict) and kind != "List":
            # kubectl get --raw: the server names the kind once, for all items.
            item = {"apiVersion": version, "kind": kind.removesuffix("List"), **item}
        yield from _objects(item, where, inner)


def _item_nodes(node: yaml.Node | None) -> Sequence[yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == "items" and isinstance(value, yaml.SequenceNode):
                return list(value.value)
    return None


def word(value: object) -> str:
    """What a value is, without telling it."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "text"
    return "a list" if isinstance(value, list) else "a mapping" if isinstance(value, Mapping) else "a value"
