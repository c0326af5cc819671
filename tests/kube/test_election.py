"""Leader election against an API server in memory, in virtual time (looptime): what is said of time is exact."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from reroll.kube.election import Behind, LeaderElection, Leadership, running_time, unique_identity
from reroll.kube.errors import AlreadyExists, ApiError, Conflict, Forbidden, NotFound, Unreachable
from reroll.kube.lease import LEASES

pytestmark = pytest.mark.looptime

BEHIND = "reroll.dev/behind-seconds"
PATH = LEASES.path("reroll", "reroll")


def now() -> float:
    return asyncio.get_running_loop().time()


class Api:
    """One Lease, with resourceVersions and watches."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 0
        self.watches: set[asyncio.Queue[None]] = set()
        self.requests: list[tuple[float, str, str]] = []

    def read(self) -> bytes:
        if self.lease is None:
            raise NotFound("no such lease", status=404)
        return json.dumps(self.lease).encode()

    def create(self, body: bytes) -> bytes:
        if self.lease is not None:
            raise AlreadyExists("there already", status=409)
        return self.store(json.loads(body))

    def replace(self, body: bytes) -> bytes:
        lease = json.loads(body)
        if self.lease is None:
            raise NotFound("no such lease", status=404)
        if lease["metadata"].get("resourceVersion") != self.lease["metadata"]["resourceVersion"]:
            raise Conflict("the object has been modified", status=409)
        return self.store(lease)

    def store(self, lease: dict[str, Any]) -> bytes:
        self.version += 1
        lease["metadata"]["resourceVersion"] = str(self.version)
        self.lease = lease
        self.ring()
        return json.dumps(lease).encode()

    def ring(self) -> None:
        for watch in self.watches:
            watch.put_nowait(None)

    def edit(self, **spec: Any) -> None:
        assert self.lease is not None
        lease = json.loads(json.dumps(self.lease))
        lease["spec"] |= spec
        self.store(lease)

    def delete(self) -> None:
        self.lease = None
        self.ring()

    @property
    def spec(self) -> dict[str, Any]:
        assert self.lease is not None
        spec: dict[str, Any] = self.lease["spec"]
        return spec


class Link:
    """The way of one process to the API server, which can fail in every way."""

    def __init__(self, api: Api, who: str) -> None:
        self.api, self.who = api, who
        self.cut = False
        self.silent = False
        self.loses_answers = False
        self.takes: Callable[[], float] = lambda: 0.01
        self.watchable = True
        self.error: ApiError | None = None
        self.watched_from: list[str | None] = []

    async def get(self, path: str, *, attempts: int) -> bytes:
        assert path == PATH
        return await self._do("get", self.api.read)

    async def create(self, path: str, body: bytes, *, attempts: int) -> bytes:
        assert path == LEASES.path("reroll")
        return await self._do("create", lambda: self.api.create(body))

    async def replace(self, path: str, body: bytes, *, attempts: int) -> bytes:
        assert path == PATH
        return await self._do("update", lambda: self.api.replace(body))

    async def _do(self, verb: str, work: Callable[[], bytes]) -> bytes:
        self.api.requests.append((now(), self.who, verb))
        seconds = self.takes()
        await asyncio.sleep(seconds / 2)
        if self.silent:
            await asyncio.Event().wait()
        if self.cut:
            raise Unreachable("cannot reach the server")
        if self.error is not None:
            raise self.error
        answer = work()
        await asyncio.sleep(seconds / 2)
        if self.loses_answers or self.cut:
            raise Unreachable("the connection broke off")
        return answer

    @asynccontextmanager
    async def stream(self, path: str) -> AsyncIterator[AsyncIterator[list[bytes]]]:
        query = dict(parse_qsl(urlsplit(path).query))
        assert query["fieldSelector"] == "metadata.name=reroll"
        self.watched_from.append(query.get("resourceVersion"))
        if not self.watchable:
            raise Forbidden("you may not", status=403)
        if self.cut or self.silent:
            raise Unreachable("cannot reach the server")
        bell: asyncio.Queue[None] = asyncio.Queue()
        self.api.watches.add(bell)

        async def lines() -> AsyncIterator[list[bytes]]:
            while True:
                await bell.get()
                if not (self.cut or self.silent):
                    yield [b"{}"]

        try:
            yield lines()
        finally:
            self.api.watches.discard(bell)


