"""Builds the controller and runs it: the file to read first.

    watch ─► store ─► index ─► queue ─► decide ─► gate ─► act ─► report

The watches (`controller.watches`, by `kube.reflector`) tell the store (`controller.store`) what changed; what they
only name and somebody follows is read (`controller.reader`); the store asks about the workloads concerned by putting
them in the queue (`controller.queue`); actors (`controller.reconcile`) take them out, decide (`core.decide`), patch
(`modes`), and report (`controller.report`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from reroll.controller.digest_key import DigestKeySecret, KeyInForce
from reroll.controller.election import act_while_leading, election_of
from reroll.controller.lead import STOP_WITHIN, Acting
from reroll.controller.metrics import Metrics
from reroll.controller.outside import Outside
from reroll.controller.queue import Queue
from reroll.controller.reader import Reader
from reroll.controller.report import EventReasons, Reporter
from reroll.controller.store import Store
from reroll.controller.tasks import Start, background, little_garbage, unless_stopped
from reroll.controller.watches import Watches
from reroll.core.digests import DigestKey
from reroll.core.kinds import followed_kinds
from reroll.core.labels import LabelSelector
from reroll.core.policy import PolicyDefaults
from reroll.core.records import WorkloadId
from reroll.dialects import Dialects
from reroll.dialects.marks import STYLES
from reroll.dialects.presence import ReloaderPresence
from reroll.dialects.reloader import DEFAULT_KEYS
from reroll.kube.client import Client
from reroll.kube.config import ClusterConfig
from reroll.kube.events import EventRecorder
from reroll.settings import Settings, config_kinds
from reroll.web.checks import live_checks, ready_checks
from reroll.web.server import Check, serve

log = structlog.get_logger("reroll")


class Controller:
    """The parts, put together. `run` works until `stop` is called.

    `dialects`, `metrics` and `reasons` are others than those by the settings; `at_work` is run once when work begins.
    Raises ValueError from the constructor for a label selector or an address that is not understood.
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
            observe=self.metrics.requested,
        )
        self.events = EventRecorder(self.client, busy=lambda: len(self.queue) > 0)
        selector = LabelSelector.parse(settings.namespace_selector)
        of_configs = LabelSelector.parse(settings.config_selector)
        LabelSelector.parse(settings.workload_selector)  # the server applies it; a mistake is better told now
        self.config_kinds = config_kinds(settings.config_kinds)
        self.kinds = followed_kinds(settings.kinds, settings.custom_kinds)
        self.store = Store(
            DigestKey(bytes(32)),  # replaced before anything is read
            PolicyDefaults(
                auto_all=settings.auto_all,
                settle=settings.settle,
                settle_max=settings.settle_max,
                allow_cross_namespace=settings.cross_namespace,
                instantiate=settings.cron_jobs == "instantiate",
                finished_jobs=settings.finished_jobs,
                on_create={"auto": None, "always": True, "never": False}[settings.on_create],
                on_delete=settings.on_delete,
                kinds=self.config_kinds,
            ),
            ask=lambda workload, cause: self.acting.ask(workload, cause),
            want=lambda config: self.reader.want(config),
            dialects=dialects or Dialects(reloader=DEFAULT_KEYS if settings.reloader_annotations else None),
            marks=STYLES[settings.marks],
            arrived=lambda event, config, version: self.outside.arrived(event, config, version),
            read_all=bool(settings.webhook_url),
            selected=of_configs.matches if settings.config_selector else None,
            field_manager=settings.field_manager,
            in_scope=lambda namespace, labels: (
                namespace not in settings.namespaces_to_ignore and selector.matches(labels)
            ),
            kinds=self.kinds,
        )
        self.reader = Reader(self.client, self.store.configs, self.metrics, settings.namespaces or ("",))
        self.watches = Watches(self.client, self.store, settings, self.kinds, self.config_kinds)
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
            manager=settings.field_manager,
        )
        self.presence = ReloaderPresence(
            self.client,
            settings.namespaces or ("",),
            lambda leave: self.store.set_dialects(Dialects(reloader=None if leave else DEFAULT_KEYS)),
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
        serving = serve(
            self.settings.listen, self.metrics.registry, live=live_checks, ready=self.ready_checks
        )
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
