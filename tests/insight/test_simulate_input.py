"""What simulate reads, and what it says of what it can't read: file, line, and never a value."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from reroll.core.digests import DigestKey, config_map_digest
from reroll.core.records import ConfigId, WorkloadId
from reroll.insight.simulation.bad_input import BadInput, Origin
from reroll.insight.simulation.clock import VirtualLoop
from reroll.insight.simulation.documents import parse
from reroll.insight.simulation.manifests import objects, world_of
from reroll.insight.simulation.scenario import from_file
from reroll.insight.simulation.world import NO_KEY, Config, World

KEY = DigestKey(NO_KEY)
CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app}\ndata: {a: b}\n"


def world(text: str | bytes, default_namespace: str = "default") -> World:
    body = text.encode() if isinstance(text, str) else text
    return world_of(["-"], io.BytesIO(body), KEY, now=1.0, default_namespace=default_namespace)


def test_documents_lists_and_json_each_with_its_line() -> None:
    text = b"""# Source: chart/templates/a.yaml
---
apiVersion: v1
kind: ConfigMap
---
---
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Secret
- apiVersion: apps/v1
  kind: DeploymentList
  items:
  - metadata: {name: web}
"""
    found = [(d.origin.line, d.value["apiVersion"], d.value["kind"]) for d in parse(text, "f")]
    assert found == [(3, "v1", "ConfigMap"), (10, "v1", "Secret"), (15, "apps/v1", "Deployment")]
    body = msgspec.json.encode(
        {"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "v1", "kind": "A"}]}
    )
    [document] = parse(body, "f.json")
    assert str(document.origin) == "f.json:1 (item 1)"


def test_flow_style_that_looks_like_json_is_yaml() -> None:
    assert (
        ConfigId("configmap", "default", "a")
        in world("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}").configs
    )


def test_folders_are_read_in_order_and_below(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "two.yml").write_text(CONFIG_MAP.replace("app", "two"))
    (tmp_path / "one.yaml").write_text(CONFIG_MAP)
    (tmp_path / "notes.txt").write_text("{{{{")
    found = world_of([str(tmp_path)], io.BytesIO(), KEY, now=1.0, default_namespace="shop")
    assert [c.name for c in found.configs] == ["two", "app"]
    assert {c.namespace for c in found.configs} == {"shop"}


LAUGHS = "a0: &a0 {x: y}\n" + "".join(
    f"a{n}: &a{n} [{', '.join(10 * [f'*a{n - 1}'])}]\n" for n in range(1, 10)
)


@pytest.mark.parametrize("bomb", [LAUGHS, "a: &a\n  b: *a\n"], ids=["billion laughs", "endless"])
def test_aliases_that_never_end_are_refused(bomb: str) -> None:
    text = CONFIG_MAP + "---\n" + bomb
    with pytest.raises(BadInput, match="by aliases until they are more than") as caught:
        world(text)
    assert caught.value.origin.line == 6


def test_aliases_are_read() -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app}\ndata: {a: &a b, c: *a}\n"
    assert ConfigId("configmap", "default", "app") in world(text).configs


@pytest.mark.parametrize(
    ("name", "build"), [("kustomization.yaml", "kubectl kustomize"), ("Chart.yaml", "helm template")]
)
def test_a_folder_that_has_to_be_built_is_told(tmp_path: Path, name: str, build: str) -> None:
    (tmp_path / name).write_text("resources: []")
    (tmp_path / "app.yaml").write_text(CONFIG_MAP)
    with pytest.raises(BadInput, match=build):
        world_of([str(tmp_path)], io.BytesIO(), KEY, now=1.0, default_namespace="shop")


def test_values_become_digests_of_what_pods_see() -> None:
    found = world(
        CONFIG_MAP + "binaryData: {c: Ym9i}\n---\n"
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {x: Ym9i, y: b25l}\nstringData: {y: two}\n"
    )
    config = found.configs[ConfigId("configmap", "default", "app")]
    assert config.digests == {"a": config_map_digest(b"b"), "c": config_map_digest(b"bob")}
    secret = found.configs[ConfigId("secret", "default", "s")]
    assert secret.digests == {
        "x": KEY.digest("default", "s", "x", b"bob"),
        "y": KEY.digest("default", "s", "y", b"two"),
    }


def test_other_kinds_are_counted() -> None:
    others: Counter[str] = Counter()
    documents = parse(
        b"{apiVersion: v1, kind: Service}\n---\n{apiVersion: apps/v1beta1, kind: Deployment}", "f"
    )
    assert list(objects(documents, KEY, default_namespace="d", others=others)) == []
    assert others == {"Service": 1, "Deployment": 1}


WORKLOAD = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: [b\nc: d\n", 2, "not valid YAML"),
        (CONFIG_MAP + "\tx: 1", 5, "not valid YAML"),
        ("a: *nowhere", 1, "not valid YAML"),
        ("kind: ConfigMap\n---\n- 1\n", 1, "no apiVersion and kind"),
        (CONFIG_MAP + "---\n- 1\n", 6, "found a list"),
        (CONFIG_MAP + "---\njust text\n", 6, "found text"),
        ('{"apiVersion": "v1", "kind":\n "ConfigMap", ]', 2, "not valid YAML"),
        ("apiVersion: v1\nkind: List\nitems: {a: b}\n", 1, "are no list"),
        ("apiVersion: v1\nkind: List\nitems:\n- 1\n", 4, "found a number"),
        ("apiVersion: v1\nkind: ConfigMap\n", 1, "has no metadata.name"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: A_B}\n", 1, "is no name"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: 7}\n", 1, "metadata"),
        (CONFIG_MAP.replace("{a: b}", "{a: 8080}"), 1, "data.a is a number, and has to be text"),
        (CONFIG_MAP.replace("{a: b}", "{a: yes}"), 1, "data.a is a boolean"),
        (CONFIG_MAP.replace("{a: b}", "[a]"), 1, "data is a list"),
        (CONFIG_MAP.replace("{a: b}", "{'a b': c}"), 1, "a key that is none"),
        (CONFIG_MAP + "binaryData: {b: '%%%'}", 1, "binaryData.b is not base64"),
        (
            CONFIG_MAP + "---\n" + CONFIG_MAP,
            6,
            "configmap/default/app was defined before, at standard input:1",
        ),
        (WORKLOAD, 1, "deployment/default/web has no spec.template"),
        (WORKLOAD + "spec: {template: {spec: {containers: 7}}}", 1, "containers"),
        (WORKLOAD + "spec: {replicas: many, template: {}}", 1, "replicas"),
        ("{apiVersion: v1, kind: Service}", 0, "only 1 Service"),
        ("", 0, "no object at all"),
        (b"a: \xff", 1, "not UTF-8"),
        (b"\n\na: \x00", 3, "not valid YAML"),
    ],
)
def test_bad_manifests_are_told_by_file_and_line(text: str | bytes, line: int, message: str) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        world(text)
    assert caught.value.origin == Origin("standard input", line)
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {password: hunter2!}\n",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {password: [hunter2!]}\n",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {password: 'hunter2!}\n",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {password: *hunter2! }\n",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {password: !hunter2! x}\n",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {hunter2!: x}\n",
    ],
)
def test_no_error_quotes_a_secret(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        world(text)
    assert "hunter2" not in str(caught.value)


class TestScenario:
    """--scenario FILE."""

    def read(self, tmp_path: Path, text: str) -> list[tuple[float, str, str]]:
        file = tmp_path / "scenario.yaml"
        file.write_text(text)
        return [
            (step.at, step.action, str(step.origin).removeprefix(f"{file}"))
            for step in from_file(str(file), "default")
        ]

    def test_times_hold_until_the_next(self, tmp_path: Path) -> None:
        text = "- set: configmap/a:b=c\n- at: 30s\n  unset: cm/shop/a:b\n\n- delete: secret/x/y\n"
        assert self.read(tmp_path, text) == [
            (0.0, "set", ":1"),
            (30.0, "unset", ":2"),
            (30.0, "delete", ":5"),
        ]

    def test_manifests_are_found_beside_it(self, tmp_path: Path) -> None:
        file = tmp_path / "scenario.yaml"
        file.write_text("- change: new.yaml\n")
        [step] = from_file(str(file), "default")
        assert step.path == str(tmp_path / "new.yaml")

    def test_a_value_is_text_whatever_it_looks_like(self, tmp_path: Path) -> None:
        file = tmp_path / "scenario.yaml"
        file.write_text("- set: configmap/a:b=c=d: e\n")
        with pytest.raises(BadInput, match="not valid YAML"):
            from_file(str(file), "default")
        file.write_text("- set: 'configmap/a:b=c=d: e'\n")
        [step] = from_file(str(file), "default")
        assert (step.target, step.key, step.value) == (ConfigId("configmap", "default", "a"), "b", "c=d: e")

    @pytest.mark.parametrize(
        ("text", "line", "message"),
        [
            ("set: configmap/a:b=c", "", "a scenario is a list"),
            ("- set: configmap/a:b=c\n- at: later\n  delete: cm/a", ":2", "'later' is not a duration"),
            ("- at: 5s\n", ":1", "a step has one change"),
            ("- set: cm/a:b=c\n  delete: cm/a\n", ":1", "a step has one change"),
            ("- set: cm/a:b=c\n- rotate: cm/a\n", ":2", "'rotate' is no change"),
            ("- set: cm/a:b=c\n- delete: [cm/a]\n", ":2", "delete takes text"),
            ("- text\n", ":1", "a step has one change"),
            ("- set: [\n", ":2", "not valid YAML"),
        ],
    )
    def test_mistakes_are_told_by_line(self, tmp_path: Path, text: str, line: str, message: str) -> None:
        with pytest.raises(BadInput, match=message) as caught:
            self.read(tmp_path, text)
        assert str(caught.value).startswith(f"{tmp_path / 'scenario.yaml'}{line}: ")


def test_what_a_world_holds() -> None:
    found = world(CONFIG_MAP + "---\n" + WORKLOAD + "spec: {template: {spec: {}}}\n")
    assert list(found.workloads) == [WorkloadId("Deployment", "default", "web")]
    assert isinstance(next(iter(found.configs.values())), Config)


def test_virtual_time_jumps_to_the_next_timer_and_rests_after_the_last() -> None:
    import asyncio

    rang: list[tuple[str, float]] = []

    async def main() -> float:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)

        def ring(name: str) -> None:
            rang.append((name, round(loop.time(), 6)))

        for name, delay in (("late", 7200.0), ("early", 0.5), ("at once", 0.0)):
            loop.call_later(delay, ring, name)
        cancelled = loop.call_later(1e6, rang.append, ("never", 0.0))
        cancelled.cancel()
        await loop.rest()
        return loop.time()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        ended = runner.run(main())
    assert rang == [("at once", 0.0), ("early", 0.5), ("late", 7200.0)]
    assert round(ended, 6) == 7200.0


def test_waiting_for_nothing_is_told() -> None:
    import asyncio

    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with (
        asyncio.Runner(loop_factory=VirtualLoop) as runner,
        pytest.raises(RuntimeError, match="nothing is going"),
    ):
        runner.run(main())
