"""simulate answers as the controller decides: what rolls, when and why, and what does not."""

from __future__ import annotations

import io
from typing import Any

import msgspec
import pytest
import yaml

from reroll.core.digests import DigestKey
from reroll.insight.simulation.bad_input import BadInput
from reroll.insight.simulation.changes import Changes, covers
from reroll.insight.simulation.documents import parse
from reroll.insight.simulation.manifests import world_of
from reroll.insight.simulation.result import Roll, Simulation, Stay
from reroll.insight.simulation.run import simulate
from reroll.insight.simulation.scenario import from_options
from reroll.insight.simulation.world import NO_KEY
from reroll.settings import Settings

Json = dict[str, Any]


def config_map(name: str = "app", namespace: str = "shop", **data: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": data,
    }


def secret(name: str = "db", namespace: str = "shop", **data: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "stringData": data,
    }


def workload(
    name: str = "web", *, kind: str = "Deployment", annotations: Json | None = None, **container: Any
) -> Json:
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": "shop",
            "annotations": {"reroll.dev/auto": "true"} if annotations is None else annotations,
        },
        "spec": {
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": "x", **container}]},
            }
        },
    }


def env(key: str, *, config: str = "app", optional: bool = False) -> Json:
    reference: Json = {"name": config, "key": key}
    if optional:
        reference["optional"] = True
    return {"env": [{"name": key.upper(), "valueFrom": {"configMapKeyRef": reference}}]}


ALL: Json = {"envFrom": [{"configMapRef": {"name": "app"}}]}


def run(
    objects: list[Json],
    *options: tuple[str, str],
    latency: float = 0.0,
    everyone: bool = False,
    **settings: Any,
) -> Simulation:
    """The answer for these objects and changes; `options` as on the command line, without their dashes."""
    text = yaml.safe_dump_all(objects).encode()
    world = world_of(
        ["-"], io.BytesIO(text), DigestKey(NO_KEY), now=1_800_000_000.0, default_namespace="default"
    )
    steps = from_options(options, "default")
    changes = Changes(steps, world.key, io.BytesIO(), default_namespace="default")
    return simulate(world, changes, Settings(**settings), latency=latency, everyone=everyone)


def rolled(s: Simulation) -> list[tuple[float | None, str]]:
    return [(roll.at, roll.workload) for roll in s.rolls]


def stay(s: Simulation, name: str = "deployment/shop/web") -> Stay:
    [found] = [stay for stay in s.stays if stay.workload == name]
    return found


SET = ("set", "configmap/shop/app:level=debug")
WEB = "deployment/shop/web"


def test_a_workload_that_reads_what_changes_rolls_when_it_has_settled() -> None:
    s = run([config_map(level="info"), workload(**env("level"))], SET)
    assert s.start.adopted == 1
    [roll] = s.rolls
    assert roll == Roll(
        order=1,
        at=1.0,
        workload=WEB,
        reason="configmap/app changed (level): container main: env LEVEL",
        notes=(),
        causes=("configmap/shop/app",),
        since=0.0,
    )
    assert [(made.at, made.effect, made.keys) for made in s.changes] == [(0.0, "changed", ("level",))]
    assert (s.stays, s.unconcerned, s.ended) == ((), 0, 1.0)


def test_a_workload_that_reads_another_key_does_not_and_it_is_said_why() -> None:
    s = run([config_map(level="info", port="1"), workload(**env("port"))], SET)
    assert s.rolls == ()
    assert stay(s).reason == "of configmap/app it reads port, and level changed"


def test_a_workload_that_nobody_asked_to_follow_is_named_if_the_change_concerns_it() -> None:
    objects = [config_map(level="info"), workload(annotations={}, **ALL), workload("other", annotations={})]
    s = run(objects, SET)
    assert stay(s).reason == "nothing asks reroll to follow its configuration"
    assert not stay(s).followed
    assert s.unconcerned == 1
    assert rolled(run(objects, SET, auto_all=True)) == [(1.0, WEB)]


def test_changes_settle_together_and_after_a_gap_they_are_another_rollout() -> None:
    objects = [config_map(level="info", port="1"), workload(**ALL)]
    more = ("set", "configmap/shop/app:port=2")
    assert rolled(run(objects, SET, ("at", "500ms"), more)) == [(1.5, WEB)]
    assert rolled(run(objects, SET, ("at", "1m"), more)) == [(1.0, WEB), (61.0, WEB)]


def test_settling_ends_at_settle_max_though_changes_go_on() -> None:
    changes = [
        option
        for n in range(20)
        for option in (("at", f"{n * 500}ms"), ("set", f"configmap/shop/app:level={n}"))
    ]
    s = run([config_map(level="info"), workload(**ALL)], *changes, settle_max=3.25)
    assert rolled(s) == [(3.25, WEB), (6.75, WEB), (10.25, WEB)]


