"""Where the API server is found, how kubeconfig files merge, and that each fault names its file and field."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from reroll.kube.config import ClusterConfig, ConfigError, load_config


def kubeconfig(
    *,
    cluster: dict[str, Any] | None = None,
    user: dict[str, Any] | None = None,
    context: dict[str, Any] | None = None,
    **top: Any,
) -> dict[str, Any]:
    """A kubeconfig with the context dev, whose parts can be given."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "east", "cluster": {"server": "https://east:6443", **(cluster or {})}}],
        "users": [{"name": "ann", "user": user if user is not None else {"token": "t0ken"}}],
        "contexts": [{"name": "dev", "context": {"cluster": "east", "user": "ann", **(context or {})}}],
        "current-context": "dev",
        **top,
    }


def write(path: Path, content: Any) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return str(path)


def pod(tmp_path: Path, **changes: str | None) -> tuple[str, dict[str, str]]:
    """A service account's directory (without ca.crt: tests of TLS have it) and the environment of a pod."""
    directory = tmp_path / "serviceaccount"
    directory.mkdir()
    (directory / "token").write_text("pod-token\n")
    (directory / "namespace").write_text("shop\n")
    environ = {"HOME": str(tmp_path / "home"), "KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    environ["KUBERNETES_SERVICE_PORT"] = "443"
    environ.update({k: v for k, v in changes.items() if v is not None})
    return str(directory), environ


async def headers(config: ClusterConfig) -> list[tuple[str, str]]:
    return sorted((await config.credentials.headers()).items())


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


async def test_home_kubeconfig_gives_everything_of_the_current_context(tmp_path: Path) -> None:
    path = write(tmp_path / ".kube/config", kubeconfig(context={"namespace": "shop"}))
    config = load_config(environ={"HOME": str(tmp_path)})
    assert config.server == "https://east:6443"
    assert config.namespace == "shop"
    assert config.origin == f"context dev of {path}"
    assert config.in_cluster is False
    assert config.proxy is None
    assert config.tls_server_name is None
    assert await headers(config) == [("Authorization", "Bearer t0ken")]
    assert config.ssl_context() is not None


class TestMerging:
    def test_first_file_wins_each_name_and_the_current_context(self, tmp_path: Path) -> None:
        first = write(
            tmp_path / "first",
            {
                "clusters": [{"name": "east", "cluster": {"server": "https://first:1"}}],
                "current-context": "b",
            },
        )
        second = kubeconfig(context={"namespace": "n2"})
        second["clusters"].append({"name": "west", "cluster": {"server": "https://west:2"}})
        second["contexts"].append({"name": "b", "context": {"cluster": "west", "user": "ann"}})
        environ = {"KUBECONFIG": f"{first}:{write(tmp_path / 'second', second)}"}
        assert load_config(environ=environ).server == "https://west:2"
        assert load_config(environ=environ, context="dev").server == "https://first:1"
        assert load_config(environ=environ, context="dev").namespace == "n2"

    def test_an_entry_is_won_as_a_whole(self, tmp_path: Path) -> None:
        first = write(
            tmp_path / "1", {"clusters": [{"name": "east", "cluster": {"server": "https://first:1"}}]}
        )
        second = write(tmp_path / "2", kubeconfig(cluster={"tls-server-name": "other"}))
        config = load_config(environ={"KUBECONFIG": f"{first}:{second}"})
        assert (config.server, config.tls_server_name) == ("https://first:1", None)

    def test_missing_files_and_empty_entries_are_skipped(self, tmp_path: Path) -> None:
        path = write(tmp_path / "there", kubeconfig())
        environ = {"KUBECONFIG": f":{tmp_path}/nowhere:{path}:{path}:"}
        assert load_config(environ=environ).origin == f"context dev of {path}"

    async def test_relative_paths_are_relative_to_their_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "a/token").write_text("from-a")
        (tmp_path / "token").write_text("from-the-working-directory")
        users = {"users": [{"name": "ann", "user": {"tokenFile": "token"}}]}
        write(tmp_path / "a/users", users)
        write(tmp_path / "b/rest", kubeconfig(users=[]))
        monkeypatch.chdir(tmp_path)
        config = load_config(environ={"KUBECONFIG": "b/rest:a/users"})
        assert await headers(config) == [("Authorization", "Bearer from-a")]

    def test_a_broken_file_is_an_error_even_where_others_would_do(self, tmp_path: Path) -> None:
        good, bad = write(tmp_path / "good", kubeconfig()), write(tmp_path / "bad", "clusters: [")
        with pytest.raises(ConfigError, match=rf"^{bad}: line \d, column \d+: not valid YAML: "):
            load_config(environ={"KUBECONFIG": f"{good}:{bad}"})

    def test_nulls_and_unknown_fields_are_taken_as_kubectl_does(self, tmp_path: Path) -> None:
        content = kubeconfig(preferences={}, extensions=None, user={"token": None, "new-field": [1]})
        content["clusters"][0]["cluster"]["certificate-authority"] = None
        assert load_config(kubeconfig=write(tmp_path / "c", content)).server == "https://east:6443"
        no_users = kubeconfig(users=None)
        no_users["contexts"][0]["context"]["user"] = None
        assert load_config(kubeconfig=write(tmp_path / "d", no_users)).server == "https://east:6443"


