"""The workloads of a stream: what their pod templates refer to, and what their annotations say of it."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from reroll.core.kinds import KINDS
from reroll.core.policy import Policy, PolicyDefaults, native_layer, resolve
from reroll.core.records import WorkloadId, WorkloadRecord
from reroll.core.references import references
from reroll.core.template import PodTemplate
from reroll.manifests.problem import ManifestError
from reroll.manifests.stamp.options import Options
from reroll.manifests.stream import Document, Placed
from reroll.manifests.yaml_text import Path


class Consumer(Struct, frozen=True):
    """One workload, as far as its stamp needs it."""

    number: int
    """Of its document in the stream."""
    path: Path
    """Of the object in its document."""
    template: Path
    """Of the pod template in the object."""
    record: WorkloadRecord
    policy: Policy
    annotations: dict[str, Any]
    """Of the object."""
    carried: dict[str, Any]
    """Annotations of the pod template."""
    where: tuple[str, int, int]
    """File, line, column."""

    @property
    def name(self) -> str:
        return f"{self.record.id.kind.lower()}/{self.record.id.name}"


def consumer(document: Document, number: int, placed: Placed, options: Options) -> Consumer | None:
    """The workload that an object is; None: it is none that is stamped. Raises ManifestError.

    reroll's own annotations hold as they do for the controller, which follows everything where none of them says
    otherwise.
    """
    value = placed.value
    group = value["apiVersion"].rpartition("/")[0]
    path = options.templates.get((group, value["kind"]))
    if path is None:
        return None
    template: Any = value
    for step in path:
        template = template.get(step) if isinstance(template, dict) else None
    metadata = value.get("metadata")
    if not isinstance(template, dict) or not isinstance(metadata, dict):
        return None
    where = (document.origin, *document.where((*placed.path, "kind")))
    known = KINDS.get(value["kind"])
    id = WorkloadId(
        value["kind"] if known is not None and known.group == group else f"{value['kind']}.{group}",
        _text(metadata.get("namespace")) or options.namespace,
        _text(metadata.get("name")) or _text(metadata.get("generateName")),
    )
    try:
        pods = msgspec.convert({"spec": template.get("spec")}, PodTemplate)
    except msgspec.ValidationError as error:
        raise ManifestError(
            *where, f"{id.kind.lower()}/{id.name}: its pod template can't be read: {error}"
        ) from None
    annotations = _mapping(metadata.get("annotations"))
    meta = _mapping(template.get("metadata"))
    said = native_layer({k: v for k, v in annotations.items() if isinstance(v, str)}, "the workload")
    policy = resolve([said], _DEFAULTS if options.secrets else _CONFIG_MAPS, home=id.namespace)
    if policy.refused:
        raise ManifestError(*where, f"{id.kind.lower()}/{id.name}: {policy.refused}")
    record = WorkloadRecord(
        id=id,
        uid="",
        resource_version="",
        generation=0,
        annotations={},
        template_annotations={},
        references=references(pods),
        template_hash="",
        mark=None,
        applied=None,
    )
    return Consumer(
        number, placed.path, path, record, policy, annotations, _mapping(meta.get("annotations")), where
    )


_DEFAULTS = PolicyDefaults(auto_all=True, kinds=("configmap", "secret"))
_CONFIG_MAPS = PolicyDefaults(auto_all=True, kinds=("configmap",))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
