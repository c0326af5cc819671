"""Puts the controller's parts on virtual time, and plays a scenario to its end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager

import msgspec

from reroll.controller.follow import Follow
from reroll.controller.queue import Queue
from reroll.controller.reconcile import Reconciler
from reroll.controller.rules import rules_of
from reroll.controller.store import Store
from reroll.controller.term import Term, Told
from reroll.controller.worker import Worker
from reroll.core.kinds import KINDS, WORKLOAD_KINDS
from reroll.core.observe import decode_workload
from reroll.core.records import ConfigId, WorkloadId
from reroll.dialects.presence import find_reloader
from reroll.insight.simulation.answer import Answer
from reroll.insight.simulation.bad_input import BadInput
from reroll.insight.simulation.changes import Changes
from reroll.insight.simulation.clock import VirtualLoop
from reroll.insight.simulation.cluster import Cluster
from reroll.insight.simulation.manifests import GivenNamespace
from reroll.insight.simulation.recorder import Recorder, StrictMetrics
from reroll.insight.simulation.refusal import refuse
from reroll.insight.simulation.result import Made, Simulation
from reroll.insight.simulation.world import Config, World, known_content
from reroll.settings import Settings


def simulate(
    world: World, changes: Changes, settings: Settings, *, latency: float = 0.0, everyone: bool = False
) -> Simulation:
    """What a controller with these settings does in this world, before and after these changes.

    `latency` is what a request to the API server takes, in seconds; `everyone`: tell of each workload why it
    is not rolled, also of those that no change concerns. The world is used up by it.

    Raises BadInput for a change that can't be made, and SettingsError for a setting that is not understood or can't
    be obeyed here.
    """
    refuse(settings, world)
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(_Play(world, settings, latency).play(changes, everyone))


class _Play:
    """One controller and one cluster. Belongs to a `VirtualLoop`, and is made in it."""

    def __init__(self, world: World, settings: Settings, latency: float) -> None:
        self._world = world
        self._settings = settings
        self._latency = latency
        self._scopes = _scopes(world, settings)
        self._scope = settings.scope()
        self._config_kinds = settings.followed_config_kinds()
        self._kinds = [kind for kind in WORKLOAD_KINDS if kind in self._scope.kinds]
        self._working = False
        self._wanted: list[ConfigId] = []
        self._asked: list[tuple[WorkloadId, ConfigId | None]] | None = None

    async def play(self, changes: Changes, everyone: bool) -> Simulation:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        await self._set_up(loop)
        answer = Answer(
            self._world,
            self._store,
            self._reconciler,
            self._recorder,
            self._scopes,
            self._scope,
            self._config_kinds,
        )
        self._read_everything()
        actors = [asyncio.create_task(self._worker.work()) for _ in range(self._settings.actors)]
        try:
            self._working = True
            await self._rest(loop, actors)
            start = loop.time()
            answer.started()
            made = [one async for one in self._changes(loop, changes, start)]
            await self._rest(loop, actors)
            return answer.give(made, start, loop.time(), changes.others, everyone)
        finally:
            self._queue.close()
            await asyncio.gather(*actors, return_exceptions=True)

    # --- the parts -----------------------------------------------------------------------------------

    async def _set_up(self, loop: VirtualLoop) -> None:
        """As `app.Controller` does it, with a played cluster and this loop's time."""
        settings, world = self._settings, self._world
        self._loop = loop
        self._cluster = Cluster(
            world,
            latency=self._latency,
            max_in_flight=settings.max_in_flight,
            marks=settings.mark_style(),
        )
        self._recorder = Recorder()
        metrics = StrictMetrics()
        self._queue: Queue[WorkloadId] = Queue(random=random.Random(0).random)
        self._store = Store(
            world.key,
            rules_of(
                settings,
                dialects=settings.dialects(reloader_runs=await self._reloader_runs()),
                kinds=KINDS,
                digester=known_content,
            ),
            ask=self._ask,
            want=self._want,
            now=self._now,
        )
        follow = Follow(self._recorder, metrics, clock=loop.time, now=self._now)
        term = Term(lambda workload: True, self._recorder, self._store, follow)
        self._reconciler = Reconciler(
            self._store, self._cluster, term, metrics, check_key=self._check_key, now=self._now
        )
        listener = Told(term, self._store)
        self._worker = Worker(self._queue, self._reconciler.reconcile, listener, metrics)

    async def _reloader_runs(self) -> bool:
        """Whether the controller finds stakater/Reloader in this cluster, as it asks at its start."""
        if not self._settings.reloader_annotations or self._settings.beside_reloader:
            return False
        found = await find_reloader(self._cluster, self._scopes)
        if found:
            self._world.notes.append(
                f"deployment/{found} is stakater/Reloader: its annotations are left to it (--beside-reloader)"
            )
        return bool(found)

    def _now(self) -> float:
        """Seconds since the epoch, where the world was read at its loop's time 0."""
        return self._world.now + self._loop.time()

    def _ask(self, workload: WorkloadId, cause: ConfigId | None) -> None:
        if self._asked is None:
            self._add(workload, cause)
        else:
            self._asked.append((workload, cause))

    def _add(self, workload: WorkloadId, cause: ConfigId | None) -> None:
        self._queue.add(workload, flow=(cause or workload.namespace) if self._working else "start")

    @contextmanager
    def _in_order(self) -> Iterator[None]:
        """The store asks about the consumers of an object in the order of a set, which is another in each run:
        here it is that of their names."""
        self._asked = []
        try:
            yield
        finally:
            asked, self._asked = self._asked, None
            for workload, cause in sorted(asked, key=str):
                self._add(workload, cause)

    async def _check_key(self) -> bool:
        return False  # there is no other than the one of the world

    def _want(self, config: ConfigId) -> None:
        """What the reader does: it reads what is followed, soon."""
        if not self._wanted and self._working:
            if self._latency:
                self._loop.call_later(self._latency, self._read_wanted)
            else:
                self._loop.call_soon(self._read_wanted)
        self._wanted.append(config)

    def _read_wanted(self) -> None:
        wanted, self._wanted = self._wanted, []
        with self._in_order():
            for config in dict.fromkeys(wanted):
                held = self._cluster.configs.get(config)
                if held is not None and self._store.configs.wanted(config):
                    self._store.configs.put_read(config.kind, held.as_object())

    # --- what the watches bring ----------------------------------------------------------------------

    def _read_everything(self) -> None:
        """The lists at the start: of config objects the names, then what is followed."""
        for namespace in self._world.namespaces.values():
            self._tell_namespace(namespace.metadata.name)
        for config in self._cluster.configs.values():
            if self._reads(config.id):
                meta = config.meta
                self._store.configs.listed(config.id.kind, meta.namespace, meta.name, meta.resource_version)
        for workload in self._cluster.workloads:
            self._tell_workload(workload, live=False)
        problems = {(kind, namespace): problem for kind, namespace, problem in self._world.unreadable}
        for scope in self._scopes:
            for kind in (*self._config_kinds, *self._kinds):
                self._store.set_collection(
                    kind, scope, problems.get((kind, scope)) or problems.get((kind, ""), "")
                )
        self._read_wanted()

    def _reads(self, config: ConfigId) -> bool:
        """Whether a watch of the controller would bring it."""
        return config.kind in self._config_kinds and self._watched(config.namespace)

    def _watched(self, namespace: str) -> bool:
        return self._scopes == ("",) or namespace in self._scopes

    def _tell(self, what: Config | WorkloadId | ConfigId | GivenNamespace) -> None:
        """A watch brings a change as it happens."""
        with self._in_order():
            self._bring(what)

    def _bring(self, what: Config | WorkloadId | ConfigId | GivenNamespace) -> None:
        if isinstance(what, GivenNamespace):
            self._world.namespaces[what.name] = what.value
            self._tell_namespace(what.name)
        elif isinstance(what, WorkloadId):
            self._tell_workload(what, live=True)
        elif isinstance(what, ConfigId):
            self._store.configs.drop(what, live=True)
        elif self._reads(what.id):
            self._store.configs.put_live(what.id.kind, what.as_object())

    def _tell_namespace(self, name: str) -> None:
        if self._watched(name):
            self._store.put_namespace(self._world.namespaces[name])

    def _tell_workload(self, workload: WorkloadId, *, live: bool) -> None:
        if not self._watched(workload.namespace) or workload.kind not in self._kinds:
            return
        held = self._cluster.workloads.get(workload)
        if held is None:
            self._store.drop_workload(workload)
            return
        try:
            obj = decode_workload(held.raw)
            if self._scope.of_workloads.matches(obj.metadata.labels or {}):
                self._store.put_workload(obj, workload.kind, live=live)
            else:
                self._store.drop_workload(workload)
        except (msgspec.DecodeError, RecursionError) as error:
            raise BadInput(held.origin, f"{workload}: {error}") from error

    # --- the course of it ----------------------------------------------------------------------------

    async def _changes(self, loop: VirtualLoop, changes: Changes, start: float) -> AsyncIterator[Made]:
        """Make each change at its time. The controller does what it can do at once before the next one of the
        same time: a person's or kubectl's changes are milliseconds apart, and it is as quick."""
        for step, given in changes.steps:
            if loop.time() < start + step.at:
                await asyncio.sleep(start + step.at - loop.time())
            self._cluster.set_time(self._now())
            for one in changes.make(
                step, given, self._cluster, self._tell, marks=self._settings.mark_style()
            ):
                yield one
                await loop.halt()

    @staticmethod
    async def _rest(loop: VirtualLoop, actors: Sequence[asyncio.Task[None]]) -> None:
        """Until nothing is left to be done. Raises what an actor failed with."""
        await loop.rest()
        for actor in actors:
            if actor.done():
                actor.result()


def _scopes(world: World, settings: Settings) -> tuple[str, ...]:
    """The namespaces to watch, ("",) for all. What a snapshot did not read can't be worked in."""
    for namespace in settings.namespaces:
        if world.scopes and namespace not in world.scopes:
            raise ValueError(f"{world.source}: the namespace {namespace} is not in it")
    return settings.namespaces or world.scopes or ("",)
