"""What makes a workload roll today, mechanism by mechanism, and which config objects each of them rolls it for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from reroll.core.consumption import consumption
from reroll.core.kinds import KINDS
from reroll.core.policy import Policy, PolicyDefaults, native_layer, plural, resolve
from reroll.core.records import ConfigId, ConfigKind, Consumed, WorkloadRecord
from reroll.core.selector import ALL_KINDS
from reroll.core.suffix_hash import ALPHABET, LENGTH
from reroll.dialects import Dialects, wave
from reroll.dialects.reloader import config_flags, reloader_layer
from reroll.insight.lint.rules.mechanisms import CHECKSUM
from reroll.insight.lint.shape import entries, mapping, text
from reroll.insight.migrate.native import WORKLOAD
from reroll.insight.migrate.scene import Reloader, Scene, Workload, selected

Name: TypeAlias = Literal["Reloader", "wave", "checksum", "name hash", "reroll"]

NAMES: Final[tuple[Name, ...]] = ("Reloader", "wave", "checksum", "name hash", "reroll")

_HASHED: Final = re.compile(rf".+-[{ALPHABET}]{{{LENGTH}}}\Z")
_OF_SECRETS: Final = re.compile(r"secret|cred|passw|token|tls|cert", re.I)
_OF_CONFIG_MAPS: Final = re.compile(r"config|cm\b|settings", re.I)
_WAVE_KINDS: Final = ("Deployment", "StatefulSet", "DaemonSet")


class Mechanism(Struct, frozen=True):
    """One thing that rolls a workload."""

    name: Name
    how: tuple[str, ...]
    """How it was told, for people."""
    objects: tuple[str, ...]
    """What it rolls for, such as ``configmap/app``."""
    guessed: bool = False
    """The objects are told by the annotation's name only."""


def mechanisms(workload: Workload, scene: Scene) -> list[Mechanism]:
    """Those that act on this workload, in the order of `NAMES`."""
    found = [
        _reloader(workload, scene),
        _wave(workload, scene),
        _checksum(workload),
        _name_hash(workload),
        _reroll(workload, scene),
    ]
    return [one for one in found if one is not None]


def acts(workload: Workload, reloader: Reloader, scene: Scene) -> str:
    """Why Reloader, as it runs, leaves this workload alone, whatever its annotations say; "": it does not."""
    kind = KINDS[workload.kind]
    if kind.plural not in reloader.kinds:
        by = f" ({reloader.told_by})" if reloader.told_by else ""
        return f"Reloader{by} does not act on {kind.plural}"
    if "namespace" in mapping(workload.value.get("metadata")) or workload.namespace:
        home = workload.namespace
        if reloader.namespaces and home not in reloader.namespaces:
            return f"Reloader works in {', '.join(reloader.namespaces)} only, and not in {home}"
        if home in reloader.namespaces_to_ignore:
            return f"Reloader runs with --namespaces-to-ignore {home}"
        labels = scene.namespaces.get(home, ({}, None))[1]
        if labels is not None and not selected(reloader.namespace_selector, labels):
            return f"the labels of namespace {home} do not match Reloader's --namespace-selector"
    return ""


def reloader_policy(workload: Workload, reloader: Reloader) -> Policy:
    """What Reloader's annotations ask of it, as it reads them itself: exclude and pause from the workload only."""
    keys = reloader.keys
    unread = {*keys.exclude.values(), keys.pause_period}
    carried = {key: value for key, value in workload.carried.items() if key not in unread}
    layer = reloader_layer(workload.annotations, carried, WORKLOAD, kind=workload.kind, keys=keys)
    defaults = PolicyDefaults(auto_all=reloader.auto_all, kinds=reloader.config_kinds)
    return resolve([layer] if layer is not None else [], defaults, home=workload.namespace)


def reloader_follows(workload: Workload, scene: Scene) -> tuple[Consumed, ...]:
    """What Reloader rolls it for, were its kind and namespace not left out."""
    record = replace(
        workload.record,
        references=tuple(
            each
            for each in workload.record.references
            if reloader_sees(workload.template, each.kind, each.name)
        ),
    )
    found = _consumed(record, reloader_policy(workload, scene.reloader), scene)
    keys = scene.reloader.keys
    return tuple(
        one
        for one in found
        if (config := scene.find(one.config)) is None
        or (scene.reloader.selects(config) and _wanted(one, *config_flags(config.annotations, keys)[:2]))
    )


def reroll_policy(
    workload: Workload, scene: Scene, *, own: Mapping[str, str] | None, dialects: Dialects
) -> Policy:
    """What reroll's controller would hold for it; `own` are the workload's annotations, where others than it has."""
    record = workload.record if own is None else replace(workload.record, annotations=dict(own))
    defaults = PolicyDefaults(auto_all=scene.reloader.auto_all)
    return dialects.resolve_policy(record, scene.namespace_annotations(workload.namespace), defaults)


def reroll_follows(
    workload: Workload, scene: Scene, policy: Policy, dialects: Dialects
) -> tuple[Consumed, ...]:
    """What reroll's controller would roll it for."""
    return tuple(
        one
        for one in _consumed(workload.record, policy, scene)
        if (config := scene.find(one.config)) is None
        or _wanted(one, *dialects.config_flags(config.annotations)[:2])
    )


def _wanted(one: Consumed, ignored: bool, matchable: bool) -> bool:
    return not ignored and (matchable or not one.needs_match)


def _consumed(record: WorkloadRecord, policy: Policy, scene: Scene) -> tuple[Consumed, ...]:
    return consumption(record, policy, lambda kind, home: scene.named(policy.follow, kind, home))


