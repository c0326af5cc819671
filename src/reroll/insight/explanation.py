"""An explanation of one workload: the decision, and for each object that it consumes what was found.

Everything is told from the decision and its findings, and nothing is compared again: what is said of an object can't
contradict what is done about the workload. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from typing import Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import fields

from reroll.core.applied import LEFT_OUT, WILDCARD, total
from reroll.core.compare import current, followed
from reroll.core.decision import Decision, Kind, Runs, Situation
from reroll.core.policy import Policy
from reroll.core.records import (
    AppliedKeys,
    ConfigId,
    ConfigKind,
    ConfigRecord,
    Consumed,
    Missing,
    Reference,
    Unknown,
)
from reroll.settings import Settings

State: TypeAlias = Literal[
    "stale", "same", "not recorded yet", "not followed", "does not exist", "can't be read", "not compared"
]
"""What is found of one object. `not recorded yet`: it differs from what is recorded, and no pod is stale by it."""

_STALE = (Kind.ROLL, Kind.WAIT, Kind.RESUME)
"""Verdicts under which a difference means that pods run older configuration. Others say that they do not."""


class Place(Struct, frozen=True):
    """One place where the pod template consumes an object."""

    where: str
    means: str
    keys: tuple[str, ...] | None
    """None: every key."""
    optional: bool
    sees: str
    """Whether running pods see a change: never, later (mounted files, 0 to 90 s), unknown."""


class KeyState(Struct, frozen=True):
    """One key of a consumed object: the digest its pods were last rolled for, and the current one."""

    key: str
    applied: str | None
    current: str | None
    same: bool


class ConfigExplanation(Struct, frozen=True):
    """One consumed object."""

    config: str
    exists: bool | None
    """None: it can't be read."""
    followed: bool
    stale: bool
    state: State
    note: str
    changed: str | None
    """The latest time its content can have changed, from managedFields."""
    keys: tuple[KeyState, ...]
    places: tuple[Place, ...]


class Setting(Struct, frozen=True):
    """One setting in force, and where it comes from."""

    name: str
    value: str
    origin: str


class Explanation(Struct, frozen=True):
    """The whole answer. It holds names and digests, and no content."""

    workload: str
    outside: str
    """Why the settings leave it out, whatever its annotations say; "" if they don't."""
    enabled: bool
    stale: bool
    runs: Runs
    """What its pods run: current, rolling (not all are new yet), older, or "" where it is not known."""
    rollout: str | None
    """How far its rollout is; None where its kind does not show that."""
    left: int
    """Pods that run older configuration and are left as they are; see `Applied.left`."""
    decision: str
    reason: str
    notes: tuple[str, ...]
    policy: tuple[Setting, ...]
    problems: tuple[str, ...]
    configs: tuple[ConfigExplanation, ...]
    replicas: int | None
    paused: bool
    pods: int | None
    oldest_pod: str | None


def tell(
    s: Situation,
    decision: Decision,
    notes: Sequence[str],
    settings: Settings,
    *,
    outside: str = "",
    unselected: Collection[ConfigId] = (),
) -> Explanation:
    """Put a decision into an explanation. `outside`: why the settings leave the workload out; `unselected`: the
    config objects whose labels the settings don't select."""
    w = s.workload
    stale = {f.consumed.config for f in decision.findings if f.stale is not None}
    if decision.kind not in _STALE:
        stale = set()
    written = decision.applied or w.applied
    told = _Told(s, decision, stale, unselected)
    configs = [told.config(c) for c in s.consumed]
    configs += _not_followed(s, settings.followed_config_kinds(), outside)
    return Explanation(
        workload=f"{w.id.kind.lower()}/{w.id.name} in {w.id.namespace}",
        outside=outside,
        enabled=s.policy.enabled and not outside,
        stale=bool(stale),
        runs=decision.runs,
        rollout=s.progress.words if s.progress is not None else None,
        left=written.left if written is not None else 0,
        decision=decision.kind.value,
        reason=decision.reason,
        notes=(*decision.notes, *notes),
        policy=tuple(_settings(s.policy, settings)),
        problems=tuple(problem.message for problem in s.policy.problems),
        configs=tuple(configs),
        replicas=w.replicas,
        paused=w.paused,
        pods=s.pods.count if s.pods and s.pods.count >= 0 else None,
        oldest_pod=_time(s.pods.oldest) if s.pods and s.pods.count > 0 else None,
    )


