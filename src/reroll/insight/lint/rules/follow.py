"""R61x: what `reroll.dev/follow` names, against what is there."""

from __future__ import annotations

from collections.abc import Iterator

from reroll.core.policy import FOLLOW, SHARE_WITH, native_layer
from reroll.core.selector import Selector, shared_with
from reroll.insight.lint.finding import Finding, Rule
from reroll.insight.lint.rules.references import nearest
from reroll.insight.lint.uses import Kind
from reroll.insight.lint.world import Workload, World, near
from reroll.manifests.yaml_text import Path

RULES = (
    Rule(
        "R611",
        "follow-finds-nothing",
        "warning",
        "An item of reroll.dev/follow that names nothing",
        "Nothing tells: the workload follows the other items, and this one as soon as it is there.",
        "Correct the name. Checked with `--complete` only, or where a name is almost the same.",
    ),
    Rule(
        "R612",
        "follow-not-shared",
        "error",
        "reroll.dev/follow names an object of another namespace that is not shared with it",
        "The owner of the object has to agree; without that the workload does not follow it.",
        "Name the workload's namespace in `reroll.dev/share-with` on the object.",
    ),
)

_AT: Path = ("metadata", "annotations", FOLLOW)


def check(world: World) -> Iterator[Finding]:
    for workload in world.workloads:
        if FOLLOW in workload.annotations:
            own = {FOLLOW: workload.annotations[FOLLOW]}
            for item in native_layer(own, workload.shown).follow or ():
                yield from _item(world, workload, item)


def _item(world: World, workload: Workload, item: Selector) -> Iterator[Finding]:
    place = item.namespace or workload.namespace
    if item.kind == "secretproviderclass":
        return  # objects of a driver are rarely in manifests, and their names are not collected
    kinds: tuple[Kind, ...] = ("configmap", "secret") if item.kind is None else (item.kind,)
    shown = "/".join(word for word in (item.kind, item.namespace, item.pattern) if word)
    found = [
        config
        for config in world.configs
        if config.config in kinds and near(config.namespace, place) and item.matches_name(config.name)
    ]
    if not found:
        names = [name for kind in kinds for name in world.names(kind, place)]
        close = nearest(item.pattern, names) if item.syntax == "exact" else ""
        if world.complete or close:
            hint = f"did you mean {close}?" if close else "add it, or correct the name"
            yield workload.found(
                "R611",
                "warning",
                _AT,
                f"{workload.shown} follows {shown}, which names nothing in the input: {hint}",
            )
        return
    for config in found:
        home, there = workload.namespace, config.namespace
        if not item.namespace or not there or there == home:
            continue
        value = config.annotations.get(SHARE_WITH, "")
        if not shared_with(value, home) if home else not value.strip():
            yield workload.found(
                "R612",
                "error",
                _AT,
                f"{workload.shown} follows {config.shown}, whose {SHARE_WITH} does not name "
                f"{home or 'its namespace'}: the owner of {config.shown} has to share it",
            )
