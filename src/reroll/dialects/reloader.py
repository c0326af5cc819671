"""The annotations of stakater/Reloader, read as reroll's policy.

Facts are those of Reloader 1.4.21 (`ShouldReload`, in its own order):

1. For ConfigMaps and for Secrets apart: if the workload has none of ``<type>.reloader.stakater.com/reload``,
   ``reloader.stakater.com/search``, ``reloader.stakater.com/auto`` and ``<type>.reloader.stakater.com/auto``,
   all four are read from its pod template instead. The two are never merged.
2. ``configmaps.exclude`` and ``secrets.exclude.reloader.stakater.com/reload`` are plain names, read from the
   workload only; they win over everything below.
3. ``<type>.reloader.stakater.com/reload`` is a list of regular expressions over the name, separated by commas
   wherever they stand. The pod template need not reference the object.
4. ``reloader.stakater.com/search: "true"``, exactly, follows referenced objects that carry ``match``.
5. ``auto`` or ``<type>.../auto`` true, as Go's strconv.ParseBool reads it, follows what is referenced. If
   either has any other value that is not empty, ``--auto-all`` does not hold for that type; a named or searched
   object is still followed.

Where reroll differs, on purpose:

* Reloader compiles ``^item$``, so that ``a|b`` also matches ``a-anything`` and ``some-b``. Here every
  alternative has to match the whole name.
* A bad expression is a Problem that the workload's owner gets to see; the other items hold.
* Reloader reacts to any key of a named object. Where the pod template references the object, only the keys that
  it reads count here, as everywhere in reroll (rule 3 of the design); where it does not, all keys count.
* Expressions are matched in linear time, whoever wrote them (`reroll.core.name_regex`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from reroll.core.name_regex import RegexError, compile_regex
from reroll.core.policy import ConfigFlags, Layer, Problem
from reroll.core.records import ConfigKind
from reroll.core.selector import KINDS, MAX_ITEMS, NAME, Selector

MARKER: Final = "reloader.stakater.com/"
"""In every annotation of Reloader, at the start or after a type."""

AUTO: Final = "reloader.stakater.com/auto"
SEARCH: Final = "reloader.stakater.com/search"
IGNORE: Final = "reloader.stakater.com/ignore"
MATCH: Final = "reloader.stakater.com/match"

_TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_PLAIN: Final = re.compile(r"[-a-z0-9]+")
"""An expression that only matches itself. A ``.`` is a wildcard to Reloader."""


def reloader_layer(
    annotations: Mapping[str, str], template_annotations: Mapping[str, str], origin: str
) -> Layer | None:
    """What Reloader's annotations on a workload and its pod template say; None if there are none.

    `origin` names the workload for people: ``the workload``. Never raises.
    """
    if not _any(annotations) and not _any(template_annotations):
        return None
    auto: dict[str, bool | None] = {}
    search: bool | None = None
    search_kinds: list[ConfigKind] = []
    follow: list[Selector] = []
    ignore: list[Selector] = []
    origins: dict[str, list[str]] = {}
    problems: dict[Problem, None] = {}
    for kind in KINDS:
        reload, typed_auto = f"{kind}.reloader.stakater.com/reload", f"{kind}.reloader.stakater.com/auto"
        source, place = annotations, origin
        if not any(key in annotations for key in (reload, SEARCH, AUTO, typed_auto)):
            source, place = template_annotations, f"the pod template of {origin}"

        exclude = f"{kind}s.exclude.reloader.stakater.com/reload"
        if exclude in annotations:
            found = _excluded(kind, exclude, annotations[exclude], problems)
            ignore += found
            origins.setdefault("ignore", []).append(f"annotation {exclude} of {origin}")
        if reload in source:
            follow += _named(kind, reload, source[reload], problems)
            origins.setdefault("follow", []).append(f"annotation {reload} of {place}")
        if SEARCH in source:
            search = search or source[SEARCH] == "true"
            if source[SEARCH] == "true":
                search_kinds.append(kind)
            origins.setdefault("search", []).append(f"annotation {SEARCH} of {place}")
        auto[kind] = None
        for key in (AUTO, typed_auto):
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
                origins[f"{kind}s"] = [f"annotation {key} of {place}"]
    return Layer(
        configmaps=auto["configmap"],
        secrets=auto["secret"],
        search=search,
        search_kinds=tuple(search_kinds) if search_kinds else KINDS,
        follow=tuple(dict.fromkeys(follow)) if "follow" in origins else None,
        ignore=tuple(dict.fromkeys(ignore)),
        origins={setting: " and ".join(dict.fromkeys(places)) for setting, places in origins.items()},
        problems=tuple(problems),
    )


def config_flags(annotations: Mapping[str, str]) -> ConfigFlags:
    """What Reloader's annotations on a ConfigMap or Secret say: ``ignore`` and ``match``, exactly ``"true"``."""
    return ConfigFlags(ignored=annotations.get(IGNORE) == "true", matchable=annotations.get(MATCH) == "true")


def _any(annotations: Mapping[str, str]) -> bool:
    return any(MARKER in key for key in annotations)


def _items(value: str) -> list[str]:
    return [item for item in map(str.strip, value.split(",")) if item]


def _named(kind: ConfigKind, key: str, value: str, problems: dict[Problem, None]) -> list[Selector]:
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


def _excluded(kind: ConfigKind, key: str, value: str, problems: dict[Problem, None]) -> list[Selector]:
    found = []
    for item in _items(value):
        if NAME.fullmatch(item):
            found.append(Selector(kind=kind, namespace=None, pattern=item))
        else:
            message = f"{key}: {item[:80]!r} is no name, and Reloader reads no patterns here; nothing is excluded by it"
            problems[Problem(annotation=key, value=item[:80], message=message)] = None
    return found
