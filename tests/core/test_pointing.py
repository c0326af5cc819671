"""A pod template that names versions means the same as one that names their sources."""

from __future__ import annotations

import copy
import json
from typing import Any

import msgspec
import pytest

from reroll.core.observe import WorkloadObject, workload_record
from reroll.core.pointing import Named, annotation_of, named, pointed, points_of, to_sources
from reroll.core.template import template_hash

Json = dict[str, Any]
V1: dict[Named, str] = {("configmap", "app"): "app-v1", ("secret", "db"): "db-v1"}
V2: dict[Named, str] = {("configmap", "app"): "app-v2", ("secret", "db"): "db-v2"}


def a_template() -> Json:
    """One that reads app and db in every way, and names them where a version is of no use."""
    env = [
        {"name": "PLAIN", "value": "app"},
        {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "app", "key": "a"}}},
        {"name": "B", "valueFrom": {"secretKeyRef": {"name": "db", "key": "b", "optional": True}}},
    ]
    sources: list[Json] = [{"configMap": {"name": "app"}}, {"secret": {"name": "db"}}, {"downwardAPI": {}}]
    return {
        "metadata": {"labels": {"app": "web"}},
        "spec": {
            "initContainers": [{"name": "init", "envFrom": [{"configMapRef": {"name": "app"}}]}],
            "containers": [
                {"name": "main", "env": env},
                {"name": "side", "envFrom": [{"secretRef": {"name": "db"}, "prefix": "DB_"}]},
            ],
            "volumes": [
                {"name": "a", "configMap": {"name": "app", "items": [{"key": "a", "path": "a"}]}},
                {"name": "b", "secret": {"secretName": "db"}},
                {"name": "c", "projected": {"sources": sources}},
                {"name": "d", "configMap": {"name": "other"}},
                {"name": "e", "csi": {"driver": "d", "nodePublishSecretRef": {"name": "db"}}},
            ],
            "imagePullSecrets": [{"name": "db"}],
        },
    }


def text(template: Json) -> str:
    return json.dumps(template, sort_keys=True)


def test_each_place_that_a_container_reads_names_the_copy() -> None:
    found = pointed(a_template(), V1)
    assert text(found["spec"]).count('"app-v1"') == 4
    assert text(found["spec"]).count('"db-v1"') == 4
    left = found["spec"]
    assert left["imagePullSecrets"] == [{"name": "db"}], "the kubelet reads it, and later pods do too"
    assert left["volumes"][4]["csi"]["nodePublishSecretRef"] == {"name": "db"}
    assert left["volumes"][3]["configMap"] == {"name": "other"}
    assert left["containers"][0]["env"][0] == {"name": "PLAIN", "value": "app"}
    assert found["metadata"]["annotations"] == {
        "version.reroll.dev/configmap.app": "app-v1",
        "version.reroll.dev/secret.db": "db-v1",
    }


def test_a_later_version_takes_the_place_of_an_earlier_one() -> None:
    assert pointed(pointed(a_template(), V1), V2) == pointed(a_template(), V2)


def test_one_source_alone_leaves_the_other_where_it_is() -> None:
    found = pointed(pointed(a_template(), V1), {("configmap", "app"): "app-v2"})
    assert named(found) == {
        ("configmap", "app"): "app-v2",
        ("secret", "db"): "db-v1",
        ("configmap", "other"): "other",
    }


def test_back_at_the_sources_it_is_what_it_was() -> None:
    there = pointed(a_template(), V1)
    assert pointed(there, {key: key[1] for key in V1}) == a_template()
    to_sources(there)
    assert there == a_template()


def test_its_hash_is_that_of_its_sources() -> None:
    plain = json.dumps(a_template()).encode()
    assert template_hash(json.dumps(pointed(a_template(), V1)).encode()) == template_hash(plain)
    other = a_template()
    other["spec"]["containers"][0]["image"] = "app:2"
    assert template_hash(json.dumps(pointed(other, V1)).encode()) != template_hash(plain)


def test_what_it_was_is_not_written_into() -> None:
    before = a_template()
    after = copy.deepcopy(before)
    pointed(before, V1)
    assert before == after


def test_a_source_beside_its_copy_counts_as_not_pointed() -> None:
    """A tool wrote one container anew, and left the other and the annotation alone."""
    found = pointed(a_template(), V1)
    found["spec"]["containers"][0]["env"] = a_template()["spec"]["containers"][0]["env"]
    assert named(found)["configmap", "app"] == "app"
    assert named(found)["secret", "db"] == "db"


def test_a_record_has_the_sources_and_says_which_copy_is_named() -> None:
    template = pointed(a_template(), V1)
    workload = {
        "metadata": {"name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "1"},
        "spec": {"template": template},
    }
    obj = msgspec.json.decode(msgspec.json.encode(workload), type=WorkloadObject)
    record = workload_record(obj, "Deployment", None, relevant=lambda _: {}, arrived=0.0)
    rolling = {(each.kind, each.name, each.copy) for each in record.references if each.rolls}
    assert rolling == {("configmap", "app", "app-v1"), ("secret", "db", "db-v1")}
    assert {each.name for each in record.references if not each.rolls} == {"db"}


def test_a_name_that_is_too_long_for_a_key_stands_in_the_value() -> None:
    long = "a" * 250
    key, value = annotation_of("configmap", long, "copy")
    assert len(key.partition("/")[2]) <= 63
    assert points_of({key: value}) == {("configmap", "copy"): long}
    other, _ = annotation_of("configmap", "a" * 249 + "b", "copy")
    assert other != key


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("configmap.app", ""),
        ("configmap.app", " "),
        ("configmap.app", "app"),
        ("configmap.", "app-v1"),
        ("configmap", "app-v1"),
        ("pod.app", "app-v1"),
        ("", "app-v1"),
        ("configmap.app", "app-v1 app-v1"),
    ],
)
def test_nonsense_in_an_annotation_is_no_version(key: str, value: str) -> None:
    annotations = {f"version.reroll.dev/{key}": value}
    assert points_of(annotations) == {}
    template = a_template()
    template["metadata"]["annotations"] = annotations
    assert named(template)["configmap", "app"] == "app"
    assert json.dumps(pointed(template, V1))
    to_sources(template)
    assert template == a_template()


@pytest.mark.parametrize(
    "template",
    [
        {},
        {"metadata": None, "spec": None},
        {
            "metadata": {"annotations": None},
            "spec": {"containers": None, "volumes": [None, {"configMap": None}]},
        },
        {"metadata": [], "spec": [1, {"containers": {"env": "x"}}]},
        {
            "metadata": {"annotations": {"version.reroll.dev/configmap.app": 5}},
            "spec": {"volumes": [{"configMap": {"name": 7}}]},
        },
    ],
)
def test_a_template_of_any_shape_is_taken(template: Json) -> None:
    assert all(key == ("configmap", "app") or not key for key in named(template))
    pointed(template, V1)
    to_sources(template)
