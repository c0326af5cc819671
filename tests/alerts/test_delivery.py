"""Posts to a service on loopback that is slow, broken, or leads elsewhere."""

from __future__ import annotations

import email.utils
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from reroll.alerts.delivery import LONGEST_WAIT, DeliveryError, Post, Poster, origin, persist
from reroll.kube.backoff import Backoff
from reroll.kube.config import ConfigError
from tests.alerts.service import TOKEN, Answer, Service


@pytest.fixture
async def poster() -> AsyncIterator[Poster]:
    async with Poster(timeout=0.5, environ={}) as poster:
        yield poster


def post(service: Service) -> Post:
    return Post(service.url, b"news", {"Content-Type": "text/plain"})


def work(poster: Poster, service: Service) -> Callable[[], Awaitable[None]]:
    return lambda: poster.post(post(service))


def backoff() -> Backoff:
    return Backoff(1.0, 60.0, jitter=0.0)


async def test_what_arrives(poster: Poster, service: Service) -> None:
    await poster.post(post(service))
    (received,) = service.received
    assert received.path == f"/hooks/{TOKEN}?key={TOKEN}"
    assert received.body == b"news"
    assert received.headers["Content-Type"] == "text/plain"
    assert received.headers["User-Agent"].startswith("reroll/")


@pytest.mark.parametrize(
    ("answer", "retryable", "words"),
    [
        (lambda s: s.says(500), True, "answered 500"),
        (lambda s: s.says(429), True, "answered 429"),
        (lambda s: s.says(404), False, "answered 404"),
        (lambda s: s.says(302, Location=s.origin), False, "a redirect, which is not followed"),
        (lambda s: s.says(307, Location=f"{s.origin}/{TOKEN}"), False, "a redirect"),
        (lambda s: s.breaks(), True, "the connection broke off"),
        (lambda s: s.hangs(), True, "no answer in time"),
    ],
)
async def test_what_goes_wrong(
    poster: Poster, service: Service, answer: Callable[[Service], Answer], retryable: bool, words: str
) -> None:
    service.answers = [answer(service)] * 2  # aiohttp may try a broken connection once more
    with pytest.raises(DeliveryError) as caught:
        await poster.post(post(service))
    assert caught.value.retryable is retryable
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"{service.origin}: ")
    assert TOKEN not in str(caught.value)
    assert caught.value.__cause__ is None
    if "redirect" in words:
        assert len(service.received) == 1


async def test_nobody_there(poster: Poster, service: Service) -> None:
    gone = post(service)
    await service.__aexit__(None, None, None)
    with pytest.raises(DeliveryError) as caught:
        await poster.post(gone)
    assert caught.value.retryable
    assert TOKEN not in str(caught.value)


async def test_it_is_tried_again_until_it_is_taken(
    poster: Poster, service: Service, waits: list[float]
) -> None:
    service.answers = [service.says(500), service.says(503), service.says(500)]
    again: list[DeliveryError] = []
    await persist(work(poster, service), attempts=5, backoff=backoff(), retried=again.append)
    assert len(service.received) == 4
    assert waits == [1.0, 2.0, 4.0]
    assert len(again) == 3


async def test_there_is_an_end_to_it(poster: Poster, service: Service, waits: list[float]) -> None:
    service.answers = [service.says(500)] * 9
    with pytest.raises(DeliveryError, match="answered 500"):
        await persist(work(poster, service), attempts=3, backoff=backoff())
    assert len(service.received) == 3


async def test_what_will_never_be_taken_is_not_tried_again(
    poster: Poster, service: Service, waits: list[float]
) -> None:
    service.answers = [service.says(410)]
    with pytest.raises(DeliveryError, match="answered 410"):
        await persist(work(poster, service), attempts=5, backoff=backoff())
    assert waits == []


async def test_retry_after_is_obeyed(poster: Poster, service: Service, waits: list[float]) -> None:
    service.answers = [service.says(429, Retry_After="17"), service.says(503, Retry_After="999999")]
    await persist(work(poster, service), attempts=5, backoff=backoff())
    assert waits == [17.0, LONGEST_WAIT]


async def test_retry_after_may_be_a_date_or_nonsense(poster: Poster, service: Service) -> None:
    date = email.utils.formatdate(time.time() + 3600, usegmt=True)
    service.answers = [
        service.says(429, Retry_After=date),
        service.says(429, Retry_After="soon"),
        service.says(429, Retry_After="-1"),
    ]
    found = []
    for _ in range(3):
        with pytest.raises(DeliveryError) as caught:
            await poster.post(post(service))
        found.append(caught.value.retry_after)
    assert found == [LONGEST_WAIT, None, None]


async def test_a_proxy_is_used(service: Service) -> None:
    """It is asked for the whole URL, of a host that does not exist."""
    async with Poster(proxy=service.origin, environ={}) as poster:
        await poster.post(Post(f"http://chat.invalid/{TOKEN}", b"news", {}))
    assert service.received[0].path.endswith(f"/{TOKEN}")
    assert service.received[0].headers["Host"] == "chat.invalid"


async def test_the_proxy_of_the_environment_is_used(service: Service) -> None:
    async with Poster(environ={"HTTP_PROXY": service.origin}) as poster:
        await poster.post(Post("http://chat.invalid/x", b"news", {}))
    assert len(service.received) == 1


def test_a_proxy_that_cant_be_used_is_told_at_once() -> None:
    with pytest.raises(ConfigError, match="the proxy of alerts") as caught:
        Poster(proxy=f"socks5://me:{TOKEN}@host")
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"https://u:{TOKEN}@host:8443/{TOKEN}?{TOKEN}#{TOKEN}", "https://host:8443"),
        (f"tgram://{TOKEN}/1", "tgram://…"),
        (f"http://[{TOKEN}", "(a URL that can't be read)"),
        (TOKEN, "(not a URL)"),
    ],
)
def test_what_is_shown_of_an_address(url: str, shown: str) -> None:
    assert origin(url) == shown
    assert TOKEN not in repr(Post(url, TOKEN.encode(), {"Authorization": TOKEN}))
