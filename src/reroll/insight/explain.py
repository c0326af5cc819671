"""Why is a workload rolled, or not? Answered from the cluster alone, with the controller's own decisions.

No controller has to run: what one would see at its start is read here, for one workload, and decided on.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

import msgspec
from msgspec import Struct

from reroll.controller.ages import Ages
from reroll.controller.digest_key import DigestKeySecret
from reroll.core.applied import APPLIED, LEFT_OUT, WILDCARD, total
from reroll.core.compare import Comparison, compare, current, followed
from reroll.core.consumption import consumption, patterns
from reroll.core.decide import Decision, PodAges, Situation, decide
from reroll.core.digests import DigestKey, config_map_digests, secret_digests
from reroll.core.kinds import KINDS, WorkloadKind
from reroll.core.marks import MarkStyle
from reroll.core.observe import (
    ConfigMapObject,
    NamespaceObject,
    SecretObject,
    config_record,
    decode_object,
    status_of,
    with_template_of,
    workload_record,
)
from reroll.core.policy import Policy, PolicyDefaults
from reroll.core.progress import Progress, progress
from reroll.core.proof import NOT_PERMITTED
from reroll.core.records import (
    Applied,
    AppliedKeys,
    ConfigId,
    ConfigKind,
    ConfigRecord,
    ConfigState,
    Consumed,
    Missing,
    Reference,
    Unknown,
    WorkloadId,
    WorkloadRecord,
)
from reroll.dialects import ALL, Dialects
from reroll.dialects.marks import style_of
from reroll.kube.client import Client
from reroll.kube.errors import ApiError, NotFound
from reroll.kube.pages import METADATA_ONLY
from reroll.kube.resources import CONFIG_MAPS, NAMESPACES, SECRETS, Resource
from reroll.rollouts.paths import path


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
    enabled: bool
    stale: bool
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
    runs: str = ""
    """What its pods run: current, rolling, older, or "" where it is not known."""
    rollout: str | None = None
    """How far its rollout is."""


_SOURCES: dict[ConfigKind, Resource] = {"configmap": CONFIG_MAPS, "secret": SECRETS}

_namespace = msgspec.json.Decoder(NamespaceObject).decode
_config_map = msgspec.json.Decoder(ConfigMapObject).decode
_secret = msgspec.json.Decoder(SecretObject).decode


class _Names(Struct, gc=False):
    items: list[NamespaceObject] | None = None


_names = msgspec.json.Decoder(_Names).decode


async def explain(
    client: Client,
    workload: WorkloadId,
    defaults: PolicyDefaults,
    *,
    key_places: Sequence[tuple[str, str]],
    reloader: bool = True,
    kinds: Mapping[str, WorkloadKind] = KINDS,
) -> Explanation:
    """Explain one workload. `key_places` are the (namespace, name) where the digest key's Secret may be; `kinds`, by
    their ids, holds also those that a setting declares.

    Raises NotFound when there is no such workload, and other ApiErrors when it can't be read. What else can't
    be read is named in the answer.
    """
    kind = kinds[workload.kind]
    notes: list[str] = []
    record, marks, how_far = await _record(client, workload, kinds)
    if record.template_of is not None:
        record = with_template_of(record, await _lender(client, record.template_of, notes), None)
    dialects = ALL if reloader else Dialects(reloader=None)
    of_namespace = await _namespace_annotations(client, workload.namespace, notes)
    policy = dialects.resolve_policy(record, of_namespace, defaults)
    key = await _key(client, record, key_places, notes)
    names = await _existing(client, record, policy, notes)
    consumed = consumption(record, policy, lambda kind, space: names.get((kind, space), ()))
    states = {c.config: await _state(client, c.config, key) for c in consumed}
    ages = await _ages(client, workload, notes)
    situation = Situation(
        workload=record,
        policy=policy,
        consumed=consumed,
        states=states,
        key_id=key.id if key else (record.applied.key_id if record.applied else ""),
        now=time.time(),
        kind=kind,
        pods=ages if ages is not None else NOT_PERMITTED,
        marks=marks,
        progress=how_far,
    )
    return _explanation(situation, decide(situation), notes, key_known=key is not None)


# --- reading -------------------------------------------------------------------------------------------


async def _record(
    client: Client, workload: WorkloadId, kinds: Mapping[str, WorkloadKind] = KINDS
) -> tuple[WorkloadRecord, MarkStyle, Progress | None]:
    """A workload, how its controller marks it, and how far its rollout is."""
    obj = decode_object(kinds[workload.kind], await client.get(path(workload, kinds)))
    style = style_of(obj.spec.template, (obj.metadata.annotations or {}).get(APPLIED))
    record = workload_record(obj, workload.kind, None, relevant=ALL.relevant, arrived=0.0, style=style)
    status = status_of(obj, workload.kind)
    return record, style, progress(status, workload.kind) if status is not None else None


async def _lender(client: Client, lender: WorkloadId, notes: list[str]) -> WorkloadRecord | None:
    """The workload that another one has its pod template from."""
    if lender.kind not in KINDS:
        return None
    try:
        return (await _record(client, lender))[0]
    except ApiError as error:
        notes.append(f"{lender} can't be read: {error.message}")
        return None


async def _namespace_annotations(client: Client, namespace: str, notes: list[str]) -> Mapping[str, str]:
    try:
        meta = _namespace(await client.get(NAMESPACES.path(None, namespace))).metadata
    except ApiError as error:
        notes.append(f"annotations of namespace {namespace} can't be read ({error.message}): taken as none")
        return {}
    return ALL.relevant(meta.annotations or {})


async def _key(
    client: Client, record: WorkloadRecord, places: Iterable[tuple[str, str]], notes: list[str]
) -> DigestKey | None:
    """The installation's digest key, or None: Secrets can then not be compared."""
    wanted = record.applied.key_id if record.applied else None
    found: DigestKey | None = None
    problems = []
    for namespace, name in places:
        try:
            key = await DigestKeySecret(client, namespace, name).read()
        except ApiError as error:
            problems.append(error.message)
            continue
        if wanted in (None, key.id):
            return key
        found = found or key
    if found is None:
        notes.append(
            f"the digest key can't be read, so Secrets are not compared: {'; '.join(dict.fromkeys(problems))}"
        )
    return found


