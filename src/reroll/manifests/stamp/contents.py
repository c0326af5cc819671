"""The ConfigMaps and Secrets of a stream, as far as a digest needs them.

A ConfigMap is digested when it is met, just as the controller does it. The values of a Secret wait until it is known
which of them some workload reads.

What stands in an annotation can be read by many who may not read Secrets. So a digest of a Secret is keyed, with
the key of the installation where it is given: then it is the very digest that the controller makes. Without a key
it is made with scrypt: each guess at a value costs a tenth of a second and 32 MiB.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from reroll.core.digests import SIZE, DigestKey, config_map_digests
from reroll.core.policy import config_flags
from reroll.core.records import ConfigId, ConfigKind, ConfigRecord, Consumed
from reroll.manifests.problem import ManifestError
from reroll.manifests.stream import Document, Placed

_KINDS: Final[dict[str, ConfigKind]] = {"ConfigMap": "configmap", "Secret": "secret"}
_PREVIOUS: Final = "internal.config.kubernetes.io/previousNames"
"""kustomize tells its functions so what an object was called before prefixes and suffixes: references still have that
name then, and are rewritten only after the functions."""


class _Found(NamedTuple):
    """One object of the stream, or of the cluster."""

    record: ConfigRecord
    values: dict[str, bytes]
    """Of a Secret; of a ConfigMap they are gone."""
    place: str


class Contents:
    """What is known of config objects, by namespace and name."""

    def __init__(self, key: DigestKey | None, namespace: str) -> None:
        self._key = key
        self._namespace = namespace
        self._found: dict[ConfigKind, dict[str, dict[str, _Found]]] = {"configmap": {}, "secret": {}}
        self._previous: dict[ConfigId, set[str]] = {}
        self._twice: dict[ConfigId, tuple[str, str]] = {}
        self._digests: dict[tuple[ConfigId, str], bytes] = {}
        self.asked: set[ConfigId] = set()
        """Those that the cluster was asked for: what is not found of them is not there."""

    def take(self, document: Document, placed: Placed) -> bool:
        """Keep what counts of an object; False: it is none of these kinds. Raises ManifestError."""
        value = placed.value
        kind = _KINDS.get(value["kind"])
        if kind is None or value["apiVersion"] != "v1":
            return False
        metadata = _mapping(document, placed, "metadata")
        name = metadata.get("name")
        if not isinstance(name, str) or not name:
            return False  # generateName: nothing can refer to it
        own = metadata.get("namespace")
        line, _ = document.where(placed.path) if placed.path else (document.line, 0)
        config = ConfigId(kind, own if isinstance(own, str) and own else self._namespace, name)
        annotations = metadata.get("annotations")
        before = annotations.get(_PREVIOUS) if isinstance(annotations, dict) else None
        if isinstance(before, str):
            for previous in before.split(","):
                self._previous.setdefault(config._replace(name=previous), set()).add(name)
        self.add(
            config,
            _values(document, placed, kind, f"{kind}/{name}"),
            annotations,
            f"{document.origin}:{line}",
        )
        return True

    def add(self, config: ConfigId, values: dict[str, bytes], annotations: object, place: str) -> None:
        """Keep an object. One that is there with other content makes whatever reads it an error."""
        flags = config_flags(
            {k: v for k, v in annotations.items() if isinstance(v, str)}
            if isinstance(annotations, dict)
            else {}
        )
        keys = tuple(sorted(values))
        digests = b""
        if config.kind == "configmap":
            # As binaryData, for which it makes no difference.
            _, digests = config_map_digests(
                None, {k: base64.b64encode(v).decode() for k, v in values.items()}
            )
            values = {}
        record = ConfigRecord(
            keys, digests, ignored=flags.ignored, matchable=flags.matchable, shared_with=flags.shared_with
        )
        names = self._found[config.kind].setdefault(config.namespace, {})
        before = names.get(config.name)
        if before is not None and (before.record, before.values) != (record, values):
            self._twice[config] = (before.place, place)
        names[config.name] = _Found(record, values, place)

    def names(self, kind: ConfigKind, namespace: str) -> Iterable[str]:
        """What there is in a namespace."""
        return self._found.get(kind, {}).get(namespace, ())

    def state(self, consumed: Consumed, where: tuple[str, int, int]) -> ConfigRecord | None:
        """The object with the digests of the keys that count; None: it is not known.

        An object without a namespace stands for that of whichever workload reads it. Raises ManifestError where two
        objects of this name differ; `where` is the workload's place.
        """
        config = consumed.config
        at, found = self._find(config)
        if found is None:
            return None
        if at in self._twice:
            first, second = self._twice[at]
            raise ManifestError(
                *where,
                f"it reads {config.kind}/{config.name}, which is there twice with different content, at {first} and "
                f"{second}: stamp them in runs of their own",
            )
        if config.kind == "configmap":
            return found.record
        wanted = set(found.values if consumed.keys is None else consumed.keys) - set(consumed.except_keys)
        digests = [
            self._secret(config, key, found.values[key]) if key in wanted else bytes(SIZE)
            for key in found.record.keys
        ]
        record = found.record
        return ConfigRecord(
            record.keys,
            b"".join(digests),
            ignored=record.ignored,
            matchable=record.matchable,
            shared_with=record.shared_with,
        )

    def _find(self, config: ConfigId) -> tuple[ConfigId, _Found | None]:
        kind = self._found.get(config.kind, {})
        for namespace in (config.namespace, ""):
            if config.name not in kind.get(namespace, {}):
                renamed = self._previous.get(config._replace(namespace=namespace), ())
                if len(renamed) == 1:
                    config = config._replace(name=next(iter(renamed)))
            if (found := kind.get(namespace, {}).get(config.name)) is not None:
                return config._replace(namespace=namespace), found
        if not config.namespace:
            named = [namespace for namespace, names in kind.items() if config.name in names]
            if len(named) == 1:
                return config._replace(namespace=named[0]), kind[named[0]][config.name]
        return config, None

    def _secret(self, config: ConfigId, key: str, value: bytes) -> bytes:
        known = self._digests.get((config, key))
        if known is None:
            known = secret_digest(self._key, config.namespace, config.name, key, value)
            self._digests[config, key] = known
        return known


def secret_digest(key: DigestKey | None, namespace: str, name: str, field: str, value: bytes) -> bytes:
    """The digest of one value that is not for everybody. Without a key it takes a tenth of a second, on purpose, and
    does not depend on the namespace, which a chart does not know."""
    if key is not None:
        return key.digest(namespace, name, field, value)
    salt = b"reroll stamp\0" + b"\0".join((name.encode(), field.encode()))
    return hashlib.scrypt(value, salt=salt, n=1 << 15, r=8, p=1, maxmem=1 << 26, dklen=SIZE)


def _mapping(document: Document, placed: Placed, field: str) -> Mapping[str, Any]:
    found = placed.value.get(field)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise _error(document, placed, (field,), f"{field} has to be a mapping")
    return found


def _values(document: Document, placed: Placed, kind: ConfigKind, what: str) -> dict[str, bytes]:
    values: dict[str, bytes] = {}
    for field in ("data", "binaryData") if kind == "configmap" else ("data", "stringData"):
        encoded = field == ("binaryData" if kind == "configmap" else "data")
        for key, text in _mapping(document, placed, field).items():
            if text is None:
                text = ""
            if not isinstance(text, str):
                raise _error(
                    document, placed, (field, key), f"{what}: {field}.{key} has to be text: put it in quotes"
                )
            values[key] = text.encode("utf-8", "surrogatepass")
            if encoded:
                try:
                    values[key] = base64.b64decode(re.sub(r"\s", "", text), validate=True)
                except (binascii.Error, ValueError):
                    hint = "; plain text goes in stringData" if kind == "secret" else ""
                    raise _error(
                        document, placed, (field, key), f"{what}: {field}.{key} is not base64{hint}"
                    ) from None
    return values


def _error(document: Document, placed: Placed, path: tuple[str, ...], message: str) -> ManifestError:
    return ManifestError(document.origin, *document.where((*placed.path, *path)), message)
