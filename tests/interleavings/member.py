"""One controller of a play: the real parts, put together as `app.Controller` does it, but for sockets and threads.

What differs: its watches are lines of events (`watches`), its requests are steps (`client`), and what the store asks
about within one step gets into the queue in the order of names, where the real one takes the order of a set, which is
another in each process.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
import traceback
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, NamedTuple, cast

import msgspec

from reroll.controller.class_statuses import ClassStatuses, Statuses, StatusObject
from reroll.controller.concurrency import Limiter
from reroll.controller.handlers import Configs, Workloads
from reroll.controller.lead import Acting
from reroll.controller.metrics import Metrics, Step
from reroll.controller.queue import Queue
from reroll.controller.reader import Reader
from reroll.controller.report import Reporter
from reroll.controller.rules import Rules
from reroll.controller.store import Entry, Store
from reroll.core.decision import Decision
from reroll.core.digests import DigestKey
from reroll.core.kinds import CRON_JOB, DEPLOYMENT, JOB, STATEFUL_SET
from reroll.core.marks import NATIVE, MarkStyle
from reroll.core.observe import ConfigMapObject, SecretObject, object_type
from reroll.core.policy import PolicyDefaults
from reroll.core.records import ConfigId, ConfigKind, WorkloadId
from reroll.dialects import Dialects
from reroll.kube.client import Client
from reroll.kube.events import EventRecorder
from tests.interleavings.client import PlayedClient, Wire
from tests.interleavings.clock import BASE, skew, skew_at_start
from tests.interleavings.server import STATUSES, Server
from tests.interleavings.watches import Watch

ACTORS = 2
NOTE = "note"
"""The reason of what a decision notes, which is no Event."""
KEY = DigestKey(bytes(range(32)))
FOLLOWED = (DEPLOYMENT, STATEFUL_SET, JOB, CRON_JOB)
CONFIG_KINDS: tuple[tuple[ConfigKind, str, type], ...] = (
    ("configmap", "configmaps", ConfigMapObject),
    ("secret", "secrets", SecretObject),
)

_decoders: dict[str, Callable[[bytes], Any]] = {
    plural: msgspec.json.Decoder(form).decode
    for plural, form in (
        *((kind.plural, object_type(kind)) for kind in FOLLOWED),
        *((plural, form) for _, plural, form in CONFIG_KINDS),
        (STATUSES, StatusObject),
    )
}


class Said(NamedTuple):
    """An Event, or what a decision noted."""

    at: float
    """Seconds since the epoch, on the servers' clock."""
    workload: WorkloadId
    reason: str
    note: str
    warning: bool


class Fault(Exception):
    """reroll did what it must never do."""


class PlayedMetrics(Metrics):
    """One for all plays: to make it takes milliseconds. It tells of failures that no answer caused."""

    def __init__(self) -> None:
        super().__init__()
        self.internal = ""

    def failed(self, step: Step, reason: str) -> None:
        if reason == "internal" and not self.internal:
            error = sys.exc_info()[1]
            self.internal = "".join(traceback.format_exception(error)) if error else f"{step} failed"


METRICS = PlayedMetrics()


class _Events:
    """Takes the place of `kube.events.EventRecorder`: what is to be told once has one name on the server."""

    def __init__(self, said: Callable[[str, str, str, bool], None], told: set[str]) -> None:
        self._said, self._told = said, told

    def record(
        self,
        regarding: Any,
        *,
        type: str,
        reason: str,
        action: str,
        note: str,
        related: Any = None,
        once: str = "",
    ) -> None:
        if once not in self._told:
            self._said(f"{regarding.kind}/{regarding.name}", reason, note, type == "Warning")
        if once:
            self._told.add(once)


class _Reporter(Reporter):
    """The real one, that keeps the notes of decisions beside."""

    def __init__(self, events: _Events, member: Member) -> None:
        super().__init__(cast(EventRecorder, events))
        self._member = member

    def decided(self, entry: Entry, decision: Decision) -> None:
        for note in decision.notes:
            self._member.say(entry.record.id, NOTE, note, False)
        super().decided(entry, decision)


