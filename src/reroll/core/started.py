"""What pods read that somebody else had started: a deploy, an undo, a scaling up from nothing.

Where a watch tells of such a start, the pods read what is there at that moment, and that is what later changes
are compared with. Without it, a value that is changed, deployed and put back before anything was decided would
be found equal to what is recorded, though the pods run what was there in between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from reroll.core.compare import current, followed
from reroll.core.digests import keyed
from reroll.core.records import (
    Applied,
    AppliedKeys,
    ConfigId,
    ConfigState,
    Consumed,
    Missing,
    Unknown,
    WorkloadRecord,
)


def started_with(
    w: WorkloadRecord, consumed: Sequence[Consumed], states: Mapping[ConfigId, ConfigState], key_id: str
) -> Applied | None:
    """What all pods of `w` read if they started when `states` held; None while nothing is recorded of it, for
    its adoption will record what is there.

    Of what can't be told (an object that can't be read), and of a required object that is missing (new pods
    wait for it, the old ones go on), what was recorded before still holds. `key_id` is `DigestKey.id` of the
    digests in `states`.
    """
    if w.applied is None:
        return None
    home = w.id.namespace
    configs = _comparable(w.started_with or w.applied, key_id)
    for c in followed(consumed, states, home, recorded=configs)[0]:
        _read(configs, c, states[c.config], home)
    return Applied(w.template_hash, key_id, configs)


def created_with(
    w: WorkloadRecord, consumed: Sequence[Consumed], states: Mapping[ConfigId, ConfigState], key_id: str
) -> Applied | None:
    """What the pods of a workload read that was created when `states` held: what is adopted, though something changes
    before that is decided. None where it is recorded already. What can't be told is adopted as it is found then."""
    if w.applied is not None:
        return None
    home = w.id.namespace
    configs: dict[str, AppliedKeys] = {}
    for c in followed(consumed, states, home)[0]:
        if c.config.kind != "secretproviderclass":  # what other pods have mounted tells nothing of new ones
            _read(configs, c, states[c.config], home)
    return Applied(w.template_hash, key_id, configs)


def read_before_its_start(w: WorkloadRecord, c: Consumed, state: ConfigState, key_id: str) -> Applied | None:
    """The same, where it turns out later that one object had another content when the pods started."""
    known = w.started_with or w.applied
    if known is None:
        return None
    configs = _comparable(known, key_id)
    _read(configs, c, state, w.id.namespace)
    return replace(known, key_id=key_id, configs=configs)


def _comparable(applied: Applied, key_id: str) -> dict[str, AppliedKeys]:
    """What is recorded, without what was made with another digest key."""
    same = applied.key_id == key_id
    return {name: keys for name, keys in applied.configs.items() if same or not keyed(name)}


def _read(configs: dict[str, AppliedKeys], c: Consumed, state: ConfigState, home: str) -> None:
    if isinstance(state, Unknown) or (isinstance(state, Missing) and not c.optional):
        return
    configs[c.config.short(home)] = current(state, c)
