"""Requests as steps: each is done at the server by one, and its sender hears of it by another.

In between anything can happen: a watch tells of the write first, the sender loses the lead or dies, the answer is lost.
"""

from __future__ import annotations

import asyncio

from reroll.kube.client import MERGE_PATCH, STRATEGIC_MERGE_PATCH
from reroll.kube.errors import ApiError, Unreachable
from tests.interleavings.server import Server

PATIENCE = 60.0
"""Seconds that the client waits for an answer, at most."""


class Request:
    """One that was sent."""

    def __init__(
        self, sender: str, method: str, path: str, body: bytes | None, manager: str, by_name: bool = False
    ) -> None:
        self.sender, self.method, self.path, self.body, self.manager = sender, method, path, body, manager
        self.by_name = by_name
        """Its body is a strategic merge patch."""
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.sent_at = asyncio.get_running_loop().time()
        self.done = False
        """It was done at the server, or refused."""
        self._outcome: bytes | ApiError = b""

    def __str__(self) -> str:
        place = self.path.partition("?")[0].split("/namespaces/shop/")[-1]
        return f"{self.sender}: {self.method} {place}"

    def do(self, server: Server) -> None:
        """Done at the server; the answer is on its way."""
        try:
            self._outcome = server.request(
                self.method, self.path, self.body, self.manager, by_name=self.by_name
            )
        except ApiError as error:
            self._outcome = error
        self.done = True

    def refuse(self, error: ApiError) -> None:
        """Not done; `error` is on its way."""
        self._outcome, self.done = error, True

    def lose(self) -> None:
        """The connection breaks: the sender can't tell whether it was done."""
        self._outcome, self.done = Unreachable("the connection broke"), True
        self.hear()

    def hear(self) -> None:
        """The answer arrives."""
        if self.answer.done():
            return  # nobody waits for it any more
        if isinstance(self._outcome, ApiError):
            self.answer.set_exception(self._outcome)
        else:
            self.answer.set_result(self._outcome)


class Wire:
    """All requests that are on their way, in the order in which they were sent."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def sent(self) -> list[Request]:
        """Those that were not done yet."""
        return [request for request in self.requests if not request.done]

    def answered(self) -> list[Request]:
        """Those that were done, and whose sender has not heard of it."""
        return [request for request in self.requests if request.done]

    def give_up(self, now: float) -> None:
        """The client waits no longer for what was sent too long ago: it was done, or never will be."""
        for request in list(self.requests):
            if now - request.sent_at > PATIENCE:
                self.lose(request)

    def hear(self, request: Request) -> None:
        self.requests.remove(request)
        request.hear()

    def lose(self, request: Request) -> None:
        self.requests.remove(request)
        request.lose()


class PlayedClient:
    """What the parts of one controller ask of an API server, as `kube.client.Client` has it."""

    def __init__(self, wire: Wire, name: str, manager: str = "reroll") -> None:
        self._wire, self._name, self.field_manager = wire, name, manager

    async def get(self, path: str, *, accept: str | None = None, attempts: int = 4) -> bytes:
        return await self._send("GET", path, None)

    async def list_page(self, path: str, *, accept: str | None = None, attempts: int = 4) -> bytes:
        return await self._send("GET", path, None)

    async def create(self, path: str, body: bytes, *, attempts: int = 1) -> bytes:
        return await self._send("POST", path, body)

    async def patch(
        self,
        path: str,
        body: bytes,
        *,
        content_type: str = MERGE_PATCH,
        attempts: int = 1,
        force: bool = False,
    ) -> bytes:
        return await self._send("PATCH", path, body, by_name=content_type == STRATEGIC_MERGE_PATCH)

    async def delete(self, path: str, body: bytes | None = None, *, attempts: int = 4) -> bytes:
        return await self._send("DELETE", path, body)

    async def _send(self, method: str, path: str, body: bytes | None, *, by_name: bool = False) -> bytes:
        request = Request(self._name, method, path, body, self.field_manager, by_name)
        self._wire.requests.append(request)
        return await request.answer
