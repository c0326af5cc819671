"""simulate obeys each setting of the controller, or refuses it in words: no setting is read and ignored."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
import yaml

from reroll.core.applied import APPLIED, encode
from reroll.core.marks import NATIVE
from reroll.core.records import Applied
from reroll.core.template import hash_and_mark
from reroll.insight.simulation.refusal import REFUSED, refuse
from reroll.insight.simulation.result import Simulation
from reroll.insight.simulation.snapshot import read_snapshot
from reroll.settings import Settings, SettingsError
from tests.insight.test_simulate import (
    ALL,
    SET,
    WEB,
    Json,
    config_map,
    env,
    rolled,
    run,
    secret,
    stay,
    workload,
)

Options = list[tuple[str, str]]


class Case(NamedTuple):
    """A scenario in which the value of a setting makes the answer."""

    objects: list[Json]
    options: Options
    by_default: list[tuple[float | None, str]]
    """What rolls, and when, without the setting."""
    set_to: Any
    then: list[tuple[float | None, str]]
    why: str = ""
    """Part of the reason why the Deployment does not roll then."""
    latency: float = 0.0


def labelled(object: Json, **labels: str) -> Json:
    object = copy.deepcopy(object)
    object["metadata"]["labels"] = labels
    return object


def namespace(**labels: str) -> Json:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": labels}}


FOLLOWED = [config_map(level="info"), workload(**ALL)]
OPTIONAL = [config_map("other", a="1"), workload(**env("mode", config="more", optional=True))]
NOT_FOLLOWED = [config_map(level="info"), workload(annotations={}, **ALL)]
OF_RELOADER = {"reloader.stakater.com/auto": "true"}
RELOADER: Json = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "reloader", "namespace": "shop", "labels": {"app": "reloader"}},
    "spec": {"template": {"spec": {"containers": [{"name": "r", "image": "ghcr.io/stakater/reloader:v1"}]}}},
}


def changed_by(manager: str) -> list[Json]:
    """A workload whose template `manager` changed after the last change of its ConfigMap, while no controller ran."""
    app, web = config_map(level="info"), workload(**env("level"))
    app["metadata"]["managedFields"] = [
        {"manager": "kubectl", "time": "2026-01-01T00:00:00Z", "fieldsV1": {"f:data": {}}}
    ]
    web["metadata"]["managedFields"] = [
        {"manager": manager, "time": "2026-01-01T01:00:00Z", "fieldsV1": {"f:spec": {"f:template": {}}}}
    ]
    before = Applied(template="another", key_id="k", configs={"configmap/app": {"level": "A" * 16}})
    web["metadata"]["annotations"][APPLIED] = encode(before)
    return [app, web]


def shared() -> list[Json]:
    other = config_map(namespace="base", level="info")
    other["metadata"]["annotations"] = {"reroll.dev/share-with": "shop"}
    return [other, workload(annotations={"reroll.dev/follow": "configmap/base/app"})]


def several(count: int) -> list[Json]:
    return [config_map(level="info"), *(workload(f"web-{n}", **ALL) for n in range(count))]


def left_by_reloader() -> list[Json]:
    """Reloader's variable stands in the template, and reroll, which marks in its own way, recorded it as part of it.
    To a controller that marks as Reloader does it is a mark, and the template another one than recorded."""
    app, web = changed_by("helm")
    template = web["spec"]["template"]
    template["spec"]["containers"][0]["env"].append({"name": "STAKATER_APP_CONFIGMAP", "value": "0" * 40})
    recorded, _ = hash_and_mark(msgspec.json.encode(template), NATIVE.take)
    before = Applied(template=recorded, key_id="k", configs={"configmap/app": {"level": "A" * 16}})
    web["metadata"]["annotations"][APPLIED] = encode(before)
    return [app, web]


DELETE = ("delete", "configmap/shop/app")
ROLLS: list[tuple[float | None, str]] = [(1.0, WEB)]
NOTHING: list[tuple[float | None, str]] = []


def new_object(folder: Path) -> Options:
    (folder / "new.yaml").write_text(yaml.safe_dump(config_map("more", mode="x")))
    return [("apply", str(folder / "new.yaml"))]


USED: dict[str, Callable[[Path], Case]] = {
    "namespaces": lambda _: Case(FOLLOWED, [SET], ROLLS, ("billing",), NOTHING, "(--namespace)"),
    "namespace_selector": lambda _: Case(
        [namespace(team="a"), *FOLLOWED], [SET], ROLLS, "team=b", NOTHING, "--namespace-selector"
    ),
    "workload_selector": lambda _: Case(FOLLOWED, [SET], ROLLS, "tier=x", NOTHING, "--workload-selector"),
    "auto_all": lambda _: Case(NOT_FOLLOWED, [SET], NOTHING, True, ROLLS),
    "namespaces_to_ignore": lambda _: Case(
        FOLLOWED, [SET], ROLLS, ("shop",), NOTHING, "its namespace is left alone (--namespaces-to-ignore)"
    ),
    "config_kinds": lambda _: Case(
        FOLLOWED,
        [SET],
        ROLLS,
        "secrets",
        NOTHING,
        "",
    ),
    "config_selector": lambda _: Case(
        [labelled(config_map(level="info"), tier="back"), workload(**ALL)],
        [SET],
        ROLLS,
        "tier=front",
        NOTHING,
    ),
    "on_create": lambda folder: Case(OPTIONAL, new_object(folder), ROLLS, "never", NOTHING),
    "on_delete": lambda _: Case(
        [config_map(level="info"), workload(**env("level", optional=True))], [DELETE], NOTHING, True, ROLLS
    ),
    "marks": lambda _: Case(left_by_reloader(), [], [(None, WEB)], "env-vars", NOTHING),
    "kinds": lambda _: Case(FOLLOWED, [SET], ROLLS, "daemonsets", NOTHING, "--kinds"),
    "settle": lambda _: Case(FOLLOWED, [SET], ROLLS, 3.0, [(3.0, WEB)]),
    "settle_max": lambda _: Case(
        FOLLOWED,
        [SET, ("at", "800ms"), ("set", "configmap/shop/app:level=a")],
        [(1.8, WEB)],
        1.5,
        [(1.5, WEB)],
    ),
    "cross_namespace": lambda _: Case(
        shared(), [("set", "configmap/base/app:level=x")], NOTHING, True, ROLLS
    ),
    "reloader_annotations": lambda _: Case(
        [config_map(level="info"), workload(annotations=OF_RELOADER, **ALL)], [SET], ROLLS, False, NOTHING
    ),
    "beside_reloader": lambda _: Case(
        [config_map(level="info"), workload(annotations=OF_RELOADER, **ALL), RELOADER],
        [SET],
        NOTHING,
        True,
        ROLLS,
    ),
    "actors": lambda _: Case(
        several(2),
        [SET],
        [(2.0, "deployment/shop/web-0"), (2.0, "deployment/shop/web-1")],
        1,
        [(2.0, "deployment/shop/web-0"), (3.0, "deployment/shop/web-1")],
        latency=1.0,
    ),
    "max_in_flight": lambda _: Case(
        several(2),
        [SET],
        [(2.0, "deployment/shop/web-0"), (2.0, "deployment/shop/web-1")],
        1,
        [(2.0, "deployment/shop/web-0"), (3.0, "deployment/shop/web-1")],
        latency=1.0,
    ),
    "field_manager": lambda _: Case(changed_by("cd"), [], NOTHING, "cd", [(None, WEB)]),
}
"""Settings that a simulation obeys, each with a scenario in which it makes the answer."""

NO_MEANING = {
    "actors_min": "the server that is played never takes longer to answer, so all actors act",
    "alert_url": "nobody is told",
    "alert_sink": "nobody is told",
    "alert_info": "nobody is told",
    "alert_proxy": "nobody is told",
    "leader_election": "one controller is played, and it leads",
    "lease_name": "no Lease is taken",
    "lease_namespace": "no Lease is taken",
    "listen": "nothing is served",
    "key_namespace": "the key comes with the snapshot or from --key-file",
    "key_secret": "the key comes with the snapshot or from --key-file",
    "kubeconfig": "no cluster is asked",
    "context": "no cluster is asked",
    "log_level": "nothing is logged",
    "log_format": "nothing is logged",
}
"""Settings that can't change what rolls."""


