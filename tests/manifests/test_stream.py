from __future__ import annotations

import io
import itertools
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from reroll.manifests import stream
from reroll.manifests.problem import ManifestError
from reroll.manifests.stream import Document, read_documents

LINES = st.sampled_from(
    [
        "---",
        "--- # c",
        "--- a",
        "---x",
        "...",
        "... # end",
        "# c",
        "",
        " ---",
        "a: 1",
        "b:",
        "  - x",
        "--- >",
        "  ---",
        "%YAML 1.1",
        "\t",
    ]
)


def one(text: str | bytes) -> Document:
    (document,) = read_documents(text, "a.yaml")
    return document


def data(text: str) -> object:
    return one(text).data


@settings(max_examples=300, deadline=None)
@given(
    st.lists(LINES, max_size=12),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
    st.booleans(),
    st.integers(1, 20),
)
def test_the_texts_are_the_stream_again(lines: list[str], end: str, last: bool, bom: bool, size: int) -> None:
    text = ("\ufeff" if bom else "") + end.join(lines) + (end if last else "")
    raw = text.encode()
    pieces = [raw[at : at + size] for at in range(0, len(raw), size)]
    documents = list(read_documents(pieces, "x"))
    assert "".join(document.text for document in documents) == text
    assert [(d.text, d.line) for d in documents] == [(d.text, d.line) for d in read_documents(text, "x")]
    at = 0
    for document in documents:
        assert document.line == text.count("\n", 0, at) + 1
        at += len(document.text)


@settings(max_examples=300, deadline=None)
@given(st.lists(LINES.filter(lambda line: line not in ("%YAML 1.1", "\t")), max_size=12))
def test_it_is_cut_where_yaml_cuts(lines: list[str]) -> None:
    text = "\n".join(lines)
    try:
        known = [value for value in yaml.load_all(text, Loader=yaml.CSafeLoader) if value is not None]
    except yaml.YAMLError:
        return
    with suppress(ManifestError):  # it takes more for an error than PyYAML: keys that stand twice
        assert [d.data for d in read_documents(text, "x") if d.data is not None] == known


def test_a_comment_above_the_marker_belongs_to_the_document_below() -> None:
    first, second = read_documents("# one\n---\na: 1\n# two\n---\n# three\nb: 2\n", "x")
    assert first.text == "# one\n---\na: 1\n# two\n"
    assert (second.text, second.line) == ("---\n# three\nb: 2\n", 5)


@pytest.mark.parametrize(
    "text", ["", "---\n", "# only\n", "--- # x\n...\n", "\ufeff", "\n\n", "---", "null\n"]
)
def test_empty_documents_have_no_objects(text: str) -> None:
    assert [one for document in read_documents(text, "x") for one in document.objects] == []
    assert all(document.data is None for document in read_documents(text, "x"))


def test_what_is_not_kubernetes_has_no_objects() -> None:
    for text in ("a: 1\n", "[1]\n", "kind: X\n", "x\n", "!Ref a\n", "k: !vault |\n  x\n"):
        assert one(text).objects == []


def test_a_list_is_its_items_and_their_places() -> None:
    text = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: ConfigMap\n- {kind: Secret, apiVersion: v1}\n"
    assert [(p.path, p.value["kind"]) for p in one(text).placed] == [
        (("items", 0), "ConfigMap"),
        (("items", 1), "Secret"),
    ]
    assert one(text).where(("items", 1, "kind")) == (6, 4)
    raw = "apiVersion: apps/v1\nkind: DeploymentList\nitems:\n- metadata: {name: a}\n"
    assert one(raw).objects == [{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}}]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2024-01-01", "2024-01-01"),
        ("22:30", "22:30"),
        ("=", "="),
        ("0644", 420),
        ("0o17", 15),
        ("0x1F", 31),
        ("-0b11", -3),
        ("1_000", 1000),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("-.inf", float("-inf")),
        ("on", True),
        ("No", False),
        ("~", None),
        ("!!str 5", "5"),
        ("!!binary aGk=", "hi"),
        ("{y: a, n: b}", {"true": "a", "false": "b"}),
        ("- ", [None]),
        ("{1: a, true: b}", {"1": "a", "true": "b"}),
        ("0899", 899.0),
        ("'5'", "5"),
        ("1.2.3", "1.2.3"),
        ("+", "+"),
    ],
)
def test_scalars_mean_what_they_mean_to_kubernetes(written: str, meant: object) -> None:
    assert data(f"k:\n  {written}\n") == {"k": meant}


