"""The answer of the audit for other programs: CSV for spreadsheets, JUnit and SARIF for CI. Pure."""

from __future__ import annotations

import csv
import io
from typing import Any, Final
from xml.etree import ElementTree

import msgspec

from reroll import __version__
from reroll.insight.stale.report import CERTAINTIES, MEANS, Certainty, Finding, Report, WorkloadAudit

COLUMNS: Final = (
    "namespace",
    "kind",
    "name",
    "certainty",
    "config",
    "keys",
    "where",
    "sees",
    "changed",
    "bound",
    "started",
    "stale_pods",
    "pods",
    "why_not_certain",
)
"""The columns of the CSV, a row for each finding."""

_LEVELS: Final[dict[Certainty, str]] = {"certain": "error", "likely": "warning", "possible": "note"}
_ABOUT: Final = "docs/stale.md of reroll"


def as_csv(report: Report) -> str:
    """A header and a row for each finding, as RFC 4180 has it but with plain newlines."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for workload in report.stale:
        for each in workload.findings:
            writer.writerow(
                (
                    workload.namespace,
                    workload.kind,
                    workload.name,
                    each.certainty,
                    each.config,
                    " ".join(each.keys),
                    each.where,
                    each.sees,
                    each.changed,
                    str(each.bound).lower(),
                    each.started,
                    len(each.pods),
                    workload.pods,
                    each.how_sure,
                )
            )
    return out.getvalue()


def as_junit(report: Report) -> str:
    """A suite for each namespace and a case for each workload; one whose pods are behind has failed."""
    root = ElementTree.Element(
        "testsuites",
        name="reroll stale",
        tests=str(len(report.workloads)),
        failures=str(len(report.stale)),
        errors="0",
    )
    suites: dict[str, list[WorkloadAudit]] = {}
    for workload in report.workloads:
        suites.setdefault(workload.namespace, []).append(workload)
    for namespace, workloads in suites.items():
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=namespace,
            tests=str(len(workloads)),
            failures=str(sum(1 for each in workloads if each.findings)),
            errors="0",
            skipped="0",
            timestamp=report.at.removesuffix("Z"),
        )
        for workload in workloads:
            case = ElementTree.SubElement(
                suite,
                "testcase",
                classname=f"{namespace}.{workload.kind}",
                name=f"{workload.kind.lower()}/{workload.name}",
            )
            if workload.findings:
                failure = ElementTree.SubElement(
                    case, "failure", type=str(workload.certainty), message=headline(workload)
                )
                failure.text = _printable("\n".join(sentence(each) for each in workload.findings))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def as_sarif(report: Report) -> str:
    """SARIF 2.1.0: a rule for each certainty, and a result for each workload and rule.

    What is told of is no file, and viewers want one: each workload is a location NAMESPACE/KIND/NAME.
    """
    results = [
        _result(workload, certainty, found)
        for workload in report.stale
        for certainty in CERTAINTIES
        if (found := [each for each in workload.findings if each.certainty == certainty])
    ]
    rules = [
        {
            "id": f"stale-{certainty}",
            "name": f"Stale{certainty.capitalize()}",
            "shortDescription": {"text": f"pods run older configuration: {certainty}"},
            "fullDescription": {"text": MEANS[certainty]},
            "help": {"text": _ABOUT},
            "defaultConfiguration": {"level": _LEVELS[certainty]},
        }
        for certainty in CERTAINTIES
    ]
    document = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "reroll stale", "version": __version__, "rules": rules}},
                "invocations": [
                    {
                        "executionSuccessful": True,
                        "endTimeUtc": report.at,
                        "toolExecutionNotifications": [
                            {"level": "warning", "message": {"text": note}} for note in report.notes
                        ],
                    }
                ],
                "results": results,
            }
        ],
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


def _result(workload: WorkloadAudit, certainty: Certainty, found: list[Finding]) -> dict[str, Any]:
    place = f"{workload.namespace}/{workload.kind.lower()}/{workload.name}"
    return {
        "ruleId": f"stale-{certainty}",
        "ruleIndex": CERTAINTIES.index(certainty),
        "level": _LEVELS[certainty],
        "message": {"text": "\n".join([headline(workload), *(sentence(each) for each in found)])},
        "locations": [
            {
                "physicalLocation": {"artifactLocation": {"uri": place}},
                "logicalLocations": [{"fullyQualifiedName": place, "kind": "resource"}],
            }
        ],
        # The same workload stays the same alert until it is restarted, whichever key changes next.
        "partialFingerprints": {"workload/v1": place},
    }


def _printable(text: str) -> str:
    """The text without what XML can't hold: a subPath may have any character in it."""
    return "".join([char if char.isprintable() or char == "\n" else "?" for char in text])


def headline(workload: WorkloadAudit) -> str:
    """Such as: 2 of 3 pods of deployment/web run older configuration, since 2026-11-23T14:09:37Z at the latest."""
    verb = "may run" if workload.certainty == "possible" else "run"
    return (
        f"{workload.stale_pods} of {workload.pods} pods of "
        f"{workload.kind.lower()}/{workload.name} {verb} older configuration, since {workload.since} at the latest"
    )


def sentence(finding: Finding) -> str:
    """One finding, for people."""
    reason = f": {finding.how_sure}" if finding.how_sure else ""
    return (
        f"{finding.what} changed {'at the latest at' if finding.bound else 'at'} {finding.changed}, after "
        f"{finding.started} when the oldest of them started ({finding.where}); {finding.certainty}{reason}"
    )
