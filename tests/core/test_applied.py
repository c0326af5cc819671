"""The annotation that holds the state."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reroll.core.applied import (
    ABSENT,
    AGAIN_MOST,
    KEYS_KEPT,
    LEFT_OUT,
    SIZE,
    Summary,
    by_whom,
    decode,
    encode,
    kept,
    total,
)
from reroll.core.digests import combined, config_map_digests, whole
from reroll.core.put_back import AGAIN_AFTER
from reroll.core.records import Applied, AppliedKeys, ConfigRecord

words = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=8)
names = st.builds(
    "{}/{}".format, st.sampled_from(["configmap", "secret", "secret/other"]), st.text("ab-.", min_size=1)
)
keys: st.SearchStrategy[AppliedKeys] = st.one_of(st.none(), words, st.dictionaries(words, words, max_size=4))
applieds = st.builds(Applied, template=words, key_id=words, configs=st.dictionaries(names, keys, max_size=4))

EMPTY = ConfigRecord((), b"")


def many(count: int) -> dict[str, str]:
    return {f"key-{i:03}": f"digest-{i}" for i in range(count)}


class TestAnnotation:
    @given(applieds)
    def test_round_trip(self, applied: Applied) -> None:
        assert decode(encode(applied)) == applied

    @given(applieds)
    def test_equal_records_encode_the_same(self, applied: Applied) -> None:
        turned = {
            name: dict(reversed(held.items())) if isinstance(held, dict) else held
            for name, held in reversed(applied.configs.items())
        }
        assert encode(Applied(applied.template, applied.key_id, turned)) == encode(applied)

    @given(applieds, applieds)
    def test_different_records_encode_differently(self, one: Applied, other: Applied) -> None:
        assert (encode(one) == encode(other)) == (one == other)

    def test_it_is_compact_json_of_version_1(self) -> None:
        value = encode(Applied("t", "k", {"secret/b": None, "configmap/a": {"z": "1", "a": ""}}))
        assert (
            value
            == '{"configs":{"configmap/a":{"a":"","z":"1"},"secret/b":null},"key":"k","template":"t","v":1}'
        )

    def test_fields_of_later_versions_are_skipped(self) -> None:
        value = json.loads(encode(Applied("t", "k", {})))
        assert decode(json.dumps({**value, "more": [1]})) == Applied("t", "k", {})

    @pytest.mark.parametrize(
        "value",
        [
            pytest.param("", id="empty"),
            pytest.param("{", id="cut off"),
            pytest.param("null", id="null"),
            pytest.param("[]", id="another shape"),
            pytest.param('{"v":1}', id="fields missing"),
            pytest.param('{"v":1,"template":"t","key":"k","configs":{"a":5}}', id="a number for digests"),
            pytest.param(
                '{"v":1,"template":"t","key":"k","configs":{"a":{"b":null}}}', id="null for a digest"
            ),
            pytest.param('{"v":"1","template":"t","key":"k","configs":{}}', id="version as text"),
            pytest.param(
                '{"v":1,"template":"\\ud800","key":"k","configs":{}}', id="half a surrogate, escaped"
            ),
            pytest.param("\ud800", id="half a surrogate"),
            pytest.param('{"x":' + "[" * 100_000 + "]" * 100_000 + "}", id="nested deeply"),
            pytest.param("not json at all", id="prose"),
        ],
    )
    def test_what_cannot_be_read_is_one_error_in_words(self, value: str) -> None:
        with pytest.raises(ValueError, match=r"^reroll\.dev/applied is not readable \("):
            decode(value)

    def test_another_version(self) -> None:
        with pytest.raises(ValueError, match="has version 2, and this reroll knows version 1"):
            decode('{"v":2,"template":"t","key":"k","configs":{}}')


def raw(**fields: object) -> str:
    return json.dumps({"v": 1, "template": "t", "key": "k", "configs": {}, **fields})


class TestHostile:
    """Whoever may write the workload may write its record: that must harm nothing but itself."""

    @pytest.mark.parametrize(
        "name",
        [
            "x",
            "",
            "configmap",
            "configmap/",
            "configmap//x",
            "configmap/a/b/c",
            "deployment/a",
            "ConfigMap/a",
            "configmap/" + "x" * 254,
            "configmap/a\n",
        ],
    )
    def test_a_name_that_is_none(self, name: str) -> None:
        with pytest.raises(
            ValueError, match=r"^reroll\.dev/applied is not readable \(.* is not KIND/NAME or "
        ):
            decode(raw(configs={name: None}))

    @pytest.mark.parametrize(
        "fields",
        [
            pytest.param({"again": -1}, id="again below 0"),
            pytest.param({"again": AGAIN_MOST + 1}, id="again above what is written"),
            pytest.param({"at": -1}, id="at below 0"),
            pytest.param({"at": 10**24}, id="at far away"),
            pytest.param({"at": 10**400}, id="at of 400 digits"),
            pytest.param({"since": -5}, id="since below 0"),
            pytest.param({"since": 2**41}, id="since far away"),
            pytest.param({"left": -5, "of": 3}, id="left below 0"),
            pytest.param({"left": 4, "of": 3}, id="more left than there are"),
            pytest.param({"left": 10**7}, id="left of more pods than any workload has"),
            pytest.param({"of": -1}, id="of below 0"),
            pytest.param({"by": "x" * 129}, id="by too long"),
            pytest.param({"by": "a\x1b[2J"}, id="by with control characters"),
            pytest.param({"mark": "x" * 65}, id="mark too long"),
            pytest.param({"mark": "a\nb"}, id="mark with control characters"),
            pytest.param({"template": "x" * 65}, id="template too long"),
            pytest.param({"template": "\x00"}, id="template with control characters"),
            pytest.param({"key": "x" * 65}, id="key id too long"),
            pytest.param({"key": "\u202e"}, id="key id that turns the direction of text"),
            pytest.param({"configs": {"secret/s": "x" * 65}}, id="summary too long"),
            pytest.param({"configs": {"secret/s": {"k": "x" * 65}}}, id="digest too long"),
            pytest.param({"configs": {"secret/s": {"k" * 254: ""}}}, id="key too long"),
            pytest.param({"configs": {"secret/s": {"k\n": ""}}}, id="key with control characters"),
            pytest.param({"configs": {"secret/s": {"k": "\n"}}}, id="digest with control characters"),
            pytest.param({"configs": {"secret/s": {str(i): "" for i in range(257)}}}, id="too many keys"),
            pytest.param({"more": "x" * SIZE}, id="longer than the API server takes"),
        ],
    )
    def test_out_of_bounds_nothing_of_it_is_believed(self, fields: dict[str, object]) -> None:
        with pytest.raises(ValueError, match=r"^reroll\.dev/applied is not readable \("):
            decode(raw(**fields))

    @pytest.mark.parametrize(
        "fields",
        [
            {"again": AGAIN_MOST, "at": 1_800_000_000, "since": 253_402_300_799, "left": 3, "of": 3},
            {"left": 1, "of": 0, "by": "kubectl rollout undo"},
            {"mark": "#" + "0" * 32},
        ],
    )
    def test_within_bounds_it_is(self, fields: dict[str, object]) -> None:
        assert json.loads(encode(decode(raw(**fields)))).items() >= fields.items() - {"of": 0}.items()

    def test_a_mark_is_written_again_no_more_often_than_can_be_read(self) -> None:
        assert len(AGAIN_AFTER) == AGAIN_MOST

    def test_who_wrote_it_is_recorded_as_far_as_it_can_be_read(self) -> None:
        assert by_whom("kubectl-edit") == "kubectl-edit"
        assert by_whom("a\x00b" + "x" * 200) == "ab" + "x" * 126
        assert decode(encode(Applied("t", "k", {}, by=by_whom("\n" * 500)))).by == ""

    @pytest.mark.parametrize("key", ["k" * 254, "a\nb"])
    def test_of_keys_that_cannot_be_recorded_a_summary_is(self, key: str) -> None:
        configs = {"configmap/a": kept({key: ABSENT, "b": "1"}, EMPTY)}
        assert decode(encode(Applied("t", "k", configs))).configs == configs


class TestKept:
    def test_few_keys_are_kept_one_by_one(self) -> None:
        assert kept(many(KEYS_KEPT), EMPTY) == many(KEYS_KEPT)

    def test_of_many_keys_a_summary(self) -> None:
        held = kept(many(KEYS_KEPT + 1), EMPTY)
        assert isinstance(held, str)
        assert Summary.read(held) == Summary(combined(many(KEYS_KEPT + 1)), KEYS_KEPT + 1, whole(EMPTY))
        assert len(held) < 50

    def test_a_summary_counts_the_keys_that_are_there(self) -> None:
        assert Summary.of({"a": "1", "b": ABSENT, "c": LEFT_OUT}, EMPTY).present == 1

    def test_a_summary_of_the_whole_differs_with_it(self) -> None:
        other = ConfigRecord(*config_map_digests({"unrelated": "1"}, None))
        one, two = Summary.of(many(30), EMPTY), Summary.of(many(30), other)
        assert one.digest == two.digest
        assert one.whole != two.whole

    @given(st.text() | st.from_regex(r"[a-z]{0,3}\.[0-9²]{0,12}\.[a-z]{0,3}"))
    def test_any_text_reads_as_some_summary(self, value: str) -> None:
        assert Summary.read(value).digest == value.split(".")[0]

    @pytest.mark.parametrize(
        ("value", "present"),
        [("a.7.b", 7), ("a", 0), ("a..b", 0), ("a.-7.b", 0), ("a." + "9" * 5000 + ".b", 0)],
    )
    def test_the_count_of_a_summary(self, value: str, present: int) -> None:
        assert Summary.read(value).present == present


class TestTotal:
    def test_missing_is_nothing(self) -> None:
        assert total(None) == ""
        assert total({}) != ""

    def test_it_is_the_same_in_either_form(self) -> None:
        held = many(KEYS_KEPT + 1)
        assert total(kept(held, EMPTY)) == total(held) == combined(held)

    def test_what_is_not_consumed_is_not_in_it(self) -> None:
        other = ConfigRecord(*config_map_digests({"unrelated": "1"}, None))
        assert total(kept(many(30), EMPTY)) == total(kept(many(30), other))
