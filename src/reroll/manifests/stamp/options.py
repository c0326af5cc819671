"""What a person can set for `reroll stamp`."""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple, TypeAlias

from msgspec import Struct

from reroll.core.digests import DigestKey
from reroll.core.kinds import JOB, KINDS
from reroll.manifests.yaml_text import Path

Missing: TypeAlias = Literal["ignore", "warn", "fail"]

DEFAULT_ANNOTATION: Final = "checksum/config"
"""What charts write by hand, so that it is replaced in its place."""
COUNTER_ANNOTATION: Final = "configmap-version"
RECORD: Final = "reroll-stamp/digest"
"""On the workload's own metadata, where a counter is kept: the digest that the number stands for. It is not on the
pod template, so it rolls nothing."""

_ANNOTATION = re.compile(
    r"(?:[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
)
_KIND = re.compile(
    r"(?P<kind>[A-Z][A-Za-z0-9]*)\.(?P<group>[a-z0-9.-]+\.[a-z0-9-]+)(=(?P<path>[A-Za-z0-9_.]+))?"
)

Templates: TypeAlias = "dict[tuple[str, str], Path]"
"""(group, kind) -> where the pod template stands."""


class Extra(NamedTuple):
    """Something else that workloads depend on: a file, or the value of a variable."""

    name: str
    """``file/values.yaml`` or ``env/REGION``: a part of the digest, so that what it means is told apart."""
    content: bytes
    workload: str = ""
    """``kind/name`` in lower case, of the one that depends on it; "": all."""


class Options(Struct, frozen=True, kw_only=True):
    annotation: str = DEFAULT_ANNOTATION
    per_object: bool = False
    """An annotation for each config object, so that it can be seen which one changed."""
    counter: bool = False
    """The annotation is a number that grows by one when the digest changes."""
    secrets: bool = True
    missing: Missing = "warn"
    namespace: str = ""
    """Of objects that name none."""
    templates: Templates = {}
    extras: tuple[Extra, ...] = ()
    key: DigestKey | None = None
    """Of the digests of Secrets; None: they are made slow to guess instead."""


def templates_of(jobs: bool, kinds: tuple[str, ...] = ()) -> Templates:
    """The kinds that are stamped: those that run on, CronJobs, Jobs if asked for (the pod template of a Job can't be
    changed), and others as KIND.GROUP=PATH. Raises ValueError, in words for people."""
    found: Templates = {
        (kind.group, kind.kind): kind.template for kind in KINDS.values() if jobs or kind is not JOB
    }
    for word in kinds:
        match = _KIND.fullmatch(word)
        if match is None:
            raise ValueError(
                f"--kind {word!r} can't be read: write KIND.GROUP, and =PATH of its pod template where that is not "
                f"spec.template, such as CloneSet.apps.kruise.io"
            )
        found[match["group"], match["kind"]] = tuple((match["path"] or "spec.template").split("."))
    return found


def checked_annotation(name: str) -> str:
    """The name, if an annotation can have it. Raises ValueError, in words for people."""
    if not _ANNOTATION.fullmatch(name):
        raise ValueError(
            f"{name!r} is no name of an annotation: write NAME or PREFIX/NAME, such as {DEFAULT_ANNOTATION}"
        )
    return name
