"""The worker, in virtual time (looptime): what comes back of a key, and when it is asked for again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from reroll.controller.metrics import Metrics
from reroll.controller.queue import Queue
from reroll.controller.result import Again, Done, Held, Result
from reroll.controller.worker import LAST_REFUSAL, Worker, is_refusal
from reroll.kube.errors import (
    AlreadyExists,
    ApiError,
    BadRequest,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    ServerError,
    TooManyRequests,
    Unauthorized,
    Unreachable,
)

pytestmark = pytest.mark.looptime

REFUSED = Forbidden("not today", status=403)
LOST = Unreachable("lost on the way")


class Place:
    """A worker, whose reconcile answers what the test says, and what became of it."""

    def __init__(self, *answers: Result | Exception, time_limit: float = 120.0) -> None:
        self.answers = list(answers)
        """In this order; the last one for ever."""
        self.at: list[float] = []
        """When it was reconciled."""
        self.told: list[tuple[float, bool]] = []
        """(delay, refused) of each failure."""
        self.settled_: list[str] = []
        self.known = True
        self.inside: Callable[[], Awaitable[None]] | None = None
        self.queue: Queue[str] = Queue(random=lambda: 1.0)
        self.metrics = Metrics()
        self.worker = Worker(
            self.queue,
            self.reconcile,
            self,
            self.metrics,
            known=lambda key: self.known,
            time_limit=time_limit,
        )

    async def reconcile(self, key: str) -> Result:
        self.at.append(asyncio.get_running_loop().time())
        if self.inside is not None:
            await self.inside()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def failed(self, key: str, error: ApiError, delay: float, *, refused: bool) -> None:
        self.told.append((delay, refused))

    def settled(self, key: str) -> None:
        self.settled_.append(key)

    @asynccontextmanager
    async def at_work(self, actors: int = 1, within: float = 1.0) -> AsyncIterator[asyncio.Event]:
        stopping = asyncio.Event()
        task = asyncio.create_task(self.worker.run(actors, stopping, within))
        try:
            yield stopping
        finally:
            stopping.set()
            await task

    def sample(self, step: str, reason: str) -> float | None:
        labels = {"step": step, "reason": reason}
        return self.metrics.registry.get_sample_value("reroll_failures_total", labels)


async def work(place: Place, seconds: float) -> list[float]:
    """Ask for one key, and work for so long. Returns when it was reconciled."""
    start = asyncio.get_running_loop().time()
    async with place.at_work():
        place.queue.add("web")
        await asyncio.sleep(seconds)
    return [at - start for at in place.at]


class TestResults:
    async def test_what_is_done_is_not_asked_again(self) -> None:
        place = Place(Done())
        assert await work(place, 1000.0) == [0.0]
        assert place.settled_ == ["web"]

    async def test_again_comes_at_its_time(self) -> None:
        place = Place(Again(5.0, "settling"), Again(0.0, "at once"), Done())
        assert await work(place, 1000.0) == pytest.approx([0.0, 5.0, 5.0])
        assert place.settled_ == ["web"]

    async def test_held_waits_for_a_watch(self) -> None:
        place = Place(Held("a key is missing"))
        assert await work(place, 1000.0) == [0.0]
        assert place.settled_ == []

    async def test_held_without_one_is_asked_with_a_growing_delay(self) -> None:
        place = Place(Held("a budget", at_least=0.0))
        first, second, third, *_ = await work(place, 10.0)
        assert third - second > second - first > 0.0
        assert place.sample("act", "too_many_requests") == 0

    async def test_held_honours_what_the_server_asks_for_and_counts_what_failed(self) -> None:
        place = Place(Held("a budget", at_least=7.0, failed="TooManyRequests"), Done())
        assert await work(place, 10.0) == pytest.approx([0.0, 7.0])
        assert place.sample("act", "too_many_requests") == 1

    async def test_success_makes_the_next_delay_short_again(self) -> None:
        place = Place(LOST, LOST, LOST, Again(50.0, "going on"), LOST, Done())
        await work(place, 100.0)
        delays = [delay for delay, _ in place.told]
        assert delays[3] == delays[0] < delays[1] < delays[2]


class TestAKeyThatStandsForNothing:
    """C6: the queue forgets it only if it is gone for good."""

    async def test_what_came_back_while_it_was_worked_on_is_worked_on(self) -> None:
        place = Place(Done())

        async def come_back() -> None:
            place.queue.add("web")
            place.inside = None

        place.inside = come_back
        assert len(await work(place, 1.0)) == 2

    async def test_what_is_gone_is_forgotten(self) -> None:
        place = Place(Done())

        async def told() -> None:
            place.queue.add("web")
            place.known = False

        place.inside = told
        assert len(await work(place, 1.0)) == 1


class TestErrors:
    async def test_what_fails_is_asked_again_and_told(self) -> None:
        place = Place(LOST, LOST, Done())
        with capture_logs() as logs:
            assert await work(place, 10.0) == pytest.approx([0.0, 0.2, 0.6])
        assert place.told == [(0.2, False), (0.4, False)]
        assert place.sample("act", "unreachable") == 2
        assert [line["log_level"] for line in logs if "failed" in line["event"]] == ["warning", "warning"]

    async def test_what_fails_is_asked_once_a_minute_in_the_end(self) -> None:
        *_, before, last = await work(Place(LOST), 3600.0)
        assert last - before == pytest.approx(60.0)

    async def test_what_is_refused_is_asked_each_five_minutes_in_the_end_and_warned_about_once(self) -> None:
        place = Place(REFUSED)
        with capture_logs() as logs:
            *_, before, last = await work(place, 3600.0)
        assert last - before == pytest.approx(LAST_REFUSAL) == 300.0
        assert len(place.at) < 25
        assert [line["log_level"] for line in logs if "refused" in line["event"]].count("warning") == 1
        assert {refused for _, refused in place.told} == {True}
        assert place.sample("act", "forbidden") == len(place.at)

    async def test_what_is_refused_is_asked_at_once_when_it_changes(self) -> None:
        place = Place(REFUSED)
        async with place.at_work():
            place.queue.add("web")
            await asyncio.sleep(3600.0)
            before = len(place.at)
            place.queue.add("web")
            await asyncio.sleep(0.001)
            assert len(place.at) == before + 1

    async def test_what_is_refused_again_later_is_warned_about_again(self) -> None:
        place = Place(REFUSED, Done(), REFUSED, Done())
        with capture_logs() as logs:
            async with place.at_work():
                for _ in range(2):
                    place.queue.add("web")
                    await asyncio.sleep(10.0)
        assert [line["log_level"] for line in logs if "refused" in line["event"]] == ["warning", "warning"]

    async def test_a_fault_of_ours_ends_nothing(self) -> None:
        place = Place(KeyError("a mistake"), Done())
        with capture_logs() as logs:
            assert len(await work(place, 10.0)) == 2
        assert place.sample("decide", "internal") == 1
        assert [line["log_level"] for line in logs if "reconcile failed" in line["event"]] == ["error"]

    async def test_one_that_hangs_is_cut_short_and_asked_again(self) -> None:
        place = Place(Done(), time_limit=120.0)

        async def hang() -> None:
            place.inside = None
            await asyncio.Event().wait()

        place.inside = hang
        assert await work(place, 200.0) == pytest.approx([0.0, 120.2])
        assert place.sample("act", "timeout") == 1
        assert place.sample("decide", "internal") == 0

    async def test_a_timeout_of_something_inside_is_a_fault_of_ours(self) -> None:
        place = Place(TimeoutError("of something else"), Done())
        await work(place, 10.0)
        assert place.sample("act", "timeout") == 0
        assert place.sample("decide", "internal") == 1

    async def test_an_actor_that_fails_ends_the_controller(self) -> None:
        place = Place(Done())

        def settled(key: str) -> None:
            raise RuntimeError("a mistake")

        place.settled = settled  # type: ignore[method-assign]
        with pytest.raises(RuntimeError, match="a mistake"):
            await work(place, 1.0)


@pytest.mark.parametrize(
    ("error", "refused"),
    [
        (Forbidden("", status=403), True),
        (NotFound("", status=404), True),
        (BadRequest("", status=400), True),
        (Invalid("", status=422), True),
        (ApiError("", status=405), True),
        (Unauthorized("", status=401), False),
        (Conflict("", status=409), False),
        (AlreadyExists("", status=409), False),
        (Gone("", status=410), False),
        (TooManyRequests("", status=429), False),
        (ServerError("", status=500), False),
        (Unreachable(""), False),
    ],
)
def test_what_only_a_change_can_turn(error: ApiError, refused: bool) -> None:
    assert is_refusal(error) is refused


class TestTheEnd:
    async def test_what_is_in_flight_is_finished_and_nothing_is_begun(self) -> None:
        place = Place(Done())

        async def slow() -> None:
            await asyncio.sleep(3.0)

        place.inside = slow
        async with place.at_work(within=5.0) as stopping:
            place.queue.add("web")
            place.queue.add("other")
            await asyncio.sleep(1.0)
            stopping.set()
        assert place.settled_ == ["web"]

    async def test_what_takes_too_long_is_cut_short(self) -> None:
        place = Place(Done())

        async def hang() -> None:
            await asyncio.Event().wait()

        place.inside = hang
        start = asyncio.get_running_loop().time()
        async with place.at_work(within=5.0) as stopping:
            place.queue.add("web")
            await asyncio.sleep(1.0)
            stopping.set()
        assert asyncio.get_running_loop().time() - start == pytest.approx(6.0)
        assert place.settled_ == []

    async def test_a_cancel_cuts_it_short_at_once(self) -> None:
        place = Place(Done())

        async def hang() -> None:
            await asyncio.Event().wait()

        place.inside = hang
        task = asyncio.create_task(place.worker.run(2, asyncio.Event(), 5.0))
        place.queue.add("web")
        await asyncio.sleep(1.0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not [t for t in asyncio.all_tasks() if t.get_name().startswith("actor ")]
