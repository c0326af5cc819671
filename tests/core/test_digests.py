"""What is kept in place of values."""

from __future__ import annotations

import base64

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from reroll.core import digests
from reroll.core.digests import (
    SIZE,
    DigestKey,
    combined,
    config_map_digests,
    consumed_digests,
    secret_digests,
)
from reroll.core.records import ConfigId, ConfigRecord, Consumed

KEY = DigestKey(b"k" * 32)
OTHER_KEY = DigestKey(b"o" * 32)

names = st.text("abz.-_", min_size=1, max_size=4)
values = st.text(max_size=6)
data = st.dictionaries(names, values, max_size=5)
secrets = st.dictionaries(
    names, st.binary(max_size=6).map(lambda raw: base64.b64encode(raw).decode()), max_size=4
)


def shuffled(held: dict[str, str]) -> dict[str, str]:
    return dict(reversed(held.items()))


class TestConfigMap:
    @given(data)
    def test_the_order_of_keys_does_not_count(self, held: dict[str, str]) -> None:
        assert config_map_digests(held, None) == config_map_digests(shuffled(held), None)

    @given(data, data)
    def test_different_contents_differ(self, one: dict[str, str], other: dict[str, str]) -> None:
        assert (config_map_digests(one, None) == config_map_digests(other, None)) == (one == other)

    def test_keys_are_sorted_and_each_has_a_digest(self) -> None:
        keys, joined = config_map_digests({"b": "1", "a": "2"}, {"c": "AA=="})
        assert keys == ("a", "b", "c")
        assert len(joined) == 3 * SIZE
        assert joined[SIZE : 2 * SIZE] == digests.config_map_digest(b"1")

    @pytest.mark.parametrize("nothing", [None, {}])
    def test_empty(self, nothing: dict[str, str] | None) -> None:
        assert config_map_digests(nothing, nothing) == ((), b"")

    def test_a_key_that_moves_to_binary_data_is_the_same(self) -> None:
        encoded = base64.b64encode("naïve".encode()).decode()
        assert config_map_digests({"a": "naïve"}, None) == config_map_digests(None, {"a": encoded})

    def test_bytes_that_are_no_text(self) -> None:
        one = config_map_digests(None, {"a": base64.b64encode(b"\xff\x00").decode()})
        other = config_map_digests(None, {"a": base64.b64encode(b"\xff\x01").decode()})
        assert one != other

    def test_half_a_surrogate_is_hashed(self) -> None:
        assert config_map_digests({"a": "\ud800"}, None) != config_map_digests({"a": "\ud801"}, None)

    @pytest.mark.parametrize(("one", "other"), [("A", "AA"), ("!!!!", "????"), ("YQ==", "YQ==!")])
    def test_bad_base64_is_told_apart(self, one: str, other: str) -> None:
        assert config_map_digests(None, {"a": one}) != config_map_digests(None, {"a": other})


class TestSecret:
    @given(secrets)
    def test_the_order_of_keys_does_not_count(self, held: dict[str, str]) -> None:
        assert secret_digests("ns", "s", held, KEY) == secret_digests("ns", "s", shuffled(held), KEY)

    @given(secrets, secrets)
    def test_different_contents_differ(self, one: dict[str, str], other: dict[str, str]) -> None:
        assert (secret_digests("ns", "s", one, KEY) == secret_digests("ns", "s", other, KEY)) == (
            one == other
        )

    @pytest.mark.parametrize(
        "other",
        [
            pytest.param(secret_digests("ns", "s", {"a": "YQ=="}, OTHER_KEY), id="digest key"),
            pytest.param(secret_digests("other", "s", {"a": "YQ=="}, KEY), id="namespace"),
            pytest.param(secret_digests("ns", "other", {"a": "YQ=="}, KEY), id="name"),
            pytest.param(secret_digests("n", "ss", {"a": "YQ=="}, KEY), id="namespace and name run together"),
        ],
    )
    def test_one_value_has_another_digest_elsewhere(self, other: tuple[tuple[str, ...], bytes]) -> None:
        assert secret_digests("ns", "s", {"a": "YQ=="}, KEY)[1] != other[1]

    def test_two_keys_with_one_value_do_not_show_it(self) -> None:
        _, joined = secret_digests("ns", "s", {"a": "YQ==", "b": "YQ=="}, KEY)
        assert joined[:SIZE] != joined[SIZE:]

    def test_it_is_not_the_public_digest(self) -> None:
        assert secret_digests("ns", "s", {"a": "YQ=="}, KEY) != config_map_digests({"a": "a"}, None)

    def test_a_secret_without_data_has_no_digests(self) -> None:
        assert secret_digests("ns", "s", None, KEY) == ((), b"")


class TestDigestKey:
    def test_a_short_one_is_refused(self) -> None:
        with pytest.raises(ValueError, match="at least 32 bytes, this one has 31"):
            DigestKey(b"x" * 31)

    def test_it_is_not_printed(self) -> None:
        assert "k" * 8 not in f"{KEY!r} {KEY}"
        assert KEY.id in repr(KEY)
        assert (b"k" * 4).hex() not in KEY.id

    def test_its_id_tells_keys_apart(self) -> None:
        assert KEY.id == DigestKey(b"k" * 32).id
        assert KEY.id != OTHER_KEY.id

    def test_raw(self) -> None:
        assert KEY.raw() == b"k" * 32


class TestOverSets:
    @given(data)
    def test_combined_does_not_depend_on_the_order(self, held: dict[str, str]) -> None:
        assert combined(held) == combined(shuffled(held))
        assert digests.mark(held) == digests.mark(shuffled(held))

    @given(data, data)
    def test_different_sets_never_encode_the_same(self, one: dict[str, str], other: dict[str, str]) -> None:
        assume(one != other)
        assert combined(one) != combined(other)
        assert digests.mark(one) != digests.mark(other)

    def test_boundaries_count(self) -> None:
        assert combined({"ab": "c"}) != combined({"a": "bc"})
        assert combined({"a": "b", "c": "d"}) != combined({"a": "bcd"})

    def test_a_mark_is_no_combined(self) -> None:
        assert combined({"a": "b"}) != digests.mark({"a": "b"})

    @given(data, data)
    def test_whole_tells_objects_apart(self, one: dict[str, str], other: dict[str, str]) -> None:
        first, second = (ConfigRecord(*config_map_digests(held, None)) for held in (one, other))
        assert (digests.whole(first) == digests.whole(second)) == (one == other)


class TestConsumed:
    RECORD = ConfigRecord(*config_map_digests({"a": "1", "b": "2", "c": "3"}, None))

    def consumed(self, keys: tuple[str, ...] | None, except_keys: tuple[str, ...] = ()) -> dict[str, str]:
        c = Consumed(ConfigId("configmap", "ns", "app"), keys, (), except_keys=except_keys)
        return consumed_digests(self.RECORD, c)

    def test_every_key(self) -> None:
        assert self.consumed(None) == {
            key: digests.text(digests.config_map_digest(value))
            for key, value in (("a", b"1"), ("b", b"2"), ("c", b"3"))
        }

    def test_some_keys(self) -> None:
        assert self.consumed(("a", "c")) == {k: v for k, v in self.consumed(None).items() if k != "b"}

    def test_a_key_that_is_not_there(self) -> None:
        assert list(self.consumed(("a", "z"))) == ["a"]

    def test_all_but_some(self) -> None:
        assert list(self.consumed(None, ("b", "z"))) == ["a", "c"]
