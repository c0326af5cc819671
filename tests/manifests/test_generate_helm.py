"""`reroll generate --hash-names` as a post-renderer of the real Helm 3 and Helm 4, on a real cluster."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.conftest import Cluster, Kubectl
from tests.manifests.kustomizations import written
from tests.manifests.programs import run

RENDERER = Path(sys.executable).parent / "reroll"
ARGUMENTS = ("generate", "--hash-names", "--keep", "helm")
CHART: dict[str, str | bytes] = {
    "Chart.yaml": "apiVersion: v2\nname: shop\nversion: 0.1.0\n",
    "values.yaml": "level: info\n",
    "templates/all.yaml": """\
apiVersion: v1
kind: ConfigMap
metadata: {name: app}
data: {level: {{ .Values.level }}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: main, image: registry.invalid/web, envFrom: [{configMapRef: {name: app}}]}]
""",
}
PLUGIN = f"""\
apiVersion: v1
type: postrenderer/v1
name: reroll-generate
version: 0.1.0
runtime: subprocess
runtimeConfig:
  platformCommand:
    - command: {RENDERER}
      args: [{", ".join(ARGUMENTS)}]
"""


@pytest.mark.parametrize("helm", ["helm3", "helm4"])
def test_former_generations_stay_for_rollbacks(
    helm: str, cluster: Cluster, kubectl: Kubectl, namespace: str, tmp_path: Path
) -> None:
    chart = written(tmp_path / "chart", CHART)
    environment = {
        "KUBECONFIG": str(cluster.kubeconfig),
        "HELM_DATA_HOME": str(tmp_path / "data"),
        "HELM_CACHE_HOME": str(tmp_path / "cache"),
        "HELM_CONFIG_HOME": str(tmp_path / "config"),
        "PATH": os.environ.get("PATH", ""),
    }

    def ran(*arguments: str | Path) -> None:
        run(helm, *arguments, input=b"", ok=True, **environment)

    rendering = ["--post-renderer", str(RENDERER)]
    for argument in ARGUMENTS:
        rendering += ["--post-renderer-args", argument]
    if helm == "helm4":
        plugin = written(tmp_path / "plugin", {"plugin.yaml": PLUGIN})
        ran("plugin", "install", plugin)
        rendering = ["--post-renderer", "reroll-generate"]

    def deploy(level: str, *arguments: str) -> str:
        values = ("--set", f"level={level}", "-n", namespace, "--wait", *arguments)
        ran("upgrade", "--install", "web", chart, *values, *rendering)
        return reads()

    def reads() -> str:
        return kubectl("-n", namespace, "get", "deploy/web", "-o", "jsonpath={..configMapRef.name}")

    def there() -> set[str]:
        names = kubectl("-n", namespace, "get", "configmap", "-o", "name").split()
        return {name.partition("/")[2] for name in names} - {"kube-root-ca.crt"}

    first, second = deploy("info"), deploy("debug")
    assert first != second
    assert there() == {first, second}
    kubectl("-n", namespace, "rollout", "undo", "deployment/web")
    kubectl("-n", namespace, "rollout", "status", "deployment/web", "--timeout=60s")
    assert reads() == first
    # Helm 4 applies on the server, and kubectl owns now what it rolled back.
    third = deploy("warn", *(["--force-conflicts"] if helm == "helm4" else []))
    assert deploy("info") == first
    ran("rollback", "web", "2", "-n", namespace, "--wait")
    assert reads() == second
    assert there() == {first, second, third}
