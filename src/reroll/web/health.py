"""/livez and /readyz: "ok", or what is not well and why, as the API server's own health endpoints have it.

See https://kubernetes.io/docs/reference/using-api/health-checks/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from aiohttp import web
from msgspec import Struct

from reroll.web.server import Route, plain


class Check(Struct, frozen=True):
    """One thing that has to be well, and why it is not."""

    name: str
    ok: bool
    reason: str = ""


Checks: TypeAlias = Callable[[], Iterable[Check]]


def health_routes(live: Checks, ready: Checks) -> tuple[Route, ...]:
    """`live` and `ready` are asked at each request."""

    async def livez(request: web.Request) -> web.Response:
        return _answer("livez", live(), verbose="verbose" in request.query)

    async def readyz(request: web.Request) -> web.Response:
        return _answer("readyz", ready(), verbose="verbose" in request.query)

    return (
        Route("/livez", livez, "the process works"),
        Route("/live", livez),  # as Reloader has it
        Route(
            "/readyz",
            readyz,
            "everything was read, changes are acted on",
            (("/readyz?verbose", "each check by name"),),
        ),
    )


def _answer(name: str, checks: Iterable[Check], *, verbose: bool) -> web.Response:
    checks = list(checks)
    failed = [check for check in checks if not check.ok]
    if not (failed or verbose):
        return plain("ok")
    lines = [
        f"[+]{check.name} ok" if check.ok else f"[-]{check.name} failed: {check.reason or 'no reason given'}"
        for check in (checks if verbose else failed)
    ]
    lines.append(f"{name} check {'failed' if failed else 'passed'}\n")
    return plain("\n".join(lines), status=503 if failed else 200)
