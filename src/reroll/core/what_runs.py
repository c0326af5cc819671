"""What is known of the pods of a workload whose record is right. Nothing else says that pods are current. Pure."""

from __future__ import annotations

from typing import Final

from reroll.core.decision import Runs, Situation
from reroll.core.proof import PodAges
from reroll.core.records import Applied, ConfigRecord


def what_runs(s: Situation, before: Applied) -> tuple[Runs, str]:
    """What is known of the pods of a workload whose record is right."""
    progress, pods = s.progress, s.pods if s.pods is not None and s.pods.count >= 0 else None
    if before.left:
        who = before.by or "another client"
        of = f"{before.left} of {before.of} pods" if before.of else "some of its pods"
        older = pods.before(before.since, or_then=True) if pods is not None else -1
        if pods is not None and older == 0:
            return _by_their_ages(s, pods)
        if pods is not None:
            of = f"{older} of {pods.count} pods"
        return "older", f"recorded; {of} run older configuration, because {who} put the pod template back"
    if before.since:
        older = pods.before(before.since) if pods is not None else 0
        if progress is None or (progress.complete and not older):
            # Its pods are of the revision that was rolled out; what changed after that, some may have read in between.
            return _by_their_ages(s, pods, after=before.since)
        if progress.complete and pods is not None:  # by a revision that had pods before, which nobody knew
            words = f"{older} of {pods.count} pods were created before the change"
            return "older", f"rolled for the current configuration; {words}"
        words = f"rolled for the current configuration, and the rollout is not over: {progress.words}"
        if older and pods is not None:
            words += f"; {older} of {pods.count} pods were created before the change"
        return "rolling", words
    return _by_their_ages(s, pods)


_UNCHANGED: Final = "nothing that it consumes has changed since it was recorded"


def _by_their_ages(s: Situation, pods: PodAges | None, *, after: float = 0.0) -> tuple[Runs, str]:
    """What is recorded is what is there: do the pods' ages say so, too? Content can have been changed and changed back
    since then. `after`: changes until that time are accounted for. `pods`: None where they were not asked for."""
    home = s.workload.id.namespace
    changed = {
        c.config.short(home): state.stamp
        for c in s.consumed
        if isinstance(state := s.states[c.config], ConfigRecord) and state.stamp > after
    }
    if changed and pods is None:
        return "", _UNCHANGED
    if changed and pods is not None:
        last = max(changed, key=lambda name: changed[name])
        older = pods.before(changed[last])
        if older:
            created = f"{older} of {pods.count} pods were created before the last change of {last}"
            return "older", f"{_UNCHANGED}; {created}"
    return "current", "its pods run the current configuration"
