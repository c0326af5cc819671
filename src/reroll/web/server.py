"""The small web server beside the controller, of the routes that it is given (`health.py`, `metrics.py`).

It listens on a loopback address unless told otherwise, for it asks nobody who they are. It shows names of
watched resources and numbers, and no configuration.
"""

from __future__ import annotations

import errno
import ipaddress
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

import structlog
from aiohttp import web

log = structlog.get_logger("reroll.web")

_SHUTDOWN = 2.0  # seconds for a scrape in flight at the end
_ADDRESS = re.compile(r"(?:\[(?P<v6>[^\]]*)\]|(?P<host>[^:\[\]]*)):(?P<port>[0-9]+)")


class ServeError(Exception):
    """The address can't be served; the message says which, why, and what to do."""


class Route(NamedTuple):
    """One path, and what answers a GET of it."""

    path: str
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]]
    about: str = ""
    """What it is for, on the page at ``/``; "": it is not named there."""
    variants: tuple[tuple[str, str], ...] = ()
    """The same path with a query, and what that is for."""


@asynccontextmanager
async def serve(address: str, routes: Sequence[Route]) -> AsyncIterator[tuple[str, int] | None]:
    """Serve these routes, and at ``/`` what they are, while the body runs; gives the (host, port) that is bound.

    `address` is ``HOST:PORT``, with port 0 for any free one, ``[::1]:8080`` for IPv6 and ``:8080`` for all
    addresses of the machine; with ``""`` nothing is served, and None is given. Raises ServeError if the address is
    not understood or can't be bound.
    """
    if not address:
        yield None
        return
    host, port = parse_address(address)
    # Access logs off: probes and scrapes come every few seconds and say nothing.
    runner = web.AppRunner(_application(routes), access_log=None, shutdown_timeout=_SHUTDOWN)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host or None, port).start()
        except (OSError, UnicodeError) as error:  # UnicodeError: a name that no resolver would take
            raise ServeError(_why_not(address, host, port, error)) from error
        bound = [(str(name[0]), int(name[1])) for name in runner.addresses]
        open_to = [name for name in bound if not _is_loopback(name[0])]
        if open_to:
            log.warning(
                "health and metrics are served without authentication to all who can reach the address. "
                "Listen on 127.0.0.1 if nobody else has to",
                address=", ".join(_join(*name) for name in open_to),
            )
        yield bound[0]
    finally:
        await runner.cleanup()


def parse_address(address: str) -> tuple[str, int]:
    """``HOST:PORT`` in its parts; the host is empty for all addresses. Raises ServeError."""
    match = _ADDRESS.fullmatch(address.strip())
    if match is None:
        raise ServeError(
            f"{address!r} is no address to listen on: write HOST:PORT, such as 127.0.0.1:8080, "
            f"or [::1]:8080 for IPv6"
        )
    port = int(match["port"])
    if port > 65535:
        raise ServeError(f"{address!r} is no address to listen on: ports end at 65535")
    if match["v6"] is not None:
        try:
            return str(ipaddress.IPv6Address(match["v6"])), port
        except ValueError as error:
            raise ServeError(f"{address!r} is no address to listen on: {error}") from None
    return match["host"], port


def plain(text: str, status: int = 200) -> web.Response:
    """An answer in plain text. A probe's answer is of this moment, and plain text is not to be taken for a page."""
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return web.Response(text=text, status=status, headers=headers)


def _application(routes: Sequence[Route]) -> web.Application:
    named = [line for route in routes if route.about for line in ((route.path, route.about), *route.variants)]
    index_text = "reroll\n\n" + "".join(f"{path:<18}{about}\n" for path, about in named)

    async def index(request: web.Request) -> web.Response:
        return plain(index_text)

    application = web.Application()
    application.add_routes([web.get("/", index), *(web.get(route.path, route.answer) for route in routes)])
    return application


def _why_not(address: str, host: str, port: int, error: OSError | UnicodeError) -> str:
    what = f"cannot serve health and metrics on {address}"
    if isinstance(error, socket.gaierror | UnicodeError):
        return f"{what}: the host name {host!r} is not known here; write an address, such as 127.0.0.1:{port}"
    if error.errno == errno.EADDRINUSE:
        return (
            f"{what}: the address is in use. Stop the process that has it (another reroll?), or listen on "
            f"another port; port 0 takes any free one"
        )
    if error.errno == errno.EACCES:
        return f"{what}: ports below 1024 are for privileged processes here; listen on a higher one"
    # From Python 3.13 on, asyncio passes over such addresses, and then fails without a number.
    if error.errno in (errno.EADDRNOTAVAIL, None):
        return f"{what}: this machine has no such address; 127.0.0.1 is its own, 0.0.0.0 all it has"
    return f"{what}: {error.strerror or error}"


def _is_loopback(host: str) -> bool:
    return ipaddress.ip_address(host.partition("%")[0]).is_loopback


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
