"""What the store keeps of config objects: names until somebody follows them, then digests, never values."""

from __future__ import annotations

from typing import Literal

import msgspec
import pytest
from msgspec.structs import replace

from reroll.controller.config_objects import OUTDATED, UNREAD
from reroll.controller.rules import Rules
from reroll.controller.store import Store
from reroll.core.applied import encode
from reroll.core.compare import current
from reroll.core.digests import DigestKey, config_map_digest, text
from reroll.core.observe import ConfigMapObject, ObjectMeta, SecretObject, WorkloadObject, WorkloadSpec
from reroll.core.policy import PolicyDefaults
from reroll.core.progress import StatusObject
from reroll.core.records import Applied, Change, ConfigId, ConfigRecord, Unknown, WorkloadId, WorkloadRecord

APP = ConfigId("configmap", "shop", "app")
WEB = WorkloadId("Deployment", "shop", "web")


class Follower:
    """A store, and what it asked and wanted."""

    def __init__(self, *, on_create: bool | None = None, read_all: bool = False) -> None:
        self.asked: list[WorkloadId] = []
        self.wanted: list[ConfigId] = []
        self.arrived: list[tuple[str, str, int]] = []
        self.store = Store(
            DigestKey(bytes(32)),
            Rules(defaults=PolicyDefaults(on_create=on_create), read_all=read_all),
            ask=lambda workload, cause: self.asked.append(workload),
            want=self.wanted.append,
            now=lambda: 1000.0,
            arrived=lambda event, config, version: self.arrived.append((event, config.name, version)),
        )

    def listed(self, version: int, name: str = "app") -> None:
        self.store.configs.listed("configmap", "shop", name, str(version))

    def read(self, version: int, value: str, name: str = "app") -> None:
        self.store.configs.put_read("configmap", _config_map(name, version, value))

    def watched(self, version: int, value: str, name: str = "app") -> None:
        self.store.configs.put_live("configmap", _config_map(name, version, value))

    def workload(self, *names: str, version: int = 1) -> None:
        self.store.put_workload(_deployment(names, version), "Deployment", live=False)

    def record(self, config: ConfigId = APP) -> ConfigRecord:
        state = self.store.configs.state(config)
        assert isinstance(state, ConfigRecord)
        return state


@pytest.fixture
def follower() -> Follower:
    return synced(Follower())


def synced(follower: Follower) -> Follower:
    for kind in ("configmap", "secret", "Deployment"):
        follower.store.set_collection(kind, "", "")
    return follower


def test_listed_and_followed_by_nobody(follower: Follower) -> None:
    follower.listed(5)
    assert follower.store.configs.state(APP) is UNREAD
    assert follower.wanted == []
    assert not follower.store.configs.wanted(APP)
    assert list(follower.store.configs.existing("configmap", "shop")) == ["app"]


@pytest.mark.parametrize("workload_first", [True, False])
def test_followed_it_is_wanted_once_read_its_followers_are_asked(
    follower: Follower, workload_first: bool
) -> None:
    if workload_first:
        follower.workload("app")
        follower.listed(5)
    else:
        follower.listed(5)
        follower.workload("app")
    assert follower.wanted == [APP]
    assert follower.store.configs.wanted(APP)
    follower.asked.clear()
    follower.read(6, "a")
    assert follower.asked == [WEB]
    assert follower.record().change.version == 6
    assert not follower.record().change.live


def test_followed_by_pattern(follower: Follower) -> None:
    obj = _deployment((), 1)
    obj.metadata.annotations = {"reroll.dev/follow": "configmap/ap*"}
    follower.store.put_workload(obj, "Deployment", live=False)
    follower.listed(5)
    follower.listed(5, name="other")
    assert set(follower.wanted) == {APP}


def test_a_later_list_wants_only_what_differs(follower: Follower) -> None:
    follower.workload("app")
    follower.listed(5)
    follower.read(5, "a")
    follower.wanted.clear()
    follower.listed(5)
    assert follower.wanted == []
    follower.listed(9)
    assert follower.wanted == [APP]
    assert follower.store.configs.state(APP) is OUTDATED, "nothing is decided on older content"
    follower.read(9, "b")
    assert follower.record().version == 9


