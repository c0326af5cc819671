from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reroll.manifests.edit import Remove, Set, apply_edits, remove, set_value
from reroll.manifests.problem import ManifestError
from reroll.manifests.stream import Document, read_documents
from tests.manifests.layouts import KEYS, SCALARS, written

QUIET = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))

DEPLOYMENT = """\
# The shop.
apiVersion: apps/v1
kind: Deployment
metadata:
  name: shop   # its name
spec:
  template:
    metadata:
      labels: {app: shop}
      annotations:
        # scraped
        prometheus.io/scrape: "true"   # quoted

    spec:
      containers:
      - name: web   # first
        image: "shop:1"
        args: ['-c', "x y"]
"""
ANNOTATIONS = ("spec", "template", "metadata", "annotations")


def one(text: str) -> Document:
    (document,) = read_documents(text, "a.yaml")
    return document


def added(before: str, after: str) -> list[str]:
    """The lines of `after` that `before` has not; the others are the same, in the same order."""
    left, found = before.splitlines(keepends=True), []
    for line in after.splitlines(keepends=True):
        if left and left[0] == line:
            left.pop(0)
        else:
            found.append(line)
    assert not left
    return found


def test_an_entry_is_one_line_more() -> None:
    after = set_value(DEPLOYMENT, (*ANNOTATIONS, "checksum/config"), "abc")
    assert added(DEPLOYMENT, after) == ["        checksum/config: abc\n"]


def test_maps_that_are_missing_are_made_with_the_indentation_of_the_file() -> None:
    text = "kind: A\nspec:\n    template:\n        spec:\n            x: 1\n"
    assert set_value(text, ("spec", "template", "metadata", "annotations", "k"), "v") == (
        text + "        metadata:\n            annotations:\n                k: v\n"
    )


def test_a_value_keeps_its_quotes() -> None:
    text = "a: 'one'  # c\nb: \"two\"\nc: three\n"
    assert set_value(text, ("a",), "it's") == "a: 'it''s'  # c\nb: \"two\"\nc: three\n"
    assert set_value(text, ("b",), "x") == "a: 'one'  # c\nb: \"x\"\nc: three\n"
    assert set_value(text, ("c",), "4") == 'a: \'one\'  # c\nb: "two"\nc: "4"\n'


@pytest.mark.parametrize(
    "value",
    [
        "123e4567",
        "0x1f",
        "yes",
        "on",
        "y",
        "null",
        "~",
        "1_000",
        "2024-01-01",
        ".5",
        "a: b",
        "<<",
        "",
        " x",
        "0o7",
        "+1",
        "=",
        "12:30:45",
        "\u2028",
        "a\tb",
        "\x85",
        "\ufeff",
    ],
)
def test_text_that_means_something_else_is_quoted(value: str) -> None:
    assert one(set_value("a: 1\n", ("b",), value)).data == {"a": 1, "b": value}


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("m:\n  annotations: {}\n  z: 1\n", "m:\n  annotations: {k: v}\n  z: 1\n"),
        ("m:\n  annotations: { }\n  z: 1\n", "m:\n  annotations: {k: v}\n  z: 1\n"),
        ("m:\n  annotations: { a: b }\n", "m:\n  annotations: { a: b, k: v }\n"),
        ("m:\n  annotations: # why\n  z: 1\n", "m:\n  annotations: # why\n    k: v\n  z: 1\n"),
        ("m:\n  annotations: null\n", "m:\n  annotations:\n    k: v\n"),
        ("m:\n  annotations: ~ # c\n", "m:\n  annotations:\n    k: v # c\n"),
        ("m: {annotations: }\n", "m: {annotations: {k: v}}\n"),
        ("m: {annotations}\n", "m: {annotations: {k: v}}\n"),
        ('{"m": {"annotations": {}}}', '{"m": {"annotations": {"k": "v"}}}'),
        (
            '{\n  "m": {\n    "annotations": {\n      "a": "b"\n    }\n  }\n}\n',
            '{\n  "m": {\n    "annotations": {\n      "a": "b",\n      "k": "v"\n    }\n  }\n}\n',
        ),
        ("m:\r\n  annotations:\r\n    a: b\r\n", "m:\r\n  annotations:\r\n    a: b\r\n    k: v\r\n"),
        ("m:\n  annotations:\n    a: b", "m:\n  annotations:\n    a: b\n    k: v"),
        (
            "m:\n  annotations:\n    a: |\n      x\n\n  z: 1\n",
            "m:\n  annotations:\n    a: |\n      x\n\n    k: v\n  z: 1\n",
        ),
        ("\ufeffm:\n  annotations:\n    a: 😀 # é\n", "\ufeffm:\n  annotations:\n    a: 😀 # é\n    k: v\n"),
        ("m: &m\n  annotations: &a\n    a: b\nn: 1\n", "m: &m\n  annotations: &a\n    a: b\n    k: v\nn: 1\n"),
    ],
)  # fmt: skip
def test_an_entry_goes_where_the_layout_has_it(text: str, changed: str) -> None:
    assert set_value(text, ("m", "annotations", "k"), "v") == changed


