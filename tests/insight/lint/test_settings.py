"""R5xx and R6xx: annotations."""

from __future__ import annotations

from typing import Any

import pytest

from reroll.core.policy import MARKS, ON_CONFIG, SETTINGS
from reroll.dialects.reloader import DEFAULT_KEYS
from reroll.insight.lint.rules.settings import nearest_key, open_alternation
from tests.insight.lint.stage import config, deployment, env, findings, report, rules

CM, SECRET = "configmap.reloader.stakater.com/reload", "secret.reloader.stakater.com/reload"
AUTO = "reloader.stakater.com/auto"
WAVE = "wave.pusher.com/update-on-config-change"


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        ({"reroll.dev/auto": "true"}, []),
        ({"reroll.dev/auto": "yes"}, ["R601"]),
        ({"reroll.dev/follow": "app Bad_Name"}, ["R601"]),
        ({"reroll.dev/follow": "true"}, ["R601"]),
        ({"reroll.dev/search": "yes"}, ["R601"]),
        ({"reroll.dev/settle": "30"}, ["R601"]),
        ({"reroll.dev/settle": "2h"}, ["R601"]),
        ({"reroll.dev/settle": "30s"}, []),
        ({"reroll.dev/ignore": "Bad_Name"}, ["R601"]),
        ({"reroll.dev/ignore": "true"}, ["R601"]),
        ({"reroll.dev/mode": "signal"}, ["R601"]),
        ({"reroll.dev/mode": "restart"}, []),
        ({"reroll.dev/on-create": "maybe"}, ["R601"]),
        ({"reroll.dev/on-delete": "maybe"}, ["R601"]),
        ({"reroll.dev/something-else-entirely": "x"}, ["R601"]),
        ({"reroll.dev/applied": "{}"}, []),
        ({AUTO: "true"}, []),
        ({AUTO: "yes"}, ["R602"]),
        ({CM: "app,db"}, []),
        ({CM: "app["}, ["R602"]),
        ({CM: "(app"}, ["R602"]),
        ({SECRET: "a{1,3}"}, ["R602", "R602"]),
        ({"configmaps.exclude.reloader.stakater.com/reload": "a.*"}, ["R602"]),
        ({"configmaps.exclude.reloader.stakater.com/reload": "app"}, []),
        ({"deployment.reloader.stakater.com/pause-period": "soon"}, ["R602"]),
        ({"deployment.reloader.stakater.com/pause-period": "5m"}, []),
        ({"reloader.stakater.com/ignore": "true"}, ["R610"]),
        ({WAVE: "true"}, []),
        ({WAVE: "yes"}, ["R603"]),
        ({"wave.pusher.com/extra-configmaps": "app"}, ["R603"]),
        ({WAVE: "true", "wave.pusher.com/extra-configmaps": "app,Bad_Name"}, ["R603"]),
        ({"app.kubernetes.io/name": "web", "example.com/auto": "yes"}, []),
    ],
)
def test_values(annotations: dict[str, str], expected: list[str]) -> None:
    assert rules(deployment(container=env("app"), annotations=annotations)) == expected


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("reroll.dev/atuo", "reroll.dev/auto"),
        ("reroll.dev/Auto", "reroll.dev/auto"),
        ("reroll.dev/folow", "reroll.dev/follow"),
        ("reroll.dev/ignored", "reroll.dev/ignore"),
        ("reroll.dev/on_create", "reroll.dev/on-create"),
        ("reroll.dve/auto", "reroll.dev/auto"),
        ("reloader.stakater.com/atuo", "reloader.stakater.com/auto"),
        ("reloader.stakater.com/serach", "reloader.stakater.com/search"),
        ("reloader.stakter.com/auto", "reloader.stakater.com/auto"),
        ("configmaps.reloader.stakater.com/reload", "configmap.reloader.stakater.com/reload"),
        ("secrets.reloader.stakater.com/reload", "secret.reloader.stakater.com/reload"),
        ("wave.pusher.com/update-on-config-changes", WAVE),
        ("wave.pusher.com/extra-configmap", "wave.pusher.com/extra-configmaps"),
        ("stamp.reroll.dev/digest", ""),
        ("sandbox.reroll.dev/seconds", ""),
        ("example.com/auto", ""),
        ("kubernetes.io/change-cause", ""),
        ("checksum/config", ""),
        ("", ""),
        *((key, "") for key in (*SETTINGS, *ON_CONFIG, *MARKS, *sorted(DEFAULT_KEYS.all))),
    ],
)
def test_names(key: str, meant: str) -> None:
    assert nearest_key(key) == meant


