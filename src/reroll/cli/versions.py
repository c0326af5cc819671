"""What `reroll history`, `diff`, `rollback` and `unversion` tell, for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Console
from rich.text import Text

from reroll.versions.diff import KeyChange
from reroll.versions.difference import Difference
from reroll.versions.history import History, Row
from reroll.versions.rollback import RolledBack
from reroll.versions.unversion import Unversioned

_HEADER: Final = ("VERSION", "NAME", "CHANGED", "BY", "PODS", "NAMED BY")
_LINES: Final = {"+": "green", "-": "red", "@": "cyan"}


def show(lines: Iterator[Text], console: Console | None = None) -> None:
    """Print them; colours on a terminal, plain text in a pipe."""
    out = console or Console(highlight=False, soft_wrap=True)
    for line in lines:
        out.print(line)


def show_history(found: History) -> None:
    show(history_lines(found))


def show_difference(found: Difference) -> None:
    show(difference_lines(found))


def history_lines(found: History) -> Iterator[Text]:
    """A table of the versions, the first one first."""
    if not found.rows:
        yield Text(f"{found.config} has no versions: it is for the mode version that they are made.")
    else:
        rows = [_HEADER, *map(_row, found.rows)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(_HEADER) - 1)]
        for number, row in enumerate(rows):
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)] + [row[-1]]
            yield Text("   ".join(cells).rstrip(), style="bold" if number == 0 else "")
        yield Text()
    if any(row.current for row in found.rows):
        yield Text("* the content that it has now", style="dim")
    if not found.exists:
        yield Text(f"{found.config} does not exist any more; its versions stay.", style="yellow")
    for note in found.notes:
        yield Text(f"note: {note}", style="yellow")


def _row(row: Row) -> tuple[str, ...]:
    remarks = [*row.workloads, *row.revisions, *row.others]
    if row.failed:
        remarks.append(f"[its rollout failed at {row.failed}]")
    if row.unused_since:
        remarks.append(f"[unused since {row.unused_since}]")
    if row.kept:
        remarks.append("[kept]")
    number = str(row.version) if row.version else "-"
    return (
        f"{number} *" if row.current else number,
        row.name if row.version else f"{row.name} (no version yet)",
        row.changed_at or row.created,
        printable(row.changed_by) or "-",
        str(row.pods) if row.version else "-",
        printable(", ".join(remarks)) or "-",
    )


def difference_lines(found: Difference) -> Iterator[Text]:
    """Both versions, then key by key what differs."""
    yield Text(f"{found.config}: {found.before} to {found.after}", style="bold")
    if not found.keys:
        yield Text("They have the same content.")
    for change in found.keys:
        yield from _key(change)


def _key(change: KeyChange) -> Iterator[Text]:
    size = ""
    if change.size_before is not None or change.size_after is not None:
        sizes = [f"{each:,} bytes" for each in (change.size_before, change.size_after) if each is not None]
        size = f" (binary, {' to '.join(sizes)})"
    yield Text(f"{change.change}: {printable(change.key)}{size}", style="bold yellow")
    for line in change.unified:
        yield Text(printable(line), style=_LINES.get(line[:1], ""))


def rollback_lines(found: RolledBack) -> Iterator[Text]:
    """What changed, a line each."""
    if found.state == "unchanged":
        yield Text(f"{found.workload} is at {found.where} already.")
    else:
        word = "would be rolled back" if found.state == "planned" else "rolled back"
        yield Text(f"{found.workload}: {word} to {found.where}", style="green")
    for step in found.steps:
        yield Text(f"  {step.config}: {step.before} -> {step.after} (version {step.version})")
    for each in (*found.restored, *(f"note: {note}" for note in found.notes)):
        yield Text(f"  {each}", style="" if each in found.restored else "dim")


def unversion_lines(found: Unversioned) -> Iterator[Text]:
    """Each workload, then the versions that went and that stay."""
    colours = {"pointed back": "green", "planned": "cyan", "refused": "red", "unchanged": "yellow"}
    for each in found.workloads:
        sources = f" at {', '.join(each.sources)}" if each.sources else ""
        tail = f": {each.message}" if each.message else ""
        yield Text.assemble(f"{each.workload}: ", (each.state, colours[each.state]), f"{sources}{tail}")
        for words in each.restored:
            yield Text(f"  {words}")
    if not found.workloads:
        yield Text("No workload names versions.")
    yield from _removed("deleted", found.deleted)
    for kept in found.kept:
        yield Text(f"stays: {kept.version}: {printable(kept.why)}", style="dim")
    for note in found.notes:
        yield Text(f"note: {printable(note)}", style="yellow")


def _removed(word: str, versions: Sequence[str]) -> Iterator[Text]:
    for version in versions:
        yield Text(f"{word}: {version}")


def printable(text: str) -> str:
    """What others wrote, without what a terminal would take for a command."""
    return "".join(
        char if char.isprintable() or char == "\t" else char.encode("unicode_escape").decode()
        for char in text
    )
