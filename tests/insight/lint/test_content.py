"""R3xx, R4xx and R7xx: what is in config objects, and how they are named."""

from __future__ import annotations

import base64
import string
import subprocess
from pathlib import Path
from typing import Any

import pytest

from reroll.insight.lint.before import content_digest, remember, remember_git
from reroll.insight.lint.formats import as_json, as_sarif
from reroll.insight.lint.run import Input, lint
from reroll.insight.lint.world import World
from tests.insight.lint.stage import config, deployment, documents, env, findings, report, rules

LETTERS = (string.ascii_letters + string.digits) * 3
TOKENS = {
    "aws": "AKIA" + LETTERS[26:36].upper() + "ABCDEF",
    "aws-temporary": "ASIA" + LETTERS[26:36].upper() + "ABCDEF",
    "github": "ghp_" + LETTERS[:36],
    "github-fine": "github_pat_" + LETTERS[:50],
    "gitlab": "glpat-" + LETTERS[:20],
    "slack": "xoxb-" + LETTERS[:24],
    "google": "AIza" + LETTERS[:35],
    "stripe": "sk_live_" + LETTERS[:24],
    "npm": "npm_" + LETTERS[:36],
    "jwt": ".".join(["eyJ" + LETTERS[:12], "eyJ" + LETTERS[:20], LETTERS[:20]]),
}
"""Made here, of the form of real ones, so that none of them stands in this file."""


@pytest.mark.parametrize("what", TOKENS)
@pytest.mark.parametrize("form", ["{}", "token={}\nmore", 'auth: "{}"'])
def test_a_token_in_a_config_map_is_found(what: str, form: str) -> None:
    target = config("app", data={"settings": form.format(TOKENS[what])})
    assert rules(target) == ["R403"]
    done = report(target)
    assert TOKENS[what] not in as_json(done) + as_sarif(done) + str(done.findings)


@pytest.mark.parametrize("what", TOKENS)
def test_tokens_in_secrets_are_where_they_belong(what: str) -> None:
    assert rules(config("app", "Secret", stringData={"token": TOKENS[what]})) == []


@pytest.mark.parametrize("sort", ["", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED ", "DSA "])
def test_private_keys(sort: str) -> None:
    text = f"-----BEGIN {sort}PRIVATE KEY-----\nMIIabcdef\n-----END {sort}PRIVATE KEY-----\n"
    assert rules(config("app", data={"tls.key": text})) == ["R401"]
    assert "MIIabcdef" not in str(findings(config("app", data={"tls.key": text})))


@pytest.mark.parametrize("sort", ["CERTIFICATE", "PUBLIC KEY", "RSA PUBLIC KEY"])
def test_what_is_public(sort: str) -> None:
    assert rules(config("app", data={"ca.crt": f"-----BEGIN {sort}-----\nMII\n-----END {sort}-----\n"})) == []


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "PASSWORD",
        "db.password",
        "DB_PASSWORD",
        "db-passwd",
        "passphrase",
        "client_secret",
        "api-key",
        "API_KEY",
        "apikey",
        "aws_secret_access_key",
        "auth-token",
        "ACCESS_TOKEN",
        "private-key",
    ],
)
def test_named_like_a_password(key: str) -> None:
    (found,) = findings(config("app", data={key: "hunter22"}))
    assert (found.rule, found.path) == ("R402", f"data.{key}" if "." not in key else f"data['{key}']")
    assert "hunter22" not in str(found)


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "${DB_PASSWORD}",
        "$(DB_PASSWORD)",
        "<from vault>",
        "/run/secrets/db",
        "true",
        "xxxx",
        "****",
        "changeme",
    ],
)
def test_no_password(value: str) -> None:
    assert rules(config("app", data={"password": value})) == []


