"""Which config objects a workload follows: its references and its policy, put together.

The store asks this whenever a workload or its policy changed, and indexes the answer in both directions.
For policies with patterns the answer also depends on which objects exist; `patterns` tells the index whom to
ask again when an object appears.

How the parts combine, per config object:

* `auto` adds what the pod template references, with the keys that it reads;
* `search` adds the same, but only while the object carries `match`;
* an item of `follow` without keys adds the keys that the template reads, or all keys where the template does
  not reference the object; with keys it adds these. Items only ever add: beside `auto` an item with keys
  narrows nothing, `ignore` does;
* a pattern covers the objects that exist and those that the template references;
* an item without a kind means the kinds that the template references by that name; else those that exist;
  else both, so that the first to appear is seen as appearing;
* `ignore` takes away, last of all: whole objects, or single keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from reroll.core.policy import Policy
from reroll.core.records import ConfigId, ConfigKind, Consumed, Reference, WorkloadRecord
from reroll.core.selector import Selector

Existing = Callable[[ConfigKind, str], Iterable[str]]
"""(kind, namespace) -> names of the objects that exist there."""

UNMEANT: Final = frozenset({"kube-root-ca.crt"})
"""Published into each namespace by the control plane for the API server's certificate: no pattern means it."""


class _Part:
    """One config object while it is put together."""

    __slots__ = ("keys", "needs_match", "references")

    def __init__(self) -> None:
        self.keys: set[str] | None = set()
        self.references: list[Reference] = []
        self.needs_match = True

    def add(self, keys: Iterable[str] | None, references: Iterable[Reference], needs_match: bool) -> None:
        if keys is None or self.keys is None:
            self.keys = None
        else:
            self.keys.update(keys)
        self.references += [reference for reference in references if reference not in self.references]
        self.needs_match = self.needs_match and needs_match


def consumption(workload: WorkloadRecord, policy: Policy, existing: Existing) -> tuple[Consumed, ...]:
    """The config objects that `workload` follows under `policy`, sorted by kind, namespace and name.

    Those of other namespaces are in it if the policy allows any; whether their owners agree is asked later,
    of the object (`reroll.core.selector.shared_with`). Objects that only `search` finds have `needs_match`.
    """
    if not policy.enabled:
        return ()
    home = workload.id.namespace
    referenced: dict[ConfigId, list[Reference]] = {}
    for reference in workload.references:
        config = ConfigId(reference.kind, home, reference.name)
        if reference.rolls and config.can_exist:
            referenced.setdefault(config, []).append(reference)

    parts: dict[ConfigId, _Part] = {}
    for config, references in referenced.items():
        auto = policy.follows_all(config.kind)
        if auto or (policy.search and config.kind in policy.search_kinds):
            parts.setdefault(config, _Part()).add(_keys(references), references, needs_match=not auto)
    origin = policy.origins.get("follow", "")
    for item in policy.follow:
        if item.namespace not in (None, home) and not policy.cross_namespace:
            continue
        for config in _expand(item, home, referenced, existing):
            references = referenced.get(config, [])
            keys: Iterable[str] | None = item.keys
            if keys is not None or not references:
                named = Reference(
                    kind=config.kind,
                    name=config.name,
                    means="named",
                    where=f"{origin}: {item}",
                    keys=item.keys,
                )
                references = [*references, named]
            else:
                keys = _keys(references)
            parts.setdefault(config, _Part()).add(keys, references, needs_match=False)

    followed = (_consumed(config, parts[config], policy.ignore, home) for config in sorted(parts))
    return tuple(consumed for consumed in followed if consumed is not None)


def with_recorded(workload: WorkloadRecord, existing: Existing) -> Existing:
    """`existing`, and what is recorded as applied: a pattern goes on matching an object that was deleted, so that its
    deletion, and its return with other content, are seen."""
    home = workload.id.namespace
    applied = workload.applied.configs if workload.applied is not None else {}
    recorded = [ConfigId.read(short, home) for short in applied]
    if not recorded:
        return existing

    def names(kind: ConfigKind, namespace: str) -> Iterable[str]:
        yield from existing(kind, namespace)
        for config in recorded:
            if (config.kind, config.namespace) == (kind, namespace):
                yield config.name

    return names


def patterns(policy: Policy) -> tuple[Selector, ...]:
    """The items of `follow` whose meaning changes when a matching object appears or goes: patterns, and plain
    names without a kind. A workload with such items is to be asked again then."""
    return tuple(item for item in policy.follow if item.syntax != "exact" or item.kind is None)


def _keys(references: Sequence[Reference]) -> set[str] | None:
    """The keys that the references read together; None: every key."""
    keys: set[str] = set()
    for reference in references:
        if reference.keys is None:
            return None
        keys.update(reference.keys)
    return keys


def _expand(
    item: Selector, home: str, referenced: Mapping[ConfigId, object], existing: Existing
) -> Iterable[ConfigId]:
    """The config objects that one item of `follow` means."""
    namespace = item.namespace or home
    if item.syntax == "exact":
        named = [ConfigId(kind, namespace, item.pattern) for kind in item.kinds]
        if len(named) == 1:
            return named
        known = [config for config in named if config in referenced]
        return (
            known or [config for config in named if config.name in existing(config.kind, namespace)] or named
        )
    return dict.fromkeys(
        [config for config in referenced if item.matches(config, home)]
        + [
            ConfigId(kind, namespace, name)
            for kind in item.kinds
            for name in existing(kind, namespace)
            if name not in UNMEANT and item.matches_name(name)
        ]
    )


def _consumed(config: ConfigId, part: _Part, ignore: Sequence[Selector], home: str) -> Consumed | None:
    """The merged record without what is ignored; None if nothing is left of it."""
    excluded: set[str] = set()
    for item in ignore:
        if item.matches(config, home):
            if item.keys is None:
                return None
            excluded.update(item.keys)
    keys = None if part.keys is None else tuple(sorted(part.keys - excluded))
    if keys == ():
        return None
    return Consumed(
        config=config,
        keys=keys,
        references=tuple(part.references),
        needs_match=part.needs_match,
        except_keys=tuple(sorted(excluded)) if keys is None else (),
    )
