"""`reroll stamp` as an exec function of the real kustomize, and as a pre-commit hook is run."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.manifests.programs import run

pytestmark = pytest.mark.slow


ROOT = Path(__file__).resolve().parents[2]
BIN = str(Path(sys.executable).parent)
PATH = f"{BIN}:{os.environ['PATH']}"

FILES = {
    "kustomization.yaml": """\
resources: [web.yaml]
namePrefix: prod-
configMapGenerator:
- name: app
  literals: [LEVEL=%s, UNUSED=%s]
generatorOptions: {disableNameSuffixHash: true}
transformers: [stamp.yaml]
""",
    "web.yaml": """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: web:1
        env: [{name: LEVEL, valueFrom: {configMapKeyRef: {name: app, key: LEVEL}}}]
""",
    "stamp.yaml": """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: stamp
  annotations:
    config.kubernetes.io/function: |
      exec:
        path: %s
        args: [stamp]
data:
  annotation: %s
  missing: fail
""",
}


def build(folder: Path, level: str, unused: str, annotation: str = "checksum/config", ok: bool = True) -> Any:
    (folder / "kustomization.yaml").write_text(FILES["kustomization.yaml"] % (level, unused))
    (folder / "web.yaml").write_text(FILES["web.yaml"])
    (folder / "stamp.yaml").write_text(FILES["stamp.yaml"] % (f"{BIN}/reroll", annotation))
    return run("kustomize", "build", "--enable-alpha-plugins", "--enable-exec", folder, ok=ok, PATH=PATH)


def annotated(folder: Path, level: str, unused: str, annotation: str = "checksum/config") -> dict[str, str]:
    for one in yaml.safe_load_all(build(folder, level, unused, annotation).stdout):
        if one["kind"] == "Deployment":
            found: dict[str, str] = one["spec"]["template"]["metadata"]["annotations"]
            return found
    raise AssertionError("no Deployment")


def test_it_is_a_function_of_kustomize(tmp_path: Path) -> None:
    before = annotated(tmp_path, "info", "x")
    assert before.keys() == {"checksum/config"}
    assert annotated(tmp_path, "info", "y") == before
    assert annotated(tmp_path, "debug", "x") != before
    assert annotated(tmp_path, "info", "x", "example.com/config").keys() == {"example.com/config"}


def test_an_error_stops_kustomize(tmp_path: Path) -> None:
    done = build(tmp_path, "info", "x", "not/an/annotation", ok=False)
    assert done.returncode != 0
    assert "no name of an annotation" in done.stderr.decode()
    assert done.stdout == b""


def test_the_hook_changes_files_once(tmp_path: Path) -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    (tmp_path / "web.yaml").write_text(FILES["web.yaml"])
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "app"}, "data": {"LEVEL": "info"}}
    (tmp_path / "app.yaml").write_text(yaml.safe_dump(config))
    texts: list[str] = []
    for _ in range(2):
        command = [*shlex.split(hook["entry"]), str(tmp_path)]
        subprocess.run(command, check=True, env={**os.environ, "PATH": PATH}, timeout=60)
        texts.append((tmp_path / "web.yaml").read_text())
    assert texts[0] != FILES["web.yaml"]
    assert texts[0] == texts[1]
