"""Files of a kustomization, read as kustomize reads them: what is in or below its folder, and scalars as YAML 1.2 has
them (``yes`` is text, a date is a time). kubectl and `stream` read YAML 1.1; here the output must be kustomize's."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import yaml

from reroll.manifests import yaml_text
from reroll.manifests.go_yaml import meaning, timestamp
from reroll.manifests.names import Resource
from reroll.manifests.problem import ManifestError
from reroll.manifests.stream import Document, read_documents
from reroll.manifests.yaml_text import STR, Bad

_TAG: Final = "tag:yaml.org,2002:"
_BOOLEANS: Final = frozenset(("true", "True", "TRUE", "false", "False", "FALSE"))
_NUMBERS: Final = frozenset((f"{_TAG}int", f"{_TAG}float"))


_INTERNAL: Final = "internal.config.kubernetes.io/"
_TAKEN_AWAY: Final = frozenset(
    (
        "config.k8s.io/id",
        "config.kubernetes.io/index",
        "config.kubernetes.io/path",
        *(
            f"{_INTERNAL}{each}"
            for each in (
                "generatorBehavior",
                "id",
                "index",
                "path",
                "prefixes",
                "refBy",
                "seqindent",
                "suffixes",
            )
        ),
    )
)
"""Annotations in which kustomize and kpt note where an object came from, for themselves."""


class Folder:
    """The folder of a kustomization: nothing outside of it is read, as kustomize has it by default."""

    def __init__(self, path: Path) -> None:
        try:
            self.path = path.resolve(strict=True)
        except (OSError, RuntimeError) as error:
            raise ManifestError(str(path), 0, 0, f"cannot be read: {_reason(error)}") from error
        self.shown = str(path)
        """As it was given, for people."""

    def name_of(self, file: str) -> str:
        """A file of it, for people."""
        return file if file.startswith("/") or self.shown == "." else f"{self.shown.rstrip('/')}/{file}"

    def read(self, file: str) -> bytes:
        """A file's content. Raises ManifestError, also for a file that is not in or below the folder."""
        try:
            target = (self.path / file).resolve(strict=True)
            if not target.is_relative_to(self.path):
                raise ManifestError(
                    self.name_of(file),
                    0,
                    0,
                    f"is not in or below {self.shown}: only bases may be elsewhere, so that a folder is all that its "
                    f"build depends on. Move it, or make it a kustomization of its own",
                )
            return target.read_bytes()
        except (OSError, RuntimeError, ValueError) as error:
            raise ManifestError(self.name_of(file), 0, 0, f"cannot be read: {_reason(error)}") from error

    def is_folder(self, file: str) -> bool:
        return (self.path / file).is_dir()


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def read_resources(content: bytes, origin: str) -> list[Resource]:
    """The objects of a file, those of a List each for itself. Raises ManifestError for what is no object."""
    found: list[Resource] = []
    waiting: list[tuple[Document, Any]] = []
    for document in read_documents(content, origin):
        value = _data(document)
        if value is not None and value != {}:
            waiting.append((document, value))
    while waiting:
        document, value = waiting.pop(0)
        if not isinstance(value, dict):
            raise ManifestError(
                document.origin, document.line, 0, "is no Kubernetes object: it is no mapping"
            )
        kind, version = value.get("kind"), value.get("apiVersion")
        if not isinstance(kind, str) or not kind or not isinstance(version, str) or not version:
            raise ManifestError(
                document.origin,
                document.line,
                0,
                "is no Kubernetes object: it needs an apiVersion and a kind",
            )
        if kind.endswith("List") and "items" in value:
            items = value["items"]
            if items is not None and not isinstance(items, list):
                raise ManifestError(
                    document.origin, document.line, 0, f"items of this {kind} have to be a list"
                )
            waiting += [(document, item) for item in items or ()]
            continue
        metadata = value.get("metadata")
        name = metadata.get("name") if isinstance(metadata, dict) else None
        if not isinstance(metadata, dict) or not isinstance(name, str) or not name:
            line, column = document.where(("kind",))
            raise ManifestError(document.origin, line, column, f"this {kind} has no metadata.name")
        if "{{" in name:
            document.placed  # noqa: B018 - it says how to deal with a template
        _take_away_notes(metadata)
        found.append(Resource(value, document.origin))
    return found


def _take_away_notes(metadata: dict[str, Any]) -> None:
    """And `annotations` where nothing is left of them, or was there before: kustomize writes none that are empty."""
    annotations = metadata.get("annotations")
    if isinstance(annotations, dict):
        annotations = {key: value for key, value in annotations.items() if key not in _TAKEN_AWAY}
        metadata["annotations"] = annotations
    if not annotations:
        metadata.pop("annotations", None)


def _data(document: Document) -> Any:
    node = document.compose()
    if node is None:
        return None
    try:
        _retag(node, set())
        return yaml_text.plain(node)
    except Bad as bad:
        raise document.error(bad) from None
    except RecursionError:
        raise document.error(Bad("is nested too deeply")) from None


def _retag(node: yaml.Node, seen: set[int]) -> None:
    """Make plain scalars mean what they mean to kustomize, and keys the text that they are."""
    if type(node) is yaml.ScalarNode:
        if not node.style:
            _scalar(node)
        return
    if id(node) in seen:
        return
    seen.add(id(node))
    if type(node) is yaml.SequenceNode:
        for item in node.value:
            _retag(item, seen)
    elif type(node) is yaml.MappingNode:
        for key, value in node.value:
            if type(key) is yaml.ScalarNode and key.tag != f"{_TAG}merge" and key.tag != f"{_TAG}null":
                key.tag = STR
            _retag(value, seen)


def _scalar(node: yaml.ScalarNode) -> None:
    value = node.value
    if node.tag == STR:
        if value[:4].isdecimal() and (time := timestamp(value)) is not None:
            node.value = time
    elif node.tag == f"{_TAG}bool":
        if value not in _BOOLEANS:
            node.tag = STR
    elif node.tag in _NUMBERS and value[-1:].isalnum() and meaning(value) == "text" and "." not in value[:2]:
        node.tag = STR
