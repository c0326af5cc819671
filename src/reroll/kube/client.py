"""Requests to an API server: bounded in flight, retried as the server asks, failed with typed errors.

It knows JSON over HTTP and nothing of ConfigMaps. There is no rate limit of its own: API Priority and
Fairness is the server's job, and its 429 with Retry-After is obeyed.
"""

from __future__ import annotations

import asyncio
import io
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Final

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from reroll import __version__
from reroll.kube.backoff import Backoff
from reroll.kube.config import ClusterConfig, ConfigError
from reroll.kube.errors import ApiError, TooManyRequests, Unauthorized, Unreachable, error_from_response

MERGE_PATCH: Final = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH: Final = "application/strategic-merge-patch+json"
APPLY_PATCH: Final = "application/apply-patch+yaml"
JSON_PATCH: Final = "application/json-patch+json"

Observer = Callable[[str, str, float], None]
"""Called with (verb, HTTP code or exception name, seconds) for each try of each request."""

_READ_BUFFER = 256 * 1024
_DEAD_CONNECTION = 75.0  # bookmarks arrive about each minute


class Client:
    """An API server, as an async context manager.

    `max_in_flight` bounds requests that wait for an answer, which each has `timeout` seconds for; watches
    are not counted, and are given up after `dead_connection` seconds without a byte. Every method raises a
    subclass of `ApiError`.
    """

    def __init__(
        self,
        config: ClusterConfig,
        *,
        max_in_flight: int = 40,
        timeout: float = 30.0,
        dead_connection: float = _DEAD_CONNECTION,
        field_manager: str = "reroll",
        user_agent: str = "reroll",
        observe: Observer | None = None,
    ) -> None:
        self.config = config
        self.field_manager = field_manager
        self._timeout = aiohttp.ClientTimeout(total=timeout, sock_connect=min(10.0, timeout))
        self._stream_timeout = aiohttp.ClientTimeout(total=None, sock_connect=10.0, sock_read=dead_connection)
        self._slots = asyncio.Semaphore(max_in_flight)
        self._headers = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",  # the server would spend its cores on compressing lists
            "User-Agent": f"{user_agent}/{__version__}",
        }
        self._observe = observe or (lambda verb, code, seconds: None)
        self._session: aiohttp.ClientSession | None = None
        self._session_generation = -1
        self._retired: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        for task in self._retired:
            task.cancel()
        if self._session is not None:
            await self._session.close()
            self._session = None

    # --- one verb a method -------------------------------------------------------------------------

    async def get(self, path: str, *, accept: str | None = None, attempts: int = 4) -> bytes:
        """The JSON of one object."""
        return await self.request("GET", path, verb="get", accept=accept, attempts=attempts)

    async def list_page(self, path: str, *, accept: str | None = None, attempts: int = 4) -> bytes:
        """The JSON of one page of a list; `path` holds limit and continue."""
        return await self.request("GET", path, verb="list", accept=accept, attempts=attempts)

    async def create(self, path: str, body: bytes, *, attempts: int = 1) -> bytes:
        """POST. Tried once by default: a lost answer leaves open whether it was done."""
        return await self.request(
            "POST",
            self._managed(path),
            verb="create",
            body=body,
            content_type="application/json",
            attempts=attempts,
        )

    async def patch(
        self,
        path: str,
        body: bytes,
        *,
        content_type: str = MERGE_PATCH,
        attempts: int = 1,
        force: bool = False,
    ) -> bytes:
        """PATCH, merge by default; returns the object as it is afterwards.

        Tried once by default, for the caller's queue is the place to wait: a retry here would hold a slot.
        `force` takes over fields of other managers in a server-side apply.
        """
        path = self._managed(path)
        if content_type == APPLY_PATCH and force:
            path += "&force=true"
        return await self.request(
            "PATCH", path, verb="patch", body=body, content_type=content_type, attempts=attempts
        )

    async def replace(self, path: str, body: bytes, *, attempts: int = 1) -> bytes:
        """PUT of a whole object."""
        return await self.request(
            "PUT",
            self._managed(path),
            verb="update",
            body=body,
            content_type="application/json",
            attempts=attempts,
        )

    async def delete(self, path: str, body: bytes | None = None, *, attempts: int = 4) -> bytes:
        return await self.request(
            "DELETE", path, verb="delete", body=body, content_type="application/json", attempts=attempts
        )

    def _managed(self, path: str) -> str:
        return f"{path}{'&' if '?' in path else '?'}fieldManager={self.field_manager}"

    # --- the request itself ------------------------------------------------------------------------

    async def request(
        self,
        method: str,
        path: str,
        *,
        verb: str,
        body: bytes | None = None,
        content_type: str | None = None,
        accept: str | None = None,
        attempts: int = 4,
    ) -> bytes:
        """Send, and return the body of a 2xx answer.

        Retryable failures (429, 5xx, no answer) are tried again up to `attempts` times in all, after the
        server's Retry-After or a jittered backoff. A 401 renews the credentials and is tried once more
        without counting.
        """
        headers = dict(self._headers)
        if accept:
            headers["Accept"] = accept
        if body is not None and content_type:
            headers["Content-Type"] = content_type
        backoff = Backoff(0.2, 5.0)
        renewed = False
        failures = 0
        while True:
            try:
                async with self._slots:
                    return await self._once(method, path, verb, headers, body)
            except Unauthorized:
                if renewed or not await self.config.credentials.renew():
                    raise
                renewed = True
            except ApiError as error:
                failures += 1
                if not error.retryable or failures >= attempts:
                    raise
                await asyncio.sleep(_delay(error, backoff))

    async def _once(
        self, method: str, path: str, verb: str, headers: dict[str, str], body: bytes | None
    ) -> bytes:
        started = time.perf_counter()
        code = "error"
        try:
            authorized = await self._authorized(headers)
            session = await self._connected()
            async with session.request(
                method,
                self._url(path),
                data=body,
                headers=authorized,
                timeout=self._timeout,
                allow_redirects=False,
                **self._tls_name(),
            ) as response:
                answer = await _body(response)
                code = str(response.status)
                if response.status < 300:
                    return answer
                raise error_from_response(
                    response.status,
                    answer,
                    retry_after=response.headers.get("Retry-After"),
                    request=f"{method} {path.partition('?')[0]}",
                    secret="/secrets" in path,
                )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            code = type(error).__name__
            raise _unreachable(error, self.config.server, f"{method} {path.partition('?')[0]}") from error
        finally:
            self._observe(verb, code, time.perf_counter() - started)

    @asynccontextmanager
    async def stream(self, path: str, *, gather: float = 0.0) -> AsyncIterator[AsyncIterator[list[bytes]]]:
        """Open a watch. Yields an iterator over lists of whole lines, as they arrive.

        `gather`: where lines come in close succession, let them gather for so many seconds. To wake up for one costs
        ten times what it costs to read it.

        It ends when the server ends it, and raises `Unreachable` when the connection breaks or nothing,
        not even a bookmark, arrives for `dead_connection` seconds.
        """
        try:
            async with await self._open_stream(path) as response:
                lines = _lines(response.content)
                yield _gathered(lines, response, gather) if gather else lines
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unreachable(error, self.config.server, f"WATCH {path.partition('?')[0]}") from error

    async def _open_stream(self, path: str) -> aiohttp.ClientResponse:
        """The answer to a watch, once it was accepted; 401 as in `request`."""
        renewed = False
        while True:
            try:
                return await self._open_stream_once(path)
            except Unauthorized:
                if renewed or not await self.config.credentials.renew():
                    raise
                renewed = True

    async def _open_stream_once(self, path: str) -> aiohttp.ClientResponse:
        started = time.perf_counter()
        code = "error"
        try:
            authorized = await self._authorized(self._headers)
            session = await self._connected()
            response = await session.get(
                self._url(path),
                headers=authorized,
                timeout=self._stream_timeout,
                allow_redirects=False,
                **self._tls_name(),
            )
            code = str(response.status)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            code = type(error).__name__
            raise
        finally:
            self._observe("watch", code, time.perf_counter() - started)
        if response.status < 300:
            return response
        async with response:
            raise error_from_response(
                response.status,
                await response.read(),
                retry_after=response.headers.get("Retry-After"),
                request=f"WATCH {path.partition('?')[0]}",
                secret="/secrets" in path,
            )

    # --- the connection ----------------------------------------------------------------------------

    async def _authorized(self, headers: Mapping[str, str]) -> CIMultiDict[str]:
        """Headers with credentials. First of all in a request: an exec plugin may bring the client
        certificate along. Several groups to impersonate are several headers of one name."""
        merged = CIMultiDict(headers)
        try:
            merged.extend(await self.config.credentials.headers())
        except ConfigError as error:
            raise Unreachable(f"no credentials: {error}", reason="Credentials") from error
        return merged

    async def _connected(self) -> aiohttp.ClientSession:
        """The session; a new one when the client certificate was rotated. Running watches keep the old."""
        generation = self.config.credentials.certificate_generation
        if self._session is None or self._session.closed or generation != self._session_generation:
            old = self._session
            context = self.config.ssl_context()
            connector = aiohttp.TCPConnector(
                limit=0, keepalive_timeout=60.0, ssl=context if context is not None else True
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                proxy=self.config.proxy,
                read_bufsize=_READ_BUFFER,
                auto_decompress=True,
                skip_auto_headers=("Content-Type",),
            )
            self._session_generation = generation
            if old is not None and not old.closed:
                task = asyncio.create_task(_close_later(old, 600.0))
                self._retired.add(task)
                task.add_done_callback(self._retired.discard)
        return self._session

    def _url(self, path: str) -> URL:
        return URL(self.config.server + path, encoded=True)

    def _tls_name(self) -> dict[str, Any]:
        return {"server_hostname": self.config.tls_server_name} if self.config.tls_server_name else {}