def test_what_a_later_list_named_is_decided_on_when_it_is_the_same(follower: Follower) -> None:
    """Found by a random play: whoever waited for it was never asked again, and another change was never rolled."""
    follower.workload("app")
    follower.watched(5, "a")
    follower.listed(9)
    follower.asked.clear()
    follower.read(9, "a")
    assert follower.asked == [WEB]
    assert follower.record().version == 5, "only a label changed"


def test_a_later_list_forgets_what_differs_and_nobody_follows(follower: Follower) -> None:
    follower.watched(5, "a")
    follower.listed(5)
    assert follower.record().version == 5
    follower.listed(9)
    assert follower.store.configs.state(APP) is UNREAD
    assert follower.wanted == []


def test_the_watch_goes_on_from_an_old_list_and_repeats_what_was_read(follower: Follower) -> None:
    follower.workload("app")
    follower.listed(5)
    follower.read(8, "c")
    held = follower.record()
    follower.asked.clear()
    follower.watched(6, "a")
    follower.watched(7, "b")
    follower.watched(8, "c")
    assert follower.record() is held
    assert follower.asked == []
    follower.watched(9, "d")
    assert follower.record().change.live
    assert follower.asked == [WEB]


def test_after_a_restore_of_the_server_lower_versions_are_believed(follower: Follower) -> None:
    follower.workload("app")
    follower.watched(800, "new")
    before = follower.record().digests
    follower.listed(300)
    assert follower.wanted == [APP]
    follower.read(300, "old")
    assert follower.record().digests != before
    assert follower.record().version == 300


def test_a_watch_event_before_the_read_counts_as_found(follower: Follower) -> None:
    follower.workload("app")
    follower.listed(5)
    follower.watched(6, "a")
    assert not follower.record().change.live, "what it changed can't be told"


def test_deleted_before_it_was_read(follower: Follower) -> None:
    follower.workload("app")
    follower.listed(5)
    follower.asked.clear()
    follower.store.configs.drop(APP)
    assert not follower.store.configs.wanted(APP)
    assert follower.asked == [WEB]


class TestWhatArrived:
    """What a webhook is told: all that happens to an object that was held, also if only a list tells of it."""

    @pytest.fixture
    def reader(self) -> Follower:
        follower = Follower(read_all=True)
        follower.listed(5)
        follower.read(5, "a")
        assert follower.arrived == [], "what is found at the start is no news"
        return synced(follower)

    def test_as_it_happens(self, reader: Follower) -> None:
        reader.watched(6, "b")
        reader.watched(7, "b")
        reader.watched(8, "x", name="new")
        reader.store.configs.drop(APP, live=True)
        assert reader.arrived == [("update", "app", 6), ("add", "new", 8), ("delete", "app", 6)]

    def test_found_by_a_list(self, reader: Follower) -> None:
        reader.listed(9)
        reader.listed(8, name="new")
        assert reader.wanted == [APP, APP, APP._replace(name="new")]
        reader.read(9, "b")
        reader.read(8, "x", name="new")
        reader.read(8, "x", name="new")
        reader.store.configs.drop(APP, live=False)
        assert reader.arrived == [("update", "app", 9), ("add", "new", 8), ("delete", "app", 9)]

    def test_found_by_a_list_with_the_same_content(self, reader: Follower) -> None:
        reader.listed(9)
        reader.read(9, "a")
        assert reader.arrived == []


