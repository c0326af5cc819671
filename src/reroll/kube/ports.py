"""What is asked of an API server, in small parts: `kube.client.Client` does all of it, `insight.simulation` and tests
play some. Who asks names the least that it needs. Every method raises subclasses of `kube.errors.ApiError`."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from reroll.kube.client import MERGE_PATCH


class Getter(Protocol):
    """Reads one object."""

    async def get(self, path: str) -> bytes: ...


class Lister(Protocol):
    """Reads a list, page by page."""

    async def list_page(self, path: str, *, accept: str | None = None) -> bytes: ...


class Creator(Protocol):
    """Creates objects, and asks for evictions."""

    async def create(self, path: str, body: bytes) -> bytes: ...


class Patcher(Protocol):
    """Changes objects."""

    async def patch(self, path: str, body: bytes, *, content_type: str = MERGE_PATCH) -> bytes: ...


class Deleter(Protocol):
    """Deletes objects. `attempts`: tries in all, where a try may succeed later."""

    async def delete(self, path: str, body: bytes | None = None, *, attempts: int = 4) -> bytes: ...


class Prober(Protocol):
    """Reads one object as a person asks: `attempts` says how soon to give up, `accept` in which form it comes."""

    async def get(self, path: str, *, accept: str | None = None, attempts: int = 4) -> bytes: ...


class Asker(Prober, Protocol):
    """The same of lists, too."""

    async def list_page(self, path: str, *, accept: str | None = None, attempts: int = 4) -> bytes: ...


class Sender(Creator, Patcher, Protocol):
    """Creates an object, or changes the one that is there."""


class Server(Getter, Lister, Patcher, Protocol):
    """What every mode needs."""


class Writer(Creator, Deleter, Protocol):
    """What rolling Jobs, CronJobs and the mode `restart` need beside that."""


class LeaseClient(Protocol):
    """What an election needs.

    Give the election a client of its own: a renewal that waits behind forty patches is late.
    """

    async def get(self, path: str, *, attempts: int) -> bytes: ...
    async def create(self, path: str, body: bytes, *, attempts: int) -> bytes: ...
    async def replace(self, path: str, body: bytes, *, attempts: int) -> bytes: ...
    def stream(self, path: str) -> AbstractAsyncContextManager[Any]: ...
