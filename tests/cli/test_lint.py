"""`reroll lint` as a command: what it prints, and its exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.cli.command import reroll

lint = partial(reroll, "lint")

BAD = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  annotations:
    reroll.dev/atuo: "true"
spec:
  template:
    spec:
      containers: [{name: main}]
"""
WARNING = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {password: hunter22}}\n"
CLEAN = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {level: info}}\n"


@pytest.mark.parametrize(
    ("text", "arguments", "code"),
    [
        (CLEAN, (), 0),
        (BAD, (), 1),
        (WARNING, (), 1),
        (WARNING, ("--fail-on", "error"), 0),
        (WARNING, ("--ignore", "R402"), 0),
        (WARNING, ("--select", "R1,R6"), 0),
        (BAD, ("--fail-on", "error"), 1),
        ("a: [\n", (), 1),
        ("", (), 0),
    ],
)
def test_exit_codes(text: str, arguments: tuple[str, ...], code: int) -> None:
    done = lint("-", *arguments, stdin=text)
    assert done.returncode == code, done.stdout + done.stderr
    assert "hunter22" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_in_each_form() -> None:
    assert "standard input:6:5: error R604" in lint(stdin=BAD).stdout
    assert json.loads(lint("-o", "json", stdin=BAD).stdout)["summary"]["error"] == 1
    assert json.loads(lint("-o", "sarif", stdin=BAD).stdout)["version"] == "2.1.0"
    assert "rule: R604" in lint("-o", "yaml", stdin=BAD).stdout
    assert "<testsuites" in lint("-o", "junit", stdin=BAD).stdout


def test_fix_mends_the_file(tmp_path: Path) -> None:
    file = tmp_path / "web.yaml"
    file.write_text(BAD)
    done = lint("--fix", str(file))
    assert (done.returncode, done.stdout) == (0, "Nothing found in 1 document.\n")
    assert "mended" in done.stderr
    assert file.read_text() == BAD.replace("atuo", "auto")


def test_against(tmp_path: Path) -> None:
    text = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, immutable: true, data: {level: info}}\n"
    before, after = tmp_path / "before.yaml", tmp_path / "after.yaml"
    before.write_text(text)
    after.write_text(text.replace("info", "debug"))
    assert lint(str(after)).returncode == 0
    done = lint(str(after), "--against", str(before))
    assert done.returncode == 1
    assert f"immutable in {before}" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("/nowhere.yaml",), "/nowhere.yaml"),
        (("--fix", "-"), "standard input can't be written"),
        (("--select", "R999"), "no rule R999"),
        (("--ignore", "X"), "no rule X"),
        (("--explain", "R999"), "no rule R999"),
        (("--frobnicate",), "--frobnicate"),
        (("-o", "xml"), "xml"),
        (("--fail-on", "never"), "never"),
        (("--lookup", "--kubeconfig", "/nowhere"), "/nowhere"),
        (("--against", "/nowhere"), "/nowhere"),
    ],
)
def test_what_is_not_understood_exits_with_2(arguments: tuple[str, ...], message: str) -> None:
    done = lint(*arguments, stdin=CLEAN)
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_rules_and_explain() -> None:
    done = lint("--rules")
    assert done.returncode == 0
    assert "R101  error" in done.stdout
    done = lint("--explain", "r604")
    assert done.returncode == 0
    assert done.stdout.startswith("R604 unknown-annotation (error)\n")


def test_help_has_examples_and_exit_codes() -> None:
    done = lint("--help")
    assert done.returncode == 0
    assert "Example: reroll lint deploy/" in done.stdout
    assert "Exit codes" in done.stdout


LOOKED_UP = """\
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  containers:
    - name: main
      env:
        - {name: A, valueFrom: {configMapKeyRef: {name: there, key: level}}}
        - {name: B, valueFrom: {configMapKeyRef: {name: there, key: levle}}}
        - {name: C, valueFrom: {secretKeyRef: {name: there, key: level}}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: fixed}, immutable: true, data: {level: debug}}
---
{apiVersion: v1, kind: Secret, metadata: {name: same}, immutable: true, stringData: {level: info}}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: follower
  namespace: default
  annotations:
    reroll.dev/follow: "there, configmap/same, configmap/shop/shared, configmap/shop/private, configmap/no-*"
spec: {template: {spec: {containers: [{name: main}]}}}
"""


def test_lookup(tmp_path: Path) -> None:
    """On the sandbox: what is not in the manifests and is in the cluster, or is there in other content."""
    kubeconfig, manifests = tmp_path / "kubeconfig", tmp_path / "there.yaml"
    manifests.write_text(
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: there, namespace: default}, data: {level: info}}\n---\n"
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: fixed, namespace: default}, immutable: true, "
        "data: {level: info}}\n---\n"
        "{apiVersion: v1, kind: Secret, metadata: {name: same, namespace: default}, immutable: true, "
        "data: {level: aW5mbw==}}\n---\n"
        "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}\n---\n"
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: shared, namespace: shop, annotations: "
        "{reroll.dev/share-with: default}}}\n---\n"
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: private, namespace: shop}}\n"
    )
    command = [sys.executable, "-m", "reroll", "sandbox", "--load", str(manifests), "-o", "json"]
    with subprocess.Popen(
        [*command, "--kubeconfig", str(kubeconfig)], stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline().startswith("{")
            stays = tmp_path / "stays"
            stays.write_bytes(kubeconfig.read_bytes())
            look = ("--lookup", "--kubeconfig", str(kubeconfig), "-n", "default", "-o", "json")
            done = lint("-", *look, stdin=LOOKED_UP)
            elsewhere = lint("-", *look[:4], "shop", "-o", "json", stdin=LOOKED_UP)
        finally:
            server.terminate()
    assert done.returncode == 1, done.stderr
    findings = json.loads(done.stdout)["findings"]
    found = [(one["rule"], one["line"]) for one in findings]
    assert found == [("R103", 9), ("R101", 10), ("R301", 12), ("R611", 22), ("R612", 22)]
    assert "configmap/same, which names nothing in the cluster or the input" in findings[3]["message"]
    assert "configmap/shop/private, whose reroll.dev/share-with" in findings[4]["message"]
    rules = [one["rule"] for one in json.loads(elsewhere.stdout)["findings"]]
    assert rules == ["R101", "R101", "R101", "R611", "R612"]
    gone = lint("-", "--lookup", "--kubeconfig", str(stays), stdin=LOOKED_UP)
    assert gone.returncode == 1, gone.stderr
    assert "Traceback" not in gone.stderr
