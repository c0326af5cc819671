"""R8xx: the source of a chart."""

from __future__ import annotations

import pytest

from reroll.insight.lint.rules import charts

NAMES = {"configmap": '{{ include "web.fullname" . }}', "secret": '{{ include "web.fullname" . }}-db'}


def configmap(name: str = NAMES["configmap"]) -> str:
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata: {{}}\n"


def secret(name: str = NAMES["secret"]) -> str:
    return f"apiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\ndata: {{}}\n"


def workload(*covered: str, kind: str = "Deployment", config: str = NAMES["configmap"]) -> str:
    sums = "".join(
        f"        checksum/{name.partition('.')[0]}: "
        f'{{{{ include (print $.Template.BasePath "/{name}") . | sha256sum }}}}\n'
        for name in covered
    )
    return f"""\
apiVersion: apps/v1
kind: {kind}
metadata:
  name: web
spec:
  template:
    metadata:
      annotations:
{sums}    spec:
      containers:
        - name: main
          envFrom:
            - configMapRef:
                name: {config}
            - secretRef:
                name: {NAMES["secret"]}
"""


def check(deployment: str, **more: str) -> list[str]:
    files = {"deployment.yaml": deployment, "configmap.yaml": configmap(), "secret.yaml": secret(), **more}
    return [one.rule for one in charts.check("chart", files)]


@pytest.mark.parametrize(
    ("covered", "expected"),
    [
        (("configmap.yaml",), ["R801"]),
        (("secret.yaml",), ["R801"]),
        (("configmap.yaml", "secret.yaml"), []),
        ((), []),
        (("configmap.yaml", "nope.yaml"), ["R802", "R801"]),
    ],
)
@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet"])
def test_each_template_has_its_checksum(covered: tuple[str, ...], expected: list[str], kind: str) -> None:
    assert check(workload(*covered, kind=kind)) == expected


@pytest.mark.parametrize("spelling", ['{{include "web.fullname" .}}', "{{- include 'web.fullname' . }}"])
def test_one_name_in_other_spellings(spelling: str) -> None:
    assert check(workload("secret.yaml", config=spelling)) == ["R801"]


def test_what_the_chart_does_not_make_is_not_counted() -> None:
    assert check(workload("secret.yaml", config="{{ .Values.existing }}")) == []


def test_the_place() -> None:
    files = {
        "deployment.yaml": workload("configmap.yaml"),
        "configmap.yaml": configmap(),
        "secret.yaml": secret(),
    }
    (found,) = charts.check("chart", files)
    assert (found.file, found.line) == ("chart/templates/deployment.yaml", 16)
    assert "secret.yaml" in found.message
    two = {**files, "deployment.yaml": "# one\n---\n" + files["deployment.yaml"]}
    (found,) = charts.check("chart", two)
    assert found.line == 18


def test_folders() -> None:
    files = {"web/deployment.yaml": workload("configmap.yaml"), "web/configmap.yaml": configmap()}
    assert [one.rule for one in charts.check("chart", files)] == []


@pytest.mark.parametrize(
    "line",
    [
        "- secretRef: {{name: {}}}",
        "- secretRef: {{optional: true, name: {}}}",
        "- {{name: A, valueFrom: {{secretKeyRef: {{name: {}, key: a}}}}}}",
        "- {{name: v, secret: {{secretName: {}}}}}",
    ],
)
def test_references_in_one_line(line: str) -> None:
    text = workload("configmap.yaml").split("            - secretRef:")[0]
    assert check(text) == []
    assert check(f"{text}            {line.format(NAMES['secret'])}\n") == ["R801"]