class _Told:
    """What is told of each object that the policy follows."""

    def __init__(
        self, s: Situation, decision: Decision, stale: set[ConfigId], unselected: Collection[ConfigId]
    ) -> None:
        self._s, self._decision, self._stale, self._unselected = s, decision, stale, unselected
        self._found = {f.consumed.config: f for f in decision.findings}
        self._counting = set(self._found)
        if not decision.findings:  # nothing was compared: what would count is told all the same
            before = s.workload.applied
            recorded = before.configs.keys() if before is not None else ()
            counting, _ = followed(s.consumed, s.states, s.workload.id.namespace, recorded=recorded)
            self._counting = {c.config for c in counting}

    def config(self, c: Consumed) -> ConfigExplanation:
        s, home = self._s, self._s.workload.id.namespace
        state, record = s.states[c.config], None
        if isinstance(state, ConfigRecord):
            record = state
        applied = s.workload.applied.configs.get(c.config.short(home)) if s.workload.applied else None
        return ConfigExplanation(
            config=c.config.short(home),
            exists=None if isinstance(state, Unknown) else record is not None,
            followed=c.config in self._counting,
            stale=c.config in self._stale,
            state=self._state(c),
            note=self._note(c),
            changed=_time(record.stamp) if record and record.stamp else None,
            keys=tuple(_keys(applied, current(record, c) if record else None)),
            places=tuple(_place(ref) for ref in c.references),
        )

    def _state(self, c: Consumed) -> State:
        held, found = self._s.states[c.config], self._found.get(c.config)
        if c.config not in self._counting:
            return "not followed"
        if c.config in self._stale:
            return "stale"
        if isinstance(held, Unknown):
            return "can't be read"
        if isinstance(held, Missing):
            return "does not exist"
        if found is not None:
            return "not recorded yet" if found.write else "same"
        return "not recorded yet" if self._decision.kind is Kind.ADOPT else "not compared"

    def _note(self, c: Consumed) -> str:
        home = self._s.workload.id.namespace
        if c.config not in self._counting:
            if c.config in self._unselected:
                return "its labels don't match --config-selector"
            if isinstance(self._s.states[c.config], ConfigRecord):
                return "its own annotations exclude it"
            return "whether it may be followed stands on the object itself, which can't be seen"
        found = self._found.get(c.config)
        if found is None:
            return ""
        change = found.stale
        came_or_went = change.describe(home) if change and (change.appeared or change.deleted) else ""
        return "; ".join(part for part in (came_or_went, found.note, found.blocked) if part)


def _keys(applied: AppliedKeys, now: AppliedKeys) -> Iterable[KeyState]:
    if isinstance(applied, str) or isinstance(now, str):
        # Many keys are one digest, over those that count: what else is recorded of them does not matter.
        before, after = total(applied) or None, total(now) or None
        yield KeyState("(all keys)", before, after, before == after)
        return
    old, new = applied or {}, now or {}
    for key in sorted((old.keys() | new.keys()) - {WILDCARD}):
        if LEFT_OUT in (old.get(key), new.get(key)):
            continue  # it does not count
        yield KeyState(key, old.get(key) or None, new.get(key) or None, old.get(key) == new.get(key))


def _not_followed(
    s: Situation, config_kinds: Collection[ConfigKind], outside: str
) -> Iterable[ConfigExplanation]:
    """What the template references and the policy does not follow, or a restart does not help."""
    followed_names = {(c.config.kind, c.config.name) for c in s.consumed}
    others: dict[tuple[ConfigKind, str], list[Reference]] = {}
    for ref in s.workload.references:
        if (ref.kind, ref.name) not in followed_names:
            others.setdefault((ref.kind, ref.name), []).append(ref)
    for (kind, name), refs in others.items():
        yield ConfigExplanation(
            config=f"{kind}/{name}",
            exists=None,
            followed=False,
            stale=False,
            state="not followed",
            note=_why_not(kind, refs, config_kinds, outside),
            changed=None,
            keys=(),
            places=tuple(_place(ref) for ref in refs),
        )


def _why_not(
    kind: ConfigKind, references: Sequence[Reference], config_kinds: Collection[ConfigKind], outside: str
) -> str:
    if not any(ref.rolls for ref in references):
        return "a restart does not help: it is read elsewhere"
    if outside:
        return "the workload is left out"
    if kind not in config_kinds:
        return "its kind is not followed (--config-kinds)"
    return "the policy does not follow it"


def _place(ref: Reference) -> Place:
    return Place(ref.where, ref.means, ref.keys, ref.optional, ref.sees)


def _settings(policy: Policy, settings: Settings) -> Iterable[Setting]:
    auto = {
        "configmaps": policy.configmaps,
        "secrets": policy.secrets,
        "secretproviderclasses": policy.secretproviderclasses,
    }
    values = {
        "auto": ",".join(kind for kind, on in auto.items() if on) or "false",
        "follow": ", ".join(str(item) for item in policy.follow) or "-",
        "ignore": ", ".join(str(item) for item in policy.ignore) or "-",
        "search": str(policy.search).lower(),
        "mode": policy.mode,
        "settle": f"{policy.settle:g}s (at most {policy.settle_max:g}s)",
        "on_create": "auto" if policy.on_create is None else str(policy.on_create).lower(),
        "on_delete": str(policy.on_delete).lower(),
    }
    for name, value in values.items():
        origins = auto if name == "auto" else (name,)
        found = dict.fromkeys(_origin(policy, origin, settings) for origin in origins)
        yield Setting(name.replace("_", "-"), value, ", ".join(found))


_DEFAULTS = {field.name: field.default for field in fields(Settings)}


def _origin(policy: Policy, name: str, settings: Settings) -> str:
    """Where the value of a setting comes from. Where no annotation says it, the controller's setting does."""
    origin = policy.origins.get(name, "default")
    if origin == "default" and name in _DEFAULTS and getattr(settings, name) != _DEFAULTS[name]:
        return f"controller setting --{name.replace('_', '-')}"
    return origin


def _time(stamp: float) -> str:
    return datetime.fromtimestamp(stamp, UTC).isoformat().replace("+00:00", "Z")