def test_an_alias_is_written_out_and_its_anchor_stays() -> None:
    text = "a: &x\n  k: 1\nb: *x  # c\n"
    assert one(set_value(text, ("b", "n"), "v")).data == {"a": {"k": 1}, "b": {"k": 1, "n": "v"}}
    assert set_value(text, ("b", "n"), "v").startswith("a: &x\n  k: 1\nb:")
    assert set_value("a: &x 1\nb: *x\n", ("b",), 2) == "a: &x 1\nb: 2\n"


@pytest.mark.parametrize("path", [("a", "n"), ("a",), ("a", "k")])
def test_what_an_alias_repeats_is_not_edited(path: tuple[str, ...]) -> None:
    with pytest.raises(ManifestError, match="repeated elsewhere"):
        set_value("z: 1\na: &x\n  k: 1\nb: *x\n", path, "v")


def test_what_is_merged_is_not_hidden() -> None:
    text = "base: &b\n  annotations: {x: z}\nm:\n  <<: *b\n  z: 1\n"
    assert one(set_value(text, ("m", "k"), "v")).data["m"] == {"annotations": {"x": "z"}, "z": 1, "k": "v"}
    with pytest.raises(ManifestError, match="merge"):
        set_value(text, ("m", "annotations", "k"), "v")


@pytest.mark.parametrize("path", [("a", "b"), ("l", 3), ("l", "x"), ("l", 0, "x"), ("zz", 0)])
def test_there_is_no_way_through_scalars(path: tuple[str | int, ...]) -> None:
    with pytest.raises(ManifestError, match="no place"):
        set_value("a: 1\nl: [1]\n", path, "v")


def test_nothing_to_do_changes_nothing() -> None:
    assert remove(DEPLOYMENT, ("spec", "nothing", "here")) == DEPLOYMENT
    assert set_value(DEPLOYMENT, ("kind",), "Deployment") == DEPLOYMENT


@pytest.mark.parametrize(
    ("text", "path", "changed"),
    [
        ("a: 1\nb: 2 # c\nc: 3\n", ("b",), "a: 1\nc: 3\n"),
        ("a: 1\nb:\n  x: 1\n  # y\n\n# z\nc: 3\n", ("b",), "a: 1\n  # y\n\n# z\nc: 3\n"),
        ("a:\n  b: 1\nc: 2\n", ("a", "b"), "a: {}\nc: 2\n"),
        ("l:\n- a: 1\n  b: 2\n- c\n", ("l", 0, "a"), "l:\n- b: 2\n- c\n"),
        ("l:\n- a: 1\n  b: 2\n- c\n", ("l", 0), "l:\n- c\n"),
        ("l:\n- c\n", ("l", 0), "l: []\n"),
        ("{a: 1, b: 2, c: 3}", ("b",), "{a: 1, c: 3}"),
        ("{a: 1, b: 2, c: 3}", ("c",), "{a: 1, b: 2}"),
        ("{a: 1}", ("a",), "{}"),
        ("a: 1\nb: |\n  x\nc: 3", ("b",), "a: 1\nc: 3"),
        ("a: 1\nb: 2", ("b",), "a: 1\n"),
    ],
)
def test_what_is_removed_takes_its_lines_along(text: str, path: tuple[str | int, ...], changed: str) -> None:
    assert remove(text, path) == changed


def test_many_edits_at_once() -> None:
    document = one(DEPLOYMENT)
    after = apply_edits(
        document,
        [
            Set((*ANNOTATIONS, "a"), "1"),
            Set((*ANNOTATIONS, "b"), "2"),
            Set(("metadata", "annotations", "c"), "3"),
            Remove(("spec", "template", "spec", "containers", 0, "args", 0)),
            Set(("spec", "template", "spec", "containers", 0, "image"), "shop:2"),
        ],
    )
    assert after == DEPLOYMENT.replace(
        '        prometheus.io/scrape: "true"   # quoted\n',
        '        prometheus.io/scrape: "true"   # quoted\n        a: "1"\n        b: "2"\n',
    ).replace(
        "  name: shop   # its name\n", '  name: shop   # its name\n  annotations:\n    c: "3"\n'
    ).replace("['-c', \"x y\"]", '["x y"]').replace('"shop:1"', '"shop:2"')