class TestCreationOfWhatAPatternMatches:
    """It is to roll, and nothing on the server says yet that the object was not there before."""

    @pytest.fixture
    def adopted(self) -> Follower:
        follower = synced(Follower(on_create=True))
        self.put(follower, 1)
        follower.listed(5)
        return follower

    def put(self, follower: Follower, version: int, **recorded: str) -> None:
        obj = _deployment((), version)
        obj.metadata.generation = 1  # only its status changes
        applied = Applied(
            "t", "", {f"configmap/{name}": {"*": "", "a": digest} for name, digest in recorded.items()}
        )
        obj.metadata.annotations = {
            "reroll.dev/follow": "configmap/ap*",
            "reroll.dev/applied": encode(applied),
        }
        follower.store.put_workload(obj, "Deployment", live=True)

    def known(self, follower: Follower) -> WorkloadRecord:
        entry = follower.store.workload(WEB)
        assert entry is not None
        return entry.record

    def test_a_change_of_status_does_not_forget_it(self, adopted: Follower) -> None:
        for version in (2, 3):
            self.put(adopted, version)
            assert self.known(adopted).unsaved
            assert self.known(adopted).applied == Applied("t", "", {"configmap/app": None})

    @pytest.mark.parametrize("list_first", [True, False])
    def test_what_the_first_list_names_may_be_older_than_the_workload(self, list_first: bool) -> None:
        """Which of the first lists comes first is chance, and must not decide whether a start rolls."""
        follower = Follower(on_create=True)
        if list_first:
            follower.listed(5)
            self.put(follower, 1)
        else:
            self.put(follower, 1)
            follower.listed(5)
        synced(follower)
        assert not self.known(follower).unsaved
        assert self.known(follower).applied == Applied("t", "", {})
        assert set(follower.wanted) == {APP}
        follower.listed(6, name="apple")
        assert self.known(follower).applied == Applied("t", "", {"configmap/apple": None})

    def test_two_of_them(self, adopted: Follower) -> None:
        adopted.listed(6, name="apple")
        self.put(adopted, 2)
        applied = self.known(adopted).applied
        assert applied is not None
        assert applied.configs == {"configmap/app": None, "configmap/apple": None}

    def test_what_is_written_meanwhile_is_believed(self, adopted: Follower) -> None:
        self.put(adopted, 2, app="d")
        assert not self.known(adopted).unsaved
        self.put(adopted, 3)
        assert not self.known(adopted).unsaved
        assert self.known(adopted).applied == Applied("t", "", {})

    def test_our_own_record_that_says_nothing_of_it_is_believed(self, adopted: Follower) -> None:
        adopted.store.writing(WEB, None, Applied("t", "", {}))
        self.put(adopted, 2)
        assert not self.known(adopted).unsaved


def test_another_digest_key_drops_secrets_alone(follower: Follower) -> None:
    token = ConfigId("secret", "shop", "token")
    follower.store.configs.put_live(
        "secret", SecretObject(ObjectMeta("token", "shop", resource_version="3"), {"a": "YQ=="})
    )
    follower.watched(5, "a")
    follower.store.configs.rekey(DigestKey(b"k" * 32))
    assert not isinstance(follower.store.configs.state(token), ConfigRecord)
    assert follower.record().version == 5


def _config_map(name: str, version: int, value: str) -> ConfigMapObject:
    return ConfigMapObject(ObjectMeta(name, "shop", resource_version=str(version)), {"a": value})


def _deployment(config_maps: tuple[str, ...], version: int) -> WorkloadObject:
    env_from = [{"configMapRef": {"name": name}} for name in config_maps]
    template = {"spec": {"containers": [{"name": "main", "envFrom": env_from}]}}
    meta = ObjectMeta("web", "shop", uid="u", resource_version=str(version), generation=version)
    meta.annotations = {"reroll.dev/auto": "true"}
    return WorkloadObject(meta, WorkloadSpec(template=msgspec.Raw(msgspec.json.encode(template))))


def recorded(follower: Follower, version: int, digest: str) -> None:
    """Somebody writes the record of the workload."""
    obj = _deployment(("app",), version)
    applied = Applied(template="t", key_id="", configs={"configmap/app": {"*": "", "a": digest}})
    assert obj.metadata.annotations is not None
    obj.metadata.annotations["reroll.dev/applied"] = encode(applied)
    follower.store.put_workload(obj, "Deployment", live=True)


def test_another_controller_knows_more_so_what_is_held_is_read_again(follower: Follower) -> None:
    """Found by a random play: with a watch that lags, two controllers rolled back and forth."""
    recorded(follower, 1, digest="old")
    follower.watched(5, "a")
    follower.wanted.clear()
    recorded(follower, 2, digest="new")
    assert follower.wanted == [APP]
    state = follower.store.configs.state(APP)
    assert isinstance(state, Unknown)
    assert state.reading
    follower.asked.clear()
    follower.read(6, "b")
    assert follower.record().version == 6
    assert follower.asked


