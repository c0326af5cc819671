"""The settings in force for one workload, and reroll's own annotations that make them.

A `Layer` is what one source says: the annotations of the workload, those of its namespace, or (through
`reroll.dialects`) the annotations of another tool. `resolve` puts the layers on top of each other and of the
controller's settings:

* for each setting the first layer that sets it wins. `auto` and `follow` are settings of their own: a
  namespace's ``auto: "true"`` still holds for a workload that has only `follow`; to follow nothing but its
  list, such a workload also sets ``auto: "false"``. Where no layer has `auto`, only the list is followed;
* `follow` of the workload replaces that of the namespace;
* `ignore` is the union of all layers: nobody loses a protection by adding another.

Bad input
---------
A value that can't be read becomes a `Problem`, in words for the workload's owner, and the rest of the policy
holds wherever it can be told what was meant:

* an unknown word in `auto` counts as not named: nothing is followed for its sake, and neither the
  namespace nor ``--auto-all`` speaks in its place, for it may have been meant to say no;
* a bad item of `follow` is left out, the others hold;
* a bad `settle` counts as not set;
* a bad item of `ignore` may be the very thing that must not be rolled, and an unknown `mode` may ask for
  anything but a rollout: then the whole workload is left alone until it is corrected (`Policy.refused`).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from msgspec import Struct, field

from reroll.core.applied import APPLIED, CONFIG, PREFIX, RESTARTING, STANDS_IN_FOR
from reroll.core.durations import format_duration, parse_duration
from reroll.core.records import ConfigKind
from reroll.core.selector import ALL_KINDS, Selector, parse_items

AUTO: Final = PREFIX + "auto"
FOLLOW: Final = PREFIX + "follow"
IGNORE: Final = PREFIX + "ignore"
SEARCH: Final = PREFIX + "search"
MODE: Final = PREFIX + "mode"
SETTLE: Final = PREFIX + "settle"
ON_CREATE: Final = PREFIX + "on-create"
ON_DELETE: Final = PREFIX + "on-delete"
MATCH: Final = PREFIX + "match"
SHARE_WITH: Final = PREFIX + "share-with"

SETTINGS: Final = (AUTO, FOLLOW, IGNORE, SEARCH, MODE, SETTLE, ON_CREATE, ON_DELETE)
"""What a workload or a namespace can set."""
ON_CONFIG: Final = (MATCH, SHARE_WITH)
"""What only a ConfigMap or Secret can set; `ignore` is for both."""
MARKS: Final = (APPLIED, CONFIG, RESTARTING, STANDS_IN_FOR)
"""What reroll writes itself: never policy."""

MODES: Final = ("rollout", "restart", "version")
DEFAULT_MODE: Final = "rollout"
SETTLE_LIMIT: Final = 3600.0

_AUTO_WORDS: Final[dict[str, ConfigKind]] = {
    "configmaps": "configmap",
    "configmap": "configmap",
    "secrets": "secret",
    "secret": "secret",
    "secretproviderclasses": "secretproviderclass",
    "secretproviderclass": "secretproviderclass",
}
_BOOLS: Final = {"true": True, "false": False}


class Problem(Struct, frozen=True, gc=False):
    """Something in an annotation that could not be read, or does not do what its author must expect."""

    annotation: str
    value: str
    """As it stands in the annotation, shortened."""
    message: str
    """What is wrong, what holds instead, and what to write; for the owner of the workload."""


class Pause(Struct, frozen=True, gc=False):
    """A Deployment is paused as it is rolled, and resumed by itself: Reloader's ``pause-period``."""

    period: float | None
    """Seconds that it stays paused after a roll; None: it is not paused (any more)."""
    annotation: str
    """Where it is noted when it was paused."""
    since: float | None = None
    """When that was, by this annotation, in seconds since the epoch; None: it is not there."""

    def over(self, now: float) -> bool:
        """Has it been paused, and for long enough?"""
        return self.since is not None and now >= self.since + (self.period or 0.0)


class Layer(Struct, frozen=True, gc=False):
    """What one source says. None: it does not say."""

    configmaps: bool | None = None
    secrets: bool | None = None
    secretproviderclasses: bool | None = None
    search: bool | None = None
    search_kinds: tuple[ConfigKind, ...] = ALL_KINDS
    follow: tuple[Selector, ...] | None = None
    ignore: tuple[Selector, ...] = ()
    mode: str | None = None
    settle: float | None = None
    on_create: bool | None = None
    on_delete: bool | None = None
    pause: Pause | None = None
    origins: dict[str, str] = field(default_factory=dict)
    """Setting (a field of this record) -> where it comes from, such as ``annotation reroll.dev/auto of the
    workload``."""
    problems: tuple[Problem, ...] = ()
    refusals: dict[str, str] = field(default_factory=dict)
    """Setting -> why nothing may be done while this layer's value of it stands."""


