"""Why does a rollout not come to its end? Told by its pods, their events and the last lines of their logs.

All of it is asked for when a rollout has failed or takes long, and what may not be read is left out: a reason is
help, never a condition. Lines of logs are the application's own words.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec
from msgspec import Struct

from reroll.core.kinds import STATEFUL_SET
from reroll.core.observe import epoch
from reroll.core.records import WorkloadId
from reroll.kube.errors import ApiError
from reroll.kube.pods import ContainerStatus, Pod, list_pods
from reroll.kube.ports import Asker, Getter, Lister
from reroll.kube.resources import PODS, Resource
from reroll.rollouts.live import RESTARTED_AT, Live, read

_CORE_EVENTS = Resource("", "v1", "events", "Event")
_MOST_PODS: Final = 3
_MOST_EVENTS: Final = 3
_MOST_SHORT: Final = 2
_PATIENCE: Final = 15.0  # seconds; a report goes out without a reason then
_LINE: Final = 300
HOPELESS_AFTER: Final = 3
"""A container that has crashed so often is taken for broken, where nothing else ends the wait (`Why.broken`)."""
_HOPELESS: Final = ("InvalidImageName",)
"""What no container comes out of by itself. A missing ConfigMap or an image that can't be pulled may still come."""


class _Event(Struct, gc=False, rename="camel"):
    reason: str = ""
    message: str = ""
    count: int | None = None
    last_timestamp: str | None = None
    event_time: str | None = None


class _Events(Struct, gc=False):
    items: list[_Event] | None = None


class Reason(Struct, frozen=True):
    """One thing that stands in the way."""

    what: str
    """Such as ``pod web-7d9-x2x, container web: CrashLoopBackOff (exit code 1, 4 restarts)``."""
    log: tuple[str, ...] = ()
    """The last lines that the container wrote."""


class Why(Struct, frozen=True):
    """All that was found."""

    reasons: tuple[Reason, ...] = ()
    broken: bool = False
    """A new pod crashes again and again, or can never start."""


class Reader(Getter, Lister, Protocol):
    """Reads objects and lists."""


_decode_events = msgspec.json.Decoder(_Events).decode


async def why(client: Asker, workload: WorkloadId, live: Live, *, log_lines: int = 10) -> Why:
    """Why the pods of a workload are not ready, the newest pods first; and why it can't make them. Never raises."""
    reasons: list[Reason] = []
    failure = live.condition("ReplicaFailure")
    if failure is not None and failure.status == "True":
        reasons.append(Reason(f"its pods can't be made: {_cut(failure.message)}"))
    try:
        pods = await find_pods(client, workload, live)
    except (ApiError, msgspec.DecodeError) as error:
        return Why((*reasons, Reason(f"its pods can't be read: {error}")))
    unready = [pod for pod in pods if _is_unready(pod)]
    unready.sort(key=lambda pod: (not _is_new(pod, workload, live), -epoch(pod.metadata.creation_timestamp)))
    for pod in unready[:_MOST_PODS]:
        reasons += await _of_pod(client, workload.namespace, pod, log_lines)
    if len(unready) > _MOST_PODS:
        reasons.append(Reason(f"and {len(unready) - _MOST_PODS} more pods are not ready"))
    if not unready and failure is None:
        reasons += [Reason(each) for each in await _events(client, workload.namespace, live.metadata.uid)]
    return Why(tuple(reasons), any(_is_broken(pod) for pod in unready if _is_new(pod, workload, live)))


async def in_short(client: Reader, workload: WorkloadId) -> str:
    """The same in a few words, as an Event takes them; "" where nothing is found. Never raises.

    By the workload's selector and the statuses of its pods alone: two requests, and no other permission than that to
    list pods. What is true of several pods is said once.
    """
    try:
        async with asyncio.timeout(_PATIENCE):
            live = await read(client, workload)
            unready = list(await find_pods(client, workload, live, keep=_is_unready))
    except (ApiError, msgspec.DecodeError, TimeoutError):
        return ""
    unready.sort(key=lambda pod: (not _is_new(pod, workload, live), -epoch(pod.metadata.creation_timestamp)))
    words: dict[str, str] = {}
    for pod in unready:
        for what in _of_containers(pod) + _of_itself(pod):
            words.setdefault(what, f"pod {pod.metadata.name}{what}")
    found = list(words.values())[:_MOST_SHORT]
    if unready and not found:
        found = [f"pod {unready[0].metadata.name} is not ready"]
    return "; ".join(found)


async def find_pods(
    client: Lister, workload: WorkloadId, live: Live, *, keep: Callable[[Pod], bool] = lambda pod: True
) -> Sequence[Pod]:
    """The pods that its selector finds and `keep` says yes to, but for those that are done. Raises ApiError and
    msgspec.DecodeError."""
    selector = live.pods_selector
    if not selector:
        return ()
    return await list_pods(
        client, workload.namespace, selector=selector, fields="status.phase!=Succeeded", keep=keep
    )


def _is_unready(pod: Pod) -> bool:
    return not pod.ready and pod.metadata.deletion_timestamp is None


