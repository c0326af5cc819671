"""`reroll stamp` as a post-renderer of the real Helm 3 and Helm 4."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.manifests.charts import write_chart
from tests.manifests.helm import Helm

pytestmark = pytest.mark.slow


@pytest.fixture(params=["helm3", "helm4"])
def helm(request: pytest.FixtureRequest, tmp_path: Path) -> Helm:
    return Helm(request.param, tmp_path / "home")


def objects(rendered: str) -> dict[str, dict[str, Any]]:
    found = [one for one in yaml.safe_load_all(rendered) if one]
    return {f"{one['kind']}/{one['metadata']['name']}": one for one in found}


def checksums(rendered: str) -> dict[str, str]:
    """Of each workload, what stands in checksum/config."""
    return {
        name: one["spec"]["template"].get("metadata", {}).get("annotations", {}).get("checksum/config", "")
        for name, one in objects(rendered).items()
        if name.startswith(("Deployment/", "StatefulSet/", "Job/"))
    }


def test_only_who_consumes_what_changed_is_stamped_anew(helm: Helm, tmp_path: Path) -> None:
    chart = write_chart(tmp_path)
    before = checksums(helm.template(chart))
    assert before.keys() == {"Deployment/prod-web", "StatefulSet/prod-cache", "Job/prod-migrate"}
    assert before["Job/prod-migrate"] == ""

    def differing(*arguments: str) -> list[str]:
        after = checksums(helm.template(chart, *arguments))
        return [name for name in before if after[name] != before[name]]

    assert differing() == []
    assert differing("--set", "unused=y") == []
    assert differing("--set", "level=debug") == ["Deployment/prod-web"]
    assert differing("--set", "password=other") == ["Deployment/prod-web"]
    assert differing("--set", "cache.size=2") == ["StatefulSet/prod-cache"]


def test_everything_else_is_rendered_as_without(helm: Helm, tmp_path: Path) -> None:
    chart = write_chart(tmp_path)
    plain = objects(helm.run("template", "prod", chart, "--include-crds").stdout.decode())
    stamped = objects(helm.template(chart, "--include-crds"))
    assert plain.keys() == stamped.keys()
    assert "CustomResourceDefinition/things.example.com" in stamped
    for name in ("Deployment/prod-web", "StatefulSet/prod-cache"):
        for one in (plain[name], stamped[name]):
            one["spec"]["template"]["metadata"].pop("annotations", None)
    assert plain == stamped


def test_an_error_stops_helm(helm: Helm, tmp_path: Path) -> None:
    chart = write_chart(tmp_path)
    (chart / "templates" / "bad.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\ndata: {a: 1}\n"
    )
    command: tuple[str | Path, ...] = (
        "template",
        "prod",
        chart,
        "--post-renderer",
        helm.renderer,
        *helm.arguments,
    )
    done = helm.run(*command, ok=False)
    assert done.returncode != 0
    if helm.name == "helm3":  # Helm 4 says only that the plugin failed
        assert "data.a has to be text" in done.stderr.decode()
    assert b"kind:" not in done.stdout


def test_arguments_reach_it(helm: Helm, tmp_path: Path) -> None:
    chart = write_chart(tmp_path)
    rendered = helm.template(
        chart, "--post-renderer-args", "--per-object", "--post-renderer-args", "--annotation=example.com/x"
    )
    found = objects(rendered)["Deployment/prod-web"]["spec"]["template"]["metadata"]["annotations"]
    assert {"example.com/configmap-prod-web", "example.com/secret-prod-web"} < found.keys()
