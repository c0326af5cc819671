"""Events against a fake sender, in virtual time (looptime)."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest
import structlog

from reroll.kube.errors import (
    AlreadyExists,
    ApiError,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    ServerError,
    TooManyRequests,
    Unreachable,
)
from reroll.kube.events import GIVE_WAY, SERIES_INTERVAL, SERIES_WINDOW, EventRecorder, ObjectReference

pytestmark = pytest.mark.looptime

EPOCH = 1_750_000_000.25
COLLECTION = "/apis/events.k8s.io/v1/namespaces/shop/events"


def now() -> float:
    return asyncio.get_running_loop().time()


class FakeServer:
    """Keeps what was written; `fault` decides what goes wrong before, `lost` what after it was done."""

    def __init__(self) -> None:
        self.events: dict[str, dict[str, Any]] = {}
        self.requests: list[tuple[float, str, str]] = []
        self.fault: Callable[[str, int], BaseException | None] = lambda method, number: None
        self.lost: Callable[[str, int], BaseException | None] = lambda method, number: None
        self.takes = 0.0
        self.in_flight = 0
        self.most_in_flight = 0

    async def create(self, path: str, body: bytes) -> bytes:
        event = json.loads(body)
        name = f"{path}/{event['metadata']['name']}"
        async with self._request("create", path):
            if name in self.events:
                raise AlreadyExists("there already", status=409)
            self.events[name] = event
        return body

    async def patch(self, path: str, body: bytes, *, content_type: str = "") -> bytes:
        assert content_type == "application/merge-patch+json"
        async with self._request("patch", path):
            if path not in self.events:
                raise NotFound("no such event", status=404)
            self.events[path].update(json.loads(body))
        return body

    @asynccontextmanager
    async def _request(self, method: str, path: str) -> AsyncIterator[None]:
        self.requests.append((now(), method, path))
        number = len(self.requests)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(self.takes)
            if (error := self.fault(method, number)) is not None:
                raise error
            yield
            if (error := self.lost(method, number)) is not None:
                raise error
        finally:
            self.in_flight -= 1

    @property
    def methods(self) -> list[str]:
        return [method for _, method, _ in self.requests]

    @property
    def notes(self) -> list[str]:
        return [event["note"] for event in self.events.values()]

    def only(self) -> dict[str, Any]:
        (event,) = self.events.values()
        return event


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
def recorder(server: FakeServer) -> EventRecorder:
    return EventRecorder(server, instance="reroll-0", wall=lambda: EPOCH)


@asynccontextmanager
async def running(recorder: EventRecorder) -> AsyncIterator[None]:
    task = asyncio.create_task(recorder.run())
    try:
        yield
        assert not task.done(), "the senders ended"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def deployment(name: str = "web", *, namespace: str = "shop", version: str = "7") -> ObjectReference:
    return ObjectReference("apps/v1", "Deployment", namespace, name, "u-1", version)


def record(
    recorder: EventRecorder,
    note: str = "rolled: configmap/app changed",
    *,
    type: Literal["Normal", "Warning"] = "Normal",
    regarding: ObjectReference | None = None,
    related: ObjectReference | None = None,
) -> None:
    recorder.record(
        regarding or deployment(), type=type, reason="Rolled", action="Roll", note=note, related=related
    )


class TestOneEvent:
    async def test_it_holds_what_the_api_wants(self, server: FakeServer, recorder: EventRecorder) -> None:
        record(recorder, related=ObjectReference("v1", "ConfigMap", "shop", "app"))
        async with running(recorder):
            await asyncio.sleep(1)
        assert server.methods == ["create"]
        assert server.requests[0][2] == COLLECTION
        event = server.only()
        name = event["metadata"].pop("name")
        assert re.fullmatch(r"web\.[0-9a-f]{16}", name)
        assert event == {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"namespace": "shop"},
            "eventTime": "2025-06-15T15:06:40.250000Z",
            "reportingController": "reroll.dev/controller",
            "reportingInstance": "reroll-0",
            "action": "Roll",
            "reason": "Rolled",
            "regarding": {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "namespace": "shop",
                "name": "web",
                "uid": "u-1",
                "resourceVersion": "7",
            },
            "related": {"apiVersion": "v1", "kind": "ConfigMap", "namespace": "shop", "name": "app"},
            "note": "rolled: configmap/app changed",
            "type": "Normal",
        }

    async def test_a_whole_second_has_its_six_digits(self, server: FakeServer) -> None:
        recorder = EventRecorder(server, wall=lambda: 1_750_000_000.0)
        record(recorder)
        await recorder.flush(1)
        assert server.only()["eventTime"] == "2025-06-15T15:06:40.000000Z"

    async def test_an_object_of_the_cluster_has_its_event_in_default(
        self, server: FakeServer, recorder: EventRecorder
    ) -> None:
        record(recorder, regarding=ObjectReference("v1", "Namespace", "", "shop"))
        await recorder.flush(1)
        event = server.only()
        assert event["metadata"]["namespace"] == "default"
        assert event["regarding"] == {
            "apiVersion": "v1",
            "kind": "Namespace",
            "namespace": "",
            "name": "shop",
        }

    @pytest.mark.parametrize(
        ("name", "stem"),
        [
            ("w" * 253, "w" * 236),
            ("w" * 235 + ".x", "w" * 235),
            ("system:node", "system-node"),
            ("Ünïcode", "n-code"),
            (":", "event"),
        ],
    )
    async def test_its_name_is_one_that_the_api_takes(
        self, server: FakeServer, recorder: EventRecorder, name: str, stem: str
    ) -> None:
        record(recorder, regarding=deployment(name))
        await recorder.flush(1)
        found = server.only()["metadata"]["name"]
        assert found.rpartition(".")[0] == stem
        assert len(found) <= 253

    @pytest.mark.parametrize(
        ("note", "size"),
        [
            ("a" * 1024, 1024),
            ("a" * 1025, 1024),
            ("ä" * 513, 1023),  # 510 letters of 2 bytes and the ellipsis
            ("😀" * 300, 1023),
        ],
    )
    async def test_a_long_note_is_cut_between_characters(
        self, server: FakeServer, recorder: EventRecorder, note: str, size: int
    ) -> None:
        record(recorder, note)
        await recorder.flush(1)
        sent = server.only()["note"]
        assert len(sent.encode()) == size
        assert sent == note or (sent[-1] == "…" and note.startswith(sent[:-1]))

    async def test_text_that_is_no_text_is_sent_all_the_same(
        self, server: FakeServer, recorder: EventRecorder
    ) -> None:
        record(recorder, "half a pair: \ud83d")
        await recorder.flush(1)
        assert server.only()["note"] == "half a pair: ?"


class TestSeries:
    async def test_what_repeats_before_it_is_sent_is_one_request(
        self, server: FakeServer, recorder: EventRecorder
    ) -> None:
        for _ in range(5):
            record(recorder)
        async with running(recorder):
            await asyncio.sleep(100)
        assert server.methods == ["create"]
        assert server.only()["series"] == {"count": 5, "lastObservedTime": "2025-06-15T15:06:40.250000Z"}

    async def test_what_repeats_later_is_a_patch_each_half_minute_at_most(
        self, server: FakeServer, recorder: EventRecorder
    ) -> None:
        async with running(recorder):
            start = now()
            for _ in range(100):
                record(recorder)
                await asyncio.sleep(1)
            await asyncio.sleep(SERIES_INTERVAL)
        assert server.methods == ["create", "patch", "patch", "patch", "patch"]
        assert [round(when - start) for when, _, _ in server.requests] == [0, 30, 60, 90, 120]
        assert server.only()["series"]["count"] == 100
        stats = recorder.statistics()
        assert (stats.recorded, stats.merged, stats.created, stats.updated) == (100, 99, 1, 4)
        assert (stats.waiting, stats.series_waiting, stats.dropped) == (0, 0, 0)

    async def test_another_resource_version_is_the_same_object(
        self, server: FakeServer, recorder: EventRecorder
    ) -> None:
        record(recorder, regarding=deployment(version="7"))
        record(recorder, regarding=deployment(version="8"))
        await recorder.flush(1)
        assert server.only()["series"]["count"] == 2

    async def test_whatever_else_differs_is_another_event(
        self, server: FakeServer, recorder: EventRecorder
    ) -> None:
        record(recorder)
        record(recorder, type="Warning")
        record(recorder, "another note")
        record(recorder, regarding=deployment("api"))
        record(recorder, related=deployment("api"))
        await recorder.flush(1)
        assert server.methods == ["create"] * 5

    async def test_a_repetition_keeps_the_series_open_and_silence_ends_it(
        self, server: FakeServer, recorder: EventRecorder
    ) -> None:
        async with running(recorder):
            for _ in range(4):
                record(recorder)
                await asyncio.sleep(SERIES_WINDOW - 1)
            assert len(server.events) == 1
            await asyncio.sleep(2)
            record(recorder)
            await asyncio.sleep(1)
        assert len(server.events) == 2
        assert "series" not in list(server.events.values())[1]

    async def test_what_repeats_while_it_is_written_is_told_later(
        self, server: FakeServer, recorder: EventRecorder
    ) -> None:
        server.takes = 2
        async with running(recorder):
            record(recorder)
            await asyncio.sleep(1)
            record(recorder)
            await asyncio.sleep(SERIES_INTERVAL + 5)
        assert server.methods == ["create", "patch"]
        assert server.only()["series"]["count"] == 2

    async def test_an_event_that_ran_out_on_the_server_is_sent_whole(
        self, server: FakeServer, recorder: EventRecorder
    ) -> None:
        async with running(recorder):
            record(recorder)
            await asyncio.sleep(60)
            server.events.clear()
            record(recorder)
            await asyncio.sleep(1)
        assert server.methods == ["create", "patch", "create"]
        assert server.only()["series"]["count"] == 2

    async def test_remembered_events_are_bounded(self, server: FakeServer) -> None:
        recorder = EventRecorder(server, capacity=10)
        async with running(recorder):
            for number in range(50):
                record(recorder, f"note {number}")
                await asyncio.sleep(0.1)
        assert len(recorder._known) == 10
        assert len(server.events) == 50


class TestFullBuffer:
    async def test_the_oldest_normal_goes_first(self, server: FakeServer) -> None:
        drops: list[None] = []
        recorder = EventRecorder(server, capacity=4, on_drop=lambda: drops.append(None))
        record(recorder, "w1", type="Warning")
        for note in ("n1", "n2", "n3", "n4", "n5"):
            record(recorder, note)
        record(recorder, "w2", type="Warning")
        await recorder.flush(1)
        assert server.notes == ["w1", "n4", "n5", "w2"]
        assert recorder.statistics().dropped == len(drops) == 3

    async def test_warnings_give_way_to_warnings_only(self, server: FakeServer) -> None:
        recorder = EventRecorder(server, capacity=2)
        for note in ("w1", "w2", "w3"):
            record(recorder, note, type="Warning")
        record(recorder, "n1")
        await recorder.flush(1)
        assert server.notes == ["w2", "w3"]
        assert recorder.statistics().dropped == 2

    async def test_what_was_dropped_and_repeats_is_new(self, server: FakeServer) -> None:
        recorder = EventRecorder(server, capacity=1)
        record(recorder, "n1")
        record(recorder, "n2")
        record(recorder, "n1")
        await recorder.flush(1)
        assert server.notes == ["n1"]
        assert "series" not in server.only()

    async def test_it_is_said_once_and_then_counted(self, server: FakeServer) -> None:
        recorder = EventRecorder(server, capacity=1)
        with structlog.testing.capture_logs() as logs:
            for number in range(20):
                record(recorder, str(number))
            await asyncio.sleep(700)
            record(recorder, "later")
        assert [(entry["log_level"], entry["dropped"]) for entry in logs] == [("warning", 1), ("warning", 20)]


class TestFaults:
    @pytest.mark.parametrize(
        "error",
        [
            TooManyRequests("slow down", status=429),
            TooManyRequests("slow down", status=429, retry_after=3),
            ServerError("broken", status=503),
            Unreachable("refused"),
        ],
    )
    async def test_what_passes_is_tried_again(
        self, server: FakeServer, recorder: EventRecorder, error: ApiError
    ) -> None:
        server.fault = lambda method, number: error if number <= 3 else None
        async with running(recorder):
            record(recorder)
            await asyncio.sleep(60)
        assert server.methods == ["create"] * 4
        times = [when for when, _, _ in server.requests]
        pauses = [after - before for before, after in itertools.pairwise(times)]
        least = error.retry_after or 0
        assert all(pause >= max(least, low) - 1e-3 for pause, low in zip(pauses, (0.5, 1, 2), strict=True)), (
            pauses
        )
        assert recorder.statistics().retried == 3
        assert recorder.statistics().dropped == 0

    async def test_what_does_not_pass_is_dropped_in_the_end(
        self, server: FakeServer, recorder: EventRecorder
    ) -> None:
        server.fault = lambda method, number: Unreachable("refused") if number <= 6 else None
        async with running(recorder):
            record(recorder, "lost")
            await asyncio.sleep(60)
            assert recorder.statistics().dropped == 1
            record(recorder, "fine")
            await asyncio.sleep(1)
        assert server.notes == ["fine"]

    async def test_a_server_that_asks_for_an_hour_does_not_get_it(
        self, server: FakeServer, recorder: EventRecorder
    ) -> None:
        late = TooManyRequests("later", status=429, retry_after=3600)
        server.fault = lambda method, number: late if number == 1 else None
        async with running(recorder):
            record(recorder)
            await asyncio.sleep(60)
        assert len(server.events) == 1

    @pytest.mark.parametrize("error", [Forbidden("no", status=403), NotFound("no namespace", status=404)])
    async def test_a_refusal_is_dropped_at_once_and_the_others_go_on(
        self, server: FakeServer, recorder: EventRecorder, error: ApiError
    ) -> None:
        server.fault = lambda method, number: error if number == 1 else None
        async with running(recorder):
            record(recorder, "refused")
            record(recorder, "fine")
            await asyncio.sleep(1)
        assert server.methods == ["create", "create"]
        assert server.notes == ["fine"]
        assert recorder.statistics().dropped == 1

    async def test_each_refusal_has_one_line_in_the_log(
        self, server: FakeServer, recorder: EventRecorder
    ) -> None:
        server.fault = lambda method, number: (
            Invalid(f"bad {number}", status=422) if number % 2 else Forbidden(f"no {number}", status=403)
        )
        with structlog.testing.capture_logs() as logs:
            for number in range(10):
                record(recorder, str(number))
            await recorder.flush(1)
        assert sorted(entry["problem"].split()[0] for entry in logs) == ["bad", "no"]
        assert logs[0]["regarding"] == "deployment/shop/web"

    async def test_a_fault_of_our_own_does_not_end_the_senders(
        self, server: FakeServer, recorder: EventRecorder
    ) -> None:
        server.fault = lambda method, number: RuntimeError("a bug") if number <= 2 else None
        with structlog.testing.capture_logs() as logs:
            async with running(recorder):
                for note in ("one", "two", "three"):
                    record(recorder, note)
                await asyncio.sleep(1)
        assert server.notes == ["three"]
        assert recorder.statistics().dropped == 2
        assert [entry["log_level"] for entry in logs].count("error") == 2

    async def test_a_lost_answer_makes_no_second_event(
        self, server: FakeServer, recorder: EventRecorder
    ) -> None:
        server.lost = lambda method, number: Unreachable("reset") if number == 1 else None
        async with running(recorder):
            record(recorder)
            await asyncio.sleep(0.1)
            record(recorder)  # while the first try, that told of one, is in doubt
            await asyncio.sleep(60)
        assert len(server.events) == 1
        assert server.methods == ["create", "create", "patch"]
        assert server.only()["series"]["count"] == 2
        assert recorder.statistics().dropped == 0

    async def test_a_conflict_on_a_series_is_tried_again(
        self, server: FakeServer, recorder: EventRecorder
    ) -> None:
        server.fault = lambda method, number: Conflict("changed", status=409) if number == 2 else None
        async with running(recorder):
            record(recorder)
            await asyncio.sleep(60)
            record(recorder)
            await asyncio.sleep(5)
        assert server.methods == ["create", "patch", "patch"]
        assert server.only()["series"]["count"] == 2


class TestSending:
    async def test_record_waits_for_nothing(self, server: FakeServer, recorder: EventRecorder) -> None:
        server.takes = 1000
        async with running(recorder):
            start = now()
            for number in range(100):
                record(recorder, str(number))
            assert now() == start
            assert recorder.statistics().waiting == 100

    async def test_two_at_a_time_in_the_order_recorded(
        self, server: FakeServer, recorder: EventRecorder
    ) -> None:
        server.takes = 1
        async with running(recorder):
            for number in range(10):
                record(recorder, str(number), type="Warning" if number % 3 else "Normal")
            await asyncio.sleep(6)
        assert server.notes == [str(number) for number in range(10)]
        assert server.most_in_flight == 2

    async def test_more_urgent_work_goes_first_but_not_for_ever(self, server: FakeServer) -> None:
        busy = True
        recorder = EventRecorder(server, busy=lambda: busy)
        async with running(recorder):
            record(recorder, note="first")
            await asyncio.sleep(GIVE_WAY / 2)
            record(recorder, note="second")
            assert server.notes == []
            await asyncio.sleep(GIVE_WAY / 2 + 0.2)
            assert server.notes == ["first"]
            busy = False
            await asyncio.sleep(0.2)
            assert server.notes == ["first", "second"]

    async def test_urgent_work_does_not_fill_the_buffer(self, server: FakeServer) -> None:
        recorder = EventRecorder(server, capacity=10, busy=lambda: True)
        async with running(recorder):
            for number in range(8):
                record(recorder, note=str(number))
            await asyncio.sleep(1.0)
        assert server.notes == ["0", "1", "2"]

    async def test_flush_sends_what_waits_and_what_is_not_due(
        self, server: FakeServer, recorder: EventRecorder
    ) -> None:
        server.takes = 0.5
        async with running(recorder):
            record(recorder, "repeated")
            await asyncio.sleep(1)
            record(recorder, "repeated")
            record(recorder, "new")
            await asyncio.sleep(0.1)  # the senders have "new" in hand
            assert await recorder.flush(5) == 0
            assert sorted(server.notes) == ["new", "repeated"]
            assert {e["note"]: e.get("series", {}).get("count") for e in server.events.values()} == {
                "repeated": 2,
                "new": None,
            }

    async def test_flush_of_nothing_returns_at_once(self, recorder: EventRecorder) -> None:
        start = now()
        assert await recorder.flush(5) == 0
        assert now() == start

    async def test_flush_gives_up_in_time_and_says_what_is_left(
        self, server: FakeServer, recorder: EventRecorder
    ) -> None:
        server.fault = lambda method, number: Unreachable("down")
        for note in ("one", "two", "three"):
            record(recorder, note)
        start = now()
        with structlog.testing.capture_logs() as logs:
            assert await recorder.flush(3) == 3
        assert now() - start == pytest.approx(3, abs=0.01)
        assert logs[-1]["events"] == 3

    async def test_what_a_stopped_sender_had_in_hand_is_sent_by_flush(
        self, server: FakeServer, recorder: EventRecorder
    ) -> None:
        server.takes = 10
        record(recorder, "one")
        async with running(recorder):
            await asyncio.sleep(1)
        assert not server.events
        server.takes = 0
        assert await recorder.flush(1) == 0
        assert server.notes == ["one"]
