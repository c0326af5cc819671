"""The mode of Jobs: deleted and created again, because their pod template can't be changed. None is lost in between.

The new Job is the old one as it was, with the record and the mark in it; what the server and the Job's controller put
into the old one is left out, because it would tie the new one to the old one's pods.

What is to be created is known before the old Job goes, and kept until the new one is there: by this process, and on the
server as a suspended Job that stands in for it, should this process end or lose the lead before that. The stand-in on
the server is the truth: memory ends with the term. A stand-in goes when what it stands in for is there. Where this
controller is not at work on its Job, and that is still missing after `_LEFT_BEHIND` seconds, the controller that
deleted it is presumed dead, and the Job is created from the stand-in.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Collection, Mapping
from enum import Enum
from typing import Any, Final, NamedTuple

import msgspec
import structlog

from reroll.core.applied import APPLIED, STANDS_IN_FOR, encode
from reroll.core.decision import Decision
from reroll.core.kinds import JOB, OF_THE_JOB
from reroll.core.marks import NATIVE, MarkStyle
from reroll.core.observe import decode_object
from reroll.core.records import WorkloadId, WorkloadRecord
from reroll.kube.errors import AlreadyExists, ApiError, NotFound
from reroll.kube.resources import Resource
from reroll.modes.bodies import owner_of
from reroll.modes.mode import Api, Leave, Made, Mode, Outcome, Subject, Wait

log = structlog.get_logger("reroll.controller")

JOBS: Final = Resource(JOB.group, JOB.version, JOB.plural, JOB.kind)

HOOKS: Final = ("helm.sh/hook", "argocd.argoproj.io/hook")
"""Annotations of Jobs that a tool waits for; Helm takes a deletion for the end of the Job and goes on."""

_LEFT_BEHIND = 10.0  # seconds after which another controller's stand-in counts as left behind
_GIVEN_UP = 60.0  # seconds after which one whose Job was never deleted is no longer needed
_PASSING: Final = (401, 408, 409, 410, 429)
"""4xx answers that say nothing of whether a Job may be created; a quota that is being counted answers with 409."""
_LOOK_AGAIN = 1.0  # seconds after which one whose Job is being created is looked after
_NOT_TOLD_BY_DRY_RUNS = ("does not support dry run", "exceeded quota")

_OF_THE_SERVER: Final = (
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
)
_OF_ITS_DELETION: Final = ("orphan", "foregroundDeletion")
_NAME: Final = 52  # as for CronJobs themselves: with what is appended, a name of at most 63 characters


class Pending(NamedTuple):
    """A Job that was deleted, or may have been, and is to be created again."""

    subject: Subject
    decision: Decision
    body: bytes
    """The manifest of the new one."""
    stand_in: str
    """The name of the Job that stands in for it."""


class _There(Enum):
    """Which Job has the name of one that is to be created."""

    NONE = "none"
    OLD = "the old one, which is not being deleted"
    GOING = "the old one, which is being deleted"
    OTHER = "another one: created again already, or by another client"


class Recreate(Mode):
    """Deletes Jobs and creates them again, and looks after stand-ins that other controllers left."""

    def __init__(self) -> None:
        self.pending: dict[WorkloadId, Pending] = {}
        self._stand_ins: set[WorkloadId] = set()
        """Those that this term made, or found made by a try before."""
        self._strangers: dict[WorkloadId, float] = {}
        """Stand-ins of other controllers, and when each was seen first."""
        self._removing: set[WorkloadId] = set()

    # --- Mode ----------------------------------------------------------------------------------------

    async def begin(self, subject: Subject, decision: Decision) -> Outcome:
        """Delete the Job. Where an error leaves open whether it was deleted, it is pending all the same."""
        record = subject.record
        job = await subject.read()
        hook = next((name for name in HOOKS if name in (job["metadata"].get("annotations") or {})), "")
        if hook and not record.annotations and not record.template_annotations:
            return Leave(
                f"it carries {hook}: the tool that made it waits for its end, so it is not created again unless an "
                f"annotation of its own asks for that"
            )
        body = again(job, decision, subject.style)
        name, manifest = stand_in(body, record.uid)
        stands_in = record.id._replace(name=name)
        if stands_in in self._removing:
            return Wait("its former stand-in is being removed", after=_LOOK_AGAIN)
        await _check_taken(subject.api, record.id, body)
        self.pending[record.id] = Pending(subject, decision, body, name)
        try:
            await self._put_stand_in(subject.api, stands_in, manifest)
            await subject.api.delete(subject.path, deletion(record), attempts=1)
        except ApiError as error:
            if 400 <= error.status < 500:
                del self.pending[record.id]  # surely not deleted; else that shows when it is to be created
            raise
        return await self._create(self.pending[record.id])

    def unfinished(self, workload: WorkloadId) -> Subject | None:
        """See `Mode`."""
        pending = self.pending.get(workload)
        return pending.subject if pending is not None else None

    def all_unfinished(self) -> Collection[WorkloadId]:
        """See `Mode`."""
        return list(self.pending)

    async def proceed(self, subject: Subject) -> Outcome | None:
        """See `Mode`."""
        pending = self.pending.get(subject.record.id)
        if pending is not None:
            return await self._create(pending)
        if subject.record.stands_in_for and subject.kind is JOB:
            return await self._look_after(subject)
        return None

    def forget(self, workload: WorkloadId) -> None:
        """See `Mode`."""
        self._stand_ins.discard(workload)
        self._strangers.pop(workload, None)

    def end(self) -> None:
        """Name the Jobs that nobody is going to create: those that have no stand-in."""
        for workload, pending in self.pending.items():
            if workload._replace(name=pending.stand_in) not in self._stand_ins:
                log.error("Job was deleted and could not be created again", workload=str(workload))

    # --- the new Job ---------------------------------------------------------------------------------

    async def _create(self, pending: Pending) -> Outcome:
        """Create the Job whose predecessor was deleted. Unless that is still going, it is pending no longer."""
        subject, decision, body, name = pending
        workload = subject.record.id
        try:
            try:
                answer = await subject.api.create(JOBS.path(workload.namespace), body)
                there = _There.NONE
            except AlreadyExists:
                there, answer = await _look(subject.api, workload, name)
                if there is _There.NONE or there is _There.GOING:
                    return Wait("the old Job is still going", at_least=0.0)
        except NotFound:
            del self.pending[workload]
            return Leave("its namespace is gone")
        except ApiError as error:
            subject.tell.not_created(subject, error)
            return Wait(error.message, at_least=error.retry_after or 0.0, failed=error.reason)
        del self.pending[workload]
        ours = there is _There.NONE or (there is _There.OTHER and is_of(answer, decision))
        if ours:
            with contextlib.suppress(ApiError):  # the watch brings it, and it is looked after
                await self._remove(subject.api, workload._replace(name=name))
        return Made(workload, answer, decision if ours else None)

    # --- stand-ins -----------------------------------------------------------------------------------

    async def _put_stand_in(self, api: Api, stands_in: WorkloadId, manifest: bytes) -> None:
        """Where a quota or a policy of names refuses it, the Job has none. Raises ApiError where the server fails."""
        tried_before = stands_in in self._stand_ins
        self._stand_ins.add(stands_in)
        try:
            await api.create(JOBS.path(stands_in.namespace), manifest)
        except AlreadyExists:
            if not tried_before:
                # Another controller is at work on the same Job. If that one stops, this is all that is left of it.
                self._stand_ins.discard(stands_in)
            return
        except ApiError as error:
            if not 400 <= error.status < 500 or error.status in _PASSING:
                raise  # nothing was deleted yet: all of it is tried again
            self._stand_ins.discard(stands_in)
            log.info("Job is created again without a stand-in", stand_in=str(stands_in), problem=str(error))

    async def _look_after(self, subject: Subject) -> Outcome | None:
        """Remove a stand-in whose Job is there; create its Job first where the controller that made it is gone."""
        record = subject.record
        workload = record.id
        of = workload._replace(name=record.stands_in_for)
        if record.deleting:
            return None
        if of in self.pending:
            return Wait("its Job is being created again", after=_LOOK_AGAIN)
        if workload in self._stand_ins:
            # That this controller did not delete the Job does not say that no other one did, or is about to.
            there, _ = await _look(subject.api, of, workload.name)
            if there is _There.OTHER:
                await self._remove(subject.api, workload)
                return None
        since = self._strangers.setdefault(workload, subject.now)
        waited = subject.now - since
        if waited < _LEFT_BEHIND:
            return Wait("a controller may be at work on its Job", after=_LEFT_BEHIND - waited)
        found = msgspec.json.decode(await subject.api.get(subject.path))
        if not subject.policy.enabled or not is_made_by(found, subject.manager):
            why = (
                "it stands in for a Job, and is left alone: it is not in scope"
                if not subject.policy.enabled
                else f"it stands in for a Job, and is left alone: {subject.manager!r} has not made it"
            )
            subject.tell.waits(subject, why)
            return Leave(why)
        return await self._create_behind(subject, of, found, waited)

    async def _create_behind(
        self, subject: Subject, of: WorkloadId, found: dict[str, Any], waited: float
    ) -> Outcome | None:
        """Create the Job that a stand-in, as the API server has it, was left for."""
        api, workload = subject.api, subject.record.id
        made: Made | None = None
        try:
            answer = await api.create(JOBS.path(workload.namespace), behind(found)[1])
            made = Made(of, answer)
            log.warning(
                "Job was deleted and not created again by a controller that stopped: it is created now",
                workload=str(of),
            )
        except AlreadyExists:
            there, _ = await _look(api, of, workload.name)
            patience = 0.0 if workload in self._stand_ins else _GIVEN_UP
            if there is _There.NONE or there is _There.GOING or (there is _There.OLD and waited < patience):
                return Wait("the old Job is still there", after=_LOOK_AGAIN)
        if of in self.pending:
            return Wait("its Job is being created again", after=_LOOK_AGAIN)
        await self._remove(api, workload)
        return made

    async def _remove(self, api: Api, stands_in: WorkloadId) -> None:
        """Delete a stand-in, whose name no other Job has."""
        if stands_in not in self._stand_ins and stands_in not in self._strangers:
            return  # it was not taken
        self._removing.add(stands_in)
        try:
            with contextlib.suppress(NotFound):
                await api.delete(JOBS.path(stands_in.namespace, stands_in.name), deletion(None), attempts=1)
        finally:
            self._removing.discard(stands_in)


async def _check_taken(api: Api, workload: WorkloadId, body: bytes) -> None:
    """Would the API server take this Job? Raises ApiError if not, while the old one is still there.

    All admission and validation come before the name is found to be in use. What can't be told in this way
    is left to the creation itself: a webhook may not support dry runs, and a quota still counts the old Job.
    """
    try:
        await api.create(JOBS.path(workload.namespace, dryRun="All"), body)
    except AlreadyExists:
        return
    except ApiError as error:
        if not any(words in error.message for words in _NOT_TOLD_BY_DRY_RUNS):
            raise


async def _look(api: Api, workload: WorkloadId, stand_in_name: str) -> tuple[_There, bytes]:
    """Which Job has this name, and what it is. `stand_in_name` tells the old one by its uid. Raises ApiError."""
    try:
        found = await api.get(JOBS.path(workload.namespace, workload.name))
    except NotFound:
        return _There.NONE, b""  # it went just now
    meta = decode_object(JOB, found).metadata
    if stand_in_name != name_of_stand_in(workload.name, meta.uid):
        return _There.OTHER, found
    # Where it is not being deleted, a finalizer does not hold it: it was never deleted.
    return (_There.OLD if meta.deletion_timestamp is None else _There.GOING), found


# --- manifests ---------------------------------------------------------------------------------------


def again(job: dict[str, Any], decision: Decision, style: MarkStyle = NATIVE) -> bytes:
    """The manifest of a Job that takes the place of `job`, which it keeps name, owner references, labels,
    annotations and spec of."""
    if decision.applied is None:
        raise ValueError("a Job is created again with a record of what it is created for")
    made = _anew(job)
    made["metadata"]["annotations"][APPLIED] = encode(decision.applied)
    if decision.mark is not None:
        style.put(made["spec"]["template"], decision.mark)
    return msgspec.json.encode(made)


def stand_in(job: bytes, uid: str) -> tuple[str, bytes]:
    """Name and manifest of the Job that stands in for `job`, a manifest of `again`, while that is created: the same,
    suspended. `uid`: of the one that is deleted, so that the name is that of no other Job."""
    made: dict[str, Any] = msgspec.json.decode(job)
    meta = made["metadata"]
    # A finalizer would keep the stand-in from going, so it is only written down.
    meta["annotations"][STANDS_IN_FOR] = " ".join([meta["name"], *meta.pop("finalizers", ())])
    meta["name"] = name_of_stand_in(meta["name"], uid)
    made["spec"]["suspend"] = True
    return meta["name"], msgspec.json.encode(made)


def name_of_stand_in(name: str, uid: str) -> str:
    """The name of what stands in for the Job of this name and uid."""
    return f"{name[:_NAME].rstrip('-.')}-{hashlib.blake2b(uid.encode(), digest_size=5).hexdigest()}"


def is_made_by(stand_in: Mapping[str, Any], manager: str) -> bool:
    """Did this field manager make the Job, as the API server has it, a stand-in? By metadata.managedFields, which the
    server writes."""
    return owner_of(stand_in["metadata"].get("managedFields") or (), STANDS_IN_FOR)[0] == manager


def behind(stand_in: dict[str, Any]) -> tuple[str, bytes]:
    """Name and manifest of the Job that this one, as the API server has it, stands in for."""
    made = _anew(stand_in)
    meta = made["metadata"]
    meta["name"], *finalizers = meta["annotations"].pop(STANDS_IN_FOR).split()
    if finalizers:
        meta["finalizers"] = finalizers
    made["spec"].pop("suspend", None)
    return meta["name"], msgspec.json.encode(made)


def _anew(job: dict[str, Any]) -> dict[str, Any]:
    """The manifest of a Job that the API server has, without what it and the Job's controller put into it."""
    meta = {key: value for key, value in job["metadata"].items() if key not in _OF_THE_SERVER}
    finalizers = [name for name in meta.pop("finalizers", ()) if name not in _OF_ITS_DELETION]
    if finalizers:
        meta["finalizers"] = finalizers
    meta["annotations"] = dict(meta.get("annotations") or {})
    if "labels" in meta:
        meta["labels"] = _without(meta["labels"])
    spec = dict(job["spec"])
    template = dict(spec["template"])
    pod = dict(template.get("metadata") or {})
    if not spec.get("manualSelector"):
        spec.pop("selector", None)
        pod["labels"] = _without(pod.get("labels") or {})
    pod.pop("creationTimestamp", None)
    spec["template"] = {**template, "metadata": pod}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": spec}


def is_of(job: bytes, decision: Decision) -> bool:
    """Is this Job, as the API server has it, the one that was made for this decision?"""
    annotations: dict[str, str] = msgspec.json.decode(job)["metadata"].get("annotations") or {}
    return decision.applied is not None and annotations.get(APPLIED) == encode(decision.applied)


def deletion(record: WorkloadRecord | None) -> bytes:
    """The options of a deletion, of a Job and its pods with it: of the object that was decided on and no later one
    (`record`), or (None) of whatever has its name."""
    options: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "propagationPolicy": "Background",
    }
    if record is not None:
        options["preconditions"] = {"uid": record.uid, "resourceVersion": record.resource_version}
    return msgspec.json.encode(options)


def _without(labels: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in labels.items() if key not in OF_THE_JOB}
