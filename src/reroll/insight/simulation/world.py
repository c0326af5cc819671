"""The objects that a simulation begins with, whatever they were read from. No value is among them.

Of a config object there is the digest of each key, of a workload its JSON, which is what a watch would bring.
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct, field

from reroll.controller.config_objects import Content
from reroll.core.digests import KEY_SIZE, DigestKey, config_map_digest
from reroll.core.observe import ConfigMapObject, NamespaceObject, ObjectMeta, SecretObject
from reroll.core.proof import PodAges
from reroll.core.records import ConfigId, WorkloadId
from reroll.insight.simulation.bad_input import Origin


class Config(Struct, gc=False):
    """A ConfigMap or Secret."""

    id: ConfigId
    meta: ObjectMeta
    digests: dict[str, bytes]
    """By key, `core.digests.SIZE` bytes each."""
    immutable: bool = False
    origin: Origin = Origin("")

    def as_object(self) -> ConfigMapObject | SecretObject:
        """What a watch would bring."""
        keys = tuple(sorted(self.digests))
        content = keys, b"".join([self.digests[key] for key in keys])
        if self.id.kind == "configmap":
            return KnownConfigMap(metadata=self.meta, content=content)
        return KnownSecret(metadata=self.meta, content=content)


class KnownConfigMap(ConfigMapObject):
    """A ConfigMap with its digests in place of its values."""

    content: Content = ((), b"")


class KnownSecret(SecretObject):
    """The same of a Secret."""

    content: Content = ((), b"")


def known_content(obj: ConfigMapObject | SecretObject, key: DigestKey) -> Content:
    """For the store: the digests that an object carries."""
    assert isinstance(obj, KnownConfigMap | KnownSecret)
    return obj.content


class Workload(Struct, gc=False):
    """A workload: its JSON."""

    raw: bytes
    origin: Origin = Origin("")


Unreadable: TypeAlias = tuple[str, str, str]
"""A collection that may not be read: its kind as the store calls it, namespace ("" for all), and why."""


class World(Struct):
    """Everything at the beginning."""

    source: str
    """What it was read from, for people."""
    key: DigestKey
    """What digests of Secrets were and are made with."""
    now: float
    """Seconds since the epoch at which it was so."""
    configs: dict[ConfigId, Config] = field(default_factory=dict)
    workloads: dict[WorkloadId, Workload] = field(default_factory=dict)
    namespaces: dict[str, NamespaceObject] = field(default_factory=dict)
    scopes: tuple[str, ...] = ()
    """The namespaces that were read; empty: all."""
    pods: dict[WorkloadId, PodAges] | None = None
    """None: not known."""
    unreadable: list[Unreadable] = field(default_factory=list)
    secrets_comparable: bool = True
    """False where the values behind the digests of Secrets are not known, and the key is not either: a value
    that is set can then not be compared with that before."""
    config_labels: bool = True
    """False where the labels of config objects are not known: older snapshots do not hold them."""
    notes: list[str] = field(default_factory=list)
    """What a person should know of what was read."""


class ForeignKey(DigestKey):
    """Stands in for a digest key of which only the id is known. What it makes equals nothing that is there."""

    __slots__ = ()

    def __init__(self, id: str, random: bytes) -> None:
        super().__init__(random)
        self.id = id


def value_digest(config: ConfigId, name: str, value: bytes, key: DigestKey) -> bytes:
    """The digest of one value, as the controller makes it."""
    if config.kind == "configmap":
        return config_map_digest(value)
    return key.digest(config.namespace, config.name, name, value)


NO_KEY = bytes(KEY_SIZE)
"""Where values are at hand, any key does: digests are compared with each other, and never shown."""