@pytest.mark.parametrize("key", ["reroll.dev/atuo", "configmaps.reloader.stakater.com/reload"])
def test_a_wrong_name_is_mended(key: str) -> None:
    found = [one for one in findings(deployment(annotations={key: "app"})) if one.rule == "R604"]
    assert len(found) == 1
    assert found[0].fixable
    both = deployment(annotations={key: "app", nearest_key(key): "app"})
    (one,) = [each for each in findings(both) if each.rule == "R604"]
    assert not one.fixable, "there is one of this name already"


@pytest.mark.parametrize("key", [*SETTINGS, WAVE, "wave.pusher.com/extra-secrets"])
def test_on_the_pod_template(key: str) -> None:
    found = [one for one in findings(deployment(carried={key: "true"})) if one.rule == "R605"]
    assert [one.path for one in found] == [f"spec.template.metadata.annotations['{key}']"]
    assert found[0].fixable


@pytest.mark.parametrize("key", ["reroll.dev/auto", "reroll.dev/follow", "reroll.dev/mode", WAVE])
def test_on_a_config_object(key: str) -> None:
    assert rules(config("app", annotations={key: "true"})) == ["R605"]


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("reroll.dev/ignore", "true", []),
        ("reroll.dev/ignore", "yes", ["R601"]),
        ("reroll.dev/match", "True", []),
        ("reroll.dev/match", "1", ["R601"]),
        ("reroll.dev/share-with", "team-*", []),
        ("reloader.stakater.com/match", "True", ["R602"]),
        ("reloader.stakater.com/match", "true", []),
        ("reloader.stakater.com/ignore", "yes", ["R602"]),
    ],
)
def test_of_config_objects(key: str, value: str, expected: list[str]) -> None:
    assert rules(config("app", annotations={key: value})) == expected


@pytest.mark.parametrize("value", [True, False, 1, 3.5, None, ["a"], {"a": "b"}])
@pytest.mark.parametrize("key", ["reroll.dev/auto", AUTO, WAVE])
def test_values_that_are_no_strings(key: str, value: Any) -> None:
    found = [one for one in findings(deployment(annotations={key: value})) if one.rule == "R609"]
    assert len(found) == 1
    assert found[0].fixable is isinstance(value, bool | int)


def test_of_namespaces() -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    bad = {**namespace, "metadata": {"name": "shop", "annotations": {"reroll.dev/auto": "yes"}}}
    assert rules(namespace) == []
    assert rules(bad) == ["R601"]


@pytest.mark.parametrize(
    ("own", "carried", "expected"),
    [
        ({AUTO: "true"}, {CM: "app"}, ["R606"]),
        ({CM: "app"}, {AUTO: "true"}, ["R606"]),
        ({CM: "app"}, {SECRET: "db"}, []),
        ({AUTO: "true"}, {AUTO: "true"}, []),
        ({AUTO: "true"}, {AUTO: "false"}, ["R606"]),
        ({}, {AUTO: "true", CM: "app"}, []),
        ({"reloader.stakater.com/search": "true"}, {CM: "app", SECRET: "db"}, ["R606", "R606"]),
    ],
)
def test_a_setting_that_another_one_hides_is_told(
    own: dict[str, str], carried: dict[str, str], expected: list[str]
) -> None:
    found = [one.rule for one in findings(deployment(annotations=own, carried=carried)) if one.rule == "R606"]
    assert found == expected


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("a|b", True),
        ("app-.*|db", True),
        ("(a|b)", False),
        ("(a|b)|c", True),
        ("[|]", False),
        ("[a|b]c", False),
        (r"a\|b", False),
        ("app", False),
        ("", False),
        ("((a)|b)", False),
        ("a|", True),
    ],
)
def test_alternation(item: str, expected: bool) -> None:
    assert open_alternation(item) is expected
    found = [one.rule for one in findings(deployment(annotations={CM: f"x,{item}"})) if one.rule == "R607"]
    assert found == (["R607"] if expected else [])


