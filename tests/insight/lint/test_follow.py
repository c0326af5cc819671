"""R611 and R612: what `reroll.dev/follow` names."""

from __future__ import annotations

from typing import Any

import pytest

from tests.insight.lint.stage import config, deployment, findings, rules


def follows(items: str, namespace: str = "shop") -> dict[str, Any]:
    return deployment(annotations={"reroll.dev/follow": items}, namespace=namespace)


@pytest.mark.parametrize(
    ("items", "complete", "expected"),
    [
        ("feature-flags", True, []),
        ("configmap/feature-flags", True, []),
        ("feature-*", True, []),
        ("secret/feature-flags", True, ["R611"]),
        ("secret/feature-flags", False, []),
        ("feature-flag", False, ["R611"]),
        ("elsewhere", False, []),
        ("elsewhere feature-flags", True, ["R611"]),
        ("nothing-*", True, ["R611"]),
        ("nothing-*", False, []),
        ("shared/feature-flags", True, ["R611"]),
    ],
)
def test_names_of_nothing(items: str, complete: bool, expected: list[str]) -> None:
    there = config("feature-flags", namespace="shop")
    assert rules(follows(items), there, complete=complete) == expected


def test_what_is_meant_is_told() -> None:
    [found] = findings(follows("configmap/ap-config"), config("app-config"))
    assert (
        "follows configmap/ap-config, which names nothing in the input: did you mean app-config?"
        in found.message
    )


@pytest.mark.parametrize(
    ("share", "namespace", "expected"),
    [
        (None, "shop", ["R612"]),
        ("billing", "shop", ["R612"]),
        ("billing, shop", "shop", []),
        ("sh*", "shop", []),
        (None, "shared", []),
        (None, "", ["R612"]),
        ("billing", "", []),
    ],
)
def test_other_namespaces(share: str | None, namespace: str, expected: list[str]) -> None:
    annotations = {} if share is None else {"reroll.dev/share-with": share}
    there = config("ca", namespace="shared", annotations=annotations)
    assert rules(follows("configmap/shared/ca", namespace), there) == expected


def test_an_object_without_a_namespace_may_be_anywhere() -> None:
    assert rules(follows("configmap/shared/ca"), config("ca")) == []
