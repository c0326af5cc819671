"""What is known of config objects: their names, and the digests of those that somebody follows.

A list tells names only. What is in an object is wanted, and read (`controller.reader`), when somebody follows it: a
start reads a cluster's worth of names and the few contents that count.

Lists and watches alone say which objects there are. The answer to a read adds the content of an object that they named,
unless they have told of something later meanwhile: of another version, also of one with other metadata only, or of its
deletion (`controller.tombstones`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Literal, Protocol, TypeAlias

from reroll.controller.clock import steady_time
from reroll.controller.content_history import ContentHistory
from reroll.controller.tombstones import Tombstones
from reroll.core.digests import DigestKey, config_map_digests, keyed, secret_digests
from reroll.core.observe import ConfigMapObject, SecretObject, changed_back, config_record, version_number
from reroll.core.records import Change, ConfigId, ConfigKind, ConfigRecord, ConfigState, Missing, Unknown
from reroll.core.version_name import config_map_suffix

MISSING = Missing()
UNREAD = Unknown("its content is not read yet", reading=True)
"""Held in place of a record of an object that a list named."""
READ_AGAIN: frozenset[ConfigKind] = frozenset(("configmap", "secret"))
"""The kinds of which one object can be read by itself. What is known of a SecretProviderClass is put together."""
DOUBTFUL = Unknown("it is being read again, because another client has recorded other content", reading=True)
"""The state of an object that may be older here than on the server."""
OUTDATED = Unknown("it is being read, because a list named another version", reading=True)
"""The state of an object of which an older content is held here."""
NOT_MOUNTED = Unknown("no pod is known to have it mounted")
"""The state of a SecretProviderClass without a SecretProviderClassPodStatus: what is recorded of it stays."""

Content = tuple[tuple[str, ...], bytes]
"""The sorted keys of a config object, and their digests joined."""
Digester = Callable[[ConfigMapObject | SecretObject, DigestKey], Content]
Flags = Callable[[Mapping[str, str]], tuple[bool, bool, str]]
"""What an object's annotations say of who follows it: see `core.observe.config_record`."""
Event: TypeAlias = Literal["add", "update", "delete"]


class Listener(Protocol):
    """Whom `ConfigObjects` asks and tells; `controller.store` is one. No method blocks."""

    def followed(self, config: ConfigId) -> bool:
        """Does any workload follow it?"""
        ...

    def want(self, config: ConfigId) -> None:
        """It exists, and its content must be read; `put_read` or `not_there` answers."""
        ...

    def replaced(self, config: ConfigId, state: ConfigRecord | Missing, change: Change) -> None:
        """One that is followed has other content, or was deleted. Called before `changed`."""
        ...

    def changed(self, config: ConfigId, *, appeared: bool, created: bool) -> None:
        """Its state is another. `appeared`: it is held, and was not; `created`: it was known to be missing."""
        ...

    def arrived(self, event: Event, config: ConfigId, version: int) -> None:
        """It came, changed or went since it was held, whether a watch or a new list tells so. `version`: the
        resourceVersion of that content; 0: not known."""
        ...


def content(obj: ConfigMapObject | SecretObject, key: DigestKey) -> Content:
    """The digests of an object's values, as `core.digests` makes them."""
    if isinstance(obj, ConfigMapObject):
        return config_map_digests(obj.data, obj.binary_data)
    return secret_digests(obj.metadata.namespace, obj.metadata.name, obj.data, key)


def version_suffix(obj: ConfigMapObject | SecretObject) -> str:
    """The suffix of a version with this content, where it takes the values to tell (`core.version_name`)."""
    return config_map_suffix(obj.data, obj.binary_data) if isinstance(obj, ConfigMapObject) else ""


def _no_suffix(obj: ConfigMapObject | SecretObject) -> str:
    """Of an object that carries digests in place of its values."""
    return ""


_OF_VALUES: Final = content
_MOST_PASSING: Final = 512
"""Contents that are kept of what nobody follows."""


