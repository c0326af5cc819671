"""R1xx and R2xx: references, and pods that do not notice."""

from __future__ import annotations

from typing import Any

import pytest

from reroll.insight.lint.rules.references import check, nearest
from reroll.insight.lint.world import Known, World
from tests.insight.lint.stage import config, deployment, documents, env, findings, mount, rules

APP = config("app-config", data={"level": "info", "host": "db"})
VOLUME = [{"name": "conf", "configMap": {"name": "app-config"}}]


def by(how: str, name: str, **more: Any) -> dict[str, Any]:
    """A Deployment that refers to a config object in one of the ways there are."""
    ways: dict[str, dict[str, Any]] = {
        "configMapKeyRef": {"container": env(name, **more)},
        "secretKeyRef": {"container": env(name, kind="secretKeyRef", **more)},
        "configMapRef": {"container": {"envFrom": [{"configMapRef": {"name": name, **more}}]}},
        "secretRef": {"container": {"envFrom": [{"secretRef": {"name": name, **more}}]}},
        "configMap": {
            "container": mount(),
            "volumes": [{"name": "conf", "configMap": {"name": name, **more}}],
        },
        "secret": {
            "container": mount(),
            "volumes": [{"name": "conf", "secret": {"secretName": name, **more}}],
        },
        "projected configMap": {
            "container": mount(),
            "volumes": [{"name": "conf", "projected": {"sources": [{"configMap": {"name": name, **more}}]}}],
        },
        "projected secret": {
            "container": mount(),
            "volumes": [{"name": "conf", "projected": {"sources": [{"secret": {"name": name, **more}}]}}],
        },
        "init": {"spec": {"initContainers": [{"name": "init", **env(name, **more)}]}},
        "ephemeral": {"spec": {"ephemeralContainers": [{"name": "debug", **env(name, **more)}]}},
    }
    return deployment(**ways[how])


WAYS = (
    "configMapKeyRef",
    "secretKeyRef",
    "configMapRef",
    "secretRef",
    "configMap",
    "secret",
    "projected configMap",
    "projected secret",
    "init",
    "ephemeral",
)


def kind_of(how: str) -> str:
    return "Secret" if "secret" in how else "ConfigMap"


@pytest.mark.parametrize("how", WAYS)
def test_what_exists_is_no_finding(how: str) -> None:
    target = config("app-config", kind_of(how), data={"level": "aQ=="})
    assert rules(by(how, "app-config"), target, complete=True) == []


@pytest.mark.parametrize("how", WAYS)
def test_missing_is_told_only_where_the_input_is_all(how: str) -> None:
    assert rules(by(how, "elsewhere")) == []
    assert rules(by(how, "elsewhere"), complete=True) == ["R101"]


@pytest.mark.parametrize("how", WAYS)
def test_the_other_kind_is_not_it(how: str) -> None:
    other = "ConfigMap" if kind_of(how) == "Secret" else "Secret"
    assert rules(by(how, "app-config"), config("app-config", other), complete=True) == ["R101"]


@pytest.mark.parametrize("how", WAYS)
def test_the_nearest_name_is_proposed(how: str) -> None:
    target = config("app-config", kind_of(how), data={"level": "aQ=="})
    (found,) = [one for one in findings(by(how, "app-confg"), target) if one.rule != "R202"]
    assert (found.rule, found.severity) == ("R102", "warning")
    assert "app-config is: did you mean it?" in found.message


@pytest.mark.parametrize("how", WAYS)
def test_an_optional_one_hides_a_slip(how: str) -> None:
    target = config("app-config", kind_of(how), data={"level": "aQ=="})
    assert rules(by(how, "app-confg", optional=True), target) == ["R104"]
    assert rules(by(how, "unheard-of", optional=True), target) == []
    assert rules(by(how, "unheard-of", optional=True), target, complete=True) == ["R104"]


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"])
def test_every_kind_in_apps(kind: str) -> None:
    assert rules(deployment(kind=kind, container=env("nope")), complete=True) == ["R101"]


