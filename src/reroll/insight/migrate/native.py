"""What another tool's annotations say, in reroll's own.

A workload's annotations of Reloader and wave are one group as far as `auto`, `follow` and `search` go: Reloader reads
one place or the other, so that to take one of them away can bring another one into force. So they are carried over
all together, or, where one of them has no equal, none is. The lists of `exclude` and an Argo Rollout's strategy stand
for themselves.

That both mean the same is tested with generated annotations (`tests/insight/migrate/test_native.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

import yaml
from msgspec import Struct
from msgspec.structs import replace

from reroll.core.kinds import DEPLOYMENT, ROLLOUT
from reroll.core.policy import (
    AUTO,
    FOLLOW,
    IGNORE,
    MATCH,
    MODE,
    SEARCH,
    Layer,
    PolicyDefaults,
    Problem,
    native_layer,
    plural,
    resolve,
)
from reroll.core.records import ConfigKind
from reroll.core.selector import ALL_KINDS, MAX_ITEMS, Selector, parse_items
from reroll.dialects import wave
from reroll.dialects.reloader import DEFAULT_KEYS, Keys, reloader_layer
from reroll.insight.migrate.patterns import as_items

WORKLOAD: Final = "the workload"


class Old(NamedTuple):
    """An annotation of another tool."""

    where: Literal["object", "template"]
    key: str


class Proposal(Struct, frozen=True):
    """What to write on one object."""

    annotations: dict[str, str] = {}
    """Those of reroll that are not there yet, or say less."""
    carried: tuple[Old, ...] = ()
    """Those of other tools whose meaning reroll's own then have: they can go."""
    kept: dict[str, str] = {}
    """Those that have to stay -> why."""

    @property
    def snippet(self) -> str:
        """As it stands in a manifest; "" where nothing is to be written."""
        if not self.annotations:
            return ""
        return yaml.dump(
            {"metadata": {"annotations": self.annotations}},
            Dumper=yaml.CSafeDumper,
            sort_keys=False,
            width=1000,
        )


class _NoEqual(Exception):
    """Why a setting can't be said in reroll's own annotations, and the annotation that says it."""

    def __init__(self, key: str, why: str) -> None:
        super().__init__(why)
        self.key = key


def propose(
    kind: str,
    own: Mapping[str, str],
    carried: Mapping[str, str],
    *,
    keys: Keys = DEFAULT_KEYS,
    namespace: Mapping[str, str] | None = None,
    auto_all: bool = False,
) -> Proposal:
    """reroll's annotations for a workload of this kind, given its own annotations and those its pod template has.

    `namespace` are the annotations of its namespace, and `auto_all` is the setting of the controller: where an
    annotation of Reloader's is about one kind only, they decide on the others, and `reroll.dev/auto` is about all.
    """
    native = native_layer(own, WORKLOAD)
    theirs = reloader_layer(own, carried, WORKLOAD, kind=kind, keys=keys)
    waves = wave.wave_layer(own, WORKLOAD)
    written: dict[str, str] = {}
    gone: list[Old] = []
    kept: dict[str, str] = {}

    group = _group(own, carried, keys)
    if group:
        layers = [layer for layer in (theirs, waves) if layer is not None]
        problems = {p.annotation: p for layer in layers for p in layer.problems}
        bad = [problems[old.key] for old in group if old.key in problems]
        try:
            if bad:
                raise _NoEqual(bad[0].annotation, "it can't be read as it stands: correct it first")
            below = native_layer(namespace, "namespace") if namespace else Layer()
            written |= _group_settings(own, native, layers, below, auto_all)
            gone += group
        except _NoEqual as error:
            written.clear()
            for old in group:
                kept[old.key] = str(error) if old.key == error.key else f"it goes with {error.key}"
            kept.setdefault(error.key, str(error))

    items, excluded = _excluded(own, carried, native, keys, theirs.problems if theirs else (), kept)
    gone += excluded
    if items:
        written[IGNORE] = items
    if keys.rollout_strategy in own and kind == ROLLOUT.id and theirs is not None:
        _mode(own, native, theirs, keys, written, gone, kept)
    if kind == DEPLOYMENT.id:
        for place in (own, carried):
            if keys.pause_period in place:
                kept[keys.pause_period] = (
                    "no annotation of reroll pauses a Deployment as it is rolled; reroll.dev/settle waits without "
                    "a pause"
                )
    return Proposal(written, tuple(dict.fromkeys(gone)), kept)


def propose_config(annotations: Mapping[str, str], keys: Keys = DEFAULT_KEYS) -> Proposal:
    """reroll's annotations for a ConfigMap, a Secret or a SecretProviderClass."""
    written: dict[str, str] = {}
    gone: list[Old] = []
    for old, new in ((keys.match, MATCH), (keys.ignore, IGNORE)):
        value = annotations.get(old)
        if value not in ("true", "false"):
            continue  # it says nothing, and a finding tells so
        gone.append(Old("object", old))
        if value == "true" and annotations.get(new, "").strip().lower() != "true":
            written[new] = "true"
    return Proposal(written, tuple(gone))


def _group(own: Mapping[str, str], carried: Mapping[str, str], keys: Keys) -> list[Old]:
    """The annotations that make up auto, follow and search, also those that others hide."""
    theirs = {keys.auto, keys.search, *keys.reload.values(), *keys.typed_auto.values()}
    waves = {wave.UPDATE, *wave.EXTRA.values()}
    found = [Old("object", key) for key in own if key in theirs or key in waves]
    return found + [Old("template", key) for key in carried if key in theirs]


