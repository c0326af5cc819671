"""`reroll generate` with a real cluster: what is looked up there, and former generations."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.command import reroll
from tests.conftest import Cluster, Kubectl

PASSWORD = "hunter2-hunter2"


class Shop:
    """A namespace that a pipeline deploys to."""

    def __init__(self, cluster: Cluster, kubectl: Kubectl, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self._kubectl = kubectl

    def kubectl(self, *arguments: str, input: str | None = None) -> str:
        return self._kubectl("-n", self.namespace, *arguments, input=input)

    def generate(
        self, *arguments: str, stdin: str = "", kubeconfig: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        where = ("-n", self.namespace, "--kubeconfig", str(kubeconfig or self.cluster.kubeconfig))
        return reroll("generate", *arguments, *where, stdin=stdin)

    def deploy(self, level: str) -> str:
        """A pipeline's run. Returns the name that the ConfigMap has."""
        written = self.generate("--hash-names", stdin=MANIFESTS.replace("LEVEL", level)).stdout
        self.kubectl("apply", "-f", "-", input=written)
        self.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        time.sleep(1.1 - time.time() % 1)  # creation times are whole seconds
        return str(next(yaml.safe_load_all(written))["metadata"]["name"])

    def reads(self) -> str:
        """The ConfigMap that the Deployment names."""
        return self.kubectl("get", "deployment/web", "-o", "jsonpath={..configMapRef.name}")

    def config_maps(self) -> set[str]:
        names = self.kubectl("get", "configmap", "-o", "name").split()
        return {name.partition("/")[2] for name in names} - {"kube-root-ca.crt"}

    def generations(self, *arguments: str) -> dict[str, dict[str, Any]]:
        done = self.generate("--prune", "--min-age", "0s", "-o", "json", *arguments)
        assert (done.returncode, done.stderr) == (0, "")
        return {one["name"]: one for one in json.loads(done.stdout)["generations"]}


MANIFESTS = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: app}
data: {level: LEVEL}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  revisionHistoryLimit: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: main
        image: registry.invalid/web:1
        envFrom: [{configMapRef: {name: app}}]
"""


@pytest.fixture
def shop(cluster: Cluster, kubectl: Kubectl, namespace: str) -> Shop:
    return Shop(cluster, kubectl, namespace)


def until(true: Callable[[], bool]) -> None:
    """Wait for what a controller of Kubernetes does."""
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.2)


def test_generations_that_nothing_names_are_deleted(shop: Shop) -> None:
    first, middle, last = shop.deploy("info"), shop.deploy("debug"), shop.deploy("warn")
    assert len({first, middle, last}) == 3
    until(lambda: len(shop.kubectl("get", "replicaset", "-o", "name").split()) == 2)

    found = shop.generations()
    assert {name: one["state"] for name, one in found.items()} == {
        first: "unused",
        middle: "named",
        last: "named",
    }
    assert [by.partition("/")[0] for by in found[middle]["named_by"]] == ["replicaset"]
    assert "deployment/web" in found[last]["named_by"]
    done = shop.generate("--prune")
    assert (done.returncode, done.stderr) == (0, "")
    assert "young" in done.stdout
    assert "could be deleted" not in done.stdout
    done = shop.generate("--prune", "--min-age", "0s")
    assert "1 could be deleted: --yes does it" in done.stdout
    assert shop.config_maps() == {first, middle, last}

    done = shop.generate("--prune", "--yes", "--min-age", "0s")
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 deleted" in done.stdout
    assert shop.config_maps() == {middle, last}

    # A rollback by anybody finds the content that was there then.
    shop.kubectl("rollout", "undo", "deployment/web")
    shop.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    assert shop.reads() == middle
    level = shop.kubectl("get", "configmap", middle, "-o", "jsonpath={.data.level}")
    assert level == "debug"
    assert {one["state"] for one in shop.generations("--yes").values()} == {"named"}


def test_in_each_form(shop: Shop) -> None:
    done = shop.generate("--prune")
    assert (done.returncode, done.stdout) == (0, "there are no generations\n")
    name = shop.deploy("info")
    as_json = json.loads(shop.generate("--prune", "-o", "json").stdout)
    assert yaml.safe_load(shop.generate("--prune", "-o", "yaml").stdout) == as_json
    (one,) = as_json["generations"]
    assert (one["kind"], one["namespace"], one["name"]) == ("ConfigMap", shop.namespace, name)
    assert (one["base"], one["state"], as_json["unreadable"]) == ("app", "named", [])
    table = shop.generate("--prune").stdout
    assert f"configmap/{name}" in table
    assert "named" in table


def test_what_kustomize_named_goes_when_it_is_asked_for(shop: Shop) -> None:
    old, new = "app-22222bbbbb", "app-44444ccccc"
    shop.kubectl("create", "configmap", old)
    time.sleep(1.1 - time.time() % 1)
    shop.kubectl("create", "configmap", new)
    assert shop.generations() == {}
    assert {name: one["state"] for name, one in shop.generations("--name-base", "cm/app").items()} == {
        old: "unused",
        new: "newest",
    }


def account(shop: Shop, folder: Path) -> Path:
    """A kubeconfig of somebody who may read what has pods, and delete."""
    shop.kubectl("create", "serviceaccount", "ci")
    resources = (
        "configmaps,secrets,pods,podtemplates,replicationcontrollers,serviceaccounts,replicasets.apps,"
        "controllerrevisions.apps,deployments.apps,statefulsets.apps,daemonsets.apps,jobs.batch,cronjobs.batch"
    )
    shop.kubectl("create", "role", "ci", "--verb=list,delete", f"--resource={resources}")
    shop.kubectl("create", "rolebinding", "ci", "--role=ci", f"--serviceaccount={shop.namespace}:ci")
    config = json.loads(shop.kubectl("config", "view", "--raw", "--flatten", "-o", "json"))
    token = shop.kubectl("create", "token", "ci").strip()
    config["users"] = [{"name": user["name"], "user": {"token": token}} for user in config["users"]]
    file = folder / "kubeconfig"
    file.write_text(json.dumps(config))
    return file


def test_nothing_is_deleted_while_something_could_not_be_read(shop: Shop, tmp_path: Path) -> None:
    first, second = shop.deploy("info"), shop.deploy("debug")
    shop.kubectl("delete", "deployment/web", "--cascade=foreground")
    kubeconfig = account(shop, tmp_path)
    listed = shop.generate("--prune", "--min-age", "0s", kubeconfig=kubeconfig)
    assert listed.returncode == 0
    assert "ingresses.networking.k8s.io can't be listed" in listed.stderr
    run = ("--prune", "--yes", "--min-age", "0s")
    done = shop.generate(*run, kubeconfig=kubeconfig)
    assert (done.returncode, done.stdout) == (1, "")
    assert "nothing was deleted" in done.stderr
    assert "--ignore-unreadable" in done.stderr
    assert shop.config_maps() == {first, second}
    done = shop.generate(*run, "--ignore-unreadable", kubeconfig=kubeconfig)
    assert done.returncode == 0
    assert shop.config_maps() == {second}


READER = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: api}
spec:
  template:
    spec:
      containers:
      - name: main
        env: [{name: PASSWORD, valueFrom: {secretKeyRef: {name: db, key: password}}}]
"""


