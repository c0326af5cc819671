"""Lists: selectors, pages that hold together (``limit`` and ``continue``), and lists as of an earlier version.

Sources: https://kubernetes.io/docs/reference/using-api/api-concepts/ (resource versions, retrieving large results
sets in chunks, 410 Gone); the fields that each kind can be selected by are in its registry's strategy.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import Struct

from reroll.core.labels import LabelSelector
from reroll.sandbox.kinds import EVENT, Kind
from reroll.sandbox.problems import Refused
from reroll.sandbox.served import Served
from reroll.sandbox.storage import Expired, Object, Storage

Json: TypeAlias = dict[str, Any]
Query: TypeAlias = Mapping[str, str]

_IDENTITY: Final = ("kind", "apiVersion")
_EVENT_FIELDS: Final = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
_FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "Pod": (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    ),
    "Event": (
        *(f"{about}.{field}" for about in ("involvedObject", "regarding") for field in _EVENT_FIELDS),
        "reason",
        "type",
        "source",
        "reportingComponent",
        "reportingController",
    ),
    "Secret": ("type",),
    "Namespace": ("status.phase",),
    "Node": ("spec.unschedulable",),
    "ReplicaSet": ("status.replicas",),
    "Job": ("status.successful",),
    "Service": ("spec.clusterIP", "spec.type"),
}


class Selection(Struct, frozen=True):
    """Which objects of a collection are asked for."""

    namespace: str
    labels: LabelSelector
    fields: tuple[tuple[str, bool, str], ...]
    """(field, whether it is to be equal, value) each."""

    @classmethod
    def parse(cls, served: Served, namespace: str, query: Query) -> Selection:
        """Raises Refused with BadRequest for selectors that are not understood."""
        try:
            labels = LabelSelector.parse(query.get("labelSelector", ""))
        except ValueError as error:
            raise Refused("BadRequest", f"unable to parse requirement: {error}") from None
        parts = (part for part in query.get("fieldSelector", "").split(",") if part)
        return cls(namespace, labels, tuple(_field(served.kind, part) for part in parts))

    def takes(self, obj: Object) -> bool:
        """An object as it is served is asked for."""
        meta = obj["metadata"]
        if self.namespace and meta.get("namespace", "") != self.namespace:
            return False
        if self.labels.requirements and not self.labels.matches(meta.get("labels") or {}):
            return False
        return all((_value(obj, field) == value) is equal for field, equal, value in self.fields)

    @property
    def name(self) -> str:
        """The one name that is asked for, if it is one."""
        return next((value for field, equal, value in self.fields if equal and field == "metadata.name"), "")


def _field(kind: Kind, part: str) -> tuple[str, bool, str]:
    for sign in ("!=", "==", "="):
        field, found, value = part.partition(sign)
        if found:
            more = _FIELDS.get(kind.kind, ())
            if field not in ("metadata.name", "metadata.namespace", *more):
                only = 'is not a known field selector: only "metadata.name", "metadata.namespace"'
                why = f"field label not supported: {field}" if more else f'"{field}" {only}'
                raise Refused("BadRequest", why)
            return field, sign != "!=", value
    raise Refused("BadRequest", f"invalid selector: '{part}'; can't understand '{part}'")


def _value(obj: Object, field: str) -> str:
    here: Any = obj
    if obj.get("kind") == EVENT.kind and field == "source":
        field = "source.component" if "source" in obj else "deprecatedSource.component"
    for part in field.split("."):
        here = here.get(part) if isinstance(here, dict) else None
    if isinstance(here, bool):
        return str(here).lower()
    return "" if here is None else str(here)


# --- lists -------------------------------------------------------------------------------------------


def listed(storage: Storage, served: Served, selection: Selection, query: Query) -> Json:
    """One page, or all, of a collection: a List object. Raises Refused and Expired."""
    wanted = query.get("resourceVersion", "")
    match = query.get("resourceVersionMatch", "")
    limit = _number(query.get("limit", ""), "limit")
    start = ""
    version = storage.version
    if query.get("continue"):
        if wanted not in ("", "0"):
            raise Refused("BadRequest", "specifying resource version is not allowed when using continue")
        version, start = _continued(query["continue"])
    elif wanted not in ("", "0"):
        number = parse_version(wanted)
        check_reached(storage, number)
        version = number if match == "Exact" else version
    try:
        objects = as_of(storage, served.kind, selection, version)
    except Expired:
        raise _too_old(storage, start) from None
    metadata: Json = {"resourceVersion": str(version)}
    items: list[Object] = []
    left = 0
    last = ""
    bounded = limit and not (wanted == "0" and not match)
    for obj in objects:
        key = _key(obj)
        if start and key < start:
            continue
        shown = served.shown(obj)
        if not selection.takes(shown):
            continue
        if bounded and len(items) >= limit:
            left += 1
            last = last or key
            continue
        items.append(shown if not served.built_in else {k: shown[k] for k in shown if k not in _IDENTITY})
    if left:
        metadata["continue"] = _token(version, last)
        if not selection.labels.requirements and not selection.fields:
            metadata["remainingItemCount"] = left
    return {
        "kind": f"{served.kind.kind}List",
        "apiVersion": served.api_version,
        "metadata": metadata,
        "items": items,
    }


def as_of(storage: Storage, kind: Kind, selection: Selection, version: int) -> list[Object]:
    """The objects of a kind as they were at a version, in order. Raises Expired where that is forgotten."""
    if version == storage.version and selection.name and selection.namespace:
        found = storage.find(kind, selection.namespace, selection.name)
        return [found] if found else []
    objects = storage.objects(kind, selection.namespace)
    if version == storage.version:
        return objects
    then: dict[str, Object | None] = {}
    for change in storage.since(version):
        if change.kind == kind:
            then.setdefault(_key(change.object), change.previous)
    if not then:
        return objects
    now: dict[str, Object | None] = {_key(obj): obj for obj in objects}
    return [obj for _, obj in sorted((now | then).items()) if obj is not None]


def parse_version(text: str) -> int:
    """A resourceVersion as a number. Raises Refused."""
    if not (text.isascii() and text.isdigit()):
        raise Refused("BadRequest", f'invalid resource version "{text}": it is no number')
    return int(text)


def check_reached(storage: Storage, version: int) -> None:
    """Raise Refused with Timeout for a version that is yet to come, as a server that lags behind does."""
    if version > storage.version:
        message = f"Too large resource version: {version}, current: {storage.version}"
        causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
        raise Refused("Timeout", f"Timeout: {message}", {"causes": causes, "retryAfterSeconds": 1})


def _number(text: str, name: str) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdigit()):
        raise Refused("BadRequest", f'{name}: "{text}" is no number')
    return int(text)


def _key(obj: Object) -> str:
    return f"{obj['metadata'].get('namespace', '')}/{obj['metadata']['name']}"


def _token(version: int, start: str) -> str:
    content = msgspec.json.encode({"v": "meta.k8s.io/v1", "rv": version, "start": start})
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _continued(token: str) -> tuple[int, str]:
    try:
        content = msgspec.json.decode(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        return int(content["rv"]), str(content["start"])
    except (ValueError, TypeError, LookupError, msgspec.DecodeError):
        raise Refused("BadRequest", "continue key is not valid: it is no token of a list") from None


def _too_old(storage: Storage, start: str) -> Refused:
    """410 for a page of a list that is no more; with a token that goes on, if not consistently."""
    error = Refused(
        "Expired",
        "The provided continue parameter is too old to display a consistent list result. Start a new list without "
        "the continue parameter, or go on with the continue token of this answer, which may miss changes made "
        "between the first page and now.",
    )
    error.metadata = {"continue": _token(storage.version, start)} if start else {}
    return error