class PolicyDefaults(Struct, frozen=True, gc=False):
    """The controller's settings that hold where no annotation says otherwise."""

    auto_all: bool = False
    """``--auto-all``: every workload follows all it references, unless its `auto` says otherwise."""
    settle: float = 1.0
    """Seconds without a further change before a change is acted on."""
    settle_max: float = 10.0
    """Seconds after the first change at which it is acted on however many follow."""
    allow_cross_namespace: bool = False
    """Whether `follow` may name objects of other namespaces; their owners must agree too (`share-with`)."""
    instantiate: bool = False
    """A stale CronJob starts a Job at once; otherwise only its template is changed, for the next one."""
    finished_jobs: bool = False
    """A stale Job is created again although it is finished."""
    on_create: bool | None = None
    """Whether the creation of an object that was not there rolls; None: if pods that run without it would use it."""
    on_delete: bool = False
    """Whether the deletion of an object rolls."""
    kinds: tuple[ConfigKind, ...] = ALL_KINDS
    """The kinds of config object that count at all."""


class Policy(Struct, frozen=True, gc=False):
    """The settings in force for one workload."""

    configmaps: bool = False
    """Follow every ConfigMap that the pod template references."""
    secrets: bool = False
    """Follow every Secret that the pod template references."""
    secretproviderclasses: bool = False
    """Follow every SecretProviderClass that the pod template mounts."""
    search: bool = False
    """Follow those referenced objects that carry `match`."""
    search_kinds: tuple[ConfigKind, ...] = ALL_KINDS
    """The kinds that `search` is about: all, but for Reloader's annotations on a pod template."""
    follow: tuple[Selector, ...] = ()
    ignore: tuple[Selector, ...] = ()
    mode: str = DEFAULT_MODE
    settle: float = 1.0
    settle_max: float = 10.0
    cross_namespace: bool = False
    instantiate: bool = False
    finished_jobs: bool = False
    on_create: bool | None = None
    """Roll when an object that was not there is created; None: if pods that run without it would use it."""
    on_delete: bool = False
    """Roll when an object is deleted."""
    pause: Pause | None = None
    origins: dict[str, str] = field(default_factory=dict)
    """Setting (a field of this record) -> where it comes from, for people; every setting is there."""
    problems: tuple[Problem, ...] = ()
    refused: str = ""
    """Why nothing may be done for this workload, for people; "": nothing stands against it."""

    @property
    def enabled(self) -> bool:
        """True if anything asks reroll to follow the workload's configuration."""
        return any(map(self.follows_all, ALL_KINDS)) or self.search or bool(self.follow)

    def follows_all(self, kind: ConfigKind) -> bool:
        """True if every object of this kind that the pod template references is followed."""
        if kind == "configmap":
            return self.configmaps
        return self.secrets if kind == "secret" else self.secretproviderclasses


class ConfigFlags(NamedTuple):
    """What the annotations of a config object say to those who would follow it."""

    ignored: bool = False
    matchable: bool = False
    shared_with: str = ""


_EMPTY: Final = Layer()


def plural(kind: ConfigKind) -> str:
    """A kind of config object as `Policy` and `auto` call many of it."""
    return f"{kind}es" if kind.endswith("s") else f"{kind}s"


def native_layer(annotations: Mapping[str, str], origin: str) -> Layer:
    """What the annotations ``reroll.dev/*`` of a workload or a namespace say.

    `origin` names the object for people: ``the workload``, ``namespace shop``. Never raises.
    """
    if not any(key.startswith(PREFIX) for key in annotations):
        return _EMPTY
    read = _Reading(origin)
    for key in sorted(annotations):
        if key.startswith(PREFIX):
            read.annotation(key, annotations[key])
    return read.layer()


