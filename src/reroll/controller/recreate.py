"""Jobs that are deleted and created again, for their pod template can't be changed. None is lost in between.

What is to be created is known before the old Job goes, and kept until the new one is there: by this process, and on the
server, as a suspended Job that stands in for it, should this process end before that. A stand-in goes when what it
stands in for is there. One that a controller left behind is made what it stands in for, by any other.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from enum import Enum
from typing import Any, Final, NamedTuple

import msgspec
import structlog

from reroll.controller.store import Entry
from reroll.core.decide import Decision
from reroll.core.kinds import JOB
from reroll.core.marks import MarkStyle
from reroll.core.observe import decode_object
from reroll.core.records import WorkloadId
from reroll.kube.errors import AlreadyExists, ApiError, NotFound
from reroll.kube.ports import Server, Writer
from reroll.kube.resources import Resource
from reroll.modes import jobs

log = structlog.get_logger("reroll.controller")

JOBS: Final = Resource(JOB.group, JOB.version, JOB.plural, JOB.kind)

_LEFT_BEHIND = 10.0  # seconds after which another controller's stand-in counts as left behind
_LOOK_AGAIN = 1.0  # seconds after which one whose Job is being created is looked after
_NOT_TOLD_BY_DRY_RUNS = ("does not support dry run", "exceeded quota")


class Pending(NamedTuple):
    """A Job that was deleted, or may have been, and is to be created again."""

    entry: Entry
    decision: Decision
    body: bytes
    """The manifest of the new one."""


class Step(Enum):
    """How far a try to create a Job came."""

    CREATED = "it is there"
    OTHERS = "one of its name is there that is not it: the old one, or somebody else's"
    NOT_YET = "the old one is still going"
    NO_LONGER = "its namespace is gone"


class Tried(NamedTuple):
    step: Step
    job: bytes = b""
    """The Job that is there, as the API server has it."""


class LookedAfter(NamedTuple):
    """What became of a stand-in."""

    again_in: float | None = None
    """Seconds; None: it is gone."""
    created: bytes = b""
    """What it stood in for, where that was created now."""


class Recreation:
    """The Jobs that are under way. All methods but `forget` raise ApiError."""

    def __init__(self, client: Server, writer: Callable[[], Writer], now: Callable[[], float]) -> None:
        self._client, self._writer, self._now = client, writer, now
        self.pending: dict[WorkloadId, Pending] = {}
        self._stand_ins: set[WorkloadId] = set()
        self._strangers: dict[WorkloadId, float] = {}
        """Stand-ins of other controllers, and when each was seen first."""

    async def delete(self, entry: Entry, decision: Decision, job: dict[str, Any], style: MarkStyle) -> None:
        """Delete a Job, `job` as the API server has it, that is to be created again. Where the error leaves open
        whether it was deleted, it is pending all the same."""
        workload = entry.record.id
        body = jobs.again(job, decision, style)
        await self._check_taken(workload, body)
        self.pending[workload] = Pending(entry, decision, body)
        try:
            await self._put_stand_in(workload, entry.record.uid, body)
            await self._writer().delete(_path(workload), jobs.deletion(entry.record), attempts=1)
        except ApiError as error:
            if 400 <= error.status < 500:
                del self.pending[workload]  # surely not deleted; else that shows when it is to be created
            raise

    async def create(self, workload: WorkloadId) -> Tried:
        """Create the pending Job of this name; unless the old one is still going, it is pending no longer."""
        tried = await self._create(workload)
        if tried.step is not Step.NOT_YET:
            del self.pending[workload]
        return tried

    async def _create(self, workload: WorkloadId) -> Tried:
        entry, decision, body = self.pending[workload]
        try:
            return Tried(Step.CREATED, await self._writer().create(JOBS.path(workload.namespace), body))
        except NotFound:
            return Tried(Step.NO_LONGER)
        except AlreadyExists:
            pass
        try:
            found = await self._client.get(_path(workload))
        except NotFound:
            return Tried(Step.NOT_YET)  # it went just now
        there = decode_object(JOB, found).metadata
        if there.uid == entry.record.uid:
            # A finalizer holds it, or it was not deleted after all.
            return Tried(Step.OTHERS, found) if there.deletion_timestamp is None else Tried(Step.NOT_YET)
        return Tried(Step.CREATED if jobs.is_of(found, decision) else Step.OTHERS, found)

    async def _check_taken(self, workload: WorkloadId, body: bytes) -> None:
        """Would the API server take this Job? Raises ApiError if not, while the old one is still there.

        All admission and validation come before the name is found to be in use. What can't be told in this way
        is left to the creation itself: a webhook may not support dry runs, and a quota still counts the old Job.
        """
        try:
            await self._writer().create(JOBS.path(workload.namespace, dryRun="All"), body)
        except AlreadyExists:
            return
        except ApiError as error:
            if not any(words in error.message for words in _NOT_TOLD_BY_DRY_RUNS):
                raise

    # --- stand-ins ---------------------------------------------------------------------------------

    async def _put_stand_in(self, workload: WorkloadId, uid: str, body: bytes) -> None:
        """Where it is not taken (by a quota, or a policy of names), it is done without. Raises ApiError where the
        server fails."""
        name, manifest = jobs.stand_in(body, uid)
        self._stand_ins.add(workload._replace(name=name))
        try:
            await self._writer().create(JOBS.path(workload.namespace), manifest)
        except AlreadyExists:
            return  # of a try before this one
        except ApiError as error:
            if not 400 <= error.status < 500:
                raise
            self._stand_ins.discard(workload._replace(name=name))
            log.info("done without a stand-in", workload=str(workload), problem=str(error))

    async def look_after(self, entry: Entry) -> LookedAfter:
        """A stand-in goes when what it stands in for is there; by whom it is created, if not by this process, is told
        by that it is not there after a while."""
        stand_in, record = entry.record.id, entry.record
        if record.deleting:
            return LookedAfter()
        of = stand_in._replace(name=record.stands_in_for)
        if of in self.pending:
            return LookedAfter(again_in=_LOOK_AGAIN)
        created = b""
        if stand_in not in self._stand_ins:
            since = self._strangers.setdefault(stand_in, self._now())
            if self._now() - since < _LEFT_BEHIND:
                return LookedAfter(again_in=_LEFT_BEHIND - (self._now() - since))
            found = msgspec.json.decode(await self._client.get(_path(stand_in)))
            with contextlib.suppress(AlreadyExists):
                body = jobs.behind(found)[1]
                created = await self._writer().create(JOBS.path(stand_in.namespace), body)
                log.warning(
                    "a Job was deleted and not created again by a controller that ended: it is created now",
                    workload=str(of),
                )
        await self._remove(stand_in)
        return LookedAfter(created=created)

    async def clean_up(self, done: Pending) -> None:
        """Its Job is there: take its stand-in away."""
        name, _ = jobs.stand_in(done.body, done.entry.record.uid)
        await self._remove(done.entry.record.id._replace(name=name))

    async def _remove(self, stand_in: WorkloadId) -> None:
        """Delete a stand-in, whose name no other Job has."""
        if stand_in not in self._stand_ins and stand_in not in self._strangers:
            return  # it was not taken
        with contextlib.suppress(NotFound):
            await self._writer().delete(_path(stand_in), jobs.deletion(None), attempts=1)

    def forget(self, workload: WorkloadId) -> None:
        """A Job is no longer there."""
        self._stand_ins.discard(workload)
        self._strangers.pop(workload, None)


def _path(workload: WorkloadId) -> str:
    return JOBS.path(workload.namespace, workload.name)
