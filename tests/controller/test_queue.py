"""The work queue, in virtual time (looptime): what is asserted about time is exact, and nothing waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, NamedTuple

import looptime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reroll.controller.queue import FIRST_RETRY, LAST_RETRY, Queue, QueueClosed

pytestmark = pytest.mark.looptime


def now() -> float:
    return asyncio.get_running_loop().time()


async def take(queue: Queue[str], count: int) -> list[str]:
    """Hand out and finish `count` keys that must be ready now."""
    taken = []
    async with asyncio.timeout(0.5):
        for _ in range(count):
            key = await queue.get()
            queue.done(key)
            taken.append(key)
    return taken


class TestReady:
    async def test_keys_of_one_flow_come_in_order(self) -> None:
        queue: Queue[str] = Queue()
        for key in "cab":
            queue.add(key)
        assert await take(queue, 3) == ["c", "a", "b"]

    async def test_a_key_added_often_is_handed_out_once(self) -> None:
        queue: Queue[str] = Queue()
        for _ in range(5):
            queue.add("a")
        queue.add("b")
        assert await take(queue, 2) == ["a", "b"]
        assert queue.statistics().ready == 0
        assert queue.statistics().adds == 6

    async def test_a_ready_key_keeps_its_place_and_flow(self) -> None:
        queue: Queue[str] = Queue()
        queue.add("a", flow="crowd")
        queue.add("b", flow="crowd")
        queue.add("b", flow="other")
        queue.add_at("b", now() + 60, flow="other")
        assert queue.statistics().flows == 1
        assert await take(queue, 2) == ["a", "b"]
        assert queue.statistics().delayed == 0

    async def test_get_waits_for_an_add(self) -> None:
        queue: Queue[str] = Queue()
        getting = asyncio.create_task(queue.get())
        await asyncio.sleep(5)
        assert not getting.done()
        queue.add("a")
        assert await getting == "a"

    async def test_a_cancelled_get_loses_no_key(self) -> None:
        queue: Queue[str] = Queue()
        first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        queue.add("a")  # wakes the first, which is cancelled before it runs
        first.cancel()
        async with asyncio.timeout(1):
            assert await second == "a"
        with pytest.raises(asyncio.CancelledError):
            await first

    async def test_a_get_cancelled_while_waiting_is_passed_over(self) -> None:
        queue: Queue[str] = Queue()
        first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
        await asyncio.sleep(1)
        first.cancel()
        queue.add("a")
        async with asyncio.timeout(1):
            assert await second == "a"
        assert first.cancelled()


class TestFairness:
    async def test_a_crowd_delays_a_newcomer_by_one_turn(self) -> None:
        queue: Queue[str] = Queue()
        for i in range(1000):
            queue.add(f"crowd{i}", flow=("shop", "configmap/shared"))
        assert await take(queue, 10) == [f"crowd{i}" for i in range(10)]
        queue.add("single", flow=("blog", "configmap/own"))
        assert "single" in await take(queue, 2)

    async def test_flows_take_turns(self) -> None:
        queue: Queue[str] = Queue()
        for i in range(3):
            queue.add(f"a{i}", flow="a")
        for i in range(2):
            queue.add(f"b{i}", flow="b")
        queue.add("n0")  # None is a flow of its own
        assert await take(queue, 6) == ["a0", "b0", "n0", "a1", "b1", "a2"]

    async def test_a_flow_that_comes_back_stands_behind_the_others(self) -> None:
        queue: Queue[str] = Queue()
        for i in range(3):
            queue.add(f"a{i}", flow="a")
        queue.add("b0", flow="b")
        assert await take(queue, 2) == ["a0", "b0"]
        queue.add("b1", flow="b")
        queue.add("c0", flow="c")
        assert await take(queue, 4) == ["a1", "b1", "c0", "a2"]

    async def test_a_crowd_that_is_put_off_stays_one_flow(self) -> None:
        queue: Queue[str] = Queue()
        for key in ("a0", "a1", "a2"):
            queue.add(key, flow="crowd")
        for key in ("a0", "a1", "a2"):
            assert await queue.get() == key
            queue.add_at(key, now() + 1)  # as a settle time does, that names no flow
            queue.done(key)
        queue.add_at("a1", now() + 0.5)
        queue.add_at("b0", now() + 1, flow=None)
        await asyncio.sleep(2)
        assert queue.statistics().flows == 2
        assert await take(queue, 4) == ["a1", "b0", "a0", "a2"]


class TestPlaces:
    """A queue of which no more keys are in hand at once than there are places."""

    @staticmethod
    async def ready(queue: Queue[str]) -> list[str]:
        """What is handed out now, and stays in hand."""
        taken = []
        try:
            while True:
                async with asyncio.timeout(0.001):
                    taken.append(await queue.get())
        except TimeoutError:
            return taken

    @staticmethod
    def crowd(queue: Queue[str], count: int, flow: str = "crowd") -> None:
        for number in range(count):
            queue.add(f"{flow}-{number}", flow=flow)

    async def test_a_flow_that_is_alone_leaves_one_place(self) -> None:
        queue: Queue[str] = Queue(places=lambda: 5)
        self.crowd(queue, 100)
        assert len(await self.ready(queue)) == 4
        queue.add("bystander", flow="other")
        assert await self.ready(queue) == ["bystander"]
        queue.add("third", flow="third")
        assert await self.ready(queue) == [], "there is no place left"
        assert queue.in_hand == 5

    async def test_a_crowd_holds_back_to_its_share_while_another_is_at_work(self) -> None:
        queue: Queue[str] = Queue(places=lambda: 9)
        self.crowd(queue, 100)
        hands = await self.ready(queue)
        queue.add("bystander", flow="other")
        assert await self.ready(queue) == ["bystander"]
        for key in hands[:4]:
            queue.done(key)
            assert await self.ready(queue) == [], "it has more than half of the places"
        queue.done(hands[4])
        assert await self.ready(queue) == ["crowd-8"], "it had less than its half"
        queue.done("bystander")
        assert len(await self.ready(queue)) == 4, "it is alone again"

    async def test_a_crowd_keeps_its_places_while_others_are_only_asked_about(self) -> None:
        """Each write of a crowd's has its workload asked about once more, in the flow of its namespace."""
        queue: Queue[str] = Queue(places=lambda: 9)
        self.crowd(queue, 100)
        hands = await self.ready(queue)
        for key in hands:
            queue.add(key, flow="namespace")
            queue.done(key)
            for nothing in range(2):
                queue.add(f"nothing-{nothing}", flow="namespace")
            async with asyncio.timeout(1):
                while queue.in_hand < 8:
                    again = await queue.get()
                    if not again.startswith("crowd-") or again in hands:
                        queue.done(again)
        assert queue.in_hand == 8

    async def test_two_crowds_share_and_a_newcomer_still_has_a_place(self) -> None:
        queue: Queue[str] = Queue(places=lambda: 9)
        self.crowd(queue, 100, "one")
        self.crowd(queue, 100, "two")
        taken = await self.ready(queue)
        assert len(taken) == 8
        assert {"one-0", "two-0"} < set(taken)
        queue.add("bystander", flow="other")
        assert await self.ready(queue) == ["bystander"]
        queue.done("bystander")
        for _ in range(20):  # whatever they began with
            queue.done(taken.pop(0))
            taken += await self.ready(queue)
        assert sorted(key[:3] for key in taken) == ["one"] * 4 + ["two"] * 4

    async def test_many_flows_of_one_key_use_all_places(self) -> None:
        queue: Queue[str] = Queue(places=lambda: 9)
        for number in range(100):
            queue.add(f"key-{number}", flow=number)
        assert len(await self.ready(queue)) == 9

    @pytest.mark.parametrize("places", [0, 1, 2])
    async def test_there_is_always_one_place(self, places: int) -> None:
        queue: Queue[str] = Queue(places=lambda: places)
        self.crowd(queue, 10)
        assert await self.ready(queue) == ["crowd-0"]
        queue.done("crowd-0")
        assert await self.ready(queue) == ["crowd-1"]

    async def test_more_places_wake_as_many_workers(self) -> None:
        places = 3
        queue: Queue[str] = Queue(places=lambda: places)
        self.crowd(queue, 100)
        begun: list[str] = []
        finish = asyncio.Event()

        async def work() -> None:
            while True:
                key = await queue.get()
                begun.append(key)
                await finish.wait()
                queue.done(key)
                await asyncio.sleep(3600)

        workers = [asyncio.create_task(work()) for _ in range(40)]
        await asyncio.sleep(1)
        assert len(begun) == 2
        places = 11
        finish.set()
        finish = asyncio.Event()
        await asyncio.sleep(1)
        assert queue.in_hand == 10
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)

    async def test_fewer_places_take_nothing_from_anybody(self) -> None:
        places = 6
        queue: Queue[str] = Queue(places=lambda: places)
        self.crowd(queue, 100)
        hands = await self.ready(queue)
        places = 2
        for key in hands[:4]:
            queue.done(key)
            assert await self.ready(queue) == []
        queue.done(hands[4])
        assert len(await self.ready(queue)) == 1

    @pytest.mark.parametrize("workers", [1, 7, 40])
    async def test_all_of_every_flow_is_done_in_the_end(self, workers: int) -> None:
        places = iter([1, 5, 2, 40, 3, 9] * 10_000)
        queue: Queue[str] = Queue(places=lambda: next(places))
        for number in range(300):
            queue.add(f"key-{number}", flow=number % 7 and number)
        finished: list[str] = []

        async def work() -> None:
            while len(finished) < 300:
                key = await queue.get()
                await asyncio.sleep(0.01)
                finished.append(key)
                queue.done(key)
            queue.close()

        await asyncio.gather(*(work() for _ in range(workers)), return_exceptions=True)
        assert sorted(finished) == sorted(f"key-{number}" for number in range(300))


