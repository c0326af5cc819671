"""What is looked at: workloads, config objects and all that stands around them, wherever they were read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any, Final

import msgspec
from msgspec import Struct

from reroll.core.kinds import DEPLOYMENT, KINDS, ROLLOUT
from reroll.core.labels import LabelSelector
from reroll.core.records import ConfigId, ConfigKind, WorkloadId, WorkloadRecord
from reroll.core.references import references
from reroll.core.selector import Selector
from reroll.core.template import PodTemplate
from reroll.dialects.reloader import DEFAULT_KEYS, Keys
from reroll.insight.lint.shape import at, mapping, strings, text
from reroll.manifests.yaml_text import Path

_KINDS: Final = {(kind.group, kind.kind): kind for kind in KINDS.values()}
_CONFIGS: Final[dict[tuple[str, str], ConfigKind]] = {
    ("", "ConfigMap"): "configmap",
    ("", "Secret"): "secret",
    ("secrets-store.csi.x-k8s.io", "SecretProviderClass"): "secretproviderclass",
}


class Source(Struct, frozen=True):
    """Where an object stands; of one in a cluster, nothing is known."""

    file: str = ""
    line: int = 0
    document: int = -1
    """The number of its document in the input; -1: there is none."""
    path: Path = ()
    """Of the object in its document."""


class Thing(Struct, frozen=True, dict=True):
    """One object."""

    value: dict[str, Any]
    source: Source
    kind: str
    namespace: str
    name: str

    @cached_property
    def annotations(self) -> dict[str, str]:
        return strings(mapping(self.value.get("metadata")).get("annotations"))

    @property
    def shown(self) -> str:
        """Such as ``deployment/shop/web``."""
        return "/".join(
            part for part in (self.kind.lower(), self.namespace, self.name or "(no name)") if part
        )


class Workload(Thing, frozen=True, dict=True):
    """One with a pod template."""

    record: WorkloadRecord
    template: dict[str, Any]
    template_at: Path
    """Of the pod template in the object; (): it is another one's (Argo Rollout, spec.workloadRef)."""
    unreadable: str = ""
    """Why its pod template can't be read."""

    @property
    def carried(self) -> dict[str, str]:
        """The annotations of the pod template."""
        return self.record.template_annotations

    @cached_property
    def referenced(self) -> dict[ConfigId, None]:
        """What the pod template references and a restart helps with."""
        return {
            ConfigId(each.kind, self.record.id.namespace, each.name): None
            for each in self.record.references
            if each.rolls
        }


class Config(Thing, frozen=True, dict=True):
    """A ConfigMap, a Secret or a SecretProviderClass."""

    id: ConfigId


class Reloader(Struct, frozen=True):
    """How Reloader runs, as far as that decides what it acts on."""

    told_by: str = ""
    """The Deployment ``NAMESPACE/NAME``, or the flag that told; "": nothing did, and its defaults are assumed."""
    running: bool = False
    """It was found in the cluster."""
    keys: Keys = DEFAULT_KEYS
    auto_all: bool = False
    kinds: tuple[str, ...] = ("deployments", "statefulsets", "daemonsets", "cronjobs", "jobs")
    config_kinds: tuple[ConfigKind, ...] = ("configmap", "secret", "secretproviderclass")
    namespaces: tuple[str, ...] = ()
    """Those it works in; (): all."""
    namespaces_to_ignore: tuple[str, ...] = ()
    namespace_selector: str = ""
    config_selector: str = ""
    """A label selector for ConfigMaps and Secrets."""
    as_ours: str = ""
    """The flags of `reroll controller` that say the same; "": none are needed."""

    def selects(self, config: Config) -> bool:
        """Do the labels of this object match?"""
        if not self.config_selector or config.id.kind == "secretproviderclass":
            return True
        return selected(self.config_selector, strings(mapping(config.value.get("metadata")).get("labels")))


def selected(selector: str, labels: Mapping[str, str]) -> bool:
    """Does a label selector select what has these labels? One that can't be understood selects everything."""
    try:
        return _parsed(selector).matches(labels)
    except ValueError:
        return True


_parsed = lru_cache(LabelSelector.parse)