class Play:
    """Several who stand for election, and a witness that never two act at once."""

    def __init__(self) -> None:
        self.api = Api()
        self.acting: set[str] = set()
        self.acts: list[tuple[float, str, str]] = []
        self.links: dict[str, Link] = {}
        self.electors: dict[str, LeaderElection] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.wind_up = 0.0

    def add(
        self,
        who: str,
        *,
        clock: Callable[[], float] | None = None,
        behind: Callable[[], float] = lambda: 0.0,
        **times: float,
    ) -> LeaderElection:
        link = self.links[who] = Link(self.api, who)
        elector = LeaderElection(
            link,
            "reroll",
            "reroll",
            who,
            clock=clock or now,
            wall=lambda: 1_750_000_000.0 + now(),
            behind=Behind(BEHIND, behind),
            **times,
        )
        self.electors[who] = elector
        self.start(who)
        return elector

    def start(self, who: str) -> None:
        elector = self.electors[who]

        async def lead() -> None:
            assert not self.acting, f"{who} begins to act while {self.acting} does"
            assert elector.is_leader
            self.acting.add(who)
            self.acts.append((now(), who, "begins"))
            try:
                await elector._stopping.wait()
                await asyncio.sleep(self.wind_up)
            finally:
                self.acting.discard(who)
                self.acts.append((now(), who, "ends"))

        self.tasks[who] = asyncio.create_task(elector.run(lead))

    def kill(self, who: str) -> None:
        """As SIGKILL does: it does nothing any more, and gives nothing back."""
        self.links[who].silent = True
        self.tasks[who].cancel()

    def leaders(self) -> list[str]:
        return [who for who, elector in self.electors.items() if elector.is_leader]

    def begun(self) -> list[tuple[float, str]]:
        return [(at, who) for at, who, what in self.acts if what == "begins"]

    async def close(self) -> None:
        for link in self.links.values():
            link.cut = link.silent = link.loses_answers = False
            link.error = None
            link.takes = lambda: 0.0
        for task in self.tasks.values():
            task.cancel()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)


@pytest.fixture
async def play() -> AsyncIterator[Play]:
    play = Play()
    yield play
    await play.close()


# --- becoming the leader ---------------------------------------------------------------------------------


async def test_the_first_one_makes_the_lease(play: Play) -> None:
    elector = play.add("a")
    await asyncio.sleep(0.5)
    assert elector.is_leader
    assert play.api.spec == {
        "holderIdentity": "a",
        "leaseDurationSeconds": 15,
        "acquireTime": play.api.spec["renewTime"],
        "renewTime": play.api.spec["renewTime"],
        "leaseTransitions": 0,
    }
    assert play.api.spec["renewTime"].endswith("Z")
    assert len(play.api.spec["renewTime"].rpartition(".")[2]) == len("000000Z")
    assert elector.status() == Leadership(
        is_leader=True,
        holder="a",
        since=play.api.spec["acquireTime"],
        transitions=0,
        problem="",
        won=1,
        lost=0,
    )


async def test_it_is_renewed_every_two_seconds_by_one_request(play: Play) -> None:
    play.add("a")
    await asyncio.sleep(9.0)
    updates = [at for at, _, verb in play.api.requests if verb == "update"]
    assert updates == pytest.approx([2.01, 4.01, 6.01, 8.01], abs=0.02)
    assert {verb for _, _, verb in play.api.requests[2:]} == {"update"}
    assert play.api.spec["acquireTime"] != play.api.spec["renewTime"]


async def test_the_others_stand_by(play: Play) -> None:
    first = play.add("a")
    await asyncio.sleep(0.5)
    second, third = play.add("b"), play.add("c")
    await asyncio.sleep(60.0)
    assert first.is_leader
    assert not second.is_leader
    assert not third.is_leader
    assert second.status().holder == "a"
    assert second.status().since == play.api.spec["acquireTime"]
    assert [who for _, who in play.begun()] == ["a"]


async def test_of_many_who_begin_at_once_one_leads(play: Play) -> None:
    for number in range(8):
        play.add(f"e{number}")
    await asyncio.sleep(30.0)
    assert len(play.leaders()) == 1
    assert len(play.acts) == 1


