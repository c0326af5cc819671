"""The marks of other tools: read, told from what others wrote, and written."""

from __future__ import annotations

import copy
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from reroll.core.applied import CONFIG, encode
from reroll.core.compare import ConfigChange
from reroll.core.marks import NATIVE, MarkStyle
from reroll.core.records import Applied, Change, ConfigId, Reference, WorkloadRecord
from reroll.core.template import hash_and_mark
from reroll.dialects.marks import CONFIG_HASH, LAST_RELOADED_FROM, STYLES, style_of, variable
from tests.records import deployment

APP = ConfigId("configmap", "shop", "www.app-config")
TOKEN = ConfigId("secret", "shop", "token")

TEMPLATE: dict[str, Any] = {
    "metadata": {"labels": {"app": "web"}},
    "spec": {
        "containers": [
            {"name": "proxy", "image": "p:1"},
            {"name": "web", "image": "w:1", "env": [{"name": "A", "value": "1"}]},
        ]
    },
}


def record(mark: str | None = None, carrier: str = "proxy") -> WorkloadRecord:
    return deployment(mark=mark, carrier=carrier)


def applied(**digests: str) -> Applied:
    """`app` and `token`: the digest of the one key that counts of each."""
    return Applied(
        template="t",
        key_id="k",
        configs={
            {"app": "configmap/www.app-config", "token": "secret/token"}[name]: {"key": digest}
            for name, digest in digests.items()
        },
    )


def change(
    config: ConfigId = APP, container: str = "web", *, stamp: float = 7.0, version: int = 1
) -> ConfigChange:
    reference = Reference(
        config.kind, config.name, "env", "container web: env A", ("key",), container=container
    )
    return ConfigChange(
        config, ("key",), references=(reference,), change=Change(stamp=stamp, arrived=9.5, version=version)
    )


def put(style: MarkStyle, mark: str, template: dict[str, Any] = TEMPLATE) -> dict[str, Any]:
    after = copy.deepcopy(template)
    style.put(after, mark)
    return after


def marked_hash(style: MarkStyle, template: dict[str, Any]) -> tuple[str, str | None]:
    return hash_and_mark(msgspec.json.encode(template), style.take)


def found_style(template: dict[str, Any], recorded: str) -> MarkStyle:
    return style_of(msgspec.json.encode(template), encode(Applied(recorded, "", {})))


@pytest.fixture(params=sorted(STYLES))
def style(request: pytest.FixtureRequest) -> MarkStyle:
    return STYLES[request.param]


