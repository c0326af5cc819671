"""configMapGenerator and secretGenerator: the objects that they make, as kustomize makes them."""

from __future__ import annotations

from typing import Any, Final, Literal

from msgspec import Struct

from reroll.core.suffix_hash import wrapped_base64
from reroll.manifests.env_file import read_env_file, read_file_source, read_literal
from reroll.manifests.names import Resource
from reroll.manifests.problem import ManifestError
from reroll.manifests.resource_files import Folder

Behavior = Literal["", "create", "replace", "merge"]


class GeneratorOptions(Struct, frozen=True):
    """`options` of one generator, or `generatorOptions` for all of a kustomization."""

    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    disable_name_suffix_hash: bool = False
    immutable: bool = False

    def under(self, general: GeneratorOptions) -> GeneratorOptions:
        """With those for all below them: a switch that is on there can't be turned off here."""
        return GeneratorOptions(
            labels={**general.labels, **self.labels},
            annotations={**general.annotations, **self.annotations},
            disable_name_suffix_hash=self.disable_name_suffix_hash or general.disable_name_suffix_hash,
            immutable=self.immutable or general.immutable,
        )


class Generator(Struct, frozen=True):
    """One entry of configMapGenerator or secretGenerator."""

    kind: Literal["ConfigMap", "Secret"]
    name: str
    where: str
    """For people: the file, and which entry."""
    namespace: str = ""
    behavior: Behavior = ""
    envs: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    literals: tuple[str, ...] = ()
    type: str = ""
    """Of a Secret; "" is Opaque."""
    options: GeneratorOptions = GeneratorOptions()


_OPAQUE: Final = "Opaque"


def generated(generator: Generator, folder: Folder) -> Resource:
    """The object that a generator makes, without its suffix. Raises ManifestError."""
    metadata: dict[str, Any] = {"name": generator.name}
    if generator.namespace:
        metadata["namespace"] = generator.namespace
    options = generator.options
    if options.labels:
        metadata["labels"] = dict(options.labels)
    if options.annotations:
        metadata["annotations"] = dict(options.annotations)
    value: dict[str, Any] = {"apiVersion": "v1", "kind": generator.kind, "metadata": metadata}
    content = _content(generator, folder)
    if generator.kind == "Secret":
        value["type"] = generator.type or _OPAQUE
        value["data"] = {key: wrapped_base64(each) for key, each in content.items()}
    else:
        for key, each in content.items():
            try:
                value.setdefault("data", {})[key] = each.decode()
            except UnicodeDecodeError:
                value.setdefault("binaryData", {})[key] = wrapped_base64(each)
        if value.get("data") == {}:
            del value["data"]
    if options.immutable:
        value["immutable"] = True
    return Resource(
        value,
        generator.where,
        hashed=not options.disable_name_suffix_hash,
        behavior=generator.behavior,
    )


def _content(generator: Generator, folder: Folder) -> dict[str, bytes]:
    found: dict[str, bytes] = {}

    def add(key: str, value: bytes, source: str) -> None:
        if key in found:
            raise ManifestError(
                generator.where, 0, 0, f"{source} gives the key {key!r}, which is there already"
            )
        found[key] = value

    for file in generator.envs:
        content = folder.read(file)
        try:
            pairs = read_env_file(content)
        except ValueError as error:
            raise ManifestError(folder.name_of(file), 0, 0, str(error)) from None
        for key, text in pairs:
            add(key, text.encode(), file)
    for number, literal in enumerate(generator.literals):
        try:
            key, text = read_literal(literal)
        except ValueError as error:
            raise ManifestError(generator.where, 0, 0, f"literals[{number}]: {error}") from None
        add(key, text.encode("utf-8", "surrogatepass"), f"literals[{number}]")
    for number, source in enumerate(generator.files):
        try:
            key, file = read_file_source(source)
        except ValueError as error:
            raise ManifestError(generator.where, 0, 0, f"files[{number}]: {error}") from None
        add(key, folder.read(file), source)
    return found


def absorb(resources: list[Resource], new: Resource) -> None:
    """Put what was generated to what is there: as another object, or in place of one, or into one, by its behavior.

    What takes the place of an object keeps that one's place, names, and its own labels over those. It is given a
    suffix only if both are: one that came from a file is called what it is called there. Raises ManifestError.
    """
    same = [one for one in resources if new.id in (*one.previous, one.id)]
    what = f"{new.gvk.kind} {new.name}"
    if len(same) > 1:
        raise ManifestError(new.where, 0, 0, f"{what} could be several objects that are there")
    if not same:
        if new.behavior in ("merge", "replace"):
            raise ManifestError(
                new.where,
                0,
                0,
                f"there is no {what} to {new.behavior}: add it to resources, or leave behavior out",
            )
        resources.append(new)
        return
    old = same[0]
    if new.behavior not in ("merge", "replace"):
        raise ManifestError(
            new.where,
            0,
            0,
            f"there is a {what} already, in {old.where}: set its behavior to merge or replace",
        )
    for field in ("labels", "annotations"):
        if merged := {**(old.metadata.get(field) or {}), **(new.metadata.get(field) or {})}:
            new.metadata[field] = merged
    new.metadata["name"] = old.name
    new.metadata.pop("namespace", None)
    if old.namespace:
        new.metadata["namespace"] = old.namespace
    if new.behavior == "merge":
        for field in ("data", "binaryData"):
            before = {key: _text(each) for key, each in (old.value.get(field) or {}).items()}
            merged = {**before, **(new.value.pop(field, None) or {})}
            if merged:
                new.value[field] = merged
    new.hashed = new.hashed and old.hashed
    new.behavior, new.previous = old.behavior, old.previous
    new.prefixes, new.suffixes = old.prefixes, old.suffixes
    resources[resources.index(old)] = new


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "null" if value is None else str(value)