# --- what the next one knows of the work of the last --------------------------------------------------


def noted(play: Play) -> dict[str, str]:
    assert play.api.lease is not None
    found: dict[str, str] = play.api.lease["metadata"].get("annotations") or {}
    return found


async def test_a_watch_goes_on_from_what_was_read(play: Play) -> None:
    """One without a version is answered from etcd, by each of those who stand by (kubernetes #123448)."""
    play.add("a")
    await asyncio.sleep(0.5)
    play.add("b")
    await asyncio.sleep(0.5)
    assert play.links["b"].watched_from == ["1"]


async def test_the_lease_tells_how_far_behind_the_leader_is(play: Play) -> None:
    behind = 0.0
    play.add("a", behind=lambda: behind)
    await asyncio.sleep(0.5)
    second = play.add("b")
    await asyncio.sleep(4.0)
    assert noted(play) == {}
    assert second.others_done_until == pytest.approx(4.02, abs=0.1)
    behind = 2.4
    await asyncio.sleep(2.0)
    assert noted(play) == {BEHIND: "3"}
    assert second.others_done_until == pytest.approx(6.03 - 3.0, abs=0.1)
    behind = 0.0
    await asyncio.sleep(2.0)
    assert noted(play) == {}
    assert second.others_done_until == pytest.approx(8.04, abs=0.1)


async def test_also_who_gives_it_back_tells_what_is_left(play: Play) -> None:
    first = play.add("a", behind=lambda: 60.0)
    await asyncio.sleep(0.5)
    second = play.add("b")
    await asyncio.sleep(100.0)
    first.stop()
    await play.tasks["a"]
    await asyncio.sleep(0.2)
    assert second.is_leader
    assert second.others_done_until == pytest.approx(100.5 - 60.0, abs=0.1)
    assert noted(play) == {}


async def test_what_cannot_be_read_is_believed_to_be_everything(play: Play) -> None:
    play.add("a")
    await asyncio.sleep(0.5)
    second = play.add("b")
    await asyncio.sleep(4.0)
    play.kill("a")
    assert play.api.lease is not None
    play.api.lease["metadata"]["annotations"] = {BEHIND: "long", "team": "x"}
    play.api.edit(renewTime="2026-01-01T00:00:00.000000Z")
    await asyncio.sleep(1.0)
    assert second.others_done_until == float("-inf")
    await asyncio.sleep(15.0)
    assert second.is_leader
    assert noted(play) == {"team": "x"}


@pytest.mark.parametrize("holder", ["z", ""])
async def test_the_lease_as_it_is_found_is_no_sign_of_life(play: Play, holder: str) -> None:
    """A controller that is the only one, and starts again: nobody did its work meanwhile."""
    play.api.store({"metadata": {"name": "reroll"}, "spec": {"holderIdentity": holder}})
    elector = play.add("a")
    await asyncio.sleep(20.0)
    assert elector.is_leader
    assert elector.others_done_until == float("-inf")


# --- takeover ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [5.0, 6.02, 7.5, 8.0])
async def test_who_dies_is_replaced_within_fifteen_seconds(play: Play, after: float) -> None:
    play.add("a")
    await asyncio.sleep(0.5)
    play.add("b"), play.add("c")
    await asyncio.sleep(after - 0.5)
    play.kill("a")
    await asyncio.sleep(20.0)
    (_, first), (at, second) = play.begun()
    assert first == "a"
    assert second in ("b", "c")
    assert 12.9 < at - after < 15.1
    assert play.api.spec["leaseTransitions"] == 1


async def test_without_the_watch_it_takes_a_little_longer(play: Play) -> None:
    play.add("a")
    await asyncio.sleep(0.5)
    play.add("b")
    play.links["b"].watchable = False
    await asyncio.sleep(7.0)
    play.kill("a")
    await asyncio.sleep(20.0)
    (_, _), (at, second) = play.begun()
    assert second == "b"
    assert at - 7.5 < 15.0 + 2.4 + 0.1


