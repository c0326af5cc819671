"""What was in an object at a version of the server."""

from __future__ import annotations

from reroll.controller.past import KEPT, MOST, Past
from reroll.core.records import ConfigId, Unknown

APP = ConfigId("configmap", "shop", "app")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_state_of_that_version() -> None:
    past = Past(Clock())
    one, two = Unknown("one"), Unknown("two")
    past.add(APP, one, until=5)
    past.add(APP, two, until=8)
    assert [past.at(APP, version) for version in (4, 5, 7, 8)] == [one, two, two, None]
    assert past.at(ConfigId("secret", "shop", "app"), 4) is None


def test_it_forgets_what_is_old() -> None:
    clock = Clock()
    past = Past(clock)
    past.add(APP, Unknown("one"), until=5)
    clock.now += KEPT + 1
    past.add(APP, Unknown("two"), until=8)
    state = past.at(APP, 4)
    assert state is not None
    assert state.reason == "two"  # type: ignore[union-attr]


def test_it_keeps_no_more_than_so_many() -> None:
    past = Past(Clock())
    past.add(APP, Unknown(), until=5)
    for number in range(MOST):
        past.add(ConfigId("configmap", "shop", f"other-{number}"), Unknown(), until=6)
    assert past.at(APP, 4) is None
    assert past.at(ConfigId("configmap", "shop", "other-0"), 4) is not None
