"""Makes `src/reroll/sandbox/schema.json` of what a real API server tells under /openapi/v3.

`test_schema.py` compares the file with the control plane of the tests, and writes it anew with
REROLL_WRITE_SCHEMA=1.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]
Numbers: TypeAlias = dict[str, dict[int, tuple[str, str]]]

_SCALARS = {"string": "s", "integer": "i", "boolean": "b", "number": "n"}
_NAMED = {
    "io.k8s.apimachinery.pkg.apis.meta.v1.Time": "t",
    "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime": "t",
    "io.k8s.apimachinery.pkg.api.resource.Quantity": "q",
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": "x",
    "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1": "*",
    "io.k8s.apimachinery.pkg.runtime.RawExtension": "*",
}


def table(schemas: Json, kinds: Iterable[tuple[str, str, str]], numbers: Numbers) -> Json:
    """The table for `kinds`, (group, version, kind) each, out of the component schemas of the OpenAPI v3 documents
    of all their groups. `reroll.sandbox.schema` says what the letters mean. `numbers` are those of `proto_numbers`:
    OpenAPI has none."""
    roots: dict[str, str] = {}
    for group, version, kind in kinds:
        wanted = {"group": group, "version": version, "kind": kind}
        roots[f"{group}/{version}/{kind}" if group else f"{version}/{kind}"] = next(
            name
            for name, schema in schemas.items()
            if schema.get("x-kubernetes-group-version-kind") == [wanted]
        )
    types: Json = {}
    pending = list(roots.values())
    while pending:
        name = pending.pop()
        if name in types or name in _NAMED:
            continue
        schema = schemas[name]
        if "properties" not in schema:
            types[name] = "*"
            continue
        required = schema.get("required", ())
        places = dict(_places(numbers, name.replace("io.k8s.", "k8s.io.", 1), schema["properties"]))
        types[name] = {
            field: ("~" if field in required else "")
            + _type(inner, pending)
            + (f"#{places[field]}" if field in places else "")
            for field, inner in sorted(schema["properties"].items())
        }
        if schema.get("x-kubernetes-map-type") == "atomic":
            types[name]["!"] = "atomic"
    short = _short_names(types)
    return {
        "kinds": {key: short[name] for key, name in sorted(roots.items())},
        "types": {
            short[name]: fields
            if isinstance(fields, str)
            else {field: _renamed(text, short) for field, text in fields.items()}
            for name, fields in sorted(types.items(), key=lambda item: short[item[0]])
        },
    }


def proto_numbers(texts: Iterable[str]) -> Numbers:
    """Message -> number -> (field, its message), out of the generated.proto files of Kubernetes' modules."""
    found: Numbers = {}
    for text in texts:
        package = re.search(r"^package ([\w.]+);", text, re.MULTILINE)
        assert package
        for message in re.finditer(r"^message (\w+) \{(.*?)^\}", text, re.MULTILINE | re.DOTALL):
            fields = re.finditer(r"^  \w+ ?(\S+) (\w+) = (\d+);", message[2], re.MULTILINE)
            inner = {
                int(f[3]): (f[2], f[1][1:] if f[1][0] == "." else f"{package[1]}.{f[1]}") for f in fields
            }
            inner |= {
                int(f[2]): (f[1], "")
                for f in re.finditer(r"^  map<[^>]+> (\w+) = (\d+);", message[2], re.MULTILINE)
            }
            found[f"{package[1]}.{message[1]}"] = inner
    return found


def _places(numbers: Numbers, message: str, wanted: Json) -> Iterator[tuple[str, str]]:
    """(field, number) of each field; ``2.19`` is field 19 of the message in field 2, which JSON has no name for."""
    for number, (field, inner) in numbers.get(message, {}).items():
        if field in wanted:
            yield field, str(number)
        else:
            yield from ((name, f"{number}.{place}") for name, place in _places(numbers, inner, wanted))


def written(content: Json) -> str:
    """The table as it is kept: a type a line, so that a change can be read."""
    types = ",\n".join(
        f"  {json.dumps(name)}: {json.dumps(fields)}" for name, fields in content["types"].items()
    )
    kinds = ",\n".join(f"  {json.dumps(key)}: {json.dumps(name)}" for key, name in content["kinds"].items())
    return f'{{"kinds": {{\n{kinds}\n}},\n"types": {{\n{types}\n}}}}\n'


def _type(schema: Json, pending: list[str]) -> str:
    reference = schema.get("$ref") or (schema["allOf"][0]["$ref"] if "allOf" in schema else "")
    if reference:
        name = reference.rpartition("/")[2]
        pending.append(name)
        atomic = "!" if schema.get("x-kubernetes-map-type") == "atomic" else ""
        return _NAMED.get(name) or f"{'@' if schema.get('default') == {} else '&'}{atomic}<{name}>"
    if schema.get("type") == "array":
        keys = ",".join(schema.get("x-kubernetes-list-map-keys", ()))
        marks = [f"map={keys}"] if schema.get("x-kubernetes-list-type") == "map" else []
        marks += ["set"] if schema.get("x-kubernetes-list-type") == "set" else []
        if "merge" in schema.get("x-kubernetes-patch-strategy", ""):
            marks.append(f"merge={schema.get('x-kubernetes-patch-merge-key', '')}")
        return " ".join([f"[{_type(schema['items'], pending)}", *marks])
    if "additionalProperties" in schema:
        atomic = "!" if schema.get("x-kubernetes-map-type") == "atomic" else ""
        return f"{{{atomic}{_type(schema['additionalProperties'], pending)}"
    if schema.get("format") == "byte":
        return "y"
    return _SCALARS.get(schema.get("type", ""), "*")


def _short_names(types: Json) -> dict[str, str]:
    last: dict[str, list[str]] = {}
    for name in types:
        last.setdefault(name.rpartition(".")[2], []).append(name)
    return {
        name: short if len(names) == 1 else f"{name.split('.')[-3].capitalize()}{short}"
        for short, names in last.items()
        for name in names
    }


def _renamed(text: str, short: dict[str, str]) -> str:
    before, found, rest = text.partition("<")
    if not found:
        return text
    name, _, after = rest.partition(">")
    return f"{before}{short[name]}{after}"
