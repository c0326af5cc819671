"""The audit's answer in each of its forms: what is in it, and that nothing in it can break out of it."""

from __future__ import annotations

import csv
import io
import json
from xml.etree import ElementTree

import pytest
from msgspec.structs import replace
from rich.console import Console

from reroll.cli.staleness import age, show
from reroll.insight.stale.formats import COLUMNS, as_csv, as_junit, as_sarif
from reroll.insight.stale.page import as_html
from reroll.insight.stale.report import Finding, Report, WorkloadAudit

NASTY = 'container main: volume conf at /etc/<script>"x",\x00\x1b[31m (subPath a]]>b)'

CERTAIN = Finding(
    config="configmap/app",
    keys=("level",),
    where="container main: env LEVEL",
    means="env",
    sees="never",
    certainty="certain",
    changed="2026-11-23T10:00:00Z",
    bound=False,
    beside=(),
    created_later=False,
    started="2026-11-23T09:00:00Z",
    pods=("web-1", "web-2"),
)
LIKELY = replace(
    CERTAIN,
    config="secret/db",
    keys=("a", "b", "c", "d", "e", "f"),
    where=NASTY,
    certainty="likely",
    bound=True,
    beside=("g", "labels or annotations"),
    pods=("web-1",),
)
POSSIBLE = replace(CERTAIN, certainty="possible", sees="later", where="container main: volume conf at /etc")
REPORT = Report(
    cluster="https://10.0.0.1:6443",
    at="2026-11-23T12:05:00Z",
    namespaces=(),
    pods=5,
    workloads=(
        WorkloadAudit("StatefulSet", "data", "cache", 1, 0, None, None, ()),
        WorkloadAudit("Deployment", "shop", "api", 1, 1, "possible", "2026-11-23T10:00:00Z", (POSSIBLE,)),
        WorkloadAudit(
            "Deployment", "shop", "web", 3, 2, "certain", "2026-11-23T10:00:00Z", (CERTAIN, LIKELY)
        ),
    ),
    notes=("secrets were not looked at: <forbidden>",),
)
EMPTY = replace(REPORT, workloads=REPORT.workloads[:1], notes=(), namespaces=("data",), pods=1)
NOTHING = replace(EMPTY, workloads=(), pods=0)


def table(report: Report) -> list[str]:
    out = io.StringIO()
    show(report, Console(file=out, width=80, soft_wrap=True, highlight=False))
    return out.getvalue().splitlines()


def test_the_table_has_a_row_for_each_finding_and_says_what_the_words_mean() -> None:
    lines = table(REPORT)
    assert lines[0].split() == ["WORKLOAD", "PODS", "CHANGED", "HOW", "SURE", "WHAT", "IT", "READS"]
    assert lines[1].split("   ")[0].strip() == "deployment/shop/api"
    assert lines[2].split() == [
        "deployment/shop/web", "2", "of", "3", "2h5m", "ago", "certain", "configmap/app#level:", "container",
        "main:", "env", "LEVEL",
    ]  # fmt: skip
    assert "at least 2h5m ago   likely     secret/db#a,b,c,d,e and 1 more: " in lines[3]
    assert "or only g, labels or annotations changed then" in lines[3]
    assert (
        "2 of 3 workloads in all namespaces (5 pods) have pods that run older configuration: 3 pods." in lines
    )
    assert [line.partition(":")[0] for line in lines[-4:]] == ["certain", "likely", "possible", "note"]


def test_the_table_where_nothing_is_stale() -> None:
    assert table(EMPTY) == [
        "No pod of 1 workload in data (1 pod) runs older configuration, as far as times tell."
    ]
    assert table(NOTHING) == ["There are no pods in data that run and read a ConfigMap or Secret."]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0s"),
        (0, "0s"),
        (59.9, "59s"),
        (60, "1m"),
        (7500, "2h5m"),
        (86400 * 3 + 120, "3d"),
        (90061, "1d1h"),
    ],
)
def test_ages(seconds: float, text: str) -> None:
    assert age(seconds) == text


def test_csv() -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(REPORT))))
    assert tuple(rows[0]) == COLUMNS
    assert [(row["name"], row["certainty"], row["stale_pods"], row["pods"]) for row in rows] == [
        ("api", "possible", "2", "1"),
        ("web", "certain", "2", "3"),
        ("web", "likely", "1", "3"),
    ]
    assert rows[2]["where"] == NASTY
    assert rows[2]["keys"] == "a b c d e f"
    assert list(csv.reader(io.StringIO(as_csv(EMPTY)))) == [list(COLUMNS)]


def test_junit() -> None:
    root = ElementTree.fromstring(as_junit(REPORT))
    assert (root.get("tests"), root.get("failures")) == ("3", "2")
    assert [(suite.get("name"), suite.get("failures")) for suite in root] == [("data", "0"), ("shop", "2")]
    assert [case.get("name") for case in root.iter("testcase")] == [
        "statefulset/cache",
        "deployment/api",
        "deployment/web",
    ]
    failures = {case.get("name"): case.find("failure") for case in root.iter("testcase")}
    assert failures["statefulset/cache"] is None
    web = failures["deployment/web"]
    assert web is not None
    assert web.get("message") == (
        "2 of 3 pods of deployment/web run older configuration, since 2026-11-23T10:00:00Z at the latest"
    )
    assert "configmap/app#level changed at 2026-11-23T10:00:00Z" in (web.text or "")
    assert "<script>" in (web.text or "")
    assert "may run" in (failures["deployment/api"].get("message") or "")  # type: ignore[union-attr]


def test_sarif() -> None:
    document = json.loads(as_sarif(REPORT))
    assert document["version"] == "2.1.0"
    (run,) = document["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert rules == ["stale-certain", "stale-likely", "stale-possible"]
    found = [
        (
            result["ruleId"],
            result["level"],
            result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"],
        )
        for result in run["results"]
    ]
    assert found == [
        ("stale-possible", "note", "shop/deployment/api"),
        ("stale-certain", "error", "shop/deployment/web"),
        ("stale-likely", "warning", "shop/deployment/web"),
    ]
    assert all(rules[result["ruleIndex"]] == result["ruleId"] for result in run["results"])
    notes = run["invocations"][0]["toolExecutionNotifications"]
    assert [note["message"]["text"] for note in notes] == list(REPORT.notes)
    assert json.loads(as_sarif(EMPTY))["runs"][0]["results"] == []


def test_html() -> None:
    text = as_html(REPORT)
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "&lt;forbidden&gt;" in text
    assert text.count("deployment/shop/web") == 1, "its cell spans its findings"
    assert "http" not in text.replace(REPORT.cluster, ""), "nothing is loaded from anywhere"
    assert "<table>" not in as_html(EMPTY)
