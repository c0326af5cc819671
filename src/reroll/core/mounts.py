"""What pods have mounted of one SecretProviderClass, taken together: which content is a change, and for whom.

The secrets-store CSI driver says of each pod what it has mounted, and says it anew when it rotates it in the running
pod. A pod that starts mounts what the vault holds at that moment. So the two tell of different things:

- A *rotated* mount is a change: the files of a pod that runs are others than those it has started with. The driver
  rotates pod after pod, minutes apart, so the first of them announces the content for all. An announced content is
  never taken back because a pod goes, for the pods that replace it start with it.
- A mount that was *never rotated* tells of its own pod alone: this pod has read it. That the vault has moved on is no
  change of what the others have mounted.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeAlias

from msgspec import Struct

from reroll.core.order import is_later
from reroll.core.records import Change

Content: TypeAlias = tuple[tuple[str, ...], bytes]
"""The sorted keys, and their digests joined."""

MOST: Final = 16
"""How many newer contents are told apart at most, the latest ones."""


class Mount(Struct, frozen=True, gc=False):
    """What one pod has mounted."""

    content: Content
    change: Change
    """When it was mounted, or rotated last."""
    rotated: bool
    """It is not what the pod has started with."""


class ClassContent(Struct, frozen=True, gc=False):
    """What holds of the class."""

    content: Content
    change: Change
    announced: Mount | None
    """The mount that announced the content. None: every pod has started with what it has mounted; the content is the
    oldest then, so that a rotation of any pod differs from it."""
    newer: tuple[Content, ...] = ()
    """Further contents that pods have mounted at their start, all of them later than `content`: a workload whose pods
    were last rolled for one of these is not behind."""


def class_content(mounts: Iterable[Mount], announced: Mount | None) -> ClassContent:
    """What holds of a class that pods have mounted so, at least one, in any order. `announced`: that of the result
    before, which the caller keeps while any pod has the class mounted."""
    oldest: dict[Content, Mount] = {}
    rotated: list[Mount] = []
    last = announced
    for mount in mounts:
        known = oldest.get(mount.content)
        if known is None or _is_newer(known, mount):
            oldest[mount.content] = mount
        if mount.rotated:
            rotated.append(mount)
            if last is None or _is_newer(mount, last):
                last = mount
    if last is not None and (announced is None or last.content != announced.content):
        announced = _first(last, rotated if announced is None else [*rotated, announced])
    if announced is not None:
        others = [mount for mount in oldest.values() if mount.content != announced.content]
        newer = [mount for mount in others if is_later(mount.change, announced.change)]
        if rotated or len(newer) < len(others):
            return ClassContent(announced.content, announced.change, announced, _latest(newer))
    # Every pod has started with what it has mounted, and none with less than was announced: nobody is behind.
    by_age = list(oldest.values())
    first = by_age[0]
    for mount in by_age:
        if _is_newer(first, mount):
            first = mount
    return ClassContent(
        first.content, first.change, None, _latest(m for m in by_age if m.content != first.content)
    )


def _first(last: Mount, rotated: Iterable[Mount]) -> Mount:
    """The first to be rotated to the content of `last`, since any was rotated to another one."""
    other: Mount | None = None
    same: list[Mount] = []
    for mount in rotated:
        if mount.content == last.content:
            same.append(mount)
        elif other is None or _is_newer(mount, other):
            other = mount
    first = last
    for mount in same:
        if _is_newer(first, mount) and (other is None or _is_newer(mount, other)):
            first = mount
    return first


def _is_newer(a: Mount, b: Mount) -> bool:
    """As far as can be told; where times tell nothing, by the resourceVersion, which is no earlier than the change."""
    if is_later(a.change, b.change):
        return True
    return a.change.version > b.change.version and not is_later(b.change, a.change)


def _latest(mounts: Iterable[Mount]) -> tuple[Content, ...]:
    by_version = sorted(mounts, key=lambda mount: (mount.change.version, mount.content), reverse=True)
    return tuple(mount.content for mount in by_version[:MOST])
