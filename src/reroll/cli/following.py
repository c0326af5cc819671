"""Restarts and rollouts as they go: a table that changes in place on a terminal, plain lines in a pipe."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import IO, Protocol

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from reroll.core.records import WorkloadId
from reroll.pipeline.result import Outcome, Result, State

_COLOURS: dict[State, str] = {
    "done": "green",
    "restarted": "green",
    "planned": "cyan",
    "failed": "red",
    "refused": "red",
    "timed out": "red",
    "skipped": "yellow",
    "not started": "yellow",
}
_MOST_ROWS = 25
_REDRAWS_PER_SECOND = 4.0
_BAR = 10


class FollowingView(Protocol):
    """A `reroll.pipeline.result.View` as a context manager."""

    def going(self, workload: WorkloadId, words: str, new: int, wanted: int) -> None: ...

    def ended(self, outcome: Outcome) -> None: ...

    def __enter__(self) -> FollowingView: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def view(*, machine: bool) -> FollowingView:
    """The view for standard output; with `machine`, whose output is data, plain lines on standard error."""
    console = Console()
    if not machine and console.is_terminal and not console.is_dumb_terminal:
        return LiveView(console)
    return PlainView(sys.stderr if machine else sys.stdout)


class PlainView:
    """A line whenever something is new."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out
        self._said: dict[WorkloadId, str] = {}

    def __enter__(self) -> PlainView:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def going(self, workload: WorkloadId, words: str, new: int, wanted: int) -> None:
        if self._said.get(workload) != words:
            self._said[workload] = words
            print(f"{workload}: {words}", file=self._out, flush=True)

    def ended(self, outcome: Outcome) -> None:
        for line in lines(outcome):
            print(line.plain, file=self._out, flush=True)


class LiveView:
    """A row for each workload that goes on; those that are through are printed above."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._going: dict[WorkloadId, tuple[str, int, int]] = {}
        self._live = Live(console=console, refresh_per_second=_REDRAWS_PER_SECOND, transient=True)

    def __enter__(self) -> LiveView:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def going(self, workload: WorkloadId, words: str, new: int, wanted: int) -> None:
        self._going[workload] = (words, new, wanted)
        self._live.update(table(self._going))

    def ended(self, outcome: Outcome) -> None:
        self._going.pop(WorkloadId(outcome.kind, outcome.namespace, outcome.name), None)
        for line in lines(outcome):
            self._live.console.print(line, soft_wrap=True)
        self._live.update(table(self._going))


def table(going: dict[WorkloadId, tuple[str, int, int]]) -> Table:
    """What goes on, a row each."""
    found = Table.grid(padding=(0, 2))
    for workload, (words, new, wanted) in list(going.items())[:_MOST_ROWS]:
        full = round(_BAR * new / wanted) if wanted else 0
        found.add_row(
            Text(str(workload), "bold"), Text("#" * full + "." * (_BAR - full), "cyan"), Text(words)
        )
    if len(going) > _MOST_ROWS:
        found.add_row(Text(f"and {len(going) - _MOST_ROWS} more"), Text(), Text())
    return found


def lines(outcome: Outcome) -> list[Text]:
    """What became of one workload: a line, and below it why it was meant and why it failed."""
    head = Text.assemble(
        f"{outcome}: ",
        (outcome.state, _COLOURS[outcome.state]),
        f": {outcome.message}",
        f" ({outcome.seconds:g} s)" if outcome.seconds >= 1 else "",
    )
    found = [head]
    if outcome.state in ("planned", "refused", "skipped"):
        found += [Text(f"  {each}", "dim") for each in outcome.why]
    for reason in outcome.reasons:
        found.append(Text(f"  {reason.what}"))
        found += [Text(f"    | {line}", "dim") for line in reason.log]
    return found


def summary(result: Result, *, verb: str = "restarted") -> str:
    """The counts, in a sentence."""
    if not result.outcomes:
        return f"Nothing is to be {verb}."
    counted = [
        (result.count("planned"), f"would be {verb}"),
        (result.count("restarted"), f"{verb} and not waited for"),
        (result.count("done"), f"{verb}"),
        (result.count("failed"), "failed"),
        (result.count("timed out"), "timed out"),
        (result.count("refused"), "refused"),
        (result.count("skipped"), "skipped"),
        (result.count("not started"), "not started"),
    ]
    words = ", ".join(f"{number} {what}" for number, what in counted if number)
    total = len(result.outcomes)
    return f"{total} workload{'' if total == 1 else 's'}: {words}."