@pytest.mark.parametrize(
    ("version", "kind", "path"),
    [
        ("v1", "Pod", ()),
        ("v1", "ReplicationController", ("spec", "template")),
        ("v1", "PodTemplate", ("template",)),
        ("batch/v1", "Job", ("spec", "template")),
        ("batch/v1", "CronJob", ("spec", "jobTemplate", "spec", "template")),
        ("argoproj.io/v1alpha1", "Rollout", ("spec", "template")),
        ("apps.openshift.io/v1", "DeploymentConfig", ("spec", "template")),
    ],
)
def test_other_kinds(version: str, kind: str, path: tuple[str, ...]) -> None:
    value: dict[str, Any] = {"spec": {"containers": [{"name": "main", **env("nope")}]}}
    for step in reversed(path):
        value = {step: value}
    assert rules(
        {"apiVersion": version, "kind": kind, "metadata": {"name": "x"}, **value}, complete=True
    ) == ["R101"]


@pytest.mark.parametrize(
    ("of_workload", "of_config", "expected"),
    [("", "", []), ("shop", "shop", []), ("", "shop", []), ("shop", "", []), ("shop", "other", ["R101"])],
)
def test_namespaces(of_workload: str, of_config: str, expected: list[str]) -> None:
    target = config("app-config", data={"level": "x"}, namespace=of_config)
    assert (
        rules(deployment(container=env("app-config"), namespace=of_workload), target, complete=True)
        == expected
    )


@pytest.mark.parametrize(
    ("key", "expected"),
    [("level", []), ("host", []), ("levle", ["R103"]), ("LEVEL", ["R103"]), ("port", ["R103"])],
)
def test_keys(key: str, expected: list[str]) -> None:
    assert rules(deployment(container=env("app-config", key)), APP) == expected
    items = [{"key": key, "path": "x"}]
    volumes = [{"name": "conf", "configMap": {"name": "app-config", "items": items}}]
    assert rules(deployment(container=mount(), volumes=volumes), APP) == expected


@pytest.mark.parametrize("field", ["data", "stringData"])
def test_keys_of_secrets(field: str) -> None:
    target = config("db", "Secret", **{field: {"password": "aQ=="}})
    assert rules(deployment(container=env("db", "password", "secretKeyRef")), target) == []
    assert rules(deployment(container=env("db", "pasword", "secretKeyRef")), target) == ["R103"]


def test_binary_keys_count() -> None:
    assert rules(deployment(container=env("a", "x")), config("a", binaryData={"x": "aQ=="})) == []


def test_a_missing_key_of_an_optional_reference() -> None:
    (found,) = [
        one
        for one in findings(deployment(container=env("app-config", "levle", optional=True)), APP)
        if one.rule != "R202"
    ]
    assert found.rule == "R104"
    assert "did you mean level?" in found.message


def test_what_is_never_told() -> None:
    volumes = [{"name": "conf", "configMap": {"name": "kube-root-ca.crt"}}]
    assert rules(deployment(container=mount(), volumes=volumes), complete=True) == []
    unmounted = deployment(volumes=[{"name": "conf", "configMap": {"name": "nope"}}])
    assert rules(unmounted, complete=True) == []


def test_pull_secrets() -> None:
    assert rules(deployment(spec={"imagePullSecrets": [{"name": "regcred"}]}), complete=True) == ["R101"]


def test_the_place() -> None:
    text = """\
# the web
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  template:
    spec:
      containers:
        - name: main
          env:
            - name: LEVEL
              valueFrom:
                configMapKeyRef:
                  name: nope
                  key: level
"""
    (found,) = [one for one in findings(text, complete=True) if one.rule == "R101"]
    assert (found.file, found.line, found.column) == ("web.yaml", 14, 19)
    assert found.path == "spec.template.spec.containers[0].env[0].valueFrom.configMapKeyRef.name"
    assert found.object == "deployment/web"


