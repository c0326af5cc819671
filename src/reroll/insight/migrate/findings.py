"""What a person should look at before Reloader goes: what rolls twice, and what never had an effect."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from msgspec import Struct

from reroll.core.kinds import DEPLOYMENT, ROLLOUT
from reroll.core.policy import SETTINGS, native_layer
from reroll.core.records import ConfigId
from reroll.core.selector import ALL_KINDS, Selector
from reroll.dialects import wave
from reroll.dialects.marks import LAST_RELOADED_FROM
from reroll.dialects.reloader import Keys, config_flags, reloader_layer
from reroll.insight.lint.finding import Severity
from reroll.insight.lint.rules.settings import nearest_key, open_alternation
from reroll.insight.lint.shape import at, mapping
from reroll.insight.migrate.mechanisms import (
    Mechanism,
    acts,
    hashed,
    is_checksum,
    reloader_follows,
    reloader_policy,
)
from reroll.insight.migrate.native import Proposal
from reroll.insight.migrate.scene import Config, Scene, Source, Thing, Workload


class Kind(NamedTuple):
    """One sort of finding."""

    id: str
    severity: Severity
    title: str


KINDS: Final = {
    kind.id: kind
    for kind in (
        Kind("M001", "error", "A pod template that can't be read"),
        Kind("M101", "warning", "Two mechanisms roll a workload for one change"),
        Kind("M102", "warning", "Reloader runs beside a controller of reroll"),
        Kind("M201", "error", "An annotation whose name is almost one that is known"),
        Kind("M202", "error", "An annotation whose value is not understood"),
        Kind("M203", "warning", "An annotation on an object where nothing reads it"),
        Kind("M204", "warning", "An annotation of the pod template that the workload's own hide"),
        Kind("M205", "warning", "Nothing is referenced that could be followed"),
        Kind("M206", "warning", "An object is named that is not there"),
        Kind("M207", "warning", "A search that finds nothing"),
        Kind("M208", "warning", "Reloader or wave does not act on this kind of object"),
        Kind("M209", "warning", "Reloader does not work in this namespace"),
        Kind("M210", "info", "An object is followed that opts out itself"),
        Kind("M211", "info", "All that is followed has a hash in its name"),
        Kind("M301", "info", "No annotation of reroll says the same"),
        Kind("M302", "info", "To take an annotation off the pod template starts a rollout"),
        Kind("M303", "warning", "Reloader matches more than the expression says"),
    )
}
"""By their ids, which never change their meaning."""

_FAMILIES: Final = re.compile(
    r"reloader\.stakater\.com/|(?<![\w.-])wave\.pusher\.com/|(?<![\w.-])reroll\.dev/"
)


class Finding(Struct, frozen=True):
    """One thing to look at. Never a value of a ConfigMap or Secret."""

    id: str
    severity: Severity
    object: str
    """Such as ``deployment/shop/web``."""
    message: str
    file: str = ""
    line: int = 0


Where = Callable[[Source, tuple[str | int, ...]], int]
"""(source of an object, path in it) -> line, 0 where none is known."""


class Finder:
    """Makes findings of one object."""

    def __init__(self, thing: Thing, where: Where) -> None:
        self.thing = thing
        self.where = where

    def __call__(
        self, id: str, message: str, path: tuple[str | int, ...] = (), severity: Severity | None = None
    ) -> Finding:
        source = self.thing.source
        line = self.where(source, path) if path else source.line
        return Finding(id, severity or KINDS[id].severity, self.thing.shown, message, source.file, line)


_ON_OBJECT: Final = ("metadata", "annotations")


def of_workload(
    workload: Workload, scene: Scene, found: list[Mechanism], proposal: Proposal, where: Where
) -> Iterator[Finding]:
    """What there is to say of one workload."""
    say = Finder(workload, where)
    if workload.unreadable:
        yield say("M001", f"its pod template can't be read: {workload.unreadable}", workload.template_at)
    yield from _twice(found, say)
    yield from _names(workload, scene.reloader.keys, say)
    yield from _values(workload, scene.reloader.keys, say)
    yield from _places(workload, scene.reloader.keys, say)
    yield from _hidden(workload, scene.reloader.keys, say)
    yield from _reaches(workload, scene, found, say)
    for key, why in proposal.kept.items():
        yield say("M301", f"{key} stays: {why}", _place(workload, key))
    on_template = [old.key for old in proposal.carried if old.where == "template"]
    if on_template and workload.template_at:
        yield say(
            "M302",
            f"{', '.join(on_template)} on the pod template: once it is taken away (--remove-old) and applied, the pods "
            f"are replaced once",
            (*workload.template_at, *_ON_OBJECT, on_template[0]),
        )


def of_config(config: Config, keys: Keys, where: Where) -> Iterator[Finding]:
    """What there is to say of a ConfigMap, Secret or SecretProviderClass."""
    say = Finder(config, where)
    own = config.annotations
    for_workloads = {keys.auto, keys.search, *keys.reload.values(), *keys.typed_auto.values()}
    for_workloads |= {*keys.exclude.values(), keys.pause_period, keys.rollout_strategy}
    for_workloads |= {wave.UPDATE, *wave.EXTRA.values()}
    for key, value in own.items():
        path = (*_ON_OBJECT, key)
        if key in for_workloads:
            yield say("M203", f"{key} does nothing here: it is read on workloads only", path)
        elif key in (keys.match, keys.ignore) and value not in ("true", "false"):
            yield say("M202", f'{key}: {value[:80]!r}: only exactly "true" has an effect', path)
        elif (meant := _meant(key, keys)) != "":
            yield say("M201", f"{key} is read by nothing: did you mean {meant}?", path)
    yield from _no_text(config, _ON_OBJECT, keys, say)


def of_other(thing: Thing, keys: Keys, where: Where) -> Iterator[Finding]:
    """What there is to say of an object that is neither a workload nor configuration."""
    say = Finder(thing, where)
    namespace = thing.kind == "Namespace"
    for key in thing.annotations:
        theirs = (keys.read(key) or key.startswith(wave.PREFIX)) and key != LAST_RELOADED_FROM
        if theirs and key != wave.CONFIG_HASH:
            message = f"{key} does nothing here: " + (
                "Reloader and wave know no annotations of namespaces"
                if namespace
                else "it belongs on a workload, or on a ConfigMap or Secret"
            )
            yield say("M203", message, (*_ON_OBJECT, key))


def of_scene(scene: Scene) -> Iterator[Finding]:
    """What there is to say of all of it."""
    if scene.reloader.running and scene.controllers:
        yield Finding(
            "M102",
            KINDS["M102"].severity,
            f"deployment/{scene.controllers[0]}",
            f"Reloader runs as {scene.reloader.told_by}: while it does, the controller does not act on its "
            f"annotations, unless it is started with --beside-reloader",
        )


def _place(workload: Workload, key: str) -> tuple[str | int, ...]:
    if key in workload.annotations or not workload.template_at:
        return (*_ON_OBJECT, key)
    return (*workload.template_at, *_ON_OBJECT, key)


def _twice(found: list[Mechanism], say: Finder) -> Iterator[Finding]:
    """reroll takes the rollout of somebody else for what it is; Reloader and wave act on each change by themselves."""
    for number, one in enumerate(found):
        for other in found[number + 1 :]:
            names = {one.name, other.name}
            if "name hash" in names or names == {"checksum", "reroll"}:
                continue
            shared = [name for name in one.objects if name in other.objects and not hashed(name)]
            if shared:
                guess = ", as its name tells" if other.guessed or one.guessed else ""
                yield say(
                    "M101",
                    f"a change of {_listed(shared)} is two rollouts: {one.name} ({_listed(one.how)}) and {other.name} "
                    f"({_listed(other.how)}{guess}) both act on it",
                )


def _meant(key: str, keys: Keys) -> str:
    if key in keys.all or (_FAMILIES.search(key) is None and "reloader" not in key and "wave" not in key):
        return ""
    return nearest_key(key)


def _names(workload: Workload, keys: Keys, say: Finder) -> Iterator[Finding]:
    for place, path in _both(workload):
        for key in place:
            meant = _meant(key, keys)
            if meant:
                yield say("M201", f"{key} is read by nothing: did you mean {meant}?", (*path, key))
            elif "reloader.stakater.com/" in key and key not in keys.all and key != LAST_RELOADED_FROM:
                yield say("M201", f"{key} is read by nothing: Reloader has no such annotation", (*path, key))


def _both(workload: Workload) -> list[tuple[Mapping[str, str], tuple[str | int, ...]]]:
    found: list[tuple[Mapping[str, str], tuple[str | int, ...]]] = [(workload.annotations, _ON_OBJECT)]
    if workload.template_at:
        found.append((workload.carried, (*workload.template_at, *_ON_OBJECT)))
    return found


def _no_text(thing: Thing, path: tuple[str | int, ...], keys: Keys, say: Finder) -> Iterator[Finding]:
    for key, value in mapping(at(thing.value, path)).items():
        if isinstance(key, str) and not isinstance(value, str) and (keys.read(key) or _FAMILIES.search(key)):
            yield say(
                "M202",
                f"{key} is no string, and the API server refuses the object: put its value into quotes",
                (*path, key),
            )


def _values(workload: Workload, keys: Keys, say: Finder) -> Iterator[Finding]:
    own = workload.annotations
    for _, path in _both(workload):
        yield from _no_text(workload, path, keys, say)
    layers = (
        native_layer(own, "the workload"),
        reloader_layer(own, workload.carried, "the workload", kind=workload.kind, keys=keys),
        wave.wave_layer(own, "the workload"),
    )
    for layer in layers:
        for problem in layer.problems if layer is not None else ():
            if not _meant(problem.annotation, keys):
                yield say("M202", problem.message, _place(workload, problem.annotation))
    for place, path in _both(workload):
        for key in keys.reload.values():
            for item in map(str.strip, place.get(key, "").split(",")):
                if open_alternation(item):
                    yield say(
                        "M303",
                        f"Reloader reads {item[:80]!r} in {key} as ^{item[:80]}$, which is anchored in part only; "
                        f"reroll and what is proposed match whole names",
                        (*path, key),
                    )
        if keys.search in place and place[keys.search] not in ("true", "false"):
            yield say(
                "M202",
                f'{keys.search}: {place[keys.search][:80]!r}: only exactly "true" has an effect',
                (*path, keys.search),
            )


def _places(workload: Workload, keys: Keys, say: Finder) -> Iterator[Finding]:
    for place, path in _both(workload):
        on_template = path != _ON_OBJECT
        for key in place:
            why = ""
            if key in (keys.ignore, keys.match):
                why = "it is read on ConfigMaps and Secrets only"
            elif key == keys.rollout_strategy and (workload.kind != ROLLOUT.kind or on_template):
                why = "it is read on Argo Rollouts only, on their own metadata"
            elif key in (keys.pause_period, keys.paused_at) and workload.kind != DEPLOYMENT.kind:
                why = "it is read on Deployments only"
            elif on_template and (key in SETTINGS or key == wave.UPDATE or key in wave.EXTRA.values()):
                why = "it is read on the workload's own metadata only"
            elif on_template and key in (keys.pause_period, *keys.exclude.values()):
                why = "Reloader reads it on the workload's own metadata only (reroll does here too)"
            elif not on_template and is_checksum(key) and "/" in key and key not in workload.carried:
                why = "only on the pod template does it start a rollout"
            if why:
                where = "on the pod template" if on_template else "here"
                yield say("M203", f"{key} does nothing {where}: {why}", (*path, key))


def _hidden(workload: Workload, keys: Keys, say: Finder) -> Iterator[Finding]:
    """Reloader reads one place or the other, never both; each kind of config object for itself."""
    own, carried = workload.annotations, workload.template_at and workload.carried
    told: set[str] = set()
    for kind in ALL_KINDS:
        group = (keys.reload[kind], keys.search, keys.auto, keys.typed_auto[kind])
        shadow = next((key for key in group if key in own), None)
        for key in group:
            if shadow is not None and carried and key in carried and key not in told:
                if own.get(key) == carried[key]:
                    continue  # both say it
                told.add(key)
                yield say(
                    "M204",
                    f"{key} on the pod template does nothing, for {shadow} stands on the workload: Reloader reads one "
                    f"place or the other, never both",
                    (*workload.template_at, *_ON_OBJECT, key),
                )


def _reaches(workload: Workload, scene: Scene, found: list[Mechanism], say: Finder) -> Iterator[Finding]:
    """Does what it asks for lead anywhere?"""
    reloader = scene.reloader
    policy = reloader_policy(workload, reloader)
    asked = policy.enabled and any(map(reloader.keys.read, [*workload.annotations, *workload.carried]))
    for kind in ALL_KINDS:
        for key in (reloader.keys.reload[kind], reloader.keys.typed_auto[kind]):
            if kind not in reloader.config_kinds and (key in workload.annotations or key in workload.carried):
                yield say(
                    "M208",
                    f"{key} does nothing: Reloader ({reloader.told_by}) does not watch {_WORDS[kind]} objects",
                    _place(workload, key),
                )
    if asked:
        why = acts(workload, reloader, scene)
        if why:
            yield say("M208" if "does not act on" in why else "M209", why)
        else:
            yield from _empty(workload, scene, found, say)
        for item in policy.follow:
            yield from _named(workload, item, scene, say, reloader.keys)
    layer = wave.wave_layer(workload.annotations, "the workload")
    if layer is not None and layer.configmaps:
        if workload.kind not in ("Deployment", "StatefulSet", "DaemonSet"):
            yield say("M208", f"wave does not act on a {workload.kind}", (*_ON_OBJECT, wave.UPDATE))
        elif not workload.referenced and not layer.follow:
            yield say("M205", f"it references no ConfigMap and no Secret, so {wave.UPDATE} does nothing")
        for item in layer.follow or ():
            yield from _named(workload, item, scene, say, reloader.keys)


def _empty(workload: Workload, scene: Scene, found: list[Mechanism], say: Finder) -> Iterator[Finding]:
    reloader = scene.reloader
    policy = reloader_policy(workload, reloader)
    followed = [one.config for one in reloader_follows(workload, scene)]
    wide = [kind for kind in ALL_KINDS if policy.follows_all(kind)]
    if wide and not any(config.kind in wide for config in workload.referenced) and not policy.follow:
        kinds = " and no ".join(_WORDS[kind] for kind in wide)
        yield say("M205", f"it references no {kinds}, so Reloader's auto does nothing")
    elif followed and not policy.follow and all(hashed(config.name) for config in followed):
        names = _listed([config.short(workload.namespace) for config in followed])
        yield say(
            "M211",
            f"{names}: a name with a hash of the content never gets other content, so Reloader has nothing to do",
        )
    if policy.search and not wide:
        known = [scene.find(config) for config in workload.referenced]
        if not workload.referenced:
            yield say("M207", f"it references nothing, so {reloader.keys.search} finds nothing")
        elif not any(
            config is not None and config_flags(config.annotations, reloader.keys).matchable
            for config in known
        ):
            here = scene.complete or all(config is not None for config in known)
            yield say(
                "M207",
                f"nothing that it references carries {reloader.keys.match}"
                + ("" if here else f" in {scene.where}")
                + f", so {reloader.keys.search} finds nothing",
                severity=None if here else "info",
            )


_WORDS: Final = {"configmap": "ConfigMap", "secret": "Secret", "secretproviderclass": "SecretProviderClass"}


def _named(workload: Workload, item: Selector, scene: Scene, say: Finder, keys: Keys) -> Iterator[Finding]:
    """What an item of a named reload leads to."""
    kind = item.kind
    if kind is None or kind == "secretproviderclass":
        return
    home = item.namespace or workload.namespace
    names = scene.named([item], kind, workload.namespace)
    if not names:
        shown = str(Selector(kind, item.namespace, item.pattern))
        yield say(
            "M206",
            f"{shown} is named, and there is none in {scene.where}",
            severity=None
            if scene.complete and (not item.namespace or home == workload.namespace)
            else "info",
        )
    for name in names:
        config = scene.find(ConfigId(kind, home, name))
        if config is not None and config_flags(config.annotations, keys).ignored:
            yield say("M210", f"{kind}/{name} is named, and says {keys.ignore} itself: nothing rolls for it")


def _listed(words: list[str] | tuple[str, ...], most: int = 4) -> str:
    shown = ", ".join(words[:most])
    return shown if len(words) <= most else f"{shown} and {len(words) - most} more"
