"""Who changed which field last: metadata.managedFields, and the apply patch that is built on it.

A set of fields is kept as ``fieldsV1`` has it: nested dicts of path elements, where ``{}`` is a field that is owned
and ``"."`` an owned one that has owned fields inside. Objects are compared by the types of `schema`.

Sources: https://kubernetes.io/docs/reference/using-api/server-side-apply/ and KEP-555;
sigs.k8s.io/structured-merge-diff (how an update moves ownership, what apply prunes).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from reroll.sandbox.problems import Refused
from reroll.sandbox.schema import Type

Json: TypeAlias = dict[str, Any]
Fields: TypeAlias = dict[str, Any]
"""A set of fields, as in fieldsV1."""

KUBECTL: Final = "kubectl"
"""The manager that kubectl applies as."""
LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
"""The annotation in which kubectl keeps what it applied from the client's side."""
_ABSENT: Final = object()
_KEY_DEFAULTS: Final = {"protocol": "TCP"}
_UNOWNED: Final = frozenset(
    {
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "clusterName",
        "generation",
        "managedFields",
        "resourceVersion",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    }
)
"""Fields of metadata that nobody manages."""


# --- sets of fields ----------------------------------------------------------------------------------


def _owned(fields: Fields) -> bool:
    return not fields or "." in fields


def _made(owned: bool, inner: Fields) -> Fields | None:
    """A set that holds its own place or not, and inner ones; None where it holds nothing."""
    if not inner:
        return {} if owned else None
    return {".": {}, **inner} if owned else inner


def _zip(one: Fields, other: Fields) -> Iterator[tuple[str, Fields | None, Fields | None]]:
    for key in dict.fromkeys([*one, *other]):
        if key != ".":
            yield key, one.get(key), other.get(key)


def union(one: Fields | None, other: Fields | None) -> Fields | None:
    """Fields in any of two sets."""
    if one is None or other is None:
        return other if one is None else one
    inner = {key: union(a, b) for key, a, b in _zip(one, other)}
    return _made(
        _owned(one) or _owned(other), {key: value for key, value in inner.items() if value is not None}
    )


def difference(one: Fields | None, other: Fields | None) -> Fields | None:
    """Fields of the first that the second has not."""
    if one is None or other is None:
        return one
    inner = {key: difference(a, b) for key, a, b in _zip(one, other)}
    return _made(_owned(one) and not _owned(other), {k: v for k, v in inner.items() if v is not None})


def intersection(one: Fields | None, other: Fields | None) -> Fields | None:
    """Fields in both of two sets."""
    if one is None or other is None:
        return None
    inner = {key: intersection(a, b) for key, a, b in _zip(one, other)}
    return _made(_owned(one) and _owned(other), {k: v for k, v in inner.items() if v is not None})


def paths(fields: Fields, before: str = "") -> Iterator[str]:
    """Each owned field as messages of the server write it, such as ``.data.a``."""
    # First what is owned at this level, then what is owned within.
    inner = {f"{before}{_element(key)}": within for key, within in sorted(fields.items()) if key != "."}
    yield from (path for path, within in inner.items() if _owned(within))
    for path, within in inner.items():
        yield from paths(within, path)


def _element(key: str) -> str:
    mark, _, rest = key.partition(":")
    if mark == "f":
        return f".{rest}"
    if mark == "k":
        return "[" + ",".join(f"{k}={_text(v)}" for k, v in sorted(msgspec.json.decode(rest).items())) + "]"
    return f"[={rest}]"


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


# --- fields of objects -------------------------------------------------------------------------------


def _entries(value: Any, type: Type) -> dict[str, tuple[Any, Type]] | None:
    """What a granular value holds, by path element; None for a leaf."""
    if type.atomic or value is _ABSENT:
        return None
    if isinstance(value, dict):
        return {f"f:{key}": (inner, type.at(key)) for key, inner in value.items()}
    if isinstance(value, list):
        if type.by_value:
            return {f"v:{_text(item)}": (item, type.items) for item in value}
        if type.keys:
            return {f"k:{_item_key(item, type)}": (item, type.items) for item in value}
    return None


