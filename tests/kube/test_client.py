"""Requests to a real API server, through a proxy that fails."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, cast

import aiohttp
import pytest

from reroll.kube.auth import Fixed, UserCredentials
from reroll.kube.client import APPLY_PATCH, Client, _gathered, _lines
from reroll.kube.config import ClusterConfig
from reroll.kube.errors import (
    AlreadyExists,
    ApiError,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    ServerError,
    TooManyRequests,
    Unauthorized,
    Unreachable,
)
from reroll.kube.resources import CONFIG_MAPS, SECRETS
from tests.conftest import Cluster
from tests.faults.proxy import (
    FORBIDDEN,
    UNAUTHORIZED,
    Answer,
    Cut,
    Delay,
    EndWatch,
    Fault,
    FaultProxy,
    Reset,
    Silence,
)


@pytest.fixture
async def proxy(cluster: Cluster) -> AsyncIterator[FaultProxy]:
    if not cluster.tokens:
        pytest.skip("speaks to the API server with the tokens of our own cluster")
    async with FaultProxy(cluster.server, cluster.ca) as proxy:
        yield proxy


def config(proxy: FaultProxy, token: str) -> ClusterConfig:
    return ClusterConfig(server=proxy.url, credentials=UserCredentials(Fixed(f"Bearer {token}")))


@pytest.fixture
async def client(proxy: FaultProxy, cluster: Cluster) -> AsyncIterator[Client]:
    async with Client(config(proxy, cluster.tokens["reroll"]), timeout=5.0, dead_connection=1.0) as client:
        yield client


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the client would have waited, in seconds; it does not."""
    waits: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float, result: Any = None) -> None:
        waits.append(seconds)
        await real(0)

    monkeypatch.setattr("reroll.kube.client.asyncio.sleep", sleep)
    return waits


def config_map(name: str, **data: str) -> bytes:
    return json.dumps({"metadata": {"name": name}, "data": data}).encode()


class TestVerbs:
    async def test_one_object_through_its_life(
        self, client: Client, namespace: str, proxy: FaultProxy
    ) -> None:
        collection, path = CONFIG_MAPS.path(namespace), CONFIG_MAPS.path(namespace, "app")
        made = json.loads(await client.create(collection, config_map("app", A="1")))
        patched = json.loads(await client.patch(path, b'{"data":{"B":"2"}}'))
        assert patched["data"] == {"A": "1", "B": "2"}
        patched["data"] = {"C": "3"}
        replaced = json.loads(await client.replace(path, json.dumps(patched).encode()))
        assert replaced["data"] == {"C": "3"}
        assert {entry["manager"] for entry in replaced["metadata"]["managedFields"]} == {"reroll"}
        listed = json.loads(await client.list_page(f"{collection}?limit=500"))
        assert "app" in [item["metadata"]["name"] for item in listed["items"]]
        await client.delete(path)
        with pytest.raises(NotFound) as caught:
            await client.get(path)
        assert str(caught.value) == f'GET {path}: configmaps "app" not found'
        assert made["metadata"]["uid"] == replaced["metadata"]["uid"]
        assert [seen.verb for seen in proxy.seen] == [
            "create",
            "patch",
            "update",
            "list",
            "delete",
            "get",
        ]

    async def test_server_side_apply(self, client: Client, namespace: str) -> None:
        path = CONFIG_MAPS.path(namespace, "app")
        await client.create(CONFIG_MAPS.path(namespace), config_map("app", A="1"))
        await client.patch(path, b'{"data":{"A":"2"}}')
        wanted = json.dumps(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "app"}, "data": {"A": "3"}}
        ).encode()
        with pytest.raises(Conflict, match="conflict"):
            await client.patch(path, wanted, content_type=APPLY_PATCH)
        applied = await client.patch(path, wanted, content_type=APPLY_PATCH, force=True)
        assert json.loads(applied)["data"] == {"A": "3"}


