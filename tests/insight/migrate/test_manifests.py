"""What is written: the annotations, and nothing else of the files; and the policy of the store stays what it was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from reroll.controller.rules import Rules
from reroll.controller.store import Store
from reroll.core.kinds import KINDS
from reroll.core.observe import decode_object
from reroll.core.policy import Policy
from reroll.dialects import ALL, Dialects
from reroll.dialects.reloader import DEFAULT_KEYS as KEYS
from reroll.insight.migrate.manifests import Manifests
from reroll.insight.migrate.report import plan
from reroll.manifests.stream import read_documents
from tests.insight.migrate.scenes import workload
from tests.insight.migrate.test_native import owns, reloader_values, some


def written(text: str, *, remove_old: bool = False) -> str:
    """The text after it; the same where nothing changes."""
    found = Manifests(read_documents(text, "shop.yaml"))
    changed, problems = found.written(plan(found.scene), remove_old=remove_old)
    assert not problems, problems[0]
    if not changed:
        return text
    ((origin, before, after),) = changed
    assert (origin, before) == ("shop.yaml", text)
    return after


SHOP = """\
# The shop.
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web   # three blanks
  annotations:
    # since 2021
    reloader.stakater.com/auto: "true"
    team: 'shop'
spec: {template: {spec: {containers: [{name: main, image: x}]}}}
---
# a List
apiVersion: v1
kind: List
items:
  - apiVersion: v1
    kind: ConfigMap
    metadata: {name: app, annotations: {reloader.stakater.com/match: "true"}}
    data:
      long: >-
        folded
        text
  - apiVersion: apps/v1
    kind: StatefulSet
    metadata:
      name: db
    spec:
      template:
        metadata:
          annotations:
            reloader.stakater.com/search: "true"
        spec: {containers: []}
"""


def test_beside_the_old_ones() -> None:
    after = written(SHOP)
    assert after == SHOP.replace(
        "    team: 'shop'\n", "    team: 'shop'\n    reroll.dev/auto: \"true\"\n"
    ).replace(
        '{reloader.stakater.com/match: "true"}',
        '{reloader.stakater.com/match: "true", reroll.dev/match: "true"}',
    ).replace("      name: db\n", '      name: db\n      annotations:\n        reroll.dev/search: "true"\n')
    assert written(after) == after


def test_in_the_place_of_the_old_ones() -> None:
    after = written(SHOP, remove_old=True)
    assert "reloader.stakater.com" not in after
    assert "three blanks" in after
    assert "        folded\n        text\n" in after
    assert after.count("reroll.dev/") == 3
    assert written(after, remove_old=True) == after
    # In two steps it is the same.
    in_two = written(written(SHOP), remove_old=True)
    assert list(yaml.safe_load_all(in_two)) == list(yaml.safe_load_all(after))


def test_windows_line_ends_and_a_byte_order_mark_stay() -> None:
    text = "\ufeff" + SHOP.replace("\n", "\r\n")
    after = written(text, remove_old=True)
    assert after.startswith("\ufeff# The shop.\r\n")
    assert after.count("\n") == after.count("\r\n")


def test_what_has_no_equal_stays_in_the_file() -> None:
    text = yaml.safe_dump(workload({KEYS.reload["configmap"]: "[a-z]+"}))
    assert written(text, remove_old=True) == text


def test_a_layout_that_cant_be_edited_surely_is_told_and_left() -> None:
    text = """\
x: &old {reloader.stakater.com/auto: "true"}
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, annotations: &a {reloader.stakater.com/auto: "true"}, labels: *a}
spec: {template: {metadata: {annotations: *old}, spec: {}}}
"""
    found = Manifests(read_documents(text, "shop.yaml"))
    changed, problems = found.written(plan(found.scene), remove_old=False)
    assert not changed
    assert "shop.yaml" in str(problems[0])


def stored(value: dict[str, Any], namespace: Mapping[str, str], dialects: Dialects) -> Policy:
    """What the store of a controller makes of an object that is applied."""
    import msgspec

    from reroll.core.digests import DigestKey

    asked: list[Any] = []
    store = Store(
        DigestKey(b"k" * 32),
        Rules(dialects=dialects),
        ask=lambda workload, config: asked.append(workload),
    )
    kind = KINDS[value["kind"]]
    body = msgspec.json.encode(
        {**value, "metadata": {**value["metadata"], "uid": "u", "resourceVersion": "1"}}
    )
    store.put_workload(decode_object(kind, body), kind.id, live=False)
    (entry,) = store.entries()
    return entry.policy


kinds = st.sampled_from(["Deployment", "StatefulSet", "CronJob", "Rollout"])


@settings(max_examples=200, deadline=None)
@given(kinds, owns, some(reloader_values, 3), st.sampled_from([False, True]))
def test_the_policy_of_the_store_stays(
    kind: str, own: dict[str, str], carried: dict[str, str], flow: bool
) -> None:
    value = workload(own, kind=kind, on_template=carried, config_maps=["app"], secrets=["db"])
    text = yaml.safe_dump(value, sort_keys=False, default_flow_style=flow)
    after = written(text, remove_old=True)
    assert written(after, remove_old=True) == after
    before, now = stored(value, {}, ALL), stored(yaml.safe_load(after), {}, ALL)
    assert meaning(now) == meaning(before)


def meaning(policy: Policy) -> Any:
    """Of its items, what they match; of the rest, all but where it comes from."""
    names = ("app", "app-1", "db", "a.b", "later", "routes")
    matched = {
        (kind, name, item.namespace, item.keys)
        for item in policy.follow
        for kind in item.kinds
        for name in names
        if item.matches_name(name)
    }
    settings = (policy.configmaps, policy.secrets, policy.secretproviderclasses, policy.search, policy.mode)
    return settings, matched, set(policy.ignore), policy.pause, policy.refused


@pytest.mark.parametrize("remove_old", [False, True])
def test_an_empty_mapping_is_not_left_behind(remove_old: bool) -> None:
    text = yaml.safe_dump(workload(on_template={KEYS.search: "true"}, config_maps=["app"]))
    after = yaml.safe_load(written(text, remove_old=remove_old))
    on_template = after["spec"]["template"]["metadata"]
    assert on_template == ({} if remove_old else {"annotations": {KEYS.search: "true"}})
    assert after["metadata"]["annotations"] == {"reroll.dev/search": "true"}