class TestOrder:
    def test_explicit_file_goes_before_kubeconfig(self, tmp_path: Path) -> None:
        one = write(tmp_path / "one", kubeconfig(cluster={"server": "https://one:1"}))
        two = write(tmp_path / "two", kubeconfig(cluster={"server": "https://two:2"}))
        assert load_config(kubeconfig=one, environ={"KUBECONFIG": two}).server == "https://one:1"

    def test_kubeconfig_goes_before_home(self, tmp_path: Path) -> None:
        write(tmp_path / ".kube/config", kubeconfig(cluster={"server": "https://home:1"}))
        two = write(tmp_path / "two", kubeconfig(cluster={"server": "https://two:2"}))
        environ = {"HOME": str(tmp_path), "KUBECONFIG": two}
        assert load_config(environ=environ).server == "https://two:2"

    def test_a_usable_kubeconfig_goes_before_the_service_account(self, tmp_path: Path) -> None:
        directory, environ = pod(tmp_path)
        write(tmp_path / "home/.kube/config", kubeconfig())
        assert load_config(environ=environ, service_account_directory=directory).in_cluster is False

    def test_a_tilde_in_the_explicit_path_is_the_home(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        write(tmp_path / "k", kubeconfig())
        assert load_config(kubeconfig="~/k").server == "https://east:6443"

    async def test_server_alone_needs_no_kubeconfig(self, tmp_path: Path) -> None:
        config = load_config(server="https://x:1/", token="abc", environ={"HOME": str(tmp_path)})
        assert (config.server, config.namespace, config.origin) == ("https://x:1", "default", "--server")
        assert await headers(config) == [("Authorization", "Bearer abc")]


class TestOverrides:
    def test_server_replaces_the_server_and_its_name(self, tmp_path: Path) -> None:
        path = write(tmp_path / "c", kubeconfig(cluster={"tls-server-name": "east.internal"}))
        assert load_config(kubeconfig=path).tls_server_name == "east.internal"
        config = load_config(kubeconfig=path, server="https://127.0.0.1:9")
        assert (config.server, config.tls_server_name) == ("https://127.0.0.1:9", None)

    @pytest.mark.parametrize(
        "user",
        [
            {"token": "old"},
            {"username": "u", "password": "p"},
            {"exec": {"command": "never-run", "apiVersion": "client.authentication.k8s.io/v1"}},
            {"client-certificate": "not-read", "client-key": "not-read"},
        ],
        ids=["token", "basic", "exec", "certificate"],
    )
    async def test_token_replaces_every_other_way(self, tmp_path: Path, user: dict[str, Any]) -> None:
        path = write(tmp_path / "c", kubeconfig(user=user))
        assert await headers(load_config(kubeconfig=path, token="new")) == [("Authorization", "Bearer new")]

    async def test_impersonate_user_replaces_all_impersonation(self, tmp_path: Path) -> None:
        user = {"token": "t", "as": "bob", "as-groups": ["admins"]}
        path = write(tmp_path / "c", kubeconfig(user=user))
        assert await headers(load_config(kubeconfig=path, impersonate_user="eve")) == [
            ("Authorization", "Bearer t"),
            ("Impersonate-User", "eve"),
        ]


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ({}, []),
        ({"token": " t0ken\n"}, [("Authorization", "Bearer t0ken")]),
        ({"username": "u", "password": "pä:ss"}, [("Authorization", basic("u:pä:ss"))]),
        ({"username": "u"}, [("Authorization", basic("u:"))]),
        (
            {
                "as": "bob",
                "as-uid": "7",
                "as-groups": ["a", "b"],
                "as-user-extra": {"example.org/sc%pe": ["x", "y"], "plain": ["z"]},
            },
            [
                ("Impersonate-Extra-example.org%2Fsc%25pe", "x"),
                ("Impersonate-Extra-example.org%2Fsc%25pe", "y"),
                ("Impersonate-Extra-plain", "z"),
                ("Impersonate-Group", "a"),
                ("Impersonate-Group", "b"),
                ("Impersonate-Uid", "7"),
                ("Impersonate-User", "bob"),
            ],
        ),
    ],
    ids=["nobody", "token", "basic", "basic-without-password", "impersonation"],
)
async def test_headers_of_a_user(
    tmp_path: Path, user: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    assert await headers(load_config(kubeconfig=write(tmp_path / "c", kubeconfig(user=user)))) == expected


@pytest.mark.parametrize(
    ("written", "fields", "expected"),
    [
        ("https://host:6443/", {}, "https://host:6443"),
        ("https://host/k8s/clusters/c-1/", {}, "https://host/k8s/clusters/c-1"),
        ("https://[fd00::1]:6443", {}, "https://[fd00::1]:6443"),
        ("host:6443", {"insecure-skip-tls-verify": True}, "https://host:6443"),
        ("localhost:8080", {}, "http://localhost:8080"),
    ],
)
def test_server_in_its_one_form(tmp_path: Path, written: str, fields: dict[str, Any], expected: str) -> None:
    path = write(tmp_path / "c", kubeconfig(cluster={"server": written, **fields}))
    assert load_config(kubeconfig=path, environ={}).server == expected


@pytest.mark.parametrize(
    ("server", "sent"), [("http://127.0.0.1:80", True), ("http://localhost", True), ("http://far:80", False)]
)
async def test_plain_http_carries_credentials_only_within_this_machine(
    tmp_path: Path, server: str, sent: bool
) -> None:
    path = write(tmp_path / "c", kubeconfig(cluster={"server": server}))
    config = load_config(kubeconfig=path, environ={})
    assert config.ssl_context() is None
    assert ("Authorization" in await config.credentials.headers()) is sent


V1 = "client.authentication.k8s.io/v1"
EXEC = {"command": "x", "apiVersion": V1, "interactiveMode": "Never"}
CERT = base64.b64encode(b"no pem").decode()

FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "context names no such cluster": (
        kubeconfig(context={"cluster": "prod"}),
        'contexts[0].context.cluster: no cluster named "prod"; known: east',
    ),
    "context names no such user": (
        kubeconfig(context={"user": "bob"}),
        'contexts[0].context.user: no user named "bob"; known: ann',
    ),
    "context without cluster": (
        kubeconfig(context={"cluster": ""}),
        "contexts[0].context.cluster: missing; name one of: east",
    ),
    "dangling current-context": (
        {**kubeconfig(), "current-context": "prod"},
        'current-context: no context named "prod"; known: dev',
    ),
    "no current-context": (
        {**kubeconfig(), "current-context": ""},
        "current-context: not set; choose one with --context or `kubectl config use-context`; known: dev",
    ),
    "entry without a name": (
        kubeconfig(users=[{"user": {}}]),
        "users[0].name: missing; give this user a name",
    ),
    "name used twice": (
        kubeconfig(users=[{"name": "ann"}, {"name": "ann"}]),
        'users[1].name: "ann" is also the name of users[0]; remove or rename one of them',
    ),
    "no server": (kubeconfig(cluster={"server": ""}), "clusters[0].cluster.server: missing; write the URL"),
    "server with a bad port": (
        kubeconfig(cluster={"server": "https://h:99999"}),
        "clusters[0].cluster.server: not a URL: Port out of range",
    ),
    "server of another scheme": (
        kubeconfig(cluster={"server": "ftp://h"}),
        'clusters[0].cluster.server: "ftp://h" is not a URL such as https://HOST:6443',
    ),
    "server with a query": (
        kubeconfig(cluster={"server": "https://h/?a=1"}),
        'clusters[0].cluster.server: "https://h/?a=1" has a part after its path',
    ),
    "server with a password": (
        kubeconfig(cluster={"server": "https://u:s3cret@h"}),
        "clusters[0].cluster.server: holds a user name or password; those belong to an entry of users",
    ),
    "insecure with an authority": (
        kubeconfig(cluster={"insecure-skip-tls-verify": True, "certificate-authority": "ca"}),
        "clusters[0].cluster.insecure-skip-tls-verify: set together with a certificate-authority",
    ),
    "authority not there": (
        kubeconfig(cluster={"certificate-authority": "/nowhere/ca.crt"}),
        "clusters[0].cluster.certificate-authority: cannot read /nowhere/ca.crt: No such file or directory",
    ),
    "authority under a tilde": (
        kubeconfig(cluster={"certificate-authority": "~/ca.crt"}),
        '~/ca.crt: No such file or directory; "~" is not expanded here, write the whole path',
    ),
    "authority not base64": (
        kubeconfig(cluster={"certificate-authority-data": "s3cret!"}),
        "clusters[0].cluster.certificate-authority-data: not valid base64",
    ),
    "authority not PEM": (
        kubeconfig(cluster={"certificate-authority-data": CERT}),
        "clusters[0].cluster.certificate-authority-data: holds no PEM certificate",
    ),
    "authority broken": (
        kubeconfig(
            cluster={
                "certificate-authority-data": base64.b64encode(
                    b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
                ).decode()
            }
        ),
        "clusters[0].cluster.certificate-authority-data: not a usable PEM certificate",
    ),
    "certificate without key": (
        kubeconfig(user={"client-certificate-data": CERT}),
        "users[0].user.client-key: missing; a client certificate needs its key",
    ),
    "key without certificate": (
        kubeconfig(user={"client-key-data": CERT}),
        "users[0].user.client-certificate: missing; a client key needs its certificate",
    ),
    "certificate not PEM": (
        kubeconfig(user={"client-certificate-data": CERT, "client-key-data": CERT}),
        "users[0].user.client-certificate-data: holds no PEM certificate",
    ),
    "token and password": (
        kubeconfig(user={"token": "s3cret", "username": "u", "password": "p"}),
        "users[0].user: holds a token and a username or password; only one of them can be sent",
    ),
    "token in two lines": (
        kubeconfig(user={"token": "s3cret\nline"}),
        "users[0].user.token: holds no bearer token: there is white space",
    ),
    "user name with a colon": (
        kubeconfig(user={"username": "a:b"}),
        "users[0].user.username: a name for basic authentication cannot hold a colon",
    ),
    "token file not there": (
        kubeconfig(user={"tokenFile": "/nowhere/token"}),
        "users[0].user.tokenFile: cannot read /nowhere/token: No such file or directory",
    ),
    "token file empty": (
        kubeconfig(user={"tokenFile": "/dev/null"}),
        "users[0].user.tokenFile: /dev/null: holds no token, it is empty",
    ),
    "auth provider": (
        kubeconfig(user={"auth-provider": {"name": "gcp", "config": {"access-token": "s3cret"}}}),
        "users[0].user.auth-provider: auth providers (gcp) were removed in Kubernetes 1.26; use an exec plugin",
    ),
    "groups without a user": (
        kubeconfig(user={"as-groups": ["a"]}),
        "users[0].user.as: missing; as-uid, as-groups and as-user-extra need a user to act as",
    ),
    "group with a line break": (
        kubeconfig(user={"as": "a", "as-groups": ["ok", "x\ny"]}),
        "users[0].user.as-groups[1]: holds a line break or another control character",
    ),
    "exec without command": (
        kubeconfig(user={"exec": {**EXEC, "command": ""}}),
        "users[0].user.exec.command: missing; name the program to run",
    ),
    "exec without version": (
        kubeconfig(user={"exec": {"command": "x"}}),
        "users[0].user.exec.apiVersion: missing; set client.authentication.k8s.io/v1",
    ),
    "exec of an old version": (
        kubeconfig(user={"exec": {**EXEC, "apiVersion": "client.authentication.k8s.io/v1alpha1"}}),
        'users[0].user.exec.apiVersion: "client.authentication.k8s.io/v1alpha1" is not supported; known:',
    ),
    "exec v1 without mode": (
        kubeconfig(user={"exec": {"command": "x", "apiVersion": V1}}),
        "users[0].user.exec.interactiveMode: missing; v1 wants one of Never, IfAvailable, Always",
    ),
    "exec with an unknown mode": (
        kubeconfig(user={"exec": {**EXEC, "interactiveMode": "Sometimes"}}),
        'users[0].user.exec.interactiveMode: "Sometimes" is unknown; known: Never, IfAvailable, Always',
    ),
    "exec with a nameless variable": (
        kubeconfig(user={"exec": {**EXEC, "env": [{"name": "A", "value": "1"}, {"value": "s3cret"}]}}),
        "users[0].user.exec.env[1].name: not the name of an environment variable",
    ),
    "socks proxy": (
        kubeconfig(cluster={"proxy-url": "socks5://u:s3cret@p:1"}),
        "clusters[0].cluster.proxy-url: socks5 proxies are not supported; use an http:// or https:// proxy",
    ),
    "proxy without a scheme": (
        kubeconfig(cluster={"proxy-url": "proxy:3128"}),
        "clusters[0].cluster.proxy-url: a proxy URL begins with http:// or https://",
    ),
    "proxy without a host": (
        kubeconfig(cluster={"proxy-url": "http://:3128"}),
        "clusters[0].cluster.proxy-url: names no host",
    ),
    "proxy with a bad port": (
        kubeconfig(cluster={"proxy-url": "http://p:s3cret"}),
        "clusters[0].cluster.proxy-url: not a URL",
    ),
    "number for text": (
        kubeconfig(user={"token": 1234}),
        "users[0].user.token: expected text but found a number; put quotes around it",
    ),
    "date for text": (
        kubeconfig(user={"as": "x", "as-user-extra": {"k": ["y", 7]}}),
        "users[0].user.as-user-extra[...][1]: expected text but found a number; put quotes around it",
    ),
    "boolean for text": (
        kubeconfig(context={"namespace": True}),
        "contexts[0].context.namespace: expected text but found true or false; put quotes around it",
    ),
    "text for boolean": (
        kubeconfig(cluster={"insecure-skip-tls-verify": "true"}),
        "clusters[0].cluster.insecure-skip-tls-verify: expected true or false but found text",
    ),
    "mapping for a list": (
        kubeconfig(clusters={"east": {}}),
        "clusters: expected a list but found a mapping",
    ),
    "another kind": (
        {"apiVersion": "apps/v1", "kind": "Deployment"},
        "not a kubeconfig: it says kind Deployment, apiVersion apps/v1; expected kind Config, apiVersion v1",
    ),
}


