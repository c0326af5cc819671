"""What may go, and what may not: the rules of garbage collection."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reroll.core.records import ConfigId
from reroll.versions.copies import Copy
from reroll.versions.garbage import GRACE, KEEP, YOUNG, names_in, plan

NOW = 1_800_000_000.0
OLD = NOW - YOUNG - 1


def a_copy(ordinal: int, **fields: Any) -> Copy:
    name = fields.pop("name", f"app-244666888{ordinal % 10}")
    config = ConfigId("configmap", "shop", name)
    return Copy(config, "app", ordinal, **{"created": OLD, "uid": "u", "resource_version": "1", **fields})


def names(copies: tuple[Copy, ...]) -> list[int]:
    return sorted(copy.ordinal for copy in copies)


FIVE = [a_copy(number) for number in range(1, 6)]


def test_the_newest_few_stay() -> None:
    assert names(plan(FIVE, set(), NOW).mark) == [1, 2]
    assert not plan(FIVE[-KEEP:], set(), NOW).mark


def test_what_anything_names_stays() -> None:
    assert names(plan(FIVE, {("shop", FIVE[0].config.name)}, NOW).mark) == [2]
    assert names(plan(FIVE, {("bank", FIVE[0].config.name)}, NOW).mark) == [1, 2]


def test_what_is_young_or_of_an_unknown_age_stays() -> None:
    young = [a_copy(1, created=NOW - YOUNG + 1), a_copy(2, created=0.0), *FIVE[2:]]
    assert not plan(young, set(), NOW).mark


def test_what_a_person_keeps_stays() -> None:
    assert names(plan([a_copy(1, kept=True), *FIVE[1:]], set(), NOW).mark) == [2]


def test_it_is_deleted_a_while_after_it_was_marked() -> None:
    just, long_ago = a_copy(1, unused_since=NOW - GRACE + 1), a_copy(2, unused_since=NOW - GRACE - 1)
    found = plan([just, long_ago, *FIVE[2:]], set(), NOW)
    assert (names(found.mark), names(found.unmark), names(found.delete)) == ([], [], [2])


def test_what_is_named_again_is_no_longer_marked() -> None:
    back = a_copy(1, unused_since=NOW - 2 * GRACE)
    found = plan([back, *FIVE[1:]], {("shop", back.config.name)}, NOW)
    assert (names(found.unmark), names(found.delete)) == ([1], [])


@given(
    st.lists(
        st.tuples(st.integers(1, 9), st.sampled_from([0.0, OLD, NOW]), st.sampled_from([0.0, OLD, NOW])),
        max_size=9,
        unique_by=lambda each: each[0],
    ),
    st.sets(st.integers(1, 9)),
)
def test_nothing_that_is_named_young_or_among_the_newest_is_ever_deleted(
    given_copies: list[tuple[int, float, float]], used: set[int]
) -> None:
    copies = [a_copy(number, created=made, unused_since=since) for number, made, since in given_copies]
    named = {("shop", copy.config.name) for copy in copies if copy.ordinal in used}
    newest = sorted(copy.ordinal for copy in copies)[-KEEP:]
    found = plan(copies, named, NOW)
    for copy in (*found.mark, *found.delete):
        assert copy.ordinal not in used
        assert copy.ordinal not in newest
        assert 0 < copy.created < NOW - YOUNG
    for copy in found.delete:
        assert copy.unused_since


@pytest.mark.parametrize(
    "obj",
    [
        {"spec": {"volumes": [{"configMap": {"name": "app-2446668889"}}]}},
        {"data": {"spec": {"template": {"spec": {"containers": [{"env": ["app-2446668889"]}]}}}}},
        {"kind": "Whatever", "spec": {"anything": {"app-2446668889": 1}}},
    ],
)
def test_any_whole_string_names(obj: dict[str, Any]) -> None:
    assert names_in(json.dumps(obj).encode()) == {"app-2446668889"}


@pytest.mark.parametrize(
    "text", ["see app-2446668889", '{"configmap/app-2446668889":"app"}', "app-24466688", "app-013ae01ae0"]
)
def test_what_is_only_part_of_a_text_does_not(text: str) -> None:
    assert names_in(json.dumps({"annotations": {"a": text}}).encode()) == set()
