"""The annotations of stakater/Reloader, read as reroll's policy.

Facts are those of Reloader 1.4.21 (`ShouldReload`, in its own order):

1. For ConfigMaps, Secrets and SecretProviderClasses apart: if the workload has none of
   ``<type>.reloader.stakater.com/reload``, ``reloader.stakater.com/search``, ``reloader.stakater.com/auto`` and
   ``<type>.reloader.stakater.com/auto``, all four are read from its pod template instead. They are never merged.
2. ``<type>s.exclude.reloader.stakater.com/reload`` is a list of plain names; it wins over everything below.
3. ``<type>.reloader.stakater.com/reload`` is a list of regular expressions over the name, separated by commas
   wherever they stand. The pod template need not reference the object.
4. ``reloader.stakater.com/search: "true"``, exactly, follows referenced objects that carry ``match``.
5. ``auto`` or ``<type>.../auto`` true, as Go's strconv.ParseBool reads it, follows what is referenced. If
   either has any other value that is not empty, ``--auto-all`` does not hold for that type; a named or searched
   object is still followed.

Beside that, ``deployment.reloader.stakater.com/pause-period`` pauses a Deployment as it is rolled, and
``reloader.stakater.com/rollout-strategy: restart`` has an Argo Rollout restart its pods, with its template left
as it is. Flags can give most annotations another name (`Keys`).

Where reroll differs, on purpose:

* Reloader compiles ``^item$``, so that ``a|b`` also matches ``a-anything`` and ``some-b``. Here every
  alternative has to match the whole name.
* The exclude annotation and the pause period are read from the pod template too, where the workload has none of
  them (Reloader's own pending tests ask for it).
* A bad expression is a Problem that the workload's owner gets to see; the other items hold.
* Reloader reacts to any key of a named object. Where the pod template references the object, only the keys that
  it reads count here, as everywhere in reroll (rule 3 of the design); where it does not, all keys count.
* Expressions are matched in linear time, whoever wrote them (`reroll.core.name_regex`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Final

from reroll.core.durations import parse_duration
from reroll.core.kinds import DEPLOYMENT, ROLLOUT
from reroll.core.name_regex import RegexError, compile_regex
from reroll.core.observe import epoch
from reroll.core.policy import ConfigFlags, Layer, Pause, Problem, plural
from reroll.core.records import ConfigKind
from reroll.core.selector import ALL_KINDS, MAX_ITEMS, NAME, Selector
from reroll.dialects.marks import LAST_RELOADED_FROM

MARKER: Final = "reloader.stakater.com/"
"""In every annotation of Reloader that no flag has renamed, at the start or after a type."""


class Keys:
    """The names of Reloader's annotations, as its flags give them. They are fixed once made."""

    def __init__(
        self,
        *,
        configmap: str = "configmap.reloader.stakater.com/reload",
        secret: str = "secret.reloader.stakater.com/reload",
        auto: str = "reloader.stakater.com/auto",
        configmap_auto: str = "configmap.reloader.stakater.com/auto",
        secret_auto: str = "secret.reloader.stakater.com/auto",
        ignore: str = "reloader.stakater.com/ignore",
        search: str = "reloader.stakater.com/search",
        match: str = "reloader.stakater.com/match",
        pause_period: str = "deployment.reloader.stakater.com/pause-period",
        paused_at: str = "deployment.reloader.stakater.com/paused-at",
    ) -> None:
        spc = "secretproviderclass.reloader.stakater.com"
        self.reload: Mapping[ConfigKind, str] = {
            "configmap": configmap,
            "secret": secret,
            "secretproviderclass": f"{spc}/reload",
        }
        self.typed_auto: Mapping[ConfigKind, str] = {
            "configmap": configmap_auto,
            "secret": secret_auto,
            "secretproviderclass": f"{spc}/auto",
        }
        self.exclude: Mapping[ConfigKind, str] = {
            kind: f"{plural(kind)}.exclude.reloader.stakater.com/reload" for kind in ALL_KINDS
        }
        self.auto = auto
        self.ignore = ignore
        self.search = search
        self.match = match
        self.pause_period = pause_period
        self.paused_at = paused_at
        self.rollout_strategy = "reloader.stakater.com/rollout-strategy"

    @cached_property
    def all(self) -> frozenset[str]:
        """Every annotation that is read, from workloads and from config objects."""
        several = (*self.reload.values(), *self.typed_auto.values(), *self.exclude.values())
        single = (self.auto, self.ignore, self.search, self.match, self.pause_period, self.paused_at)
        return frozenset((*several, *single, self.rollout_strategy))

    def read(self, key: str) -> bool:
        """Is this an annotation of Reloader's, be it one that nothing reads?"""
        return key in self.all or (MARKER in key and key != LAST_RELOADED_FROM)


