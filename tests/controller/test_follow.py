"""Rollouts are followed to their ends: what is told and counted, without a cluster."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from reroll.controller.entry import Entry
from reroll.controller.follow import RECENT, Follow
from reroll.core.follow import PATIENCE, Report
from reroll.core.policy import Policy
from reroll.core.progress import Progress
from reroll.core.records import Applied, WorkloadId, WorkloadRecord
from tests.records import deployment

NOW = 2_000.0
WEB = WorkloadId("Deployment", "shop", "web")
UNSEEN = Progress("going", "its controller has not observed the change yet", 0, 4)
HALF = Progress("going", "2 of 4 pods are new", 2, 4)
DONE = Progress("done", "all 4 pods new and available", 4, 4, complete=True)
ENDING = Progress("ending", "all 4 pods new; 1 old pod is still terminating", 4, 4, 1, complete=True)
PAUSED = Progress("blocked", "it is paused: 0 of 4 pods are new", 0, 4)
LATE = Progress("failed", "it made no progress within its deadline", 1, 4, judged=NOW + 60)


class Cluster:
    """What was told and counted, a clock, and why rollouts fail."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.why = ""
        self.asked = 0
        self.told: list[tuple[str, str]] = []
        self.about: list[str] = []
        self.counted: list[tuple[str, float | None]] = []

    def follow(self) -> Follow:
        """A controller that leads from now on."""
        return Follow(self, self, why=self._why, clock=lambda: self.seconds, now=lambda: NOW + self.seconds)

    async def _why(self, entry: Entry) -> str:
        self.asked += 1
        return self.why

    def rollout(self, entry: Entry | None, workload: WorkloadId, report: Report, about: str) -> None:
        self.told.append((report.outcome, report.words))
        self.about.append(about)

    def rollout_ended(self, workload_kind: str, outcome: str, seconds: float | None) -> None:
        assert workload_kind == "Deployment"
        self.counted.append((outcome, seconds))

    @property
    def outcomes(self) -> list[str]:
        return [outcome for outcome, _ in self.told]


def entry(
    p: Progress | None = UNSEEN, *, mark: str | None = "m1", at: int = int(NOW), **fields: Any
) -> Entry:
    """The Deployment as it is after it was rolled at `at`, and this far since then."""
    applied = fields.pop("applied", Applied("t", "k", {}, mark="m1", since=at - 2, at=at))
    record: WorkloadRecord = deployment(**{"mark": mark, "applied": applied, **fields})
    return Entry(record, Policy(configmaps=True), (), (), p)


async def looks(cluster: Cluster, follow: Follow, *found: tuple[float, Entry | None]) -> float | None:
    """Look each time that this many seconds have passed; gives what the last look says."""
    again = None
    for after, now in found:
        cluster.seconds += after
        again = await follow.look(WEB, now)
    return again


async def test_its_end_is_told_and_counted_once() -> None:
    cluster = Cluster()
    follow = cluster.follow()
    follow.begin(entry())
    assert len(follow) == 1
    await looks(cluster, follow, (1, entry(HALF)), (4, entry(DONE)), (1, entry(DONE)), (99, entry(DONE)))
    assert cluster.told == [("done", DONE.words)]
    assert cluster.counted == [("done", 5.0)]
    assert len(follow) == 0


async def test_old_pods_that_terminate_are_told_of_and_not_waited_for() -> None:
    cluster = Cluster()
    follow = cluster.follow()
    follow.begin(entry())
    await looks(cluster, follow, (5, entry(ENDING)), (5, entry(DONE)))
    assert cluster.told == [("done", ENDING.words)]


async def test_a_failure_is_told_with_its_reason_which_is_asked_for_once() -> None:
    cluster = Cluster()
    cluster.why = "pod web-1, container main: ImagePullBackOff"
    follow = cluster.follow()
    follow.begin(entry())
    await looks(cluster, follow, (60, entry(LATE)), (1, entry(LATE)), (60, entry(LATE)))
    assert cluster.told == [("failed", f"{LATE.words}; {cluster.why}")]
    assert cluster.asked == 1
    await looks(cluster, follow, (9, entry(DONE)))
    assert cluster.outcomes == ["failed", "healed"]
    assert cluster.counted == [("failed", None), ("healed", 130.0)]
    assert cluster.asked == 1


async def test_without_a_reason_the_words_stay_as_they_are() -> None:
    cluster = Cluster()
    follow = cluster.follow()
    follow.begin(entry())
    await looks(cluster, follow, (60, entry(LATE)))
    assert cluster.told == [("failed", LATE.words)]


async def test_a_verdict_that_stands_from_before_is_not_told() -> None:
    cluster = Cluster()
    follow = cluster.follow()
    follow.begin(entry(replace(UNSEEN, judged=LATE.judged)))
    await looks(cluster, follow, (1, entry(LATE)))
    assert cluster.told == []
    await looks(cluster, follow, (9, entry(DONE)))
    assert cluster.outcomes == ["done"]


async def test_another_change_of_its_own_supersedes_it() -> None:
    cluster = Cluster()
    follow = cluster.follow()
    follow.begin(entry())
    cluster.seconds = 5
    later = Applied("t", "k", {}, mark="m2", since=int(NOW) + 3, at=int(NOW) + 5)
    follow.begin(entry(mark="m2", applied=later))
    assert cluster.outcomes == ["superseded"]
    await looks(cluster, follow, (5, entry(DONE, mark="m2", applied=later)))
    assert cluster.outcomes == ["superseded", "done"]
    assert cluster.counted == [("superseded", None), ("done", 5.0)]


