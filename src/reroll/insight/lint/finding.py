"""A rule, and one thing that it found."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from msgspec import Struct

from reroll.manifests.edit import Edit
from reroll.manifests.yaml_text import Path

Severity: TypeAlias = Literal["error", "warning", "info"]

SEVERITIES: Final[tuple[Severity, ...]] = ("error", "warning", "info")
"""The worst first."""


class Rule(Struct, frozen=True):
    """One check."""

    id: str
    """A family's digit and a number in it, such as ``R101``: it never changes its meaning."""
    name: str
    severity: Severity
    title: str
    """One line: what it finds."""
    why: str
    """What goes wrong in the cluster where it is found."""
    todo: str
    """What to do about it."""
    fixable: bool = False
    """`reroll lint --fix` can mend it, in some cases at least."""


class Finding(Struct, frozen=True):
    """One place where a rule does not hold. Never a value of a ConfigMap or Secret."""

    rule: str
    severity: Severity
    object: str
    """Such as ``deployment/web`` or ``deployment/shop/web``; of a file that holds none, its name."""
    path: str
    """Where in the object, such as ``spec.template.spec.containers[0].env[1]``."""
    message: str
    """What is wrong, and what to do next."""
    file: str
    line: int
    """From 1; 0 where none can be named."""
    column: int
    document: int = -1
    """The number of its document in the input; -1: it is in none that can be edited."""
    fix: tuple[Edit, ...] = ()
    """What mends it, with paths from the root of its document; (): a person has to."""

    @property
    def fixable(self) -> bool:
        return bool(self.fix)


def shown(path: Path) -> str:
    """A path for people: ``spec.containers[0].env``; keys with a dot or slash in them are quoted."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif "." in step or "/" in step or not step:
            text += f"[{step!r}]"
        else:
            text += f".{step}" if text else step
    return text
