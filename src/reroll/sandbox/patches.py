"""The three patches that change an object by a document: JSON patch, merge patch, strategic merge patch.

Pure functions: none changes what it is given. The fourth kind, apply, is in `ownership`.
Sources: RFC 6902, RFC 6901, RFC 7386; for the strategic merge patch
https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/ and
https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from reroll.sandbox.schema import Type
from reroll.sandbox.storage import copied

Json: TypeAlias = dict[str, Any]


class PatchError(ValueError):
    """The patch is none, or can't be applied to this object."""


class TestFailed(PatchError):
    """A path of a JSON patch is not there, or its `test` did not hold."""

    __test__ = False  # its name begins like that of a test class


# --- JSON patch --------------------------------------------------------------------------------------


def json_patch(document: Any, operations: Any) -> Any:
    """RFC 6902. Raises PatchError for what is no patch, TestFailed for one that does not fit."""
    if not isinstance(operations, list):
        raise PatchError("a JSON patch is a list of operations")
    result = copied(document)
    for operation in operations:
        if not isinstance(operation, dict) or not isinstance(operation.get("path"), str):
            raise PatchError("each operation of a JSON patch is an object with op and path")
        result = _operate(result, operation)
    return result


def _operate(document: Any, operation: Json) -> Any:
    path = _pointer(operation["path"])
    op = operation.get("op")
    if op in ("add", "replace", "test") and "value" not in operation:
        raise PatchError(f"operation {op} of a JSON patch needs a value")
    if op == "add":
        return _put(document, path, copied(operation["value"]))
    if op == "replace":
        # The server takes a field that is not there for one that is empty, against the letter of the RFC.
        if path and isinstance(_look(document, path[:-1]), list):
            document = _without(document, path)
        return _put(document, path, copied(operation["value"]))
    if op == "remove":
        return _without(document, path)
    if op == "test":
        if not _same(_look(document, path, missing=None), operation["value"]):
            raise TestFailed(f"testing value {operation['path']} failed")
        return document
    if op in ("move", "copy"):
        if not isinstance(operation.get("from"), str):
            raise PatchError(f"operation {op} of a JSON patch needs a from")
        source = _pointer(operation["from"])
        value = copied(_look(document, source))
        return _put(_without(document, source) if op == "move" else document, path, value)
    raise TestFailed(f"unexpected kind of operation of a JSON patch: {op}")


def _pointer(text: str) -> list[str]:
    """RFC 6901: ``/a~1b/0`` is ["a/b", "0"], the empty text the whole document."""
    if text and not text.startswith("/"):
        raise PatchError(f"{text!r} is no JSON pointer: it begins with /")
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


_NEEDED: Final = object()


def _look(document: Any, path: Sequence[str], missing: Any = _NEEDED) -> Any:
    here = document
    for part in path:
        try:
            here = here[_index(part, here)] if isinstance(here, list) else here[part]
        except (KeyError, TypeError, IndexError):
            if missing is _NEEDED:
                raise TestFailed(f"the path /{'/'.join(path)} is not there") from None
            return missing
    return here


def _index(part: str, held: Sequence[Any], *, end: int = 0) -> int:
    """A place in a list; `end` 1 allows the one behind the last, for an insertion."""
    if part == "-" and end:
        return len(held)
    if not part.isdigit() or (part != "0" and part.startswith("0")) or int(part) >= len(held) + end:
        raise TestFailed(f"a list of {len(held)} has no place {part!r}")
    return int(part)


def _put(document: Any, path: Sequence[str], value: Any) -> Any:
    if not path:
        return value
    parent = _look(document, path[:-1])
    if isinstance(parent, list):
        parent.insert(_index(path[-1], parent, end=1), value)
    elif isinstance(parent, dict):
        parent[path[-1]] = value
    else:
        raise TestFailed(f"nothing can be put at /{'/'.join(path)}")
    return document


def _without(document: Any, path: Sequence[str]) -> Any:
    _look(document, path)
    if not path:
        return None
    parent = _look(document, path[:-1])
    del parent[_index(path[-1], parent) if isinstance(parent, list) else path[-1]]
    return document


