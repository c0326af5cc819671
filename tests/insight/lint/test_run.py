"""Comments, selection, mending, forms, and that nothing that people write makes lint fail."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reroll.insight.lint import formats
from reroll.insight.lint.comments import ignored
from reroll.insight.lint.finding import SEVERITIES, shown
from reroll.insight.lint.rules import RULES
from reroll.insight.lint.rules import charts as chart_rules
from reroll.insight.lint.run import lint, mend, read_input, wanted
from reroll.insight.lint.world import World
from tests.insight.lint.stage import config, deployment, env, findings, mount, report, rules

PAGE = Path(__file__).resolve().parents[3] / "docs" / "lint.md"


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.id)
def test_every_rule_has_its_place_on_the_page(rule: Any) -> None:
    text = PAGE.read_text()
    assert f"### {rule.id} {rule.name}\n\n**{rule.severity}**" in text
    assert (f"### {rule.id} {rule.name}\n\n**{rule.severity}**, `--fix`" in text) is rule.fixable
    assert rule.severity in SEVERITIES
    for sentence in (rule.why, rule.todo):
        assert sentence.endswith(".")


BASE = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: app
data:
  a.password: one
  b.password: two
"""


@pytest.mark.parametrize(
    ("old", "new", "left"),
    [
        ("one", "one # reroll:ignore R402", ["b"]),
        ("one", "one # reroll:ignore", ["b"]),
        ("one", "one # why: reroll:ignore R402", ["a", "b"]),
        ("one", "one # reroll:ignore R401", ["a", "b"]),
        ("one", "one # reroll:ignore R401 R402", ["b"]),
        ("one", "one # reroll:ignore R401,R402", ["b"]),
        ("one", "one #reroll:ignore r402", ["b"]),
        ("  a.password", "  # reroll:ignore R402\n  a.password", ["b"]),
        ("  a.password", "  # reroll:ignore R402\n  # because\n  a.password", ["b"]),
        ("  a.password", "  # reroll:ignore R402\n\n  a.password", ["a", "b"]),
        ("data:", "data: # reroll:ignore R402", ["a", "b"]),
        ("apiVersion", "# reroll:ignore R402\napiVersion", []),
        ("apiVersion", "# the app\n# reroll:ignore R402\n---\napiVersion", []),
        ("apiVersion", "---\n# reroll:ignore R402\napiVersion", []),
        ("apiVersion", "# reroll:ignore R4\n---\napiVersion", ["a", "b"]),
    ],
)
def test_comments(old: str, new: str, left: list[str]) -> None:
    text = BASE.replace(old, new, 1)
    found = [one.path[6] for one in findings(text) if one.rule == "R402"]
    assert found == left


def test_a_comment_holds_in_its_document_only() -> None:
    assert rules(f"# reroll:ignore R402\n{BASE}---\n{BASE}") == ["R402", "R402"]


def test_a_comment_about_no_rule() -> None:
    (found,) = [one for one in findings(f"# reroll:ignore R999\n{BASE}") if one.rule == "R002"]
    assert found.line == 1
    assert "R999" in found.message


def test_comments_with_windows_line_ends() -> None:
    assert rules(BASE.replace("one", "one # reroll:ignore R402").replace("\n", "\r\n")) == ["R402"]


@pytest.mark.parametrize(
    ("select", "ignore", "expected"),
    [
        ((), (), True),
        (("R402",), (), True),
        (("R4",), (), True),
        (("R1",), (), False),
        ((), ("R402",), False),
        ((), ("R4",), False),
        ((), ("R1",), True),
        (("R402",), ("R4",), True),
        (("R4",), ("R402",), False),
    ],
)
def test_selection(select: tuple[str, ...], ignore: tuple[str, ...], expected: bool) -> None:
    assert wanted("R402", select, ignore) is expected
    assert bool(report(BASE, select=select, ignore=ignore).findings) is expected