def short(configs: Iterable[ConfigId], home: str) -> tuple[str, ...]:
    return tuple(config.short(home) for config in configs)


def _reloader(workload: Workload, scene: Scene) -> Mechanism | None:
    if acts(workload, scene.reloader, scene):
        return None
    policy = reloader_policy(workload, scene.reloader)
    if not policy.enabled:
        return None
    by = {"controller setting --auto-all": f"--auto-reload-all ({scene.reloader.told_by})"}
    how = [by.get(one, one) for one in _origins(policy, scene.reloader.keys.pause_period)]
    objects = short((one.config for one in reloader_follows(workload, scene)), workload.namespace)
    return Mechanism("Reloader", tuple(how), objects)


def _origins(policy: Policy, pause: str = "") -> list[str]:
    """Where those settings come from that do anything; `pause` is the annotation that has a Deployment paused."""
    settings = [plural(kind) for kind in ALL_KINDS if policy.follows_all(kind)]
    settings += [name for name in ("search", "follow", "ignore") if getattr(policy, name)]
    settings += ["mode"] if policy.mode != "rollout" else []
    found = [policy.origins.get(name, "") for name in settings]
    if policy.pause is not None:
        found.append(f"annotation {pause}")
    return [one for one in dict.fromkeys(found) if one]


def _wave(workload: Workload, scene: Scene) -> Mechanism | None:
    layer = wave.wave_layer(workload.annotations, WORKLOAD)
    if layer is None or not layer.configmaps or workload.kind not in _WAVE_KINDS:
        return None
    policy = resolve([layer], PolicyDefaults(allow_cross_namespace=True), home=workload.namespace)
    objects = short((one.config for one in _consumed(workload.record, policy, scene)), workload.namespace)
    return Mechanism("wave", tuple(_origins(policy)), objects)


def _checksum(workload: Workload) -> Mechanism | None:
    keys = [key for key in workload.carried if is_checksum(key)]
    if not keys:
        return None
    meant = {config for key in keys for config in workload.referenced if _meant(key, config.kind)}
    how = tuple(f"annotation {key} of the pod template" for key in keys)
    return Mechanism("checksum", how, short(sorted(meant), workload.namespace), guessed=True)


def _meant(key: str, kind: ConfigKind) -> bool:
    """May a checksum of this name be of an object of this kind?"""
    word = key.rpartition("/")[2]
    secrets, config_maps = _OF_SECRETS.search(word), _OF_CONFIG_MAPS.search(word)
    if secrets is None and config_maps is None:
        return True
    return (secrets if kind == "secret" else config_maps if kind == "configmap" else None) is not None


def is_checksum(key: str) -> bool:
    """Is this an annotation that a deploy changes with the content? wave's and Reloader's marks are none."""
    return CHECKSUM.search(key) is not None and "wave.pusher.com/" not in key and "reloader." not in key


def hashed(name: str) -> bool:
    """Does this name look as if kustomize had put a hash of the content behind it?"""
    return _HASHED.match(name) is not None and re.search(r"[0-9]", name[-LENGTH:]) is not None


def _name_hash(workload: Workload) -> Mechanism | None:
    found = [config for config in workload.referenced if hashed(config.name)]
    if not found:
        return None
    return Mechanism("name hash", ("names with a hash of the content",), short(found, workload.namespace))


def _reroll(workload: Workload, scene: Scene) -> Mechanism | None:
    layers = [native_layer(workload.annotations, WORKLOAD)]
    namespace = scene.namespace_annotations(workload.namespace)
    if namespace:
        layers.append(native_layer(namespace, f"namespace {workload.namespace}"))
    policy = resolve(layers, PolicyDefaults(), home=workload.namespace)
    if not policy.enabled:
        return None
    consumed = reroll_follows(workload, scene, policy, Dialects(reloader=None, wave=False))
    return Mechanism(
        "reroll", tuple(_origins(policy)), short((one.config for one in consumed), workload.namespace)
    )


def reloader_sees(template: Mapping[str, Any], kind: ConfigKind, name: str) -> bool:
    """Does Reloader find that this pod template uses the object? (`getContainerUsingResource`: the first volume with
    it, if a container or init container mounts it; then their env and envFrom. No ephemeral containers.)"""
    spec = mapping(template.get("spec"))
    containers = [c for field in ("containers", "initContainers") for _, c in entries(spec.get(field))]
    mounted = {text(m.get("name")) for c in containers for _, m in entries(c.get("volumeMounts"))}
    first = next((v for _, v in entries(spec.get("volumes")) if _holds(v, kind, name)), None)
    if first is not None and text(first.get("name")) in mounted:
        return True
    fields = {"configmap": ("configMapKeyRef", "configMapRef"), "secret": ("secretKeyRef", "secretRef")}
    if kind not in fields:
        return False
    one_key, all_keys = fields[kind]
    return any(
        text(mapping(mapping(v.get("valueFrom")).get(one_key)).get("name")) == name
        for c in containers
        for _, v in entries(c.get("env"))
    ) or any(
        text(mapping(v.get(all_keys)).get("name")) == name
        for c in containers
        for _, v in entries(c.get("envFrom"))
    )


def _holds(volume: Mapping[str, Any], kind: ConfigKind, name: str) -> bool:
    if kind == "secretproviderclass":
        attributes = mapping(mapping(volume.get("csi")).get("volumeAttributes"))
        return text(attributes.get("secretProviderClass")) == name
    field, named = ("configMap", "name") if kind == "configmap" else ("secret", "secretName")
    sources = [s for _, s in entries(mapping(volume.get("projected")).get("sources"))]
    return text(mapping(volume.get(field)).get(named)) == name or any(
        text(mapping(source.get(field)).get("name")) == name for source in sources
    )
