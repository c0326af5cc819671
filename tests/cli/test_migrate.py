"""`reroll migrate` as a command: on manifests, what it writes, and on a real API server."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.command import reroll
from tests.conftest import Cluster, Kubectl

SHOP = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  annotations:
    reloader.stakater.com/auto: "true"
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata:
      labels: {app: web}
      annotations: {checksum/config: abc}
    spec:
      containers:
        - name: main # the only one
          image: web
          envFrom:
            - configMapRef: {name: app}
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    file = tmp_path / "shop.yaml"
    file.write_text(SHOP)
    return file


def test_the_report_for_people_and_for_programs(shop: Path) -> None:
    done = reroll("migrate", shop)
    assert done.returncode == 0, done.stderr
    assert f"deployment/web  {shop}:2" in done.stdout
    assert "today    Reloader: configmap/app" in done.stdout
    assert 'native   reroll.dev/auto: "true"' in done.stdout
    assert f"{shop}:2: warning M101 deployment/web: a change of configmap/app is two rollouts" in done.stdout
    assert (
        "1 workload in these manifests: 1 by Reloader, 1 by checksum. 1 finding (1 warning)." in done.stdout
    )
    assert "\x1b[" not in done.stdout
    found = json.loads(reroll("migrate", shop, "-o", "json").stdout)
    assert found == yaml.safe_load(reroll("migrate", shop, "-o", "yaml").stdout)
    (one,) = found["workloads"]
    assert [each["name"] for each in one["mechanisms"]] == ["Reloader", "checksum"]
    assert one["annotations"] == {"reroll.dev/auto": "true"}
    assert yaml.safe_load(one["snippet"]) == {"metadata": {"annotations": {"reroll.dev/auto": "true"}}}
    assert [each["id"] for each in found["findings"]] == ["M101"]


def test_from_standard_input_with_an_exit_code() -> None:
    assert reroll("migrate", "-", stdin=SHOP).returncode == 0
    assert reroll("migrate", "-", "--exit-code", stdin=SHOP).returncode == 1
    calm = SHOP.replace("checksum/config", "team")
    assert reroll("migrate", "-", "--exit-code", stdin=calm).returncode == 0


def test_with_reloaders_own_command_line(shop: Path) -> None:
    flags = "--auto-reload-all --namespaces-to-ignore=kube-system"
    shop.write_text(SHOP.replace("reloader.stakater.com/auto", "team"))
    (one,) = json.loads(reroll("migrate", shop, "-o", "json").stdout)["workloads"]
    assert [each["name"] for each in one["mechanisms"]] == ["checksum"]
    done = reroll("migrate", shop, "-o", "json", "--reloader-flags", flags)
    (one,) = json.loads(done.stdout)["workloads"]
    assert one["mechanisms"][0]["how"] == ["--auto-reload-all (--reloader-flags)"]
    flags = "--namespaces-to-ignore=bank"
    shop.write_text(SHOP)
    done = reroll("migrate", shop, "-n", "bank", "-o", "json", "--reloader-flags", flags)
    found = json.loads(done.stdout)
    assert [each["id"] for each in found["findings"]] == ["M209"]


def test_reloaders_flags_as_those_of_the_controller(shop: Path) -> None:
    flags = (
        "--auto-reload-all --namespaces-to-ignore=kube-system,bank --resource-label-selector=app=shop "
        "--reload-on-create=true --reload-on-delete=true --ignored-workload-types=jobs "
        "--resources-to-ignore=secrets --enable-ha --webhook-url=https://example.invalid/T0KEN"
    )
    (note,) = json.loads(reroll("migrate", shop, "-o", "json", "--reloader-flags", flags).stdout)["notes"]
    words = shlex.split(note.partition(": reroll ")[2])
    assert "T0KEN" not in note
    words[words.index("ADDRESS")] = "https://example.invalid/"
    with_help = reroll(*words, "--help")
    assert with_help.returncode == 0
    assert words == [
        *("controller", "--namespaces-to-ignore", "kube-system,bank", "--config-selector", "app=shop"),
        *("--auto-all", "--on-delete", "--leader-election", "--on-create", "always"),
        *("--config-kinds", "configmaps,secretproviderclasses"),
        *("--kinds", "deployments,statefulsets,daemonsets,cronjobs,rollouts,deploymentconfigs"),
        *("--webhook-url", "https://example.invalid/"),
    ]
    assert json.loads(reroll("migrate", shop, "-o", "json", "--reloader-flags=").stdout)["notes"] == []


def test_diff_and_check_write_nothing(shop: Path) -> None:
    done = reroll("migrate", shop, "--diff", "--remove-old")
    assert done.returncode == 0
    assert '-    reloader.stakater.com/auto: "true"\n+    reroll.dev/auto: "true"\n' in done.stdout
    done = reroll("migrate", shop, "--check")
    assert done.returncode == 1
    assert f"{shop}: would be migrated" in done.stderr
    assert reroll("migrate", shop, "--check", "--write").returncode == 1
    assert shop.read_text() == SHOP


def test_write_and_then_again(shop: Path) -> None:
    done = reroll("migrate", shop.parent, "--write")
    assert done.returncode == 0, done.stderr
    assert "1 file migrated" in done.stderr
    once = shop.read_text()
    added = '    reloader.stakater.com/auto: "true"\n'
    assert once == SHOP.replace(added, added + '    reroll.dev/auto: "true"\n')
    assert "0 files migrated" in reroll("migrate", shop, "--write").stderr
    assert reroll("migrate", shop, "--check").returncode == 0
    assert reroll("migrate", shop, "--check", "--remove-old").returncode == 1
    assert reroll("migrate", shop, "--write", "--remove-old").returncode == 0
    assert shop.read_text() == once.replace(added, "")
    assert reroll("migrate", shop, "--check", "--remove-old").returncode == 0


def test_what_is_kept_is_counted(shop: Path) -> None:
    shop.write_text(
        SHOP.replace('reloader.stakater.com/auto: "true"', 'configmap.reloader.stakater.com/reload: "[a-z]+"')
    )
    before = shop.read_text()
    done = reroll("migrate", shop, "--write", "--remove-old")
    assert done.returncode == 0
    assert "0 files migrated; workloads that keep annotations of others: 1" in done.stderr
    assert shop.read_text() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--write",), "need files or folders: a cluster is not written to"),
        (("-", "--write"), "standard input can't be written"),
        (("-", "--remove-old"), "--remove-old goes with --write, --check or --diff"),
        (("-", "--nonsense"), "there is no option --nonsense"),
        (("-", "-n", "a", "-n", "b"), "give one"),
        (("nowhere.yaml",), "nowhere.yaml"),
        (("-", "--reloader-flags", "--auto-reload-al"), "did you mean --auto-reload-all"),
        (("-n", "a", "-A"), "exclude each other"),
    ],
)
def test_what_is_not_understood(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(
        "{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c, user: u}}],"
        " clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}], users: [{name: u, user: {}}]}"
    )
    done = reroll("migrate", *arguments, stdin=SHOP, KUBECONFIG=str(file))
    assert done.returncode == 2, done.stdout
    assert message in done.stderr


def test_a_manifest_that_cant_be_parsed_does_not_hide_the_others(shop: Path) -> None:
    (shop.parent / "bad.yaml").write_text("a: [\n")
    chart = shop.parent / "chart"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("name: chart\n")
    (chart / "templates" / "web.yaml").write_text("{{ if true }}\n")
    done = reroll("migrate", shop.parent)
    assert done.returncode == 2
    assert "bad.yaml:2: " in done.stderr
    assert "today    Reloader: configmap/app" in done.stdout
    assert f"note: {chart} is the source of a chart" in done.stdout
    assert reroll("migrate", shop.parent, "--write").returncode == 2
    assert "reroll.dev/auto" in shop.read_text()
    assert (shop.parent / "bad.yaml").read_text() == "a: [\n"


# --- on a cluster ----------------------------------------------------------------------------------------


RELOADER = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: reloader-reloader
  labels: {app.kubernetes.io/name: reloader}
spec:
  selector: {matchLabels: {app: reloader}}
  template:
    metadata:
      labels: {app: reloader}
    spec:
      containers:
        - name: reloader
          image: ghcr.io/stakater/reloader:v1.4.21
          args: ["--auto-reload-all=true", "--resources-to-ignore=secrets", "--enable-ha", "--log-level=info"]
          env:
            - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
            - {name: KUBERNETES_NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: reroll
  labels: {app.kubernetes.io/name: reroll}
spec:
  selector: {matchLabels: {app: reroll}}
  template:
    metadata:
      labels: {app: reroll}
    spec:
      containers: [{name: reroll, image: reroll}]
"""