def mended(tmp_path: Path, text: str) -> str:
    file = tmp_path / "a.yaml"
    file.write_bytes(text.encode())
    found = read_input([str(tmp_path)])
    world = World(found.documents)
    done, notes = mend(world, lint(world, found), found.files)
    assert notes == []
    again = read_input([str(tmp_path)])
    left = lint(World(again.documents), again).findings
    assert not any(one.fixable for one in left)
    assert done or file.read_bytes() == text.encode()
    return file.read_bytes().decode()


HEAD = "# kept\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web # kept\n  annotations:\n"
TAIL = "spec:\n  template:\n    spec:\n      containers: [{name: main}]\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('    reroll.dev/atuo: "true"\n', {"reroll.dev/auto": "true"}),
        ("    reroll.dev/auto: true # why\n", {"reroll.dev/auto": "true"}),
        (
            "    configmap.reloader.stakater.com/reload: a|b\n",
            {"configmap.reloader.stakater.com/reload": "(a|b)"},
        ),
        (
            "    secret.reloader.stakater.com/reload: x,a|b,c\n",
            {"secret.reloader.stakater.com/reload": "x,(a|b),c"},
        ),
        ('    reroll.dev/auto: "true"\n', {"reroll.dev/auto": "true"}),
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_mending(tmp_path: Path, before: str, after: dict[str, str], newline: str) -> None:
    other = "---\n# also kept\nkind: Thing\n"
    text = mended(tmp_path, f"{HEAD}{before}{TAIL}{other}".replace("\n", newline))
    assert yaml.safe_load_all(text).__next__()["metadata"]["annotations"] == after
    for comment in ("# kept", "name: web # kept", "# also kept"):
        assert comment in text
    assert text.endswith(other.replace("\n", newline))


def test_what_is_misplaced_is_moved(tmp_path: Path) -> None:
    workload = deployment(carried={"reroll.dev/auto": "true", "app": "x"}, container=env("app"))
    after = yaml.safe_load(
        mended(tmp_path, yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": [workload]}))
    )
    (one,) = after["items"]
    assert one["metadata"]["annotations"] == {"reroll.dev/auto": "true"}
    assert one["spec"]["template"]["metadata"]["annotations"] == {"app": "x"}


def test_a_file_that_can_not_be_read_is_told_and_the_others_are_checked(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: [\n")
    (tmp_path / "b.yaml").write_text(BASE)
    (tmp_path / "c.yaml").write_bytes(b"a: \xff\n")
    (tmp_path / "d.yaml").write_text("kind: ConfigMap\nmetadata: {name: {{ .Values.name }}}\n")
    found = read_input([str(tmp_path), str(tmp_path / "b.yaml")])
    done = lint(World(found.documents), found).findings
    assert [(Path(one.file).name, one.rule) for one in done] == [
        ("a.yaml", "R001"),
        ("b.yaml", "R402"),
        ("b.yaml", "R402"),
        ("c.yaml", "R001"),
        ("d.yaml", "R001"),
    ]


def test_a_chart_in_a_folder(tmp_path: Path) -> None:
    chart = tmp_path / "charts" / "web"
    (chart / "templates").mkdir(parents=True)
    (chart / "crds").mkdir()
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: web\n")
    (chart / "values.yaml").write_text("a: 1\n")
    (chart / "templates" / "x.yaml").write_text("{{- if .Values.a }}\nkind: Deployment\n{{- end }}\n")
    (chart / "crds" / "app.yaml").write_text(BASE)
    found = read_input([str(tmp_path)])
    assert [Path(origin).name for origin in found.files] == ["app.yaml"]
    assert list(found.charts) == [str(chart)]
    assert [one.rule for one in lint(World(found.documents), found).findings] == ["R402", "R402"]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), ""),
        (("a", "b"), "a.b"),
        (("a", 0, "b"), "a[0].b"),
        (("a", "x.y/z"), "a['x.y/z']"),
        (("", 1), "[''][1]"),
    ],
)
def test_paths(path: tuple[str | int, ...], text: str) -> None:
    assert shown(path) == text