class Scene:
    """All that was read."""

    def __init__(self, *, complete: bool = False, where: str = "") -> None:
        self.complete = complete
        """It holds all there is in its namespaces: what is not here does not exist."""
        self.where = where
        """For people: ``the cluster``, ``these manifests``."""
        self.workloads: list[Workload] = []
        self.configs: list[Config] = []
        self.others: list[Thing] = []
        self.namespaces: dict[str, tuple[dict[str, str], dict[str, str] | None]] = {}
        """Name -> (annotations, labels; None where they are not known)."""
        self.controllers: list[str] = []
        """Deployments that run reroll, as ``NAMESPACE/NAME``."""
        self.reloader = Reloader()
        self._answers: dict[tuple[str, str, ConfigKind, str], list[str]] = {}
        self.notes: list[str] = []
        """What could not be read."""

    def add(self, value: dict[str, Any], source: Source, namespace: str = "") -> None:
        """Take in an object as decoded from JSON. `namespace` is that of objects that name none."""
        group = text(value.get("apiVersion")).rpartition("/")[0]
        kind = text(value.get("kind"))
        metadata = mapping(value.get("metadata"))
        name = text(metadata.get("name")) or text(metadata.get("generateName"))
        home = text(metadata.get("namespace")) or namespace
        if not group and kind == "Namespace":
            labels = metadata.get("labels")
            self.namespaces[name] = (strings(metadata.get("annotations")), strings(labels))
            self.others.append(Thing(value, source, kind, "", name))
        elif (group, kind) in _KINDS and isinstance(value.get("spec"), dict):
            self._workload(value, source, _KINDS[group, kind].kind, home, name)
        elif (group, kind) in _CONFIGS:
            id = ConfigId(_CONFIGS[group, kind], home, name)
            self.configs.append(Config(value, source, kind, home, name, id))
        else:
            self.others.append(Thing(value, source, kind, home, name))

    def _workload(self, value: dict[str, Any], source: Source, kind: str, namespace: str, name: str) -> None:
        path = KINDS[kind].template
        template = mapping(at(value, path))
        record, problem = _record(WorkloadId(kind, namespace, name), value, template)
        self.workloads.append(Workload(value, source, kind, namespace, name, record, template, path, problem))

    def lend(self) -> None:
        """Give those Argo Rollouts a pod template that have it from a Deployment. To be called once, at the end."""
        lenders = {(one.namespace, one.name): one for one in self.workloads if one.kind == DEPLOYMENT.kind}
        for number, one in enumerate(self.workloads):
            lender = lenders.get((one.namespace, text(at(one.value, ("spec", "workloadRef", "name")))))
            if one.kind != ROLLOUT.kind or lender is None:
                continue
            record, problem = _record(one.record.id, one.value, lender.template)
            self.workloads[number] = Workload(
                one.value, one.source, one.kind, one.namespace, one.name, record, lender.template, (), problem
            )

    @cached_property
    def _names(self) -> dict[ConfigKind, dict[str, dict[str, Config]]]:
        found: dict[ConfigKind, dict[str, dict[str, Config]]] = {}
        for config in self.configs:
            found.setdefault(config.id.kind, {}).setdefault(config.namespace, {}).setdefault(
                config.name, config
            )
        return found

    def named(self, items: Sequence[Selector], kind: ConfigKind, home: str) -> list[str]:
        """The names of what is there of this kind and is meant by one of the items of a workload of `home`. Many
        workloads have the same patterns, and a namespace can have many names, so the answers are kept."""
        found: dict[str, None] = {}
        for item in items:
            if item.kind in (None, kind):
                found |= dict.fromkeys(self._matched(item, kind, item.namespace or home))
        return list(found)

    def _matched(self, item: Selector, kind: ConfigKind, namespace: str) -> Sequence[str]:
        """Of manifests, what names no namespace may be in any."""
        key = (item.syntax, item.pattern, kind, namespace)
        known = self._answers.get(key)
        if known is None:
            spaces = self._names.get(kind, {})
            wanted = dict.fromkeys([namespace, ""]) if namespace else dict.fromkeys(spaces)
            held = [spaces[space] for space in wanted if space in spaces]
            if item.syntax == "exact":
                known = [item.pattern] if any(item.pattern in names for names in held) else []
            else:
                known = list(
                    dict.fromkeys(name for names in held for name in names if item.matches_name(name))
                )
            self._answers[key] = known
        return known

    def find(self, id: ConfigId) -> Config | None:
        """The config object that is meant; None: it is not here."""
        spaces = self._names.get(id.kind, {})
        wanted = [id.namespace, ""] if id.namespace else list(spaces)
        found = (spaces.get(space, {}).get(id.name) for space in wanted)
        return next((one for one in found if one is not None), None)

    def namespace_annotations(self, name: str) -> Mapping[str, str]:
        return self.namespaces.get(name, ({}, None))[0]


def _record(id: WorkloadId, value: dict[str, Any], template: dict[str, Any]) -> tuple[WorkloadRecord, str]:
    """What is kept of a workload, and what is wrong with its pod template."""
    problem = ""
    try:
        pods = msgspec.convert({"spec": template.get("spec") or {}}, PodTemplate)
    except msgspec.ValidationError as error:
        pods, problem = PodTemplate(), str(error)
    record = WorkloadRecord(
        id=id,
        uid="",
        resource_version="",
        generation=0,
        annotations=strings(mapping(value.get("metadata")).get("annotations")),
        template_annotations=strings(mapping(template.get("metadata")).get("annotations")),
        references=references(pods),
        template_hash="",
        mark=None,
        applied=None,
    )
    return record, problem
