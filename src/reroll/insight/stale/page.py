"""The answer of the audit as one HTML page: no script, nothing loaded from anywhere. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Final

from reroll.insight.stale.report import MEANS, Finding, Report, WorkloadAudit

_STYLE: Final = """\
:root { color-scheme: light dark; --line: #8884; --certain: #c62828; --likely: #b26a00; --possible: #607d8b; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; } p.about { opacity: .75; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .35rem .8rem .35rem 0; }
th { border-bottom: 2px solid var(--line); } tbody tr.first td { border-top: 1px solid var(--line); }
code { font: 13px/1.4 ui-monospace, monospace; overflow-wrap: anywhere; }
.certain { color: var(--certain); font-weight: 600; } .likely { color: var(--likely); font-weight: 600; }
.possible { color: var(--possible); }
small { display: block; opacity: .75; }"""


def as_html(report: Report) -> str:
    """The whole page."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>reroll stale: {len(report.stale)} of {len(report.workloads)} workloads</title>"
    yield f"<style>\n{_STYLE}\n</style></head><body>"
    yield "<h1>Which pods run older configuration?</h1>"
    where = ", ".join(report.namespaces) if report.namespaces else "all namespaces"
    yield f'<p class="about">{escape(report.cluster)}, {escape(where)}, {escape(report.at)}</p>'
    yield (
        f"<p><strong>{len(report.stale)} of {len(report.workloads)}</strong> workloads, and "
        f"<strong>{report.stale_pods} of {report.pods}</strong> pods.</p>"
    )
    for note in report.notes:
        yield f"<p>Note: {escape(note)}</p>"
    if report.stale:
        yield "<table><thead><tr><th>Workload</th><th>Pods</th><th>How sure</th><th>What it reads</th>"
        yield "<th>Changed</th><th>Started</th></tr></thead><tbody>"
        for workload in report.stale:
            yield from _rows(workload)
        yield "</tbody></table>"
        yield "<h2>How sure</h2><dl>"
        for certainty in dict.fromkeys(f.certainty for w in report.stale for f in w.findings):
            yield f'<dt class="{certainty}">{certainty}</dt><dd>{escape(MEANS[certainty])}</dd>'
        yield "</dl>"
    yield "</body></html>"


def _rows(workload: WorkloadAudit) -> Iterator[str]:
    span = len(workload.findings)
    for number, each in enumerate(workload.findings):
        begin = '<tr class="first">' if number == 0 else "<tr>"
        first = (
            f'<td rowspan="{span}"><code>{escape(str(workload))}</code></td>'
            f'<td rowspan="{span}">{workload.stale_pods} of {workload.pods}</td>'
        )
        yield f"{begin}{'' if number else first}{_cells(each)}</tr>"


def _cells(f: Finding) -> str:
    reason = f"<small>{escape(f.how_sure)}</small>" if f.how_sure else ""
    until = "at the latest " if f.bound else ""
    return (
        f'<td><span class="{f.certainty}">{f.certainty}</span>{reason}</td>'
        f"<td><code>{escape(f.what)}</code><small>{escape(f.where)}</small></td>"
        f"<td>{until}{f.changed}</td><td>{f.started}</td>"
    )
