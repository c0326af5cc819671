"""Config objects that are made outside of the manifests: by sops, External Secrets, sealed-secrets, cert-manager.

Their names can't follow their content, for somebody else gives the names. So what stands on the pod templates that
read them is a digest: one that is given, as pipelines do with a SECRETS_VERSION that they bump by hand, or one that
is looked up in the cluster, of exactly the keys that the pods read. Another digest is another pod template, and so a
rollout.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from msgspec.structs import replace

from reroll.core.applied import total
from reroll.core.compare import current
from reroll.core.digests import DigestKey
from reroll.core.records import ConfigId, ConfigKind, Consumed
from reroll.manifests.edit import Edit, Set
from reroll.manifests.problem import ManifestError
from reroll.manifests.stamp.consumers import Consumer, consumer
from reroll.manifests.stamp.contents import Contents
from reroll.manifests.stamp.options import Options
from reroll.manifests.stamp.plan import consumed
from reroll.manifests.stream import Document, Placed

LOOKUP: Final = "lookup"
"""In place of a digest: ask the cluster."""

_GIVEN = re.compile(
    r"(?P<kind>configmap|secret)/(?P<name>[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)=(?P<digest>\S+)\Z"
)


def externals_of(words: Iterable[str]) -> dict[tuple[ConfigKind, str], str]:
    """What --external gives: (kind, name) -> digest, or `LOOKUP`. Raises ValueError, in words for people."""
    found: dict[tuple[ConfigKind, str], str] = {}
    for word in words:
        match = _GIVEN.match(word)
        if match is None:
            raise ValueError(
                f"--external {word.partition('=')[0]}: write KIND/NAME=DIGEST or KIND/NAME=lookup, such as "
                f"secret/db=lookup"
            )
        kind: ConfigKind = "secret" if match["kind"] == "secret" else "configmap"
        found[kind, match["name"]] = match["digest"]
    return found


class Annotated:
    """The pod templates that read something external, and what is to be written on them.

    The annotation is that of `reroll stamp --per-object`: ``checksum/secret-NAME``.
    """

    def __init__(self, externals: Mapping[tuple[ConfigKind, str], str], options: Options) -> None:
        self.options = options
        self.contents = Contents(options.key, options.namespace)
        self._externals = externals
        self._read: set[tuple[ConfigKind, str]] = set()
        self._consumers: list[tuple[Consumer, list[Consumed]]] = []
        self._edits: dict[int, list[Edit]] = {}
        self.changes: list[str] = []
        """For people, after `decide`."""

    def use_key(self, key: DigestKey | None) -> None:
        """Make the digests of Secrets with this key, before anything is looked up."""
        self.options = replace(self.options, key=key)
        self.contents = Contents(key, self.options.namespace)

    def learn(self, document: Document, number: int, placed: Placed) -> None:
        """Take an object in. Raises ManifestError for a workload that can't be read."""
        found = consumer(document, number, placed, self.options)
        if found is None:
            return
        reads = [one for one in consumed(found, self.contents) if _key(one.config) in self._externals]
        if reads:
            self._consumers.append((found, reads))
            self._read.update(_key(one.config) for one in reads)

    def missing(self) -> list[ConfigId]:
        """What the cluster has to be asked for."""
        return list(
            dict.fromkeys(
                one.config
                for _, reads in self._consumers
                for one in reads
                if self._externals[_key(one.config)] == LOOKUP
            )
        )

    def unread(self) -> list[str]:
        """The externals that no workload reads, for people."""
        return [f"{kind}/{name}" for kind, name in self._externals if (kind, name) not in self._read]

    def decide(self) -> None:
        """Tell what is written. Raises ManifestError for what was looked up and is not there."""
        for found, reads in self._consumers:
            for one in reads:
                annotation = f"checksum/{_name(one.config)}"
                digest = self._digest(found, one)
                if found.carried.get(annotation) != digest:
                    path = (*found.path, *found.template, "metadata", "annotations", annotation)
                    self._edits.setdefault(found.number, []).append(Set(path, digest))
                    self.changes.append(
                        f"{found.where[0]}:{found.where[1]}: {found.name}: {annotation} changes"
                    )

    def edits(self, number: int) -> list[Edit]:
        """Of one document of the stream."""
        return self._edits.get(number, [])

    def _digest(self, found: Consumer, one: Consumed) -> str:
        given = self._externals[_key(one.config)]
        if given != LOOKUP:
            return given
        state: Any = self.contents.state(one, found.where)
        if state is None:
            if one.optional:
                return "absent"
            raise ManifestError(
                *found.where,
                f"{found.name}: {one.config.kind}/{one.config.name} is not in the cluster: wait until it was made, or "
                f"give its digest (--external {one.config.kind}/{one.config.name}=DIGEST)",
            )
        return total(current(state, one)) or "absent"


def _key(config: ConfigId) -> tuple[ConfigKind, str]:
    return config.kind, config.name


def _name(config: ConfigId) -> str:
    """Which one it is, in the name of an annotation: at most 63 characters."""
    name = f"{config.kind}-{config.name}"
    return name if len(name) <= 63 else f"{name[:52]}-{hashlib.sha256(name.encode()).hexdigest()[:10]}"
