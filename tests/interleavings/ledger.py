"""What is due, and what was done: counted from the writes that the server did, by nothing of reroll.

Between two moments of rest: how often what a workload consumes was changed, how often reroll changed its template,
and who else did.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from reroll.core.applied import APPLIED, RESTARTING, STANDS_IN_FOR
from reroll.core.records import WorkloadId
from reroll.dialects.marks import KEYS
from tests.interleavings.pods import Use, content, uses
from tests.interleavings.server import KINDS, STATUSES, Key, Object, Server, Write

WORKLOADS = ("deployments", "statefulsets", "jobs", "cronjobs")
CONFIG_PLURALS = ("configmaps", "secrets", STATUSES)
REROLL = "reroll"
VARIABLES = "STAKATER_"
"""What variables that are marks begin with."""

Contents = dict[Use, str | None]


def workload_id(plural: str, name: str) -> WorkloadId:
    return WorkloadId(KINDS[plural][1], "shop", name)


def template_of(plural: str, workload: Object) -> Object:
    spec: Object = workload["spec"]
    if plural == "cronjobs":
        spec = spec["jobTemplate"]["spec"]
    found: Object = spec["template"]
    return found


class Ledger:
    """Counts; `begin` starts anew."""

    def __init__(self, server: Server, now: Callable[[], float]) -> None:
        self._server, self._now = server, now
        self.uses: dict[WorkloadId, tuple[Use, ...]] = {}
        self.contents: dict[WorkloadId, Contents] = {}
        self.ages: dict[Use, float] = {}
        """When what stands there was written first, in seconds since the epoch; none: at the beginning."""
        self._last: dict[Use, str] = {}
        self.adopted: dict[WorkloadId, float] = {}
        """When reroll wrote a record where there was none."""
        self.unseen: dict[WorkloadId, set[Use]] = {}
        """What was missing then, so that nothing tells what its pods have read of it, until it is rolled."""
        self.changed: Callable[[], None] = lambda: None
        """Called when what somebody consumes became another."""
        self.jobs: set[str] = set()
        """Jobs that have to be there."""
        self.begin()
        server.watchers.append(self._write)

    def begin(self, owed: Iterable[WorkloadId] = ()) -> None:
        """`owed`: those whose pods run old content, as somebody was told: a change is due already."""
        self.changes: Counter[WorkloadId] = Counter(owed)
        """How often what it consumes became another."""
        self.rolled: Counter[WorkloadId] = Counter()
        """How often reroll had its pods replaced."""
        self.foreign: Counter[WorkloadId] = Counter()
        """How often somebody else wrote it, its status apart."""
        self.lost_marks: Counter[WorkloadId] = Counter()
        """How often somebody else took reroll's mark away, or put an older one in its place."""
        self.made: Counter[WorkloadId] = Counter()
        """How often somebody else made it again."""
        self._looked = self._server.looked.copy()
        self.at_first = {workload: dict(contents) for workload, contents in self.contents.items()}

    def gaps(self, plural: str, name: str) -> int:
        """How often it was read, or listed, by controllers."""
        looked = self._server.looked
        return sum(looked[at] - self._looked[at] for at in (Key(plural, name), Key(plural, "")))

    def content(self, use: Use) -> str | None:
        """What is there now."""
        return content(self._server, use)

    def _write(self, write: Write) -> None:
        plural = write.key.plural
        if plural in CONFIG_PLURALS:
            self._config(write)
        elif plural in WORKLOADS:
            self._workload(write)

    def _config(self, write: Write) -> None:
        for workload, used in self.uses.items():
            now = {use: content(self._server, use) for use in used}
            if now != self.contents[workload]:
                self.changes[workload] += 1
                self.changed()
                for use, value in now.items():
                    if value is not None and value != self._last.get(use):
                        self._last[use], self.ages[use] = value, self._now()
                self.contents[workload] = now
            elif write.type == "ADDED" and any((use.plural, use.name) == write.key for use in used):
                self.changes[workload] += (
                    1  # what was in it before it was deleted can be another than is recorded
                )

    def _workload(self, write: Write) -> None:
        plural, name = write.key
        workload = workload_id(plural, name)
        annotations = write.after["metadata"].get("annotations") or {}
        stand_in = STANDS_IN_FOR in annotations
        if stand_in or write.type == "DELETED":
            return  # what changes while a Job is made again counts
        if write.type == "ADDED" and write.manager != REROLL:
            self._forget(workload)
        used = tuple(uses(template_of(plural, write.after)))
        if self.uses.get(workload) != used:
            self.uses[workload] = used
            self.contents[workload] = {use: content(self._server, use) for use in used}
            for use, value in self.contents[workload].items():
                if value is not None and self._last.setdefault(use, value) != value:
                    self._last[use], self.ages[use] = value, self._now()
        if write.manager == REROLL:
            self._by_reroll(plural, workload, write)
        elif write.manager != "kube-controller-manager":
            self.foreign[workload] += 1
            if write.before is not None and _mark(plural, write.before) != _mark(plural, write.after):
                self.lost_marks[workload] += 1

    def _forget(self, workload: WorkloadId) -> None:
        """A new one of that name: nothing is due."""
        for counts in (self.changes, self.rolled, self.foreign, self.lost_marks):
            del counts[workload]
        self.at_first.pop(workload, None)
        self.made[workload] += 1

    def _by_reroll(self, plural: str, workload: WorkloadId, write: Write) -> None:
        before, after = write.before, write.after
        if before is not None and not _record(before) and _record(after):
            self.adopted[workload] = self._now()
            found = self.contents[workload]
            self.unseen[workload] = {use for use, value in found.items() if value is None}
        rolled = self.rolled[workload]
        if before is None:
            self.rolled[workload] += 1  # a Job that is made again
        elif template_of(plural, before) != template_of(plural, after):
            self.rolled[workload] += 1
        else:
            pods = (after["metadata"].get("annotations") or {}).get(RESTARTING)
            was = (before["metadata"].get("annotations") or {}).get(RESTARTING)
            if pods and pods != was:
                self.rolled[workload] += 1
        if self.rolled[workload] != rolled:
            self.unseen.pop(workload, None)


def _record(workload: Object) -> str:
    record: str = (workload["metadata"].get("annotations") or {}).get(APPLIED, "")
    return record


def _mark(plural: str, workload: Object) -> str:
    template = template_of(plural, workload)
    annotations = (template.get("metadata") or {}).get("annotations") or {}
    variables = [
        f"{each['name']}={each.get('value')}"
        for container in template["spec"]["containers"]
        for each in container.get("env") or ()
        if each["name"].startswith(VARIABLES)
    ]
    return " ".join([*(annotations[key] for key in KEYS if key in annotations), *variables])
