"""The state that reroll keeps, and where: two annotations, both on the workload.

``reroll.dev/applied`` on the workload's metadata is compact JSON: what its pods were last rolled for.
``reroll.dev/config`` on the pod template is one digest over all; changing it is what starts a rollout.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from reroll.core.digests import combined, whole
from reroll.core.records import Applied, AppliedKeys, ConfigRecord

PREFIX: Final = "reroll.dev/"
APPLIED: Final = "reroll.dev/applied"
CONFIG: Final = "reroll.dev/config"
RESTARTING: Final = "reroll.dev/restarting"
"""On the workload's metadata, in the mode `restart`: the pods that are still to be evicted, each by the
beginning of its uid. It is there from the decision until the last of them is gone."""

STANDS_IN_FOR: Final = "reroll.dev/stands-in-for"
"""On a suspended Job that is there for a moment: it holds all of another one, which is being deleted and created
again, so that a controller that ends in between is no loss. The name of that one, then its finalizers."""

KEYS_KEPT: Final = 24
"""Up to this many keys of an object are recorded one by one, so that `explain` and Events can name the keys
that changed; of more, a `Summary` is kept, for annotations have to stay small (256 KiB in all)."""

WILDCARD: Final = "*"
"""Key under which it is noted that every key of the object counts. No real key can be named so."""

ABSENT: Final = ""
"""In place of the digest of a key that counts and is not there."""

LEFT_OUT: Final = "-"
"""In place of the digest of a key that does not count though all others do, so that neither leaving it out
nor counting it again is taken for its removal or appearance."""


class _Wire(msgspec.Struct, gc=False, omit_defaults=True):
    """The JSON. `v` is its version: an unknown one is treated like an unreadable annotation. What has a default came
    later, and a reroll that does not know it passes it over."""

    v: int
    template: str
    key: str
    configs: dict[str, dict[str, str] | str | None]
    mark: str | None = None
    since: int = 0
    at: int = 0
    again: int = 0
    left: int = 0
    of: int = 0
    by: str = ""


_decode = msgspec.json.Decoder(_Wire).decode


def encode(applied: Applied) -> str:
    """The annotation's value; the same for equal records."""
    wire = _Wire(
        v=1,
        template=applied.template,
        key=applied.key_id,
        configs=applied.configs,
        mark=applied.mark,
        since=applied.since,
        at=applied.at,
        again=applied.again,
        left=applied.left,
        of=applied.of,
        by=applied.by,
    )
    return msgspec.json.encode(wire, order="sorted").decode()


def decode(value: str) -> Applied:
    """Read the annotation. Raises ValueError, in words for people, when it is not what `encode` wrote."""
    try:
        wire = _decode(value)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise ValueError(f"{APPLIED} is not readable ({error})") from error
    if wire.v != 1:
        raise ValueError(f"{APPLIED} has version {wire.v}, and this reroll knows version 1")
    return Applied(
        template=wire.template,
        key_id=wire.key,
        configs=wire.configs,
        mark=wire.mark,
        since=wire.since,
        at=wire.at,
        again=wire.again,
        left=wire.left,
        of=wire.of,
        by=wire.by,
    )


class Summary(NamedTuple):
    """What is recorded, as one string, of an object of which more than `KEYS_KEPT` keys count."""

    digest: str
    """Over the keys that count, as `combined` has it."""
    present: int
    """How many of these keys were there: fewer tell that some were removed."""
    whole: str
    """Over all of the object: where it is the same, only what counts was chosen anew."""

    @classmethod
    def of(cls, digests: dict[str, str], record: ConfigRecord) -> Summary:
        present = sum(1 for digest in digests.values() if digest not in (ABSENT, LEFT_OUT))
        return cls(combined(digests), present, whole(record))

    @classmethod
    def read(cls, value: str) -> Summary:
        """What `str` made. Never raises: of anything else, no part equals that of a real one."""
        digest, _, rest = value.partition(".")
        count, _, over_all = rest.partition(".")
        readable = count.isascii() and count.isdigit() and len(count) < 10
        return cls(digest, int(count) if readable else 0, over_all)

    def __str__(self) -> str:
        return f"{self.digest}.{self.present}.{self.whole}"


def kept(digests: dict[str, str], record: ConfigRecord) -> AppliedKeys:
    """What is recorded of one object that is there, by the digests of the keys that count."""
    return digests if len(digests) <= KEYS_KEPT else str(Summary.of(digests, record))


def total(keys: AppliedKeys) -> str:
    """One digest over the keys that count of what was recorded; "" where the object did not exist."""
    if keys is None:
        return ""
    return Summary.read(keys).digest if isinstance(keys, str) else combined(keys)
