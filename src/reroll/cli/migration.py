"""The answer of `reroll migrate`, for people."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from reroll.insight.migrate.report import ConfigReport, Report, WorkloadReport

_COLOURS = {"error": "red", "warning": "yellow", "info": "cyan"}


def show(report: Report, console: Console | None = None) -> None:
    """Print it; colours on a terminal, plain text in a pipe."""
    out = console or Console(highlight=False, soft_wrap=True)
    for line in lines(report):
        out.print(line)


def lines(report: Report) -> Iterator[Text]:
    """The lines of it: the workloads, the config objects, the findings, and the counts."""
    for workload in report.workloads:
        yield from _workload(workload)
        yield Text()
    for config in report.configs:
        yield from _config(config)
        yield Text()
    for finding in report.findings:
        place = f"{finding.file}:{finding.line}: " if finding.file else ""
        yield Text.assemble(
            place,
            (finding.severity, _COLOURS[finding.severity]),
            f" {finding.id} ",
            (finding.object, "bold"),
            f": {finding.message}",
        )
    if report.findings:
        yield Text()
    yield Text(summary(report), style="bold")
    for note in report.notes:
        yield Text(f"note: {note}", style="yellow")


def summary(report: Report) -> str:
    """The counts, in a sentence."""
    counts = report.summary
    by = ", ".join(f"{count} by {name}" for name, count in counts.by.items())
    found = sum(counts.findings.values())
    severities = ", ".join(
        f"{count} {name}{'s' if count != 1 and name != 'info' else ''}"
        for name, count in counts.findings.items()
    )
    told = f"{counts.workloads} workload{'' if counts.workloads == 1 else 's'} in {report.source}"
    told += f": {by}. " if by else ": nothing rolls them. "
    told += f"{found} finding{'' if found == 1 else 's'}{f' ({severities})' if severities else ''}. "
    told += f"{counts.to_write} object{'' if counts.to_write == 1 else 's'} to annotate."
    if report.reloader:
        told += f" Reloader as {report.reloader} tells."
    return told


def _workload(one: WorkloadReport) -> Iterator[Text]:
    place = f"  {one.file}:{one.line}" if one.file else ""
    yield Text.assemble((one.workload, "bold"), (place, "dim"))
    for acting in one.mechanisms:
        likely = " (by its name)" if acting.guessed and acting.objects else ""
        objects = ", ".join(acting.objects) or "nothing"
        yield Text(f"  today    {acting.name}: {objects}{likely}")
        for how in acting.how:
            yield Text(f"           by {how}", style="dim")
    yield Text(f"  reroll   {', '.join(one.drop_in) or 'nothing'}")
    for difference in one.differences:
        yield Text(f"           {difference}", style="dim")
    yield from _writing("native", one.annotations, one.carried)
    for key, why in one.kept.items():
        yield Text(f"  keep     {key}: {why}")


def _config(one: ConfigReport) -> Iterator[Text]:
    place = f"  {one.file}:{one.line}" if one.file else ""
    yield Text.assemble((one.config, "bold"), (place, "dim"))
    yield from _writing("native", one.annotations, one.carried)


def _writing(word: str, annotations: dict[str, str], carried: tuple[str, ...]) -> Iterator[Text]:
    for key, value in annotations.items():
        yield Text(f'  {word:<8} {key}: "{value}"', style="green")
    if carried:
        yield Text(f"  old      {', '.join(carried)}", style="dim")
