"""What pods read when another client had them started, as the watches tell of it.

The watches don't keep step: a change of a ConfigMap can arrive before or after the start of pods that came first. What
was there at the start's resourceVersion counts, and a start is corrected when an earlier change arrives late.
"""

from __future__ import annotations

from typing import Protocol

from msgspec.structs import replace

from reroll.controller.entry import Entry
from reroll.core.compare import Comparison, compare, holds_nothing
from reroll.core.observe import version_number
from reroll.core.order import is_later
from reroll.core.proof import mark_id
from reroll.core.records import (
    Applied,
    Change,
    ConfigId,
    ConfigRecord,
    ConfigState,
    Consumed,
    Missing,
    Unknown,
    WorkloadRecord,
)
from reroll.core.started import created_with, read_before_its_start, started_with


class Contents(Protocol):
    """What is asked of the config objects."""

    def state_at(self, config: ConfigId, version: int) -> ConfigState: ...
    def states(self, config: ConfigId) -> list[tuple[int, ConfigState]]: ...


def pods_start(previous: Entry | None, entry: Entry) -> bool:
    """Has another client than reroll, by this change, started pods anew?

    A Deployment that is scaled up has new pods only if the old ones had gone: scaled down and up again before its
    controller saw it, it keeps them.
    """
    if previous is None or previous.record.uid != entry.record.uid:
        return False  # what is recorded of one that is new here was written about other pods, if at all
    before, now = previous.record, entry.record
    if now.template_change != before.template_change:
        return not _rolled(before, now)
    gone = previous.progress is None or previous.progress.complete
    return before.replicas == 0 and now.replicas != 0 and gone


def _rolled(before: WorkloadRecord, now: WorkloadRecord) -> bool:
    """Has another reroll rolled it? Then its record tells what for, though our watches may lag behind that. One that
    an undo restored is older than the one before."""
    old, new = before.applied, now.applied
    return (
        old is not None
        and new is not None
        and new.at > old.at
        and new.template == now.template_hash
        and now.mark not in (None, before.mark)
        and new.mark in (None, mark_id(now.mark))
    )


def since(previous: WorkloadRecord | None, record: WorkloadRecord, *, seen: bool) -> int:
    """The version of the server before which pods of this change can't have started. `seen`: a watch told of it as it
    happened; else it came at any time after what was held."""
    if not seen and previous is not None:
        return version_number(previous.resource_version)
    return max(version_number(record.resource_version), record.template_change.version)


def noted(entry: Entry, contents: Contents, key_id: str, version: int) -> WorkloadRecord:
    """The record of a workload whose pods were started at this version: they read what was there at that moment."""
    record = entry.record
    states = {c.config: contents.state_at(c.config, version) for c in entry.consumed}
    return _with(record, started_with(record, entry.consumed, states, key_id))


def begun(entry: Entry, contents: Contents, key_id: str, version: int) -> WorkloadRecord:
    """The record of a workload that was created at this version, and has no pods yet: the same."""
    record = entry.record
    states = {c.config: contents.state_at(c.config, version) for c in entry.consumed}
    read = created_with(record, entry.consumed, states, key_id)
    return record if read is None else replace(record, started_with=read)


def corrected(
    entry: Entry, config: ConfigId, content: ConfigRecord | Missing, change: Change, key_id: str
) -> WorkloadRecord:
    """The same, where a change arrived of which the start was told before, though it came later: they read it."""
    record, start = entry.record, entry.record.template_change
    if start.live and start.version > change.version > 0 and is_later(start, change):
        for c in entry.consumed:
            if c.config == config:
                record = _with(record, read_before_its_start(record, c, content, key_id))
    return record


def mixed_ahead(
    entry: Entry, previous: WorkloadRecord, contents: Contents, key_id: str, version: int
) -> WorkloadRecord:
    """The record of a workload whose pods are being replaced as of this version, by whomever: what is known already of
    its configuration at that moment and after it. A change can come between a decision and its patch, and ahead of the
    answer to that.

    What was there before it came to be as it is recorded was not read: whoever recorded that knew more of it then. Of
    a rollout of another reroll in a gap of the watch, it was the last time that it came to be so. What had arrived
    before the decision was decided on: in a server that keeps kinds in several etcds, versions say nothing of order,
    and would call it later than the patch for ever.
    """
    record = entry.record
    decided = record.applied.at if record.applied is not None else 0
    late = version < version_number(record.resource_version) and _rolled(previous, record)
    for c in entry.consumed:
        states = contents.states(c.config)
        ends = [began for began, _ in states[1:]]
        recorded = [at for at, (_, state) in enumerate(states) if _is_as_recorded(entry, c, state, key_id)]
        if not recorded:
            continue
        for at in range(recorded[-1 if late else 0], len(states)):
            began, state = states[at]
            if at < len(ends):
                if ends[at] <= version or _is_older(record, states[at + 1][1]):
                    continue
                if isinstance(state, ConfigRecord) and state.arrived < decided:
                    continue
            former = states[at - 1][1] if at else None
            record = mixed(replace(entry, record=record), c.config, state, key_id, began=began, former=former)
    return record


def _is_older(record: WorkloadRecord, next_state: ConfigState) -> bool:
    """Was it over before the template changed, by the server's times? In a gap of the watch, versions don't tell."""
    if not isinstance(next_state, ConfigRecord) or not next_state.stamp:
        return False
    return not record.template_change.live and record.template_change.stamp > next_state.stamp


def mixed(
    entry: Entry,
    config: ConfigId,
    content: ConfigState,
    key_id: str,
    *,
    began: int | None = None,
    former: ConfigState | None = None,
) -> WorkloadRecord:
    """The same, where an object changed while pods are being replaced: whatever it is changed to later, those that
    start now have read this. The news of it can come after the news that the rollout is complete.

    `began`: the version with which it came to be so; None: that of the content. `former`: what it was before; pods that
    waited for what was missing may have read the one or the other."""
    record = entry.record
    if entry.progress is None:
        return record
    if began is None:
        began = content.version if isinstance(content, ConfigRecord) else 0
    if entry.progress.complete and not 0 < began < record.complete_at:
        return record
    if entry.progress.standing and began > version_number(record.resource_version):
        return record
    for c in entry.consumed:
        found = _compared(entry, c, content, key_id) if c.config == config else None
        if found is None:
            continue
        before = _compared(entry, c, former, key_id) if former is not None else None
        waited_for = found.returned and before is not None and before.returned
        if (
            found.stale
            or (found.vanished and not holds_nothing(found.record))
            or (waited_for and before is not None and before.record != found.record)
        ):
            return replace(record, mixed=record.mixed | {found.short})
    return record


def _is_as_recorded(entry: Entry, c: Consumed, state: ConfigState, key_id: str) -> bool:
    if isinstance(state, Unknown):
        return False
    found = _compared(entry, c, state, key_id)
    return found is not None and not found.stale and not found.vanished


def _compared(entry: Entry, c: Consumed, state: ConfigState, key_id: str) -> Comparison | None:
    """One state of an object against what pods are known to have read; None: nothing is known of that."""
    known, policy = entry.record.started_with or entry.record.applied, entry.policy
    if known is None:
        return None
    return compare(
        c,
        state,
        known,
        home=entry.record.id.namespace,
        rekeyed=known.key_id != key_id,
        on_create=policy.on_create,
        on_delete=policy.on_delete,
    )


def _with(record: WorkloadRecord, read: Applied | None) -> WorkloadRecord:
    """What is recorded anyway need not be kept."""
    known = read if read is not None and not read.same(record.applied) else None
    return replace(record, started_with=known)
