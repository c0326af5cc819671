"""Which workloads are meant? By name, by label, by what they consume, by whether they run older configuration."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

import msgspec
from msgspec import Struct

from reroll.core.kinds import WorkloadKind
from reroll.core.records import ConfigId, Reference, WorkloadId
from reroll.core.references import references
from reroll.core.selector import Selector
from reroll.core.template import PodTemplate
from reroll.insight.stale.audit import audit
from reroll.insight.stale.report import Certainty, Finding
from reroll.kube.client import Client
from reroll.kube.errors import Forbidden, NotFound
from reroll.kube.pages import read_list
from reroll.kube.resources import Resource
from reroll.rollouts.live import RESTARTABLE


class Target(Struct, frozen=True):
    """A workload that is to be restarted."""

    workload: WorkloadId
    why: tuple[str, ...] = ()
    pods: frozenset[str] | None = None
    """The names of those of its pods that run older configuration; None: all of them are meant."""


class Wanted(Struct, frozen=True):
    """What was asked for. What is given here narrows down together."""

    scopes: tuple[str, ...] = ()
    """Namespaces, () for all."""
    names: tuple[WorkloadId, ...] = ()
    labels: str = ""
    """A label selector."""
    consumers_of: tuple[Selector, ...] = ()
    only_stale: bool = False
    sure: Certainty = "possible"


class _Meta(Struct, gc=False):
    name: str = ""
    namespace: str = ""


class _Spec(Struct, gc=False):
    template: msgspec.Raw = msgspec.Raw(b"{}")


class _Object(Struct, gc=False):
    metadata: _Meta
    spec: _Spec = msgspec.field(default_factory=_Spec)


_decode = msgspec.json.Decoder(_Object).decode
_decode_template = msgspec.json.Decoder(PodTemplate).decode


async def select(
    client: Client, wanted: Wanted, *, now: Callable[[], float] = time.time
) -> tuple[list[Target], list[str]]:
    """(the workloads, sorted unless they were named; notes about what could not be looked at, for people).

    Raises ApiError, and msgspec.DecodeError for an answer that is not understood.
    """
    notes: list[str] = []
    found: dict[WorkloadId, tuple[str, ...]] | None = (
        dict.fromkeys(wanted.names, ()) if wanted.names else None
    )
    if wanted.labels or wanted.consumers_of:
        listed = await _listed(client, wanted)
        found = listed if found is None else {each: listed[each] for each in found if each in listed}
    if not wanted.only_stale:
        targets = [Target(workload, why) for workload, why in (found or {}).items()]
    else:
        only = None if found is None else set(found)
        report = await audit(client, now=now(), namespaces=wanted.scopes, only=only, at_least=wanted.sure)
        notes += report.notes
        targets = []
        for each in report.stale:
            workload = WorkloadId(each.kind, each.namespace, each.name)
            findings = [f for f in each.findings if _asked(f, workload, wanted.consumers_of)]
            if not findings:
                continue
            if each.kind not in RESTARTABLE:
                notes.append(f"{each} runs older configuration, and is of a kind that is not restarted here")
                continue
            why = dict.fromkeys(f"{f.certainty}: older {f.what}: {f.where}" for f in findings)
            targets.append(Target(workload, tuple(why), frozenset(pod for f in findings for pod in f.pods)))
    if not wanted.names:
        targets.sort(key=lambda each: (each.workload.namespace, each.workload.kind, each.workload.name))
    return targets, notes


def _asked(finding: Finding, workload: WorkloadId, selectors: Sequence[Selector]) -> bool:
    if not selectors:
        return True
    kind, _, name = finding.config.partition("/")
    config = ConfigId(kind, workload.namespace, name)  # type: ignore[arg-type]  # it was made of a ConfigKind
    return any(_meets(each, config, finding.keys, workload.namespace) for each in selectors)


def _meets(selector: Selector, config: ConfigId, keys: Sequence[str] | None, home: str) -> bool:
    if not selector.matches(config, home):
        return False
    return keys is None or selector.keys is None or not set(keys).isdisjoint(selector.keys)


def consumes(template: PodTemplate, namespace: str, selectors: Sequence[Selector]) -> tuple[Reference, ...]:
    """The references of a pod template to what `selectors` name, of those that a restart helps with. Pure."""
    return tuple(
        ref
        for ref in references(template)
        if ref.rolls
        and any(_meets(s, ConfigId(ref.kind, namespace, ref.name), ref.keys, namespace) for s in selectors)
    )


async def _listed(client: Client, wanted: Wanted) -> dict[WorkloadId, tuple[str, ...]]:
    """Those that match the labels and consume what is asked for, each with why."""
    found: dict[WorkloadId, tuple[str, ...]] = {}

    def take(kind: WorkloadKind, raw: msgspec.Raw) -> None:
        obj = _decode(raw)
        workload = WorkloadId(kind.id, obj.metadata.namespace, obj.metadata.name)
        if not wanted.consumers_of:
            found[workload] = ()
            return
        template = _decode_template(obj.spec.template)
        refs = consumes(template, workload.namespace, wanted.consumers_of)
        if refs:
            why = dict.fromkeys(f"consumes {ref.kind}/{ref.name}: {ref.where}" for ref in refs)
            found[workload] = tuple(why)

    for scope in wanted.scopes or ("",):
        for kind in RESTARTABLE.values():
            await list_kind(client, kind, scope, partial(take, kind), labels=wanted.labels)
    return found


async def list_kind(
    client: Client, kind: WorkloadKind, scope: str, take: Callable[[msgspec.Raw], None], *, labels: str = ""
) -> None:
    """Hand over the JSON of all workloads of a kind in a namespace ("": in all). `take` may be handed one twice.

    A kind that not every cluster serves, and that this one does not (or does not show), has none. Raises ApiError.
    """
    resource = Resource(kind.group, kind.version, kind.plural, kind.kind)
    path = partial(resource.path, scope or None, None, labelSelector=labels or None)
    try:
        await read_list(client, path, take, begin_again=lambda: None)
    except (NotFound, Forbidden):
        if not kind.optional:
            raise
