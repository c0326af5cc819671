"""`reroll generate` writes what the real kustomize writes, byte for byte, names with their hashes included."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from reroll.manifests.go_yaml import dump, meaning
from reroll.manifests.hash_names import HashNames, Options
from reroll.manifests.stream import read_documents
from tests.manifests.kustomizations import ours, theirs, written
from tests.manifests.programs import located, run

pytestmark = pytest.mark.slow


EXAMPLES = 60
"""Of each property; one of them is a build of several generators or objects."""

QUICK = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module", autouse=True)
def kustomize() -> None:
    """Built before the first test, for that can take a minute."""
    located("kustomize")


# kustomize changes or refuses these on their way through its own YAML: a line that begins with a tab, control
# characters, and line ends that are not those of Unix. What it makes of them is no content that anybody wrote.
# What is a letter depends on the edition of Unicode, so the characters are those that every edition has.
text = st.text(
    st.characters(max_codepoint=0x9FFF, exclude_categories=("Cs", "Cc", "Cn", "Zl", "Zp"), include_characters="\n")
    | st.sampled_from("\n  :#'\"\\-?&*0123456789_ntfyoebx.{}[]|>%@`😀"),
    max_size=150,
)  # fmt: skip
words = st.sampled_from(
    [
        "yes",
        "null",
        "~",
        "1e3",
        "0x1f",
        "017",
        "08",
        "1:30",
        "2020-01-02",
        "-",
        "---",
        "<b>&</b>",
        "1_0",
        ".5",
        "",
    ]
)
# Keys that are numbers, true or null without quotes it can't write at all.
keys = st.text(
    st.characters(max_codepoint=0x9FFF, categories=("L", "N"), include_characters="._-"),
    min_size=1,
    max_size=40,
).filter(
    lambda key: meaning(key) == "text" and key.lower() not in ("true", "false", "null", ".inf", ".nan")
) | (st.sampled_from(["application.yaml", "a2", "a10", "tls.crt", ".env", "y", "no", "ключ", "鍵"]))
labels = st.dictionaries(keys, text | words, max_size=3)
content = st.binary(max_size=300) | text.map(str.encode) | st.binary(min_size=40, max_size=60)
options = st.fixed_dictionaries(
    {},
    optional={
        "labels": labels,
        "annotations": labels,
        "immutable": st.booleans(),
        "disableNameSuffixHash": st.booleans(),
    },
)
generators = st.fixed_dictionaries(
    {
        "literals": st.dictionaries(keys, text | words, max_size=4),
        "files": st.dictionaries(keys, content, max_size=3),
        "options": options,
        "type": st.sampled_from(["", "kubernetes.io/tls", "example.com/x"]),
    }
)


def harmless(content: bytes) -> bool:
    """Text that is not among what kustomize spoils; or bytes that are no text."""
    try:
        decoded = content.decode()
    except UnicodeDecodeError:
        return True
    return all(c == "\n" or (c.isprintable() or c in " \xa0") for c in decoded)


def kustomization(made: list[dict[str, Any]], general: dict[str, Any]) -> dict[str, str | bytes]:
    """The files of one that makes a ConfigMap and a Secret of each."""
    entries: dict[str, list[dict[str, Any]]] = {"configMapGenerator": [], "secretGenerator": []}
    files: dict[str, str | bytes] = {}
    for number, one in enumerate(made):
        for kind, listed in entries.items():
            entry: dict[str, Any] = {"name": f"g{number}", "options": one["options"]}
            entry["literals"] = [f"{key}='{value}'" for key, value in one["literals"].items()]
            entry["files"] = []
            for key, value in one["files"].items():
                if key not in one["literals"] and harmless(value):
                    files[f"f{number}-{len(entry['files'])}"] = value
                    entry["files"].append(f"{key}=f{number}-{len(entry['files'])}")
            if kind == "secretGenerator" and one["type"]:
                entry["type"] = one["type"]
            listed.append(entry)
    whole = {**entries, "generatorOptions": general}
    return files | {"kustomization.yaml": json.dumps(whole, ensure_ascii=False)}


@given(st.lists(generators, min_size=1, max_size=8), options)
@QUICK
def test_generated_objects(made: list[dict[str, Any]], general: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = written(Path(name), kustomization(made, general))
        assert ours(folder) == theirs(folder)


def test_plain_manifests_are_given_the_same_names() -> None:
    """Of what has no suffix, `--hash-names` makes the names that kustomize's generators give."""
    seen: set[str] = set()
    binary: set[str] = set()
    immutable: set[str] = set()
    unicode: set[str] = set()

    @given(st.lists(generators.filter(lambda one: one["literals"]), min_size=3, max_size=6), st.booleans())
    @QUICK
    def check(made: list[dict[str, Any]], frozen: bool) -> None:
        for one in made:
            one["options"].pop("disableNameSuffixHash", None)
        general = {"immutable": frozen}
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            named = theirs(written(folder / "named", kustomization(made, general)))
            plain = theirs(
                written(folder / "plain", kustomization(made, general | {"disableNameSuffixHash": True}))
            )
        done = HashNames(Options(all=True, mark=False))
        done.learn(read_documents(plain, "plain"))
        done.decide()
        text = "".join(done.written(read_documents(plain, "plain"), 0))
        expected = loaded(named)
        assert loaded(text).keys() == expected.keys()
        seen.update(expected)
        for what, value in expected.items():
            content = value.get("data", {})
            binary.update([what] if "binaryData" in value else [])
            immutable.update([what] if value.get("immutable") else [])
            unicode.update([what] if any(not key.isascii() for key in content) else [])

    check()
    assert len(seen) >= 200
    assert binary
    assert immutable
    assert unicode


def loaded(text: str) -> dict[str, Any]:
    """The objects, by kind and name."""
    found = (placed.value for document in read_documents(text, "built") for placed in document.placed)
    return {f"{one['kind']}/{one['metadata']['name']}": one for one in found}


scalars = (
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | text | words
    | st.floats(allow_nan=False, allow_infinity=False)
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda below: (
        st.lists(below.filter(lambda v: v is not None), max_size=4) | st.dictionaries(text, below, max_size=4)
    ),
    max_leaves=25,
)


@given(st.dictionaries(keys, values, max_size=8))
@example({"A": [{"<<": 1}, {"b": {"<<": [2], "c": 3}}], "<<": {"z": 1}})
@example({"A": "<<", "B": ["<<"], "C": {"D": "<<"}})
@QUICK
def test_any_object_is_written_as_go_writes_it(spec: dict[str, Any]) -> None:
    value = {"apiVersion": "v1", "kind": "Foo", "metadata": {"name": "x"}, "spec": spec}
    file = json.dumps(value, ensure_ascii=False)
    with tempfile.TemporaryDirectory() as name:
        folder = written(Path(name), {"kustomization.yaml": "resources: [x.json]", "x.json": file})
        done = run("kustomize", "build", folder, ok=False)
        if done.returncode == 0:  # else its own parser can't read what it wrote, such as a very long key
            assert dump(json.loads(file)) == done.stdout.decode()
            assert ours(folder) == done.stdout.decode()