def test_what_is_read_again_and_is_the_same_is_decided_on(follower: Follower) -> None:
    recorded(follower, 1, digest="old")
    follower.watched(5, "a")
    recorded(follower, 2, digest="new")
    follower.asked.clear()
    follower.read(5, "a")
    assert follower.record().version == 5
    assert follower.asked == [WEB]


def test_what_is_read_again_settles_as_what_a_watch_brings(follower: Follower) -> None:
    """Found by a random play: it was rolled for at once, and again when it was put back within the second."""
    recorded(follower, 1, digest="old")
    follower.watched(5, "a")
    recorded(follower, 2, digest="new")
    follower.read(7, "b")
    assert follower.record().change == Change(arrived=1000.0, version=7)


def test_what_is_read_again_and_is_as_before_was_changed_and_changed_back(follower: Follower) -> None:
    """Another controller rolled for what was there in between: our watch had not told of it, and never will."""
    recorded(follower, 1, digest="old")
    follower.watched(5, "a")
    recorded(follower, 2, digest="new")
    follower.read(9, "a")
    assert follower.record().change.version == 9


def test_what_is_read_again_and_is_gone_waits_for_the_watch(follower: Follower) -> None:
    recorded(follower, 1, digest="old")
    follower.watched(5, "a")
    recorded(follower, 2, digest="new")
    follower.asked.clear()
    follower.store.configs.not_there(APP)
    assert follower.record().version == 5
    assert follower.asked == [WEB]


def test_what_was_in_doubt_is_not_when_nobody_follows_it(follower: Follower) -> None:
    """Found by a random play: the workload was deleted before it was read again, and made again later."""
    recorded(follower, 1, digest="old")
    follower.watched(5, "a")
    recorded(follower, 2, digest="new")
    follower.store.drop_workload(WEB)
    follower.workload("app", version=9)
    assert follower.record().version == 5


def test_our_own_record_casts_no_doubt(follower: Follower) -> None:
    recorded(follower, 1, digest="old")
    follower.watched(5, "a")
    follower.wanted.clear()
    ours = Applied(template="t", key_id="", configs={"configmap/app": {"*": "", "a": "new"}})
    follower.store.writing(WEB, None, ours)
    recorded(follower, 2, digest="new")
    assert follower.wanted == []