def _item_key(item: Any, type: Type) -> str:
    if not isinstance(item, dict):
        raise Refused("BadRequest", f"an item with the keys {', '.join(type.keys)} is wanted, not {item!r}")
    found = {key: item.get(key, _KEY_DEFAULTS.get(key)) for key in sorted(type.keys)}
    return _text({key: value for key, value in found.items() if value is not None})


def fields_of(value: Any, type: Type) -> Fields:
    """The fields that a configuration to be applied names."""
    entries = _entries(value, type)
    if not entries:
        return {}
    made: Fields = {}
    for key, (inner, inner_type) in entries.items():
        fields = fields_of(inner, inner_type)
        # Fields of structs are known to be there by what they hold; entries of maps and lists are named too.
        if fields and (key[0] != "f" or key[2:] not in type.fields):
            fields = {".": {}, **fields}
        made[key] = fields
    return made


def compare(old: Any, new: Any, type: Type, *, whole: bool = False) -> tuple[Fields | None, Fields | None]:
    """(fields that were added or changed, fields that are gone) between two values.

    `whole`: what holds them is itself new, or gone.
    """
    if not whole and (type.inline or (type.required and type.code in ("list", "map"))):
        # What Go always writes, be it empty, neither comes nor goes.
        empty: Any = [] if type.code == "list" else {}
        old, new = (empty if value is _ABSENT else value for value in (old, new))
    if old is not _ABSENT and new is not _ABSENT and old == new:
        return None, None
    before, after = _entries(old, type), _entries(new, type)
    leaf = (before is None and old is not _ABSENT) or (after is None and new is not _ABSENT)
    if leaf or not (before or after):
        return (None, {}) if new is _ABSENT else ({}, None)
    before, after = before or {}, after or {}
    changed: Fields = {}
    gone: Fields = {}
    for key in dict.fromkeys([*before, *after]):
        a, inner_type = before.get(key, (_ABSENT, type))
        b, inner_type = after.get(key, (_ABSENT, inner_type))
        if key[2:] in type.fields:
            # To Go a field with an empty text is one without.
            a, b = (_ABSENT if value == "" else value for value in (a, b))
            if a is _ABSENT and b is _ABSENT:
                continue
        inner_changed, inner_gone = compare(a, b, inner_type, whole=old is _ABSENT or new is _ABSENT)
        if inner_changed is not None:
            changed[key] = inner_changed
        if inner_gone is not None:
            gone[key] = inner_gone
    return _made(old is _ABSENT, changed), _made(new is _ABSENT, gone)


def _managed_part(obj: Mapping[str, Any] | None, *, status: bool | None) -> Json:
    """An object without what nobody manages. `status` True: only its status; False: without; None: with it."""
    if obj is None:
        return {}
    part = {key: value for key, value in obj.items() if key not in ("apiVersion", "kind")}
    if status is False:
        part.pop("status", None)
    if status is True:
        return {"status": part["status"]} if "status" in part else {}
    meta = {key: value for key, value in obj["metadata"].items() if key not in _UNOWNED}
    part["metadata"] = meta
    if not meta:
        del part["metadata"]
    return part


# --- managedFields -----------------------------------------------------------------------------------


