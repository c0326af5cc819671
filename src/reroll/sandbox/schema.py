"""The shape of the built-in kinds: which fields there are, of which type, and how lists and maps are merged.

`schema.json` is a table made of the real API server's OpenAPI documents; a contract test holds it against them.
One type a line, its fields as short texts:

    s i b n      string, integer, boolean, number        t q x y   time, quantity, int-or-string, bytes
    *            anything                                @T &T     a struct T: always there, or a pointer to it
    {E  {!E      a map of E; ! owned as one whole        ~         before any of them: the field is required
    [E           a list of E: ``map=a,b`` merged by these keys in apply, ``set`` by value, ``merge=a`` by this
                 key in a strategic merge patch (``merge=`` by value); without, replaced as one whole
    #2.19        at the end: its number in protobuf, here field 19 of field 2 (see `protobuf`)
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

import msgspec
from msgspec import Struct, field

from reroll.sandbox.kinds import Kind
from reroll.sandbox.problems import Refused


class Type(Struct):
    """What may stand at one place."""

    code: str
    """The letter of the table; "struct", "map" or "list" for what holds others."""
    atomic: bool = False
    inline: bool = False
    """A struct in Go, not a pointer to one: there even when empty."""
    required: bool = False
    element: Type | None = None
    fields: dict[str, Type] = field(default_factory=dict)
    inline_fields: list[str] = field(default_factory=list)
    """Structs among the fields that the server always writes."""
    open: bool = False
    """A struct that takes any other field as well."""
    keys: tuple[str, ...] = ()
    by_value: bool = False
    merge_key: str | None = None
    """Of a strategic merge patch: "" merges by value, None replaces."""
    numbers: tuple[int, ...] = ()
    """Its place in protobuf messages."""

    def at(self, key: str) -> Type:
        """The type of a field of this struct, or of an entry of this map."""
        return self.fields.get(key) or self.element or ANYTHING

    @property
    def items(self) -> Type:
        """The type of a list's items, or a map's values."""
        return self.element or ANYTHING


ANYTHING: Final = Type("*")
_WORDS: Final = {"s": "string", "i": "int32", "b": "bool", "n": "float64", "q": "string", "x": "string"}
_PYTHON: Final[dict[str, tuple[type, ...]]] = {
    "s": (str,),
    "y": (str,),
    "t": (str,),
    "i": (int,),
    "n": (int, float),
    "b": (bool,),
    "q": (str, int, float),
    "x": (str, int),
    "map": (dict,),
    "struct": (dict,),
    "list": (list,),
}


def of(kind: Kind, api_version: str = "") -> Type:
    """The type of a kind's objects, as served in `api_version`; declared kinds take anything beside metadata."""
    name = _table()["kinds"].get(f"{api_version or kind.api_version}/{kind.kind}")
    return _types()[name] if name else _custom()


def called(api_version: str, kind: str) -> Type | None:
    """The type of what calls itself so; None for no built-in kind."""
    name = _table()["kinds"].get(f"{api_version}/{kind}")
    return _types()[name] if name else None


def named(name: str) -> Type:
    """A type of the table by its name."""
    return _types()[name]


