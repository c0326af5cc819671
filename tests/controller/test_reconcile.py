"""The reconciler on a played server: what is written, what is told, and what comes in between."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from reroll.controller.reconcile import _PODS_AGAIN, _no_later, gate
from reroll.controller.result import Again, Done, Held, Result
from reroll.core.applied import decode
from reroll.core.decide import decide
from reroll.core.decision import Decision, Kind, Situation
from reroll.core.digests import DigestKey
from reroll.core.proof import NOT_PERMITTED, PodAges
from reroll.kube.errors import ApiError, Forbidden, Unreachable
from tests.controller.played import DEPLOYMENTS, WEB, World, deployment, pod

PATH = f"{DEPLOYMENTS}/web"
LOST = Unreachable("lost on the way")


async def adopted(world: World | None = None) -> World:
    """A world with a Deployment that was adopted."""
    world = world or World()
    world.config(version=1, PORT="1")
    world.server.put(DEPLOYMENTS, deployment())
    world.tell(PATH, live=False)
    assert await world.reconcile() == Done()
    assert "reroll.dev/applied" in world.annotations()
    world.server.requests.clear()
    return world


async def test_a_change_is_one_patch_that_is_told_and_followed() -> None:
    world = await adopted()
    world.config(version=100, PORT="2")
    assert await world.reconcile() == Done()
    assert world.server.requests == [("patch", "web")]
    assert world.mark()
    assert [reason for reason, _ in world.events.sent] == ["Rolled"]
    assert world.follower.begun == [WEB]
    assert world.sample("reroll_rollouts_total", workload_kind="Deployment") == 1
    # Its answer is known ahead of the watch, and is no change by somebody else when that tells it.
    assert await world.reconcile() == Done()
    world.tell(PATH)
    assert await world.reconcile() == Done()
    assert world.server.writes() == ["patch web"]


async def test_one_that_is_not_there_is_done() -> None:
    assert await World().reconcile() == Done()


async def test_what_is_not_ours_is_left_alone() -> None:
    world = await adopted()
    world.config(version=100, PORT="2")
    world.leads = False
    assert await world.reconcile() == Done()
    assert world.server.requests == []


async def test_nothing_is_written_when_the_lead_is_lost_on_the_way() -> None:
    world = await adopted()
    world.store.configs.rekey(DigestKey(b"x" * 32))
    world.config(version=100, PORT="2")

    async def lose() -> bool:
        world.leads = False
        return False

    world.reconciler._check_key = lose
    assert await world.reconcile() == Done()
    assert world.server.requests == []


async def test_the_digest_key_is_asked_for_once_however_many_others_turn_up() -> None:
    """Whoever may write a record can put another key's id into it each time."""
    world = await adopted()
    for number in range(100):
        entry = world.store.workload(WEB)
        assert entry is not None
        assert entry.record.applied is not None
        forged = replace(entry.record.applied, key_id=f"other-{number}")
        entry = replace(entry, record=replace(entry.record, applied=forged))
        await world.reconciler._is_another_key(entry, forged)
    assert world.key_checks == 1


async def test_a_conflict_is_decided_on_anew() -> None:
    world = await adopted()
    world.config(version=100, PORT="2")
    world.server.put(DEPLOYMENTS, {**deployment(**world.annotations()), "note": "by somebody else"})
    assert await world.reconcile() == Done()
    assert world.server.requests == [("patch", "web"), ("get", "web"), ("patch", "web")]
    assert world.mark()
    assert world.sample("reroll_failures_total", step="act", reason="conflict") == 1


async def test_one_that_is_changed_each_time_is_held() -> None:
    world = await adopted()
    world.config(version=100, PORT="2")

    def change(verb: str, name: str) -> None:
        if verb == "get":
            world.server.put(DEPLOYMENTS, deployment(**world.annotations()))

    world.server.meanwhile = change
    world.server.put(DEPLOYMENTS, deployment(**world.annotations()))
    result = await world.reconcile()
    assert isinstance(result, Held)
    assert result.at_least == 0.0
    assert world.server.writes() == ["patch web"] * 4


