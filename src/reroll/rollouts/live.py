"""A workload as it is in the cluster just now, as far as restarting it and waiting for it need."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from reroll.core.kinds import (
    DAEMON_SET,
    DEPLOYMENT,
    DEPLOYMENT_CONFIG,
    KINDS,
    ROLLOUT,
    STATEFUL_SET,
    WorkloadKind,
)
from reroll.core.progress import Condition, StatusObject
from reroll.core.records import WorkloadId
from reroll.core.template import PodTemplate
from reroll.kube.pods import selector_of
from reroll.kube.ports import Getter
from reroll.rollouts.paths import path

RESTARTED_AT: Final = "kubectl.kubernetes.io/restartedAt"
"""The annotation on the pod template that `kubectl rollout restart` writes."""

RESTARTABLE: Final[dict[str, WorkloadKind]] = {
    kind.id: kind for kind in (DEPLOYMENT, STATEFUL_SET, DAEMON_SET, ROLLOUT, DEPLOYMENT_CONFIG)
}
"""Kinds whose pods run for as long as they are there, by id."""


class Meta(Struct, gc=False, rename="camel"):
    """metadata, as far as it is read."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    deletion_timestamp: str | None = None
    annotations: dict[str, str] | None = None


class _RollingUpdate(Struct, gc=False):
    partition: int | None = None


class _Strategy(Struct, gc=False, rename="camel"):
    type: str = ""
    rolling_update: _RollingUpdate | None = None


class _Spec(Struct, gc=False, rename="camel"):
    replicas: int | None = None
    paused: bool = False
    strategy: msgspec.Raw = msgspec.Raw(b"null")
    update_strategy: _Strategy | None = None
    selector: msgspec.Raw = msgspec.Raw(b"null")
    template: msgspec.Raw = msgspec.Raw(b"{}")
    progress_deadline_seconds: int | None = None
    restart_at: str | None = None


class Status(StatusObject, gc=False, rename="camel"):
    """status, with what tells the revisions of a StatefulSet."""

    current_revision: str = ""
    update_revision: str = ""


class Live(Struct, gc=False):
    """One workload."""

    metadata: Meta
    spec: _Spec = msgspec.field(default_factory=_Spec)
    status: Status = msgspec.field(default_factory=Status)

    @property
    def template(self) -> PodTemplate:
        return _decode_template(self.spec.template)

    @property
    def restarted_at(self) -> str | None:
        """The annotation on its pod template, None where there is none."""
        return self.template.metadata.annotations.get(RESTARTED_AT)

    @property
    def strategy(self) -> str:
        """How its controller replaces pods, such as RollingUpdate, Recreate or OnDelete; "" where it does not say."""
        if self.spec.update_strategy is not None:
            return self.spec.update_strategy.type
        found = _strategy(self.spec.strategy)
        return found.type if found is not None else ""

    @property
    def partition(self) -> int:
        """Of a StatefulSet: pods of lower ordinals keep the older revision."""
        update = self.spec.update_strategy
        return (update.rolling_update.partition or 0) if update is not None and update.rolling_update else 0

    @property
    def pods_selector(self) -> str:
        """Its spec.selector as a labelSelector; "" where it has none."""
        return selector_of(self.spec.selector)

    def condition(self, type_: str) -> Condition | None:
        return next((each for each in self.status.conditions or () if each.type == type_), None)


_decode = msgspec.json.Decoder(Live).decode
_decode_template = msgspec.json.Decoder(PodTemplate).decode


def _strategy(raw: msgspec.Raw) -> _Strategy | None:
    try:
        return msgspec.json.decode(raw, type=_Strategy | None)
    except msgspec.ValidationError:
        return None  # an Argo Rollout has canary or blueGreen there


def decode_live(body: bytes) -> Live:
    """A workload out of its JSON. Raises msgspec.DecodeError."""
    return _decode(body)


async def read(client: Getter, workload: WorkloadId) -> Live:
    """The workload as it is now. Raises ApiError, and msgspec.DecodeError for an answer that is not understood."""
    return _decode(await client.get(path(workload, KINDS)))
