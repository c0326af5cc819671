"""Points workloads back at the sources of their configuration, and removes the versions that nothing names then.

Nothing is lost: where the source is gone, or has other content than the pods read, a workload is left as it is, unless
that content is to be written into the source.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import Any, Final, Literal, Protocol

import msgspec
from msgspec import Struct

from reroll.core.digests import DigestKey
from reroll.core.kinds import KINDS, WorkloadKind
from reroll.core.pointing import MEANS, VERSION, Template, named
from reroll.core.policy import MODE
from reroll.core.records import ConfigId, ConfigKind, WorkloadId
from reroll.core.references import references
from reroll.core.template import PodTemplate
from reroll.kube.client import JSON_PATCH
from reroll.kube.errors import ApiError, Conflict, Forbidden, NotFound
from reroll.kube.pages import read_list
from reroll.kube.ports import Deleter, Lister
from reroll.kube.resources import NAMESPACES, Resource
from reroll.versions.collect import RESOURCES, list_copies
from reroll.versions.copies import Copy
from reroll.versions.diff import contents
from reroll.versions.refusal import Refused
from reroll.versions.restore import Restorer, restore
from reroll.versions.shelf import read_object, short
from reroll.versions.templates import at_sources, replacement, style_in, template_of
from reroll.versions.uses import Use, find_uses, words

_ATTEMPTS: Final = 5
YOUNG: Final = 60.0
"""Seconds for which a version stays: whoever makes one names it a moment later."""

_SIGN: Final = VERSION.encode()
"""In the JSON of each workload that names versions."""

_decode_template: Final = msgspec.json.Decoder(PodTemplate).decode


class Api(Restorer, Deleter, Protocol):
    """What is asked of the API server: `kube.client.Client` does it."""


class Back(Struct, frozen=True):
    """What became of one workload, in a dry run what would."""

    workload: str
    state: Literal["pointed back", "planned", "unchanged", "refused"]
    sources: tuple[str, ...] = ()
    """What it names now, such as configmap/app."""
    restored: tuple[str, ...] = ()
    """What was written into sources, in words."""
    message: str = ""
    """Why it was refused; what else a person wants to know."""


class Kept(Struct, frozen=True):
    """A version that stays, and why."""

    version: str
    why: str


class Unversioned(Struct, frozen=True):
    """All of it."""

    workloads: tuple[Back, ...]
    deleted: tuple[str, ...] = ()
    kept: tuple[Kept, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def refused(self) -> bool:
        return any(each.state == "refused" for each in self.workloads)


class Options(Struct, frozen=True):
    """How it is to be done."""

    restore: bool = False
    dry_run: bool = False
    key: DigestKey | None = None
    """See `restore`."""
    young: float = YOUNG


async def unversion(
    api: Api, workloads: Sequence[WorkloadId], now: float, options: Options, *, everywhere: Sequence[str] = ()
) -> Unversioned:
    """Point these workloads back, and remove the versions of what they read, as far as nothing names one then.

    `everywhere`: remove those of all sources in these namespaces, ("",) for all. What goes wrong with one workload is
    told of it. Raises ApiError where the rest can't be told."""
    claimed: dict[ConfigId, str] = {}
    concerned: set[ConfigId] = set()
    done = []
    for workload in workloads:
        try:
            done.append(await _point_back(api, workload, claimed, concerned, options))
        except Refused as refused:
            done.append(Back(str(workload), "refused", message=str(refused)))
        except ApiError as error:
            done.append(Back(str(workload), "refused", message=error.message))
    namespaces = everywhere or sorted({workload.namespace for workload in workloads})
    deleted, kept, notes = await _remove(api, namespaces, None if everywhere else concerned, now, options)
    return Unversioned(tuple(done), deleted, kept, notes)


