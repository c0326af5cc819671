"""The state that reroll keeps, and where: two annotations, both on the workload.

``reroll.dev/applied`` on the workload's metadata is compact JSON: what its pods were last rolled for.
``reroll.dev/config`` on the pod template is one digest over all; changing it is what starts a rollout.
"""

from __future__ import annotations

from typing import Final

import msgspec

from reroll.core.digests import combined
from reroll.core.records import Applied, AppliedKeys

PREFIX: Final = "reroll.dev/"
APPLIED: Final = "reroll.dev/applied"
CONFIG: Final = "reroll.dev/config"

KEYS_KEPT: Final = 24
"""Up to this many keys of an object are recorded one by one, so that `explain` and Events can name the keys
that changed; of more, one digest over all is kept, for annotations have to stay small (256 KiB in all)."""


class _Wire(msgspec.Struct, gc=False):
    """The JSON. `v` is its version: an unknown one is treated like an unreadable annotation."""

    v: int
    template: str
    key: str
    configs: dict[str, dict[str, str] | str | None]


_decode = msgspec.json.Decoder(_Wire).decode


def encode(applied: Applied) -> str:
    """The annotation's value; the same for equal records."""
    configs = {name: applied.configs[name] for name in sorted(applied.configs)}
    return msgspec.json.encode(
        _Wire(v=1, template=applied.template, key=applied.key_id, configs=configs), order="sorted"
    ).decode()


def decode(value: str) -> Applied:
    """Read the annotation. Raises ValueError, in words for people, when it is not what `encode` wrote."""
    try:
        wire = _decode(value)
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise ValueError(f"{APPLIED} is not readable ({error})") from error
    if wire.v != 1:
        raise ValueError(f"{APPLIED} has version {wire.v}, and this reroll knows version 1")
    return Applied(template=wire.template, key_id=wire.key, configs=wire.configs)


def kept(digests: dict[str, str] | None) -> AppliedKeys:
    """What is recorded of one object's consumed digests; None: it does not exist."""
    if digests is None or len(digests) <= KEYS_KEPT:
        return digests
    return combined(digests)


def total(keys: AppliedKeys) -> str:
    """One digest over what was recorded of an object; "" where it did not exist."""
    if keys is None:
        return ""
    return keys if isinstance(keys, str) else combined(keys)
