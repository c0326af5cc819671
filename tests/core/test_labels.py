"""Label selectors mean what they mean to kubectl."""

from __future__ import annotations

import pytest

from reroll.core.labels import LabelSelector

LABELS = {"app": "web", "tier": "front", "empty": ""}


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ("", True),
        ("app=web", True),
        ("app==web", True),
        ("app = web , tier=front", True),
        ("app=api", False),
        ("app!=api", True),
        ("missing!=x", True),  # kubectl: objects without the key match !=
        ("app", True),
        ("!app", False),
        ("!missing", True),
        ("app in (web, api)", True),
        ("app in (api)", False),
        ("app notin (api),tier", True),
        ("missing notin (a,b)", True),
        ("empty=", True),
        ("app in (web),tier in (back,front),!missing", True),
    ],
)
def test_selector(selector: str, matches: bool) -> None:
    assert LabelSelector.parse(selector).matches(LABELS) is matches


@pytest.mark.parametrize("selector", ["app in web", "=x", "a b", "app>(1)x y"])
def test_what_is_not_understood_is_named(selector: str) -> None:
    with pytest.raises(ValueError, match="is not understood"):
        LabelSelector.parse(selector)
