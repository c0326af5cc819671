"""What `reroll apply` is given: the objects of files and streams, in the order in which they can be applied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, BinaryIO, Final

from msgspec import Struct

from reroll.core.kinds import KINDS
from reroll.manifests.problem import ManifestError
from reroll.manifests.stamp.run import sources
from reroll.manifests.stream import Document, Placed

_FIRST: Final = ("Namespace", "CustomResourceDefinition")
_NEXT: Final = (
    "ServiceAccount",
    "Role",
    "ClusterRole",
    "RoleBinding",
    "ClusterRoleBinding",
    "StorageClass",
    "PriorityClass",
    "ResourceQuota",
    "LimitRange",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "NetworkPolicy",
)
_CONFIG: Final = ("ConfigMap", "Secret")
_WORKLOADS: Final = frozenset((*(kind.kind for kind in KINDS.values()), "Pod", "ReplicaSet"))
STEPS: Final = 5
"""How many steps `Given.step` counts."""


class Given(Struct, frozen=True):
    """One object of a manifest."""

    api_version: str
    kind: str
    namespace: str
    """"": it says none."""
    name: str
    value: dict[str, Any]
    place: str
    """File and line, for people."""

    def __str__(self) -> str:
        where = f"{self.namespace}/" if self.namespace else ""
        return f"{self.kind.lower()}/{where}{self.name}"

    @property
    def step(self) -> int:
        """What has to be there first comes first: namespaces and definitions, accounts and volumes, configuration,
        everything else, and the workloads, whose pods then read the configuration that was given along."""
        if self.kind in _FIRST:
            return 0
        if self.kind in _NEXT:
            return 1
        if self.api_version == "v1" and self.kind in _CONFIG:
            return 2
        return 4 if self.kind in _WORKLOADS else 3


def read_manifests(paths: Sequence[str], stdin: BinaryIO) -> list[Given]:
    """The objects of these files, folders and ("-") standard input. Raises ManifestError: also for an object that has
    no name, or that is there twice, and where there is none."""
    found: dict[tuple[str, str, str, str], Given] = {}
    with sources(paths, stdin) as read:
        for source in read:
            for document in source.documents():
                for placed in document.placed:
                    one = _given(document, placed)
                    group = one.api_version.rpartition("/")[0]
                    key = (group, one.kind, one.namespace, one.name)
                    if key in found:
                        line, column = document.where(placed.path)
                        words = f"{one} was defined before, at {found[key].place}"
                        raise ManifestError(document.origin, line, column, words)
                    found[key] = one
    if not found:
        raise ManifestError(", ".join(paths), 0, 0, "holds no Kubernetes object")
    return list(found.values())


def _given(document: Document, placed: Placed) -> Given:
    value = placed.value
    line, column = document.where(placed.path)
    metadata = value.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(metadata, dict) or not isinstance(name, str) or not name:
        words = f"this {value['kind']} has no metadata.name: only what has a name can be applied"
        raise ManifestError(document.origin, line, column, words)
    namespace = metadata.get("namespace") or ""
    if not isinstance(namespace, str):
        raise ManifestError(document.origin, line, column, f"metadata.namespace of {name} is no text")
    return Given(value["apiVersion"], value["kind"], namespace, name, value, f"{document.origin}:{line}")
