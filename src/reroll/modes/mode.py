"""What a mode is: what can be done to a stale workload, in one small interface, and what it is handed.

To add one: a file with a class that has `begin`, a value in `core.decision.How`, and a line in `modes.table`. A mode is
made anew for each term of leadership, so whatever it remembers ends with that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TypeAlias

import msgspec
from msgspec import Struct

from reroll.core.decision import Decision
from reroll.core.digests import DigestKey
from reroll.core.kinds import WorkloadKind
from reroll.core.marks import MarkStyle
from reroll.core.policy import Policy
from reroll.core.records import ConfigId, WorkloadId, WorkloadRecord
from reroll.kube.client import MERGE_PATCH
from reroll.kube.errors import ApiError, Conflict
from reroll.kube.ports import Server, Writer
from reroll.kube.resources import Resource
from reroll.versions.make import suffix_of


class Api(Server, Writer, Protocol):
    """What is asked of the API server: `kube.client.Client` does it, and `insight.simulation` plays it."""


class Teller(Protocol):
    """What a mode tells people about a workload: an Event, or a line in the log."""

    def warn(self, subject: Subject, reason: str, action: str, note: str) -> None:
        """A Warning Event."""

    def held(self, subject: Subject, why: str, action: str = "Evict") -> None:
        """Somebody stands in the way of this action; "": no longer. Told once for each `why`."""

    def waits(self, subject: Subject, why: str) -> None:
        """It waits, which is as it should be: told in the log, once for each `why`."""

    def ended(self, subject: Subject, reason: str) -> None:
        """What went on is over."""

    def not_created(self, subject: Subject, error: ApiError) -> None:
        """A Job was deleted, and its successor is refused."""


class Subject(Struct, frozen=True):
    """The workload that a mode acts on, as it was decided on, and what it takes to act."""

    record: WorkloadRecord
    policy: Policy
    kind: WorkloadKind
    style: MarkStyle
    """How its pod template is marked."""
    api: Api
    tell: Teller
    now: float
    """Seconds since the epoch."""
    manager: str
    """The field manager that this controller writes with."""
    key: DigestKey
    """The installation's, for the names of versions of Secrets."""

    def suffix(self, config: ConfigId, obj: Mapping[str, Any], length: int) -> str:
        """The suffix of the version of a ConfigMap or Secret with the content of this object, as the API has it."""
        return suffix_of(config, obj, length, self.key)

    @property
    def path(self) -> str:
        """The URL path of the workload."""
        kind, workload = self.kind, self.record.id
        resource = Resource(kind.group, kind.version, kind.plural, kind.kind)
        return resource.path(workload.namespace, workload.name)

    async def read(self) -> dict[str, Any]:
        """The whole object, as it was decided on. Raises ApiError; Conflict where it is another one by now."""
        found: dict[str, Any] = msgspec.json.decode(await self.api.get(self.path))
        if found["metadata"]["resourceVersion"] != self.record.resource_version:
            raise Conflict("it has changed since it was decided on", status=409)
        return found


class Patch(Struct, frozen=True):
    """The workload is to be patched."""

    body: bytes
    content_type: str = MERGE_PATCH
    ends: str = ""
    """What is over once it is written, for people; "": nothing."""


class Made(Struct, frozen=True):
    """A workload was made, or was found made."""

    workload: WorkloadId
    answer: bytes
    """As the API server has it."""
    decision: Decision | None = None
    """The decision that is done by this; None: none of this term."""


class Wait(Struct, frozen=True):
    """It is under way, and asked again later."""

    why: str
    after: float | None = None
    """Seconds; None: nobody can tell, so with a growing delay of at least `at_least`."""
    at_least: float = 0.0
    failed: str = ""
    """The reason of the request that failed, for the metric; "": none failed."""


class Leave(Struct, frozen=True):
    """Nothing is done, on purpose."""

    why: str


Outcome: TypeAlias = Patch | Made | Wait | Leave


class Mode(Protocol):
    """One way to have a workload's pods read their configuration anew. All methods may raise ApiError."""

    async def begin(self, subject: Subject, decision: Decision) -> Outcome:
        """Act on a decision. A patch that is returned is written with the record of the decision in it."""
        ...

    async def proceed(self, subject: Subject) -> Outcome | None:
        """Go on with what was begun, by whichever controller; None: nothing is under way. Asked each time that a
        workload has nothing else to be done."""
        return None

    def unfinished(self, workload: WorkloadId) -> Subject | None:
        """What goes on though the workload may not be there meanwhile: `proceed` is asked about it before anything
        else. None: nothing."""
        return None

    def all_unfinished(self) -> Iterable[WorkloadId]:
        """All that `unfinished` would tell of."""
        return ()

    def forget(self, workload: WorkloadId) -> None:
        """The workload is gone."""
        return

    def end(self) -> None:
        """The term is over: say what is left undone."""
        return
