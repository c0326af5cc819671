"""What the rules look at: the workloads, the config objects and the kustomizations of the input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, Final

from msgspec import Struct

from reroll.core.kinds import KINDS
from reroll.core.policy import FOLLOW, native_layer
from reroll.core.selector import Selector
from reroll.insight.lint.finding import Finding, Severity, shown
from reroll.insight.lint.shape import at, mapping, strings, text
from reroll.insight.lint.uses import Kind, Use, uses
from reroll.manifests.edit import Edit
from reroll.manifests.stream import Document
from reroll.manifests.yaml_text import Path

_CONFIG_KINDS: Final[dict[str, Kind]] = {"ConfigMap": "configmap", "Secret": "secret"}
_TEMPLATES: Final[dict[tuple[str, str], Path]] = {
    **{(kind.group, kind.kind): kind.template for kind in KINDS.values()},
    ("apps", "ReplicaSet"): ("spec", "template"),
    ("", "ReplicationController"): ("spec", "template"),
    ("", "PodTemplate"): ("template",),
    ("", "Pod"): (),
}
LONG_RUNNING: Final = ("Deployment", "StatefulSet", "DaemonSet", "Rollout", "DeploymentConfig")
"""Kinds whose pods run until something replaces them."""


class Subject(Struct, frozen=True, dict=True):
    """One object of the input."""

    document: Document
    number: int
    """Of its document in the input."""
    place: Path
    """Of the object in its document."""
    nth: int
    """Which of the objects in its document it is; -1: the document is no object of Kubernetes."""

    @property
    def value(self) -> dict[str, Any]:
        """The object. It may be on disk (`shelf`), so what is asked again and again is kept here."""
        return mapping(self.document.data) if self.nth < 0 else self.document.placed[self.nth].value

    @cached_property
    def kind(self) -> str:
        return text(self.value.get("kind"))

    @property
    def metadata(self) -> dict[str, Any]:
        return mapping(self.value.get("metadata"))

    @cached_property
    def name(self) -> str:
        return text(self.metadata.get("name"))

    @cached_property
    def namespace(self) -> str:
        return text(self.metadata.get("namespace"))

    @cached_property
    def annotations(self) -> dict[str, str]:
        return strings(self.metadata.get("annotations"))

    @property
    def shown(self) -> str:
        name = self.name or text(self.metadata.get("generateName")) or "(no name)"
        return "/".join(part for part in (self.kind.lower() or "object", self.namespace, name) if part)

    def found(
        self, rule: str, severity: Severity, path: Path, message: str, fix: Sequence[Edit] = ()
    ) -> Finding:
        """A finding at `path` of this object; paths of `fix` are from the root of the document."""
        line, column = self.document.where((*self.place, *path))
        return Finding(
            rule,
            severity,
            self.shown,
            shown(path),
            message,
            self.document.origin,
            line,
            column,
            self.number,
            tuple(fix),
        )


class Workload(Subject, frozen=True, dict=True):
    """An object with a pod template."""

    template_at: Path = ()

    @property
    def template(self) -> Any:
        return at(self.value, self.template_at)

    @cached_property
    def template_annotations(self) -> dict[str, str]:
        return strings(mapping(mapping(self.template).get("metadata")).get("annotations"))

    @cached_property
    def uses(self) -> list[Use]:
        return uses(self.template)

    @cached_property
    def follows(self) -> tuple[Selector, ...]:
        """The items of its own `reroll.dev/follow`."""
        if FOLLOW not in self.annotations:
            return ()
        return tuple(native_layer({FOLLOW: self.annotations[FOLLOW]}, self.shown).follow or ())

    @property
    def long_running(self) -> bool:
        return self.kind in LONG_RUNNING


class Config(Subject, frozen=True, dict=True):
    """A ConfigMap or Secret."""

    config: Kind = "configmap"

    @cached_property
    def keys(self) -> frozenset[str]:
        fields = ("data", "binaryData") if self.config == "configmap" else ("data", "stringData")
        return frozenset(
            key for field in fields for key in mapping(self.value.get(field)) if isinstance(key, str)
        )

    @property
    def immutable(self) -> bool:
        return self.value.get("immutable") is True


class Known(Struct, frozen=True):
    """A config object as it is elsewhere: in the cluster, or as it was before. Digests, never values."""

    keys: frozenset[str]
    immutable: bool = False
    digest: str = ""
    """Over all its content, by `before.content_digest`."""
    where: str = ""
    """For people: ``the cluster``, ``git HEAD``."""
    shared_with: str = ""
    """`reroll.dev/share-with`."""


class World:
    """The whole input. `live` and `before` are filled in by who asked a cluster or git."""

    def __init__(
        self, documents: Sequence[Document], *, complete: bool = False, auto_all: bool = False
    ) -> None:
        """Raises ManifestError where a document can't be parsed."""
        self.complete = complete
        """The input is all there is in its namespaces."""
        self.auto_all = auto_all
        """The cluster's controller follows everything (`--auto-all`)."""
        self.documents = documents
        self.subjects: list[Subject] = []
        self.workloads: list[Workload] = []
        self.configs: list[Config] = []
        self.kustomizations: list[Subject] = []
        self.live: dict[tuple[Kind, str, str], Known | None] = {}
        """By kind, namespace as in the manifest, and name; None: the cluster has none of it."""
        self.before: dict[tuple[Kind, str, str], Known] = {}
        for number, document in enumerate(documents):
            self._take(number, document)

    def _take(self, number: int, document: Document) -> None:
        name = document.origin.replace("\\", "/").rpartition("/")[2]
        if name in ("kustomization.yaml", "kustomization.yml", "Kustomization"):
            if isinstance(document.data, dict):
                self.kustomizations.append(Subject(document, number, (), -1))
            return
        for nth, placed in enumerate(document.placed):
            value = placed.value
            group = value["apiVersion"].rpartition("/")[0]
            path = _TEMPLATES.get((group, value["kind"]))
            config = _CONFIG_KINDS.get(value["kind"]) if not group else None
            subject: Subject
            if group == "kustomize.config.k8s.io":
                self.kustomizations.append(Subject(document, number, placed.path, nth))
                continue
            if path is not None and isinstance(at(value, path), dict):
                subject = Workload(document, number, placed.path, nth, path)
                self.workloads.append(subject)
            elif config is not None:
                subject = Config(document, number, placed.path, nth, config)
                self.configs.append(subject)
            else:
                subject = Subject(document, number, placed.path, nth)
            self.subjects.append(subject)

    @cached_property
    def _by_kind_and_name(self) -> dict[tuple[Kind, str], list[Config]]:
        found: dict[tuple[Kind, str], list[Config]] = {}
        for config in self.configs:
            found.setdefault((config.config, config.name), []).append(config)
        return found

    def find(self, kind: Kind, namespace: str, name: str) -> Config | None:
        """The config object of the input that a reference means. One that names no namespace goes wherever it is
        applied, so it may be meant."""
        same = self._by_kind_and_name.get((kind, name), [])
        return next((one for one in same if near(one.namespace, namespace)), None)

    def names(self, kind: Kind, namespace: str) -> Iterator[str]:
        """The names of the config objects that a reference from this namespace could mean."""
        for config in self.configs:
            if config.config == kind and config.name and near(config.namespace, namespace):
                yield config.name


def near(one: str, other: str) -> bool:
    """May these be one namespace? "" is any."""
    return not one or not other or one == other
