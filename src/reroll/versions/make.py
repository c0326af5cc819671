"""Finds the copy with a content, or makes it.

Equal content has an equal name. Where the name belongs to other content, because somebody took it or by accident, a
longer suffix is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from reroll.core.digests import DigestKey, secret_digests
from reroll.core.records import ConfigId
from reroll.core.version_name import LENGTHS, config_map_suffix, copy_name, secret_suffix
from reroll.kube.errors import AlreadyExists
from reroll.kube.pages import METADATA_ONLY
from reroll.kube.ports import Creator, Getter, Lister, Patcher
from reroll.versions.collect import RESOURCES
from reroll.versions.copies import (
    SOURCE,
    UNUSED_SINCE,
    copy_of,
    decode_copies,
    next_ordinal,
    same_content,
    source_label,
)
from reroll.versions.refusal import Refused
from reroll.versions.shelf import read_object


class Maker(Getter, Lister, Creator, Protocol):
    """What is asked of the API server."""


def suffix_of(config: ConfigId, obj: Mapping[str, Any], length: int, key: DigestKey | None) -> str:
    """The suffix of the version of a ConfigMap or Secret with the content of this object, as the API has it. `key`: the
    installation's, without which there is none for a Secret."""
    if config.kind == "secret":
        if key is None:
            raise ValueError("the suffix of a Secret's version takes the digest key")
        keys, digests = secret_digests(config.namespace, config.name, obj.get("data"), key)
        return secret_suffix(keys, digests, length)
    return config_map_suffix(obj.get("data"), obj.get("binaryData"), length)


async def find_or_create(
    api: Maker, config: ConfigId, source: Mapping[str, Any], suffix: Callable[[int], str]
) -> tuple[str, dict[str, Any] | None]:
    """The name of the copy with the content of `source`, and that copy where it was there; None: it was made.

    `suffix`: that of this content, by length. Raises ApiError, and Refused where all names belong to other content."""
    resource = RESOURCES[config.kind]
    for length in LENGTHS:
        name = copy_name(config.name, suffix(length))
        there = await read_object(api, config._replace(name=name))
        if there is None:
            body = msgspec.json.encode(copy_of(source, name, await _ordinal(api, config)))
            try:
                await api.create(resource.path(config.namespace), body)
                return name, None
            except AlreadyExists:
                there = await read_object(api, config._replace(name=name))
        if there is not None and same_content(there, source):
            return name, there
    raise Refused(f"the names of versions of {config.short(config.namespace)} belong to other content")


async def keep_from_collection(api: Patcher, config: ConfigId, copy: Mapping[str, Any]) -> None:
    """Somebody is about to name this copy: where garbage collection has an eye on it, take its mark away. It deletes no
    object that was touched since it looked. Raises ApiError."""
    meta = copy["metadata"]
    if (meta.get("annotations") or {}).get(UNUSED_SINCE):
        body = msgspec.json.encode({"metadata": {"annotations": {UNUSED_SINCE: None}}})
        await api.patch(RESOURCES[config.kind].path(config.namespace, meta["name"]), body)


async def _ordinal(api: Lister, config: ConfigId) -> int:
    """The ordinal of the next version of an object. Raises ApiError."""
    path = RESOURCES[config.kind].path(
        config.namespace, None, labelSelector=f"{SOURCE}={source_label(config.name)}"
    )
    listed = decode_copies(await api.list_page(path, accept=METADATA_ONLY), config.kind)
    return next_ordinal([copy for copy in listed if copy.source == config.name])
