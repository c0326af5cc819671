"""The queue: in virtual time with targets that are made up, and over real sockets of the loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from reroll.alerts.addresses import parse_targets
from reroll.alerts.alerts import Alerts
from reroll.alerts.delivery import DeliveryError, Poster
from reroll.alerts.message import Message
from reroll.alerts.notice import Notice
from reroll.core.records import ConfigId, WorkloadId
from reroll.kube.backoff import Backoff
from tests.alerts.service import TOKEN, Service

AGAIN = DeliveryError("chat: answered 500", retryable=True)
NEVER = DeliveryError("chat: answered 404", retryable=False)


def notice(number: int = 0) -> Notice:
    app = ConfigId("configmap", "shop", "app")
    return Notice(WorkloadId("Deployment", "shop", f"web-{number}"), "reloaded", (app,))


class Chat:
    """A target that takes what it is given, at the time it says."""

    limit = 3500

    def __init__(self, label: str = "chat") -> None:
        self.label = label
        self.got: list[tuple[float, Message]] = []
        self.errors: list[Exception] = []
        self.hangs = False

    async def deliver(self, message: Message, poster: Poster) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.errors:
            raise self.errors.pop(0)
        self.got.append((asyncio.get_running_loop().time(), message))


@asynccontextmanager
async def running(alerts: Alerts) -> AsyncIterator[Alerts]:
    task = asyncio.create_task(alerts.run())
    try:
        yield alerts
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def chat() -> Chat:
    return Chat()


@pytest.mark.looptime
async def test_what_comes_within_a_window_is_one_message(chat: Chat) -> None:
    async with running(Alerts([chat], window=5.0)) as alerts:
        for number in range(4):
            alerts.put(notice(number))
            await asyncio.sleep(1.0)
        await asyncio.sleep(3.0)
        alerts.put(notice(9))
        await asyncio.sleep(6.0)
    assert [len(message.text.splitlines()) for _, message in chat.got] == [4, 1]
    assert chat.got[0][0] == pytest.approx(5.0, abs=0.05)
    assert alerts.statistics().told == 5
    assert alerts.statistics().sent == 2


@pytest.mark.looptime
async def test_one_that_hangs_holds_up_no_other(chat: Chat) -> None:
    dead = Chat("dead")
    dead.hangs = True
    async with running(Alerts([dead, chat], room=10)) as alerts:
        for number in range(100):
            alerts.put(notice(number))
            await asyncio.sleep(1.0)
        assert sum(len(message.text) for _, message in chat.got) > 0
        stats = alerts.statistics()
    assert stats.noticed == 100
    assert stats.dropped > 80  # of the dead one's
    assert len(chat.got) > 15


@pytest.mark.looptime
async def test_the_oldest_go_when_too_many_wait_and_that_is_told(chat: Chat) -> None:
    alerts = Alerts([chat], room=10, most=5)
    for number in range(25):
        alerts.put(notice(number))  # nothing runs yet: nobody waits for it
    assert alerts.statistics().waiting == 10
    async with running(alerts):
        await asyncio.sleep(6.0)
    ((_, message),) = chat.got
    assert message.text.splitlines()[0].startswith("Reloaded deployment/web-15 ")
    assert message.text.splitlines()[-2:] == [
        "and 5 more reloaded",
        "15 earlier ones are not told: too many waited",
    ]
    assert alerts.statistics().dropped == 15


@pytest.mark.looptime
async def test_it_is_tried_again(chat: Chat) -> None:
    chat.errors = [AGAIN, AGAIN]
    async with running(Alerts([chat])) as alerts:
        alerts.put(notice())
        await asyncio.sleep(5.5)
        assert alerts.statistics().problem == "chat: answered 500"
        assert alerts.statistics().waiting == 1
        await asyncio.sleep(20.0)
    stats = alerts.statistics()
    assert (stats.sent, stats.retried, stats.failed, stats.dropped) == (1, 2, 0, 0)
    assert stats.problem == ""


@pytest.mark.looptime
@pytest.mark.parametrize("error", [NEVER, RuntimeError(TOKEN)])
async def test_what_is_given_up_is_counted_and_the_next_one_goes_on(
    chat: Chat, error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    chat.errors = [error]
    async with running(Alerts([chat])) as alerts:
        alerts.put(notice())
        await asyncio.sleep(6.0)
        stats = alerts.statistics()
        assert (stats.sent, stats.failed, stats.dropped) == (0, 1, 1)
        assert stats.problem.startswith("chat: ")
        alerts.put(notice())
        await asyncio.sleep(6.0)
    assert alerts.statistics().sent == 1
    out = capsys.readouterr().out
    assert "alerts are dropped" in out
    assert TOKEN not in out


@pytest.mark.looptime
async def test_flush_does_not_wait_for_the_window(chat: Chat) -> None:
    async with running(Alerts([chat], window=60.0)) as alerts:
        alerts.put(notice())
        await asyncio.sleep(1.0)
        await alerts.flush(5.0)
        assert chat.got[0][0] == pytest.approx(1.0, abs=0.05)
        assert alerts.statistics().waiting == 0


@pytest.mark.looptime
async def test_flush_has_an_end(chat: Chat) -> None:
    chat.hangs = True
    loop = asyncio.get_running_loop()
    async with running(Alerts([chat])) as alerts:
        alerts.put(notice())
        await asyncio.sleep(0.1)
        before = loop.time()
        await alerts.flush(5.0)
        assert loop.time() - before == pytest.approx(5.0, abs=0.05)


async def test_as_reloader_sends_it(service: Service) -> None:
    alerts = Alerts(parse_targets(service.url, "slack"), style="reloader", info="eu", window=0.01)
    async with running(alerts):
        alerts.put(notice())
        await alerts.flush(10.0)
    (received,) = service.received
    assert msgspec.json.decode(received.body) == {
        "attachments": [
            {
                "text": "eu : Reloader detected changes in *app* of type *CONFIGMAP* in namespace *shop*. "
                "Hence reloaded *web-0* of type *Deployment* in namespace *shop*",
                "color": "good",
                "author_name": "Reloader",
            }
        ]
    }


async def test_a_service_that_fails_in_every_way(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message arrives in the end, and its address is nowhere to be seen."""
    service.answers = [
        service.says(500),
        service.says(429, Retry_After="0"),
        service.breaks(),
        service.breaks(),
        service.hangs(),
    ]
    alerts = Alerts(parse_targets(service.url), window=0.01, timeout=0.3, backoff=lambda: Backoff(0.01, 0.02))
    async with running(alerts):
        alerts.put(notice())
        await alerts.flush(20.0)
    assert alerts.statistics().sent == 1
    assert alerts.statistics().retried >= 4
    service.answers = [service.says(301, Location=service.url)]
    async with running(alerts):
        alerts.put(notice())
        await alerts.flush(20.0)
    assert alerts.statistics().failed == 1
    assert "a redirect" in alerts.statistics().problem
    assert TOKEN not in capsys.readouterr().out + str(alerts.statistics())