class TestStartsOfPods:
    """Somebody else has the pods started between two changes of what they read, before anything is decided."""

    @pytest.fixture
    def adopted(self, follower: Follower) -> Follower:
        """At rest with the value "a"."""
        follower.watched(2, "a")
        deploy(follower, 3, "t1")
        adopt(follower)
        return follower

    def test_it_is_seen_as_it_happens(self, adopted: Follower) -> None:
        adopted.watched(4, "b")
        deploy(adopted, 5, "t2")
        adopted.watched(6, "a")
        assert read(adopted) == "b"

    def test_what_changed_after_it_arrives_before_it(self, adopted: Follower) -> None:
        adopted.watched(4, "b")
        adopted.watched(6, "a")
        deploy(adopted, 5, "t2")
        assert read(adopted) == "b"

    def test_what_changed_before_it_arrives_after_it(self, adopted: Follower) -> None:
        deploy(adopted, 5, "t2")
        assert read(adopted) == "a"
        adopted.watched(4, "b")
        assert read(adopted) == "b"
        adopted.watched(6, "a")
        assert read(adopted) == "b"

    def test_it_is_created_or_deleted_in_between(self, adopted: Follower) -> None:
        adopted.store.configs.drop(APP)
        deploy(adopted, 5, "t2")
        assert read(adopted) == "a", "new pods wait for what they need, and the old ones go on"

    def test_scaling_up_from_nothing(self, adopted: Follower) -> None:
        deploy(adopted, 4, "t1", replicas=0, observed=True)
        assert workload(adopted).started_with is None, "what it has recorded is what is there"
        adopted.watched(5, "b")
        deploy(adopted, 6, "t1", replicas=2)
        assert read(adopted) == "b"

    def test_scaling_down_and_up_again_before_its_controller_saw_it(self, adopted: Follower) -> None:
        deploy(adopted, 4, "t1", replicas=0)
        adopted.watched(5, "b")
        deploy(adopted, 6, "t1", replicas=2)
        assert workload(adopted).started_with is None, "its pods go on"

    def test_going_back_to_a_revision_that_still_has_pods(self, adopted: Follower) -> None:
        deploy(adopted, 4, "t1", observed=True)
        assert workload(adopted).revisions == (workload(adopted).revision,)
        deploy(adopted, 5, "t2")
        assert workload(adopted).origin == "new"
        deploy(adopted, 6, "t1")
        assert workload(adopted).origin == "returned"
        deploy(adopted, 7, "t1", observed=True)
        assert workload(adopted).revisions == (workload(adopted).revision,)
        assert workload(adopted).origin == "returned", "its pods are as old as they are"
        deploy(adopted, 8, "t2")
        assert workload(adopted).origin == "new", "the pods of before have gone"

    def test_another_change_of_the_workload_is_none(self, adopted: Follower) -> None:
        adopted.watched(4, "b")
        deploy(adopted, 5, "t1", replicas=4)
        assert workload(adopted).started_with is None

    def test_it_is_kept_until_something_is_recorded(self, adopted: Follower) -> None:
        adopted.watched(4, "b")
        deploy(adopted, 5, "t2")
        deploy(adopted, 6, "t2", replicas=4)
        assert read(adopted) == "b"
        deploy(adopted, 7, "t2", applied=workload(adopted).started_with)
        assert workload(adopted).started_with is None

    def test_it_is_deleted_before_it_and_that_arrives_after_it(self, follower: Follower) -> None:
        """Its pods start without what is optional, so its return is a change, with whatever content."""
        follower.watched(2, "a")
        deploy(follower, 3, "t1", optional=True)
        adopt(follower)
        deploy(follower, 5, "t2", optional=True)
        assert read(follower) == "a"
        follower.store.configs.drop(APP, live=True, version=4)
        started = workload(follower).started_with
        assert started is not None
        assert started.configs == {"configmap/app": None}

    def test_it_is_deleted_after_it_and_that_arrives_before_it(self, follower: Follower) -> None:
        follower.watched(2, "a")
        deploy(follower, 3, "t1", optional=True)
        adopt(follower)
        follower.store.configs.drop(APP, live=True, version=6)
        deploy(follower, 5, "t2", optional=True)
        assert read(follower) == "a"

    def test_found_by_a_read_it_is_no_later_than_what_was_held(self, adopted: Follower) -> None:
        """An answer to a read can jump over versions: the change of the template is one of them, and which is not
        known."""
        adopted.watched(6, "b")
        deploy(adopted, 8, "t2", seen=False)
        assert workload(adopted).template_change.version == 3
        assert workload(adopted).started_with is None, "its pods may have read what was there before"

    @pytest.mark.parametrize("how", ["list", "read"])
    def test_found_in_a_gap_all_that_was_there_may_have_been_read(
        self, adopted: Follower, how: Literal["list", "read"]
    ) -> None:
        deploy(adopted, 4, "t1", observed=True)
        adopted.watched(5, "b")
        adopted.watched(8, "a")
        deploy(adopted, 9, "t2", observed=True, live=how == "read", seen=False)
        assert workload(adopted).mixed == {"configmap/app"}

    def test_another_controller_rolled_it_and_knew_more(self, adopted: Follower) -> None:
        """Our watch of ConfigMaps lags behind: what is held here is not what pods read."""
        before = workload(adopted).applied
        assert before is not None
        new = Applied(before.template, before.key_id, {"configmap/app": {"*": "", "a": "new"}}, at=900)
        deploy(adopted, 5, "t1", applied=new, mark="m1")
        assert workload(adopted).started_with is None
        assert workload(adopted).mixed == frozenset()

    def test_an_undo_restores_a_record_that_knew_less(self, adopted: Follower) -> None:
        before = workload(adopted).applied
        assert before is not None
        newer = Applied(before.template, before.key_id, before.configs, at=900)
        deploy(adopted, 4, "t1", applied=newer, mark="m1")
        adopted.watched(5, "b")
        deploy(adopted, 6, "t1", applied=replace(newer, at=800), mark="m0")
        assert read(adopted) == "b"

    def test_versions_of_two_etcds_make_no_second_rollout(self, adopted: Follower) -> None:
        """A server that keeps ConfigMaps and workloads in two etcds: their versions say nothing of order."""
        deploy(adopted, 4, "t1", applied=workload(adopted).applied, observed=True)
        adopted.watched(900, "b")
        before = workload(adopted).applied
        assert before is not None
        state = adopted.store.configs.state(APP)
        assert isinstance(state, ConfigRecord)
        entry = adopted.store.workload(WEB)
        assert entry is not None
        [consumed] = entry.consumed
        rolled = replace(before, configs={"configmap/app": current(state, consumed)}, at=1001, since=1000)
        adopted.store.writing(WEB, "mark", rolled)
        deploy(adopted, 5, "t1", applied=rolled, mark="mark")
        assert workload(adopted).mark == "mark"
        assert workload(adopted).mixed == frozenset(), "what had arrived before was decided on"

    def test_found_in_a_list_it_tells_nothing(self, adopted: Follower) -> None:
        adopted.watched(4, "b")
        deploy(adopted, 5, "t2", live=False)
        assert workload(adopted).started_with is None

    def test_one_that_is_new_here_need_not_be_new(self, adopted: Follower) -> None:
        """It got a label that the controller looks for, and its pods are older than the change."""
        recorded = workload(adopted).applied
        adopted.store.drop_workload(WEB)
        adopted.watched(4, "b")
        deploy(adopted, 5, "t1", applied=recorded)
        assert workload(adopted).started_with is None
        assert not workload(adopted).template_change.live

    def test_what_the_object_held_between_two_lists_is_not_known(self, adopted: Follower) -> None:
        adopted.listed(6)
        adopted.read(6, "c")
        deploy(adopted, 5, "t2")
        assert read(adopted) == "a"


