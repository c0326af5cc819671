"""What a webhook is told of SecretProviderClasses, which are known only by what pods have mounted."""

from __future__ import annotations

import pytest

from reroll.controller.class_statuses import ClassStatuses, MountedObject, PodStatus, StatusObject
from reroll.controller.store import Store
from reroll.core.digests import DigestKey
from reroll.core.observe import ObjectMeta


class Driver:
    """The driver's statuses, as a watch or a list brings them, and what arrived because of them."""

    def __init__(self) -> None:
        self.arrived: list[tuple[str, str, int]] = []
        self.store = Store(
            DigestKey(bytes(32)),
            arrived=lambda event, config, version: self.arrived.append((event, config.name, version)),
        )
        self.statuses = ClassStatuses(self.store)

    def mounted(self, pod: str, content: str, version: int, *, live: bool = False) -> None:
        status = PodStatus("vault", [MountedObject("password", content)])
        meta = ObjectMeta(pod, "shop", uid=pod, resource_version=str(version), generation=version)
        self.statuses.put_status(StatusObject(meta, status), live=live)


@pytest.fixture
def driver() -> Driver:
    """Two pods, found at the start: one of them was not rotated yet."""
    driver = Driver()
    driver.mounted("web-1", "a", 5)
    driver.mounted("web-2", "b", 6)
    driver.statuses.synced("")
    assert driver.arrived == [], "what is found at the start is no news"
    return driver


def test_a_rotation_that_a_watch_tells_of(driver: Driver) -> None:
    driver.mounted("web-1", "c", 7, live=True)
    driver.mounted("web-2", "c", 8, live=True)
    assert driver.arrived == [("update", "vault", 7)]


def test_a_rotation_that_a_later_list_tells_of(driver: Driver) -> None:
    driver.mounted("web-1", "c", 7)
    driver.mounted("web-2", "c", 8)
    assert driver.arrived == [("update", "vault", 7)]


def test_a_list_that_brings_nothing_new(driver: Driver) -> None:
    driver.mounted("web-2", "b", 9)
    assert driver.arrived == []


def test_another_digest_key_is_no_news(driver: Driver) -> None:
    driver.store.configs.rekey(DigestKey(b"k" * 32))
    driver.statuses.forget_digests()
    driver.mounted("web-1", "a", 5)
    driver.mounted("web-2", "b", 6)
    driver.statuses.synced("")
    assert driver.arrived == []
