"""The answer of `reroll stale`, for people: a row for each thing that is read, and what the words mean."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from reroll.core.observe import epoch
from reroll.insight.stale.report import CERTAINTIES, MEANS, Report, WorkloadAudit

_COLOURS: dict[str, str] = {"certain": "red", "likely": "yellow", "possible": "cyan"}
_HEADER = ("WORKLOAD", "PODS", "CHANGED", "HOW SURE", "WHAT IT READS")


def show(report: Report, console: Console | None = None) -> None:
    """Print it; colours on a terminal, plain text in a pipe."""
    out = console or Console(highlight=False, soft_wrap=True)
    for line in lines(report):
        out.print(line)


def lines(report: Report) -> Iterator[Text]:
    """The lines of it."""
    stale = report.stale
    if stale:
        rows = [_HEADER, *(row for workload in stale for row in _rows(workload, epoch(report.at)))]
        widths = [max(len(row[i]) for row in rows) for i in range(len(_HEADER) - 1)]
        for number, row in enumerate(rows):
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)] + [row[-1]]
            styles = ["bold"] * 5 if number == 0 else ["bold", "", "", _COLOURS.get(row[3], ""), ""]
            parts = [Text(cell, style) for cell, style in zip(cells, styles, strict=True)]
            yield Text("   ").join(parts)
        yield Text()
    yield Text(summary(report), style="bold")
    for certainty in CERTAINTIES:
        if any(each.certainty == certainty for workload in stale for each in workload.findings):
            yield Text(f"{certainty}: {MEANS[certainty]}", style="dim")
    for note in report.notes:
        yield Text(f"note: {note}", style="yellow")


def summary(report: Report) -> str:
    """The count, in a sentence."""
    where = f"in {', '.join(report.namespaces)}" if report.namespaces else "in all namespaces"
    looked_at = f"{_counted(len(report.workloads), 'workload')} {where} ({_counted(report.pods, 'pod')})"
    if not report.workloads:
        return f"There are no pods {where} that run and read a ConfigMap or Secret."
    if not report.stale:
        return f"No pod of {looked_at} runs older configuration, as far as times tell."
    return (
        f"{len(report.stale)} of {looked_at} {'has' if len(report.stale) == 1 else 'have'} pods that run older "
        f"configuration: {_counted(report.stale_pods, 'pod')}."
    )


def _counted(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _rows(workload: WorkloadAudit, now: float) -> Iterator[tuple[str, str, str, str, str]]:
    for number, each in enumerate(workload.findings):
        reason = f" ({each.how_sure})" if each.how_sure and each.certainty != "possible" else ""
        yield (
            str(workload) if number == 0 else "",
            f"{len(each.pods)} of {workload.pods}",
            f"{'at least ' if each.bound else ''}{age(now - epoch(each.changed))} ago",
            each.certainty,
            f"{each.what}: {each.where}{reason}",
        )


def age(seconds: float) -> str:
    """A time span in its two largest units, such as 3d4h, 2h5m or 40s."""
    left = max(0, int(seconds))
    parts: list[str] = []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        if left >= size or (unit == "s" and not parts):
            parts.append(f"{left // size}{unit}")
            left %= size
        elif parts:
            break
    return "".join(parts[:2])
