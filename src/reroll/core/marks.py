"""What is written on a pod template to start a rollout, and how it is told from what others wrote there.

A mark is a pure function of the digests, so that two controllers write the same. Everybody who reads or writes
one goes through a `MarkStyle`: reroll's own is here, those of other tools are `reroll.dialects.marks`. Whatever
the style, a mark is held as one string that differs whenever the mark does.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
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

    def next(self, record: WorkloadRecord, applied: Applied, changes: Sequence[ConfigChange]) -> str:
        """The mark for `applied`; never the one that the template carries (`record.mark`), for it has to start a
        rollout."""
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

    def next(self, record: WorkloadRecord, applied: Applied, changes: Sequence[ConfigChange]) -> str:
        taken = [mark for _, mark in record.revisions or () if mark is not None]
        return next_mark(applied, record.mark, taken)

    def patch(self, mark: str, present: str | None) -> Template:
        return {"metadata": {"annotations": {CONFIG: mark}}}

    def put(self, template: Template, mark: str) -> None:
        annotate(template, CONFIG, mark)


NATIVE: Final[MarkStyle] = NativeMarks()


def next_mark(applied: Applied, present: str | None, taken: Collection[str] = ()) -> str:
    """What goes on the pod template: a digest over all that is consumed.

    Normally a pure function of the digests alone, so that two controllers write the same. Only when the
    template carries that very digest already, though its pods were started with other content (an undo
    brought an old template back, and then the old content came back too), a suffix makes it a change. The same holds
    for the marks of revisions that may still have pods (`taken`): a pod of theirs that was started again in between
    has read other content.
    """
    mark = digests.mark({name: total(keys) for name, keys in applied.configs.items()})
    number = 1
    found = mark
    while found == present or found in taken:
        number += 1
        found = f"{mark}.{number}"
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
