"""Whose annotations are understood: reroll's own and those of other tools, put together into one policy.

A dialect is a file here that turns another tool's annotations into a `Layer` of policy and into the flags of a
config object. Nothing outside of this package knows which dialects there are. Strongest first, a policy is
made of

1. reroll's annotations on the workload,
2. Reloader's annotations on the workload, or on its pod template,
3. reroll's annotations on the workload's namespace,
4. the controller's settings.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from reroll.core import policy as native
from reroll.core.applied import PREFIX
from reroll.core.policy import ConfigFlags, Policy, PolicyDefaults, Problem
from reroll.core.records import WorkloadRecord
from reroll.dialects import reloader as _reloader

__all__ = ["config_flags", "relevant", "resolve_policy"]


def resolve_policy(
    workload: WorkloadRecord,
    namespace_annotations: Mapping[str, str],
    defaults: PolicyDefaults,
    *,
    reloader: bool = True,
) -> Policy:
    """The settings in force for `workload`, all dialects and layers together. Never raises.

    `reloader`: whether Reloader's annotations are read at all.
    """
    own = native.native_layer(workload.annotations, "the workload")
    misplaced = tuple(_misplaced(workload.template_annotations))
    layers = [replace(own, problems=own.problems + misplaced) if misplaced else own]
    if reloader:
        others = _reloader.reloader_layer(workload.annotations, workload.template_annotations, "the workload")
        if others is not None:
            layers.append(others)
    if namespace_annotations:
        layers.append(native.native_layer(namespace_annotations, f"namespace {workload.id.namespace}"))
    return native.resolve(layers, defaults, home=workload.id.namespace)


def config_flags(annotations: Mapping[str, str], *, reloader: bool = True) -> ConfigFlags:
    """What the annotations of a ConfigMap or Secret say: (ignored, matchable, shared_with)."""
    flags = native.config_flags(annotations)
    if not reloader:
        return flags
    others = _reloader.config_flags(annotations)
    return ConfigFlags(
        flags.ignored or others.ignored, flags.matchable or others.matchable, flags.shared_with
    )


def relevant(annotations: Mapping[str, str]) -> dict[str, str]:
    """Those annotations that some dialect reads, for the store to keep. reroll's own marks are none of them:
    they are kept as records, and `reroll.dev/applied` is large."""
    return {
        key: value
        for key, value in annotations.items()
        if (key.startswith(PREFIX) and key not in native.MARKS) or _reloader.MARKER in key
    }


def _misplaced(template_annotations: Mapping[str, str]) -> list[Problem]:
    """reroll's settings on a pod template, where they are not read: changing one there would itself roll."""
    return [
        Problem(
            annotation=key,
            value=template_annotations[key][:80],
            message=f"{key} stands on the pod template, where it is not read: put it on the workload's own metadata",
        )
        for key in sorted(template_annotations)
        if key in native.SETTINGS
    ]
