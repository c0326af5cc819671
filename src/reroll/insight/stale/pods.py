"""What the audit keeps of a pod: what each container reads, and when it started.

What a pod reads stands in the pod itself, not in the workload's template: pods of an earlier revision read what
that said, and admission may have added containers.

A container's own start counts, not the pod's: when the kubelet starts it again, after a crash or a failed probe,
it reads variables and subPath mounts anew. One that waits to be started has read nothing yet.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from reroll.core.observe import epoch
from reroll.core.records import Reference, WorkloadId
from reroll.core.references import references
from reroll.core.template import PodSpec, PodTemplate
from reroll.kube.pods import Meta, decode_pod


class Reader(Struct, frozen=True, gc=False):
    """A container, and its references that a restart helps with."""

    container: str
    once: bool
    """A plain init container: it has run to its end, and only a new pod runs it again."""
    references: tuple[Reference, ...]


class RunningPod(Struct, frozen=True, gc=False):
    """One pod that runs."""

    name: str
    workload: WorkloadId
    readers: tuple[Reader, ...]
    """Shared by all pods of one revision; only containers that read something."""
    started: tuple[float, ...]
    """By reader, seconds since the epoch; 0: it did not start yet."""


_decode_spec = msgspec.json.Decoder(PodSpec).decode


class Pods:
    """Takes pods in, one by one. `pods` are those that run and read something."""

    def __init__(self) -> None:
        self.pods: list[RunningPod] = []
        self._readers: dict[tuple[object, ...], tuple[Reader, ...]] = {}
        self._workloads: dict[WorkloadId, WorkloadId] = {}

    def take(self, raw: msgspec.Raw) -> None:
        """Take in the JSON of one pod."""
        pod = decode_pod(raw)
        meta, status = pod.metadata, pod.status
        if status.phase != "Running" or meta.deletion_timestamp is not None:
            return
        starts: dict[str, tuple[float, bool]] = {}
        for each in (
            *(status.init_container_statuses or ()),
            *(status.container_statuses or ()),
            *(status.ephemeral_container_statuses or ()),
        ):
            if each.state is not None and (at := each.state.running or each.state.terminated) is not None:
                starts[each.name] = (epoch(at.started_at), each.state.running is not None)
        workload, revision = _owner(meta), meta.revision
        workload = self._workloads.setdefault(workload, workload)
        known = (workload, revision, tuple(starts)) if revision else None
        readers = self._readers.get(known) if known else None
        if readers is None:
            readers = _readers(_decode_spec(pod.spec))
            if known:
                self._readers[known] = readers
        if readers:
            begun = [(each, *starts.get(each.container, (0.0, False))) for each in readers]
            started = tuple([at if runs or each.once else 0.0 for each, at, runs in begun])
            self.pods.append(RunningPod(meta.name, workload, readers, started))


def _owner(meta: Meta) -> WorkloadId:
    """The workload of a pod, or the pod itself where nothing controls it."""
    found = meta.workload
    if found is None:
        return WorkloadId("Pod", meta.namespace, meta.name)
    return WorkloadId(found.kind, meta.namespace, found.name)


def _readers(spec: PodSpec) -> tuple[Reader, ...]:
    """The containers that read something, each by itself."""
    alone = replace(spec, containers=None, init_containers=None, ephemeral_containers=None)
    parts = [
        *((each, replace(alone, init_containers=[each])) for each in spec.init_containers or ()),
        *((each, replace(alone, containers=[each])) for each in spec.containers or ()),
        *((each, replace(alone, ephemeral_containers=[each])) for each in spec.ephemeral_containers or ()),
    ]
    readers = [
        Reader(
            container.name or "",
            part.init_containers is not None and container.restart_policy != "Always",
            _rolled(part),
        )
        for container, part in parts
    ]
    return tuple([reader for reader in readers if reader.references])


def _rolled(spec: PodSpec) -> tuple[Reference, ...]:
    return tuple([each for each in references(PodTemplate(spec_=spec)) if each.rolls])
