"""R0xx: what can't be read."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from reroll.core.template import PodTemplate
from reroll.insight.lint.finding import Finding, Rule
from reroll.insight.lint.shape import at, mapping
from reroll.insight.lint.world import World
from reroll.manifests.yaml_text import Path

RULES = (
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
    Rule(
        "R003",
        "unreadable-template",
        "error",
        "A pod template with a list, a mapping or a text where something else belongs",
        "The API server refuses it, and what it consumes can't be told.",
        "Correct the place that the message names: most often a dash or an indentation is missing.",
    ),
)
"""R001 and R002 are found where the input is read (`insight.lint.run`)."""

_KINDS = {
    "array": "a list",
    "object": "a mapping",
    "str": "a text",
    "bool": "true or false",
    "int": "a number",
    "float": "a number",
}
_WRONG = re.compile(r"Expected `([^`]+)`, got `([^`]+)`(?: - at `\$(.*)`)?")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")


def check(world: World) -> Iterator[Finding]:
    for workload in world.workloads:
        try:
            msgspec.convert({"spec": mapping(workload.template).get("spec") or {}}, PodTemplate)
        except msgspec.ValidationError as error:
            path, problem = _told(str(error))
            while path and at(workload.template, path) is None:
                path = path[:-1]
            yield workload.found(
                "R003", "error", (*workload.template_at, *path), f"its pod template {problem}"
            )


def _told(message: str) -> tuple[Path, str]:
    """Where in the pod template msgspec stopped, and why, in words for people."""
    found = _WRONG.fullmatch(message)
    if found is None:
        return (), f"can't be read: {message}"
    wanted, got, where = found.groups()
    path: Path = tuple(int(number) if number else name for name, number in _STEP.findall(where or ""))
    expected = " or ".join(_KINDS.get(one, one) for one in wanted.split(" | ") if one != "null")
    held = "nothing" if got == "null" else _KINDS.get(got, got)
    return path, f"has {held} where {expected} belongs: the API server refuses it"