def test_what_is_made_elsewhere_takes_part_by_its_digest(shop: Shop) -> None:
    run = ("--hash-names", "--external", "secret/db=lookup")
    missing = shop.generate(*run, stdin=READER)
    assert (missing.returncode, missing.stdout) == (2, "")
    assert "standard input:2:1: deployment/api: " in missing.stderr
    assert "secret/db is not in the cluster: wait until it was made, or give its digest" in missing.stderr

    shop.kubectl("create", "secret", "generic", "db", f"--from-literal=password={PASSWORD}")
    done = shop.generate(*run, stdin=READER)
    assert (done.returncode, done.stderr) == (0, "")
    (found,) = yaml.safe_load_all(done.stdout)
    digest = found["spec"]["template"]["metadata"]["annotations"]["checksum/secret-db"]
    assert PASSWORD not in done.stdout
    assert shop.generate(*run, stdin=done.stdout).stdout == done.stdout
    # Another key, which nothing reads, is no change; another password is one.
    shop.kubectl("patch", "secret/db", "-p", '{"stringData":{"other":"1"}}')
    assert shop.generate(*run, stdin=READER).stdout == done.stdout
    shop.kubectl("patch", "secret/db", "-p", '{"stringData":{"password":"changed"}}')
    changed = shop.generate(*run, stdin=READER).stdout
    assert changed != done.stdout
    assert changed.replace(digest, "") != done.stdout.replace(digest, "")


def test_a_cluster_that_does_not_answer(shop: Shop, tmp_path: Path) -> None:
    config = json.loads(shop.kubectl("config", "view", "--raw", "--flatten", "-o", "json"))
    for each in config["clusters"]:
        each["cluster"] = {"server": "http://127.0.0.1:1"}
    file = tmp_path / "kubeconfig"
    file.write_text(json.dumps(config))
    for arguments in (("--prune",), ("--hash-names", "--external", "secret/db=lookup")):
        done = shop.generate(*arguments, stdin=READER, kubeconfig=file)
        assert (done.returncode, done.stdout) == (1, "")
        assert "cannot reach http://127.0.0.1:1" in done.stderr