JOBS = """\
apiVersion: batch/v1
kind: CronJob
metadata:
  name: report
  annotations:
    configmap.reloader.stakater.com/reload: gone
spec:
  schedule: "0 0 * * *"
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers: [{name: main, image: x}]
---
apiVersion: batch/v1
kind: Job
metadata:
  name: report-1
  annotations:
    configmap.reloader.stakater.com/reload: gone
  ownerReferences:
    - {apiVersion: batch/v1, kind: CronJob, name: report, uid: 0a0a0a0a-0000-4000-8000-000000000000, controller: true}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: main, image: x}]
---
apiVersion: v1
kind: Secret
metadata:
  name: db
  annotations:
    reloader.stakater.com/match: "true"
stringData:
  password: hunter2-never-shown
"""


def migrate(cluster: Cluster, *arguments: str) -> Any:
    done = reroll("migrate", "-o", "json", *arguments, "--kubeconfig", str(cluster.kubeconfig))
    assert done.returncode == 0, done.stderr
    assert "hunter2" not in done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def with_reloader(namespace: str, kubectl: Kubectl) -> Iterator[None]:
    """What looks like Reloader, for this test only: others look for it in all namespaces."""
    kubectl("apply", "-n", namespace, "-f", "-", input=RELOADER)
    yield
    kubectl("delete", "-n", namespace, "-f", "-", input=RELOADER)


