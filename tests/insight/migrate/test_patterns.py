"""Expressions of Reloader's as names and globs: whatever is made of one matches the same names."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reroll.core.consumption import UNMEANT
from reroll.core.name_regex import RegexError, compile_regex
from reroll.core.selector import NAME, parse_items
from reroll.insight.migrate.patterns import as_items


@pytest.mark.parametrize(
    ("expression", "items"),
    [
        ("app", ("app",)),
        ("app-.*", ("app-*",)),
        (".*", ("*",)),
        ("app.+", ("app?*",)),
        ("app.conf", ("app?conf",)),
        (r"app\.conf", ("app.conf",)),
        ("^app$", ("app",)),
        ("(a|b)-config", ("a-config", "b-config")),
        ("(?:a|b)", ("a", "b")),
        ("a|b", ("a", "b")),
        ("apps?", ("apps", "app")),
        (r"app-\d", ("app-[0-9]",)),
        ("app-[^0-9x]", ("app-[!0-9x]",)),
        ("a{3}", ("aaa",)),
        ("[a-c]{2}", ("[a-c][a-c]",)),
        (".*?", ("*",)),
        (r"kube-root-ca\.crt", ()),
        ("[a-z]+", None),
        ("(ab)*", None),
        ("(?i)app", None),
        ("a{2,3}", None),
        ("[[:alpha:]]", None),
        ("App", None),
        ("(a|b|c|d)(a|b|c|d)(a|b|c|d)", None),
    ],
)
def test_examples(expression: str, items: tuple[str, ...] | None) -> None:
    assert as_items(expression) == items


SOME = (
    r"a b - 0 . .* .+ \. \d \w [ab] [a-c] [^a] [^0-9] a? .? b{2} [a.] "
    r"a* [a-b]+ (?:b|) ^ $ x ( ) { } * ? | \ A [ ] (?i)"
)
atoms = st.sampled_from(SOME.split(" "))
sequences = st.lists(atoms, max_size=5).map("".join)
expressions = st.one_of(
    sequences,
    st.lists(sequences, min_size=2, max_size=3).map("|".join),
    st.tuples(sequences, st.lists(sequences, min_size=1, max_size=3).map("|".join), sequences).map(
        lambda parts: f"{parts[0]}({parts[1]}){parts[2]}"
    ),
)
names = st.text("ab0-.cx", min_size=1, max_size=6).filter(lambda name: NAME.fullmatch(name) is not None)


@given(expressions, st.lists(names, min_size=1, max_size=30))
@example("^(a|b)$|c", ["a", "b", "c", "ca"])
def test_the_items_match_what_the_expression_matches(expression: str, some: list[str]) -> None:
    items = as_items(expression)
    if items is None:
        return
    try:
        matches = compile_regex(expression)
    except RegexError:
        pytest.fail(f"{expression!r} is no expression, and was read as {items}")
    read = parse_items(", ".join(f"configmap/{item}" for item in items))
    assert not read.errors
    for name in some:
        if name not in UNMEANT:
            assert any(one.matches_name(name) for one in read.selectors) == matches(name), name
