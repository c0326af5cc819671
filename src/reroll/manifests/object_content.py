"""What a ConfigMap or Secret of plain manifests holds, in the form that its name is made from."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from typing import Any

from reroll.core.suffix_hash import wrapped_base64
from reroll.manifests.problem import ManifestError
from reroll.manifests.stream import Document, Placed
from reroll.manifests.yaml_text import Path


def content_of(document: Document, placed: Placed) -> dict[str, Any] | None:
    """The object with its content written as kustomize's generators write it, so that the suffix is theirs; None: it
    has no content. Raises ManifestError, without a value."""
    value, kind = placed.value, placed.value["kind"]
    plain = "data" if kind == "ConfigMap" else "stringData"
    encoded = "binaryData" if kind == "ConfigMap" else "data"
    texts = {
        key: _text(document, placed, plain, key, each) for key, each in _mapping(document, placed, plain)
    }
    raw: dict[str, bytes] = {}
    for key, each in _mapping(document, placed, encoded):
        text = _text(document, placed, encoded, key, each)
        try:
            raw[key] = base64.b64decode(re.sub(r"\s", "", text), validate=True)
        except (binascii.Error, ValueError):
            hint = "; plain text goes in stringData" if kind == "Secret" else ""
            raise _error(document, placed, (encoded, key), f"{encoded}.{key} is not base64{hint}") from None
    if not texts and not raw:
        return None
    if kind == "Secret":
        raw |= {key: text.encode("utf-8", "surrogatepass") for key, text in texts.items()}
        kind_of_secret = value.get("type") or "Opaque"
        return {
            "kind": kind,
            "type": kind_of_secret,
            "data": {key: wrapped_base64(each) for key, each in raw.items()},
        }
    content: dict[str, Any] = {"kind": kind}
    if texts:
        content["data"] = texts
    if raw:
        content["binaryData"] = {key: wrapped_base64(each) for key, each in raw.items()}
    return content


def _mapping(document: Document, placed: Placed, field: str) -> Iterable[tuple[str, Any]]:
    found = placed.value.get(field)
    if found is None:
        return ()
    if not isinstance(found, dict):
        raise _error(document, placed, (field,), f"{field} has to be a mapping")
    return found.items()


def _text(document: Document, placed: Placed, field: str, key: str, value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _error(document, placed, (field, key), f"{field}.{key} has to be text: put it in quotes")
    return value


def _error(document: Document, placed: Placed, path: Path, message: str) -> ManifestError:
    metadata = placed.value["metadata"]
    what = f"{placed.value['kind'].lower()}/{metadata.get('name')}"
    return ManifestError(document.origin, *document.where((*placed.path, *path)), f"{what}: {message}")