@pytest.mark.parametrize(("content", "message"), FAULTS.values(), ids=FAULTS.keys())
def test_each_fault_names_file_and_field(tmp_path: Path, content: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "c", content)
    with pytest.raises(ConfigError) as caught:
        load_config(kubeconfig=path, environ={"PATH": "/nowhere"})
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("users:\n- user: {token: s3cret\n- x\n", "line 4, column 1: not valid YAML: did not find expected"),
        ("a: 2026-02-31", "not valid YAML (ValueError)"),
        ("- a list", "not a kubeconfig: expected a mapping with clusters, users and contexts"),
        ("a: \x01", "not valid YAML"),
        ("a: 1\n---\nb: 2", "line 2, column 1: not valid YAML"),
        ("a: !!python/object:os.system s3cret", "not valid YAML"),
        ("token: !s3cret", "line 1, column 8: not valid YAML: a tag, alias or"),
        ("token: *s3cret", "not valid YAML: a tag, alias or"),
        ("token: &s3cret [*s3cret]", "nested too deeply, or an alias that contains itself"),
    ],
)
def test_what_is_no_kubeconfig_at_all(tmp_path: Path, content: str, message: str) -> None:
    path = write(tmp_path / "c", content)
    with pytest.raises(ConfigError) as caught:
        load_config(kubeconfig=path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_an_explicit_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"^{tmp_path}/none: no such file"):
        load_config(kubeconfig=f"{tmp_path}/none", environ={})


