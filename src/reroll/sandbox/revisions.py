"""ControllerRevisions: the templates that a StatefulSet or DaemonSet has had, numbered.

`kubectl rollout history` lists them and `kubectl rollout undo` applies one's data as a strategic merge patch,
which is why the template in it says ``$patch: replace`` (pkg/controller/history).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from reroll.sandbox.kinds import CONTROLLER_REVISION, Kind
from reroll.sandbox.pods import adopt, owned, owner_reference, template_hash
from reroll.sandbox.storage import Object, Storage

HASH: Final = "controller-revision-hash"
_HISTORY_LIMIT: Final = 10


def current(storage: Storage, kind: Kind, owner: Object, hash_label: str) -> Object:
    """The revision of the owner's template as it is, which has the highest number: created where it is new, numbered
    anew where it was used before (an undo)."""
    template: Object = owner["spec"]["template"]
    data = {"spec": {"template": {**template, "$patch": "replace"}}}
    held = history(storage, owner)
    last = held[-1]["revision"] if held else 0
    same = next((revision for revision in reversed(held) if revision["data"] == data), None)
    if same is not None:
        if same["revision"] == last:
            return same
        return storage.update(CONTROLLER_REVISION, {**same, "revision": last + 1})
    digest = template_hash(template)
    meta = owner["metadata"]
    name = f"{meta['name']}-{digest}"
    if adopt(storage, CONTROLLER_REVISION, kind, owner, name):
        return current(storage, kind, owner, hash_label)
    made: Object = {
        "metadata": {
            "name": name,
            "namespace": meta["namespace"],
            "labels": {**((template.get("metadata") or {}).get("labels") or {}), hash_label: digest},
            "ownerReferences": [owner_reference(kind, owner)],
        },
        "data": data,
        "revision": last + 1,
    }
    if meta.get("annotations"):
        made["metadata"]["annotations"] = meta["annotations"]
    return storage.create(CONTROLLER_REVISION, made)


def history(storage: Storage, owner: Object) -> list[Object]:
    """The revisions of an owner, the latest last."""
    return sorted(owned(storage, CONTROLLER_REVISION, owner), key=lambda revision: int(revision["revision"]))


def template_of(revision: Object) -> Object:
    """The pod template that a revision keeps."""
    template = revision["data"]["spec"]["template"]
    return {field: value for field, value in template.items() if field != "$patch"}


def trim(storage: Storage, owner: Object, live: Iterable[str]) -> None:
    """Keep as many as revisionHistoryLimit says besides those that are in use, by name."""
    in_use = set(live)
    idle = [held for held in history(storage, owner) if held["metadata"]["name"] not in in_use]
    limit = owner["spec"].get("revisionHistoryLimit", _HISTORY_LIMIT)
    for revision in idle[: max(0, len(idle) - limit)]:
        meta = revision["metadata"]
        storage.delete(CONTROLLER_REVISION, meta["namespace"], meta["name"])