def test_a_settle_time_of_its_own() -> None:
    annotations = {"reroll.dev/auto": "true", "reroll.dev/settle": "7s"}
    objects = [config_map(level="info"), workload(**ALL), workload("slow", annotations=annotations, **ALL)]
    assert rolled(run(objects, SET, settle=0.25)) == [(0.25, WEB), (7.0, "deployment/shop/slow")]


def test_changed_and_put_back_rolls_nothing() -> None:
    s = run([config_map(level="info"), workload(**ALL)], SET, ("set", "configmap/shop/app:level=info"))
    assert s.rolls == ()
    assert stay(s).reason == "configmap/app was put back before it was acted on"


def test_what_is_so_already_changes_nothing() -> None:
    s = run([config_map(level="debug"), workload(**ALL)], SET)
    assert [made.effect for made in s.changes] == ["nothing"]
    assert (s.rolls, s.stays, s.unconcerned) == ((), (), 1)


def test_deleting_alone_rolls_nothing_and_the_return_with_other_content_does() -> None:
    objects = [config_map(level="info"), workload(**ALL)]
    s = run(objects, ("delete", "configmap/shop/app"))
    assert s.rolls == ()
    assert "was deleted" in stay(s).reason


def test_a_missing_key_that_pods_need_keeps_a_rollout_waiting_and_it_is_said() -> None:
    objects = [config_map(level="info"), secret(password="a"), workload(**env("level"))]
    objects[2]["spec"]["template"]["spec"]["containers"][0]["envFrom"] = [{"secretRef": {"name": "db"}}]
    s = run(objects, ("unset", "configmap/shop/app:level"), ("set", "secret/shop/db:password=b"))
    assert s.rolls == ()
    assert stay(s).decision == "wait"
    assert "configmap/app has no key level" in stay(s).reason


def test_no_replicas_are_recorded_and_not_rolled() -> None:
    objects = [config_map(level="info"), workload(**ALL)]
    objects[1]["spec"]["replicas"] = 0
    s = run(objects, SET)
    assert s.rolls == ()
    assert stay(s).decision == "record"
    assert "it has no replicas" in stay(s).reason


def test_many_consumers_roll_by_as_many_as_there_are_actors() -> None:
    objects = [config_map(level="info"), *(workload(f"web-{n}", **ALL) for n in range(10))]
    s = run(objects, SET, latency=0.5, actors=4, settle=0.0)
    assert [at for at, _ in rolled(s)] == [0.5] * 4 + [1.0] * 4 + [1.5] * 2
    assert [roll.order for roll in s.rolls] == list(range(1, 11))


def test_a_change_that_arrives_while_a_patch_is_on_its_way_is_one_more_rollout() -> None:
    s = run(
        [config_map(level="info"), workload(**ALL)],
        SET,
        ("at", "600ms"),
        ("set", "configmap/shop/app:level=trace"),
        latency=1.0,
        settle=0.0,
    )
    assert rolled(s) == [(1.0, WEB), (2.0, WEB)]


def test_an_hour_passes_at_once_and_every_run_is_the_same() -> None:
    objects = [config_map(level="info"), *(workload(f"web-{n}", **ALL) for n in range(20))]
    options = [SET, ("at", "1000h"), ("set", "configmap/shop/app:level=x")]
    first = run(objects, *options, latency=0.01)
    assert first.ended > 3_600_000
    assert run(objects, *options, latency=0.01) == first


def test_the_settings_of_the_controller_count() -> None:
    objects = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"team": "a"}}},
        config_map(level="info"),
        workload(annotations={"reloader.stakater.com/auto": "true"}, **ALL),
    ]
    assert rolled(run(objects, SET)) == [(1.0, WEB)]
    assert run(objects, SET, reloader_annotations=False).rolls == ()
    assert run(objects, SET, namespace_selector="team=b").rolls == ()
    assert rolled(run(objects, SET, namespace_selector="team=a")) == [(1.0, WEB)]
    elsewhere = run(objects, SET, namespaces=("other",))
    assert elsewhere.rolls == ()
    assert "--namespace" in stay(elsewhere).reason
    unselected = run(objects, SET, workload_selector="tier=front")
    assert "--workload-selector" in stay(unselected).reason


def test_an_annotation_of_the_namespace_counts() -> None:
    annotations = {"reroll.dev/auto": "true"}
    namespace = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "shop", "annotations": annotations},
    }
    assert rolled(run([namespace, config_map(level="info"), workload(annotations={}, **ALL)], SET)) == [
        (1.0, WEB)
    ]


