"""DaemonSets: one pod on each node that fits.

The rules are those of pkg/controller/daemon (daemon_controller.go and update.go), without maxSurge.
"""

from __future__ import annotations

from reroll.sandbox import revisions
from reroll.sandbox.amounts import amount
from reroll.sandbox.clockwork import Clockwork, with_status
from reroll.sandbox.kinds import DAEMON_SET, NODE, POD
from reroll.sandbox.pods import (
    available,
    create_pod,
    delete_pod,
    fits,
    has_ended,
    is_ending,
    is_ready,
    label,
    owned,
)
from reroll.sandbox.storage import Object


class DaemonSets:
    """The DaemonSet controller."""

    def __init__(self, clockwork: Clockwork) -> None:
        self._clockwork = clockwork
        self._storage = clockwork.storage

    def sync(self, namespace: str, name: str) -> None:
        """Take one DaemonSet's next step, and tell its status."""
        owner = self._storage.find(DAEMON_SET, namespace, name)
        if owner is None or "deletionTimestamp" in owner["metadata"]:
            return
        revision = revisions.current(self._storage, DAEMON_SET, owner, revisions.HASH)
        spec: Object = owner["spec"]["template"].get("spec") or {}
        nodes = [node for node in self._storage.objects(NODE) if fits(spec, node, daemon=True)]
        wanted = {node["metadata"]["name"] for node in nodes}
        held = self._place(owner, revision, wanted)
        strategy = owner["spec"].get("updateStrategy") or {}
        if strategy.get("type", "RollingUpdate") == "RollingUpdate":
            most = (strategy.get("rollingUpdate") or {}).get("maxUnavailable")
            self._roll(owner, revision, held, amount(most, len(wanted), 1, up=True))
        self._tell(owner, revision, wanted)

    def _place(self, owner: Object, revision: Object, wanted: set[str]) -> dict[str, Object]:
        """Bring one pod to each node and take them from all others. Returns them by node, those that are ending too."""
        held: dict[str, Object] = {}
        for pod in owned(self._storage, POD, owner):
            node = pod["spec"].get("nodeName", "")
            if node not in wanted or has_ended(pod) or (node in held and not is_ending(held[node])):
                delete_pod(self._storage, pod)
            else:
                held[node] = pod
        name = owner["metadata"]["name"]
        labels = {
            revisions.HASH: label(revision, revisions.HASH) or "",
            "pod-template-generation": str(owner["metadata"]["generation"]),
        }
        for node in sorted(wanted - held.keys()):
            held[node] = create_pod(
                self._storage,
                DAEMON_SET,
                owner,
                revisions.template_of(revision),
                stem=f"{name}-",
                labels=labels,
                spec={"nodeName": node},
            )
        return held

    def _roll(self, owner: Object, revision: Object, held: dict[str, Object], most: int) -> None:
        """Delete old pods: those that don't work at once, of the others as many as may be missing."""
        up = {pod["metadata"]["uid"] for pod in available(self._clockwork, held.values(), DAEMON_SET, owner)}
        staying = [pod for pod in held.values() if not is_ending(pod)]
        old = [pod for pod in staying if label(pod, revisions.HASH) != label(revision, revisions.HASH)]
        serving = [pod for pod in staying if pod["metadata"]["uid"] in up]
        spare = max(0, most - (len(held) - len(serving)))
        for pod in old:
            if pod["metadata"]["uid"] not in up:
                delete_pod(self._storage, pod)
            elif spare:
                spare -= 1
                delete_pod(self._storage, pod)

    def _tell(self, owner: Object, revision: Object, wanted: set[str]) -> None:
        pods = [pod for pod in owned(self._storage, POD, owner) if not is_ending(pod)]
        here = [pod for pod in pods if pod["spec"].get("nodeName") in wanted]
        digest = label(revision, revisions.HASH)
        up = len(available(self._clockwork, here, DAEMON_SET, owner))
        status = {
            "observedGeneration": owner["metadata"]["generation"],
            "updatedNumberScheduled": sum(label(pod, revisions.HASH) == digest for pod in here),
            "numberAvailable": up,
            "numberUnavailable": len(wanted) - up,
        }
        told = with_status(owner, status)
        told["status"] |= {
            "desiredNumberScheduled": len(wanted),
            "currentNumberScheduled": len(here),
            "numberMisscheduled": len(pods) - len(here),
            "numberReady": sum(map(is_ready, here)),
        }
        self._storage.update(DAEMON_SET, told, subresource="status")
        live = {label(pod, revisions.HASH) for pod in pods}
        kept = revisions.history(self._storage, owner)
        in_use = [one["metadata"]["name"] for one in kept if label(one, revisions.HASH) in live | {digest}]
        revisions.trim(self._storage, owner, in_use)
