"""Pods, as their controllers make them and a kubelet starts them.

The containers of a pod read what their template names at the moment they start. What they read is kept here, by uid:
it is the truth that the invariants ask for. A pod that needs what is missing waits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import msgspec

from tests.interleavings.server import CLASSES, Key, Object, Server, going, owned_by


class Act(NamedTuple):
    """Something that a played controller or a kubelet can do now."""

    words: str
    do: Callable[[], None]


class Use(NamedTuple):
    """One thing that a container reads at its start: a key of a config object (None: all of them)."""

    plural: str
    name: str
    key: str | None
    optional: bool

    def __str__(self) -> str:
        return f"{self.plural}/{self.name}" + (f"#{self.key}" if self.key else "")


Read = dict[Use, str | None]
"""What containers read, as JSON of it; None: it was not there."""


def uses(template: Mapping[str, Any]) -> Iterator[Use]:
    """What a pod of this template reads."""
    for container in template["spec"]["containers"]:
        for env in container.get("env", ()):
            for field, plural in (("configMapKeyRef", "configmaps"), ("secretKeyRef", "secrets")):
                ref = env.get("valueFrom", {}).get(field)
                if ref:
                    yield Use(plural, ref["name"], ref["key"], ref.get("optional", False))
        for source in container.get("envFrom", ()):
            for field, plural in (("configMapRef", "configmaps"), ("secretRef", "secrets")):
                if field in source:
                    yield Use(plural, source[field]["name"], None, source[field].get("optional", False))
    for volume in template["spec"].get("volumes", ()):
        if "csi" in volume:
            yield Use(CLASSES, volume["csi"]["volumeAttributes"]["secretProviderClass"], None, True)


def content(server: Server, use: Use) -> str | None:
    """What stands there now; None: nothing. Of a class, the newest version that any pod's mount was rotated to."""
    if use.plural == CLASSES:
        rotated = server.rotated.get(use.name)
        return str(rotated) if rotated is not None else None
    found = server.get(use.plural, use.name)
    if found is None:
        return None
    data = found.get("data") or {}
    if use.key is None:
        return msgspec.json.encode(data, order="sorted").decode()
    value: str | None = data.get(use.key)
    return value


class Pods:
    """All pods, and the kubelet's part in their lives. `started` is called with each that starts."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.read: dict[str, Read] = {}
        """By the pod's uid."""
        self.started: Callable[[Object], None] = lambda pod: None
        self._names = 0

    def create(self, owner: Object, template: Object, labels: Mapping[str, str], name: str = "") -> None:
        """As a controller of pods does. Without a `name` it is the owner's with a number."""
        self._names += 1
        meta = template.get("metadata") or {}
        pod = {
            "metadata": {
                "name": name or f"{owner['metadata']['name']}-{self._names}",
                "labels": {**(meta.get("labels") or {}), **labels},
                "annotations": meta.get("annotations") or {},
                "ownerReferences": owned_by(owner),
            },
            "spec": template["spec"],
            "status": {"phase": "Pending", "conditions": []},
        }
        self._server.create("pods", pod, "kube-controller-manager")

    def acts(self) -> Iterator[Act]:
        """What the kubelet can do, and the collector of what has no owner any more."""
        for pod in self._server.all("pods"):
            name, phase = pod["metadata"]["name"], pod["status"]["phase"]
            if going(pod):
                yield Act(f"pod {name} ends", partial(self._gone, name))
            elif phase == "Pending":
                if self._can_start(pod):
                    yield Act(f"pod {name} starts", partial(self._start, pod))
            elif phase == "Running" and not ready(pod):
                yield Act(f"pod {name} is ready", partial(self._ready, pod))

    def _can_start(self, pod: Object) -> bool:
        needed = (use for use in uses(pod) if not use.optional)
        return all(content(self._server, use) is not None for use in needed)

    def _start(self, pod: Object) -> None:
        self.read[pod["metadata"]["uid"]] = {use: self._now(use) for use in uses(pod)}
        self.started(pod)
        status = {"phase": "Running", "conditions": [], "startTime": self._server.timestamp()}
        self._server.update_status("pods", pod["metadata"]["name"], status)

    def _now(self, use: Use) -> str | None:
        return str(self._server.vault[use.name]) if use.plural == CLASSES else content(self._server, use)

    def _ready(self, pod: Object) -> None:
        status = {**pod["status"], "conditions": [{"type": "Ready", "status": "True"}]}
        self._server.update_status("pods", pod["metadata"]["name"], status)

    def _gone(self, name: str) -> None:
        self._server.remove(Key("pods", name))


def ready(pod: Object) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"]["conditions"])


def hash_of(template: object) -> str:
    """A name for a template. The hash of the real controllers is another one; nobody may rely on it."""
    return hashlib.blake2b(msgspec.json.encode(template, order="sorted"), digest_size=4).hexdigest()


def condition(type: str, status: str, reason: str) -> dict[str, str]:
    return {"type": type, "status": status, "reason": reason, "message": ""}