def test_each_setting_is_obeyed_or_refused_or_has_no_meaning() -> None:
    """One that is new has to be put in one of the three lists."""
    lists = [*USED, *NO_MEANING, *REFUSED]
    assert sorted(lists) == sorted(field.name for field in msgspec.structs.fields(Settings))


@pytest.mark.parametrize("name", USED)
def test_a_setting_makes_the_answer(name: str, tmp_path: Path) -> None:
    case = USED[name](tmp_path)
    before = answer(case)
    assert rolled(before) == case.by_default
    after = answer(case, **{name: case.set_to})
    assert rolled(after) == case.then
    if case.why:
        assert case.why in stay(after).reason
        assert not stay(after).followed


def answer(case: Case, **settings: Any) -> Simulation:
    return run(case.objects, *case.options, latency=case.latency, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cron_jobs": "instantiate"}, "settings: cron_jobs can't be simulated: .*--cron-jobs template"),
        ({"finished_jobs": True}, "settings: finished_jobs can't be simulated: .*--no-finished-jobs"),
        ({"custom_kinds": "clonesets.v1alpha1.apps.kruise.io"}, "settings: custom_kinds can't be simulated"),
        ({"webhook_url": "http://x"}, "settings: webhook_url can't be simulated: .*rolls nothing"),
    ],
)
def test_what_can_not_be_obeyed_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        run(FOLLOWED, SET, **settings)
    assert settings.keys() <= REFUSED.keys()


