"""What watches tell of the play, past every proxy: each write of a template, each pod, each record."""

from __future__ import annotations

from typing import Any

import msgspec

from reroll.core.applied import APPLIED, decode
from reroll.kube.reflector import Handler
from tests.stateful.cast import template_of


class Meta(msgspec.Struct, rename="camel"):
    """As much of metadata as is judged by."""

    name: str = ""
    namespace: str = ""
    resource_version: str = ""
    uid: str = ""
    annotations: dict[str, str] | None = None


class Watched(msgspec.Struct):
    """A workload or a pod."""

    metadata: Meta
    spec: dict[str, Any]


Key = tuple[str, str]
"""Kind and name."""


class Seen:
    """What was seen so far."""

    def __init__(self) -> None:
        self.last: dict[Key, dict[str, Any]] = {}
        self.changes: dict[Key, int] = {}
        """How often which template changed; of a Job, whose template can't, how often another one took its name."""
        self.adopted: dict[Key, int] = {}
        """The resourceVersion with which a record appeared where there was none that can be read."""
        self.pods: dict[str, int] = {}
        """By uid, the resourceVersion with which each pod was created."""
        self._uids: dict[Key, str] = {}
        self._recorded: set[Key] = set()

    def of(self, kind: str) -> Handler[Watched]:
        """What a reflector of one kind tells."""
        return _Told(self, kind)

    def told(self, kind: str, obj: Watched) -> None:
        meta, key = obj.metadata, (kind, obj.metadata.name)
        if kind == "Pod":
            self.pods.setdefault(meta.uid, int(meta.resource_version))
            return
        same = self._uids.get(key) == meta.uid
        if not same:
            self._recorded.discard(key)
        template = template_of({"spec": obj.spec})
        if (kind == "Job" and key in self._uids and not same) or (same and self.last[key] != template):
            self.changes[key] = self.changes.get(key, 0) + 1
        self.last[key], self._uids[key] = template, meta.uid
        if not _readable((meta.annotations or {}).get(APPLIED)):
            self._recorded.discard(key)
        elif key not in self._recorded:
            self._recorded.add(key)
            self.adopted[key] = int(meta.resource_version)

    def holds(self, kind: str, found: dict[str, Any]) -> bool:
        """Was what the server has now told?"""
        key = kind, found["metadata"]["name"]
        return self._uids.get(key) == found["metadata"]["uid"] and self.last[key] == template_of(found)


def _readable(record: str | None) -> bool:
    try:
        return record is not None and bool(decode(record))
    except ValueError:
        return False


class _Told:
    def __init__(self, seen: Seen, kind: str) -> None:
        self._seen = seen
        self._kind = kind

    def upsert(self, obj: Watched, *, live: bool) -> None:
        self._seen.told(self._kind, obj)

    def delete(self, namespace: str, name: str, *, live: bool, version: str) -> None:
        pass

    def known(self) -> list[tuple[str, str]]:
        return []

    def synced(self) -> None:
        pass