def read(
    value: Any, type: Type, unknown: list[str], path: str = "", *, inline: bool = True, known: Any = None
) -> Any:
    """A value as the server reads it: without nulls and unknown fields, whose paths are added to `unknown`.

    `inline`: as Go writes it again, too: without empty maps and lists, and with the structs that are always there.
    `known` was read before: parts of it that come again are taken as they are. Raises Refused for values of a
    wrong type.
    """
    if value is known and value is not None:
        return value
    code = type.code
    if code == "*":
        return value
    wanted: Any = _PYTHON[code]
    if not isinstance(value, wanted) or (value.__class__ is bool and code != "b"):
        raise Refused("BadRequest", f"json: cannot unmarshal {_go(value)} into {_place(type, path)}")
    if code == "struct":
        made = {}
        fields = type.fields
        before = known if isinstance(known, dict) else {}
        for key, inner in value.items():
            shape = fields.get(key)
            if shape is None:
                if type.open:
                    made[key] = inner
                else:
                    unknown.append(f"{path}{key}")
                continue
            if inner is None:
                continue
            if shape.code in ("s", "*") and inner.__class__ is str:
                made[key] = inner
                continue
            inner = read(inner, shape, unknown, f"{path}{key}.", inline=inline, known=before.get(key))
            if inner or not inline or shape.required or shape.code not in ("map", "list"):
                made[key] = inner
        for key in type.inline_fields:
            if inline and key not in made:
                made[key] = {}
        return made
    if code == "map":
        inner_type = type.items
        return {k: read(v, inner_type, unknown, f"{path}{k}.", inline=inline) for k, v in value.items()}
    if code == "list":
        at = path.removesuffix(".")
        return [
            read(inner, type.items, unknown, f"{at}[{n}].", inline=inline) for n, inner in enumerate(value)
        ]
    return value


def _go(value: Any) -> str:
    """What Go's decoder calls a JSON value."""
    if isinstance(value, bool):
        return "bool"
    return {str: "string", int: "number", float: "number", list: "array"}.get(value.__class__, "object")


def _place(type: Type, path: str) -> str:
    word = _WORDS.get(type.code, {"map": "map", "list": "list", "struct": "object"}.get(type.code, "string"))
    return f"field {path.removesuffix('.')} of type {word}"


@cache
def _table() -> Mapping[str, Any]:
    content: Mapping[str, Any] = msgspec.json.decode(
        files("reroll.sandbox").joinpath("schema.json").read_bytes()
    )
    return content


@cache
def _types() -> Mapping[str, Type]:
    """All struct types by name. Their fields are filled in place, for types refer to each other in circles."""
    table = _table()["types"]
    structs: dict[str, Type] = {}
    for name, fields in table.items():
        structs[name] = ANYTHING if fields == "*" else Type("struct", atomic="!" in fields, fields={})
    for name, fields in table.items():
        if fields != "*":
            parsed = {key: _field(text, structs) for key, text in fields.items() if key != "!"}
            structs[name].fields.update(parsed)
            structs[name].inline_fields.extend(key for key, type in parsed.items() if type.inline)
    return structs


def _field(text: str, structs: Mapping[str, Type]) -> Type:
    text, _, numbers = text.partition("#")
    places = tuple(int(number) for number in numbers.split(".")) if numbers else ()
    return msgspec.structs.replace(_parse(text, structs), numbers=places)


def _parse(text: str, structs: Mapping[str, Type]) -> Type:
    required = text.startswith("~")
    text = text.removeprefix("~")
    mark = text[0]
    if mark in "@&":
        struct = structs[text[1:].removeprefix("!")]
        if struct.code == "*":
            return struct
        # A copy of its own, which shares the dict of fields that is filled later.
        return msgspec.structs.replace(
            struct, inline=mark == "@", required=required, atomic=struct.atomic or text[1] == "!"
        )
    if mark == "{":
        element = _parse(text[1:].removeprefix("!"), structs)
        return Type("map", atomic=text[1] == "!", required=required, element=element)
    if mark == "[":
        inner, *marks = text[1:].split(" ")
        said = dict(mark.partition("=")[::2] for mark in marks)
        keys = tuple(said["map"].split(",")) if "map" in said else ()
        return Type(
            "list",
            atomic=not keys and "set" not in said,
            required=required,
            element=msgspec.structs.replace(_parse(inner, structs), inline=False),
            keys=keys,
            by_value="set" in said,
            merge_key=said.get("merge"),
        )
    return Type(mark, required=required, atomic=mark == "*")


@cache
def _custom() -> Type:
    fields = {"apiVersion": Type("s"), "kind": Type("s"), "metadata": _types()["ObjectMeta"]}
    return Type("struct", fields=fields, open=True)