async def _existing(
    client: Client, record: WorkloadRecord, policy: Policy, notes: list[str]
) -> dict[tuple[ConfigKind, str], list[str]]:
    """Names of objects, only where a pattern of the policy asks for them."""
    names: dict[tuple[ConfigKind, str], list[str]] = {}
    for pattern in patterns(policy):
        for kind, source in _SOURCES.items():
            space = pattern.namespace or record.id.namespace
            if pattern.kind in (None, kind) and (kind, space) not in names:
                try:
                    page = _names(await client.list_page(source.path(space), accept=METADATA_ONLY))
                except ApiError as error:
                    notes.append(f"{source.plural} of {space} can't be listed ({error.message})")
                    page = _Names()
                names[kind, space] = [item.metadata.name for item in page.items or ()]
    return names


async def _state(client: Client, config: ConfigId, key: DigestKey | None) -> ConfigState:
    if config.kind == "secret" and key is None:
        return Unknown("the digest key can't be read")
    if config.kind not in _SOURCES:
        return Unknown("only the controller follows what pods have mounted of it")
    try:
        body = await client.get(_SOURCES[config.kind].path(config.namespace, config.name))
    except NotFound:
        return Missing()
    except ApiError as error:
        return Unknown(error.message)
    if config.kind == "configmap":
        found = _config_map(body)
        content = config_map_digests(found.data, found.binary_data)
        return config_record(found.metadata, content, None, flags=ALL.config_flags, arrived=0.0)
    assert key is not None
    secret = _secret(body)
    content = secret_digests(config.namespace, config.name, secret.data, key)
    return config_record(secret.metadata, content, None, flags=ALL.config_flags, arrived=0.0)


async def _ages(client: Client, workload: WorkloadId, notes: list[str]) -> PodAges | None:
    asked = Ages(client)
    ages = await asked.of(workload)
    if ages is None:
        notes.append(asked.problem)
    return ages


# --- telling -------------------------------------------------------------------------------------------