def test_labels_that_a_snapshot_does_not_hold_are_not_selected_by() -> None:
    header = {
        "format": "reroll-snapshot",
        "version": 1,
        "made": "2026-01-01T00:00:00Z",
        "cluster": "https://c",
        "by": "reroll 0.1",
        "key": {"id": "k", "of": "cluster"},
    }
    settings = Settings(config_selector="tier=front")
    old = b"\n".join(map(msgspec.json.encode, (header, {"end": 0}))) + b"\n"
    with pytest.raises(SettingsError, match="config_selector can't be simulated: snapshot of https://c"):
        refuse(settings, read_snapshot(io.BytesIO(old), "f"))
    new = b"\n".join(map(msgspec.json.encode, (header | {"config_labels": True}, {"end": 0}))) + b"\n"
    refuse(settings, read_snapshot(io.BytesIO(new), "f"))


class TestReasons:
    def test_what_is_not_selected(self) -> None:
        objects = [labelled(config_map(level="info"), tier="back"), workload(**ALL)]
        notes = stay(run(objects, SET, config_selector="tier=front")).notes
        assert any("configmap/app is not followed" in note for note in notes)
        assert rolled(run(objects, SET, config_selector="tier=back")) == ROLLS

    def test_a_kind_of_config_object_that_is_not_followed(self) -> None:
        refs: Json = {"envFrom": [{"configMapRef": {"name": "app"}}, {"secretRef": {"name": "db"}}]}
        objects = [config_map(level="info"), secret(password="1"), workload(**refs)]
        change = ("set", "secret/shop/db:password=2")
        s = run(objects, change, config_kinds="configmaps")
        assert s.rolls == ()
        assert stay(s).reason == "secret/db changed, and its kind is not followed (--config-kinds)"
        assert rolled(run(objects, SET, config_kinds="configmaps")) == ROLLS

    def test_a_deletion_that_rolls_is_not_said_to_roll_nothing(self) -> None:
        objects = [config_map(level="info"), workload(**env("level", optional=True))]
        s = run(objects, DELETE, on_delete=True)
        [roll] = s.rolls
        assert roll.reason.startswith("configmap/app was deleted")
        assert "alone rolls nothing" not in msgspec.json.encode(s).decode()
        assert "alone rolls nothing" in stay(run(objects, DELETE)).reason

    def test_a_creation_that_always_rolls(self, tmp_path: Path) -> None:
        """An empty object changes no pod, and is a creation all the same."""
        (tmp_path / "new.yaml").write_text(yaml.safe_dump(config_map("more")))
        new = ("apply", str(tmp_path / "new.yaml"))
        assert run(OPTIONAL, new).rolls == ()
        assert rolled(run(OPTIONAL, new, on_create="always")) == ROLLS

    def test_reloader_is_named_where_it_runs(self) -> None:
        objects = [config_map(level="info"), workload(annotations=OF_RELOADER, **ALL), RELOADER]
        assert any(
            "deployment/shop/reloader is stakater/Reloader" in note for note in run(objects, SET).notes
        )
        assert run(objects, SET, beside_reloader=True).notes == ()

    def test_reloader_that_is_scaled_to_nothing_does_not_run(self) -> None:
        idle = copy.deepcopy(RELOADER)
        idle["spec"]["replicas"] = 0
        objects = [config_map(level="info"), workload(annotations=OF_RELOADER, **ALL), idle]
        assert rolled(run(objects, SET)) == ROLLS

    def test_kinds_that_are_not_played_are_told_from_those_that_reroll_does_not_act_on(self) -> None:
        job = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "x"}, "spec": {}}
        service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {}}
        assert run([*FOLLOWED, job, service], SET).notes == (
            "passed over, because a simulation does not play such workloads: 1 CronJob",
            "passed over, for reroll does not act on them: 1 Service",
        )


