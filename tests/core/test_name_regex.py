"""Regular expressions over names: against Python's `re` where both speak the same language."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reroll.core.name_regex import MAX_SIZE, RegexError, compile_regex


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("app", ["app"], ["apps", "my-app", ""]),
        ("a|b", ["a", "b"], ["a-anything", "some-b", "ab"]),
        ("app-.*", ["app-", "app-x.y"], ["app"]),
        (".*-config", ["app-config", "-config"], ["config", "app-config-2"]),
        ("app.conf", ["app.conf", "app-conf"], ["appconf"]),
        (r"app\.conf", ["app.conf"], ["app-conf"]),
        ("^app$", ["app"], ["apps"]),
        ("(^a|b)c$", ["ac", "bc"], ["abc"]),
        ("a^b", [], ["ab"]),
        ("(^a|b)*", ["", "a", "bb", "abb"], ["ba", "aa"]),
        ("[a-c]{2}", ["ab", "cc"], ["a", "abc", "ad"]),
        ("a{2}", ["aa"], ["a", "aaa"]),
        ("x{0}y", ["y"], ["xy"]),
        ("a{1,}b", ["ab", "aab"], ["b"]),
        ("a{0,2}", ["", "a", "aa"], ["aaa"]),
        ("(?i)APP-[A-C]", ["app-b"], ["app-d"]),
        ("(?i:A)B", [], ["ab", "aB"]),
        ("x(?i)Y|(?-i)z", ["xy", "z"], ["x"]),
        ("(?P<env>dev|prod)-db", ["dev-db", "prod-db"], ["test-db"]),
        ("(?<env>dev|prod)", ["dev"], ["de"]),
        ("(?:ab)+?", ["ab", "abab"], ["aba", ""]),
        (r"[[:alpha:]]+\d", ["app1"], ["app", "1"]),
        ("[[:^digit:]-]+", ["a-b"], ["a1"]),
        (r"[^\d]+", ["abc"], ["ab1"]),
        (r"[\w.-]+", ["a-1.b"], [""]),
        (r"\S+\D", ["1a"], ["11"]),
        ("[]a]", ["a"], ["b"]),
        ("[a-]", ["a", "-"], ["b"]),
        ("", [""], ["a"]),
        ("a||b", ["a", "", "b"], ["ab"]),
        (r"\Aapp\z", ["app"], ["apps"]),
        ("App", [], ["app"]),
    ],
)
def test_matches_whole_names(pattern: str, yes: list[str], no: list[str]) -> None:
    matches = compile_regex(pattern)
    for _ in range(2):  # the second time from what is remembered
        assert [name for name in yes + no if matches(name)] == yes


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("bad[", "a missing ']'"),
        ("[z-a]", "a bad range"),
        ("[[:nope:]]", "an unknown class"),
        ("(a", r"a missing '\)' at character 3"),
        ("a)", r"an unmatched '\)' at character 2"),
        ("*a", "nothing to repeat"),
        ("a**", "a repetition of a repetition"),
        ("a{1", "a comma always begins the next item"),
        ("3}", "a comma begins the next item"),
        ("a{2,1}", "out of range"),
        ("a{1001}", "out of range"),
        ("(?=a)", "do not have"),
        ("(?<!a)b", "do not have"),
        ("(?P=x)", "do not have"),
        ("(?P<1>a)", "bad name"),
        (r"(a)\1", "not known here"),
        (r"\bapp", "not known here"),
        ("a\\", "not known here"),
        ("(" * 60 + ")" * 60, "too deeply"),
        ("a" * 513, "longer than"),
        ("(a{30}){30}", "too large"),
        ("(((){1000}){1000}){1000}", "too large"),
    ],
)
def test_refuses_with_the_place(pattern: str, message: str) -> None:
    with pytest.raises(RegexError, match=message):
        compile_regex(pattern)


@pytest.mark.parametrize("pattern", ["(a+)+b", "(a|a)*b", "(.*a){20}b", "([a-z]+)*x", ".*a.{100}"])
def test_nothing_explodes(pattern: str) -> None:
    """Each of these takes Python's `re` longer than anybody waits."""
    assert not compile_regex(pattern)("a" * 99 + "c" * 154)


def test_the_largest_expression_still_works() -> None:
    count = MAX_SIZE // 2  # one state for the characters, one for the repetition
    matches = compile_regex(f".{{{count}}}")
    assert matches("a" * count)
    assert not matches("a" * (count - 1))
    with pytest.raises(RegexError, match="too large"):
        compile_regex(f".{{{count + 1}}}")


ATOMS = st.sampled_from(["a", "b", ".", "-", "[ab]", "[^a]", "[a-c-]", r"\.", r"\d", "^", "$"])
PATTERNS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: f"(?:{'|'.join(parts)})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,2}", "{0,}", "*?"])).map(
            lambda pair: f"(?:{pair[0]}){pair[1]}"
        ),
    ),
    max_leaves=6,
)


@settings(deadline=None)
@given(PATTERNS, st.lists(st.text(alphabet="ab-.1", max_size=6), max_size=8))
def test_agrees_with_re(pattern: str, names: list[str]) -> None:
    matches = compile_regex(pattern)
    for name in names:
        assert matches(name) == (re.fullmatch(pattern, name) is not None)