async def test_who_goes_gives_it_back_and_the_next_one_acts_at_once(play: Play) -> None:
    first = play.add("a")
    await asyncio.sleep(0.5)
    second = play.add("b")
    await asyncio.sleep(10.0)
    first.stop()
    await play.tasks["a"]
    gone = now()
    await asyncio.sleep(0.2)
    assert second.is_leader
    (_, _), (at, who) = play.begun()
    assert who == "b"
    assert at - gone < 0.1
    assert play.api.spec["leaseTransitions"] == 1


async def test_without_the_watch_the_next_one_acts_after_the_next_look(play: Play) -> None:
    first = play.add("a")
    await asyncio.sleep(0.5)
    play.add("b")
    play.links["b"].watchable = False
    await asyncio.sleep(10.0)
    first.stop()
    await play.tasks["a"]
    gone = now()
    await asyncio.sleep(3.0)
    assert play.begun()[1][0] - gone < 2.5


async def test_it_is_given_back_as_the_api_means_it(play: Play) -> None:
    first = play.add("a")
    await asyncio.sleep(3.0)
    first.stop()
    await play.tasks["a"]
    assert play.api.spec["holderIdentity"] == ""
    assert play.api.spec["leaseDurationSeconds"] == 1
    assert not first.is_leader
    assert first.status().holder == ""


async def test_it_is_renewed_while_what_is_in_flight_winds_up(play: Play) -> None:
    """The actors of a controller get 20 s to finish, longer than a Lease lasts."""
    play.wind_up = 20.0
    first = play.add("a")
    await asyncio.sleep(1.0)
    play.add("b")
    await asyncio.sleep(1.0)
    first.stop()
    await asyncio.sleep(19.0)
    assert first.is_leader
    assert play.acting == {"a"}
    await asyncio.sleep(2.0)
    assert play.acting == {"b"}


async def test_cancelled_it_ends_the_work_and_gives_the_lease_back(play: Play) -> None:
    play.add("a")
    await asyncio.sleep(3.0)
    play.tasks["a"].cancel()
    with suppress(asyncio.CancelledError):
        await play.tasks["a"]
    assert play.acts[-1][1:] == ("a", "ends")
    assert play.api.spec["holderIdentity"] == ""


async def test_stopped_while_it_stands_by_it_leaves_the_lease_alone(play: Play) -> None:
    play.add("a")
    await asyncio.sleep(1.0)
    second = play.add("b")
    await asyncio.sleep(1.0)
    second.stop()
    await play.tasks["b"]
    assert {verb for _, who, verb in play.api.requests if who == "b"} == {"get"}
    assert play.leaders() == ["a"]


async def test_an_error_of_the_work_comes_out_and_the_lease_is_free() -> None:
    api = Api()
    elector = LeaderElection(Link(api, "a"), "reroll", "reroll", "a", clock=now)

    async def lead() -> None:
        await asyncio.sleep(3.0)
        raise RuntimeError("the actors failed")

    with pytest.raises(RuntimeError, match="the actors failed"):
        await elector.run(lead)
    assert api.spec["holderIdentity"] == ""


# --- losing it ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["cut", "silent", "loses_answers"])
async def test_an_outage_ends_the_work_before_another_one_can_begin(play: Play, how: str) -> None:
    first = play.add("a")
    await asyncio.sleep(0.5)
    play.add("b")
    await asyncio.sleep(5.6)
    began = now()
    if how == "loses_answers":
        play.links["a"].takes = lambda: 0.0
    setattr(play.links["a"], how, True)
    play.links["a"].watchable = False
    await asyncio.sleep(11.0)
    ends = [at for at, who, what in play.acts if what == "ends"]
    assert not first.is_leader
    assert play.acting == set()
    # Since the last renewal that was answered, which is up to 2 s before the outage.
    assert 8.0 <= ends[0] - began <= 10.0
    assert first.status().problem
    assert first.status().lost == 1
    if how != "loses_answers":
        await asyncio.sleep(10.0)
        assert play.acting == {"b"}
        begins = play.begun()[1][0]
        assert begins - ends[0] > 4.9


async def test_a_short_outage_changes_nothing(play: Play) -> None:
    first = play.add("a")
    await asyncio.sleep(0.5)
    play.add("b")
    await asyncio.sleep(5.5)
    play.links["a"].cut = True
    await asyncio.sleep(6.8)
    assert first.is_leader
    assert first.status().problem == "cannot reach the server"
    play.links["a"].cut = False
    await asyncio.sleep(20.0)
    assert first.is_leader
    assert first.status().problem == ""
    assert len(play.acts) == 1


