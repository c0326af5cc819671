"""The immutable copy of a ConfigMap or Secret: what is in it, and what it says of itself. Pure.

A copy belongs to nobody: no ownerReference, because it outlives its source on purpose, and none of the labels and
annotations by which Helm, Argo CD and Flux tell what is theirs, because they would remove what they did not write.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from reroll.core.records import ConfigId, ConfigKind
from reroll.core.times import epoch
from reroll.core.version_name import can_be_version

SOURCE: Final = "reroll.dev/source"
"""Label: the name of its source; of one that is too long for a label, its beginning and a hash."""
ORDINAL: Final = "reroll.dev/version"
"""Label: 1 for the first version of a source, and so on."""
SOURCE_NAME: Final = "reroll.dev/source-name"
SOURCE_UID: Final = "reroll.dev/source-uid"
SOURCE_VERSION: Final = "reroll.dev/source-version"
"""Annotation: the resourceVersion of the source that it was copied of."""
CHANGED_BY: Final = "reroll.dev/changed-by"
CHANGED_AT: Final = "reroll.dev/changed-at"
"""Annotations: the field manager that last wrote the content of the source, and when, by the server's time."""
FAILED: Final = "reroll.dev/failed"
"""Annotation: the workload whose rollout to this version failed. No other is pointed at it until this is gone."""
UNUSED_SINCE: Final = "reroll.dev/unused-since"
"""Annotation: when garbage collection first found that nothing names it."""
KEEP: Final = "reroll.dev/keep"
"""Annotation, by people: garbage collection leaves it alone, also where nothing names it that reroll can list."""
IGNORE: Final = "reroll.dev/ignore"
"""Annotation: nothing follows it, whatever pattern its name matches. It never changes."""

KINDS: Final[Mapping[str, ConfigKind]] = {"ConfigMap": "configmap", "Secret": "secret"}

_LABEL: Final = 63
_TRACKED: Final = (
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/instance",
    "argocd.argoproj.io/",
    "kustomize.toolkit.fluxcd.io/",
    "helm.toolkit.fluxcd.io/",
    "helm.sh/",
    "applyset.kubernetes.io/",
    "reroll.dev/",
)
"""Labels, or their beginnings, by which a tool tells what is its own (app.kubernetes.io/instance is Argo CD's by
default). kubectl's ``--prune -l`` takes any label: what a copy has of these is all that can be known."""

_KEPT_BY_TOOLS: Final = {
    "argocd.argoproj.io/compare-options": "IgnoreExtraneous",
    "argocd.argoproj.io/sync-options": "Prune=false",
}


class Copy(Struct, frozen=True):
    """What a copy says of itself, by its metadata."""

    config: ConfigId
    source: str
    """The name of the ConfigMap or Secret that people edit."""
    ordinal: int
    uid: str = ""
    resource_version: str = ""
    created: float = 0.0
    """Seconds since the epoch; 0 where it is not known."""
    changed_by: str = ""
    changed_at: str = ""
    unused_since: float = 0.0
    """When garbage collection found that nothing names it, in seconds since the epoch; 0: it did not."""
    failed: str = ""
    kept: bool = False
    """A person wants it to stay."""


def source_label(source: str) -> str:
    """The value of the label for a source of this name, to select its copies by."""
    if len(source) <= _LABEL:
        return source
    short = hashlib.sha256(source.encode()).hexdigest()[:8]
    return f"{source[: _LABEL - 9].rstrip('-.')}-{short}"


def copy_of(source: Mapping[str, Any], name: str, ordinal: int) -> dict[str, Any]:
    """The manifest of the copy of this name of a ConfigMap or Secret, as the API has that."""
    meta = source["metadata"]
    manager, at = last_write(meta.get("managedFields") or ())
    annotations = {
        **_KEPT_BY_TOOLS,
        IGNORE: "true",
        SOURCE_NAME: meta["name"],
        SOURCE_UID: meta.get("uid", ""),
        SOURCE_VERSION: meta.get("resourceVersion", ""),
        CHANGED_BY: manager,
        CHANGED_AT: at,
    }
    labels = {key: value for key, value in (meta.get("labels") or {}).items() if not key.startswith(_TRACKED)}
    content = {field: source[field] for field in ("data", "binaryData", "type") if source.get(field)}
    return {
        "apiVersion": "v1",
        "kind": source.get("kind"),
        "metadata": {
            "name": name,
            "namespace": meta["namespace"],
            "labels": {**labels, SOURCE: source_label(meta["name"]), ORDINAL: str(ordinal)},
            "annotations": {key: value for key, value in annotations.items() if value},
        },
        **content,
        "immutable": True,
    }


def same_content(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Do pods find the same in both?"""
    return all((one.get(field) or {}) == (other.get(field) or {}) for field in ("data", "binaryData"))


def read_copy(obj: Mapping[str, Any], kind: ConfigKind) -> Copy | None:
    """What an object says of itself, by its metadata; None: it is no copy. Whoever may write the object can write
    anything there, so nothing of it is believed without a look at what it is about. By its name above all: who names a
    copy is found by how such names look (`garbage.names_in`), so what has the labels alone would be deleted in use."""
    meta = obj.get("metadata") or {}
    labels, annotations = meta.get("labels") or {}, meta.get("annotations") or {}
    label, text = labels.get(SOURCE), labels.get(ORDINAL, "")
    if not label or not (text.isascii() and text.isdigit() and len(text) < 10):
        return None
    source = annotations.get(SOURCE_NAME) or label
    if source_label(source) != label or not can_be_version(meta.get("name", ""), source):
        return None
    return Copy(
        config=ConfigId(kind, meta.get("namespace", ""), meta.get("name", "")),
        source=source,
        ordinal=int(text),
        uid=meta.get("uid", ""),
        resource_version=meta.get("resourceVersion", ""),
        created=epoch(meta.get("creationTimestamp")),
        changed_by=annotations.get(CHANGED_BY, ""),
        changed_at=annotations.get(CHANGED_AT, ""),
        unused_since=epoch(annotations.get(UNUSED_SINCE)),
        failed=annotations.get(FAILED, ""),
        kept=annotations.get(KEEP) == "true",
    )


def next_ordinal(copies: Iterable[Copy]) -> int:
    """The ordinal of the next copy of a source that has these."""
    return max((copy.ordinal for copy in copies), default=0) + 1


def last_write(managed: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """The field manager that last wrote the content of an object, and when; ("", "") where that does not tell."""
    found = ("", "")
    for entry in managed:
        fields = entry.get("fieldsV1") or {}
        if any(field in fields for field in ("f:data", "f:binaryData", "f:stringData")):
            at = str(entry.get("time", ""))
            if at >= found[1]:
                found = (str(entry.get("manager", "")), at)
    return found


def decode_copies(body: bytes, kind: ConfigKind) -> list[Copy]:
    """The copies in the answer to a list, by the objects' metadata."""
    listed = msgspec.json.decode(body, type=_List)
    found = (read_copy(item, kind) for item in listed.items or ())
    return [copy for copy in found if copy is not None]


class _List(Struct, gc=False):
    items: list[dict[str, Any]] | None = None
