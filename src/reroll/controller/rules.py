"""How objects are read: what the settings say, and what others hand in, in one record for the whole way of a change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from msgspec import Struct, field

from reroll.controller.config_objects import Digester, content
from reroll.core.kinds import KINDS, WorkloadKind
from reroll.core.marks import NATIVE, MarkStyle
from reroll.core.policy import PolicyDefaults
from reroll.dialects import ALL, Dialects

InScope: TypeAlias = Callable[[str, Mapping[str, str]], bool]
"""(namespace, its labels) -> is it acted on at all?"""


class Rules(Struct, frozen=True):
    """By default everything is followed as a controller without settings does."""

    defaults: PolicyDefaults = PolicyDefaults()
    dialects: Dialects = ALL
    """Whose annotations are understood at first; see `Store.set_dialects`."""
    in_scope: InScope = lambda namespace, labels: True
    kinds: Mapping[str, WorkloadKind] = field(default_factory=lambda: KINDS)
    """The kinds of workload, by `WorkloadKind.id`."""
    marks: MarkStyle = NATIVE
    """How pod templates are marked."""
    field_manager: str = "reroll"
    """Under which name this controller writes."""
    selected: Callable[[Mapping[str, str]], bool] | None = None
    """Labels of a config object -> may it be followed? None: each may."""
    read_all: bool = False
    """The content of every config object is read, whoever follows it."""
    digester: Digester = content
