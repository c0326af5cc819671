"""Who put a pod template back?"""

from __future__ import annotations

import pytest

from reroll.core.authors import UNDO, Author, Wrote, author, is_person


@pytest.mark.parametrize(
    ("manager", "person"),
    [
        ("kubectl", True),
        ("kubectl-edit", True),
        ("kubectl-client-side-apply", True),
        ("kubectl-rollout", True),
        ("kubectlish", False),
        ("oc", True),
        ("octopus", False),
        ("node-fetch", True),
        ("Mozilla", True),
        ("argocd-controller", True),
        ("reroll-rollback", True),
        ("reroll-unversion", True),
        ("reroll", False),
        ("reroll-restart", False),
        ("argocd", False),
        ("helm", False),
        ("operator", False),
        ("", False),
    ],
)
def test_a_person_works_by(manager: str, person: bool) -> None:
    assert is_person(manager) is person


class TestAnEntryThatMoved:
    """Its manager changed the template, whatever else is known."""

    @pytest.mark.parametrize("taken_back", [True, False, None])
    @pytest.mark.parametrize("deployment", [True, False])
    @pytest.mark.parametrize(
        ("manager", "person"), [("operator", False), ("kubectl-edit", True), ("helm", False)]
    )
    def test_names_the_author(
        self, manager: str, person: bool, deployment: bool, taken_back: bool | None
    ) -> None:
        wrote = [Wrote("kubectl-client-side-apply", 50.0), Wrote(manager, 101.0)]
        found = author(wrote, before=100.0, taken_back=taken_back, annotations_go_back=deployment)
        assert found == Author(manager, person)


@pytest.mark.parametrize(
    ("deployment", "managers", "taken_back", "expected"),
    [
        # An undo of a Deployment puts the annotations back, too, and so the record.
        (True, ["operator"], True, Author(UNDO, True)),
        (True, ["kubectl"], True, Author(UNDO, True)),
        (True, [], True, Author(UNDO, True)),
        # To before there was a record; but an operator that writes the whole object removes it as well.
        (True, ["kubectl", "helm"], None, Author(UNDO, True)),
        (True, ["kubectl", "operator"], None, Author("operator", False)),
        # The record stands: that was no undo, and who removes a field leaves no trace.
        (True, ["operator"], False, Author("operator", False)),
        (True, ["kubectl"], False, Author("", False)),
        (True, ["helm"], False, Author("", False)),
        (True, [], False, Author("", False)),
        # An undo of a StatefulSet or DaemonSet changes nothing but the template.
        (False, ["operator"], False, Author("operator", False)),
        (False, ["kubectl"], False, Author("", True)),
        (False, ["helm"], False, Author("", True)),
        (False, [], False, Author("", True)),
    ],
)
def test_where_no_entry_moved(
    deployment: bool, managers: list[str], taken_back: bool | None, expected: Author
) -> None:
    wrote = [Wrote(manager, 100.0) for manager in managers]
    found = author(wrote, before=100.0, taken_back=taken_back, annotations_go_back=deployment)
    assert found == expected


def test_what_was_not_seen_before_moved_nothing() -> None:
    """After a restart, the times alone don't say who was the last."""
    found = author([Wrote("operator", 100.0)], before=None, taken_back=False, annotations_go_back=True)
    assert found == Author("operator", False)
