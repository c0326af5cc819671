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
    updates,
)
from reroll.insight.lint.world import World

READING: Final = (
    Rule(
        "R001",
        "unreadable",
        "error",
        "A file that can't be parsed",
        "Nothing in it can be checked, and kubectl refuses it too.",
        "Correct the place that the message names; of a template, render it first.",
    ),
    Rule(
        "R002",
        "unknown-rule-ignored",
        "warning",
        "An ignore comment that names no rule",
        "It ignores nothing.",
        "Correct the id: `reroll lint --rules` lists them.",
    ),
)
"""What has to do with reading the input."""

FAMILIES: Final[tuple[Callable[[World], Iterator[Finding]], ...]] = (
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
        READING,
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
