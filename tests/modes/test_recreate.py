"""Jobs that are created again: their manifests, and what is done about those that are left half done."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from reroll.core.applied import decode
from reroll.core.compare import ConfigChange
from reroll.core.decide import Decision, How, Kind
from reroll.core.records import Applied, Change, ConfigId
from reroll.modes import recreate

APPLIED = Applied("t", "k", {"configmap/app": {"level": "d"}})
CHANGE = ConfigChange(ConfigId("configmap", "shop", "app"), ("level",), change=Change(1.0, 1.0, 7))
AGAIN = Decision(Kind.ROLL, "changed", changes=(CHANGE,), applied=APPLIED, mark="m", how=How.AGAIN)
UID_LABELS = {
    "controller-uid": "u",
    "batch.kubernetes.io/controller-uid": "u",
    "job-name": "import",
    "batch.kubernetes.io/job-name": "import",
}


def a_job(**spec: Any) -> dict[str, Any]:
    """A Job as an API server has it."""
    template = {
        "metadata": {"creationTimestamp": None, "labels": {**UID_LABELS, "app": "a"}},
        "spec": {"x": 1},
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": "import",
            "namespace": "shop",
            "uid": "u",
            "resourceVersion": "5",
            "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "managedFields": [{}],
            "labels": {**UID_LABELS, "team": "web"},
            "annotations": {"note": "kept"},
            "finalizers": ["foregroundDeletion", "example.com/keep"],
            "ownerReferences": [{"kind": "App", "name": "a", "uid": "o"}],
        },
        "spec": {"selector": {"matchLabels": {"controller-uid": "u"}}, "template": template, **spec},
        "status": {"active": 1},
    }


def again(job: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(recreate.again(job, AGAIN))
    return found


def test_what_is_the_servers_is_left_out_and_what_is_the_owners_is_kept() -> None:
    job = a_job(backoffLimit=3)
    before = json.dumps(job)
    made = again(job)
    assert json.dumps(job) == before, "what it is made of is not written into"
    record = made["metadata"]["annotations"].pop("reroll.dev/applied")
    assert decode(record) == APPLIED
    assert made == {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": "import",
            "namespace": "shop",
            "labels": {"team": "web"},
            "annotations": {"note": "kept"},
            "finalizers": ["example.com/keep"],
            "ownerReferences": [{"kind": "App", "name": "a", "uid": "o"}],
        },
        "spec": {
            "backoffLimit": 3,
            "template": {
                "metadata": {"labels": {"app": "a"}, "annotations": {"reroll.dev/config": "m"}},
                "spec": {"x": 1},
            },
        },
    }


def test_a_selector_of_its_own_stays_with_its_labels() -> None:
    made = again(a_job(manualSelector=True))
    assert made["spec"]["selector"] == {"matchLabels": {"controller-uid": "u"}}
    assert made["spec"]["template"]["metadata"]["labels"] == {**UID_LABELS, "app": "a"}


def test_one_with_next_to_nothing() -> None:
    bare = {"metadata": {"name": "a", "namespace": "shop"}, "spec": {"template": {"spec": {}}}}
    made = again(bare)
    assert made["metadata"].keys() == {"name", "namespace", "annotations"}
    assert made["spec"]["template"]["metadata"]["annotations"] == {"reroll.dev/config": "m"}


def test_whose_it_is_is_told_by_the_record() -> None:
    assert recreate.is_of(recreate.again(a_job(), AGAIN), AGAIN)
    assert not recreate.is_of(json.dumps(a_job()).encode(), AGAIN)
    assert not recreate.is_of(
        recreate.again(a_job(), AGAIN), replace(AGAIN, applied=replace(APPLIED, template="other"))
    )
    assert not recreate.is_of(b'{"metadata": {}}', AGAIN)


def test_a_stand_in_holds_all_of_what_it_stands_in_for() -> None:
    manifest = recreate.again(a_job(backoffLimit=3), AGAIN)
    name, body = recreate.stand_in(manifest, "u")
    made = json.loads(body)
    assert made["metadata"]["name"] == name != "import"
    assert made["spec"]["suspend"] is True
    assert "finalizers" not in made["metadata"], "it would not go"
    assert made["metadata"]["annotations"]["reroll.dev/stands-in-for"] == "import example.com/keep"
    # As the API server has it, with what that puts in.
    made["metadata"] |= {"uid": "s", "resourceVersion": "9", "managedFields": [{}]}
    made["spec"]["selector"] = {"matchLabels": {"controller-uid": "s"}}
    made["spec"]["template"]["metadata"]["labels"] |= UID_LABELS
    assert [recreate.behind(made)[0], json.loads(recreate.behind(made)[1])] == [
        "import",
        json.loads(manifest),
    ]


def test_the_name_of_a_stand_in_is_that_of_no_other_job() -> None:
    def name(of: str, uid: str) -> str:
        found = recreate.stand_in(
            recreate.again({**a_job(), "metadata": {**a_job()["metadata"], "name": of}}, AGAIN), uid
        )
        return found[0]

    assert name("import", "u") == name("import", "u") != name("import", "v")
    assert len(name("a" * 63, "u")) <= 63


def test_without_a_record_nothing_is_made() -> None:
    with pytest.raises(ValueError, match="record"):
        recreate.again(a_job(), replace(AGAIN, applied=None))
