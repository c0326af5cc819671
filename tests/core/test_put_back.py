"""What follows where another client put a pod template back."""

from __future__ import annotations

from msgspec.structs import replace

from reroll.core.decision import Decision, Kind
from reroll.core.progress import Progress
from reroll.core.proof import Old
from reroll.core.put_back import by_another
from reroll.core.records import Applied
from tests.core.test_decide import web


def test_no_mark_is_written_again_while_new_pods_could_not_start() -> None:
    world = web("PORT=1")
    s = replace(world.situation(), progress=Progress("done", "all 4 pods new", 4, 4, complete=True))
    before = s.workload.applied
    assert before is not None
    record = Decision(Kind.RECORD, "", applied=before)
    free = by_another(s, Old(3, 4), record, "put back", since=100.0)
    assert (free.kind, free.applied and free.applied.again) == (Kind.ROLL, 1)
    held = by_another(s, Old(3, 4), record, "put back", since=100.0, blocked=["configmap/app has no key X"])
    assert (held.kind, held.applied, held.warning) == (Kind.WAIT, None, True)
    assert "3 of 4 pods run older configuration" in held.reason
    assert "new pods could not start: configmap/app has no key X" in held.reason
    # It counts as not written: the next one is still the first.
    later = by_another(replace(s, now=s.now + 60), Old(3, 4), record, "put back", since=100.0)
    assert later.applied is not None
    assert later.applied.again == 1


def test_a_record_from_the_future_does_not_make_it_wait() -> None:
    s = web("PORT=1").situation()
    s = replace(s, progress=Progress("done", "all 4 pods new", 4, 4, complete=True))
    assert s.workload.applied is not None
    before = replace(s.workload.applied, at=int(s.now) + 10**9, again=3)
    s = replace(s, workload=replace(s.workload, applied=before))
    found = by_another(s, Old(3, 4), Decision(Kind.RECORD, "", applied=before), "put back", since=100.0)
    assert found.kind is Kind.ROLL
    assert found.applied is not None
    assert (found.applied.again, found.applied.at) == (4, int(s.now))


def test_a_clock_that_is_a_little_ahead_is_believed() -> None:
    before = Applied("t", "k", {}, at=1000)
    assert (before.decided(990.0), before.decided(1000.0 - 86401)) == (1000, 0)


def test_another_mark_is_written_where_pods_of_the_first_have_read_other_content() -> None:
    """With the mark that was taken away, the template goes back to the revision of just these pods."""
    world = web("PORT=1")
    s = replace(world.situation(), progress=Progress("done", "all 4 pods new", 4, 4, complete=True))
    before = s.workload.applied
    assert before is not None
    owed = replace(before, mark="owed", since=10, at=10)
    record = Decision(Kind.RECORD, "", applied=owed)
    marks = []
    for mixed in (frozenset[str](), frozenset({"configmap/app"})):
        held = replace(s, workload=replace(s.workload, applied=owed, mark=None, mixed=mixed))
        marks.append(by_another(held, Old(3, 4), record, "put back", since=100.0).mark)
    assert marks[0] == "owed"
    assert marks[1] not in ("owed", None)
