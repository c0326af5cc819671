"""What a copy is made of, and what is believed of one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reroll.core.records import ConfigId
from reroll.core.version_name import copy_name
from reroll.versions.copies import (
    ORDINAL,
    SOURCE,
    SOURCE_NAME,
    copy_of,
    decode_copies,
    last_write,
    next_ordinal,
    read_copy,
    same_content,
    source_label,
)
from reroll.versions.garbage import names_in

Json = dict[str, Any]


def source(**more: Any) -> Json:
    return {
        "kind": "ConfigMap",
        "metadata": {
            "name": "app",
            "namespace": "shop",
            "uid": "u-1",
            "resourceVersion": "42",
            "labels": {
                "team": "shop",
                "app.kubernetes.io/name": "web",
                "app.kubernetes.io/instance": "web",
                "app.kubernetes.io/managed-by": "Helm",
                "helm.sh/chart": "web-1",
                "argocd.argoproj.io/instance": "web",
                "kustomize.toolkit.fluxcd.io/name": "web",
            },
            "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": "{}",
                "meta.helm.sh/release-name": "web",
                "argocd.argoproj.io/tracking-id": "web:/ConfigMap:shop/app",
                "reroll.dev/match": "true",
            },
            "ownerReferences": [{"kind": "Thing", "name": "x", "uid": "u"}],
            "finalizers": ["example.com/x"],
            "managedFields": [
                {"manager": "helm", "time": "2026-12-01T10:00:00Z", "fieldsV1": {"f:data": {"f:a": {}}}},
                {
                    "manager": "kubectl-edit",
                    "time": "2026-12-01T11:00:00Z",
                    "fieldsV1": {"f:data": {"f:b": {}}},
                },
                {"manager": "labeller", "time": "2026-12-01T12:00:00Z", "fieldsV1": {"f:metadata": {}}},
            ],
        },
        "data": {"a": "1"},
        **more,
    }


def test_it_holds_the_content_and_where_it_is_from() -> None:
    made = copy_of(source(binaryData={"b": "/w=="}), "app-h29d89cmmt", 3)
    assert (made["immutable"], made["data"], made["binaryData"]) == (True, {"a": "1"}, {"b": "/w=="})
    meta = made["metadata"]
    assert (meta["name"], meta["namespace"]) == ("app-h29d89cmmt", "shop")
    annotations = {key.removeprefix("reroll.dev/"): value for key, value in meta["annotations"].items()}
    assert annotations["source-name"] == "app"
    assert annotations["source-uid"] == "u-1"
    assert annotations["source-version"] == "42"
    assert annotations["changed-by"] == "kubectl-edit", "who wrote labels later has not changed the content"
    assert annotations["changed-at"] == "2026-12-01T11:00:00Z"


def test_no_tool_takes_it_for_its_own() -> None:
    meta = copy_of(source(), "app-h29d89cmmt", 1)["metadata"]
    assert meta["labels"] == {
        "team": "shop",
        "app.kubernetes.io/name": "web",
        "reroll.dev/source": "app",
        "reroll.dev/version": "1",
    }
    assert meta.keys() == {"name", "namespace", "labels", "annotations"}
    assert not [key for key in meta["annotations"] if "kubectl" in key or "helm" in key or "tracking" in key]
    assert meta["annotations"]["argocd.argoproj.io/compare-options"] == "IgnoreExtraneous"
    assert meta["annotations"]["argocd.argoproj.io/sync-options"] == "Prune=false"


def test_a_secret_keeps_its_type() -> None:
    made = copy_of(source(kind="Secret", type="kubernetes.io/tls", data={"tls.key": "eA=="}), "s-1", 1)
    assert made["type"] == "kubernetes.io/tls"


def test_what_was_made_is_read() -> None:
    made = copy_of(source(), "app-h29d89cmmt", 3)
    copy = read_copy(made, "configmap")
    assert copy is not None
    assert (copy.config, copy.source, copy.ordinal) == (
        ConfigId("configmap", "shop", "app-h29d89cmmt"),
        "app",
        3,
    )
    assert (copy.changed_by, copy.changed_at) == ("kubectl-edit", "2026-12-01T11:00:00Z")


def test_a_long_name_is_cut_in_the_label_alone() -> None:
    long = "a" * 200
    obj = source()
    obj["metadata"]["name"] = long
    made = copy_of(obj, copy_name(long, "h29d89cmmt"), 1)
    assert len(made["metadata"]["labels"][SOURCE]) <= 63
    copy = read_copy(made, "configmap")
    assert copy is not None
    assert copy.source == long
    assert source_label(long) != source_label("a" * 201)


@pytest.mark.parametrize(
    ("labels", "annotations"),
    [
        ({}, {}),
        ({SOURCE: "app"}, {}),
        ({SOURCE: "app", ORDINAL: "x"}, {}),
        ({SOURCE: "app", ORDINAL: "-1"}, {}),
        ({SOURCE: "app", ORDINAL: "1" * 400}, {}),
        ({SOURCE: "app", ORDINAL: "²"}, {}),
        ({SOURCE: "", ORDINAL: "1"}, {}),
        ({SOURCE: "app", ORDINAL: "1"}, {SOURCE_NAME: "other"}),
        ({SOURCE: "app-h29d89cmmt", ORDINAL: "1"}, {}),
    ],
)
def test_hostile_labels_make_no_copy(labels: dict[str, str], annotations: dict[str, str]) -> None:
    meta = {"name": "app-h29d89cmmt", "namespace": "shop", "labels": labels, "annotations": annotations}
    assert read_copy({"metadata": meta}, "configmap") is None


@pytest.mark.parametrize("name", ["app", "settings", "app-h29d89cm", "app-handwritten", "web-h29d89cmmt", ""])
def test_what_is_not_named_as_a_copy_is_none(name: str) -> None:
    """Somebody made an object out of a copy: garbage collection must not take it for one."""
    assert read_copy(copy_of(source(), name, 1), "configmap") is None


def test_labels_may_be_null() -> None:
    assert read_copy({"metadata": {"name": "x", "labels": None, "annotations": None}}, "secret") is None


def test_ordinals() -> None:
    made = [copy_of(source(), f"app-244666888{n}", n) for n in (2, 7, 4)]
    copies = [copy for each in made if (copy := read_copy(each, "configmap"))]
    assert next_ordinal(copies) == 8
    assert next_ordinal([]) == 1


def test_a_list_with_nothing_in_it() -> None:
    assert decode_copies(b'{"items": null}', "configmap") == []


def test_same_content() -> None:
    assert same_content(source(), {"data": {"a": "1"}, "binaryData": None})
    assert same_content({"data": {}}, {})
    assert not same_content(source(), source(data={"a": "2"}))
    assert not same_content(source(), source(binaryData={"b": "/w=="}))


def test_who_wrote_it_last_where_nobody_says() -> None:
    assert last_write([]) == ("", "")
    assert last_write([{"manager": "x", "fieldsV1": None}]) == ("", "")


@given(st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", fullmatch=True), st.sampled_from([10, 16, 26]))
def test_whatever_counts_as_a_copy_is_found_where_it_is_named(name: str, length: int) -> None:
    obj = source()
    obj["metadata"]["name"] = name
    made = copy_of(obj, copy_name(name, "b" * length), 1)
    copy = read_copy(made, "configmap")
    assert copy is not None
    assert names_in(json.dumps({"name": copy.config.name}).encode()) == {copy.config.name}