class Writer(msgspec.Struct, frozen=True):
    """Who writes: what identifies an entry of managedFields."""

    manager: str
    operation: str
    """Update or Apply."""
    api_version: str
    time: str
    subresource: str = ""

    def wrote(self, entry: Json) -> bool:
        """An entry of managedFields is this writer's."""
        return (
            entry.get("manager") == self.manager
            and entry.get("operation") == self.operation
            and entry.get("subresource", "") == self.subresource
            and (self.operation == "Apply" or entry.get("apiVersion") == self.api_version)
        )

    def entry(self, fields: Fields, time: str | None) -> Json:
        """An entry of managedFields."""
        made = {
            "manager": self.manager,
            "operation": self.operation,
            "apiVersion": self.api_version,
            "time": time,
            "fieldsType": "FieldsV1",
            "fieldsV1": fields,
            "subresource": self.subresource,
        }
        return {key: value for key, value in made.items() if value or key == "fieldsV1"}


def updated(old: Json | None, new: Json, type: Type, writer: Writer, *, has_status: bool) -> list[Json]:
    """managedFields after an update: what changed is the writer's, and nobody else's any more.

    The entries of before are those of `new`, for a client may set them, too.
    """
    status = (writer.subresource == "status") if has_status else None
    changed, gone = compare(_managed_part(old, status=status), _managed_part(new, status=status), type)
    entries: list[Json] = []
    own: Fields | None = None
    known = _known_entries(old, new)
    if old is not None and not known:
        return []  # nobody knows who had the rest: it is followed again from the next apply on
    for entry in known:
        fields: Fields | None = entry.get("fieldsV1") or {}
        if changed is not None and writer.wrote(entry):
            own = difference(fields, gone)
            continue
        if changed is not None or gone is not None:
            fields = difference(difference(fields, changed), gone)
        if fields:
            entries.append({**entry, "fieldsV1": fields})
    if changed:
        entries.append(writer.entry(union(own, changed) or {}, writer.time))
    return _sorted(entries)


def _known_entries(old: Json | None, new: Json) -> Sequence[Json]:
    """The entries to go on from. A list of one empty entry is how clients throw them all away."""
    given = new["metadata"].get("managedFields")
    if given is None or not isinstance(given, list):
        return (old or new)["metadata"].get("managedFields") or ()
    if any(not isinstance(entry, dict) or not entry for entry in given):
        return ()
    return given or (old["metadata"].get("managedFields") or () if old else ())


def _sorted(entries: list[Json]) -> list[Json]:
    return sorted(entries, key=lambda entry: (entry["operation"], entry.get("time", ""), entry["manager"]))


# --- apply -------------------------------------------------------------------------------------------


def applied(
    live: Json, config: Json, type: Type, writer: Writer, *, force: bool, has_status: bool
) -> tuple[Json, list[Json]]:
    """A live object with a configuration applied, and its managedFields then.

    Fields that the writer applied before and does not name any more are removed, unless somebody else owns them.
    Raises Refused with Conflict where other managers own what would change, unless `force`.
    """
    entries = list(live["metadata"].get("managedFields") or ())
    status = (writer.subresource == "status") if has_status else None
    if not entries and live["metadata"].get("uid"):
        all_there, _ = compare({}, _managed_part(live, status=status), type)
        unknown = Writer("before-first-apply", "Update", writer.api_version, writer.time)
        entries = [unknown.entry(all_there or {}, writer.time)]
    own = next((entry["fieldsV1"] for entry in entries if writer.wrote(entry)), None)
    others = [entry for entry in entries if not writer.wrote(entry)]
    named = fields_of(_managed_part(config, status=status), type)
    kept: Fields | None = named
    for entry in others:
        kept = union(kept, entry.get("fieldsV1"))
    result = _merged(live, config, type)
    if own:
        result = _pruned(result, own, kept, type)
    changed, gone = compare(_managed_part(live, status=status), _managed_part(result, status=status), type)
    allowed = _last_applied(live, type) if writer.manager == KUBECTL else None
    conflicts = [
        (entry, found)
        for entry in others
        if (found := difference(intersection(entry.get("fieldsV1"), changed), allowed)) is not None
    ]
    if conflicts and not force:
        raise _conflict(conflicts)
    left = []
    for entry in others:
        fields = difference(difference(entry.get("fieldsV1"), changed), gone)
        if fields:
            left.append({**entry, "fieldsV1": fields})
    # Who applies what there is already shares it, and that is no change with a time.
    before = next((entry.get("time") for entry in entries if writer.wrote(entry)), None)
    time = writer.time if changed is not None or gone is not None else before
    return result, _sorted([*left, writer.entry(named, time)])


