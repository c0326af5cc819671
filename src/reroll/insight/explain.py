"""Why is a workload rolled, or not? Answered from the cluster alone, with the controller's own decisions.

No controller has to run: what one with these settings would see at its start is read here, for one workload, and
decided on. `insight.explanation` puts the decision into words.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec
from msgspec import Struct

from reroll.controller.ages import Ages
from reroll.controller.digest_key import DigestKeySecret
from reroll.core.applied import APPLIED
from reroll.core.consumption import consumption, patterns, with_recorded
from reroll.core.decide import decide
from reroll.core.decision import Decision, Kind, Situation
from reroll.core.digests import DigestKey, config_map_digests, secret_digests
from reroll.core.kinds import KINDS, WorkloadKind
from reroll.core.marks import MarkStyle
from reroll.core.observe import (
    ConfigMapObject,
    NamespaceObject,
    ObjectMeta,
    SecretObject,
    config_record,
    decode_object,
    status_of,
    with_revisions,
    with_template_of,
    workload_record,
)
from reroll.core.policy import Policy
from reroll.core.progress import Progress, progress
from reroll.core.proof import NOT_PERMITTED, PodAges
from reroll.core.records import (
    ConfigId,
    ConfigKind,
    ConfigState,
    Missing,
    Unknown,
    WorkloadId,
    WorkloadRecord,
)
from reroll.dialects import Dialects
from reroll.dialects.marks import style_of
from reroll.dialects.presence import find_reloader
from reroll.insight.explanation import Explanation, tell
from reroll.kube.client import Client
from reroll.kube.errors import ApiError, NotFound
from reroll.kube.pages import METADATA_ONLY
from reroll.kube.resources import CONFIG_MAPS, NAMESPACES, SECRETS, Resource
from reroll.rollouts.paths import path
from reroll.settings import Scope, Settings

_SOURCES: dict[ConfigKind, Resource] = {"configmap": CONFIG_MAPS, "secret": SECRETS}

_namespace = msgspec.json.Decoder(NamespaceObject).decode
_config_map = msgspec.json.Decoder(ConfigMapObject).decode
_secret = msgspec.json.Decoder(SecretObject).decode


class _Names(Struct, gc=False):
    items: list[NamespaceObject] | None = None


_names = msgspec.json.Decoder(_Names).decode


async def explain(
    client: Client, workload: WorkloadId, settings: Settings, *, key_places: Sequence[tuple[str, str]]
) -> Explanation:
    """Explain one workload, as a controller with these settings decides. `key_places` are the (namespace, name) where
    the digest key's Secret may be.

    Raises NotFound when there is no such workload, other ApiErrors when it can't be read, and SettingsError for
    settings that are not understood. What else can't be read is named in the answer.
    """
    return await _Reading(client, settings).explain(workload, key_places)


class _Workload(NamedTuple):
    """A workload as it is read."""

    record: WorkloadRecord
    progress: Progress | None
    marks: MarkStyle
    labels: Mapping[str, str]


class _Reading:
    """What is read for one explanation, and what is to be noted of it."""

    def __init__(self, client: Client, settings: Settings) -> None:
        self._client = client
        self._settings = settings
        self._scope: Scope = settings.scope()
        self._config_kinds = settings.followed_config_kinds()
        self._kinds: Mapping[str, WorkloadKind] = {**KINDS, **self._scope.kinds}
        self._dialects = Dialects()
        self._notes: list[str] = []
        self._unselected: set[ConfigId] = set()

    async def explain(self, workload: WorkloadId, key_places: Sequence[tuple[str, str]]) -> Explanation:
        settings, notes = self._settings, self._notes
        record, how_far, marks, labels = await self._workload(workload)
        if record.template_of is not None:
            record = with_template_of(record, await self._lender(record.template_of), None)
        record = with_revisions(record, None, complete=how_far is not None and how_far.complete)
        home = await self._namespace(workload.namespace)
        policy = await self._policy(record, home.annotations or {})
        outside = self._scope.outside(workload, labels, home.labels or {})
        if not outside and settings.webhook_url:
            outside = "the controller calls an address for each change, and rolls nothing (--webhook-url)"
        needs_key = not outside and self._config_kinds != ("configmap",)
        key = await self._key(record, key_places) if needs_key else None
        names = await self._existing(record, policy)
        existing = with_recorded(record, lambda kind, space: names.get((kind, space), ()))
        consumed = () if outside else consumption(record, policy, existing)
        states = {c.config: await self._state(c.config, key) for c in consumed}
        ages = await self._ages(workload)
        situation = Situation(
            workload=record,
            policy=policy,
            consumed=consumed,
            states=states,
            key_id=key.id if key else (record.applied.key_id if record.applied else ""),
            now=time.time(),
            kind=self._kinds[workload.kind],
            pods=ages if ages is not None else NOT_PERMITTED,
            progress=how_far,
            marks=marks,
        )
        decision = Decision(Kind.SKIP, outside) if outside else decide(situation)
        return tell(situation, decision, notes, settings, outside=outside, unselected=self._unselected)

    # --- the workload and its policy -----------------------------------------------------------------

    async def _workload(self, workload: WorkloadId) -> _Workload:
        """A workload, and how its controller marks it: as the record on it tells, else as the settings say."""
        raw = await self._client.get(path(workload, self._kinds))
        obj = decode_object(self._kinds[workload.kind], raw)
        ours = self._settings.mark_style()
        style = style_of(obj.spec.template, (obj.metadata.annotations or {}).get(APPLIED), ours)
        if style is not ours and self._settings.marks != "reroll":
            self._notes.append(
                f"its controller marks pod templates in another style than {self._settings.marks} (--marks)"
            )
        record = workload_record(
            obj,
            workload.kind,
            None,
            relevant=self._dialects.relevant,
            arrived=0.0,
            manager=self._settings.field_manager,
            style=style,
        )
        status = status_of(obj, workload.kind)
        how_far = progress(status, workload.kind) if status is not None else None
        return _Workload(record, how_far, style, obj.metadata.labels or {})

    async def _lender(self, lender: WorkloadId) -> WorkloadRecord | None:
        """The workload that another one has its pod template from, if the controller watches it."""
        if lender.kind not in self._scope.kinds:
            return None
        try:
            found = await self._workload(lender)
        except ApiError as error:
            self._notes.append(f"{lender} can't be read: {error.message}")
            return None
        return found.record if self._scope.of_workloads.matches(found.labels) else None

    async def _namespace(self, namespace: str) -> ObjectMeta:
        try:
            return _namespace(await self._client.get(NAMESPACES.path(None, namespace))).metadata
        except ApiError as error:
            self._notes.append(
                f"annotations and labels of namespace {namespace} can't be read ({error.message}): taken as none"
            )
            return ObjectMeta(name=namespace)

    async def _policy(self, record: WorkloadRecord, of_namespace: Mapping[str, str]) -> Policy:
        """The settings in force for it. Reloader's annotations are left to Reloader where it runs."""
        settings = self._settings

        def resolved(dialects: Dialects) -> Policy:
            self._dialects = dialects
            return dialects.resolve_policy(
                record, dialects.relevant(of_namespace), settings.policy_defaults()
            )

        policy = resolved(settings.dialects())
        if settings.dialects(reloader_runs=True) == self._dialects:
            return policy  # the answer is the same whether it runs or not
        found = await find_reloader(self._client, settings.namespaces or ("",))
        if not found:
            return policy
        alone = resolved(settings.dialects(reloader_runs=True))
        if alone != policy:
            self._notes.append(
                f"deployment/{found} is stakater/Reloader: its annotations are left to it (--beside-reloader)"
            )
        return alone

    # --- what it consumes ----------------------------------------------------------------------------

    def _watched(self, kind: ConfigKind, namespace: str) -> bool:
        """Whether the controller watches these config objects."""
        return kind in self._config_kinds and (
            not self._settings.namespaces or namespace in self._settings.namespaces
        )

    async def _key(self, record: WorkloadRecord, places: Iterable[tuple[str, str]]) -> DigestKey | None:
        """The installation's digest key, or None: Secrets can then not be compared."""
        wanted = record.applied.key_id if record.applied else None
        found: DigestKey | None = None
        problems = []
        for namespace, name in places:
            try:
                key = await DigestKeySecret(self._client, namespace, name).read()
            except ApiError as error:
                problems.append(error.message)
                continue
            if wanted in (None, key.id):
                return key
            found = found or key
        if found is None:
            self._notes.append(
                f"the digest key can't be read, so Secrets are not compared: {'; '.join(dict.fromkeys(problems))}"
            )
        return found

    async def _existing(
        self, record: WorkloadRecord, policy: Policy
    ) -> dict[tuple[ConfigKind, str], list[str]]:
        """Names of objects, only where a pattern of the policy asks for them."""
        names: dict[tuple[ConfigKind, str], list[str]] = {}
        for pattern in patterns(policy):
            for kind, source in _SOURCES.items():
                space = pattern.namespace or record.id.namespace
                asked = pattern.kind in (None, kind) and self._watched(kind, space)
                if asked and (kind, space) not in names:
                    try:
                        page = _names(await self._client.list_page(source.path(space), accept=METADATA_ONLY))
                    except ApiError as error:
                        self._notes.append(f"{source.plural} of {space} can't be listed ({error.message})")
                        page = _Names()
                    names[kind, space] = [item.metadata.name for item in page.items or ()]
        return names

    async def _state(self, config: ConfigId, key: DigestKey | None) -> ConfigState:
        if config.kind not in self._config_kinds:
            return Unknown("its kind is not followed (--config-kinds)")
        if not self._watched(config.kind, config.namespace):
            return Unknown("its namespace is not watched (--namespace)")
        if config.kind not in _SOURCES:
            return Unknown("only the controller follows what pods have mounted of it")
        if config.kind == "secret" and key is None:
            return Unknown("the digest key can't be read")
        try:
            body = await self._client.get(_SOURCES[config.kind].path(config.namespace, config.name))
        except NotFound:
            return Missing()
        except ApiError as error:
            return Unknown(error.message)
        meta, content = _digested(config, body, key)
        selected = self._scope.of_configs.matches(meta.labels or {})
        if not selected:
            self._unselected.add(config)
        return config_record(
            meta, content, None, flags=self._dialects.config_flags, arrived=0.0, ignored=not selected
        )

    async def _ages(self, workload: WorkloadId) -> PodAges | None:
        asked = Ages(self._client)
        ages = await asked.of(workload, kind=self._kinds[workload.kind])
        if asked.problem:
            self._notes.append(asked.problem)
        return ages


def _digested(
    config: ConfigId, body: bytes, key: DigestKey | None
) -> tuple[ObjectMeta, tuple[tuple[str, ...], bytes]]:
    """(metadata, (keys, digests)) of a config object. The values end here."""
    if config.kind == "configmap":
        found = _config_map(body)
        return found.metadata, config_map_digests(found.data, found.binary_data)
    assert key is not None, "Secrets are not read without"
    secret = _secret(body)
    return secret.metadata, secret_digests(config.namespace, config.name, secret.data, key)
