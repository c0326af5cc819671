"""Points a workload at versions of its configuration that it had before; the rest of its template stays as it is.

With `restore` the sources get that content again, too. They are written first, so that the change of the template is
the later one: a controller that follows the workload takes it for the rollout that brings the content, and starts no
other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, Protocol

import msgspec
from msgspec import Struct

from reroll.core.digests import DigestKey
from reroll.core.kinds import WorkloadKind
from reroll.core.pointing import Named, Template, named
from reroll.core.records import ConfigId, WorkloadId
from reroll.kube.client import JSON_PATCH
from reroll.kube.errors import Conflict
from reroll.kube.resources import Resource
from reroll.versions.collect import list_copies
from reroll.versions.copies import Copy, read_copy, source_label
from reroll.versions.make import keep_from_collection
from reroll.versions.refusal import Refused
from reroll.versions.restore import Restorer, restore
from reroll.versions.revisions import Revision, read_revisions
from reroll.versions.shelf import read_object, short
from reroll.versions.templates import at_versions, replacement, style_in, template_of
from reroll.versions.wanted import Goal, Wish, goal

_ATTEMPTS: Final = 5


class Api(Restorer, Protocol):
    """What is asked of the API server: `kube.client.Client` does it."""


class Step(Struct, frozen=True):
    """One source whose version changes."""

    config: str
    """Such as configmap/app."""
    before: str
    """What the template named: a version, or the source."""
    after: str
    version: int
    """The ordinal of `after`."""
    failed: str = ""
    """The workload whose rollout to `after` failed."""


class RolledBack(Struct, frozen=True):
    """What was done, in a dry run what would be."""

    workload: str
    state: Literal["rolled back", "planned", "unchanged"]
    where: str
    """Such as ``revision 3``."""
    steps: tuple[Step, ...] = ()
    restored: tuple[str, ...] = ()
    """What was written into sources, in words."""
    notes: tuple[str, ...] = ()


class Options(Struct, frozen=True):
    """How it is to be done."""

    wish: Wish = Wish()
    restore: bool = False
    """Write the content of the versions into their sources, too."""
    dry_run: bool = False
    key: DigestKey | None = None
    """See `restore`."""


async def roll_back(api: Api, workload: WorkloadId, kind: WorkloadKind, options: Options) -> RolledBack:
    """Raises Refused, in words for people, and ApiError; NotFound where there is no such workload."""
    path = Resource(kind.group, kind.version, kind.plural, kind.kind).path(workload.namespace, workload.name)
    done: dict[ConfigId, str] = {}
    found: Goal | None = None
    for _ in range(_ATTEMPTS):
        obj: dict[str, Any] = msgspec.json.decode(await api.get(path))
        template = _changeable(kind, obj)
        revisions = await read_revisions(api, kind, obj)
        if found is None:
            # Once and for all: "the one before" is another one as soon as somebody has pointed it there.
            found = await _goal(api, workload.namespace, template, revisions, options.wish)
        versions = await _read_versions(api, workload.namespace, found)
        steps = _steps(template, found, versions)
        after = at_versions(template, found.names, revisions, style_in(kind, obj))
        change = Change(path, replacement(kind, obj, after)) if steps else None
        try:
            # The server has a look at all of it first: what it refuses is not done by halves.
            tried: dict[ConfigId, str] = {}
            await _write(api, versions, change, options, tried, dry_run=True)
            if options.dry_run:
                done = tried
            else:
                await _write(api, versions, change, options, done, dry_run=False)
        except Conflict:
            continue
        state: Literal["rolled back", "planned", "unchanged"] = "rolled back"
        if not steps and not done:
            state = "unchanged"
        elif options.dry_run:
            state = "planned"
        notes = (*found.notes, *_notes(obj, options, steps))
        return RolledBack(str(workload), state, found.where, steps, tuple(done.values()), notes)
    raise Refused("another client changes it all the time")


class Change(Struct, frozen=True):
    """What is written of the workload."""

    path: str
    body: bytes


class Version(Struct, frozen=True):
    """A version that is to be named."""

    config: ConfigId
    """Its source."""
    copy: Copy
    obj: dict[str, Any]

    def __repr__(self) -> str:
        return f"Version({self.copy.config})"  # it can be a Secret


async def _write(
    api: Api,
    versions: Sequence[Version],
    change: Change | None,
    options: Options,
    done: dict[ConfigId, str],
    *,
    dry_run: bool,
) -> None:
    """The sources, then the workload. `done`: gets what is written into sources, in words, also where the rest fails.
    Raises ApiError and Refused."""
    for version in versions:
        if not dry_run:
            await keep_from_collection(api, version.config, version.obj)
        if options.restore:
            words = await restore(api, version.config, version.obj, options.key, dry_run=dry_run)
            done |= {version.config: words} if words else {}
    if change is not None:
        query = "?dryRun=All" if dry_run else ""
        await api.patch(f"{change.path}{query}", change.body, content_type=JSON_PATCH)


async def _goal(
    api: Api, namespace: str, template: Template, revisions: Sequence[Revision], wish: Wish
) -> Goal:
    # Only of what is asked for: who rolls a ConfigMap back need not be allowed to list Secrets.
    only = [wish.config] if wish.config is not None else list(named(template))
    copies = {source: await _copies(api, namespace, source) for source in only}
    return goal(template, revisions, copies, namespace, wish)


def _steps(template: Template, found: Goal, versions: Sequence[Version]) -> tuple[Step, ...]:
    """What of it changes the template, which may have changed since."""
    present = named(template)
    steps = []
    for version in versions:
        source: Named = (version.config.kind, version.config.name)
        name = found.names[source]
        before = present.get(source, name)
        if before != name:
            short_name = short(version.config)
            steps.append(Step(short_name, before, name, version.copy.ordinal, version.copy.failed))
    return tuple(steps)


def _changeable(kind: WorkloadKind, obj: Mapping[str, Any]) -> Template:
    """Its pod template. Raises Refused where that can't be changed."""
    template = template_of(kind, obj)
    if template is None:
        raise Refused("it has no pod template of its own: roll back the workload that it refers to")
    if kind.re_created:
        raise Refused(f"the pod template of a {kind.kind} can't be changed: create it again")
    if obj["metadata"].get("deletionTimestamp"):
        raise Refused("it is being deleted")
    return template


