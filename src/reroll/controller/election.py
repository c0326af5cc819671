"""Which of several controllers acts: the election that the settings ask for, and acting while it is won."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Any

from reroll.controller.announce import BEHIND
from reroll.kube.client import Client
from reroll.kube.election import Behind, LeaderElection, unique_identity
from reroll.settings import Settings


def election_of(
    settings: Settings, client: Client, namespace: str, behind: Callable[[], float]
) -> LeaderElection | None:
    """The election that the settings ask for, if they do. `namespace`: of the controller; `behind`: see
    `LeaderElection`."""
    if not settings.leader_election:
        return None
    identity = unique_identity(os.environ.get("POD_NAME", ""))
    home = settings.lease_namespace or namespace
    return LeaderElection(client, home, settings.lease_name, identity, behind=Behind(BEHIND, behind))


async def act_while_leading(
    election: LeaderElection | None, act: Callable[[], Coroutine[Any, Any, None]], stopping: asyncio.Event
) -> None:
    """Act until `stopping` is set; of several controllers only while this one leads. `act` is cancelled where the lead
    is lost, and has to come to its end by itself when `stopping` is set. None: there is no other."""
    if election is None:
        await act()
        return

    async def stop() -> None:
        await stopping.wait()
        election.stop()

    stopped = asyncio.create_task(stop())
    try:
        await election.run(act)
    finally:
        stopped.cancel()
