"""Which versions a workload goes back to: the rules."""

from __future__ import annotations

from typing import Any

import pytest

from reroll.core.pointing import Named, Template, pointed
from reroll.core.records import ConfigId
from reroll.versions.copies import Copy
from reroll.versions.refusal import Refused
from reroll.versions.revisions import Revision
from reroll.versions.wanted import Goal, Wish, goal

APP: Named = ("configmap", "app")
DB: Named = ("secret", "db")
PLAIN: Template = {
    "spec": {
        "containers": [
            {"name": "c", "envFrom": [{"configMapRef": {"name": "app"}}, {"secretRef": {"name": "db"}}]}
        ]
    }
}


def at(app: int, db: int = 0) -> Template:
    """A template with these versions; 0: the source."""
    names = {APP: f"app-{app}" if app else "app", DB: f"db-{db}" if db else "db"}
    return pointed(PLAIN, names)


def copies(kind: Any, source: str, *ordinals: int, failed: int = 0) -> list[Copy]:
    return [
        Copy(ConfigId(kind, "shop", f"{source}-{n}"), source, n, failed="deployment/x" if n == failed else "")
        for n in ordinals
    ]


ALL = {APP: copies("configmap", "app", 1, 2, 3), DB: copies("secret", "db", 1, 2)}


def history(*templates: Template) -> list[Revision]:
    return [Revision(number, f"web-{number}", each) for number, each in enumerate(templates, 1)]


def wanted(
    template: Template, revisions: list[Revision], has: dict[Named, list[Copy]] | None = None, **wish: Any
) -> Goal:
    return goal(template, revisions, ALL if has is None else has, "shop", Wish(**wish))


def test_what_ran_together_comes_back_together() -> None:
    found = wanted(at(3, 2), history(at(1, 1), at(2, 1), at(3, 2)))
    assert (found.names, found.where) == ({APP: "app-2", DB: "db-1"}, "revision 2")


def test_revisions_with_the_same_versions_are_no_step_back() -> None:
    found = wanted(at(2, 1), history(at(1, 1), at(2, 1), at(2, 1)))
    assert found.names[APP] == "app-1"


def test_only_one_of_them() -> None:
    found = wanted(at(3, 2), history(at(3, 1), at(2, 2), at(3, 2)), config=DB)
    assert found.names == {DB: "db-1"}


def test_what_failed_is_passed_over() -> None:
    has = {APP: copies("configmap", "app", 1, 2, 3, failed=2)}
    found = wanted(at(3), history(at(1), at(2), at(3)), has)
    assert (found.names, len(found.notes)) == ({APP: "app-1"}, 1)


def test_what_is_gone_is_passed_over() -> None:
    has = {APP: copies("configmap", "app", 1, 3)}
    assert wanted(at(3), history(at(1), at(2), at(3)), has).names == {APP: "app-1"}


def test_without_revisions_by_the_ordinals() -> None:
    found = wanted(at(3, 1), [])
    assert (found.names, found.where) == ({APP: "app-2"}, "the versions before"), "there is none before db-1"


def test_a_revision_by_its_number() -> None:
    found = wanted(at(3, 2), history(at(1, 1), at(2, 1), at(3, 2)), revision=1)
    assert found.names == {APP: "app-1", DB: "db-1"}
    found = wanted(at(3, 2), history(at(1), at(3, 2)), revision=1)
    assert found.names == {APP: "app-1"}
    assert "revision 1 names no version of secret/db" in found.notes[0]


def test_a_version_by_each_of_its_names() -> None:
    for word in ("1", "app-1"):
        has = {APP: ALL[APP]}
        assert wanted(at(3), [], has, version=word).names == {APP: "app-1"}
    assert wanted(at(3, 2), [], version="3").names == {APP: "app-3"}, "only one of them has a third"


@pytest.mark.parametrize(
    ("template", "wish", "message"),
    [
        (at(3, 2), {"revision": 7}, "it has no revision 7; those that are kept: 1"),
        (at(3, 2), {"revision": 1}, "revision 1 names no versions"),
        (at(3, 2), {"version": "1"}, "configmap/app and secret/db have a version 1: say which"),
        (at(3, 2), {"version": "9"}, "configmap/app has no version '9'; it has 1"),
        (at(3, 2), {"config": ("configmap", "x")}, "names no configmap/x"),
        (at(1, 1), {}, "nothing is known of what it read before"),
    ],
)
def test_what_can_t_be_told(template: Template, wish: dict[str, Any], message: str) -> None:
    with pytest.raises(Refused, match=message):
        wanted(template, history(PLAIN), **wish)


def test_without_versions() -> None:
    with pytest.raises(Refused, match="it is for the mode version"):
        wanted(PLAIN, [], {})
    with pytest.raises(Refused, match="nothing that has versions"):
        wanted({"spec": {"containers": []}}, [], {})


def test_a_revision_whose_version_was_deleted() -> None:
    with pytest.raises(Refused, match="revision 1 names configmap/app-1, and there is no such version"):
        wanted(at(3), history(at(1)), {APP: copies("configmap", "app", 3)}, revision=1)
