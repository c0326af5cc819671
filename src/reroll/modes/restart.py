"""The mode `restart`: have the pods replaced, and leave the pod template as it is.

What is to go is written down first: one patch puts the record and the pods that run now on the workload's own
metadata (`reroll.dev/restarting`). So a controller that comes back in the middle goes on with the rest, and no pod
that was started since is touched. Pods go by eviction (policy/v1), which their PodDisruptionBudgets can delay,
and besides that one after another: the next one goes when all others of the workload are ready. Pods that are
not ready serve nobody and don't wait for each other.

A kind whose own controller restarts pods (Argo Rollout, spec.restartAt) is told to do so, in the same one patch.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from reroll.core.applied import APPLIED, RESTARTING, encode
from reroll.core.decision import Decision
from reroll.core.kinds import WorkloadKind
from reroll.core.observe import epoch
from reroll.core.records import WorkloadId, WorkloadRecord
from reroll.kube import pods
from reroll.kube.errors import Conflict, NotFound, TooManyRequests
from reroll.kube.pods import Controller, list_pods
from reroll.kube.ports import Creator, Lister
from reroll.kube.resources import PODS
from reroll.modes.bodies import on_top, place, timestamp
from reroll.modes.mode import Mode, Outcome, Patch, Subject, Wait

_UID = 8  # characters of a uid that tell pods of one workload apart; a thousand pods take 9 kB
_LOOK_AGAIN = 1.0  # seconds after which a restart that has begun is looked after


class _DaemonSetStatus(Struct, gc=False, rename="camel"):
    desired_number_scheduled: int | None = None


class _HasStatus(Struct, gc=False):
    status: _DaemonSetStatus = msgspec.field(default_factory=_DaemonSetStatus)


class _Selecting(Struct, gc=False):
    selector: msgspec.Raw = msgspec.Raw(b"null")


class _HasSelector(Struct, gc=False):
    spec: _Selecting = msgspec.field(default_factory=_Selecting)


_decode_selector = msgspec.json.Decoder(_HasSelector).decode
_decode_status = msgspec.json.Decoder(_HasStatus).decode


class Pod(Struct, frozen=True, gc=False):
    """One pod of a workload, as far as it matters here."""

    name: str
    uid: str
    created: float
    """Seconds since the epoch, whole."""
    ready: bool
    going: bool
    """It is being deleted."""

    @property
    def short(self) -> str:
        """What is written down of it."""
        return self.uid[:_UID]


class Next(Struct, frozen=True):
    """What is to be done for a restart that has begun."""

    evict: tuple[Pod, ...] = ()
    wait_for: str = ""
    """Why none goes just now; "": it goes on."""
    left: int = 0
    """Pods that are still to go, those that are being deleted among them. 0: the restart is done."""


class Evict(Mode):
    """Has the pods evicted one after another."""

    def __init__(self) -> None:
        self._restarting: dict[WorkloadId, tuple[str, tuple[str, ...]]] = {}
        """Workload -> its uid, and the pods that are to go, as they were last seen written down."""
        self._selectors: dict[WorkloadId, tuple[str, str]] = {}
        """Workload -> its uid, and the selector of its pods."""

    async def begin(self, subject: Subject, decision: Decision) -> Patch:
        """See `Mode`."""
        kind = subject.kind
        pods, _ = await self._look(subject)
        if kind.custom and not pods:
            subject.tell.warn(
                subject,
                "NotRolled",
                "Evict",
                "none of its pods was found, so none is evicted: the mode restart is for kinds that own their pods "
                "themselves; use the mode rollout",
            )
        return Patch(begin(subject.record, decision, to_go(pods, decision)))

    async def proceed(self, subject: Subject) -> Outcome | None:
        """Evict the next pod, if it is its turn. Whoever removes annotations that they don't know does not end a
        restart, so what was written down is remembered."""
        record, policy = subject.record, subject.policy
        workload = record.id
        uid, remembered = self._restarting.get(workload, ("", ()))
        written = record.restarting or (remembered if uid == record.uid else ())
        if not written:
            return None
        self._restarting[workload] = record.uid, written
        pods, wanted = await self._look(subject)
        step = next_step(written, pods, wanted)
        if not step.left or not policy.enabled or policy.mode != "restart":
            self.forget(workload)
            left = f"the mode restart was taken away, {step.left} pods stay" if step.left else ""
            return Patch(end(record), ends=left or "all pods that ran before are gone")
        for pod in step.evict:
            try:
                await evict(subject.api, workload.namespace, pod)
            except TooManyRequests as error:
                why = f"pod {pod.name} can't be evicted yet, and is tried again: {error.message}"
                subject.tell.held(subject, why)
                return Wait(why, at_least=error.retry_after or 0.0)
        if step.wait_for:
            subject.tell.waits(subject, step.wait_for)
        else:
            subject.tell.held(subject, "")
        return Wait(step.wait_for or "its pods are evicted one after another", after=_LOOK_AGAIN)

    async def _look(self, subject: Subject) -> tuple[tuple[Pod, ...], int | None]:
        """Its pods, and how many it is to have. The workload is read for its selector once, and each time where its
        status alone tells how many pods it is to have."""
        record, kind, wanted = subject.record, subject.kind, subject.record.replicas
        uid, selector = self._selectors.get(record.id, ("", ""))
        if wanted is None or uid != record.uid:
            found = await subject.api.get(subject.path)
            selector = selector_of(kind, found)
            self._selectors[record.id] = record.uid, selector
            wanted = desired(found) if wanted is None else wanted
        return await pods_of(subject.api, record.id, kind, selector), wanted

    def forget(self, workload: WorkloadId) -> None:
        """See `Mode`."""
        self._restarting.pop(workload, None)
        self._selectors.pop(workload, None)


class RestartAt(Mode):
    """Tells a kind's own controller to restart its pods."""

    async def begin(self, subject: Subject, decision: Decision) -> Patch:
        """See `Mode`."""
        present = await subject.read()
        return Patch(tell(subject.record, decision, subject.kind, subject.now, present))


