"""Objects as the API has them, and what is kept of them.

The structs here name only the fields that reroll reads, so that decoding skips the rest. The functions turn
an object, and what was known of it before, into the record that replaces it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from reroll.core import applied as record_of
from reroll.core.authors import Wrote, author
from reroll.core.kinds import (
    CRON_JOB,
    DEPLOYMENT,
    DEPLOYMENT_CONFIG,
    JOB,
    OF_THE_JOB,
    ROLLOUT,
    WORKLOAD_KINDS,
    WorkloadKind,
)
from reroll.core.marks import NATIVE, MarkStyle
from reroll.core.numbers import whole_number
from reroll.core.pointing import of_sources, points_of
from reroll.core.progress import (
    FOLLOWED,
    RolloutStatus,
    SpecFacts,
    StatusObject,
    decode_status,
    rollout_status,
)
from reroll.core.records import (
    LATEST,
    Applied,
    Change,
    ConfigRecord,
    Origin,
    Revision,
    WorkloadId,
    WorkloadRecord,
)
from reroll.core.references import references
from reroll.core.template import PodTemplate, hash_and_mark
from reroll.core.times import epoch as epoch


class ManagedFields(Struct, gc=False, rename="camel"):
    """One entry of metadata.managedFields: who changed which fields, and when last."""

    manager: str = ""
    time: str = ""
    subresource: str = ""
    fields_v1: msgspec.Raw = msgspec.field(default=msgspec.Raw(), name="fieldsV1")


class Owner(Struct, gc=False):
    """One entry of metadata.ownerReferences."""

    kind: str = ""
    name: str = ""
    controller: bool | None = None


class ObjectMeta(Struct, gc=False, rename="camel"):
    """metadata, as far as it is read."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    managed_fields: list[ManagedFields] | None = None
    owner_references: list[Owner] | None = None


class ConfigMapObject(Struct, gc=False, rename="camel"):
    metadata: ObjectMeta
    data: dict[str, str] | None = None
    binary_data: dict[str, str] | None = None
    immutable: bool | None = None


class SecretObject(Struct, gc=False):
    metadata: ObjectMeta
    data: dict[str, str] | None = None
    immutable: bool | None = None


class NamespaceObject(Struct, gc=False):
    metadata: ObjectMeta


class RollingUpdate(Struct, gc=False):
    partition: int | str | None = None


class UpdateStrategy(Struct, gc=False, rename="camel"):
    type: str = ""
    rolling_update: RollingUpdate | None = None


class WorkloadRef(Struct, gc=False):
    """spec.workloadRef of an Argo Rollout: whose pod template it uses."""

    kind: str = ""
    name: str = ""


class WorkloadSpec(Struct, gc=False, rename="camel"):
    template: msgspec.Raw = msgspec.Raw(b"{}")
    workload_ref: WorkloadRef | None = None
    replicas: int | None = None
    paused: bool = False
    update_strategy: UpdateStrategy | None = None
    suspend: bool | None = None
    progress_deadline_seconds: int | None = None
    min_ready_seconds: int | None = None
    restart_at: str | None = None


class WorkloadObject(Struct, gc=False):
    """A Deployment, StatefulSet or DaemonSet, or another kind put into this form (`workload_object`). The template
    stays undecoded until it is known to differ."""

    metadata: ObjectMeta
    spec: WorkloadSpec
    status: StatusObject = msgspec.field(default_factory=StatusObject)
    finished: bool = False


class OtherObject(Struct, gc=False):
    """A workload of a kind with a form of its own, as it is read; `workload_object` makes more of it."""

    metadata: ObjectMeta
    spec: dict[str, msgspec.Raw] = {}
    status: msgspec.Raw = msgspec.Raw(b"{}")


_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_other = msgspec.json.Decoder(OtherObject).decode
decode_workload = msgspec.json.Decoder(WorkloadObject).decode


def object_type(kind: WorkloadKind) -> type[WorkloadObject] | type[OtherObject]:
    """What objects of this kind are decoded into."""
    return WorkloadObject if kind.id in WORKLOAD_KINDS else OtherObject


def decode_object(kind: WorkloadKind, body: bytes) -> WorkloadObject:
    """An object of this kind out of its JSON. Raises msgspec.DecodeError."""
    if kind.id in WORKLOAD_KINDS:
        return decode_workload(body)
    return workload_object(kind, _decode_other(body))


