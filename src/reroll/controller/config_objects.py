"""What is known of config objects: their names, and the digests of those that somebody follows.

A list tells names only. What is in an object is wanted, and read (`controller.reader`), when somebody follows it: a
start reads a cluster's worth of names and the few contents that count.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping

from reroll.controller.past import Past
from reroll.core.digests import DigestKey, config_map_digests, secret_digests
from reroll.core.observe import ConfigMapObject, SecretObject, config_record, version_number
from reroll.core.records import ConfigId, ConfigKind, ConfigRecord, ConfigState, Missing, Unknown

MISSING = Missing()
UNREAD = Unknown("its content is not read yet", reading=True)
"""Held in place of a record of an object that a list named."""
DOUBTFUL = Unknown("it is being read again, for somebody else has recorded another content", reading=True)
"""The state of an object that may be older here than on the server."""
NOT_MOUNTED = Unknown("no pod is known to have it mounted")
"""The state of a SecretProviderClass without a SecretProviderClassPodStatus: what is recorded of it stays."""

Content = tuple[tuple[str, ...], bytes]
"""The sorted keys of a config object, and their digests joined."""
Digester = Callable[[ConfigMapObject | SecretObject, DigestKey], Content]
Flags = Callable[[Mapping[str, str]], tuple[bool, bool, str]]
"""What an object's annotations say of who follows it: see `core.observe.config_record`."""


def content(obj: ConfigMapObject | SecretObject, key: DigestKey) -> Content:
    """The digests of an object's values, as `core.digests` makes them."""
    if isinstance(obj, ConfigMapObject):
        return config_map_digests(obj.data, obj.binary_data)
    return secret_digests(obj.metadata.namespace, obj.metadata.name, obj.data, key)


