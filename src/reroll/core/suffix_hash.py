"""The suffix that kustomize gives to the name of what it generates: ten characters that stand for the content.

The hash is taken of a JSON text, so what counts is every byte of that text, as Go writes it (learned from the output
of kustomize v5, hasher.go and datamap.go; `tests/manifests/test_generate_kustomize.py` compares with the program):

* of a ConfigMap its `data` and `binaryData`, of a Secret its `data`, `stringData` and `type`. Not its labels,
  annotations, namespace, `immutable`, and, whatever kustomize's documentation says, not its name: equal content has an
  equal suffix under every name;
* base64 of 70 characters and more is wrapped into lines, and the line ends are part of what is hashed;
* five characters that JSON leaves as they are, Go escapes.

This is not the hash of ``kubectl create configmap --append-hash``, which takes the name and other text.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

LENGTH: Final = 10
"""Characters of a suffix."""

ALPHABET: Final = "2456789bcdfghkmt"
"""What a suffix is written with: hexadecimal without the characters from which words are made."""

_LETTERS: Final = str.maketrans("013ae", "ghkmt")
_ESCAPED: Final = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)
_LINE: Final = 70


def suffix_hash(value: Mapping[str, Any], length: int = LENGTH) -> str:
    """The suffix of a ConfigMap or Secret, given as decoded from YAML, with base64 as it is written there; a longer one
    than kustomize's begins with that. Raises ValueError for another kind.
    """
    kind = value.get("kind")
    hashed: dict[str, Any]
    if kind == "ConfigMap":
        hashed = {"data": _field(value, "data"), "kind": kind, "name": ""}
        extra = "binaryData"
    elif kind == "Secret":
        hashed = {"data": _field(value, "data"), "kind": kind, "name": "", "type": _field(value, "type")}
        extra = "stringData"
    else:
        raise ValueError(f"a {kind} is not given a hash for a suffix: only ConfigMaps and Secrets are")
    if isinstance(found := value.get(extra), dict):
        hashed[extra] = found
    return encode(hashlib.sha256(go_json(hashed).encode("utf-8", "surrogatepass")).hexdigest(), length)


def encode(hexadecimal: str, length: int = LENGTH) -> str:
    """The first hexadecimal digits, those that could spell a word replaced by letters that can't."""
    return hexadecimal[:length].translate(_LETTERS)


def go_json(value: object) -> str:
    """JSON as Go's encoder writes a map: keys sorted, no blanks, UTF-8, and ``<>&`` escaped."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.translate(_ESCAPED)


def wrapped_base64(content: bytes) -> str:
    """Base64 as kustomize puts it in Secrets and in `binaryData`: from 70 characters on in lines of 70."""
    text = base64.b64encode(content).decode()
    if len(text) < _LINE:
        return text
    return "".join(f"{text[at : at + _LINE]}\n" for at in range(0, len(text), _LINE))


def _field(value: Mapping[str, Any], name: str) -> object:
    """A field that is not there is hashed as an empty text."""
    found = value.get(name)
    return "" if found is None else found
