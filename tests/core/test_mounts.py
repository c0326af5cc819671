"""What holds of a class, by what its pods have mounted."""

from __future__ import annotations

import random

import pytest

from reroll.core.mounts import MOST, Content, Mount, class_content
from reroll.core.records import Change


def content(name: str) -> Content:
    return (("key",), name.encode())


def mount(name: str, version: int, *, rotated: bool = False, live: bool = True) -> Mount:
    change = Change(float(version), 100.0 + version if live else 0.0, version)
    return Mount(content(name), change, rotated)


def rotated(name: str, version: int) -> Mount:
    return mount(name, version, rotated=True)


ANNOUNCED = rotated("b", 10)


@pytest.mark.parametrize(
    ("mounts", "before", "name", "announced", "newer"),
    [
        pytest.param([mount("a", 1), mount("a", 2)], None, "a", None, "", id="as they have started"),
        pytest.param([mount("b", 9), mount("a", 3)], None, "a", None, "b", id="the vault has moved on"),
        pytest.param([mount("a", 3), ANNOUNCED], None, "b", 10, "", id="the first is rotated"),
        pytest.param([rotated("b", 12), ANNOUNCED], None, "b", 10, "", id="since the first of them"),
        pytest.param([rotated("b", 12), mount("a", 3)], ANNOUNCED, "b", 10, "", id="and no later"),
        pytest.param([mount("a", 3)], ANNOUNCED, "b", 10, "", id="its pod is gone"),
        pytest.param([mount("a", 3), mount("b", 12)], ANNOUNCED, "b", 10, "", id="and is replaced"),
        pytest.param([mount("b", 12)], ANNOUNCED, "b", None, "", id="all are replaced"),
        pytest.param([mount("b", 8)], ANNOUNCED, "b", None, "", id="also before it was announced"),
        pytest.param([mount("c", 12), mount("b", 11)], ANNOUNCED, "b", None, "c", id="some with more"),
        pytest.param([mount("c", 12), mount("d", 13)], ANNOUNCED, "c", None, "d", id="all with more"),
        pytest.param([mount("c", 12), mount("a", 3)], ANNOUNCED, "b", 10, "c", id="one is left behind"),
        pytest.param([rotated("a", 12), mount("b", 8)], ANNOUNCED, "a", 12, "", id="rotated back"),
        pytest.param(
            [rotated("b", 10), rotated("c", 20), rotated("b", 40), rotated("b", 50)],
            None,
            "b",
            40,
            "",
            id="rotated back and forth",
        ),
    ],
)
def test_what_holds(
    mounts: list[Mount], before: Mount | None, name: str, announced: int | None, newer: str
) -> None:
    for _ in range(5):
        random.shuffle(mounts)
        found = class_content(mounts, before)
        assert found.content == content(name)
        assert (found.announced.change.version if found.announced else None) == announced
        assert found.newer == tuple(map(content, newer))
        again = class_content(mounts, found.announced)
        assert again == found


def test_found_in_a_list_the_times_decide() -> None:
    """A label that was changed later gives an old mount a high version."""
    old = Mount(content("a"), Change(stamp=5.0, version=90), rotated=False)
    new = Mount(content("b"), Change(stamp=50.0, version=50), rotated=True)
    found = class_content([old, new], None)
    assert (found.content, found.newer) == (content("b"), ())


def test_contents_of_many_pods_are_bounded() -> None:
    """Whoever may write statuses makes no record of a class grow without end."""
    found = class_content([mount(f"{number:03}", number + 1) for number in range(100)], None)
    assert found.content == content("000")
    assert len(found.newer) == MOST
    assert content("099") in found.newer