async def test_another_clients_change_supersedes_it() -> None:
    cluster = Cluster()
    follow = cluster.follow()
    follow.begin(entry())
    await looks(cluster, follow, (5, entry(HALF, mark=None)), (5, entry(DONE, mark=None)))
    assert cluster.outcomes == ["superseded"]


async def test_what_holds_it_up_is_told_once() -> None:
    cluster = Cluster()
    follow = cluster.follow()
    follow.begin(entry())
    again = await looks(cluster, follow, (1, entry(PAUSED, paused=True)), (9, entry(PAUSED, paused=True)))
    assert cluster.told == [("blocked", PAUSED.words)]
    assert cluster.counted == []
    assert again is None


async def test_what_was_known_to_hold_it_up_is_not_told_again() -> None:
    cluster = Cluster()
    follow = cluster.follow()
    follow.begin(entry(paused=True))
    await looks(cluster, follow, (1, entry(PAUSED, paused=True)), (9, entry(DONE)))
    assert cluster.outcomes == ["done"]


async def test_no_progress_within_its_patience_is_a_failure() -> None:
    cluster = Cluster()
    follow = cluster.follow()
    follow.begin(entry())
    again = await looks(cluster, follow, (1, entry(HALF)))
    assert again == PATIENCE + 60
    assert await looks(cluster, follow, (again, entry(HALF))) is None
    assert cluster.outcomes == ["failed"]
    assert HALF.words in cluster.told[0][1]


async def test_its_deletion_is_counted() -> None:
    cluster = Cluster()
    follow = cluster.follow()
    follow.begin(entry())
    follow.forget(WEB)
    follow.forget(WEB)
    assert cluster.outcomes == ["superseded"]
    assert len(follow) == 0


async def test_what_was_recorded_without_a_rollout_is_not_followed() -> None:
    cluster = Cluster()
    follow = cluster.follow()
    for found in (
        entry(DONE, applied=None),
        entry(DONE, applied=Applied("t", "k", {})),
        entry(None),
    ):
        follow.begin(found)
        assert await follow.look(WEB, found) is None
    left = Applied("t", "k", {}, mark="m1", since=1_990, at=1_992, left=2, of=4)
    assert await follow.look(WEB, entry(DONE, applied=left)) is None
    assert cluster.told == []


class TestAnotherControllerGoesOn:
    async def test_an_end_that_it_did_not_see_is_told_under_the_same_name(self) -> None:
        first, second = Cluster(), Cluster()
        follow = first.follow()
        follow.begin(entry())
        await looks(first, follow, (5, entry(DONE)))
        await looks(second, second.follow(), (30, entry(DONE)))
        assert second.told == first.told
        assert second.about == first.about
        # The first one counted it.
        assert second.counted == []

    async def test_it_is_told_once(self) -> None:
        cluster = Cluster()
        follow = cluster.follow()
        await looks(cluster, follow, (5, entry(DONE)), (5, entry(DONE)), (5, entry(ENDING)))
        assert cluster.outcomes == ["done"]

    async def test_one_that_is_under_way_is_told_and_counted_at_its_end(self) -> None:
        cluster = Cluster()
        follow = cluster.follow()
        again = await looks(cluster, follow, (5, entry(HALF)))
        assert again == PATIENCE + 60
        await looks(cluster, follow, (5, entry(DONE)))
        assert cluster.counted == [("done", None)]

    async def test_an_old_end_is_not_told(self) -> None:
        cluster = Cluster()
        follow = cluster.follow()
        await looks(cluster, follow, (RECENT + 1, entry(DONE)))
        assert cluster.told == []

    async def test_an_old_one_that_has_not_ended_is(self) -> None:
        cluster = Cluster()
        follow = cluster.follow()
        await looks(cluster, follow, (RECENT + 1, entry(HALF)), (5, entry(DONE)))
        assert cluster.outcomes == ["done"]

    async def test_a_failure_of_a_rollout_before_is_not_told(self) -> None:
        cluster = Cluster()
        before = replace(LATE, judged=NOW - 100)
        await looks(cluster, cluster.follow(), (5, entry(before)))
        assert cluster.told == []

    async def test_one_that_was_superseded_meanwhile_is_not_followed(self) -> None:
        cluster = Cluster()
        follow = cluster.follow()
        await looks(cluster, follow, (5, entry(HALF, mark=None)), (5, entry(DONE, mark=None)))
        assert cluster.told == []

    async def test_a_record_that_is_missing_from_the_object_promises_nothing(self) -> None:
        cluster = Cluster()
        await looks(cluster, cluster.follow(), (5, entry(DONE, unsaved=True)))
        assert cluster.told == []


async def test_the_same_content_again_is_another_rollout() -> None:
    """The mark follows from content: changed, put back and changed again, it is the same one. Each end is told, under a
    name of its own."""
    cluster = Cluster()
    follow = cluster.follow()
    for at in (2_000, 2_100):
        follow.begin(entry(at=at))
        await looks(cluster, follow, (5, entry(DONE, at=at)))
    assert cluster.outcomes == ["done", "done"]
    assert len(set(cluster.about)) == 2
    # Also for a controller that comes later.
    later = Cluster()
    await looks(later, later.follow(), (5, entry(DONE, at=2_100)))
    assert later.about == cluster.about[1:]
