"""Builds the controller and runs it: the file to read first.

    watch ─► store ─► index ─► queue ─► decide ─► act ─► report

The watches (`controller.watches`, by `kube.reflector`) tell the store (`controller.store`) what changed; what they
only name and somebody follows is read (`controller.reader`); the store asks about the workloads concerned by putting
them in the queue (`controller.queue`); actors (`controller.reconcile`) take them out, decide (`core.decide`), patch
(`modes`), and report (`controller.report`).
"""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Hashable
from contextlib import asynccontextmanager, suppress
from typing import Any

import structlog

from reroll.alerts.addresses import parse_targets
from reroll.alerts.alerts import Alerts
from reroll.alerts.webhook import Webhook
from reroll.controller.announce import Announcer
from reroll.controller.concurrency import Limiter
from reroll.controller.digest_key import DigestKeySecret
from reroll.controller.metrics import Metrics
from reroll.controller.others import find_reloader
from reroll.controller.queue import Queue
from reroll.controller.reader import Reader
from reroll.controller.reconcile import Reconciler
from reroll.controller.report import Reporter, Words
from reroll.controller.store import Store
from reroll.controller.watches import Start, Watches
from reroll.core.digests import DigestKey
from reroll.core.kinds import followed_kinds
from reroll.core.labels import LabelSelector
from reroll.core.policy import PolicyDefaults
from reroll.core.records import ConfigId, WorkloadId
from reroll.dialects import Dialects
from reroll.dialects.marks import STYLES
from reroll.dialects.reloader import DEFAULT_KEYS
from reroll.kube.backoff import Backoff
from reroll.kube.client import Client
from reroll.kube.config import ClusterConfig
from reroll.kube.errors import ApiError
from reroll.kube.events import EventRecorder
from reroll.kube.lease import LeaderElection, unique_identity
from reroll.settings import Settings, config_kinds
from reroll.web.server import Check, serve

log = structlog.get_logger("reroll")

STOP_WITHIN = 20.0
"""Seconds that what is in flight gets to finish after SIGTERM; a pod has 30 in all."""

FINISH_WITHIN = 5.0
"""Seconds after that for what must not be left half done: a Job that was deleted to be created again."""

_OTHERS_POLL = 60.0


