"""The kinds that the sandbox knows: those that reroll touches, and those declared by a CustomResourceDefinition."""

from __future__ import annotations

from typing import Final

from msgspec import Struct


class Kind(Struct, frozen=True, cache_hash=True):
    """One kind of object, as discovery tells it."""

    group: str
    version: str
    kind: str
    plural: str
    short_names: tuple[str, ...] = ()
    namespaced: bool = True
    status: bool = False
    """It has a status subresource: a write to the object leaves status alone, and the other way round."""
    scale: bool = False
    """It has a scale subresource."""
    generation: bool = False
    """metadata.generation counts changes of its spec."""
    categories: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def singular(self) -> str:
        return self.kind.lower()


def _apps(kind: str, plural: str, short: str, *, scale: bool = True) -> Kind:
    return Kind("apps", "v1", kind, plural, (short,), True, True, scale, True, ("all",))


NAMESPACE: Final = Kind("", "v1", "Namespace", "namespaces", ("ns",), False, True)
CONFIG_MAP: Final = Kind("", "v1", "ConfigMap", "configmaps", ("cm",))
SECRET: Final = Kind("", "v1", "Secret", "secrets")
POD: Final = Kind("", "v1", "Pod", "pods", ("po",), True, True, False, True, ("all",))
NODE: Final = Kind("", "v1", "Node", "nodes", ("no",), False, True)
SERVICE_ACCOUNT: Final = Kind("", "v1", "ServiceAccount", "serviceaccounts", ("sa",))
SERVICE: Final = Kind("", "v1", "Service", "services", ("svc",), True, True, False, False, ("all",))
"""An object and no more: no addresses behind it."""
DEPLOYMENT: Final = _apps("Deployment", "deployments", "deploy")
REPLICA_SET: Final = _apps("ReplicaSet", "replicasets", "rs")
STATEFUL_SET: Final = _apps("StatefulSet", "statefulsets", "sts")
DAEMON_SET: Final = _apps("DaemonSet", "daemonsets", "ds", scale=False)
CONTROLLER_REVISION: Final = Kind("apps", "v1", "ControllerRevision", "controllerrevisions")
JOB: Final = Kind("batch", "v1", "Job", "jobs", (), True, True, False, True, ("all",))
CRON_JOB: Final = Kind("batch", "v1", "CronJob", "cronjobs", ("cj",), True, True, False, True, ("all",))
EVENT: Final = Kind("events.k8s.io", "v1", "Event", "events", ("ev",))
LEASE: Final = Kind("coordination.k8s.io", "v1", "Lease", "leases")
CUSTOM_RESOURCE_DEFINITION: Final = Kind(
    "apiextensions.k8s.io",
    "v1",
    "CustomResourceDefinition",
    "customresourcedefinitions",
    ("crd", "crds"),
    False,
    True,
    False,
    True,
    ("api-extensions",),
)

KINDS: Final = (
    NAMESPACE,
    CONFIG_MAP,
    SECRET,
    POD,
    NODE,
    SERVICE_ACCOUNT,
    SERVICE,
    DEPLOYMENT,
    REPLICA_SET,
    STATEFUL_SET,
    DAEMON_SET,
    CONTROLLER_REVISION,
    JOB,
    CRON_JOB,
    EVENT,
    LEASE,
    CUSTOM_RESOURCE_DEFINITION,
)
