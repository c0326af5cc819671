"""Builds the controller and runs it: the file to read first.

    watch ─► store ─► queue ─► worker ─► reconcile: load, follow, decide, gate, begin, report, proceed

The watches (`controller.watches`, by `kube.reflector`) tell the store (`controller.store`) what changed; the reader
(`controller.reader`) reads what they only name and a workload follows; the store puts the workloads concerned in the
queue (`controller.queue`). Within a term of leadership (`controller.lead`, `controller.term`), workers
(`controller.worker`) take them out and have them reconciled (`controller.reconcile`): decided on (`core.decide`),
acted on (`modes`), reported (`controller.report`), and their rollouts followed to the end (`controller.follow`).
ARCHITECTURE.md has each step with its file.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from reroll.controller.clock import steady_time
from reroll.controller.concurrency import Limiter
from reroll.controller.digest_key import DigestKeySecret, KeyInForce
from reroll.controller.election import act_while_leading, election_of
from reroll.controller.garbage import Garbage
from reroll.controller.lead import STOP_WITHIN, Acting
from reroll.controller.metrics import Metrics
from reroll.controller.outside import Outside
from reroll.controller.queue import Queue
from reroll.controller.reader import Reader
from reroll.controller.report import EventReasons, Reporter
from reroll.controller.rules import rules_of
from reroll.controller.store import Store
from reroll.controller.tasks import Start, background, little_garbage, unless_stopped
from reroll.controller.watches import Watches
from reroll.core.digests import DigestKey
from reroll.core.records import WorkloadId
from reroll.dialects import Dialects
from reroll.dialects.presence import ReloaderPresence
from reroll.kube.client import Client
from reroll.kube.config import ClusterConfig
from reroll.kube.events import EventRecorder
from reroll.settings import Settings
from reroll.web.checks import live_checks, ready_checks
from reroll.web.health import Check, health_routes
from reroll.web.metrics import metrics_routes
from reroll.web.server import serve

log = structlog.get_logger("reroll")


class Controller:
    """The parts, put together. `run` works until `stop` is called.

    `dialects`, `metrics` and `reasons` are others than those by the settings; `at_work` is run once when work begins.
    Raises ValueError from the constructor for a setting or an address that is not understood.
    """

    def __init__(
        self,
        cluster: ClusterConfig,
        settings: Settings,
        *,
        dialects: Dialects | None = None,
        metrics: Metrics | None = None,
        reasons: EventReasons | None = None,
        at_work: Callable[[Client], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        self.settings = settings
        self.metrics = metrics or Metrics()
        self._at_work = at_work
        self.working = False
        """Everything was read once."""
        self._stopping = asyncio.Event()
        self._stop_by = 0.0
        """Until when, by time.monotonic, what is in flight may finish; set by `stop`."""
        self.client = Client(
            cluster,
            max_in_flight=settings.max_in_flight,
            field_manager=settings.field_manager,
            observe=lambda verb, code, seconds: self.acting.requested(verb, code, seconds),
        )
        self.events = EventRecorder(self.client, busy=lambda: len(self.queue) > 0)
        self.config_kinds = settings.followed_config_kinds()
        self.kinds = settings.followed_kinds()
        self.store = Store(
            DigestKey(bytes(32)),  # replaced before anything is read
            rules_of(settings, dialects=dialects, kinds=self.kinds),
            ask=lambda workload, cause: self.acting.ask(workload, cause),
            want=lambda config: self.reader.want(config),
            arrived=lambda event, config, version: self.outside.arrived(event, config, version),
            failed=lambda: self.metrics.failed("watch", "internal"),
        )
        self.reader = Reader(self.client, self.store.configs, self.metrics, settings.namespaces or ("",))
        self.watches = Watches(
            self.client,
            self.store,
            settings,
            self.kinds,
            self.config_kinds,
            failed=lambda: self.metrics.failed("watch", "internal"),
        )
        self.key = KeyInForce(
            DigestKeySecret(self.client, settings.key_namespace or cluster.namespace, settings.key_secret),
            self.store.configs,
            self.watches.list_secrets_again,
            needed=self.config_kinds != ("configmap",),
        )
        self.acting = Acting(
            self.store,
            self.client,
            self.metrics,
            lambda: Reporter(self.events, self.kinds, reasons or EventReasons(), self.outside.notify),
            check_key=self.key.check,
            limiter=Limiter(min(settings.actors_min, settings.actors), settings.actors),
        )
        self.garbage = Garbage(
            self.client,
            self.store,
            self.metrics,
            namespaces=settings.namespaces,
            config_kinds=self.config_kinds,
            now=steady_time,
        )
        self.presence = ReloaderPresence(
            self.client,
            settings.namespaces or ("",),
            lambda leave: self.store.set_dialects(settings.dialects(reloader_runs=leave)),
            # Who runs in Reloader's place (`dialects`) is not in its own way.
            matters=settings.reloader_annotations and not settings.beside_reloader and dialects is None,
        )
        self.lease_client = Client(cluster, max_in_flight=4, field_manager=settings.field_manager)
        self.election = election_of(
            settings, self.lease_client, cluster.namespace, behind=lambda: self.outside.behind()
        )
        self.outside = Outside(
            settings,
            self.store,
            self.metrics,
            self.election,
            style="reroll" if dialects is None else "reloader",
            may_act=lambda: self.working and self.leading,
        )
        self.metrics.watch(
            queue=lambda: self.queue.statistics(),
            collections=self.watches.statistics,
            objects=self.store.counts,
            problems=self.store.problems,
            events_dropped=lambda: self.events.statistics().dropped,
            leading=lambda: self.working and self.leading,
        )

    def stop(self) -> None:
        """Take no new work, finish what is in flight, and return from `run`."""
        if not self._stopping.is_set():
            self._stop_by = time.monotonic() + STOP_WITHIN
        self._stopping.set()

    async def run(self, ready: Callable[[str], None] = lambda address: None) -> None:
        """Work until `stop`. `ready` is called once with the address that is served, when work begins."""
        health = health_routes(live_checks, self.ready_checks)
        serving = serve(self.settings.listen, (*health, *metrics_routes(self.metrics.registry)))
        async with self.client, self.lease_client, serving as address, background() as start:
            if await unless_stopped(self._read_everything(start), self._stopping):
                self.working = True
                if self._at_work is not None:
                    start(self._at_work(self.client), "once at work")
                ready(f"{address[0]}:{address[1]}" if address else "")
                await act_while_leading(self.election, self._act, self._stopping)
            await self.outside.finish(self._stop_by - time.monotonic())
            await self.events.flush(5.0)

    async def _read_everything(self, start: Start) -> None:
        """Get the digest key, start the watches, wait until each collection was listed or refused, and read
        what is followed of it."""
        began = time.monotonic()
        with little_garbage():
            await self.key.obtain()
            start(self.events.run(), "events")
            self.outside.start(start)
            await asyncio.gather(self.watches.read(start), self.presence.look())
            start(self.presence.keep_looking(), "look for Reloader")
            start(self.reader.run(), "reader")
            await self.reader.catch_up()
        log.info("ready", seconds=round(time.monotonic() - began, 2), **self.store.counts())

    async def _act(self) -> None:
        """Act until `stop`, or until this is cancelled because the lead was lost."""
        if self.outside.announcer is not None:
            await self.outside.announcer.act(self._stopping, STOP_WITHIN)
        else:
            async with background() as start:
                start(self.garbage.run(), "collect versions")
                await self.acting.act(lambda workload: self.leading, self.settings.actors, self._stopping)

    # --- what others ask -----------------------------------------------------------------------------

    @property
    def leading(self) -> bool:
        """Is it this controller that acts?"""
        return self.election is None or self.election.is_leader

    @property
    def queue(self) -> Queue[WorkloadId]:
        """What waits to be decided on; nothing while this controller does not act."""
        return self.acting.queue

    def ready_checks(self) -> list[Check]:
        """See `web.checks`."""
        return ready_checks(self.key.problem, self.watches, self.reader)
