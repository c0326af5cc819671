"""What the API serves: the built-in kinds, those that CustomResourceDefinitions declare, and Events twice.

An Event is one object with two faces, ``v1`` and ``events.k8s.io/v1``; it is kept as the latter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

from msgspec import Struct

from reroll.sandbox.kinds import CUSTOM_RESOURCE_DEFINITION, EVENT, KINDS, Kind
from reroll.sandbox.schema import Type, of
from reroll.sandbox.storage import Change, Object, Storage, copied

Convert: TypeAlias = Callable[[Object], Object]


class Served(Struct, frozen=True):
    """One kind under one group and version."""

    kind: Kind
    """As it is stored."""
    group: str
    version: str
    shown: Convert
    """From how it is stored to how it is served."""
    stored: Convert
    """And back."""
    columns: tuple[Object, ...] = ()
    """A declared kind's additionalPrinterColumns."""
    scale_paths: tuple[str, str, str] = (".spec.replicas", ".status.replicas", "")
    """Where spec.replicas, status.replicas and status.selector of its scale stand."""

    @property
    def api_version(self) -> str:
        """Group and version as objects name them."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def type(self) -> Type:
        """The types of its fields."""
        return of(self.kind, self.api_version)

    @property
    def built_in(self) -> bool:
        """It is no declared kind."""
        return self.kind in KINDS


def _same(obj: Object) -> Object:
    return obj


_CORE_EVENT: Final = {
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}
"""Fields of an Event as v1 names them, and as events.k8s.io/v1 does."""
_NEW_EVENT: Final = {new: old for old, new in _CORE_EVENT.items()}


def _core_event(obj: Object) -> Object:
    made = {_NEW_EVENT.get(key, key): value for key, value in obj.items()} | {"apiVersion": "v1"}
    return {"source": {}, "firstTimestamp": None, "lastTimestamp": None, "reportingInstance": ""} | made


def _new_event(obj: Object) -> Object:
    made = {_CORE_EVENT.get(key, key): value for key, value in obj.items() if value is not None}
    return made | {"apiVersion": EVENT.api_version}


class Catalog:
    """All that is served. Follows the CustomResourceDefinitions of the storage."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._served: dict[tuple[str, str, str], Served] = {}
        self.version = 0
        """Counts changes, for who keeps something made from it."""
        for kind in KINDS:
            self._add(Served(kind, kind.group, kind.version, _same, _same))
        self._add(Served(EVENT, "", "v1", _core_event, _new_event))
        storage.listen(self._changed)

    def _add(self, served: Served) -> None:
        self._served[served.group, served.version, served.kind.plural] = served
        self.version += 1

    def find(self, group: str, version: str, plural: str) -> Served | None:
        """What is served at a path."""
        return self._served.get((group, version, plural))

    def all(self) -> Iterator[Served]:
        """Everything, in the order it came."""
        yield from self._served.values()

    def has_group(self, group: str, version: str) -> bool:
        """Something is served under this group and version."""
        return any((s.group, s.version) == (group, version) for s in self._served.values())

    def kind_of(self, api_version: str, kind: str) -> Served | None:
        """What an object calls itself."""
        found = (s for s in self._served.values() if s.api_version == api_version and s.kind.kind == kind)
        return next(found, None)

    def _changed(self, change: Change) -> None:
        if change.kind is not CUSTOM_RESOURCE_DEFINITION:
            return
        old = _declared(change.previous) if change.previous else []
        new = _declared(change.object) if change.type != "DELETED" else []
        for served in old:
            self._served.pop((served.group, served.version, served.kind.plural), None)
        for served in new:
            self._add(served)
        if old and new and old[0].kind != new[0].kind:
            self._storage.redeclare(old[0].kind, new[0].kind)
        if change.type == "ADDED":
            self._establish(change.object)
        if old and not new:
            kind = old[0].kind
            for obj in self._storage.objects(kind):
                self._storage.delete(kind, obj["metadata"].get("namespace", ""), obj["metadata"]["name"])

    def _establish(self, definition: Object) -> None:
        """Write the status that says that the new kind is served: `kubectl wait` waits for it."""
        now = self._storage.timestamp()
        made = copied(definition)
        made["status"] = {
            "acceptedNames": made["spec"]["names"],
            "conditions": [
                {
                    "type": type,
                    "status": "True",
                    "reason": reason,
                    "message": message,
                    "lastTransitionTime": now,
                }
                for type, reason, message in (
                    ("NamesAccepted", "NoConflicts", "no conflicts found"),
                    ("Established", "InitialNamesAccepted", "the initial names have been accepted"),
                )
            ],
            "storedVersions": [v["name"] for v in made["spec"]["versions"] if v.get("storage")],
        }
        self._storage.update(CUSTOM_RESOURCE_DEFINITION, made, subresource="status")


def _declared(definition: Object) -> list[Served]:
    """What a CustomResourceDefinition declares, a version each. No conversion: all versions have one shape."""
    spec = definition["spec"]
    names, versions = spec["names"], spec["versions"]
    stored = next((v for v in versions if v.get("storage")), versions[0])
    subresources = stored.get("subresources") or {}
    kind = Kind(
        spec["group"],
        stored["name"],
        names["kind"],
        names["plural"],
        tuple(names.get("shortNames") or ()),
        spec["scope"] == "Namespaced",
        "status" in subresources,
        "scale" in subresources,
        True,
        tuple(names.get("categories") or ()),
    )
    scale = subresources.get("scale") or {}
    paths = (
        scale.get("specReplicasPath", ".spec.replicas"),
        scale.get("statusReplicasPath", ".status.replicas"),
        scale.get("labelSelectorPath", ""),
    )
    return [
        Served(
            kind,
            spec["group"],
            version["name"],
            _renamed(f"{spec['group']}/{version['name']}"),
            _renamed(kind.api_version),
            tuple(version.get("additionalPrinterColumns") or ()),
            paths,
        )
        for version in versions
        if version.get("served")
    ]


def _renamed(api_version: str) -> Convert:
    def convert(obj: dict[str, Any]) -> dict[str, Any]:
        return obj | {"apiVersion": api_version}

    return convert