def test_what_the_cluster_knows() -> None:
    key = ("configmap", "", "app")
    for live, expected in (
        (None, ["R101"]),
        (Known(frozenset({"level"})), []),
        (Known(frozenset({"host"})), ["R103"]),
    ):
        found = documents(deployment(container=env("app"), annotations={"reroll.dev/auto": "true"}))
        world = World(found)
        world.live[key] = live  # type: ignore[index]  # a literal
        assert [one.rule for one in check(world)] == expected


@pytest.mark.parametrize(
    ("name", "names", "expected"),
    [
        ("app-confg", ["app-config"], "app-config"),
        ("app-cofnig", ["app-config"], "app-config"),
        ("app_config", ["app-config"], "app-config"),
        ("app.config", ["app-config"], "app-config"),
        ("App-Config", ["app-config"], "app-config"),
        ("app-configs", ["app-config"], "app-config"),
        ("app-1", ["app-2"], ""),
        ("app-blue", ["app-green"], ""),
        ("redis", ["postgres"], ""),
        ("app", ["application-settings"], ""),
        ("app", ["app"], ""),
        ("", ["app"], ""),
        ("app", [], ""),
    ],
)
def test_the_nearest(name: str, names: list[str], expected: str) -> None:
    assert nearest(name, names) == expected


# --- updates ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["subPath", "subPathExpr"])
def test_sub_path(field: str) -> None:
    assert rules(deployment(container=mount(**{field: "level"}), volumes=VOLUME), APP) == ["R201"]


@pytest.mark.parametrize("kind", ["Job", "CronJob"])
def test_pods_that_end_are_not_meant(kind: str) -> None:
    workload = deployment(container=mount(subPath="level"), volumes=VOLUME)
    template = workload["spec"]["template"]
    spec = {"template": template} if kind == "Job" else {"jobTemplate": {"spec": {"template": template}}}
    assert rules({**workload, "apiVersion": "batch/v1", "kind": kind, "spec": spec}, APP) == []


FOLLOWERS: list[tuple[dict[str, str], dict[str, str]]] = [
    ({"reroll.dev/auto": "true"}, {}),
    ({"reroll.dev/follow": "app-config"}, {}),
    ({"reloader.stakater.com/auto": "true"}, {}),
    ({"configmap.reloader.stakater.com/reload": "app-config"}, {}),
    ({}, {"reloader.stakater.com/auto": "true"}),
    ({"wave.pusher.com/update-on-config-change": "true"}, {}),
    ({}, {"checksum/config": "abc"}),
    ({}, {"configmap-version": "3"}),
    ({}, {"rollme": "x"}),
]


@pytest.mark.parametrize(("own", "carried"), FOLLOWERS)
def test_a_sub_path_that_reroll_or_another_follows_is_no_finding(
    own: dict[str, str], carried: dict[str, str]
) -> None:
    both = deployment(
        container={**mount(subPath="level"), **env("app-config")},
        volumes=VOLUME,
        annotations=own,
        carried=carried,
    )
    assert [one.rule for one in findings(both, APP)] == []


@pytest.mark.parametrize("own", [{"reroll.dev/auto": "false"}, {"reloader.stakater.com/auto": "false"}, {}])
def test_a_sub_path_that_nobody_follows_is_told(own: dict[str, str]) -> None:
    both = deployment(
        container={**mount(subPath="level"), **env("app-config")}, volumes=VOLUME, annotations=own
    )
    assert sorted(one.rule for one in findings(both, APP)) == ["R201", "R202"]
    assert findings(both, APP, auto_all=True) == []


def test_a_name_that_changes_with_the_content() -> None:
    for target in (
        config("app-h29d89cmmt", data={"level": "x"}),
        config("app", data={"level": "x"}, immutable=True),
    ):
        assert findings(deployment(container=env(target["metadata"]["name"])), target) == []


def test_variables_are_told_once_for_a_workload() -> None:
    (found,) = findings(
        deployment(container={"envFrom": [{"configMapRef": {"name": n}} for n in ("a", "b", "c", "d")]})
    )
    assert (found.rule, found.severity) == ("R202", "info")
    assert "configmap a, configmap b, configmap c and 1 more" in found.message
