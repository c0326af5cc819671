"""Digests of configuration: what is kept in place of values.

One digest per key of each object, `SIZE` bytes, made of the key's value alone where it can be public
(ConfigMap), and keyed with the installation's key and bound to the object's namespace, name and key where it
can't (Secret). The binding matters: without it, whoever may create Secrets and read annotations could find
out by comparing digests whether a guess equals somebody else's value.

Everything hashed is length-prefixed, so that no two different contents have one encoding, and made of
decoded values, so that a server's upgrade that encodes JSON differently rolls nothing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping

from reroll.core.records import ConfigRecord, Consumed

SIZE = 12
"""Bytes kept of each digest: 96 bits, 16 characters in an annotation."""

KEY_SIZE = 32
"""Bytes of the installation's digest key."""


def keyed(kind: str) -> bool:
    """Are the digests of this kind made with the installation's key, so that another key's can't be compared?

    `kind` is a `ConfigKind`, or a `ConfigId.short`, which begins with one. All but those of ConfigMaps are: the
    versions that the secrets-store CSI driver mounts tell of a secret, too.
    """
    return kind.partition("/")[0] != "configmap"


def _prefixed(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(8, "big") + part for part in parts)


def text(digest: bytes) -> str:
    """A digest as it stands in annotations: URL-safe base64 without padding."""
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


class DigestKey:
    """The installation's secret key for digests of Secrets. Never printed: `repr` shows only its id."""

    __slots__ = ("_key", "id")

    def __init__(self, key: bytes) -> None:
        if len(key) < KEY_SIZE:
            raise ValueError(f"a digest key has at least {KEY_SIZE} bytes, this one has {len(key)}")
        self._key = key
        self.id = hmac.digest(key, b"reroll digest key id", "sha256")[:6].hex()
        """Tells one key from another and gives nothing of it away."""

    def __repr__(self) -> str:
        return f"DigestKey(id={self.id})"

    def raw(self) -> bytes:
        """The key itself, to be kept in the Secret it belongs in and nowhere else."""
        return self._key

    def digest(self, namespace: str, name: str, key: str, value: bytes) -> bytes:
        """The digest of one key of one Secret."""
        message = _prefixed(namespace.encode(), name.encode(), key.encode(), value)
        return hmac.digest(self._key, message, "sha256")[:SIZE]


_PUBLIC = b"reroll configmap value\0"


def config_map_digest(value: bytes) -> bytes:
    """The digest of one key's value of a ConfigMap; the same wherever and by whomever it is computed."""
    return hashlib.sha256(_PUBLIC + value).digest()[:SIZE]


def config_map_digests(
    data: Mapping[str, str] | None, binary_data: Mapping[str, str] | None
) -> tuple[tuple[str, ...], bytes]:
    """(sorted keys, their digests joined) of a ConfigMap; `binary_data` is base64 as the API has it.

    A key that moves between data and binaryData with the same bytes keeps its digest, for pods see the same.
    """
    values: dict[str, bytes] = {
        key: value.encode("utf-8", "surrogatepass") for key, value in (data or {}).items()
    }
    for key, value in (binary_data or {}).items():
        values[key] = _decode(value)
    keys = tuple(sorted(values))
    # Spelt out, for this runs for each key of each ConfigMap of a cluster at the start.
    sha256 = hashlib.sha256
    return keys, b"".join([sha256(_PUBLIC + values[key]).digest()[:SIZE] for key in keys])


def secret_digests(
    namespace: str, name: str, data: Mapping[str, str] | None, key: DigestKey
) -> tuple[tuple[str, ...], bytes]:
    """(sorted keys, their digests joined) of a Secret; `data` is base64 as the API has it."""
    keys = tuple(sorted(data or {}))
    return keys, b"".join(key.digest(namespace, name, k, _decode((data or {})[k])) for k in keys)


def _decode(value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return value.encode()  # no API server sends this; what can't be decoded is still told apart


def consumed_digests(record: ConfigRecord, consumed: Consumed) -> dict[str, str]:
    """Key -> digest (text) of exactly the keys that count; a key that is not there is left out."""
    wanted = None if consumed.keys is None else frozenset(consumed.keys)
    excluded = frozenset(consumed.except_keys)
    digests = record.digests
    return {
        key: text(digests[i * SIZE : (i + 1) * SIZE])
        for i, key in enumerate(record.keys)
        if (wanted is None or key in wanted) and key not in excluded
    }


def combined(digests: Mapping[str, str]) -> str:
    """One digest over a set of keys and their digests, independent of their order."""
    parts = [part.encode() for key in sorted(digests) for part in (key, digests[key])]
    return text(hashlib.sha256(b"reroll keys\0" + _prefixed(*parts)).digest()[:SIZE])


def whole(record: ConfigRecord) -> str:
    """One digest over all of an object, whatever of it counts. No key has a NUL in it."""
    keys = "\0".join(record.keys).encode()
    return text(hashlib.sha256(b"reroll object\0" + _prefixed(keys, record.digests)).digest()[:SIZE])


def mark(configs: Mapping[str, str]) -> str:
    """The digest over all that a workload consumes: `reroll.dev/config` on its pod template.

    `configs` has one entry per config object: `ConfigId.short` -> `combined` (or "" where it is missing).
    """
    parts = [part.encode() for name in sorted(configs) for part in (name, configs[name])]
    return text(hashlib.sha256(b"reroll mark\0" + _prefixed(*parts)).digest()[:SIZE])
