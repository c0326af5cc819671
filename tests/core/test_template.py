"""The template's types, and the hash that tells somebody else's rollout from reroll's own."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reroll.core.references import references
from reroll.core.template import PodTemplate, template_hash

Json = dict[str, Any]

TEMPLATE: Json = {
    "metadata": {"labels": {"app": "web"}, "annotations": {"prometheus.io/scrape": "true"}},
    "spec": {
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "containers": [
            {
                "name": "web",
                "image": "web:1",
                "restartPolicy": "Always",
                "env": [
                    {
                        "name": "A",
                        "valueFrom": {"configMapKeyRef": {"name": "a", "key": "k", "optional": True}},
                    },
                    {"name": "B", "valueFrom": {"secretKeyRef": {"name": "b", "key": "k", "optional": True}}},
                ],
                "envFrom": [
                    {"prefix": "P_", "configMapRef": {"name": "c", "optional": True}},
                    {"prefix": "Q_", "secretRef": {"name": "d", "optional": True}},
                ],
                "volumeMounts": [
                    {"name": name, "mountPath": f"/{name}", "subPath": "f", "subPathExpr": "$(A)"}
                    for name in ("e", "f", "g", "h", "i", "j", "k")
                ],
            }
        ],
        "initContainers": [{"name": "init", "env": []}],
        "ephemeralContainers": [{"name": "debug", "env": []}],
        "volumes": [
            {"name": "e", "configMap": {"name": "e", "items": [{"key": "f", "path": "f"}], "optional": True}},
            {
                "name": "f",
                "secret": {"secretName": "f", "items": [{"key": "f", "path": "f"}], "optional": True},
            },
            {
                "name": "g",
                "projected": {
                    "sources": [
                        {"configMap": {"name": "g1", "items": [{"key": "f", "path": "f"}]}},
                        {"secret": {"name": "g2", "items": None}},
                    ]
                },
            },
            {"name": "h", "csi": {"driver": "d", "nodePublishSecretRef": {"name": "h"}}},
            {"name": "i", "scaleIO": {"secretRef": {"name": "i"}}},
            {"name": "j", "azureFile": {"secretName": "j"}},
            {"name": "k", "flexVolume": {"secretRef": {"name": "k"}}},
        ],
        "imagePullSecrets": [{"name": "pull"}],
    },
}


def decode(template: Any) -> PodTemplate:
    return msgspec.json.decode(msgspec.json.encode(template), type=PodTemplate)


def hashed(template: Any) -> str:
    return template_hash(json.dumps(template).encode())


def edited(path: str, value: Any, template: Json = TEMPLATE) -> Json:
    """A copy with the field at `path`, such as ``spec containers 0 image``, set; taken out for ``...``."""
    copy: Json = json.loads(json.dumps(template))
    *parents, last = path.split(" ")
    place: Any = copy
    for parent in parents:
        place = place[int(parent)] if isinstance(place, list) else place.setdefault(parent, {})
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return copy


def fields(value: Any, path: str) -> Iterator[str]:
    """The path of every field of every object in it."""
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, held in steps:
        here = f"{path} {step}"
        if isinstance(value, dict):
            yield here
        yield from fields(held, here)


# --- types -------------------------------------------------------------------------------------------


def test_every_typed_field_is_read() -> None:
    """Each name of the API is spelled as in the API: every object of the template above is found."""
    names = {ref.name for ref in references(decode(TEMPLATE))}
    assert names == {"a", "b", "c", "d", "e", "f", "g1", "g2", "h", "i", "j", "k", "pull"}


@pytest.mark.parametrize(
    "path", ["metadata", "metadata annotations", "spec", *fields(TEMPLATE["spec"], "spec")]
)
def test_any_field_may_be_null_or_absent(path: str) -> None:
    nulled, absent = references(decode(edited(path, None))), references(decode(edited(path, ...)))
    assert nulled == absent


@pytest.mark.parametrize(
    "text", ["{}", '{"metadata":null}', '{"metadata":{}}', '{"metadata":{"annotations":null}}']
)
def test_annotations_are_a_map_even_where_there_are_none(text: str) -> None:
    template = msgspec.json.decode(text, type=PodTemplate)
    assert template.metadata.annotations == {}
    assert not template.spec.containers


def test_annotations_and_spec_are_there() -> None:
    template = decode(TEMPLATE)
    assert template.metadata.annotations == {"prometheus.io/scrape": "true"}
    assert [container.name for container in template.spec.containers or ()] == ["web"]


# --- hash --------------------------------------------------------------------------------------------


def annotated(**more: Any) -> Json:
    """The template with these annotations of reroll's added to its own."""
    own = TEMPLATE["metadata"]["annotations"]
    return edited("metadata annotations", own | {f"reroll.dev/{name}": value for name, value in more.items()})


