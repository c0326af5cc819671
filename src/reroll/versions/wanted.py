"""Which versions a workload is to go back to: by a revision, by one version, or by what it had before. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from reroll.core.pointing import Named, Template, named
from reroll.core.records import ConfigId
from reroll.versions.copies import Copy
from reroll.versions.refusal import Refused
from reroll.versions.revisions import Revision
from reroll.versions.shelf import choose


class Wish(Struct, frozen=True):
    """What a person asks for."""

    revision: int | None = None
    version: str = ""
    """An ordinal, a name or a suffix; "" and no revision: what it had before."""
    config: Named | None = None
    """Only this one of what it reads."""


class Goal(Struct, frozen=True):
    """Where it is to go."""

    names: dict[Named, str]
    """Each source, and the copy to name for it. What it names already is in here, too."""
    where: str
    """For people, such as ``revision 3``."""
    notes: tuple[str, ...] = ()


def goal(
    template: Template,
    revisions: Sequence[Revision],
    copies: Mapping[Named, Sequence[Copy]],
    namespace: str,
    wish: Wish,
) -> Goal:
    """`revisions`: those of the workload, the oldest first. `copies`: those that there are of what its template reads,
    the first one first. Raises Refused, in words."""
    present = named(template)
    if wish.config is not None and wish.config not in present:
        kind, name = wish.config
        raise Refused(f"its pod template names no {kind}/{name}")
    only = [wish.config] if wish.config is not None else list(present)
    sources = [source for source in only if copies.get(source)]
    if not sources:
        names = ", ".join(f"{kind}/{name}" for kind, name in only) or "nothing that has versions"
        raise Refused(f"it reads {names}, and there are no versions of that: it is for the mode version")
    if wish.version:
        return _to_version(sources, copies, namespace, wish.version)
    if wish.revision is not None:
        return _to_revision(sources, revisions, copies, wish.revision)
    return _to_the_one_before(present, sources, revisions, copies)


def _to_version(
    sources: Sequence[Named], copies: Mapping[Named, Sequence[Copy]], namespace: str, word: str
) -> Goal:
    found: dict[Named, Copy] = {}
    refusals: list[Refused] = []
    for source in sources:
        kind, name = source
        try:
            found[source] = choose(copies[source], word, ConfigId(kind, namespace, name))
        except Refused as refused:
            refusals.append(refused)
    if not found:
        raise refusals[0]
    if len(found) > 1:
        names = " and ".join(f"{kind}/{name}" for kind, name in found)
        raise Refused(f"{names} have a version {word}: say which is meant with --config")
    [(source, copy)] = found.items()
    return Goal({source: copy.config.name}, f"version {copy.ordinal}")


def _to_revision(
    sources: Sequence[Named],
    revisions: Sequence[Revision],
    copies: Mapping[Named, Sequence[Copy]],
    number: int,
) -> Goal:
    revision = next((each for each in revisions if each.number == number), None)
    if revision is None:
        listed = ", ".join(str(each.number) for each in revisions) or "none"
        raise Refused(f"it has no revision {number}; those that are kept: {listed}")
    names = _versions_of(revision, sources)
    if not names:
        raise Refused(f"revision {number} names no versions: what its pods read then is not kept")
    for kind, name in names:
        copy = names[kind, name]
        if copy not in {each.config.name for each in copies[kind, name]}:
            raise Refused(f"revision {number} names {kind}/{copy}, and there is no such version any more")
    left = tuple(
        f"revision {number} names no version of {kind}/{name}: that stays as it is"
        for kind, name in sources
        if (kind, name) not in names
    )
    return Goal(names, f"revision {number}", left)


def _to_the_one_before(
    present: Mapping[Named, str],
    sources: Sequence[Named],
    revisions: Sequence[Revision],
    copies: Mapping[Named, Sequence[Copy]],
) -> Goal:
    """By its revisions, because these ran together; where none tells, by the ordinals of versions. What a rollout
    failed with is passed over."""
    usable = {source: {copy.config.name for copy in copies[source] if not copy.failed} for source in sources}
    passed: list[str] = []
    for revision in reversed(revisions):
        names = _versions_of(revision, sources)
        if all(name == present[source] for source, name in names.items()):
            continue
        if all(name in usable[source] for source, name in names.items()):
            return Goal(names, f"revision {revision.number}", tuple(passed))
        passed.append(
            f"revision {revision.number} is passed over: its versions are gone, or a rollout failed with them"
        )
    earlier = dict(_earlier(present, sources, copies))
    if not earlier:
        raise Refused("nothing is known of what it read before: say what is meant with --to-version")
    return Goal(earlier, "the versions before", tuple(passed))


def _earlier(
    present: Mapping[Named, str], sources: Sequence[Named], copies: Mapping[Named, Sequence[Copy]]
) -> Iterator[tuple[Named, str]]:
    """Of each source the newest version that is older than the one that is named now."""
    for source in sources:
        now = next((copy for copy in copies[source] if copy.config.name == present[source]), None)
        if now is None:
            continue
        older = [copy for copy in copies[source] if copy.ordinal < now.ordinal and not copy.failed]
        if older:
            yield source, older[-1].config.name


def _versions_of(revision: Revision, sources: Sequence[Named]) -> dict[Named, str]:
    """The copies that a revision names of these sources."""
    found = named(revision.template)
    return {source: found[source] for source in sources if found.get(source, source[1]) != source[1]}