class TestALostAnswer:
    async def test_counts_once_when_the_watch_shows_that_it_was_done(self) -> None:
        world = await adopted()
        world.config(version=100, PORT="2")
        world.server.lose = lambda verb, name: LOST
        with pytest.raises(Unreachable):
            await world.reconcile()
        assert world.events.sent == []
        world.server.lose = lambda verb, name: None
        world.tell(PATH)
        assert await world.reconcile() == Done()
        assert await world.reconcile() == Done()
        assert [reason for reason, _ in world.events.sent] == ["Rolled"]
        assert world.server.writes() == ["patch web"]

    async def test_counts_where_a_conflict_shows_it(self) -> None:
        world = await adopted()
        world.config(version=100, PORT="2")
        world.server.lose = lambda verb, name: LOST
        with pytest.raises(Unreachable):
            await world.reconcile()
        world.server.lose = lambda verb, name: None
        assert await world.reconcile() == Done()  # the watch has told nothing yet
        assert [reason for reason, _ in world.events.sent] == ["Rolled"]
        assert world.sample("reroll_rollouts_total", workload_kind="Deployment") == 1

    async def test_does_not_count_where_it_was_not_done(self) -> None:
        world = await adopted()
        world.config(version=100, PORT="2")
        world.server.fail = lambda verb, name: LOST
        with pytest.raises(Unreachable):
            await world.reconcile()
        world.server.fail = lambda verb, name: None
        assert await world.reconcile() == Done()
        assert [reason for reason, _ in world.events.sent] == ["Rolled"]
        assert world.server.writes() == ["patch web", "patch web"]

    async def test_is_not_that_of_another_one_of_its_name(self) -> None:
        world = await adopted()
        world.config(version=100, PORT="2")
        world.server.lose = lambda verb, name: LOST
        with pytest.raises(Unreachable):
            await world.reconcile()
        world.server.lose = lambda verb, name: None
        copy = world.server.objects[PATH]
        world.server.remove(PATH)
        world.tell(PATH)
        world.server.put(DEPLOYMENTS, copy)
        world.tell(PATH)
        assert await world.reconcile() == Done()
        assert world.events.sent == []


class TestOneThatIsGone:
    async def test_another_of_its_name_is_adopted(self) -> None:
        """C6: a patch is answered 404 between DELETE and CREATE, and the answer comes after the watch told of both."""
        world = await adopted()
        old = world.store.workload(WEB)
        assert old is not None
        world.config(version=100, PORT="2")

        def replace(verb: str, name: str) -> None:
            world.server.meanwhile = lambda verb, name: None
            world.tell(PATH)
            world.server.put(DEPLOYMENTS, deployment())
            world.tell(PATH)

        world.server.remove(PATH)
        world.server.meanwhile = replace
        result = await world.reconcile()
        assert isinstance(result, Again)
        assert result.after == 0.0
        assert await world.reconcile() == Done()
        assert "reroll.dev/applied" in world.annotations()
        held = world.store.workload(WEB)
        assert held is not None
        assert held.record.uid != old.record.uid

    async def test_it_is_asked_again_until_the_watch_has_told(self) -> None:
        world = await adopted()
        world.config(version=100, PORT="2")
        world.server.remove(PATH)
        result = await world.reconcile()
        assert isinstance(result, Held)
        assert result.at_least == 0.0
        assert world.store.workload(WEB) is not None, "the watch alone drops it"
        world.tell(PATH)
        assert await world.reconcile() == Done()

    async def test_an_answer_that_comes_late_brings_no_ghost_back(self) -> None:
        world = await adopted()
        world.config(version=100, PORT="2")

        def go(verb: str, name: str) -> None:
            world.server.remove(PATH)
            world.tell(PATH)

        world.server.meanwhile = go
        assert await world.reconcile() == Done()
        assert world.store.workload(WEB) is None

    async def test_a_conflict_with_one_that_is_gone_by_then(self) -> None:
        world = await adopted()
        world.config(version=100, PORT="2")
        world.server.put(DEPLOYMENTS, deployment(**world.annotations()))

        def go(verb: str, name: str) -> None:
            world.server.meanwhile = lambda verb, name: None
            world.server.remove(PATH)

        world.server.meanwhile = go
        assert isinstance(await world.reconcile(), Held)
        world.tell(PATH)
        assert await world.reconcile() == Done()


class TestSettling:
    async def test_it_is_asked_again_when_a_change_has_settled(self) -> None:
        world = await adopted(World(settle=5.0))
        world.config(version=100, PORT="2")
        result = await world.reconcile()
        assert isinstance(result, Again)
        assert result.after == 5.0
        world.now += 5.0
        assert await world.reconcile() == Done()
        assert world.mark()

    async def test_no_longer_than_the_most(self) -> None:
        world = await adopted(World(settle=5.0))
        for version in (100, 101, 102, 103):
            world.config(version=version, PORT=str(version))
            await world.reconcile()
            world.now += 3.0
        assert await world.reconcile() == Done()
        assert world.mark()

    async def test_counts_anew_after_a_block(self) -> None:
        """C10: a required object comes back after ten minutes, in several writes."""
        world = World(settle=5.0)
        world.config("other", version=1, LEVEL="1")
        manifest = deployment()
        [container] = manifest["spec"]["template"]["spec"]["containers"]
        container["envFrom"].append({"configMapRef": {"name": "other"}})
        world.config(version=2, PORT="1")
        world.server.put(DEPLOYMENTS, manifest)
        world.tell(PATH, live=False)
        assert await world.reconcile() == Done()

        world.config("other", version=100, LEVEL="2")
        world.drop_config()
        assert isinstance(await world.reconcile(), Again)
        world.now += 20.0
        blocked = await world.reconcile()
        assert isinstance(blocked, Held)
        assert blocked.at_least is None
        world.now += 600.0
        world.config(version=101, PORT="2")
        result = await world.reconcile()
        assert isinstance(result, Again)
        assert result.after == pytest.approx(5.0)
        assert world.mark() is None
        world.now += 5.0
        assert await world.reconcile() == Done()
        assert world.mark()


