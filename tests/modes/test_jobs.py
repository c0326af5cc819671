"""The manifests of Jobs: one made again, and one started from a CronJob."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from reroll.core.applied import decode
from reroll.core.compare import ConfigChange
from reroll.core.decide import Decision, How, Kind
from reroll.core.records import Applied, Change, ConfigId
from reroll.modes import jobs

APPLIED = Applied("t", "k", {"configmap/app": {"level": "d"}})
CHANGE = ConfigChange(ConfigId("configmap", "shop", "app"), ("level",), change=Change(1.0, 1.0, 7))
AGAIN = Decision(Kind.ROLL, "changed", changes=(CHANGE,), applied=APPLIED, mark="m", how=How.AGAIN)
START = replace(AGAIN, mark=None, how=How.INSTANTIATE)
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
    found: dict[str, Any] = json.loads(jobs.again(job, AGAIN))
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
    assert jobs.is_of(jobs.again(a_job(), AGAIN), AGAIN)
    assert not jobs.is_of(json.dumps(a_job()).encode(), AGAIN)
    assert not jobs.is_of(
        jobs.again(a_job(), AGAIN), replace(AGAIN, applied=replace(APPLIED, template="other"))
    )
    assert not jobs.is_of(b'{"metadata": {}}', AGAIN)


def test_a_stand_in_holds_all_of_what_it_stands_in_for() -> None:
    manifest = jobs.again(a_job(backoffLimit=3), AGAIN)
    name, body = jobs.stand_in(manifest, "u")
    made = json.loads(body)
    assert made["metadata"]["name"] == name != "import"
    assert made["spec"]["suspend"] is True
    assert "finalizers" not in made["metadata"], "it would not go"
    assert made["metadata"]["annotations"]["reroll.dev/stands-in-for"] == "import example.com/keep"
    # As the API server has it, with what that puts in.
    made["metadata"] |= {"uid": "s", "resourceVersion": "9", "managedFields": [{}]}
    made["spec"]["selector"] = {"matchLabels": {"controller-uid": "s"}}
    made["spec"]["template"]["metadata"]["labels"] |= UID_LABELS
    assert [jobs.behind(made)[0], json.loads(jobs.behind(made)[1])] == ["import", json.loads(manifest)]


def test_the_name_of_a_stand_in_is_that_of_no_other_job() -> None:
    def name(of: str, uid: str) -> str:
        found = jobs.stand_in(
            jobs.again({**a_job(), "metadata": {**a_job()["metadata"], "name": of}}, AGAIN), uid
        )
        return found[0]

    assert name("import", "u") == name("import", "u") != name("import", "v")
    assert len(name("a" * 63, "u")) <= 63


def cron_job(name: str = "report") -> dict[str, Any]:
    template = {
        "metadata": {"labels": {"team": "web"}, "annotations": {"note": "kept"}},
        "spec": {"template": {}},
    }
    return {
        "metadata": {"name": name, "namespace": "shop", "uid": "c"},
        "spec": {"schedule": "@daily", "jobTemplate": template},
    }


def started(manifest: dict[str, Any], decision: Decision = START) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(jobs.from_cron_job(manifest, decision))
    return found


def test_one_that_is_started_belongs_to_its_cron_job() -> None:
    made = started(cron_job())
    name = made["metadata"].pop("name")
    assert name.startswith("report-")
    assert made == {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "namespace": "shop",
            "labels": {"team": "web"},
            "annotations": {"note": "kept", jobs.INSTANTIATE: "manual"},
            "ownerReferences": [
                {
                    "apiVersion": "batch/v1",
                    "kind": "CronJob",
                    "name": "report",
                    "uid": "c",
                    "controller": True,
                }
            ],
        },
        "spec": {"template": {}},
    }


def test_its_name_follows_from_what_it_is_started_for() -> None:
    def name(**change: Any) -> str:
        changed = replace(START, changes=(replace(CHANGE, **change),))
        return str(started(cron_job(), changed)["metadata"]["name"])

    assert name() == name()
    # The same object changed again, or another one: another Job.
    assert (
        len({name(), name(change=Change(1.0, 1.0, 8)), name(config=ConfigId("secret", "shop", "app"))}) == 3
    )


@pytest.mark.parametrize("name", ["a" * 52, "a" * 51 + "-b", "a.b", "x" * 51 + "."])
def test_its_name_is_one_that_a_label_can_hold(name: str) -> None:
    made = started(cron_job(name))["metadata"]["name"]
    assert len(made) <= 63
    assert ".-" not in made
    assert "--" not in made


def test_without_a_record_nothing_is_made() -> None:
    with pytest.raises(ValueError, match="record"):
        jobs.again(a_job(), replace(AGAIN, applied=None))
