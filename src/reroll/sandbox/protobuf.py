"""Reads what kubectl sends for its own `create` commands: objects as protobuf. Answers are always JSON.

Sources: https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding (the envelope) and
https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

import msgspec

from reroll.sandbox import schema
from reroll.sandbox.schema import Type

Json: TypeAlias = dict[str, Any]
_Tree: TypeAlias = "dict[int, tuple[str, Type] | _Tree]"

MEDIA_TYPE: Final = "application/vnd.kubernetes.protobuf"
_MAGIC: Final = b"k8s\x00"
_ALWAYS_SENT: Final = frozenset(
    {"generation", "minReadySeconds", "hostPort", "paused", "stdin", "stdinOnce", "tty", "readOnly"}
    | {"hostNetwork", "hostPID", "hostIPC"}
)
"""Numbers and booleans that Go sends as zero where they are not set; others are left out then."""


class ProtobufError(ValueError):
    """The bytes are no such object."""


def decode(body: bytes) -> Json:
    """An object out of its envelope. Raises ProtobufError."""
    try:
        if not body.startswith(_MAGIC):
            raise ProtobufError("it does not begin with the mark of Kubernetes")
        envelope = dict(_fields(body[len(_MAGIC) :]))
        identity = {number: value.decode() for number, value in _fields(envelope[1])}
        shape = schema.called(identity.get(1, ""), identity.get(2, ""))
        if shape is None:
            raise ProtobufError(
                f"{identity.get(2)} of {identity.get(1)} is not known in protobuf here; send JSON"
            )
        return {"apiVersion": identity[1], "kind": identity[2], **_message(envelope[2], _tree(shape))}
    except (IndexError, KeyError, ValueError, AttributeError, TypeError, struct.error) as error:
        if isinstance(error, ProtobufError):
            raise
        raise ProtobufError("it is cut or damaged") from None


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """(number, value) of each field: an int, or bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value
        elif wire == 2:
            size, at = _varint(data, at)
            if at + size > len(data):
                raise ProtobufError("it is cut")
            yield number, data[at : at + size]
            at += size
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
            yield number, data[at : at + size]
            at += size
        else:
            raise ProtobufError("it holds a field of an unknown wire type")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


_trees: dict[int, _Tree] = {}


def _tree(shape: Type) -> _Tree:
    """A struct's fields by number. Kept by the dict of fields, which lives as long as the table does."""
    found = _trees.get(id(shape.fields))
    if found is not None:
        return found
    tree = _trees[id(shape.fields)] = {}
    for name, field in shape.fields.items():
        here = tree
        for number in field.numbers[:-1]:
            here = here.setdefault(number, {})  # type: ignore[assignment]
        if field.numbers:
            here[field.numbers[-1]] = (name, field)
    return tree


def _message(data: bytes, tree: _Tree) -> Json:
    made: Json = {}
    for number, value in _fields(data):
        place = tree.get(number)
        if isinstance(place, dict):
            made |= _message(value, place)
        elif place is not None:
            name, shape = place
            if shape.code == "list":
                made.setdefault(name, []).append(_value(value, shape.items))
            elif shape.code == "map":
                entry = dict(_fields(value))
                made.setdefault(name, {})[entry[1].decode()] = _value(entry.get(2, b""), shape.items)
            else:
                read = _value(value, shape)
                if read not in ("", None) and not (not read and name in _ALWAYS_SENT):
                    made[name] = read
    return made


def _value(value: Any, shape: Type) -> Any:
    match shape.code:
        case "struct":
            return _message(value, _tree(shape))
        case "i":
            return value - (1 << 64) if value >> 63 else value
        case "b":
            return bool(value)
        case "n":
            return struct.unpack("<d", value)[0]
        case "y":
            return base64.b64encode(value).decode()
        case "t":
            parts = dict(_fields(value))
            return _time(parts.get(1, 0), parts.get(2, 0)) if parts else None
        case "q":
            return dict(_fields(value)).get(1, b"").decode()
        case "x":
            parts = dict(_fields(value))
            return parts.get(3, b"").decode() if parts.get(0, parts.get(1)) else parts.get(2, 0)
        case "*":
            raw = dict(_fields(value)).get(1, b"")
            return msgspec.json.decode(raw) if raw else None
        case _:
            return value.decode()


def _time(seconds: int, nanos: int) -> str:
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=nanos // 1000)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ" if nanos else "%Y-%m-%dT%H:%M:%SZ")
