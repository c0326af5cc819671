"""What a workload consumes now against what is recorded, key by key."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from reroll.core.applied import ABSENT, KEYS_KEPT, LEFT_OUT, WILDCARD
from reroll.core.compare import Comparison, ConfigChange, compare, current, followed, holds_nothing
from reroll.core.digests import DigestKey, config_map_digest, config_map_digests, secret_digests, text
from reroll.core.records import (
    Applied,
    AppliedKeys,
    Change,
    ConfigId,
    ConfigKind,
    ConfigRecord,
    ConfigState,
    Consumed,
    Means,
    Missing,
    Reference,
    Unknown,
)

HOME = "shop"
STAMP = 50.0


def digest(value: str) -> str:
    return text(config_map_digest(value.encode()))


def app(data: Mapping[str, str] | str = "", **flags: object) -> ConfigRecord:
    """A ConfigMap: of a mapping, or of single letters as in ``"a=1 b=2"``."""
    held = dict(pair.split("=") for pair in data.split()) if isinstance(data, str) else dict(data)
    return replace(ConfigRecord(*config_map_digests(held, None), stamp=STAMP, version=7), **flags)


def ref(
    *keys: str,
    optional: bool = False,
    sub_path: bool = False,
    means: Means = "env",
    kind: ConfigKind = "configmap",
) -> Reference:
    return Reference(kind, "app", means, f"container web: {means}", keys or None, optional, sub_path)


def consumes(*references: Reference, leave_out: tuple[str, ...] = (), namespace: str = HOME) -> Consumed:
    """All of `references`, merged without `leave_out`."""
    every = any(r.keys is None for r in references)
    keys = None if every else tuple(sorted({k for r in references for k in r.keys or ()} - set(leave_out)))
    config = ConfigId(references[0].kind, namespace, "app")
    return Consumed(config, keys, references, except_keys=leave_out if every else ())


def found(
    c: Consumed,
    now: ConfigState,
    before: Consumed | None,
    then: ConfigRecord | Missing,
    *,
    rekeyed: bool = False,
) -> Comparison:
    """`c` and `now` against the record that was made of `before` and `then`."""
    old = current(then, before or c)
    return against(c, now, {c.config.short(HOME): old}, rekeyed=rekeyed)


def against(
    c: Consumed, now: ConfigState, configs: dict[str, AppliedKeys], *, rekeyed: bool = False
) -> Comparison:
    return compare(c, now, Applied("t", "k", configs), home=HOME, rekeyed=rekeyed)


def changed(comparison: Comparison) -> tuple[str, ...] | str | None:
    """The keys that changed; ``appeared``; ``recorded``, where only the record differs; ``same``."""
    if comparison.stale is not None:
        assert comparison.write
        return "appeared" if comparison.stale.appeared else comparison.stale.keys
    return "recorded" if comparison.write else "same"


NEED = consumes(ref("a"))
OPTIONAL = consumes(ref("a", optional=True))
SUB_PATH = consumes(ref("a", sub_path=True, means="volume"))
NAMED = consumes(ref("a", means="named"))
WHOLE = consumes(ref(means="envFrom"))
OPTIONAL_WHOLE = consumes(ref(means="envFrom", optional=True))


class TestKeys:
    @pytest.mark.parametrize("c", [NEED, OPTIONAL, SUB_PATH, NAMED])
    @pytest.mark.parametrize(
        ("then", "now", "answer"),
        [
            ("a=1 b=1", "a=1 b=1", "same"),
            ("a=1 b=1", "a=1 b=2", "same"),
            ("a=1 b=1", "a=1", "same"),
            ("a=1", "a=1 b=1", "same"),
            ("a=1", "a=2", ("a",)),
            ("a=1 b=1", "a=2 b=2", ("a",)),
            ("a=1", "b=1", ("a",)),
            ("a=1", "", ("a",)),
        ],
    )
    def test_of_a_key_only_the_key_counts(self, c: Consumed, then: str, now: str, answer: object) -> None:
        assert changed(found(c, app(now), None, app(then))) == answer

    @pytest.mark.parametrize(
        ("c", "answer"),
        [
            pytest.param(NEED, "recorded", id="no pod started without it"),
            pytest.param(OPTIONAL, ("a",), id="optional"),
            pytest.param(SUB_PATH, ("a",), id="subPath: pods start with an empty directory"),
            pytest.param(NAMED, ("a",), id="named by an annotation: pods start without it"),
            pytest.param(
                consumes(ref("a", optional=True), ref("a")), "recorded", id="optional here, needed there"
            ),
        ],
    )
    def test_a_key_that_appears(self, c: Consumed, answer: object) -> None:
        assert changed(found(c, app("a=1"), None, app(""))) == answer

    @pytest.mark.parametrize(
        ("then", "now", "answer"),
        [
            ("a=1 b=1", "a=1 b=1", "same"),
            ("a=1 b=1", "a=1 b=2", ("b",)),
            ("a=1", "a=1 b=1", ("b",)),
            ("a=1 b=1", "a=1", ("b",)),
            ("a=1 b=1", "", ("a", "b")),
            ("", "a=1", ("a",)),
            ("", "", "same"),
            ("a=1", "b=1", ("a", "b")),
        ],
    )
    def test_of_a_whole_object_every_key_counts(self, then: str, now: str, answer: object) -> None:
        assert changed(found(WHOLE, app(now), None, app(then))) == answer

    def test_an_empty_value_is_not_an_absent_key(self) -> None:
        assert changed(found(OPTIONAL, app({"a": ""}), None, app(""))) == ("a",)
        assert changed(found(WHOLE, app({"a": ""}), None, app(""))) == ("a",)

    @pytest.mark.parametrize(
        "flags", [{"stamp": 99.0}, {"version": 99}, {"arrived": 99.0}, {"matchable": True}]
    )
    def test_metadata_does_not_count(self, flags: dict[str, object]) -> None:
        assert changed(found(WHOLE, app("a=1", **flags), None, app("a=1"))) == "same"


class TestConsumedAnew:
    """What is consumed differs, and no content does."""

    NOW = app("a=1 b=2 c=3")

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            pytest.param(NEED, consumes(ref("a", "b")), id="another key"),
            pytest.param(consumes(ref("a", "b")), NEED, id="one key less"),
            pytest.param(NEED, WHOLE, id="from a key to all"),
            pytest.param(WHOLE, NEED, id="from all to a key"),
            pytest.param(NEED, consumes(ref("z", optional=True)), id="an absent one instead"),
            pytest.param(WHOLE, consumes(ref("a", "z", optional=True)), id="from all to an absent one"),
            pytest.param(WHOLE, consumes(ref(), leave_out=("b",)), id="one left out"),
            pytest.param(consumes(ref(), leave_out=("b",)), WHOLE, id="one left out no longer"),
            pytest.param(
                consumes(ref(), leave_out=("b",)), consumes(ref(), leave_out=("c",)), id="another left out"
            ),
            pytest.param(WHOLE, consumes(ref(), leave_out=("z",)), id="an absent one left out"),
            pytest.param(consumes(ref(), leave_out=("b",)), consumes(ref("b")), id="only what was left out"),
        ],
    )
    def test_it_is_recorded(self, before: Consumed, after: Consumed) -> None:
        assert changed(found(after, self.NOW, before, self.NOW)) == "recorded"

    def test_a_key_left_out_may_change_come_and_go(self) -> None:
        c = consumes(ref(), leave_out=("b",))
        for then, now in (("a=1 b=1", "a=1 b=2"), ("a=1 b=1", "a=1"), ("a=1", "a=1 b=1")):
            assert changed(found(c, app(now), None, app(then))) == "same"

    def test_content_that_changed_at_once_is_seen(self) -> None:
        assert changed(found(WHOLE, app("a=2 b=2"), NEED, app("a=1 b=1"))) == ("a",)
        assert changed(found(consumes(ref(), leave_out=("b",)), app("a=2"), WHOLE, app("a=1 b=1"))) == ("a",)

    def test_a_key_that_appeared_meanwhile_is_seen(self) -> None:
        assert changed(found(consumes(ref("a", "b")), app("a=1 b=1"), WHOLE, app("a=1"))) == ("b",)


class TestManyKeys:
    DATA: Mapping[str, str] = {f"k{i:02}": "v" for i in range(KEYS_KEPT + 6)}
    NOW = app(DATA)

    def with_(self, **data: str) -> ConfigRecord:
        return app({**self.DATA, **data})

    def without(self, *keys: str) -> ConfigRecord:
        return app({k: v for k, v in self.DATA.items() if k not in keys})

    def test_the_same(self) -> None:
        assert changed(found(WHOLE, self.NOW, None, app(self.DATA))) == "same"

    def test_a_change_is_seen_and_its_keys_are_not_told(self) -> None:
        comparison = found(WHOLE, self.with_(k03="w"), None, self.NOW)
        assert changed(comparison) is None
        assert comparison.stale is not None
        assert comparison.stale.describe(HOME) == "configmap/app changed"

    def test_a_change_of_what_is_not_consumed_writes_nothing(self) -> None:
        c = consumes(ref(*(k for k in self.DATA if k != "k03")))
        assert isinstance(current(self.NOW, c), str)
        assert changed(found(c, self.with_(k03="w"), None, self.NOW)) == "same"
        assert (
            changed(found(consumes(ref(), leave_out=("k03",)), self.without("k03"), None, self.NOW)) == "same"
        )

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            pytest.param(WHOLE, consumes(ref(), leave_out=("k03",)), id="one left out"),
            pytest.param(consumes(ref(), leave_out=("k03",)), WHOLE, id="one left out no longer"),
            pytest.param(WHOLE, consumes(ref("k01")), id="from many to few"),
            pytest.param(consumes(ref("k01")), WHOLE, id="from few to many"),
        ],
    )
    def test_consuming_it_anew_is_recorded(self, before: Consumed, after: Consumed) -> None:
        assert changed(found(after, self.NOW, before, self.NOW)) == "recorded"

    def test_the_keys_are_told_when_few_become_many(self) -> None:
        few = app({k: v for i, (k, v) in enumerate(self.DATA.items()) if i < KEYS_KEPT - 1})
        assert isinstance(current(few, WHOLE), dict)
        answer = changed(found(WHOLE, self.NOW, None, few))
        assert answer == tuple(self.DATA)[KEYS_KEPT - 1 :]

    def test_a_digest_of_an_earlier_form_is_compared(self) -> None:
        old = current(self.NOW, WHOLE)
        assert isinstance(old, str)
        bare = old.split(".")[0]
        assert changed(against(WHOLE, self.NOW, {"configmap/app": bare})) == "same"
        assert changed(against(WHOLE, self.with_(k03="w"), {"configmap/app": bare})) is None

    def test_any_text_is_some_other_content(self) -> None:
        assert changed(against(WHOLE, self.NOW, {"configmap/app": "nonsense.x.y"})) is None


class TestWhen:
    """The server moves no time when an update only removes keys: then there is no stamp to tell by."""

    @pytest.mark.parametrize(
        ("c", "then", "now", "stamp"),
        [
            pytest.param(WHOLE, "a=1", "a=2", STAMP, id="changed"),
            pytest.param(WHOLE, "a=1", "a=1 b=1", STAMP, id="added"),
            pytest.param(WHOLE, "a=1 b=1", "a=1", 0.0, id="removed"),
            pytest.param(WHOLE, "a=1 b=1", "a=2", 0.0, id="one changed, one removed"),
            pytest.param(OPTIONAL, "a=1", "b=1", 0.0, id="the consumed one removed"),
            pytest.param(OPTIONAL, "a=1 b=1", "a=2", STAMP, id="another one removed"),
        ],
    )
    def test_the_stamp(self, c: Consumed, then: str, now: str, stamp: float) -> None:
        change = found(c, app(now), None, app(then)).stale
        assert change is not None
        assert change.change == Change(stamp=stamp, version=7)

    @pytest.mark.parametrize(("removed", "stamp"), [((), STAMP), (("k01",), 0.0)])
    @pytest.mark.parametrize("every", [True, False])
    def test_of_many_keys_fewer_tell_it(self, removed: tuple[str, ...], stamp: float, every: bool) -> None:
        data = dict(TestManyKeys.DATA)
        c = WHOLE if every else consumes(ref(*data, optional=True))
        now = app({k: v for k, v in {**data, "k02": "w"}.items() if k not in removed})
        change = found(c, now, None, app(data)).stale
        assert change is not None
        assert change.change.stamp == stamp


class TestMissing:
    def test_never_seen_is_recorded_as_absent(self) -> None:
        comparison = against(OPTIONAL, Missing(), {})
        assert changed(comparison) == "recorded"
        assert comparison.record is None
        assert not comparison.note

    def test_absent_before_and_now(self) -> None:
        assert changed(found(OPTIONAL, Missing(), None, Missing())) == "same"

    @pytest.mark.parametrize("c", [NEED, OPTIONAL, WHOLE])
    def test_a_deletion_alone_is_noted_and_its_record_stays(self, c: Consumed) -> None:
        comparison = found(c, Missing(), None, app("a=1"))
        assert changed(comparison) == "same"
        assert comparison.record == current(app("a=1"), c)
        assert comparison.note == (
            "configmap/app was deleted; that alone rolls nothing, its return with other content does"
        )
        assert comparison.vanished is c.optional

    @pytest.mark.parametrize("c", [NEED, OPTIONAL, WHOLE, OPTIONAL_WHOLE])
    def test_its_return(self, c: Consumed) -> None:
        assert changed(found(c, app("a=1"), None, app("a=1"))) == "same"
        assert changed(found(c, app("a=2"), None, app("a=1"))) == ("a",)

    @pytest.mark.parametrize(
        ("c", "now", "answer"),
        [
            pytest.param(NEED, "a=1", "recorded", id="needed"),
            pytest.param(WHOLE, "a=1", "recorded", id="needed whole"),
            pytest.param(OPTIONAL, "a=1", "appeared", id="optional"),
            pytest.param(OPTIONAL_WHOLE, "a=1", "appeared", id="optional whole"),
            pytest.param(NAMED, "a=1", "appeared", id="named by an annotation"),
            pytest.param(
                consumes(ref("a"), ref("b", optional=True)), "a=1 b=1", "recorded", id="needed in one place"
            ),
            pytest.param(OPTIONAL, "b=1", "recorded", id="without the key that counts"),
            pytest.param(OPTIONAL_WHOLE, "", "recorded", id="empty"),
            pytest.param(
                consumes(ref(optional=True), leave_out=("b",)), "b=1", "recorded", id="with only ignored keys"
            ),
        ],
    )
    def test_its_first_appearance(self, c: Consumed, now: str, answer: object) -> None:
        assert changed(found(c, app(now), None, Missing())) == answer

    @pytest.mark.parametrize("c", [NEED, WHOLE])
    def test_a_pod_may_have_started_with_its_first_content(self, c: Consumed) -> None:
        assert changed(found(c, app("a=2", rewritten=True), None, Missing())) == "appeared"
        assert changed(found(c, app("a=2", rewritten=True), None, app("a=2"))) == "same"


class TestUnknown:
    STATE = Unknown("configmaps may not be listed in shop")

    def test_it_is_no_deletion(self) -> None:
        comparison = found(NEED, self.STATE, None, app("a=1"))
        assert changed(comparison) == "same"
        assert comparison.recorded
        assert comparison.record == {"a": digest("1")}
        assert not comparison.blocked
        assert comparison.note == "configmap/app can't be read: configmaps may not be listed in shop"

    def test_never_seen_nothing_is_recorded(self) -> None:
        comparison = against(NEED, self.STATE, {})
        assert changed(comparison) == "same"
        assert not comparison.recorded


class TestRekeyed:
    """Another digest key: what is recorded of Secrets counts as not known."""

    CONSUMED = consumes(ref("a", kind="secret"))
    SECRET = ConfigRecord(*secret_digests(HOME, "app", {"a": "MQ=="}, DigestKey(b"n" * 32)))
    OLD: AppliedKeys = {"a": "digest of the key before"}  # noqa: RUF012

    def compare(self, now: ConfigState) -> Comparison:
        return against(self.CONSUMED, now, {"secret/app": self.OLD}, rekeyed=True)

    def test_a_secret_is_recorded_anew(self) -> None:
        assert changed(self.compare(self.SECRET)) == "recorded"

    def test_one_that_is_missing_is_recorded_as_absent(self) -> None:
        comparison = self.compare(Missing())
        assert changed(comparison) == "recorded"
        assert comparison.record is None

    def test_of_one_that_cannot_be_read_nothing_is_kept(self) -> None:
        comparison = self.compare(Unknown())
        assert not comparison.recorded
        assert comparison.record is None

    def test_config_maps_are_compared_all_the_same(self) -> None:
        assert changed(found(NEED, app("a=2"), None, app("a=1"), rekeyed=True)) == ("a",)
        assert changed(found(NEED, app("a=1"), None, app("a=1"), rekeyed=True)) == "same"


class TestBlocked:
    @pytest.mark.parametrize(
        ("c", "state", "blocked"),
        [
            (NEED, Missing(), "configmap/app does not exist"),
            (WHOLE, Missing(), "configmap/app does not exist"),
            (SUB_PATH, Missing(), "configmap/app does not exist"),
            (OPTIONAL, Missing(), ""),
            (NAMED, Missing(), ""),
            (NEED, app("b=1"), "configmap/app has no key a"),
            (consumes(ref("a"), ref("c")), app("b=1"), "configmap/app has no key a, c"),
            (SUB_PATH, app("b=1"), ""),
            (OPTIONAL, app("b=1"), ""),
            (NAMED, app("b=1"), ""),
            (WHOLE, app(""), ""),
            (NEED, app("a=1"), ""),
            (NEED, Unknown(), ""),
        ],
    )
    @pytest.mark.parametrize("then", [{}, {"configmap/app": None}, {"configmap/app": {"a": "x"}}])
    def test_why_new_pods_could_not_start(
        self, c: Consumed, state: ConfigState, blocked: str, then: dict[str, AppliedKeys]
    ) -> None:
        assert against(c, state, then).blocked == blocked


class TestFollowed:
    def follow(self, c: Consumed, state: ConfigState, *recorded: str) -> tuple[bool, tuple[str, ...]]:
        counting, notes = followed([c], {c.config: state}, HOME, recorded=recorded)
        return counting == (c,), notes

    @pytest.mark.parametrize("state", [app("a=1"), Missing(), Unknown()])
    def test_of_its_own_namespace(self, state: ConfigState) -> None:
        assert self.follow(NEED, state) == (True, ())

    def test_ignored(self) -> None:
        counts, notes = self.follow(NEED, app("a=1", ignored=True), "configmap/app")
        assert not counts
        assert notes == ("configmap/app is not followed: it carries an ignore annotation or is not selected",)

    @pytest.mark.parametrize(
        ("state", "recorded", "counts"),
        [
            pytest.param(app("a=1", matchable=True), False, True, id="match"),
            pytest.param(app("a=1"), False, False, id="no match"),
            pytest.param(app("a=1"), True, False, id="match taken away"),
            pytest.param(Missing(), False, False, id="missing"),
            pytest.param(Missing(), True, True, id="deleted"),
            pytest.param(Unknown(), False, False, id="not readable"),
            pytest.param(Unknown(), True, True, id="not readable now"),
        ],
    )
    def test_searched(self, state: ConfigState, recorded: bool, counts: bool) -> None:
        c = replace(NEED, needs_match=True)
        assert self.follow(c, state, *(["configmap/app"] if recorded else [])) == (counts, ())

    @pytest.mark.parametrize(
        ("state", "recorded", "counts"),
        [
            pytest.param(app("a=1", shared_with="shop"), False, True, id="shared"),
            pytest.param(app("a=1", shared_with="other, sh*"), False, True, id="shared by pattern"),
            pytest.param(Missing(), False, False, id="missing"),
            pytest.param(Missing(), True, True, id="deleted"),
            pytest.param(Unknown(), True, True, id="not readable now"),
        ],
    )
    def test_of_another_namespace(self, state: ConfigState, recorded: bool, counts: bool) -> None:
        c = consumes(ref(means="named"), namespace="base")
        assert self.follow(c, state, *(["configmap/base/app"] if recorded else [])) == (counts, ())

    @pytest.mark.parametrize("shared_with", ["", "other", "shopping"])
    def test_of_another_namespace_that_does_not_share_it(self, shared_with: str) -> None:
        c = consumes(ref(means="named"), namespace="base")
        counts, notes = self.follow(c, app("a=1", shared_with=shared_with), "configmap/base/app")
        assert not counts
        assert "configmap/base/app is not followed" in notes[0]
        assert "reroll.dev/share-with does not name shop" in notes[0]


class TestCurrent:
    def test_the_form_of_the_record(self) -> None:
        state = app("a=1 b=2")
        assert current(state, NEED) == {"a": digest("1")}
        assert current(app(""), NEED) == {"a": ABSENT}
        assert current(state, WHOLE) == {"a": digest("1"), "b": digest("2"), WILDCARD: ""}
        c = consumes(ref(), leave_out=("b", "z"))
        assert current(state, c) == {"a": digest("1"), "b": LEFT_OUT, "z": LEFT_OUT, WILDCARD: ""}
        assert current(Missing(), WHOLE) is None


class TestDescribe:
    CONFIG = ConfigId("configmap", HOME, "app")

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (ConfigChange(CONFIG, ("A",)), "configmap/app changed (A)"),
            (ConfigChange(CONFIG, tuple("ABCDE")), "configmap/app changed (A, B, C, D, E)"),
            (ConfigChange(CONFIG, tuple("ABCDEFG")), "configmap/app changed (A, B, C, D, E and 2 more)"),
            (ConfigChange(CONFIG, None), "configmap/app changed"),
            (ConfigChange(CONFIG, None, appeared=True), "configmap/app appeared"),
            (ConfigChange(ConfigId("secret", "base", "tls"), None), "secret/base/tls changed"),
        ],
    )
    def test_in_words(self, change: ConfigChange, words: str) -> None:
        assert change.describe(HOME) == words


contents = st.dictionaries(st.sampled_from("abc"), st.sampled_from(["1", "2"]))
means = st.sampled_from(
    [NEED, OPTIONAL, SUB_PATH, NAMED, WHOLE, OPTIONAL_WHOLE, consumes(ref(), leave_out=("b",))]
)
states = st.one_of(contents.map(app), st.just(Missing()), st.just(Unknown()))
recorded = st.one_of(
    st.none(),
    st.text(max_size=20),
    st.dictionaries(st.sampled_from("abc*"), st.sampled_from(["", "-", digest("1"), digest("2")])),
)


@given(means, states, recorded, st.booleans())
def test_comparing_with_what_is_to_be_recorded_finds_nothing(
    c: Consumed, state: ConfigState, old: AppliedKeys, known: bool
) -> None:
    first = against(c, state, {"configmap/app": old} if known else {})
    again = against(c, state, {"configmap/app": first.record} if first.recorded else {})
    assert changed(again) == "same"
    assert again.record == first.record


@given(st.sampled_from([NEED, OPTIONAL, SUB_PATH, NAMED, WHOLE]), contents, contents)
def test_what_is_stale_differs_in_a_consumed_key(
    c: Consumed, then: dict[str, str], now: dict[str, str]
) -> None:
    keys = set("abc") if c.keys is None else set(c.keys)
    differing = tuple(sorted(key for key in keys if then.get(key) != now.get(key)))
    answer = changed(found(c, app(now), None, app(then)))
    if c is NEED and "a" not in then and "a" in now:
        assert answer == "recorded"
    else:
        assert answer == (differing or "same")


@pytest.mark.parametrize(
    ("c", "state", "nothing"),
    [
        (consumes(ref("a")), app("b=2"), True),
        (consumes(ref("a")), app("a=1"), False),
        (consumes(ref()), app(""), True),
        (consumes(ref()), app("a=1"), False),
        (consumes(ref(), leave_out=("a",)), app("a=1"), True),
        (consumes(ref()), app({f"k{n}": "v" for n in range(KEYS_KEPT + 1)}), False),
        (consumes(ref("a")), Missing(), True),
    ],
)
def test_whether_anything_that_counts_is_in_it(
    c: Consumed, state: ConfigRecord | Missing, nothing: bool
) -> None:
    """Whether such an object exists or not is the same for its pods."""
    assert holds_nothing(current(state, c)) is nothing
