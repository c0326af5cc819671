"""One play: a world, one or two controllers, and steps in an order that is drawn.

Everything that can happen is a step: a watch event arrives, a request is done, its answer arrives or is lost, a played
controller or kubelet does one thing, a person or a tool writes, time passes, a clock is set, the lead is lost, a
controller dies and another one starts. Between two steps the controllers do what they can at that moment. After some
steps all faults end, everything is delivered, all timers run out and all rollouts end: at that rest the `invariants`
hold.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

from reroll.core.marks import NATIVE, MarkStyle
from reroll.core.policy import PolicyDefaults
from reroll.core.records import WorkloadId
from reroll.insight.simulation.clock import VirtualLoop
from reroll.kube.errors import ApiError, Conflict, ServerError, TooManyRequests
from tests.interleavings.classes import Driver
from tests.interleavings.client import Wire
from tests.interleavings.clock import BASE
from tests.interleavings.deployments import Deployments
from tests.interleavings.invariants import check, owed
from tests.interleavings.jobs import Jobs
from tests.interleavings.ledger import CONFIG_PLURALS, Ledger
from tests.interleavings.member import METRICS, Fault, Member, Said
from tests.interleavings.people import People
from tests.interleavings.pods import Act, Pods
from tests.interleavings.server import Server
from tests.interleavings.statefulsets import StatefulSets
from tests.interleavings.worlds import CLASS, KEYS, Choose, describe, draw

T = TypeVar("T")

_REST_STEPS = 3000
_REST_SECONDS = 4000.0
_ACTS_AT_REST = 6
_POLLS = 60
"""Timers that ring in vain, after which it counts as at rest where a pod waits for what is missing."""


class Flavour(NamedTuple):
    """What can happen in a play."""

    kinds: tuple[str, ...] = ("deployments", "statefulsets", "jobs", "cronjobs")
    foreign: bool = False
    """People and tools write workloads, and delete and make things."""
    faults: bool = False
    """Answers are lost, watches break, leads are lost, controllers die, clocks are set."""
    members: int = 1
    elected: bool = True
    """Of two controllers, one acts at a time."""
    classes: bool = False
    """Pods mount a SecretProviderClass."""
    returns: bool = True
    """Content goes back to what it was before."""
    steps: int = 24
    rests: int = 2


class Play:
    """Belongs to a `VirtualLoop`, and is made in it. `steps` is filled with what happens, in words. `marks`: how the
    controllers mark pod templates."""

    def __init__(self, choose: Choose, flavour: Flavour, steps: list[str], marks: MarkStyle = NATIVE) -> None:
        self._choose, self.flavour, self._marks = choose, flavour, marks
        self.steps = steps
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        self._loop = loop
        self.server = Server(self.now)
        self.wire = Wire()
        self.pods = Pods(self.server)
        self.deployments = Deployments(self.server, self.pods)
        self.stateful_sets = StatefulSets(self.server, self.pods)
        self.jobs = Jobs(self.server, self.pods)
        self.people = People(self.server, self.deployments, self.stateful_sets)
        self.ledger = Ledger(self.server, self.now)
        self.ledger.changed = self._noticed
        self.owed: set[WorkloadId] = set()
        """Whose pods ran old content at the last rest."""
        self.driver = Driver(self.server)
        self.pods.started = self.driver.mount
        self.server.vault[CLASS] = 1
        self.members: list[Member] = []
        self.said: list[Said] = []
        """By controllers that are no more."""
        self.polls = False
        """At this rest a restart goes on asking for pods, because one can't start."""
        self._told: set[str] = set()
        self._started = 0
        self._sleep = 0.0
        self._skew = 0.0
        """Of the machine on which the next controller starts."""
        self._changed = self._closed = False
        self.exact = True
        """No time has passed between the first change since the last rest, and the arrival of the last one."""

    def now(self) -> float:
        return BASE + self._loop.time()

    # --- the course of it ----------------------------------------------------------------------------

    async def run(self) -> None:
        """Raises Fault."""
        METRICS.internal = ""
        given = draw(self._choose, self.flavour.kinds, classes=self.flavour.classes)
        for plural, manifest in given.configs:
            self.server.create(plural, manifest, "kubectl-create")
        for plural, manifest in given.workloads:
            self.steps.append(describe(plural, manifest))
            self.server.create(plural, manifest, "kubectl-create")
            if plural == "jobs":
                self.ledger.jobs.add(manifest["metadata"]["name"])
        self._configs = [(plural, manifest["metadata"]["name"]) for plural, manifest in given.configs]
        self._workloads = [(plural, manifest["metadata"]["name"]) for plural, manifest in given.workloads]
        try:
            for _ in range(self.flavour.members):
                self._start()
            await self._rest()
            for _ in range(1 + self._choose(self.flavour.rests)):
                await self._between_rests()
        finally:
            for member in self.members:
                member.die()
            await self._loop.halt()

    async def _between_rests(self) -> None:
        self.owed = owed(self)
        self.ledger.begin(self.owed)
        self.exact, self._changed, self._closed = True, False, False
        for _ in range(4 + self._choose(self.flavour.steps)):
            await self._step()
        await self._rest()
        check(self)

    async def _step(self) -> None:
        choices = list(self._possible())
        number = self._choose(sum(weight for weight, _ in choices))
        for weight, do in choices:
            number -= weight
            if number < 0:
                do()
                break
        if self._sleep:
            seconds, self._sleep = self._sleep, 0.0
            await asyncio.sleep(seconds)
            self.wire.give_up(self._loop.time())
        await self._breathe()

    async def _breathe(self) -> None:
        """The controllers do what they can do at this moment."""
        await self._loop.halt()
        while any(member.go_on() for member in self.members):
            await self._loop.halt()
        self._raise_internal()

    def _raise_internal(self) -> None:
        if METRICS.internal:
            raise Fault(METRICS.internal)

    # --- what can happen now -------------------------------------------------------------------------

    def _possible(self) -> list[tuple[int, Callable[[], None]]]:
        """Each with its weight; the plainest first."""
        possible: list[tuple[int, Callable[[], None]]] = []
        lines = [watch for member in self.members for watch in member.watches if watch.line]
        if lines:
            possible += [(10, self._deliver), (4, self._deliver_all)]
        if self.wire.sent():
            possible += [(8, self._answer), (4, self._do)]
        if self.wire.answered():
            possible.append((6, self._hear))
        if next(self._acts(), None) is not None:
            possible += [(8, self._act), (4, self._work)]
        possible += [(12, self._change), (6, self._wait)]
        if next(self.jobs.ends(), None) is not None:
            possible.append((1, self._end_job))
        if self.flavour.foreign:
            possible += [(8, self._write_workload), (3, self._churn)]
        if self.flavour.faults:
            possible += [(5, self._break), (3, self._upset)]
        return possible

    def _say(self, words: str) -> None:
        self.steps.append(f"{self._loop.time():8.2f}  {words}")

    def _one(self, of: list[T]) -> T:
        return of[self._choose(len(of))]

    def _acts(self) -> Iterator[Act]:
        """What the cluster's own controllers can do now. Good until the first of it is done."""
        yield from self.deployments.acts()
        yield from self.stateful_sets.acts()
        yield from self.jobs.acts()
        yield from self.pods.acts()
        yield from self.driver.acts()

    def _deliver(self) -> None:
        lines = [(m, watch) for m in self.members for watch in m.watches if watch.line]
        member, watch = self._one(lines)
        self._say(f"{member.name} hears: {watch.words()}")
        watch.deliver()

    def _deliver_all(self) -> None:
        """Of one controller, kind by kind."""
        member = self._one([m for m in self.members if any(watch.line for watch in m.watches)])
        watches = [watch for watch in member.watches if watch.line]
        if len(watches) > 1 and self._choose(2):
            watches.reverse()
        for watch in watches:
            while watch.line:
                self._say(f"{member.name} hears: {watch.words()}")
                watch.deliver()

    def _answer(self) -> None:
        """Done and answered, as is usual."""
        request = self._one(self.wire.sent())
        self._say(f"{request}: done and answered")
        request.do(self.server)
        self.wire.hear(request)

    def _do(self) -> None:
        request = self._one(self.wire.sent())
        self._say(f"{request}: done")
        request.do(self.server)

    def _hear(self) -> None:
        request = self._one(self.wire.answered())
        self._say(f"{request}: answered")
        self.wire.hear(request)

    def _act(self) -> None:
        act = self._one(list(self._acts()))
        self._say(act.words)
        act.do()

    def _work(self) -> None:
        """The cluster's own controllers do several things in a row."""
        self._say("the cluster works:")
        for _ in range(4 + self._choose(20)):
            act = next(self._acts(), None)
            if act is None:
                break
            self._say(f"  {act.words}")
            act.do()

    def _end_job(self) -> None:
        act = self._one(list(self.jobs.ends()))
        self._say(act.words)
        act.do()

    def _wait(self) -> None:
        self._sleep = (0.3, 1.1, 2.5, 12.0, 75.0)[self._choose(5)]
        if self._changed:
            if any(watch.line or watch.broken for member in self.members for watch in member.watches):
                self.exact = False
            self._closed = True
        self._say(f"{self._sleep} s pass")

    # --- people --------------------------------------------------------------------------------------

    def _person(self, words: str) -> None:
        """Something was written, unless there was nothing to do."""
        if words:
            self._say(words)

    def _noticed(self) -> None:
        """What somebody consumes became another."""
        self.exact = self.exact and not self._closed
        self._changed = True

    def _change(self) -> None:
        if self.flavour.classes and not self._choose(3):
            self.server.vault[CLASS] += 1
            self._say(f"the vault has version {self.server.vault[CLASS]}")
            return
        plural, name = self._one(self._configs)
        number = self._choose(8)
        if number < 5:
            self._person(self.people.set(plural, name, KEYS[self._choose(2)]))
        elif number < 7 and self.flavour.returns:
            self._person(self.people.put_back(plural, name))
        else:
            self._person(self.people.label(plural, name))

    def _churn(self) -> None:
        """Config objects come and go."""
        plural, name = self._one(self._configs)
        number = self._choose(3)
        if self.server.get(plural, name) is None:
            self._person(self.people.create_config(plural, name, changed=number > 0))
        elif number == 0:
            self._person(self.people.delete_config(plural, name))
        else:
            self._person(self.people.remove_key(plural, name, KEYS[self._choose(2)]))

    def _write_workload(self) -> None:
        plural, name = self._one(self._workloads)
        at = (plural, name)
        if self.server.get(plural, name) is None and at in self.people.missing():
            self._made(plural, name, self.people.create(plural, name))
            return
        number = self._choose(11)
        if number == 0:
            self._person(self.people.apply(plural, name))
        elif number == 1:
            of, config = self._one(self._configs)
            self._person(self.people.set(of, config, KEYS[self._choose(2)]))
            self._person(self.people.apply(plural, name, "helm"))
        elif number == 2:
            self._person(self.people.restart(plural, name))
        elif number in (3, 4):
            self._person(self.people.undo(plural, name))
        elif number in (5, 6):
            self._person(self.people.operate(plural, name))
        elif number == 7:
            self._person(self.people.scale(plural, name, self._choose(4)))
        elif number == 8:
            self._person(self.people.pause(plural, name))
        elif number == 9:
            self._person(self.people.spoil(plural, name, "nonsense" if self._choose(2) else None))
        elif self._choose(2):
            self._unmade(plural, name, self.people.delete(plural, name))
        else:
            words = self.people.replace(plural, name)
            self._unmade(plural, name, words)
            if words.endswith("again"):
                self._made(plural, name, " ")

    def _made(self, plural: str, name: str, words: str) -> None:
        self._person(words.strip())
        if words and plural == "jobs":
            self.ledger.jobs.add(name)

    def _unmade(self, plural: str, name: str, words: str) -> None:
        self._person(words)
        if words and plural == "jobs":
            self.ledger.jobs.discard(name)

    # --- faults --------------------------------------------------------------------------------------

    def _break(self) -> None:
        """A request fails, or a watch breaks."""
        sent, answered = self.wire.sent(), self.wire.answered()
        number = self._choose(4)
        if number == 0 and sent:
            request, error = self._one(sent), _refusals[self._choose(len(_refusals))]
            self._say(f"{request}: refused with {error.status}")
            request.refuse(type(error)(error.message, status=error.status, reason=error.reason))
        elif number == 1 and sent:
            request = self._one(sent)
            done = bool(self._choose(2))
            self._say(f"{request}: {'done, and the answer is lost' if done else 'lost on its way'}")
            if done:
                request.do(self.server)
            self.wire.lose(request)
        elif number == 2 and answered:
            request = self._one(answered)
            self._say(f"{request}: the answer is lost")
            self.wire.lose(request)
        elif self.members:
            member = self._one(self.members)
            watch = self._one(member.watches)
            if watch.broken:
                self._say(f"{member.name} lists {watch.plural} again")
                watch.list()
            else:
                self._say(f"{member.name}: the watch of {watch.plural} breaks")
                watch.drop()

    def _upset(self) -> None:
        """The lead is lost or won, a controller dies or starts, a clock is set."""
        number = self._choose(5)
        if number == 0 and self.members:
            member = self._one(self.members)
            member.skew = self._skew = (0.0, -4000.0, -15.0, 15.0, 4000.0)[self._choose(5)]
            self._say(f"{member.name}: its clock is set {member.skew:+.0f} s off")
        elif number in (1, 2) and self.flavour.elected:
            leader = next((member for member in self.members if member.leading), None)
            if leader is not None:
                self._say(f"{leader.name} loses the lead")
                leader.lose_the_lead()
            else:
                self._elect()
        elif number == 3 and self.members:
            self._die(self._one(self.members))
        elif len(self.members) < self.flavour.members:
            self._start()

    def _start(self) -> None:
        self._started += 1
        member = Member(
            f"c{self._started}",
            self.server,
            self.wire,
            DEFAULTS,
            self._told,
            marks=self._marks,
            skew_now=self._skew,
        )
        member.heard = lambda said: self._say(
            f"{member.name} tells of {said.workload}: {said.reason}: {said.note}"
        )
        self.members.append(member)
        self._say(f"{member.name} starts")
        if not self.flavour.elected or not any(other.leading for other in self.members):
            member.lead()

    def _die(self, member: Member) -> None:
        self._say(f"{member.name} dies")
        member.die()
        self.said += member.said
        self.members.remove(member)

    def _elect(self) -> None:
        if self.members:
            member = self._one(self.members)
            self._say(f"{member.name} leads")
            member.lead()

    # --- rest ----------------------------------------------------------------------------------------

    async def _rest(self) -> None:
        """All faults end, and everything runs to its end. Raises Fault where it does not."""
        self._say("everything comes to rest")
        self._recover()
        self.polls = False
        until, rung, version = self._loop.time() + _REST_SECONDS, 0, self.server.version
        for _ in range(_REST_STEPS):
            await self._breathe()
            if self._settle():
                continue
            timer = self._next_timer()
            if timer is None:
                return
            if self.server.version != version:
                rung, version = 0, self.server.version
            rung += 1
            if rung > _POLLS and any(pod["status"]["phase"] == "Pending" for pod in self.server.all("pods")):
                self.polls = True
                return
            if timer > until:
                break
            await asyncio.sleep(timer - self._loop.time())
        raise Fault(f"it does not come to rest: {self._unrest()}")

    def _recover(self) -> None:
        for plural, name in self.people.missing():
            if self._choose(3) == 2:
                continue  # it stays away
            if plural in CONFIG_PLURALS:
                self._person(self.people.create_config(plural, name, changed=False))
            else:
                self._made(plural, name, self.people.create(plural, name))
        for member in self.members:
            for watch in member.watches:
                if watch.broken:
                    self._say(f"{member.name} lists {watch.plural} again")
                    watch.list()
        while len(self.members) < self.flavour.members:
            self._start()
        if not any(member.leading for member in self.members):
            self._elect()

    def _settle(self) -> bool:
        """Do what there is to do at this moment; False: nothing is."""
        if self.wire.requests:
            for request in list(self.wire.requests):
                if not request.done:
                    self._say(f"{request}: done and answered")
                    request.do(self.server)
                else:
                    self._say(f"{request}: answered")
                self.wire.hear(request)
            return True
        lines = [(member, watch) for member in self.members for watch in member.watches if watch.line]
        for member, watch in lines:
            while watch.line:
                self._say(f"{member.name} hears: {watch.words()}")
                watch.deliver()
        if lines:
            return True
        worked = False
        for _ in range(_ACTS_AT_REST):
            act = next(self._acts(), None)
            if act is None:
                break
            self._say(act.words)
            act.do()
            worked = True
        return worked

    def _next_timer(self) -> float | None:
        """When the next timer rings; None: there is none."""
        timers = [handle.when() for handle in self._loop._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]
        return min(timers, default=None)

    def _unrest(self) -> str:
        queues = [f"{member.name}: {member.queue.statistics()}" for member in self.members]
        return "; ".join([*queues, *(act.words for act in self._acts()), *map(str, self.wire.requests)])


DEFAULTS = PolicyDefaults(settle=1.0, settle_max=10.0)
_refusals: tuple[ApiError, ...] = (
    Conflict("the object has been modified", status=409),
    TooManyRequests("too many requests", status=429),
    ServerError("it failed", status=500),
    ServerError("timeout", status=504),
)
