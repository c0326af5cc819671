"""One term of leadership: everything that is remembered while this controller acts, and nothing else.

It is made when acting begins and dropped whole when that ends, so nothing that was true before the lead was lost is
acted on after it came back. What outlives a term is on the server: records, marks, stand-ins.
"""

from __future__ import annotations

from collections.abc import Callable

from reroll.controller.follow import Follow
from reroll.controller.ledger import Echoes, Ledger
from reroll.controller.report import Reporter
from reroll.controller.store import Store
from reroll.core.records import WorkloadId
from reroll.kube.errors import ApiError
from reroll.modes.table import Modes


class Settling:
    """Since when changes wait to be acted on, by workload."""

    def __init__(self) -> None:
        self._since: dict[WorkloadId, float] = {}
        self._blocked: set[WorkloadId] = set()

    def since(self, workload: WorkloadId, now: float) -> float | None:
        """When the first change that was not yet acted on arrived; None: nothing waits. After a block that is `now`:
        what changes then settles as if it were the first."""
        return now if workload in self._blocked else self._since.get(workload)

    def wait(self, workload: WorkloadId, now: float) -> None:
        """A change waits to settle."""
        self._blocked.discard(workload)
        self._since.setdefault(workload, now)

    def block(self, workload: WorkloadId) -> None:
        """It can't be acted on until somebody changes something, such as a key that new pods need."""
        self._since.pop(workload, None)
        self._blocked.add(workload)

    def over(self, workload: WorkloadId) -> None:
        """It was acted on, or is current."""
        self._since.pop(workload, None)
        self._blocked.discard(workload)


class Term:
    """The memory of one term.

    `owns`: is this workload ours to act on, at this very moment? Asked before each write. `reporter`: one of its own,
    because what was told is remembered there. `echoes`: the store. `follow`: of this term, too.
    """

    def __init__(
        self,
        owns: Callable[[WorkloadId], bool],
        reporter: Reporter,
        echoes: Echoes,
        follow: Follow,
    ) -> None:
        self._owns = owns
        self._ended = False
        self.reporter = reporter
        self.ledger = Ledger(echoes)
        self.modes = Modes()
        self.settling = Settling()
        self.follow = follow
        self.key_asked = float("-inf")
        """When the server was last asked whether our digest key is the one in force, by time.monotonic."""

    def owns(self, workload: WorkloadId) -> bool:
        """May this workload be acted on now?"""
        return not self._ended and self._owns(workload)

    def settled(self, workload: WorkloadId) -> None:
        """The workload is at rest."""
        self.settling.over(workload)
        self.reporter.settled(workload)

    def forget(self, workload: WorkloadId) -> None:
        """The workload is gone."""
        self.settled(workload)
        self.ledger.forget(workload)
        self.modes.forget(workload)
        self.follow.forget(workload)
        self.reporter.forget(workload)

    def end(self) -> None:
        """The term is over: it owns nothing more, whoever still holds it."""
        if not self._ended:
            self._ended = True
            self.modes.end()


class Told:
    """Hands on to a term what the worker tells (`worker.Listener`)."""

    def __init__(self, term: Term, store: Store) -> None:
        self._term, self._store = term, store

    def failed(self, key: WorkloadId, error: ApiError, delay: float, *, refused: bool) -> None:
        """See `worker.Listener`."""
        self._term.reporter.failed(self._store.workload(key), key, error, delay, refused=refused)

    def settled(self, key: WorkloadId) -> None:
        """See `worker.Listener`."""
        self._term.settled(key)
