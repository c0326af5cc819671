"""Workloads that arrive again with nothing new but their status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from reroll.core.applied import APPLIED, RESTARTING, STANDS_IN_FOR, encode
from reroll.core.observe import WorkloadObject, workload_record
from reroll.core.records import Applied, WorkloadRecord
from reroll.core.unchanged import same_but_for_status
from reroll.dialects import ALL

RECORD = encode(Applied("0123456789abcdef", "key", {"configmap/app": {"a": "b"}}))


def workload(**changed: Any) -> WorkloadObject:
    """A Deployment; `changed` are fields of its metadata, and `replicas`."""
    metadata = {
        "name": "app",
        "namespace": "shop",
        "uid": "u",
        "resourceVersion": "7",
        "generation": 3,
        "annotations": {"reroll.dev/auto": "true", APPLIED: RECORD, "team": "web"},
        **{key: value for key, value in changed.items() if key not in ("replicas", "finished")},
    }
    spec = {"replicas": changed.get("replicas", 3), "template": {"spec": {"containers": [{"name": "main"}]}}}
    found = msgspec.convert(
        {"metadata": metadata, "spec": {**spec, "template": msgspec.Raw()}}, WorkloadObject
    )
    found.spec.template = msgspec.Raw(msgspec.json.encode(spec["template"]))
    found.finished = changed.get("finished", False)
    return found


def record(obj: WorkloadObject, previous: WorkloadRecord | None = None) -> WorkloadRecord:
    return workload_record(obj, "Deployment", previous, relevant=ALL.relevant, arrived=5.0)


def same(obj: WorkloadObject, known: WorkloadRecord) -> bool:
    return same_but_for_status(obj, known, ALL.relevant)


KNOWN = record(workload())


def annotated(**changed: str | None) -> dict[str, str]:
    names = {"auto": "reroll.dev/auto", "applied": APPLIED, "stands": STANDS_IN_FOR, "restarting": RESTARTING}
    found: Mapping[str, str | None] = {
        **(workload().metadata.annotations or {}),
        **{names.get(key, key): value for key, value in changed.items()},
    }
    return {key: value for key, value in found.items() if value is not None}


def test_another_status_is_the_same() -> None:
    assert same(workload(resourceVersion="8"), KNOWN)


def test_annotations_that_are_not_read_do_not_count() -> None:
    assert same(workload(resourceVersion="8", annotations=annotated(team="shop")), KNOWN)
    assert same(workload(labels={"a": "b"}), KNOWN)


@pytest.mark.parametrize(
    "changed",
    [
        {"generation": 4},
        {"uid": "another"},
        {"deletionTimestamp": "2026-12-01T00:00:00Z"},
        {"annotations": annotated(auto="false")},
        {"annotations": annotated(auto=None)},
        {"annotations": None},
        {"annotations": annotated(applied=None)},
        {"annotations": annotated(applied="{")},
        {"annotations": annotated(applied=RECORD.replace("0123", "3210"))},
        {"annotations": annotated(stands="job")},
        {"annotations": annotated(restarting="abc")},
        {"ownerReferences": [{"kind": "CronJob", "name": "c", "controller": True}]},
        {"finished": True},
    ],
)
def test_what_makes_another_record_is_not_the_same(changed: dict[str, Any]) -> None:
    obj = workload(**changed)
    assert not same(obj, KNOWN)
    assert record(obj, KNOWN) != KNOWN


def test_where_no_generations_are_counted_nothing_is_told() -> None:
    unknown = workload(generation=0)
    assert not same(unknown, record(unknown))


def test_what_is_known_beyond_the_object_is_not_compared_with_it() -> None:
    bare = workload(annotations=annotated(applied=None))
    adopted = replace(record(bare), applied=KNOWN.applied, unsaved=True)
    assert not same(bare, adopted)


ANNOTATIONS = st.dictionaries(
    st.sampled_from(
        [
            "reroll.dev/auto",
            APPLIED,
            STANDS_IN_FOR,
            RESTARTING,
            "team",
            "wave.pusher.com/update-on-config-change",
        ]
    ),
    st.sampled_from(["true", "false", RECORD, "{", "a b", ""]),
    max_size=3,
)
OBJECTS = st.fixed_dictionaries(
    {"annotations": ANNOTATIONS},
    optional={
        "generation": st.sampled_from([0, 1, 2]),
        "uid": st.sampled_from(["u", "v"]),
        "deletionTimestamp": st.sampled_from([None, "2026-12-01T00:00:00Z"]),
        "ownerReferences": st.sampled_from([None, [{"kind": "A", "name": "a", "controller": True}]]),
        "finished": st.booleans(),
    },
)


@given(OBJECTS, OBJECTS)
def test_the_same_makes_the_same_record(one: dict[str, Any], two: dict[str, Any]) -> None:
    known = record(workload(**one))
    again = workload(**two, resourceVersion="8")
    if same(again, known):
        assert record(again, known) == replace(known, resource_version="8")
    elif record(again, known) == replace(known, resource_version="8"):
        # In doubt only: nothing that is like it is taken for another.
        assert not again.metadata.generation or known.unsaved