def adopt(follower: Follower) -> None:
    entry = follower.store.workload(WEB)
    assert entry is not None
    held = {"configmap/app": current(follower.record(), entry.consumed[0])}
    follower.store.adopted(WEB, Applied(entry.record.template_hash, follower.store.configs.key.id, held))


def deploy(
    follower: Follower,
    version: int,
    template: str,
    *,
    replicas: int = 1,
    applied: Applied | None = None,
    live: bool = True,
    observed: bool = False,
    optional: bool = False,
    seen: bool | None = None,
    mark: str | None = None,
) -> None:
    """A Deployment that reads configmap/app, as it is at that version; `observed`: its rollout has ended."""
    obj = _deployment(("app",), version)
    value = msgspec.json.decode(bytes(obj.spec.template))
    value["metadata"] = {"annotations": {"example.com/version": template}}
    if mark is not None:
        value["metadata"]["annotations"]["reroll.dev/config"] = mark
    value["spec"]["containers"][0]["envFrom"][0]["configMapRef"]["optional"] = optional
    obj.spec.template = msgspec.Raw(msgspec.json.encode(value))
    obj.spec.replicas = replicas
    if observed:
        obj.status = StatusObject(version, replicas, replicas, replicas, replicas)
    if applied is not None and obj.metadata.annotations is not None:
        obj.metadata.annotations["reroll.dev/applied"] = encode(applied)
    follower.store.put_workload(obj, "Deployment", live=live, seen=seen)


def workload(follower: Follower) -> WorkloadRecord:
    entry = follower.store.workload(WEB)
    assert entry is not None
    return entry.record


def read(follower: Follower) -> str:
    """The value that its pods are known to have read at their start."""
    started = workload(follower).started_with
    assert started is not None
    keys = started.configs["configmap/app"]
    assert isinstance(keys, dict)
    return {text(config_map_digest(value.encode())): value for value in "abc"}[keys["a"]]