async def test_an_outage_for_all_ends_with_the_same_one_or_another_but_one(play: Play) -> None:
    play.add("a"), play.add("b"), play.add("c")
    await asyncio.sleep(5.0)
    for link in play.links.values():
        link.cut = True
    await asyncio.sleep(60.0)
    assert play.acting == set()
    assert play.leaders() == []
    for link in play.links.values():
        link.cut = False
    await asyncio.sleep(5.0)
    assert len(play.acting) == 1


async def test_a_frozen_process_knows_that_it_lost_when_it_goes_on(play: Play) -> None:
    """Nothing runs between the freeze and the question: the clock alone tells."""
    behind = 0.0
    first = play.add("a", clock=lambda: now() + behind)
    await asyncio.sleep(5.0)
    assert play.leaders() == ["a"]
    behind = 9.9
    assert play.leaders() == []
    assert not first.status().is_leader
    assert play.acting == {"a"}  # nobody had a turn yet


async def test_a_frozen_process_stops_its_work_and_stands_by(
    play: Play, capsys: pytest.CaptureFixture[str]
) -> None:
    behind = 0.0
    first = play.add("a", clock=lambda: now() + behind)
    await asyncio.sleep(5.0)
    play.api.edit(holderIdentity="b", renewTime="meanwhile", leaseTransitions=1)
    behind = 30.0
    await asyncio.sleep(2.1)
    assert "this process stood still" in capsys.readouterr().out
    assert play.acting == set()
    assert not first.is_leader
    assert first.status().holder == "b"
    assert first.status().lost == 1


async def test_who_finds_another_name_stops_at_once(play: Play) -> None:
    first = play.add("a")
    await asyncio.sleep(5.0)
    play.api.edit(holderIdentity="b", renewTime="2030-01-01T00:00:00.000000Z", leaseTransitions=7)
    await asyncio.sleep(2.1)
    assert play.acting == set()
    assert first.status().holder == "b"
    # b never renews: 15 s after it was seen first the Lease is taken again, whatever its time says.
    await asyncio.sleep(12.5)
    assert play.acting == set()
    await asyncio.sleep(3.0)
    assert play.acting == {"a"}
    assert play.api.spec["leaseTransitions"] == 8


async def test_work_that_does_not_end_is_waited_for_and_told(
    play: Play, capsys: pytest.CaptureFixture[str]
) -> None:
    api = Api()
    link = Link(api, "a")
    elector = LeaderElection(link, "reroll", "reroll", "a", clock=now)
    ended: list[float] = []

    async def lead() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(30.0)
            ended.append(now())

    task = asyncio.create_task(elector.run(lead))
    await asyncio.sleep(1.0)
    link.cut = True
    await asyncio.sleep(20.0)
    assert not elector.is_leader
    assert "work has not stopped" in capsys.readouterr().out
    link.cut = False
    await asyncio.sleep(15.0)
    assert elector.status().won == 1
    await asyncio.sleep(10.0)
    assert ended
    assert elector.status().won == 2
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_an_acquisition_answered_too_late_is_worth_nothing(play: Play) -> None:
    behind = 0.0
    link = Link(play.api, "a")
    elector = LeaderElection(link, "reroll", "reroll", "a", clock=lambda: now() + behind)
    led: list[float] = []

    async def lead() -> None:
        led.append(now())
        await asyncio.Event().wait()

    link.takes = lambda: 1.0
    task = asyncio.create_task(elector.run(lead))
    await asyncio.sleep(1.2)  # the Lease was made, and the answer is on its way
    behind = 60.0
    await asyncio.sleep(0.5)
    assert play.api.spec["holderIdentity"] == "a"
    assert led == []
    assert not elector.is_leader
    await asyncio.sleep(5.0)  # it looks again, finds its own name, and renews
    assert len(led) == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


# --- the clocks of others, and strange Leases ----------------------------------------------------------


