"""Jobs that are started from a CronJob: their names, and when none is started."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from reroll.core.compare import ConfigChange
from reroll.core.decision import Decision, How, Kind
from reroll.core.records import Applied, Change, ConfigId
from reroll.modes import instantiate

BEFORE = Applied("t", "k", {"configmap/app": {"level": "c"}})
APPLIED = Applied("t", "k", {"configmap/app": {"level": "d"}})
CHANGE = ConfigChange(ConfigId("configmap", "shop", "app"), ("level",), change=Change(1.0, 1.0, 7))
START = Decision(Kind.ROLL, "changed", changes=(CHANGE,), applied=APPLIED, how=How.INSTANTIATE)


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
    name = instantiate.name_of(manifest, decision, BEFORE)
    found: dict[str, Any] = json.loads(instantiate.from_cron_job(manifest, name))
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
            "annotations": {"note": "kept", instantiate.INSTANTIATE: "manual"},
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


def written(time: str) -> dict[str, Any]:
    """A CronJob whose record was last written at this time."""
    manifest = cron_job()
    fields: dict[str, Any] = {"f:metadata": {"f:annotations": {".": {}, "f:reroll.dev/applied": {}}}}
    others = {"manager": "kubectl", "time": "2026-01-09T00:00:00Z", "fieldsV1": {"f:spec": {}}}
    manifest["metadata"]["managedFields"] = [others, {"manager": "reroll", "time": time, "fieldsV1": fields}]
    return manifest


def test_its_name_follows_from_the_digests_and_the_time_of_the_record() -> None:
    earlier, later = written("2026-01-01T00:00:00Z"), written("2026-01-02T00:00:00Z")

    def name(manifest: dict[str, Any] = earlier, before: Applied = BEFORE, **changes: Any) -> str:
        return instantiate.name_of(manifest, replace(START, **changes), before)

    same = (replace(CHANGE, change=Change(9.0, 9.0, 99)),)
    assert name() == name(changes=same), "a later version of the same content is no other change"
    other = Applied("t", "k", {"configmap/app": {"level": "e"}})
    secret = replace(CHANGE, config=ConfigId("secret", "shop", "app"))
    names = [name(), name(applied=other), name(before=other), name(later), name(changes=(secret,))]
    assert len(set(names)) == 5
    assert name(changes=()), "a decision need not say what changed"
    assert instantiate.name_of(cron_job(), START, None), "nor need the server say who wrote what"


@pytest.mark.parametrize(
    ("policy", "active", "why"),
    [
        ("Forbid", [{"name": "report-1"}], "report-1"),
        ("Forbid", [], ""),
        ("Allow", [{"name": "report-1"}], ""),
        ("Replace", [{"name": "report-1"}], ""),
    ],
)
def test_one_that_runs_is_waited_for_where_two_are_forbidden(
    policy: str, active: list[Any], why: str
) -> None:
    manifest = cron_job()
    manifest["spec"]["concurrencyPolicy"] = policy
    manifest["status"] = {"active": active}
    assert instantiate.active_of_forbid(manifest) == why


def test_none_runs_where_there_is_no_status() -> None:
    manifest = cron_job()
    manifest["spec"]["concurrencyPolicy"] = "Forbid"
    assert instantiate.active_of_forbid(manifest) == ""


@pytest.mark.parametrize("name", ["a" * 52, "a" * 51 + "-b", "a.b", "x" * 51 + "."])
def test_its_name_is_one_that_a_label_can_hold(name: str) -> None:
    made = started(cron_job(name))["metadata"]["name"]
    assert len(made) <= 63
    assert ".-" not in made
    assert "--" not in made
