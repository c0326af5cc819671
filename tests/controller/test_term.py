"""What is remembered in a term of leadership, and that nothing of it outlives the term."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from reroll.controller.ledger import RECORDS, TRUCE, Ledger
from reroll.controller.result import Again, Done, Held
from reroll.controller.term import Settling
from reroll.core.decision import Decision, Kind
from reroll.core.records import Applied, WorkloadId, WorkloadRecord
from reroll.kube.errors import Forbidden, ServerError, Unreachable
from tests.controller.played import IMPORT, JOBS, WEB, World, job
from tests.records import deployment

PATH = f"{JOBS}/import"


async def deleted_and_not_created(*, stand_in: bool = True) -> World:
    """A Job was deleted to be created again, and the create failed."""
    world = World()
    world.config(version=1, PORT="1")
    world.server.put(JOBS, job())
    world.tell(PATH, live=False)
    assert await world.reconcile(IMPORT) == Done()
    world.config(version=100, PORT="2")

    def fail(verb: str, name: str) -> Forbidden | Unreachable | None:
        if verb == "create" and name != "import" and not stand_in:
            return Forbidden("exceeded quota", status=403)
        return Unreachable("the API server is away") if verb == "create" and name == "import" else None

    world.server.fail = fail
    result = await world.reconcile(IMPORT)
    assert isinstance(result, Held)
    assert result.at_least == 0.0
    world.server.fail = lambda verb, name: None
    assert world.server.names(JOBS) == ([world.server.names(JOBS)[0]] if stand_in else []), (
        "the old one is gone, and only its stand-in is there"
    )
    world.tell(PATH)
    return world


class TestAJobThatIsBeingCreatedAgain:
    async def test_goes_on_within_the_term(self) -> None:
        world = await deleted_and_not_created()
        assert world.term.modes.all_unfinished() == [IMPORT]
        assert await world.reconcile(IMPORT) == Done()
        assert world.server.names(JOBS) == ["import"], "its stand-in is gone"
        assert world.mark(PATH)
        assert world.term.modes.all_unfinished() == []
        assert [reason for reason, _ in world.events.sent] == ["Failed", "Rolled"]

    async def test_keeps_its_stand_in_until_it_is_there(self) -> None:
        world = await deleted_and_not_created()
        [stand_in] = world.server.names(JOBS)
        world.tell(f"{JOBS}/{stand_in}")
        assert isinstance(await world.reconcile(WorkloadId("Job", "shop", stand_in)), Again)
        assert world.server.names(JOBS) == [stand_in]

    async def test_waits_for_the_old_one_to_go(self) -> None:
        world = World()
        world.config(version=1, PORT="1")
        world.server.put(JOBS, job(finalizers=("example.com/keep",)))
        world.tell(PATH, live=False)
        assert await world.reconcile(IMPORT) == Done()
        world.config(version=100, PORT="2")
        for _ in range(3):
            result = await world.reconcile(IMPORT)
            assert isinstance(result, Held)
            assert result.at_least == 0.0
        world.server.release(PATH)
        assert await world.reconcile(IMPORT) == Done()
        assert world.mark(PATH)

    async def test_is_decided_on_anew_where_it_was_not_deleted_after_all(self) -> None:
        world = World()
        world.config(version=1, PORT="1")
        world.server.put(JOBS, job())
        world.tell(PATH, live=False)
        assert await world.reconcile(IMPORT) == Done()
        world.config(version=100, PORT="2")
        world.server.fail = lambda verb, name: Unreachable("away") if verb == "delete" else None
        with pytest.raises(Unreachable):
            await world.reconcile(IMPORT)
        world.server.fail = lambda verb, name: None
        assert isinstance(await world.reconcile(IMPORT), Again)
        assert world.mark(PATH) is None
        assert await world.reconcile(IMPORT) == Done()
        assert world.mark(PATH)
        assert world.server.names(JOBS) == ["import"]

    async def test_is_not_run_again_by_one_that_leads_again_later(self) -> None:
        """C4: the lead is lost by the same outage, the next leader creates the Job, it ends, and is cleaned up."""
        world = await deleted_and_not_created()
        world.lose_the_lead()
        assert await world.reconcile(IMPORT) == Done()
        [stand_in] = world.server.names(JOBS)

        other = World(server=world.server)  # leads meanwhile
        other.config(version=101, PORT="2")
        other.tell(f"{JOBS}/{stand_in}", live=False)
        of_stand_in = WorkloadId("Job", "shop", stand_in)
        await other.reconcile(of_stand_in)
        other.now += 11.0
        await other.reconcile(of_stand_in)
        assert world.server.names(JOBS) == ["import"]
        world.server.remove(PATH)  # its TTL is over

        world.tell(f"{JOBS}/{stand_in}")
        world.server.requests.clear()
        world.lead()
        assert world.term.modes.all_unfinished() == []
        for workload in (IMPORT, of_stand_in):
            assert await world.reconcile(workload) == Done()
        assert world.server.writes() == []

    async def test_one_without_a_stand_in_is_named_when_the_term_ends(self) -> None:
        world = await deleted_and_not_created(stand_in=False)
        with capture_logs() as logs:
            world.lose_the_lead()
        assert [line["workload"] for line in logs if line["log_level"] == "error"] == [str(IMPORT)]

    async def test_one_with_a_stand_in_is_left_to_the_next(self) -> None:
        world = await deleted_and_not_created()
        with capture_logs() as logs:
            world.lose_the_lead()
        assert not [line for line in logs if line["log_level"] == "error"]


async def test_a_term_that_has_ended_owns_nothing() -> None:
    world = World()
    assert world.term.owns(WEB)
    world.leads = False
    assert not world.term.owns(WEB)
    world.leads = True
    world.lose_the_lead()
    assert not world.term.owns(WEB)


class TestSettling:
    def test_since_the_first_change(self) -> None:
        settling = Settling()
        assert settling.since(WEB, 5.0) is None
        settling.wait(WEB, 5.0)
        settling.wait(WEB, 7.0)
        assert settling.since(WEB, 9.0) == 5.0
        settling.over(WEB)
        assert settling.since(WEB, 9.0) is None

    def test_anew_after_a_block(self) -> None:
        settling = Settling()
        settling.wait(WEB, 5.0)
        settling.block(WEB)
        assert settling.since(WEB, 600.0) == 600.0
        settling.wait(WEB, 601.0)
        assert settling.since(WEB, 700.0) == 601.0

    def test_not_at_all_once_it_was_acted_on(self) -> None:
        settling = Settling()
        settling.block(WEB)
        settling.over(WEB)
        assert settling.since(WEB, 600.0) is None


class Echoes:
    """Notes the mark whose echo is waited for."""

    def __init__(self) -> None:
        self.mark: str | None = None

    def writing(self, workload: WorkloadId, mark: str | None, applied: Applied | None = None) -> None:
        self.mark = mark


APPLIED = Applied("t", "k", {"configmap/app": {"PORT": "d"}})
ROLL = Decision(Kind.ROLL, "changed", applied=APPLIED, mark="m2")
RECORD = Decision(Kind.RECORD, "recorded", applied=APPLIED)
BEFORE = deployment()
AFTER = replace(BEFORE, applied=APPLIED, mark="m2")


class TestTheLedger:
    def test_a_lost_answer_is_confirmed_by_what_is_there(self) -> None:
        ledger = Ledger(Echoes())
        ledger.begin(BEFORE, ROLL)
        assert ledger.confirm_lost_answer(BEFORE, 0.0) is None
        assert ledger.confirm_lost_answer(AFTER, 0.0) is ROLL
        assert ledger.confirm_lost_answer(AFTER, 0.0) is None, "once"

    @pytest.mark.parametrize(
        "other",
        [
            replace(AFTER, mark="m1"),
            replace(AFTER, unsaved=True),
            replace(AFTER, applied=None),
            replace(AFTER, uid="another"),
        ],
        ids=["another mark", "known here alone", "no record", "another object"],
    )
    def test_and_by_nothing_else(self, other: object) -> None:
        ledger = Ledger(Echoes())
        ledger.begin(BEFORE, ROLL)
        assert ledger.confirm_lost_answer(other, 0.0) is None  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        "other",
        [replace(AFTER, mark=None), replace(AFTER, uid="another")],
        ids=["mark taken away", "made again"],
    )
    def test_what_can_never_be_confirmed_is_not_waited_for(self, other: WorkloadRecord) -> None:
        echoes = Echoes()
        ledger = Ledger(echoes)
        ledger.begin(BEFORE, ROLL)
        assert ledger.confirm_lost_answer(other, 0.0) is None
        assert ledger.confirm_lost_answer(AFTER, 0.0) is None
        assert echoes.mark is None

    def test_one_that_was_refused_leaves_the_one_before(self) -> None:
        echoes = Echoes()
        ledger = Ledger(echoes)
        assert ledger.begin(BEFORE, ROLL) is None
        earlier = ledger.begin(BEFORE, replace(ROLL, mark="m3"))
        assert echoes.mark == "m3"
        ledger.restore(WEB, earlier)
        assert echoes.mark == "m2"
        assert ledger.confirm_lost_answer(AFTER, 0.0) is ROLL

    def test_what_is_finished_has_no_echo_to_wait_for(self) -> None:
        echoes = Echoes()
        ledger = Ledger(echoes)
        ledger.begin(BEFORE, ROLL)
        ledger.finish(WEB, ROLL, 0.0)
        assert echoes.mark is None
        assert ledger.confirm_lost_answer(AFTER, 0.0) is None

    def test_records_in_a_row_are_a_fight(self) -> None:
        ledger = Ledger(Echoes())
        for number in range(RECORDS):
            assert not ledger.fought_over(WEB, float(number))
            ledger.finish(WEB, RECORD, float(number))
        assert ledger.fought_over(WEB, float(RECORDS))
        assert not ledger.fought_over(WEB, TRUCE)
        ledger.forget(WEB)
        assert not ledger.fought_over(WEB, float(RECORDS))

    def test_rollouts_are_none(self) -> None:
        ledger = Ledger(Echoes())
        for number in range(2 * RECORDS):
            ledger.finish(WEB, ROLL, float(number))
        assert not ledger.fought_over(WEB, 1.0)


async def test_a_failure_is_told_once_and_again_after_it_went_well() -> None:
    world = World()
    world.config(version=1, PORT="1")
    world.server.put(JOBS, job())
    world.tell(PATH, live=False)
    entry = world.store.workload(IMPORT)
    reporter = world.term.reporter
    lost, away = Unreachable("lost"), ServerError("away", status=500)
    refused, invalid = Forbidden("no", status=403), Forbidden("no", status=403, reason="Other")
    for error in (lost, away, lost):
        reporter.failed(entry, IMPORT, error, 1.0)
    assert len(world.events.sent) == 1
    for refusal in (refused, refused, invalid, invalid):
        reporter.failed(entry, IMPORT, refusal, 1.0, refused=True)
    assert len(world.events.sent) == 3, "each reason of a refusal is news"
    world.term.settled(IMPORT)
    reporter.failed(entry, IMPORT, lost, 1.0)
    assert len(world.events.sent) == 4
