"""What was in an object at a version of the server."""

from __future__ import annotations

from reroll.controller.content_history import KEPT, MOST, ContentHistory
from reroll.core.records import ConfigId, Unknown

APP = ConfigId("configmap", "shop", "app")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_state_of_that_version() -> None:
    history = ContentHistory(Clock())
    one, two = Unknown("one"), Unknown("two")
    history.add(APP, one, until=5)
    history.add(APP, two, until=8)
    assert [history.at(APP, version) for version in (4, 5, 7, 8)] == [one, two, two, None]
    assert history.at(ConfigId("secret", "shop", "app"), 4) is None


def test_all_of_them_with_what_began_each() -> None:
    history = ContentHistory(Clock())
    assert (history.of(APP), history.ended(APP)) == ([], 0)
    one, two = Unknown("one"), Unknown("two")
    history.add(APP, one, until=5)
    history.add(APP, two, until=8)
    assert (history.of(APP), history.ended(APP)) == ([(0, one), (5, two)], 8)


def test_it_forgets_what_is_old() -> None:
    clock = Clock()
    history = ContentHistory(clock)
    history.add(APP, Unknown("one"), until=5)
    clock.now += KEPT + 1
    history.add(APP, Unknown("two"), until=8)
    state = history.at(APP, 4)
    assert state is not None
    assert state.reason == "two"  # type: ignore[union-attr]


def test_it_keeps_no_more_than_so_many() -> None:
    history = ContentHistory(Clock())
    history.add(APP, Unknown(), until=5)
    for number in range(MOST):
        history.add(ConfigId("configmap", "shop", f"other-{number}"), Unknown(), until=6)
    assert history.at(APP, 4) is None
    assert history.at(ConfigId("configmap", "shop", "other-0"), 4) is not None


def test_it_forgets_what_can_t_be_compared_any_longer() -> None:
    history = ContentHistory(Clock())
    token = ConfigId("secret", "shop", "token")
    history.add(APP, Unknown("one"), until=5)
    history.add(token, Unknown("two"), until=6)
    history.forget(lambda config: config == token)
    assert history.at(token, 4) is None
    assert history.at(APP, 4) == Unknown("one")
    history.add(token, Unknown("three"), until=9)
    assert history.at(token, 4) == Unknown("three")