def _explanation(s: Situation, decision: Decision, notes: Sequence[str], *, key_known: bool) -> Explanation:
    w, home = s.workload, s.workload.id.namespace
    before = w.applied or Applied(template=w.template_hash, key_id=s.key_id, configs={})
    counting, _ = followed(s.consumed, s.states, home, recorded=before.configs)
    rekeyed = before.key_id != s.key_id
    compared = {
        c.config: compare(c, s.states[c.config], before, home=home, rekeyed=rekeyed) for c in counting
    }
    stale = {change.config for change in decision.changes}
    configs = [_config(c, s, compared.get(c.config), c.config in stale) for c in s.consumed]
    configs += _not_followed(s)
    return Explanation(
        workload=f"{w.id.kind.lower()}/{w.id.name} in {home}",
        enabled=s.policy.enabled,
        stale=bool(stale) and decision.kind.value in ("roll", "wait"),
        decision=decision.kind.value,
        reason=decision.reason,
        notes=(*decision.notes, *notes),
        policy=tuple(_settings(s.policy)),
        problems=tuple(problem.message for problem in s.policy.problems),
        configs=tuple(configs),
        replicas=w.replicas,
        paused=w.paused,
        pods=s.pods.count if s.pods and s.pods.count >= 0 else None,
        oldest_pod=_time(s.pods.oldest) if s.pods and s.pods.count > 0 else None,
        runs=decision.runs,
        rollout=s.progress.words if s.progress is not None else None,
    )


def _config(c: Consumed, s: Situation, compared: Comparison | None, stale: bool) -> ConfigExplanation:
    home = s.workload.id.namespace
    state = s.states[c.config]
    record = state if isinstance(state, ConfigRecord) else None
    note = compared.note or compared.blocked if compared else "its own annotations exclude it"
    if compared is not None and compared.record is not None and not compared.write and not stale and not note:
        note = "same"
    applied = s.workload.applied.configs.get(c.config.short(home)) if s.workload.applied else None
    return ConfigExplanation(
        config=c.config.short(home),
        exists=None if isinstance(state, Unknown) else record is not None,
        followed=compared is not None,
        stale=stale,
        note=note,
        changed=_time(record.stamp) if record and record.stamp else None,
        keys=tuple(_keys(applied, current(record, c) if record else None)),
        places=tuple(_place(ref) for ref in c.references),
    )


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


def _not_followed(s: Situation) -> Iterable[ConfigExplanation]:
    """What the template references and the policy does not follow, or a restart does not help."""
    followed_names = {(c.config.kind, c.config.name) for c in s.consumed}
    others: dict[tuple[ConfigKind, str], list[Reference]] = {}
    for ref in s.workload.references:
        if (ref.kind, ref.name) not in followed_names:
            others.setdefault((ref.kind, ref.name), []).append(ref)
    for (kind, name), refs in others.items():
        helped = any(ref.rolls for ref in refs)
        yield ConfigExplanation(
            config=f"{kind}/{name}",
            exists=None,
            followed=False,
            stale=False,
            note="the policy does not follow it"
            if helped
            else "a restart does not help: it is read elsewhere",
            changed=None,
            keys=(),
            places=tuple(_place(ref) for ref in refs),
        )


def _place(ref: Reference) -> Place:
    return Place(ref.where, ref.means, ref.keys, ref.optional, ref.sees)


def _settings(policy: Policy) -> Iterable[Setting]:
    values = {
        "auto": ",".join(
            k for k, on in (("configmaps", policy.configmaps), ("secrets", policy.secrets)) if on
        )
        or "false",
        "follow": ", ".join(str(item) for item in policy.follow) or "-",
        "ignore": ", ".join(str(item) for item in policy.ignore) or "-",
        "search": str(policy.search).lower(),
        "mode": policy.mode,
        "settle": f"{policy.settle:g}s (at most {policy.settle_max:g}s)",
    }
    for name, value in values.items():
        origins = ("configmaps", "secrets") if name == "auto" else (name,)
        yield Setting(
            name, value, ", ".join(dict.fromkeys(policy.origins.get(o, "default") for o in origins))
        )


def _time(stamp: float) -> str:
    return datetime.fromtimestamp(stamp, UTC).isoformat().replace("+00:00", "Z")