def _last_applied(live: Json, type: Type) -> Fields | None:
    """What kubectl applied before from the client's side and is as it left it: apply may take that over."""
    try:
        last = msgspec.json.decode((live["metadata"].get("annotations") or {}).get(LAST_APPLIED, ""))
    except msgspec.DecodeError:
        return None
    if not isinstance(last, dict) or not isinstance(last.get("metadata"), dict):
        return None
    applied_once = _managed_part(last, status=False)
    changed, gone = compare(
        applied_once, _merged(applied_once, _managed_part(live, status=False), type), type
    )
    return difference(difference(fields_of(applied_once, type), changed), gone)


def _merged(live: Any, config: Any, type: Type) -> Any:
    """Granular maps and keyed lists merged, all else as the configuration has it."""
    if type.atomic or live is None:
        return config
    if isinstance(config, dict) and isinstance(live, dict):
        return {**live, **{k: _merged(live.get(k), v, type.at(k)) for k, v in config.items()}}
    if isinstance(config, list) and isinstance(live, list):
        if type.by_value:
            return [*live, *(item for item in config if item not in live)]
        if type.keys:
            return _merged_list(live, config, type)
    return config


def _merged_list(live: list[Any], config: list[Any], type: Type) -> list[Any]:
    """The configuration's order, with what only the live list has where it stood."""
    there = {_item_key(item, type): item for item in live}
    wanted = {_item_key(item, type): item for item in config}
    result = []
    left = list(there)
    for key, item in wanted.items():
        while left and left[0] not in wanted:
            result.append(there[left.pop(0)])
        if left and left[0] == key:
            left.pop(0)
        result.append(_merged(there.get(key), item, type.items))
    return [*result, *(there[key] for key in left if key not in wanted)]


def _pruned(value: Any, own: Fields, kept: Fields | None, type: Type) -> Any:
    """A value without the fields of `own` that are not in `kept`."""
    entries = _entries(value, type)
    if entries is None:
        return value
    held = kept or {}
    left = {}
    for key, (inner, inner_type) in entries.items():
        if key not in own:
            left[key] = inner
        elif key in held:
            left[key] = _pruned(inner, own[key], held[key], inner_type)
        elif not _owned(own[key]) and not (key[0] == "f" and key[2:] in type.fields):
            left[key] = _pruned(inner, own[key], None, inner_type)
    if isinstance(value, dict):
        return {key[2:]: inner for key, inner in left.items()}
    return list(left.values())


def _conflict(conflicts: Sequence[tuple[Json, Fields]]) -> Refused:
    """409 with a cause for each field that somebody else owns."""
    causes = []
    by_manager: dict[str, list[str]] = {}
    for entry, fields in conflicts:
        who = f'"{entry["manager"]}"'
        if entry.get("subresource"):
            who += f' with subresource "{entry["subresource"]}"'
        if entry["operation"] == "Update":
            who += f" using {entry['apiVersion']}"
        for path in paths(fields):
            by_manager.setdefault(who, []).append(path)
            causes.append(
                {"reason": "FieldManagerConflict", "message": f"conflict with {who}", "field": path}
            )
    told = "\n".join(
        "\n- ".join([f"conflicts with {who}:", *found]) for who, found in sorted(by_manager.items())
    )
    if len(causes) == 1:
        told = f"{causes[0]['message']}: {causes[0]['field']}"
    count = f"{len(causes)} conflict{'s' if len(causes) != 1 else ''}"
    error = Refused("Conflict", f"Apply failed with {count}: {told}")
    error.details = {"causes": causes}
    return error
