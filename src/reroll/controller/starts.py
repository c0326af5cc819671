"""What pods read when another client had them started, as the watches tell of it.

The watches don't keep step: a change of a ConfigMap can arrive before or after the start of pods that came first. What
was there at the start's resourceVersion counts, and a start is corrected when an earlier change arrives late.
"""

from __future__ import annotations

from typing import Protocol

from msgspec.structs import replace

from reroll.controller.entry import Entry
from reroll.core.compare import compare, holds_nothing
from reroll.core.observe import version_number
from reroll.core.order import is_later
from reroll.core.records import Applied, ConfigId, ConfigRecord, ConfigState, WorkloadRecord
from reroll.core.started import read_before_its_start, started_with


class Contents(Protocol):
    """What is asked of the config objects."""

    def state(self, config: ConfigId) -> ConfigState: ...
    def state_at(self, config: ConfigId, version: int) -> ConfigState: ...
    def states_after(self, config: ConfigId, version: int) -> list[ConfigRecord]: ...


def pods_start(previous: Entry | None, entry: Entry) -> bool:
    """Has another client than reroll, by this change, started pods anew?

    A Deployment that is scaled up has new pods only if the old ones had gone: scaled down and up again before its
    controller saw it, it keeps them.
    """
    if previous is None or previous.record.uid != entry.record.uid:
        return False  # what is recorded of one that is new here was written about other pods, if at all
    before, now = previous.record, entry.record
    if now.template_change != before.template_change:
        return True
    gone = previous.progress is None or previous.progress.complete
    return before.replicas == 0 and now.replicas != 0 and gone


def noted(entry: Entry, contents: Contents, key_id: str) -> WorkloadRecord:
    """The record of a workload whose pods were started just now: they read what was there at that moment."""
    record = entry.record
    version = max(version_number(record.resource_version), record.template_change.version)
    states = {c.config: contents.state_at(c.config, version) for c in entry.consumed}
    return _with(record, started_with(record, entry.consumed, states, key_id))


def corrected(entry: Entry, config: ConfigId, content: ConfigRecord, key_id: str) -> WorkloadRecord:
    """The same, where a change arrived of which the start was told before, though it came later: they read it."""
    record, start = entry.record, entry.record.template_change
    if start.live and start.version > content.version and is_later(start, content.change):
        for c in entry.consumed:
            if c.config == config:
                record = _with(record, read_before_its_start(record, c, content, key_id))
    return record


def mixed_ahead(entry: Entry, contents: Contents, key_id: str) -> WorkloadRecord:
    """The record of a workload whose pods are being replaced as of now, by whomever: what is known already of its
    configuration at that moment and after it. A change can come between a decision and its patch, and ahead of the
    answer to that.

    What had arrived before the decision was decided on. In a server that keeps kinds in several etcds, versions say
    nothing of order, and would call it later than the patch for ever.
    """
    record = entry.record
    version = version_number(record.resource_version)
    decided = record.applied.at if record.applied is not None else 0
    for c in entry.consumed:
        held = contents.state(c.config)
        for content in (contents.state_at(c.config, version), *contents.states_after(c.config, version)):
            if isinstance(content, ConfigRecord) and content is not held and content.arrived < decided:
                continue
            record = mixed(replace(entry, record=record), c.config, content, key_id)
    return record


def mixed(entry: Entry, config: ConfigId, content: ConfigState, key_id: str) -> WorkloadRecord:
    """The same, where an object changed while pods are being replaced: whatever it is changed to later, those that
    start now have read this. The news of it can come after the news that the rollout is complete."""
    record, known = entry.record, entry.record.started_with or entry.record.applied
    if known is None or entry.progress is None:
        return record
    late = isinstance(content, ConfigRecord) and content.version < record.complete_at
    if entry.progress.complete and not late:
        return record
    home, policy = record.id.namespace, entry.policy
    for c in entry.consumed:
        if c.config != config:
            continue
        found = compare(
            c,
            content,
            known,
            home=home,
            rekeyed=known.key_id != key_id,
            on_create=policy.on_create,
            on_delete=policy.on_delete,
        )
        if found.stale or (found.vanished and not holds_nothing(found.record)):
            return replace(record, mixed=record.mixed | {found.short})
    return record


def _with(record: WorkloadRecord, read: Applied | None) -> WorkloadRecord:
    """What is recorded anyway need not be kept."""
    known = read if read is not None and not read.same(record.applied) else None
    return replace(record, started_with=known)
