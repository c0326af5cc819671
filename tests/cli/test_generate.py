"""`reroll generate` as a person and a pipeline meet it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.command import reroll, reroll_in
from tests.manifests.kustomizations import theirs, written

CONFIG = """\
# The shop's settings.
apiVersion: v1
kind: ConfigMap
metadata: {name: app}
data: {level: info}   # or debug
---
apiVersion: v1
kind: Secret
metadata: {name: pw}
stringData: {password: hunter2}
"""
WEB = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  template:
    spec:
      containers:
      - name: main
        envFrom: [{configMapRef: {name: app}}, {secretRef: {name: pw}}]   # all of both
"""
STREAM = f"{CONFIG}---\n{WEB}"
KUSTOMIZATION: dict[str, str | bytes] = {
    "base/web.yaml": WEB,
    "base/kustomization.yaml": "resources: [web.yaml]\nconfigMapGenerator: [{name: app, literals: [level=info]}]\n",
    "prod/kustomization.yaml": """\
resources: [../base]
namespace: shop
configMapGenerator: [{name: app, behavior: merge, files: [logo.png]}]
secretGenerator: [{name: pw, envs: [pw.env], options: {immutable: true}}]
""",
    "prod/logo.png": bytes(range(256)),
    "prod/pw.env": "password=hunter2\n",
}


