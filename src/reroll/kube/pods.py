"""Pods as the API has them, as far as anything here reads them, and which object above its ReplicaSet controls one.

Lists name what they need: a label selector, and no more than metadata where that is enough.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from reroll.kube.pages import METADATA_ONLY, read_list
from reroll.kube.ports import Lister
from reroll.kube.resources import PODS

_REPLICA_SETS: Final = (
    ("pod-template-hash", "apps", "Deployment"),
    ("rollouts-pod-template-hash", "argoproj.io", "Rollout"),
)
"""(label of a pod, group and kind of what its ReplicaSet is of)."""
_DEPLOYMENT_CONFIG: Final = "openshift.io/deployment-config.name"
"""Annotation of the pods of a DeploymentConfig; a ReplicationController stands between the two."""
_REVISION: Final = "controller-revision-hash"
ALIVE: Final = "status.phase!=Succeeded,status.phase!=Failed"
"""The fieldSelector of pods that have not come to their end."""
_FIRST_PAGE: Final = 500  # pods; most workloads have fewer, and are one request


class Owner(Struct, gc=False, rename="camel"):
    """One of metadata.ownerReferences."""

    api_version: str = ""
    kind: str = ""
    name: str = ""
    controller: bool | None = None


class Meta(Struct, gc=False, rename="camel"):
    """metadata. Times are as the API writes them."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: list[Owner] | None = None

    @property
    def revision(self) -> str:
        """What is the same for all pods of one revision of a workload; "" where that can't be told."""
        controller = self._controller()
        if controller is None:
            return ""
        if controller.kind == "ReplicaSet" and self._above(controller) is not None:
            return controller.name
        return (self.labels or {}).get(_REVISION, "")

    @property
    def workload(self) -> Controller | None:
        """The workload behind the pod; None for a pod that nothing controls.

        A ReplicaSet is named after its Deployment or Rollout with the hash of the template appended, and the pod has
        that hash as a label, so no ReplicaSet is read.
        https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#pod-template-hash-label
        """
        owner = self._controller()
        if owner is None:
            return None
        if owner.kind == "ReplicaSet" and (above := self._above(owner)) is not None:
            return above
        if owner.kind == "ReplicationController":
            config = (self.annotations or {}).get(_DEPLOYMENT_CONFIG)
            if config:
                return Controller("apps.openshift.io", "DeploymentConfig", config)
        return Controller(owner.api_version.rpartition("/")[0], owner.kind, owner.name)

    def _controller(self) -> Owner | None:
        for owner in self.owner_references or ():
            if owner.controller:
                return owner
        return None

    def _above(self, replica_set: Owner) -> Controller | None:
        labels = self.labels or {}
        for label, group, kind in _REPLICA_SETS:
            suffix = "-" + labels.get(label, "\0")
            if replica_set.name.endswith(suffix):
                return Controller(group, kind, replica_set.name.removesuffix(suffix))
        return None


class Controller(NamedTuple):
    """An object that controls pods. Versions of its API don't count: an object of an old one is the same in the new."""

    group: str
    """"" for the core API, and where the server did not say."""
    kind: str
    name: str


class Condition(Struct, gc=False):
    """One of status.conditions."""

    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""


class At(Struct, gc=False, rename="camel"):
    """state.running."""

    started_at: str | None = None


class Waiting(Struct, gc=False):
    """state.waiting."""

    reason: str = ""
    message: str = ""


class Terminated(Struct, gc=False, rename="camel"):
    """state.terminated."""

    reason: str = ""
    message: str = ""
    exit_code: int = 0
    started_at: str | None = None


class State(Struct, gc=False):
    """What a container does, or did before."""

    running: At | None = None
    waiting: Waiting | None = None
    terminated: Terminated | None = None


class ContainerStatus(Struct, gc=False, rename="camel"):
    """One of status.containerStatuses, or of those of init and ephemeral containers."""

    name: str = ""
    ready: bool = False
    restart_count: int = 0
    state: State | None = None
    last_state: State | None = None


