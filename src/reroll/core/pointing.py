"""A pod template that names immutable versions of its configuration, in place of the objects that people edit. Pure.

A version is a copy of a *source* (mode `version`). Which copy stands for which source is said by annotations of the
template itself, one for each source, so that it goes wherever the template goes: into ReplicaSets and
ControllerRevisions, and back from there with ``kubectl rollout undo``. What is decided about a workload is decided by
its sources: `to_sources` is what a template means without versions, and the hash of a template is taken of that.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from msgspec.structs import replace

from reroll.core.places import PLACES
from reroll.core.records import ConfigKind, Reference

VERSION: Final = "version.reroll.dev/"
"""Beginning of the annotations of a pod template: ``version.reroll.dev/configmap.app: app-9k2m4c5f6h``. They are single
ones, because an admission policy can write those (docs/versions.md)."""

_KEY: Final = 63
"""Characters of the longest key of an annotation, behind its prefix."""

Template: TypeAlias = dict[str, Any]
Named: TypeAlias = tuple[ConfigKind, str]
"""A ConfigMap or Secret of the workload's namespace, by kind and name."""

KINDS: Final[tuple[ConfigKind, ...]] = ("configmap", "secret")
"""What has versions. What a SecretProviderClass stands for is kept elsewhere, and has versions there."""

MEANS: Final = frozenset({"env", "envFrom", "volume", "projected"})
"""How a container reads what has versions. Pull secrets and credentials of drivers stay with their sources."""

_PLACES: Final = tuple(place for place in PLACES if place.kind in KINDS and place.means in MEANS)


def points_of(annotations: Mapping[str, str]) -> dict[Named, str]:
    """The sources of the copies that a template names, by its annotations. What can't be read is no copy, so that
    whoever writes nonsense there has the template taken as it stands."""
    points: dict[Named, str] = {}
    for key, value in annotations.items():
        if key.startswith(VERSION) and isinstance(value, str):
            kind, _, short = key.removeprefix(VERSION).partition(".")
            name, _, long = value.partition(" ")
            source = long or short
            for known in KINDS:
                if kind == known and name and source and name != source:
                    points[known, name] = source
    return points


def annotation_of(kind: ConfigKind, source: str, name: str) -> tuple[str, str]:
    """The key and value of the annotation that says that a template names this copy in place of this source. A name
    that is too long for a key stands in the value."""
    key = f"{kind}.{source}"
    if len(key) <= _KEY:
        return f"{VERSION}{key}", name
    short = hashlib.sha256(source.encode()).hexdigest()[:8]
    return f"{VERSION}{key[: _KEY - 9].rstrip('-.')}-{short}", f"{name} {source}"


def of_sources(references: Sequence[Reference], points: Mapping[Named, str]) -> tuple[Reference, ...]:
    """References of a template, with those to copies as references to their sources."""
    if not points:
        return tuple(references)
    return tuple(
        replace(each, name=source, copy=each.name)
        if each.means in MEANS and (source := points.get((each.kind, each.name)))
        else each
        for each in references
    )


def named(template: Template) -> dict[Named, str]:
    """What a template has for each source that its containers read: the name of a copy, or the source's own. Where it
    names both, the source's own, because pods that read that don't keep what they have."""
    points = points_of(_annotations(template))
    found: dict[Named, str] = {}
    for holder, field, kind in _references(template):
        name = holder[field]
        source = points.get((kind, name), name)
        if found.setdefault((kind, source), name) != name:
            found[kind, source] = source
    return found


def pointed(template: Template, names: Mapping[Named, str]) -> Template:
    """A template whose references to each of these sources, its own name or that of a copy, are to `names`: a copy, or
    the source itself. Others stay as they are."""
    after = copy.deepcopy(template)
    points = points_of(_annotations(template))
    kept: dict[Named, str] = {}
    for holder, field, kind in _references(after):
        source = points.get((kind, holder[field]), holder[field])
        holder[field] = names.get((kind, source), holder[field])
        if holder[field] != source:
            kept[kind, source] = holder[field]
    _annotate(after, kept)
    return after


def to_sources(template: Template) -> None:
    """Name the sources again, in place, and take the annotations out."""
    points = points_of(_annotations(template))
    if points:
        for holder, field, kind in _references(template):
            holder[field] = points.get((kind, holder[field]), holder[field])
    _annotate(template, {})


def _references(template: Template) -> Iterator[tuple[dict[str, Any], str, ConfigKind]]:
    """Each field that names a ConfigMap or Secret which a container reads: the mapping it is in, its name, the kind."""
    spec = template.get("spec")
    for place in _PLACES:
        *way, field = place.fields
        for holder in _at(spec, way):
            if isinstance(holder.get(field), str):
                yield holder, field, place.kind


def _at(node: object, way: list[str]) -> Iterator[dict[str, Any]]:
    if isinstance(node, list):
        for item in node:
            yield from _at(item, way)
    elif isinstance(node, dict):
        if way:
            yield from _at(node.get(way[0]), way[1:])
        else:
            yield node


def _annotations(template: Template) -> dict[str, str]:
    metadata = template.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    return annotations if isinstance(annotations, dict) else {}


def _annotate(template: Template, copies: Mapping[Named, str]) -> None:
    """Write the annotations for these copies, by their sources, and take all others out; where nothing is left, with
    the maps that they alone filled."""
    metadata = template.get("metadata")
    before = _annotations(template)
    ours = [key for key in before if key.startswith(VERSION)]
    for key in ours:
        del before[key]
    if copies:
        if not isinstance(metadata, dict):
            metadata = template["metadata"] = {}
        if not isinstance(metadata.get("annotations"), dict):
            metadata["annotations"] = {}
        for (kind, source), name in sorted(copies.items()):
            key, value = annotation_of(kind, source, name)
            metadata["annotations"][key] = value
    elif ours and isinstance(metadata, dict):
        if not before:
            del metadata["annotations"]
        if not metadata:
            del template["metadata"]
