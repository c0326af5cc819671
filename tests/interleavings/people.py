"""People and their tools: what they do to config objects and workloads, each as one step.

As kubectl and helm do it: an apply keeps what others wrote on the object; an undo takes the old ReplicaSet's template,
and of a Deployment its annotations, too (kubectl/pkg/polymorphichelpers/rollback.go).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from reroll.core.applied import APPLIED
from reroll.dialects.marks import KEYS
from tests.interleavings.deployments import HASH, NOT_COPIED, Deployments, revision_of
from tests.interleavings.ledger import VARIABLES
from tests.interleavings.server import Object, Server, going
from tests.interleavings.statefulsets import StatefulSets

RESTARTED = "kubectl.kubernetes.io/restartedAt"


class People:
    """All methods do one thing at once, and say in words what; "" where there was nothing to do."""

    def __init__(self, server: Server, deployments: Deployments, stateful_sets: StatefulSets) -> None:
        self._server, self._deployments, self._stateful_sets = server, deployments, stateful_sets
        self._value = 0
        self._image = 1
        self._former: dict[tuple[str, str], dict[str, str]] = {}
        self._deleted: dict[tuple[str, str], Object] = {}
        self._own: dict[tuple[str, str], Object] = {}
        """The template that an operator holds to."""

    # --- config objects ------------------------------------------------------------------------------

    def set(self, plural: str, name: str, key: str) -> str:
        """Another value, never seen before."""
        if self._server.get(plural, name) is None:
            return ""
        found = self._server.copy(plural, name)
        self._former[plural, name] = dict(found.get("data") or {})
        self._value += 1
        found["data"] = {**(found.get("data") or {}), key: str(self._value)}
        self._server.update(plural, found, "kubectl-edit")
        return f"{plural}/{name}: {key}={self._value}"

    def put_back(self, plural: str, name: str) -> str:
        """What was there before the last change."""
        former = self._former.get((plural, name))
        found = self._server.get(plural, name)
        if former is None or found is None or found.get("data") == former:
            return ""
        changed = self._server.copy(plural, name)
        self._former[plural, name], changed["data"] = dict(changed.get("data") or {}), former
        self._server.update(plural, changed, "kubectl-edit")
        return f"{plural}/{name}: put back {former}"

    def remove_key(self, plural: str, name: str, key: str) -> str:
        found = self._server.get(plural, name)
        if found is None or key not in (found.get("data") or {}):
            return ""
        changed = self._server.copy(plural, name)
        self._former[plural, name] = dict(changed["data"])
        del changed["data"][key]
        self._server.update(plural, changed, "kubectl-edit")
        return f"{plural}/{name}: {key} removed"

    def label(self, plural: str, name: str) -> str:
        """What concerns nobody."""
        if self._server.get(plural, name) is None:
            return ""
        changed = self._server.copy(plural, name)
        self._value += 1
        changed["metadata"]["labels"] = {"touched": str(self._value)}
        self._server.update(plural, changed, "kubectl-label")
        return f"{plural}/{name}: a label"

    def delete_config(self, plural: str, name: str) -> str:
        found = self._server.get(plural, name)
        if found is None:
            return ""
        self._deleted[plural, name] = {"metadata": {"name": name}, "data": found.get("data")}
        self._server.delete(plural, name)
        return f"{plural}/{name} is deleted"

    def create_config(self, plural: str, name: str, *, changed: bool) -> str:
        """One that was deleted comes back."""
        manifest = self._deleted.pop((plural, name), None)
        if manifest is None:
            return ""
        if changed:
            self._value += 1
            manifest["data"] = dict.fromkeys(manifest.get("data") or {"X": ""}, str(self._value))
        self._server.create(plural, manifest, "kubectl-create")
        return f"{plural}/{name} is made again, {'with other' if changed else 'with the same'} content"

    # --- workloads -----------------------------------------------------------------------------------

    def apply(self, plural: str, name: str, manager: str = "kubectl-client-side-apply") -> str:
        """A new version of the app."""
        if plural == "jobs":
            return ""

        def change(found: Object) -> None:
            self._image += 1
            _template(plural, found)["spec"]["containers"][0]["image"] = f"app:{self._image}"

        return self._change(plural, name, manager, change) and f"{plural}/{name}: applied app:{self._image}"

    def restart(self, plural: str, name: str) -> str:
        if plural not in ("deployments", "statefulsets"):
            return ""

        def change(found: Object) -> None:
            meta = found["spec"]["template"].setdefault("metadata", {})
            meta.setdefault("annotations", {})[RESTARTED] = self._server.timestamp()

        return self._change(plural, name, "kubectl-rollout", change) and f"{plural}/{name}: rollout restart"

    def undo(self, plural: str, name: str) -> str:
        found = self._server.get(plural, name)
        if found is None or going(found) or found["spec"].get("paused"):
            return ""
        if plural == "deployments":
            return self._undo_deployment(found)
        if plural == "statefulsets":
            return self._undo_stateful_set(found)
        return ""

    def _undo_deployment(self, found: Object) -> str:
        name = found["metadata"]["name"]
        every = sorted(self._deployments.replica_sets(found), key=revision_of)
        if len(every) < 2:
            return ""
        former = msgspec.json.decode(msgspec.json.encode(every[-2]))
        template = former["spec"]["template"]
        (template.get("metadata") or {}).get("labels", {}).pop(HASH, None)
        if template == found["spec"]["template"]:
            return ""
        changed = self._server.copy("deployments", name)
        own = changed["metadata"].get("annotations") or {}
        changed["metadata"]["annotations"] = {
            **{key: text for key, text in own.items() if key in NOT_COPIED},
            **{
                key: text
                for key, text in (former["metadata"].get("annotations") or {}).items()
                if key not in NOT_COPIED
            },
        }
        changed["spec"]["template"] = template
        self._server.update("deployments", changed, "kubectl-rollout")
        return f"deployments/{name}: rollout undo to {former['metadata']['name']}"

    def _undo_stateful_set(self, found: Object) -> str:
        name = found["metadata"]["name"]
        every = self._stateful_sets.revisions(found)
        if len(every) < 2 or every[-2]["data"]["spec"]["template"] == found["spec"]["template"]:
            return ""
        changed = self._server.copy("statefulsets", name)
        changed["spec"]["template"] = every[-2]["data"]["spec"]["template"]
        self._server.update("statefulsets", changed, "kubectl-rollout")
        return f"statefulsets/{name}: rollout undo to {every[-2]['metadata']['name']}"

    def operate(self, plural: str, name: str) -> str:
        """An operator writes its own template again, whole: what others put into it goes."""
        if plural == "jobs":
            return ""
        found = self._server.get(plural, name)
        if found is None or going(found):
            return ""
        own = self._own.setdefault((plural, name), _plain(_template(plural, found)))
        if _template(plural, found) == own:
            return ""
        changed = self._server.copy(plural, name)
        _set_template(plural, changed, msgspec.json.decode(msgspec.json.encode(own)))
        self._server.update(plural, changed, "operator")
        return f"{plural}/{name}: an operator writes its own template"

    def scale(self, plural: str, name: str, replicas: int) -> str:
        if plural not in ("deployments", "statefulsets"):
            return ""

        def change(found: Object) -> None:
            found["spec"]["replicas"] = replicas

        return (
            self._change(plural, name, "kubectl-scale", change) and f"{plural}/{name}: scaled to {replicas}"
        )

    def pause(self, plural: str, name: str) -> str:
        """Or resume."""
        if plural != "deployments":
            return ""

        def change(found: Object) -> None:
            found["spec"]["paused"] = not found["spec"].get("paused", False)

        return self._change(plural, name, "kubectl-rollout", change) and f"{plural}/{name}: paused or resumed"

    def spoil(self, plural: str, name: str, text: str | None) -> str:
        """Somebody writes nonsense into reroll's record, or (None) removes it."""

        def change(found: Object) -> None:
            annotations = found["metadata"].setdefault("annotations", {})
            if text is not None:
                annotations[APPLIED] = text
            else:
                annotations.pop(APPLIED, None)

        done = self._change(plural, name, "kubectl-annotate", change)
        return done and f"{plural}/{name}: its record is {'spoilt' if text else 'removed'}"

    def delete(self, plural: str, name: str) -> str:
        found = self._server.get(plural, name)
        if found is None or going(found):
            return ""
        self._deleted[plural, name] = _manifest(found)
        self._own.pop((plural, name), None)
        self._server.delete(plural, name)
        return f"{plural}/{name} is deleted"

    def create(self, plural: str, name: str) -> str:
        """One that was deleted is made again, as it was written at first."""
        if (plural, name) not in self._deleted or self._server.get(plural, name) is not None:
            return ""
        self._server.create(plural, self._deleted.pop((plural, name)), "kubectl-create")
        return f"{plural}/{name} is made again"

    def replace(self, plural: str, name: str) -> str:
        """kubectl replace --force: deleted, and made again at once where nothing holds it."""
        deleted = self.delete(plural, name)
        created = self.create(plural, name) if deleted else ""
        return f"{deleted}; {created}" if deleted else ""

    def missing(self) -> list[tuple[str, str]]:
        """What was deleted and not made again."""
        return list(self._deleted)

    def _change(self, plural: str, name: str, manager: str, change: Callable[[Object], None]) -> str:
        found = self._server.get(plural, name)
        if found is None or going(found):
            return ""
        changed = self._server.copy(plural, name)
        change(changed)
        before = self._server.version
        self._server.update(plural, changed, manager)
        return "done" if self._server.version != before else ""


