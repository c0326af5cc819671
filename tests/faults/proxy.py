"""A proxy in front of the real API server that makes it fail as networks and servers do.

What is under test speaks to the proxy by plain HTTP; the proxy passes everything on, watches line by line,
unless a rule says otherwise. Rules come and go at run time, and every request is written down.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl

import aiohttp
from aiohttp import web
from yarl import URL

_PATH = re.compile(
    r"^/(?:api|apis/[^/]+)/[^/]+(?:/namespaces/(?P<namespace>[^/]+)(?=/))?/(?P<resource>[^/]+)(?:/(?P<name>[^/]+))?$"
)
_VERBS = {"POST": "create", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}
_NOT_PASSED_ON = {"host", "connection", "content-length", "transfer-encoding", "keep-alive"}


@dataclass
class Seen:
    """One request: what was asked, and what the one who asked was answered."""

    verb: str
    resource: str
    namespace: str
    name: str
    path: str
    query: dict[str, str]
    body: bytes = field(repr=False, default=b"")
    status: int = 0
    """The HTTP code as it was sent; 0: no answer, or none yet."""
    done: bool = False
    """The real server has answered with success, whatever became of the answer."""


class Exchange:
    """One request in the hands of a fault: what it can do with it."""

    def __init__(self, proxy: FaultProxy, request: web.BaseRequest, seen: Seen) -> None:
        self.seen = seen
        self._proxy = proxy
        self._request = request
        self.opened: web.StreamResponse | None = None
        """The answer of a watch, once it began. Returned again, it ends in order."""

    @property
    def authorization(self) -> str:
        """The header of that name."""
        return self._request.headers.get("Authorization", "")

    def abort(self) -> web.StreamResponse:
        """Cut the connection without another byte (the other side sees a reset)."""
        if self._request.transport is not None:
            self._request.transport.abort()
        return web.Response(status=499)  # goes nowhere

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> web.StreamResponse:
        self.seen.status = status
        return web.Response(
            status=status, body=body, headers={"Content-Type": "application/json"} | (headers or {})
        )

    async def ask(self) -> tuple[int, bytes]:
        """Have the real server do it: (HTTP code, body)."""
        async with self._upstream() as response:
            body = await response.read()
            self.seen.done = response.status < 300
            return response.status, body

    async def pass_on(
        self, lines: Callable[[AsyncIterator[bytes]], AsyncIterator[bytes]] | None = None
    ) -> web.StreamResponse:
        """Ask the real server, and pass its answer back. `lines` may edit those of a watch."""
        if self.seen.verb != "watch":
            return self.answer(*await self.ask())
        async with self._upstream() as upstream:
            self.seen.done = upstream.status < 300
            if not self.seen.done:
                return self.answer(upstream.status, await upstream.read())
            response = await self.open_stream()
            source = _lines(upstream.content)
            async with aclosing(source):
                async for line in lines(source) if lines else source:
                    await response.write(line)
            return response

    async def open_stream(self) -> web.StreamResponse:
        """The head of a watch's answer."""
        self.seen.status = 200
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(self._request)
        self.opened = response
        return response

    async def cut(self, size: int) -> web.StreamResponse:
        """Ask, and pass only the first `size` bytes of the answer back."""
        if self.seen.verb == "watch":

            async def some(source: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
                left = size
                async for line in source:
                    yield line[:left]
                    left -= len(line)
                    if left <= 0:
                        return

            await self.pass_on(some)
            return self.abort()
        status, body = await self.ask()
        self.seen.status = status
        response = web.StreamResponse(status=status, headers={"Content-Type": "application/json"})
        response.content_length = len(body)
        await response.prepare(self._request)
        await response.write(body[:size])
        return self.abort()

    async def trickle(self, pieces: int, seconds: float) -> web.StreamResponse:
        """Ask, and pass the answer back piece by piece; of a watch, each line."""
        if self.seen.verb == "watch":

            async def slowly(source: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
                async for line in source:
                    size = max(1, -(-len(line) // pieces))
                    for start in range(0, len(line), size):
                        yield line[start : start + size]
                        await asyncio.sleep(seconds / pieces)

            return await self.pass_on(slowly)
        status, body = await self.ask()
        self.seen.status = status
        response = web.StreamResponse(status=status, headers={"Content-Type": "application/json"})
        response.content_length = len(body)
        await response.prepare(self._request)
        size = max(1, -(-len(body) // pieces))
        for start in range(0, len(body), size):
            await response.write(body[start : start + size])
            await asyncio.sleep(seconds / pieces)
        return response

    @asynccontextmanager
    async def _upstream(self) -> AsyncIterator[aiohttp.ClientResponse]:
        """The real server's answer. Left before its end, its connection is cut at once: a TLS connection that
        is closed in order outlives the event loop of a short test."""
        headers = {k: v for k, v in self._request.headers.items() if k.lower() not in _NOT_PASSED_ON}
        url = URL(self._proxy.upstream + self._request.raw_path, encoded=True)
        opening = asyncio.ensure_future(
            self._proxy.session.request(
                self._request.method, url, data=self.seen.body or None, headers=headers
            )
        )
        self._proxy.wait_for(opening)
        try:
            response = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(lambda done: None if done.exception() else _cut(done.result()))
            raise
        try:
            yield response
        finally:
            if not response.content.at_eof():
                _cut(response)


def _cut(response: aiohttp.ClientResponse) -> None:
    if response.connection is not None and response.connection.transport is not None:
        response.connection.transport.abort()
    response.close()


# --- faults --------------------------------------------------------------------------------------------


class Fault:
    """What becomes of a request instead of being passed on."""

    async def __call__(self, exchange: Exchange) -> web.StreamResponse:
        raise NotImplementedError


@dataclass(frozen=True)
class Answer(Fault):
    """The server says no: a `Status` with this code. `after`: it has done it all the same."""

    status: int
    reason: str = ""
    message: str = "said the fault proxy"
    retry_after: int | None = None
    after: bool = False

    async def __call__(self, exchange: Exchange) -> web.StreamResponse:
        if self.after:
            await exchange.ask()
        headers = {"Retry-After": str(self.retry_after)} if self.retry_after is not None else {}
        return exchange.answer(self.status, status_body(self.status, self.reason, self.message), headers)


@dataclass(frozen=True)
class Reset(Fault):
    """The connection breaks. `after`: the server has done what was asked, and the answer is lost."""

    after: bool = False

    async def __call__(self, exchange: Exchange) -> web.StreamResponse:
        if self.after and exchange.seen.verb != "watch":
            await exchange.ask()
        return exchange.abort()


@dataclass(frozen=True)
class Cut(Fault):
    """The connection breaks after so many bytes of the answer's body; of a watch, in the middle of a line."""

    size: int

    async def __call__(self, exchange: Exchange) -> web.StreamResponse:
        return await exchange.cut(self.size)


@dataclass(frozen=True)
class Trickle(Fault):
    """The answer's body comes in so many pieces, over so many seconds; of a watch, each line does."""

    pieces: int
    seconds: float

    async def __call__(self, exchange: Exchange) -> web.StreamResponse:
        return await exchange.trickle(self.pieces, self.seconds)


@dataclass(frozen=True)
class Delay(Fault):
    """It takes longer."""

    seconds: float

    async def __call__(self, exchange: Exchange) -> web.StreamResponse:
        await asyncio.sleep(self.seconds)
        return await exchange.pass_on()


@dataclass(frozen=True)
class Silence(Fault):
    """A half-open connection: no byte ever comes; of a watch, its head and the first `lines` do."""

    lines: int = 0

    async def __call__(self, exchange: Exchange) -> web.StreamResponse:
        async def some(source: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            passed = 0
            while passed < self.lines:
                yield await anext(source)
                passed += 1
            await asyncio.Event().wait()

        if exchange.seen.verb == "watch":
            return await exchange.pass_on(some)
        await asyncio.Event().wait()
        raise AssertionError("waits for ever")


@dataclass(frozen=True)
class EndWatch(Fault):
    """A watch ends so many seconds after it began: in order, or by a broken connection."""

    seconds: float
    abort: bool = False

    async def __call__(self, exchange: Exchange) -> web.StreamResponse:
        try:
            async with asyncio.timeout(self.seconds):
                return await exchange.pass_on()
        except TimeoutError:
            return exchange.abort() if self.abort or exchange.opened is None else exchange.opened


@dataclass(frozen=True)
class StaleList(Fault):
    """A list is answered as it was answered the first time: from a cache that lags behind, as a server may do it
    for `resourceVersion=0`. Watches are passed on, so that what came since is told by the one that goes on from
    there."""

    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    """By path and query."""

    async def __call__(self, exchange: Exchange) -> web.StreamResponse:
        if exchange.seen.verb != "list":
            return await exchange.pass_on()
        key = f"{exchange.seen.path}?{sorted(exchange.seen.query.items())}"
        if key not in self.answers:
            status, body = await exchange.ask()
            if status != 200:
                return exchange.answer(status, body)
            self.answers[key] = status, body
        return exchange.answer(*self.answers[key])


@dataclass(frozen=True)
class NoBookmarks(Fault):
    """A watch without bookmarks, as a proxy on the way or an old server may have it."""

    async def __call__(self, exchange: Exchange) -> web.StreamResponse:
        async def without(source: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            async for line in source:
                if json.loads(line)["type"] != "BOOKMARK":
                    yield line

        return await exchange.pass_on(without)


@dataclass(frozen=True)
class ErrorEvent(Fault):
    """A watch of nothing but an ERROR event. Without a `code`: it ends empty."""

    code: int = 0
    reason: str = ""

    async def __call__(self, exchange: Exchange) -> web.StreamResponse:
        response = await exchange.open_stream()
        if self.code:
            status = status_body(self.code, self.reason, "said the fault proxy").decode()
            await response.write(f'{{"type":"ERROR","object":{status}}}\n'.encode())
        return response


@dataclass(frozen=True)
class Meanwhile(Fault):
    """Something happens after the request was sent and before the server has it."""

    happens: Callable[[Seen], Awaitable[None]]

    async def __call__(self, exchange: Exchange) -> web.StreamResponse:
        await self.happens(exchange.seen)
        return await exchange.pass_on()


EXPIRED = Answer(410, "Expired", "The resourceVersion is too old")
EXPIRED_EVENT = ErrorEvent(410, "Expired")
FORBIDDEN = Answer(403, "Forbidden", "you may not")
UNAUTHORIZED = Answer(401, "Unauthorized", "Unauthorized")


def status_body(code: int, reason: str = "", message: str = "") -> bytes:
    """The JSON of a `Status`."""
    return json.dumps(
        {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "code": code,
        }
    ).encode()


# --- the proxy -----------------------------------------------------------------------------------------


@dataclass
class Rule:
    """Which requests meet a fault."""

    fault: Fault
    verbs: Collection[str]
    path: re.Pattern[str]
    times: int | None
    probability: float
    token: str = ""
    hits: int = 0

    def concerns(self, seen: Seen, url: str, authorization: str) -> bool:
        if self.times is not None and self.hits >= self.times:
            return False
        if self.token and authorization != f"Bearer {self.token}":
            return False
        return (not self.verbs or seen.verb in self.verbs) and self.path.search(url) is not None


class FaultProxy:
    """A proxy of `upstream` on a free port of loopback, as an async context manager.

    `seed` makes the rules with a probability repeatable.
    """

    def __init__(self, upstream: str, ca: Path | None, *, seed: int = 0) -> None:
        self.upstream = upstream
        self.seen: list[Seen] = []
        self._ca = ca
        self._random = random.Random(seed)
        self._rules: list[Rule] = []
        self._port = 0
        self._listening: asyncio.Server | None = None
        self._http: web.Server | None = None
        self._unfinished: set[asyncio.Future[Any]] = set()
        self._watches: set[Exchange] = set()
        self._held: set[Exchange] = set()
        self._session: aiohttp.ClientSession | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def session(self) -> aiohttp.ClientSession:
        assert self._session is not None, "use it as an async context manager"
        return self._session

    async def __aenter__(self) -> FaultProxy:
        context = ssl.create_default_context(cafile=self._ca)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=context),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
            skip_auto_headers=("Content-Type", "User-Agent", "Accept-Encoding"),
        )
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
        await asyncio.gather(*self._unfinished, return_exceptions=True)
        await close_session(self.session)

    async def open(self) -> None:
        """Listen, on the same port as before."""
        # A handler is cancelled when its client goes, so that a watch left here is left upstream too.
        self._http = web.Server(self._handle, handler_cancellation=True, access_log=None)
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(self._http, "127.0.0.1", self._port)
        self._port = self._listening.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Be gone: connections break, and new ones are refused."""
        if self._listening is None or self._http is None:
            return
        self._listening.close()
        for connection in list(self._http.connections):
            if connection.transport is not None:
                connection.transport.abort()
        await self._http.shutdown(1.0)
        self._listening = self._http = None

    def wait_for(self, work: asyncio.Future[Any]) -> None:
        """Have the end of the proxy wait for this."""
        self._unfinished.add(work)
        work.add_done_callback(self._unfinished.discard)

    def drop_watches(self) -> None:
        """Break the connection of every watch of this moment."""
        for exchange in list(self._watches):
            exchange.abort()

    # --- rules -----------------------------------------------------------------------------------

    def add(
        self,
        fault: Fault,
        *verbs: str,
        path: str = "",
        times: int | None = None,
        probability: float = 1.0,
        token: str = "",
    ) -> Rule:
        """Have requests meet a fault: those of `verbs` (none given: all) whose path and query match the
        regex `path`, `times` at most, with this `token` (none given: whoever asks). The rule added last that
        concerns a request wins."""
        rule = Rule(fault, verbs, re.compile(path), times, probability, token)
        self._rules.insert(0, rule)
        return rule

    def remove(self, rule: Rule) -> None:
        """Lift a rule; one that is not in force is left alone."""
        with suppress(ValueError):
            self._rules.remove(rule)

    def heal(self) -> None:
        """Lift all rules; connections that a fault still holds break."""
        self._rules.clear()
        for exchange in list(self._held):
            exchange.abort()

    def requests(self, *verbs: str, resource: str = "", name: str = "") -> list[Seen]:
        """The requests seen so far, in order."""
        return [
            seen
            for seen in self.seen
            if (not verbs or seen.verb in verbs)
            and resource in ("", seen.resource)
            and name in ("", seen.name)
        ]

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        self.wait_for(task)
        path, _, query = request.raw_path.partition("?")
        parameters = dict(parse_qsl(query, keep_blank_values=True))
        place = _PATH.match(path)
        parts = place.groupdict(default="") if place else {}
        name = parts.get("name", "")
        verb = _VERBS.get(request.method, "get" if name else "list")
        if parameters.get("watch") in ("1", "true"):
            verb = "watch"
        resource, namespace = parts.get("resource", ""), parts.get("namespace", "")
        seen = Seen(verb, resource, namespace, name, path, parameters, await request.read())
        self.seen.append(seen)
        exchange = Exchange(self, request, seen)
        fault = self._fault(seen, request.raw_path, exchange.authorization)
        if verb == "watch":
            self._watches.add(exchange)
        if fault is not None:
            self._held.add(exchange)
        try:
            return await (fault(exchange) if fault is not None else exchange.pass_on())
        except aiohttp.ClientError:
            return exchange.abort()  # the real server went away
        except ConnectionError:
            return exchange.abort()  # the one who asked did
        finally:
            self._watches.discard(exchange)
            self._held.discard(exchange)

    def _fault(self, seen: Seen, url: str, authorization: str) -> Fault | None:
        for rule in self._rules:
            if rule.concerns(seen, url, authorization) and self._random.random() < rule.probability:
                rule.hits += 1
                return rule.fault
        return None


async def close_session(session: aiohttp.ClientSession) -> None:
    """Close it, and give its TLS connections the turns of the event loop that they need to be gone."""
    await session.close()
    for _ in range(4):
        await asyncio.sleep(0)


async def _lines(content: aiohttp.StreamReader) -> AsyncGenerator[bytes, None]:
    """Whole lines, of any length."""
    rest = b""
    async for chunk in content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line + b"\n"
