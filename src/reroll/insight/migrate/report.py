"""The whole answer: per workload what acts on it today, what reroll would do, and what to write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from reroll.core.kinds import CRON_JOB, JOB
from reroll.core.records import Consumed
from reroll.dialects import Dialects
from reroll.insight.lint.finding import SEVERITIES
from reroll.insight.migrate import findings
from reroll.insight.migrate.findings import Finding, Where
from reroll.insight.migrate.mechanisms import (
    NAMES,
    Mechanism,
    acts,
    mechanisms,
    reloader_follows,
    reloader_policy,
    reroll_follows,
    reroll_policy,
)
from reroll.insight.migrate.native import Proposal, propose, propose_config
from reroll.insight.migrate.scene import Config, Scene, Workload


class WorkloadReport(Struct, frozen=True):
    """One workload."""

    workload: str
    """Such as ``deployment/shop/web``."""
    kind: str
    namespace: str
    name: str
    file: str
    line: int
    mechanisms: tuple[Mechanism, ...]
    """What acts on it today."""
    drop_in: tuple[str, ...]
    """What reroll would roll it for with its annotations as they are, and which keys count: ``configmap/app#A``."""
    native: tuple[str, ...]
    """The same, with what is proposed and without any annotation of others."""
    differences: tuple[str, ...]
    """In what reroll differs from what acts today."""
    annotations: dict[str, str]
    """What to write on it."""
    snippet: str
    carried: tuple[str, ...]
    """Annotations of others that can go then."""
    kept: dict[str, str]
    """Those that have no equal -> why."""


class ConfigReport(Struct, frozen=True):
    """A config object with annotations of Reloader."""

    config: str
    file: str
    line: int
    annotations: dict[str, str]
    snippet: str
    carried: tuple[str, ...]


class Summary(Struct, frozen=True):
    """The counts."""

    workloads: int
    """All that were read."""
    by: dict[str, int]
    """Mechanism -> workloads on which it acts."""
    findings: dict[str, int]
    """Severity -> findings."""
    to_write: int
    """Objects that get annotations of reroll."""


class Report(Struct, frozen=True):
    """The whole answer."""

    source: str
    reloader: str
    """Where it was told how Reloader runs; "": nowhere, and its defaults are assumed."""
    workloads: tuple[WorkloadReport, ...]
    """Those on which anything acts, or of which there is anything to say."""
    configs: tuple[ConfigReport, ...]
    findings: tuple[Finding, ...]
    summary: Summary
    notes: tuple[str, ...] = ()
    """What could not be read."""

    @property
    def worth_a_look(self) -> bool:
        """Is there any error or warning?"""
        return any(one.severity != "info" for one in self.findings)


class Plans(Struct, frozen=True):
    """What is to be written, by the places of the objects in their lists of the scene."""

    workloads: dict[int, Proposal]
    configs: dict[int, Proposal]


def plan(scene: Scene) -> Plans:
    """What to write on each workload and config object."""
    return Plans(
        {number: _proposal(one, scene) for number, one in enumerate(scene.workloads)},
        {
            number: propose_config(one.annotations, scene.reloader.keys)
            for number, one in enumerate(scene.configs)
        },
    )


def report(scene: Scene, plans: Plans, where: Where = lambda source, path: source.line) -> Report:
    """The whole answer. `where` tells the lines of findings."""
    raised = list(findings.of_scene(scene))
    told: list[WorkloadReport] = []
    by = dict.fromkeys(NAMES, 0)
    for number, workload in enumerate(scene.workloads):
        proposal = plans.workloads[number]
        acting = mechanisms(workload, scene)
        own = list(findings.of_workload(workload, scene, acting, proposal, where))
        raised += own
        for one in acting:
            by[one.name] += 1
        if acting or own or proposal.annotations or proposal.carried:
            told.append(_workload(workload, scene, acting, proposal))
    configs = []
    for number, config in enumerate(scene.configs):
        raised += findings.of_config(config, scene.reloader.keys, where)
        proposal = plans.configs[number]
        if proposal.annotations or proposal.carried:
            configs.append(_config(config, proposal))
    for thing in scene.others:
        raised += findings.of_other(thing, scene.reloader.keys, where)
    raised = sorted(
        dict.fromkeys(raised), key=lambda one: (SEVERITIES.index(one.severity), one.file, one.object, one.id)
    )
    everything = [*plans.workloads.values(), *plans.configs.values()]
    return Report(
        source=scene.where,
        reloader=scene.reloader.told_by,
        workloads=tuple(told),
        configs=tuple(configs),
        findings=tuple(raised),
        summary=Summary(
            workloads=len(scene.workloads),
            by={str(name): count for name, count in by.items() if count},
            findings={
                severity: count
                for severity in SEVERITIES
                if (count := sum(one.severity == severity for one in raised))
            },
            to_write=sum(bool(one.annotations) for one in everything),
        ),
        notes=(*scene.notes, *_as_ours(scene)),
    )


