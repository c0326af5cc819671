"""`reroll stamp --lookup` against the real API server."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.cli.command import reroll
from tests.conftest import Cluster, Kubectl

WEB = """\
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
          valueFrom: {configMapKeyRef: {name: app, key: level}}
        - name: PASSWORD
          valueFrom: {secretKeyRef: {name: db, key: password}}
"""


def stamped(cluster: Cluster, namespace: str, *arguments: str, context: str = "admin") -> Any:
    where = ("--kubeconfig", str(cluster.kubeconfig), "--context", context, "-n", namespace)
    return reroll("stamp", "--lookup", *where, *arguments, "-", stdin=WEB)


def checksum(done: Any) -> str:
    assert done.returncode == 0, done.stderr
    found: str = yaml.safe_load(done.stdout)["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
    return found


@pytest.fixture
def contexts(cluster: Cluster) -> None:
    if not cluster.tokens:
        pytest.skip("needs the contexts of our own control plane")


def test_what_the_stream_has_not_is_looked_up_key_by_key(
    contexts: None, cluster: Cluster, kubectl: Kubectl, namespace: str
) -> None:
    own = ("-n", namespace)
    kubectl("create", "configmap", "app", "--from-literal=level=info", "--from-literal=other=1", *own)
    kubectl("create", "secret", "generic", "db", "--from-literal=password=confidential-1", *own)
    first = stamped(cluster, namespace)
    kubectl("patch", "configmap", "app", "--patch", '{"data":{"other":"2"}}', *own)
    assert checksum(stamped(cluster, namespace)) == checksum(first)
    kubectl("patch", "secret", "db", "--patch", '{"stringData":{"password":"confidential-2"}}', *own)
    last = stamped(cluster, namespace)
    assert checksum(last) != checksum(first)
    assert "confidential" not in first.stdout + first.stderr + last.stdout + last.stderr


@pytest.mark.parametrize(("missing", "code"), [("fail", 2), ("warn", 0), ("ignore", 0)])
def test_what_is_nowhere(
    contexts: None, cluster: Cluster, kubectl: Kubectl, namespace: str, missing: str, code: int
) -> None:
    kubectl("create", "configmap", "app", "--from-literal=level=info", "-n", namespace)
    done = stamped(cluster, namespace, "--missing", missing)
    assert done.returncode == code, done.stderr
    assert ("secret/db" in done.stderr) is (missing != "ignore")
    assert bool(done.stdout) is (code == 0)


def test_what_may_not_be_read(contexts: None, cluster: Cluster, namespace: str) -> None:
    done = stamped(cluster, namespace, context="nobody")
    assert done.returncode == 1
    assert not done.stdout
    assert "Traceback" not in done.stderr
    assert "app" in done.stderr or "db" in done.stderr
