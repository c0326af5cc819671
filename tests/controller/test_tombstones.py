"""Whether an answer may be believed after a deletion."""

from __future__ import annotations

import pytest

from reroll.controller.tombstones import KEPT, Tombstones


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def stones() -> Tombstones[str]:
    stones = Tombstones[str](Clock())
    stones.deleted("app", 20, "old")
    return stones


@pytest.mark.parametrize(
    ("version", "uid", "allowed"),
    [
        (19, "", False),
        (20, "", False),
        (21, "", True),
        (19, "older", False),
        (21, "new", True),
        (21, "old", False),
        (0, "", False),
    ],
)
def test_by_version_and_uid(stones: Tombstones[str], version: int, uid: str, allowed: bool) -> None:
    assert stones.allows("app", version, uid) is allowed
    assert stones.allows("other", version, uid)


def test_a_deletion_of_which_no_version_is_known(stones: Tombstones[str]) -> None:
    stones.deleted("gone", 0, "u")
    assert not stones.allows("gone", 7)


def test_a_second_deletion_takes_nothing_back(stones: Tombstones[str]) -> None:
    stones.deleted("app", 0)
    assert not stones.allows("app", 20)
    stones.deleted("app", 30)
    assert not stones.allows("app", 25)


def test_what_is_there_again(stones: Tombstones[str]) -> None:
    assert "app" in stones
    stones.clear("app")
    assert "app" not in stones
    assert stones.allows("app", 3)


def test_only_for_so_long() -> None:
    clock = Clock()
    stones = Tombstones[str](clock)
    stones.deleted("app", 20)
    clock.now += KEPT + 1
    assert "app" not in stones
    assert stones.allows("app", 3)
    stones.deleted("other", 21)
    assert len(stones) == 1


def test_only_so_many() -> None:
    stones = Tombstones[int](Clock(), most=3)
    for number in range(5):
        stones.deleted(number, 20)
    assert len(stones) == 3
    assert stones.allows(1, 3)
    assert not stones.allows(2, 3)
