"""The file kustomization.yaml, as far as `reroll generate` builds from it.

What it does not build is an error, never skipped: an output without a patch that somebody wrote is worse than none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar, cast

from msgspec import Struct

from reroll.manifests.generators import Behavior, Generator, GeneratorOptions
from reroll.manifests.name_references import Place, split_path
from reroll.manifests.names import Gvk
from reroll.manifests.problem import ManifestError
from reroll.manifests.resource_files import Folder
from reroll.manifests.stream import Document, read_documents

FILES: Final = ("kustomization.yaml", "kustomization.yml", "Kustomization")
"""What the file may be called; one of them."""

_VERSION: Final = "kustomize.config.k8s.io/v1beta1"
_KIND: Final = "Kustomization"

_BUILT: Final = frozenset(
    (
        "apiVersion",
        "kind",
        "metadata",
        "resources",
        "bases",
        "namespace",
        "namePrefix",
        "nameSuffix",
        "configMapGenerator",
        "secretGenerator",
        "generatorOptions",
        "configurations",
        "sortOptions",
    )
)
_NOT_BUILT: Final = frozenset(
    (
        "openapi",
        "commonLabels",
        "labels",
        "commonAnnotations",
        "patchesStrategicMerge",
        "patchesJson6902",
        "patches",
        "images",
        "imageTags",
        "replacements",
        "replicas",
        "vars",
        "components",
        "crds",
        "helmGlobals",
        "helmCharts",
        "helmChartInflationGenerator",
        "generators",
        "transformers",
        "validators",
        "buildMetadata",
    )
)
_GENERATOR: Final = frozenset(
    ("name", "namespace", "behavior", "envs", "env", "files", "literals", "options")
)

_T = TypeVar("_T")


class SortOptions(Struct, frozen=True):
    """In which order objects are written: as they came, or by kinds."""

    by_kind: bool = True
    first: tuple[str, ...] | None = None
    """Kinds; None: those that kustomize puts first."""
    last: tuple[str, ...] | None = None


class Kustomization(Struct, frozen=True):
    """One kustomization.yaml."""

    file: str
    """For people."""
    resources: tuple[str, ...] = ()
    generators: tuple[Generator, ...] = ()
    """First those of ConfigMaps, then those of Secrets, with the options for all in them."""
    namespace: str = ""
    prefix: str = ""
    suffix: str = ""
    configurations: tuple[str, ...] = ()
    sort: SortOptions | None = None


def read_kustomization(folder: Folder) -> Kustomization:
    """The kustomization of a folder. Raises ManifestError for what can't be built, and what to do about it."""
    there = [name for name in FILES if (folder.path / name).is_file()]
    if not there:
        raise ManifestError(
            folder.shown, 0, 0, f"there is no {FILES[0]} in it; for plain manifests there is --hash-names"
        )
    if len(there) > 1:
        raise ManifestError(folder.shown, 0, 0, f"there are both {' and '.join(there)}: keep one of them")
    reader = _Reader(_document(folder, there[0]))
    value = reader.value
    for field in value:
        if field in _NOT_BUILT and value[field] not in (None, [], {}, ""):
            raise reader.error(
                (field,),
                f"{field} is what reroll generate does not do: build this with kustomize, and where plain manifests "
                f"are to be hashed pipe that in (kustomize build {folder.shown} | reroll generate --hash-names -)",
            )
        if field not in _BUILT and field not in _NOT_BUILT:
            raise reader.error((field,), f"there is no field {field} in a kustomization")
    if value.get("apiVersion", _VERSION) != _VERSION or value.get("kind", _KIND) != _KIND:
        raise reader.error(("kind",), f"it is none of {_VERSION} {_KIND}; a Component needs kustomize itself")
    general = reader.options(("generatorOptions",), value.get("generatorOptions"))
    generators = [
        *reader.generators("configMapGenerator", "ConfigMap", general),
        *reader.generators("secretGenerator", "Secret", general),
    ]
    found = Kustomization(
        file=reader.document.origin,
        resources=(*reader.texts(("resources",)), *reader.texts(("bases",))),
        generators=tuple(generators),
        namespace=reader.text(("namespace",)),
        prefix=reader.text(("namePrefix",)),
        suffix=reader.text(("nameSuffix",)),
        configurations=reader.texts(("configurations",)),
        sort=reader.sort(),
    )
    if not value.keys() - {"apiVersion", "kind"}:
        raise ManifestError(found.file, 0, 0, "is empty: it names no resources and no generators")
    return found


def read_name_references(folder: Folder, file: str) -> list[Place]:
    """The nameReference of a `configurations` file: where custom kinds name other objects. Raises ManifestError."""
    reader = _Reader(_document(folder, file))
    found: list[Place] = []
    for field in reader.value:
        if field in ("namePrefix", "nameSuffix", "namespace") and reader.value[field]:
            raise reader.error(
                (field,), f"{field} in configurations is what reroll generate does not do: use kustomize"
            )
    for number, entry in enumerate(reader.items(("nameReference",))):
        at: tuple[str | int, ...] = ("nameReference", number)
        target = reader.gvk(at, entry)
        for index, spec in enumerate(reader.items((*at, "fieldSpecs"))):
            path = reader.text((*at, "fieldSpecs", index, "path"))
            if not path:
                raise reader.error((*at, "fieldSpecs", index), "a field spec needs a path")
            found.append(Place(target, reader.gvk((*at, "fieldSpecs", index), spec), split_path(path)))
    return found


