"""The kinds of workload that reroll knows: one table entry each."""

from __future__ import annotations

from msgspec import Struct


class WorkloadKind(Struct, frozen=True):
    """Where a kind lives in the API, and where in its objects the pod template stands."""

    kind: str
    group: str
    version: str
    plural: str
    short_names: tuple[str, ...] = ()
    """What kubectl also takes for it; for command lines."""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


DEPLOYMENT = WorkloadKind("Deployment", "apps", "v1", "deployments", ("deploy", "deployment"))
STATEFUL_SET = WorkloadKind("StatefulSet", "apps", "v1", "statefulsets", ("sts", "statefulset"))
DAEMON_SET = WorkloadKind("DaemonSet", "apps", "v1", "daemonsets", ("ds", "daemonset"))

WORKLOAD_KINDS: dict[str, WorkloadKind] = {k.kind: k for k in (DEPLOYMENT, STATEFUL_SET, DAEMON_SET)}


def find_kind(word: str) -> WorkloadKind | None:
    """The kind that a word on a command line names: ``Deployment``, ``deployments``, ``deploy``, ..."""
    lowered = word.lower()
    for kind in WORKLOAD_KINDS.values():
        if lowered in (kind.kind.lower(), kind.plural, *kind.short_names):
            return kind
    return None
