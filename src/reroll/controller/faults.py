"""Faults of reroll on single workloads: what one of them brings about must not keep any other from being acted on."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import structlog

from reroll.core.records import WorkloadId
from reroll.kube.reflector import where_raised

log = structlog.get_logger("reroll")


class Faults:
    """The workloads on which something failed. `count` is called for each failure."""

    def __init__(self, count: Callable[[], None]) -> None:
        self._count = count
        self._workloads: set[WorkloadId] = set()

    def __contains__(self, workload: WorkloadId) -> bool:
        """What is held of it may be out of date: its next event is taken in whole, whatever differs."""
        return workload in self._workloads

    def each(self, workloads: Iterable[WorkloadId], act: Callable[[WorkloadId], None]) -> None:
        """Act on each; a failure on one is counted, and named once until it is over."""
        for workload in tuple(workloads):
            try:
                act(workload)
            except Exception as error:
                self._count()
                if workload not in self._workloads:
                    log.error(
                        "workload failed, and is taken in again with its next event: this is a bug in reroll",
                        workload=str(workload),
                        # Never the error's text: it may quote a value.
                        detail=type(error).__name__,
                        at=where_raised(error),
                    )
                self.begin(workload)

    def begin(self, workload: WorkloadId) -> None:
        """It failed; whoever calls this counts and names it."""
        self._workloads.add(workload)

    def over(self, workload: WorkloadId) -> None:
        """It was taken in, or is gone."""
        self._workloads.discard(workload)
