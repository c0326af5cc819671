"""When a key was last written, read from managedFields alone."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from reroll.core.observe import epoch
from reroll.insight.stale.times import OTHERS, ConfigMeta, KeyChange, changes, config_times

CREATED = "2026-11-23T08:00:00Z"
FIRST = "2026-11-23T09:00:00Z"
SECOND = "2026-11-23T10:00:00Z"


def entry(time: str, keys: str, *, part: str = "f:data", **more: Any) -> dict[str, Any]:
    fields = {part: {".": {}, **{f"f:{key}": {} for key in keys}}, **more.pop("fields", {})}
    return {"manager": "m", "operation": "Update", "time": time, "fieldsV1": fields, **more}


def ask(entries: list[dict[str, Any]], keys: tuple[str, ...] | None = None) -> tuple[KeyChange, ...]:
    meta = {"name": "app", "creationTimestamp": CREATED, "managedFields": entries}
    return changes(
        config_times(msgspec.json.decode(msgspec.json.encode(meta), type=ConfigMeta)),
        keys,
    )


def test_a_key_that_has_an_entry_for_itself_has_its_own_time() -> None:
    found = ask([entry(FIRST, "a"), entry(SECOND, "b")])
    assert found == (
        KeyChange(("b",), epoch(SECOND), bound=False),
        KeyChange(("a",), epoch(FIRST), bound=False),
    )
    assert ask([entry(FIRST, "a"), entry(SECOND, "b")], ("a",)) == found[1:]


def test_keys_that_share_an_entry_have_a_bound() -> None:
    assert ask([entry(SECOND, "abc")], ("b",)) == (
        KeyChange(("b",), epoch(SECOND), bound=True, beside=("a", "c")),
    )
    # Who reads all of them has read one that changed, whichever it was.
    assert ask([entry(SECOND, "abc")]) == (KeyChange(("a", "b", "c"), epoch(SECOND), bound=False),)


@pytest.mark.parametrize("field", ["f:metadata", "f:immutable"])
def test_what_is_written_beside_the_data_makes_a_bound(field: str) -> None:
    fields: dict[str, Any] = {field: {"f:labels": {"f:x": {}}}}
    assert ask([entry(SECOND, "a", fields=fields)]) == (
        KeyChange(("a",), epoch(SECOND), bound=True, beside=(OTHERS,)),
    )


def test_the_type_of_a_secret_never_changes_and_makes_none() -> None:
    assert ask([entry(SECOND, "a", fields={"f:type": {}})]) == (
        KeyChange(("a",), epoch(SECOND), bound=False),
    )


def test_a_key_with_two_owners_has_not_changed_since_the_first_wrote_it() -> None:
    for entries in ([entry(FIRST, "a"), entry(SECOND, "a")], [entry(SECOND, "a"), entry(FIRST, "a")]):
        assert ask(entries) == (KeyChange(("a",), epoch(FIRST), bound=True),)


def test_binary_data_counts_and_what_is_no_data_does_not() -> None:
    labels = {"manager": "m", "time": SECOND, "fieldsV1": {"f:metadata": {"f:labels": {}}}}
    assert ask([entry(FIRST, "b", part="f:binaryData"), labels]) == (
        KeyChange(("b",), epoch(FIRST), bound=False),
    )
    assert ask([entry(SECOND, "s", subresource="status")]) == ()


def test_keys_that_nobody_owns_are_not_there() -> None:
    assert ask([entry(FIRST, "a")], ("gone",)) == ()
    assert ask([]) == ()
    assert not config_times(ConfigMeta(name="app")).known


def test_an_object_with_nothing_but_its_creation() -> None:
    times = config_times(ConfigMeta(name="app", creation_timestamp=CREATED, managed_fields=[]))
    assert times.latest == epoch(CREATED)
    assert not times.known
