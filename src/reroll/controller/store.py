"""What is known of the cluster: digests of config objects, records of workloads, who consumes what.

The reflectors tell it what changed; it answers by asking about the workloads concerned. Both directions are
indexed, so that a change costs as much as there are consumers, and never a request.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from reroll.controller.config_objects import ConfigObjects, Digester, content
from reroll.core.compare import current
from reroll.core.consumption import consumption, patterns, with_recorded
from reroll.core.digests import DigestKey
from reroll.core.kinds import KINDS, WorkloadKind
from reroll.core.marks import NATIVE, MarkStyle
from reroll.core.observe import (
    NamespaceObject,
    WorkloadObject,
    version_number,
    with_template_of,
    workload_record,
)
from reroll.core.order import is_later
from reroll.core.policy import Policy, PolicyDefaults
from reroll.core.records import (
    Applied,
    ConfigId,
    ConfigKind,
    ConfigRecord,
    Consumed,
    WorkloadId,
    WorkloadRecord,
)
from reroll.core.selector import Selector
from reroll.core.started import read_before_its_start, started_with
from reroll.dialects import ALL, Dialects

Ask = Callable[[WorkloadId, ConfigId | None], None]
"""Called for each workload that has to be decided on, with the config object that caused it, if one did."""


class Entry(Struct, frozen=True, gc=False):
    """One workload, and what follows from its record: derived once per change, not per question."""

    record: WorkloadRecord
    policy: Policy
    consumed: tuple[Consumed, ...]
    patterns: tuple[Selector, ...]


class Store:
    """The caches and indexes. All methods are called from the event loop, and none blocks.

    `configs` holds the config objects; what `want`, `arrived`, `read_all`, `selected` and `content` are stands there.
    `kinds`: the kinds of workload, by `WorkloadKind.id`. `marks`: how pod templates are marked.
    """

    def __init__(
        self,
        key: DigestKey,
        defaults: PolicyDefaults,
        *,
        ask: Ask = lambda workload, cause: None,
        want: Callable[[ConfigId], None] = lambda config: None,
        dialects: Dialects = ALL,
        field_manager: str = "reroll",
        in_scope: Callable[[str, Mapping[str, str]], bool] = lambda namespace, labels: True,
        now: Callable[[], float] = time.time,
        content: Digester = content,
        kinds: Mapping[str, WorkloadKind] = KINDS,
        marks: MarkStyle = NATIVE,
        selected: Callable[[Mapping[str, str]], bool] | None = None,
        arrived: Callable[[str, ConfigId, int], None] = lambda event, config, version: None,
        read_all: bool = False,
    ) -> None:
        self.kinds = kinds
        self.marks = marks
        self.ask = ask
        self.configs = ConfigObjects(
            key,
            dialects.config_flags,
            followed=lambda config: config in self._consumers,
            changed=self._changed,
            replaced=self._correct_starts,
            want=want,
            arrived=arrived,
            read_all=read_all,
            selected=selected,
            content=content,
            now=now,
        )
        self._defaults = defaults
        self._dialects = dialects
        self._manager = field_manager
        self._in_scope = in_scope
        self._now = now
        self._workloads: dict[WorkloadId, Entry] = {}
        self._by_namespace: dict[str, set[WorkloadId]] = {}
        self._borrowers: dict[WorkloadId, set[WorkloadId]] = {}
        """Workload -> those that have their pod template from it."""
        self._consumers: dict[ConfigId, set[WorkloadId]] = {}
        self._followers: dict[tuple[ConfigKind, str], set[WorkloadId]] = {}
        self._namespaces: dict[str, tuple[dict[str, str], dict[str, str]]] = {}
        self._writing: dict[WorkloadId, str] = {}
        self._written: dict[WorkloadId, Applied] = {}
        self._amended: dict[WorkloadId, tuple[Applied, Applied]] = {}
        """Workload -> what stands on it as applied, and what is known beyond that and not written yet."""

    # --- questions ---------------------------------------------------------------------------------

    def workload(self, workload: WorkloadId) -> Entry | None:
        """One workload, or None if it is not there or not in scope."""
        return self._workloads.get(workload)

    def workloads(self) -> Collection[WorkloadId]:
        return self._workloads.keys()

    def entries(self) -> Iterable[Entry]:
        return self._workloads.values()

    def consumers(self, config: ConfigId) -> frozenset[WorkloadId]:
        """Who follows this object."""
        return frozenset(self._consumers.get(config, ()))

    def counts(self) -> dict[str, int]:
        """Objects held, by kind."""
        kinds = self.configs.counts()
        for workload in self._workloads:
            kinds[workload.kind] = kinds.get(workload.kind, 0) + 1
        return kinds

    def problems(self) -> int:
        """How many workloads carry an annotation that is not understood."""
        return sum(1 for entry in self._workloads.values() if entry.policy.problems)

    def set_dialects(self, dialects: Dialects) -> None:
        """Other annotations are understood from now on."""
        self._dialects = dialects
        self.configs.flags = dialects.config_flags
        for workload in list(self._workloads):
            self._derive(self._workloads[workload].record)
            self.ask(workload, None)

    # --- what is being written -----------------------------------------------------------------------

    def writing(self, workload: WorkloadId, mark: str | None, applied: Applied | None = None) -> None:
        """Note the mark and the record that are about to be written, so that their echo is not taken for somebody
        else's."""
        if applied is not None:
            self._written[workload] = applied
            if workload in self._amended and self._amended[workload][0] == applied:
                del self._amended[workload]  # what was known beyond it holds no longer
        if mark is None:
            self._writing.pop(workload, None)
        else:
            self._writing[workload] = mark

    def adopted(self, workload: WorkloadId, applied: Applied) -> None:
        """Remember an adoption before it is written: what changes from here on is a change."""
        entry = self._workloads.get(workload)
        if entry is not None and entry.record.applied is None:
            record = replace(entry.record, applied=applied, unsaved=True, applied_problem="")
            self._workloads[workload] = replace(entry, record=record)

    # --- config objects ------------------------------------------------------------------------------

    def set_collection(self, kind: str, namespace: str, problem: str) -> None:
        """A collection is complete (`problem` "") or why it can't be told. "" as namespace: all of them.

        Where it is complete at last, what is not in it is missing and no longer unknown: its consumers are
        asked about, for no object arrives that would do so.
        """
        if self.configs.set_collection(kind, namespace, problem):
            for config, consumers in self._consumers.items():
                if config.kind == kind and namespace in ("", config.namespace):
                    for workload in consumers:
                        self.ask(workload, config)

    def _changed(self, config: ConfigId, appeared: bool, created: bool) -> None:
        """The state of a config object is another now; `appeared`: it is held and was not before; `created`: it was
        known to be missing."""
        if appeared:
            for workload in list(self._followers.get((config.kind, config.namespace), ())):
                entry = self._workloads[workload]
                if any(pattern.matches(config, workload.namespace) for pattern in entry.patterns):
                    self._derive(self._without_before(entry, config) if created else entry.record)
        for workload in self._consumers.get(config, ()):
            self.ask(workload, config)

    # --- workloads -----------------------------------------------------------------------------------

    def put_workload(self, obj: WorkloadObject, kind: str, *, live: bool) -> None:
        """Take in a workload as it is on the server now (from a watch, or the answer to a patch)."""
        workload = WorkloadId(kind, obj.metadata.namespace, obj.metadata.name)
        entry = self._workloads.get(workload)
        previous = entry.record if entry is not None else None
        if previous is not None and previous.uid == obj.metadata.uid:
            held, came = previous.resource_version, obj.metadata.resource_version
            if held == came or (held.isdigit() and came.isdigit() and int(held) > int(came)):
                return  # a watch that lags behind the answer to our own patch
        record = workload_record(
            obj,
            kind,
            previous,
            relevant=self._dialects.relevant,
            arrived=self._now() if live else 0.0,
            written_mark=self._writing.get(workload),
            manager=self._manager,
            style=self.marks,
        )
        record = self._amend(self._with_its_template(record, previous))
        if entry is not None and previous is not None:
            self._doubt(entry, previous, record)
        self._put_record(entry, record, live=live)
        for borrower in list(self._borrowers.get(workload, ())):
            self._borrow_again(borrower, live=live)

    def _without_before(self, entry: Entry, config: ConfigId) -> WorkloadRecord:
        """Its record, in which an object that a pattern matches, and that appeared just now, is known not to have been
        there before: only where its creation is to roll, for else it is recorded as it is."""
        record, short = entry.record, config.short(entry.record.id.namespace)
        if not entry.policy.on_create or record.applied is None or short in record.applied.configs:
            return record
        written, _ = self._amended.get(record.id, (record.applied, None))
        applied = replace(record.applied, configs={**record.applied.configs, short: None})
        self._amended[record.id] = (written, applied)
        return replace(record, applied=applied, unsaved=True)

    def _amend(self, record: WorkloadRecord) -> WorkloadRecord:
        """What is known beyond what stands on a workload goes on being known while that stays as it is, such as when
        only its status changed."""
        written, applied = self._amended.get(record.id, (None, None))
        if applied is None:
            return record
        if record.applied != written:
            del self._amended[record.id]
            return record
        return replace(record, applied=applied, unsaved=True)

    def _with_its_template(self, record: WorkloadRecord, previous: WorkloadRecord | None) -> WorkloadRecord:
        """Where a workload has its pod template from another one, put that in, and note whose it is."""
        before = previous.template_of if previous is not None else None
        source = record.template_of
        if before is not None and before != source:
            _discard(self._borrowers, before, record.id)
        if source is None:
            return record
        self._borrowers.setdefault(source, set()).add(record.id)
        lender = self._workloads.get(source)
        return with_template_of(record, lender.record if lender is not None else None, previous)

    def _borrow_again(self, workload: WorkloadId, *, live: bool) -> None:
        """The workload that it has its pod template from has changed, come or gone."""
        entry = self._workloads[workload]
        record = self._with_its_template(entry.record, entry.record)
        if record != entry.record:
            # Where it was missing, its coming says nothing of the pods that run.
            self._put_record(entry, record, live=live and bool(entry.record.template_hash))

    def _put_record(self, entry: Entry | None, record: WorkloadRecord, *, live: bool) -> None:
        """Keep what a workload's record is now; `entry` is what was kept of it."""
        workload, previous = record.id, entry.record if entry is not None else None
        same_sources = (
            entry is not None
            and previous is not None
            and record.references == previous.references
            and record.annotations == previous.annotations
            and record.template_annotations == previous.template_annotations
        )
        if entry is not None and same_sources:
            self._workloads[workload] = replace(entry, record=record)
        else:
            self._derive(record)
        if live and _pods_start(previous, record):
            self._note_start(workload)
        if not same_sources or (previous is not None and not _only_version_differs(previous, record)):
            self.ask(workload, None)

    def _note_start(self, workload: WorkloadId) -> None:
        """Somebody else had its pods started, just now: they read what was there at that moment."""
        entry = self._workloads[workload]
        version = max(version_number(entry.record.resource_version), entry.record.template_change.version)
        states = {c.config: self.configs.state_at(c.config, version) for c in entry.consumed}
        self._started(entry, started_with(entry.record, entry.consumed, states, self.configs.key.id))

    def _correct_starts(self, config: ConfigId, content: ConfigRecord) -> None:
        """A change arrived of which a start of pods was told before, though it came later: they read it."""
        for workload in self._consumers[config]:
            entry = self._workloads[workload]
            start = entry.record.template_change
            if start.live and start.version > content.version and is_later(start, content.change):
                for c in entry.consumed:
                    if c.config == config:
                        self._started(
                            entry, read_before_its_start(entry.record, c, content, self.configs.key.id)
                        )

    def _started(self, entry: Entry, read: Applied | None) -> None:
        """Keep what pods read at their start, where it is not what is recorded anyway."""
        record = replace(entry.record, started_with=read if read != entry.record.applied else None)
        self._workloads[record.id] = replace(entry, record=record)

    def _doubt(self, entry: Entry, previous: WorkloadRecord, record: WorkloadRecord) -> None:
        """Somebody else changed what is recorded as applied: another controller, which may know more. Where it
        recorded another content than is held here, our watch may lag behind, and to roll for it would be to roll
        back. It is read again first."""
        now = record.applied
        if now is None or now == previous.applied or now == self._written.get(record.id) or record.unsaved:
            return
        for c in entry.consumed:
            short = c.config.short(record.id.namespace)
            state = self.configs.state(c.config)
            if (
                short in now.configs
                and isinstance(state, ConfigRecord)
                and now.configs[short] != current(state, c)
            ):
                self.configs.doubt(c.config)

    def drop_workload(self, workload: WorkloadId) -> None:
        entry = self._workloads.pop(workload, None)
        self._written.pop(workload, None)
        self._amended.pop(workload, None)
        if entry is not None:
            self._unindex(workload, entry)
            for c in entry.consumed:
                if c.config not in self._consumers:
                    self.configs.unfollow(c.config)
            _discard(self._by_namespace, workload.namespace, workload)
            if entry.record.template_of is not None:
                _discard(self._borrowers, entry.record.template_of, workload)
            self.ask(workload, None)
            for borrower in list(self._borrowers.get(workload, ())):
                self._borrow_again(borrower, live=False)

    def workload_names(self, kind: str, namespace: str) -> Iterable[tuple[str, str]]:
        return [
            (w.namespace, w.name)
            for w in self._workloads
            if w.kind == kind and (not namespace or w.namespace == namespace)
        ]

    def _derive(self, record: WorkloadRecord) -> None:
        """Work out policy and consumption of a workload, and index it."""
        annotations, labels = self._namespaces.get(record.id.namespace, ({}, {}))
        old = self._workloads.get(record.id)
        if old is not None:
            self._unindex(record.id, old)
        policy = self._dialects.resolve_policy(record, annotations, self._defaults)
        if not self._in_scope(record.id.namespace, labels):
            policy = Policy()
        consumed = (
            consumption(record, policy, with_recorded(record, self.configs.existing))
            if policy.enabled
            else ()
        )
        entry = Entry(record, policy, consumed, patterns(policy) if policy.enabled else ())
        self._workloads[record.id] = entry
        self._by_namespace.setdefault(record.id.namespace, set()).add(record.id)
        for c in consumed:
            self._consumers.setdefault(c.config, set()).add(record.id)
            self.configs.follow(c.config)
        for kind, namespace in _pattern_places(entry):
            self._followers.setdefault((kind, namespace), set()).add(record.id)

    def _unindex(self, workload: WorkloadId, entry: Entry) -> None:
        for c in entry.consumed:
            _discard(self._consumers, c.config, workload)
        for place in _pattern_places(entry):
            _discard(self._followers, place, workload)

    # --- namespaces ------------------------------------------------------------------------------------

    def put_namespace(self, obj: NamespaceObject) -> None:
        """A namespace's annotations are defaults for its workloads, its labels may put it in scope."""
        name = sys.intern(obj.metadata.name)
        value = (self._dialects.relevant(obj.metadata.annotations or {}), obj.metadata.labels or {})
        previous = self._namespaces.get(name, ({}, {}))
        self._namespaces[name] = value
        if previous != value:
            self._derive_namespace(name)

    def drop_namespace(self, name: str) -> None:
        if self._namespaces.pop(name, None) is not None:
            self._derive_namespace(name)

    def namespaces(self) -> Iterable[str]:
        return self._namespaces.keys()

    def _derive_namespace(self, name: str) -> None:
        for workload in list(self._by_namespace.get(name, ())):
            self._derive(self._workloads[workload].record)
            self.ask(workload, None)


def _pods_start(previous: WorkloadRecord | None, record: WorkloadRecord) -> bool:
    """Has this change, by somebody else than reroll, all its pods started anew?"""
    if previous is None or previous.uid != record.uid:
        return False  # what is recorded of one that is new here was written about other pods, if at all
    return record.template_change is not previous.template_change or (
        previous.replicas == 0 and record.replicas != 0
    )


def _only_version_differs(a: WorkloadRecord, b: WorkloadRecord) -> bool:
    return replace(a, resource_version=b.resource_version, generation=b.generation) == b


def _pattern_places(entry: Entry) -> Iterable[tuple[ConfigKind, str]]:
    for pattern in entry.patterns:
        for kind in pattern.kinds:
            yield kind, pattern.namespace or entry.record.id.namespace


K = TypeVar("K")


def _discard(index: dict[K, set[WorkloadId]], key: K, workload: WorkloadId) -> None:
    """Take a workload out of an index, and an empty place out with it."""
    members = index.get(key)
    if members is not None:
        members.discard(workload)
        if not members:
            del index[key]
