from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from reroll.core import digests
from reroll.core.applied import total
from reroll.core.compare import current
from reroll.core.digests import DigestKey
from reroll.core.records import ConfigId, ConfigRecord, Consumed
from reroll.manifests.problem import ManifestError
from reroll.manifests.scalar import scalar
from reroll.manifests.stamp.options import RECORD, Extra, Options, templates_of
from reroll.manifests.stamp.run import Stamper, by_file, sources, stamped, to_stream
from reroll.manifests.stream import read_documents

TEMPLATES = templates_of(False)


def options(**given: Any) -> Options:
    return Options(**{"templates": TEMPLATES, "missing": "ignore", **given})


def stamp(text: str, **given: Any) -> str:
    stamper = Stamper(options(**given))
    out = io.BytesIO()
    with sources(["-"], io.BytesIO(text.encode())) as found:
        stamped(stamper, found)
        to_stream(stamper, found, out)
    return out.getvalue().decode()


def config_map(name: str = "app", **data: str) -> str:
    return yaml.safe_dump({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})


def secret(name: str = "app", **data: str) -> str:
    return yaml.safe_dump(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}
    )


def workload(
    *env_from: str,
    name: str = "web",
    kind: str = "Deployment",
    env: Sequence[tuple[str, str]] = (),
    **more: Any,
) -> str:
    """References: ``configmap/app`` for envFrom; (configmap, key) for env."""
    container: dict[str, Any] = {"name": "main", "image": "app"}
    container["envFrom"] = [
        {"configMapRef" if one.startswith("configmap/") else "secretRef": {"name": one.split("/")[1]}}
        for one in env_from
    ]
    container["env"] = [
        {"name": key.upper(), "valueFrom": {"configMapKeyRef": {"name": of, "key": key}}} for of, key in env
    ]
    template: dict[str, Any] = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}
    spec: dict[str, Any] = {"template": template}
    if kind == "CronJob":
        spec = {"jobTemplate": {"spec": spec}}
    group = "batch/v1" if kind in ("CronJob", "Job") else "apps/v1"
    metadata = {"name": name, **more}
    return yaml.safe_dump(
        {"apiVersion": group, "kind": kind, "metadata": metadata, "spec": spec}, sort_keys=False
    )


def annotated(text: str, name: str = "web") -> dict[str, str]:
    for document in read_documents(text, "x"):
        for one in document.objects:
            if one["metadata"]["name"] == name and "spec" in one:
                spec = one["spec"].get("jobTemplate", one)["spec"]
                found: dict[str, str] = spec["template"].get("metadata", {}).get("annotations", {})
                return found
    raise AssertionError(name)


def join(*documents: str) -> str:
    return "---\n" + "---\n".join(documents)


def digest(text: str, **given: Any) -> str:
    return annotated(stamp(text, **given)).get("checksum/config", "")


def test_only_what_is_consumed_counts() -> None:
    one = workload(env=[("app", "a")])
    before = digest(join(one, config_map(a="1", b="1")))
    assert before == digest(join(one, config_map(a="1", b="2")))
    assert before != digest(join(one, config_map(a="2", b="1")))
    assert before != digest(join(one, config_map(b="1")))
    whole = workload("configmap/app")
    assert digest(join(whole, config_map(a="1"))) != digest(join(whole, config_map(a="1", b="2")))
    assert digest(join(whole, config_map(a="1"))) == digest(
        join(config_map(a="1"), whole, config_map("other", x="1"))
    )


def test_metadata_of_a_config_object_does_not_count() -> None:
    text = join(workload("configmap/app"), config_map(a="1"))
    labelled = text.replace("\n  name: app\n", "\n  name: app\n  labels: {helm.sh/chart: web-2}\n")
    assert labelled != text
    assert digest(text) == digest(labelled)


def test_it_is_what_the_controller_writes() -> None:
    text = join(workload("configmap/app", "secret/db"), config_map(a="1", b="é"), secret("db", p="x"))
    key = DigestKey(bytes(range(32)))
    configs = {}
    for config, content in (
        (ConfigId("configmap", "shop", "app"), digests.config_map_digests({"a": "1", "b": "é"}, None)),
        (ConfigId("secret", "shop", "db"), digests.secret_digests("shop", "db", {"p": "eA=="}, key)),
    ):
        record = ConfigRecord(*content)
        configs[config.short("shop")] = total(current(record, Consumed(config, None, ())))
    assert digest(text, key=key, namespace="shop") == digests.mark(configs)


