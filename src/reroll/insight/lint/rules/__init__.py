"""All rules, a family a file. To add a rule: its line in `RULES` of a family, and a heading in docs/lint.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from reroll.insight.lint.finding import Finding, Rule
from reroll.insight.lint.rules import (
    charts,
    content,
    follow,
    generators,
    mechanisms,
    references,
    settings,
    unreadable,
    updates,
)
from reroll.insight.lint.world import World

FAMILIES: Final[tuple[Callable[[World], Iterator[Finding]], ...]] = (
    unreadable.check,
    references.check,
    updates.check,
    content.check,
    mechanisms.check,
    settings.check,
    follow.check,
    generators.check,
)

RULES: Final[dict[str, Rule]] = {
    rule.id: rule
    for rules in (
        unreadable.RULES,
        references.RULES,
        updates.RULES,
        content.RULES,
        mechanisms.RULES,
        settings.RULES,
        follow.RULES,
        generators.RULES,
        charts.RULES,
    )
    for rule in rules
}
