"""A notification service on loopback that answers as it is told to, and writes down what it was sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from aiohttp import web

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

TOKEN = "T0KEN-that-nobody-may-see"


@dataclass(frozen=True)
class Received:
    path: str
    body: bytes = field(repr=False)
    headers: dict[str, str] = field(repr=False)


class Service:
    """Answers with `answers`, one after the other, and 200 when they are used up; as an async context manager."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.received: list[Received] = []
        self.origin = ""
        self.slow = 0.0
        """Seconds before it answers."""
        self.released = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._http: web.Server | None = None

    @property
    def url(self) -> str:
        """With a token in it, as such addresses have."""
        return f"{self.origin}/hooks/{TOKEN}?key={TOKEN}"

    @property
    def bodies(self) -> list[Any]:
        """What it was sent, where that is JSON."""
        return [json.loads(one.body) for one in self.received]

    async def __aenter__(self) -> Service:
        self._http = web.Server(self._handle, access_log=None, handler_cancellation=True)
        self._server = await asyncio.get_running_loop().create_server(self._http, "127.0.0.1", 0)
        self.origin = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        assert self._http is not None
        self.released.set()
        self._server.close()
        # For answers that were held until now. A connection that a client keeps would be waited for in vain.
        await self._http.shutdown(0.1)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.received.append(Received(request.path_qs, await request.read(), dict(request.headers)))
        if self.slow:
            await asyncio.sleep(self.slow)
        if self.answers:
            return await self.answers.pop(0)(request)
        return web.Response(text="ok")

    # --- answers -----------------------------------------------------------------------------------

    def says(self, status: int, **headers: str) -> Answer:
        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return web.Response(status=status, headers=named, text=f"no: {TOKEN}")

        return answer

    def breaks(self) -> Answer:
        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()

        return answer

    def hangs(self) -> Answer:
        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            await self.released.wait()
            return web.Response()

        return answer