@pytest.mark.parametrize("marks", ["reroll", "env-vars", "annotations", "wave"])
class TestMarks:
    """Whatever the style, its own marks are no change by somebody else, and each change is one rollout."""

    def test_changes_after_each_other(self, marks: str) -> None:
        options = [("at", "1m"), ("set", "configmap/shop/app:level=a"), ("at", "2m"), SET]
        s = run(FOLLOWED, SET, *options, marks=marks)
        assert rolled(s) == [(1.0, WEB), (61.0, WEB), (121.0, WEB)]

    def test_a_manifest_takes_no_mark_away(self, marks: str, tmp_path: Path) -> None:
        """The same manifest again is no change, though the template has a mark that it does not have."""
        (tmp_path / "same.yaml").write_text(yaml.safe_dump(workload(**env("level"))))
        again = ("change", str(tmp_path / "same.yaml"))
        s = run([config_map(level="info"), workload(**env("level"))], SET, ("at", "1m"), again, marks=marks)
        assert [made.effect for made in s.changes] == ["changed", "nothing"]
        assert rolled(s) == [(1.0, WEB)]

    def test_a_release_keeps_them(self, marks: str, tmp_path: Path) -> None:
        """A change of the template by a person is one, with the mark in it as the server has it."""
        new = workload(**env("level"))
        new["spec"]["template"]["spec"]["containers"][0]["image"] = "y"
        (tmp_path / "new.yaml").write_text(yaml.safe_dump(new))
        change = ("change", str(tmp_path / "new.yaml"))
        s = run([config_map(level="info"), workload(**env("level"))], SET, ("at", "1m"), change, marks=marks)
        assert [(made.effect, made.detail) for made in s.changes][1] == ("changed", "its pod template")
        assert rolled(s) == [(1.0, WEB)]
