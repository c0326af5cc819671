"""From a workload's record to its policy, and from both to what it consumes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from reroll.controller.entry import Entry
from reroll.controller.rules import Rules
from reroll.core.consumption import consumption, patterns
from reroll.core.policy import Policy
from reroll.core.progress import Progress
from reroll.core.records import ConfigKind, WorkloadRecord

Existing: TypeAlias = Callable[[ConfigKind, str], Iterable[str]]
"""(kind, namespace) -> names of the config objects that exist."""


class Derivation:
    """What the rules say of it. `dialects` may be replaced while the controller runs."""

    def __init__(self, rules: Rules, existing: Existing) -> None:
        self.dialects = rules.dialects
        self._defaults = rules.defaults
        self._in_scope = rules.in_scope
        self._existing = existing

    def entry(
        self,
        record: WorkloadRecord,
        progress: Progress | None,
        namespace: tuple[Mapping[str, str], Mapping[str, str]],
    ) -> Entry:
        """`namespace`: the annotations and the labels of the workload's namespace."""
        annotations, labels = namespace
        policy = self.dialects.resolve_policy(record, annotations, self._defaults)
        if not self._in_scope(record.id.namespace, labels):
            policy = Policy()
        if not policy.enabled:
            return Entry(record, policy, (), (), progress)
        consumed = consumption(record, policy, _with_recorded(record, self._existing))
        return Entry(record, policy, consumed, patterns(policy), progress)


def same_sources(a: WorkloadRecord, b: WorkloadRecord) -> bool:
    """Do policy and consumption of both follow from the same?"""
    return (
        a.references == b.references
        and a.annotations == b.annotations
        and a.template_annotations == b.template_annotations
    )


def _with_recorded(record: WorkloadRecord, existing: Existing) -> Existing:
    """`existing`, and what is recorded as applied: a pattern goes on matching an object that was deleted, so
    that its return with other content is seen."""
    recorded = record.applied.configs.keys() if record.applied is not None else ()
    if not recorded:
        return existing

    def names(kind: ConfigKind, namespace: str) -> Iterable[str]:
        yield from existing(kind, namespace)
        for short in recorded:
            parts = short.split("/")
            home = record.id.namespace if len(parts) == 2 else parts[1]
            if parts[0] == kind and home == namespace:
                yield parts[-1]

    return names