class TestProcessing:
    async def test_a_key_in_hand_is_not_handed_out_again_until_done(self) -> None:
        queue: Queue[str] = Queue()
        queue.add("a")
        await queue.get()
        queue.add("a")
        queue.add("b")
        assert await queue.get() == "b"
        assert queue.statistics().ready == 0
        assert queue.statistics().processing == 2
        queue.done("a")
        assert await queue.get() == "a"

    async def test_done_without_an_add_is_the_end(self) -> None:
        queue: Queue[str] = Queue()
        queue.add("a")
        await take(queue, 1)
        stats = queue.statistics()
        assert (stats.ready, stats.delayed, stats.processing, stats.flows) == (0, 0, 0, 0)

    async def test_done_of_what_was_not_handed_out_is_refused(self) -> None:
        queue: Queue[str] = Queue()
        queue.add("a")
        with pytest.raises(ValueError, match=r"done.* for a,"):
            queue.done("a")
        await take(queue, 1)
        with pytest.raises(ValueError, match=r"done.* for a,"):
            queue.done("a")

    async def test_a_delay_asked_for_in_between_is_kept(self) -> None:
        queue: Queue[str] = Queue()
        queue.add("a")
        await queue.get()
        start = now()
        queue.add_at("a", start + 7)
        queue.done("a")
        assert queue.statistics().delayed == 1
        await queue.get()
        assert now() - start == pytest.approx(7)

    async def test_a_delay_that_passed_in_between_is_ready_at_done(self) -> None:
        queue: Queue[str] = Queue()
        queue.add("a")
        await queue.get()
        queue.add_at("a", now() + 7)
        await asyncio.sleep(8)
        queue.done("a")
        assert await take(queue, 1) == ["a"]

    @pytest.mark.parametrize("at_once_first", [True, False])
    async def test_at_once_beats_a_delay_in_between(self, at_once_first: bool) -> None:
        queue: Queue[str] = Queue()
        queue.add("a")
        await queue.get()
        if at_once_first:
            queue.add("a", flow="live")
        queue.add_at("a", now() + 7, flow="later")
        if not at_once_first:
            queue.add("a", flow="live")
        queue.done("a")
        assert await take(queue, 1) == ["a"]
        assert queue.statistics().delayed == 0