async def pods_of(
    client: Lister, workload: WorkloadId, kind: WorkloadKind, selector: str = ""
) -> tuple[Pod, ...]:
    """The pods that a workload controls, and that have not come to their end. Raises ApiError.

    `selector`: the workload's own spec.selector as a labelSelector (`selector_of`), so that the server sends no others.
    "": all pods of the namespace are read, and its own are told by their owner.
    """
    wanted = Controller(kind.group, kind.kind, workload.name)
    return tuple(
        [
            Pod(
                pod.metadata.name,
                pod.metadata.uid,
                epoch(pod.metadata.creation_timestamp),
                pod.ready,
                pod.metadata.deletion_timestamp is not None,
            )
            for pod in await list_pods(client, workload.namespace, selector=selector)
            if pod.metadata.workload == wanted
        ]
    )


def selector_of(kind: WorkloadKind, workload: bytes) -> str:
    """The label selector of a workload's pods, out of its JSON, as a list request takes it; "" where it has none that
    is understood. A custom kind may mean something else by that field."""
    if kind.custom:
        return ""
    try:
        return pods.selector_of(_decode_selector(workload).spec.selector)
    except msgspec.DecodeError:
        return ""


def to_go(pods: Sequence[Pod], decision: Decision) -> tuple[Pod, ...]:
    """Which pods run older configuration: all but those that were surely created after the last of the changes."""
    stamps = [change.change.stamp for change in decision.changes]
    after = max(stamps) if stamps and all(stamps) else float("inf")
    return tuple(pod for pod in pods if not pod.going and pod.created <= after)


def begin(record: WorkloadRecord, decision: Decision, pods: Sequence[Pod]) -> bytes:
    """The patch that writes down the decision, and the pods that are to go."""
    if decision.applied is None:
        raise ValueError("a restart is begun with a record of what it is for")
    going = " ".join(sorted(pod.short for pod in pods)) or None
    return msgspec.json.encode(on_top(record, {APPLIED: encode(decision.applied), RESTARTING: going}))


def tell(
    record: WorkloadRecord,
    decision: Decision,
    kind: WorkloadKind,
    now: float,
    workload: Mapping[str, Any] | None = None,
) -> bytes:
    """The patch that has a kind's own controller restart its pods: `now` in seconds since the epoch, `workload` the
    whole object.

    Argo restarts what was created before the time in the field, and times are whole seconds. So it is the next one,
    which is after all pods that run, and never that which stands there.
    """
    if decision.applied is None:
        raise ValueError("a restart is begun with a record of what it is for")
    body = on_top(record, {APPLIED: encode(decision.applied)})
    present: Any = workload or {}
    for name in kind.restart_at:
        present = present.get(name) or {}
    after = int(now) + 1
    if timestamp(after) == present:
        after += 1
    place(body, kind.restart_at, timestamp(after))
    return msgspec.json.encode(body)


def end(record: WorkloadRecord) -> bytes:
    """The patch that says that the last pod is gone."""
    return msgspec.json.encode(on_top(record, {RESTARTING: None}))


def desired(workload: bytes) -> int | None:
    """How many pods a DaemonSet is to have, out of its JSON: as many as there are nodes for it. None: it does not say,
    or is of a kind that has no such number."""
    try:
        return _decode_status(workload).status.desired_number_scheduled
    except msgspec.DecodeError:
        return None


def next_step(going: Collection[str], pods: Sequence[Pod], wanted: int | None) -> Next:
    """Who goes next, by what is written down (`going`: `Pod.short` of each) and what runs now. Pure.

    `wanted`: how many pods the workload is to have; None where that can't be told.
    """
    old = [pod for pod in pods if pod.short in going]
    new = [pod for pod in pods if pod.short not in going and not pod.going]
    staying = [pod for pod in old if not pod.going]
    if not staying:
        return Next(left=len(old))
    unready = tuple(pod for pod in staying if not pod.ready)
    if unready:
        return Next(evict=unready, left=len(old))
    leaving = [pod.name for pod in pods if pod.going]
    if leaving:
        return Next(wait_for=f"pod {leaving[0]} is still terminating", left=len(old))
    starting = [pod.name for pod in new if not pod.ready]
    if starting:
        return Next(wait_for=f"pod {starting[0]}, which was started again, is not ready", left=len(old))
    if wanted is not None and len(staying) + len(new) < wanted:
        return Next(wait_for="a pod that was evicted has no successor yet", left=len(old))
    return Next(evict=(min(staying, key=lambda pod: (pod.created, pod.name)),), left=len(old))


async def evict(client: Creator, namespace: str, pod: Pod) -> None:
    """Evict this pod, and none that has taken its name. One that is gone is no error.

    Raises TooManyRequests where a PodDisruptionBudget says not now, and other ApiErrors.
    """
    body: Mapping[str, object] = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod.name, "namespace": namespace},
        "deleteOptions": {"preconditions": {"uid": pod.uid}},
    }
    try:
        await client.create(f"{PODS.path(namespace, pod.name)}/eviction", msgspec.json.encode(body))
    except (NotFound, Conflict):
        return
