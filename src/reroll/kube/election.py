"""Leader election over a Lease (``coordination.k8s.io/v1``): of several processes exactly one acts.

The rules are those of client-go's leader election, so that a process of another make can take part. The holder
renews the Lease every `retry` seconds and stops to act when it could not for `renew_deadline`. The others
take it over when they saw no change of it for `duration`, by their own clock: nobody's written time is
believed, so clocks may be hours apart. What keeps two from acting at once is that

- every write carries the resourceVersion that was read, so of two writes the server takes one;
- the holder counts from the moment *before* it sent a renewal, the others from the moment *after* they
  saw it, and `renew_deadline` is shorter than `duration`. Clocks may run at different speeds, up to the
  ratio of the two;
- the holder looks at its clock and not at a timer: a process that was frozen knows, when it goes on, that it
  lost (`is_leader`), before anything told it so.

Beyond client-go: those who stand by watch the Lease, where they may. A watch only tells when to look, so what
it brings late or twice does no harm; but thanks to it a renewal is seen at once and not up to `retry`
later, a holder that died is replaced within `duration` of its last renewal, and one that went within
milliseconds. Without the permission both take up to `retry` longer.
"""

from __future__ import annotations

import asyncio
import math
import random
import secrets
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec
import structlog

from reroll.kube.backoff import Backoff
from reroll.kube.errors import AlreadyExists, ApiError, Conflict, Forbidden, NotFound
from reroll.kube.event_object import microtime
from reroll.kube.lease import Lease, LeaseSpec
from reroll.kube.ports import LeaseClient

log = structlog.get_logger("reroll.kube.election")

_RELEASE_SECONDS = 3.0
_MICROSECOND = 1e-6
_LEAST = 0.01  # seconds; a request with less time than that is in vain
_ROUNDS = 4  # of write and read again in one try, where others edit the Lease


class Behind(NamedTuple):
    """By how much the work of who leads is behind, and where that stands on the Lease."""

    annotation: str
    seconds: Callable[[], float]


class Leadership(msgspec.Struct, frozen=True):
    """How the election stands, as one of those who take part sees it."""

    is_leader: bool
    holder: str
    """The identity of who holds the Lease; "" for nobody."""
    since: str
    """When that one took it, as the Lease has it; "" if it is not known."""
    transitions: int
    """How often it went from one to another."""
    problem: str
    """Why the Lease could not be read or written at the last try; "" if it could."""
    won: int
    """How often this one became the leader."""
    lost: int
    """How often it lost that against its will."""


class _Lost(Exception):
    """Another one holds the Lease."""


def unique_identity(name: str = "") -> str:
    """An identity that no other process has: `name` (of the pod; "": of the host), and 64 random bits.

    With the name alone, a container that is started again in its pod need not wait until its own former
    Lease runs out; but then nothing may ever run twice under one name.
    """
    return f"{name or socket.gethostname()}_{secrets.token_hex(8)}"


def running_time() -> float:
    """Seconds on a clock that nobody sets, and that goes on while the machine sleeps, where there is one."""
    return _running_time()


def _choose_clock() -> Callable[[], float]:
    boot = getattr(time, "CLOCK_BOOTTIME", None)  # Linux; CLOCK_MONOTONIC stands still in a suspended machine
    return time.monotonic if boot is None else lambda: time.clock_gettime(boot)


_running_time = _choose_clock()


