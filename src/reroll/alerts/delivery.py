"""One POST to a service outside of the cluster, with an end to everything: time, retries, redirects.

The address of such a service is a secret, for whoever knows it can post there. It is never logged or
put in a message: `origin` is what may be shown of it.
"""

from __future__ import annotations

import asyncio
import email.utils
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from urllib.parse import urlsplit

import aiohttp
from msgspec import Struct
from yarl import URL

from reroll import __version__
from reroll.kube.backoff import Backoff
from reroll.kube.config import ConfigError
from reroll.kube.proxy import choose_proxy

LONGEST_WAIT = 300.0
"""Seconds that a service may ask for with Retry-After. What asks for more is asked again after this."""

_PROXY = "the proxy of alerts"
_RETRIED = frozenset({408, 425, 429})


class Post(Struct, frozen=True):
    """A request. It has no repr of its parts, for all of them may hold a token."""

    url: str
    body: bytes
    headers: Mapping[str, str]

    def __repr__(self) -> str:
        return f"Post({origin(self.url)})"


class DeliveryError(Exception):
    """A service did not take a message. The text is for people, and holds no part of its address but the host."""

    def __init__(self, message: str, *, retryable: bool, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.retry_after = retry_after
        """Seconds, as the service asked for, and never above `LONGEST_WAIT`."""


def origin(url: str) -> str:
    """What may be shown of an http(s) URL: its scheme and host. Of any other: its scheme, for many services have
    their token where the host would be."""
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        return "(a URL that can't be read)"
    if parts.scheme not in ("http", "https"):
        return f"{parts.scheme}://…" if parts.scheme else "(not a URL)"
    return f"{parts.scheme}://{host or ''}" + (f":{port}" if port else "")


class Poster:
    """Sends posts over connections of its own, as an async context manager.

    `proxy`: URL of an HTTP proxy for all of them; "" for what HTTPS_PROXY, HTTP_PROXY and NO_PROXY say.
    `timeout` is that of one try, in seconds. Raises ConfigError for a proxy that can't be used.
    """

    def __init__(
        self, *, proxy: str = "", timeout: float = 10.0, environ: Mapping[str, str] = os.environ
    ) -> None:
        choose_proxy("https://service", proxy, _PROXY, environ)
        self._proxy, self._environ = proxy, environ
        self._timeout = aiohttp.ClientTimeout(total=timeout, sock_connect=min(5.0, timeout))
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Poster:
        self._session = aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(), headers={"User-Agent": f"reroll/{__version__}"}
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._session is not None, "it was entered"
        await self._session.close()
        self._session = None

    async def post(self, post: Post) -> None:
        """Try once. Raises DeliveryError for anything but an answer of 200 to 299."""
        assert self._session is not None, "use it as an async context manager"
        where = origin(post.url)
        try:
            proxy = choose_proxy(where, self._proxy, _PROXY, self._environ)
            async with self._session.post(
                URL(post.url, encoded=True),
                data=post.body,
                headers=post.headers,
                timeout=self._timeout,
                allow_redirects=False,
                proxy=proxy,
            ) as response:
                status, asked = response.status, response.headers.get("Retry-After")
        except ConfigError as error:
            raise DeliveryError(str(error), retryable=False) from None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            # Without its cause: the texts of aiohttp may hold the whole address.
            raise _unreachable(where, error) from None
        if status >= 300:
            raise _refused(where, status, asked)


async def persist(
    work: Callable[[], Awaitable[None]],
    *,
    attempts: int,
    backoff: Backoff,
    retried: Callable[[DeliveryError], None] = lambda error: None,
) -> None:
    """Try until it is taken, `attempts` times at most, at the pace of `backoff` or as the service asks.

    Raises the last DeliveryError.
    """
    for attempt in range(1, attempts + 1):
        try:
            await work()
            return
        except DeliveryError as error:
            if not error.retryable or attempt == attempts:
                raise
            retried(error)
            delay = backoff.next()
            if error.retry_after is not None:
                delay = max(error.retry_after, min(delay, 1.0))
            await asyncio.sleep(delay)


def _unreachable(where: str, error: Exception) -> DeliveryError:
    if isinstance(error, ValueError):  # also aiohttp's InvalidURL
        return DeliveryError(f"{where}: the address can't be used", retryable=False)
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        detail = "its certificate is not trusted"
    elif isinstance(error, TimeoutError):
        detail = "no answer in time"
    elif isinstance(error, aiohttp.ClientHttpProxyError):
        detail = f"the proxy answered {error.status}"
    elif isinstance(error, aiohttp.ClientProxyConnectionError):
        detail = "the proxy can't be reached"
    elif isinstance(error, aiohttp.ClientConnectorError):
        detail = error.os_error.strerror or "no connection"
    elif isinstance(error, aiohttp.ClientPayloadError | aiohttp.ServerDisconnectedError | ConnectionError):
        detail = "the connection broke off"
    else:
        detail = type(error).__name__
    return DeliveryError(f"{where}: {detail}", retryable=True)


def _refused(where: str, status: int, retry_after: str | None) -> DeliveryError:
    if status < 400:
        return DeliveryError(
            f"{where}: answered {status}, a redirect, which is not followed: it could lead anywhere. "
            "Set the address that it leads to",
            retryable=False,
        )
    retryable = status >= 500 or status in _RETRIED
    return DeliveryError(
        f"{where}: answered {status}",
        retryable=retryable,
        retry_after=_seconds(retry_after) if retryable else None,
    )


def _seconds(retry_after: str | None) -> float | None:
    """RFC 9110, 10.2.3: a number of seconds, or a date. None where it is neither."""
    value = (retry_after or "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:9]), LONGEST_WAIT)
    try:
        at = email.utils.parsedate_to_datetime(value).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(0.0, at - time.time()), LONGEST_WAIT)
