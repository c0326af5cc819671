"""Plain manifests whose ConfigMaps and Secrets are called by their content, with all that names them.

What kustomize does for what it generates, for any rendered chart: each object with content that a workload or another
object names is made immutable and given the suffix that kustomize would give it; every place that Kubernetes itself
reads such a name from is rewritten. So a change is a new object, pods of a former ReplicaSet keep reading the former
one, and a rollback brings the old content back.

Two readings: the first tells what is there and what names it, the second writes. Edits are made in the text
(`edit`), so all else stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from msgspec import Struct

from reroll.core.suffix_hash import LENGTH, suffix_hash
from reroll.manifests.config_names import Key, Named, names_in, namespace_of
from reroll.manifests.edit import Edit, Set, apply_edits
from reroll.manifests.external import Annotated
from reroll.manifests.name_references import Place
from reroll.manifests.object_content import content_of
from reroll.manifests.problem import ManifestError
from reroll.manifests.stamp.options import Templates
from reroll.manifests.stream import Document, Placed

Keep: TypeAlias = Literal["helm", "flux", "argocd"]

BASE_NAME: Final = "reroll-generate/base-name"
"""An annotation of what was renamed: what it is called in the manifests. `prune` groups generations by it."""
GENERATED: Final = "reroll-generate/generated"
"""A label of what was renamed, "true": what `prune` may delete when nothing names it."""

_KEPT: Final[dict[Keep, dict[str, str]]] = {
    "helm": {"helm.sh/resource-policy": "keep"},
    "flux": {"kustomize.toolkit.fluxcd.io/prune": "disabled"},
    "argocd": {
        "argocd.argoproj.io/sync-options": "Prune=false",
        "argocd.argoproj.io/compare-options": "IgnoreExtraneous",
    },
}
"""What keeps a tool from deleting the former generation while pods still read it."""

_NOT_OURS: Final = frozenset(
    ("kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token", "helm.sh/release.v1")
)
"""Types of Secrets that a controller fills or finds by their names."""
_MOST = 253


class Options(Struct, frozen=True, kw_only=True):
    namespace: str = ""
    """Of objects that name none."""
    all: bool = False
    """Also objects that nothing in the manifests names."""
    leave: frozenset[tuple[str, str]] = frozenset()
    """(kind, name) of those that keep their names."""
    mark: bool = True
    """Write `BASE_NAME` and `GENERATED`, so that they can be pruned."""
    keep: tuple[Keep, ...] = ()
    templates: Templates = {}
    """(group, kind) of workloads, and where their pod template stands."""
    places: tuple[Place, ...] = ()
    """Further places, of custom kinds."""


class _Found(NamedTuple):
    """A config object of the stream that can be renamed."""

    base: str
    """What it is called in the manifests."""
    name: str
    """What it is called now; a former run may have given it a suffix."""
    renamed: str
    where: str


class HashNames:
    """The first reading, and what the second has to write."""

    def __init__(self, options: Options, external: Annotated | None = None) -> None:
        self.options = options
        self.notes: list[str] = []
        """For people: what was left as it is, and why."""
        self.renamed: dict[Key, str] = {}
        """The new names, after `decide`."""
        self.changes: list[str] = []
        self._found: dict[Key, list[_Found]] = {}
        self._named: set[tuple[str, str, str, bool]] = set()
        self._external = external
        self._number = 0

    def learn(self, documents: Iterable[Document]) -> None:
        """The first reading. Raises ManifestError."""
        for document in documents:
            for placed in document.placed:
                self._take(document, placed)
                for one in self._names_in(placed.value):
                    self._named.add((*one.key, one.anywhere))
                if self._external is not None:
                    self._external.learn(document, self._number, placed)
            self._number += 1

    def decide(self) -> None:
        """Tell what is renamed. Raises ManifestError where one name is that of two objects."""
        named = {(kind, name) for kind, _, name, _ in self._named}
        for key, several in self._found.items():
            found = several[0]
            if len({each.renamed for each in several}) > 1:
                places = " and ".join(each.where for each in several)
                raise ManifestError(
                    several[1].where,
                    0,
                    0,
                    f"{key.kind.lower()}/{found.name} is there twice with different content, in {places}: generate in "
                    f"runs of their own",
                )
            if not self.options.all and not any(
                (key.kind, name) in named for name in (found.name, found.base)
            ):
                self.notes.append(
                    f"{found.where}: nothing here names {key.kind.lower()}/{found.name}, so it keeps its name, for who "
                    f"reads it knows it by that: --all renames it too"
                )
                continue
            if found.name != found.renamed:
                self.changes.append(f"{found.where}: {key.kind.lower()}/{found.name} becomes {found.renamed}")
            for name in dict.fromkeys((found.name, found.base)):
                if name == found.name or key._replace(name=name) not in self._found:
                    self.renamed[key._replace(name=name)] = found.renamed

    def written(self, documents: Iterable[Document], first: int) -> Iterator[str]:
        """The texts of the documents, the first of which is the stream's `first`th. Raises ManifestError."""
        for number, document in enumerate(documents, first):
            edits: list[Edit] = []
            for placed in document.placed:
                edits += self._edits(document, placed)
            if self._external is not None:
                edits += self._external.edits(number)
            yield apply_edits(document, edits) if edits else document.text

    def _take(self, document: Document, placed: Placed) -> None:
        value = placed.value
        kind = value["kind"]
        metadata = value.get("metadata")
        if (
            value["apiVersion"] != "v1"
            or kind not in ("ConfigMap", "Secret")
            or not isinstance(metadata, dict)
        ):
            return
        name = metadata.get("name")
        if not isinstance(name, str) or not name:
            return  # generateName: nothing can refer to it
        line, _ = document.where((*placed.path, "kind"))
        where = f"{document.origin}:{line}"
        if (kind.lower(), name) in self.options.leave or (
            kind == "Secret" and value.get("type") in _NOT_OURS
        ):
            return
        annotations = metadata.get("annotations")
        base = annotations.get(BASE_NAME) if isinstance(annotations, dict) else None
        if not isinstance(base, str) or not _is_generation(name, base):
            base = name
        content = content_of(document, placed)
        if content is None:
            self.notes.append(
                f"{where}: {kind.lower()}/{name} is empty, so something else fills it: it keeps its name"
            )
            return
        suffix = suffix_hash(content)
        if base == name and name.endswith(f"-{suffix}"):
            base = name[: -LENGTH - 1]  # it was named by its content before, by kustomize or without marks
            renamed = name
        else:
            renamed = f"{base}-{suffix}"
        if len(renamed) > _MOST:
            raise ManifestError(
                document.origin,
                *document.where((*placed.path, "metadata", "name")),
                f"{kind.lower()}/{name}: with a suffix its name would have more than {_MOST} characters: give it a "
                f"shorter one",
            )
        key = Key(kind, self._namespace(metadata), name)
        self._found.setdefault(key, []).append(_Found(base, name, renamed, where))

    def _namespace(self, metadata: object) -> str:
        return namespace_of(metadata, self.options.namespace)

    def _names_in(self, value: dict[str, Any]) -> Iterator[Named]:
        return names_in(value, self.options.templates, self.options.places, self.options.namespace)

    def _edits(self, document: Document, placed: Placed) -> list[Edit]:
        value = placed.value
        edits: list[Edit] = []
        metadata = value.get("metadata")
        if (
            value["apiVersion"] == "v1"
            and value["kind"] in ("ConfigMap", "Secret")
            and isinstance(metadata, dict)
        ):
            key = Key(value["kind"], self._namespace(metadata), str(metadata.get("name")))
            renamed = self.renamed.get(key)
            if renamed is not None and key in self._found:
                edits += self._renaming(placed, key, renamed)
        for path, name in {
            one.path: name
            for one in self._names_in(value)
            if (name := self._new_name(document, placed, one)) not in (None, one.key.name)
        }.items():
            edits.append(Set((*placed.path, *path), name))
        return edits

    def _renaming(self, placed: Placed, key: Key, renamed: str) -> Iterator[Edit]:
        metadata = placed.value["metadata"]
        at = (*placed.path, "metadata")
        if renamed != key.name:
            yield Set((*at, "name"), renamed)
        wanted: dict[str, str] = {}
        if self.options.mark:
            wanted[BASE_NAME] = self._found[key][0].base
        for tool in self.options.keep:
            wanted |= _KEPT[tool]
        before = metadata.get("annotations") or {}
        for annotation, text in wanted.items():
            if (old := before.get(annotation)) != text:
                if annotation.startswith("argocd.") and isinstance(old, str) and old:
                    if text in old.split(","):
                        continue
                    text = f"{old},{text}"
                yield Set((*at, "annotations", annotation), text)
        if self.options.mark and (metadata.get("labels") or {}).get(GENERATED) != "true":
            yield Set((*at, "labels", GENERATED), "true")
        if placed.value.get("immutable") is not True:
            yield Set((*placed.path, "immutable"), True)

    def _new_name(self, document: Document, placed: Placed, one: Named) -> str | None:
        """What the object is called that a field names; None: it is not renamed here. Raises ManifestError."""
        if (found := self.renamed.get(one.key)) is not None:
            return found
        if one.key.namespace and (found := self.renamed.get(one.key._replace(namespace=""))) is not None:
            return found  # an object without a namespace is applied where what names it is
        if one.key.namespace and not one.anywhere:
            return None
        several = {
            new for key, new in self.renamed.items() if (key.kind, key.name) == (one.key.kind, one.key.name)
        }
        if len(several) > 1:
            raise ManifestError(
                document.origin,
                *document.where((*placed.path, *one.path)),
                f"{one.key.kind.lower()}/{one.key.name} is in several namespaces: it is not told which is meant",
            )
        return several.pop() if several else None


def _is_generation(name: str, base: str) -> bool:
    return name == base or (name.startswith(f"{base}-") and len(name) == len(base) + 1 + LENGTH)