class Status(Struct, gc=False, rename="camel"):
    """status."""

    phase: str = ""
    reason: str = ""
    message: str = ""
    conditions: list[Condition] | None = None
    init_container_statuses: list[ContainerStatus] | None = None
    container_statuses: list[ContainerStatus] | None = None
    ephemeral_container_statuses: list[ContainerStatus] | None = None

    def condition(self, type_: str) -> Condition | None:
        return next((each for each in self.conditions or () if each.type == type_), None)


class Pod(Struct, gc=False):
    """One pod. `spec` is left as it is: `core.template.PodSpec` reads it."""

    metadata: Meta
    spec: msgspec.Raw = msgspec.Raw(b"{}")
    status: Status = msgspec.field(default_factory=Status)

    @property
    def ready(self) -> bool:
        found = self.status.condition("Ready")
        return found is not None and found.status == "True"


class _Named(Struct, gc=False):
    metadata: Meta


class _Requirement(Struct, gc=False):
    key: str = ""
    operator: str = ""
    values: list[str] | None = None


class _Selector(Struct, gc=False, rename="camel"):
    match_labels: dict[str, str] | None = None
    match_expressions: list[_Requirement] | None = None


decode_pod: Final[Callable[[bytes | msgspec.Raw], Pod]] = msgspec.json.Decoder(Pod).decode
"""One pod out of its JSON. Raises msgspec.DecodeError."""
_decode_named = msgspec.json.Decoder(_Named).decode


async def list_pods(
    client: Lister,
    namespace: str,
    *,
    selector: str = "",
    fields: str = ALIVE,
    keep: Callable[[Pod], bool] = lambda pod: True,
) -> list[Pod]:
    """The pods of a namespace. `selector`: a labelSelector, "" for any labels; `fields`: a fieldSelector. `keep`: what
    it says no to is dropped as it is read, so that it takes no memory.

    Raises ApiError, and msgspec.DecodeError for an answer that is not understood.
    """
    found: list[Pod] = []

    def take(raw: msgspec.Raw) -> None:
        pod = decode_pod(raw)
        if keep(pod):
            found.append(pod)

    await read_list(
        client,
        partial(PODS.path, namespace, None, labelSelector=selector or None, fieldSelector=fields),
        take,
        begin_again=found.clear,
        first=_FIRST_PAGE,
    )
    return found


async def list_metadata(
    client: Lister,
    namespace: str,
    take: Callable[[Meta], object],
    *,
    begin_again: Callable[[], object],
    selector: str = "",
) -> None:
    """Hand over the metadata of the pods of a namespace ("": of all) that have not come to their end.

    `begin_again` forgets what was handed over. `selector` and errors as above.
    """
    await read_list(
        client,
        partial(PODS.path, namespace or None, None, labelSelector=selector or None, fieldSelector=ALIVE),
        lambda raw: take(_decode_named(raw).metadata),
        begin_again=begin_again,
        accept=METADATA_ONLY,
        first=_FIRST_PAGE,
    )


def selector_of(selector: bytes | msgspec.Raw) -> str:
    """The JSON of a workload's spec.selector as a labelSelector; "" where it has none.

    Raises msgspec.DecodeError. A DeploymentConfig and a ReplicationController have plain labels there.
    https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#resources-that-support-set-based-requirements
    """
    raw = msgspec.json.decode(selector)
    if not isinstance(raw, dict):
        return ""
    if "matchLabels" not in raw and "matchExpressions" not in raw:
        raw = {"matchLabels": raw}
    found = msgspec.convert(raw, _Selector)
    words = [f"{key}={value}" for key, value in sorted((found.match_labels or {}).items())]
    for each in found.match_expressions or ():
        values = ",".join(each.values or ())
        written = {
            "In": f"{each.key} in ({values})",
            "NotIn": f"{each.key} notin ({values})",
            "Exists": each.key,
            "DoesNotExist": f"!{each.key}",
        }.get(each.operator)
        if written is None:
            return ""  # an operator of later days: better all pods than the wrong ones
        words.append(written)
    return ",".join(words)