class TestADigestKeyThatWasReplaced:
    async def test_the_workload_itself_is_asked_again_at_once(self) -> None:
        """C11: it has ConfigMaps only, so nothing that is read again asks about it."""
        world = await adopted()
        foreign = DigestKey(b"y" * 32)
        applied = decode(world.annotations()["reroll.dev/applied"])
        other = world.annotations()["reroll.dev/applied"].replace(applied.key_id, foreign.id)
        world.server.put(DEPLOYMENTS, deployment(**{"reroll.dev/applied": other}))
        world.tell(PATH)
        world.config(version=100, PORT="2")
        world.new_key = foreign
        result = await world.reconcile()
        assert isinstance(result, Again)
        assert result.after == 0.0
        assert world.server.requests == []
        assert await world.reconcile() == Done()
        assert world.mark()
        assert world.key_checks == 1


async def test_a_record_that_is_fought_over_is_left_for_a_while() -> None:
    world = await adopted()
    for number in range(5):
        world.server.put(DEPLOYMENTS, deployment())
        world.tell(PATH)
        assert await world.reconcile() == Done(), number
        assert "reroll.dev/applied" in world.annotations()
    world.server.put(DEPLOYMENTS, deployment())
    world.tell(PATH)
    assert isinstance(await world.reconcile(), Again)
    assert "reroll.dev/applied" not in world.annotations()
    world.now += 31.0
    assert await world.reconcile() == Done()
    assert "reroll.dev/applied" in world.annotations()


async def test_what_was_written_is_told_though_going_on_fails() -> None:
    world = World()
    world.config(version=1, PORT="1")
    world.server.put(DEPLOYMENTS, deployment(**{"reroll.dev/mode": "restart"}))
    world.tell(PATH, live=False)
    assert await world.reconcile() == Done()
    world.server.pods = [pod()]
    world.config(version=100, PORT="2")

    def fail(verb: str, name: str) -> ApiError | None:
        began = "reroll.dev/restarting" in world.annotations()
        return Forbidden("no longer", status=403) if verb == "list" and began else None

    world.server.fail = fail
    with pytest.raises(Forbidden):
        await world.reconcile()
    assert [reason for reason, _ in world.events.sent] == ["Rolled"]
    assert len(world.follower.begun) == 1


async def test_what_pods_would_prove_is_not_recorded_while_they_cannot_be_listed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A list that fails must not stand for the answer that it would have brought."""
    world, other = await adopted(), await adopted()
    entry = world.store.workload(WEB)
    assert entry is not None
    record = Decision(
        Kind.RECORD, "another client changed its pod template", applied=entry.record.applied, ask_pods=True
    )
    asked: list[PodAges | None] = []

    def stand_in(situation: Situation) -> Decision:
        asked.append(situation.pods)
        return record if situation.pods is None else replace(record, ask_pods=False)

    monkeypatch.setattr("reroll.controller.reconcile.decide", stand_in)
    world.server.fail = lambda verb, name: LOST if verb == "list" else None
    result = await world.reconcile()
    assert isinstance(result, Held)
    assert result.at_least == _PODS_AGAIN
    assert "lost on the way" in result.why
    assert (asked, world.server.writes()) == ([None], [])

    # One that may not list pods at all would wait for ever, and does without.
    other.server.fail = lambda verb, name: Forbidden("no", status=403) if verb == "list" else None
    assert await other.reconcile() == Done()
    assert asked[1:] == [None, NOT_PERMITTED]


async def test_the_gate_lets_all_pass() -> None:
    world = await adopted()
    entry = world.store.workload(WEB)
    assert entry is not None
    assert gate(entry, decide(world.reconciler.situation(entry))) is None


@pytest.mark.parametrize(
    ("result", "look_again", "expected"),
    [
        (Done(), None, Done()),
        (Done(), 9.0, Again(9.0, "its rollout is followed")),
        (Again(5.0, "settles"), 9.0, Again(5.0, "settles")),
        (Again(50.0, "is rolled again later"), 9.0, Again(9.0, "its rollout is followed")),
        (Held("its rollout is not over"), 9.0, Again(9.0, "its rollout is followed")),
        (Held("its rollout is not over"), None, Held("its rollout is not over")),
        # What is tried again with a growing delay stays that.
        (Held("refused", at_least=1.0), 9.0, Held("refused", at_least=1.0)),
    ],
)
def test_a_rollout_that_is_followed_is_looked_at_while_something_else_is_waited_for(
    result: Result, look_again: float | None, expected: Result
) -> None:
    assert _no_later(result, look_again) == expected