class Member:
    """One process. `leading`: the Lease is its own; without an election it always is. `told`: names of Events that are
    there, whoever recorded them."""

    def __init__(
        self,
        name: str,
        server: Server,
        wire: Wire,
        defaults: PolicyDefaults,
        told: set[str],
        *,
        marks: MarkStyle = NATIVE,
        skew_now: float = 0.0,
    ) -> None:
        self.name = name
        self.skew = self._skew_at_start = skew_now
        """Seconds by which this machine's clock goes ahead of the servers'."""
        self.said: list[Said] = []
        self.heard: Callable[[Said], None] = lambda said: None
        """Called with each Event."""
        self.leading = False
        self.working = False
        """Everything was read once."""
        self._context = contextvars.copy_context()
        self._context.run(skew.set, lambda: self.skew)
        self._context.run(skew_at_start.set, skew_now)
        self._acting_task: asyncio.Task[None] | None = None
        self._background: list[asyncio.Task[None]] = []
        self._reading = False
        self._asked: list[tuple[WorkloadId, ConfigId | None]] = []
        self.client = PlayedClient(wire, name)
        self.store = Store(
            KEY,
            Rules(defaults=defaults, dialects=Dialects(reloader=None), marks=marks),
            ask=self._ask,
            want=lambda config: self.reader.want(config),
            now=self.now,
        )
        self.reader = Reader(cast(Client, self.client), self.store.configs, METRICS, ("",))
        events = _Events(self._event, told)
        self.acting = Acting(
            self.store,
            self.client,
            METRICS,
            lambda: _Reporter(events, self),
            check_key=self._check_key,
            limiter=Limiter(ACTORS, ACTORS),
            now=self.now,
        )
        self._classes = ClassStatuses(self.store)
        self.watches = self._watch(server)
        server.watchers.append(self._tell)
        self._server = server
        for watch in self.watches:
            watch.list()

    def now(self) -> float:
        """As `controller.clock.steady_time` of this process."""
        return BASE + asyncio.get_running_loop().time() + self._skew_at_start

    def _watch(self, server: Server) -> list[Watch]:
        watches = []
        for kind, plural, _ in CONFIG_KINDS:
            of_configs = Configs(self.store, kind)
            watches.append(Watch(server, plural, of_configs, _decoders[plural], of_configs.listed))
            self.store.set_collection(kind, "", "it is being read")
        for each in FOLLOWED:
            handler = Workloads(self.store, each.id)
            watches.append(Watch(server, each.plural, handler, _decoders[each.plural]))
            self.store.set_collection(each.id, "", "it is being read")
        watches.append(Watch(server, STATUSES, Statuses(self._classes), _decoders[STATUSES]))
        return watches

    def _tell(self, write: Any) -> None:
        for watch in self.watches:
            watch.take(write)

    # --- its life ------------------------------------------------------------------------------------

    def go_on(self) -> bool:
        """Called after each step: what begins when all lists have arrived, and when all is read. False: nothing."""
        if not self._reading and all(watch.synced for watch in self.watches):
            self._reading = True
            self._background = [self._task(self.reader.run()), self._task(self._catch_up())]
            return True
        if self.working and self.leading and self._acting_task is None:
            acting = self.acting.act(lambda workload: self.leading, ACTORS, asyncio.Event())
            self._acting_task = self._task(acting)
            return True
        if self._acting_task is not None and self._acting_task.done() and self.leading:
            self._acting_task.result()  # raises what it ended with
        return False

    def _task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(work, context=self._context)

    async def _catch_up(self) -> None:
        await self.reader.catch_up()
        self.working = True

    def lead(self) -> None:
        self.leading = True

    def lose_the_lead(self) -> None:
        """What is in flight is given up; it may be done all the same."""
        self.leading = False
        if self._acting_task is not None:
            self._acting_task.cancel()
            self._acting_task = None

    def die(self) -> None:
        self.lose_the_lead()
        self._server.watchers.remove(self._tell)
        for task in self._background:
            task.cancel()

    def remembers(self) -> list[str]:
        """What is remembered of work that is done."""
        lead = self.acting.lead
        if lead is None:
            return []
        found: dict[str, Iterable[WorkloadId]] = {
            "changes that wait to settle": lead.term.settling._since,
            "writes without an answer, which were done": [
                workload
                for workload, unanswered in lead.term.ledger._unanswered.items()
                if (entry := self.store.workload(workload)) is not None
                and entry.record.applied == unanswered.decision.applied
                and unanswered.decision.mark in (None, entry.record.mark)
                and not entry.record.unsaved
            ],
            "what is unfinished": list(lead.term.modes.all_unfinished()),
        }
        return [f"it remembers {what}: {', '.join(map(str, left))}" for what, left in found.items() if left]

    @property
    def queue(self) -> Queue[WorkloadId]:
        return self.acting.queue

    # --- what its parts ask --------------------------------------------------------------------------

    def _ask(self, workload: WorkloadId, cause: ConfigId | None) -> None:
        if not self._asked:
            asyncio.get_running_loop().call_soon(self._put)
        self._asked.append((workload, cause))

    def _put(self) -> None:
        asked, self._asked = self._asked, []
        for workload, cause in sorted(asked, key=_in_order):
            self.acting.ask(workload, cause)

    async def _check_key(self) -> bool:
        return False

    def _event(self, about: str, reason: str, note: str, warning: bool) -> None:
        kind, _, name = about.partition("/")
        self.say(WorkloadId(kind, "shop", name), reason, note, warning)

    def say(self, workload: WorkloadId, reason: str, note: str, warning: bool) -> None:
        said = Said(BASE + asyncio.get_running_loop().time(), workload, reason, note, warning)
        self.said.append(said)
        if reason != NOTE:
            self.heard(said)


def _in_order(asked: tuple[WorkloadId, ConfigId | None]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return asked[0], asked[1] or ()
