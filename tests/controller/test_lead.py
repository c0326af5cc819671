"""Acting: a queue, a term and actors for each lead, made anew each time (in virtual time)."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from reroll.controller.concurrency import Limiter
from reroll.controller.lead import Acting
from reroll.controller.report import Reporter
from reroll.core.records import ConfigId, WorkloadId
from reroll.kube.errors import Unreachable
from tests.controller.played import DEPLOYMENTS, IMPORT, JOBS, WEB, Events, World, deployment, job

pytestmark = pytest.mark.looptime

APP = ConfigId("configmap", "shop", "app")


class Place:
    """A controller's acting half on a played server."""

    def __init__(self) -> None:
        self.world = World()
        self.store, self.server = self.world.store, self.world.server
        self.events = Events()
        self.acting = Acting(
            self.store,
            self.server,
            self.world.metrics,
            lambda: Reporter(self.events),
            check_key=self.world._check_key,
            limiter=Limiter(1, 8),
            now=lambda: self.world.now,
        )
        self.store.ask = self.acting.ask
        self.world.config(version=1, PORT="1")
        self.server.put(DEPLOYMENTS, deployment())
        self.world.tell(f"{DEPLOYMENTS}/web", live=False)

    def lead(self) -> tuple[asyncio.Task[None], asyncio.Event]:
        stopping = asyncio.Event()
        return asyncio.create_task(self.acting.act(lambda workload: True, 2, stopping)), stopping

    async def lose(self, lead: asyncio.Task[None]) -> None:
        lead.cancel()
        with pytest.raises(asyncio.CancelledError):
            await lead


async def test_one_that_stands_by_has_an_empty_queue() -> None:
    """C19: it asks nothing, so nothing waits, and Events are not held up by it."""
    place = Place()
    place.world.config(version=100, PORT="2")
    place.acting.ask(WEB, APP)
    now = place.acting.queue.statistics()
    assert (now.ready, now.delayed, now.oldest_wait_seconds) == (0, 0, 0.0)
    assert len(place.acting.queue) == 0


async def test_who_leads_asks_about_all_and_then_about_what_changes() -> None:
    place = Place()
    task, stopping = place.lead()
    await asyncio.sleep(1.0)
    assert "reroll.dev/applied" in place.world.annotations()
    place.world.config(version=100, PORT="2")
    await asyncio.sleep(1.0)
    assert place.world.mark()
    stopping.set()
    await task
    assert place.acting.lead is None


async def test_nothing_of_a_lead_outlives_it() -> None:
    place = Place()
    place.server.fail = lambda verb, name: Unreachable("away")
    task, _ = place.lead()
    await asyncio.sleep(1.0)
    assert place.acting.queue.statistics().delayed == 1
    assert place.acting.lead is not None
    term = place.acting.lead.term
    with capture_logs() as logs:
        await place.lose(task)
    assert [line["event"] for line in logs] == ["lost leadership: nothing more is written"]
    assert place.acting.queue.statistics().delayed == 0
    assert not term.owns(WEB)
    place.server.fail = lambda verb, name: None
    await asyncio.sleep(3600.0)
    assert "reroll.dev/applied" not in place.world.annotations()
    task, stopping = place.lead()
    await asyncio.sleep(1.0)
    assert "reroll.dev/applied" in place.world.annotations()
    assert place.acting.lead.term is not term
    stopping.set()
    await task


async def with_a_job_half_done() -> tuple[Place, asyncio.Task[None], asyncio.Event]:
    """A Job was deleted, and the server does not take the new one. What leads, and what stops it."""
    place = Place()
    place.server.put(JOBS, job())
    place.world.tell(f"{JOBS}/import", live=False)
    task, stopping = place.lead()
    await asyncio.sleep(1.0)
    place.server.fail = lambda verb, name: (
        Unreachable("away") if (verb, name) == ("create", "import") else None
    )
    place.world.config(version=100, PORT="2")
    await asyncio.sleep(1.0)
    return place, task, stopping


async def test_what_must_not_be_left_half_done_is_finished_at_a_stop() -> None:
    place, task, stopping = await with_a_job_half_done()
    assert "import" not in place.server.names(JOBS)
    place.world.tell(f"{JOBS}/import")
    stopping.set()
    await asyncio.sleep(2.0)
    place.server.fail = lambda verb, name: None
    await task
    assert place.server.names(JOBS) == ["import"]


async def test_it_ends_all_the_same_where_that_goes_on_failing() -> None:
    place, task, stopping = await with_a_job_half_done()
    stopping.set()
    start = asyncio.get_running_loop().time()
    await task
    assert asyncio.get_running_loop().time() - start == pytest.approx(5.0, abs=0.6)
    [stand_in] = place.server.names(JOBS)
    assert WorkloadId("Job", "shop", stand_in) != IMPORT