class TestErrors:
    async def test_typed_by_the_real_server(self, client: Client, namespace: str) -> None:
        collection, path = CONFIG_MAPS.path(namespace), CONFIG_MAPS.path(namespace, "app")
        await client.create(collection, config_map("app"))
        with pytest.raises(AlreadyExists):
            await client.create(collection, config_map("app"))
        with pytest.raises(Conflict):
            await client.patch(path, b'{"metadata":{"resourceVersion":"1"}}')
        with pytest.raises(Invalid):
            await client.create(collection, config_map("No_Such_Name"))
        with pytest.raises(NotFound):
            await client.list_page("/apis/no.such/v1/things")

    async def test_not_allowed(self, proxy: FaultProxy, cluster: Cluster, namespace: str) -> None:
        async with Client(config(proxy, cluster.tokens["nobody"])) as client:
            with pytest.raises(Forbidden, match='User "nobody" cannot list') as caught:
                await client.list_page(SECRETS.path(namespace))
        assert not caught.value.retryable
        assert len(proxy.seen) == 1

    async def test_unknown_token(self, proxy: FaultProxy, namespace: str) -> None:
        async with Client(config(proxy, "nobody-knows-me")) as client:
            with pytest.raises(Unauthorized):
                await client.list_page(CONFIG_MAPS.path(namespace))
            with pytest.raises(Unauthorized):
                async with client.stream(CONFIG_MAPS.path(namespace, watch=True)):
                    pass
        assert [seen.status for seen in proxy.seen] == [401, 401]

    async def test_words_about_a_secret_are_left_out(self, client: Client, namespace: str) -> None:
        body = json.dumps({"metadata": {"name": "db"}, "data": {"p": "hunter2-is-no-base64"}}).encode()
        with pytest.raises(ApiError) as caught:
            await client.create(SECRETS.path(namespace), body)
        assert "hunter2" not in str(caught.value)

    @pytest.mark.parametrize("where", ["request", "watch"])
    async def test_gone(self, client: Client, proxy: FaultProxy, namespace: str, where: str) -> None:
        await proxy.close()

        async def ask() -> None:
            if where == "request":
                await client.get(CONFIG_MAPS.path(namespace, "app"), attempts=1)
            else:
                async with client.stream(CONFIG_MAPS.path(namespace, watch=True)):
                    pass

        with pytest.raises(Unreachable, match=f"cannot reach {proxy.url}") as caught:
            await ask()
        assert caught.value.retryable
        assert caught.value.status == 0


