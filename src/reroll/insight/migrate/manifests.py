"""Manifests as a scene, with the lines where things stand, and the files written anew."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from reroll.insight.lint.shape import at, mapping
from reroll.insight.migrate.native import Proposal
from reroll.insight.migrate.report import Plans
from reroll.insight.migrate.scene import Scene, Source, Thing, Workload
from reroll.manifests.edit import Edit, Remove, Set, apply_edits
from reroll.manifests.problem import ManifestError
from reroll.manifests.stream import Document
from reroll.manifests.yaml_text import Path

_ON_OBJECT = ("metadata", "annotations")


class Manifests:
    """The documents of all files, and the scene that they make."""

    def __init__(self, documents: Iterable[Document], *, namespace: str = "", complete: bool = False) -> None:
        """`namespace` is that of objects that name none."""
        self.documents = list(documents)
        self.scene = Scene(where="these manifests", complete=complete)
        for number, document in enumerate(self.documents):
            for placed in document.placed:
                line, _ = document.where((*placed.path, "kind"))
                self.scene.add(placed.value, Source(document.origin, line, number, placed.path), namespace)
        self.scene.lend()

    def line(self, source: Source, path: tuple[str | int, ...]) -> int:
        """Of a path in an object."""
        if source.document < 0:
            return source.line
        return self.documents[source.document].where((*source.path, *path))[0]

    def written(
        self, plans: Plans, *, remove_old: bool
    ) -> tuple[list[tuple[str, str, str]], list[ManifestError]]:
        """(file, text before, text after) of the files that change, and why documents can't be edited surely, which are
        left as they are."""
        edits: dict[int, list[Edit]] = {}
        things: list[tuple[Thing, Proposal]] = [
            (self.scene.workloads[number], proposal) for number, proposal in plans.workloads.items()
        ]
        things += [(self.scene.configs[number], proposal) for number, proposal in plans.configs.items()]
        for thing, proposal in things:
            found = list(_edits(thing, proposal, remove_old))
            if found:
                edits.setdefault(thing.source.document, []).extend(found)
        texts: dict[str, tuple[list[str], list[str]]] = {}
        problems: list[ManifestError] = []
        for number, document in enumerate(self.documents):
            text = document.text
            if number in edits:
                try:
                    text = apply_edits(document, edits[number])
                except ManifestError as error:
                    problems.append(error)
            before, now = texts.setdefault(document.origin, ([], []))
            before.append(document.text)
            now.append(text)
        changed = [
            (origin, "".join(before), "".join(now))
            for origin, (before, now) in texts.items()
            if before != now
        ]
        return changed, problems


def _edits(thing: Thing, proposal: Proposal, remove_old: bool) -> Iterator[Edit]:
    """What is new comes first, so that a mapping keeps its layout; one that would be left empty goes as a whole."""
    for key, value in proposal.annotations.items():
        yield Set((*thing.source.path, *_ON_OBJECT, key), value)
    if remove_old:
        old = [one.key for one in proposal.carried if one.where == "object"]
        yield from _without(thing, _ON_OBJECT, old, stays=bool(proposal.annotations))
        if isinstance(thing, Workload) and thing.template_at:
            old = [one.key for one in proposal.carried if one.where == "template"]
            yield from _without(thing, (*thing.template_at, *_ON_OBJECT), old, stays=False)


def _without(thing: Thing, path: Path, old: Sequence[str], *, stays: bool) -> Iterator[Edit]:
    there = mapping(at(thing.value, path))
    if there and not stays and set(there) == set(old):
        yield Remove((*thing.source.path, *path))
        return
    for key in old:
        yield Remove((*thing.source.path, *path, key))
