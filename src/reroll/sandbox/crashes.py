"""Whether a container crashes with what it was given: a rule of the sandbox, and one that a pod brings along."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, TypeAlias

from reroll.sandbox.content import Content
from reroll.sandbox.storage import Object

CRASH_IF: Final = "sandbox.reroll.dev/crash-if"
"""On a pod template: ``KEY=VALUE``. KEY is a variable, a key of a config object or a file's name; VALUE a regular
expression for the whole value."""

CrashRule: TypeAlias = Callable[[Object, Content], str | None]
"""(pod, what it starts with) -> why its containers crash; None: they don't. The text is shown in the pod's status,
so it must not hold what a Secret holds."""


def crash_if(pod: Object, content: Content) -> str | None:
    """The rule that the pod's annotation says. A pattern that is none crashes too, and says so."""
    key, equals, pattern = ((pod["metadata"].get("annotations") or {}).get(CRASH_IF) or "").partition("=")
    if not equals:
        return None
    try:
        matches = re.compile(pattern, re.DOTALL).fullmatch
    except re.error:
        return f"{CRASH_IF} holds no regular expression after {key}="
    for container in content.containers:
        for where, given in (*container.env.items(), *container.files.items()):
            named = key in (where, given.key, where.rpartition("/")[2])
            if named and matches(given.value.decode(errors="replace")):
                return f"{key} is what {CRASH_IF} names"
    return None
