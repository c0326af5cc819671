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
from reroll.settings import Settings

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


def rules_of(
    settings: Settings,
    *,
    dialects: Dialects | None = None,
    kinds: Mapping[str, WorkloadKind] | None = None,
    digester: Digester = content,
) -> Rules:
    """What the settings say, for the controller and for `reroll simulate` alike. What is handed in takes its place.
    Raises SettingsError."""
    scope = settings.scope()
    return Rules(
        defaults=settings.policy_defaults(),
        dialects=dialects or settings.dialects(),
        in_scope=scope.covers,
        kinds=settings.followed_kinds() if kinds is None else kinds,
        marks=settings.mark_style(),
        field_manager=settings.field_manager,
        selected=scope.of_configs.matches if settings.config_selector else None,
        read_all=bool(settings.webhook_url),
        digester=digester,
    )