class LeaderElection:
    """One of those who take part. `run` works until `stop`; `is_leader` may be asked at any time.

    `namespace` and `name` are the Lease's; `identity` has to be unlike that of any other living process (see
    `unique_identity`). `duration`, `renew_deadline` and `retry` are seconds, and all who take part should
    have the same. `clock` measures how long ago something was; `wall` is what is written into the Lease for
    people. `behind`: by how many seconds the work of this one is behind, while it leads, and the annotation for it; the
    others read it (`others_done_until`), so that whoever comes next knows where to go on.

    Needs get, create and update of the Lease, and makes use of watch. Raises ValueError for times that don't
    keep two from leading at once.
    """

    def __init__(
        self,
        client: LeaseClient,
        namespace: str,
        name: str,
        identity: str,
        *,
        duration: float = 15.0,
        renew_deadline: float = 10.0,
        retry: float = 2.0,
        clock: Callable[[], float] = running_time,
        wall: Callable[[], float] = time.time,
        behind: Behind | None = None,
    ) -> None:
        if not duration > renew_deadline > retry > 0:
            raise ValueError(
                f"leader election: duration ({duration:g} s) must be longer than renew_deadline "
                f"({renew_deadline:g} s), and that longer than retry ({retry:g} s): "
                "otherwise two could lead at once"
            )
        if not identity:
            raise ValueError("leader election: an identity is needed, such as the name of the pod")
        self.identity = identity
        self.duration, self.renew_deadline, self.retry = duration, renew_deadline, retry
        self._clock, self._wall, self._behind = clock, wall, behind
        self._request_timeout = renew_deadline / 2  # so that one hanging request leaves time for another
        self._lease = Lease(client, namespace, name)
        self._seen = LeaseSpec()
        self._seen_at = -math.inf
        self._others_done_until = -math.inf
        self._leading = False
        self._valid_until = -math.inf
        self._renewed_at = -math.inf
        self._unsure = False  # the Lease may name us though we don't lead
        self._problem = ""
        self._won = self._lost = 0
        self._bell = asyncio.Event()
        self._stopping = asyncio.Event()

    # --- what others ask -----------------------------------------------------------------------------

    @property
    def is_leader(self) -> bool:
        """Is it certain, at this moment, that nobody else acts? Ask right before each write."""
        return self._leading and self._clock() < self._valid_until

    @property
    def others_done_until(self) -> float:
        """Up to which time, by `clock`, the work of another leader was done when it last gave a sign of life, or went;
        -inf: no such sign was seen. The Lease as it stands at the first look is none: its holder may be long dead."""
        return self._others_done_until

    def status(self) -> Leadership:
        """How things stand, for readiness, metrics and logs."""
        leading = self.is_leader
        return Leadership(
            is_leader=leading,
            holder=self._seen.holder_identity or "",
            since=(self._seen.acquire_time or "") if self._seen.holder_identity else "",
            transitions=self._seen.lease_transitions or 0,
            problem=self._problem,
            won=self._won,
            lost=self._lost,
        )

    def stop(self) -> None:
        """Stand for election no more: `run` returns, once what leads has come to its end by itself."""
        self._stopping.set()
        self._bell.set()

    # --- the course of things ------------------------------------------------------------------------

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Wait to be the leader, run `lead`, and give the Lease back when it returns.

        While `lead` runs the Lease is renewed, also while it winds up. If the Lease is lost `lead` is
        cancelled, and once it has ended this one stands by again: `lead` may be called several times. Returns when
        `lead` returns, and after `stop` where this one does not lead. Cancelled, it cancels `lead`, waits for
        its end and gives the Lease back. An error of `lead` is raised here.
        """
        try:
            while await self._acquire():
                if await self._lead(lead):
                    return
        finally:
            self._leading = False
            if self._unsure:
                await self._give_back()

    async def _acquire(self) -> bool:
        """Stand by until this one leads (True), or until `stop` (False)."""
        listening: asyncio.Task[None] | None = None
        try:
            while not self._stopping.is_set():
                self._bell.clear()
                if self._stopping.is_set():
                    break
                if await self._attempt(self._take, self._request_timeout):
                    return True
                if listening is None:
                    listening = asyncio.create_task(self._listen(), name="watch of the lease")
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._wait()):
                        await self._bell.wait()
            return False
        finally:
            if listening is not None:
                await _end(listening)

    def _wait(self) -> float:
        """Seconds until the next look: `retry` with some jitter, but not past the end of the holder's time."""
        usual = self.retry * (1.0 + 0.2 * random.random())
        left = self._left_to_another()
        return min(usual, left) if left > 0 else usual

    async def _lead(self, lead: Callable[[], Awaitable[None]]) -> bool:
        """Run `lead` for as long as the Lease is renewed. True: it came to its end by itself."""
        self._won += 1
        log.info("leading", lease=str(self._lease), identity=self.identity)
        leading = asyncio.ensure_future(_as_coroutine(lead))
        keeping = asyncio.create_task(self._keep(), name="renewal of the lease")
        try:
            await asyncio.wait({leading, keeping}, return_when=asyncio.FIRST_COMPLETED)
            by_itself = leading.done()
        finally:
            if not leading.done():
                leading.cancel()
                await self._until_ended(leading)
            lost = keeping.done()
            await _end(keeping)
            self._leading = False
            if not lost:
                self._unsure = True  # it names us, until it is given back
        if by_itself or not leading.cancelled():
            leading.result()
        if not keeping.cancelled():
            keeping.result()
        return by_itself

    async def _until_ended(self, leading: asyncio.Future[None]) -> None:
        slack = self.duration - self.renew_deadline
        _, late = await asyncio.wait({leading}, timeout=slack)
        if late:
            log.error(
                "lost leadership, and work has not stopped: another controller may act at the same time",
                lease=str(self._lease),
                seconds=slack,
            )
            await asyncio.wait({leading})

    async def _keep(self) -> None:
        """Renew, until the Lease is lost."""
        try:
            while await self._renewed_in_time():
                pass
            self._unsure = True
            why = f"it could not be renewed for {self.renew_deadline:g} s: "
            why += self._problem or "this process stood still"
        except _Lost:
            why = f"{self._seen.holder_identity or 'nobody'} holds it now"
        self._leading = False
        self._lost += 1
        log.warning("lost leadership", lease=str(self._lease), reason=why)

    async def _renewed_in_time(self) -> bool:
        """Wait until it is time, and renew. False: time ran out. Raises `_Lost`."""
        await asyncio.sleep(max(0.0, min(self._renewed_at + self.retry, self._valid_until) - self._clock()))
        while (left := self._valid_until - self._clock()) > _LEAST:
            if await self._attempt(self._renew, min(self._request_timeout, left)):
                return True
            # Twice the usual pace, also after "later, please": a request a second burdens nobody.
            await asyncio.sleep(max(0.0, min(self.retry / 2, self._valid_until - self._clock())))
        return False

    async def _attempt(self, work: Callable[[], Coroutine[Any, Any, bool]], seconds: float) -> bool:
        """One try against the API server: whether it brought (or kept) the leadership. Fails with `_Lost` only."""
        try:
            async with asyncio.timeout(seconds):
                done = await work()
            problem = ""
        except TimeoutError:
            done, problem = False, f"no answer within {seconds:.3g} s"
        except Forbidden as error:
            done, problem = False, f"{error}. Allow get, create and update of leases.coordination.k8s.io"
        except ApiError as error:
            done, problem = False, str(error)
        except msgspec.MsgspecError as error:
            done, problem = False, f"the answer is not a Lease: {error}"
        if problem and problem != self._problem:
            log.warning("lease can't be reached", lease=str(self._lease), problem=problem)
        self._problem = problem
        return done

    # --- requests ------------------------------------------------------------------------------------

    async def _take(self) -> bool:
        """Look at the Lease, and take it if it is free, ran out, or is ours."""
        with suppress(NotFound):
            self._notice(await self._lease.read())
        if self._left_to_another() > 0:
            # Also if it was deleted a moment ago: who held it may not know yet.
            return False
        try:
            await self._write()
        except (Conflict, AlreadyExists):
            self._bell.set()  # somebody was faster: see who
            return False
        return self._begin()

    def _begin(self) -> bool:
        """Lead from now on, unless the answer came so late that it is worth nothing."""
        self._leading = self._clock() < self._valid_until
        self._unsure = not self._leading
        return self._leading

    async def _renew(self) -> bool:
        """Renew what we hold. Raises `_Lost` if another one has it."""
        for _ in range(_ROUNDS - 1):
            try:
                await self._write()
                return True
            except NotFound:
                if not self._lease.known:
                    raise  # the namespace is gone
                self._lease.forget()  # deleted under us: make it again
            except (Conflict, AlreadyExists):
                # An edit by somebody else, or our own last write, the answer to which was lost.
                with suppress(NotFound):
                    self._notice(await self._lease.read())
                if self._lease.known and self._seen.holder_identity != self.identity:
                    raise _Lost from None
        await self._write()
        return True

    async def _write(self) -> None:
        """Put our name and the time on the Lease as it was last read, or make it."""
        before = self._seen
        ours = before.holder_identity == self.identity
        now = microtime(self._wall())
        if now == before.renew_time:
            now = microtime(self._wall() + _MICROSECOND)  # only a difference is a sign of life
        spec = LeaseSpec(
            holder_identity=self.identity,
            lease_duration_seconds=math.ceil(self.duration),
            acquire_time=before.acquire_time if ours and before.acquire_time else now,
            renew_time=now,
            lease_transitions=(before.lease_transitions or 0)
            + (0 if ours or before.renew_time is None else 1),
        )
        sent = self._clock()
        if not self._leading:
            self._unsure = True
        self._notice(await self._send(spec))
        self._renewed_at = sent
        self._valid_until = sent + self.renew_deadline

    async def _send(self, spec: LeaseSpec) -> LeaseSpec:
        if self._behind is None:
            return await self._lease.write(spec, {})
        seconds = math.ceil(self._behind.seconds())
        return await self._lease.write(spec, {self._behind.annotation: str(seconds) if seconds > 0 else None})

    async def _give_back(self) -> None:
        """Write that nobody holds the Lease, so that another one need not wait. Tried for a few seconds."""
        try:
            async with asyncio.timeout(min(_RELEASE_SECONDS, self.renew_deadline)):
                for _ in range(_ROUNDS):
                    if self._seen.holder_identity != self.identity or not self._lease.known:
                        self._notice(await self._lease.read())
                    if self._seen.holder_identity != self.identity:
                        break
                    now = microtime(self._wall())
                    free = LeaseSpec("", 1, now, now, self._seen.lease_transitions or 0)
                    try:
                        self._notice(await self._send(free))
                        log.info("lease released", lease=str(self._lease))
                        break
                    except Conflict:
                        self._seen = LeaseSpec()  # read it again
            self._unsure = False
        except NotFound:
            self._unsure = False
        except (ApiError, TimeoutError, msgspec.MsgspecError) as error:
            log.warning(
                "lease could not be released: another controller takes it when it expires",
                lease=str(self._lease),
                problem=str(error) or "no answer in time",
            )

    # --- what is seen --------------------------------------------------------------------------------

    def _notice(self, spec: LeaseSpec) -> None:
        """Take in what was just read or written. Counts from now on if anything of it changed."""
        if spec == self._seen:
            return
        holder = spec.holder_identity or ""
        if holder not in ("", self.identity, self._seen.holder_identity):
            log.info("standing by", lease=str(self._lease), leader=holder)
        first = self._seen_at == -math.inf
        self._seen, self._seen_at = spec, self._clock()
        if holder != self.identity and not first:
            self._others_done_until = self._seen_at - self._holder_behind()

    def _holder_behind(self) -> float:
        """By how many seconds the holder says that it is behind; infinitely many where that can't be read."""
        written = self._lease.annotation(self._behind.annotation) if self._behind is not None else None
        if written is None:
            return 0.0
        return float(written) if written.isdecimal() else math.inf

    def _left_to_another(self) -> float:
        """Seconds for which somebody else may still act, as far as is known."""
        holder = self._seen.holder_identity
        if not holder or holder == self.identity:
            return 0.0
        seconds = float(self._seen.lease_duration_seconds or self.duration)
        return max(0.0, self._seen_at + seconds - self._clock())

    async def _listen(self) -> None:
        """Ring the bell for each change of the Lease. Whatever fails here, looking goes on without it."""
        backoff = Backoff(1.0, 60.0)
        while True:
            try:
                if (watch := self._lease.watch()) is not None:
                    async with watch as lines:
                        async for _ in lines:
                            backoff.reset()
                            self._bell.set()
            except ApiError as error:
                log.debug("lease is not watched", problem=str(error))
            await asyncio.sleep(backoff.next())


async def _as_coroutine(work: Callable[[], Awaitable[None]]) -> None:
    await work()


async def _end(task: asyncio.Task[None]) -> None:
    """Cancel it and wait until it ended, however it does."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()
