"""The history of a ConfigMap or Secret: a row for each of its versions, and who has it now. Pure."""

from __future__ import annotations

from msgspec import Struct

from reroll.core.times import timestamp
from reroll.versions.copies import Copy, last_write
from reroll.versions.shelf import Shelf
from reroll.versions.uses import Use, Uses


class Row(Struct, frozen=True):
    """One version."""

    version: int
    """Its ordinal; 0: it is the content that the source has now, and there is no version of that."""
    name: str
    current: bool
    """The source has this content now."""
    created: str = ""
    changed_by: str = ""
    """The field manager that wrote this content into the source first, and when, as far as that is known."""
    changed_at: str = ""
    workloads: tuple[str, ...] = ()
    """Whose pod template names it, as KIND/NAME."""
    revisions: tuple[str, ...] = ()
    """Older revisions that name it, which an undo can go back to."""
    pods: int = 0
    """How many pods name it."""
    others: tuple[str, ...] = ()
    """What else names it."""
    failed: str = ""
    """The workload whose rollout to it failed."""
    unused_since: str = ""
    """When garbage collection found that nothing names it."""
    kept: bool = False
    """A person wants it to stay."""


class History(Struct, frozen=True):
    """All versions of one source, the first one first."""

    config: str
    """Such as configmap/shop/app."""
    exists: bool
    """Is the source there?"""
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    """What could not be read."""


def history(shelf: Shelf, uses: Uses) -> History:
    """The rows of it, with the content that has no version last."""
    namespace = shelf.config.namespace
    rows = [
        _row(copy, copy.config.name in shelf.same, uses.of(namespace, copy.config.name))
        for copy in shelf.copies
    ]
    if shelf.source is not None and not shelf.same:
        meta = shelf.source["metadata"]
        manager, at = last_write(meta.get("managedFields") or ())
        rows.append(
            Row(
                0,
                shelf.config.name,
                True,
                meta.get("creationTimestamp", ""),
                changed_by=manager,
                changed_at=at,
            )
        )
    notes = tuple(f"not read, so who uses a version is not all known: {each}" for each in uses.unread)
    return History(str(shelf.config), shelf.source is not None, tuple(rows), notes)


def _row(copy: Copy, current: bool, uses: tuple[Use, ...]) -> Row:
    workloads = [use for use in uses if use.what == "workload"]
    in_templates = {str(use) for use in workloads}
    # The newest revision of a workload is its template once more.
    newest: dict[str, int] = {}
    for use in uses:
        if use.what == "revision" and use.of in in_templates:
            newest[use.of] = max(newest.get(use.of, 0), use.revision)
    return Row(
        version=copy.ordinal,
        name=copy.config.name,
        current=current,
        created=timestamp(copy.created) if copy.created else "",
        changed_by=copy.changed_by,
        changed_at=copy.changed_at,
        workloads=tuple(sorted(in_templates)),
        revisions=tuple(
            f"{use} (revision {use.revision} of {use.of})" if use.of else str(use)
            for use in sorted(uses, key=lambda use: (use.of, use.revision, use.name))
            if use.what == "revision" and (use.of not in newest or use.revision < newest[use.of])
        ),
        pods=sum(use.what == "pod" for use in uses),
        others=tuple(sorted(str(use) for use in uses if use.what == "other")),
        failed=copy.failed,
        unused_since=timestamp(copy.unused_since) if copy.unused_since else "",
        kept=copy.kept,
    )
