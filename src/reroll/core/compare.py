"""What a workload consumes now against what its pods were last rolled for, object by object, key by key."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from reroll.core import digests
from reroll.core.applied import ABSENT, LEFT_OUT, WILDCARD, Summary, kept
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


class ConfigChange(Struct, frozen=True):
    """One config object that differs from what the pods were rolled for."""

    config: ConfigId
    keys: tuple[str, ...] | None
    """The keys that differ, sorted; None: it can't be told which."""
    appeared: bool = False
    deleted: bool = False
    references: tuple[Reference, ...] = ()
    change: Change = Change()
    """When. Without a stamp where a key was removed: see `_when`."""
    between: bool = False
    """It is as recorded, and was not while pods were being replaced."""

    def describe(self, home: str) -> str:
        """Such as ``configmap/app changed (LOG_LEVEL, PORT)``."""
        name = self.config.short(home)
        if self.between:
            return f"{name} was changed and changed back while pods were being replaced"
        if self.appeared or self.deleted:
            return f"{name} {'appeared' if self.appeared else 'was deleted'}"
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
    recorded: bool = True
    """False where `applied` has to hold nothing of it, for nothing is known."""
    vanished: bool = False
    """It was there when the pods were last rolled, is gone, and pods start without it."""
    write: bool = False
    """`applied` holds something else of it, or nothing."""
    returned: bool = False
    """What no pod starts without was missing when it was recorded, and is there again: pods that have run since before
    that may have read other content."""
    stale: ConfigChange | None = None
    blocked: str = ""
    """Why new pods could not start; "" if they could."""
    note: str = ""


def followed(
    consumed: Sequence[Consumed],
    states: Mapping[ConfigId, ConfigState],
    home: str,
    *,
    recorded: Container[str] = (),
) -> tuple[tuple[Consumed, ...], tuple[str, ...]]:
    """(those that count, notes on those that don't), now that the objects' own annotations are known.

    `recorded` are the names in `applied`: what was followed and can't be seen now goes on counting.
    """
    counting: list[Consumed] = []
    notes: list[str] = []
    for c in consumed:
        state = states[c.config]
        if isinstance(state, ConfigRecord):
            if state.ignored:
                notes.append(
                    f"{c.config.short(home)} is not followed: it carries an ignore annotation or is not selected"
                )
                continue
            if c.needs_match and not state.matchable:
                continue
            if c.config.namespace != home and not shared_with(state.shared_with, home):
                notes.append(
                    f"{c.config.short(home)} is not followed: it is of another namespace, and its annotation "
                    f"reroll.dev/share-with does not name {home}"
                )
                continue
        elif (c.needs_match or c.config.namespace != home) and c.config.short(home) not in recorded:
            continue  # whether it may be followed is said on the object itself, which can't be seen
        counting.append(c)
    return tuple(counting), tuple(notes)


def current(state: ConfigRecord | Missing, c: Consumed) -> AppliedKeys:
    """What is recorded of an object as it is now."""
    return None if isinstance(state, Missing) else kept(_by_key(state, c), state)


def holds_nothing(recorded: AppliedKeys) -> bool:
    """Was nothing that counts in an object, so that pods see no more of it than if it did not exist?"""
    if isinstance(recorded, str):
        return Summary.read(recorded).present == 0
    return all(key == WILDCARD or digest in (ABSENT, LEFT_OUT) for key, digest in (recorded or {}).items())


def _by_key(state: ConfigRecord, c: Consumed) -> dict[str, str]:
    """The digests of the keys that count, and what has to be remembered of the others."""
    now = digests.consumed_digests(state, c)
    if c.keys is None:
        now[WILDCARD] = ""
        now.update(dict.fromkeys(c.except_keys, LEFT_OUT))
    else:
        for key in c.keys:
            now.setdefault(key, ABSENT)
    return now


