"""Known answers: what `kubectl kustomize` v5.5 and kustomize v5.8.1 printed. `test_generate_kustomize` asks the
program itself."""

from __future__ import annotations

from typing import Any

import pytest

from reroll.core.suffix_hash import ALPHABET, LENGTH, encode, go_json, suffix_hash, wrapped_base64


def config_map(data: dict[str, str] | None = None, binary: dict[str, bytes] | None = None) -> dict[str, Any]:
    value: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}
    if data:
        value["data"] = data
    if binary:
        value["binaryData"] = {key: wrapped_base64(content) for key, content in binary.items()}
    return value


def secret(data: dict[str, bytes] | None = None, kind: str = "Opaque") -> dict[str, Any]:
    content = {key: wrapped_base64(each) for key, each in (data or {}).items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}, "type": kind, "data": content}


@pytest.mark.parametrize(
    ("value", "suffix"),
    [
        (config_map(), "6ct58987ht"),
        (config_map({"a": "1"}), "h29d89cmmt"),
        (config_map({"n": "1", "b": "true", "e": "", "nul": "null"}), "48ggkd26m7"),
        (config_map({"a": "1", "html": "<b>&é", "f.txt": "a=1\n"}), "kbm6kbfh66"),
        (config_map(None, {"b.bin": b"\xff\xfe\x00a"}), "78c7chbd8b"),
        (secret(), "46f8b28mk5"),
        (secret({"key": b"1"}), "8ghm4gmd8c"),
        (secret({"a": b"1"}, "kubernetes.io/basic-auth"), "ff7cm8759k"),
        (secret({"pw": b"s3cr<t"}), "tkc2btbmck"),
        (secret({"a": b"x" * 52}), "dt47ktk9h6"),
        (secret({"a": b"x" * 102}), "4c84828k9m"),
    ],
)
def test_known_answers(value: dict[str, Any], suffix: str) -> None:
    assert suffix_hash(value) == suffix
    assert len(suffix) == LENGTH
    assert set(suffix) <= set(ALPHABET)


def test_only_the_content_counts() -> None:
    dressed = config_map({"a": "1"}) | {"immutable": True}
    dressed["metadata"] = {
        "name": "other",
        "namespace": "shop",
        "labels": {"a": "b"},
        "annotations": {"c": "d"},
    }
    assert suffix_hash(dressed) == "h29d89cmmt"
    assert suffix_hash(config_map({"a": "2"})) != "h29d89cmmt"


def test_string_data_counts_beside_data() -> None:
    written = secret({"a": b"1"}) | {"stringData": {"b": "2"}}
    assert suffix_hash(written) != suffix_hash(secret({"a": b"1"}))


def test_what_is_neither_has_no_suffix() -> None:
    with pytest.raises(ValueError, match="a Service is not given a hash"):
        suffix_hash({"kind": "Service"})


def test_json_is_that_of_go() -> None:
    assert go_json({"b": "<&>\u2028\u2029", "a": "é\n\x01"}) == (
        '{"a":"é\\n\\u0001","b":"\\u003c\\u0026\\u003e\\u2028\\u2029"}'
    )


def test_base64_is_wrapped_from_seventy_on() -> None:
    assert "\n" not in wrapped_base64(b"x" * 51)
    lines = wrapped_base64(b"x" * 52).split("\n")
    assert [len(line) for line in lines] == [70, 2, 0]


def test_no_suffix_can_spell_a_word() -> None:
    assert encode("013ae24567ffff") == "ghkmt24567"
