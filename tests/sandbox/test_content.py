"""What containers are given: variables and files by the kubelet's rules, without a kubelet."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from reroll.sandbox.content import (
    ConfigKind,
    ContainerContent,
    Content,
    Finding,
    Unavailable,
    projected,
    stale,
    start,
    uses_in_files,
    uses_in_variables,
    volumes,
)
from reroll.sandbox.storage import Object

Configs = dict[tuple[ConfigKind, str], Object]


def config_map(**data: str) -> Object:
    return {"data": {key.replace("__", "."): value for key, value in data.items()}}


def secret(**data: str) -> Object:
    return {"data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}}


def pod(
    *, volumes: list[Object] | None = None, mounts: list[Object] | None = None, **container: Any
) -> Object:
    main = {"name": "main", "image": "app:1", "volumeMounts": mounts or [], **container}
    meta = {"name": "web-1", "namespace": "default", "uid": "u", "labels": {"app": "web"}}
    return {"metadata": meta, "spec": {"containers": [main], "volumes": volumes or [], "nodeName": "n"}}


def given(pod: Object, configs: Configs, *, lenient: bool = False) -> ContainerContent:
    def find(kind: ConfigKind, name: str) -> Object | None:
        return configs.get((kind, name))

    (container,) = pod["spec"]["containers"]
    return start(pod, container, volumes(pod, find, lenient=lenient), find, lenient=lenient)


def env(configs: Configs | None = None, **container: Any) -> dict[str, str]:
    content = given(pod(**container), configs or {})
    return {name: one.value.decode() for name, one in content.env.items()}


def files(volume: Object, configs: Configs, *mounts: Object) -> dict[str, str]:
    mounts = mounts or ({"name": "v", "mountPath": "/etc/app"},)
    content = given(pod(volumes=[{"name": "v", **volume}], mounts=list(mounts)), configs)
    return {path: one.value.decode() for path, one in content.files.items()}


def key_of(kind: str, name: str, key: str, **more: Any) -> Object:
    return {"valueFrom": {f"{kind}KeyRef": {"name": name, "key": key, **more}}}


class TestVariables:
    def test_of_keys(self) -> None:
        configs: Configs = {
            ("configmap", "app"): config_map(host="db"),
            ("secret", "app"): secret(password="pw"),
        }
        variables = [
            {"name": "HOST", **key_of("configMap", "app", "host")},
            {"name": "PASSWORD", **key_of("secret", "app", "password")},
            {"name": "PLAIN", "value": "as it is"},
            {"name": "EMPTY"},
        ]
        assert env(configs, env=variables) == {
            "HOST": "db",
            "PASSWORD": "pw",
            "PLAIN": "as it is",
            "EMPTY": "",
        }

    def test_of_whole_objects_the_later_wins_and_env_wins_over_all(self) -> None:
        configs: Configs = {
            ("configmap", "one"): config_map(A="1", B="1", C="1"),
            ("secret", "two"): secret(B="2", C="2"),
        }
        sources = [{"configMapRef": {"name": "one"}}, {"secretRef": {"name": "two"}}]
        variables = [{"name": "C", "value": "3"}]
        assert env(configs, envFrom=sources, env=variables) == {"A": "1", "B": "2", "C": "3"}

    def test_a_prefix(self) -> None:
        configs: Configs = {("configmap", "app"): config_map(host="db")}
        assert env(configs, envFrom=[{"prefix": "DB_", "configMapRef": {"name": "app"}}]) == {"DB_host": "db"}

    def test_optional_ones_that_are_not_there(self) -> None:
        configs: Configs = {("configmap", "app"): config_map(other="x")}
        sources = [{"secretRef": {"name": "nowhere", "optional": True}}]
        variables = [
            {"name": "A", **key_of("configMap", "app", "host", optional=True)},
            {"name": "B", **key_of("secret", "nowhere", "host", optional=True)},
        ]
        assert env(configs, envFrom=sources, env=variables) == {}

    @pytest.mark.parametrize(
        ("container", "message", "name"),
        [
            (
                {"envFrom": [{"configMapRef": {"name": "no"}}]},
                'configmap "no" not found',
                ("configmap", "no"),
            ),
            ({"envFrom": [{"secretRef": {"name": "no"}}]}, 'secret "no" not found', ("secret", "no")),
            (
                {"env": [{"name": "A", **key_of("configMap", "no", "host")}]},
                'configmap "no" not found',
                ("configmap", "no"),
            ),
            (
                {"env": [{"name": "A", **key_of("configMap", "app", "host")}]},
                "couldn't find key host in ConfigMap default/app",
                ("configmap", "app"),
            ),
            (
                {"env": [{"name": "A", **key_of("secret", "app", "host")}]},
                "couldn't find key host in Secret default/app",
                ("secret", "app"),
            ),
        ],
    )
    def test_what_is_missing_is_told_as_the_kubelet_does(
        self, container: Any, message: str, name: tuple[str, str]
    ) -> None:
        configs: Configs = {("configmap", "app"): config_map(), ("secret", "app"): secret()}
        with pytest.raises(Unavailable) as caught:
            env(configs, **container)
        assert str(caught.value) == message
        assert caught.value.names == (name,)

    def test_binary_data_is_no_variable(self) -> None:
        binary = {"data": {"text": "t"}, "binaryData": {"blob": base64.b64encode(b"b").decode()}}
        configs: Configs = {("configmap", "app"): binary}
        assert env(configs, envFrom=[{"configMapRef": {"name": "app"}}]) == {"text": "t"}

    def test_names_that_no_variable_can_have_are_left_out(self) -> None:
        configs: Configs = {("configmap", "app"): {"data": {"a.b-c": "1", "d=e": "2"}}}
        assert env(configs, envFrom=[{"configMapRef": {"name": "app"}}]) == {"a.b-c": "1"}

    def test_references_to_others(self) -> None:
        configs: Configs = {("configmap", "app"): config_map(HOST="db")}
        variables = [
            {"name": "PORT", "value": "5432"},
            {"name": "URL", "value": "db://$(HOST):$(PORT)/$(NOBODY)?$$(HOST)"},
        ]
        found = env(configs, envFrom=[{"configMapRef": {"name": "app"}}], env=variables)
        assert found["URL"] == "db://db:5432/$(NOBODY)?$(HOST)"

    def test_fields_of_the_pod(self) -> None:
        paths = {"NAME": "metadata.name", "APP": "metadata.labels['app']", "NODE": "spec.nodeName"}
        variables = [{"name": n, "valueFrom": {"fieldRef": {"fieldPath": p}}} for n, p in paths.items()]
        assert env(env=variables) == {"NAME": "web-1", "APP": "web", "NODE": "n"}


class TestFiles:
    def test_of_each_kind(self) -> None:
        configs: Configs = {("configmap", "app"): config_map(a="1", b="2"), ("secret", "app"): secret(c="3")}
        assert files({"configMap": {"name": "app"}}, configs) == {"/etc/app/a": "1", "/etc/app/b": "2"}
        assert files({"secret": {"secretName": "app"}}, configs) == {"/etc/app/c": "3"}

    def test_items(self) -> None:
        configs: Configs = {("configmap", "app"): config_map(a="1", b="2")}
        items = [{"key": "b", "path": "conf.d/b.conf"}]
        volume = {"configMap": {"name": "app", "items": items}}
        assert files(volume, configs) == {"/etc/app/conf.d/b.conf": "2"}

    def test_projected(self) -> None:
        configs: Configs = {("configmap", "app"): config_map(a="1", b="2"), ("secret", "app"): secret(b="3")}
        sources = [
            {"configMap": {"name": "app"}},
            {"secret": {"name": "app"}},
            {"serviceAccountToken": {"path": "token"}},
            {"configMap": {"name": "nowhere", "optional": True}},
        ]
        found = files({"projected": {"sources": sources}}, configs)
        assert found == {"/etc/app/a": "1", "/etc/app/b": "3"}

    def test_binary_data(self) -> None:
        configs: Configs = {
            ("configmap", "app"): {"binaryData": {"blob": base64.b64encode(b"\xff").decode()}}
        }
        volume = {"name": "v", "configMap": {"name": "app"}}
        content = given(pod(volumes=[volume], mounts=[{"name": "v", "mountPath": "/v"}]), configs)
        assert content.files["/v/blob"].value == b"\xff"

    def test_sub_paths(self) -> None:
        configs: Configs = {("configmap", "app"): config_map(a="1", b="2")}
        items = [{"key": "a", "path": "dir/a"}, {"key": "b", "path": "b"}]
        volume = {"configMap": {"name": "app", "items": items}}
        assert files(volume, configs, {"name": "v", "mountPath": "/b.conf", "subPath": "b"}) == {
            "/b.conf": "2"
        }
        assert files(volume, configs, {"name": "v", "mountPath": "/dir", "subPath": "dir"}) == {"/dir/a": "1"}

    def test_a_sub_path_with_a_variable(self) -> None:
        configs: Configs = {("configmap", "app"): config_map(blue="1", green="2")}
        volume = {"name": "v", "configMap": {"name": "app"}}
        mount = {"name": "v", "mountPath": "/conf", "subPathExpr": "$(COLOUR)"}
        spec = pod(volumes=[volume], mounts=[mount], env=[{"name": "COLOUR", "value": "green"}])
        assert {path: one.value for path, one in given(spec, configs).files.items()} == {"/conf": b"2"}

    @pytest.mark.parametrize(
        ("volume", "message"),
        [
            ({"configMap": {"name": "no"}}, 'configmap "no" not found'),
            ({"secret": {"secretName": "no"}}, 'secret "no" not found'),
            (
                {"configMap": {"name": "app", "items": [{"key": "x", "path": "x"}]}},
                "configmap references non-existent config key: x",
            ),
            (
                {"secret": {"secretName": "app", "items": [{"key": "x", "path": "x"}]}},
                "references non-existent secret key: x",
            ),
        ],
    )
    def test_what_is_missing_is_told_as_the_kubelet_does(self, volume: Object, message: str) -> None:
        configs: Configs = {("configmap", "app"): config_map(), ("secret", "app"): secret()}
        with pytest.raises(Unavailable) as caught:
            files(volume, configs)
        assert (str(caught.value), caught.value.volume) == (message, "v")

    def test_optional_ones_that_are_not_there(self) -> None:
        configs: Configs = {("configmap", "app"): config_map(a="1")}
        items = [{"key": "a", "path": "a"}, {"key": "x", "path": "x"}]
        volume = {"configMap": {"name": "app", "items": items, "optional": True}}
        assert files(volume, configs) == {"/etc/app/a": "1"}
        assert files({"secret": {"secretName": "nowhere", "optional": True}}, configs) == {}


MOUNTED = pod(
    volumes=[{"name": "v", "configMap": {"name": "app"}}],
    mounts=[{"name": "v", "mountPath": "/v"}, {"name": "v", "mountPath": "/bound", "subPath": "host"}],
    env=[{"name": "HOST", **key_of("configMap", "app", "host")}],
    envFrom=[{"secretRef": {"name": "login"}}],
)
"""A pod that takes the same key by variable, file and subPath, and a whole Secret."""

BEFORE: Configs = {("configmap", "app"): config_map(host="old"), ("secret", "login"): secret(USER="me")}


class TestLater:
    def content(self) -> Content:
        return Content("web-1", (given(MOUNTED, BEFORE),))

    def findings(self, content: Content, now: Configs) -> list[Finding]:
        return stale(
            content, MOUNTED, lambda kind, name: now.get((kind, name)), lambda value: f"digest{len(value)}"
        )

    def test_nothing_is_old_at_first(self) -> None:
        assert self.findings(self.content(), BEFORE) == []

    def test_files_follow_and_the_rest_does_not(self) -> None:
        now = {**BEFORE, ("configmap", "app"): config_map(host="new", extra="x")}
        mounted = volumes(MOUNTED, lambda kind, name: now.get((kind, name)))
        (held,) = projected(self.content(), MOUNTED, mounted).containers
        assert {path: one.value for path, one in held.files.items()} == {
            "/v/host": b"new",
            "/v/extra": b"x",
            "/bound": b"old",
        }
        assert held.env["HOST"].value == b"old"

    def test_each_old_value_is_found(self) -> None:
        now = {**BEFORE, ("configmap", "app"): config_map(host="new")}
        place: tuple[ConfigKind, str, str, str, str] = ("configmap", "app", "host", "old", "new")
        assert self.findings(self.content(), now) == [
            Finding("web-1", "main", "env", "HOST", *place),
            Finding("web-1", "main", "volume", "/bound", *place),
            Finding("web-1", "main", "volume", "/v/host", *place),
        ]

    def test_of_a_secret_the_digests(self) -> None:
        now = {**BEFORE, ("secret", "login"): secret(USER="you", PASSWORD="hunter2")}
        found = self.findings(self.content(), now)
        assert [(one.where, one.runs, one.now) for one in found] == [
            ("PASSWORD", None, "digest7"),
            ("USER", "digest2", "digest3"),
        ]
        assert {one.means for one in found} == {"envFrom"}

    def test_what_is_gone(self) -> None:
        found = self.findings(self.content(), {})
        assert {(one.where, one.now) for one in found} == {
            (where, None) for where in ("HOST", "USER", "/bound", "/v/host")
        }

    def test_no_value_shows_in_what_is_printed(self) -> None:
        shown = repr(given(MOUNTED, {**BEFORE, ("secret", "login"): secret(USER="hunter2")}))
        assert "hunter2" not in shown
        assert "Given(secret/login#USER by envFrom, 7 bytes)" in shown


def test_what_a_pod_uses() -> None:
    assert uses_in_variables(MOUNTED) == {("configmap", "app"), ("secret", "login")}
    assert uses_in_files(MOUNTED) == {("configmap", "app")}
