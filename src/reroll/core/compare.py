"""What a workload consumes now against what its pods were last rolled for, object by object, key by key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from reroll.core import digests
from reroll.core.applied import kept
from reroll.core.records import (
    Applied,
    AppliedKeys,
    Change,
    ConfigId,
    ConfigRecord,
    ConfigState,
    Consumed,
    Missing,
    Reference,
    Unknown,
)
from reroll.core.selector import shared_with

WILDCARD: Final = "*"
"""Key under which `applied` notes that every key of the object counts. No real key can be named so."""

ABSENT: Final = ""
"""Digest of a key that counts and is not there."""


class ConfigChange(Struct, frozen=True):
    """One config object that differs from what the pods were rolled for."""

    config: ConfigId
    keys: tuple[str, ...] | None
    """The keys that differ, sorted; None: it can't be told which."""
    appeared: bool = False
    references: tuple[Reference, ...] = ()
    change: Change = Change()

    def describe(self, home: str) -> str:
        """Such as ``configmap/app changed (LOG_LEVEL, PORT)``."""
        name = self.config.short(home)
        if self.appeared:
            return f"{name} appeared"
        if self.keys is None:
            return f"{name} changed"
        shown = ", ".join(self.keys[:5]) + (f" and {len(self.keys) - 5} more" if len(self.keys) > 5 else "")
        return f"{name} changed ({shown})"


class Comparison(Struct, frozen=True):
    """One followed object, compared."""

    consumed: Consumed
    short: str
    """`ConfigId.short`, its name in `applied`."""
    record: AppliedKeys
    """What `applied` has to hold of it."""
    write: bool = False
    """`applied` holds something else of it, or nothing."""
    stale: ConfigChange | None = None
    blocked: str = ""
    """Why new pods could not start; "" if they could."""
    note: str = ""


def followed(
    consumed: Sequence[Consumed], states: Mapping[ConfigId, ConfigState], home: str
) -> tuple[tuple[Consumed, ...], tuple[str, ...]]:
    """(those that count, notes on those that don't), now that the objects' own annotations are known."""
    counting: list[Consumed] = []
    notes: list[str] = []
    for c in consumed:
        state = states[c.config]
        if isinstance(state, ConfigRecord):
            if state.ignored:
                notes.append(f"{c.config.short(home)} is not followed: it carries an ignore annotation")
                continue
            if c.needs_match and not state.matchable:
                continue
            if c.config.namespace != home and not shared_with(state.shared_with, home):
                notes.append(
                    f"{c.config.short(home)} is not followed: it is of another namespace, and its annotation "
                    f"reroll.dev/share-with does not name {home}"
                )
                continue
        elif c.needs_match or c.config.namespace != home:
            continue  # whether it may be followed is said on the object itself, which is not there
        counting.append(c)
    return tuple(counting), tuple(notes)


def current(state: ConfigRecord | Missing, c: Consumed) -> AppliedKeys:
    """What is recorded of an object as it is now."""
    if isinstance(state, Missing):
        return None
    now = digests.consumed_digests(state, c)
    if c.keys is None:
        now[WILDCARD] = ""
    else:
        for key in c.keys:
            now.setdefault(key, ABSENT)
    return kept(now)


def compare(c: Consumed, state: ConfigState, before: Applied, *, home: str, rekeyed: bool) -> Comparison:
    """One followed object against what was recorded of it.

    `rekeyed`: the record was made with another digest key, so Secrets can't be compared and are recorded anew.
    """
    short = c.config.short(home)
    known = short in before.configs
    old = before.configs.get(short)
    if isinstance(state, Unknown):
        return Comparison(c, short, old, note=f"{short} can't be read: {state.reason}")
    if isinstance(state, Missing):
        return Comparison(
            c,
            short,
            old,
            write=not known,
            blocked="" if c.optional else f"{short} does not exist",
            note=f"{short} was deleted; that alone rolls nothing, its return with other content does"
            if old
            else "",
        )
    new = current(state, c)
    blocked = _blocked(c, state, short)
    if not known or (rekeyed and c.config.kind == "secret"):
        return Comparison(c, short, new, write=True, blocked=blocked)
    if old is None:
        if not c.optional:
            # A pod that needs it could not have started without it, so every pod that runs has read it.
            return Comparison(c, short, new, write=True, blocked=blocked)
        appeared = ConfigChange(c.config, None, appeared=True, references=c.references, change=state.change)
        return Comparison(c, short, new, write=True, stale=appeared, blocked=blocked)
    if old == new:
        return Comparison(c, short, new, blocked=blocked)
    keys = _differing_keys(old, new, c)
    if keys == ():
        return Comparison(c, short, new, write=True, blocked=blocked)
    change = ConfigChange(c.config, keys, references=c.references, change=state.change)
    return Comparison(c, short, new, write=True, stale=change, blocked=blocked)


def _differing_keys(old: AppliedKeys, new: AppliedKeys, c: Consumed) -> tuple[str, ...] | None:
    """The keys whose content differs; () if only what is consumed differs; None if it can't be told."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return None
    keys = []
    for key in sorted((old.keys() | new.keys()) - {WILDCARD}):
        if key in old and key in new:
            # A needed key that was absent kept every pod from starting: all that run have read it.
            differs = old[key] != new[key] and not (old[key] == ABSENT and _needed(c, key))
        elif key in new:
            differs = WILDCARD in old and new[key] != ABSENT  # all keys counted, and this one was not there
        else:
            differs = WILDCARD in old and WILDCARD in new  # removed from an object that is consumed whole
        if differs:
            keys.append(key)
    return tuple(keys)


def _needed(c: Consumed, key: str) -> bool:
    """True if no pod starts without this key. A subPath without its file starts, with an empty directory."""
    return any(
        ref.keys is not None
        and key in ref.keys
        and not ref.optional
        and not ref.sub_path
        and ref.means != "named"
        for ref in c.references
    )


def _blocked(c: Consumed, state: ConfigRecord, short: str) -> str:
    gone = [key for key in c.keys or () if key not in state.keys and _needed(c, key)]
    return f"{short} has no key {', '.join(gone)}" if gone else ""