def compare(
    c: Consumed,
    state: ConfigState,
    before: Applied,
    *,
    home: str,
    rekeyed: bool,
    on_create: bool | None = None,
    on_delete: bool = False,
) -> Comparison:
    """One followed object against what was recorded of it.

    `rekeyed`: the record was made with another digest key, so what it holds of Secrets counts as not known.
    `on_create`, `on_delete`: see `Policy`.
    """
    short = c.config.short(home)
    known = short in before.configs and not (rekeyed and digests.keyed(c.config.kind))
    old = before.configs[short] if known else None
    if isinstance(state, Unknown):
        return Comparison(c, short, old, recorded=known, note=f"{short} can't be read: {state.reason}")
    if isinstance(state, Missing) and on_delete and old is not None:
        change = ConfigChange(
            c.config, None, deleted=True, references=c.references, change=Change(arrived=state.arrived)
        )
        return Comparison(c, short, None, vanished=True, write=True, stale=change)
    if isinstance(state, Missing):
        return Comparison(
            c,
            short,
            old,
            vanished=c.optional and old is not None,
            write=not known,
            blocked="" if c.optional else f"{short} does not exist",
            note=f"{short} was deleted; that alone rolls nothing, its return with other content does"
            if old
            else "",
        )
    now = _by_key(state, c)
    new = kept(now, state)
    same = Comparison(c, short, new, blocked=_blocked(c, state, short), note=_of_its_pods(state, short))
    if known and old == new:
        return same
    if known and any(old == _mounted(state, content, c) for content in state.mounted):
        return replace(same, record=old)  # its pods were rolled for a content that only new pods have mounted
    noted = replace(same, write=True)
    if not known:
        return noted
    if old is None:
        # A pod that needs it could not have started without it, so every pod that runs has read it, unless it was
        # changed while nobody looked; and if nothing that counts is in it, pods see no more than before.
        unseen = all(digest in (ABSENT, LEFT_OUT) for digest in now.values())
        read = not (c.optional or state.rewritten)
        if read or on_create is False or (unseen and not on_create):
            return replace(noted, returned=read)
        appeared = ConfigChange(c.config, None, appeared=True, references=c.references, change=state.change)
        return replace(noted, stale=appeared)
    if state.read_at_start:
        return noted
    keys: tuple[str, ...] | None
    if isinstance(old, dict):
        keys = _differing_keys(old, now, c)
        if not keys:
            came = (key for key in old.keys() & now.keys() if old[key] == ABSENT != now[key])
            return replace(noted, returned=any(_needed(c, key) for key in came))
        removed = any(now.get(key, ABSENT) == ABSENT for key in keys)
    else:
        was, today = Summary.read(old), Summary.of(now, state)
        if was.digest == today.digest:
            return replace(same, record=old)  # what differs is not consumed
        if was.whole == today.whole:
            return noted
        keys, removed = None, today.present < was.present
    change = ConfigChange(c.config, keys, references=c.references, change=_when(state, removed))
    return replace(noted, stale=change)


def _mounted(state: ConfigRecord, content: tuple[tuple[str, ...], bytes], c: Consumed) -> AppliedKeys:
    """What would be recorded of another content of the same object."""
    keys, joined = content
    return current(replace(state, keys=keys, digests=joined), c)


def _of_its_pods(state: ConfigRecord, short: str) -> str:
    """What a person should know where pods have different contents mounted, each since its start."""
    if not state.mounted:
        return ""
    return (
        f"{short}: pods that started later have a newer version mounted than others; those get it when the driver "
        f"rotates it, which rolls them, or when they are replaced"
    )


def _when(state: ConfigRecord, removed: bool) -> Change:
    """When it changed. The server moves no time in managedFields when an update only removes keys, so that of
    the change before would stand for it: then it has no stamp that anything could be told by."""
    return replace(state.change, stamp=0.0) if removed else state.change


def _differing_keys(old: Mapping[str, str], now: Mapping[str, str], c: Consumed) -> tuple[str, ...]:
    """The keys whose content differs, sorted; () if only what is consumed differs."""
    keys = []
    for key in sorted((old.keys() | now.keys()) - {WILDCARD}):
        if LEFT_OUT in (old.get(key), now.get(key)):
            continue  # it did not count, or does no longer
        if key in old and key in now:
            # A needed key that was absent kept every pod from starting: all that run have read it.
            differs = old[key] != now[key] and not (old[key] == ABSENT and _needed(c, key))
        elif key in now:
            differs = WILDCARD in old and now[key] != ABSENT  # all keys counted, and this one was not there
        else:
            differs = WILDCARD in old and WILDCARD in now  # removed from an object that is consumed whole
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
    # What is consumed whole may have keys that some container needs by name.
    named = sorted({key for ref in c.references for key in ref.keys or ()})
    gone = [key for key in named if key not in state.keys and _needed(c, key)]
    return f"{short} has no key {', '.join(gone)}" if gone else ""
