"""What is proposed means the same: compared by the policies that the store makes, over generated annotations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from reroll.core.consumption import consumption
from reroll.core.policy import AUTO, FOLLOW, IGNORE, MODE, SEARCH, Policy, PolicyDefaults
from reroll.core.records import ConfigId, ConfigKind, Reference, WorkloadId, WorkloadRecord
from reroll.dialects import ALL, Dialects
from reroll.dialects.reloader import DEFAULT_KEYS as KEYS
from reroll.insight.migrate.native import Old, Proposal, propose, propose_config

NATIVE = Dialects(reloader=None, wave=False)
HOME = "shop"
NAMES = ("app", "app-1", "db", "a.b", "routes-x", "kube-root-ca.crt")
KINDS: tuple[ConfigKind, ...] = ("configmap", "secret", "secretproviderclass")

truths = st.sampled_from(["true", "false", "1", "T", "", "yes"])
items = st.sampled_from(
    [
        "app",
        "app-.*",
        "(app|db)",
        "a.b",
        r"a\.b",
        ".*",
        "app-[0-9]+",
        "a|db",
        "(",
        "Nope",
        "later",
        r"kube-root-ca\.crt",
    ]
)
lists = st.lists(items, max_size=3).map(",".join)
excludes = st.lists(st.sampled_from(["app", "db", "app-.*", "a.b"]), max_size=2).map(",".join)
wave_lists = st.lists(st.sampled_from(["app", "db", "other/app", "a.b/app", "X"]), max_size=2).map(",".join)
reloader_values: dict[str, st.SearchStrategy[str]] = {
    KEYS.auto: truths,
    **dict.fromkeys(KEYS.typed_auto.values(), truths),
    **dict.fromkeys(KEYS.reload.values(), lists),
    **dict.fromkeys(KEYS.exclude.values(), excludes),
    KEYS.search: st.sampled_from(["true", "false", "True"]),
    KEYS.rollout_strategy: st.sampled_from(["restart", "rollout", "both"]),
    KEYS.pause_period: st.sampled_from(["5m", "soon"]),
}
wave_values: dict[str, st.SearchStrategy[str]] = {
    "wave.pusher.com/update-on-config-change": st.sampled_from(["true", "false", "True"]),
    "wave.pusher.com/extra-configmaps": wave_lists,
    "wave.pusher.com/extra-secrets": wave_lists,
}
native_values: dict[str, st.SearchStrategy[str]] = {
    AUTO: st.sampled_from(["true", "false", "configmaps", "sometimes"]),
    FOLLOW: st.sampled_from(["app", "secret/db#key", "true", "*"]),
    IGNORE: st.sampled_from(["app", "configmap/app", "secret/db#key", "true", "false", "", "a b/c/d/e"]),
    SEARCH: st.sampled_from(["true", "false", "perhaps"]),
    MODE: st.sampled_from(["rollout", "restart", "jump"]),
}


def some(values: dict[str, st.SearchStrategy[str]], most: int) -> st.SearchStrategy[dict[str, str]]:
    return st.lists(st.sampled_from(sorted(values)), max_size=most, unique=True).flatmap(
        lambda keys: st.fixed_dictionaries({key: values[key] for key in keys})
    )


owns = st.tuples(some(reloader_values, 4), some(wave_values, 2), some(native_values, 2)).map(
    lambda parts: {**parts[0], **parts[1], **parts[2]}
)
references = st.lists(
    st.tuples(st.sampled_from(KINDS), st.sampled_from(NAMES[:5]), st.sampled_from([None, ("key",)])),
    max_size=4,
).map(
    lambda found: tuple(
        Reference(kind=kind, name=name, means="env", where="here", keys=keys) for kind, name, keys in found
    )
)


def record(
    kind: str, own: Mapping[str, str], carried: Mapping[str, str], refs: tuple[Reference, ...]
) -> WorkloadRecord:
    return WorkloadRecord(
        id=WorkloadId(kind, HOME, "web"),
        uid="",
        resource_version="",
        generation=0,
        annotations=ALL.relevant(own),
        template_annotations=ALL.relevant(carried),
        references=refs,
        template_hash="",
        mark=None,
        applied=None,
    )


def after(
    own: Mapping[str, str], carried: Mapping[str, str], proposal: Proposal
) -> tuple[dict[str, str], dict[str, str]]:
    """The annotations once it is written, and the old ones are taken away."""
    gone = set(proposal.carried)
    return (
        {k: v for k, v in own.items() if Old("object", k) not in gone} | proposal.annotations,
        {k: v for k, v in carried.items() if Old("template", k) not in gone},
    )


def meant(held: WorkloadRecord, policy: Policy, existing: Mapping[ConfigKind, tuple[str, ...]]) -> Any:
    """What a policy comes to, for what is there. (A choice of names becomes names, which are followed before they
    are there.)"""
    there = {ConfigId(kind, HOME, name) for kind, names in existing.items() for name in names}
    there |= {ConfigId(each.kind, HOME, each.name) for each in held.references}
    there |= {ConfigId("configmap", "other", "app"), ConfigId("secret", "other", "app")}
    followed = {
        (one.config, one.keys, one.except_keys, one.needs_match)
        for one in consumption(held, policy, lambda kind, space: existing[kind] if space == HOME else ())
        if one.config in there
    }
    return followed, policy.mode, policy.refused, policy.pause


@settings(max_examples=700, deadline=None)
@given(
    st.sampled_from(["Deployment", "StatefulSet", "CronJob", "Rollout"]),
    owns,
    some(reloader_values, 3),
    some(native_values, 2),
    st.booleans(),
    references,
    st.fixed_dictionaries({kind: st.lists(st.sampled_from(NAMES), unique=True).map(tuple) for kind in KINDS}),
)
@example(
    "Deployment",
    {KEYS.reload["configmap"]: "app"},
    {KEYS.auto: "true", KEYS.reload["secret"]: "db"},
    {},
    False,
    (Reference(kind="secret", name="db", means="env", where="here"),),
    dict.fromkeys(KINDS, NAMES),
)
@example(
    "Deployment",
    {KEYS.typed_auto["secret"]: "false"},
    {KEYS.search: "true"},
    {},
    False,
    (Reference(kind="secret", name="db", means="env", where="here"),),
    dict.fromkeys(KINDS, NAMES),
)
def test_what_is_proposed_follows_what_the_old_annotations_follow(
    kind: str,
    own: dict[str, str],
    carried: dict[str, str],
    namespace: dict[str, str],
    auto_all: bool,
    refs: tuple[Reference, ...],
    existing: dict[ConfigKind, tuple[str, ...]],
) -> None:
    defaults = PolicyDefaults(auto_all=auto_all, allow_cross_namespace=True)
    before = record(kind, own, carried, refs)
    wanted = meant(before, ALL.resolve_policy(before, namespace, defaults), existing)

    proposal = propose(kind, own, carried, namespace=namespace, auto_all=auto_all)
    event("something is kept" if proposal.kept else "all is carried over")

    # Beside the old annotations, nothing changes ...
    beside = record(kind, own | proposal.annotations, carried, refs)
    assert meant(beside, ALL.resolve_policy(beside, namespace, defaults), existing) == wanted
    # ... nor without those that are carried over ...
    without = record(kind, *after(own, carried, proposal), refs)
    assert meant(without, ALL.resolve_policy(without, namespace, defaults), existing) == wanted
    # ... nor, where none had to be kept, with a controller that knows no annotations of others.
    if not proposal.kept:
        assert meant(without, NATIVE.resolve_policy(without, namespace, defaults), existing) == wanted

    again = propose(kind, *after(own, carried, proposal), namespace=namespace, auto_all=auto_all)
    assert not again.annotations
    assert not again.carried
    twice = propose(kind, own | proposal.annotations, carried, namespace=namespace, auto_all=auto_all)
    assert not twice.annotations
    assert set(twice.carried) == set(proposal.carried)


@given(
    st.dictionaries(
        st.sampled_from(
            [KEYS.match, KEYS.ignore, "reroll.dev/match", "reroll.dev/ignore", "reroll.dev/share-with"]
        ),
        st.sampled_from(["true", "false", "TRUE", "", "x"]),
    )
)
def test_config_objects_say_the_same(annotations: dict[str, str]) -> None:
    proposal = propose_config(annotations)
    left, _ = after(annotations, {}, proposal)
    assert NATIVE.config_flags(left) == ALL.config_flags(annotations)
    assert ALL.config_flags(left) == ALL.config_flags(annotations)
    assert not propose_config(left).annotations


@pytest.mark.parametrize(
    ("own", "written"),
    [
        ({KEYS.auto: "true"}, {AUTO: "true"}),
        ({KEYS.typed_auto["secret"]: "true"}, {AUTO: "secrets"}),
        ({KEYS.auto: "false"}, {AUTO: "false"}),
        ({KEYS.reload["configmap"]: "app,db-.*"}, {FOLLOW: "configmap/app, configmap/db-*"}),
        ({KEYS.search: "true"}, {SEARCH: "true"}),
        ({KEYS.exclude["secret"]: "db"}, {IGNORE: "secret/db"}),
        ({KEYS.exclude["secret"]: "db", IGNORE: "app#key"}, {IGNORE: "app#key, secret/db"}),
        ({KEYS.exclude["secret"]: "db", IGNORE: "secret/db app"}, {}),
        ({"wave.pusher.com/update-on-config-change": "true"}, {AUTO: "configmaps,secrets"}),
        ({KEYS.auto: "true", AUTO: "false"}, {}),
    ],
)
def test_examples(own: dict[str, str], written: dict[str, str]) -> None:
    proposal = propose("Deployment", own, {})
    assert proposal.annotations == written
    assert not proposal.kept
    assert [old.key for old in proposal.carried] == [key for key in own if not key.startswith("reroll.dev/")]


@pytest.mark.parametrize(
    ("own", "carried", "key", "why"),
    [
        (
            {KEYS.reload["configmap"]: "[a-z]+"},
            {},
            KEYS.reload["configmap"],
            "can't be said with names and globs",
        ),
        ({KEYS.reload["configmap"]: "("}, {}, KEYS.reload["configmap"], "correct it first"),
        ({KEYS.auto: "yes"}, {}, KEYS.auto, "correct it first"),
        ({KEYS.typed_auto["secret"]: "false"}, {KEYS.search: "true"}, KEYS.search, "is about configmaps"),
        ({KEYS.pause_period: "5m"}, {}, KEYS.pause_period, "reroll.dev/settle"),
        ({KEYS.exclude["secret"]: "*"}, {}, KEYS.exclude["secret"], "correct it first"),
        (
            {KEYS.exclude["secret"]: "a", IGNORE: "true"},
            {},
            KEYS.exclude["secret"],
            "reroll.dev/ignore can't be read",
        ),
    ],
)
def test_what_has_no_equal_is_kept_and_told(
    own: dict[str, str], carried: dict[str, str], key: str, why: str
) -> None:
    proposal = propose("Deployment", own, carried)
    assert why in proposal.kept[key]
    assert not proposal.annotations
    assert not proposal.carried


def test_a_renamed_annotation_is_read_by_its_name() -> None:
    from reroll.dialects.reloader import Keys

    keys = Keys(auto="acme.example/reload")
    assert propose("Deployment", {"acme.example/reload": "true"}, {}, keys=keys).annotations == {AUTO: "true"}
    assert propose("Deployment", {KEYS.auto: "true"}, {}, keys=keys) == Proposal()


def test_the_snippet_is_yaml() -> None:
    import yaml

    proposal = propose("Deployment", {KEYS.reload["configmap"]: "app", KEYS.auto: "true"}, {})
    assert yaml.safe_load(proposal.snippet) == {"metadata": {"annotations": proposal.annotations}}
    assert replace(proposal, annotations={}).snippet == ""