class TestEveryStyle:
    def test_what_is_put_is_taken_again_and_is_no_part_of_the_hash(self, style: MarkStyle) -> None:
        bare = marked_hash(style, TEMPLATE)
        mark = style.next(record(), applied(app="1", token="2"), [change(), change(TOKEN)])
        assert bare[1] is None
        assert marked_hash(style, put(style, mark)) == (bare[0], mark)

    def test_it_is_a_function_of_the_digests(self, style: MarkStyle) -> None:
        now = applied(app="1", token="2")
        one = style.next(record(), now, [change(), change(TOKEN)])
        assert style.next(record(), now, [change(TOKEN), change()]) == one
        assert style.next(record(), applied(app="3", token="4"), [change(), change(TOKEN)]) != one

    def test_it_is_never_what_the_template_carries(self, style: MarkStyle) -> None:
        now, changes = applied(app="1"), [change()]
        first = style.next(record(), now, changes)
        second = style.next(record(first), now, changes)
        assert second != first
        assert style.next(record(second), now, changes) != second

    def test_it_is_none_of_a_revision_that_may_have_pods(self, style: MarkStyle) -> None:
        now, changes = applied(app="1", token="2"), [change(), change(TOKEN)]
        taken: list[str] = []
        for _ in range(5):
            present = record(style.next(record(), applied(app="3"), [change(stamp=8.0)]))
            known = replace(present, revisions=(*(("t", each) for each in taken), present.revision))
            mark = style.next(known, now, changes)
            assert mark == style.next(known, now, changes)
            assert mark not in [*taken, present.mark]
            taken.append(mark)

    def test_where_revisions_are_not_known_it_is_of_the_time_of_the_change(self, style: MarkStyle) -> None:
        now, changes = applied(app="1"), [change()]
        marks = [
            style.next(record(), now, changes, since=since) for since in (0, 1_790_000_000, 1_790_000_001)
        ]
        assert len(set(marks)) == 3
        assert style.next(record(marks[1]), now, changes, since=1_790_000_000) not in marks
        assert marks[1] == style.next(record(), now, changes, since=1_790_000_000)

    def test_putting_it_touches_nothing_that_was_handed_in(self, style: MarkStyle) -> None:
        template = copy.deepcopy(TEMPLATE)
        shallow = dict(template)
        style.put(shallow, style.next(record(), applied(app="1"), [change()]))
        assert template == TEMPLATE

    def test_reroll_s_own_annotations_are_no_part_of_the_hash_of_any_style(self, style: MarkStyle) -> None:
        own = copy.deepcopy(TEMPLATE)
        own["metadata"]["annotations"] = {CONFIG: "x"}
        assert marked_hash(style, own)[0] == marked_hash(style, TEMPLATE)[0]

    def test_who_knows_no_style_hashes_as_each_does(self, style: MarkStyle) -> None:
        marked = put(style, style.next(record(), applied(app="1", token="2"), [change(), change(TOKEN)]))
        found = found_style(marked, marked_hash(style, marked)[0])
        assert (
            marked_hash(found, marked)[0] == marked_hash(style, marked)[0] == marked_hash(found, TEMPLATE)[0]
        )

    def test_marks_that_are_part_of_what_is_recorded_are_left_in(self, style: MarkStyle) -> None:
        """As after a migration: the controller has marks of its own, and another tool's stay."""
        marked = put(style, style.next(record(), applied(app="1", token="2"), [change(), change(TOKEN)]))
        assert found_style(marked, marked_hash(NATIVE, marked)[0]) is NATIVE

    def test_without_a_record_it_is_reroll_s_own(self, style: MarkStyle) -> None:
        marked = msgspec.json.encode(put(style, style.next(record(), applied(app="1"), [change()])))
        assert style_of(marked, None) is style_of(marked, "{") is NATIVE
        assert style_of(marked, None, style) is style_of(marked, "{", style) is style

    def test_where_nothing_is_marked_yet_the_one_that_is_asked_for_is_preferred(
        self, style: MarkStyle
    ) -> None:
        template, recorded = msgspec.json.encode(TEMPLATE), marked_hash(NATIVE, TEMPLATE)[0]
        assert style_of(template, encode(Applied(recorded, "", {})), style) is style
        assert style_of(template, encode(Applied("another", "", {})), style) is style


