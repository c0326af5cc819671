"""Manifests made in a line, and what lint finds in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from reroll.insight.lint.finding import Finding
from reroll.insight.lint.run import Input, Report, lint
from reroll.insight.lint.world import World
from reroll.manifests.stream import Document, read_documents


def deployment(
    name: str = "web",
    *,
    container: dict[str, Any] | None = None,
    volumes: list[dict[str, Any]] | None = None,
    annotations: dict[str, Any] | None = None,
    carried: dict[str, Any] | None = None,
    kind: str = "Deployment",
    namespace: str = "",
    spec: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """A workload of a kind in apps/v1."""
    metadata: dict[str, Any] = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    if annotations is not None:
        metadata["annotations"] = annotations
    pods: dict[str, Any] = {"containers": [{"name": "main", **(container or {})}], **(spec or {})}
    if volumes is not None:
        pods["volumes"] = volumes
    template: dict[str, Any] = {"spec": pods}
    if carried is not None:
        template["metadata"] = {"annotations": carried}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": {"template": template}}


def config(name: str, kind: str = "ConfigMap", **fields: Any) -> dict[str, Any]:
    """A ConfigMap or Secret; `fields` are its own, `annotations` and `namespace` those of its metadata."""
    metadata = {"name": name}
    for field in ("annotations", "namespace"):
        if field in fields:
            metadata[field] = fields.pop(field)
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **fields}


def env(name: str, key: str = "level", kind: str = "configMapKeyRef", **more: Any) -> dict[str, Any]:
    """A container with one variable."""
    return {"env": [{"name": "LEVEL", "valueFrom": {kind: {"name": name, "key": key, **more}}}]}


def mount(**more: Any) -> dict[str, Any]:
    """A container with one mount."""
    return {"volumeMounts": [{"name": "conf", "mountPath": "/etc/app", **more}]}


def documents(*objects: Any, origin: str = "web.yaml") -> list[Document]:
    text = objects[0] if len(objects) == 1 and isinstance(objects[0], str) else yaml.safe_dump_all(objects)
    return list(read_documents(text, origin))


def report(
    *objects: Any, complete: bool = False, auto_all: bool = False, origin: str = "web.yaml", **how: Any
) -> Report:
    found = documents(*objects, origin=origin)
    world = World(found, complete=complete, auto_all=auto_all)
    return lint(world, Input(found, {origin: Path(origin)}, {}, []), **how)


def findings(*objects: Any, **how: Any) -> list[Finding]:
    return list(report(*objects, **how).findings)


def rules(*objects: Any, **how: Any) -> list[str]:
    """The ids of what is found, without R202, which is about nearly every example."""
    return [one.rule for one in findings(*objects, **how) if one.rule != "R202"]
