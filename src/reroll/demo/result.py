"""What the demo found, as data: `reroll demo -o json`."""

from __future__ import annotations

from msgspec import Struct


class StepResult(Struct, frozen=True):
    """One step: what was done, what had to come of it, and what did."""

    number: int
    title: str
    command: str
    """What a person would type for it."""
    expected: str
    ok: bool
    seen: str
    why: dict[str, str]
    """By workload: the Event about its rollout, or where there was none, reroll's last decision."""
    rollouts: dict[str, int]
    """By workload: new revisions (of ReplicaSets or ControllerRevisions), whoever made them."""
    seconds: float


class DemoResult(Struct, frozen=True):
    """The whole demo. `ok` only if every step was run and did what it says."""

    ok: bool
    cluster: str
    namespace: str
    kubeconfig: str
    """With --keep: where the app can be found. Otherwise empty, for it is gone."""
    seconds: float
    steps: list[StepResult]
