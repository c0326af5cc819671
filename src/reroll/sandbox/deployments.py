"""Deployments: rollouts by ReplicaSets, their revisions, and how far they are.

The rules are those of Kubernetes' deployment controller (pkg/controller/deployment: rolling.go, recreate.go,
sync.go, progress.go and util/deployment_util.go); what a person sees of them stands in
https://kubernetes.io/docs/concepts/workloads/controllers/deployment/.
"""

from __future__ import annotations

from typing import Any, Final

from reroll.sandbox import conditions
from reroll.sandbox.amounts import amount
from reroll.sandbox.clockwork import Clockwork, with_status
from reroll.sandbox.kinds import DEPLOYMENT, POD, REPLICA_SET
from reroll.sandbox.pods import adopt, has_ended, owned, owner_reference, template_hash
from reroll.sandbox.storage import Object

HASH: Final = "pod-template-hash"
REVISION: Final = "deployment.kubernetes.io/revision"
_REVISION_HISTORY: Final = "deployment.kubernetes.io/revision-history"
_DESIRED: Final = "deployment.kubernetes.io/desired-replicas"
_MAX: Final = "deployment.kubernetes.io/max-replicas"
_OWN: Final = frozenset(
    (
        REVISION,
        _REVISION_HISTORY,
        _DESIRED,
        _MAX,
        "kubectl.kubernetes.io/last-applied-configuration",
        "deprecated.deployment.rollback.to",
    )
)
"""Annotations that a ReplicaSet does not take from its Deployment."""
_DEADLINE: Final = 600
_HISTORY_LIMIT: Final = 10


class Deployments:
    """The Deployment controller."""

    def __init__(self, clockwork: Clockwork) -> None:
        self._clockwork = clockwork

    def sync(self, namespace: str, name: str) -> None:
        """Take one Deployment's next step, and tell its status."""
        deployment = self._clockwork.storage.find(DEPLOYMENT, namespace, name)
        if deployment is not None and "deletionTimestamp" not in deployment["metadata"]:
            _Rollout(self._clockwork, deployment).step()


