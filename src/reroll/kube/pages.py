"""Reads a list by pages: one on its way while the one before is taken in, each about as large as is good.

Pages bound the memory of a list, on both sides. Secrets can be large and many, so the first page is small and
tells what an object takes; the next ones aim at a number of bytes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final

import msgspec

from reroll.kube.errors import Gone
from reroll.kube.ports import Lister

METADATA_ONLY: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
"""The Accept header for a list without contents; a server that can't do that sends whole objects."""

METADATA_ONLY_OBJECT: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
"""The same for one object."""

_PAGE_BYTES = 4_000_000
_FIRST_PAGE_ITEMS = 20
_MOST_ITEMS = 10_000
_ATTEMPTS = 3  # lists that the server may forget the middle of
_SLICE = 0.01  # seconds of work before other tasks get their turn


class _Meta(msgspec.Struct, gc=False, rename="camel"):
    resource_version: str = ""
    continue_: str | None = msgspec.field(default=None, name="continue")


class _Page(msgspec.Struct, gc=False):
    metadata: _Meta
    items: list[msgspec.Raw] | None = None


_decode = msgspec.json.Decoder(_Page).decode


class Pager:
    """Lists one collection. `path` makes the URL path of query parameters, such as `Resource.path` does.

    It remembers between lists how large objects are. `first`: items of the first page, where that is known better.
    """

    def __init__(
        self,
        client: Lister,
        path: Callable[..., str],
        *,
        accept: str | None = None,
        first: int = _FIRST_PAGE_ITEMS,
    ) -> None:
        self._client = client
        self._path = path
        self._accept = accept
        self._limit = first
        self.heard: float = 0.0
        """time.monotonic() of the last page; 0: none yet."""

    async def each(self, take: Callable[[msgspec.Raw], object], *, cached: bool = False) -> str:
        """Hand over every object's JSON, and let others work in between. Returns the list's resourceVersion.

        `cached`: from the server's cache (``resourceVersion=0``), as client-go's informers list. That is by far
        the fastest and may be a little behind; Kubernetes sends it in one piece.

        Raises ApiError and msgspec.DecodeError, and what `take` raises.
        """
        async with aclosing(self._pages("0" if cached else None)) as pages:
            version = ""
            async for items, version in pages:  # noqa: B007 - the last one counts
                began = time.perf_counter()
                for raw in items:
                    take(raw)
                    if time.perf_counter() - began > _SLICE:
                        await asyncio.sleep(0)
                        began = time.perf_counter()
        return version

    async def _pages(self, version: str | None) -> AsyncGenerator[tuple[list[msgspec.Raw], str], None]:
        coming: asyncio.Task[bytes] | None = asyncio.create_task(self._page(None, version))
        try:
            while coming is not None:
                body = await coming
                page = _decode(body)
                self.heard = time.monotonic()
                items = page.items or []
                if items:
                    self._limit = max(10, min(_MOST_ITEMS, _PAGE_BYTES * len(items) // len(body)))
                token = page.metadata.continue_
                coming = asyncio.create_task(self._page(token, None)) if token else None
                yield items, page.metadata.resource_version
        finally:
            if coming is not None:
                coming.cancel()
                await asyncio.gather(coming, return_exceptions=True)

    async def _page(self, token: str | None, version: str | None) -> bytes:
        path = self._path(limit=self._limit, resourceVersion=version, **{"continue": token})
        return await self._client.list_page(path, accept=self._accept)


async def read_list(
    client: Lister,
    path: Callable[..., str],
    take: Callable[[msgspec.Raw], object],
    *,
    begin_again: Callable[[], object],
    accept: str | None = None,
    first: int = _FIRST_PAGE_ITEMS,
) -> None:
    """Hand over every object of a collection, from its beginning again where the server forgot the middle (410 Gone).

    `begin_again` forgets what was handed over. Raises ApiError and msgspec.DecodeError, and what `take` raises.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            await Pager(client, path, accept=accept, first=first).each(take)
            return
        except Gone:
            begin_again()
            if attempt == _ATTEMPTS:
                raise
