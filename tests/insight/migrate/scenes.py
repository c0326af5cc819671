"""Manifests for the tests of `reroll migrate`, in few words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml

from reroll.insight.migrate.findings import Finding
from reroll.insight.migrate.manifests import Manifests
from reroll.insight.migrate.report import Report, plan, report
from reroll.insight.migrate.scene import Reloader
from reroll.manifests.stream import read_documents

APIS = {
    "CronJob": "batch/v1",
    "Job": "batch/v1",
    "Rollout": "argoproj.io/v1alpha1",
    "DeploymentConfig": "apps.openshift.io/v1",
}


def workload(
    annotations: dict[str, Any] | None = None,
    *,
    kind: str = "Deployment",
    name: str = "web",
    on_template: dict[str, str] | None = None,
    config_maps: Iterable[str] = (),
    secrets: Iterable[str] = (),
    env: Iterable[tuple[str, str]] = (),
    spec: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """A workload that takes whole objects by envFrom, and single keys of ConfigMaps by env."""
    sources: list[dict[str, Any]] = [{"configMapRef": {"name": one}} for one in config_maps]
    sources += [{"secretRef": {"name": one}} for one in secrets]
    variables = [
        {"name": key, "valueFrom": {"configMapKeyRef": {"name": one, "key": key}}} for one, key in env
    ]
    pods = {
        "containers": [{"name": "main", "image": "x", "envFrom": sources, "env": variables}],
        **(spec or {}),
    }
    template = {"metadata": {"annotations": on_template or {}}, "spec": pods}
    inner: dict[str, Any] = {"template": template}
    if kind == "CronJob":
        inner = {"jobTemplate": {"spec": inner}}
    return {
        "apiVersion": APIS.get(kind, "apps/v1"),
        "kind": kind,
        "metadata": {"name": name, "namespace": "shop", "annotations": annotations or {}},
        "spec": inner,
    }


def config(name: str, annotations: dict[str, str] | None = None, kind: str = "ConfigMap") -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "shop", "annotations": annotations or {}},
    }


def manifests(*objects: dict[str, Any], complete: bool = True, reloader: Reloader | None = None) -> Manifests:
    text = yaml.safe_dump_all(objects, sort_keys=False)
    found = Manifests(read_documents(text, "shop.yaml"), complete=complete)
    found.scene.reloader = reloader or Reloader()
    return found


def told(*objects: dict[str, Any], complete: bool = True, reloader: Reloader | None = None) -> Report:
    found = manifests(*objects, complete=complete, reloader=reloader)
    return report(found.scene, plan(found.scene), found.line)


def findings(
    *objects: dict[str, Any], complete: bool = True, reloader: Reloader | None = None
) -> list[Finding]:
    return list(told(*objects, complete=complete, reloader=reloader).findings)
