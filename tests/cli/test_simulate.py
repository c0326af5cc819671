"""reroll simulate as a person meets it."""

from __future__ import annotations

import re
import shlex
import xml.etree.ElementTree as ET
from functools import partial
from pathlib import Path

import msgspec
import pytest
import yaml

from tests.cli.command import reroll as run

reroll = partial(run, KUBECONFIG="/nowhere")

ROOT = Path(__file__).resolve().parents[2]
APP = """apiVersion: v1
kind: ConfigMap
metadata: {name: app, namespace: shop}
data: {level: info, port: "8080"}
---
apiVersion: v1
kind: Secret
metadata: {name: db, namespace: shop}
stringData: {password: correct-horse}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, annotations: {reroll.dev/auto: "true"}}
spec:
  template:
    spec:
      containers:
      - name: web
        envFrom: [{configMapRef: {name: app}}, {secretRef: {name: db}}]
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent, namespace: shop}
spec: {template: {spec: {containers: [{name: a, envFrom: [{configMapRef: {name: app}}]}]}}}
"""


@pytest.fixture
def app(tmp_path: Path) -> Path:
    path = tmp_path / "app.yaml"
    path.write_text(APP)
    return path


@pytest.mark.parametrize("command", ["simulate", "snapshot"])
def test_help_has_an_example(command: str) -> None:
    done = reroll(command, "--help")
    assert done.returncode == 0
    assert f"Example: reroll {command}" in done.stdout


def test_a_table_of_what_rolls_and_what_does_not(app: Path) -> None:
    done = reroll(
        "simulate",
        app,
        "--set",
        "configmap/shop/app:level=debug",
        "--at",
        "30s",
        "--delete",
        "secret/shop/db",
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"{app}: 2 workloads, 1 of them followed, and 2 config objects; at the start 1 adopted as they are",
        "",
        "TIME   WHAT     OBJECT                WHY",
        "0s     set      configmap/shop/app    level",
        "1s     rolls    deployment/shop/web   configmap/app changed (level): container web: envFrom",
        "30s    delete   secret/shop/db        deleted",
        "",
        "NOT ROLLED             IT IS          WHY",
        "daemonset/shop/agent   not followed   nothing asks reroll to follow its configuration",
        "",
        "1 of 2 workloads rolls, 1 is looked at and does not. At rest after 30s.",
    ]


def test_standard_input_and_forms_for_programs() -> None:
    change = ("--set=secret/shop/db:password=other-secret",)
    as_json = reroll("simulate", "-", *change, "-o", "json", "--settle", "2s", stdin=APP)
    found = msgspec.json.decode(as_json.stdout)
    assert [(roll["at"], roll["workload"], roll["causes"]) for roll in found["rolls"]] == [
        (2.0, "deployment/shop/web", ["secret/shop/db"])
    ]
    as_yaml = reroll("simulate", "-", *change, "-o", "yaml", "--settle", "2s", stdin=APP)
    assert yaml.safe_load(as_yaml.stdout) == found
    for done in (as_json, as_yaml):
        assert "correct-horse" not in done.stdout + done.stderr
        assert "other-secret" not in done.stdout + done.stderr


def test_a_picture(app: Path) -> None:
    done = reroll(
        "simulate",
        app,
        "--set",
        "configmap/shop/app:level=<&>",
        "--at=1h",
        "--unset=configmap/shop/app:port",
        "-o",
        "svg",
    )
    assert done.returncode == 0
    root = ET.fromstring(done.stdout)
    words = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "deployment/shop/web" in words
    assert "0s  set configmap/shop/app (level)" in words
    assert "1h1s" in words
    assert "prefers-color-scheme: dark" in done.stdout
    assert "href" not in done.stdout


def test_a_scenario_file(app: Path) -> None:
    scenario = app.parent / "scenario.yaml"
    scenario.write_text("- set: configmap/shop/app:level=debug\n- at: 1m\n  set: configmap/shop/app:port=1\n")
    done = reroll("simulate", app, "--scenario", scenario)
    assert done.returncode == 0
    assert (
        done.stdout.count("rolls    deployment/shop/web") + done.stdout.count("rolls   deployment/shop/web")
        == 2
    )
    assert "(2 rollouts)" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name manifests"),
        (("/nowhere.yaml",), "/nowhere.yaml: cannot be read"),
        (("APP", "--sett", "a"), "no option --sett"),
        (("APP", "--set", "configmap/shop/ap:level=x"), "(there is configmap/shop/app)"),
        (("APP", "--settle", "soon"), "'soon' is not a duration"),
        (("APP", "--latency", "10"), "write 10s"),
        (("APP", "--workload-selector", "a=b=c"), "is not understood"),
        (("APP", "--output", "png"), "png"),
        (("APP", "--scenario", "x", "--set", "y"), "exclude each other"),
        (("CUT",), "cut.snapshot:2: the snapshot is cut off after this line"),
        (("NEWER",), "newer.snapshot:1: this snapshot has version 9"),
        (("NEWER", "APP"), "stands alone"),
        (("BROKEN",), "broken.yaml:2: is not valid YAML"),
        (("APP", "--change", "BROKEN"), "broken.yaml:2: is not valid YAML"),
    ],
)
def test_bad_input_exits_with_2_and_leaves_standard_output_empty(
    app: Path, arguments: tuple[str, ...], message: str
) -> None:
    key = '"key":{"id":"a","of":"cluster"}'
    header = '{"format":"reroll-snapshot","version":%d,"made":"","cluster":"c","by":"",' + key + "}\n"
    files = {
        "APP": app,
        "CUT": app.parent / "cut.snapshot",
        "NEWER": app.parent / "newer.snapshot",
        "BROKEN": app.parent / "broken.yaml",
    }
    files["CUT"].write_text(header % 1 + '{"kind":"Namespace","metadata":{"name":"shop"}}\n')
    files["NEWER"].write_text(header % 9)
    files["BROKEN"].write_text("a: [b\nc: d\n")
    done = reroll("simulate", *(files.get(argument, argument) for argument in arguments))
    assert done.returncode == 2
    assert message in done.stderr.replace("\n", " ")
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_two_runs_are_the_same(app: Path) -> None:
    more = [APP.replace("name: web,", f"name: web-{n},") for n in range(8)]
    text = "---\n".join([more[0], *(part.split("---\n")[2] for part in more[1:])])
    runs = [
        reroll("simulate", "-", "--set", "configmap/shop/app:level=debug", stdin=text, PYTHONHASHSEED=seed)
        for seed in ("1", "2")
    ]
    assert "8 of 9 workloads roll" in runs[0].stdout
    assert runs[0].stdout == runs[1].stdout


def test_the_page_shows_what_is_said(tmp_path: Path) -> None:
    """The runs of docs/simulate.md on the demo's manifests, again."""
    page = (ROOT / "docs" / "simulate.md").read_text()
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    [scenario] = [text for language, text in blocks if language == "yaml" and "# sale.yaml" in text]
    (tmp_path / "sale.yaml").write_text(scenario)
    (tmp_path / "src").symlink_to(ROOT / "src")
    ran = 0
    for language, text in blocks:
        command, _, said = text.partition("\n")
        if language == "console" and "demo/app" in command and "release.yaml" not in command:
            done = reroll(*shlex.split(command.removeprefix("$ reroll ")), cwd=tmp_path)
            assert done.stdout + done.stderr == said, command
            ran += 1
    assert ran >= 3
