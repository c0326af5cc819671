"""Pods as their owners see them: made of a template, ready, available, replaced."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from reroll.sandbox import conditions
from reroll.sandbox.clockwork import Clockwork
from reroll.sandbox.kinds import POD, Kind
from reroll.sandbox.storage import Object, Storage

_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"
"""Of generated names: no vowels and no digits like them, so that no words come out."""
_SUFFIX: Final = 5
_LONGEST_STEM: Final = 63 - _SUFFIX


def generated(stem: str) -> str:
    """`stem` and five random letters, as generateName makes a name."""
    return stem[:_LONGEST_STEM] + "".join(random.choices(_ALPHABET, k=_SUFFIX))


def template_hash(template: Object) -> str:
    """Ten letters that are the same for the same pod template. Not those that a real cluster has for it."""
    digest = hashlib.sha256(msgspec.json.encode(template, order="deterministic")).digest()
    return "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest[:10])


def owner_reference(kind: Kind, owner: Object) -> Object:
    """What an object names its controller by."""
    meta = owner["metadata"]
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def controller_of(obj: Object) -> Object | None:
    """The ownerReference of the controller of an object."""
    owners = obj["metadata"].get("ownerReferences") or ()
    return next((owner for owner in owners if owner.get("controller")), None)


def owned(storage: Storage, kind: Kind, owner: Object) -> list[Object]:
    """The objects of a kind whose controller is `owner`, the oldest first."""
    uid = owner["metadata"]["uid"]
    found = [obj for of, obj in storage.dependents(uid) if of is kind]
    return [obj for obj in found if (controller_of(obj) or {}).get("uid") == uid]


def adopt(storage: Storage, kind: Kind, owner_kind: Kind, owner: Object, name: str) -> bool:
    """True if an object of the name that `owner` is about to create is there without a controller: it is adopted,
    as after a deletion with ``--cascade=orphan``."""
    orphan = storage.find(kind, owner["metadata"]["namespace"], name)
    if orphan is None or controller_of(orphan) is not None:
        return False
    owners = [*(orphan["metadata"].get("ownerReferences") or ()), owner_reference(owner_kind, owner)]
    storage.update(kind, {**orphan, "metadata": {**orphan["metadata"], "ownerReferences": owners}})
    return True


def create_pod(
    storage: Storage,
    owner_kind: Kind,
    owner: Object,
    template: Object,
    *,
    stem: str,
    name: str = "",
    labels: Mapping[str, str] | None = None,
    spec: Mapping[str, Any] | None = None,
) -> Object:
    """Create a pod of a template, with more labels and fields of its spec. Its name is made up of `stem` unless
    given. Raises AlreadyExists."""
    meta: Object = template.get("metadata") or {}
    made: Object = {
        "metadata": {
            "name": name or generated(stem),
            "generateName": stem,
            "namespace": owner["metadata"]["namespace"],
            "labels": {**(meta.get("labels") or {}), **(labels or {})},
            "ownerReferences": [owner_reference(owner_kind, owner)],
        },
        "spec": {**(template.get("spec") or {}), **(spec or {})},
        "status": {"phase": "Pending"},
    }
    if meta.get("annotations"):
        made["metadata"]["annotations"] = meta["annotations"]
    return storage.create(POD, made)


def delete_pod(storage: Storage, pod: Object) -> None:
    """Begin to end a pod, unless that has begun."""
    if not is_ending(pod):
        storage.delete(POD, pod["metadata"]["namespace"], pod["metadata"]["name"])


def is_ending(pod: Object) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def has_ended(pod: Object) -> bool:
    """All its containers ended, and none will be started again."""
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def active(pods: Iterable[Object]) -> list[Object]:
    """Those that count as replicas."""
    return [pod for pod in pods if not is_ending(pod) and not has_ended(pod)]


def is_ready(pod: Object) -> bool:
    return conditions.is_true(pod, "Ready")


def fits(spec: Object, node: Object, *, daemon: bool = False) -> bool:
    """True if a pod of this spec may be on this node: it has the labels of nodeSelector, and is schedulable,
    which those of a DaemonSet do not ask for."""
    labels = node["metadata"].get("labels") or {}
    selector = spec.get("nodeSelector") or {}
    cordoned = (node.get("spec") or {}).get("unschedulable") is True and not daemon
    return not cordoned and all(labels.get(key) == value for key, value in selector.items())


def label(pod: Object, name: str) -> str | None:
    found: str | None = (pod["metadata"].get("labels") or {}).get(name)
    return found


def available(clockwork: Clockwork, pods: Iterable[Object], kind: Kind, owner: Object) -> list[Object]:
    """The pods that have been ready for the owner's minReadySeconds; the owner is touched when the next is."""
    least = owner["spec"].get("minReadySeconds") or 0
    ready = [pod for pod in pods if is_ready(pod)]
    if not least:
        return ready
    found = []
    now = clockwork.storage.now()
    for pod in ready:
        condition = conditions.find(pod["status"]["conditions"], "Ready")
        rest = conditions.seconds((condition or {}).get("lastTransitionTime")) + least - now
        if rest <= 0:
            found.append(pod)
        else:
            clockwork.touch_in(rest, kind, owner["metadata"]["namespace"], owner["metadata"]["name"])
    return found
