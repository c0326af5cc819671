"""Puts into words what a simulation came to: what was rolled, and why the rest of those concerned was not.

The reasons are those of the decisions. Only where a decision has nothing to say, for nothing it knows has
changed, it is said here what was changed that the workload does not consume.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from reroll.controller.reconcile import Reconciler
from reroll.controller.report import describe
from reroll.controller.store import Entry, Store
from reroll.core.decide import decide
from reroll.core.decision import Kind
from reroll.core.observe import decode_workload, workload_record
from reroll.core.records import ConfigId, ConfigKind, WorkloadId, WorkloadRecord
from reroll.dialects import ALL
from reroll.insight.simulation.manifests import passed_over
from reroll.insight.simulation.recorder import Act, Recorder
from reroll.insight.simulation.result import Made, Roll, Simulation, Start, Stay
from reroll.insight.simulation.world import Config, World
from reroll.settings import Scope

_LISTED = 5


class Answer:
    """Asked at the start and at the end.

    `watched`: the namespaces that are watched, ("",) for all; `scope`: which objects the settings are about, and
    `config_kinds`: which kinds of config object.
    """

    def __init__(
        self,
        world: World,
        store: Store,
        reconciler: Reconciler,
        recorder: Recorder,
        watched: Sequence[str],
        scope: Scope,
        config_kinds: Collection[ConfigKind],
    ) -> None:
        self._world = world
        self._store = store
        self._reconciler = reconciler
        self._recorder = recorder
        self._watched = watched
        self._scope = scope
        self._config_kinds = config_kinds
        self._before = 0
        self._configs = dict(world.configs)
        self._start = Start(0, 0, 0, 0, 0, 0)

    def started(self) -> None:
        """The controller has come to rest, and nothing was changed yet."""
        acts = self._recorder.acts
        self._before = len(acts)
        self._configs = dict(self._world.configs)
        kinds = Counter(act.decision.kind for act in acts)
        self._start = Start(
            workloads=len(self._world.workloads),
            followed=sum(1 for entry in self._store.entries() if entry.policy.enabled),
            config_objects=len(self._world.configs),
            adopted=kinds[Kind.ADOPT],
            recorded=kinds[Kind.RECORD],
            rolled=kinds[Kind.ROLL],
        )

    def give(
        self, made: Sequence[Made], start: float, end: float, others: Counter[str], everyone: bool
    ) -> Simulation:
        """The whole answer."""
        rolls = tuple(self._rolls(start))
        touched = _Touched(made, self._configs, self._world.configs, self._config_kinds)
        stays, unconcerned = self._stays(touched, everyone)
        return Simulation(
            source=self._world.source,
            start=self._start,
            changes=tuple(made),
            rolls=rolls,
            stays=tuple(sorted(stays, key=lambda stay: stay.workload)),
            unconcerned=unconcerned,
            ended=round(end - start, 3),
            notes=tuple(self._notes(made, others)),
        )

    def _rolls(self, start: float) -> Iterable[Roll]:
        order = 0
        for number, act in enumerate(self._recorder.acts):
            if act.decision.kind is not Kind.ROLL:
                continue
            order += 1
            arrivals = [c.change.arrived for c in act.decision.changes if c.change.live]
            yield Roll(
                order=order,
                at=None if number < self._before else round(act.at - start, 3),
                workload=str(act.workload),
                reason=describe(act.decision.changes, act.workload.namespace),
                notes=act.decision.notes,
                causes=tuple(str(change.config) for change in act.decision.changes),
                since=round(min(arrivals) - self._world.now - start, 3) if arrivals else None,
            )

    def _notes(self, made: Sequence[Made], others: Counter[str]) -> Iterable[str]:
        yield from self._world.notes
        yield from passed_over(others, " in the changes")
        secret = any(one.object.startswith("secret/") and one.effect == "changed" for one in made)
        if secret and not self._world.secrets_comparable:
            yield (
                "a value set on a Secret counts as another than before: the snapshot holds keyed digests, and "
                "their key is not at hand (--key-file)"
            )

    # --- those that are not rolled -------------------------------------------------------------------

    def _stays(self, touched: _Touched, everyone: bool) -> tuple[list[Stay], int]:
        acts: dict[WorkloadId, list[Act]] = {}
        for act in self._recorder.acts[self._before :]:
            acts.setdefault(act.workload, []).append(act)
        rolled = {act.workload for act in self._recorder.acts if act.decision.kind is Kind.ROLL}
        stays: list[Stay] = []
        unconcerned = 0
        for workload in self._world.workloads:
            if workload in rolled:
                continue
            entry = self._store.workload(workload)
            if entry is None:
                stay = self._outside(workload, touched, everyone)
            elif everyone or touched.concerns(entry.record, entry):
                stay = self._stay(entry, acts.get(workload, ()), touched)
            else:
                stay = None
            if stay is None:
                unconcerned += 1
            else:
                stays.append(stay)
        return stays, unconcerned

    def _namespace_labels(self, namespace: str) -> Mapping[str, str]:
        held = self._world.namespaces.get(namespace)
        return (held.metadata.labels if held is not None else None) or {}

    def _stay(self, entry: Entry, acts: Sequence[Act], touched: _Touched) -> Stay:
        home = entry.record.id.namespace
        outside = self._scope.namespace_outside(home, self._namespace_labels(home))
        if outside:
            return Stay(str(entry.record.id), Kind.SKIP.value, False, outside, ())
        decision = self._recorder.last.get(entry.record.id)
        if acts and (decision is None or decision.kind is not Kind.WAIT):
            decision = acts[-1].decision
        if decision is None:
            decision = decide(self._reconciler.situation(entry))
        reason = decision.reason
        notes = decision.notes
        if decision.kind is Kind.SKIP:
            reason = "; ".join(touched.why_not(entry)) or reason
            # What was noted when it was last asked about may be of before its last change.
            notes = decide(self._reconciler.situation(entry)).notes
        return Stay(
            workload=str(entry.record.id),
            decision=decision.kind.value,
            followed=entry.policy.enabled,
            reason=reason,
            notes=notes,
            problems=tuple(p.message for p in entry.policy.problems if p.message not in reason),
        )

    def _outside(self, workload: WorkloadId, touched: _Touched, everyone: bool) -> Stay | None:
        """One that the controller does not watch."""
        if (
            not everyone
            and workload.namespace not in touched.namespaces
            and str(workload) not in touched.workloads
        ):
            return None
        obj = decode_workload(self._world.workloads[workload].raw)
        record = workload_record(obj, workload.kind, None, relevant=ALL.relevant, arrived=0.0)
        if not everyone and not touched.concerns(record, None):
            return None
        if self._watched != ("",) and workload.namespace not in self._watched:
            reason = "its namespace is none of those that the controller works in (--namespace)"
        else:
            reason = self._scope.outside(
                workload, obj.metadata.labels or {}, self._namespace_labels(workload.namespace)
            )
        return Stay(str(workload), Kind.SKIP.value, False, reason, ())


class _Touched:
    """What the scenario changed."""

    def __init__(
        self,
        made: Sequence[Made],
        before: Mapping[ConfigId, Config],
        after: Mapping[ConfigId, Config],
        config_kinds: Collection[ConfigKind],
    ) -> None:
        self._before, self._after = before, after
        self._config_kinds = config_kinds
        self.keys: dict[str, set[str]] = {}
        self.effects: dict[str, list[str]] = {}
        self.namespaces: set[str] = set()
        self.workloads: set[str] = set()
        for one in made:
            if one.effect == "nothing":
                continue
            kind, _, rest = one.object.partition("/")
            if kind in ("configmap", "secret"):
                self.keys.setdefault(one.object, set()).update(one.keys)
                self.effects.setdefault(one.object, []).append(one.effect)
                self.namespaces.add(rest.partition("/")[0])
            elif kind == "namespace":
                self.namespaces.add(rest)
                self.workloads.add(one.object)
            else:
                self.workloads.add(one.object)

    def concerns(self, record: WorkloadRecord, entry: Entry | None) -> bool:
        """It was changed itself, or consumes or references something that was."""
        home = record.id.namespace
        if str(record.id) in self.workloads or f"namespace/{home}" in self.workloads:
            return True
        if any(str(ConfigId(ref.kind, home, ref.name)) in self.keys for ref in record.references):
            return True
        return entry is not None and any(str(c.config) in self.keys for c in entry.consumed)

    def why_not(self, entry: Entry) -> Iterable[str]:
        """What was changed that it references, and why that does not make it stale. Nothing of one that was
        changed itself, or is not followed at all: there the decision says it."""
        record, home = entry.record, entry.record.id.namespace
        if not entry.policy.enabled:
            return
        consumed = {str(c.config): c for c in entry.consumed}
        for name, changed in self.keys.items():
            c = consumed.get(name)
            references = [r for r in record.references if str(ConfigId(r.kind, home, r.name)) == name]
            if c is None:
                if references:
                    config = ConfigId(references[0].kind, home, references[0].name)
                    if config.kind not in self._config_kinds:
                        yield f"{config.short(home)} changed, and its kind is not followed (--config-kinds)"
                        continue
                    yield _left_out(config.short(home), any(ref.rolls for ref in references))
                continue
            short = c.config.short(home)
            counting = changed - set(c.except_keys) if c.keys is None else changed & set(c.keys)
            if self.effects[name][-1] == "deleted":
                if not entry.policy.on_delete:
                    yield f"{short} was deleted, which alone rolls nothing"
            elif counting and self._put_back(c.config, counting):
                yield f"{short} was put back before it was acted on"
            elif not changed or counting:
                continue
            elif c.keys is not None:
                yield f"of {short} it reads {_some(c.keys)}, and {_some(sorted(changed))} changed"
            else:
                yield f"its annotations leave out what changed of {short} ({_some(sorted(changed))})"

    def _put_back(self, config: ConfigId, keys: Iterable[str]) -> bool:
        """These keys are as they were at the start."""
        before, after = self._before.get(config), self._after.get(config)
        if before is None or after is None:
            return False
        return all(before.digests.get(key) == after.digests.get(key) for key in keys)


def _left_out(short: str, helped: bool) -> str:
    if not helped:
        return f"{short} changed, and a restart does not help: it is read elsewhere"
    return f"its annotations do not have it follow {short}"


def _some(keys: Sequence[str]) -> str:
    return ", ".join(keys[:_LISTED]) + (f" and {len(keys) - _LISTED} more" if len(keys) > _LISTED else "")
