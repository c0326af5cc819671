"""docs/recipes.md holds: each hole is there in the real programs, and what is to be done instead closes it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.cli.command import reroll
from tests.conftest import Cluster, Kubectl
from tests.manifests.helm import BIN, Helm
from tests.manifests.programs import located
from tests.manifests.recipe_page import Command, File, headings, play, section, shell, steps

pytestmark = pytest.mark.slow


OF_CHARTS = (
    "Checksum of a template",
    "Checksum by the chart's name",
    "Checksum of all values",
    "Configuration in the command",
)
IN_A_CLUSTER = (
    "A versioned name by a script",
    "A version in an annotation",
    "Restart in the pipeline",
)


@pytest.fixture(params=["helm3", "helm4"])
def helm(request: pytest.FixtureRequest, tmp_path: Path) -> Helm:
    return Helm(request.param, tmp_path / "home")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the files of the page are written, and its commands run."""
    found = tmp_path / "work"
    found.mkdir()
    return found


def path_with(folder: Path, **programs: Path) -> str:
    """A PATH on which these are found by these names, and reroll."""
    folder.mkdir()
    for name, program in programs.items():
        (folder / name).symlink_to(program)
    return f"{folder}:{BIN}:/usr/bin:/bin"


def checksums(rendered: str) -> dict[str, str]:
    """By the Deployments that have one, checksum/config."""
    return {
        one["metadata"]["name"]: marks["checksum/config"]
        for one in yaml.safe_load_all(rendered)
        if one["kind"] == "Deployment"
        if "checksum/config" in (marks := one["spec"]["template"]["metadata"].get("annotations", {}))
    }


def test_each_recipe_shows_its_hole_and_what_closes_it() -> None:
    assert tuple(headings()) == OF_CHARTS + IN_A_CLUSTER
    for heading in headings():
        recipe, _, rest = section(heading).partition("\n### The hole\n")
        hole, _, instead = rest.partition("\n### Instead\n")
        assert any(isinstance(step, File) for step in steps(recipe)), heading
        for part in (hole, instead):
            assert any(isinstance(step, Command) for step in steps(part)), heading


@pytest.mark.parametrize("heading", OF_CHARTS)
def test_recipes_of_charts(helm: Helm, heading: str, folder: Path, tmp_path: Path) -> None:
    path = path_with(tmp_path / "bin", helm=located(helm.name))
    play(section(heading), folder, {**helm.environment, "PATH": path})
    # What the page does with a filter, Helm does with its post-renderer.
    plain = helm.run("template", "prod", folder / "shop").stdout.decode()
    filtered = reroll("stamp", "--missing", "ignore", stdin=plain, HELM_NAMESPACE="default").stdout
    assert checksums(filtered) == checksums(helm.template(folder / "shop"))
    assert checksums(filtered)


def test_an_upgrade_with_the_post_renderer_rolls_who_reads_what_changed(
    helm: Helm, folder: Path, cluster: Cluster, kubectl: Kubectl, namespace: str
) -> None:
    """The upgrade of the page, on a real API server."""
    for step in steps(section("Checksum of a template")):
        if isinstance(step, File):
            path = folder / step.path
            path.parent.mkdir(parents=True, exist_ok=True)
            # as the page has it taken out
            lines = step.text.splitlines(keepends=True)
            path.write_text(
                "".join(line for line in lines if "annotations:" not in line and "checksum" not in line)
            )
    (line,) = shell(section("Checksum of a template"))
    program, *arguments = line.split()
    assert program == "helm"
    if helm.name == "helm4":
        first = arguments.index("--post-renderer")
        arguments[first:] = ["--post-renderer", helm.renderer, *helm.arguments]
    arguments[arguments.index("./shop")] = str(folder / "shop")

    def upgrade(*more: str) -> list[int]:
        """The generations of web and cache afterwards: each change of a pod template is one more."""
        helm.run(*arguments, *more, "-n", namespace, KUBECONFIG=str(cluster.kubeconfig))
        found = json.loads(kubectl("get", "deployments", "web", "cache", "-n", namespace, "-o", "json"))
        return [one["metadata"]["generation"] for one in found["items"]]

    assert upgrade() == [1, 1]
    assert upgrade("--set", "banner=Hello") == [1, 1]
    assert upgrade("--set", "password=correct-horse") == [2, 1]
    assert upgrade("--set", "password=correct-horse", "--set", "cache.size=128") == [2, 2]


@pytest.mark.parametrize("heading", IN_A_CLUSTER)
def test_recipes_in_a_cluster(
    heading: str, folder: Path, tmp_path: Path, cluster: Cluster, kubectl: Kubectl, namespace: str
) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    shutil.copy(cluster.kubeconfig, kubeconfig)
    kubectl("config", "set-context", "--current", f"--namespace={namespace}", f"--kubeconfig={kubeconfig}")
    environment = {
        "PATH": path_with(tmp_path / "bin", kubectl=cluster.kubectl),
        "KUBECONFIG": str(kubeconfig),
        "KUBECACHEDIR": str(tmp_path / "cache"),
        "COLUMNS": "200",
    }
    play(section(heading), folder, environment, namespace=namespace, pause=1.1)


@pytest.mark.parametrize("counted", [False, True])
def test_two_branches_that_raise_the_number(counted: bool, tmp_path: Path) -> None:
    """Git merges two equal numbers without a word, and does not merge two digests."""
    texts = [step.text for step in steps(section("A version in an annotation")) if isinstance(step, File)]
    assert len(texts) == 1
    # two keys, far enough from each other for Git
    keys = "".join(f"  KEY_{number}: a\n" for number in range(9))
    base = texts[0].replace("  LEVEL: info\n", f"  LEVEL: info\n{keys}")
    base = base.replace("        env:\n", "        envFrom: [{configMapRef: {name: app}}]\n        env:\n")
    path = tmp_path / "app.yaml"

    def git(*arguments: str) -> int:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True).returncode

    def commit(text: str) -> None:
        path.write_text(text)
        if counted:
            assert reroll("stamp", "--counter", "--in-place", path).returncode == 0
        assert git("add", "app.yaml") == git("commit", "-qm", "x") == 0

    assert git("init", "-q", "-b", "main") == 0
    commit(base)
    base = path.read_text()
    for branch, key in (("one", "LEVEL: info"), ("two", "KEY_8: a")):
        assert git("checkout", "-q", "-b", branch, "main") == 0
        commit(base.replace(key, f"{key}2").replace('"7"', '"7"' if counted else '"8"'))
        assert 'configmap-version: "8"' in path.read_text()
    merged = git("merge", "-q", "one")
    assert merged == (1 if counted else 0)
    if not counted:
        assert path.read_text().count('"8"') == 1
        assert "info2" in path.read_text()
        assert "a2" in path.read_text()
