"""Do containers run with older content than the server holds? Their starts against the times of the keys. Pure.

The server's times are whole seconds, and what happened within one can't be put in order: a container that started
in the second of a change counts as started after it, as mostly one apply makes both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from msgspec import Struct

from reroll.core.records import ConfigId, Reference, WorkloadId
from reroll.insight.stale.pods import RunningPod
from reroll.insight.stale.report import (
    CERTAINTIES,
    Certainty,
    Finding,
    WorkloadAudit,
    time_text,
)
from reroll.insight.stale.times import ConfigTimes, KeyChange, changes

_Key: TypeAlias = tuple[str, Reference, KeyChange, bool]


class _Found(Struct, gc=False):
    """One finding while it is put together."""

    started: float
    pods: dict[str, None]


class _Workload(Struct, gc=False):
    pods: int
    stale: int
    findings: dict[_Key, _Found]


def judge(
    pods: Iterable[RunningPod],
    times: Mapping[ConfigId, ConfigTimes],
    *,
    at_least: Certainty = "possible",
) -> tuple[WorkloadAudit, ...]:
    """What is found of each workload, sorted by namespace, kind and name.

    Findings that are less certain than `at_least` are left out. An object that is not in `times` (it does not
    exist, or can't be read) tells nothing.
    """
    wanted = CERTAINTIES[: CERTAINTIES.index(at_least) + 1]
    known: dict[tuple[ConfigId, tuple[str, ...] | None], tuple[KeyChange, ...]] = {}
    latest = {config: each.latest for config, each in times.items()}
    workloads: dict[WorkloadId, _Workload] = {}
    for pod in pods:
        workload = workloads.setdefault(pod.workload, _Workload(0, 0, {}))
        workload.pods += 1
        stale = False
        for reader, started in zip(pod.readers, pod.started, strict=True):
            if not started:
                continue
            for ref in reader.references:
                config = ConfigId(ref.kind, pod.workload.namespace, ref.name)
                if latest.get(config, 0.0) <= started:
                    continue
                held = times[config]
                asked = (config, ref.keys)
                if asked not in known:
                    known[asked] = changes(held, ref.keys)
                created_later = started < held.created
                for change in known[asked]:
                    if started < change.time and _certainty(ref, change, created_later) in wanted:
                        found = workload.findings.setdefault(
                            (reader.container, ref, change, created_later), _Found(started, {})
                        )
                        found.started = min(found.started, started)
                        found.pods[pod.name] = None
                        stale = True
        workload.stale += stale
    return tuple(_audit(each, workloads[each]) for each in sorted(workloads, key=_order))


def _order(workload: WorkloadId) -> tuple[str, str, str]:
    return workload.namespace, workload.kind, workload.name


def _certainty(ref: Reference, change: KeyChange, created_later: bool) -> Certainty:
    if ref.sees == "later":
        return "possible"
    return "likely" if change.bound or created_later else "certain"


def _audit(workload: WorkloadId, found: _Workload) -> WorkloadAudit:
    findings = sorted(
        (_finding(key, each) for key, each in found.findings.items()),
        key=lambda each: (CERTAINTIES.index(each.certainty), each.config, each.keys, each.where),
    )
    return WorkloadAudit(
        kind=workload.kind,
        namespace=workload.namespace,
        name=workload.name,
        pods=found.pods,
        stale_pods=found.stale,
        certainty=findings[0].certainty if findings else None,
        since=min((each.changed for each in findings), default=None),
        findings=tuple(findings),
    )


def _finding(key: _Key, found: _Found) -> Finding:
    _, ref, change, created_later = key
    return Finding(
        config=f"{ref.kind}/{ref.name}",
        keys=change.keys,
        where=ref.where,
        means=ref.means,
        sees=ref.sees,
        certainty=_certainty(ref, change, created_later),
        changed=time_text(change.time),
        bound=change.bound,
        beside=change.beside,
        created_later=created_later,
        started=time_text(found.started),
        pods=tuple(sorted(found.pods)),
    )
