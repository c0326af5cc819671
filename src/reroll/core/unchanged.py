"""Whether a workload that arrives is the one that is known, but for its status.

Nearly all that a watch of workloads brings is news of pods: another status, and of the rest not a byte. Such an object
makes the same record, so none need be made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from reroll.core import applied as marks
from reroll.core.observe import WorkloadObject
from reroll.core.records import Applied, WorkloadRecord


def same_but_for_status(
    obj: WorkloadObject, known: WorkloadRecord, relevant: Callable[[Mapping[str, str]], dict[str, str]]
) -> bool:
    """Does `obj` make the record `known` again, with another `resource_version` alone?

    The server raises metadata.generation with each change of spec, the template included; what is left to compare is
    metadata. `relevant` picks the annotations that can hold policy, as for `core.observe.workload_record`.

    False where in doubt: of a kind that counts no generations, of one whose template is another's (`template_of`), and
    where more is known than stands on it (`unsaved`).
    """
    meta = obj.metadata
    if not meta.generation or meta.generation != known.generation or meta.uid != known.uid:
        return False
    if known.template_of is not None or known.unsaved or obj.finished != known.finished:
        return False
    annotations = meta.annotations or {}
    return (
        (meta.deletion_timestamp is not None) == known.deleting
        and relevant(annotations) == known.annotations
        and annotations.get(marks.STANDS_IN_FOR, "").partition(" ")[0] == known.stands_in_for
        and tuple(annotations.get(marks.RESTARTING, "").split()) == known.restarting
        and any(owner.controller for owner in meta.owner_references or ()) == known.owned
        and _recorded(annotations) == (known.applied, known.applied_problem)
    )


def _recorded(annotations: Mapping[str, str]) -> tuple[Applied | None, str]:
    """What is recorded as applied, and why it can't be read."""
    value = annotations.get(marks.APPLIED)
    if value is None:
        return None, ""
    try:
        return marks.decode(value), ""
    except ValueError as error:
        return None, str(error)
