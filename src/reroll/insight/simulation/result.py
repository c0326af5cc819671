"""What a simulation answers: names, digest-free reasons and times. No content of any object is in it."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

Effect: TypeAlias = Literal["created", "changed", "deleted", "nothing"]


class Made(Struct, frozen=True):
    """One change of the scenario, as it was made."""

    at: float
    """Seconds after the start."""
    action: str
    """set, unset, delete, change or apply."""
    object: str
    effect: Effect
    keys: tuple[str, ...] = ()
    """The keys of a config object that differ from before."""
    detail: str = ""
    source: str = ""
    """The option or the file and line that asked for it."""


class Roll(Struct, frozen=True):
    """One rollout."""

    order: int
    """From 1, in the order in which they are started."""
    at: float | None
    """Seconds after the start; None: at the start, before any change."""
    workload: str
    reason: str
    """With the places that consume what changed."""
    notes: tuple[str, ...]
    causes: tuple[str, ...]
    """The config objects that differ from what its pods run with."""
    since: float | None
    """When the first of its changes was made; None: before the start."""


class Stay(Struct, frozen=True):
    """A workload that is concerned by a change and is not rolled."""

    workload: str
    decision: str
    """The last one: skip, record, wait, refuse or adopt."""
    followed: bool
    """False where nothing asks reroll to follow its configuration, or the settings leave it out."""
    reason: str
    notes: tuple[str, ...]
    problems: tuple[str, ...] = ()
    """Annotations that are not understood."""


class Start(Struct, frozen=True):
    """What was there, and what the controller does of it before any change."""

    workloads: int
    followed: int
    """Of these, the workloads that ask for it, or are made to by the settings."""
    config_objects: int
    adopted: int
    recorded: int
    rolled: int


class Simulation(Struct, frozen=True):
    """The whole answer."""

    source: str
    start: Start
    changes: tuple[Made, ...]
    rolls: tuple[Roll, ...]
    stays: tuple[Stay, ...]
    unconcerned: int
    """Workloads that neither roll nor are concerned by a change."""
    ended: float
    """Seconds after the start when all has come to rest."""
    notes: tuple[str, ...]