def workload_object(kind: WorkloadKind, obj: WorkloadObject | OtherObject) -> WorkloadObject:
    """An object of any kind in the form of the kinds in apps/v1.

    Fields that a custom kind has of the same names, and with another meaning, count as absent. Raises
    msgspec.DecodeError where something stands in the way of the path to the pod template.
    """
    if isinstance(obj, WorkloadObject):
        return obj
    fields = obj.spec
    for name in kind.template[1:-1]:
        fields = _decode_fields(fields.get(name, b"{}"))
    template = fields.get(kind.template[-1], msgspec.Raw(b"{}"))
    if kind is JOB:
        template = _of_any_job(template)
    spec = WorkloadSpec(
        template=template if bytes(template) != b"null" else msgspec.Raw(b"{}"),
        replicas=_field(obj.spec, "replicas", int | None),
        paused=_field(obj.spec, "paused", bool) or False,
        update_strategy=_field(obj.spec, "updateStrategy", UpdateStrategy | None),
        suspend=_field(obj.spec, "suspend", bool | None),
        workload_ref=_field(obj.spec, "workloadRef", WorkloadRef | None) if kind.id == ROLLOUT.id else None,
        restart_at=_field(obj.spec, "restartAt", str | None) if kind.id == ROLLOUT.id else None,
    )
    status = decode_status(obj.status)
    return WorkloadObject(obj.metadata, spec, status, kind is JOB and _finished(status))


def _of_any_job(template: msgspec.Raw) -> msgspec.Raw:
    """A Job's pod template without the labels that hold its uid: created again, it is the same template."""
    found = msgspec.json.decode(template)
    metadata = found.get("metadata") if isinstance(found, dict) else None
    labels = metadata.get("labels") if isinstance(metadata, dict) else None
    if not isinstance(labels, dict) or not labels.keys() & set(OF_THE_JOB):
        return template
    found["metadata"]["labels"] = {k: v for k, v in labels.items() if k not in OF_THE_JOB} or None
    return msgspec.Raw(msgspec.json.encode(found))


def _field(spec: Mapping[str, msgspec.Raw], name: str, form: Any) -> Any:
    raw = spec.get(name)
    if raw is None:
        return None
    try:
        return msgspec.json.decode(raw, type=form)
    except msgspec.ValidationError:
        return None


def _finished(status: StatusObject) -> bool:
    """Complete and Failed are the two conditions that end a Job (KEP-3998 has others come before them)."""
    return any(c.type in ("Complete", "Failed") and c.status == "True" for c in status.conditions or ())


def is_fresh(obj: WorkloadObject, kind: str) -> bool:
    """Has it no pods yet, because its controller has done nothing about it? One that a watch tells of as it happens was
    created just now, then: another that appears, because it got a label that is looked for, has a status."""
    status = obj.status
    if kind in FOLLOWED:
        untouched = status.observed_generation in (0, "")
    else:
        untouched = kind in (JOB.id, CRON_JOB.id) and not (status.start_time or status.last_schedule_time)
    return untouched and obj.metadata.generation == 1


def status_of(obj: WorkloadObject, kind: str) -> RolloutStatus | None:
    """What an object says of its rollout; None for kinds whose status shows nothing of the sort."""
    if kind not in FOLLOWED:
        return None
    if kind in (ROLLOUT.id, DEPLOYMENT_CONFIG.id) and obj.status.observed_generation in (0, ""):
        return None  # its controller doesn't say, or does not run
    spec, strategy = obj.spec, obj.spec.update_strategy
    return rollout_status(
        SpecFacts(
            generation=obj.metadata.generation,
            replicas=spec.replicas,
            paused=spec.paused,
            on_delete=strategy is not None and strategy.type == "OnDelete",
            partition=_partition(strategy),
            within=spec.progress_deadline_seconds,
            min_ready=spec.min_ready_seconds or 0,
            restart_at=spec.restart_at,
            of_workload=(obj.metadata.annotations or {}).get(_WORKLOAD_GENERATION, "")
            if spec.workload_ref is not None
            else "",
        ),
        obj.status,
        kind,
    )


_WORKLOAD_GENERATION: Final = "rollout.argoproj.io/workload-generation"


