"""Who consumes what, in both directions, so that a change costs as much as it has consumers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import TypeVar

from reroll.controller.entry import Entry
from reroll.core.records import ConfigId, ConfigKind, WorkloadId


class Index:
    """Config object -> workloads that consume it; place -> those whose patterns could match an object there."""

    def __init__(self) -> None:
        self._consumers: dict[ConfigId, set[WorkloadId]] = {}
        self._followers: dict[tuple[ConfigKind, str], set[WorkloadId]] = {}
        self._by_namespace: dict[str, set[WorkloadId]] = {}

    def add(self, entry: Entry) -> None:
        workload = entry.record.id
        self._by_namespace.setdefault(workload.namespace, set()).add(workload)
        for c in entry.consumed:
            self._consumers.setdefault(c.config, set()).add(workload)
        for place in _places(entry):
            self._followers.setdefault(place, set()).add(workload)

    def remove(self, entry: Entry) -> None:
        workload = entry.record.id
        discard(self._by_namespace, workload.namespace, workload)
        for c in entry.consumed:
            discard(self._consumers, c.config, workload)
        for place in _places(entry):
            discard(self._followers, place, workload)

    def is_consumed(self, config: ConfigId) -> bool:
        return config in self._consumers

    def consumers(self, config: ConfigId) -> Collection[WorkloadId]:
        """Who consumes this object; not a copy."""
        return self._consumers.get(config, frozenset())

    def consumed_in(self, kind: str, namespace: str) -> Iterator[tuple[ConfigId, Collection[WorkloadId]]]:
        """All consumed objects of a kind, in one namespace or ("") all, each with who consumes it."""
        for config, consumers in self._consumers.items():
            if config.kind == kind and namespace in ("", config.namespace):
                yield config, consumers

    def pattern_holders(self, config: ConfigId) -> list[WorkloadId]:
        """Those with a pattern that could match this object."""
        return list(self._followers.get((config.kind, config.namespace), ()))

    def in_namespace(self, namespace: str) -> list[WorkloadId]:
        return list(self._by_namespace.get(namespace, ()))


def _places(entry: Entry) -> Iterable[tuple[ConfigKind, str]]:
    for pattern in entry.patterns:
        for kind in pattern.kinds:
            yield kind, pattern.namespace or entry.record.id.namespace


K = TypeVar("K")


def discard(index: dict[K, set[WorkloadId]], key: K, workload: WorkloadId) -> None:
    """Take a workload out of an index, and an empty place out with it."""
    members = index.get(key)
    if members is not None:
        members.discard(workload)
        if not members:
            del index[key]