def test_sarif() -> None:
    done = json.loads(formats.as_sarif(report(BASE)))
    assert done["version"] == "2.1.0"
    (run,) = done["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"] == "reroll lint"
    assert [rule["id"] for rule in driver["rules"]] == list(RULES)
    assert all(
        rule["defaultConfiguration"]["level"] in ("error", "warning", "note") for rule in driver["rules"]
    )
    for result in run["results"]:
        assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["message"]["text"]
        assert result["level"] in ("error", "warning", "note")
        (location,) = result["locations"]
        region = location["physicalLocation"]["region"]
        assert region["startLine"] >= 1
        assert region["startColumn"] >= 1
        assert location["physicalLocation"]["artifactLocation"]["uri"] == "web.yaml"
    assert len(run["results"]) == 2


def test_other_forms() -> None:
    done = report(BASE)
    data = json.loads(formats.as_json(done))
    assert data == yaml.safe_load(formats.as_yaml(done))
    assert data["summary"] == {"error": 0, "warning": 2, "info": 0}
    assert [one["line"] for one in data["findings"]] == [6, 7]
    junit = ElementTree.fromstring(formats.as_junit(done))
    assert (junit.get("tests"), junit.get("failures")) == ("1", "1")
    clean = ElementTree.fromstring(formats.as_junit(report(config("app"))))
    assert (clean.get("tests"), clean.get("failures")) == ("1", "0")
    assert list(formats.as_text(report(config("app")))) == ["Nothing found in 1 document."]
    assert list(formats.as_text(done))[-1] == "2 warnings in 1 document"


# --- anything at all -------------------------------------------------------------------------------------

SCALARS = st.none() | st.booleans() | st.integers(-9, 99) | st.floats(allow_nan=False) | st.text(max_size=12)
DATA = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=25,
)
WORKLOAD = deployment(
    container={**mount(subPath="level"), **env("app")},
    volumes=[
        {"name": "conf", "configMap": {"name": "app", "items": [{"key": "a", "path": "b"}]}},
        {"name": "all", "projected": {"sources": [{"secret": {"name": "db"}}]}},
    ],
    annotations={"reroll.dev/follow": "a", "reloader.stakater.com/auto": "true"},
    carried={"checksum/config": "a" * 64},
)
OBJECTS = (
    WORKLOAD,
    config(
        "app",
        data={"a": "x"},
        binaryData={"b": "eA=="},
        immutable=True,
        annotations={"reroll.dev/match": "true"},
    ),
    config("db", "Secret", data={"a": "eA=="}, stringData={"b": "x"}),
    {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "secretGenerator": [{"options": {}}],
    },
)


def paths(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [above] if above else []
    for key, inner in (
        value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else ())
    ):
        found += paths(inner, (*above, key))
    return found


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(copy[path[0]], path[1:], new)
    return copy


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_lint_never_raises(data: st.DataObject) -> None:
    objects: list[Any] = []
    for one in OBJECTS:
        for _ in range(data.draw(st.integers(0, 2))):
            one = changed(one, data.draw(st.sampled_from(paths(one) or [()])), data.draw(DATA))
            if not isinstance(one, dict):
                one = {"apiVersion": "v1", "kind": "Pod", "spec": one}
        objects.append(one)
    objects.append(data.draw(DATA))
    done = report(yaml.safe_dump_all(objects, allow_unicode=True), complete=data.draw(st.booleans()))
    for form in (formats.as_json, formats.as_yaml, formats.as_sarif):
        assert form(done)
    ElementTree.fromstring(formats.as_junit(done))


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200))
def test_no_text_of_a_chart_raises(text: str) -> None:
    list(chart_rules.check("chart", {"a.yaml": f"kind: Deployment\nchecksum/a: {text}", "b.yaml": text}))
    ignored(f"# reroll:ignore {text}")
