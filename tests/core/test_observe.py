"""Objects as the API has them, and what is kept of them."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from reroll.core.applied import encode
from reroll.core.digests import config_map_digests
from reroll.core.observe import (
    ConfigMapObject,
    ObjectMeta,
    SecretObject,
    WorkloadObject,
    config_record,
    epoch,
    first_content,
    last_change,
    version_number,
    workload_record,
)
from reroll.core.policy import config_flags
from reroll.core.records import Applied, Change, ConfigRecord, WorkloadId, WorkloadRecord

DAY = "2026-03-01T10:00:"
NOON = epoch(f"{DAY}00Z")


def entry(manager: str, seconds: int, *fields: str, subresource: str = "", below: str = "") -> dict[str, Any]:
    """One entry of managedFields: `manager` changed `fields` (of `below`) at `seconds`."""
    owned: dict[str, Any] = {field: {"f:x": {}} for field in fields}
    return {
        "manager": manager,
        "operation": "Update",
        "apiVersion": "v1",
        "time": f"{DAY}{seconds:02}Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": {below: owned} if below else owned,
        **({"subresource": subresource} if subresource else {}),
    }


def metadata(*entries: dict[str, Any], **fields: Any) -> dict[str, Any]:
    found = {"name": "app", "namespace": "shop", "uid": "u", "resourceVersion": "7", **fields}
    return {**found, "creationTimestamp": f"{DAY}00Z", "managedFields": list(entries)}


def meta(*entries: dict[str, Any], **fields: Any) -> ObjectMeta:
    return msgspec.json.decode(json.dumps(metadata(*entries, **fields)), type=ObjectMeta)


class TestEpoch:
    @pytest.mark.parametrize(
        ("timestamp", "seconds"),
        [
            ("1970-01-01T00:01:40Z", 100.0),
            ("1970-01-01T02:01:40+02:00", 100.0),
            ("1970-01-01T00:01:40.500000Z", 100.5),
            (None, 0.0),
            ("", 0.0),
            ("yesterday", 0.0),
        ],
    )
    def test_epoch(self, timestamp: str | None, seconds: float) -> None:
        assert epoch(timestamp) == seconds


@pytest.mark.parametrize(
    ("resource_version", "number"), [("12", 12), ("", 0), ("v12", 0), ("-1", 0), ("²", 0), ("१२", 0)]
)
def test_version_number(resource_version: str, number: int) -> None:
    assert version_number(resource_version) == number


class TestLastChange:
    DATA = (b'"f:data"',)

    def test_the_latest_of_those_who_own_the_field(self) -> None:
        found = meta(
            entry("kubectl", 10, "f:data"), entry("helm", 30, "f:data"), entry("label", 50, "f:metadata")
        )
        assert last_change(found, self.DATA) == NOON + 30

    def test_any_of_several_fields(self) -> None:
        found = meta(entry("kubectl", 10, "f:data"), entry("helm", 20, "f:binaryData"))
        assert last_change(found, (b'"f:data"', b'"f:binaryData"')) == NOON + 20

    def test_a_subresource_does_not_count(self) -> None:
        found = meta(entry("kubectl", 10, "f:data"), entry("kcm", 30, "f:data", subresource="status"))
        assert last_change(found, self.DATA) == NOON + 10

    def test_without_one_manager(self) -> None:
        found = meta(entry("kubectl", 10, "f:data"), entry("reroll", 30, "f:data"))
        assert last_change(found, self.DATA, except_manager="reroll") == NOON + 10

    def test_never_since_its_creation(self) -> None:
        assert last_change(meta(entry("label", 50, "f:metadata")), self.DATA) == NOON
        assert last_change(ObjectMeta(), self.DATA) == 0.0

    def test_a_field_of_a_longer_name_is_another(self) -> None:
        found = meta(entry("kubectl", 30, "f:volumeClaimTemplates", below="f:spec"))
        assert last_change(found, (b'"f:template"',)) == NOON

    def test_an_entry_without_a_time(self) -> None:
        old = {k: v for k, v in entry("kubectl", 10, "f:data").items() if k != "time"}
        assert last_change(meta(old), self.DATA) == NOON


class TestDecoding:
    def test_a_config_map(self) -> None:
        body = {
            "kind": "ConfigMap",
            "metadata": metadata(labels={"a": "b"}),
            "data": {"a": "1"},
            "immutable": True,
        }
        found = msgspec.json.decode(json.dumps(body), type=ConfigMapObject)
        assert (found.metadata.name, found.data, found.binary_data) == ("app", {"a": "1"}, None)

    def test_a_secret(self) -> None:
        body = {"metadata": metadata(), "data": None, "type": "Opaque"}
        assert msgspec.json.decode(json.dumps(body), type=SecretObject).data is None


class TestFirstContent:
    @pytest.mark.parametrize(("seconds", "first"), [(0, True), (1, True), (2, False), (30, False)])
    def test_a_pod_needs_some_time_to_start(self, seconds: int, first: bool) -> None:
        found = meta(entry("kubectl", seconds, "f:data"))
        assert first_content(found, NOON + seconds) is first
        record = config_record(found, ((), b""), None, flags=config_flags, arrived=0.0)
        assert record.rewritten is not first

    def test_without_a_time_of_creation(self) -> None:
        assert first_content(ObjectMeta(), NOON)


class TestConfigRecord:
    CONTENT = config_map_digests({"a": "1"}, None)

    def record(
        self,
        found: ObjectMeta | None = None,
        content: tuple[tuple[str, ...], bytes] = CONTENT,
        previous: ConfigRecord | None = None,
        *,
        arrived: float = 0.0,
    ) -> ConfigRecord:
        found = found or meta(entry("kubectl", 10, "f:data"))
        return config_record(found, content, previous, flags=config_flags, arrived=arrived)

    def test_found_in_a_list(self) -> None:
        record = self.record()
        assert (record.keys, record.digests) == self.CONTENT
        assert record.change == Change(stamp=NOON + 10, arrived=0.0, version=7)
        assert not record.change.live
        assert not record.ignored

    def test_seen_live(self) -> None:
        assert self.record(arrived=99.0).change == Change(stamp=NOON + 10, arrived=99.0, version=7)

    def test_nothing_differs(self) -> None:
        before = self.record()
        again = meta(entry("label", 50, "f:metadata"), resourceVersion="9", labels={"a": "b"})
        assert self.record(again, previous=before, arrived=99.0) is before

    def test_only_its_own_annotations_differ(self) -> None:
        before = self.record()
        noted = meta(
            annotations={"reroll.dev/ignore": "true", "reroll.dev/share-with": "*"}, resourceVersion="9"
        )
        after = self.record(noted, previous=before, arrived=99.0)
        assert after == replace(before, ignored=True, shared_with="*")
        assert self.record(meta(annotations={"reroll.dev/match": "true"}), previous=after).matchable
        assert self.record(previous=after, arrived=99.0) == before

    @pytest.mark.parametrize("data", [{"a": "2"}, {"b": "1"}, {"a": "1", "b": "1"}, {}])
    def test_its_content_differs(self, data: dict[str, str]) -> None:
        changed = meta(entry("kubectl", 40, "f:data"), resourceVersion="9")
        after = self.record(changed, config_map_digests(data, None), self.record(), arrived=99.0)
        assert after.change == Change(stamp=NOON + 40, arrived=99.0, version=9)

    def test_a_change_that_only_a_relist_found(self) -> None:
        before = self.record(arrived=50.0)
        after = self.record(meta(resourceVersion="9"), config_map_digests({"a": "2"}, None), before)
        assert after.change == Change(stamp=NOON, arrived=0.0, version=9)

    def test_equal_keys_are_one_tuple(self) -> None:
        one = self.record(content=config_map_digests({"k": "1"}, None))
        other = self.record(content=config_map_digests({"k": "2"}, None))
        assert one.keys is other.keys


APPLIED = Applied("hash", "key", {"configmap/app": {"PORT": "d"}})
TEMPLATE_ENTRY = entry("kubectl", 10, "f:template", below="f:spec")


class Live:
    """A Deployment on the server, and what the store keeps of it."""

    def __init__(self, **spec: Any) -> None:
        self.annotations: dict[str, str] = {}
        self.template: dict[str, Any] = {
            "metadata": {"labels": {"app": "web"}, "annotations": {}},
            "spec": {
                "containers": [
                    {
                        "name": "web",
                        "image": "web:1",
                        "env": [
                            {"name": "P", "valueFrom": {"configMapKeyRef": {"name": "app", "key": "PORT"}}}
                        ],
                    }
                ]
            },
        }
        self.spec = spec
        self.meta: dict[str, Any] = {"generation": 1, "resourceVersion": "100", "uid": "u"}
        self.entries = [TEMPLATE_ENTRY]
        self.record: WorkloadRecord | None = None

    def object(self) -> WorkloadObject:
        body = {
            "metadata": {
                **metadata(*self.entries, name="web", annotations=self.annotations),
                **self.meta,
            },
            "spec": {"selector": {}, "template": self.template, **self.spec},
            "status": {"replicas": 3},
        }
        return msgspec.json.decode(json.dumps(body), type=WorkloadObject)

    def observe(self, *, arrived: float = 0.0, written_mark: str | None = None) -> WorkloadRecord:
        self.record = workload_record(
            self.object(),
            "Deployment",
            self.record,
            relevant=lambda found: {k: v for k, v in found.items() if k == "reroll.dev/auto"},
            arrived=arrived,
            written_mark=written_mark,
        )
        return self.record

    def changed(self, *, spec: bool = True) -> None:
        """What the server does at each write."""
        self.meta["resourceVersion"] = str(int(self.meta["resourceVersion"]) + 1)
        self.meta["generation"] += spec

    def mark(self, mark: str | None) -> None:
        annotations = self.template["metadata"]["annotations"]
        annotations.pop("reroll.dev/config", None)
        if mark is not None:
            annotations["reroll.dev/config"] = mark
        self.changed()

    def image(self, image: str) -> None:
        self.template["spec"]["containers"][0]["image"] = image
        self.changed()


class TestWorkloadRecord:
    def test_first_seen_in_a_list(self) -> None:
        live = Live(replicas=3)
        live.annotations = {
            "reroll.dev/auto": "true",
            "unrelated": "x",
            "reroll.dev/applied": encode(APPLIED),
        }
        live.template["metadata"]["annotations"] = {"reroll.dev/config": "mark", "unrelated": "x"}
        record = live.observe()
        assert record.id == WorkloadId("Deployment", "shop", "web")
        assert (record.uid, record.resource_version, record.generation) == ("u", "100", 1)
        assert record.annotations == {"reroll.dev/auto": "true"}
        assert record.template_annotations == {}
        assert [(r.name, r.keys) for r in record.references] == [("app", ("PORT",))]
        assert record.mark == "mark"
        assert record.applied == APPLIED
        assert (record.unsaved, record.applied_problem) == (False, "")
        assert record.template_change == Change(stamp=NOON + 10, arrived=0.0, version=100)
        assert (record.replicas, record.paused, record.on_delete, record.deleting) == (3, False, False, False)

    @pytest.mark.parametrize(
        ("spec", "replicas", "paused", "on_delete"),
        [
            ({"replicas": 0}, 0, False, False),
            ({"paused": True}, None, True, False),
            ({"updateStrategy": {"type": "OnDelete"}}, None, False, True),
            (
                {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}},
                None,
                False,
                False,
            ),
        ],
    )
    def test_its_spec(
        self, spec: dict[str, Any], replicas: int | None, paused: bool, on_delete: bool
    ) -> None:
        record = Live(**spec).observe()
        assert (record.replicas, record.paused, record.on_delete) == (replicas, paused, on_delete)

    def test_being_deleted(self) -> None:
        live = Live()
        live.meta["deletionTimestamp"] = f"{DAY}30Z"
        assert live.observe().deleting

    def test_without_annotations(self) -> None:
        live = Live()
        del live.template["metadata"]
        record = live.observe()
        assert (record.mark, record.applied, record.annotations) == (None, None, {})

    def test_our_own_field_manager_is_nobody_else(self) -> None:
        live = Live()
        live.entries.append(entry("reroll", 40, "f:template", below="f:spec"))
        assert live.observe().template_change.stamp == NOON + 10


class TestTemplateChange:
    """Who changed the pod template: what rule 4 rests on."""

    def test_of_somebody_else(self) -> None:
        live = Live()
        before = live.observe()
        live.image("web:2")
        live.entries = [entry("helm", 40, "f:template", below="f:spec")]
        after = live.observe(arrived=99.0)
        assert after.template_hash != before.template_hash
        assert after.template_change == Change(stamp=NOON + 40, arrived=99.0, version=101, by="helm")

    def test_references_are_read_anew(self) -> None:
        live = Live()
        live.observe()
        live.template["spec"]["containers"][0].pop("env")
        live.changed()
        assert live.observe(arrived=99.0).references == ()

    def test_found_by_a_relist(self) -> None:
        live = Live()
        live.observe(arrived=50.0)
        live.image("web:2")
        assert live.observe().template_change == Change(stamp=NOON + 10, arrived=0.0, version=101)

    def test_our_own(self) -> None:
        live = Live()
        before = live.observe()
        live.mark("new")
        after = live.observe(arrived=99.0, written_mark="new")
        assert after.mark == "new"
        assert after.template_hash == before.template_hash
        assert after.template_change == before.template_change
        live.changed()
        assert live.observe(arrived=100.0).template_change == before.template_change

    @pytest.mark.parametrize("written", [None, "third"])
    @pytest.mark.parametrize(("now", "then"), [("old", "new"), (None, "new"), ("new", None)])
    def test_a_mark_that_somebody_else_changed(
        self, now: str | None, then: str | None, written: str | None
    ) -> None:
        """An undo, also one to before the first rollout, which takes the mark away; or another controller."""
        live = Live()
        live.mark(then)
        before = live.observe()
        live.mark(now)
        after = live.observe(arrived=99.0, written_mark=written)
        assert after.template_hash == before.template_hash
        assert after.template_change.arrived == 99.0
        assert after.mark == now

    def test_a_template_that_changes_with_our_mark_is_not_ours(self) -> None:
        live = Live()
        live.observe()
        live.image("web:2")
        live.mark("new")
        assert live.observe(arrived=99.0, written_mark="new").template_change.live

    @pytest.mark.parametrize("field", ["replicas", "paused"])
    def test_other_fields_are_no_change_of_it(self, field: str) -> None:
        live = Live(replicas=1)
        before = live.observe()
        live.spec[field] = 5 if field == "replicas" else True
        live.changed()
        after = live.observe(arrived=99.0)
        assert after.template_change == before.template_change
        assert after.generation == before.generation + 1

    def test_status_and_metadata_are_no_change_of_it(self) -> None:
        live = Live()
        before = live.observe()
        live.annotations["reroll.dev/auto"] = "true"
        live.changed(spec=False)
        after = live.observe(arrived=99.0)
        assert after == replace(before, resource_version="101", annotations={"reroll.dev/auto": "true"})

    def test_an_object_of_the_same_name_is_another(self) -> None:
        live = Live()
        live.annotations["reroll.dev/applied"] = encode(APPLIED)
        live.observe()
        live.meta["uid"] = "another"
        live.annotations = {}
        live.changed()
        record = live.observe(arrived=99.0)
        assert record.applied is None
        assert record.template_change.live


class TestApplied:
    BAD = "reroll.dev/applied is not readable"

    def test_one_that_cannot_be_read(self) -> None:
        live = Live()
        live.annotations["reroll.dev/applied"] = "{"
        record = live.observe()
        assert (record.applied, record.unsaved) == (None, False)
        assert record.applied_problem.startswith(self.BAD)

    @pytest.mark.parametrize("value", [None, "{", '{"x":' + "[" * 50_000])
    def test_what_is_known_outlives_it(self, value: str | None) -> None:
        live = Live()
        live.annotations["reroll.dev/applied"] = encode(APPLIED)
        live.observe()
        live.annotations = {} if value is None else {"reroll.dev/applied": value}
        live.changed(spec=False)
        record = live.observe(arrived=99.0)
        assert (record.applied, record.unsaved) == (APPLIED, True)
        assert record.applied_problem.startswith(self.BAD if value is not None else "")
        assert bool(record.applied_problem) is (value is not None)
        live.changed(spec=False)
        assert live.observe(arrived=99.0).unsaved, "until it is on the object again"
        live.annotations["reroll.dev/applied"] = encode(APPLIED)
        live.changed(spec=False)
        record = live.observe(arrived=99.0)
        assert (record.unsaved, record.applied_problem) == (False, "")

    def test_what_the_object_says_goes_before_what_is_known(self) -> None:
        live = Live()
        live.annotations["reroll.dev/applied"] = encode(APPLIED)
        live.observe()
        older = replace(APPLIED, configs={})
        live.annotations["reroll.dev/applied"] = encode(older)
        live.changed(spec=False)
        assert live.observe(arrived=99.0).applied == older


class TestMixed:
    """What pods read in between is noted for as long as pods may run that did."""

    @pytest.fixture
    def live(self) -> Live:
        """Its pods are of the mark "m0" and of "m1", and some have read other content."""
        live = Live(replicas=3)
        live.mark("m1")
        now = live.observe(arrived=1.0)
        known = ((now.template_hash, "m0"), now.revision)
        live.record = replace(
            now, applied=replace(APPLIED, at=100), mixed=frozenset({"configmap/app"}), revisions=known
        )
        live.annotations = {"reroll.dev/applied": encode(replace(APPLIED, at=100))}
        return live

    def test_another_revision_replaces_them(self, live: Live) -> None:
        live.image("web:2")
        assert live.observe(arrived=2.0).mixed == frozenset()

    def test_a_revision_that_has_pods_does_not(self, live: Live) -> None:
        live.mark("m0")
        assert live.observe(arrived=2.0).mixed

    def test_where_nothing_is_known_of_revisions_it_stays(self, live: Live) -> None:
        assert live.record is not None
        live.record = replace(live.record, revisions=None)
        live.image("web:2")
        assert live.observe(arrived=2.0).mixed

    @pytest.mark.parametrize(("at", "stays"), [(0, True), (99, True), (100, True), (101, False)])
    def test_a_later_decision_ends_it_and_no_record_of_others(self, live: Live, at: int, stays: bool) -> None:
        """A controller that did not see it writes a record, too: without a decision, or an undo restores one."""
        live.annotations = {"reroll.dev/applied": encode(replace(APPLIED, at=at, key_id="other"))}
        live.changed(spec=False)
        assert bool(live.observe(arrived=2.0).mixed) is stays