def hashed(text: str | bytes, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """`reroll generate --hash-names` as a filter."""
    stdin = text.encode() if isinstance(text, str) else text
    return reroll_in(os.environ, "generate", "--hash-names", *arguments, stdin=stdin)


def objects(text: str | bytes) -> dict[str, Any]:
    return {one["kind"]: one for one in yaml.safe_load_all(text) if one}


def names(text: str | bytes) -> dict[str, str]:
    return {kind: one["metadata"]["name"] for kind, one in objects(text).items()}


def named(text: str | bytes) -> list[str]:
    """What the Deployment reads."""
    container = objects(text)["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    return [ref["name"] for one in container["envFrom"] for ref in one.values()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return written(tmp_path / "deploy", {"config.yaml": CONFIG, "sub/web.yaml": WEB, "README.md": "{{"})


def test_a_kustomization_is_built_as_kustomize_builds_it(tmp_path: Path) -> None:
    overlay = written(tmp_path, KUSTOMIZATION) / "prod"
    done = reroll("generate", overlay)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == theirs(overlay)
    assert reroll("generate", cwd=overlay).stdout == done.stdout
    assert "immutable: true" in done.stdout


def test_names_of_a_stream() -> None:
    done = hashed(STREAM.replace("\n", "\r\n"))
    assert (done.returncode, done.stderr) == (0, b"")
    new = names(done.stdout)
    assert named(done.stdout) == [new["ConfigMap"], new["Secret"]]
    assert new["ConfigMap"].startswith("app-")
    text = done.stdout.decode()
    assert text.startswith("# The shop's settings.\r\n")
    assert "data: {level: info}   # or debug\r\n" in text
    assert "}]   # all of both\r\n" in text
    assert hashed(done.stdout).stdout == done.stdout
    assert hashed(STREAM, "-").stdout == done.stdout.replace(b"\r", b"")


def test_names_of_a_folder(folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*.*")}
    done = reroll("generate", "--hash-names", folder)
    assert done.returncode == 0
    assert done.stdout == hashed(STREAM).stdout.decode()
    assert {path: path.read_bytes() for path in folder.rglob("*.*")} == before


def test_files_are_written_in_their_place(folder: Path) -> None:
    run = ("generate", "--hash-names")
    config, web = folder / "config.yaml", folder / "sub" / "web.yaml"
    done = reroll(*run, "--check", folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{config}:3: configmap/app becomes app-" in done.stderr
    assert (config.read_text(), web.read_text()) == (CONFIG, WEB)
    done = reroll(*run, "--in-place", folder)
    assert (done.returncode, done.stdout) == (0, "")
    assert named(web.read_text()) == [
        name for kind, name in names(config.read_text()).items() if kind != "Deployment"
    ]
    assert reroll(*run, "--check", folder).returncode == 0
    again = {path: path.read_bytes() for path in (config, web)}
    assert reroll(*run, "--in-place", folder).stderr == ""
    assert {path: path.read_bytes() for path in (config, web)} == again
    config.write_text(config.read_text().replace("info", "debug"))
    done = reroll(*run, "--in-place", folder)
    assert done.stderr.count("becomes") == 1
    assert named(web.read_text())[0] == names(config.read_text())["ConfigMap"]
    assert objects(config.read_text())["ConfigMap"]["metadata"]["annotations"] == {
        "reroll-generate/base-name": "app"
    }


def test_what_is_to_keep_its_name() -> None:
    done = hashed(STREAM, "--leave", "configmap/app", "--no-mark", "--keep", "helm")
    assert named(done.stdout)[0] == "app"
    secret = objects(done.stdout)["Secret"]["metadata"]
    assert secret == {"name": named(done.stdout)[1], "annotations": {"helm.sh/resource-policy": "keep"}}
    spare = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: spare}\ndata: {a: b}\n"
    done = hashed(spare)
    assert done.stdout.decode() == spare
    assert b"nothing here names configmap/spare, so it keeps its name" in done.stderr
    done = hashed(spare, "--all")
    assert (names(done.stdout)["ConfigMap"][:6], done.stderr) == ("spare-", b"")


def test_the_digest_of_something_external_is_given() -> None:
    done = hashed(WEB, "--external", "secret/pw=2026-11-23", "--external", "secret/other=1")
    template = objects(done.stdout)["Deployment"]["spec"]["template"]
    assert template["metadata"]["annotations"] == {"checksum/secret-pw": "2026-11-23"}
    assert named(done.stdout) == ["app", "pw"]
    assert b"no workload here reads secret/other, which --external names" in done.stderr
    assert b"no workload here reads secret/pw" not in done.stderr


def test_custom_kinds_are_told_by_a_configuration(tmp_path: Path) -> None:
    configuration = tmp_path / "names.yaml"
    configuration.write_text(
        "nameReference:\n- kind: Secret\n  version: v1\n"
        "  fieldSpecs: [{group: db.example.com, kind: Database, path: spec/auth/secretName}]\n"
    )
    database = "apiVersion: db.example.com/v1\nkind: Database\nmetadata: {name: d}\n"
    database += "spec: {auth: {secretName: pw}, size: 3}\n"
    done = hashed(f"{CONFIG}---\n{database}", "--configuration", str(configuration))
    assert objects(done.stdout)["Database"]["spec"]["auth"]["secretName"] == names(done.stdout)["Secret"]
    assert names(done.stdout)["ConfigMap"] == "app"  # nothing names it
    assert names(hashed(f"{CONFIG}---\n{database}").stdout)["Secret"] == "pw"


def test_a_custom_kind_with_a_pod_template() -> None:
    clone = WEB.replace("apps/v1", "apps.kruise.io/v1alpha1").replace("Deployment", "CloneSet")
    assert names(hashed(f"{CONFIG}---\n{clone}").stdout)["ConfigMap"] == "app"
    done = hashed(f"{CONFIG}---\n{clone}", "--kind", "CloneSet.apps.kruise.io")
    assert named(done.stdout.replace(b"CloneSet", b"Deployment"))[0] == names(done.stdout)["ConfigMap"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (STREAM + "---\na: [\n", ":23:1: is not valid YAML"),
        (STREAM + "---\na: {{ .Values.x }}\n", ":22:4: this is a template"),
        (STREAM.encode() + b"---\na: \xff\n", ":22:4: is not UTF-8"),
        (STREAM + "---\na: 1\na: 2\n", ":23:1: has the key a twice"),
        (STREAM.replace("level: info", "level: 1"), ":5:8: configmap/app: data.level has to be text"),
        (STREAM.replace("stringData", "data"), ":10:8: secret/pw: data.password is not base64"),
    ],
)
def test_nothing_is_written_of_bad_input(text: str | bytes, message: str, folder: Path) -> None:
    done = hashed(text)
    assert (done.returncode, done.stdout) == (2, b"")
    assert f"standard input{message}" in done.stderr.decode()
    assert b"hunter2" not in done.stderr
    bad = folder / "bad.yaml"
    bad.write_bytes(text if isinstance(text, bytes) else text.encode())
    (folder / "config.yaml").unlink()
    before = {path: path.read_bytes() for path in folder.rglob("*.*")}
    in_place = reroll("generate", "--hash-names", "--in-place", folder)
    assert (in_place.returncode, in_place.stdout) == (2, "")
    assert f"{bad}{message}" in in_place.stderr
    assert {path: path.read_bytes() for path in folder.rglob("*.*")} == before


@pytest.mark.parametrize(
    ("kustomization", "message"),
    [
        (
            "resources: [web.yaml]\npatches: [{path: p.yaml}]\n",
            ":2:1: patches is what reroll generate does not do",
        ),
        ("resource: [web.yaml]\n", ":1:1: there is no field resource in a kustomization"),
        ("resources: [web.yaml\n", ":2:1: is not valid YAML"),
        ("resources: [nowhere.yaml]\n", "nowhere.yaml: cannot be read: No such file"),
        ("resources: [chart.yaml]\n", "chart.yaml:3:18: this is a template"),
        (
            "secretGenerator: [{name: pw, literals: [hunter2]}]\n",
            "literals[0]: a literal is written KEY=VALUE",
        ),
        ("secretGenerator: [{name: pw, files: [a=b=hunter2]}]\n", "files[0]: neither a key nor a path"),
    ],
)
def test_what_is_wrong_with_a_kustomization(tmp_path: Path, kustomization: str, message: str) -> None:
    chart = WEB.replace("{name: web}", "{name: {{ .Release.Name }}}")
    files = {"kustomization.yaml": kustomization, "web.yaml": WEB, "chart.yaml": chart}
    done = reroll("generate", written(tmp_path, {**files}))
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert str(tmp_path) in done.stderr
    assert "hunter2" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("/nowhere",), "/nowhere is no folder with a kustomization.yaml; for plain manifests"),
        (("a", "b"), "one kustomization is built at a time"),
        (("--hash-name", "-"), "no option --hash-name"),
        (("--hash-names", "--prune"), "exclude each other"),
        (("--hash-names", "--in-place"), "--in-place needs files"),
        (("--hash-names", "--in-place", "-"), "--in-place needs files"),
        (("--hash-names", "/nowhere.yaml"), "/nowhere.yaml: cannot be read: No such file"),
        (("--hash-names", "--leave", "app"), "--leave app: write KIND/NAME"),
        (("--hash-names", "--external", "secret/db"), "write KIND/NAME=DIGEST or KIND/NAME=lookup"),
        (("--hash-names", "--external", "secret/db=1", "--key-file", "/nowhere"), "/nowhere: No such file"),
        (("--hash-names", "--configuration", "/nowhere"), "/nowhere: cannot be read: No such file"),
        (("--hash-names", "--kind", "x"), "write KIND.GROUP"),
        (("--hash-names", "--keep", "rancher"), "rancher"),
        (("--hash-names", "-n", "a", "-n", "b"), "--namespace is given once"),
        (("--in-place", "."), "--in-place goes with --hash-names only"),
        (("--yes",), "--yes goes with --prune only"),
        (("--output", "json"), "--output goes with --prune only"),
        (("-n", "shop"), "write it in the kustomization"),
        (("--prune", "."), "--prune looks at the cluster, and not at ."),
        (("--prune", "--min-age", "soon"), "--min-age soon: "),
        (("--prune", "--name-base", "app"), "--name-base app: write KIND/NAME"),
        (("--prune", "-n", "a", "-A"), "exclude each other"),
        (("--prune",), "kubeconfig"),
    ],
)
def test_what_is_not_understood_exits_with_2(
    arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    config.write_text(
        "{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c, user: u}}],"
        " clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}], users: [{name: u, user: {}}]}"
    )
    known = "/nowhere/kubeconfig" if arguments == ("--prune",) else str(config)
    done = reroll("generate", *arguments, KUBECONFIG=known)
    assert done.returncode == 2
    assert message in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_a_folder_without_a_kustomization(folder: Path) -> None:
    done = reroll("generate", cwd=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no kustomization.yaml in it; for plain manifests there is --hash-names" in done.stderr


def test_a_pipe_that_is_closed_is_no_crash() -> None:
    # More than a pipe holds, 64 KiB. Unbuffered, Python drops what is left of the one write that fails.
    many = "---\n".join(STREAM.replace("name: app", f"name: app{n}") for n in range(300))
    many = many.replace("{name: pw}", "{name: pw, annotations: {}}")
    command = f"{sys.executable} -m reroll generate --hash-names --leave secret/pw; echo $? >&2"
    process = subprocess.Popen(
        ["sh", "-c", f"( {command} ) | head -c 10 > /dev/null"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": ""},
    )
    _, errors = process.communicate(many.encode(), timeout=100)
    assert errors.decode().strip() == "141"