def test_a_directory_is_no_kubeconfig(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"^{tmp_path}: cannot be read: Is a directory$"):
        load_config(environ={"KUBECONFIG": str(tmp_path)})


def test_an_unknown_context_is_named_with_those_there_are(tmp_path: Path) -> None:
    path = write(tmp_path / "c", kubeconfig())
    with pytest.raises(ConfigError) as caught:
        load_config(kubeconfig=path, context="prod")
    assert str(caught.value) == f'{path}: no context named "prod"; known: dev'
    with pytest.raises(ConfigError) as caught:
        load_config(context="prod", environ={"HOME": "/nowhere"})
    assert str(caught.value) == 'no context named "prod": /nowhere/.kube/config does not exist'


class TestNothingFound:
    def message(self, environ: Mapping[str, str], directory: str = "/nowhere") -> str:
        with pytest.raises(ConfigError) as caught:
            load_config(environ=environ, service_account_directory=directory)
        return str(caught.value)

    def test_outside_of_a_cluster(self) -> None:
        assert self.message({"HOME": "/nowhere"}) == (
            "no Kubernetes cluster is configured: KUBECONFIG is not set; /nowhere/.kube/config does not exist;"
            " this is not a pod (KUBERNETES_SERVICE_HOST is not set). Name a kubeconfig file with --kubeconfig"
            " or KUBECONFIG, or run in a pod that has a service account"
        )

    def test_files_of_the_variable(self, tmp_path: Path) -> None:
        empty = write(tmp_path / "empty", "")
        message = self.message({"KUBECONFIG": f"/nowhere/a:{empty}"})
        assert f"/nowhere/a does not exist; {empty} holds no contexts; this is not a pod" in message
        assert "KUBECONFIG is not set" not in message

    def test_in_a_pod_without_a_token(self, tmp_path: Path) -> None:
        directory, environ = pod(tmp_path)
        os.unlink(f"{directory}/token")
        message = self.message(environ, directory)
        assert f"no service account token ({directory}/token does not exist; is automount" in message

    def test_an_explicit_file_without_contexts_never_means_the_pod(self, tmp_path: Path) -> None:
        directory, environ = pod(tmp_path)
        empty = write(tmp_path / "empty", "")
        with pytest.raises(ConfigError, match=f"configured: {empty} holds no contexts"):
            load_config(kubeconfig=empty, environ=environ, service_account_directory=directory)


