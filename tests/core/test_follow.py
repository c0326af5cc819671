"""One rollout on its way to its end."""

from __future__ import annotations

from typing import Any

import pytest

from reroll.core.follow import PATIENCE, Following, Step, begin, step
from reroll.core.progress import Progress, RolloutStatus, progress
from reroll.core.records import Applied, WorkloadRecord
from tests.records import deployment

DUE = PATIENCE + 60.0


def web(**fields: Any) -> WorkloadRecord:
    applied = Applied("t", "k", {}, mark="m1", since=1_000, at=1_002)
    return deployment(**{"mark": "m1", "applied": applied, **fields})


def going(new: int, **fields: Any) -> Progress:
    return Progress("going", f"{new} of 4 pods are new", new, 4, **fields)


UNSEEN = Progress("going", "its controller has not observed the change yet", 0, 4)
DONE = Progress("done", "all 4 pods new and available", 4, 4, complete=True)
ENDING = Progress(
    "ending", "all 4 pods new and available; 1 old pod is still terminating", 4, 4, 1, complete=True
)
PAUSED = Progress("blocked", "it is paused: 1 of 4 pods is new", 1, 4)


def failed(judged: float) -> Progress:
    return Progress("failed", "it made no progress within its deadline", 1, 4, judged=judged)


def play(f: Following, *looks: tuple[float, Progress], w: WorkloadRecord | None = None) -> list[Step]:
    """Look at it again and again."""
    found = []
    held: Following | None = f
    for now, p in looks:
        assert held is not None, "it has ended"
        found.append(step(held, w or web(), p, now))
        held = found[-1].following
    return found


def outcomes(steps: list[Step]) -> list[str | None]:
    return [each.report.outcome if each.report is not None else None for each in steps]


class TestToItsGoodEnd:
    def test_is_told_with_its_time(self) -> None:
        steps = play(begin(web(), UNSEEN, 10.0), (11.0, going(0)), (15.0, going(2)), (20.0, DONE))
        assert outcomes(steps) == [None, None, "done"]
        report = steps[-1].report
        assert steps[-1].following is None
        assert report is not None
        assert (report.seconds, report.words) == (10.0, DONE.words)

    def test_old_pods_that_still_terminate_are_named(self) -> None:
        [last] = play(begin(web(), UNSEEN, 10.0), (20.0, ENDING))
        assert last.report is not None
        assert (last.report.outcome, last.report.words) == ("done", ENDING.words)

    def test_of_one_that_began_before_this_process_has_no_time(self) -> None:
        [last] = play(begin(web(), going(2), 10.0, witnessed=False), (20.0, DONE))
        assert last.report is not None
        assert (last.report.outcome, last.report.seconds) == ("done", None)


class TestAFailure:
    def test_is_told_once(self) -> None:
        steps = play(
            begin(web(), UNSEEN, 10.0), (70.0, failed(1_070)), (71.0, failed(1_070)), (9_999.0, going(1))
        )
        assert outcomes(steps) == ["failed", None, None]

    def test_that_heals_is_told(self) -> None:
        steps = play(begin(web(), UNSEEN, 10.0), (70.0, failed(1_070)), (80.0, DONE))
        assert outcomes(steps) == ["failed", "healed"]
        assert steps[-1].report is not None
        assert steps[-1].report.seconds == 70.0

    def test_that_is_about_an_earlier_rollout_counts_for_nothing(self) -> None:
        steps = play(
            begin(web(), going(0, judged=1_500.0), 10.0), (11.0, failed(1_500)), (70.0, failed(1_560))
        )
        assert outcomes(steps) == [None, "failed"]

    def test_that_stood_as_the_mark_was_written(self) -> None:
        """The server answers a patch with a status that its controller wrote before that: the verdict in it stays
        where the template goes back to a ReplicaSet that exists, and is about the rollout before."""
        before = {
            "wanted": 4,
            "total": 5,
            "updated": 1,
            "available": 4,
            "deadline": "ProgressDeadlineExceeded",
        }
        answer = progress(RolloutStatus(seen=False, judged=1_500.0, **before), "Deployment")  # type: ignore[arg-type]
        observed = progress(RolloutStatus(seen=True, judged=1_500.0, **before), "Deployment")  # type: ignore[arg-type]
        assert observed.verdict == "failed"
        assert outcomes(play(begin(web(), answer, 10.0), (11.0, observed))) == [None]

    def test_from_before_the_change_of_configuration_after_a_restart_of_the_controller(self) -> None:
        following = begin(web(), failed(1_000), 10.0, witnessed=False)
        assert outcomes(play(following, (11.0, failed(1_000)), (12.0, failed(1_001)))) == [None, "failed"]

    def test_superseded_is_not_healed(self) -> None:
        [first] = play(begin(web(), UNSEEN, 10.0), (70.0, failed(1_070)))
        assert first.following is not None
        assert outcomes([step(first.following, web(mark="m2"), DONE, 80.0)]) == ["superseded"]