def _group_settings(
    own: Mapping[str, str],
    native: Layer,
    layers: Sequence[Layer],
    below: Layer,
    auto_all: bool,
) -> dict[str, str]:
    """auto, follow and search, as far as `layers` (the strongest first) say them and the workload's own annotations
    don't. Raises _NoEqual."""
    written: dict[str, str] = {}
    said: dict[ConfigKind, bool | None] = {
        kind: _first([getattr(layer, plural(kind)) for layer in layers]) for kind in ALL_KINDS
    }
    if native.configmaps is None and any(value is not None for value in said.values()):
        _unwritten(own, AUTO)
        rest = resolve([below], PolicyDefaults(auto_all=auto_all))
        followed = [
            kind for kind in ALL_KINDS if (rest.follows_all(kind) if said[kind] is None else said[kind])
        ]
        written[AUTO] = (
            "true" if len(followed) == len(ALL_KINDS) else ",".join(map(plural, followed)) or "false"
        )
    searching = next((layer for layer in layers if layer.search is not None), None)
    if native.search is None and searching is not None:
        _unwritten(own, SEARCH)
        if searching.search and searching.search_kinds != ALL_KINDS:
            only = " and ".join(map(plural, searching.search_kinds))
            raise _NoEqual(
                searching.origins["search"].split()[1],
                f"it is about {only} only, for an annotation of the workload hides it for the rest; "
                f"{SEARCH} is about all",
            )
        written[SEARCH] = "true" if searching.search else "false"
    following = next((layer for layer in layers if layer.follow is not None), None)
    if native.follow is None and following is not None:
        _unwritten(own, FOLLOW)
        written[FOLLOW] = _items(following)
    return written


def _first(values: Sequence[bool | None]) -> bool | None:
    return next((value for value in values if value is not None), None)


def _unwritten(own: Mapping[str, str], key: str) -> None:
    if key in own:
        raise _NoEqual(key, "it can't be read as it stands: correct it first")


def _items(layer: Layer) -> str:
    """The items of `follow`. Raises _NoEqual."""
    key = layer.origins["follow"].split()[1]
    found: dict[str, None] = {}
    for item in layer.follow or ():
        names: tuple[str, ...] | None = (item.pattern,)
        if item.syntax == "regex":
            names = as_items(item.pattern)
            if names is None:
                raise _NoEqual(
                    key, f"the regular expression {item.pattern[:80]!r} can't be said with names and globs"
                )
        place = "/".join(part for part in (item.kind, item.namespace) if part)
        found |= dict.fromkeys(f"{place}/{name}" for name in names or ())
    text = ", ".join(found)
    read = parse_items(text)
    if not found:
        raise _NoEqual(key, "it names nothing that can exist")
    if read.errors or len(found) > MAX_ITEMS:
        why = read.errors[0].message if read.errors else f"it is more than {MAX_ITEMS} items"
        raise _NoEqual(key, f"{FOLLOW} can't say it: {why}")
    return text


def _excluded(
    own: Mapping[str, str],
    carried: Mapping[str, str],
    native: Layer,
    keys: Keys,
    problems: Sequence[Problem],
    kept: dict[str, str],
) -> tuple[str, list[Old]]:
    """(the whole value of `reroll.dev/ignore`, "" where it needs no change; what it carries)."""
    gone: list[Old] = []
    items: dict[str, None] = {}
    bad = {problem.annotation for problem in problems}
    for kind in ALL_KINDS:
        key = keys.exclude[kind]
        if key not in own and key not in carried:
            continue
        if key in bad or "ignore" in native.refusals:
            culprit = IGNORE if "ignore" in native.refusals else key
            kept[key] = f"{culprit} can't be read as it stands: correct it first"
            continue
        value = own.get(key, carried.get(key, ""))
        items |= dict.fromkeys(f"{kind}/{name}" for name in map(str.strip, value.split(",")) if name)
        gone += [Old("object", key)] if key in own else []
        gone += [Old("template", key)] if key in carried else []
    wanted = parse_items(", ".join(items)).selectors
    missing = [item for item in wanted if _whole(item) not in native.ignore]
    present = own.get(IGNORE, "").strip() if native.ignore else ""
    total = ", ".join([*([present] if present else []), *map(str, missing)])
    if not missing:
        return "", gone
    if len(parse_items(total).selectors) > MAX_ITEMS or parse_items(total).errors:
        for old in gone:
            kept[old.key] = f"{IGNORE} would have more than {MAX_ITEMS} items"
        return "", []
    return total, gone


def _whole(item: Selector) -> Selector:
    return replace(item, keys=None)


def _mode(
    own: Mapping[str, str],
    native: Layer,
    theirs: Layer,
    keys: Keys,
    written: dict[str, str],
    gone: list[Old],
    kept: dict[str, str],
) -> None:
    """An Argo Rollout's strategy."""
    key = keys.rollout_strategy
    if any(problem.annotation == key for problem in theirs.problems):
        kept[key] = "it can't be read as it stands: correct it first"
    elif "mode" in native.refusals:
        kept[key] = f"{MODE} can't be read as it stands: correct it first"
    else:
        gone.append(Old("object", key))
        if native.mode is None and theirs.mode is not None:
            written[MODE] = theirs.mode
