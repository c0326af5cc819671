"""What differs between two versions."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reroll.versions.diff import KeyChange, compare, unified


def text(**data: str) -> dict[str, Any]:
    return {"data": data}


def test_by_key() -> None:
    found = compare("configmap", text(a="1", b="1", c="1"), text(a="1", b="2", d="1"), values=True)
    assert [(each.key, each.change) for each in found] == [("b", "changed"), ("c", "removed"), ("d", "added")]
    assert found[0].unified == ("@@ -1 +1 @@", "-1", "+2")
    assert found[1].unified == ("@@ -1 +0,0 @@", "-1")
    assert not compare("configmap", text(a="1"), text(a="1"), values=True)


def test_a_line_end_that_came_or_went() -> None:
    assert unified("a\nb", "a\nb\n") == ["@@ -1,2 +1,2 @@", " a", "-b", "\\ No newline at end of file", "+b"]
    assert unified("a", "a\n") != unified("a\n", "a")


def test_a_long_file_shows_what_is_around_a_change() -> None:
    lines = [f"{number}\n" for number in range(1, 101)]
    changed = [*lines[:49], "fifty\n", *lines[50:]]
    assert unified("".join(lines), "".join(changed)) == [
        "@@ -47,7 +47,7 @@",
        " 47",
        " 48",
        " 49",
        "-50",
        "+fifty",
        " 51",
        " 52",
        " 53",
    ]


def test_bytes_that_are_no_text() -> None:
    before = {"binaryData": {"b": base64.b64encode(b"\xff\x00").decode()}}
    after = {"binaryData": {"b": base64.b64encode(b"\xff\x00\x01").decode()}}
    assert compare("configmap", before, after, values=True) == (
        KeyChange("b", "changed", size_before=2, size_after=3),
    )
    assert compare("configmap", {}, after, values=True) == (KeyChange("b", "added", size_after=3),)


def test_what_moves_between_data_and_binary_data_is_the_same_to_a_pod() -> None:
    assert not compare("configmap", text(a="1"), {"binaryData": {"a": "MQ=="}}, values=True)


SECRET = ({"data": {"a": "aHVudGVyMQ==", "b": "eA=="}}, {"data": {"a": "aHVudGVyMjIyMg==", "c": "eA=="}})


def test_of_a_secret_nothing_but_names() -> None:
    found = compare("secret", *SECRET, values=False)
    assert found == (KeyChange("a", "changed"), KeyChange("b", "removed"), KeyChange("c", "added"))
    assert "hunter" not in repr(found)


def test_values_of_a_secret_on_demand() -> None:
    found = compare("secret", *SECRET, values=True)
    assert "-hunter1" in found[0].unified


@pytest.mark.parametrize("data", [None, {}])
def test_nothing_in_it(data: dict[str, str] | None) -> None:
    assert compare("configmap", {"data": data}, {}, values=True) == ()
    assert compare("configmap", {"data": data}, text(a=""), values=True) == (KeyChange("a", "added"),)


def patched(before: list[str], diff: list[str]) -> list[str]:
    """What `patch` makes of these lines."""
    new: list[str] = []
    at = 0
    for line in diff:
        if line.startswith("@@"):
            start, _, length = line.split()[1][1:].partition(",")
            first = int(start) - (0 if length == "0" else 1)
            new += before[at:first]
            at = first
        elif line[0] == "+":
            new.append(line[1:])
        else:
            assert before[at] == line[1:]
            if line[0] == " ":
                new.append(before[at])
            at += 1
    return new + before[at:]


LINES = st.lists(st.sampled_from(["a", "b", "", "c d", "-x", "@@ -1 +1 @@"]), max_size=12)


@given(LINES, LINES)
def test_it_can_be_applied(before: list[str], after: list[str]) -> None:
    diff = unified("".join(f"{line}\n" for line in before), "".join(f"{line}\n" for line in after))
    assert (not diff) == (before == after)
    assert patched(before, diff) == after


def test_what_is_too_long_to_be_aligned_is_told_as_replaced() -> None:
    before = "".join(f"{number}\n" for number in range(20000))
    after = "".join(f"{number}\n" for number in range(20000, 0, -1))
    diff = unified(f"same\n{before}end\n", f"same\n{after}end\n")
    assert diff[:2] == ["@@ -2,20000 +2,20000 @@", "-0"]
    assert len(diff) == 40001