def shuffled(value: Any, seed: int) -> Any:
    """The same JSON with the keys of each object in another order."""
    order = random.Random(seed)
    if isinstance(value, dict):
        keys = list(value)
        order.shuffle(keys)
        return {key: shuffled(value[key], seed + 1) for key in keys}
    return [shuffled(held, seed + 1) for held in value] if isinstance(value, list) else value


def test_the_hash_is_the_same_for_ever() -> None:
    """It stands in annotations: another value after an upgrade of reroll would look like everybody's rollout."""
    # The second is made without the code under test: of compact JSON with sorted keys.
    compact = json.dumps(TEMPLATE["metadata"], sort_keys=True, separators=(",", ":")).encode()
    assert template_hash(b"{}") == "2afb9b83f9314e5d"
    assert hashed(TEMPLATE["metadata"]) == hashlib.blake2b(compact, digest_size=16).hexdigest()[:16]
    assert hashed(TEMPLATE) == "0c3661b66f986636"


@pytest.mark.parametrize(
    "same",
    [
        pytest.param(annotated(config="x"), id="the mark"),
        pytest.param(annotated(config="x", other="y"), id="several marks"),
        pytest.param(edited("metadata creationTimestamp", None), id="creationTimestamp as before 1.34"),
        pytest.param(edited("metadata name", None), id="a null field"),
        pytest.param(edited("spec nodeSelector", None), id="a null field of the spec"),
        pytest.param(edited("spec containers 0 lifecycle", None), id="a null field in a list"),
        pytest.param(edited("spec terminationGracePeriodSeconds", 30.0), id="30.0"),
    ],
)
def test_what_means_the_same_has_the_same_hash(same: Json) -> None:
    assert json.dumps(same) != json.dumps(TEMPLATE)
    assert hashed(same) == hashed(TEMPLATE)


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {},
        {"creationTimestamp": None},
        {"annotations": None},
        {"annotations": {}},
        {"annotations": {"reroll.dev/config": "x"}},
        {"annotations": {"reroll.dev/config": "x"}, "creationTimestamp": None},
    ],
)
def test_metadata_that_only_marks_filled_is_none(metadata: Json | None) -> None:
    assert hashed({"metadata": metadata, "spec": {"x": 1}}) == hashed({"spec": {"x": 1}})


@pytest.mark.parametrize("metadata", [None, {}, {"creationTimestamp": None}])
def test_nested_metadata_that_is_empty_is_none(metadata: Json | None) -> None:
    """The template of an ephemeral volume's claim has metadata too, which old API servers fill with a null."""
    claim = {"spec": {"accessModes": ["ReadWriteOnce"]}}
    volumes = "spec volumes"
    plain = edited(volumes, [{"name": "v", "ephemeral": {"volumeClaimTemplate": claim}}])
    old = edited(
        volumes, [{"name": "v", "ephemeral": {"volumeClaimTemplate": claim | {"metadata": metadata}}}]
    )
    assert hashed(old) == hashed(plain)


@pytest.mark.parametrize("number", ["30", "30.0", "3e1", "3E+1", "300e-1"])
def test_the_way_a_number_is_written_does_not_matter(number: str) -> None:
    assert template_hash(f'{{"spec":{{"n":{number}}}}}'.encode()) == template_hash(b'{"spec":{"n":30}}')


@pytest.mark.parametrize(("one", "same"), [("0.5", "5e-1"), ("-0.0", "0"), ("1e20", "100000000000000000000")])
def test_other_numbers(one: str, same: str) -> None:
    assert template_hash(f"[{one}]".encode()) == template_hash(f"[{same}]".encode())


def test_white_space_and_escapes_do_not_matter() -> None:
    text = json.dumps(TEMPLATE, indent=2).replace("web:1", "\\u0077eb:1").encode()
    assert b"u0077" in text
    assert template_hash(text) == hashed(TEMPLATE)


