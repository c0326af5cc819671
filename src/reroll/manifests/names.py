"""An object on its way through a build: what it is called, and what it was called before.

References are written with names from before prefixes, suffixes and hashes, so an object remembers all its names.
The rules are kustomize's (api/resource, kyaml/resid, learned from what it does).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

DEFAULT: Final = "default"
"""The namespace of what names none, when two are compared."""

_NOWHERE: Final = "_non_namespaceable_"

_CLUSTER_SCOPED: Final = {
    "": ("ComponentStatus", "Namespace", "Node", "NodeProxyOptions", "PersistentVolume"),
    "admissionregistration.k8s.io": ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"),
    "apiextensions.k8s.io": ("CustomResourceDefinition",),
    "apiregistration.k8s.io": ("APIService",),
    "certificates.k8s.io": ("CertificateSigningRequest",),
    "flowcontrol.apiserver.k8s.io": ("FlowSchema", "PriorityLevelConfiguration"),
    "networking.k8s.io": ("IngressClass",),
    "node.k8s.io": ("RuntimeClass",),
    "policy": ("PodSecurityPolicy",),
    "rbac.authorization.k8s.io": ("ClusterRole", "ClusterRoleBinding"),
    "scheduling.k8s.io": ("PriorityClass",),
    "storage.k8s.io": ("CSIDriver", "CSINode", "StorageClass", "VolumeAttachment"),
}
"""What kustomize knows to have no namespace, from the OpenAPI of Kubernetes 1.21. Other kinds are given one."""
_BETA_ONLY: Final = ("flowcontrol.apiserver.k8s.io", "policy")


class Gvk(NamedTuple):
    """Group, version and kind; as a selector, "" stands for any."""

    group: str = ""
    version: str = ""
    kind: str = ""

    def selects(self, other: Gvk) -> bool:
        return all(not mine or mine == theirs for mine, theirs in zip(self, other, strict=True))


class Id(NamedTuple):
    """What an object is, where and called what. `namespace` is `DEFAULT` where none is named."""

    gvk: Gvk
    namespace: str
    name: str


class Resource:
    """One object. `value` is its own, and is changed."""

    __slots__ = ("behavior", "hashed", "prefixes", "previous", "suffixes", "value", "where")

    def __init__(
        self, value: dict[str, Any], where: str, *, hashed: bool = False, behavior: str = ""
    ) -> None:
        self.value = value
        self.where = where
        """For people: the file."""
        self.hashed = hashed
        """Its name is given a suffix by its content."""
        self.behavior = behavior
        """Of what was generated: create, replace or merge."""
        self.previous: list[Id] = []
        """All that it was before, the oldest first."""
        self.prefixes: list[str] = []
        self.suffixes: list[str] = []

    def __repr__(self) -> str:
        return f"Resource({self.gvk.kind}/{self.name})"

    @property
    def metadata(self) -> dict[str, Any]:
        found: dict[str, Any] = self.value["metadata"]
        return found

    @property
    def gvk(self) -> Gvk:
        version = self.value["apiVersion"]
        group, _, version = version.rpartition("/")
        return Gvk(group, version, self.value["kind"])

    @property
    def name(self) -> str:
        return str(self.metadata.get("name") or "")

    @property
    def namespace(self) -> str:
        return str(self.metadata.get("namespace") or "")

    @property
    def cluster_scoped(self) -> bool:
        return is_cluster_scoped(self.gvk)

    @property
    def id(self) -> Id:
        namespace = _NOWHERE if self.cluster_scoped else self.namespace or DEFAULT
        return Id(self.gvk, namespace, self.name)

    @property
    def original(self) -> Id:
        return self.previous[0] if self.previous else self.id

    def remember(self) -> None:
        """Before its name or its namespace is changed."""
        self.previous.append(self.id)

    def alike(self, other: Resource, *, either_empty: bool) -> bool:
        """Whether the prefixes and suffixes of two end alike, that is, whether they come from the same overlay."""
        return all(
            (either_empty and not (mine and theirs)) or _same_ending(mine, theirs)
            for mine, theirs in ((self.prefixes, other.prefixes), (self.suffixes, other.suffixes))
        )


def is_cluster_scoped(gvk: Gvk) -> bool:
    """Whether kustomize knows that a kind has no namespace."""
    if gvk.kind not in _CLUSTER_SCOPED.get(gvk.group, ()):
        return False
    return gvk.version == "v1beta1" or (gvk.version == "v1" and gvk.group not in _BETA_ONLY)


def _same_ending(one: Sequence[str], other: Sequence[str]) -> bool:
    shorter = min(len(one), len(other))
    if not shorter:
        return len(one) == len(other)
    return list(one[-shorter:]) == list(other[-shorter:])