@pytest.mark.parametrize(
    "key",
    [
        "level",
        "password-policy",
        "token-url",
        "secret_name",
        "keyspace",
        "passwordless",
        "max-tokens",
        "author",
    ],
)
def test_other_names(key: str) -> None:
    assert rules(config("app", data={key: "hunter22"})) == []


# --- immutable -------------------------------------------------------------------------------------------


def edited(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    found = documents(after)
    world = World(found)
    remember(world, documents(before), "git HEAD")
    return [one.rule for one in lint(world, Input(found, {}, {}, [])).findings]


@pytest.mark.parametrize("kind", ["ConfigMap", "Secret"])
@pytest.mark.parametrize(
    ("was", "content", "expected"),
    [
        (True, "YQ==", []),
        (True, "Yg==", ["R301"]),
        (False, "Yg==", []),
    ],
)
def test_edited_in_place(kind: str, was: bool, content: str, expected: list[str]) -> None:
    before = config("app", kind, data={"k": "YQ=="}, immutable=was)
    assert edited(before, config("app", kind, data={"k": content}, immutable=True)) == expected
    assert edited(before, config("app", kind, data={"k": content})) == expected
    assert edited(before, config("app-2", kind, data={"k": content}, immutable=True)) == []


def test_the_content_counts_and_nothing_else() -> None:
    encoded = base64.b64encode(b"x").decode()
    assert content_digest(config("s", "Secret", data={"k": encoded})) == content_digest(
        config("s", "Secret", stringData={"k": "x"}, annotations={"a": "b"})
    )
    assert content_digest(config("s", data={"k": "x"})) != content_digest(
        config("s", binaryData={"k": encoded})
    )
    assert content_digest(config("s", data={"k": 1, 2: None})) != content_digest(config("s"))


def test_git(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"

    def git(*words: str) -> None:
        name = ("-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *name, "-C", str(tmp_path), *words], check=True, capture_output=True)

    git("init", "-q")
    file.write_text(
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: app}, immutable: true, data: {a: x}}\n"
    )
    git("add", "a.yaml")
    git("commit", "-qm", "one")
    file.write_text(file.read_text().replace("a: x", "a: y"))
    found = documents(file.read_text())
    world = World(found)
    remember_git(world, [file, tmp_path / "never-there.yaml"])
    (one,) = lint(world, Input(found, {}, {}, [])).findings
    assert one.rule == "R301"
    assert "immutable in git HEAD" in one.message


# --- generators ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["configMapGenerator", "secretGenerator"])
@pytest.mark.parametrize(
    "header", [{}, {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}]
)
def test_hash_disabled(field: str, header: dict[str, Any]) -> None:
    for value, expected in ((True, ["R701"]), (False, [])):
        one = {**header, field: [{"name": "a", "options": {"disableNameSuffixHash": value}}]}
        assert rules(one, origin="base/kustomization.yaml") == expected
        every = {**header, "generatorOptions": {"disableNameSuffixHash": value}}
        assert rules(every, origin="base/kustomization.yml") == expected


@pytest.mark.parametrize(
    ("key", "value", "name", "expected"),
    [
        ("kustomize.config.k8s.io/needs-hash", "true", "app", ["R702"]),
        ("kustomize.config.k8s.io/needs-hash", "false", "app", []),
        ("internal.config.kubernetes.io/needsHashSuffix", "enabled", "app", ["R702"]),
        ("kustomize.config.k8s.io/needs-hash", "true", "app-h29d89cmmt", []),
    ],
)
def test_unhashed(key: str, value: str, name: str, expected: list[str]) -> None:
    assert rules(config(name, annotations={key: value})) == expected


def test_a_reference_that_was_not_rewritten() -> None:
    hashed = config("app-h29d89cmmt", data={"level": "x"})
    assert rules(deployment(container=env("app")), hashed) == ["R703"]
    assert rules(deployment(container=env("app-h29d89cmmt")), hashed) == []
    assert rules(deployment(container=env("app")), hashed, config("app", data={"level": "x"})) == []
