"""reroll's own annotations, and the layers on top of each other."""

from __future__ import annotations

import pytest

from reroll.core.policy import ConfigFlags, Layer, Policy, PolicyDefaults, config_flags, native_layer, resolve

PLAIN = PolicyDefaults()
AUTO_ALL = PolicyDefaults(auto_all=True)


def policy(
    workload: dict[str, str], namespace: dict[str, str] | None = None, defaults: PolicyDefaults = PLAIN
) -> Policy:
    def layer(settings: dict[str, str], origin: str) -> Layer:
        return native_layer({f"reroll.dev/{name}": value for name, value in settings.items()}, origin)

    layers = [layer(workload, "the workload"), layer(namespace or {}, "namespace shop")]
    return resolve(layers, defaults, home="shop")


def only_message(found: Policy) -> str:
    assert len(found.problems) == 1
    return found.problems[0].message


def items(found: Policy) -> list[str]:
    return [str(item) for item in found.follow]


@pytest.mark.parametrize(
    ("value", "configmaps", "secrets"),
    [
        ("true", True, True),
        (" True ", True, True),
        ("false", False, False),
        ("configmaps", True, False),
        ("secrets", False, True),
        ("configmaps,secrets", True, True),
        ("configmap, secret", True, True),
    ],
)
def test_auto(value: str, configmaps: bool, secrets: bool) -> None:
    found = policy({"auto": value})
    assert (found.configmaps, found.secrets, found.problems) == (configmaps, secrets, ())
    assert found.enabled is (configmaps or secrets)


@pytest.mark.parametrize("value", ["ture", "", "true,configmaps", "yes"])
def test_a_bad_auto_follows_nothing_for_its_sake(value: str) -> None:
    """Not even what the namespace or --auto-all asks for: it may have been meant to say no."""
    found = policy({"auto": value, "follow": "app"}, {"auto": "true"}, AUTO_ALL)
    if value == "true,configmaps":
        assert (found.configmaps, found.secrets) == (True, False)
    else:
        assert (found.configmaps, found.secrets) == (False, False)
    assert items(found) == ["app"]
    assert '"configmaps", "secrets" or "secretproviderclasses"' in only_message(found)
    assert found.refused == ""


def test_the_good_word_of_auto_holds() -> None:
    found = policy({"auto": "configmaps,secerts"})
    assert (found.configmaps, found.secrets) == (True, False)
    assert "configmaps is followed for its sake" in only_message(found)


def test_nothing_is_followed_unasked() -> None:
    found = policy({})
    assert found == Policy(origins=found.origins)
    assert not found.enabled
    assert set(found.origins.values()) == {"default"}


def test_auto_all_and_its_opt_out() -> None:
    found = policy({}, {}, AUTO_ALL)
    assert found.configmaps
    assert found.secrets
    assert found.origins["secrets"] == "controller setting --auto-all"
    assert not policy({"auto": "false"}, {}, AUTO_ALL).enabled
    assert not policy({}, {"auto": "false"}, AUTO_ALL).enabled
    assert policy({"auto": "true"}, {"auto": "false"}, AUTO_ALL).enabled


def test_for_each_setting_the_first_layer_wins() -> None:
    found = policy(
        {"follow": "app", "settle": "5s"},
        {"auto": "secrets", "follow": "other", "search": "true", "mode": "rollout", "settle": "0"},
    )
    assert (found.configmaps, found.secrets, found.search) == (False, True, True)
    assert items(found) == ["app"]
    assert (found.settle, found.mode) == (5.0, "rollout")
    assert found.origins == {
        "configmaps": "annotation reroll.dev/auto of namespace shop",
        "secrets": "annotation reroll.dev/auto of namespace shop",
        "secretproviderclasses": "annotation reroll.dev/auto of namespace shop",
        "on_create": "default",
        "on_delete": "default",
        "search": "annotation reroll.dev/search of namespace shop",
        "follow": "annotation reroll.dev/follow of the workload",
        "ignore": "default",
        "mode": "annotation reroll.dev/mode of namespace shop",
        "settle": "annotation reroll.dev/settle of the workload",
    }
    assert found.problems == ()


def test_ignore_is_the_union() -> None:
    found = policy({"ignore": "a b"}, {"ignore": "b c#x"})
    assert [str(item) for item in found.ignore] == ["a", "b", "c#x"]
    assert found.origins["ignore"] == (
        "annotation reroll.dev/ignore of the workload, annotation reroll.dev/ignore of namespace shop"
    )


def test_a_bad_item_of_follow_is_left_out() -> None:
    found = policy({"follow": "app App db"})
    assert items(found) == ["app", "db"]
    assert found.problems[0].annotation == "reroll.dev/follow"
    assert found.problems[0].value == "App"
    assert "the other items hold" in only_message(found)
    assert found.refused == ""


def test_follow_true_is_no_name() -> None:
    found = policy({"follow": "true"})
    assert not found.enabled
    assert 'write reroll.dev/auto: "true"' in only_message(found)


@pytest.mark.parametrize("layers", [({"ignore": "a B"}, {}), ({}, {"ignore": "a B"})])
def test_a_bad_item_of_ignore_refuses(layers: tuple[dict[str, str], dict[str, str]]) -> None:
    workload, namespace = layers
    found = policy({"auto": "true", **workload}, namespace)
    assert [str(item) for item in found.ignore] == ["a"]
    assert found.refused == only_message(found)
    assert "nothing is done until it is corrected" in found.refused


