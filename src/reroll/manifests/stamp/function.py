"""The settings of a KRM function: what a ResourceList's functionConfig says.

https://github.com/kubernetes-sigs/kustomize/blob/master/cmd/config/docs/api-conventions/functions-spec.md
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from reroll.manifests.problem import ManifestError
from reroll.manifests.stamp.options import COUNTER_ANNOTATION, DEFAULT_ANNOTATION, Options, checked_annotation
from reroll.manifests.stream import Document

KIND = "ResourceList"
_BOOLS = {"true": True, "false": False, True: True, False: False}


def configured(document: Document, options: Options) -> Options:
    """The options with those of the functionConfig on top: keys of `data` (of a ConfigMap) or of `spec`.

    Raises ManifestError for what is not understood.
    """
    data = document.data
    if (
        not isinstance(data, dict)
        or data.get("kind") != KIND
        or not isinstance(data.get("functionConfig"), dict)
    ):
        return options
    config = data["functionConfig"]
    for field in ("spec", "data"):
        given = config.get(field)
        if given is None:
            continue
        if not isinstance(given, dict):
            raise _error(document, (field,), f"{field} has to be a mapping")
        for key, value in given.items():
            options = _one(document, (field, key), key, value, options)
    return options


def _one(document: Document, path: tuple[str, ...], key: str, value: Any, options: Options) -> Options:
    if key == "annotation" and isinstance(value, str):
        try:
            return replace(options, annotation=checked_annotation(value))
        except ValueError as error:
            raise _error(document, path, str(error)) from None
    if key == "missing" and value in ("ignore", "warn", "fail"):
        return replace(options, missing=value)
    if key == "namespace" and isinstance(value, str):
        return replace(options, namespace=value)
    if key in ("perObject", "counter", "secrets") and value in _BOOLS:
        name = {"perObject": "per_object"}.get(key, key)
        options = replace(options, **{name: _BOOLS[value]})
        if options.counter and options.annotation == DEFAULT_ANNOTATION:
            options = replace(options, annotation=COUNTER_ANNOTATION)
        return options
    raise _error(
        document,
        path,
        f"{key} is not understood: there are annotation, missing (ignore, warn, fail), namespace, and with true or "
        f"false perObject, counter and secrets",
    )


def _error(document: Document, path: tuple[str, ...], message: str) -> ManifestError:
    return ManifestError(
        document.origin, *document.where(("functionConfig", *path)), f"functionConfig: {message}"
    )