def test_twice_is_once() -> None:
    once = stamp(join(workload("configmap/app", "secret/db"), config_map(a="1"), secret("db", p="x")))
    assert stamp(once) == once


def test_a_hand_written_checksum_is_replaced_in_its_place() -> None:
    text = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  template:
    metadata:
      annotations:
        checksum/config: 9f86d081884c7d659a2feaa0c55ad015   # by helm
        other: x
    spec:
      containers: [{name: main, envFrom: [{configMapRef: {name: app}}]}]
---
""" + config_map(a="1")
    before, after = text.splitlines(), stamp(text).splitlines()
    assert [b for a, b in zip(before, after, strict=True) if a != b] == [
        f"        checksum/config: {scalar(digest(text))}   # by helm"
    ]


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet", "CronJob"])
def test_each_kind(kind: str) -> None:
    assert digest(join(workload("configmap/app", kind=kind), config_map(a="1")))


def test_jobs_are_stamped_when_asked_for() -> None:
    text = join(workload("configmap/app", kind="Job"), config_map(a="1"))
    assert stamp(text) == text
    assert digest(text, templates=templates_of(True))


def test_other_kinds() -> None:
    text = join(workload("configmap/app", kind="CloneSet"), config_map(a="1")).replace(
        "apps/v1", "apps.kruise.io/v1"
    )
    assert stamp(text) == text
    assert digest(text, templates=templates_of(False, ("CloneSet.apps.kruise.io",)))
    with pytest.raises(ValueError, match=r"write KIND\.GROUP"):
        templates_of(False, ("cloneset",))


def test_secrets_are_slow_to_guess_or_keyed() -> None:
    text = join(workload("secret/db"), secret("db", p="hunter2"))
    slow, keyed = digest(text), digest(text, key=DigestKey(b"k" * 32))
    assert slow
    assert slow != keyed
    assert slow != digest(text.replace("hunter2", "hunter3"))
    assert digest(text, secrets=False) == ""
    encoded = text.replace("stringData", "data").replace("hunter2", "aHVudGVyMg==")
    assert digest(encoded) == slow


def test_what_is_missing() -> None:
    text = join(workload("configmap/app", "configmap/gone"), config_map(a="1"))
    assert digest(text) == digest(join(workload("configmap/app"), config_map(a="1")))
    stamper = Stamper(options(missing="warn"))
    with sources(["-"], io.BytesIO(text.encode())) as found:
        stamped(stamper, found)
    assert len(stamper.notes) == 1
    assert "deployment/web: configmap/gone is not in the manifests" in stamper.notes[0]
    with pytest.raises(ManifestError, match="configmap/gone is not in the manifests") as caught:
        stamp(text, missing="fail")
    assert caught.value.line == 3
    optional = text.replace("name: gone", "name: gone\n            optional: true")
    assert stamp(optional, missing="fail")


def test_what_is_looked_up_counts() -> None:
    text = join(workload("configmap/app", "configmap/gone"), config_map(a="1"))
    stamper = Stamper(options())
    asked: list[ConfigId] = []

    def look_up(wanted: Sequence[ConfigId], contents: Any, namespace: str) -> None:
        asked.extend(wanted)
        contents.add(wanted[0], {"b": b"2"}, None, "the cluster")

    out = io.BytesIO()
    with sources(["-"], io.BytesIO(text.encode())) as found:
        stamped(stamper, found, look_up)
        to_stream(stamper, found, out)
    assert asked == [ConfigId("configmap", "", "gone")]
    both = digest(
        join(workload("configmap/app", "configmap/gone"), config_map(a="1"), config_map("gone", b="2"))
    )
    assert annotated(out.getvalue().decode())["checksum/config"] == both


def test_one_annotation_per_object() -> None:
    name = "n" * 80
    text = join(
        workload("configmap/app", "secret/db", f"configmap/{name}"), config_map(a="1"), secret("db", p="x")
    )
    text += "---\n" + config_map(name, a="1")
    after = stamp(text, per_object=True)
    found = annotated(after)
    assert sorted(found)[:1] == ["checksum/configmap-app"]
    assert "checksum/secret-db" in found
    assert max(len(one.split("/")[1]) for one in found) == 63
    changed = annotated(stamp(after.replace("a: '1'", "a: '2'", 1), per_object=True))
    assert [one for one in found if found[one] != changed[one]] == ["checksum/configmap-app"]
    gone = stamp(
        after.replace("- secretRef:\n            name: db", "- configMapRef:\n            name: app"),
        per_object=True,
    )
    assert "checksum/secret-db" not in annotated(gone)


def test_a_counter_grows_by_one() -> None:
    text = join(workload("configmap/app"), config_map(a="1"))
    given: dict[str, Any] = {"counter": True, "annotation": "configmap-version"}
    first = stamp(text, **given)
    assert annotated(first)["configmap-version"] == "1"
    assert RECORD in first
    assert stamp(first, **given) == first
    second = stamp(first.replace("a: '1'", "a: '2'"), **given)
    assert annotated(second)["configmap-version"] == "2"
    by_hand = text.replace(
        "    metadata:\n      labels:",
        "    metadata:\n      annotations: {configmap-version: '41'}\n      labels:",
    )
    assert annotated(taken := stamp(by_hand, **given))["configmap-version"] == "41"
    assert annotated(stamp(taken.replace("a: '1'", "a: '2'"), **given))["configmap-version"] == "42"
    with pytest.raises(ManifestError, match="is no number"):
        stamp(by_hand.replace("41", "v41"), **given)


def test_extras_count() -> None:
    text = join(workload(), workload(name="api"))
    one = stamp(text, extras=(Extra("file/values.yaml", b"1"),))
    assert (
        annotated(one)["checksum/config"]
        != annotated(stamp(text, extras=(Extra("file/values.yaml", b"2"),)))["checksum/config"]
    )
    assert "checksum/config" in annotated(one, "api")
    only = stamp(text, extras=(Extra("file/values.yaml", b"1", "deployment/web"),))
    assert "checksum/config" not in annotated(only, "api")
    assert annotated(only) == annotated(one)


def test_annotations_of_reroll_hold() -> None:
    ignoring = workload("configmap/app", annotations={"reroll.dev/ignore": "configmap/app#b"})
    assert digest(join(ignoring, config_map(a="1", b="1"))) == digest(
        join(ignoring, config_map(a="1", b="2"))
    )
    named = workload(annotations={"reroll.dev/follow": "configmap/app"})
    assert digest(join(named, config_map(a="1"))) != digest(join(named, config_map(a="2")))
    off = join(workload("configmap/app", annotations={"reroll.dev/auto": "false"}), config_map(a="1"))
    assert stamp(off) == off
    with pytest.raises(ManifestError, match=r"reroll\.dev/mode"):
        stamp(join(workload("configmap/app", annotations={"reroll.dev/mode": "nope"}), config_map(a="1")))


def test_namespaces_keep_apart() -> None:
    def text(a: str, b: str) -> str:
        here = [workload("configmap/app", namespace=n, name=f"web-{n}") for n in "ab"]
        maps = [
            config_map(x=v).replace("name: app", f"name: app\n  namespace: {n}")
            for n, v in (("a", a), ("b", b))
        ]
        return join(*here, *maps)

    def of(name: str, text: str) -> str:
        return annotated(stamp(text), name)["checksum/config"]

    assert of("web-a", text("1", "1")) != of("web-a", text("2", "1"))
    assert of("web-a", text("1", "1")) == of("web-a", text("1", "2"))
    loose = join(workload("configmap/app", namespace="a"), config_map(x="1"))
    assert digest(loose)


def test_the_same_name_with_other_content_is_an_error_where_it_is_read() -> None:
    maps = [config_map(a="1"), config_map(a="2")]
    assert stamp(join(workload(), *maps)) == join(workload(), *maps)
    with pytest.raises(ManifestError, match="twice with different content, at standard input:"):
        stamp(join(workload("configmap/app"), *maps))
    assert digest(join(workload("configmap/app"), maps[0], maps[0]))


@pytest.mark.parametrize(
    ("bad", "line", "message"),
    [
        ("data: {a: 1}", 5, "data.a has to be text"),
        ("data: [a]", 5, "data has to be a mapping"),
        ("binaryData: {a: '*'}", 5, "binaryData.a is not base64"),
        ("data: {a: '1', a: '2'}", 5, "the key a twice"),
    ],
)
def test_config_objects_that_the_server_would_refuse(bad: str, line: int, message: str) -> None:
    text = f"---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: app}}\n{bad}\n"
    with pytest.raises(ManifestError, match=message) as caught:
        stamp(text)
    assert caught.value.line == line
    assert "'2'" not in str(caught.value)


def test_everything_else_passes_byte_for_byte() -> None:
    text = (
        "\ufeff# a comment\r\n---\r\na: 1 # not Kubernetes\r\n---\r\n\r\n---\r\n# only a comment\r\n...\r\n"
        "---\r\napiVersion: apiextensions.k8s.io/v1\r\nkind: CustomResourceDefinition\r\nmetadata: {name: x}\r\n"
        "spec: {versions: [{schema: {openAPIV3Schema: {type: object}}}]}"
    )
    assert stamp(text) == text


def test_items_of_lists_are_stamped() -> None:
    items = [yaml.safe_load(workload("configmap/app", name=name)) for name in ("web", "api")]
    text = yaml.safe_dump(
        {"apiVersion": "v1", "kind": "List", "items": [*items, yaml.safe_load(config_map(a="1"))]}
    )
    after = stamp(text)
    assert annotated(after, "web") == annotated(after, "api") != {}
    assert stamp(text.replace("\n", "\r\n")).replace("\r\n", "\n") == after


def test_files_become_one_stream(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(workload("configmap/app").rstrip("\n"))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c.yml").write_text(config_map(a="1"))
    (tmp_path / "b" / "d.json").write_text(
        '{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}'
    )
    (tmp_path / "b" / "e.txt").write_text("no")
    stamper = Stamper(options())
    out = io.BytesIO()
    with sources([str(tmp_path)], io.BytesIO()) as found:
        stamped(stamper, found)
        to_stream(stamper, found, out)
    kinds = [one["kind"] for one in yaml.safe_load_all(out.getvalue())]
    assert kinds == ["Deployment", "ConfigMap", "Secret"]
    (changed,) = by_file(stamper, found)
    assert changed[0].path == tmp_path / "a.yaml"
    assert "checksum/config" in changed[2]


def test_a_file_that_changes_meanwhile_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(config_map(a="1"))
    stamper = Stamper(options())
    with sources([str(file)], io.BytesIO()) as found:
        stamped(stamper, found)
        file.write_text(config_map(a="1", b="2"))
        with pytest.raises(ManifestError, match="was changed while"):
            to_stream(stamper, found, io.BytesIO())


# PyYAML writes these words without quotes, and to Kubernetes they are then no text.
WORDS = st.text(max_size=5).filter(lambda text: text not in ("y", "Y", "n", "N"))
DATA = st.dictionaries(st.sampled_from("abc"), WORDS, max_size=3)


@settings(max_examples=60, deadline=None)
@given(DATA, DATA, st.sets(st.sampled_from("abc")))
def test_the_digest_differs_exactly_where_what_is_read_does(
    first: dict[str, str], second: dict[str, str], keys: set[str]
) -> None:
    one = workload(env=[("app", key) for key in sorted(keys)])
    read = [{key: data.get(key) for key in keys} for data in (first, second)]
    found = [digest(join(one, config_map("app", **data))) for data in (first, second)]
    assert (found[0] == found[1]) == (read[0] == read[1])


def test_order_does_not_matter() -> None:
    parts = [workload("configmap/app", "configmap/b"), config_map(a="1"), config_map("b", x="1")]
    assert len({digest(join(*order)) for order in itertools.permutations(parts)}) == 1


FUNCTION = """\
apiVersion: config.kubernetes.io/v1
kind: ResourceList
functionConfig:
  apiVersion: v1
  kind: ConfigMap
  metadata: {name: stamp}
  data: %s
items:
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: app}
  data: {a: "1"}
- apiVersion: apps/v1
  kind: Deployment
  metadata: {name: web}
  spec:
    template:
      spec:
        containers: [{name: main, envFrom: [{configMapRef: {name: app}}]}]
"""


def test_a_resource_list_is_a_function_call() -> None:
    after = stamp(FUNCTION % "{annotation: example.com/config, perObject: 'true'}")
    assert list(annotated(after)) == ["example.com/configmap-app"]
    assert after.startswith("apiVersion: config.kubernetes.io/v1\nkind: ResourceList\nfunctionConfig:\n")
    with pytest.raises(ManifestError, match="functionConfig: anotation is not understood") as caught:
        stamp(FUNCTION % "{anotation: x}")
    assert (caught.value.line, caught.value.column) == (7, 10)
