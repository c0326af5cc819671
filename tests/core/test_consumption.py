"""References and policy, put together."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from reroll.core.consumption import consumption, patterns, with_recorded
from reroll.core.policy import Policy, PolicyDefaults, native_layer, resolve
from reroll.core.records import (
    Applied,
    AppliedKeys,
    ConfigId,
    ConfigKind,
    Consumed,
    Means,
    Reference,
    WorkloadRecord,
)
from tests.records import deployment


def workload(*references: Reference) -> WorkloadRecord:
    return deployment(references=references)


def ref(
    name: str,
    *keys: str,
    kind: ConfigKind = "configmap",
    means: Means = "env",
    rolls: bool = True,
    optional: bool = False,
) -> Reference:
    return Reference(
        kind=kind,
        name=name,
        means=means,
        where=f"container web: {means}",
        keys=tuple(sorted(keys)) or None,
        rolls=rolls,
        optional=optional,
    )


def policy(**settings: str) -> Policy:
    layer = native_layer({f"reroll.dev/{name}": value for name, value in settings.items()}, "the workload")
    found = resolve([layer], PolicyDefaults(allow_cross_namespace=True), home="shop")
    assert found.problems == ()
    return found


def none_exist(kind: ConfigKind, namespace: str) -> Iterable[str]:
    return ()


class Cluster:
    """The objects that exist."""

    def __init__(self, *configs: str) -> None:
        self.configs = [tuple(config.split("/")) for config in configs]

    def __call__(self, kind: ConfigKind, namespace: str) -> list[str]:
        return [name for k, ns, name in self.configs if (k, ns) == (kind, namespace)]


def shown(found: Iterable[Consumed]) -> list[str]:
    """Such as ``configmap/app: a,b`` and ``secret/tls: * but c, if it has match``."""
    return [
        f"{c.config.short('shop')}: {'*' if c.keys is None else ','.join(c.keys)}"
        + (f" but {','.join(c.except_keys)}" if c.except_keys else "")
        + (", if it has match" if c.needs_match else "")
        for c in found
    ]


MIXED = workload(
    ref("app", "b"),
    ref("tls", kind="secret", means="volume"),
    ref("app", "a"),
    ref("app", "b", means="projected"),
    ref("extra", means="envFrom"),
    ref("registry", kind="secret", means="imagePullSecret", rolls=False),
)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, []),
        ({"auto": "true"}, ["configmap/app: a,b", "configmap/extra: *", "secret/tls: *"]),
        ({"auto": "configmaps"}, ["configmap/app: a,b", "configmap/extra: *"]),
        ({"auto": "secrets"}, ["secret/tls: *"]),
        ({"auto": "false", "follow": "app"}, ["configmap/app: a,b"]),
        (
            {"search": "true"},
            [
                "configmap/app: a,b, if it has match",
                "configmap/extra: *, if it has match",
                "secret/tls: *, if it has match",
            ],
        ),
        (
            {"search": "true", "auto": "secrets", "ignore": "extra"},
            ["configmap/app: a,b, if it has match", "secret/tls: *"],
        ),
        ({"search": "true", "follow": "app", "ignore": "extra tls"}, ["configmap/app: a,b"]),
        ({"follow": "cm/app#a"}, ["configmap/app: a"]),
        ({"follow": "app#z", "auto": "configmaps", "ignore": "extra"}, ["configmap/app: a,b,z"]),
        ({"follow": "extra#z", "auto": "configmaps", "ignore": "app"}, ["configmap/extra: *"]),
        ({"follow": "secret/registry"}, ["secret/registry: *"]),
        ({"follow": "secret/other#k cm/else"}, ["configmap/else: *", "secret/other: k"]),
        ({"follow": "other/ca"}, ["configmap/other/ca: *", "secret/other/ca: *"]),
        ({"follow": "a*"}, ["configmap/app: a,b"]),
        ({"follow": "*"}, ["configmap/app: a,b", "configmap/extra: *", "secret/tls: *"]),
        ({"auto": "true", "ignore": "app"}, ["configmap/extra: *", "secret/tls: *"]),
        ({"auto": "true", "ignore": "secret/*"}, ["configmap/app: a,b", "configmap/extra: *"]),
        (
            {"auto": "true", "ignore": "app#a extra#x,y tls#k"},
            ["configmap/app: b", "configmap/extra: * but x,y", "secret/tls: * but k"],
        ),
        ({"auto": "configmaps", "ignore": "app#a app#b"}, ["configmap/extra: *"]),
        (
            {"auto": "true", "ignore": "other/app cm/tls", "follow": "x"},
            ["configmap/app: a,b", "configmap/extra: *", "configmap/x: *", "secret/tls: *", "secret/x: *"],
        ),
        ({"follow": "app", "ignore": "app"}, []),
    ],
)
def test_what_is_followed_while_nothing_exists(settings: dict[str, str], expected: list[str]) -> None:
    assert shown(consumption(MIXED, policy(**settings), none_exist)) == expected


@pytest.mark.parametrize(
    ("follow", "existing", "expected"),
    [
        ("app-*", ["configmap/shop/app-1", "secret/shop/app-2", "configmap/shop/x", "secret/other/app-3"],
         ["configmap/app-1: *", "secret/app-2: *"]),
        ("cm/app-*#k", ["configmap/shop/app-1", "secret/shop/app-2"], ["configmap/app-1: k"]),
        ("other/app-*", ["configmap/shop/app-1", "secret/other/app-3"], ["secret/other/app-3: *"]),
        ("*", ["configmap/shop/kube-root-ca.crt"], []),
        ("cm/kube-root-ca.crt", [], ["configmap/kube-root-ca.crt: *"]),
        ("x", ["secret/shop/x"], ["secret/x: *"]),
        ("x", ["secret/shop/x", "configmap/shop/x"], ["configmap/x: *", "secret/x: *"]),
        ("x", ["secret/other/x"], ["configmap/x: *", "secret/x: *"]),
    ],
)  # fmt: skip
def test_what_exists_counts_for_patterns_and_for_names_without_a_kind(
    follow: str, existing: list[str], expected: list[str]
) -> None:
    assert shown(consumption(workload(), policy(follow=follow), Cluster(*existing))) == expected


def test_a_name_without_a_kind_means_what_the_template_references() -> None:
    found = consumption(MIXED, policy(follow="app"), Cluster("secret/shop/app", "configmap/shop/app"))
    assert shown(found) == ["configmap/app: a,b"]


def test_references_are_kept_once_and_named_ones_say_why() -> None:
    found = consumption(MIXED, policy(auto="true", follow="app app#z"), none_exist)
    app = found[0]
    assert app.config == ConfigId("configmap", "shop", "app")
    assert [(r.means, r.keys) for r in app.references] == [
        ("env", ("b",)),
        ("env", ("a",)),
        ("projected", ("b",)),
        ("named", ("z",)),
    ]
    assert app.references[-1].where == "annotation reroll.dev/follow of the workload: app#z"


def test_what_only_an_annotation_names_is_not_needed_to_start() -> None:
    required, named = ref("app", "b"), policy(follow="app#a")
    assert not consumption(workload(required), named, none_exist)[0].optional
    assert all(c.optional for c in consumption(workload(), named, none_exist))


def test_references_that_a_restart_does_not_help_count_for_nothing() -> None:
    registry = ref("registry", kind="secret", means="imagePullSecret", rolls=False)
    assert consumption(workload(registry), policy(auto="true"), none_exist) == ()


def test_search_can_be_about_one_kind() -> None:
    found = consumption(MIXED, Policy(search=True, search_kinds=("secret",)), none_exist)
    assert shown(found) == ["secret/tls: *, if it has match"]


def test_other_namespaces_need_the_policy_s_leave() -> None:
    item = policy(follow="other/ca").follow
    assert consumption(workload(), Policy(follow=item, cross_namespace=False), none_exist) == ()


def test_the_store_is_only_asked_where_the_answer_depends_on_it() -> None:
    def ask(kind: ConfigKind, namespace: str) -> Iterable[str]:
        raise AssertionError("asked")

    assert shown(consumption(MIXED, policy(auto="true", follow="cm/x app", ignore="e*"), ask)) == [
        "configmap/app: a,b",
        "configmap/x: *",
        "secret/tls: *",
    ]


def test_patterns_are_what_depends_on_what_exists() -> None:
    found = patterns(policy(follow="cm/app app-* plain secret/s-? cm/other/x"))
    assert [str(item) for item in found] == ["app-*", "plain", "secret/s-?"]


def test_a_pattern_goes_on_matching_what_is_recorded() -> None:
    """So that the deletion of an object, and its return with other content, are seen."""
    recorded: dict[str, AppliedKeys] = {"configmap/app-a": {}, "configmap/base/app-b": {}, "secret/app-c": {}}
    record = deployment(applied=Applied(template="t", key_id="k", configs=recorded))

    def existing(kind: ConfigKind, namespace: str) -> Iterable[str]:
        return ["app-z"] if (kind, namespace) == ("configmap", "shop") else ()

    names = with_recorded(record, existing)
    assert list(names("configmap", "shop")) == ["app-z", "app-a"]
    assert list(names("configmap", "base")) == ["app-b"]
    assert list(names("secret", "shop")) == ["app-c"]
    assert with_recorded(deployment(), existing) is existing
    found = consumption(record, policy(follow="configmap/app-*"), names)
    assert [c.config.name for c in found] == ["app-a", "app-z"]


@pytest.mark.parametrize("name", ["a/b", "a/b/c", "", "x" * 254, "a\nb"])
def test_a_name_that_no_object_can_have_is_not_followed(name: str) -> None:
    """A volume may refer to any: recorded, it would be taken for another object, or for no record at all."""
    record = workload(ref("app"), Reference("configmap", name, "volume", where="volume"))
    found = consumption(record, policy(auto="true"), none_exist)
    assert [c.config.name for c in found] == ["app"]
