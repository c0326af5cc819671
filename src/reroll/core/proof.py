"""What does a rollout that another client started prove about the pods? Pure.

A change of a template is a promise; pods keep it. So a start of pods counts when its rollout has ended. Where the
template went back to a revision that may still have had pods, the end proves nothing either: then the pods' ages do.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from typing import Final, TypeAlias

from msgspec import Struct

from reroll.core.progress import Progress
from reroll.core.records import WorkloadRecord


class PodAges(Struct, frozen=True, gc=False):
    """When the pods of one workload were created, asked of the server where nothing else proves what they run."""

    count: int
    oldest: float
    """Seconds since the epoch, whole; of the oldest pod that is not being deleted."""
    created: tuple[float, ...] = ()
    """The same of each of these pods, sorted; () where only the oldest was asked for."""

    def before(self, time: float, *, or_then: bool = False) -> int:
        """How many were created before this time (`or_then`: or in its very second); at least 1 where any was."""
        if self.created:
            return bisect_left(self.created, time + 1.0 if or_then else time)
        return 1 if self.count and (self.oldest < time or (or_then and self.oldest <= time)) else 0


class Rolling(Struct, frozen=True):
    """Its rollout is not over: nothing is proved yet."""

    words: str
    stuck: str = ""
    """Why it does not end by itself: blocked, or failed."""


class New(Struct, frozen=True):
    """All its pods start, or started, after the template's change."""

    proved: bool = True
    """False where its pods may not be listed: it is most likely so."""

    @property
    def words(self) -> str:
        return "" if self.proved else " (its pods may not be listed, so this is not proved)"


class Unasked(Struct, frozen=True):
    """It depends on the ages of its pods, which are to be asked for."""


class Old(Struct, frozen=True):
    """Some of its pods were created before."""

    old: int
    of: int

    @property
    def words(self) -> str:
        return f"{self.old} of {self.of} pods" if self.of else "some of its pods"


Proof: TypeAlias = Rolling | New | Unasked | Old


def prove(w: WorkloadRecord, progress: Progress | None, pods: PodAges | None, since: float) -> Proof:
    """Do all pods of `w` start after `since`, because another client changed its template after that?

    `since`: seconds since the epoch by the server's clock, 0 where it is not known. `progress`: None for a kind whose
    status doesn't show how far a rollout is; such a start is believed. `pods`: None where they were not asked for yet,
    and count -1 where they may not be.
    """
    if progress is None:
        return New()
    if not progress.complete:
        return Rolling(progress.words, progress.verdict if progress.verdict in ("blocked", "failed") else "")
    if w.origin == "new":
        return New()
    if pods is None:
        return Unasked()
    if pods.count < 0:
        return New(proved=False) if w.origin == "unseen" else Old(0, 0)
    if not since:
        return Old(0, 0) if pods.count else New()
    # Times are whole seconds, and a tie that can't be told rolls: one restart too many is better than stale pods.
    old = pods.before(since, or_then=True)
    return Old(old, pods.count) if old else New()


NOT_PERMITTED: Final = PodAges(-1, 0.0)
"""In place of ages, where pods may not be listed."""


def is_superseded(w: WorkloadRecord) -> bool:
    """Has another client changed the template since a rollout began that its pods are still owed?"""
    before = w.applied
    if before is None or not before.since or before.mark is None:
        return False
    return (w.template_hash, mark_id(w.mark)) != (before.template, before.mark)


_LONGEST: Final = 64


def mark_id(mark: str | None) -> str:
    """A mark as a record holds it: itself, "" for none, and a digest of a long one (environment variables), or of one
    with characters that a record does not hold."""
    if mark is None or (len(mark) <= _LONGEST and mark.isprintable()):
        return mark or ""
    return "#" + hashlib.blake2b(mark.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