def test_raw_json_is_hashed_as_its_bytes() -> None:
    text = msgspec.json.encode(TEMPLATE)
    assert template_hash(msgspec.Raw(text)) == template_hash(text)


@given(seed=st.integers(0, 10_000))
def test_the_order_of_keys_does_not_matter(seed: int) -> None:
    assert hashed(shuffled(TEMPLATE, seed)) == hashed(TEMPLATE)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(edited("spec containers 0 image", "web:2"), id="image"),
        pytest.param(edited("spec hostNetwork", True), id="a field that has no type here"),
        pytest.param(edited("metadata labels app", "shop"), id="a label"),
        pytest.param(edited("metadata annotations own", "x"), id="another's annotation"),
        pytest.param(
            edited("metadata annotations", {"kubectl.kubernetes.io/restartedAt": "2026-11-23T00:00:00Z"}),
            id="rollout restart",
        ),
        pytest.param(edited("metadata annotations reroll", "dev/x"), id="an annotation much like a mark"),
        pytest.param(edited("metadata labels reroll.dev/config", "x"), id="a label much like a mark"),
        pytest.param(edited("metadata creationTimestamp", "2026-11-23T00:00:00Z"), id="a real time"),
        pytest.param(edited("spec securityContext", {}), id="an empty object"),
        pytest.param(edited("spec terminationGracePeriodSeconds", "30"), id="a string for a number"),
        pytest.param(edited("spec hostNetwork", False), id="false is not absent"),
        pytest.param(
            edited("spec containers", [*TEMPLATE["spec"]["containers"], {"name": "z"}]),
            id="a container more",
        ),
    ],
)
def test_what_differs_has_another_hash(other: Json) -> None:
    assert hashed(other) != hashed(TEMPLATE)


def test_the_order_of_lists_matters() -> None:
    volumes = TEMPLATE["spec"]["volumes"]
    assert hashed(edited("spec volumes", volumes[::-1])) != hashed(TEMPLATE)


def test_a_value_that_reads_like_null_or_metadata_is_kept() -> None:
    words = edited("metadata annotations text", '":null,"metadata":{}')
    assert hashed(words) != hashed(TEMPLATE)
    assert hashed(edited("spec nodeName", None, words)) == hashed(words)


def test_nulls_in_lists_are_kept() -> None:
    assert template_hash(b"[1,null]") != template_hash(b"[1]")


@pytest.mark.parametrize(
    "text", [b"null", b"[]", b'"x"', b'{"metadata":[]}', b'{"metadata":{"annotations":7}}']
)
def test_what_is_no_template_has_a_hash_too(text: bytes) -> None:
    """Types are not looked at: a custom kind may hold anything there."""
    assert len(template_hash(text)) == 16


@pytest.mark.parametrize("text", [b"", b"{", b"{}x", b"\xff"])
def test_what_is_not_json_is_an_error(text: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        template_hash(text)


scalars = (
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9) | st.text(max_size=5)
)
keys = st.sampled_from(["metadata", "annotations", "spec", "reroll.dev/config", "a", "b"])
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=15,
)


def meaning(value: Any) -> Any:
    """What is left of a document without null fields and empty metadata, said another way than in the code."""
    if isinstance(value, list):
        return [meaning(held) for held in value]
    if not isinstance(value, dict):
        return value
    kept = {key: meaning(held) for key, held in value.items() if held is not None}
    return {key: held for key, held in kept.items() if (key, held) != ("metadata", {})}


@given(spec=documents, other=documents, seed=st.integers(0, 100))
def test_two_specs_have_one_hash_exactly_if_they_mean_the_same(spec: Any, other: Any, seed: int) -> None:
    def text(value: Any) -> str:
        return json.dumps(meaning({"spec": value}), sort_keys=True, default=str)

    one, two = hashed({"spec": spec}), hashed({"spec": other})
    assert hashed({"spec": shuffled(spec, seed)}) == one
    assert hashed(meaning({"spec": spec})) == one
    assert (one == two) == (canonical(text(spec)) == canonical(text(other)))


def canonical(text: str) -> str:
    """The text with numbers that are whole written as integers."""
    whole = json.loads(text, parse_float=lambda n: int(float(n)) if float(n).is_integer() else float(n))
    return json.dumps(whole, sort_keys=True)