def test_a_pattern_follows_what_the_template_does_not_name() -> None:
    objects = [
        config_map("flags", a="1"),
        workload(annotations={"reroll.dev/follow": "configmap/fl*"}),
        workload("other"),
    ]
    s = run(objects, ("set", "configmap/shop/flags:a=2"))
    assert rolled(s) == [(1.0, WEB)]
    assert s.unconcerned == 1


def test_a_workload_that_is_not_understood_is_refused_and_it_is_said() -> None:
    annotations = {"reroll.dev/auto": "true", "reroll.dev/ignore": "///"}
    s = run([config_map(level="info"), workload(annotations=annotations, **ALL)], SET)
    assert s.rolls == ()
    assert stay(s).decision == "refuse"


def test_a_workload_that_carries_its_record_is_no_news_and_what_changed_before_rolls_at_the_start() -> None:
    objects = [config_map(level="info"), workload(**ALL)]
    from reroll.core.applied import encode
    from reroll.core.digests import config_map_digests, text
    from reroll.core.records import Applied
    from reroll.core.template import template_hash

    template = msgspec.json.encode(objects[1]["spec"]["template"])

    def recorded(level: str) -> str:
        keys, joined = config_map_digests({"level": level}, None)
        configs: Any = {"configmap/app": {keys[0]: text(joined), "*": ""}}
        return encode(Applied(template_hash(template), DigestKey(NO_KEY).id, configs))

    objects[1]["metadata"]["annotations"]["reroll.dev/applied"] = recorded("info")
    s = run(objects)
    assert (s.rolls, s.start.adopted, s.start.recorded) == ((), 0, 0)
    objects[1]["metadata"]["annotations"]["reroll.dev/applied"] = recorded("warn")
    s = run(objects)
    assert [(roll.at, roll.workload, roll.since) for roll in s.rolls] == [(None, WEB, None)]
    assert s.start.rolled == 1