async def versioned(api: Lister, namespaces: Sequence[str]) -> list[WorkloadId]:
    """The workloads in these namespaces, ("",) for all, whose pod templates name versions. Raises ApiError."""
    found: dict[WorkloadId, None] = {}
    for kind in KINDS.values():
        resource = Resource(kind.group, kind.version, kind.plural, kind.kind)

        def take(raw: msgspec.Raw, kind: WorkloadKind = kind) -> None:
            if _SIGN in bytes(raw):
                obj = msgspec.json.decode(raw)
                meta = obj["metadata"]
                if not kind.re_created and copies_of(template_of(kind, obj), meta["namespace"]):
                    found[WorkloadId(kind.id, meta["namespace"], meta["name"])] = None

        for namespace in namespaces:
            try:
                path = partial(resource.path, namespace or None, None)
                await read_list(api, path, take, begin_again=lambda: None)
            except (NotFound, Forbidden):
                if not kind.optional:
                    raise
    return sorted(found, key=lambda workload: (workload.namespace, workload.kind, workload.name))


# --- pointing back ---------------------------------------------------------------------------------------


async def _point_back(
    api: Api,
    workload: WorkloadId,
    claimed: dict[ConfigId, str],
    concerned: set[ConfigId],
    options: Options,
) -> Back:
    """`claimed`: the sources that workloads before were pointed back at, and the copy that they have the content of.
    `concerned`: gets what this workload reads."""
    kind = KINDS[workload.kind]
    path = Resource(kind.group, kind.version, kind.plural, kind.kind).path(workload.namespace, workload.name)
    told: dict[ConfigId, str] = {}
    for _ in range(_ATTEMPTS):
        obj: dict[str, Any] = msgspec.json.decode(await api.get(path))
        template = template_of(kind, obj)
        copies = copies_of(template, workload.namespace)
        concerned |= {ConfigId(kind_of, workload.namespace, name) for kind_of, name in named(template or {})}
        if template is None or not copies:
            return Back(str(workload), "unchanged", message="it names no versions")
        if kind.re_created:
            raise Refused(f"the pod template of a {kind.kind} can't be changed: it ends with what it has")
        annotations = await _mode(api, workload.namespace, obj["metadata"].get("annotations") or {})
        body = replacement(kind, obj, at_sources(template, style_in(kind, obj)), annotations)
        try:
            # The server has a look at all of it first: what it refuses is not done by halves.
            for dry_run in (True,) if options.dry_run else (True, False):
                for config, name in copies.items():
                    said = await _check(api, config, name, template, claimed, options, dry_run=dry_run)
                    if dry_run is options.dry_run:
                        claimed[config] = name
                        told |= {config: said} if said else {}
                await api.patch(f"{path}{'?dryRun=All' if dry_run else ''}", body, content_type=JSON_PATCH)
        except Conflict:
            continue
        return Back(
            str(workload),
            "planned" if options.dry_run else "pointed back",
            tuple(map(short, copies)),
            tuple(told.values()),
            f"its mode is rollout now ({MODE})" if annotations else "",
        )
    raise Refused("another client changes it all the time")


def copies_of(template: Template | None, namespace: str) -> dict[ConfigId, str]:
    """The sources that a template names by a version, and these. Pure."""
    return {
        ConfigId(kind, namespace, source): name
        for (kind, source), name in sorted(named(template or {}).items())
        if name != source
    }


async def _check(
    api: Api,
    config: ConfigId,
    name: str,
    template: Template,
    claimed: dict[ConfigId, str],
    options: Options,
    *,
    dry_run: bool,
) -> str:
    """See to it that the source has what pods read of its version; what was written for that, in words. Raises Refused
    where it has not, and is not to get it."""
    copy = await read_object(api, config._replace(name=name))
    if copy is None:
        raise Refused(
            f"its version {config.kind}/{name} is gone: whether the source has its content can't be told"
        )
    source = await read_object(api, config)
    if source is not None and _reads_the_same(config.kind, name, template, copy, source):
        return ""
    if not options.restore:
        why = (
            f"{short(config)} is gone" if source is None else f"{short(config)} has other content than {name}"
        )
        raise Refused(f"{why}, which its pods read: --restore-source writes that back")
    other = claimed.get(config)
    if other is not None and other != name:
        raise Refused(
            f"{short(config)} has the content of {other} for another workload, and this one reads {name}"
        )
    return await restore(api, config, copy, options.key, dry_run=dry_run)


