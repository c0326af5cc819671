"""R61x: what `reroll.dev/follow` names, against what is there."""

from __future__ import annotations

from collections.abc import Iterator

from reroll.core.policy import FOLLOW, SHARE_WITH
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
        "Correct the name. Checked with `--complete` or `--lookup` only, or where a name is almost the same.",
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
        for item in workload.follows:
            yield from _item(world, workload, item)


def kinds_of(item: Selector) -> tuple[Kind, ...]:
    """ConfigMaps, Secrets or both. Objects of a driver are rarely in manifests, and their names are not collected."""
    if item.kind is None:
        return ("configmap", "secret")
    return () if item.kind == "secretproviderclass" else (item.kind,)


def _item(world: World, workload: Workload, item: Selector) -> Iterator[Finding]:
    place, kinds = item.namespace or workload.namespace, kinds_of(item)
    found = [
        (config.shown, config.namespace, config.annotations.get(SHARE_WITH, ""))
        for config in world.configs
        if config.config in kinds and near(config.namespace, place) and item.matches_name(config.name)
    ]
    asked = [kind for kind in kinds if (kind, place, item.pattern) in world.live] if not found else []
    for kind in asked:
        known = world.live[kind, place, item.pattern]
        if known is not None:
            shown = "/".join(word for word in (kind, place, item.pattern) if word)
            found.append((shown, place, known.shared_with))
    if not found:
        yield from _nothing(world, workload, item, in_cluster=len(asked) == len(kinds))
    for shown, there, shared in found:
        home = workload.namespace
        if not item.namespace or not there or there == home:
            continue
        if not shared_with(shared, home) if home else not shared.strip():
            yield workload.found(
                "R612",
                "error",
                _AT,
                f"{workload.shown} follows {shown}, whose {SHARE_WITH} does not name "
                f"{home or 'its namespace'}: the owner of {shown} has to share it",
            )


def _nothing(world: World, workload: Workload, item: Selector, *, in_cluster: bool) -> Iterator[Finding]:
    kinds = kinds_of(item)
    names = [name for kind in kinds for name in world.names(kind, item.namespace or workload.namespace)]
    close = nearest(item.pattern, names) if item.syntax == "exact" else ""
    if kinds and (world.complete or in_cluster or close):
        hint = f"did you mean {close}?" if close else "add it, or correct the name"
        shown = "/".join(word for word in (item.kind, item.namespace, item.pattern) if word)
        place = "the cluster or the input" if in_cluster else "the input"
        yield workload.found(
            "R611",
            "warning",
            _AT,
            f"{workload.shown} follows {shown}, which names nothing in {place}: {hint}",
        )
