"""What is asked of the API server where workloads are acted on: `kube.client.Client` does it, and `insight.simulation`
plays it."""

from __future__ import annotations

from typing import Protocol

from reroll.controller.ages import Lister
from reroll.kube.client import MERGE_PATCH


class Server(Lister, Protocol):
    """What every mode needs."""

    async def get(self, path: str) -> bytes: ...
    async def patch(self, path: str, body: bytes, *, content_type: str = MERGE_PATCH) -> bytes: ...


class Writer(Protocol):
    """What rolling Jobs, CronJobs and the mode `restart` need beside that."""

    async def create(self, path: str, body: bytes) -> bytes: ...
    async def delete(self, path: str, body: bytes | None = None, *, attempts: int = 4) -> bytes: ...