@pytest.mark.parametrize("skew", [-86_400.0, 86_400.0])
async def test_the_written_time_is_not_believed(play: Play, skew: float) -> None:
    """The holder's wall clock is a day away: it is neither deposed nor does it reign for ever."""
    link = Link(play.api, "a")
    first = LeaderElection(
        link, "reroll", "reroll", "a", clock=now, wall=lambda: 1_750_000_000.0 + skew + now()
    )
    task = asyncio.create_task(first.run(asyncio.Event().wait))  # type: ignore[arg-type]
    await asyncio.sleep(1.0)
    second = play.add("b")
    await asyncio.sleep(60.0)
    assert play.leaders() == []
    link.silent = True
    task.cancel()
    await asyncio.sleep(15.1)
    assert second.is_leader
    await asyncio.gather(task, return_exceptions=True)


async def test_a_wall_clock_that_stands_still_gives_signs_of_life_all_the_same(play: Play) -> None:
    first = LeaderElection(Link(play.api, "a"), "reroll", "reroll", "a", clock=now, wall=lambda: 1.75e9)
    task = asyncio.create_task(first.run(asyncio.Event().wait))  # type: ignore[arg-type]
    await asyncio.sleep(1.0)
    second = play.add("b")
    await asyncio.sleep(60.0)
    assert not second.is_leader
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_clocks_of_different_speed(play: Play) -> None:
    """A leader whose clock is slow by a fifth still stops before the other takes over."""
    play.add("a", clock=lambda: now() * 0.8)
    await asyncio.sleep(1.0)
    play.add("b", clock=lambda: 1000.0 + now() * 1.15)
    await asyncio.sleep(30.0)
    play.links["a"].silent = True
    await asyncio.sleep(20.0)
    assert play.acting == {"b"}  # that a had stopped before is the witness's word


async def test_a_lease_that_runs_longer_is_waited_for(play: Play) -> None:
    play.api.store(
        {
            "metadata": {"name": "reroll", "namespace": "reroll", "labels": {"team": "x"}},
            "spec": {
                "holderIdentity": "z",
                "leaseDurationSeconds": 40,
                "renewTime": "2020-01-01T00:00:00.000000Z",
                "leaseTransitions": 3,
                "strategy": "kept",
            },
        }
    )
    elector = play.add("a")
    await asyncio.sleep(39.0)
    assert play.leaders() == []
    await asyncio.sleep(2.0)
    assert elector.is_leader
    assert play.api.spec["leaseTransitions"] == 4
    assert play.api.spec["leaseDurationSeconds"] == 15
    assert play.api.spec["strategy"] == "kept"
    assert play.api.lease is not None
    assert play.api.lease["metadata"]["labels"] == {"team": "x"}


@pytest.mark.parametrize("spec", [None, {}, {"holderIdentity": None}, {"holderIdentity": ""}])
async def test_a_lease_that_nobody_holds_is_taken_at_once(play: Play, spec: dict[str, Any] | None) -> None:
    play.api.store({"metadata": {"name": "reroll"}, "spec": spec})
    elector = play.add("a")
    await asyncio.sleep(0.1)
    assert elector.is_leader


async def test_deleted_it_is_made_again_by_who_held_it(play: Play) -> None:
    first = play.add("a")
    await asyncio.sleep(1.0)
    play.add("b")
    await asyncio.sleep(4.0)
    since = play.api.spec["acquireTime"]
    play.api.delete()
    await asyncio.sleep(5.0)
    assert first.is_leader
    assert play.api.spec["holderIdentity"] == "a"
    assert play.api.spec["acquireTime"] == since
    assert len(play.acts) == 1


async def test_edits_by_others_are_no_loss(play: Play) -> None:
    first = play.add("a")
    await asyncio.sleep(1.0)
    for _ in range(20):
        play.api.edit()
        await asyncio.sleep(0.7)
    assert first.is_leader
    assert len(play.acts) == 1


async def test_a_lost_answer_is_found_out(play: Play) -> None:
    """The renewal was done and its answer lost: the next one meets a conflict with itself."""
    first = play.add("a")
    await asyncio.sleep(1.0)
    play.links["a"].loses_answers = True
    await asyncio.sleep(1.5)
    play.links["a"].loses_answers = False
    await asyncio.sleep(20.0)
    assert first.is_leader
    assert first.status().lost == 0
    assert len(play.acts) == 1


