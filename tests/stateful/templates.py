"""A count of how often which pod template was changed, by a watch: it is told of each write."""

from __future__ import annotations

from typing import Any

import msgspec

from reroll.kube.reflector import Handler


class Meta(msgspec.Struct, rename="camel"):
    """As much of metadata as names an object."""

    name: str = ""
    namespace: str = ""
    resource_version: str = ""


class Spec(msgspec.Struct):
    """The pod template."""

    template: dict[str, Any]


class Watched(msgspec.Struct):
    """A workload, as much of it as tells whether its template changed."""

    metadata: Meta
    spec: Spec


class Templates:
    """How often which template changed, by kind and name."""

    def __init__(self) -> None:
        self.last: dict[tuple[str, str], dict[str, Any]] = {}
        self.changes: dict[tuple[str, str], int] = {}

    def of(self, kind: str) -> Handler[Watched]:
        """What a reflector of one kind tells."""
        return _TemplatesOf(self, kind)

    def told(self, key: tuple[str, str], template: dict[str, Any]) -> None:
        if key in self.last and self.last[key] != template:
            self.changes[key] = self.changes.get(key, 0) + 1
        self.last[key] = template


class _TemplatesOf:
    def __init__(self, templates: Templates, kind: str) -> None:
        self._templates = templates
        self._kind = kind

    def upsert(self, obj: Watched, *, live: bool) -> None:
        self._templates.told((self._kind, obj.metadata.name), obj.spec.template)

    def delete(self, namespace: str, name: str, *, live: bool, version: str) -> None:
        pass

    def known(self) -> list[tuple[str, str]]:
        return []

    def synced(self) -> None:
        pass