class TestDelay:
    async def test_keys_come_at_their_times(self) -> None:
        queue: Queue[str] = Queue()
        start = now()
        for key, delay in (("late", 30), ("soon", 1), ("later", 300), ("mid", 5)):
            queue.add_at(key, start + delay)
        seen = []
        for _ in range(4):
            key = await queue.get()
            seen.append((key, round(now() - start)))
        assert seen == [("soon", 1), ("mid", 5), ("late", 30), ("later", 300)]

    async def test_a_time_in_the_past_is_at_once(self) -> None:
        queue: Queue[str] = Queue()
        queue.add_at("a", now() - 1)
        assert await take(queue, 1) == ["a"]

    async def test_the_earlier_time_stays(self) -> None:
        queue: Queue[str] = Queue()
        start = now()
        queue.add_at("a", start + 5)
        queue.add_at("a", start + 50)
        queue.add_at("b", start + 50)
        queue.add_at("b", start + 2)
        assert queue.statistics().delayed == 2
        assert (await queue.get(), round(now() - start)) == ("b", 2)
        assert (await queue.get(), round(now() - start)) == ("a", 5)
        await asyncio.sleep(100)
        assert queue.statistics().ready == 0

    async def test_add_overrides_a_later_time(self) -> None:
        queue: Queue[str] = Queue()
        queue.add_at("a", now() + 5, flow="later")
        queue.add("a", flow="now")
        assert await take(queue, 1) == ["a"]
        await asyncio.sleep(10)
        assert queue.statistics().ready == 0

    async def test_a_time_that_no_longer_holds_does_not_ring(self) -> None:
        queue: Queue[str] = Queue()
        start = now()
        queue.add_at("a", start + 5)
        queue.add("a")
        await take(queue, 1)
        queue.add_at("a", start + 50)
        await queue.get()
        assert now() - start == pytest.approx(50)

    async def test_delayed_keys_wait_in_their_flow(self) -> None:
        queue: Queue[str] = Queue()
        for i in range(3):
            queue.add_at(f"a{i}", now() + 1, flow="a")
        queue.add_at("b0", now() + 1, flow="b")
        await asyncio.sleep(1)
        assert await take(queue, 4) == ["a0", "b0", "a1", "a2"]

    async def test_outdated_times_do_not_pile_up(self) -> None:
        queue: Queue[str] = Queue()
        start = now()
        for i in range(10_000):
            queue.add_at("a", start + 20_000 - i)
        assert queue.statistics().delayed == 1
        assert len(queue._heap) < 100
        await queue.get()
        assert now() - start == pytest.approx(20_000 - 9_999)

    async def test_twenty_thousand_delayed_keys_need_one_timer_and_no_task(self) -> None:
        queue: Queue[int] = Queue()
        loop: Any = asyncio.get_running_loop()
        before = len(loop._scheduled), len(asyncio.all_tasks())
        for i in range(20_000):
            queue.add_at(i, now() + 60 - (i % 50) / 10, flow=i % 7)
        live = [handle for handle in loop._scheduled if not handle.cancelled()]
        assert len(live) <= before[0] + 1
        assert len(asyncio.all_tasks()) == before[1]
        await asyncio.sleep(61)
        assert queue.statistics().ready == 20_000
        assert {await queue.get() for _ in range(20_000)} == set(range(20_000))