@pytest.mark.usefixtures("with_reloader")
def test_a_cluster_with_reloader(cluster: Cluster, namespace: str, kubectl: Kubectl) -> None:
    for text in (SHOP, JOBS):
        kubectl("apply", "-n", namespace, "-f", "-", input=text)
    kubectl("create", "-n", namespace, "configmap", "app", "--from-literal=a=b")
    found = migrate(cluster, "-n", namespace)

    assert found["source"] == "the cluster"
    assert found["reloader"] == f"deployment {namespace}/reloader-reloader"
    by_name = {one["name"]: one for one in found["workloads"]}
    assert "report-1" not in by_name  # what is written on it comes from its CronJob
    web = by_name["web"]
    assert web["workload"] == f"deployment/{namespace}/web"
    assert web["mechanisms"][0] == {
        "name": "Reloader",
        "how": ["annotation reloader.stakater.com/auto of the workload"],
        "objects": ["configmap/app"],
        "guessed": False,
    }
    assert web["drop_in"] == web["native"] == ["configmap/app"]
    assert by_name["report"]["annotations"] == {"reroll.dev/follow": "configmap/gone"}
    assert [one["annotations"] for one in found["configs"]] == [{"reroll.dev/match": "true"}]
    ids = {(one["id"], one["object"].rpartition("/")[2]) for one in found["findings"]}
    assert {("M101", "web"), ("M206", "report"), ("M102", "reroll")} <= ids
    assert all(one["line"] == 0 for one in found["findings"])

    # What was found can be told otherwise.
    found = migrate(cluster, "-n", namespace, "--reloader-flags", "--namespaces=bank")
    assert found["reloader"] == "--reloader-flags"
    assert "M209" in {one["id"] for one in found["findings"]}

    # Nothing of the cluster was written to.
    held = json.loads(kubectl("get", "-n", namespace, "deployment/web", "-o", "json"))
    assert "reroll.dev/auto" not in held["metadata"]["annotations"]


def test_the_native_annotations_are_taken_by_the_server(
    cluster: Cluster, namespace: str, kubectl: Kubectl
) -> None:
    kubectl("apply", "-n", namespace, "-f", "-", input=SHOP)
    (web,) = migrate(cluster, "-n", namespace)["workloads"]
    kubectl(
        "patch",
        "-n",
        namespace,
        "deployment/web",
        "--type=merge",
        "-p",
        json.dumps(yaml.safe_load(web["snippet"])),
    )
    (web,) = migrate(cluster, "-n", namespace)["workloads"]
    assert web["annotations"] == {}
    assert [one["name"] for one in web["mechanisms"]] == ["Reloader", "checksum", "reroll"]
    assert web["mechanisms"][2]["objects"] == ["configmap/app"]


def test_who_may_read_nothing_is_told(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    token = cluster.tokens.get("nobody")
    if token is None:
        pytest.skip("the cluster of the environment has no user that may do nothing")
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(config))
    done = reroll("migrate", "-n", namespace, "--kubeconfig", str(file))
    assert done.returncode == 0, done.stderr
    assert "note: deployments can't be read" in done.stdout


# --- the documentation -----------------------------------------------------------------------------------

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "migrate.md").read_text()


def test_the_examples_of_the_page(tmp_path: Path) -> None:
    (example,) = re.findall(r"^```yaml\n(# shop\.yaml\n.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "shop.yaml").write_text(example)
    shown = re.findall(
        r"^```console\n\$ reroll (migrate shop\.yaml.*?)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL
    )
    assert len(shown) == 2
    for command, output in shown:
        assert reroll(*command.split(), cwd=tmp_path).stdout == output


def test_every_finding_and_option_is_on_the_page() -> None:
    from reroll.insight.migrate.findings import KINDS

    told = dict(re.findall(r"^\| `(M\d+)` \| (\w+) \|", PAGE, re.MULTILINE))
    assert told == {kind.id: kind.severity for kind in KINDS.values()}
    listed = reroll("migrate", "--help").stdout
    for option in re.findall(r"(?<![\w-])--[a-z-]+", listed):
        if option not in (
            "--help",
            "--version",
            "--kubeconfig",
            "--context",
            "--output",
            "--namespace",
            "--all-namespaces",
        ):
            assert option in PAGE, option