def _as_ours(scene: Scene) -> Iterable[str]:
    if scene.reloader.as_ours:
        yield f"Reloader's flags, carried over: reroll controller {scene.reloader.as_ours}"


def _proposal(workload: Workload, scene: Scene) -> Proposal:
    found = propose(
        workload.kind,
        workload.annotations,
        workload.carried,
        keys=scene.reloader.keys,
        namespace=scene.namespace_annotations(workload.namespace),
        auto_all=scene.reloader.auto_all,
    )
    if not workload.template_at and any(old.where == "template" for old in found.carried):
        # They stand on the template of another workload, and stay there: what hides them has to stay as well.
        return replace(found, carried=())
    return found


def after(annotations: Mapping[str, str], proposal: Proposal) -> dict[str, str]:
    """A workload's own annotations once what is proposed is written, and what it carries is taken away."""
    gone = {old.key for old in proposal.carried if old.where == "object"}
    return {key: value for key, value in annotations.items() if key not in gone} | proposal.annotations


def _workload(
    workload: Workload, scene: Scene, acting: list[Mechanism], proposal: Proposal
) -> WorkloadReport:
    home = workload.namespace
    every = Dialects(reloader=scene.reloader.keys)
    only = Dialects(reloader=None, wave=False)
    dropped_in = reroll_follows(
        workload, scene, reroll_policy(workload, scene, own=None, dialects=every), every
    )
    own = after(workload.annotations, proposal)
    policy = reroll_policy(workload, scene, own=own, dialects=only)
    # What config objects say of themselves is carried over as well, so it is read in either form.
    native = reroll_follows(workload, scene, policy, every)
    return WorkloadReport(
        workload=workload.shown,
        kind=workload.kind,
        namespace=home,
        name=workload.name,
        file=workload.source.file,
        line=workload.source.line,
        mechanisms=tuple(acting),
        drop_in=tuple(_shown(one, home) for one in dropped_in),
        native=tuple(_shown(one, home) for one in native),
        differences=tuple(_differences(workload, scene, acting, dropped_in, native)),
        annotations=proposal.annotations,
        snippet=proposal.snippet,
        carried=tuple(
            old.key + (" (pod template)" if old.where == "template" else "") for old in proposal.carried
        ),
        kept=proposal.kept,
    )


def _config(config: Config, proposal: Proposal) -> ConfigReport:
    return ConfigReport(
        config=config.shown,
        file=config.source.file,
        line=config.source.line,
        annotations=proposal.annotations,
        snippet=proposal.snippet,
        carried=tuple(old.key for old in proposal.carried),
    )


def _shown(one: Consumed, home: str) -> str:
    return one.config.short(home) + ("" if one.keys is None else f"#{','.join(one.keys)}")


def _differences(
    workload: Workload,
    scene: Scene,
    acting: list[Mechanism],
    dropped_in: Iterable[Consumed],
    native: Iterable[Consumed],
) -> Iterable[str]:
    home = workload.namespace
    ours = {one.config: one for one in dropped_in}
    if any(one.name == "Reloader" for one in acting):
        theirs = {one.config for one in reloader_follows(workload, scene)}
        for config, one in ours.items():
            name = config.short(home)
            there = scene.find(config)
            if there is not None and not scene.reloader.selects(there):
                yield f"{name}: left out by Reloader's --resource-label-selector; reroll has --config-selector for that"
            elif config not in theirs:
                yield f"{name}: Reloader does not find this reference; reroll rolls for it"
            elif one.keys is not None:
                yield f"{name}: only a change of {', '.join(one.keys)} counts; Reloader rolls for any key"
            elif any(each.means == "named" for each in one.references):
                yield f"{name}: it is named and not referenced, so each of its keys counts, as with Reloader"
        for config in sorted(theirs - ours.keys()):
            yield f"{config.short(home)}: excluded by its pod template, which Reloader does not read; reroll does"
        if workload.kind == CRON_JOB.kind:
            yield "a change is for the next Job; Reloader starts one at once (reroll: --cron-jobs instantiate)"
        elif workload.kind == JOB.kind:
            yield "a finished Job is left alone; Reloader runs it again (reroll: --finished-jobs)"
    elif ours and reloader_policy(workload, scene.reloader).enabled and acts(workload, scene.reloader, scene):
        yield "Reloader leaves it alone, and reroll acts on its annotations"
    names = {config.short(home) for config in ours}
    for name in [name for one in acting if one.name == "wave" for name in one.objects if name not in names]:
        if name.count("/") == 2:
            yield f"{name}: of another namespace: reroll needs --cross-namespace, and reroll.dev/share-with on it"
    if ours and any(one.name == "checksum" for one in acting):
        yield "a deploy that changes the checksum and the configuration is one rollout to reroll"
    if set(ours) != {one.config for one in native}:
        missing = sorted(set(ours) - {one.config for one in native})
        if missing:
            left = ", ".join(config.short(home) for config in missing)
            yield f"{left}: followed only as long as the annotations that are kept are read"
