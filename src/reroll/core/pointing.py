"""A pod template that names immutable versions of its configuration, in place of the objects that people edit. Pure.

A version is a copy of a *source* (mode `version`). Which source a copy is of stands in an annotation of the template
itself, so that it goes wherever the template goes: into ReplicaSets and ControllerRevisions, and back from there with
``kubectl rollout undo``. What is decided about a workload is decided by its sources: `to_sources` is what a template
means without versions, and the hash of a template is taken of that.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec
from msgspec.structs import replace

from reroll.core.places import PLACES
from reroll.core.records import ConfigKind, Reference

VERSIONS: Final = "reroll.dev/versions"
"""The annotation of a pod template: a JSON object, from each copy (``configmap/app-9k2m4c5f6h``) to its source."""

LIMIT: Final = 65536
"""Characters of the annotation that are read: the API server takes 262144 for all of an object's annotations."""

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
    text = annotations.get(VERSIONS)
    if not text or len(text) > LIMIT:
        return {}
    try:
        found = _decode(text)
    except (msgspec.DecodeError, RecursionError):
        return {}
    points: dict[Named, str] = {}
    for short, source in found.items():
        kind, _, name = short.partition("/")
        for known in KINDS:
            if kind == known and name and source and name != source:
                points[known, name] = source
    return points


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
    kept: dict[str, str] = {}
    for holder, field, kind in _references(after):
        source = points.get((kind, holder[field]), holder[field])
        holder[field] = names.get((kind, source), holder[field])
        if holder[field] != source:
            kept[f"{kind}/{holder[field]}"] = source
    _annotate(after, kept)
    return after


def to_sources(template: Template) -> None:
    """Name the sources again, in place, and take the annotation out."""
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


def _annotations(template: Template) -> Mapping[str, str]:
    metadata = template.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    value = annotations.get(VERSIONS) if isinstance(annotations, dict) else None
    return {VERSIONS: value} if isinstance(value, str) else {}


def _annotate(template: Template, points: Mapping[str, str]) -> None:
    """Write the annotation; without any point, take it out, with the maps that it alone filled."""
    metadata = template.get("metadata")
    if points:
        if not isinstance(metadata, dict):
            metadata = template["metadata"] = {}
        annotations = metadata.get("annotations")
        if not isinstance(annotations, dict):
            annotations = metadata["annotations"] = {}
        annotations[VERSIONS] = json.dumps(points, sort_keys=True, separators=(",", ":"))
        return
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    if not isinstance(metadata, dict) or not isinstance(annotations, dict) or VERSIONS not in annotations:
        return
    del annotations[VERSIONS]
    if not annotations:
        del metadata["annotations"]
    if not metadata:
        del template["metadata"]


_decode: Final = msgspec.json.Decoder(dict[str, str]).decode