class TestRetries:
    @pytest.mark.parametrize(
        "fault",
        [Answer(500), Answer(502), Answer(503), Answer(429), Reset(), Cut(20)],
        ids=["500", "502", "503", "429", "reset", "cut"],
    )
    async def test_reads_are_tried_again(
        self, client: Client, proxy: FaultProxy, namespace: str, fault: Fault, no_waiting: list[float]
    ) -> None:
        await client.create(CONFIG_MAPS.path(namespace), config_map("app"))
        rule = proxy.add(fault, "get", times=3)
        assert json.loads(await client.get(CONFIG_MAPS.path(namespace, "app")))["metadata"]["name"] == "app"
        # aiohttp itself repeats a GET once whose kept connection broke; that wait is not ours.
        assert rule.hits == 3
        assert 1 <= len(no_waiting) <= 3
        assert all(0.1 <= wait <= 10 for wait in no_waiting)

    async def test_up_to_the_number_of_attempts(
        self, client: Client, proxy: FaultProxy, namespace: str, no_waiting: list[float]
    ) -> None:
        rule = proxy.add(Answer(503, "ServiceUnavailable", "later"))
        with pytest.raises(ServerError, match="later"):
            await client.get(CONFIG_MAPS.path(namespace, "app"), attempts=3)
        assert (rule.hits, len(no_waiting)) == (3, 2)

    async def test_at_least_as_long_as_the_server_says(
        self, client: Client, proxy: FaultProxy, namespace: str, no_waiting: list[float]
    ) -> None:
        proxy.add(Answer(429, "TooManyRequests", retry_after=7))
        with pytest.raises(TooManyRequests) as caught:
            await client.get(CONFIG_MAPS.path(namespace, "app"))
        assert caught.value.retry_after == 7
        assert len(no_waiting) == 3
        assert all(7 <= wait <= 8 for wait in no_waiting)

    @pytest.mark.parametrize("fault", [Answer(503), Reset(), Answer(429)], ids=["503", "reset", "429"])
    async def test_writes_are_the_callers_to_repeat(
        self, client: Client, proxy: FaultProxy, namespace: str, fault: Fault, no_waiting: list[float]
    ) -> None:
        await client.create(CONFIG_MAPS.path(namespace), config_map("app"))
        rule = proxy.add(fault, "patch")
        with pytest.raises(ApiError) as caught:
            await client.patch(CONFIG_MAPS.path(namespace, "app"), b"{}")
        assert caught.value.retryable
        assert (rule.hits, no_waiting) == (1, [])

    async def test_waiting_for_a_retry_holds_no_slot(
        self, proxy: FaultProxy, cluster: Cluster, namespace: str
    ) -> None:
        """One slot, and a request that was told to come back in an hour: others go on."""
        async with Client(config(proxy, cluster.tokens["reroll"]), max_in_flight=1) as client:
            rule = proxy.add(Answer(429, retry_after=3600), "get")
            waiting = asyncio.create_task(client.get(CONFIG_MAPS.path(namespace, "app")))
            while rule.hits == 0:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert json.loads(await client.create(CONFIG_MAPS.path(namespace), config_map("app")))
            assert not waiting.done()
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)

    async def test_bounded_in_flight(self, proxy: FaultProxy, cluster: Cluster, namespace: str) -> None:
        running = most = 0

        class Counting(Fault):
            async def __call__(self, exchange: Any) -> Any:
                nonlocal running, most
                running += 1
                most = max(most, running)
                try:
                    return await Delay(0.05)(exchange)
                finally:
                    running -= 1

        proxy.add(Counting())
        async with Client(config(proxy, cluster.tokens["reroll"]), max_in_flight=3) as client:
            await asyncio.gather(*(client.list_page(CONFIG_MAPS.path(namespace)) for _ in range(12)))
        assert most == 3

    @pytest.mark.parametrize("verb", ["get", "watch"])
    async def test_credentials_are_renewed_once(
        self, proxy: FaultProxy, cluster: Cluster, namespace: str, verb: str
    ) -> None:
        renewals = 0

        class Renewable(Fixed):
            async def renew(self) -> bool:
                nonlocal renewals
                renewals += 1
                return True

        credentials = UserCredentials(Renewable(f"Bearer {cluster.tokens['reroll']}"))
        async with Client(ClusterConfig(server=proxy.url, credentials=credentials)) as client:

            async def ask() -> None:
                if verb == "get":
                    await client.list_page(CONFIG_MAPS.path(namespace))
                else:
                    async with client.stream(CONFIG_MAPS.path(namespace, watch=True)):
                        pass

            once = proxy.add(UNAUTHORIZED, times=1)
            await ask()
            assert (once.hits, renewals) == (1, 1)
            proxy.add(UNAUTHORIZED)
            with pytest.raises(Unauthorized):
                await ask()
            assert renewals == 2


class TestDeadConnections:
    async def test_watch_without_a_byte(self, client: Client, proxy: FaultProxy, namespace: str) -> None:
        """Half open: the peer is gone and nobody said so. The dead-connection timeout finds out."""
        proxy.add(Silence(), "watch")

        async def read() -> None:
            async with client.stream(CONFIG_MAPS.path(namespace, watch=True)) as lines:
                async for _ in lines:
                    raise AssertionError("nothing was sent")

        with pytest.raises(Unreachable, match="no answer in time"):
            await read()

    async def test_request_without_an_answer(
        self, proxy: FaultProxy, cluster: Cluster, namespace: str
    ) -> None:
        proxy.add(Silence())
        async with Client(config(proxy, cluster.tokens["reroll"]), timeout=0.5) as client:
            with pytest.raises(Unreachable, match="no answer in time"):
                await client.get(CONFIG_MAPS.path(namespace, "app"), attempts=1)


