"""Whose annotations are understood: reroll's own and those of other tools, put together into one policy.

A dialect is a file here that turns another tool's annotations into a `Layer` of policy and into the flags of a
config object. Nothing outside of this package knows which dialects there are. Strongest first, a policy is
made of

1. reroll's annotations on the workload,
2. Reloader's annotations on the workload, or on its pod template,
3. wave's annotations on the workload,
4. reroll's annotations on the workload's namespace,
5. the controller's settings.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from reroll.core import policy as native
from reroll.core.applied import PREFIX
from reroll.core.policy import ConfigFlags, Policy, PolicyDefaults, Problem
from reroll.core.records import WorkloadRecord
from reroll.dialects import reloader as _reloader
from reroll.dialects import wave as _wave
from reroll.dialects.reloader import DEFAULT_KEYS, Keys

__all__ = ["ALL", "Dialects"]


class Dialects(Struct, frozen=True):
    """Which annotations are understood beside reroll's own."""

    reloader: Keys | None = DEFAULT_KEYS
    """The names that Reloader's annotations have; None: they are not read."""
    wave: bool = True

    def resolve_policy(
        self, workload: WorkloadRecord, namespace_annotations: Mapping[str, str], defaults: PolicyDefaults
    ) -> Policy:
        """The settings in force for `workload`, all dialects and layers together. Never raises.

        Workloads that say the same share one policy: in most clusters that is nearly all of them.
        """
        said = (
            tuple(workload.annotations.items()),
            tuple(workload.template_annotations.items()),
            tuple(namespace_annotations.items()),
        )
        if sum(len(key) + len(value) for layer in said for key, value in layer) > _SHORT:
            return self._policy(workload, namespace_annotations, defaults)
        asked = (self, said, workload.id.kind, workload.id.namespace, defaults)
        known = _policies.get(asked)
        if known is None:
            if len(_policies) >= _MOST:
                _policies.clear()
            known = _policies[asked] = self._policy(workload, namespace_annotations, defaults)
        return known

    def _policy(
        self, workload: WorkloadRecord, namespace_annotations: Mapping[str, str], defaults: PolicyDefaults
    ) -> Policy:
        own = native.native_layer(workload.annotations, "the workload")
        misplaced = tuple(_misplaced(workload.template_annotations))
        layers = [replace(own, problems=own.problems + misplaced) if misplaced else own]
        if self.reloader is not None:
            others = _reloader.reloader_layer(
                workload.annotations,
                workload.template_annotations,
                "the workload",
                kind=workload.id.kind,
                keys=self.reloader,
            )
            if others is not None:
                layers.append(others)
        if self.wave:
            others = _wave.wave_layer(workload.annotations, "the workload")
            if others is not None:
                layers.append(others)
        if namespace_annotations:
            layers.append(native.native_layer(namespace_annotations, f"namespace {workload.id.namespace}"))
        return native.resolve(layers, defaults, home=workload.id.namespace)

    def config_flags(self, annotations: Mapping[str, str]) -> ConfigFlags:
        """What the annotations of a config object say: (ignored, matchable, shared_with)."""
        flags = native.config_flags(annotations)
        if self.reloader is None:
            return flags
        others = _reloader.config_flags(annotations, self.reloader)
        return ConfigFlags(
            flags.ignored or others.ignored, flags.matchable or others.matchable, flags.shared_with
        )

    def relevant(self, annotations: Mapping[str, str]) -> dict[str, str]:
        """Those annotations that some dialect reads, for the store to keep. Marks are none of them: they are kept
        as records, and `reroll.dev/applied` is large."""
        keys = self.reloader or DEFAULT_KEYS
        return {
            key: value
            for key, value in annotations.items()
            if (key.startswith(PREFIX) and key not in native.MARKS)
            or keys.read(key)
            or (key.startswith(_wave.PREFIX) and key != _wave.CONFIG_HASH)
        }


_SHORT = 1024
"""Characters of annotations up to which their policy is kept for others that say the same."""
_MOST = 4096
"""Policies that are kept."""
_policies: dict[tuple[object, ...], Policy] = {}

ALL = Dialects()
"""Those that are understood unless a setting says otherwise."""


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
