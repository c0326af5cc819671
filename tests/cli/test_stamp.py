"""`reroll stamp` as a person and a pipeline meet it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.cli.command import reroll, reroll_in

MANIFESTS = """\
# The shop.
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  template:
    spec:
      containers:
      - name: main
        envFrom: [{configMapRef: {name: app}}]   # all of it
---
apiVersion: v1
kind: ConfigMap
metadata: {name: app}
data: {a: "1"}
"""


def filtered(text: str | bytes, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return reroll_in(os.environ, "stamp", *arguments, stdin=text.encode() if isinstance(text, str) else text)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "web.yaml").write_text(MANIFESTS)
    return tmp_path


def test_it_is_a_filter() -> None:
    done = filtered(MANIFESTS.replace("\n", "\r\n"))
    assert done.returncode == 0
    assert done.stderr == b""
    lines = done.stdout.decode().split("\r\n")
    assert [line for line in lines if line not in MANIFESTS.split("\n")] == lines[10:13]
    assert lines[10:12] == ["    metadata:", "      annotations:"]
    assert lines[12].startswith("        checksum/config: ")


def test_files_are_written_in_their_place(folder: Path) -> None:
    file = folder / "web.yaml"
    file.chmod(0o640)
    assert reroll("stamp", "--check", str(folder)).returncode == 1
    assert file.read_text() == MANIFESTS
    done = reroll("stamp", "--in-place", str(folder))
    assert (done.returncode, done.stdout) == (0, "")
    assert f"{file}:3: deployment/web: checksum/config is new" in done.stderr
    assert "checksum/config" in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o640
    assert reroll("stamp", "--check", str(folder)).returncode == 0
    assert reroll("stamp", "--in-place", str(folder)).stderr == ""


def test_the_difference_is_told_without_what_stands_around_it(folder: Path) -> None:
    with (folder / "web.yaml").open("a") as file:
        file.write("---\napiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {p: hunter2}\n")
    done = reroll("stamp", "--diff", str(folder))
    assert done.returncode == 0
    added = [line for line in done.stdout.splitlines() if line.startswith("+") and not line.startswith("+++")]
    assert added[:2] == ["+    metadata:", "+      annotations:"]
    assert "hunter2" not in done.stdout
    assert reroll("stamp", "--diff", "--check", str(folder)).returncode == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MANIFESTS + "---\na: [\n", "standard input:18:1: is not valid YAML"),
        (MANIFESTS + "---\na: {{ .Values.x }}\n", "standard input:17:4: this is a template"),
        (MANIFESTS.encode() + b"---\na: \xff\n", "standard input:17:4: is not UTF-8"),
        (MANIFESTS.replace('"1"', "1"), "standard input:15:8: configmap/app: data.a has to be text"),
    ],
)
def test_nothing_is_written_of_bad_input(text: str | bytes, message: str, folder: Path) -> None:
    done = filtered(text)
    assert done.returncode == 2
    assert done.stdout == b""
    assert message in done.stderr.decode()
    bad = folder / "bad.yaml"
    bad.write_bytes(text if isinstance(text, bytes) else text.encode())
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert reroll("stamp", "--in-place", str(folder)).returncode == 2
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--in-place",), "--in-place needs files"),
        (("--in-place", "-"), "--in-place needs files"),
        (("--chek", "-"), "no option --chek"),
        (("--counter", "--per-object"), "exclude each other"),
        (("--annotation", "a/b/c"), "no name of an annotation"),
        (("--extra", "/nowhere"), "/nowhere: No such file"),
        (("--extra-env", "NOT_THERE"), "no such environment variable"),
        (("--key-file", "/nowhere"), "/nowhere: No such file"),
        (("--kind", "x"), "write KIND.GROUP"),
        (("/nowhere.yaml",), "/nowhere.yaml: cannot be read: No such file"),
        (("--missing", "perhaps"), "perhaps"),
    ],
)
def test_what_is_not_understood_exits_with_2(arguments: tuple[str, ...], message: str) -> None:
    done = filtered(MANIFESTS, *arguments)
    assert done.returncode == 2
    assert message in (done.stderr + done.stdout).decode()


def test_an_extra_file_changes_the_stamp_of_its_workload(tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    values.write_text("a: 1")
    outputs = [filtered(MANIFESTS).stdout, filtered(MANIFESTS, "--extra", str(values)).stdout]
    outputs.append(filtered(MANIFESTS, "--extra", f"deployment/web={values}").stdout)
    assert outputs[1] == outputs[2]
    assert filtered(MANIFESTS, "--extra", f"deployment/api={values}").stdout == outputs[0]
    values.write_text("a: 2")
    outputs.append(filtered(MANIFESTS, "--extra", str(values)).stdout)
    assert len(set(outputs)) == 3
    done = subprocess.run(
        [sys.executable, "-m", "reroll", "stamp", "--extra-env", "REGION"],
        input=MANIFESTS.encode(),
        capture_output=True,
        env={"REGION": "eu", "PATH": ""},
        timeout=60,
        check=True,
    )
    assert done.stdout not in outputs


def test_what_is_missing_is_told_on_standard_error() -> None:
    alone = MANIFESTS.partition("---")[0]
    done = filtered(alone)
    assert (done.returncode, done.stdout.decode()) == (0, alone)
    assert "configmap/app is not in the manifests" in done.stderr.decode()
    assert filtered(alone, "--missing", "ignore").stderr == b""
    done = filtered(alone, "--missing", "fail")
    assert (done.returncode, done.stdout) == (2, b"")


def test_a_pipe_that_is_closed_is_no_crash() -> None:
    # More than a pipe holds, 64 KiB. Unbuffered, Python drops what is left of the one write that fails.
    many = "---\n".join(MANIFESTS.replace("name: app", f"name: app{n}") for n in range(500))
    command = f"{sys.executable} -m reroll stamp --missing ignore; echo $? >&2"
    process = subprocess.Popen(
        ["sh", "-c", f"( {command} ) | head -c 10 > /dev/null"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": ""},
    )
    _, errors = process.communicate(many.encode(), timeout=100)
    assert errors.decode().strip() == "141"


# --- what the page proposes ------------------------------------------------------------------------------


def on_path(folder: Path, **scripts: str) -> dict[str, str]:
    """An environment in which these programs, and reroll, are found."""
    for name, script in {"reroll": f'exec "{sys.executable}" -m reroll "$@"', **scripts}.items():
        program = folder / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


@pytest.mark.parametrize(("helm", "code"), [("cat chart.yaml", 0), ("cat chart.yaml; exit 3", 3)])
def test_the_plugin_for_argo_cd(tmp_path: Path, helm: str, code: int) -> None:
    page = (Path(__file__).parents[2] / "docs" / "stamp.md").read_text()
    [plugin] = [
        found
        for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
        if (found := yaml.safe_load(block)).get("kind") == "ConfigManagementPlugin"
    ]
    (tmp_path / "chart.yaml").write_text(MANIFESTS)
    generate = plugin["spec"]["generate"]
    done = subprocess.run(
        [*generate["command"], *generate["args"]],
        cwd=tmp_path,
        env={
            **on_path(tmp_path, helm=helm),
            "ARGOCD_APP_NAME": "shop",
            "ARGOCD_APP_NAMESPACE": "shop",
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, done.stderr
    assert "checksum/config" in done.stdout


def test_the_hook_of_pre_commit(tmp_path: Path) -> None:
    [hook] = yaml.safe_load((Path(__file__).parents[2] / ".pre-commit-hooks.yaml").read_text())
    deploy = tmp_path / "deploy"
    deploy.mkdir()
    (deploy / "web.yaml").write_text(MANIFESTS)
    command = [*hook["entry"].split(), "deploy/"]
    subprocess.run(command, cwd=tmp_path, env=on_path(tmp_path), check=True)
    first = (deploy / "web.yaml").read_text()
    assert "checksum/config" in first
    subprocess.run(command, cwd=tmp_path, env=on_path(tmp_path), check=True)
    assert (deploy / "web.yaml").read_text() == first