class _Reading:
    """Collects a layer, annotation by annotation."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.auto: frozenset[ConfigKind] | None = None
        self.search: bool | None = None
        self.follow: tuple[Selector, ...] | None = None
        self.ignore: tuple[Selector, ...] = ()
        self.mode: str | None = None
        self.settle: float | None = None
        self.on_create: bool | None = None
        self.on_delete: bool | None = None
        self.origins: dict[str, str] = {}
        self.problems: list[Problem] = []
        self.refusals: dict[str, str] = {}

    def layer(self) -> Layer:
        return Layer(
            configmaps=None if self.auto is None else "configmap" in self.auto,
            secrets=None if self.auto is None else "secret" in self.auto,
            secretproviderclasses=None if self.auto is None else "secretproviderclass" in self.auto,
            search=self.search,
            follow=self.follow,
            ignore=self.ignore,
            mode=self.mode,
            settle=self.settle,
            on_create=self.on_create,
            on_delete=self.on_delete,
            origins=self.origins,
            problems=tuple(self.problems),
            refusals=self.refusals,
        )

    def annotation(self, key: str, value: str) -> None:
        where = f"annotation {key} of {self.origin}"
        if key == AUTO:
            self.read_auto(value)
            self.origins.update({plural(kind): where for kind in ALL_KINDS})
        elif key == SEARCH:
            self.search = self.read_bool("search", key, value, where)
        elif key == ON_CREATE:
            self.on_create = self.read_bool("on_create", key, value, where)
        elif key == ON_DELETE:
            self.on_delete = self.read_bool("on_delete", key, value, where)
        elif key == FOLLOW:
            self.follow = self.items(key, value, "it is left out, the other items hold")
            self.origins["follow"] = where
        elif key == IGNORE:
            self.read_ignore(value)
            self.origins["ignore"] = where
        elif key == MODE:
            self.read_mode(value)
            self.origins["mode"] = where
        elif key == SETTLE:
            self.read_settle(value, where)
        elif key not in ON_CONFIG and key not in MARKS:
            self.problem(key, value, f"no such setting{_nearest(key)}")

    def problem(self, key: str, value: str, message: str) -> str:
        message = f"{key}: {_short(value)!r} on {self.origin}: {message}"
        self.problems.append(Problem(annotation=key, value=_short(value), message=message))
        return message

    def read_auto(self, value: str) -> None:
        words = [word for word in value.lower().replace(",", " ").split() if word]
        if words in (["true"], ["false"]):
            self.auto = frozenset(ALL_KINDS if words == ["true"] else ())
            return
        self.auto = frozenset(_AUTO_WORDS[word] for word in words if word in _AUTO_WORDS)
        bad = [word for word in words if word not in _AUTO_WORDS]
        if bad or not words:
            held = " and ".join(plural(kind) for kind in ALL_KINDS if kind in self.auto) or "nothing"
            self.problem(
                AUTO,
                value,
                f'it takes "true", "false", "configmaps", "secrets" or "secretproviderclasses"; {held} is followed '
                f"for its sake",
            )

    def items(self, key: str, value: str, consequence: str) -> tuple[Selector, ...]:
        word = value.strip().lower()
        if word in _BOOLS or not word:
            hint = f'; to follow everything it references, write {AUTO}: "true"' if word == "true" else ""
            self.problem(key, value, f"it takes a list of names{hint}")
            return ()
        items = parse_items(value)
        for error in items.errors:
            self.problem(key, error.item, f"{error.message}; {consequence}")
        return items.selectors

    def read_ignore(self, value: str) -> None:
        word = value.strip().lower()
        if word == "true":
            message = f'it takes a list of names; to leave a workload alone, write {AUTO}: "false"'
            self.refusals["ignore"] = self.problem(
                IGNORE, value, f"{message}; nothing is done until it is corrected"
            )
            return
        known = len(self.problems)
        self.ignore = self.items(
            IGNORE, value, "nothing is done until it is corrected, because it may be what must not be rolled"
        )
        if len(self.problems) > known and word and word not in _BOOLS:
            self.refusals["ignore"] = "; ".join(problem.message for problem in self.problems[known:])

    def read_mode(self, value: str) -> None:
        mode = value.strip().lower()
        if mode in MODES:
            self.mode = mode
            return
        message = f"no such mode: it takes {_listed(MODES)}; nothing is done until it is corrected"
        self.refusals["mode"] = self.problem(MODE, value, message)

    def read_bool(self, setting: str, key: str, value: str, where: str) -> bool | None:
        said = _BOOLS.get(value.strip().lower())
        if said is None:
            self.problem(key, value, 'it takes "true" or "false", and counts as not set')
        else:
            self.origins[setting] = where
        return said

    def read_settle(self, value: str, where: str) -> None:
        try:
            settle = parse_duration(value)
            if settle > SETTLE_LIMIT:
                raise ValueError(f"more than {format_duration(SETTLE_LIMIT)}")
        except ValueError as error:
            self.problem(SETTLE, value, f"{error}; it counts as not set")
            return
        self.settle = settle
        self.origins["settle"] = where


def resolve(layers: Sequence[Layer], defaults: PolicyDefaults, *, home: str = "") -> Policy:
    """One policy out of `layers`, the strongest first, over the controller's settings.

    `home` is the workload's namespace: items of `follow` that name another one are left out, with a Problem,
    unless `defaults.allow_cross_namespace`. Never raises.
    """
    origins: dict[str, str] = {}
    refused: list[str] = []
    problems = [problem for layer in layers for problem in layer.problems]

    def first(setting: str) -> Layer:
        for layer in layers:
            if getattr(layer, setting) is not None or (setting == "mode" and "mode" in layer.refusals):
                origins[setting] = layer.origins.get(setting, "")
                return layer
        origins[setting] = "default"
        return _EMPTY

    auto: dict[str, bool] = {}
    for kind in ALL_KINDS:
        setting = plural(kind)
        said: bool | None = getattr(first(setting), setting)
        auto[setting] = (defaults.auto_all if said is None else said) and kind in defaults.kinds
        if said is None and defaults.auto_all:
            origins[setting] = "controller setting --auto-all"
    search = first("search")
    search_kinds = tuple(kind for kind in search.search_kinds if kind in defaults.kinds)
    follow = first("follow").follow or ()
    mode = first("mode")
    if "mode" in mode.refusals:
        refused.append(mode.refusals["mode"])
    settle = first("settle").settle
    on_create, on_delete = first("on_create").on_create, first("on_delete").on_delete
    ignoring = [layer for layer in layers if "ignore" in layer.origins]
    origins["ignore"] = ", ".join(layer.origins["ignore"] for layer in ignoring) or "default"
    refused += [layer.refusals["ignore"] for layer in ignoring if "ignore" in layer.refusals]

    if not defaults.allow_cross_namespace and any(item.namespace not in (None, home) for item in follow):
        for item in follow:
            if item.namespace not in (None, home):
                message = (
                    f"{origins['follow']}: {item} is of another namespace, which this controller does not follow "
                    f"unless its setting --cross-namespace is on; it is left out, the other items hold"
                )
                problems.append(Problem(annotation=FOLLOW, value=str(item), message=message))
        follow = tuple(item for item in follow if item.namespace in (None, home))
    follow = tuple(item for item in follow if item.kind is None or item.kind in defaults.kinds)
    chosen = defaults.settle if settle is None else settle
    return Policy(
        configmaps=auto["configmaps"],
        secrets=auto["secrets"],
        secretproviderclasses=auto["secretproviderclasses"],
        search=bool(search.search) and bool(search_kinds),
        search_kinds=search_kinds,
        follow=follow,
        ignore=tuple(dict.fromkeys(item for layer in ignoring for item in layer.ignore)),
        mode=mode.mode or DEFAULT_MODE,
        settle=chosen,
        settle_max=max(defaults.settle_max, chosen),
        cross_namespace=defaults.allow_cross_namespace,
        instantiate=defaults.instantiate,
        finished_jobs=defaults.finished_jobs,
        on_create=defaults.on_create if on_create is None else on_create,
        on_delete=defaults.on_delete if on_delete is None else on_delete,
        pause=next((layer.pause for layer in layers if layer.pause is not None), None),
        origins=origins,
        problems=tuple(problems),
        refused="; ".join(refused),
    )


def config_flags(annotations: Mapping[str, str]) -> ConfigFlags:
    """What reroll's own annotations on a ConfigMap or Secret say. Only ``"true"`` is true, in any case."""
    return ConfigFlags(
        ignored=annotations.get(IGNORE, "").strip().lower() == "true",
        matchable=annotations.get(MATCH, "").strip().lower() == "true",
        shared_with=annotations.get(SHARE_WITH, "").strip(),
    )


def _nearest(key: str) -> str:
    name = key.removeprefix(PREFIX).lower()
    names = [setting.removeprefix(PREFIX) for setting in SETTINGS]
    close = difflib.get_close_matches(name[:64], [*names, *(k.removeprefix(PREFIX) for k in ON_CONFIG)], n=1)
    return f"; did you mean {PREFIX}{close[0]}?" if close else f"; there are {_listed(names)}"


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _short(value: str) -> str:
    return value if len(value) <= 80 else f"{value[:77]}..."
