"""Objects in memory: versions, conflicts, generations, deletion, and what is remembered of it."""

from __future__ import annotations

from typing import Any

import pytest

from reroll.sandbox.kinds import CONFIG_MAP, DEPLOYMENT, NAMESPACE, POD, REPLICA_SET, Kind
from reroll.sandbox.namespaces import Namespaces
from reroll.sandbox.storage import AlreadyExists, Change, Conflict, Expired, NotFound, Storage, copied

Json = dict[str, Any]


def obj(name: str, namespace: str = "shop", **fields: Any) -> Json:
    return {"metadata": {"name": name, "namespace": namespace}, **fields}


def owned(name: str, *owners: Json) -> Json:
    references = [{"uid": o["metadata"]["uid"], "name": o["metadata"]["name"]} for o in owners]
    return {"metadata": {"name": name, "namespace": "shop", "ownerReferences": references}}


@pytest.fixture
def storage() -> Storage:
    return Storage(lambda: 1_000_000_000.0)


class TestWriting:
    def test_versions_grow_over_all_kinds(self, storage: Storage) -> None:
        one = storage.create(CONFIG_MAP, obj("a"))
        two = storage.create(DEPLOYMENT, obj("a", spec={}))
        versions = [int(each["metadata"]["resourceVersion"]) for each in (one, two)]
        assert versions == [versions[0], versions[0] + 1]
        assert storage.version == versions[1]
        assert two["metadata"]["creationTimestamp"] == "2001-09-09T01:46:40Z"
        with pytest.raises(AlreadyExists):
            storage.create(CONFIG_MAP, obj("a"))

    def test_what_is_given_and_what_is_kept_are_apart(self, storage: Storage) -> None:
        given = obj("a", data={"x": "1"})
        storage.create(CONFIG_MAP, given)
        given["data"]["x"] = "2"
        assert storage.get(CONFIG_MAP, "shop", "a")["data"] == {"x": "1"}

    def test_conflicts(self, storage: Storage) -> None:
        held = storage.create(CONFIG_MAP, obj("a"))
        storage.update(CONFIG_MAP, obj("a", data={"x": "1"}))
        with pytest.raises(Conflict):
            storage.update(CONFIG_MAP, {**copied(held), "data": {"x": "2"}})
        with pytest.raises(Conflict):
            storage.update(CONFIG_MAP, {"metadata": {"name": "a", "namespace": "shop", "uid": "other"}})
        with pytest.raises(NotFound):
            storage.update(CONFIG_MAP, obj("b"))

    def test_no_change_is_no_write(self, storage: Storage) -> None:
        held = storage.create(CONFIG_MAP, obj("a", data={"x": "1"}))
        assert storage.update(CONFIG_MAP, copied(held)) is held
        timed = copied(held)
        timed["metadata"]["managedFields"] = [{"manager": "me", "time": "1"}]
        first = storage.update(CONFIG_MAP, timed)
        timed = copied(first)
        timed["metadata"]["managedFields"][0]["time"] = "2"
        assert storage.update(CONFIG_MAP, timed) is first

    def test_the_generation_counts_the_spec(self, storage: Storage) -> None:
        storage.create(DEPLOYMENT, obj("a", spec={"replicas": 1}))

        def generation(fields: Json, subresource: str = "") -> int:
            found = storage.update(DEPLOYMENT, obj("a", **fields), subresource=subresource)
            return int(found["metadata"]["generation"])

        assert generation({"spec": {"replicas": 2}}) == 2
        assert generation({"spec": {"replicas": 2}, "status": {"replicas": 1}}) == 2
        assert generation({"status": {"replicas": 1}}, "status") == 2
        assert storage.get(DEPLOYMENT, "shop", "a")["spec"] == {"replicas": 2}
        assert storage.get(DEPLOYMENT, "shop", "a")["status"] == {"replicas": 1}

    def test_a_trial_writes_nothing(self, storage: Storage) -> None:
        told: list[Change] = []
        storage.listen(told.append)
        assert storage.create(CONFIG_MAP, obj("a"), dry_run=True)["metadata"]["uid"]
        assert storage.find(CONFIG_MAP, "shop", "a") is None
        storage.create(CONFIG_MAP, obj("a"))
        assert storage.update(CONFIG_MAP, obj("a", data={"x": "1"}), dry_run=True)["data"] == {"x": "1"}
        storage.delete(CONFIG_MAP, "shop", "a", dry_run=True)
        assert "data" not in storage.get(CONFIG_MAP, "shop", "a")
        assert [change.type for change in told] == ["ADDED"]