class TestRetry:
    async def test_delays_double_up_to_the_longest_and_stay_there(self) -> None:
        queue: Queue[str] = Queue(random=lambda: 0.0)
        queue.add("a")
        delays = []
        for _ in range(12):
            await queue.get()
            start = now()
            delays.append(queue.retry("a"))
            queue.done("a")
            await queue.get()
            assert now() - start == pytest.approx(delays[-1])
            queue.done("a")
            queue.add("a")
        assert delays == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30, 30])

    @given(failures=st.integers(0, 3000), luck=st.floats(0, 1, exclude_max=True))
    def test_delays_are_within_bounds(self, failures: int, luck: float) -> None:
        async def check() -> None:
            queue: Queue[str] = Queue(random=lambda: luck)
            queue._failures["a"] = failures
            delay = queue.retry("a")
            assert FIRST_RETRY <= delay <= LAST_RETRY
            assert queue.statistics().retrying == 1

        in_virtual_time(check)

    async def test_keys_back_off_each_for_itself(self) -> None:
        queue: Queue[str] = Queue(random=lambda: 0.0)
        assert [queue.retry("a") for _ in range(3)] == pytest.approx([0.1, 0.2, 0.4])
        assert queue.retry("b") == pytest.approx(0.1)
        assert queue.statistics().retrying == 2

    async def test_forget_starts_anew(self) -> None:
        queue: Queue[str] = Queue(random=lambda: 0.0)
        queue.retry("a")
        queue.retry("a")
        queue.forget("a")
        queue.forget("never failed")
        assert queue.statistics().retrying == 0
        assert queue.retry("a") == pytest.approx(0.1)

    async def test_a_retry_stays_in_its_flow(self) -> None:
        queue: Queue[str] = Queue(random=lambda: 0.0)
        for key in ("a", "b"):
            queue.add(key, flow="crowd")
            await queue.get()
            queue.retry(key)
            queue.done(key)
        await asyncio.sleep(1)
        assert queue.statistics().flows == 1
        queue.add("single", flow="other")
        assert await take(queue, 3) == ["a", "single", "b"]

    async def test_the_server_can_ask_for_more_patience(self) -> None:
        queue: Queue[str] = Queue(random=lambda: 0.0)
        start = now()
        assert queue.retry("a", at_least=20) == 20
        await queue.get()
        assert now() - start == pytest.approx(20)
        assert queue.retry("b", at_least=0.05) == pytest.approx(0.1)

    async def test_a_new_change_does_not_wait_for_the_backoff(self) -> None:
        queue: Queue[str] = Queue()
        queue.add("a")
        await queue.get()
        queue.retry("a")
        queue.done("a")
        queue.add("a")
        assert await take(queue, 1) == ["a"]
        assert queue.statistics().retrying == 1


