"""The grammar of `follow` and `ignore`."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reroll.core.records import ConfigId
from reroll.core.selector import MAX_ITEMS, Selector, parse_items, shared_with


def one(text: str) -> Selector:
    items = parse_items(text)
    assert items.errors == ()
    assert len(items.selectors) == 1
    return items.selectors[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("app", Selector(None, None, "app")),
        ("www.example.com", Selector(None, None, "www.example.com")),
        ("app-*", Selector(None, None, "app-*", "glob")),
        ("app-[!0-9]?", Selector(None, None, "app-[!0-9]?", "glob")),
        ("configmap/app", Selector("configmap", None, "app")),
        ("configmaps/app", Selector("configmap", None, "app")),
        ("cm/app", Selector("configmap", None, "app")),
        ("ConfigMap/app", Selector("configmap", None, "app")),
        ("secret/app", Selector("secret", None, "app")),
        ("secrets/*", Selector("secret", None, "*", "glob")),
        ("shared/ca", Selector(None, "shared", "ca")),
        ("secret/shared/ca", Selector("secret", "shared", "ca")),
        ("cm/secret/ca", Selector("configmap", "secret", "ca")),
        ("app#host", Selector(None, None, "app", keys=("host",))),
        ("app#port,host", Selector(None, None, "app", keys=("host", "port"))),
        ("secret/shared/ca#ca.crt,TLS_key", Selector("secret", "shared", "ca", keys=("TLS_key", "ca.crt"))),
        ("app-*#a,a,,b", Selector(None, None, "app-*", "glob", keys=("a", "b"))),
    ],
)
def test_one_item(text: str, expected: Selector) -> None:
    assert one(text) == expected


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("", []),
        (" ,, ;\n", []),
        ("a,b c\nd;e", ["a", "b", "c", "d", "e"]),
        ("a, a , b", ["a", "b"]),
        ("app#host,port db", ["app#host,port", "db"]),
        ("app#host,port;db", ["app#host,port", "db"]),
        ("app#host,port\ndb,x", ["app#host,port", "db", "x"]),
        ("app#host,port,db", ["app#db,host,port"]),
        ("app#host,secret/tls", ["app#host", "secret/tls"]),
        ("app#host,secret/tls#a,b", ["app#host", "secret/tls#a,b"]),
        ("app#host,db-*,x", ["app#host", "db-*", "x"]),
        ("app#host,db#a", ["app#host", "db#a"]),
        ("app#host, port", ["app#host", "port"]),
        ("db,app#host", ["db", "app#host"]),
    ],
)
def test_where_items_begin(text: str, items: list[str]) -> None:
    parsed = parse_items(text)
    assert parsed.errors == ()
    assert [str(selector) for selector in parsed.selectors] == items


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("App", "lower-case"),
        ("app_1", "lower-case"),
        ("-app", "not the name"),
        ("a" * 254, "not the name"),
        ("app-[", "not a pattern"),
        ("App-*", "not a pattern"),
        ("app/", "no name is given"),
        ("#key", "no name is given"),
        ("app#", "no key stands directly after '#'"),
        ("app#,key", "no key stands directly after '#'"),
        ("app#ke*", "no patterns"),
        ("app#a/b", "no patterns"),
        ("app#a#b", "no patterns"),
        ("app#a,k!", "'k!' is not a key"),
        ("deploy/shop/app", "'deploy' is not a kind"),
        ("cm/shop/x/app", "too many parts"),
        ("shop*/app", "not the name of a namespace"),
        ("/app", "not the name of a namespace"),
        ("cm//app", "not the name of a namespace"),
        ("a.b/app", "not the name of a namespace"),
    ],
)
def test_a_bad_item_is_told_and_the_others_hold(item: str, message: str) -> None:
    parsed = parse_items(f"before {item} cm/after")
    assert [str(selector) for selector in parsed.selectors] == [
        "before",
        "cm/after".replace("cm", "configmap"),
    ]
    assert len(parsed.errors) == 1
    assert message in parsed.errors[0].message


def test_too_many_items() -> None:
    parsed = parse_items(" ".join(f"app-{i}" for i in range(MAX_ITEMS + 5)))
    assert len(parsed.selectors) == MAX_ITEMS
    assert [error.item for error in parsed.errors] == [f"app-{MAX_ITEMS}"]


@pytest.mark.parametrize(
    ("text", "config", "expected"),
    [
        ("app", ConfigId("configmap", "shop", "app"), True),
        ("app", ConfigId("secret", "shop", "app"), True),
        ("app", ConfigId("secret", "other", "app"), False),
        ("app", ConfigId("secret", "shop", "app-2"), False),
        ("cm/app", ConfigId("secret", "shop", "app"), False),
        ("other/app", ConfigId("secret", "other", "app"), True),
        ("other/app", ConfigId("secret", "shop", "app"), False),
        ("app-*", ConfigId("secret", "shop", "app-2.x"), True),
        ("app-?", ConfigId("secret", "shop", "app-22"), False),
        ("app-[!0-9]", ConfigId("secret", "shop", "app-2"), False),
        ("*", ConfigId("secret", "shop", "anything"), True),
    ],
)
def test_matches(text: str, config: ConfigId, expected: bool) -> None:
    assert one(text).matches(config, "shop") is expected


def test_a_regular_expression_matches_whole_names() -> None:
    selector = Selector("configmap", None, "a|b", "regex")
    assert selector.matches(ConfigId("configmap", "shop", "b"), "shop")
    assert not selector.matches(ConfigId("configmap", "shop", "a-anything"), "shop")
    assert str(selector) == "configmap/regex(a|b)"


@pytest.mark.parametrize(
    ("value", "namespace", "expected"),
    [
        ("", "shop", False),
        ("shop", "shop", True),
        ("other, shop", "shop", True),
        ("shop-*", "shop-eu", True),
        ("shop-*", "shop", False),
        ("*", "shop", True),
        ("shop", "shop-eu", False),
        ("[", "shop", False),
    ],
)
def test_shared_with(value: str, namespace: str, expected: bool) -> None:
    assert shared_with(value, namespace) is expected


names = st.from_regex(r"[a-z]([-a-z0-9.]{0,8}[a-z0-9])?", fullmatch=True)
selectors = st.builds(
    Selector,
    kind=st.sampled_from(["configmap", "secret"]),
    namespace=st.none() | st.from_regex(r"[a-z]([-a-z0-9]{0,5}[a-z0-9])?", fullmatch=True),
    pattern=names,
    keys=st.none()
    | st.lists(st.from_regex(r"[-._a-zA-Z0-9]{1,6}", fullmatch=True), min_size=1, unique=True).map(
        lambda keys: tuple(sorted(keys))
    ),
)


@settings(deadline=None, max_examples=50)
@given(st.lists(selectors, unique=True, max_size=5))
def test_what_is_written_reads_back(items: list[Selector]) -> None:
    assert parse_items(" ".join(map(str, items))).selectors == tuple(items)
    assert parse_items("\n".join(map(str, items))).selectors == tuple(items)


@settings(deadline=None)
@given(st.text(alphabet="aB/#,*[]; \n-.", max_size=30))
def test_never_raises(text: str) -> None:
    parsed = parse_items(text)
    for selector in parsed.selectors:
        selector.matches(ConfigId("secret", "shop", "a"), "shop")
