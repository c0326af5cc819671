"""Objects as kubectl sends them for its own commands."""

from __future__ import annotations

import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reroll.sandbox.protobuf import ProtobufError, decode


def field(number: int, content: bytes | str | int) -> bytes:
    """One field of a message: a varint, or bytes with their length."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    data = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(data)) + data


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def envelope(api_version: str, kind: str, raw: bytes) -> bytes:
    return b"k8s\x00" + field(1, field(1, api_version) + field(2, kind)) + field(2, raw)


def entry(key: str, value: str | bytes) -> bytes:
    return field(1, key) + field(2, value)


META = (
    field(1, "app") + field(2, "") + field(3, "") + field(7, 0) + field(8, b"") + field(11, entry("a", "b"))
)


def test_a_config_map() -> None:
    raw = (
        field(1, META)
        + field(2, entry("x", "1"))
        + field(2, entry("empty", ""))
        + field(3, entry("b", b"\x00\xff"))
    )
    assert decode(envelope("v1", "ConfigMap", raw)) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "app", "labels": {"a": "b"}},
        "data": {"x": "1", "empty": ""},
        "binaryData": {"b": base64.b64encode(b"\x00\xff").decode()},
    }


def test_a_secret_comes_as_base64() -> None:
    raw = field(1, META) + field(2, entry("x", b"secret")) + field(3, "Opaque")
    found = decode(envelope("v1", "Secret", raw))
    assert found["data"] == {"x": base64.b64encode(b"secret").decode()}
    assert found["type"] == "Opaque"


def test_a_deployment_with_fields_within_fields() -> None:
    volume = field(1, "v") + field(2, field(19, field(1, field(1, "app")) + field(3, 420)))
    probe = field(1, field(2, field(1, "/") + field(2, field(1, 0) + field(2, 80) + field(3, "")))) + field(
        2, 0
    )
    container = field(1, "web") + field(2, "web:1") + field(6, field(3, 80)) + field(11, probe) + field(16, 0)
    template = field(1, META) + field(2, field(1, volume) + field(2, container) + field(4, 0) + field(11, 0))
    spec = field(1, 0) + field(2, field(1, entry("a", "b"))) + field(3, template) + field(5, 0) + field(7, 0)
    found = decode(envelope("apps/v1", "Deployment", field(1, META) + field(2, spec)))
    assert found["spec"]["replicas"] == 0
    assert "paused" not in found["spec"]
    pod = found["spec"]["template"]["spec"]
    assert pod["volumes"] == [{"name": "v", "configMap": {"name": "app", "defaultMode": 420}}]
    (web,) = pod["containers"]
    assert web["ports"] == [{"containerPort": 80}]
    assert web["readinessProbe"]["httpGet"] == {"path": "/", "port": 80}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"k8s\x00",
        envelope("v1", "ConfigMap", b"\xff\xff"),
        envelope("v1", "ConfigMap", field(1, META))[:-3],
        envelope("v1", "ConfigMap", field(1, 7)),
        envelope("v1", "Nonsense", b""),
        envelope("v1", "ConfigMap", b"\x0b"),
        envelope("v1", "ConfigMap", field(2, entry("a", b"\xff"))),
    ],
)
def test_what_is_none(body: bytes) -> None:
    with pytest.raises(ProtobufError):
        decode(body)


@given(st.binary(max_size=60))
def test_any_bytes_are_an_object_or_refused(raw: bytes) -> None:
    with contextlib.suppress(ProtobufError):
        assert decode(envelope("apps/v1", "Deployment", raw))["kind"] == "Deployment"
