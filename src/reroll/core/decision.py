"""What a decision is made of, and what it says. No rule stands here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Literal, TypeAlias

from msgspec import Struct

from reroll.core.compare import Comparison, ConfigChange
from reroll.core.kinds import DEPLOYMENT, WorkloadKind
from reroll.core.marks import NATIVE, MarkStyle
from reroll.core.policy import Policy
from reroll.core.progress import Progress
from reroll.core.proof import PodAges
from reroll.core.records import Applied, ConfigId, ConfigState, Consumed, WorkloadRecord


class Kind(Enum):
    """What is to be done."""

    ADOPT = "adopt"
    """Seen for the first time: record its digests, roll nothing."""
    ROLL = "roll"
    """Its pods run older configuration: change its pod template."""
    RECORD = "record"
    """Its pods run the current configuration, and what is recorded says otherwise: correct the record."""
    WAIT = "wait"
    """It is stale, and it is not yet time."""
    SKIP = "skip"
    """Nothing to do."""
    RESUME = "resume"
    """It was paused as it was rolled, and that was long enough."""
    REFUSE = "refuse"
    """Its policy can't be told: acting could do what its owner forbade."""


class Situation(Struct, frozen=True):
    """Everything a decision is made of."""

    workload: WorkloadRecord
    policy: Policy
    consumed: Sequence[Consumed]
    states: Mapping[ConfigId, ConfigState]
    key_id: str
    """`DigestKey.id` that the digests of Secrets were made with."""
    now: float
    """Seconds since the epoch, on this process's clock."""
    pending_since: float | None = None
    """When the first change that was not yet acted on arrived; None: nothing is pending."""
    kind: WorkloadKind = DEPLOYMENT
    pods: PodAges | None = None
    """None: not asked. See `Decision.ask_pods`."""
    progress: Progress | None = None
    """How far its rollout is; None where its kind doesn't show that."""
    marks: MarkStyle = NATIVE
    """How a pod template is marked."""


class How(Enum):
    """By which means a stale workload is rolled."""

    TEMPLATE = "template"
    """The mark on its pod template is changed."""
    EVICT = "evict"
    """Its pods are evicted, and its template is left as it is (mode `restart`)."""
    RESTART_AT = "restart at"
    """Its own controller is told to restart its pods (mode `restart` of a kind that has a field for it)."""
    AGAIN = "again"
    """It is deleted and created again (Job)."""
    VERSION = "version"
    """Its template is pointed at immutable copies of its configuration (mode `version`)."""
    INSTANTIATE = "instantiate"
    """A Job is started from it (CronJob)."""


Runs: TypeAlias = Literal["current", "rolling", "older", ""]
"""current: its pods run the current configuration. rolling: they will, when its rollout has ended. older: some may run
older configuration. "": it was not asked."""


class Decision(Struct, frozen=True):
    """What is to be done about one workload, and why."""

    kind: Kind
    reason: str
    changes: tuple[ConfigChange, ...] = ()
    """Why it is stale."""
    applied: Applied | None = None
    """To be written (Adopt, Roll, Record)."""
    mark: str | None = None
    """To be written on the pod template (Roll)."""
    how: How = How.TEMPLATE
    """By which means (Roll)."""
    pause: float | None = None
    """To be paused as it is rolled, as of this time (Roll)."""
    until: float | None = None
    """When to ask again (Wait), in seconds since the epoch; None: when something changes."""
    notes: tuple[str, ...] = ()
    """What a person should know beside the reason."""
    warning: bool = False
    """The owner of the workload should hear of it (Warning Event)."""
    event: str = ""
    """The reason of that Event, where it has one of its own."""
    ask_pods: bool = False
    """The decision rests on the ages of its pods: ask for them, and decide again."""
    findings: tuple[Comparison, ...] = ()
    """What it consumes, compared with what its pods were last rolled for."""
    runs: Runs = ""
    """What its pods run, as far as it is known (Skip)."""