class TestManifestsAsTheyWillBe:
    """--change and --apply."""

    def change(self, tmp_path: Any, objects: list[Json], new: list[Json], how: str = "change") -> Simulation:
        file = tmp_path / "new.yaml"
        file.write_text(yaml.safe_dump_all(new))
        return run(objects, (how, str(file)))

    def test_a_config_map(self, tmp_path: Any) -> None:
        objects = [config_map(level="info", port="1"), workload(**env("level"))]
        assert rolled(self.change(tmp_path, objects, [config_map(level="x", port="1")])) == [(1.0, WEB)]
        assert self.change(tmp_path, objects, [config_map(level="info", port="2")]).rolls == ()

    def test_a_deploy_of_both_is_the_users_rollout(self, tmp_path: Any) -> None:
        objects = [config_map(level="info"), workload(**ALL)]
        new = workload(**ALL)
        new["spec"]["template"]["spec"]["containers"][0]["image"] = "y"
        s = self.change(tmp_path, objects, [config_map(level="x"), new])
        assert s.rolls == ()
        assert "another client changed its pod template after that" in stay(s).reason
        # The other way around the config is the later one.
        assert rolled(self.change(tmp_path, objects, [new, config_map(level="x")])) == [(1.0, WEB)]

    def test_a_second_rollout_finds_the_mark_of_the_first(self, tmp_path: Any) -> None:
        file = tmp_path / "new.yaml"
        file.write_text(yaml.safe_dump(workload(**ALL)))
        options = [
            SET,
            ("at", "1m"),
            ("change", str(file)),
            ("at", "2m"),
            ("set", "configmap/shop/app:level=x"),
        ]
        s = run([config_map(level="info"), workload(**ALL)], *options)
        assert [made.effect for made in s.changes] == ["changed", "nothing", "changed"]
        assert rolled(s) == [(1.0, WEB), (121.0, WEB)]

    def test_annotations_of_the_workload(self, tmp_path: Any) -> None:
        s = self.change(
            tmp_path, [config_map(level="info"), workload(annotations={}, **ALL)], [workload(**ALL)]
        )
        assert s.rolls == ()
        assert stay(s).decision == "adopt"
        assert [made.detail for made in s.changes] == ["its annotations"]

    def test_scaling_up_from_none_rolls_nothing(self, tmp_path: Any) -> None:
        objects = [config_map(level="info"), workload(**ALL)]
        objects[1]["spec"]["replicas"] = 0
        scaled = workload(**ALL)
        scaled["spec"]["replicas"] = 2
        s = self.change(tmp_path, objects, [config_map(level="x"), scaled])
        assert [made.detail for made in s.changes] == ["", "its replicas"]
        assert s.rolls == ()
        # A manifest that says no number leaves it as it is.
        s = self.change(tmp_path, objects, [workload(**ALL), config_map(level="x")])
        assert [made.effect for made in s.changes] == ["nothing", "changed"]
        assert stay(s).decision == "record"

    def test_what_is_not_there_is_created_by_apply_only(self, tmp_path: Any) -> None:
        objects = [config_map(level="info"), workload(**env("mode", config="more", optional=True))]
        new = [config_map("more", mode="x")]
        with pytest.raises(BadInput, match=r"new.yaml:1: there is no configmap/shop/more.*apply"):
            self.change(tmp_path, objects, new)
        assert rolled(self.change(tmp_path, objects, new, "apply")) == [(1.0, WEB)]

    def test_a_manifest_without_the_defaults_of_the_server_is_no_change(self, tmp_path: Any) -> None:
        live = workload(**env("level"))
        live["metadata"] |= {"creationTimestamp": "2026-01-01T00:00:00Z", "uid": "u", "resourceVersion": "7"}
        live["spec"]["replicas"] = 1
        live["spec"]["template"]["spec"] |= {"dnsPolicy": "ClusterFirst", "restartPolicy": "Always"}
        live["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = "Always"
        given = workload(**env("level"))
        given["spec"] |= {"minReadySeconds": 3, "selector": {"matchLabels": {"app": "web"}}}
        s = self.change(tmp_path, [config_map(level="info"), live], [given])
        assert [made.effect for made in s.changes] == ["nothing"]
        assert [m.effect for m in self.change(tmp_path, [live], [workload(**env("port"))]).changes] == [
            "changed"
        ]


@pytest.mark.parametrize(
    ("there", "given", "same"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"a": 1}, {"a": 1, "b": {}}, True),
        ({"a": 1}, {"a": 1, "b": 3}, False),
        ([{"a": 1, "b": 2}], [{"a": 1}], True),
        ([{"a": 1}, {"a": 2}], [{"a": 1}], False),
        (None, [], True),
        (None, [1], False),
        ("x", {"a": 1}, False),
        (None, False, True),
        (None, True, False),
    ],
)
def test_what_a_server_has_of_a_manifest(there: object, given: object, same: bool) -> None:
    assert covers(there, given) is same


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            [("set", "configmap/shop/ap:level=x")],
            r"there is no configmap/shop/ap \(there is configmap/shop/app\)",
        ),
        (
            [("set", "configmap/app:level=x")],
            r"there is no configmap/default/app \(there is configmap/shop/app\)",
        ),
        ([("unset", "configmap/shop/app:levle")], r"has no key 'levle' \(it has 'level'\)"),
        ([("delete", "secret/shop/app")], "there is no secret/shop/app"),
        ([("delete", "deployment/shop/wbe")], r"\(there is deployment/shop/web\)"),
        (
            [("delete", "configmap/shop/app"), ("set", "configmap/shop/app:a=b")],
            "there is no configmap/shop/app",
        ),
        ([("delete", "pod/x")], "names no object"),
        ([("set", "configmap/shop/app")], "write configmap/NAMESPACE/NAME:KEY=VALUE"),
        ([("unset", "configmap/shop/app:level=x")], "write configmap/NAMESPACE/NAME:KEY,"),
        ([("set", "deployment/shop/web:a=b")], "has no keys"),
        ([("at", "soon")], "'soon' is not a duration"),
        ([("at", "2s"), ("at", "1s")], "lies before"),
        ([("change", "/nowhere.yaml")], "/nowhere.yaml: cannot be read"),
    ],
)
def test_a_change_that_can_not_be_made_is_told(options: list[tuple[str, str]], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        run([config_map(level="info"), workload(**ALL)], *options)


def test_an_immutable_object_can_not_be_changed() -> None:
    with pytest.raises(BadInput, match="configmap/shop/app is immutable"):
        run([{**config_map(level="info"), "immutable": True}, workload(**ALL)], SET)


def test_no_value_of_a_secret_is_in_an_answer_or_an_error() -> None:
    value = "correct-horse-battery"
    objects = [secret(password="first-" + value), workload(envFrom=[{"secretRef": {"name": "db"}}])]
    s = run(objects, ("set", f"secret/shop/db:password={value}"))
    assert rolled(s) == [(1.0, WEB)]
    assert value not in msgspec.json.encode(s).decode()
    for bad in (
        f"secret/shop/dbb:password={value}",
        f"secret/shop:password={value}",
        f"secret/a/b/c/d={value}",
    ):
        with pytest.raises(BadInput) as caught:
            run(objects, ("set", bad))
        assert value not in str(caught.value)


def test_nothing_but_what_is_decided_is_kept_of_yaml() -> None:
    [document] = parse(
        b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {when: 2026-01-01, eq: =}", "f"
    )
    assert document.value["data"] == {"when": "2026-01-01", "eq": "="}
