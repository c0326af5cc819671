"""Which kinds the API server serves: custom ones come with their CustomResourceDefinition, and go with it.

Asked of discovery, which anybody may read, once in a while and once for each group and version. A kind that is
there is followed; one that went away is dropped with all that was held of it, and asked for again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, MutableMapping
from typing import Any

import msgspec
import structlog
from msgspec import Struct
from msgspec.structs import replace

from reroll.core.kinds import WorkloadKind
from reroll.kube.errors import ApiError, NotFound
from reroll.kube.ports import Prober

log = structlog.get_logger("reroll.controller")


class _Resource(Struct, gc=False):
    name: str = ""
    kind: str = ""


class _Resources(Struct, gc=False):
    resources: list[_Resource] | None = None


_decode = msgspec.json.Decoder(_Resources).decode


class ServedKinds:
    """Follows those of `kinds` that are optional, for as long as each is served.

    `follow` watches one until it is cancelled, and then forgets it. What a custom kind's objects are called
    is learned here, and put into `kinds`. `asked_every`: seconds.
    """

    def __init__(
        self,
        client: Prober,
        kinds: MutableMapping[str, WorkloadKind],
        follow: Callable[[WorkloadKind], Coroutine[Any, Any, None]],
        *,
        asked_every: float,
    ) -> None:
        self._client = client
        self._kinds = kinds
        self._follow = follow
        self._every = asked_every
        self._followed: dict[str, asyncio.Task[None]] = {}
        self._problem = ""
        self.asked = asyncio.Event()
        """The server was asked once about each."""

    async def run(self) -> None:
        """Ask for ever."""
        try:
            while True:
                await self.ask()
                self.asked.set()
                await asyncio.sleep(self._every)
        finally:
            for kind in list(self._followed):
                await self._stop(kind)

    async def ask(self) -> None:
        """Ask about each, begin to follow what came, and cease to follow what went."""
        optional = [kind for kind in self._kinds.values() if kind.optional]
        for group, version in dict.fromkeys((kind.group, kind.version) for kind in optional):
            served = await self._served(group, version)
            if served is None:
                continue  # it can't be told: all stays as it is
            for kind in optional:
                if (kind.group, kind.version) != (group, version):
                    continue
                if kind.plural not in served:
                    await self._stop(kind.id)
                elif kind.id not in self._followed or self._followed[kind.id].done():
                    found = self._kinds[kind.id] = replace(kind, kind=served[kind.plural])
                    log.info("kind followed", kind=found.kind, resource=f"{kind.plural}.{group}")
                    self._followed[kind.id] = asyncio.create_task(
                        self._follow(found), name=f"follow {kind.id}"
                    )
                    await asyncio.sleep(0)  # it has begun when this returns

    async def _served(self, group: str, version: str) -> dict[str, str] | None:
        """Plural -> kind of what is served of a group and version; None if it can't be told."""
        try:
            answer = await self._client.get(f"/apis/{group}/{version}", attempts=1)
            return {found.name: found.kind for found in _decode(answer).resources or ()}
        except NotFound:
            return {}
        except (ApiError, msgspec.DecodeError) as error:
            if str(error) != self._problem:
                self._problem = str(error)
                log.warning(
                    "discovery failed: the kinds that the server serves are not known, will be tried again",
                    problem=str(error),
                )
            return None

    async def _stop(self, kind: str) -> None:
        task = self._followed.pop(kind, None)
        if task is not None:
            log.info("a kind is no longer followed", kind=kind)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