class TestDeleting:
    def test_dependents_go_unless_they_have_another_owner(self, storage: Storage) -> None:
        one = storage.create(DEPLOYMENT, obj("one", spec={}))
        two = storage.create(DEPLOYMENT, obj("two", spec={}))
        storage.create(REPLICA_SET, owned("of-one", one))
        both = storage.create(REPLICA_SET, owned("of-both", one, two))
        storage.create(CONFIG_MAP, owned("leaf", both))
        storage.delete(DEPLOYMENT, "shop", "one")
        assert [o["metadata"]["name"] for o in storage.objects(REPLICA_SET)] == ["of-both"]
        storage.delete(DEPLOYMENT, "shop", "two")
        assert storage.objects(REPLICA_SET) == storage.objects(CONFIG_MAP) == []

    def test_orphans_stay(self, storage: Storage) -> None:
        one = storage.create(DEPLOYMENT, obj("one", spec={}))
        storage.create(REPLICA_SET, owned("left", one))
        storage.delete(DEPLOYMENT, "shop", "one", propagation="Orphan")
        assert "ownerReferences" not in storage.get(REPLICA_SET, "shop", "left")["metadata"]
        assert list(storage.dependents(one["metadata"]["uid"])) == []

    def test_finalizers_hold(self, storage: Storage) -> None:
        storage.create(CONFIG_MAP, {"metadata": {"name": "a", "namespace": "shop", "finalizers": ["x"]}})
        marked = storage.delete(CONFIG_MAP, "shop", "a")
        assert marked["metadata"]["deletionTimestamp"]
        assert storage.delete(CONFIG_MAP, "shop", "a") is marked
        storage.update(CONFIG_MAP, obj("a"))
        assert storage.find(CONFIG_MAP, "shop", "a") is None

    def test_a_pod_on_a_node_ends_with_grace(self, storage: Storage) -> None:
        storage.create(POD, obj("p", spec={"nodeName": "n"}))
        assert storage.delete(POD, "shop", "p")["metadata"]["deletionGracePeriodSeconds"] == 30
        assert storage.find(POD, "shop", "p") is not None
        storage.delete(POD, "shop", "p", grace=0)
        assert storage.find(POD, "shop", "p") is None


class TestNamespaces:
    def test_each_has_what_programs_expect(self, storage: Storage) -> None:
        Namespaces(storage).begin()
        storage.create(NAMESPACE, {"metadata": {"name": "shop"}, "spec": {"finalizers": ["kubernetes"]}})
        names = [o["metadata"]["name"] for o in storage.objects(CONFIG_MAP, "shop")]
        assert names == ["kube-root-ca.crt"]
        storage.delete(CONFIG_MAP, "shop", "kube-root-ca.crt")
        assert storage.find(CONFIG_MAP, "shop", "kube-root-ca.crt") is not None

    def test_the_end_takes_all_with_it_and_waits_for_finalizers(self, storage: Storage) -> None:
        Namespaces(storage).begin()
        storage.create(NAMESPACE, {"metadata": {"name": "shop"}, "spec": {"finalizers": ["kubernetes"]}})
        for number in range(2000):  # as deep as many, were each deletion to begin the next
            storage.create(CONFIG_MAP, obj(f"c-{number}"))
        storage.create(POD, obj("p", spec={"nodeName": "n"}))
        storage.create(CONFIG_MAP, {"metadata": {"name": "held", "namespace": "shop", "finalizers": ["x"]}})
        storage.delete(NAMESPACE, "", "shop")
        assert storage.get(NAMESPACE, "", "shop")["status"] == {"phase": "Terminating"}
        assert [o["metadata"]["name"] for o in storage.objects(CONFIG_MAP, "shop")] == ["held"]
        assert storage.objects(POD, "shop") == []
        storage.update(CONFIG_MAP, obj("held"))
        assert storage.find(NAMESPACE, "", "shop") is None
        assert storage.find(NAMESPACE, "", "default") is not None


class TestHistory:
    def test_changes_since(self, storage: Storage) -> None:
        storage.create(CONFIG_MAP, obj("a"))
        version = storage.version
        storage.update(CONFIG_MAP, obj("a", data={"x": "1"}))
        storage.delete(CONFIG_MAP, "shop", "a")
        changes = storage.since(version)
        assert [change.type for change in changes] == ["MODIFIED", "DELETED"]
        assert changes[1].object["data"] == {"x": "1"}
        assert changes[1].version == storage.version

    def test_changes_that_are_forgotten_are_expired(self, storage: Storage) -> None:
        storage.create(CONFIG_MAP, obj("a"))
        version = storage.version
        storage.create(CONFIG_MAP, obj("b"))
        storage.forget_history()
        with pytest.raises(Expired):
            storage.since(version)
        assert storage.since(storage.version) == []

    def test_a_listener_can_write_and_end(self, storage: Storage) -> None:
        told: list[str] = []

        def answer(change: Change) -> None:
            told.append(change.object["metadata"]["name"])
            if change.object["metadata"]["name"] == "a":
                storage.create(CONFIG_MAP, obj("b"))

        end = storage.listen(answer)
        storage.create(CONFIG_MAP, obj("a"))
        end()
        storage.create(CONFIG_MAP, obj("c"))
        assert told == ["a", "b"]

    def test_a_kind_declared_anew_keeps_its_objects(self, storage: Storage) -> None:
        old = Kind("e.com", "v1", "W", "ws")
        new = Kind("e.com", "v1", "W", "ws", status=True)
        made = storage.create(old, obj("w"))
        storage.create(old, owned("child", made))
        storage.redeclare(old, new)
        assert len(storage.objects(new)) == 2
        storage.delete(new, "shop", "w")
        assert storage.objects(new) == []
