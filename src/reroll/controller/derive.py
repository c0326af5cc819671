"""From a workload's record to its policy, and from both to what it consumes."""

from __future__ import annotations

from collections.abc import Mapping

from reroll.controller.entry import Entry
from reroll.controller.rules import Rules
from reroll.core.consumption import Existing, consumption, patterns, with_recorded
from reroll.core.policy import Policy
from reroll.core.progress import Progress
from reroll.core.records import WorkloadRecord


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
        consumed = consumption(record, policy, with_recorded(record, self._existing))
        return Entry(record, policy, consumed, patterns(policy), progress)


def same_sources(a: WorkloadRecord, b: WorkloadRecord) -> bool:
    """Do policy and consumption of both follow from the same?"""
    return (
        a.references == b.references
        and a.annotations == b.annotations
        and a.template_annotations == b.template_annotations
    )
