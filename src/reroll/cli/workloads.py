"""Workloads and namespaces as command lines name them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reroll.cli.failure import Failure
from reroll.core.kinds import WORKLOAD_KINDS, WorkloadKind, find_kind
from reroll.core.records import WorkloadId


def scopes_of(namespaces: Sequence[str] | None, everywhere: bool, home: str) -> tuple[str, ...]:
    """The namespaces to look in, () for all; `home` is the context's. Raises Failure where both are asked for."""
    if everywhere and namespaces:
        raise Failure("--namespace and --all-namespaces exclude each other", 2)
    if everywhere:
        return ()
    return tuple(dict.fromkeys(namespaces)) if namespaces else (home,)


def workloads_of(
    words: Sequence[str], scopes: Sequence[str], kinds: Mapping[str, WorkloadKind] = WORKLOAD_KINDS
) -> tuple[WorkloadId, ...]:
    """The workloads that are named as KIND/NAME, of these kinds. Raises Failure for what is none, or has not one
    namespace."""
    if words and len(scopes) != 1:
        raise Failure(f"{words[0]} is of one namespace: name it with -n, and only it", 2)
    found: dict[WorkloadId, None] = {}
    for word in words:
        kind_word, slash, name = word.partition("/")
        kind = find_kind(kind_word, kinds)
        if not slash or not name or "/" in name or kind is None:
            raise Failure(
                f"{word!r} is no workload: write KIND/NAME, such as deployment/web, sts/db or ds/agent", 2
            )
        found[WorkloadId(kind.id, scopes[0], name)] = None
    return tuple(found)
