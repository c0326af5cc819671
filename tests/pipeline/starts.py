"""Waits for the second after containers started: within one, times can't tell what came first."""

from __future__ import annotations

import time

import msgspec

from reroll.core.observe import epoch
from tests.controller.conftest import Stage


async def started_before_now(stage: Stage, *names: str) -> None:
    """Wait until the containers of these workloads run, and have started in an earlier second than this one."""
    for name in names:

        async def earlier(name: str = name) -> bool:
            path = stage.path("Pod") + f"?labelSelector=app%3D{name}"
            pods = msgspec.json.decode(await stage.client.list_page(path))["items"]
            starts = [
                epoch(((each.get("state") or {}).get("running") or {}).get("startedAt"))
                for pod in pods
                for each in pod["status"].get("containerStatuses") or [{}]
            ]
            return bool(starts) and min(starts) > 0 and max(starts) < int(time.time())

        await stage.until(earlier, f"{name} has not started")
