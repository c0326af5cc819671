"""managedFields and apply, as pure functions."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from reroll.core.observe import ConfigMapObject, WorkloadObject, epoch, last_change
from reroll.sandbox import schema
from reroll.sandbox.kinds import CONFIG_MAP, DEPLOYMENT
from reroll.sandbox.ownership import Writer, applied, compare, difference, intersection, paths, union, updated
from reroll.sandbox.problems import Refused

CONFIG = schema.of(CONFIG_MAP)
WORKLOAD = schema.of(DEPLOYMENT)
Json = dict[str, Any]


def writer(manager: str, operation: str = "Update", time: str = "2026-11-23T08:00:00Z") -> Writer:
    return Writer(manager, operation, "v1", time)


def config_map(meta: Json | None = None, **data: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "app", **(meta or {})},
        "data": data,
    }


class TestSets:
    A: Json = {"f:a": {}, "f:b": {".": {}, "f:c": {}}}  # noqa: RUF012

    def test_union(self) -> None:
        assert union(self.A, {"f:b": {"f:d": {}}}) == {"f:a": {}, "f:b": {".": {}, "f:c": {}, "f:d": {}}}
        assert union({"f:b": {}}, {"f:b": {"f:d": {}}}) == {"f:b": {".": {}, "f:d": {}}}
        assert union(None, self.A) == union(self.A, None) == self.A

    def test_difference(self) -> None:
        assert difference(self.A, {"f:a": {}}) == {"f:b": {".": {}, "f:c": {}}}
        assert difference(self.A, {"f:b": {}}) == {"f:a": {}, "f:b": {"f:c": {}}}
        assert difference(self.A, self.A) is None
        assert difference(self.A, None) == self.A

    def test_intersection(self) -> None:
        assert intersection(self.A, {"f:b": {"f:c": {}}}) == {"f:b": {"f:c": {}}}
        assert intersection(self.A, {"f:x": {}}) is None

    def test_paths(self) -> None:
        fields = {"f:spec": {"f:l": {'k:{"name":"a"}': {".": {}, "f:image": {}}}, "f:set": {'v:"x"': {}}}}
        assert list(paths(fields)) == ['.spec.l[name="a"]', '.spec.l[name="a"].image', '.spec.set[="x"]']


class TestUpdates:
    def test_a_new_object_is_its_makers(self) -> None:
        (entry,) = updated(
            None, config_map({"labels": {"x": "y"}}, a="1"), CONFIG, writer("me"), has_status=False
        )
        assert entry == {
            "manager": "me",
            "operation": "Update",
            "apiVersion": "v1",
            "time": "2026-11-23T08:00:00Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": {
                "f:metadata": {"f:labels": {".": {}, "f:x": {}}},
                "f:data": {".": {}, "f:a": {}},
            },
        }

    def test_what_changes_goes_over(self) -> None:
        old = config_map(a="1", b="2")
        old["metadata"]["managedFields"] = updated(None, old, CONFIG, writer("me"), has_status=False)
        new = config_map(a="1", b="3", c="4")
        entries = updated(old, new, CONFIG, writer("you", time="2026-11-23T09:00:00Z"), has_status=False)
        assert [(entry["manager"], entry["fieldsV1"]) for entry in entries] == [
            ("me", {"f:data": {".": {}, "f:a": {}}}),
            ("you", {"f:data": {"f:b": {}, "f:c": {}}}),
        ]

    def test_what_is_removed_is_nobodys(self) -> None:
        old = config_map(a="1", b="2")
        old["metadata"]["managedFields"] = updated(None, old, CONFIG, writer("me"), has_status=False)
        entries = updated(old, config_map(a="1"), CONFIG, writer("you"), has_status=False)
        assert [(e["manager"], e["fieldsV1"]) for e in entries] == [("me", {"f:data": {".": {}, "f:a": {}}})]

    def test_the_status_has_entries_of_its_own(self) -> None:
        old = {"metadata": {"name": "w"}, "spec": {"replicas": 1}}
        old["metadata"]["managedFields"] = updated(None, old, WORKLOAD, writer("me"), has_status=True)  # type: ignore[index]
        new = {**old, "status": {"replicas": 1}}
        status = Writer("kubelet", "Update", "v1", "", "status")
        entries = updated(old, new, WORKLOAD, status, has_status=True)
        assert [(e["manager"], e.get("subresource")) for e in entries] == [
            ("kubelet", "status"),
            ("me", None),
        ]
        assert entries[0]["fieldsV1"] == {"f:status": {"f:replicas": {}}}

    def test_reroll_reads_the_last_change_from_it(self) -> None:
        old = config_map(a="1")
        old["metadata"]["managedFields"] = updated(None, old, CONFIG, writer("me"), has_status=False)
        late = writer("you", time="2026-11-23T09:00:00Z")
        labelled = {**old, "metadata": {**old["metadata"], "labels": {"x": "y"}}}
        labelled["metadata"]["managedFields"] = updated(old, labelled, CONFIG, late, has_status=False)
        meta = msgspec.json.decode(msgspec.json.encode(labelled), type=ConfigMapObject)
        assert last_change(meta.metadata, (b'"f:data"',)) == epoch("2026-11-23T08:00:00Z")
        changed = {**labelled, "data": {"a": "2"}}
        changed["metadata"] = {**labelled["metadata"]}
        changed["metadata"]["managedFields"] = updated(labelled, changed, CONFIG, late, has_status=False)
        meta = msgspec.json.decode(msgspec.json.encode(changed), type=ConfigMapObject)
        assert last_change(meta.metadata, (b'"f:data"',)) == epoch("2026-11-23T09:00:00Z")

    def test_a_change_of_a_template_is_seen_at_its_place(self) -> None:
        def workload(image: str, replicas: int) -> Json:
            template = {"metadata": {}, "spec": {"containers": [{"name": "a", "image": image}]}}
            return {"metadata": {"name": "w"}, "spec": {"replicas": replicas, "template": template}}

        old = workload("a:1", 1)
        old["metadata"]["managedFields"] = updated(None, old, WORKLOAD, writer("me"), has_status=True)
        scaled = workload("a:1", 2)
        late = writer("hpa", time="2026-11-23T09:00:00Z")
        scaled["metadata"]["managedFields"] = updated(old, scaled, WORKLOAD, late, has_status=True)
        found = msgspec.json.decode(msgspec.json.encode(scaled), type=WorkloadObject)
        assert last_change(found.metadata, (b'"f:template"',)) == epoch("2026-11-23T08:00:00Z")
        rolled = workload("a:2", 2)
        rolled["metadata"]["managedFields"] = updated(scaled, rolled, WORKLOAD, late, has_status=True)
        found = msgspec.json.decode(msgspec.json.encode(rolled), type=WorkloadObject)
        assert last_change(found.metadata, (b'"f:template"',)) == epoch("2026-11-23T09:00:00Z")

    def test_a_list_of_one_empty_entry_forgets_all(self) -> None:
        old = config_map(a="1")
        old["metadata"]["managedFields"] = updated(None, old, CONFIG, writer("me"), has_status=False)
        new = config_map({"managedFields": [{}]}, a="2")
        assert updated(old, new, CONFIG, writer("you"), has_status=False) == []

    def test_equal_parts_are_no_change(self) -> None:
        assert compare({"a": [1, {"b": 2}]}, {"a": [1, {"b": 2}]}, CONFIG) == (None, None)


class TestApply:
    def apply(self, live: Json, config: Json, manager: str, *, force: bool = False) -> Json:
        who = writer(manager, "Apply")
        result, entries = applied(live, config, CONFIG, who, force=force, has_status=False)
        return {**result, "metadata": {**result["metadata"], "uid": "u", "managedFields": entries}}

    def test_created_changed_and_cut(self) -> None:
        first = self.apply({"metadata": {}}, config_map(a="1", b="2"), "me")
        assert first["data"] == {"a": "1", "b": "2"}
        second = self.apply(first, config_map(a="3"), "me")
        assert second["data"] == {"a": "3"}

    def test_what_others_share_stays(self) -> None:
        first = self.apply({"metadata": {}}, config_map(a="1", b="2"), "me")
        shared = self.apply(first, config_map(b="2"), "you")
        cut = self.apply(shared, config_map(a="1"), "me")
        assert cut["data"] == {"a": "1", "b": "2"}
        assert self.apply(cut, config_map(), "you")["data"] == {"a": "1"}

    def test_conflicts_name_who_and_where(self) -> None:
        first = self.apply({"metadata": {}}, config_map(a="1", b="2"), "me")
        with pytest.raises(Refused) as caught:
            self.apply(first, config_map(a="2"), "you")
        assert str(caught.value) == 'Apply failed with 1 conflict: conflict with "me": .data.a'
        with pytest.raises(Refused) as caught:
            self.apply(first, config_map(a="2", b="3"), "you")
        assert str(caught.value) == (
            'Apply failed with 2 conflicts: conflicts with "me":\n- .data.a\n- .data.b'
        )
        taken = self.apply(first, config_map(a="2", b="3"), "you", force=True)
        assert taken["data"] == {"a": "2", "b": "3"}

    def test_what_nobody_followed_was_there_before(self) -> None:
        live = config_map({"uid": "u"}, a="1")
        with pytest.raises(Refused, match=r'conflict with "before-first-apply" using v1: \.data\.a'):
            self.apply(live, config_map(a="2"), "me")

    def test_kubectl_takes_over_what_it_applied_itself(self) -> None:
        annotation = {
            "kubectl.kubernetes.io/last-applied-configuration": '{"metadata":{},"data":{"a":"1","b":"2"}}'
        }
        live = config_map({"uid": "u", "annotations": annotation}, a="1", b="other")
        live["metadata"]["managedFields"] = updated(
            None, live, CONFIG, writer("kubectl-client-side-apply"), has_status=False
        )
        assert self.apply(live, config_map(a="9"), "kubectl")["data"]["a"] == "9"
        with pytest.raises(Refused, match=r"\.data\.b"):
            self.apply(live, config_map(b="9"), "kubectl")
        with pytest.raises(Refused, match=r"\.data\.a"):
            self.apply(live, config_map(a="9"), "flux")
