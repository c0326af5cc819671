"""When copies are collected: by whoever leads, every few minutes, where there are or may be any."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import structlog

from reroll.controller.metrics import Step
from reroll.controller.store import Store
from reroll.core.pointing import KINDS
from reroll.core.records import ConfigKind
from reroll.kube.errors import ApiError, Forbidden
from reroll.versions.collect import Api, collect

log = structlog.get_logger("reroll.controller")

FIRST: Final = 60.0
"""Seconds of leading before the first pass: a start has better things to do."""
EVERY: Final = 300.0
"""Seconds between passes while some workload is in the mode `version`."""
SELDOM: Final = 3600.0
"""The same while none is: what the last one left behind goes, too."""


class Counts(Protocol):
    """Who counts; `controller.metrics.Metrics` does."""

    def failed(self, step: Step, reason: str) -> None: ...


class Garbage:
    """Passes of garbage collection for one term. `now`: seconds since the epoch."""

    def __init__(
        self,
        api: Api,
        store: Store,
        counts: Counts,
        *,
        namespaces: Sequence[str],
        config_kinds: Sequence[ConfigKind],
        now: Callable[[], float],
    ) -> None:
        self._api, self._store, self._counts = api, store, counts
        self._namespaces = tuple(namespaces) or ("",)
        self._config_kinds = [kind for kind in config_kinds if kind in KINDS]
        self._now = now
        self._problem = ""

    async def run(self) -> None:
        """Until it is cancelled."""
        wait = FIRST
        while True:
            await asyncio.sleep(wait)
            wait = EVERY if self.used() else SELDOM
            await self.once()

    def used(self) -> bool:
        """Is any workload in the mode `version`?"""
        return any(entry.policy.enabled and entry.policy.mode == "version" for entry in self._store.entries())

    async def once(self) -> None:
        """One pass. A failure ends it, and the next one begins anew."""
        try:
            await collect(
                self._api,
                self._store.kinds.values(),
                self._now(),
                namespaces=self._namespaces,
                config_kinds=self._config_kinds,
            )
        except ApiError as error:
            self._failed(error)
        except Exception:  # what stands in the objects of somebody must not end what everybody else needs
            self._counts.failed("collect", "internal")
            log.exception("versions were not collected: a fault of reroll")
        else:
            self._problem = ""

    def _failed(self, error: ApiError) -> None:
        """Told once for each reason. Who has no versions, and no permission to delete any, lacks nothing."""
        self._counts.failed("collect", error.reason or "error")
        problem = str(error)
        if problem != self._problem and (self.used() or not isinstance(error, Forbidden)):
            log.warning(
                "versions were not collected", error=problem, hint="see docs/versions.md for the permissions"
            )
        self._problem = problem