def test_a_pod_with_a_port_that_is_none(tmp_path: Path) -> None:
    directory, environ = pod(tmp_path, KUBERNETES_SERVICE_PORT="https")
    with pytest.raises(ConfigError, match='KUBERNETES_SERVICE_PORT: "https" is not a port'):
        load_config(environ=environ, service_account_directory=directory)


def test_a_pod_without_its_authority(tmp_path: Path) -> None:
    directory, environ = pod(tmp_path)
    with pytest.raises(
        ConfigError, match=rf"^certificate authority of the service account: cannot read {directory}/ca\.crt"
    ):
        load_config(environ=environ, service_account_directory=directory)


@pytest.mark.parametrize(
    "user",
    [
        {"token": "s3cret"},
        {"username": "u", "password": "s3cret"},
        {"exec": {**EXEC, "env": [{"name": "A", "value": "s3cret"}]}},
    ],
)
def test_no_repr_shows_credentials(tmp_path: Path, user: dict[str, Any]) -> None:
    cluster = {"proxy-url": "http://u:s3cret@proxy:1"}
    config = load_config(kubeconfig=write(tmp_path / "c", kubeconfig(cluster=cluster, user=user)))
    assert "s3cret" not in repr(config)
    assert "s3cret" not in repr(config.credentials)