def _partition(strategy: UpdateStrategy | None) -> int:
    update = strategy.rolling_update if strategy is not None else None
    return update.partition if update is not None and isinstance(update.partition, int) else 0


_decode_template = msgspec.json.Decoder(PodTemplate).decode
_shared_keys: dict[tuple[str, ...], tuple[str, ...]] = {}


def last_change(meta: ObjectMeta, fields: tuple[bytes, ...], *, except_manager: str = "") -> float:
    """When one of the top-level `fields` (such as ``b'"f:data"'``) was last changed, by managedFields.

    The server moves an entry's time whenever its manager changes any field of it, so this is the latest time
    it can have been. An object without such entries was never changed after its creation, as far as it tells.
    """
    latest = 0.0
    for entry in meta.managed_fields or ():
        if entry.subresource or not entry.time or (except_manager and entry.manager == except_manager):
            continue
        owned = bytes(entry.fields_v1)
        for field in fields:
            if field in owned:
                latest = max(latest, epoch(entry.time))
                break
    return latest or epoch(meta.creation_timestamp)


def _wrote_template(meta: ObjectMeta, except_manager: str) -> list[Wrote]:
    """Who owns fields of the pod template, and when each last changed any of its fields."""
    return [
        Wrote(entry.manager, epoch(entry.time))
        for entry in meta.managed_fields or ()
        if not entry.subresource
        and entry.manager != except_manager
        and b'"f:template"' in bytes(entry.fields_v1)
    ]


STARTS_WITHIN: Final = 2.0
"""Seconds after the creation of an object in which no pod that waits for it has started: the kubelet looks again later
than that, and the server's times are whole seconds."""


def first_content(meta: ObjectMeta, stamp: float) -> bool:
    """Is content last changed at `stamp` all that a pod can have started with, since the object was created?"""
    created = epoch(meta.creation_timestamp)
    return not created or stamp - created < STARTS_WITHIN


def version_number(resource_version: str) -> int:
    """A resourceVersion as a number, 0 where it is none."""
    return whole_number(resource_version)


Flags = Callable[[Mapping[str, str]], tuple[bool, bool, str]]
"""Annotations of a config object -> (ignored, matchable, shared_with), all dialects together."""

_DATA_FIELDS = (b'"f:data"', b'"f:binaryData"', b'"f:stringData"')


def config_record(
    meta: ObjectMeta,
    content: tuple[tuple[str, ...], bytes],
    previous: ConfigRecord | None,
    *,
    flags: Flags,
    arrived: float,
    ignored: bool = False,
    immutable: bool = False,
    suffix: str = "",
) -> ConfigRecord:
    """What is kept of a ConfigMap or Secret. `content` is (sorted keys, digests joined).

    `suffix`: of the name of a version with this content, where that is known from its values. `arrived` is the time of
    its arrival on a watch, 0 when a list found it. The same content keeps the time
    of its change; if nothing at all differs, `previous` itself is returned. `ignored`: nothing may follow it, whatever
    its annotations say.
    """
    keys, joined = content
    marked, matchable, shared_with = flags(meta.annotations) if meta.annotations else (False, False, "")
    ignored = ignored or marked
    if previous is not None and previous.digests == joined and previous.keys == keys:
        after = replace(
            previous,
            ignored=ignored,
            matchable=matchable,
            shared_with=shared_with,
            immutable=immutable,
            suffix=suffix or previous.suffix,
        )
        return previous if after == previous else after
    stamp = last_change(meta, _DATA_FIELDS)
    return ConfigRecord(
        keys=_share(keys),
        digests=joined,
        stamp=stamp,
        arrived=arrived,
        version=version_number(meta.resource_version),
        ignored=ignored,
        matchable=matchable,
        shared_with=shared_with,
        immutable=immutable,
        suffix=suffix,
        rewritten=not first_content(meta, stamp),
    )


def changed_back(
    record: ConfigRecord, previous: ConfigRecord, meta: ObjectMeta, *, arrived: float
) -> ConfigRecord:
    """`record`, that was read after some versions were missed, with the time of its change: of the same content as
    `previous`, it was changed and changed back, if it is known to have been another (`arrived`, else 0) or if its time
    of change has moved. That does not move where a key was removed."""
    version, stamp = version_number(meta.resource_version), last_change(meta, _DATA_FIELDS)
    moved = stamp > previous.stamp
    if record.version != previous.version or version <= previous.version or not (arrived or moved):
        return record
    return replace(record, stamp=stamp if moved else 0.0, arrived=arrived, version=version)


