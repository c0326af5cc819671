"""What there is to show at a moment: filled by `run`, shown by `plain` line by line or by `live` as a whole."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, TypeAlias

from reroll.demo.observer import WorkloadView

State: TypeAlias = Literal["waiting", "running", "passed", "failed"]
Tone: TypeAlias = Literal["plain", "quiet", "step", "good", "bad"]

Hear: TypeAlias = Callable[[float, str, Tone], None]
"""Called with (seconds since the start, one line, how to say it) for each thing that happens."""

_HUSHED_AFTER = ("rolled", "adopted", "recorded")


class Told(NamedTuple):
    """A decision of the controller, as its log tells it."""

    seconds: float
    workload: str
    word: str
    reason: str


class Shown:
    """One step on the board."""

    def __init__(self, title: str, command: str, expected: str, outcome: str) -> None:
        self.title, self.command, self.expected, self.outcome = title, command, expected, outcome
        self.state: State = "waiting"
        self.seen = ""
        self.why: dict[str, str] = {}


class Board:
    """The state of the demo. `hear` is told of each happening as a line."""

    def __init__(self, hear: Hear | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._hear = hear
        self._clock = clock
        self._began = clock()
        self._ended: float | None = None
        self.cluster = ""
        self.namespace = ""
        self.activity = ""
        """What goes on outside of the steps."""
        self.left = ""
        """What could not be cleaned up, and why."""
        self.controller = "not started"
        self.steps: list[Shown] = []
        self.current: Shown | None = None
        self.workloads: dict[str, WorkloadView] = {}
        self.rollouts: dict[str, int] = {}
        """By workload, since the app was there."""
        self.decisions: deque[Told] = deque(maxlen=100)
        self._last: dict[str, Told] = {}

    @property
    def seconds(self) -> float:
        """Since the start; stands still after `finish`."""
        return (self._clock() if self._ended is None else self._ended) - self._began

    def finish(self) -> None:
        self._ended = self._clock()

    def say(self, text: str, tone: Tone = "plain") -> None:
        """Something happened."""
        if self._hear is not None:
            self._hear(self.seconds, text, tone)

    def doing(self, text: str) -> None:
        """Something goes on, until the next one."""
        if text and text != self.activity:
            self.say(text, "quiet")
        self.activity = text

    def begin(self, step: Shown) -> None:
        """A step begins: what the controller decides from here on is about it."""
        self.current = step
        step.state = "running"
        self.activity = ""
        self._last.clear()

    def decided(self, workload: str, word: str, reason: str) -> None:
        """The controller's log tells of a decision. What only repeats, or follows from a rollout just told,
        is left out."""
        last = self._last.get(workload)
        told = Told(self.seconds, workload, word, reason)
        if last is not None:
            if (last.word, last.reason) == (word, reason):
                return
            if word == "skip" and last.word in _HUSHED_AFTER:
                return
        self._last[workload] = told
        if last is not None and last.word == word == "wait" and last in self.decisions:
            # One change after the other comes in: it still waits, for one more.
            self.decisions[self.decisions.index(last)] = told
            return
        self.decisions.append(told)
        self.say(f"  reroll: {workload}: {word}: {brief(reason)}", "quiet")

    def last_decision(self, workload: str) -> Told | None:
        """The last one in this step."""
        return self._last.get(workload)

    def observed(self, workloads: Sequence[WorkloadView], rollouts: dict[str, int]) -> None:
        """The cluster was looked at."""
        for view in workloads:
            before = self.workloads.get(view.name)
            self.workloads[view.name] = view
            if before is not None and before.pods != view.pods and self.steps:
                self.say(f"  {view.name}: {describe_pods(view)}", "quiet")
        self.rollouts = rollouts


def describe_pods(view: WorkloadView) -> str:
    """The pods of a workload in words."""
    new = [pod for pod in view.pods if pod.new]
    ready = sum(pod.ready for pod in new)
    old = len(view.pods) - len(new)
    return f"{ready} of {view.desired} pods new and ready" + (f", {old} old" if old else "")


def brief(reason: str) -> str:
    """A reason that names many objects, with the first of them."""
    parts = reason.split("; ")
    many = [part for part in parts if " changed (" in part]
    if len(many) <= 3:
        return reason
    rest = [part for part in parts if part not in many]
    return "; ".join([many[0], f"and {len(many) - 1} more", *rest])