def _same(one: Any, other: Any) -> bool:
    """Equal as JSON: true is not 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


# --- merge patch -------------------------------------------------------------------------------------


def merge_patch(document: Any, patch: Any) -> Any:
    """RFC 7386: maps are merged, null removes, everything else replaces."""
    if not isinstance(patch, dict):
        return copied(patch)
    result = dict(document) if isinstance(document, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


# --- strategic merge patch ---------------------------------------------------------------------------

_ORDER = "$setElementOrder/"
_REMOVE = "$deleteFromPrimitiveList/"
_DIRECTIVES: Final = frozenset({"$patch", "$retainKeys"})


def strategic_merge_patch(document: Mapping[str, Any], patch: Mapping[str, Any], type: Type) -> Json:
    """A merge patch that knows of lists whose items have keys, and of directives. Raises PatchError."""
    directive = patch.get("$patch")
    if directive not in (None, "replace", "delete", "merge"):
        raise PatchError(f"unknown patch type found: {directive}")
    if directive == "delete":
        return {}
    if directive == "replace":
        return {key: value for key, value in patch.items() if key not in _DIRECTIVES}
    result = dict(document)
    for key, value in patch.items():
        if key in _DIRECTIVES or key.startswith(_ORDER):
            continue
        if key.startswith(_REMOVE):
            field = key.removeprefix(_REMOVE)
            result[field] = [item for item in result.get(field) or () if item not in _list(value, key)]
        elif value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            held = result.get(key)
            result[key] = strategic_merge_patch(held if isinstance(held, dict) else {}, value, type.at(key))
        elif isinstance(value, list) and type.at(key).merge_key is not None:
            held = result.get(key)
            order = patch.get(_ORDER + key)
            result[key] = _merge_list(held if isinstance(held, list) else [], value, type.at(key), order, key)
        else:
            result[key] = copied(value)
    for key, order in patch.items():
        field = key.removeprefix(_ORDER)
        if field != key and field not in patch and isinstance(result.get(field), list):
            result[field] = _ordered(result[field], result[field], type.at(field), _list(order, key))
    if "$retainKeys" in patch:
        retained = _list(patch["$retainKeys"], "$retainKeys")
        result = {key: value for key, value in result.items() if key in retained}
    return result


def _merge_list(held: list[Any], patch: list[Any], type: Type, order: Any, field: str) -> list[Any]:
    key = type.merge_key or ""
    before = list(held)
    if not key:
        merged = [*held, *(item for item in dict.fromkeys(patch) if item not in held)]
        return _ordered(merged, before, type, patch if order is None else _list(order, field))
    merged = list(held)
    replaced = False
    for item in patch:
        if not isinstance(item, dict):
            raise PatchError(f"the items of {field} are objects with a {key}")
        if item.get("$patch") == "replace":
            merged, replaced = [], True
            if item.keys() <= _DIRECTIVES:
                continue
        elif key not in item:
            raise PatchError(f"map: {item} does not contain declared merge key: {key}")
        at = next((n for n, one in enumerate(merged) if one.get(key) == item.get(key)), None)
        if item.get("$patch") == "delete":
            merged = [one for one in merged if one.get(key) != item[key]]
        elif at is None:
            merged.append(strategic_merge_patch({}, item, type.items))
        else:
            merged[at] = strategic_merge_patch(merged[at], item, type.items)
    if replaced:
        return merged
    return _ordered(merged, before, type, patch if order is None else _list(order, field))


def _ordered(items: list[Any], before: list[Any], type: Type, order: list[Any]) -> list[Any]:
    """Items in the order of the patch, its own or the one it asks for; those it does not name go in where they
    stood before. What is new has no place among the old, and so stands before those that follow."""
    key = type.merge_key or ""

    def name(item: Any) -> Any:
        return item.get(key) if key and isinstance(item, dict) else item

    wanted = {name(item): place for place, item in enumerate(order)}
    stood = {name(item): place for place, item in enumerate(before)}
    named = sorted((item for item in items if name(item) in wanted), key=lambda item: wanted[name(item)])
    others = [item for item in items if name(item) not in wanted]
    result = []
    while named and others:
        first = stood.get(name(named[0]), -1) < stood.get(name(others[0]), len(before))
        result.append((named if first else others).pop(0))
    return [*result, *named, *others]


def _list(value: Any, field: str) -> list[Any]:
    if not isinstance(value, list):
        raise PatchError(f"{field} of a strategic merge patch is a list")
    return value
