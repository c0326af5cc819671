"""The answer of the audit, as records. It holds names and times, and no content."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, Literal, TypeAlias, get_args

from msgspec import Struct

Certainty: TypeAlias = Literal["certain", "likely", "possible"]

CERTAINTIES: Final[tuple[Certainty, ...]] = get_args(Certainty)
"""The surest first."""

MEANS: Final[dict[Certainty, str]] = {
    "certain": "the container never sees a change of what it reads, and started before its last change",
    "likely": "the same, but the time may be that of a change beside it: its manager wrote more than this",
    "possible": "mounted files: the kubelet has refreshed them, and the process may not have read them again",
}
"""What each word says, for people."""


class Finding(Struct, frozen=True, gc=False):
    """Some pods of a workload run with older content of one object, by one reference."""

    config: str
    """Such as configmap/app; of the workload's own namespace."""
    keys: tuple[str, ...]
    where: str
    """The reference, such as ``container web: env LEVEL``."""
    means: str
    sees: str
    """Whether a running container sees a change: never, or later (mounted files)."""
    certainty: Certainty
    changed: str
    """When the keys last changed; with `bound`, at the latest."""
    bound: bool
    beside: tuple[str, ...]
    """What else may have changed at that time in place of the keys."""
    created_later: bool
    """The object was created after the containers started: it was not there, or was deleted and made again."""
    started: str
    """When the oldest of these containers started."""
    pods: tuple[str, ...]

    @property
    def what(self) -> str:
        """Such as configmap/app#LEVEL,PORT."""
        shown = ",".join(self.keys[:5]) + (f" and {len(self.keys) - 5} more" if len(self.keys) > 5 else "")
        return f"{self.config}#{shown}"

    @property
    def how_sure(self) -> str:
        """The certainty with its reason, in a few words."""
        if self.created_later:
            return "the object was created after they started: it was not there, or was made again"
        if self.certainty == "possible":
            return "the files were refreshed; the process may not have read them again"
        if self.bound:
            other = ", ".join(self.beside[:5]) + (", ..." if len(self.beside) > 5 else "")
            return f"or only {other} changed then" if other else "several managers own it"
        return ""


class WorkloadAudit(Struct, frozen=True, gc=False):
    """One workload that consumes something, and what was found of its pods."""

    kind: str
    namespace: str
    name: str
    pods: int
    """That run."""
    stale_pods: int
    certainty: Certainty | None
    """That of the surest finding; None: nothing was found."""
    since: str | None
    """Its pods are behind since then at the latest."""
    findings: tuple[Finding, ...]

    def __str__(self) -> str:
        return f"{self.kind.lower()}/{self.namespace}/{self.name}"


class Report(Struct, frozen=True, gc=False):
    """The whole answer. `workloads` are sorted by namespace, kind and name; those without findings too."""

    cluster: str
    at: str
    namespaces: tuple[str, ...]
    """(): all."""
    pods: int
    """That run and consume something."""
    workloads: tuple[WorkloadAudit, ...]
    notes: tuple[str, ...]
    """What could not be looked at."""

    @property
    def stale(self) -> tuple[WorkloadAudit, ...]:
        return tuple(each for each in self.workloads if each.findings)

    @property
    def stale_pods(self) -> int:
        return sum(each.stale_pods for each in self.workloads)


def time_text(seconds: float) -> str:
    """A time as the API writes it."""
    return datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z")
