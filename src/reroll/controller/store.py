"""What is known of the cluster: digests of config objects, records of workloads, who consumes what.

The reflectors tell it what changed; it answers by asking about the workloads concerned. An object that arrives goes
one way: it is observed (`core.observe`), what this controller wrote lies over it (`overlay`), its policy and what it
consumes are derived (`derive`) and indexed (`index`), the start of its pods is noted (`starts`), and it is asked about.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable

from msgspec.structs import replace

from reroll.controller import starts
from reroll.controller.clock import steady_time
from reroll.controller.config_objects import READ_AGAIN, ConfigObjects, Event
from reroll.controller.derive import Derivation, same_sources
from reroll.controller.entry import Entry as Entry
from reroll.controller.faults import Faults
from reroll.controller.index import Index, discard
from reroll.controller.overlay import Overlay
from reroll.controller.rules import Rules
from reroll.core.compare import current
from reroll.core.digests import DigestKey
from reroll.core.observe import (
    NamespaceObject,
    WorkloadObject,
    is_fresh,
    status_of,
    version_number,
    with_revisions,
    with_template_of,
    workload_record,
)
from reroll.core.progress import Progress, progress
from reroll.core.records import Applied, Change, ConfigId, ConfigRecord, Missing, WorkloadId, WorkloadRecord
from reroll.core.unchanged import same_but_for_status
from reroll.dialects import Dialects

RULES = Rules()

Ask = Callable[[WorkloadId, ConfigId | None], None]
"""Called for each workload that has to be decided on, with the config object that caused it, if one did."""


class Store:
    """The caches and indexes. All methods are called from the event loop, and none blocks.

    `configs` holds the config objects; it calls `want` for one whose content must be read, and `arrived` for each that
    came, changed or went (see `config_objects.Listener`). `now`: seconds since the epoch. `failed` is called for each
    fault on one workload, while others are seen to. What fails on a workload that is taken in is raised.
    """

    def __init__(
        self,
        key: DigestKey,
        rules: Rules = RULES,
        *,
        ask: Ask = lambda workload, cause: None,
        want: Callable[[ConfigId], None] = lambda config: None,
        arrived: Callable[[Event, ConfigId, int], None] = lambda event, config, version: None,
        now: Callable[[], float] = steady_time,
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        self.kinds = rules.kinds
        self.marks = rules.marks
        self.ask = ask
        self._index = Index()
        self._want, self._arrived = want, arrived
        self.configs = ConfigObjects(
            key,
            rules.dialects.config_flags,
            self,
            read_all=rules.read_all,
            selected=rules.selected,
            content=rules.digester,
            now=now,
        )
        self._derivation = Derivation(rules, self.configs.existing)
        self.field_manager = rules.field_manager
        self._now = now
        self._workloads: dict[WorkloadId, Entry] = {}
        self._overlay = Overlay()
        self._faults = Faults(failed)
        self._borrowers: dict[WorkloadId, set[WorkloadId]] = {}
        """Workload -> those that have their pod template from it."""
        self._namespaces: dict[str, tuple[dict[str, str], dict[str, str]]] = {}

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
        return frozenset(self._index.consumers(config))

    def counts(self) -> dict[str, int]:
        """Objects held, by kind."""
        kinds = self.configs.counts()
        for workload in self._workloads:
            kinds[workload.kind] = kinds.get(workload.kind, 0) + 1
        return kinds

    def problems(self) -> int:
        """How many workloads carry an annotation that is not understood."""
        return sum(1 for entry in self._workloads.values() if entry.policy.problems)

    def workload_names(self, kind: str, namespace: str) -> Iterable[tuple[str, str]]:
        """(namespace, name) of all workloads of a kind, in one namespace or ("") all."""
        return [
            (w.namespace, w.name)
            for w in self._workloads
            if w.kind == kind and (not namespace or w.namespace == namespace)
        ]

    def set_dialects(self, dialects: Dialects) -> None:
        """Other annotations are understood from now on."""
        self._derivation.dialects = dialects
        self.configs.flags = dialects.config_flags
        self._faults.each(self._workloads, self._derive_again)

    # --- what is being written -----------------------------------------------------------------------

    def writing(self, workload: WorkloadId, mark: str | None, applied: Applied | None = None) -> None:
        """Note the mark and the record that are about to be written, so that their echo is not taken for another
        client's."""
        self._overlay.writing(workload, mark, applied)

    def adopted(self, workload: WorkloadId, applied: Applied) -> None:
        """Remember an adoption before it is written: what changes from here on is a change."""
        entry = self._workloads.get(workload)
        if entry is not None and entry.record.applied is None:
            # What its pods read is what is recorded, from here on (`core.started.created_with`).
            record = replace(
                entry.record, applied=applied, unsaved=True, applied_problem="", started_with=None
            )
            self._workloads[workload] = replace(entry, record=record)

    # --- config objects ------------------------------------------------------------------------------

    def set_collection(self, kind: str, namespace: str, problem: str) -> None:
        """A collection is complete (`problem` "") or why it can't be told. "" as namespace: all of them.

        Where it is complete at last, what is not in it is missing and no longer unknown: its consumers are
        asked about, because no object arrives that would do so.
        """
        if self.configs.set_collection(kind, namespace, problem):
            for config, consumers in self._index.consumed_in(kind, namespace):
                for workload in consumers:
                    self.ask(workload, config)

    def followed(self, config: ConfigId) -> bool:
        """As `Listener` has it, like the four below."""
        return self._index.is_consumed(config)

    def want(self, config: ConfigId) -> None:
        self._want(config)

    def arrived(self, event: Event, config: ConfigId, version: int) -> None:
        self._arrived(event, config, version)

    def replaced(self, config: ConfigId, state: ConfigRecord | Missing, change: Change) -> None:
        """A followed object has other content; a start of pods that is known already may have come later."""
        key_id, former = self.configs.key.id, self.configs.states(config)[-2:-1]

        def correct(workload: WorkloadId) -> None:
            entry = self._workloads[workload]
            record = starts.corrected(entry, config, state, change, key_id)
            record = starts.mixed(
                replace(entry, record=record),
                config,
                state,
                key_id,
                began=change.version,
                former=former[0][1] if former else None,
            )
            if record is not entry.record:
                self._workloads[workload] = replace(entry, record=record)

        self._faults.each(self._index.consumers(config), correct)

    def changed(self, config: ConfigId, *, appeared: bool, created: bool) -> None:
        def derive(workload: WorkloadId) -> None:
            entry = self._workloads[workload]
            if any(pattern.matches(config, workload.namespace) for pattern in entry.patterns):
                self._keep(self._as_absent(entry, config) if created else entry.record, entry.progress)

        def note(workload: WorkloadId) -> None:
            try:
                entry = self._workloads[workload]
                if not appeared:
                    record = starts.mixed(entry, config, self.configs.state(config), self.configs.key.id)
                    if record is not entry.record:
                        self._workloads[workload] = replace(entry, record=record)
            finally:
                self.ask(workload, config)

        if appeared:
            self._faults.each(self._index.pattern_holders(config), derive)
        self._faults.each(self._index.consumers(config), note)

    def _as_absent(self, entry: Entry, config: ConfigId) -> WorkloadRecord:
        """Record an object that appeared just now as absent until then, so that its creation counts as a change
        (`Policy.on_create`)."""
        record, short = entry.record, config.short(entry.record.id.namespace)
        if not entry.policy.on_create or record.applied is None or short in record.applied.configs:
            return record
        return self._overlay.amend(
            record, replace(record.applied, configs={**record.applied.configs, short: None})
        )

    # --- workloads -----------------------------------------------------------------------------------

    def put_workload(self, obj: WorkloadObject, kind: str, *, live: bool, seen: bool | None = None) -> None:
        """Take in a workload as it is on the server now (from a watch, or the answer to a patch). `seen`: nothing can
        have come between what is held and this; None: where it is `live`."""
        workload = WorkloadId(kind, obj.metadata.namespace, obj.metadata.name)
        try:
            self._take_in(obj, workload, live=live, seen=live if seen is None else seen)
        except Exception:
            self._faults.begin(workload)
            raise
        self._faults.over(workload)
        self._faults.each(self._borrowers.get(workload, ()), lambda each: self._borrow_again(each, live=live))

    def _take_in(self, obj: WorkloadObject, workload: WorkloadId, *, live: bool, seen: bool) -> None:
        kind, failed = workload.kind, workload in self._faults
        entry = self._workloads.get(workload)
        previous = entry.record if entry is not None else None
        if previous is not None and previous.uid == obj.metadata.uid:
            held, came = previous.resource_version, obj.metadata.resource_version
            if (held == came and not failed) or version_number(held) > version_number(came) > 0:
                return  # a watch that lags behind the answer to our own patch
        status = status_of(obj, kind)
        how_far = progress(status, kind) if status is not None else None
        relevant = self._derivation.dialects.relevant
        if entry is not None and not failed and same_but_for_status(obj, entry.record, relevant):
            self._only_status(entry, obj.metadata.resource_version, how_far)
            return
        new = previous is None or previous.uid != obj.metadata.uid
        fresh = live and new and is_fresh(obj, kind)
        record = workload_record(
            obj,
            kind,
            previous,
            seen=seen,
            relevant=relevant,
            arrived=self._now() if live else 0.0,
            written_mark=self._overlay.mark(workload),
            manager=self.field_manager,
            style=self.marks,
            fresh=fresh,
        )
        record = self._with_its_template(self._overlay.amended(record), previous)
        complete = how_far is not None and how_far.complete
        record = with_revisions(record, previous, complete=complete, fresh=fresh)
        self._put(entry, record, how_far, live=live, seen=seen, fresh=fresh)
        if entry is not None or live:
            self._doubt(entry, self._workloads[workload])

    def _only_status(self, entry: Entry, version: str, how_far: Progress | None) -> None:
        """Nearly all that a watch of workloads brings: nothing has changed but what its pods do."""
        record = replace(entry.record, resource_version=version)
        complete = how_far is not None and how_far.complete
        record = with_revisions(record, entry.record, complete=complete)
        self._workloads[record.id] = replace(entry, record=record, progress=how_far)
        if _stage(how_far) != _stage(entry.progress):
            self.ask(record.id, None)

    def drop_workload(self, workload: WorkloadId) -> None:
        """Forget a workload that was deleted."""
        entry = self._workloads.pop(workload, None)
        self._overlay.forget(workload)
        self._faults.over(workload)
        if entry is None:
            return
        self._index.remove(entry)
        for c in entry.consumed:
            if not self._index.is_consumed(c.config):
                self.configs.unfollow(c.config)
        if entry.record.template_of is not None:
            discard(self._borrowers, entry.record.template_of, workload)
        self.ask(workload, None)
        self._faults.each(
            self._borrowers.get(workload, ()), lambda each: self._borrow_again(each, live=False)
        )

    def _put(
        self,
        entry: Entry | None,
        record: WorkloadRecord,
        how_far: Progress | None,
        *,
        live: bool,
        seen: bool,
        fresh: bool = False,
    ) -> None:
        """Keep what a workload's record is now; `entry` is what was kept of it. Ask, unless nothing differs that a
        decision rests on."""
        previous = entry.record if entry is not None else None
        same = previous is not None and same_sources(record, previous) and record.id not in self._faults
        if entry is not None and same:
            kept = self._workloads[record.id] = replace(entry, record=record, progress=how_far)
        else:
            kept = self._keep(record, how_far)
        version, key_id = starts.since(previous, record, seen=seen), self.configs.key.id
        if live and seen and starts.pods_start(entry, kept):
            kept = replace(kept, record=starts.noted(kept, self.configs, key_id, version))
        if fresh and kept.policy.enabled:
            kept = replace(kept, record=starts.begun(kept, self.configs, key_id, version))
        if entry is not None and _pods_come(entry, kept):
            ahead = starts.mixed_ahead(kept, entry.record, self.configs, key_id, version)
            kept = replace(kept, record=ahead)
        self._workloads[record.id] = kept
        if entry is None or not same or _to_ask(entry, kept):
            self.ask(record.id, None)

    def _keep(self, record: WorkloadRecord, how_far: Progress | None) -> Entry:
        """Derive what follows from a record, index it, and follow what it consumes."""
        namespace = self._namespaces.get(record.id.namespace, ({}, {}))
        entry = self._derivation.entry(
            record, how_far, namespace
        )  # before anything is taken out: it may fail
        old = self._workloads.get(record.id)
        if old is not None:
            self._index.remove(old)
        self._workloads[record.id] = entry
        self._index.add(entry)
        for c in entry.consumed:
            self.configs.follow(c.config, in_versions=entry.policy.mode == "version")
        return entry

    def _derive_again(self, workload: WorkloadId) -> None:
        """What its record is read by has changed."""
        try:
            entry = self._workloads[workload]
            self._keep(entry.record, entry.progress)
        finally:
            self.ask(workload, None)

    def _with_its_template(self, record: WorkloadRecord, previous: WorkloadRecord | None) -> WorkloadRecord:
        """Where a workload has its pod template from another one, put that in, and note whose it is."""
        before = previous.template_of if previous is not None else None
        source = record.template_of
        if before is not None and before != source:
            discard(self._borrowers, before, record.id)
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
            live = live and bool(entry.record.template_hash)
            record = with_revisions(record, entry.record, complete=False)
            self._put(entry, record, entry.progress, live=live, seen=live)

    def _doubt(self, before: Entry | None, entry: Entry) -> None:
        """Another client wrote what is recorded as applied: another controller, which may know more. Where it
        recorded another content than is held here, our watch may lag behind, and to roll for it would be to roll
        back. It is read again first."""
        record, now = entry.record, entry.record.applied
        if now is None or record.unsaved or self._overlay.wrote(record.id, now):
            return
        if before is not None and now == before.record.applied:
            return
        for c in entry.consumed:
            short = c.config.short(record.id.namespace)
            state = self.configs.state(c.config)
            if (
                c.config.kind in READ_AGAIN
                and short in now.configs
                and isinstance(state, ConfigRecord)
                and now.configs[short] != current(state, c)
            ):
                self.configs.doubt(c.config)

    # --- namespaces ------------------------------------------------------------------------------------

    def put_namespace(self, obj: NamespaceObject) -> None:
        """A namespace's annotations are defaults for its workloads, its labels may put it in scope."""
        name = sys.intern(obj.metadata.name)
        relevant = self._derivation.dialects.relevant
        value = (relevant(obj.metadata.annotations or {}), obj.metadata.labels or {})
        previous = self._namespaces.get(name, ({}, {}))
        self._namespaces[name] = value
        if previous != value:
            self._namespace_changed(name)

    def drop_namespace(self, name: str) -> None:
        if self._namespaces.pop(name, None) is not None:
            self._namespace_changed(name)

    def namespaces(self) -> Iterable[str]:
        return self._namespaces.keys()

    def _namespace_changed(self, name: str) -> None:
        self._faults.each(self._index.in_namespace(name), self._derive_again)


def _to_ask(before: Entry, now: Entry) -> bool:
    """Does anything differ that a decision rests on? How many pods are new does not, but whether all are."""
    if _stage(before.progress) != _stage(now.progress):
        return True
    a, b = before.record, now.record
    return replace(a, resource_version=b.resource_version, generation=b.generation) != b


def _pods_come(before: Entry, now: Entry) -> bool:
    """Do pods start from here on: of another revision, or more of the same?"""
    if before.record.uid != now.record.uid:
        return False
    was, is_ = before.progress, now.progress
    begins = was is not None and was.complete and is_ is not None and not is_.complete
    return begins or before.record.revision != now.record.revision


def _stage(how_far: Progress | None) -> tuple[str, bool, float]:
    return ("", False, 0.0) if how_far is None else (how_far.verdict, how_far.complete, how_far.judged)