def test_merges() -> None:
    assert data("a: &a {x: 1, w: 2}\nb: {<<: *a, w: 3}\nc: {<<: [*a, {x: 9, z: 1}]}\n") == {
        "a": {"x": 1, "w": 2},
        "b": {"x": 1, "w": 3},
        "c": {"x": 1, "w": 2, "z": 1},
    }


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("x: 1\n---\na: 1\nb: [\n", 5, 1, "not valid YAML"),
        ("a: 1\na: 2\n", 2, 1, "the key a twice"),
        ("😀: 1\nm: {é: 1, é: 2}\n", 2, 11, "the key é twice"),
        ("a:\n\tb: 1\n", 2, 1, "tab"),
        ("a: *x\n", 1, 4, "anchor"),
        ("a: !!int x\n", 1, 4, "does not fit its tag"),
        ("a: \x01\n", 1, 4, "not valid YAML"),
        ("é: \x01\n", 1, 4, "not valid YAML"),
        ("? [a]\n: 1\n", 1, 3, "for a key"),
        ("a: 1\rb: 2\r---\rc: 3\r", 1, 0, "carriage returns"),
        ("\ufeffa: 1\na: 2\n", 2, 1, "twice"),
        ("a: 1\n<<: 5\n", 2, 5, "merges"),
        ("x\n---\nreplicas: {{ .Values.n }}\n", 3, 11, "render it first"),
        ("{{- if .Values.on }}\na: 1\n{{- end }}\n", 1, 1, "render it first"),
        ("a: 1\n{{ include \"x\" . | nindent 4 }}\n", 2, 1, "render it first"),
        ("apiVersion: v1\nkind: A\nmetadata:\n  name: '{{ .Release.Name }}'\n", 4, 3, "render it first"),
        ("a: 'b\n---\nc: 1\n", 2, 1, "not valid YAML"),
        ("a: " + "[" * 100_000, 1, 0, "nested"),
        ("- " * 5000 + "x", 1, 0, "nested"),
        ("a: " + "[" * 900 + "]" * 900, 1, 0, "nested"),
    ],
)  # fmt: skip
def test_bad_input_is_told_with_its_place(text: str, line: int, column: int, message: str) -> None:
    with pytest.raises(ManifestError, match=message) as caught:
        _ = [document.objects for document in read_documents(text, "dir/a.yaml")]
    error = caught.value
    assert error.line == line
    if column:
        assert error.column == column
    assert str(error).startswith(f"dir/a.yaml:{line}:")


def test_braces_in_text_are_no_template() -> None:
    assert data("a: '{{ $labels.pod }}'\nb: |\n  {{ x }}\n") == {"a": "{{ $labels.pod }}", "b": "{{ x }}\n"}


@pytest.mark.parametrize(
    "raw", [b"a: 1\nb: \xff\n", "a: 1\nb: é\n".encode("latin-1"), "a: 1".encode("utf-16")]
)
def test_what_is_not_utf_8_is_refused(raw: bytes) -> None:
    with pytest.raises(ManifestError, match="UTF-8"):
        list(read_documents(raw, "x"))


def test_the_place_of_what_is_not_utf_8() -> None:
    with pytest.raises(ManifestError) as caught:
        list(read_documents(b"a: 1\n---\nb: 2\nc: \xc3\xa9\xff\n", "x"))
    assert (caught.value.line, caught.value.column) == (4, 5)


def test_aliases_that_multiply_without_end_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(ManifestError, match="aliases"):
        data("\n".join(lines))
    with pytest.raises(ManifestError, match="aliases"):
        data("a: &a [*a]\n")
    assert data("a: &a [1]\nb: [*a, *a]\n") == {"a": [1], "b": [[1], [1]]}


def test_the_complaint_quotes_nothing() -> None:
    for text in ("password: 'hunter2\n", "a: 1\nhunter2\nb: 1\n", "hunter2: [hunter2: *hunter2\n"):
        with pytest.raises(ManifestError) as caught:
            data(text)
        assert "hunter2" not in str(caught.value)


def test_places_are_counted_past_what_is_not_ascii() -> None:
    document = list(read_documents("x: 1\n---\n# 😀\na: {😀é: [1, {b: 2}]}\r\nc: 3\n", "x"))[1]
    assert document.where(("a", "😀é", 1, "b")) == (4, 14)
    assert document.where(("c",)) == (5, 1)
    assert document.where(("a", "😀é", 7)) == (4, 5)
    assert one("\ufeffa: 1\n").where(("a",)) == (1, 2)


def test_a_file_is_read_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "CHUNK", 7)
    text = "a: 1\n---\nb: 2\n...\n# c\n---\nc: 3"
    assert [d.data for d in read_documents(io.BytesIO(text.encode()), "x")] == [{"a": 1}, {"b": 2}, {"c": 3}]


def test_a_long_stream_needs_the_memory_of_one_document() -> None:
    body = b"---\napiVersion: v1\nkind: ConfigMap\ndata:\n  a: " + b"x" * 10_000 + b"\n"

    def endless() -> Iterator[bytes]:
        for _ in itertools.repeat(None, 200):
            yield body * 100

    tracemalloc.start()
    try:
        assert sum(1 for _ in read_documents(endless(), "x")) == 20_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10_000_000