def _share(keys: tuple[str, ...]) -> tuple[str, ...]:
    """One tuple for all objects with the same keys: in most clusters that is nearly all of them."""
    if len(_shared_keys) > 4096:
        _shared_keys.clear()
    return _shared_keys.setdefault(keys, keys)


def workload_record(
    obj: WorkloadObject,
    kind: str,
    previous: WorkloadRecord | None,
    *,
    relevant: Callable[[Mapping[str, str]], dict[str, str]],
    arrived: float,
    written_mark: str | None = None,
    manager: str = "reroll",
    style: MarkStyle = NATIVE,
    fresh: bool = False,
    seen: bool = True,
) -> WorkloadRecord:
    """What is kept of a workload.

    `relevant` picks the annotations that can hold policy; `written_mark` is the mark this process is writing
    just now, so that its own change is not taken for somebody else's; `manager` is its field manager; `style`
    tells marks from what others wrote; `fresh`: it was created just now, and has no pods yet. `seen`: nothing can have
    come between `previous` and this; else a change of the template that arrives is only known to be later than
    `previous`, and a change of configuration after that counts as later than the template's.
    """
    meta = obj.metadata
    annotations = relevant(meta.annotations) if meta.annotations else {}
    new_here = previous is None
    if previous is not None and previous.uid != meta.uid:
        previous = None
    applied, unsaved, problem = _applied(meta.annotations or {}, previous)
    if previous is not None and previous.generation == meta.generation and meta.generation:
        # Only status or metadata can differ: the template need not be looked at.
        template_annotations, refs = previous.template_annotations, previous.references
        hashed, mark, change = previous.template_hash, previous.mark, previous.template_change
        carrier = previous.carrier
    else:
        template = _decode_template(obj.spec.template)
        own = template.metadata.annotations
        template_annotations = relevant(own) if own else {}
        refs = of_sources(references(template), points_of(own) if own else {})
        carrier = next((c.name for c in template.spec.containers or () if c.name), "")
        hashed, mark = hash_and_mark(obj.spec.template, style.take)
        if (
            previous is not None
            and hashed == previous.template_hash
            # A mark that went away was taken away by somebody else: an undo to before the first rollout.
            and (mark == previous.mark or (mark is not None and mark == written_mark))
        ):
            change = previous.template_change
        else:
            stamp = last_change(meta, (b'"f:template"',), except_manager=manager)
            taken_back: bool | None = False
            if previous is not None and previous.applied is not None:
                gone = unsaved and not previous.unsaved
                taken_back = None if gone else applied != previous.applied
            who = author(
                _wrote_template(meta, manager),
                before=previous.template_change.stamp if previous is not None else None,
                taken_back=taken_back,
                annotations_go_back=kind == DEPLOYMENT.id,
            )
            skipped = previous if arrived and not seen else None
            change = Change(
                stamp=stamp,
                # One that is new here need not be new: it may have got a label that is looked for.
                arrived=0.0 if new_here and not fresh else arrived,
                version=version_number(
                    skipped.resource_version if skipped is not None else meta.resource_version
                ),
                by=who.name,
                willed=who.person,
            )
    started = None
    if previous is not None and change == previous.template_change and applied == previous.applied:
        started = previous.started_with
    strategy, ref = obj.spec.update_strategy, obj.spec.workload_ref
    return WorkloadRecord(
        id=WorkloadId(kind, meta.namespace, meta.name),
        uid=meta.uid,
        resource_version=meta.resource_version,
        generation=meta.generation,
        annotations=annotations,
        template_annotations=template_annotations,
        references=refs,
        template_hash=hashed,
        mark=mark,
        applied=applied,
        unsaved=unsaved,
        applied_problem=problem,
        template_change=change,
        started_with=started,
        mixed=_mixed(previous, (hashed, mark), applied),
        revisions=previous.revisions if previous is not None else None,
        origin=previous.origin if previous is not None else "unseen",
        complete_at=previous.complete_at if previous is not None else 0,
        # A Job that is suspended has no pods, and reads the new content when it is resumed.
        replicas=0 if kind == JOB.id and obj.spec.suspend else obj.spec.replicas,
        paused=obj.spec.paused,
        on_delete=strategy is not None and strategy.type == "OnDelete",
        partition=_partition(strategy),
        deleting=meta.deletion_timestamp is not None,
        suspended=bool(obj.spec.suspend),
        finished=obj.finished,
        owned=any(owner.controller for owner in meta.owner_references or ()),
        carrier=carrier,
        template_of=WorkloadId(ref.kind, meta.namespace, ref.name) if ref is not None else None,
        stands_in_for=(meta.annotations or {}).get(record_of.STANDS_IN_FOR, "").partition(" ")[0],
        restarting=tuple((meta.annotations or {}).get(record_of.RESTARTING, "").split()),
    )