class Controller:
    """The parts, put together. `run` works until `stop` is called.

    `dialects`, `metrics` and `words` are others than those by the settings; `at_work` is run once when work begins.
    Raises ValueError from the constructor for a label selector or an address that is not understood.
    """

    def __init__(
        self,
        cluster: ClusterConfig,
        settings: Settings,
        *,
        dialects: Dialects | None = None,
        metrics: Metrics | None = None,
        words: Words | None = None,
        at_work: Callable[[Client], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        self.settings = settings
        self.metrics = metrics or Metrics()
        self._at_work = at_work
        self._beside_reloader = (
            settings.beside_reloader
            or not settings.reloader_annotations
            or dialects is not None  # who runs in Reloader's place is not in its own way
        )
        self.alerts: Alerts | None = None
        if settings.alert_url:
            self.alerts = Alerts(
                parse_targets(settings.alert_url, settings.alert_sink),
                style="reloader" if dialects is not None else "reroll",
                info=settings.alert_info,
                proxy=settings.alert_proxy,
            )
        self.client = Client(
            cluster,
            max_in_flight=settings.max_in_flight,
            field_manager=settings.field_manager,
            observe=self._requested,
        )
        self.limiter = Limiter(min(settings.actors_min, settings.actors), settings.actors)
        self.queue: Queue[WorkloadId] = Queue(waited=self.metrics.waited, places=lambda: self.limiter.limit)
        self.events = EventRecorder(self.client, busy=lambda: len(self.queue) > 0)
        self.key_secret = DigestKeySecret(
            self.client, settings.key_namespace or cluster.namespace, settings.key_secret
        )
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
            ask=self._ask,
            want=lambda config: self.reader.want(config),
            dialects=dialects or Dialects(reloader=DEFAULT_KEYS if settings.reloader_annotations else None),
            marks=STYLES[settings.marks],
            arrived=self._arrived,
            read_all=bool(settings.webhook_url),
            selected=of_configs.matches if settings.config_selector else None,
            field_manager=settings.field_manager,
            in_scope=lambda namespace, labels: (
                namespace not in settings.namespaces_to_ignore and selector.matches(labels)
            ),
            kinds=self.kinds,
        )
        self.reader = Reader(self.client, self.store.configs, self.metrics, settings.namespaces or ("",))
        self.reconciler = Reconciler(
            self.store,
            self.queue,
            self.client,
            Reporter(
                self.events,
                self.kinds,
                words or Words(),
                self.alerts.put if self.alerts is not None else lambda notice: None,
            ),
            self.metrics,
            check_key=self._check_key,
            writer=self.client,
            may_act=lambda: self.leading,
        )
        self.watches = Watches(self.client, self.store, settings, self.kinds, self.config_kinds)
        self.metrics.watch(
            queue=self.queue.statistics,
            collections=self.watches.statistics,
            objects=self.store.counts,
            problems=self.store.problems,
            events_dropped=lambda: self.events.statistics().dropped,
            leading=lambda: self.working and self.leading,
        )
        if self.alerts is not None:
            alerts = self.alerts
            self.metrics.watch(alerts=alerts.statistics, alerts_dropped=lambda: alerts.statistics().dropped)
        self.announcer: Announcer | None = None
        if settings.webhook_url:
            told = {"update", *(["add"] if settings.on_create == "always" else [])}
            told |= {"delete"} if settings.on_delete else set()
            webhook = Webhook(settings.webhook_url, proxy=settings.alert_proxy)
            self.metrics.watch(webhook=webhook.statistics)
            self.announcer = Announcer(
                webhook,
                self.store,
                frozenset(told),
                may_act=lambda: self.working and self.leading,
                others_done_until=lambda: self.election.others_done_until if self.election else float("-inf"),
            )
        self.lease_client = Client(cluster, max_in_flight=4, field_manager=settings.field_manager)
        self.election: LeaderElection | None = None
        if settings.leader_election:
            self.election = LeaderElection(
                self.lease_client,
                settings.lease_namespace or cluster.namespace,
                settings.lease_name,
                unique_identity(os.environ.get("POD_NAME", "")),
                behind=lambda: self.announcer.behind() if self.announcer else 0.0,
            )
        self._reloader = ""
        self.working = False
        """The actors run: everything was read once."""
        self._stopping = asyncio.Event()
        self._stop_by = 0.0
        """Until when, by time.monotonic, what is in flight may finish; set by `stop`."""
        self._problem = "waiting for the API server"

    def stop(self) -> None:
        """Take no new work, finish what is in flight, and return from `run`."""
        if not self._stopping.is_set():
            self._stop_by = time.monotonic() + STOP_WITHIN
        self._stopping.set()

    async def run(self, ready: Callable[[str], None] = lambda address: None) -> None:
        """Work until `stop`. `ready` is called once with the address that is served, when work begins."""
        serving = serve(
            self.settings.listen, self.metrics.registry, live=self.live_checks, ready=self.ready_checks
        )
        async with self.client, self.lease_client, serving as address, _background() as start:
            if await self._unless_stopped(self._read_everything(start)):
                self.working = True
                if self._at_work is not None:
                    start(self._at_work(self.client), "once at work")
                ready(f"{address[0]}:{address[1]}" if address else "")
                await self._act_while_leading()
            if self.announcer is not None:
                await self._tell_the_rest(self.announcer)  # of one that lost the lead before it was stopped
            if self.alerts is not None:
                await self.alerts.flush(5.0)
            await self.events.flush(5.0)

    # --- start ---------------------------------------------------------------------------------------

    async def _read_everything(self, start: Start) -> None:
        """Get the digest key, start the watches, wait until each collection was listed or refused, and read
        what is followed of it."""
        began = time.monotonic()
        usual = gc.get_threshold()
        gc.set_threshold(
            200_000, 20, 100
        )  # nearly all that is made now stays: looking for garbage is in vain
        await self._obtain_key()
        start(self.events.run(), "events")
        if self.alerts is not None:
            start(self.alerts.run(), "alerts")
        if self.announcer is not None:
            start(self.announcer.run(), "webhook")
        await asyncio.gather(self.watches.read(start), self._look_for_reloader())
        if not self._beside_reloader:
            start(self._keep_looking_for_reloader(), "look for Reloader")
        start(self.reader.run(), "reader")
        await self.reader.catch_up()
        gc.set_threshold(*usual)
        gc.collect()
        gc.freeze()  # later collections need not walk what stays
        log.info("ready", seconds=round(time.monotonic() - began, 2), **self.store.counts())

    async def _obtain_key(self) -> None:
        """Wait for the API server, for ever, and get the digest key. Who follows ConfigMaps alone needs none."""
        if not self._needs_key:
            self._problem = ""
            return
        backoff = Backoff(0.5, 15.0, jitter=0.5)
        while True:
            try:
                self.store.configs.rekey(await self.key_secret.obtain())
                self._problem = ""
                return
            except ApiError as error:
                self._problem = str(error)
                delay = max(backoff.next(), error.retry_after or 0.0)
                log.warning("waiting for the API server", problem=str(error), seconds=round(delay, 1))
                await asyncio.sleep(delay)

    # --- work ----------------------------------------------------------------------------------------

    def _ask(self, workload: WorkloadId, cause: ConfigId | None) -> None:
        """A workload has to be decided on. Its flow is what caused it, so that a crowd behind one change
        and the single consumer of another take turns. Those to be adopted at the start are one crowd; of the others
        few have anything to be done, and those do not wait for ten thousand adoptions."""
        flow: Hashable = cause or workload.namespace
        if not self.working:
            entry = self.store.workload(workload)
            if entry is None or entry.record.applied is None:
                flow = "start"
        self.queue.add(workload, flow=flow)

    async def _act_while_leading(self) -> None:
        """Act until `stop`; of several controllers only while this one leads. Who stands by knows everything, and
        its queue holds what there is to ask."""
        if self.election is None:
            await self._act_until_stopped()
            return

        async def stop(election: LeaderElection) -> None:
            await self._stopping.wait()
            election.stop()

        stopping = asyncio.create_task(stop(self.election))
        try:
            await self.election.run(self._lead)
        finally:
            stopping.cancel()

    def _requested(self, verb: str, code: str, seconds: float) -> None:
        """A request was answered, or failed."""
        self.metrics.requested(verb, code, seconds)
        if verb != "patch" or code == "error":  # cancelled
            return
        if code == "429" or not code.isdigit() or code >= "500":
            self.limiter.refused(time.monotonic())
        else:
            self.limiter.answered(seconds, self.queue.in_hand, time.monotonic())

    def _arrived(self, event: str, config: ConfigId, version: int) -> None:
        """The content of a config object changed."""
        self.metrics.arrived(event, config.kind)
        if self.announcer is not None:
            self.announcer.arrived(event, config, version)

    async def _keep_looking_for_reloader(self) -> None:
        while True:
            await asyncio.sleep(_OTHERS_POLL)
            await self._look_for_reloader()

    async def _look_for_reloader(self) -> None:
        """Where Reloader runs, its annotations are its own affair: both together would roll twice."""
        if self._beside_reloader:
            return
        found = await find_reloader(self.client, self.settings.namespaces or ("",))
        if found is None or found == self._reloader:
            return
        self._reloader = found
        if found:
            log.warning(
                "stakater/Reloader runs in this cluster: reroll leaves its annotations to it, and follows its own. "
                "Stop Reloader to have reroll follow both; --beside-reloader does so at once",
                deployment=found,
            )
        else:
            log.info("stakater/Reloader runs no longer: its annotations are followed")
        self.store.set_dialects(Dialects(reloader=None if found else DEFAULT_KEYS))

    async def _lead(self) -> None:
        for workload in list(self.store.workloads()):
            self._ask(workload, None)  # what was being asked when the lead was lost is asked again
        await self._act_until_stopped()

    async def _act_until_stopped(self) -> None:
        if self.announcer is not None:
            await self._announce_until_stopped(self.announcer)
            return
        actors = [
            asyncio.create_task(self.reconciler.work(), name=f"actor {number}")
            for number in range(self.settings.actors)
        ]
        try:
            await self._stopping.wait()
        except asyncio.CancelledError:
            log.warning("no longer leading: nothing more is written")
            for actor in actors:
                actor.cancel()
            await asyncio.gather(*actors, return_exceptions=True)
            raise
        log.info("stopping: what is in flight is finished, nothing new is begun")
        self.queue.close()
        _, late = await asyncio.wait(actors, timeout=STOP_WITHIN)
        for actor in late:
            actor.cancel()
        await asyncio.gather(*actors, return_exceptions=True)
        await self.reconciler.finish(FINISH_WITHIN)

    async def _announce_until_stopped(self, announcer: Announcer) -> None:
        announcer.lead()
        await self._stopping.wait()
        log.info("stopping: the webhook is told of what it was not told yet")
        await self._tell_the_rest(announcer)

    async def _tell_the_rest(self, announcer: Announcer) -> None:
        """Wait until the webhook was told of everything, or until it is too late after `stop`."""
        with suppress(TimeoutError):
            await asyncio.wait_for(announcer.idle.wait(), max(0.0, self._stop_by - time.monotonic()))

    async def _check_key(self) -> bool:
        """Is another digest key in force than ours? Then Secrets are read again with it."""
        if not self._needs_key:
            return False
        found = await self.key_secret.check(self.store.configs.key)
        if found.id == self.store.configs.key.id:
            return False
        log.warning("the digest key changed: Secrets are recorded anew, nothing is rolled")
        self.store.configs.rekey(found)
        self.watches.list_secrets_again()
        return True

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> bool:
        """Run to the end (True), or until `stop` is called (False)."""
        task = asyncio.ensure_future(work)
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                return False
            task.result()
            return True
        finally:
            for each in (task, stopping):
                each.cancel()
            await asyncio.gather(task, stopping, return_exceptions=True)

    # --- what others ask -----------------------------------------------------------------------------

    @property
    def leading(self) -> bool:
        """Is it this controller that acts?"""
        return self.election is None or self.election.is_leader

    @property
    def _needs_key(self) -> bool:
        """Who follows ConfigMaps alone digests nothing with a key."""
        return self.config_kinds != ("configmap",)

    def live_checks(self) -> list[Check]:
        """That this is answered at all says that the event loop runs."""
        return [Check("loop", True, "")]

    def ready_checks(self) -> list[Check]:
        """Ready only when every store is synced, and what is followed was read."""
        checks = [Check("api-server", not self._problem, self._problem)]
        for s in self.watches.of_required():
            name = f"{s.resource}/{s.namespace}" if s.namespace else s.resource
            checks.append(Check(name, s.synced, s.problem or ("" if s.synced else "not read yet")))
        read = self.reader.caught_up
        checks.append(Check("contents", read, "" if read else "what is followed is not read yet"))
        return checks


@asynccontextmanager
async def _background() -> AsyncIterator[Start]:
    """Tasks for as long as the body runs; one that fails ends the body with its error."""
    tasks: list[asyncio.Task[None]] = []
    async with asyncio.TaskGroup() as group:
        try:
            yield lambda work, name: tasks.append(group.create_task(work, name=name))
        finally:
            for task in tasks:
                task.cancel()
