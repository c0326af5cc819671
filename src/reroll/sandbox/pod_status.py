"""The status of a pod that has a node, as its kubelet tells it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal, TypeAlias

from msgspec import Struct

from reroll.sandbox import conditions
from reroll.sandbox.storage import Object

Phase: TypeAlias = Literal["Pending", "Running", "Succeeded", "Failed"]


class Life(Struct, frozen=True):
    """How far a pod is."""

    phase: Phase
    ready: bool
    crashed: bool
    started: Collection[str]
    """The containers that were started."""
    waiting: Mapping[str, str]
    """By container, why it can't be configured."""
    restarts: int
    last_state: Object
    """Of its containers before their last restart; {}: there was none."""
    address: str


def pod_status(pod: Object, life: Life, now: str) -> Object:
    """The status that follows on the one that the pod has. `now` as the API writes times."""
    before: Object = pod.get("status") or {}
    spec = pod["spec"]
    since = before.get("startTime", now)
    held = before.get("conditions") or []
    initialized = all(one["name"] in life.started for one in spec.get("initContainers") or ())
    not_ready = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}.get(life.phase, "ContainersNotReady")
    for type, holds, reason in (
        ("PodScheduled", True, ""),
        ("Initialized", initialized, "ContainersNotInitialized"),
        ("ContainersReady", life.ready, not_ready),
        ("Ready", life.ready, not_ready),
    ):
        held = conditions.put(held, type, "True" if holds else "False", "" if holds else reason, "", now)
    status = {
        "phase": life.phase,
        "conditions": held,
        "hostIP": "127.0.0.1",
        "podIP": life.address,
        "podIPs": [{"ip": life.address}],
        "startTime": since,
        "qosClass": before.get("qosClass", "BestEffort"),
    }
    statuses = [_init_status(one, life, since) for one in spec.get("initContainers") or ()]
    if statuses:
        status["initContainerStatuses"] = statuses
    status["containerStatuses"] = [_status(one, life, since, now) for one in spec.get("containers") or ()]
    return status


def _init_status(container: Object, life: Life, since: str) -> Object:
    """Of one that runs to its end before the others start; a sidecar, which goes on, is as they are."""
    if container.get("restartPolicy") == "Always":
        return _status(container, life, since, since)
    waiting = _waiting(container["name"], life)
    state = waiting or {"terminated": _ended(0, "Completed", since, since)}
    return _told(container, state, ready=waiting is None, restarts=0, last_state={})


def _status(container: Object, life: Life, since: str, now: str) -> Object:
    last_state = life.last_state
    if (waiting := _waiting(container["name"], life)) is not None:
        state = waiting
    elif life.phase == "Succeeded":
        state = {"terminated": _ended(0, "Completed", since, now)}
    elif life.phase == "Failed":
        state, last_state = life.last_state, {}
    elif life.crashed:
        message = "back-off restarting failed container"
        state = {"waiting": {"reason": "CrashLoopBackOff", "message": message}}
    else:
        state = {"running": {"startedAt": since}}
    return _told(container, state, ready=life.ready, restarts=life.restarts, last_state=last_state)


def _waiting(name: str, life: Life) -> Object | None:
    """The state of a container that was not started; None: it was."""
    if name in life.waiting:
        return {"waiting": {"reason": "CreateContainerConfigError", "message": life.waiting[name]}}
    if name in life.started:
        return None
    return {"waiting": {"reason": "PodInitializing" if life.waiting else "ContainerCreating"}}


def crashed_state(why: str, now: str) -> Object:
    """The state of a container that crashed."""
    return {"terminated": {**_ended(1, "Error", now, now), "message": why}}


def _ended(code: int, reason: str, since: str, until: str) -> Object:
    return {"exitCode": code, "reason": reason, "startedAt": since, "finishedAt": until}


def _told(container: Object, state: Object, *, ready: bool, restarts: int, last_state: Object) -> Object:
    return {
        "name": container["name"],
        "image": container.get("image", ""),
        "imageID": "",
        "ready": ready,
        "started": "running" in state,
        "restartCount": restarts,
        "state": state,
        "lastState": last_state,
    }
