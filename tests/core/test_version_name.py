"""Names of versions: those of ConfigMaps are kustomize's, those of Secrets tell nothing."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reroll.core.digests import DigestKey, secret_digests
from reroll.core.suffix_hash import ALPHABET, LENGTH, suffix_hash
from reroll.core.version_name import (
    LONGEST,
    can_be_version,
    config_map_suffix,
    copy_name,
    is_version,
    secret_suffix,
)

KEY = DigestKey(b"k" * 32)


def encoded(value: bytes) -> str:
    return base64.b64encode(value).decode()


@pytest.mark.parametrize(
    ("data", "binary", "suffix"),
    [
        # What `kubectl kustomize` printed: see tests/core/test_suffix_hash.py.
        (None, None, "6ct58987ht"),
        ({}, {}, "6ct58987ht"),
        ({"a": "1"}, None, "h29d89cmmt"),
        ({"n": "1", "b": "true", "e": "", "nul": "null"}, None, "48ggkd26m7"),
        ({"a": "1", "html": "<b>&é", "f.txt": "a=1\n"}, None, "kbm6kbfh66"),
        (None, {"b.bin": encoded(b"\xff\xfe\x00a")}, "78c7chbd8b"),
    ],
)
def test_that_of_a_config_map_is_kustomizes(
    data: dict[str, str] | None, binary: dict[str, str] | None, suffix: str
) -> None:
    assert config_map_suffix(data, binary) == suffix
    assert config_map_suffix(data, binary, 26).startswith(suffix)


def test_long_base64_is_wrapped_as_kustomize_writes_it() -> None:
    wrapped = base64.b64encode(b"\xff" * 99).decode()
    wrapped = f"{wrapped[:70]}\n{wrapped[70:]}\n"
    generated = {"kind": "ConfigMap", "binaryData": {"b": wrapped}}
    assert config_map_suffix(None, {"b": encoded(b"\xff" * 99)}) == suffix_hash(generated)


def of_secret(data: dict[str, bytes], key: DigestKey = KEY, name: str = "db", length: int = LENGTH) -> str:
    digests = secret_digests("shop", name, {k: encoded(v) for k, v in data.items()}, key)
    return secret_suffix(*digests, length)


def test_that_of_a_secret_takes_the_key_to_tell() -> None:
    found = of_secret({"password": b"hunter2"})
    assert len(found) == LENGTH
    assert set(found) <= set(ALPHABET)
    plain = {"kind": "Secret", "type": "Opaque", "data": {"password": encoded(b"hunter2")}}
    assert found != suffix_hash(plain)
    assert found != of_secret({"password": b"hunter2"}, DigestKey(b"o" * 32))
    assert found != of_secret({"password": b"hunter2"}, name="other"), "equal values are not told either"
    assert found == of_secret({"password": b"hunter2"})
    assert of_secret({"password": b"hunter2"}, length=16).startswith(found)


@given(
    st.dictionaries(st.sampled_from("abc"), st.binary(max_size=3)),
    st.dictionaries(st.sampled_from("abc"), st.binary(max_size=3)),
)
def test_other_content_has_another_name(one: dict[str, bytes], other: dict[str, bytes]) -> None:
    assert (of_secret(one) == of_secret(other)) == (one == other)


@given(st.integers(1, LONGEST), st.sampled_from([10, 16, 26]))
def test_a_name_is_never_too_long(length: int, suffix: int) -> None:
    source = ("ab.c-" * 60)[:length].rstrip("-.")
    name = copy_name(source, "2" * suffix)
    assert len(name) <= LONGEST
    assert name.endswith("-" + "2" * suffix)
    assert name[0].isalnum()
    if len(source) + 1 + suffix <= LONGEST:
        assert name == f"{source}-{'2' * suffix}"


def test_long_names_that_begin_alike_stay_apart() -> None:
    one, other = "a" * LONGEST, "a" * (LONGEST - 1) + "b"
    assert copy_name(one, "2" * LENGTH) != copy_name(other, "2" * LENGTH)


def test_what_can_be_a_version() -> None:
    assert can_be_version("app-h29d89cmmt", "app")
    assert can_be_version("app-h29d89cmmt244666", "app")
    assert can_be_version(copy_name("a" * LONGEST, "h29d89cmmt"), "a" * LONGEST)
    for name in (
        "app",
        "app-",
        "app-h29d89cmm",
        "app-hello-world",
        "web-h29d89cmmt",
        "app-H29D89CMMT",
        f"app-{'2' * 30}",
    ):
        assert not can_be_version(name, "app"), name


def test_which_version_a_name_is_of() -> None:
    assert is_version("app-h29d89cmmt", "app", "h29d89cmmt")
    assert is_version("app-h29d89cmmt244666", "app", "h29d89cmmt")
    assert not is_version("app-h29d89cmm", "app", "h29d89cmmt")
    assert not is_version("app-6ct58987ht", "app", "h29d89cmmt")