def _mixed(previous: WorkloadRecord | None, present: Revision, applied: Applied | None) -> frozenset[str]:
    """`WorkloadRecord.mixed` holds until its pods are replaced for it: by a revision that none of them is of, or by a
    later decision."""
    if previous is None or not previous.mixed:
        return frozenset()
    if previous.revision != present and previous.revisions is not None and present not in previous.revisions:
        return frozenset()
    at = applied.at if applied is not None else 0
    before = previous.applied.at if previous.applied is not None else 0
    # No decision can be later than the latest time, which only a forged record holds.
    return previous.mixed if at <= before < LATEST else frozenset()


def with_revisions(
    record: WorkloadRecord, previous: WorkloadRecord | None, *, complete: bool, fresh: bool = False
) -> WorkloadRecord:
    """A record that holds which revisions its pods can be of, and how those of the present one came to be.

    `previous`: what was kept of the same workload before. `complete`: by its status, no pod of an older revision is
    left (`Progress.complete`). `fresh`: it was created just now. A template that goes back, in the middle of a rollout,
    to a revision which still has pods starts none of these anew.
    """
    present = record.revision
    known: tuple[Revision, ...] | None
    if previous is None or previous.uid != record.uid:
        origin: Origin = "new" if fresh else "unseen"
        known = (present,) if fresh else None
    elif previous.revision == present:
        origin, known = previous.origin, previous.revisions
    else:
        known = previous.revisions
        if known is None:
            origin = "unseen"
        else:
            origin = "returned" if present in known else "new"
            known = (*(each for each in known if each != present), present)
            known = known if len(known) <= _REVISIONS else None
    at = previous.complete_at if previous is not None and previous.uid == record.uid else 0
    if complete and known != (present,):
        known, at = (present,), version_number(record.resource_version)
    if (record.revisions, record.origin, record.complete_at) == (known, origin, at):
        return record
    return replace(record, revisions=known, origin=origin, complete_at=at)


_REVISIONS: Final = 16
"""Revisions of one workload that are remembered while its rollouts don't end; of more, none is known."""


def with_template_of(
    record: WorkloadRecord, source: WorkloadRecord | None, previous: WorkloadRecord | None
) -> WorkloadRecord:
    """A record that has its pod template from another workload: `source`, None where that is not known.

    `previous`: what was kept of this one before. The marks and the policy in the template are the source's own
    affair.
    """
    if source is None:
        return replace(record, references=(), template_hash="", mark=None, template_change=Change())
    change = source.template_change
    if previous is not None and (
        not previous.template_hash  # it was missing: its coming says nothing of the pods that run
        or (previous.template_change.version == change.version and not previous.template_change.live)
    ):
        change = replace(change, arrived=0.0)
    same = previous is not None and previous.template_change == change and previous.applied == record.applied
    return replace(
        record,
        references=source.references,
        template_hash=source.template_hash,
        mark=None,
        template_change=change,
        started_with=previous.started_with if previous is not None and same else None,
    )


def _applied(
    annotations: Mapping[str, str], previous: WorkloadRecord | None
) -> tuple[Applied | None, bool, str]:
    """(applied, unsaved, problem). What this process knows outlives a removed or unreadable annotation."""
    problem = ""
    value = annotations.get(record_of.APPLIED)
    if value is not None:
        try:
            return record_of.decode(value), False, ""
        except ValueError as error:
            problem = str(error)
    if previous is not None and previous.applied is not None:
        return previous.applied, True, problem
    return None, False, problem