class TestCloseAndDiscard:
    async def test_close_ends_waiting_and_later_gets(self) -> None:
        queue: Queue[str] = Queue()
        waiting = [asyncio.create_task(queue.get()) for _ in range(3)]
        await asyncio.sleep(1)
        queue.close()
        assert [type(r) for r in await asyncio.gather(*waiting, return_exceptions=True)] == [QueueClosed] * 3
        queue.add("a")
        with pytest.raises(QueueClosed):
            await queue.get()

    async def test_work_in_hand_can_be_finished_after_close(self) -> None:
        queue: Queue[str] = Queue()
        queue.add("a")
        queue.add("b")
        await queue.get()
        queue.add("a")
        queue.add_at("c", now() + 5)
        queue.close()
        queue.retry("a")
        queue.done("a")
        await asyncio.sleep(10)
        with pytest.raises(QueueClosed):
            await queue.get()
        assert queue.statistics().processing == 0

    async def test_discard_drops_a_key_wherever_it_waits(self) -> None:
        queue: Queue[str] = Queue()
        queue.add("ready", flow="x")
        queue.add_at("delayed", now() + 5)
        queue.retry("failed")
        queue.add("kept")
        for key in ("ready", "delayed", "failed", "unheard of"):
            queue.discard(key)
            assert queue.since(key) is None
        await asyncio.sleep(100)
        stats = queue.statistics()
        assert (stats.ready, stats.delayed, stats.retrying, stats.flows) == (1, 0, 0, 1)
        assert await take(queue, 1) == ["kept"]

    async def test_discard_of_a_key_in_hand_drops_what_was_added_since(self) -> None:
        queue: Queue[str] = Queue()
        queue.add("a")
        await queue.get()
        queue.add("a")
        queue.discard("a")
        queue.done("a")
        assert queue.statistics().ready == 0
        queue.add("a")
        assert await take(queue, 1) == ["a"]


class TestWhatItTells:
    async def test_since_is_the_first_add_since_the_last_handing_out(self) -> None:
        queue: Queue[str] = Queue()
        assert queue.since("a") is None
        start = now()
        queue.add_at("a", start + 10)
        await asyncio.sleep(3)
        queue.add("a")
        assert queue.since("a") == start
        await queue.get()
        assert queue.since("a") is None
        await asyncio.sleep(1)
        queue.add("a")
        queue.done("a")
        assert queue.since("a") == pytest.approx(start + 4)

    async def test_waits_count_from_when_a_key_was_ready(self) -> None:
        waits: list[float] = []
        queue: Queue[str] = Queue(waited=waits.append)
        queue.add("a", flow="x")
        await asyncio.sleep(2)
        queue.add("b", flow="y")
        queue.add_at("c", now() + 1)
        await asyncio.sleep(3)
        assert queue.statistics().oldest_wait_seconds == pytest.approx(5)
        await take(queue, 3)
        assert waits == pytest.approx([5, 3, 2])
        assert queue.statistics().oldest_wait_seconds == 0


