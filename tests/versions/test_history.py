"""The history of a ConfigMap, which version a word means, and which two are compared."""

from __future__ import annotations

from typing import Any

import pytest

from reroll.core.records import ConfigId
from reroll.versions.copies import Copy
from reroll.versions.difference import pair
from reroll.versions.history import history
from reroll.versions.refusal import Refused
from reroll.versions.shelf import Shelf
from reroll.versions.uses import Use, Uses, words

APP = ConfigId("configmap", "shop", "app")
SUFFIXES = ("", "h29d89cmmt", "6gtghh96k8", "8g7c4m92h4")
SOURCE = {
    "metadata": {
        "name": "app",
        "managedFields": [
            {"manager": "helm", "time": "2026-12-01T10:00:00Z", "fieldsV1": {"f:data": {"f:a": {}}}}
        ],
    },
    "data": {"password": "hunter2"},
}


def copy(ordinal: int, **more: Any) -> Copy:
    return Copy(APP._replace(name=f"app-{SUFFIXES[ordinal]}"), "app", ordinal, **more)


def shelf(*ordinals: int, same: int = 0, gone: bool = False) -> Shelf:
    names = frozenset({f"app-{SUFFIXES[same]}"} if same else ())
    return Shelf(APP, tuple(map(copy, ordinals)), names, None if gone else SOURCE)


def use(what: Any, kind: str, name: str, **more: Any) -> Use:
    return Use(what, kind, "shop", name, **more)


USES = Uses(
    {
        ("shop", f"app-{SUFFIXES[2]}"): (
            use("workload", "Deployment", "web"),
            use("revision", "ReplicaSet", "web-5d9", of="deployment/web", revision=7),
            use("revision", "ReplicaSet", "web-4c8", of="deployment/web", revision=5),
            use("pod", "Pod", "web-1", of="deployment/web"),
            use("pod", "Pod", "web-2", of="deployment/web"),
        ),
        ("shop", f"app-{SUFFIXES[1]}"): (
            use("revision", "ReplicaSet", "web-3b7", of="deployment/web", revision=4),
            use("other", "Widget", "w"),
        ),
    },
    ("pods is forbidden",),
)


def test_a_row_for_each_and_who_has_it() -> None:
    found = history(shelf(1, 2, same=2), USES)
    one, two = found.rows
    assert (one.version, one.current, one.workloads, one.pods) == (1, False, (), 0)
    assert one.revisions == ("replicaset/web-3b7 (revision 4 of deployment/web)",)
    assert one.others == ("widget/w",)
    assert (two.version, two.current, two.workloads, two.pods) == (2, True, ("deployment/web",), 2)
    assert two.revisions == ("replicaset/web-4c8 (revision 5 of deployment/web)",), (
        "the newest is its template"
    )
    assert "pods is forbidden" in found.notes[0]


def test_a_content_without_a_version_has_a_row() -> None:
    last = history(shelf(1), USES).rows[-1]
    assert (last.version, last.name, last.current) == (0, "app", True)
    assert (last.changed_by, last.changed_at) == ("helm", "2026-12-01T10:00:00Z")
    assert not history(shelf(1, gone=True), USES).exists
    assert len(history(shelf(1, gone=True), USES).rows) == 1


def test_what_garbage_collection_and_follow_say() -> None:
    one = Shelf(
        APP, (copy(1, failed="deployment/web", unused_since=1_800_000_000.0, kept=True),), frozenset()
    )
    [row] = history(one, Uses({})).rows
    assert (row.failed, row.unused_since, row.kept) == ("deployment/web", "2027-01-15T08:00:00Z", True)


def test_words_for_people() -> None:
    assert words(USES.of("shop", f"app-{SUFFIXES[2]}")) == [
        "deployment/web",
        "replicaset/web-5d9 (revision 7 of deployment/web)",
        "replicaset/web-4c8 (revision 5 of deployment/web)",
        "2 pods",
    ]
    assert words([use("revision", "ReplicaSet", "x"), use("pod", "Pod", "y")]) == ["replicaset/x", "1 pod"]


class TestWords:
    """Which version a person means."""

    @pytest.mark.parametrize("word", ["2", "app-6gtghh96k8", "6gtghh96k8"])
    def test_a_number_a_name_and_a_suffix(self, word: str) -> None:
        found = shelf(1, 2, 3).choose(word)
        assert found is not None
        assert found.ordinal == 2

    @pytest.mark.parametrize("word", ["source", "app"])
    def test_the_source(self, word: str) -> None:
        assert shelf(1).choose(word) is None
        with pytest.raises(Refused, match="configmap/app does not exist in namespace shop"):
            shelf(1, gone=True).choose(word)

    @pytest.mark.parametrize("word", ["9", "", "-", "h4", "8g7c4m92h", "²", "app-"])
    def test_what_is_none(self, word: str) -> None:
        with pytest.raises(Refused, match=r"has no version .*; it has 1 \(app-h29d89cmmt\)"):
            shelf(1, 2).choose(word)

    def test_a_suffix_that_is_a_number(self) -> None:
        digits = Copy(APP._replace(name="app-2222222222"), "app", 4)
        found = Shelf(APP, (digits,), frozenset()).choose("2222222222")
        assert found == digits


class TestPairs:
    """Which two are compared."""

    def compared(self, found: Shelf, *given: str | None) -> tuple[int, int]:
        before, after = (*given, None, None)[:2]
        return tuple(each.ordinal if each else 0 for each in pair(found, before, after))  # type: ignore[return-value]

    def test_what_has_changed_last(self) -> None:
        assert self.compared(shelf(1, 2, 3, same=3)) == (2, 0)
        assert self.compared(shelf(1, 2, 3)) == (3, 0), "the change that has no version yet"
        assert self.compared(shelf(1, 2, 3, same=1)) == (3, 0), "it has gone back"
        assert self.compared(shelf(1, 2, 3, gone=True)) == (2, 3)

    def test_as_asked(self) -> None:
        assert self.compared(shelf(1, 2, 3), "1") == (1, 0)
        assert self.compared(shelf(1, 2, 3), "1", "2") == (1, 2)
        assert self.compared(shelf(1, 2, 3), "source", "2") == (0, 2)

    def test_nothing_to_compare(self) -> None:
        with pytest.raises(Refused, match="no version with other content"):
            pair(shelf(1, same=1), None, None)
        with pytest.raises(Refused, match="there is no configmap/app in namespace shop"):
            pair(shelf(gone=True), None, None)


def test_what_is_read_is_not_shown_by_accident() -> None:
    assert "hunter2" not in repr(shelf(1))
