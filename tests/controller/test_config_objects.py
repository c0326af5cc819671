"""The cache of config objects has one writer: an answer to a read takes back nothing that a watch has told since."""

from __future__ import annotations

import pytest

from reroll.controller.config_objects import OUTDATED, UNREAD, ConfigObjects, Event
from reroll.core.digests import DigestKey, config_map_digest
from reroll.core.observe import ConfigMapObject, ObjectMeta, SecretObject
from reroll.core.records import Change, ConfigId, ConfigRecord, Missing, Unknown
from reroll.dialects import ALL

APP = ConfigId("configmap", "shop", "app")
TOKEN = ConfigId("secret", "shop", "token")
VAULT = ConfigId("secretproviderclass", "shop", "vault")


class Heard:
    """A listener that keeps what it is told. It follows everything, but for what `nobody` names."""

    def __init__(self) -> None:
        self.nobody: set[ConfigId] = set()
        self.wanted: list[ConfigId] = []
        self.changes: list[ConfigId] = []
        self.events: list[tuple[Event, str, int]] = []

    def followed(self, config: ConfigId) -> bool:
        return config not in self.nobody

    def want(self, config: ConfigId) -> None:
        self.wanted.append(config)

    def replaced(self, config: ConfigId, state: ConfigRecord | Missing, change: Change) -> None: ...

    def changed(self, config: ConfigId, *, appeared: bool, created: bool) -> None:
        self.changes.append(config)

    def arrived(self, event: Event, config: ConfigId, version: int) -> None:
        self.events.append((event, config.name, version))


class Cache:
    """The cache, and what lists, watches and reads bring of the ConfigMap `app`."""

    def __init__(self) -> None:
        self.heard = Heard()
        self.now = 1000.0
        self.configs = ConfigObjects(DigestKey(bytes(32)), ALL.config_flags, self.heard, now=lambda: self.now)
        for kind in ("configmap", "secret", "secretproviderclass"):
            self.configs.set_collection(kind, "", "")

    def listed(self, version: int) -> None:
        self.configs.listed("configmap", "shop", "app", str(version))

    def read(self, version: int, value: str, **annotations: str) -> None:
        self.configs.put_read("configmap", _config_map(version, value, annotations))

    def watched(self, version: int, value: str, **annotations: str) -> None:
        self.configs.put_live("configmap", _config_map(version, value, annotations))

    def deleted(self, version: int) -> None:
        self.configs.drop(APP, live=True, version=version)

    def value(self) -> bytes:
        """The digest of what is held."""
        return self.record().digests

    def record(self) -> ConfigRecord:
        state = self.configs.state(APP)
        assert isinstance(state, ConfigRecord), state
        return state


def _config_map(version: int, value: str, annotations: dict[str, str]) -> ConfigMapObject:
    marks = {f"reroll.dev/{key}": text for key, text in annotations.items()} or None
    meta = ObjectMeta("app", "shop", resource_version=str(version), annotations=marks)
    return ConfigMapObject(meta, {"a": value})


def digest(value: str) -> bytes:
    return config_map_digest(value.encode())


@pytest.fixture
def cache() -> Cache:
    return Cache()


class TestAnAnswerThatIsLate:
    def test_brings_nothing_back(self, cache: Cache) -> None:
        cache.listed(5)
        cache.deleted(8)
        cache.read(5, "a")
        assert isinstance(cache.configs.state(APP), Missing)
        assert list(cache.configs.existing("configmap", "shop")) == []
        assert cache.heard.events == [("delete", "app", 0)]

    def test_is_not_taken_for_one_of_the_same_name(self, cache: Cache) -> None:
        """Deleted, and made again in a gap of the watch: a list names the new one, and what is read is the old one."""
        cache.watched(5, "old")
        cache.deleted(8)
        cache.listed(12)
        cache.read(5, "old")
        assert cache.configs.state(APP) is UNREAD
        cache.read(12, "new")
        assert cache.value() == digest("new")

    def test_does_not_stand_for_the_version_that_a_list_named(self, cache: Cache) -> None:
        cache.watched(5, "a")
        cache.listed(9)
        cache.read(7, "b")
        assert cache.configs.state(APP) is OUTDATED
        cache.read(9, "c")
        assert cache.value() == digest("c")

    def test_does_not_take_back_an_annotation(self, cache: Cache) -> None:
        """The content is the same in both, so its version tells nothing."""
        cache.watched(5, "a")
        cache.watched(9, "a", ignore="true")
        cache.read(7, "a")
        assert cache.record().ignored
        cache.read(10, "a")
        assert not cache.record().ignored

    def test_after_a_restore_of_the_server_counts(self, cache: Cache) -> None:
        """Its versions are lower then, and so are those of what is read."""
        cache.watched(90, "a")
        cache.watched(95, "a", ignore="true")
        cache.listed(40)
        cache.read(40, "b")
        assert cache.value() == digest("b")

    def test_after_a_restore_while_it_was_unread_counts(self, cache: Cache) -> None:
        cache.watched(90, "a")
        cache.deleted(92)
        cache.listed(95)
        cache.listed(40)
        cache.read(40, "b")
        assert cache.value() == digest("b")


def test_a_list_after_a_change_of_metadata_alone_wants_nothing(cache: Cache) -> None:
    cache.watched(5, "a")
    cache.watched(9, "a", match="true")
    cache.listed(9)
    assert cache.heard.wanted == []
    assert cache.record().version == 5


def test_what_was_not_read_while_nobody_followed_it_is_read_when_somebody_does(cache: Cache) -> None:
    cache.watched(5, "a")
    cache.listed(9)
    assert cache.heard.wanted == [APP]
    cache.heard.nobody.add(APP)
    assert not cache.configs.wanted(APP), "so the reader passes it over"
    cache.heard.nobody.clear()
    cache.configs.follow(APP)
    assert cache.heard.wanted == [APP, APP]
    cache.read(9, "b")
    cache.configs.follow(APP)
    assert cache.heard.wanted == [APP, APP]


class TestDoubt:
    def test_one_that_can_be_read_is_not_known_until_it_was(self, cache: Cache) -> None:
        cache.watched(5, "a")
        cache.configs.doubt(APP)
        state = cache.configs.state(APP)
        assert isinstance(state, Unknown)
        assert state.reading
        cache.read(5, "a")
        assert cache.record().version == 5

    def test_a_class_stays_as_it_is(self, cache: Cache) -> None:
        """Nothing would ever end the doubt, and no workload that mounts it would ever be decided on again."""
        record = ConfigRecord(("a",), bytes(12), version=5)
        cache.configs.put_record(VAULT, lambda previous: record)
        cache.configs.doubt(VAULT)
        assert cache.configs.state(VAULT) == record
        assert cache.heard.wanted == []


def test_nothing_of_another_digest_key_is_told_of_the_past(cache: Cache) -> None:
    """Digests that another key made differ from all that are held, though the content may be the same."""

    def secret(version: int, value: str) -> SecretObject:
        return SecretObject(ObjectMeta("token", "shop", resource_version=str(version)), {"a": value})

    cache.configs.put_live("secret", secret(5, "YQ=="))
    cache.configs.put_live("secret", secret(9, "Yg=="))
    assert isinstance(cache.configs.state_at(TOKEN, 7), ConfigRecord)
    cache.configs.rekey(DigestKey(b"k" * 32))
    assert not isinstance(cache.configs.state_at(TOKEN, 7), ConfigRecord)