async def test_a_lease_taken_with_the_answer_lost_is_given_back(play: Play) -> None:
    """Stopped before it could find out that it was elected: nobody should have to wait for the Lease to run out."""
    first = play.add("a")
    play.links["a"].takes = lambda: 1.0
    await asyncio.sleep(1.2)
    assert play.api.spec["holderIdentity"] == "a"
    assert not first.is_leader
    play.tasks["a"].cancel()
    await asyncio.gather(play.tasks["a"], return_exceptions=True)
    assert play.api.spec["holderIdentity"] == ""


async def test_a_namespace_that_is_gone_is_no_storm(play: Play) -> None:
    play.add("a")
    await asyncio.sleep(5.0)
    before = len(play.api.requests)
    play.links["a"].error = NotFound("namespaces not found", status=404)
    await asyncio.sleep(20.0)
    assert len(play.api.requests) - before < 40
    assert play.acting == set()


async def test_what_is_not_allowed_is_said_with_what_to_do(play: Play) -> None:
    elector = play.add("a")
    play.links["a"].error = Forbidden("you may not", status=403)
    await asyncio.sleep(10.0)
    assert not elector.is_leader
    assert elector.status().problem == (
        "you may not. Allow get, create and update of leases.coordination.k8s.io"
    )


async def test_an_answer_that_is_no_lease_is_a_problem_and_no_crash(play: Play) -> None:
    elector = play.add("a")
    await asyncio.sleep(3.0)
    play.links["a"].api = page = Api()
    page.read = lambda: b"<html>"  # type: ignore[method-assign]
    page.replace = lambda body: b"<html>"  # type: ignore[method-assign]
    await asyncio.sleep(15.0)
    assert not elector.is_leader
    assert elector.status().problem.startswith("the answer is not a Lease")
    assert play.acting == set()


# --- everything at once ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
async def test_never_two_whatever_happens(play: Play, seed: int) -> None:
    """Minutes of outages, lost answers, slow requests, edits, crashes and restarts, with clocks that differ."""
    chance = random.Random(seed)
    names = ["a", "b", "c"]
    for who in names:
        speed, offset = chance.uniform(0.9, 1.1), chance.uniform(0, 1e6)
        play.add(who, clock=lambda speed=speed, offset=offset: offset + now() * speed)  # type: ignore[misc]
        play.links[who].takes = lambda: chance.choice([0.001, 0.01, 0.1, 1.0, 3.0])
    for _ in range(200):
        await asyncio.sleep(chance.uniform(0.0, 4.0))
        assert len(play.acting) <= 1
        assert len(play.leaders()) <= 1
        who = chance.choice(names)
        link = play.links[who]
        match chance.randrange(7):
            case 0:
                link.cut = not link.cut
            case 1:
                link.silent = not link.silent
            case 2:
                link.loses_answers = not link.loses_answers
            case 3:
                link.watchable = not link.watchable
            case 4 if play.api.lease is not None:
                play.api.edit()
            case 5:
                play.tasks[who].cancel()
                await asyncio.gather(play.tasks[who], return_exceptions=True)
                play.start(who)
            case _:
                link.cut = link.silent = link.loses_answers = False
    for task in play.tasks.values():
        assert not task.done()
    for link in play.links.values():
        link.cut = link.silent = link.loses_answers = False
    await asyncio.sleep(60.0)
    assert len(play.acting) == 1
    assert play.leaders() == list(play.acting)


# --- what is given -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "times",
    [
        {"duration": 10.0, "renew_deadline": 10.0},
        {"renew_deadline": 2.0, "retry": 2.0},
        {"retry": 0.0},
    ],
)
def test_times_that_let_two_lead_are_refused(times: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="otherwise two could lead at once"):
        LeaderElection(Link(Api(), "a"), "reroll", "reroll", "a", **times)  # type: ignore[arg-type]


def test_an_identity_is_needed() -> None:
    with pytest.raises(ValueError, match="an identity is needed"):
        LeaderElection(Link(Api(), "a"), "reroll", "reroll", "")


def test_identities_are_unlike_each_other() -> None:
    assert unique_identity("pod").startswith("pod_")
    assert unique_identity("pod") != unique_identity("pod")
    assert len(unique_identity()) > 17


def test_the_clock_goes_on() -> None:
    assert running_time() <= running_time()