class _Rollout:
    """One Deployment at one moment."""

    def __init__(self, clockwork: Clockwork, deployment: Object) -> None:
        self.clockwork = clockwork
        self.storage = clockwork.storage
        self.deployment = deployment
        self.meta = deployment["metadata"]
        self.spec = deployment["spec"]
        self.status: Object = deployment.get("status") or {}
        self.conditions: list[Object] = self.status.get("conditions") or []
        self.annotations: dict[str, str] = self.meta.get("annotations") or {}
        self.replicas: int = self.spec.get("replicas", 1)
        self.paused = self.spec.get("paused") is True
        strategy = self.spec.get("strategy") or {}
        self.rolling = strategy.get("type", "RollingUpdate") == "RollingUpdate"
        self.surge, self.unavailable = self._fenceposts(strategy.get("rollingUpdate") or {})
        self.sets = owned(self.storage, REPLICA_SET, deployment)
        self.new_uid = next((_uid(held) for held in self.sets if self._is_new(held)), None)

    def _fenceposts(self, rolling: Object) -> tuple[int, int]:
        """(maxSurge, maxUnavailable) in pods; not both zero, or nothing could move."""
        if not self.rolling:
            return 0, 0
        surge = amount(rolling.get("maxSurge"), self.replicas, "25%", up=True)
        unavailable = amount(rolling.get("maxUnavailable"), self.replicas, "25%", up=False)
        return surge, min(unavailable if surge or unavailable else 1, self.replicas)

    def _is_new(self, replica_set: Object) -> bool:
        template = replica_set["spec"]["template"]
        meta = dict(template.get("metadata") or {})
        meta["labels"] = {key: value for key, value in (meta.get("labels") or {}).items() if key != HASH}
        ours = self.spec["template"]
        our_meta = ours.get("metadata") or {}
        same_meta = meta == {**our_meta, "labels": our_meta.get("labels") or {}}
        return same_meta and template.get("spec") == ours.get("spec")

    @property
    def new(self) -> Object | None:
        """The ReplicaSet of the template as it is now."""
        return next((held for held in self.sets if _uid(held) == self.new_uid), None)

    @property
    def old(self) -> list[Object]:
        return [held for held in self.sets if _uid(held) != self.new_uid]

    # --- the step -------------------------------------------------------------------------------------

    def step(self) -> None:
        self._note_pause()
        self._mark_revision()
        if self.paused or any(
            _replicas(held) and _number(held, _DESIRED) not in (None, self.replicas) for held in self.sets
        ):
            self._scale()
        elif self.rolling:
            self._roll()
        else:
            self._recreate()
        status = self._new_status()
        if self.paused or _is_complete(status, self.replicas):
            self._clean_up()
        self._tell(status)

    def _roll(self) -> None:
        """RollingUpdate: first up as far as maxSurge lets, then down as far as maxUnavailable does."""
        new = self.new or self._create(self._room(0))
        size = _replicas(new)
        wanted = self.replicas if size > self.replicas else self._room(size)
        if wanted != size:
            self._resize(new, wanted)
            return
        total, old = self._total(), [held for held in self.old if _replicas(held)]
        least = self.replicas - self.unavailable
        spare = total - least - (size - _count(new, "availableReplicas"))
        # Pods that don't work are given up first: a rollout that repairs must not wait for them.
        for held in old:
            broken = min(_replicas(held) - _count(held, "availableReplicas"), spare)
            if broken > 0:
                spare -= broken
                self._resize(held, _replicas(held) - broken)
        if spare <= 0:
            return
        spare = sum(_count(held, "availableReplicas") for held in self.sets) - least
        for held in self.old:
            down = min(_replicas(held), spare)
            if down > 0:
                spare -= down
                self._resize(held, _replicas(held) - down)

    def _room(self, size: int) -> int:
        """The replicas that the new ReplicaSet, which has `size`, may have now."""
        if not self.rolling:
            return self.replicas
        room = self.replicas + self.surge - self._total()
        return size + max(0, min(room, self.replicas - size))

    def _recreate(self) -> None:
        """Recreate: the new pods come when none of the old ones is left, not even ending."""
        down = [held for held in self.old if _replicas(held)]
        for held in down:
            self._resize(held, 0)
        if down or any(not has_ended(pod) for held in self.old for pod in owned(self.storage, POD, held)):
            return
        new = self.new or self._create(self.replicas)
        self._resize(new, self.replicas)

    def _scale(self) -> None:
        """Follow spec.replicas without rolling on; in the middle of a rollout, each ReplicaSet by its share."""
        in_use = [held for held in self.sets if _replicas(held)]
        if len(in_use) <= 1:
            only = in_use[0] if in_use else self.new or max(self.old, key=_revision, default=None)
            if only is not None:
                self._resize(only, self.replicas)
            return
        new = self.new
        if new is not None and _replicas(new) == _count(new, "availableReplicas") == self.replicas:
            for held in self.old:
                self._resize(held, 0)
        elif self.rolling:
            self._scale_by_share(in_use)

    def _scale_by_share(self, in_use: list[Object]) -> None:
        allowed = self.replicas + self.surge if self.replicas else 0
        change = allowed - self._total()
        newest_first = list(reversed(in_use)) if change > 0 else in_use
        order = sorted(newest_first, key=_replicas, reverse=True)
        added, sizes = 0, []
        for held in order:
            part = 0
            if change:
                share = self._share(held)
                left = change - added
                part = min(share, left) if change > 0 else max(share, left)
            added += part
            sizes.append(_replicas(held) + part)
        sizes[0] = max(0, sizes[0] + change - added)
        for held, size in zip(order, sizes, strict=True):
            self._resize(held, size)

    def _share(self, held: Object) -> int:
        """By how much a ReplicaSet grows when all grow from the size that its annotation tells to today's."""
        size = _replicas(held)
        if not self.replicas:
            return -size
        was = _number(held, _MAX) or self.status.get("replicas") or self.replicas
        return int(size * (self.replicas + self.surge) / was + 0.5) - size

    # --- ReplicaSets ----------------------------------------------------------------------------------

    def _total(self) -> int:
        return sum(_replicas(held) for held in self.sets)

    def _create(self, replicas: int) -> Object:
        template = self.spec["template"]
        digest = template_hash(template)
        name = f"{self.meta['name']}-{digest}"
        if adopt(self.storage, REPLICA_SET, DEPLOYMENT, self.deployment, name):
            self.sets.append(self.storage.get(REPLICA_SET, self.meta["namespace"], name))
            self.new_uid = _uid(self.sets[-1])
            self._mark_revision()
            return self.sets[-1]
        meta = template.get("metadata") or {}
        labels = {**(meta.get("labels") or {}), HASH: digest}
        selector = self.spec.get("selector") or {}
        made = {
            "metadata": {
                "name": name,
                "namespace": self.meta["namespace"],
                "labels": labels,
                "annotations": self._set_annotations(None),
                "ownerReferences": [owner_reference(DEPLOYMENT, self.deployment)],
            },
            "spec": {
                "replicas": replicas,
                "selector": {
                    **selector,
                    "matchLabels": {**(selector.get("matchLabels") or {}), HASH: digest},
                },
                "template": {**template, "metadata": {**meta, "labels": labels}},
            },
            "status": {"replicas": 0},
        }
        if self.spec.get("minReadySeconds"):
            made["spec"]["minReadySeconds"] = self.spec["minReadySeconds"]
        created = self.storage.create(REPLICA_SET, made)
        self.sets.append(created)
        self.new_uid = _uid(created)
        self._follow_revision(created)
        self._note("True", "NewReplicaSetCreated", f'Created new replica set "{name}"')
        return created

    def _resize(self, held: Object, replicas: int) -> None:
        annotations = {**_annotations(held), **self._sizes()}
        self._update_set(held, annotations, {**held["spec"], "replicas": replicas})

    def _update_set(self, held: Object, annotations: dict[str, str], spec: Object) -> None:
        if annotations == _annotations(held) and spec == held["spec"]:
            return
        made = {**held, "metadata": {**held["metadata"], "annotations": annotations}, "spec": spec}
        self.sets[self.sets.index(held)] = self.storage.update(REPLICA_SET, made)

    def _sizes(self) -> dict[str, str]:
        return {_DESIRED: str(self.replicas), _MAX: str(self.replicas + self.surge)}

    def _clean_up(self) -> None:
        """Keep as many old ReplicaSets as revisionHistoryLimit says."""
        limit = self.spec.get("revisionHistoryLimit", _HISTORY_LIMIT)
        old = sorted(self.old, key=_revision)
        for held in old[: max(0, len(old) - limit)]:
            meta, status = held["metadata"], held.get("status", {})
            seen = status.get("observedGeneration", 0) >= meta["generation"]
            if seen and not _replicas(held) and not status.get("replicas"):
                self.storage.delete(REPLICA_SET, meta["namespace"], meta["name"])
                self.sets.remove(held)

    # --- revisions ------------------------------------------------------------------------------------

    def _mark_revision(self) -> None:
        """Give the ReplicaSet of the template the highest revision, also one that was used before (an undo)."""
        new = self.new
        if new is None:
            return
        spec, least = new["spec"], self.spec.get("minReadySeconds") or 0
        if (spec.get("minReadySeconds") or 0) != least:
            spec = {**spec, "minReadySeconds": least}
        self._update_set(new, self._set_annotations(new), spec)
        self._follow_revision(self.new or new)
        if conditions.find(self.conditions, "Progressing") is None:
            self._note("True", "FoundNewReplicaSet", f'Found new replica set "{new["metadata"]["name"]}"')

    def _set_annotations(self, held: Object | None) -> dict[str, str]:
        """The annotations of the ReplicaSet of the template; None: it is about to be created."""
        made = dict(_annotations(held)) if held else self._sizes()
        made |= {key: value for key, value in self.annotations.items() if key not in _OWN}
        due = max((_revision(other) for other in self.old), default=0) + 1
        before = _revision(held) if held else 0
        if before < due:
            if before:
                history = made.get(_REVISION_HISTORY)
                made[_REVISION_HISTORY] = f"{history},{before}" if history else str(before)
            made[REVISION] = str(due)
        return made

    def _follow_revision(self, new: Object) -> None:
        self.annotations = {**self.annotations, REVISION: _annotations(new)[REVISION]}

    # --- status ---------------------------------------------------------------------------------------

    def _note_pause(self) -> None:
        progressing = conditions.find(self.conditions, "Progressing") or {}
        reason = progressing.get("reason")
        if reason == "ProgressDeadlineExceeded":
            return
        if self.paused and reason != "DeploymentPaused":
            self._note("Unknown", "DeploymentPaused", "Deployment is paused")
        elif not self.paused and reason == "DeploymentPaused":
            self._note("Unknown", "DeploymentResumed", "Deployment is resumed")

    def _note(self, status: str, reason: str, message: str, type: str = "Progressing") -> None:
        self.conditions = conditions.put(
            self.conditions, type, status, reason, message, self.storage.timestamp(), updated=True
        )

    def _new_status(self) -> dict[str, Any]:
        new = self.new
        total = sum(_count(held, "replicas") for held in self.sets)
        ready_to_serve = sum(_count(held, "availableReplicas") for held in self.sets)
        return {
            "observedGeneration": self.meta["generation"],
            "replicas": total,
            "updatedReplicas": _count(new, "replicas") if new else 0,
            "readyReplicas": sum(_count(held, "readyReplicas") for held in self.sets),
            "availableReplicas": ready_to_serve,
            "unavailableReplicas": max(0, self._total() - ready_to_serve),
        }

    def _tell(self, status: dict[str, Any]) -> None:
        if status["availableReplicas"] >= self.replicas - self.unavailable:
            availability = ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
        else:
            availability = (
                "False",
                "MinimumReplicasUnavailable",
                "Deployment does not have minimum availability.",
            )
        if (conditions.find(self.conditions, "Available") or {}).get("status") != availability[0]:
            self._note(*availability, type="Available")
        self._tell_progress(status)
        told = with_status(self.deployment, {**status, "conditions": self.conditions})
        # Told when it is 0, too (KEP-3973; on by default since Kubernetes 1.35).
        told["status"]["terminatingReplicas"] = sum(_count(held, "terminatingReplicas") for held in self.sets)
        told["metadata"] = {**self.meta, "annotations": self.annotations}
        self.storage.update(DEPLOYMENT, told, subresource="status")

    def _tell_progress(self, status: dict[str, Any]) -> None:
        progressing = conditions.find(self.conditions, "Progressing") or {}
        reason = progressing.get("reason")
        if self.paused or (
            status["replicas"] == status["updatedReplicas"] and reason == "NewReplicaSetAvailable"
        ):
            return
        new = self.new
        which = f'ReplicaSet "{new["metadata"]["name"]}"' if new else f'Deployment "{self.meta["name"]}"'
        if _is_complete(status, self.replicas):
            self._note("True", "NewReplicaSetAvailable", f"{which} has successfully progressed.")
        elif _has_progressed(self.status, status):
            self._note("True", "ReplicaSetUpdated", f"{which} is progressing.")
        elif reason not in (None, "NewReplicaSetAvailable", "ProgressDeadlineExceeded"):
            deadline = self.spec.get("progressDeadlineSeconds", _DEADLINE)
            rest = conditions.seconds(progressing.get("lastUpdateTime")) + deadline - self.storage.now()
            if rest < 0:
                self._note("False", "ProgressDeadlineExceeded", f"{which} has timed out progressing.")
                return
        else:
            return
        if not _is_complete(status, self.replicas):
            self._ask_again()

    def _ask_again(self) -> None:
        """Look again when the progress deadline will have passed."""
        progressing = conditions.find(self.conditions, "Progressing") or {}
        deadline = self.spec.get("progressDeadlineSeconds", _DEADLINE)
        rest = conditions.seconds(progressing.get("lastUpdateTime")) + deadline - self.storage.now()
        self.clockwork.touch_in(rest, DEPLOYMENT, self.meta["namespace"], self.meta["name"])


def _is_complete(status: Object, replicas: int) -> bool:
    return bool(
        status["updatedReplicas"] == replicas == status["replicas"]
        and status["availableReplicas"] == replicas
    )


def _has_progressed(before: Object, after: Object) -> bool:
    """More updated, fewer old, more ready or more available pods than were told of."""

    def old(status: Object) -> int:
        return int(status.get("replicas", 0)) - int(status.get("updatedReplicas", 0))

    more = ("updatedReplicas", "readyReplicas", "availableReplicas")
    return old(after) < old(before) or any(after[field] > before.get(field, 0) for field in more)


def _uid(obj: Object) -> str:
    return str(obj["metadata"]["uid"])


def _annotations(obj: Object) -> dict[str, str]:
    return obj["metadata"].get("annotations") or {}


def _replicas(held: Object) -> int:
    return int(held["spec"].get("replicas", 1))


def _count(held: Object, field: str) -> int:
    return int(held.get("status", {}).get(field, 0))


def _number(held: Object, annotation: str) -> int | None:
    text = _annotations(held).get(annotation, "")
    return int(text) if text.isdecimal() else None


def _revision(held: Object) -> int:
    return _number(held, REVISION) or 0