def _document(folder: Folder, file: str) -> Document:
    documents = [
        one for one in read_documents(folder.read(file), folder.name_of(file)) if one.data is not None
    ]
    if len(documents) != 1:
        raise ManifestError(folder.name_of(file), 0, 0, "has to be one document")
    return documents[0]


class _Reader:
    """Takes fields out of a document, and says where one is not what it has to be. Values are not quoted: a literal
    can be a Secret's."""

    def __init__(self, document: Document) -> None:
        self.document = document
        value = document.data
        if not isinstance(value, dict):
            raise ManifestError(document.origin, document.line, 0, "has to be a mapping")
        self.value: dict[str, Any] = value

    def error(self, path: tuple[str | int, ...], message: str) -> ManifestError:
        return ManifestError(self.document.origin, *self.document.where(path), message)

    def at(self, path: tuple[str | int, ...]) -> Any:
        found: Any = self.value
        for step in path:
            if isinstance(step, str) and not isinstance(found, dict):
                return None
            found = found.get(step) if isinstance(step, str) else found[step]
        return found

    def text(self, path: tuple[str | int, ...]) -> str:
        return self._of(path, str, "text: put it in quotes")

    def flag(self, path: tuple[str | int, ...]) -> bool:
        return self._of(path, bool, "true or false")

    def mapping(self, path: tuple[str | int, ...]) -> dict[str, Any]:
        return self._of(path, dict, "a mapping")

    def items(self, path: tuple[str | int, ...]) -> list[dict[str, Any]]:
        found: list[Any] = self._of(path, list, "a list")
        for number, item in enumerate(found):
            if not isinstance(item, dict):
                raise self.error((*path, number), f"{_shown((*path, number))} has to be a mapping")
        return found

    def texts(self, path: tuple[str | int, ...]) -> tuple[str, ...]:
        found: list[Any] = self._of(path, list, "a list")
        return tuple(self.text((*path, number)) for number in range(len(found)))

    def text_map(self, path: tuple[str | int, ...]) -> dict[str, str]:
        return {key: self.text((*path, key)) for key in self.mapping(path)}

    def _of(self, path: tuple[str | int, ...], kind: Callable[[], _T], called: str) -> _T:
        found = self.at(path)
        if found is None:
            return kind()
        if type(found) is not kind:
            raise self.error(path, f"{_shown(path)} has to be {called}")
        return cast("_T", found)

    def known(self, path: tuple[str | int, ...], fields: Iterable[str]) -> None:
        for field in self.mapping(path).keys() - set(fields):
            raise self.error((*path, field), f"there is no field {field} in {_shown(path)}")

    def options(self, path: tuple[str | int, ...], value: object) -> GeneratorOptions:
        if value is None:
            return GeneratorOptions()
        self.known(path, ("labels", "annotations", "disableNameSuffixHash", "immutable"))
        return GeneratorOptions(
            labels=self.text_map((*path, "labels")),
            annotations=self.text_map((*path, "annotations")),
            disable_name_suffix_hash=self.flag((*path, "disableNameSuffixHash")),
            immutable=self.flag((*path, "immutable")),
        )

    def generators(self, field: str, kind: str, general: GeneratorOptions) -> Iterable[Generator]:
        for number, entry in enumerate(self.items((field,))):
            at = (field, number)
            self.known(at, _GENERATOR | ({"type"} if kind == "Secret" else set()))
            name = self.text((*at, "name"))
            if not name:
                raise self.error(at, f"{_shown(at)} needs a name")
            behavior = self.text((*at, "behavior"))
            if behavior not in ("", "create", "replace", "merge", "unspecified"):
                raise self.error((*at, "behavior"), "behavior is one of create, replace and merge")
            one = self.text((*at, "env"))
            line, _ = self.document.where(at)
            yield Generator(
                kind="Secret" if kind == "Secret" else "ConfigMap",
                name=name,
                where=f"{self.document.origin}:{line}: {field} {name}",
                namespace=self.text((*at, "namespace")),
                behavior=cast("Behavior", "" if behavior == "unspecified" else behavior),
                envs=(*self.texts((*at, "envs")), *((one,) if one else ())),
                files=self.texts((*at, "files")),
                literals=self.texts((*at, "literals")),
                type=self.text((*at, "type")),
                options=self.options((*at, "options"), entry.get("options")).under(general),
            )

    def sort(self) -> SortOptions | None:
        at = ("sortOptions",)
        if self.value.get("sortOptions") is None:
            return None
        self.known(at, ("order", "legacySortOptions"))
        order = self.text((*at, "order"))
        if order not in ("legacy", "fifo"):
            raise self.error((*at, "order"), "sortOptions.order is legacy or fifo")
        kinds = (*at, "legacySortOptions")
        if self.at(kinds) is None:
            return SortOptions(by_kind=order == "legacy")
        if order == "fifo":
            raise self.error(kinds, "legacySortOptions goes with the order legacy only")
        self.known(kinds, ("orderFirst", "orderLast"))
        return SortOptions(True, self.texts((*kinds, "orderFirst")), self.texts((*kinds, "orderLast")))

    def gvk(self, path: tuple[str | int, ...], value: Mapping[str, Any]) -> Gvk:
        return Gvk(self.text((*path, "group")), self.text((*path, "version")), self.text((*path, "kind")))


def _shown(path: tuple[str | int, ...]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")
