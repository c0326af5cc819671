"""Gives a source the content of one of its versions again. What it had before has a version of its own then."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

import msgspec

from reroll.core.digests import DigestKey
from reroll.core.records import ConfigId
from reroll.kube.errors import AlreadyExists, Conflict
from reroll.kube.ports import Patcher
from reroll.versions.collect import RESOURCES
from reroll.versions.copies import ORDINAL, SOURCE, same_content
from reroll.versions.make import Maker, find_or_create, suffix_of
from reroll.versions.refusal import Refused
from reroll.versions.shelf import Shelf, read_object, read_shelf, short

_ATTEMPTS: Final = 5
_CONTENT: Final = ("data", "binaryData")


class Restorer(Maker, Patcher, Protocol):
    """What is asked of the API server."""


async def restore(
    api: Restorer, config: ConfigId, copy: Mapping[str, Any], key: DigestKey | None, *, dry_run: bool = False
) -> str:
    """Write the content of `copy`, a whole object, into its source; what was done, for people; "": it has that content.

    `key`: the digest key, for the name of a copy of a Secret; None: it is not known. Raises ApiError and Refused."""
    for _ in range(_ATTEMPTS):
        source = await read_object(api, config)
        try:
            if source is None:
                return await _create(api, config, copy, dry_run=dry_run)
            if same_content(source, copy):
                return ""
            return await _write(api, config, source, copy, key, dry_run=dry_run)
        except (Conflict, AlreadyExists):
            continue
    raise Refused(f"another client changes {short(config)} all the time")


async def _create(api: Restorer, config: ConfigId, copy: Mapping[str, Any], *, dry_run: bool) -> str:
    meta = copy["metadata"]
    labels = {key: value for key, value in (meta.get("labels") or {}).items() if key not in (SOURCE, ORDINAL)}
    body = {
        "apiVersion": "v1",
        "kind": RESOURCES[config.kind].kind,
        "metadata": {"name": config.name, "namespace": config.namespace, "labels": labels},
        **{field: copy[field] for field in (*_CONTENT, "type") if copy.get(field)},
    }
    path = RESOURCES[config.kind].path(config.namespace, None, dryRun="All" if dry_run else None)
    await api.create(path, msgspec.json.encode(body))
    return f"{short(config)} was gone, and is created again with the content of {meta['name']}"


async def _write(
    api: Restorer,
    config: ConfigId,
    source: Mapping[str, Any],
    copy: Mapping[str, Any],
    key: DigestKey | None,
    *,
    dry_run: bool,
) -> str:
    if source.get("immutable"):
        raise Refused(f"{short(config)} is immutable: its content can't be changed")
    if source["metadata"].get("deletionTimestamp"):
        raise Refused(f"{short(config)} is being deleted")
    kept = await _kept(api, config, source, key, dry_run=dry_run)
    body: dict[str, Any] = {"metadata": {"resourceVersion": source["metadata"]["resourceVersion"]}}
    for field in _CONTENT:
        was, wanted = source.get(field) or {}, copy.get(field) or {}
        changed = {
            name: wanted.get(name) for name in was.keys() | wanted.keys() if was.get(name) != wanted.get(name)
        }
        if changed:
            body[field] = changed
    path = RESOURCES[config.kind].path(config.namespace, config.name, dryRun="All" if dry_run else None)
    await api.patch(path, msgspec.json.encode(body))
    return f"{short(config)} gets the content of {copy['metadata']['name']}; what it had is kept as {kept}"


async def _kept(
    api: Restorer, config: ConfigId, source: Mapping[str, Any], key: DigestKey | None, *, dry_run: bool
) -> str:
    """The copy of what the source has now; made where there is none. Raises Refused where its name can't be told."""
    shelf: Shelf = await read_shelf(api, config)
    if shelf.same and shelf.source is not None and same_content(shelf.source, source):
        return min(shelf.same)
    if config.kind == "secret" and key is None:
        raise Refused(
            f"what {short(config)} has now has no version, and one can't be named without the digest key of the "
            f"installation, which can't be read: see --key-namespace"
        )
    if dry_run:
        return "a version"
    name, _ = await find_or_create(api, config, source, lambda length: suffix_of(config, source, length, key))
    return name
