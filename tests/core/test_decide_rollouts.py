"""What counts is what runs: rollouts that are cut short, taken back, held up or overtaken, as `decide` sees them."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from msgspec.structs import replace

from reroll.core.decide import decide
from reroll.core.decision import Kind
from reroll.core.put_back import AGAIN_AFTER
from reroll.core.records import Applied
from reroll.dialects.marks import STYLES
from tests.core.running import Running


def kinds(world: Running) -> list[Kind]:
    return [decision.kind for decision in world.done]


def rolled(world: Running) -> int:
    return kinds(world).count(Kind.ROLL)


class TestItsOwnRollout:
    def test_is_a_promise_until_its_pods_are_replaced(self) -> None:
        world = Running()
        world.put("app", "A=2")
        found = world.reconcile()
        assert (found.kind, found.runs) == (Kind.SKIP, "rolling")
        assert "the rollout is not over" in found.reason
        world.step()
        assert "1 of 4 pods is new" in world.reconcile().reason
        world.finish()
        found = world.reconcile()
        assert (found.runs, world.stale_pods()) == ("current", 0)
        assert rolled(world) == 1

    @pytest.mark.parametrize("hold", [{"paused": True}, {"on_delete": True}, {"partition": 2}])
    def test_that_is_held_up_is_never_called_current(self, hold: dict[str, object]) -> None:
        world = Running()
        world.become(**hold)
        world.put("app", "A=2")
        world.settle()
        assert world.stale_pods() > 0
        for found in (world.reconcile(), world.explained()):
            assert found.runs == "rolling", found
        world.restart_controller()
        assert world.settle().runs == "rolling"
        assert rolled(world) == 1
        world.become(paused=False, on_delete=False, partition=0)
        assert (world.settle().runs, world.stale_pods()) == ("current", 0)
        assert rolled(world) == 1

    @pytest.mark.parametrize("steps", range(5))
    def test_goes_on_when_the_controller_is_started_again(self, steps: int) -> None:
        world = Running()
        world.put("app", "A=2")
        world.reconcile()
        for _ in range(steps):
            world.step()
        world.restart_controller()
        assert (world.settle().runs, world.stale_pods(), rolled(world)) == ("current", 0, 1)

    @pytest.mark.parametrize("steps", range(5))
    def test_is_overtaken_by_another_change(self, steps: int) -> None:
        world = Running()
        world.put("app", "A=2")
        world.reconcile()
        for _ in range(steps):
            world.step()
        world.put("app", "A=3")
        assert (world.settle().runs, world.stale_pods(), rolled(world)) == ("current", 0, 2)

    @pytest.mark.parametrize("steps", range(5))
    @pytest.mark.parametrize("between", [0, 1, 2])
    def test_of_content_that_is_put_back(self, steps: int, between: int) -> None:
        """Pods that started meanwhile have read what is no longer there."""
        world = Running()
        world.put("app", "A=2")
        world.reconcile()
        for _ in range(steps):
            world.step()
        world.put("app", "A=1")
        for _ in range(between):
            world.step()
        assert (world.settle().runs, world.stale_pods()) == ("current", 0)

    @pytest.mark.parametrize("steps", range(4))
    def test_of_content_that_comes_and_goes_unacted_on(self, steps: int) -> None:
        """Changed and put back before anything was decided: what started in between has read it (`mixed`)."""
        world = Running()
        world.put("app", "A=2")
        world.reconcile()
        for _ in range(steps):
            world.step()
        world.put("app", "A=3")
        world.step()
        world.put("app", "A=2")
        assert (world.settle().runs, world.stale_pods()) == ("current", 0)

    def test_of_content_that_comes_and_goes_within_a_second(self) -> None:
        """What ends `mixed` is another time of decision: with the same one, its pods were evicted without end."""
        world = Running()
        world.put("app", "A=2")
        world.reconcile()
        before = world.workload.applied
        assert before is not None
        world.become(mixed=frozenset({"configmap/app"}))
        found = decide(replace(world.situation(), now=before.at + 0.5))
        assert found.kind is Kind.ROLL
        assert found.applied is not None
        assert found.applied.at != before.at

    @pytest.mark.parametrize("style", sorted(STYLES))
    @pytest.mark.parametrize("restart", [False, True])
    def test_that_goes_back_to_a_revision_whose_pods_were_started_again(
        self, style: str, restart: bool
    ) -> None:
        """Such a pod has the mark of the content that is back, and has read the one in between."""
        world = Running(marks=STYLES[style])
        world.put("app", "A=2")
        world.settle()
        world.put("app", "A=3")
        world.reconcile()
        world.step()
        world.kill(0)
        if restart:
            world.restart_controller()
        world.put("app", "A=2")
        assert (world.settle().runs, world.stale_pods(), rolled(world)) == ("current", 0, 3)

    @pytest.mark.parametrize("style", sorted(STYLES))
    def test_that_goes_back_to_a_revision_in_which_a_pod_read_something_else(self, style: str) -> None:
        world = Running(marks=STYLES[style])
        world.put("app", "A=2")
        world.reconcile()
        world.put("app", "A=3")
        world.step()
        world.reconcile()
        world.put("app", "A=2")
        assert (world.settle().runs, world.stale_pods(), rolled(world)) == ("current", 0, 3)

    def test_whose_pods_all_go(self) -> None:
        world = Running()
        world.put("app", "A=2")
        world.reconcile()
        world.step()
        world.become(replicas=0)
        world.settle()
        world.become(replicas=4)
        assert (world.settle().runs, world.stale_pods(), rolled(world)) == ("current", 0, 1)


class TestADeployOfBoth:
    def test_is_one_rollout(self) -> None:
        world = Running()
        world.put("app", "A=2")
        world.template("template-2", None, by="helm")
        found = world.reconcile()
        assert found.kind is Kind.WAIT
        assert "its rollout is not over" in found.reason
        world.step()
        assert world.reconcile().kind is Kind.WAIT
        world.finish()
        assert (world.reconcile().kind, world.explained().runs, rolled(world)) == (Kind.SKIP, "current", 0)
        assert kinds(world) == [Kind.RECORD]

    @pytest.mark.parametrize("steps", range(4))
    def test_undone_in_the_middle_by_a_person_stays_and_is_told(self, steps: int) -> None:
        world = Running()
        before = world.workload
        world.put("app", "A=2")
        world.template("template-2", None, by="kubectl-set", willed=True)
        world.reconcile()
        for _ in range(steps):
            world.step()
        world.person_undoes(before)
        found = world.settle()
        assert (world.stale_pods(), rolled(world)) == (4 - steps, 0)
        [warning] = world.warned
        assert warning.event == "PutBack"
        assert f"{4 - steps} of 4 pods run older configuration" in warning.reason
        for told in (found, world.explained()):
            assert told.runs == "older"
            assert f"{4 - steps} of 4 pods run older configuration" in told.reason

    def test_undone_after_its_end_is_a_rollout_as_any_other(self) -> None:
        world = Running()
        before = world.workload
        world.put("app", "A=2")
        world.template("template-2", None)
        world.settle()
        world.person_undoes(before)
        world.settle()
        assert (world.explained().runs, world.stale_pods(), rolled(world)) == ("current", 0, 0)
        assert not world.warned

    @pytest.mark.parametrize("steps", range(4))
    def test_undone_in_the_middle_by_an_operator_is_rolled(self, steps: int) -> None:
        world = Running()
        world.put("app", "A=2")
        world.template("template-2", None, by="operator")
        world.reconcile()
        for _ in range(steps):
            world.step()
        world.operator_writes("template-1")
        assert (world.settle().runs, world.stale_pods(), rolled(world)) == ("current", 0, 1)
        assert not world.warned

    def test_within_one_second_of_each_other(self) -> None:
        world = Running()
        world.put("app", "A=2")
        world.template("template-2", None, by="helm", ties=True)
        world.settle()
        assert (world.explained().runs, world.stale_pods(), rolled(world)) == ("current", 0, 0)

    def test_whose_order_a_new_controller_can_not_tell_rolls(self) -> None:
        """One restart too many is better than stale pods."""
        world = Running()
        world.put("app", "A=2")
        world.template("template-2", None, by="helm", ties=True)
        world.pods = [replace(pod, created=world.now) for pod in world.pods]
        world.restart_controller()
        assert (world.settle().runs, world.stale_pods(), rolled(world)) == ("current", 0, 1)

    def test_that_keeps_the_mark_of_a_rollout_under_way(self) -> None:
        world = Running()
        world.put("app", "A=2")
        world.reconcile()
        world.step()
        world.template("template-2", world.workload.mark, by="helm")
        assert world.reconcile().kind is Kind.WAIT
        world.settle()
        assert (world.explained().runs, world.stale_pods(), rolled(world)) == ("current", 0, 1)

    def test_that_loses_the_mark_of_a_rollout_under_way(self) -> None:
        world = Running()
        world.put("app", "A=2")
        world.reconcile()
        world.step()
        world.operator_writes("template-2")
        assert world.reconcile().kind is Kind.WAIT
        world.settle()
        assert (world.explained().runs, world.stale_pods(), rolled(world)) == ("current", 0, 1)


class TestPutBackInTheMiddle:
    @pytest.mark.parametrize("steps", range(4))
    def test_by_a_person_it_stays_and_is_told(self, steps: int) -> None:
        world = Running()
        before = world.workload
        world.put("app", "A=2")
        world.reconcile()
        for _ in range(steps):
            world.step()
        world.person_undoes(before)
        found = world.settle()
        assert (rolled(world), world.stale_pods(), world.workload.mark) == (1, 4 - steps, None)
        assert [each.event for each in world.warned] == ["PutBack"]
        assert found.runs == "older"
        world.restart_controller()
        again = world.settle()
        assert (again.runs, again.reason, rolled(world)) == ("older", found.reason, 1)
        # Pods that are replaced by and by run what is there now.
        for number in range(4):
            world.kill(0)
            assert world.explained().runs == ("older" if world.stale_pods() else "current"), number

    def test_after_an_earlier_rollout_its_pods_are_older_than_the_later_change(self) -> None:
        """They are younger than the change before, and that proves nothing."""
        world = Running()
        world.put("app", "A=2")
        world.settle()
        before = world.workload
        world.put("app", "A=3")
        world.template("template-2", before.mark, by="kubectl-set", willed=True)
        world.reconcile()
        world.step()
        world.person_undoes(before)
        found = world.settle()
        assert (world.stale_pods(), found.runs) == (3, "older")
        told = world.explained()
        assert told.runs == "older"
        assert "3 of 4 pods" in told.reason

    @pytest.mark.parametrize("steps", range(4))
    def test_by_an_operator_once_the_pods_follow_all_the_same(self, steps: int) -> None:
        world = Running()
        world.put("app", "A=2")
        world.reconcile()
        for _ in range(steps):
            world.step()
        mark = world.workload.mark
        world.operator_writes()
        assert (world.settle().runs, world.stale_pods(), rolled(world)) == ("current", 0, 2)
        assert world.workload.mark == mark
        assert not world.warned

    def test_by_an_operator_after_its_end_is_a_rollout_as_any_other(self) -> None:
        world = Running()
        world.put("app", "A=2")
        world.settle()
        world.operator_writes()
        world.settle()
        assert (world.explained().runs, world.stale_pods(), rolled(world)) == ("current", 0, 1)

    def fight(self, world: Running) -> list[float]:
        """An operator that writes its template each time that it is rolled; gives the times of the rollouts."""
        times = []
        for _ in range(200):
            decision = world.reconcile()
            if world.workload.mark is not None:
                times.append(world.now)
                world.step()
                world.operator_writes()
            elif not world.step():
                if decision.until is None:
                    return times
                world.now = max(world.now, decision.until)
        raise AssertionError("the fight has no end")

    def test_by_an_operator_each_time_it_is_bounded_and_told(self) -> None:
        world = Running()
        world.put("app", "A=2")
        times = self.fight(world)
        assert len(times) == 1 + len(AGAIN_AFTER)
        waits = [later - earlier for earlier, later in pairwise(times)]
        assert all(wait >= least for wait, least in zip(waits, AGAIN_AFTER, strict=True))
        assert waits[1:] == sorted(waits[1:])
        [warning] = world.warned
        assert warning.event == "Contested"
        assert "operator put the pod template back" in warning.reason
        assert world.stale_pods() > 0
        assert world.explained().runs == "older"
        # It stays so, and costs nothing.
        done = len(world.done)
        world.now += 100_000
        world.settle()
        world.restart_controller()
        world.settle()
        assert len(world.done) == done

    def test_a_new_change_begins_anew(self) -> None:
        world = Running()
        world.put("app", "A=2")
        self.fight(world)
        world.put("app", "A=3")
        assert len(self.fight(world)) == 1 + len(AGAIN_AFTER)
        world.put("app", "A=4")
        assert (world.settle().runs, world.stale_pods()) == ("current", 0)

    def test_where_pods_may_not_be_listed(self) -> None:
        """It is as if some were older: rolled again, and told."""
        world = Running()
        world.listable = False
        world.put("app", "A=2")
        world.reconcile()
        world.step()
        world.operator_writes()
        assert (world.settle().runs, world.stale_pods()) == ("current", 0)
        world.put("app", "A=3")
        before = world.workload
        world.reconcile()
        world.step()
        world.person_undoes(before)
        found = world.settle()
        assert found.runs == "older"
        assert "some of its pods" in found.reason

    def test_in_the_second_of_the_change(self) -> None:
        """Times are whole seconds: such a pod may have read either, and is not called current."""
        world = Running()
        before = world.workload
        world.put("app", "A=2")
        world.pods = [replace(pod, created=world.now) for pod in world.pods]
        world.reconcile()
        world.step()
        world.person_undoes(before)
        found = world.settle()
        assert (world.stale_pods(), found.runs) == (3, "older")
        assert world.explained().runs == "older"

    @pytest.mark.parametrize("style", sorted(STYLES))
    def test_to_a_template_that_consumes_nothing_there_is_nothing_to_roll_for(self, style: str) -> None:
        world = Running(marks=STYLES[style])
        consumed, world.consumed = world.consumed, ()
        world.operator_writes("template-0")
        world.settle()
        world.consumed = consumed
        world.put("app", "A=2")
        world.operator_writes("template-1")
        world.reconcile()
        world.step()
        world.put("app", "A=3")
        world.reconcile()
        world.step()
        assert rolled(world) == 1
        world.consumed = ()
        world.operator_writes("template-0")
        assert world.reconcile().kind is Kind.WAIT
        found = world.settle()
        assert (found.kind, rolled(world)) == (Kind.SKIP, 1)
        assert world.workload.applied is not None
        assert (world.workload.applied.configs, world.workload.applied.since) == ({}, 0)


class TestScaledToNothing:
    def test_pods_that_still_run_are_waited_for(self) -> None:
        world = Running()
        world.put("app", "A=2")
        world.become(replicas=0)
        world.seen = False
        found = world.decided()
        assert found.kind is Kind.WAIT
        assert "its pods still run" in found.reason
        world.settle()
        assert (kinds(world), world.pods) == ([Kind.RECORD], [])

    def test_and_up_again_before_its_controller_saw_it(self) -> None:
        world = Running()
        world.put("app", "A=2")
        world.become(replicas=0)
        world.seen = False
        world.reconcile()
        world.become(replicas=4)
        assert (world.settle().runs, world.stale_pods(), rolled(world)) == ("current", 0, 1)


class TestRecordsOfAnOlderReroll:
    def test_nothing_is_rolled_and_nothing_is_written(self) -> None:
        world = Running()
        world.put("app", "A=2")
        world.settle()
        now = world.workload.applied
        assert now is not None
        world.become(applied=Applied(now.template, now.key_id, now.configs))
        done = len(world.done)
        for _ in range(2):
            world.settle()
            world.restart_controller()
            world.settle()
        assert len(world.done) == done
        assert world.explained().runs == "current"

    def test_its_next_change_is_a_promise(self) -> None:
        world = Running()
        now = world.workload.applied
        assert now is not None
        assert (now.since, now.mark) == (0, None)
        world.put("app", "A=2")
        world.reconcile()
        assert world.workload.applied is not None
        assert world.workload.applied.since > 0


@pytest.mark.parametrize("style", sorted(STYLES))
@pytest.mark.parametrize("seed", range(150))
def test_whatever_happens_nothing_is_called_current_that_is_not(seed: int, style: str) -> None:
    """Random changes, deploys, undos, operators, deaths of pods and of controllers, at any point of any rollout.

    At each moment only true things are said. In the end all pods run what is there, or somebody was told. Content that
    comes and goes while no controller acts is only seen by the ages of pods, which `explain` asks for.
    """
    chance = random.Random(seed)
    prompt = seed % 2 == 0
    world = Running(replicas=chance.choice([1, 2, 4]), marks=STYLES[style])
    earlier = [world.workload]
    number = 1
    log: list[str] = []
    for _ in range(25):
        event = chance.choice(["change", "change", "back", "deploy", "undo", "operator", "restart", "kill"])
        if chance.random() < 0.55:
            event = chance.choice(["step", "step", "reconcile"])
        log.append(event)
        if event == "change":
            number += 1
            world.put("app", f"A={number}")
        elif event == "back":
            world.put("app", f"A={chance.randint(1, number)}")
        elif event == "deploy":
            world.template(f"template-{chance.randint(1, 3)}", world.workload.mark, by="helm")
        elif event == "undo":
            world.person_undoes(chance.choice(earlier))
        elif event == "operator":
            world.operator_writes(chance.choice([None, "template-1"]))
        elif event == "restart":
            world.restart_controller()
        elif event == "kill" and world.pods:
            world.reconcile()  # a pod that dies within the settle time has read what nobody may ever hear of
            world.kill(chance.randrange(4))
        elif event == "step":
            world.step()
        else:
            earlier.append(world.workload)
            world.reconcile()
        if prompt:
            world.reconcile()
        for told in (world.decided(), world.explained()):
            if told.runs == "current":
                assert world.stale_pods() == 0, (log, told.reason)
    found = world.settle()
    if not world.stale_pods():
        return
    assert world.explained().runs == "older", (log, found.reason)
    # A record that was taken away while no controller ran is lost. One that an undo brought back knows nothing of
    # content that came later, and has gone again since.
    lost = Kind.ADOPT in kinds(world) or {"undo", "back"} <= set(log)
    if prompt and not lost:
        assert found.runs == "older", (log, found.reason, [each.reason for each in world.done])
        assert world.warned, (log, found.reason)
