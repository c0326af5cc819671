"""Follows one rollout to its end, by what the workload's status says. Pure.

A follower is bound to one object and one revision of its template. When either becomes another one, what it followed is
superseded; kubectl, Helm and kstatus report another rollout's end then, or wait for ever.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from reroll.core.progress import Progress
from reroll.core.proof import mark_id
from reroll.core.records import WorkloadRecord

Outcome: TypeAlias = Literal["done", "failed", "blocked", "healed", "superseded"]
"""healed: it came to its good end after it had been called failed."""

PATIENCE: Final = 600.0
"""Seconds without one more new pod after which a rollout counts as failed, unless its spec grants more
(`Progress.within`): the default progressDeadlineSeconds of a Deployment."""
_SLACK: Final = 60.0  # seconds that a Deployment's own verdict may take longer than its deadline


class Following(Struct, frozen=True, gc=False):
    """One rollout that is followed. Times are seconds of one clock that only goes forward."""

    uid: str
    revision: tuple[str, str]
    """Template hash and `mark_id` of the revision that is rolled out."""
    began: float | None
    """None: it began before this process knew of it."""
    moved: float
    """When a pod more was new, the last time."""
    judged: float = 0.0
    """`Progress.judged` as it began: a verdict no newer than that is about an earlier rollout."""
    new: int = 0
    told: Outcome | None = None
    """What was reported of it last."""
    at: int = 0
    """`Applied.at` of its decision: a later rollout can have the same revision, because a mark follows from content."""
    held: bool = False
    """It was blocked when it was looked at last. That time is not its own."""


class Report(Struct, frozen=True):
    """News of a rollout."""

    outcome: Outcome
    words: str
    seconds: float | None = None
    """From its beginning to its end."""


class Step(NamedTuple):
    """What follows from one look at a workload."""

    following: Following | None
    """None: the end has come."""
    report: Report | None = None
    look_again: float | None = None
    """When to look again although nothing is heard until then; None: that is not needed."""


def begin(w: WorkloadRecord, p: Progress, now: float, *, witnessed: bool = True) -> Following:
    """Follow the rollout of the revision that `w` has now. `witnessed`: it began just now.

    What holds it up from the beginning is said with the report that it began.
    """
    held_up = witnessed and (w.paused or w.on_delete or w.partition)
    applied = w.applied
    return Following(
        uid=w.uid,
        revision=(w.template_hash, mark_id(w.mark)),
        began=now if witnessed else None,
        moved=now,
        # A verdict from before the change of configuration is about an earlier rollout.
        judged=max(p.judged if witnessed else 0.0, applied.since if applied is not None else 0.0),
        new=p.new if p.verdict == "going" and not witnessed else 0,
        told="blocked" if held_up else None,
        at=applied.at if applied is not None else 0,
    )


def step(f: Following, w: WorkloadRecord | None, p: Progress | None, now: float) -> Step:
    """Look at a workload whose rollout is followed. `w`: None where it was deleted."""
    if w is None or w.uid != f.uid or w.deleting:
        return Step(None, Report("superseded", "it was deleted in the meantime"))
    if (w.template_hash, mark_id(w.mark)) != f.revision:
        return Step(
            None, Report("superseded", "its pod template was changed again before the rollout had ended")
        )
    if p is None:
        return Step(None)
    if p.ended:
        seconds = now - f.began if f.began is not None else None
        return Step(None, Report("healed" if f.told == "failed" else "done", p.words, seconds))
    held = p.verdict == "blocked"
    if p.new > f.new or (f.held and not held):
        f = replace(f, new=max(p.new, f.new), moved=now)
    if held != f.held:
        f = replace(f, held=held)
    stale_verdict = p.verdict == "failed" and 0 < p.judged <= f.judged
    if p.verdict == "failed" and not stale_verdict:
        return _told(f, "failed", p.words)
    if p.verdict == "blocked":
        return _told(f, "blocked", p.words)
    due = f.moved + max(PATIENCE, p.within) + _SLACK
    if now >= due:
        return _told(f, "failed", f"no pod more became new within {now - f.moved:.0f} s: {p.words}")
    return Step(f, look_again=due if f.told != "failed" else None)


def _told(f: Following, outcome: Outcome, words: str) -> Step:
    """Report what is not the end, once."""
    if f.told == outcome:
        return Step(f)
    if f.told == "failed":
        return Step(f)  # still not over
    return Step(replace(f, told=outcome), Report(outcome, words))