DEFAULT_KEYS: Final = Keys()

_TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_PLAIN: Final = re.compile(r"[-a-z0-9]+")
"""An expression that only matches itself. A ``.`` is a wildcard to Reloader."""


def reloader_layer(
    annotations: Mapping[str, str],
    template_annotations: Mapping[str, str],
    origin: str,
    *,
    kind: str = DEPLOYMENT.id,
    keys: Keys = DEFAULT_KEYS,
) -> Layer | None:
    """What Reloader's annotations on a workload and its pod template say; None if there are none.

    `origin` names the workload for people: ``the workload``; `kind` is that of its `WorkloadId`. Never raises.
    """
    if not any(map(keys.read, annotations)) and not any(map(keys.read, template_annotations)):
        return None
    workload_kind = kind
    auto: dict[str, bool | None] = {}
    search: bool | None = None
    search_kinds: list[ConfigKind] = []
    follow: list[Selector] = []
    ignore: list[Selector] = []
    origins: dict[str, list[str]] = {}
    problems: dict[Problem, None] = {}
    both = ((annotations, origin), (template_annotations, f"the pod template of {origin}"))
    for kind in ALL_KINDS:
        reload, typed_auto = keys.reload[kind], keys.typed_auto[kind]
        own = any(key in annotations for key in (reload, keys.search, keys.auto, typed_auto))
        source, place = both[0] if own else both[1]

        exclude = keys.exclude[kind]
        for where, named in both:
            if exclude in where:
                ignore += _excluded(kind, exclude, where[exclude], problems)
                origins.setdefault("ignore", []).append(f"annotation {exclude} of {named}")
                break
        if reload in source:
            follow += _named(kind, reload, source[reload], problems)
            origins.setdefault("follow", []).append(f"annotation {reload} of {place}")
        if keys.search in source:
            search = search or source[keys.search] == "true"
            if source[keys.search] == "true":
                search_kinds.append(kind)
            origins.setdefault("search", []).append(f"annotation {keys.search} of {place}")
        auto[kind] = None
        for key in (keys.auto, typed_auto):
            value = source.get(key, "")
            if not value:
                continue
            if value not in _TRUE and value not in _FALSE:
                message = (
                    f'{key}: {value[:80]!r} on {place}: it takes "true" or "false", and counts as "false"'
                )
                problems[Problem(annotation=key, value=value[:80], message=message)] = None
            if not auto[kind]:
                auto[kind] = value in _TRUE
                origins[plural(kind)] = [f"annotation {key} of {place}"]
    mode = None
    if workload_kind == ROLLOUT.id:
        mode = _mode(keys, annotations, origins, origin, problems)
    pause = None
    if workload_kind == DEPLOYMENT.id:
        pause = _pause(keys, both, annotations.get(keys.paused_at), problems)
    return Layer(
        configmaps=auto["configmap"],
        secrets=auto["secret"],
        secretproviderclasses=auto["secretproviderclass"],
        search=search,
        search_kinds=tuple(search_kinds) if search_kinds else ALL_KINDS,
        follow=tuple(dict.fromkeys(follow)) if "follow" in origins else None,
        ignore=tuple(dict.fromkeys(ignore)),
        mode=mode,
        pause=pause,
        origins={setting: " and ".join(dict.fromkeys(places)) for setting, places in origins.items()},
        problems=tuple(problems),
    )


