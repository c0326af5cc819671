"""What became of each workload, and of all together; the exit code follows from it."""

from __future__ import annotations

from typing import Literal, Protocol, TypeAlias

from msgspec import Struct

from reroll.core.records import WorkloadId
from reroll.rollouts.reasons import Reason

Method: TypeAlias = Literal["rollout", "delete-pods", "evict"]

State: TypeAlias = Literal[
    "planned",  # a dry run
    "restarted",  # begun, and not waited for
    "done",  # its pods are new and serve
    "failed",
    "timed out",
    "refused",  # it can't be restarted as it is
    "skipped",  # there is nothing to restart
    "not started",  # another one failed before its turn, or the time was over
]

DONE, FAILED, TIMED_OUT, NOTHING = 0, 1, 3, 4
"""Exit codes; 2 is for what was not understood."""


class Outcome(Struct, frozen=True):
    """What became of one workload."""

    kind: str
    namespace: str
    name: str
    state: State
    message: str
    """In words for people."""
    action: str = "rollout"
    """What was done to it: a `Method`; or `followed`: its rollout was started by the apply or by the controller."""
    why: tuple[str, ...] = ()
    """Why it is one of those, such as ``consumes configmap/app: container web: env LEVEL``."""
    reasons: tuple[Reason, ...] = ()
    """Why it failed, as far as can be told."""
    rolled_back: bool = False
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.kind.lower()}/{self.namespace}/{self.name}"


class Result(Struct, frozen=True):
    """All of them, in the order in which they were asked for."""

    outcomes: tuple[Outcome, ...]
    notes: tuple[str, ...] = ()

    def count(self, *states: State) -> int:
        return sum(each.state in states for each in self.outcomes)

    @property
    def nothing(self) -> bool:
        """There was nothing to do."""
        return not self.outcomes or self.count("skipped") == len(self.outcomes)

    def code(self, *, exit_code: bool) -> int:
        """The exit code: 0 done, 1 failed, 3 timed out; and with `exit_code` 4: there was nothing to do."""
        if self.count("failed", "refused"):
            return FAILED
        if self.count("timed out"):
            return TIMED_OUT
        if self.count("not started"):
            return FAILED
        return NOTHING if exit_code and self.nothing else DONE


class View(Protocol):
    """Where progress is shown."""

    def going(self, workload: WorkloadId, words: str, new: int, wanted: int) -> None:
        """A rollout goes on."""

    def ended(self, outcome: Outcome) -> None:
        """One workload is through."""


class Silent:
    """Shows nothing."""

    def going(self, workload: WorkloadId, words: str, new: int, wanted: int) -> None:
        pass

    def ended(self, outcome: Outcome) -> None:
        pass