def _delay(error: ApiError, backoff: Backoff) -> float:
    delay = backoff.next()
    if error.retry_after is not None:
        # A little more than asked, so that all who were told the same second don't come back in it at once.
        delay = error.retry_after * (1.0 + 0.1 * random.random())
    elif isinstance(error, TooManyRequests):
        delay = max(delay, 1.0)
    return delay


def _unreachable(error: BaseException, server: str, request: str) -> Unreachable:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        detail = f"its certificate is not trusted ({error.certificate_error})"
    elif isinstance(error, TimeoutError):
        detail = "no answer in time"
    elif isinstance(error, aiohttp.ClientPayloadError | aiohttp.ServerDisconnectedError):
        detail = "the connection broke off"
    else:
        detail = str(error) or type(error).__name__
    return Unreachable(f"cannot reach {server}: {detail}", reason=type(error).__name__, request=request)


async def _body(response: aiohttp.ClientResponse) -> bytes:
    """The whole body. aiohttp's own `read` keeps all parts until it has joined them: a list takes its room twice."""
    body = io.BytesIO()
    async for chunk in response.content.iter_any():
        body.write(chunk)
    return body.getvalue()


async def _close_later(session: aiohttp.ClientSession, seconds: float) -> None:
    try:
        await asyncio.sleep(seconds)
    finally:
        await session.close()


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[list[bytes]]:
    """Split a stream at newlines. aiohttp's own readline refuses lines above about 128 KB (aiohttp #4453)."""
    parts: list[bytes] = []
    async for chunk in content.iter_any():
        if b"\n" not in chunk:
            parts.append(chunk)
            continue
        parts.append(chunk)
        lines = b"".join(parts).split(b"\n")
        last = lines.pop()
        parts = [last] if last else []
        yield [line for line in lines if line]


async def _gathered(
    lines: AsyncIterator[list[bytes]], response: aiohttp.ClientResponse, seconds: float
) -> AsyncIterator[list[bytes]]:
    """The same, with fewer batches: what comes after two in close succession is left unread for so many seconds, and
    costs next to nothing until then."""
    now = asyncio.get_running_loop().time
    last = float("-inf")
    async for batch in lines:
        came = now()
        yield batch
        transport = response.connection.transport if response.connection is not None else None
        if came - last < 2 * seconds and transport is not None and not transport.is_closing():
            transport.pause_reading()
            try:
                await asyncio.sleep(seconds)
            finally:
                if not transport.is_closing():
                    transport.resume_reading()
        last = came