def config_flags(annotations: Mapping[str, str], keys: Keys = DEFAULT_KEYS) -> ConfigFlags:
    """What Reloader's annotations on a ConfigMap or Secret say: ``ignore`` and ``match``, exactly ``"true"``."""
    return ConfigFlags(
        ignored=annotations.get(keys.ignore) == "true", matchable=annotations.get(keys.match) == "true"
    )


_Problems = dict[Problem, None]
_Places = tuple[tuple[Mapping[str, str], str], ...]
"""Annotations, and what they stand on for people."""


def _mode(
    keys: Keys,
    annotations: Mapping[str, str],
    origins: dict[str, list[str]],
    origin: str,
    problems: _Problems,
) -> str | None:
    """An Argo Rollout's ``rollout-strategy``; None where it says nothing."""
    value = annotations.get(keys.rollout_strategy)
    if value is None:
        return None
    origins["mode"] = [f"annotation {keys.rollout_strategy} of {origin}"]
    if value not in ("rollout", "restart"):
        message = (
            f'{keys.rollout_strategy}: {value[:80]!r} on {origin}: it takes "rollout" or "restart", and counts as '
            f'"rollout"'
        )
        problems[Problem(annotation=keys.rollout_strategy, value=value[:80], message=message)] = None
    return "restart" if value == "restart" else "rollout"


def _pause(keys: Keys, places: _Places, paused_at: str | None, problems: _Problems) -> Pause | None:
    """How long a Deployment is paused as it is rolled; None where nothing says so and nothing is left of it.

    A time that can't be read counts as long ago: what was paused must not stay so for ever
    (stakater/Reloader#1219).
    """
    period: float | None = None
    for place, origin in places:
        value = place.get(keys.pause_period)
        if value is None:
            continue
        try:
            period = parse_duration(value)
            if not period:
                raise ValueError("no time at all")
        except ValueError as error:
            message = (
                f"{keys.pause_period}: {value[:80]!r} on {origin}: {error}; it is rolled without a pause"
            )
            problems[Problem(annotation=keys.pause_period, value=value[:80], message=message)] = None
            period = None
        break
    if period is None and paused_at is None:
        return None
    return Pause(period, keys.paused_at, None if paused_at is None else epoch(paused_at))


def _items(value: str) -> list[str]:
    return [item for item in map(str.strip, value.split(",")) if item]


def _named(kind: ConfigKind, key: str, value: str, problems: _Problems) -> list[Selector]:
    found = []
    items = _items(value)
    if len(items) > MAX_ITEMS:
        message = (
            f"{key}: more than {MAX_ITEMS} items: {items[MAX_ITEMS][:80]!r} and all after it are left out"
        )
        problems[Problem(annotation=key, value=items[MAX_ITEMS][:80], message=message)] = None
    for item in items[:MAX_ITEMS]:
        if _PLAIN.fullmatch(item):
            found.append(Selector(kind=kind, namespace=None, pattern=item))
            continue
        try:
            compile_regex(item)
        except RegexError as error:
            message = (
                f"{key}: {item[:80]!r} is no regular expression for names: {error}; the other items hold"
            )
            problems[Problem(annotation=key, value=item[:80], message=message)] = None
            continue
        found.append(Selector(kind=kind, namespace=None, pattern=item, syntax="regex"))
    return found


def _excluded(kind: ConfigKind, key: str, value: str, problems: _Problems) -> list[Selector]:
    found = []
    for item in _items(value):
        if NAME.fullmatch(item):
            found.append(Selector(kind=kind, namespace=None, pattern=item))
        else:
            message = f"{key}: {item[:80]!r} is no name, and Reloader reads no patterns here; nothing is excluded by it"
            problems[Problem(annotation=key, value=item[:80], message=message)] = None
    return found
