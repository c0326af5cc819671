"""What this controller knows of workloads beyond what the watch has brought: writes under way, and amended records.

The watch is the one writer of the store. What is known earlier, because this controller wrote it, lies over it here,
and goes when the watch brings something else.
"""

from __future__ import annotations

from msgspec.structs import replace

from reroll.core.records import Applied, WorkloadId, WorkloadRecord


class Overlay:
    """By workload. All of it is dropped with the workload (`forget`)."""

    def __init__(self) -> None:
        self._marks: dict[WorkloadId, str] = {}
        self._written: dict[WorkloadId, Applied] = {}
        self._amended: dict[WorkloadId, tuple[Applied, Applied]] = {}

    def writing(self, workload: WorkloadId, mark: str | None, applied: Applied | None) -> None:
        """Note what is about to be written, so that its echo is not taken for another client's. None as `mark`: no
        mark is on its way any more."""
        if applied is not None:
            self._written[workload] = applied
            if workload in self._amended and self._amended[workload][0] == applied:
                del self._amended[workload]  # what was known beyond it holds no longer
        if mark is None:
            self._marks.pop(workload, None)
        else:
            self._marks[workload] = mark

    def mark(self, workload: WorkloadId) -> str | None:
        """The mark that is being written just now."""
        return self._marks.get(workload)

    def wrote(self, workload: WorkloadId, applied: Applied) -> bool:
        """Is this the record that this controller wrote last?"""
        return self._written.get(workload) == applied

    def amend(self, record: WorkloadRecord, applied: Applied) -> WorkloadRecord:
        """More is known than is recorded on the object: it holds for as long as that stays as it is."""
        assert record.applied is not None, "what is amended is recorded"
        written, _ = self._amended.get(record.id, (record.applied, None))
        self._amended[record.id] = (written, applied)
        return replace(record, applied=applied, unsaved=True)

    def amended(self, record: WorkloadRecord) -> WorkloadRecord:
        """A record that the watch brought, with what is known beyond it: such as when only its status changed."""
        written, applied = self._amended.get(record.id, (None, None))
        if applied is None:
            return record
        if record.applied != written:
            del self._amended[record.id]
            return record
        return replace(record, applied=applied, unsaved=True)

    def forget(self, workload: WorkloadId) -> None:
        self._marks.pop(workload, None)
        self._written.pop(workload, None)
        self._amended.pop(workload, None)