def test_ignore_true_on_a_workload_refuses_and_tells_how_to_opt_out() -> None:
    found = policy({"auto": "true", "ignore": "true"})
    assert 'write reroll.dev/auto: "false"' in found.refused
    assert len(found.problems) == 1


@pytest.mark.parametrize("value", ["false", ""])
def test_an_ignore_that_ignores_nothing_does_not_refuse(value: str) -> None:
    found = policy({"auto": "true", "ignore": value})
    assert found.refused == ""
    assert len(found.problems) == 1


def test_an_unknown_mode_refuses_only_while_it_would_hold() -> None:
    found = policy({"auto": "true", "mode": "signal"})
    assert "it takes rollout" in found.refused
    assert found.refused == only_message(found)
    assert policy({"auto": "true"}, {"mode": "signal"}).refused
    overruled = policy({"auto": "true", "mode": "rollout"}, {"mode": "signal"})
    assert overruled.refused == ""
    assert len(overruled.problems) == 1


@pytest.mark.parametrize(("value", "seconds"), [("0", 0.0), ("250ms", 0.25), ("1h", 3600.0)])
def test_settle(value: str, seconds: float) -> None:
    found = policy({"settle": value})
    assert found.settle == seconds
    assert found.settle_max == max(10.0, seconds)


@pytest.mark.parametrize("value", ["5", "-1s", "1h1s", "soon"])
def test_a_bad_settle_counts_as_not_set(value: str) -> None:
    found = policy({"settle": value}, {"settle": "3s"})
    assert found.settle == 3.0
    assert found.origins["settle"] == "annotation reroll.dev/settle of namespace shop"
    assert "it counts as not set" in only_message(found)


def test_a_bad_search_counts_as_not_set() -> None:
    found = policy({"search": "on"}, {"search": "true"})
    assert found.search
    assert 'it takes "true" or "false"' in only_message(found)
    assert not policy({"search": "false"}, {"search": "true"}).search


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("atuo", "did you mean reroll.dev/auto?"),
        ("follows", "did you mean reroll.dev/follow?"),
        ("Settle", "did you mean reroll.dev/settle?"),
        ("sharewith", "did you mean reroll.dev/share-with?"),
        ("zzz", "there are auto, follow, ignore, search, mode, settle, on-create and on-delete"),
        ("", "there are auto"),
    ],
)
def test_an_unknown_setting_is_told_the_nearest(name: str, hint: str) -> None:
    found = policy({name: "true", "auto": "true"})
    assert hint in only_message(found)
    assert found.configmaps


def test_marks_and_settings_of_config_objects_are_no_problem() -> None:
    assert policy({"applied": "{}", "config": "x", "match": "true", "share-with": "a"}).problems == ()
    assert native_layer({"other.dev/auto": "nonsense"}, "the workload") == Layer()


def test_a_problem_does_not_carry_a_whole_annotation() -> None:
    found = policy({"settle": "x" * 10_000})
    assert len(found.problems[0].value) == 80
    assert len(found.problems[0].message) < 300


def test_other_namespaces_only_where_allowed() -> None:
    found = policy({"follow": "shop/a other/b c", "ignore": "other/d"})
    assert items(found) == ["shop/a", "c"]
    assert "other/b is of another namespace" in only_message(found)
    assert not found.cross_namespace
    allowed = policy({"follow": "shop/a other/b c"}, defaults=PolicyDefaults(allow_cross_namespace=True))
    assert items(allowed) == ["shop/a", "other/b", "c"]
    assert allowed.problems == ()
    assert allowed.cross_namespace


@pytest.mark.parametrize(
    ("annotations", "flags"),
    [
        ({}, ConfigFlags()),
        ({"reroll.dev/ignore": "true"}, ConfigFlags(ignored=True)),
        ({"reroll.dev/ignore": "false"}, ConfigFlags()),
        ({"reroll.dev/match": "True"}, ConfigFlags(matchable=True)),
        ({"reroll.dev/share-with": " a,b "}, ConfigFlags(shared_with="a,b")),
    ],
)
def test_config_flags(annotations: dict[str, str], flags: ConfigFlags) -> None:
    assert config_flags(annotations) == flags


@pytest.mark.parametrize("setting", ["on-create", "on-delete"])
@pytest.mark.parametrize(("value", "said"), [("true", True), (" False ", False), ("perhaps", None)])
def test_creation_and_deletion_are_true_or_false(setting: str, value: str, said: bool | None) -> None:
    found = policy({"auto": "true", setting: value})
    expected = said if setting == "on-create" or said is not None else False
    assert getattr(found, setting.replace("-", "_")) == expected
    assert bool(found.problems) == (said is None)


def test_kinds_that_do_not_count_are_followed_by_nothing() -> None:
    found = policy(
        {"auto": "true", "follow": "secret/a configmap/b", "search": "true"},
        defaults=PolicyDefaults(kinds=("configmap",)),
    )
    assert (found.configmaps, found.secrets, found.secretproviderclasses) == (True, False, False)
    assert items(found) == ["configmap/b"]
    assert found.search_kinds == ("configmap",)
