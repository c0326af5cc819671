"""Which copies may go. Pure.

A copy stays while anything names it: a pod, a ReplicaSet or ControllerRevision that an undo can go back to, a Job, a
template. Of each source the newest few stay in any case, and so does what is young, because who makes a copy names it a
moment later. What nothing names is first marked, and deleted a while after that, if it was not touched in between.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Final

from msgspec import Struct

from reroll.core.records import ConfigId
from reroll.core.suffix_hash import ALPHABET, LENGTH
from reroll.versions.copies import Copy

KEEP: Final = 3
"""The newest copies of each source that stay, whether anything names them or not."""
YOUNG: Final = 3600.0
"""Seconds for which every copy stays."""
GRACE: Final = 600.0
"""Seconds between the mark and the deletion."""

_NAMES: Final = re.compile(rb'"([a-z0-9][-a-z0-9.]*-[%s]{%d,26})"' % (ALPHABET.encode(), LENGTH))
"""What can be the name of a copy, as a whole string in the JSON of an object."""


class Plan(Struct, frozen=True):
    """What one pass does."""

    mark: tuple[Copy, ...] = ()
    unmark: tuple[Copy, ...] = ()
    delete: tuple[Copy, ...] = ()


def names_in(raw: bytes) -> set[str]:
    """All that can be names of copies in an object's JSON, whatever its kind: any whole string counts, so that what
    reroll does not know of, such as a custom resource, keeps what it names."""
    return {match.decode() for match in _NAMES.findall(raw)}


def expendable(
    copies: Iterable[Copy], now: float, *, keep: int = KEEP, young: float = YOUNG
) -> tuple[Copy, ...]:
    """The copies that may go if nothing names them."""
    by_source: dict[ConfigId, list[Copy]] = {}
    for copy in copies:
        source = ConfigId(copy.config.kind, copy.config.namespace, copy.source)
        by_source.setdefault(source, []).append(copy)
    found: list[Copy] = []
    for of_source in by_source.values():
        of_source.sort(key=lambda copy: (copy.ordinal, copy.created, copy.config))
        older = of_source[:-keep] if keep else of_source
        found += [copy for copy in older if copy.created and now - copy.created > young and not copy.kept]
    return tuple(found)


def plan(
    copies: Collection[Copy],
    named: Collection[tuple[str, str]],
    now: float,
    *,
    keep: int = KEEP,
    young: float = YOUNG,
    grace: float = GRACE,
) -> Plan:
    """What to do with these copies. `named`: (namespace, name) of everything that objects name. `now`: seconds since
    the epoch."""
    may_go = {
        copy.config
        for copy in expendable(copies, now, keep=keep, young=young)
        if (copy.config.namespace, copy.config.name) not in named
    }
    mark, unmark, delete = [], [], []
    for copy in copies:
        if copy.config not in may_go:
            if copy.unused_since:
                unmark.append(copy)
        elif not copy.unused_since:
            mark.append(copy)
        elif now - copy.unused_since > grace:
            delete.append(copy)
    return Plan(tuple(mark), tuple(unmark), tuple(delete))