async def _copies(api: Api, namespace: str, source: Named) -> list[Copy]:
    """The versions of what a template reads, the first one first."""
    kind, name = source
    found = await list_copies(api, (namespace,), (kind,), source=source_label(name))
    of_it = [copy for copy in found if copy.source == name]
    return sorted(of_it, key=lambda copy: (copy.ordinal, copy.created, copy.config.name))


async def _read_versions(api: Api, namespace: str, found: Goal) -> list[Version]:
    """The copies as a whole. Raises Refused where one is none of its source."""
    versions = []
    for (kind, source), name in sorted(found.names.items()):
        config = ConfigId(kind, namespace, source)
        obj = await read_object(api, config._replace(name=name))
        copy = read_copy(obj, kind) if obj is not None else None
        if obj is None or copy is None or copy.source != source:
            raise Refused(f"{kind}/{name} is no version of {short(config)} any more")
        versions.append(Version(config, copy, obj))
    return versions


def _notes(obj: Mapping[str, Any], options: Options, steps: Sequence[Step]) -> list[str]:
    """What a person wants to know about it."""
    found: list[str] = []
    found += [f"the rollout of {step.failed} to {step.after} failed" for step in steps if step.failed]
    if steps and obj["spec"].get("paused"):
        found.append("it is paused: its pods follow when it is resumed")
    if steps and not options.restore:
        found.append("the source keeps its content, and the next change of it goes on from there")
    return found
