"""Which kinds the server serves: followed while they are there, and asked for again when they are not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from reroll.controller.served import ServedKinds
from reroll.core.kinds import DEPLOYMENT, ROLLOUT, WorkloadKind
from reroll.kube.errors import ApiError, Forbidden, NotFound, Unreachable

CLONE_SET = WorkloadKind("", "apps.kruise.io", "v1alpha1", "clonesets", optional=True, custom=True)
BROADCAST = WorkloadKind("", "apps.kruise.io", "v1alpha1", "broadcastjobs", optional=True, custom=True)


class Discovery:
    """A server of which only discovery is asked: group and version -> plural -> kind, or how it fails."""

    def __init__(self) -> None:
        self.served: dict[str, dict[str, str] | ApiError | bytes] = {}
        self.asked: list[str] = []

    async def get(self, path: str, *, accept: str | None = None, attempts: int = 4) -> bytes:
        self.asked.append(path)
        answer = self.served.get(path.removeprefix("/apis/"), NotFound("no such group"))
        if isinstance(answer, ApiError):
            raise answer
        if isinstance(answer, bytes):
            return answer
        resources = [{"name": name, "kind": kind} for name, kind in answer.items()]
        return msgspec.json.encode(
            {"resources": [*resources, {"name": "clonesets/status", "kind": "CloneSet"}]}
        )


class Followed:
    """What is followed at this moment, and how often each was begun."""

    def __init__(self) -> None:
        self.now: list[WorkloadKind] = []
        self.begun: list[str] = []

    async def follow(self, kind: WorkloadKind) -> None:
        self.now.append(kind)
        self.begun.append(kind.id)
        try:
            await asyncio.Event().wait()
        finally:
            self.now.remove(kind)


class World:
    def __init__(self) -> None:
        self.kinds = {kind.id: kind for kind in (DEPLOYMENT, ROLLOUT, CLONE_SET, BROADCAST)}
        self.server, self.followed = Discovery(), Followed()
        self.served = ServedKinds(self.server, self.kinds, self.followed.follow, asked_every=0.01)

    async def ask(self) -> list[str]:
        """Ask once; the ids of what is followed afterwards."""
        await self.served.ask()
        return [kind.id for kind in self.followed.now]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    found = World()
    yield found
    found.server.served.clear()
    await found.served.ask()
    assert found.followed.now == [], "what is no longer served is still followed"


async def test_nothing_is_asked_about_what_every_server_has(world: World) -> None:
    assert await world.ask() == []
    # Once for each group and version, not for each kind.
    assert world.server.asked == ["/apis/argoproj.io/v1alpha1", "/apis/apps.kruise.io/v1alpha1"]


async def test_a_kind_that_comes_is_followed_once_and_its_name_is_learned(world: World) -> None:
    world.server.served["apps.kruise.io/v1alpha1"] = {"clonesets": "CloneSet"}
    assert await world.ask() == [CLONE_SET.id]
    assert await world.ask() == [CLONE_SET.id]
    assert world.followed.begun == [CLONE_SET.id]
    assert world.kinds[CLONE_SET.id].kind == "CloneSet"
    assert world.kinds[BROADCAST.id].kind == ""


async def test_one_that_goes_is_dropped_and_followed_again_when_it_is_back(world: World) -> None:
    served: dict[str, dict[str, str] | ApiError | bytes] = world.server.served
    served["apps.kruise.io/v1alpha1"] = {"clonesets": "CloneSet", "broadcastjobs": "BroadcastJob"}
    assert await world.ask() == [CLONE_SET.id, BROADCAST.id]
    served["apps.kruise.io/v1alpha1"] = {"broadcastjobs": "BroadcastJob"}
    assert await world.ask() == [BROADCAST.id]
    del served["apps.kruise.io/v1alpha1"]
    assert await world.ask() == []
    served["apps.kruise.io/v1alpha1"] = {"clonesets": "CloneSet"}
    assert await world.ask() == [CLONE_SET.id]


@pytest.mark.parametrize(
    "answer",
    [
        Unreachable("away"),
        Forbidden("no"),
        ApiError("503", status=503),
        b"<html>a proxy</html>",
        b'{"resources": 3}',
    ],
    ids=["unreachable", "forbidden", "failing", "a page", "odd"],
)
async def test_where_it_can_not_be_told_all_stays_as_it_is_and_that_is_said_once(
    world: World, answer: ApiError | bytes
) -> None:
    world.server.served["apps.kruise.io/v1alpha1"] = {"clonesets": "CloneSet"}
    await world.ask()
    world.server.served["apps.kruise.io/v1alpha1"] = answer
    with capture_logs() as lines:
        for _ in range(3):
            assert await world.ask() == [CLONE_SET.id]
    assert len([line for line in lines if line["log_level"] == "warning"]) == 1
    # And another group is asked about all the same.
    world.server.served["argoproj.io/v1alpha1"] = {"rollouts": "Rollout"}
    assert set(await world.ask()) == {CLONE_SET.id, ROLLOUT.id}


async def test_it_asks_for_ever_and_lets_go_at_the_end() -> None:
    world = World()
    task = asyncio.create_task(world.served.run())
    await world.served.asked.wait()
    world.server.served["argoproj.io/v1alpha1"] = {"rollouts": "Rollout"}
    async with asyncio.timeout(5):
        while not world.followed.now:  # noqa: ASYNC110
            await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert world.followed.now == []


async def test_what_ends_by_itself_is_begun_again() -> None:
    begun: list[Any] = []

    async def follow(kind: WorkloadKind) -> None:
        begun.append(kind.id)

    server = Discovery()
    server.served["argoproj.io/v1alpha1"] = {"rollouts": "Rollout"}
    served = ServedKinds(server, {ROLLOUT.id: ROLLOUT}, follow, asked_every=1.0)
    await served.ask()
    await served.ask()
    assert begun == [ROLLOUT.id, ROLLOUT.id]