class TestWatch:
    @pytest.mark.parametrize("abort", [True, False], ids=["broken", "ended"])
    async def test_lines_until_its_end(
        self, client: Client, proxy: FaultProxy, namespace: str, abort: bool
    ) -> None:
        await client.create(CONFIG_MAPS.path(namespace), config_map("app", A="x" * 300_000))
        proxy.add(EndWatch(0.5, abort=abort), "watch")
        seen: list[bytes] = []

        async def read() -> None:
            path = CONFIG_MAPS.path(namespace, watch=True, fieldSelector="metadata.name=app")
            async with client.stream(path) as batches:
                async for lines in batches:
                    seen.extend(lines)

        if abort:
            with pytest.raises(Unreachable):
                await read()
        else:
            await read()
        [line] = seen
        assert json.loads(line)["object"]["data"]["A"] == "x" * 300_000

    async def test_refused(self, client: Client, proxy: FaultProxy, namespace: str) -> None:
        proxy.add(FORBIDDEN, "watch")
        with pytest.raises(Forbidden, match=r"WATCH /api/v1/namespaces/.*: you may not"):
            async with client.stream(CONFIG_MAPS.path(namespace, watch=True)):
                pass

    async def test_error_of_the_reader_is_its_own(self, client: Client, namespace: str) -> None:
        """Also a 401 that is found while reading: the watch is not opened a second time under its reader."""
        with pytest.raises(Unauthorized, match="in an event"):
            async with client.stream(CONFIG_MAPS.path(namespace, watch=True)):
                raise Unauthorized("in an event", status=401)


class TestLines:
    @pytest.mark.parametrize(
        "chunks",
        [
            [b"one\ntwo\n", b"three\n"],
            [b"o", b"ne", b"\n", b"two\nthr", b"ee\n"],
            [b"one\n\n\ntwo\nthree\ncut sho", b"rt"],
            [b"one\ntwo\nthree", b"\n"],
        ],
    )
    async def test_split_wherever_the_chunks_end(self, chunks: list[bytes]) -> None:
        class Content:
            async def iter_any(self) -> AsyncIterator[bytes]:
                for chunk in chunks:
                    yield chunk

        content = cast(aiohttp.StreamReader, Content())
        assert [line async for lines in _lines(content) for line in lines] == [b"one", b"two", b"three"]


class TestGathering:
    """Batches of a stream that is read with pauses. In virtual time."""

    class Stream:
        """A response whose chunks come at their times, and its transport."""

        def __init__(self, times: list[float]) -> None:
            self.times = times
            self.connection: Any = self
            self.transport: Any = self
            self.paused: list[float] = []
            self.resumed: list[float] = []

        def is_closing(self) -> bool:
            return False

        def pause_reading(self) -> None:
            self.paused.append(asyncio.get_running_loop().time())

        def resume_reading(self) -> None:
            self.resumed.append(asyncio.get_running_loop().time())

        async def iter_any(self) -> AsyncIterator[bytes]:
            """As a socket's buffer would: what came meanwhile comes in one piece."""
            while self.times:
                now = asyncio.get_running_loop().time()
                await asyncio.sleep(max(0.0, self.times[0] - now))
                now = asyncio.get_running_loop().time()
                come = [when for when in self.times if when <= now]
                self.times = self.times[len(come) :]
                yield b"".join(f"{when:.3f}\n".encode() for when in come)

        def read(self) -> AsyncIterator[list[bytes]]:
            lines = _lines(cast(aiohttp.StreamReader, self))
            return _gathered(lines, cast(aiohttp.ClientResponse, self), 0.025)

    @pytest.mark.looptime
    async def test_lines_in_close_succession_come_together(self) -> None:
        times = [number / 1000 for number in range(10, 210, 5)]
        stream = self.Stream(list(times))
        batches = [batch async for batch in stream.read()]
        assert [line for batch in batches for line in batch] == [f"{when:.3f}".encode() for when in times]
        assert len(batches) <= len(times) / 4
        assert len(batches[0]) == 1, "the first is not kept waiting"
        assert len(stream.paused) == len(stream.resumed)

    @pytest.mark.looptime
    async def test_single_lines_come_at_once(self) -> None:
        stream = self.Stream([0.1, 0.2, 0.3])
        assert [batch async for batch in stream.read()] == [[b"0.100"], [b"0.200"], [b"0.300"]]
        assert stream.paused == []

    @pytest.mark.looptime
    async def test_one_that_is_no_longer_read_is_not_left_paused(self) -> None:
        stream = self.Stream([0.001, 0.002, 0.003])

        async def read() -> None:
            async for _ in stream.read():
                pass

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(read(), 0.01)
        assert len(stream.paused) == len(stream.resumed) == 1
