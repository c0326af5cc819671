"""Health and metrics over real sockets of the loopback."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
import structlog
from prometheus_client import CollectorRegistry, Counter

from reroll.web.health import Check, health_routes
from reroll.web.metrics import metrics_routes
from reroll.web.server import Route, ServeError, parse_address, serve

WELL = [Check("api-server", True), Check("configmaps", True)]
ILL = [
    Check("api-server", True),
    Check("secrets/shop", False, "403: secrets is forbidden"),
    Check("deployments", False),
]

Get = Callable[..., "aiohttp.client._RequestContextManager"]


def ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.fixture
def registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    Counter("apples", "Apples seen.", registry=registry).inc(3)
    return registry


def routes(
    registry: CollectorRegistry, live: list[Check] = WELL, ready: list[Check] = WELL
) -> tuple[Route, ...]:
    return (*health_routes(lambda: live, lambda: ready), *metrics_routes(registry))


@asynccontextmanager
async def served(
    registry: CollectorRegistry, *, live: list[Check] = WELL, ready: list[Check] = WELL
) -> AsyncIterator[Get]:
    async with (
        serve("127.0.0.1:0", routes(registry, live, ready)) as bound,
        aiohttp.ClientSession() as session,
    ):
        assert bound is not None
        host, port = bound
        yield lambda path, **options: session.get(f"http://{host}:{port}{path}", **options)


class TestHealth:
    @pytest.mark.parametrize("path", ["/livez", "/readyz"])
    async def test_well_is_ok_and_no_more(self, registry: CollectorRegistry, path: str) -> None:
        async with served(registry) as get, get(path) as answer:
            assert (answer.status, await answer.text()) == (200, "ok")
            assert answer.content_type == "text/plain"
            assert answer.headers["Cache-Control"] == "no-store"

    async def test_not_ready_says_what_and_why(self, registry: CollectorRegistry) -> None:
        async with served(registry, ready=ILL) as get:
            async with get("/readyz") as answer:
                assert answer.status == 503
                assert (await answer.text()).splitlines() == [
                    "[-]secrets/shop failed: 403: secrets is forbidden",
                    "[-]deployments failed: no reason given",
                    "readyz check failed",
                ]
            async with get("/livez") as answer:
                assert answer.status == 200

    async def test_not_live_is_told_as_well(self, registry: CollectorRegistry) -> None:
        async with served(registry, live=[Check("loop", False, "stuck")]) as get, get("/livez") as answer:
            assert (answer.status, await answer.text()) == (
                503,
                "[-]loop failed: stuck\nlivez check failed\n",
            )

    async def test_verbose_lists_every_check(self, registry: CollectorRegistry) -> None:
        async with served(registry, live=WELL, ready=ILL) as get:
            async with get("/livez?verbose") as answer:
                assert answer.status == 200
                assert await answer.text() == "[+]api-server ok\n[+]configmaps ok\nlivez check passed\n"
            async with get("/readyz?verbose=1") as answer:
                assert answer.status == 503
                assert (await answer.text()).splitlines() == [
                    "[+]api-server ok",
                    "[-]secrets/shop failed: 403: secrets is forbidden",
                    "[-]deployments failed: no reason given",
                    "readyz check failed",
                ]

    async def test_checks_are_asked_each_time(self, registry: CollectorRegistry) -> None:
        ready = list(ILL)
        async with served(registry, ready=ready) as get:
            async with get("/readyz") as answer:
                assert answer.status == 503
            ready[:] = WELL
            async with get("/readyz") as answer:
                assert answer.status == 200


class TestPages:
    async def test_metrics_in_the_text_format(self, registry: CollectorRegistry) -> None:
        async with served(registry) as get, get("/metrics") as answer:
            assert answer.status == 200
            assert answer.content_type == "text/plain"
            assert "apples_total 3.0" in await answer.text()

    async def test_metrics_in_openmetrics_where_asked_for(self, registry: CollectorRegistry) -> None:
        accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
        async with served(registry) as get, get("/metrics", headers=accept) as answer:
            assert answer.content_type == "application/openmetrics-text"
            assert (await answer.text()).endswith("# EOF\n")

    async def test_the_index_names_the_pages_and_each_is_there(self, registry: CollectorRegistry) -> None:
        async with served(registry) as get:
            async with get("/") as answer:
                paths = [
                    line.split()[0] for line in (await answer.text()).splitlines() if line.startswith("/")
                ]
            assert paths == ["/livez", "/readyz", "/readyz?verbose", "/metrics"]
            for path in paths:
                async with get(path) as answer:
                    assert answer.status == 200, path
            async with get("/elsewhere") as answer:
                assert answer.status == 404


class TestAddress:
    @pytest.mark.parametrize(
        ("address", "parts"),
        [
            ("127.0.0.1:8080", ("127.0.0.1", 8080)),
            ("localhost:0", ("localhost", 0)),
            (":8080", ("", 8080)),
            ("[::1]:8080", ("::1", 8080)),
            ("[::]:80", ("::", 80)),
            (" 127.0.0.1:1 ", ("127.0.0.1", 1)),
        ],
    )
    def test_understood(self, address: str, parts: tuple[str, int]) -> None:
        assert parse_address(address) == parts

    @pytest.mark.parametrize(
        "address",
        ["8080", "127.0.0.1", "::1:8080", "[nonsense]:80", "host:", "host:http", "host:65536", "a:b:1"],
    )
    def test_not_understood(self, address: str) -> None:
        with pytest.raises(ServeError, match="is no address to listen on") as caught:
            parse_address(address)
        assert repr(address) in str(caught.value)

    async def test_none_is_served_where_none_is_given(self, registry: CollectorRegistry) -> None:
        async with serve("", routes(registry)) as bound:
            assert bound is None

    async def test_loopback_is_quiet(self, registry: CollectorRegistry) -> None:
        with structlog.testing.capture_logs() as logs:
            async with serve("localhost:0", routes(registry)) as bound:
                assert bound is not None
        assert logs == []

    @pytest.mark.parametrize("host", ["0.0.0.0", ""])
    async def test_open_to_others_is_said(self, registry: CollectorRegistry, host: str) -> None:
        with structlog.testing.capture_logs() as logs:
            async with serve(f"{host}:0", routes(registry)) as bound:
                assert bound is not None
        assert [entry["log_level"] for entry in logs] == ["warning"]
        assert f"0.0.0.0:{bound[1]}" in logs[0]["address"] or f"[::]:{bound[1]}" in logs[0]["address"]

    @pytest.mark.skipif(not ipv6(), reason="this machine has no IPv6 loopback address")
    async def test_ipv6(self, registry: CollectorRegistry) -> None:
        async with (
            serve("[::1]:0", routes(registry)) as bound,
            aiohttp.ClientSession() as session,
        ):
            assert bound is not None
            assert bound[0] == "::1"
            async with session.get(f"http://[::1]:{bound[1]}/livez") as answer:
                assert await answer.text() == "ok"

    async def test_an_address_in_use(self, registry: CollectorRegistry) -> None:
        async with serve("127.0.0.1:0", routes(registry)) as bound:
            assert bound is not None
            again = serve(f"127.0.0.1:{bound[1]}", routes(registry))
            with pytest.raises(ServeError, match=rf"127\.0\.0\.1:{bound[1]}: the address is in use\. Stop"):
                await again.__aenter__()

    async def test_an_address_that_is_not_ours(self, registry: CollectorRegistry) -> None:
        elsewhere = serve("192.0.2.1:0", routes(registry))
        with pytest.raises(ServeError, match=r"192\.0\.2\.1:0: this machine has no such address"):
            await elsewhere.__aenter__()

    @pytest.mark.parametrize("host", ["nowhere.invalid", "a" * 64 + ".invalid"])
    async def test_a_host_name_that_is_not_known(
        self, registry: CollectorRegistry, host: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        look_up = socket.getaddrinfo

        def ask_nobody(name: str | None, *args: Any, **options: Any) -> Any:
            if name == "nowhere.invalid":  # tests ask no name server
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            return look_up(name, *args, **options)

        monkeypatch.setattr(socket, "getaddrinfo", ask_nobody)
        elsewhere = serve(f"{host}:8080", routes(registry))
        with pytest.raises(ServeError, match=f"the host name '{host}' is not known here; write an address"):
            await elsewhere.__aenter__()

    async def test_it_is_closed_at_the_end(self, registry: CollectorRegistry) -> None:
        async with serve("127.0.0.1:0", routes(registry)) as bound:
            assert bound is not None
        with socket.socket() as probe:
            assert probe.connect_ex(bound) != 0