class TestEnvVars:
    style = STYLES["env-vars"]

    @pytest.mark.parametrize(
        ("config", "name"),
        [
            (APP, "STAKATER_WWW_APP_CONFIG_CONFIGMAP"),
            (TOKEN, "STAKATER_TOKEN_SECRET"),
            (ConfigId("configmap", "x", "a--b..c"), "STAKATER_A_B_C_CONFIGMAP"),
        ],
    )
    def test_the_variable_is_named_as_reloader_names_it(self, config: ConfigId, name: str) -> None:
        assert variable(config) == name

    def test_the_variable_stands_in_the_container_that_consumes_the_object(self) -> None:
        mark = self.style.next(record(), applied(app="1", token="2"), [change(), change(TOKEN, container="")])
        containers = self.style.patch(mark, None)["spec"]["containers"]
        assert {(c["name"], e["name"]) for c in containers for e in c["env"]} == {
            ("web", "STAKATER_WWW_APP_CONFIG_CONFIGMAP"),
            ("proxy", "STAKATER_TOKEN_SECRET"),  # in none of its own: the first one
        }
        assert all(len(e["value"]) == 40 for c in containers for e in c["env"])

    def test_only_what_changed_is_written(self) -> None:
        first = self.style.next(record(), applied(app="1", token="2"), [change(), change(TOKEN)])
        second = self.style.next(record(first), applied(app="3", token="2"), [change()])
        (container,) = self.style.patch(second, first)["spec"]["containers"]
        assert [entry["name"] for entry in container["env"]] == ["STAKATER_WWW_APP_CONFIG_CONFIGMAP"]

    def test_what_somebody_else_wrote_is_part_of_the_hash(self) -> None:
        other = copy.deepcopy(TEMPLATE)
        other["spec"]["containers"][1]["env"] += [
            {"name": "STAKATER_APP_CONFIGMAP", "valueFrom": {"configMapKeyRef": {"name": "a", "key": "b"}}},
            {"name": "STAKATER_HOME", "value": "1"},
        ]
        assert marked_hash(self.style, other)[0] != marked_hash(self.style, TEMPLATE)[0]
        assert marked_hash(self.style, other)[1] is None

    def test_a_whole_template_keeps_its_other_variables_and_their_order(self) -> None:
        mark = self.style.next(record(), applied(app="1"), [change()])
        twice = put(self.style, mark, put(self.style, mark))
        assert [entry["name"] for entry in twice["spec"]["containers"][1]["env"]] == [
            "A",
            "STAKATER_WWW_APP_CONFIG_CONFIGMAP",
        ]

    def test_a_template_without_containers_gets_an_annotation(self) -> None:
        mark = self.style.next(record(carrier=""), applied(app="1"), [change(container="")])
        assert self.style.patch(mark, None) == {"metadata": {"annotations": {CONFIG: mark}}}
        assert marked_hash(self.style, put(self.style, mark))[1] == mark

    @given(
        st.recursive(
            st.none() | st.text() | st.integers(),
            lambda inner: (
                st.lists(inner)
                | st.dictionaries(
                    st.sampled_from(["spec", "containers", "env", "name", "metadata", "annotations"]), inner
                )
            ),
        )
    )
    def test_no_template_can_stop_it(self, value: Any) -> None:
        for style in STYLES.values():
            hash_and_mark(json.dumps(value).encode(), style.take)


class TestLastReloadedFrom:
    style = STYLES["annotations"]

    def test_it_has_the_fields_that_reloader_has(self) -> None:
        cause = json.loads(self.style.next(record(), applied(app="1"), [change()]))
        digest = cause.pop("hash")
        assert cause == {
            "type": "CONFIGMAP",
            "name": "www.app-config",
            "namespace": "shop",
            "containerRefs": ["web"],
            "observedAt": 7,
        }
        assert len(digest) == 40

    def test_it_names_the_last_of_several_changes(self) -> None:
        changes = [change(version=5), change(TOKEN, version=9)]
        for order in (changes, changes[::-1]):
            assert (
                json.loads(self.style.next(record(), applied(app="1", token="2"), order))["name"] == "token"
            )

    def test_where_the_server_tells_no_time_it_is_that_of_arrival(self) -> None:
        cause = json.loads(self.style.next(record(), applied(app="1"), [change(stamp=0.0)]))
        assert cause["observedAt"] == 9

    def test_it_is_one_annotation(self) -> None:
        mark = self.style.next(record(), applied(app="1"), [change()])
        assert self.style.patch(mark, None) == {"metadata": {"annotations": {LAST_RELOADED_FROM: mark}}}


class TestConfigHash:
    style = STYLES["wave"]

    def test_it_is_as_long_as_wave_s(self) -> None:
        mark = self.style.next(record(), applied(app="1"), [change()])
        assert len(mark) == 64
        assert self.style.patch(mark, None) == {"metadata": {"annotations": {CONFIG_HASH: mark}}}