def test_wave_without_config() -> None:
    assert rules(deployment(annotations={WAVE: "true"})) == ["R608"]
    assert rules(deployment(annotations={WAVE: "true", "wave.pusher.com/extra-configmaps": "app"})) == []


# --- mechanisms ------------------------------------------------------------------------------------------

SHA = "a" * 64
ONE: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "reroll": ({"reroll.dev/auto": "true"}, {}),
    "Reloader": ({AUTO: "true"}, {}),
    "wave": ({WAVE: "true"}, {}),
    "a checksum annotation": ({}, {"checksum/config": "x"}),
}


@pytest.mark.parametrize("one", ONE)
@pytest.mark.parametrize("other", ONE)
def test_two_mechanisms(one: str, other: str) -> None:
    own = {**ONE[one][0], **ONE[other][0]}
    carried = {**ONE[one][1], **ONE[other][1]}
    found = findings(deployment(container=env("app"), annotations=own, carried=carried))
    if one == other or {one, other} == {"reroll", "a checksum annotation"}:
        assert found == []
        return
    assert [each.rule for each in found] == ["R501"]
    assert one in found[0].message
    assert other in found[0].message


def test_what_is_switched_off_is_none() -> None:
    own = {"reroll.dev/auto": "true", AUTO: "false", WAVE: "false"}
    assert rules(deployment(container=env("app"), annotations=own)) == []


BOTH = {
    "env": [
        {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "app", "key": "a"}}},
        {"name": "B", "valueFrom": {"secretKeyRef": {"name": "db", "key": "b"}}},
    ]
}


@pytest.mark.parametrize(
    ("carried", "expected"),
    [
        ({"checksum/config": SHA}, ["R502"]),
        ({"checksum/config": SHA, "checksum/secret": SHA}, []),
        ({"checksum/config": "not-of-helm"}, []),
        ({"checksum/configmap": SHA, "checksum/other": SHA}, ["R502"]),
    ],
)
def test_what_checksums_cover(carried: dict[str, str], expected: list[str]) -> None:
    objects = (config("app", data={"a": "x"}), config("db", "Secret", data={"b": "eA=="}))
    assert rules(deployment(container=BOTH, carried=carried), *objects) == expected


def test_one_file_with_both_objects_needs_one_checksum() -> None:
    text = f"""\
---
# Source: web/templates/config.yaml
apiVersion: v1
kind: ConfigMap
metadata: {{name: app}}
data: {{a: x}}
---
# Source: web/templates/config.yaml
apiVersion: v1
kind: Secret
metadata: {{name: db}}
data: {{b: eA==}}
---
# Source: web/templates/deployment.yaml
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  template:
    metadata: {{annotations: {{checksum/config: {SHA}}}}}
    spec:
      containers:
        - name: main
          envFrom: [{{configMapRef: {{name: app}}}}, {{secretRef: {{name: db}}}}]
"""
    assert rules(text) == []
    assert rules(
        text.replace("config.yaml\napiVersion: v1\nkind: Secret", "db.yaml\napiVersion: v1\nkind: Secret")
    ) == ["R502"]


def test_what_is_not_in_the_input_needs_no_checksum() -> None:
    carried = {"checksum/config": SHA}
    assert rules(deployment(container=BOTH, carried=carried), config("app", data={"a": "x"})) == []


def test_a_checksum_on_the_workload() -> None:
    assert rules(deployment(annotations={"checksum/config": SHA})) == ["R503"]
    assert rules(deployment(annotations={"checksum/config": SHA}, carried={"checksum/config": SHA})) == []
    assert report(deployment(carried={"checksum/config": SHA})).findings == ()