def _reads_the_same(
    kind: ConfigKind, name: str, template: Template, copy: dict[str, Any], source: dict[str, Any]
) -> bool:
    """Is all that pods of this template read of the copy the same in the source?"""
    was, is_ = contents(kind, copy), contents(kind, source)
    found = references(_decode_template(msgspec.json.encode(template)))
    for each in found:
        if (each.kind, each.name) == (kind, name) and each.means in MEANS:
            keys = was.keys() | is_.keys() if each.keys is None else each.keys
            if any(was.get(key) != is_.get(key) for key in keys):
                return False
    return True


async def _mode(api: Api, namespace: str, annotations: dict[str, str]) -> dict[str, str]:
    """What to annotate a workload with, so that no controller points it at versions again."""
    mode = annotations.get(MODE)
    if mode is None:
        try:
            found = msgspec.json.decode(await api.get(NAMESPACES.path(None, namespace)))
        except (Forbidden, NotFound):
            return {}
        mode = (found["metadata"].get("annotations") or {}).get(MODE, "")
    return {MODE: "rollout"} if mode.strip().lower() == "version" else {}


# --- removing versions -----------------------------------------------------------------------------------


async def _remove(
    api: Api, namespaces: Sequence[str], concerned: Collection[ConfigId] | None, now: float, options: Options
) -> tuple[tuple[str, ...], tuple[Kept, ...], tuple[str, ...]]:
    """(the versions that were deleted, in a dry run would be; those that stay; notes for people). `concerned`: the
    sources whose versions may go; None: all."""
    copies: list[Copy] = []
    notes: list[str] = []
    for kind in RESOURCES:
        try:
            found = await list_copies(api, namespaces, (kind,))
        except Forbidden as error:
            notes.append(f"versions of {RESOURCES[kind].plural} are left as they are: {error.message}")
        else:
            copies += [copy for copy in found if concerned is None or _source(copy) in concerned]
    wanted = {(copy.config.namespace, copy.config.name) for copy in copies}
    uses = await find_uses(api, namespaces, wanted, everything=True)
    if uses.unread:
        why = "no version is deleted, because this can't be listed and may name one"
        return (), (), (*notes, *(f"{why}: {each}" for each in uses.unread))
    by_source: dict[ConfigId, list[Use]] = {}
    for copy in copies:
        by_source.setdefault(_source(copy), []).extend(uses.of(copy.config.namespace, copy.config.name))
    deleted, kept = [], []
    for copy in sorted(copies, key=lambda copy: copy.config):
        own = uses.of(copy.config.namespace, copy.config.name)
        reason = _why_kept(copy, own, by_source[_source(copy)], now, options)
        if not reason and not options.dry_run:
            reason = await _delete(api, copy)
        if reason:
            kept.append(Kept(str(copy.config), reason))
        else:
            deleted.append(str(copy.config))
    return tuple(deleted), tuple(kept), tuple(notes)


def _source(copy: Copy) -> ConfigId:
    return copy.config._replace(name=copy.source)


def _why_kept(copy: Copy, uses: Sequence[Use], of_source: Sequence[Use], now: float, options: Options) -> str:
    """Why a version stays; "": it may go. `uses`: who names it; `of_source`: who names any version of its source."""
    if uses:
        return f"named by {', '.join(words(uses))}"
    templates = sorted({str(use) for use in of_source if use.what == "workload"})
    if templates:
        return f"{', '.join(templates)} names another version of {copy.source}, and can be rolled back to this one"
    if copy.kept:
        return "it is annotated to be kept"
    if now - copy.created < options.young:
        return f"it is younger than {options.young:g} s"
    return ""


async def _delete(api: Deleter, copy: Copy) -> str:
    """Delete exactly what was looked at; why it was not, "" if it was."""
    body = {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": {"uid": copy.uid, "resourceVersion": copy.resource_version},
    }
    path = RESOURCES[copy.config.kind].path(copy.config.namespace, copy.config.name)
    try:
        await api.delete(path, msgspec.json.encode(body), attempts=1)
    except NotFound:
        return ""
    except Conflict:
        return "it was changed just now"
    except ApiError as error:
        return f"it can't be deleted: {error.message}"
    return ""