class Asked(NamedTuple):
    """One step of a made-up history: after `pause` s, ask for `key`, at once or `delay` s later."""

    pause: float
    key: int
    flow: int | None
    delay: float | None
    work: float
    """Seconds that a worker spends on the key when it next has it."""
    fails: bool


tenths = st.integers(0, 40).map(lambda n: n / 10)
histories = st.lists(
    st.builds(
        Asked,
        pause=tenths,
        key=st.integers(0, 5),
        flow=st.none() | st.integers(0, 2),
        delay=st.none() | tenths,
        work=tenths,
        fails=st.booleans(),
    ),
    max_size=40,
)


def in_virtual_time(main: Callable[[], Awaitable[None]]) -> None:
    async def start() -> None:
        await main()

    with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
        runner.run(start())


class TestProperties:
    @given(history=histories, workers=st.integers(1, 3))
    def test_nothing_is_lost_nothing_twice_at_once_and_nothing_too_early(
        self, history: list[Asked], workers: int
    ) -> None:
        in_virtual_time(lambda: self.play(history, workers))

    async def play(self, history: list[Asked], workers: int) -> None:
        queue: Queue[int] = Queue()
        owed: dict[int, float] = {}  # key -> the time from which it must be handed out
        in_hand: set[int] = set()
        next_work: dict[int, tuple[float, bool]] = {}

        def owe(key: int, when: float) -> None:
            owed[key] = min(when, owed.get(key, when))

        async def worker() -> None:
            while True:
                key = await queue.get()
                assert key not in in_hand, "two workers have one key"
                assert key in owed, "handed out though nobody asked since"
                assert now() >= owed.pop(key) - 1e-3, "handed out before its time"
                in_hand.add(key)
                work, fails = next_work.pop(key, (0.0, False))
                await asyncio.sleep(work)
                if fails:
                    owe(key, now() + queue.retry(key))
                else:
                    queue.forget(key)
                in_hand.remove(key)
                queue.done(key)

        tasks = [asyncio.create_task(worker()) for _ in range(workers)]
        for step in history:
            await asyncio.sleep(step.pause)
            next_work[step.key] = (step.work, step.fails)
            if step.delay is None:
                owe(step.key, now())
                queue.add(step.key, flow=step.flow)
            else:
                owe(step.key, now() + step.delay)
                queue.add_at(step.key, now() + step.delay, flow=step.flow)
        await asyncio.sleep(1000)
        assert not owed, "asked for and never handed out"
        stats = queue.statistics()
        assert (stats.ready, stats.delayed, stats.processing, stats.flows) == (0, 0, 0, 0)
        queue.close()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(outcome, QueueClosed), outcome

    @given(
        crowds=st.dictionaries(st.integers(0, 9), st.integers(1, 60), max_size=10),
        head_start=st.integers(0, 200),
    )
    def test_a_new_flow_waits_for_at_most_one_key_of_each_other(
        self, crowds: dict[int, int], head_start: int
    ) -> None:
        async def check() -> None:
            queue: Queue[tuple[Hashable, int]] = Queue()
            for flow, size in crowds.items():
                for i in range(size):
                    queue.add((flow, i), flow=flow)
            for _ in range(min(head_start, queue.statistics().ready)):
                queue.done(await queue.get())
            others = queue.statistics().flows
            queue.add(("new", 0), flow="new")
            before = []
            while (key := await queue.get()) != ("new", 0):
                before.append(key[0])
            assert len(before) <= others
            assert len(set(before)) == len(before), "a flow had two turns while the new one waited"

        in_virtual_time(check)


def test_what_is_delayed_becomes_ready_on_a_loop_that_counts_in_milliseconds() -> None:
    """uvloop rounds: it rings early, and gives for what is due within half a millisecond a handle without a time."""
    uvloop = pytest.importorskip("uvloop")

    async def work() -> list[int]:
        queue: Queue[int] = Queue()
        loop, got = asyncio.get_running_loop(), []
        for number in range(300):
            queue.add_at(number, loop.time() + 0.0001 * (number % 7) + 0.00037)
            if number % 3 == 0:
                got.append(await queue.get())
                queue.done(got[-1])
        while len(got) < 300:
            got.append(await queue.get())
            queue.done(got[-1])
        return got

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert sorted(runner.run(asyncio.wait_for(work(), 20))) == list(range(300))