def _is_new(pod: Pod, workload: WorkloadId, live: Live) -> bool:
    """Of the newest revision, as far as its marks tell."""
    if workload.kind == STATEFUL_SET.id and live.status.update_revision:
        return (pod.metadata.labels or {}).get("controller-revision-hash") == live.status.update_revision
    return (pod.metadata.annotations or {}).get(RESTARTED_AT) == live.restarted_at


def _is_broken(pod: Pod) -> bool:
    statuses = (*(pod.status.init_container_statuses or ()), *(pod.status.container_statuses or ()))
    return any(
        not each.ready and (each.restart_count >= HOPELESS_AFTER or _waits_for(each) in _HOPELESS)
        for each in statuses
    )


def _waits_for(container: ContainerStatus) -> str:
    waiting = container.state.waiting if container.state is not None else None
    return waiting.reason if waiting is not None else ""


async def _of_pod(client: Asker, namespace: str, pod: Pod, log_lines: int) -> list[Reason]:
    found: list[Reason] = []
    name = pod.metadata.name
    for container, words in _unready(pod):
        log = await _log(client, namespace, name, container, log_lines)
        found.append(Reason(f"pod {name}, container {container.name}: {words}", log))
    found += [Reason(f"pod {name}{what}") for what in _of_itself(pod)]
    told = " ".join(each.what for each in found)
    events = await _events(client, namespace, pod.metadata.uid)
    found += [Reason(f"pod {name}: {each}") for each in events if each.partition(": ")[2] not in told]
    return found or [Reason(f"pod {name} is not ready")]


def _unready(pod: Pod) -> list[tuple[ContainerStatus, str]]:
    """The containers that something is wrong with, and what."""
    inits = pod.status.init_container_statuses or []
    all_of_them = (*inits, *(pod.status.container_statuses or ()))
    looked_at = ((each, _of_container(each, init=each in inits)) for each in all_of_them)
    return [(each, words) for each, words in looked_at if words]


def _of_containers(pod: Pod) -> list[str]:
    return [f", container {container.name}: {words}" for container, words in _unready(pod)]


def _of_itself(pod: Pod) -> list[str]:
    """What is wrong with a pod as a whole, to be put after its name."""
    found = []
    scheduled = pod.status.condition("PodScheduled")
    if scheduled is not None and scheduled.status == "False":
        found.append(f" can't be scheduled: {_cut(scheduled.message)}")
    if pod.status.phase == "Failed":
        found.append(f" failed: {_cut(pod.status.message or pod.status.reason)}")
    return found


def _of_container(container: ContainerStatus, *, init: bool) -> str:
    """What is wrong with it, "" if nothing."""
    state, last = container.state, container.last_state
    if state is None or container.ready:
        return ""
    if init and state.terminated is not None and state.terminated.exit_code == 0:
        return ""
    if init and state.waiting is not None and state.waiting.reason == "PodInitializing":
        return ""
    ended = state.terminated or (last.terminated if last is not None else None)
    facts: list[str] = []
    if ended is not None:
        facts.append(f"exit code {ended.exit_code}")
    if container.restart_count:
        facts.append(f"{container.restart_count} restart{'' if container.restart_count == 1 else 's'}")
    tail = f" ({', '.join(facts)})" if facts else ""
    if state.waiting is not None:
        if state.waiting.reason in ("ContainerCreating", "PodInitializing", ""):
            return ""
        message = "" if ended is not None or not state.waiting.message else f": {_cut(state.waiting.message)}"
        return f"{state.waiting.reason}{tail}{message}"
    if state.terminated is not None:
        return f"{state.terminated.reason or 'ended'}{tail}"
    return "" if init else f"runs and is not ready{tail}"


async def _log(
    client: Asker, namespace: str, pod: str, container: ContainerStatus, lines: int
) -> tuple[str, ...]:
    """The last lines of a container, of the one that ended where it waits to be started again."""
    started = container.state is not None and container.state.waiting is None
    if not lines or not (started or container.restart_count):
        return ()
    query = f"container={container.name}&tailLines={lines}" + ("" if started else "&previous=true")
    try:
        text = await client.get(f"{PODS.path(namespace, pod)}/log?{query}", accept="*/*", attempts=1)
    except ApiError:
        return ()
    found = text.decode("utf-8", "replace").splitlines()[-lines:]
    return tuple("".join(c for c in line if c.isprintable() or c == "\t")[:_LINE] for line in found)


async def _events(client: Asker, namespace: str, uid: str) -> list[str]:
    """The last warnings about one object."""
    fields = f"involvedObject.uid={uid},type=Warning"
    path = _CORE_EVENTS.path(namespace, None, fieldSelector=fields, limit=100)
    try:
        found = _decode_events(await client.list_page(path, attempts=1)).items or []
    except (ApiError, msgspec.DecodeError):
        return []
    found.sort(key=lambda event: epoch(event.last_timestamp or event.event_time))
    words = {f"{event.reason}: {_cut(event.message)}": None for event in found}
    return list(words)[-_MOST_EVENTS:]


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LINE else line[: _LINE - 3] + "..."