class TestNoProgress:
    def test_within_patience_is_a_failure(self) -> None:
        steps = play(begin(web(), UNSEEN, 10.0), (11.0, going(1)), (11.0 + DUE, going(1)))
        assert outcomes(steps) == [None, "failed"]
        assert steps[0].look_again == 11.0 + DUE
        assert steps[-1].report is not None
        assert steps[-1].report.words == "no pod more became new within 660 s: 1 of 4 pods are new"
        assert steps[-1].look_again is None

    def test_each_pod_more_begins_it_anew(self) -> None:
        steps = play(
            begin(web(), UNSEEN, 0.0),
            (600.0, going(1)),
            (1_200.0, going(2)),
            (1_800.0, going(3)),
            (2_000.0, DONE),
        )
        assert outcomes(steps) == [None, None, None, "done"]

    def test_as_many_new_pods_as_before_is_none(self) -> None:
        steps = play(
            begin(web(), UNSEEN, 0.0),
            (1.0, going(2)),
            (300.0, going(1)),
            (600.0, going(2)),
            (661.0, going(2)),
        )
        assert outcomes(steps) == [None, None, None, "failed"]

    @pytest.mark.parametrize("within", [1_800, 2_147_483_647])
    def test_its_spec_may_grant_more_time(self, within: int) -> None:
        """progressDeadlineSeconds, or minReadySeconds of a StatefulSet: it is not called failed before that."""
        steps = play(begin(web(), UNSEEN, 0.0), (1_000.0, going(0, within=within)))
        assert outcomes(steps) == [None]
        assert steps[0].look_again == within + 60.0

    def test_a_short_deadline_is_its_own_controllers_affair(self) -> None:
        assert outcomes(play(begin(web(), UNSEEN, 0.0), (500.0, going(0, within=10)))) == [None]


class TestOneThatIsHeldUp:
    def test_is_told_once(self) -> None:
        steps = play(begin(web(), UNSEEN, 0.0), (5.0, PAUSED), (6.0, PAUSED), (7.0, going(2)), (8.0, PAUSED))
        assert outcomes(steps) == ["blocked", None, None, None]

    @pytest.mark.parametrize("known", [{"paused": True}, {"on_delete": True}, {"partition": 2}])
    def test_from_its_beginning_was_told_with_that(self, known: dict[str, Any]) -> None:
        steps = play(begin(web(**known), UNSEEN, 0.0), (5.0, PAUSED), (9.0, DONE), w=web(**known))
        assert outcomes(steps) == [None, "done"]

    def test_has_all_its_patience_when_it_goes_on(self) -> None:
        """The time for which it was paused is nobody's failure."""
        steps = play(
            begin(web(), UNSEEN, 0.0), (1.0, PAUSED), (90_000.0, going(1)), (90_001.0 + DUE, going(1))
        )
        assert outcomes(steps) == ["blocked", None, "failed"]
        assert steps[1].look_again == 90_000.0 + DUE

    def test_has_no_end_to_wait_for_meanwhile(self) -> None:
        assert play(begin(web(), UNSEEN, 0.0), (1.0, PAUSED))[0].look_again is None

    def test_for_want_of_pods(self) -> None:
        none = Progress("blocked", "it has no replicas", complete=True)
        assert outcomes(play(begin(web(), UNSEEN, 0.0), (1.0, none))) == ["blocked"]


class TestSuperseded:
    @pytest.mark.parametrize(
        "now",
        [{"mark": "m2"}, {"mark": None}, {"template_hash": "t2"}, {"uid": "another"}, {"deleting": True}],
    )
    def test_by_what_became_of_it(self, now: dict[str, Any]) -> None:
        found = step(begin(web(), UNSEEN, 0.0), web(**now), DONE, 5.0)
        assert found.following is None
        assert outcomes([found]) == ["superseded"]

    def test_by_its_deletion(self) -> None:
        assert outcomes([step(begin(web(), UNSEEN, 0.0), None, None, 5.0)]) == ["superseded"]

    def test_a_status_that_says_no_more_of_a_rollout_ends_it(self) -> None:
        assert step(begin(web(), UNSEEN, 0.0), web(), None, 5.0) == Step(None)


def test_two_rollouts_of_the_same_revision_are_told_apart() -> None:
    """The mark follows from content: where that is changed to and fro, it comes again."""
    earlier = begin(web(), UNSEEN, 0.0)
    later = begin(web(applied=Applied("t", "k", {}, mark="m1", since=1_500, at=1_501)), UNSEEN, 0.0)
    assert (earlier.revision, earlier.uid) == (later.revision, later.uid)
    assert earlier.at != later.at