def _template(plural: str, found: Object) -> Object:
    spec: Any = found["spec"]
    template: Object = spec["jobTemplate"]["spec"]["template"] if plural == "cronjobs" else spec["template"]
    return template


def _set_template(plural: str, found: Object, template: Object) -> None:
    spec: Any = found["spec"]["jobTemplate"]["spec"] if plural == "cronjobs" else found["spec"]
    spec["template"] = template


def _plain(template: Object) -> Object:
    """Without what reroll and kubectl wrote."""
    own = msgspec.json.decode(msgspec.json.encode(template))
    annotations = own["metadata"].get("annotations") or {}
    kept = {
        key: text
        for key, text in annotations.items()
        if key not in KEYS and not re.match(r"reroll\.dev/|kubectl", key)
    }
    own["metadata"].pop("annotations", None)
    if kept:
        own["metadata"]["annotations"] = kept
    for container in own["spec"]["containers"]:
        env = [each for each in container.pop("env", ()) if not each["name"].startswith(VARIABLES)]
        if env:
            container["env"] = env
    plain: Object = own
    return plain


def _manifest(found: Object) -> Object:
    """What a person has in a file of it."""
    meta = found["metadata"]
    annotations = {
        key: text
        for key, text in (meta.get("annotations") or {}).items()
        if key in ("reroll.dev/auto", "reroll.dev/mode")
    }
    spec = msgspec.json.decode(msgspec.json.encode(found["spec"]))
    spec.pop("paused", None)
    if found["kind"] == "Job":
        spec.pop("selector", None)
        spec["template"]["metadata"]["labels"] = {"app": meta["name"]}
    made = {"metadata": {"name": meta["name"], "annotations": annotations}, "spec": spec}
    if found["kind"] == "CronJob":
        spec["jobTemplate"]["spec"]["template"] = _plain(spec["jobTemplate"]["spec"]["template"])
    else:
        spec["template"] = _plain(spec["template"])
    if meta.get("finalizers"):
        made["metadata"]["finalizers"] = meta["finalizers"]
    return made
