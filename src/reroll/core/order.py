"""Which of two changes came later? What rule 4 of the design (the user's rollout wins) rests on."""

from __future__ import annotations

from typing import Final

from reroll.core.records import Change

CONTRADICTION: Final = 300.0
"""Seconds by which arrivals must contradict resourceVersions before arrivals are believed: longer than a watch that is
dead goes unnoticed (`kube.client`: 75 s) and is opened again, twice over. Arrivals are of a clock that is not set."""


def is_later(a: Change, b: Change) -> bool:
    """True only if `a` certainly came after `b`; a tie that can't be told is False.

    Both seen live: by resourceVersion, for one etcd numbers all its writes in one sequence, whichever
    kind they are of, while two watches may deliver in either order. Only in a server that keeps kinds in
    several etcds (``--etcd-servers-overrides``) the numbers say nothing of order; there, arrivals that
    contradict them by more than `CONTRADICTION` are believed.

    Only one seen live: the other was found in a list, with the resourceVersion that its object had then. Its
    change is no later than that, so a live one of a higher version came after it.

    Otherwise: by the server's own times in managedFields, whole seconds; equal ones are a tie.
    """
    if a.live and b.live:
        gap = a.arrived - b.arrived
        if a.version and b.version and abs(gap) <= CONTRADICTION:
            return a.version > b.version
        return gap > 0
    if a.live and a.version > b.version > 0:
        return True
    if b.live and b.version > a.version > 0:
        return False
    if a.stamp and b.stamp:
        return a.stamp > b.stamp
    return False
