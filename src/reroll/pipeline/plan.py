"""What does applying these manifests change, and who would not notice? Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import Struct

from reroll.core.consumption import consumption
from reroll.core.kinds import WorkloadKind
from reroll.core.observe import decode_object, workload_record
from reroll.core.policy import PolicyDefaults
from reroll.core.records import ConfigId, Reference, WorkloadId
from reroll.core.template import template_hash
from reroll.dialects import ALL

Change: TypeAlias = Literal["created", "configured", "unchanged"]

Action: TypeAlias = Literal[
    "restart",
    "controller",  # left to the controller that follows it
]

_DATA = ("data", "binaryData")
_BOOKKEEPING = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp")


class Consumer(Struct, frozen=True):
    """A workload that consumes something that is changed, as it was before anything was applied."""

    workload: WorkloadId
    action: Action
    why: tuple[str, ...]
    configs: tuple[ConfigId, ...]
    """What it consumes of what is changed."""
    state: tuple[str, str]
    """(hash of its pod template, the annotation `reroll.dev/applied`): one of them changes when it is acted on."""
    patience: float = 0.0
    """Seconds that the controller waits by its policy before it acts."""


def what_changed(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> Change:
    """By the content of two states of an object; its status and its bookkeeping don't count."""
    if before is None:
        return "created"
    return "unchanged" if _content(before) == _content(after) else "configured"


def _content(obj: Mapping[str, Any]) -> dict[str, Any]:
    found = {key: value for key, value in obj.items() if key != "status"}
    metadata = found.get("metadata") or {}
    found["metadata"] = {key: value for key, value in metadata.items() if key not in _BOOKKEEPING}
    return found


def changed_keys(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> tuple[str, ...]:
    """The keys of a ConfigMap or Secret that have another value, that are new, or that are gone; sorted."""
    old, new = _keys(before or {}), _keys(after)
    return tuple(sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key)))


def _keys(obj: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    return {key: (part, value) for part in _DATA for key, value in (obj.get(part) or {}).items()}


def template_of(obj: Mapping[str, Any], kind: WorkloadKind) -> str:
    """The hash of a workload's pod template."""
    found: Any = obj
    for name in kind.template:
        found = (found or {}).get(name)
    return template_hash(msgspec.json.encode(found or {}))


def consumer(
    kind: WorkloadKind,
    raw: bytes,
    changed_for: Callable[[WorkloadId], Mapping[ConfigId, tuple[str, ...]]],
    *,
    namespace_annotations: Callable[[str], Mapping[str, str]],
    files: bool = True,
) -> Consumer | None:
    """The workload of this JSON, if it consumes a key that is changed; without `files`, mounted files don't count.

    `changed_for` tells the keys that are changed for a workload, by object.

    It is the controller's where the controller has recorded that it follows the object, or its annotations (those
    of other tools too) say that it is to be followed. Raises msgspec.DecodeError.
    """
    record = workload_record(decode_object(kind, raw), kind.id, None, relevant=ALL.relevant, arrived=0.0)
    home, changed = record.id.namespace, changed_for(record.id)
    hit: dict[ConfigId, list[Reference]] = {}
    for ref in record.references:
        config = ConfigId(ref.kind, home, ref.name)
        if ref.rolls and (files or ref.sees == "never") and _touched(changed.get(config, ()), ref.keys):
            hit.setdefault(config, []).append(ref)
    policy = ALL.resolve_policy(record, namespace_annotations(home), PolicyDefaults())
    names: dict[tuple[str, str], list[str]] = {}
    for config in changed:
        names.setdefault((config.kind, config.namespace), []).append(config.name)
    followed = [
        each
        for each in consumption(record, policy, lambda of, space: names.get((of, space), ()))
        if _touched(changed.get(each.config, ()), each.keys)
    ]
    known = record.applied.configs if record.applied is not None else {}
    recorded = any(config.short(home) in known for config in hit)
    if not hit and not followed:
        return None
    why = [f"consumes {ref.kind}/{ref.name}: {ref.where}" for refs in hit.values() for ref in refs]
    why += [f"follows {each.config.short(home)}" for each in followed if each.config not in hit]
    applied = "" if record.applied is None else msgspec.json.encode(record.applied).decode()
    return Consumer(
        workload=record.id,
        action="controller" if followed or recorded else "restart",
        why=tuple(dict.fromkeys(why)),
        configs=tuple(dict.fromkeys([*hit, *(each.config for each in followed)])),
        state=(record.template_hash + (record.mark or ""), applied),
        patience=policy.settle_max,
    )


def _touched(changed: tuple[str, ...], keys: tuple[str, ...] | None) -> bool:
    return bool(changed) and (keys is None or not set(changed).isdisjoint(keys))
