"""The state that reroll keeps, and where: two annotations, both on the workload.

``reroll.dev/applied`` on the workload's metadata is compact JSON: what its pods were last rolled for.
``reroll.dev/config`` on the pod template is one digest over all; changing it is what starts a rollout.
"""

from __future__ import annotations

from typing import Annotated, Final, NamedTuple, TypeAlias

import msgspec

from reroll.core.digests import combined, whole
from reroll.core.records import LATEST, Applied, AppliedKeys, ConfigId, ConfigRecord

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


SIZE: Final = 256 * 1024
"""Characters of the longest record: as many as the API server takes of all annotations of an object together."""

AGAIN_MOST: Final = 5
"""How often a mark is written again, at most: as often as `put_back.AGAIN_AFTER` has it."""

KEY_LENGTH: Final = 253
"""Characters of the longest key of a ConfigMap or Secret."""

_Word: TypeAlias = Annotated[str, msgspec.Meta(max_length=64)]
"""A hash, a digest, a `Summary`, the id of a digest key, or a `proof.mark_id`: none of them is longer."""
_Key: TypeAlias = Annotated[str, msgspec.Meta(max_length=KEY_LENGTH)]
_Keys: TypeAlias = Annotated[dict[_Key, _Word], msgspec.Meta(max_length=256)]
_Pods: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
_Time: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=LATEST)]
"""Seconds since the epoch."""


class _Wire(msgspec.Struct, gc=False, omit_defaults=True):
    """The JSON. `v` is its version: an unknown one is treated like an unreadable annotation. What has a default came
    later, and a reroll that does not know it passes it over.

    Everybody who may write the workload can write this, so each field has the bounds of what `encode` is given."""

    v: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
    template: _Word
    key: _Word
    configs: dict[str, _Keys | _Word | None]
    mark: _Word | None = None
    since: _Time = 0
    at: _Time = 0
    again: Annotated[int, msgspec.Meta(ge=0, le=AGAIN_MOST)] = 0
    left: _Pods = 0
    of: _Pods = 0
    by: Annotated[str, msgspec.Meta(max_length=128)] = ""
    versions: dict[str, _Key] = {}


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
        versions=applied.versions,
    )
    return msgspec.json.encode(wire, order="sorted").decode()


def decode(value: str) -> Applied:
    """Read the annotation. Raises ValueError, in words for people, when it is not what `encode` wrote."""
    try:
        if len(value) > SIZE:
            raise ValueError(f"it is longer than {SIZE} characters")
        wire = _decode(value)
        if wire.v == 1:
            _check(wire)
    except (UnicodeEncodeError, RecursionError, ValueError) as error:
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
        versions=wire.versions,
    )


def _check(wire: _Wire) -> None:
    """What no type says. Raises ValueError."""
    words = [wire.template, wire.key, wire.mark or "", wire.by]
    for short, keys in wire.configs.items():
        ConfigId.read(short, "")
        if isinstance(keys, str):
            words.append(keys)
        else:
            words += [*(keys or {}), *(keys or {}).values()]
    for short, copy in wire.versions.items():
        ConfigId.read(short, "")
        words.append(copy)
    if not all(map(str.isprintable, words)):
        raise ValueError("there are control characters in it")
    if wire.of and wire.left > wire.of:
        raise ValueError(f"of {wire.of} pods, {wire.left} are left")


def by_whom(manager: str) -> str:
    """A field manager as a record holds it. The API server takes none that is longer, or not printable."""
    return "".join(char for char in manager if char.isprintable())[:128]


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
    """What is recorded of one object that is there, by the digests of the keys that count.

    A pod template may name keys that no ConfigMap can have, and a driver's objects are called whatever it likes: these
    are not written one by one.
    """
    one_by_one = len(digests) <= KEYS_KEPT and all(map(_is_key, digests))
    return digests if one_by_one else str(Summary.of(digests, record))


def _is_key(key: str) -> bool:
    return len(key) <= KEY_LENGTH and key.isprintable()


def total(keys: AppliedKeys) -> str:
    """One digest over the keys that count of what was recorded; "" where the object did not exist."""
    if keys is None:
        return ""
    return Summary.read(keys).digest if isinstance(keys, str) else combined(keys)
