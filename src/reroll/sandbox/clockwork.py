"""What drives the controllers of the sandbox: who is to be looked at, and when.

A controller never waits and keeps no queue. It is a function of a name that looks at the objects as they are
and does the next step; whoever changes something, or expects something at a time, touches the name. However
often a name was touched, it is looked at once in a turn. Kinds take turns from the pods up to what owns
them, so that an owner sees what became of all its pods at once and writes its status once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

import structlog

from reroll.sandbox.kinds import Kind
from reroll.sandbox.storage import AlreadyExists, Storage

log = structlog.get_logger(__name__)

Sync = Callable[[str, str], None]
"""Looks at (namespace, name) of its kind, which may be gone."""

SLICE: Final = 0.002
"""Seconds of looking at names before the event loop gets to serve requests."""
GIVE_WAY: Final = 0.008
"""Seconds that requests get between slices while there are any: on a real control plane the controllers are
programs of their own, and a server that is asked much answers all the same."""
MOMENT: Final = 0.001
"""Seconds by which a timer may be early, for the loop's clock is not the one that timestamps are of."""


class Clockwork:
    """The names to look at, and the timers of the event loop. `run` must go on for either to move.

    `busy` tells whether requests come in right now.
    """

    def __init__(self, storage: Storage, busy: Callable[[], bool] = lambda: False) -> None:
        self.storage = storage
        self._busy = busy
        self._touched: dict[Kind, dict[tuple[str, str], None]] = {}
        self._timers: dict[tuple[Kind, str, str], asyncio.TimerHandle] = {}
        self._calls: set[asyncio.TimerHandle] = set()
        self._work = asyncio.Event()

    def time(self) -> float:
        """Seconds on the clock of the event loop."""
        return asyncio.get_running_loop().time()

    def touch(self, kind: Kind, namespace: str, name: str) -> None:
        """Look at this object soon."""
        self._touched.setdefault(kind, {})[namespace, name] = None
        self._work.set()

    def touch_in(self, seconds: float, kind: Kind, namespace: str, name: str) -> None:
        """Look at it in so many seconds. Of several times the earliest counts: who is early asks again."""
        key = (kind, namespace, name)
        loop = asyncio.get_running_loop()
        when = loop.time() + max(seconds, MOMENT)
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= when:
                return
            timer.cancel()
        self._timers[key] = loop.call_at(when, self._due, key)

    def call_in(self, seconds: float, function: Callable[[], None]) -> None:
        """Do something in so many seconds, unless `run` has ended by then."""

        def due() -> None:
            self._calls.discard(handle)
            function()

        handle = asyncio.get_running_loop().call_later(seconds, due)
        self._calls.add(handle)

    def _due(self, key: tuple[Kind, str, str]) -> None:
        del self._timers[key]
        self.touch(*key)

    async def run(self, syncs: Mapping[Kind, Sync]) -> None:
        """Look at what was touched until cancelled, by `syncs`, whose order is that of the kinds."""
        try:
            while True:
                await self._work.wait()
                kind = next((kind for kind in syncs if self._touched.get(kind)), None)
                if kind is None:
                    self._touched.clear()
                    self._work.clear()
                    continue
                until = self.time() + SLICE
                for namespace, name in self._touched.pop(kind):
                    self._look(syncs[kind], kind, namespace, name)
                    if self.time() >= until:
                        await asyncio.sleep(GIVE_WAY if self._busy() else 0)
                        until = self.time() + SLICE
                await asyncio.sleep(0)
        finally:
            for timer in (*self._timers.values(), *self._calls):
                timer.cancel()
            self._timers.clear()
            self._calls.clear()

    def _look(self, sync: Sync, kind: Kind, namespace: str, name: str) -> None:
        try:
            sync(namespace, name)
        except AlreadyExists:
            pass  # the name is taken, most often by a pod that is ending; its owner of the same name is told then
        except Exception as error:
            # An object that no API server would have let in must not stop all others. The text of the error
            # could hold what the object holds.
            log.error(
                "the sandbox can't act on an object: it is malformed",
                kind=kind.kind,
                namespace=namespace,
                name=name,
                error=type(error).__name__,
            )


def with_status(obj: dict[str, Any], status: dict[str, Any]) -> dict[str, Any]:
    """The object with another status, in which zeros are left out as Go's `omitempty` does."""
    return {
        **obj,
        "status": {field: value for field, value in status.items() if value not in (0, None, "", [])},
    }
