"""Reads what the audit is made of: metadata of ConfigMaps and Secrets, and pods, page by page, all at once.

The server is never asked for the content of a ConfigMap or Secret. Each page is reduced as it comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from functools import partial
from typing import Protocol, TypeVar

import msgspec
from msgspec import Struct

from reroll.core.kinds import WORKLOAD_KINDS, WorkloadKind
from reroll.core.records import ConfigId, ConfigKind, WorkloadId
from reroll.insight.stale.judge import judge
from reroll.insight.stale.pods import Pods, RunningPod
from reroll.insight.stale.report import Certainty, Report, time_text
from reroll.insight.stale.times import ConfigMeta, ConfigTimes, config_times
from reroll.kube.client import Client
from reroll.kube.errors import Forbidden
from reroll.kube.pages import METADATA_ONLY, read_list
from reroll.kube.resources import CONFIG_MAPS, PODS, SECRETS, Resource

_SOURCES: dict[ConfigKind, Resource] = {"configmap": CONFIG_MAPS, "secret": SECRETS}
_MOST_NAMED = 5


class _Config(Struct, gc=False):
    metadata: ConfigMeta


class _Name(Struct, gc=False):
    name: str = ""
    namespace: str = ""


class _Named(Struct, gc=False):
    metadata: _Name


_config = msgspec.json.Decoder(_Config).decode
_named = msgspec.json.Decoder(_Named).decode


async def audit(
    client: Client,
    *,
    now: float,
    namespaces: Sequence[str] = (),
    selector: str = "",
    only: Collection[WorkloadId] | None = None,
    at_least: Certainty = "possible",
) -> Report:
    """Audit these namespaces, or () all.

    `now` is when, in seconds since the epoch, for the answer alone. With a label `selector` only the Deployments,
    StatefulSets and DaemonSets that it matches are looked at, and with `only` these workloads. A kind of config
    object that may not be listed is named in the answer's notes. Raises ApiError when pods can't be listed, and
    msgspec.DecodeError for an answer that is not understood.
    """
    notes: list[str] = []
    scopes = tuple(namespaces) or ("",)
    if selector:
        matched = await labelled(client, scopes, selector)
        only = matched if only is None else matched.intersection(only)
    times: dict[ConfigId, ConfigTimes] = {}
    pods: list[RunningPod] = []
    jobs: list[Coroutine[None, None, None]] = []
    for scope in scopes:
        jobs += [_read_times(client, scope, kind, times, notes) for kind in _SOURCES]
        jobs.append(_read_pods(client, scope, pods))
    await _together(jobs)
    looked_at = [pod for pod in pods if only is None or pod.workload in only]
    _tell_unknown(looked_at, times, notes)
    return Report(
        cluster=client.config.server,
        at=time_text(now),
        namespaces=tuple(namespaces),
        pods=len(looked_at),
        workloads=judge(looked_at, times, at_least=at_least),
        notes=tuple(notes),
    )


async def labelled(client: Client, scopes: Sequence[str], selector: str) -> set[WorkloadId]:
    """The workloads of these namespaces ("": of all) whose labels match. Raises ApiError."""
    found: set[WorkloadId] = set()

    async def read(scope: str, kind: WorkloadKind) -> None:
        resource = Resource(kind.group, kind.version, kind.plural, kind.kind)
        names = await _collect(client, resource, scope, _Names, accept=METADATA_ONLY, selector=selector)
        found.update([WorkloadId(kind.kind, *name) for name in names.names])

    await _together([read(scope, kind) for scope in scopes for kind in WORKLOAD_KINDS.values()])
    return found


class _Taker(Protocol):
    """What a list is taken into."""

    def take(self, raw: msgspec.Raw) -> None: ...


class _Names:
    """(namespace, name) of each object."""

    def __init__(self) -> None:
        self.names: list[tuple[str, str]] = []

    def take(self, raw: msgspec.Raw) -> None:
        meta = _named(raw).metadata
        self.names.append((meta.namespace, meta.name))


class _Times:
    """When the keys of each object were written, by namespace and name."""

    def __init__(self) -> None:
        self.times: dict[tuple[str, str], ConfigTimes] = {}

    def take(self, raw: msgspec.Raw) -> None:
        meta = _config(raw).metadata
        self.times[meta.namespace, meta.name] = config_times(meta)


async def _read_times(
    client: Client,
    scope: str,
    kind: ConfigKind,
    times: dict[ConfigId, ConfigTimes],
    notes: list[str],
) -> None:
    try:
        found = await _collect(client, _SOURCES[kind], scope, _Times, accept=METADATA_ONLY)
    except Forbidden as error:
        notes.append(f"{_SOURCES[kind].plural} were not looked at: {error.message}")
        return
    times.update({ConfigId(kind, *name): each for name, each in found.times.items()})


async def _read_pods(client: Client, scope: str, pods: list[RunningPod]) -> None:
    # What has ended runs with nothing, and finished Jobs leave many of them.
    ended = "status.phase!=Succeeded,status.phase!=Failed"
    pods += (await _collect(client, PODS, scope, Pods, fields=ended)).pods


T = TypeVar("T", bound=_Taker)


async def _collect(
    client: Client,
    resource: Resource,
    scope: str,
    new: Callable[[], T],
    *,
    accept: str | None = None,
    selector: str = "",
    fields: str = "",
) -> T:
    """List one collection into a new taker, from the beginning if it took too long for one list."""
    path = partial(
        resource.path, scope or None, None, labelSelector=selector or None, fieldSelector=fields or None
    )
    taker = new()

    def begin_again() -> None:
        nonlocal taker
        taker = new()

    await read_list(client, path, lambda raw: taker.take(raw), begin_again=begin_again, accept=accept)
    return taker


async def _together(jobs: Sequence[Coroutine[None, None, None]]) -> None:
    """Run them all at once; the first failure ends the others, and is raised as it is."""
    tasks = [asyncio.create_task(job) for job in jobs]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _tell_unknown(
    pods: Sequence[RunningPod], times: Mapping[ConfigId, ConfigTimes], notes: list[str]
) -> None:
    """Note the objects that are read and have no managedFields: somebody cleared them."""
    asked = {
        ConfigId(ref.kind, pod.workload.namespace, ref.name)
        for pod in pods
        for reader in pod.readers
        for ref in reader.references
    }
    unknown = sorted(str(each) for each in asked if each in times and not times[each].known)
    if unknown:
        more = f" and {len(unknown) - _MOST_NAMED} more" if len(unknown) > _MOST_NAMED else ""
        notes.append(
            f"changes of {', '.join(unknown[:_MOST_NAMED])}{more} can't be told: their metadata.managedFields "
            f"are empty"
        )
