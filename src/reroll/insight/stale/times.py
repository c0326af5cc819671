"""When was which key of a ConfigMap or Secret last written? Read from metadata.managedFields, without any content.

The server keeps one entry for each field manager (and operation): the fields that it owns, key by key, and one
time, which moves whenever the manager changes any of them
(https://kubernetes.io/docs/reference/using-api/server-side-apply/#managers). So the time of an entry that owns one
key is that key's own; where several fields share an entry, it is the latest time that a key of it can have changed.

What these times can't tell: that a value was put back to what it was, and that a key was removed, for then no
time moves.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from reroll.core.observe import epoch


class _Fields(Struct, gc=False):
    """fieldsV1 of a ConfigMap or Secret, its top level."""

    data: dict[str, msgspec.Raw] | None = msgspec.field(default=None, name="f:data")
    binary_data: dict[str, msgspec.Raw] | None = msgspec.field(default=None, name="f:binaryData")
    string_data: dict[str, msgspec.Raw] | None = msgspec.field(default=None, name="f:stringData")
    metadata: msgspec.Raw = msgspec.field(default=msgspec.Raw(), name="f:metadata")
    immutable: msgspec.Raw = msgspec.field(default=msgspec.Raw(), name="f:immutable")


class Entry(Struct, gc=False, rename="camel"):
    """One entry of metadata.managedFields."""

    time: str = ""
    subresource: str = ""
    fields_v1: _Fields | None = msgspec.field(default=None, name="fieldsV1")


class ConfigMeta(Struct, gc=False, rename="camel"):
    """metadata of a ConfigMap or Secret, as far as it is read here."""

    name: str = ""
    namespace: str = ""
    creation_timestamp: str | None = None
    managed_fields: list[Entry] | None = None


class Written(Struct, frozen=True, gc=False):
    """One manager's keys, and when it last changed any of its fields."""

    time: float
    """Seconds since the epoch, whole."""
    keys: frozenset[str]
    more: bool
    """It owns labels, annotations or `immutable` too, of which a change moves the same time."""


class ConfigTimes(Struct, frozen=True, gc=False):
    """What is kept of one ConfigMap or Secret."""

    created: float
    written: tuple[Written, ...]
    known: bool = True
    """False where managedFields is empty: somebody cleared it, and only the creation can be told."""

    @property
    def latest(self) -> float:
        """No key changed after this."""
        return max([self.created, *(each.time for each in self.written)])


class KeyChange(Struct, frozen=True, gc=False):
    """The last change of keys that one entry owns."""

    keys: tuple[str, ...]
    """Sorted. One of them at least changed then, if this is no bound."""
    time: float
    bound: bool
    """The time is the latest that it can have been: the entry's, and it owns more than these keys."""
    beside: tuple[str, ...] = ()
    """What else of the entry may have changed in their place: keys, sorted, then "labels or annotations"."""


OTHERS = "labels or annotations"


def config_times(meta: ConfigMeta) -> ConfigTimes:
    """What is kept of an object's metadata."""
    written: list[Written] = []
    for entry in meta.managed_fields or ():
        fields = entry.fields_v1
        if fields is None or entry.subresource:
            continue
        keys = frozenset(
            [
                key[2:]
                for part in (fields.data, fields.binary_data, fields.string_data)
                for key in part or ()
                if key.startswith("f:")
            ]
        )
        if keys:
            more = bool(bytes(fields.metadata)) or bool(bytes(fields.immutable))
            written.append(Written(epoch(entry.time), keys, more))
    return ConfigTimes(epoch(meta.creation_timestamp), tuple(written), known=bool(meta.managed_fields))


def changes(times: ConfigTimes, keys: Sequence[str] | None) -> tuple[KeyChange, ...]:
    """When these keys (None: all) last changed, keys of one entry together; latest first.

    A key with several owners had its value since before the earliest of them last wrote: the API takes a key
    from all others when one manager changes it. Keys that nobody owns are not there.
    """
    wanted = {key for each in times.written for key in each.keys}
    if keys is not None:
        wanted &= set(keys)
    grouped: dict[int, list[str]] = {}
    shared: set[int] = set()
    for key in sorted(wanted):
        owners = [i for i, each in enumerate(times.written) if key in each.keys]
        first = min(owners, key=lambda i: times.written[i].time)
        grouped.setdefault(first, []).append(key)
        if len(owners) > 1:
            shared.add(first)
    found = []
    for index, group in grouped.items():
        entry = times.written[index]
        beside = (*sorted(entry.keys - set(group)), *([OTHERS] if entry.more else []))
        found.append(KeyChange(tuple(group), entry.time, bool(beside) or index in shared, beside))
    return tuple(sorted(found, key=lambda change: (-change.time, change.keys)))