class ConfigObjects:
    """The cache. All methods are called from the event loop, and none blocks.

    `flags` reads the objects' annotations; `content` makes their digests: objects that carry theirs in place of values
    (`insight.simulation`) have another. `selected` tells by their labels which may be followed.

    It asks `followed` whether anybody follows an object, and calls `want` for each whose content is to be read,
    `changed` for each whose state is another now (with whether it is there now and was not held before, and whether it
    was known to be missing until then), and before that `replaced` where one that is followed has other content.
    `arrived` is called with add, update or delete for each that came, changed or went since it was held, whether a
    watch or a new list tells so, and with the resourceVersion of that content (0: not known); `read_all`: so that it is
    known of all, all are read.
    """

    def __init__(
        self,
        key: DigestKey,
        flags: Flags,
        *,
        followed: Callable[[ConfigId], bool],
        changed: Callable[[ConfigId, bool, bool], None],
        replaced: Callable[[ConfigId, ConfigRecord], None] = lambda config, record: None,
        want: Callable[[ConfigId], None] = lambda config: None,
        arrived: Callable[[str, ConfigId, int], None] = lambda event, config, version: None,
        read_all: bool = False,
        selected: Callable[[Mapping[str, str]], bool] | None = None,
        content: Digester = content,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.key = key
        self.flags = flags
        self.now = now
        self._followed, self._changed, self._replaced = followed, changed, replaced
        self._want, self._arrived = want, arrived
        self._read_all = read_all
        self._selected = selected
        self._content = content
        self._held: dict[ConfigKind, dict[str, dict[str, ConfigRecord | Unknown]]] = {
            "configmap": {},
            "secret": {},
            "secretproviderclass": {},
        }
        self._collections: dict[tuple[str, str], str] = {}
        self._doubtful: set[ConfigId] = set()
        self._appeared: set[ConfigId] = set()
        """Those that were not there before a list named them, and that are yet to be read."""
        self._gone: dict[ConfigId, Missing] = {}
        self._past = Past(now)

    # --- questions ---------------------------------------------------------------------------------

    def state(self, config: ConfigId) -> ConfigState:
        """What is known of one."""
        record = self._held[config.kind].get(config.namespace, {}).get(config.name)
        if record is not None:
            return DOUBTFUL if config in self._doubtful else record
        if config.kind == "secretproviderclass":
            return NOT_MOUNTED
        problem = self._problem(config)
        return Unknown(problem) if problem else self._gone.get(config, MISSING)

    def _missing(self, config: ConfigId) -> bool:
        """It is known not to be there; while the first list is on its way nothing is known of what it did not name."""
        return isinstance(self.state(config), Missing)

    def _problem(self, config: ConfigId) -> str:
        """Why not all of the collection is known that it belongs to; "": all is."""
        problem = self._collections.get((config.kind, ""))
        if problem is None:
            problem = self._collections.get((config.kind, config.namespace), "its namespace is not watched")
        return problem

    def state_at(self, config: ConfigId, version: int) -> ConfigState:
        """What was known of one at that version of the server."""
        return self._past.at(config, version) or self.state(config)

    def existing(self, kind: ConfigKind, namespace: str) -> Iterable[str]:
        """Names of all of this kind in a namespace."""
        return self._held[kind].get(namespace, {}).keys()

    def names(self, kind: ConfigKind, namespace: str) -> Iterable[tuple[str, str]]:
        """(namespace, name) of everything held of a kind, in one namespace or ("") all."""
        spaces = [namespace] if namespace else list(self._held[kind])
        return ((space, name) for space in spaces for name in list(self._held[kind].get(space, ())))

    def wanted(self, config: ConfigId) -> bool:
        """It is there, and its content is needed."""
        return self._needed(config) and config.name in self._held[config.kind].get(config.namespace, ())

    def _needed(self, config: ConfigId) -> bool:
        return self._read_all or self._followed(config)

    def counts(self) -> dict[str, int]:
        """How many are held, by kind."""
        return {kind: sum(map(len, namespaces.values())) for kind, namespaces in self._held.items()}

    # --- what the API server tells -----------------------------------------------------------------

    def set_collection(self, kind: str, namespace: str, problem: str) -> bool:
        """A collection is complete (`problem` "") or why it can't be told. "" as namespace: all of them.

        True: it is complete at last, so what is not in it is missing and no longer unknown.
        """
        before = self._collections.get((kind, namespace), "")
        self._collections[kind, namespace] = problem
        return bool(before and not problem)

    def put_live(self, kind: ConfigKind, obj: ConfigMapObject | SecretObject) -> None:
        """Take in an object that a watch delivered as it happened."""
        self._put(kind, obj, live=True)

    def put_read(self, kind: ConfigKind, obj: ConfigMapObject | SecretObject) -> None:
        """Take in an object that was read, for it was wanted."""
        config = ConfigId(kind, obj.metadata.namespace, obj.metadata.name)
        doubted = config in self._doubtful
        self._doubtful.discard(config)
        self._put(kind, obj, live=False)
        if doubted:
            self._tell(config)

    def not_there(self, config: ConfigId) -> None:
        """An object was wanted, and is not on the server: what is held of it is no longer in doubt, and goes with
        the watch's word of its deletion."""
        if config in self._doubtful:
            self._doubtful.discard(config)
            self._tell(config)

    def _put(self, kind: ConfigKind, obj: ConfigMapObject | SecretObject, *, live: bool) -> None:
        """Only the digests are kept: the values end here."""
        meta = obj.metadata
        names = self._held[kind].setdefault(sys.intern(meta.namespace), {})
        held = names.get(meta.name)
        previous = held if isinstance(held, ConfigRecord) else None
        if previous is not None and 0 < version_number(meta.resource_version) < previous.version:
            return  # a watch that lags behind what was read
        # What a watch changed of an object that was not read yet can't be told: it counts as found.
        arrived = self.now() if live and held is not UNREAD else 0.0
        record = config_record(
            meta,
            self._content(obj, self.key),
            previous,
            flags=self.flags,
            arrived=arrived,
            ignored=self._selected is not None and not self._selected(meta.labels or {}),
        )
        if record is previous:
            return
        config = ConfigId(kind, meta.namespace, meta.name)
        created = held is None and self._missing(config)
        names[meta.name] = record
        if (previous is None or previous.version != record.version) and self._followed(config):
            self._past.add(config, (held or MISSING) if live else UNREAD, record.version)
            self._replaced(config, record)
        if previous is not None:
            if previous.version != record.version:
                self._arrived("update", config, record.version)
        elif (live and held is not UNREAD) or config in self._appeared:
            self._appeared.discard(config)
            self._arrived("add", config, record.version)
        self._tell(config, appeared=held is None, created=created)

    def put_record(self, config: ConfigId, make: Callable[[ConfigRecord | None], ConfigRecord]) -> None:
        """Take in a config object that is put together from others: `make` is given its former record."""
        names = self._held[config.kind].setdefault(sys.intern(config.namespace), {})
        held = names.get(config.name)
        previous = held if isinstance(held, ConfigRecord) else None
        record = make(previous)
        if record == previous:
            return
        names[config.name] = record
        if previous is not None and previous.version != record.version and not self._problem(config):
            self._arrived("update", config, record.version)
        self._tell(config, appeared=previous is None)

    def listed(self, kind: ConfigKind, namespace: str, name: str, resource_version: str) -> None:
        """A list named an object. Its content is wanted if somebody follows it, and it is not the one held."""
        config = ConfigId(kind, sys.intern(namespace), name)
        names = self._held[kind].setdefault(config.namespace, {})
        held = names.get(name)
        if held is None:
            created = self._missing(config)
            if self._read_all and created:
                self._appeared.add(config)
            names[name] = UNREAD
            self._tell(config, appeared=True, created=created)
        elif isinstance(held, ConfigRecord):
            version = version_number(resource_version)
            if version and version == held.version:
                return  # unchanged since
            if version < held.version or not self._needed(config):
                # Read anew when somebody follows it; after a restore of etcd the server's versions are lower.
                names[name] = UNREAD
        if self._needed(config):
            self._want(config)

    def drop(self, config: ConfigId, *, live: bool = False) -> None:
        """Forget an object that was deleted; `live`: a watch told of it as it happened."""
        names = self._held[config.kind].get(config.namespace, {})
        self._doubtful.discard(config)
        self._appeared.discard(config)
        held = names.pop(config.name, None)
        if held is None:
            return
        if not names:
            del self._held[config.kind][config.namespace]
        if config.kind != "secretproviderclass":  # it is there still, and no pod has it mounted
            self._arrived("delete", config, held.version if isinstance(held, ConfigRecord) else 0)
        if live and self._followed(config):
            self._gone[config] = Missing(arrived=self.now())
        self._tell(config)

    def _tell(self, config: ConfigId, *, appeared: bool = False, created: bool = False) -> None:
        if appeared:
            self._gone.pop(config, None)
        self._changed(config, appeared, created)

    def rekey(self, key: DigestKey) -> None:
        """Another digest key is in force: what is held of Secrets can't be compared and is dropped.

        The reflectors of Secrets have to list again.
        """
        self.key = key
        self._held["secret"].clear()
        self._held["secretproviderclass"].clear()
        self._doubtful = {config for config in self._doubtful if config.kind != "secret"}
        for kind, namespace in list(self._collections):
            if kind in ("secret", "secretproviderclass"):
                self._collections[kind, namespace] = "it is being read again"

    # --- what those who follow it tell -------------------------------------------------------------

    def follow(self, config: ConfigId) -> None:
        """Somebody follows it: its content is wanted, if it is there and was not read."""
        if self.state(config) is UNREAD:
            self._want(config)

    def unfollow(self, config: ConfigId) -> None:
        """Nobody follows it any longer: nobody is left to be told that it was seen to go."""
        self._gone.pop(config, None)

    def doubt(self, config: ConfigId) -> None:
        """It may be older here than on the server: it is read again, and not known until then."""
        self._doubtful.add(config)
        self._want(config)
