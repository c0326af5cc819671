"""A report as JSON, YAML, SARIF and JUnit, and as lines for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import msgspec

from reroll import __version__
from reroll.insight.lint.finding import SEVERITIES, Finding, Severity
from reroll.insight.lint.rules import RULES
from reroll.insight.lint.run import Report

_LEVELS: dict[Severity, str] = {"error": "error", "warning": "warning", "info": "note"}


def plain(report: Report) -> dict[str, Any]:
    """The report as data."""
    return {
        "files": len(report.files),
        "documents": report.documents,
        "summary": {severity: _count(report, severity) for severity in SEVERITIES},
        "findings": [
            {
                "rule": one.rule,
                "name": RULES[one.rule].name,
                "severity": one.severity,
                "object": one.object,
                "path": one.path,
                "message": one.message,
                "file": one.file,
                "line": one.line,
                "column": one.column,
                "fixable": one.fixable,
            }
            for one in report.findings
        ],
    }


def as_text(report: Report) -> Iterator[str]:
    """A line for each finding, and one with their number."""
    for one in report.findings:
        fix = " [--fix]" if one.fixable else ""
        yield f"{place(one)}: {one.severity} {one.rule} {one.message}{fix}"
    counts = [
        f"{count} {severity}{'' if count == 1 or severity == 'info' else 's'}"
        for severity in SEVERITIES
        if (count := _count(report, severity))
    ]
    read = []
    if report.documents or not report.templates:
        read.append(f"{report.documents} document{'' if report.documents == 1 else 's'}")
    if report.templates:
        read.append(f"{report.templates} template{'' if report.templates == 1 else 's'}")
    objects = " and ".join(read)
    yield f"{', '.join(counts)} in {objects}" if counts else f"Nothing found in {objects}."


def as_json(report: Report) -> str:
    return msgspec.json.format(msgspec.json.encode(plain(report)), indent=2).decode() + "\n"


def as_yaml(report: Report) -> str:
    import yaml

    return yaml.safe_dump(plain(report), sort_keys=False, allow_unicode=True, width=120)


def as_sarif(report: Report) -> str:
    """SARIF 2.1.0 (OASIS), with all rules, so that a viewer can tell what was checked."""
    rules = list(RULES.values())
    numbers = {rule.id: number for number, rule in enumerate(rules)}
    document = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "reroll lint",
                        "version": __version__,
                        "rules": [
                            {
                                "id": rule.id,
                                "name": "".join(word.capitalize() for word in rule.name.split("-")),
                                "shortDescription": {"text": rule.title},
                                "fullDescription": {"text": rule.why},
                                "help": {"text": f"{rule.why} {rule.todo}"},
                                "defaultConfiguration": {"level": _LEVELS[rule.severity]},
                            }
                            for rule in rules
                        ],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "results": [_result(one, numbers[one.rule]) for one in report.findings],
            }
        ],
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


def _result(finding: Finding, number: int) -> dict[str, Any]:
    location: dict[str, Any] = {"artifactLocation": {"uri": _uri(finding.file)}}
    if finding.line:
        location["region"] = {"startLine": finding.line, "startColumn": max(finding.column, 1)}
    logical = f"{finding.object}:{finding.path}" if finding.path else finding.object
    return {
        "ruleId": finding.rule,
        "ruleIndex": number,
        "level": _LEVELS[finding.severity],
        "message": {"text": finding.message},
        "locations": [
            {"physicalLocation": location, "logicalLocations": [{"fullyQualifiedName": logical}]},
        ],
        # The same alert for as long as the same place of the same object is found, on whichever line.
        "partialFingerprints": {"place/v1": f"{finding.rule}:{logical}"},
    }


def _uri(file: str) -> str:
    from urllib.parse import quote

    return quote("stdin" if file == "standard input" else file.removeprefix("./"))


def as_junit(report: Report) -> str:
    """A case for each file and rule that found something in it; a file without findings is one case that passed."""
    by_file: dict[str, list[Finding]] = {file: [] for file in report.files}
    for one in report.findings:
        by_file.setdefault(one.file, []).append(one)
    root = ElementTree.Element("testsuites", name="reroll lint")
    tests = failures = 0
    for file, found in by_file.items():
        suite = ElementTree.SubElement(root, "testsuite", name=_printable(file), errors="0", skipped="0")
        rules = sorted({one.rule for one in found})
        for rule in rules:
            case = ElementTree.SubElement(suite, "testcase", classname=_printable(file), name=rule)
            these = [one for one in found if one.rule == rule]
            failure = ElementTree.SubElement(
                case, "failure", type=these[0].severity, message=_printable(these[0].message)
            )
            failure.text = _printable("\n".join(f"{place(one)}: {one.message}" for one in these))
        if not rules:
            ElementTree.SubElement(suite, "testcase", classname=_printable(file), name="lint")
        suite.set("tests", str(max(len(rules), 1)))
        suite.set("failures", str(len(rules)))
        tests += max(len(rules), 1)
        failures += len(rules)
    root.set("tests", str(tests))
    root.set("failures", str(failures))
    root.set("errors", "0")
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def place(finding: Finding) -> str:
    """Such as ``web.yaml:12:5``."""
    numbers = [str(number) for number in (finding.line, finding.column) if number]
    return ":".join([finding.file, *numbers])


def _count(report: Report, severity: Severity) -> int:
    return sum(1 for one in report.findings if one.severity == severity)


def _printable(text: str) -> str:
    """The text without what XML can't hold."""
    return "".join(char if char.isprintable() or char == "\n" else "?" for char in text)
