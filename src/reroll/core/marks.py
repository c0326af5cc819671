"""What is written on a pod template to start a rollout, and how it is told from what others wrote there.

A mark is a pure function of the digests, so that two controllers write the same. Only where that very mark may be on
pods that run already does another one take its place, because a pod template that goes back to an earlier revision
starts none of its pods anew, and one of them may have been started again in between and have read other content
(`free`). Who reads or writes a mark goes through a `MarkStyle`: reroll's own is here, those of other tools are in
`reroll.dialects.marks`. Whatever the style, a mark is held as one string that differs whenever the mark does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from reroll.core import digests
from reroll.core.applied import CONFIG, PREFIX, total
from reroll.core.compare import ConfigChange
from reroll.core.records import Applied, WorkloadRecord

Template = dict[str, Any]
"""A pod template as decoded JSON."""


class MarkStyle(Protocol):
    """One way to mark a pod template."""

    by_name: bool
    """Its patch merges lists by the names in them (a strategic merge patch), which only built-in kinds take."""

    def take(self, template: Template) -> str | None:
        """Take the marks out of a template, and say what they were; None: there was none."""
        ...

    def next(
        self, record: WorkloadRecord, applied: Applied, changes: Sequence[ConfigChange], *, since: int = 0
    ) -> str:
        """The mark for `applied`, because of at least one change; never one that is taken: see `free`, which has
        `since` from here."""
        ...

    def patch(self, mark: str, present: str | None) -> Template:
        """The part of a patch that is about the template: it makes `mark` out of the mark `present`."""
        ...

    def put(self, template: Template, mark: str) -> None:
        """Write the mark into a whole template, in place of what it carries."""
        ...


class NativeMarks:
    """`reroll.dev/config`: one digest over all that is consumed, in an annotation."""

    by_name = False

    def take(self, template: Template) -> str | None:
        return take_annotations(template)

    def next(
        self, record: WorkloadRecord, applied: Applied, changes: Sequence[ConfigChange], *, since: int = 0
    ) -> str:
        return next_mark(record, applied, since=since)

    def patch(self, mark: str, present: str | None) -> Template:
        return {"metadata": {"annotations": {CONFIG: mark}}}

    def put(self, template: Template, mark: str) -> None:
        annotate(template, CONFIG, mark)


NATIVE: Final[MarkStyle] = NativeMarks()


def over_all(applied: Applied, suffix: str = "") -> str:
    """One digest over all that is consumed, with what makes another mark of it."""
    mark = digests.mark({name: total(keys) for name, keys in applied.configs.items()})
    return f"{mark}.{suffix}" if suffix else mark


def next_mark(record: WorkloadRecord, applied: Applied, *, since: int = 0) -> str:
    """`over_all`, with a suffix where that mark is taken."""
    return free(record, lambda suffix: over_all(applied, suffix), since=since)


def free(record: WorkloadRecord, mark: Callable[[str], str], *, since: int = 0) -> str:
    """The first of some marks that is not taken. `mark`: suffix -> a mark for the same digests, another one for each;
    "" is the plain one, and normally it is what comes of this.

    Taken is the mark that the template carries, because the next one has to start a rollout, and so are the marks of
    all revisions that may still have pods (`WorkloadRecord.revisions`). Where these are not known, because the
    controller was started in the middle of a rollout, each may be taken that was written before: `since` is then the
    time of the change of configuration that the mark is for, in seconds since the epoch, and it becomes part of the
    mark. No earlier mark was for a change of that time, and each controller finds the same time on the same objects.
    0: the revisions are known.

    One controller may know the revisions where another one does not, and then the two mean different marks. The
    second one to write is refused all the same (its resourceVersion is outdated), and finds that it is done.
    """
    taken = {record.mark, *(each for _, each in record.revisions or ())}
    found = ""
    for number in range(1, len(taken) + 2):
        again = str(number) if number > 1 else ""
        found = mark(".".join(filter(None, (str(since) if since else "", again))))
        if found not in taken:
            break
    return found


def annotate(template: Template, key: str, value: str) -> None:
    """Set an annotation of a whole template. The maps on the way to it are replaced, not written into."""
    metadata = dict(template.get("metadata") or {})
    metadata["annotations"] = {**(metadata.get("annotations") or {}), key: value}
    template["metadata"] = metadata


def take_annotations(template: Template, mark: str = CONFIG, *also: str) -> str | None:
    """Take reroll's annotations, `mark` and `also` out of a template, with the maps that they alone filled; the
    value of `mark`."""
    metadata = template.get("metadata")
    if not isinstance(metadata, dict):
        return None
    if metadata.get("creationTimestamp", "") is None:
        del metadata["creationTimestamp"]
    annotations = metadata.get("annotations")
    found = None
    if isinstance(annotations, dict):
        value = annotations.get(mark)
        found = value if isinstance(value, str) else None
        for key in [key for key in annotations if key.startswith(PREFIX) or key == mark or key in also]:
            del annotations[key]
        if not annotations:
            del metadata["annotations"]
    if not metadata:
        del template["metadata"]
    return found
