"""R2xx: pods that would not notice a change."""

from __future__ import annotations

import re
from collections.abc import Iterator

from reroll.insight.lint.finding import Finding, Rule
from reroll.insight.lint.rules.mechanisms import mechanisms
from reroll.insight.lint.uses import sub_paths
from reroll.insight.lint.world import Workload, World

RULES = (
    Rule(
        "R201",
        "sub-path-never-updates",
        "warning",
        "A ConfigMap or Secret is mounted by subPath, and nothing makes the workload follow it",
        "What is mounted by subPath is bound when the container starts: the file never changes in a running pod.",
        'Mount the folder instead, or have the workload follow: annotation `reroll.dev/auto: "true"`.',
    ),
    Rule(
        "R202",
        "env-without-follower",
        "info",
        "Environment variables come from a ConfigMap or Secret, and nothing makes the workload follow it",
        "Variables are resolved when a container starts: a change reaches nobody until the pods restart.",
        'Have the workload follow: annotation `reroll.dev/auto: "true"`, or `reroll stamp` in the pipeline.',
    ),
)

HASHED = re.compile(r"-[2456789bcdfghkmt]{10}\Z")
"""The suffix that kustomize gives: hexadecimal digits with 0, 1, 3, a and e replaced by g, h, k, m and t."""


def check(world: World) -> Iterator[Finding]:
    for workload in world.workloads:
        if not workload.long_running or world.auto_all or mechanisms(workload):
            continue
        for mount in sub_paths(workload.template):
            if not _named_anew(world, workload, mount.kind, mount.name):
                yield workload.found(
                    "R201",
                    "warning",
                    (*workload.template_at, *mount.path),
                    f"{mount.where}, which never shows a change of {mount.kind} {mount.name}, and nothing makes "
                    f"{workload.shown} follow it: mount the folder, or annotate it with what does",
                )
        blind = [
            use
            for use in workload.uses
            if use.how in ("env", "envFrom")
            and not use.ended
            and not _named_anew(world, workload, use.kind, use.name)
        ]
        if blind:
            names = list(dict.fromkeys(f"{use.kind} {use.name}" for use in blind))
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            yield workload.found(
                "R202",
                "info",
                (*workload.template_at, *blind[0].path),
                f"{workload.shown} has variables from {', '.join(names[:3])}{more}, which a running container never "
                f"sees change, and nothing makes it follow",
            )


def _named_anew(world: World, workload: Workload, kind: str, name: str) -> bool:
    """True if a change of the content comes with a new name."""
    config = world.find(kind, workload.namespace, name)  # type: ignore[arg-type]  # of a Use
    return HASHED.search(name) is not None or (config is not None and config.immutable)
