"""The places where a pod spec names a config object: one table.

`core.template` and `core.references` read them typed, by what a container sees of each; `manifests.config_names` takes
the table as it is; `insight.lint.uses` and `sandbox.content` have the part that a container reads. Tests hold all of
them against this table, and the table against the schema of the API server: a field that Kubernetes adds fails there
until it is here, and then wherever it is not read yet. (`manifests.name_references` has less, for it is kustomize's.)

The places are those of Kubernetes' own ``VisitPodSecretNames`` and ``VisitPodConfigmapNames``
(pkg/api/v1/pod/util.go), and what the secrets-store CSI driver reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from reroll.core.records import ConfigKind, Means

CONTAINERS: Final = ("containers", "initContainers", "ephemeralContainers")
"""The lists of containers in a pod spec."""

PLUGINS: Final = ("flexVolume", "iscsi", "cinder", "cephfs", "rbd", "scaleIO", "storageos")
"""The volume plugins that name their Secret in a secretRef. azureFile has a plain field."""


class Place(NamedTuple):
    """One field that holds a name."""

    kind: ConfigKind
    means: Means
    fields: tuple[str, ...]
    """From the pod spec; a list on the way means each of its items."""

    @property
    def read(self) -> bool:
        """A container reads the content. Else the kubelet or a driver does."""
        return self.means in ("env", "envFrom", "volume", "projected") or self.kind == "secretproviderclass"


def _places() -> Iterator[Place]:
    for container in CONTAINERS:
        yield Place("configmap", "env", (container, "env", "valueFrom", "configMapKeyRef", "name"))
        yield Place("secret", "env", (container, "env", "valueFrom", "secretKeyRef", "name"))
        yield Place("configmap", "envFrom", (container, "envFrom", "configMapRef", "name"))
        yield Place("secret", "envFrom", (container, "envFrom", "secretRef", "name"))
    yield Place("configmap", "volume", ("volumes", "configMap", "name"))
    yield Place("secret", "volume", ("volumes", "secret", "secretName"))
    yield Place("configmap", "projected", ("volumes", "projected", "sources", "configMap", "name"))
    yield Place("secret", "projected", ("volumes", "projected", "sources", "secret", "name"))
    provider = ("volumes", "csi", "volumeAttributes", "secretProviderClass")
    yield Place("secretproviderclass", "csi", provider)
    yield Place("secret", "csi", ("volumes", "csi", "nodePublishSecretRef", "name"))
    yield Place("secret", "volumePlugin", ("volumes", "azureFile", "secretName"))
    for plugin in PLUGINS:
        yield Place("secret", "volumePlugin", ("volumes", plugin, "secretRef", "name"))
    yield Place("secret", "imagePullSecret", ("imagePullSecrets", "name"))


PLACES: Final = tuple(_places())