class ConfigObjects:
    """The cache. All methods are called from the event loop, and none blocks.

    `flags` reads the objects' annotations; `content` makes their digests: objects that carry theirs in place of values
    (`insight.simulation`) have another. `selected` tells by their labels which may be followed. `read_all`: the content
    of every object is wanted, so that `Listener.arrived` can tell of all.
    """

    def __init__(
        self,
        key: DigestKey,
        flags: Flags,
        listener: Listener,
        *,
        read_all: bool = False,
        selected: Callable[[Mapping[str, str]], bool] | None = None,
        content: Digester = content,
        now: Callable[[], float] = steady_time,
    ) -> None:
        self.key = key
        self.flags = flags
        self.now = now
        self._listener = listener
        self._read_all = read_all
        self._selected = selected
        self._content = content
        self._suffix = version_suffix if content is _OF_VALUES else _no_suffix
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
        self._history = ContentHistory(now)
        self._passing = ContentHistory(now, _MOST_PASSING)
        """The same of what nobody follows, and somebody may begin to."""
        self._tombstones = Tombstones[ConfigId](now)
        self._newest: dict[ConfigId, int] = {}
        """The newest resourceVersion that was told of an object, where it is later than that of the content held: its
        metadata alone changed, or a list named it (`_outdated`)."""
        self._outdated: set[ConfigId] = set()
        """Those of which a list named another version than the one held, and which are yet to be read."""

    # --- questions ---------------------------------------------------------------------------------

    def state(self, config: ConfigId) -> ConfigState:
        """What is known of one."""
        record = self._held[config.kind].get(config.namespace, {}).get(config.name)
        if record is not None:
            if config in self._doubtful:
                return DOUBTFUL
            return OUTDATED if config in self._outdated else record
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
        # Also where it is in doubt: if it was older here, the read that is under way corrects the start.
        held = self._held[config.kind].get(config.namespace, {}).get(config.name)
        earlier = self._history.at(config, version) or self._passing.at(config, version)
        return earlier or held or self.state(config)

    def states(self, config: ConfigId) -> list[tuple[int, ConfigState]]:
        """All states that it was seen in of late, the present one last, each with the version that began it; 0: not
        known."""
        held = self._held[config.kind].get(config.namespace, {}).get(config.name)
        began = held.version if isinstance(held, ConfigRecord) else self._history.ended(config)
        return [*self._history.of(config), (began, held or self.state(config))]

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
        return self._read_all or self._listener.followed(config)

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
        config = ConfigId(kind, sys.intern(obj.metadata.namespace), obj.metadata.name)
        self._tombstones.clear(config)
        self._put(config, obj, live=True)

    def put_read(self, kind: ConfigKind, obj: ConfigMapObject | SecretObject) -> None:
        """Take in an object that was read, because it was wanted. What is not held any more, or is held in a later
        version, stays as it is."""
        meta = obj.metadata
        config = ConfigId(kind, sys.intern(meta.namespace), meta.name)
        if config.name not in self._held[kind].get(config.namespace, ()):
            return  # it was deleted while it was read; where it is there again, the watch is going to tell
        doubted = config in self._doubtful
        self._doubtful.discard(config)
        self._put(config, obj, live=False, doubted=doubted)
        if doubted:
            self._tell(config)

    def not_there(self, config: ConfigId) -> None:
        """An object was wanted, and is not on the server: what is held of it is no longer in doubt, and goes with
        the watch's word of its deletion."""
        if config in self._doubtful:
            self._doubtful.discard(config)
            self._tell(config)

    def _version(self, config: ConfigId, held: ConfigRecord | Unknown | None) -> int:
        """The newest resourceVersion that is known of an object; 0: none."""
        return self._newest.get(config) or (held.version if isinstance(held, ConfigRecord) else 0)

    def _put(
        self, config: ConfigId, obj: ConfigMapObject | SecretObject, *, live: bool, doubted: bool = False
    ) -> None:
        """Only the digests are kept: the values end here."""
        meta = obj.metadata
        names = self._held[config.kind].setdefault(config.namespace, {})
        held = names.get(config.name)
        previous = held if isinstance(held, ConfigRecord) else None
        version = version_number(meta.resource_version)
        if 0 < version < self._version(config, held):
            return  # a watch that lags behind what was read, or a read that was overtaken by the watch
        # What a watch changed of an object that was not read yet can't be told: it counts as found. What is read
        # because it is in doubt is what a watch is about to bring.
        arrived = self.now() if (live and held is not UNREAD) or (doubted and previous is not None) else 0.0
        record = config_record(
            meta,
            self._content(obj, self.key),
            previous,
            flags=self.flags,
            arrived=arrived,
            ignored=self._selected is not None and not self._selected(meta.labels or {}),
            immutable=bool(obj.immutable),
            suffix=self._suffix(obj) if self._listener.followed(config) else "",
        )
        was_outdated = config in self._outdated
        self._outdated.discard(config)
        if previous is not None and not live and (doubted or was_outdated):
            record = changed_back(record, previous, meta, arrived=arrived)
        if version > record.version:
            self._newest[config] = version
        else:
            self._newest.pop(config, None)
        if record is previous:
            if was_outdated:
                self._tell(config)  # what follows it has waited for this, though it is the same
            return
        created = held is None and self._missing(config)
        names[config.name] = record
        if previous is None or previous.version != record.version:
            if self._listener.followed(config):
                self._history.add(config, (held or MISSING) if live else UNREAD, record.version)
                self._listener.replaced(config, record, record.change)
            elif live and previous is not None:
                # Whoever consumes it may have been created before this, and be told of later.
                self._passing.add(config, previous, record.version)
        if previous is not None:
            if previous.version != record.version:
                self._listener.arrived("update", config, record.version)
        elif (live and held is not UNREAD) or config in self._appeared:
            self._appeared.discard(config)
            self._listener.arrived("add", config, record.version)
        self._tell(config, appeared=held is None, created=created)

    def put_record(self, config: ConfigId, make: Callable[[ConfigRecord | None], ConfigRecord]) -> None:
        """Take in a config object that is put together from others: `make` is given its former record. A content
        that each pod has read at its start is no news for a listener."""
        names = self._held[config.kind].setdefault(sys.intern(config.namespace), {})
        held = names.get(config.name)
        previous = held if isinstance(held, ConfigRecord) else None
        record = make(previous)
        if record == previous:
            return
        names[config.name] = record
        told = previous is not None and previous.version != record.version and not record.read_at_start
        if told and not self._problem(config):
            self._listener.arrived("update", config, record.version)
        self._tell(config, appeared=previous is None)

    def listed(self, kind: ConfigKind, namespace: str, name: str, resource_version: str) -> None:
        """A list named an object. Its content is wanted if somebody follows it, and it is not the one held."""
        config = ConfigId(kind, sys.intern(namespace), name)
        names = self._held[kind].setdefault(config.namespace, {})
        held = names.get(name)
        version = version_number(resource_version)
        if held is None:
            created = self._missing(config)
            if self._read_all and created:
                self._appeared.add(config)
            names[name] = UNREAD
            if config in self._tombstones:
                # It was deleted and made again: an answer that is still under way may hold the former one, which is
                # older than what the list has named.
                self._newest[config] = version
                self._tombstones.clear(config)
            self._tell(config, appeared=True, created=created)
        elif isinstance(held, ConfigRecord):
            newest = self._version(config, held)
            if version and version == newest and config not in self._outdated:
                return  # unchanged since
            self._newest[config] = version
            if version < newest or not self._needed(config):
                # Read anew when somebody follows it; after a restore of etcd the server's versions are lower.
                names[name] = UNREAD
                self._outdated.discard(config)
            else:
                self._outdated.add(config)
        elif config in self._newest:
            self._newest[config] = version
        if self._needed(config):
            self._listener.want(config)

    def drop(self, config: ConfigId, *, live: bool = False, version: int = 0) -> None:
        """Forget an object that was deleted; `live`: a watch told of it as it happened. `version`: the
        resourceVersion of its deletion, or one that is no earlier; 0: not known."""
        names = self._held[config.kind].get(config.namespace, {})
        self._doubtful.discard(config)
        self._appeared.discard(config)
        self._outdated.discard(config)
        held = names.pop(config.name, None)
        if held is None:
            return
        if config.kind in READ_AGAIN:
            self._tombstones.deleted(config, max(version, self._version(config, held)))
        self._newest.pop(config, None)
        if not names:
            del self._held[config.kind][config.namespace]
        if config.kind != "secretproviderclass":  # it is there still, and no pod has it mounted
            self._listener.arrived("delete", config, held.version if isinstance(held, ConfigRecord) else 0)
        if self._listener.followed(config):
            self._went(config, held, live=live, version=version)
        self._tell(config)

    def _went(self, config: ConfigId, held: ConfigRecord | Unknown, *, live: bool, version: int) -> None:
        """One that is followed is not there any more. When, only a watch can tell."""
        if version:
            self._history.add(config, held if live else UNREAD, version)
        if live:
            gone = self._gone[config] = Missing(arrived=self.now())
            self._listener.replaced(config, gone, Change(arrived=gone.arrived, version=version))

    def _tell(self, config: ConfigId, *, appeared: bool = False, created: bool = False) -> None:
        if appeared:
            self._gone.pop(config, None)
        self._listener.changed(config, appeared=appeared, created=created)

    def rekey(self, key: DigestKey) -> None:
        """Another digest key is in force: what is held of Secrets can't be compared and is dropped.

        The reflectors of Secrets have to list again.
        """
        self.key = key
        for kind, namespaces in self._held.items():
            if keyed(kind):
                namespaces.clear()
        self._doubtful = {config for config in self._doubtful if not keyed(config.kind)}
        self._outdated = {config for config in self._outdated if not keyed(config.kind)}
        self._newest = {config: n for config, n in self._newest.items() if not keyed(config.kind)}
        self._history.forget(lambda config: keyed(config.kind))
        self._passing.forget(lambda config: keyed(config.kind))
        for kind_of, namespace in list(self._collections):
            if kind_of in self._held and keyed(kind_of):
                self._collections[kind_of, namespace] = "it is being read again"

    # --- what those who follow it tell -------------------------------------------------------------

    def follow(self, config: ConfigId, *, in_versions: bool = False) -> None:
        """Somebody follows it: its content is wanted, if it is there and was not read, or not in this version.
        `in_versions`: and if the name of its version is not known."""
        if self.state(config) in (UNREAD, DOUBTFUL, OUTDATED) or (in_versions and self._is_unnamed(config)):
            self._listener.want(config)

    def _is_unnamed(self, config: ConfigId) -> bool:
        """Was it seen while nobody followed it, so that the name of a version of it is not known?"""
        state = self._held[config.kind].get(config.namespace, {}).get(config.name)
        named = config.kind != "configmap" or self._suffix is _no_suffix
        return not named and isinstance(state, ConfigRecord) and not state.suffix

    def unfollow(self, config: ConfigId) -> None:
        """Nobody follows it any longer: nobody is left to be told that it was seen to go, or whose record casts doubt
        on it."""
        self._gone.pop(config, None)
        self._doubtful.discard(config)

    def doubt(self, config: ConfigId) -> None:
        """It may be older here than on the server: it is read again, and not known until then. A SecretProviderClass
        can't be, and stays as it is: its statuses come by their watch alone."""
        if config.kind not in READ_AGAIN:
            return
        self._doubtful.add(config)
        self._listener.want(config)