def test_several_documents_are_not_edited_as_one() -> None:
    with pytest.raises(ManifestError, match="several"):
        set_value("a: 1\n---\nb: 2\n", ("a",), 2)


# Properties


def paths(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    found = [path] if path else []
    if isinstance(value, dict):
        for key, held in value.items():
            found += paths(held, (*path, key))
    elif isinstance(value, list):
        for number, held in enumerate(value):
            found += paths(held, (*path, number))
    return found


def at(value: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


@QUIET
@given(written())
def test_the_texts_mean_what_they_are_made_of(made: tuple[dict[str, Any], str]) -> None:
    value, text = made
    assert one(text).data == value


@QUIET
@given(written(), st.data(), st.lists(KEYS, min_size=1, max_size=3), SCALARS)
def test_a_new_entry_changes_no_other_line(
    made: tuple[dict[str, Any], str], data: st.DataObject, keys: list[str], new: Any
) -> None:
    value, text = made
    maps = [()] + [path for path in paths(value) if isinstance(at(value, path), dict)]
    base = data.draw(st.sampled_from(maps))
    keys = ["new", *keys[1:]]
    after = set_value(text, (*base, *keys), new)
    meant = deepcopy(value)
    inner = new
    for key in reversed(keys[1:]):
        inner = {key: inner}
    at(meant, base)["new"] = inner
    assert one(after).data == meant
    concerned = [
        line for line in text.splitlines(keepends=True) if line not in after.splitlines(keepends=True)
    ]
    assert len(concerned) <= 1 or "{" in "".join(concerned)


@pytest.mark.parametrize(
    ("path", "value", "after"),
    [
        (("a",), "", 'a: ""\nb: ""\n'),
        (("a",), {"m": 1}, 'a:\n  m: 1\nb: ""\n'),
        (("a", 1), None, 'a:\n- ""\n- null\nb: ""\n'),
    ],
)
def test_what_ends_with_a_block_scalar_is_replaced_to_the_end_of_its_line(
    path: tuple[str | int, ...], value: Any, after: str
) -> None:
    assert set_value('a:\n- ""\n- c: |\n    x\n    y\nb: ""\n', path, value) == after


def test_an_entry_comes_and_the_only_other_goes() -> None:
    renamed: list[Set | Remove] = [Set(("a", "m"), "v"), Remove(("a", "x"))]
    assert apply_edits(one("a:\n  x: 2 # keep\n"), renamed) == "a:\n  m: v\n"


@QUIET
@given(written(), st.data(), SCALARS)
def test_a_value_is_replaced(made: tuple[dict[str, Any], str], data: st.DataObject, new: Any) -> None:
    value, text = made
    path = data.draw(st.sampled_from(paths(value)))
    meant = deepcopy(value)
    at(meant, path[:-1])[path[-1]] = new
    after = set_value(text, path, new)
    assert one(after).data == meant
    if not isinstance(at(value, path), dict | list | str):
        before, now = text.splitlines(keepends=True), after.splitlines(keepends=True)
        assert len(before) == len(now)
        assert sum(a != b for a, b in zip(before, now, strict=True)) <= 1


@QUIET
@given(written(), st.data())
def test_what_is_removed_leaves_the_rest(made: tuple[dict[str, Any], str], data: st.DataObject) -> None:
    value, text = made
    path = data.draw(st.sampled_from(paths(value)))
    meant = deepcopy(value)
    del at(meant, path[:-1])[path[-1]]
    after = remove(text, path)
    assert one(after).data == meant
    lines = set(text.splitlines(keepends=True))
    fresh = [line for line in after.splitlines(keepends=True) if line not in lines]
    assert len(fresh) <= 1 or path[-1] == 0 or len(path) == 1


@QUIET
@given(written(), st.data())
def test_edits_together_are_edits_one_by_one(made: tuple[dict[str, Any], str], data: st.DataObject) -> None:
    value, text = made
    edits = [
        Set((*path[:-1], "n") if isinstance(path[-1], str) else path, new)
        for path, new in data.draw(st.lists(st.tuples(st.sampled_from(paths(value)), SCALARS), max_size=4))
    ]
    meant = value
    together = one(text)
    alone = text
    try:
        for edit in edits:
            alone = set_value(alone, edit.path, edit.value)
    except ManifestError:
        return
    meant = one(alone).data
    assert one(apply_edits(together, edits)).data == meant
