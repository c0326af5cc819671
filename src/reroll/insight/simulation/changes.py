"""Makes the changes of a scenario in the played cluster, and tells what each came to.

A manifest of a workload is taken as ``kubectl apply`` takes it: what reroll and others wrote on the object
stays, and a template that says nothing new to what the server has of it, defaults and all, is no change.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, BinaryIO

import msgspec
from msgspec.structs import replace

from reroll.core.applied import PREFIX
from reroll.core.digests import DigestKey
from reroll.core.marks import NATIVE, MarkStyle
from reroll.core.records import ConfigId, WorkloadId
from reroll.dialects import ALL
from reroll.insight.simulation.bad_input import BadInput
from reroll.insight.simulation.cluster import Cluster
from reroll.insight.simulation.documents import read
from reroll.insight.simulation.manifests import Given, GivenNamespace, GivenWorkload, objects
from reroll.insight.simulation.result import Effect, Made
from reroll.insight.simulation.scenario import Step
from reroll.insight.simulation.world import Config, Workload, value_digest

_LOOKED_AT = ("template", "replicas", "paused", "updateStrategy")
"""Of a workload's spec, what a decision can rest on; a snapshot holds no more."""

Tell = Callable[["Config | WorkloadId | ConfigId | GivenNamespace"], None]
"""Told of each object that is not as it was: the config object or namespace as it is now; the id of a workload
that changed, or of what was deleted."""


class Changes:
    """The steps, with their manifests read, so that a mistake in the last one is found before the first."""

    def __init__(
        self, steps: Sequence[Step], key: DigestKey, stdin: BinaryIO, *, default_namespace: str
    ) -> None:
        """Raises BadInput."""
        others: Counter[str] = Counter()
        self.steps: list[tuple[Step, list[Given]]] = []
        for step in steps:
            given: list[Given] = []
            if step.path:
                documents = read(step.path, stdin)
                given = list(objects(documents, key, default_namespace=default_namespace, others=others))
                if not given:
                    raise BadInput(step.origin, f"{step.path} holds nothing that reroll looks at")
            self.steps.append((step, given))
        self._key = key
        self.others = others

    def make(
        self,
        step: Step,
        given: Sequence[Given],
        cluster: Cluster,
        tell: Tell,
        *,
        marks: MarkStyle = NATIVE,
    ) -> Iterable[Made]:
        """Make one step's changes. `marks`: how the controller marks pod templates, which no manifest takes away.

        Raises BadInput where its object is not there, or can't be changed so.
        """
        target = step.target
        if target is None:
            for each in given:
                yield self._take_in(step, each, cluster, tell, marks)
        elif step.action == "delete":
            yield self._delete(step, target, cluster, tell)
        else:
            assert isinstance(target, ConfigId)
            yield self._set(step, target, cluster, tell)

    # --- set, unset, delete --------------------------------------------------------------------------

    def _set(self, step: Step, target: ConfigId, cluster: Cluster, tell: Tell) -> Made:
        before = cluster.configs.get(target)
        if before is None:
            raise BadInput(step.origin, _absent(target, cluster.configs))
        digests = dict(before.digests)
        if step.action == "set":
            digests[step.key] = value_digest(target, step.key, step.value.encode(), self._key)
        elif digests.pop(step.key, None) is None:
            near = difflib.get_close_matches(step.key, list(before.digests), 1)
            raise BadInput(
                step.origin,
                f"{target} has no key {step.key!r}" + (f" (it has {near[0]!r})" if near else ""),
            )
        after = replace(before, digests=digests)
        return self._put(step, before, after, cluster, tell)

    def _put(self, step: Step, before: Config | None, after: Config, cluster: Cluster, tell: Tell) -> Made:
        keys = differing(before.digests if before else {}, after.digests)
        effect: Effect = "created" if before is None else "changed"
        detail = ""
        if before is not None and not keys:
            if ALL.relevant(before.meta.annotations or {}) == ALL.relevant(after.meta.annotations or {}):
                return _made(step, after.id, "nothing", detail="it is so already")
            detail = "its annotations"
        if before is not None and keys and before.immutable:
            raise BadInput(
                step.origin, f"{after.id} is immutable: the API server refuses a change of its content"
            )
        tell(cluster.put_config(after))
        return _made(step, after.id, effect, keys=keys if before is not None else (), detail=detail)

    def _delete(self, step: Step, target: ConfigId | WorkloadId, cluster: Cluster, tell: Tell) -> Made:
        if isinstance(target, ConfigId):
            if target not in cluster.configs:
                raise BadInput(step.origin, _absent(target, cluster.configs))
            cluster.delete_config(target)
        else:
            if target not in cluster.workloads:
                raise BadInput(step.origin, _absent(target, cluster.workloads))
            cluster.delete_workload(target)
        tell(target)
        return _made(step, target, "deleted")

    # --- manifests -----------------------------------------------------------------------------------

    def _take_in(self, step: Step, given: Given, cluster: Cluster, tell: Tell, marks: MarkStyle) -> Made:
        if isinstance(given, GivenNamespace):
            tell(given)
            return _made(step, f"namespace/{given.name}", "changed")
        there: Iterable[ConfigId | WorkloadId] = (
            cluster.configs if isinstance(given, Config) else cluster.workloads
        )
        if step.action == "change" and given.id not in there:
            raise BadInput(given.origin, f"{_absent(given.id, there)}; to have it created, say apply")
        if isinstance(given, Config):
            before = cluster.configs.get(given.id)
            after = given
            if before is not None:
                meta = replace(before.meta, annotations=given.meta.annotations, labels=given.meta.labels)
                after = replace(before, digests=given.digests, meta=meta, immutable=given.immutable)
                after = replace(after, origin=given.origin)
            return self._put(step, before, after, cluster, tell)
        return self._put_workload(step, given, cluster, tell, marks)

    def _put_workload(
        self, step: Step, given: GivenWorkload, cluster: Cluster, tell: Tell, marks: MarkStyle
    ) -> Made:
        before = cluster.workloads.get(given.id)
        if before is None:
            value = msgspec.json.decode(msgspec.json.encode(given.value))
            cluster.put_workload(given.id, value, Workload(b"", given.origin))
            tell(given.id)
            return _made(step, given.id, "created")
        old: dict[str, Any] = msgspec.json.decode(before.raw)
        value, parts = applied(old, given.value, marks)
        if not parts:
            return _made(step, given.id, "nothing", detail="it is so already")
        cluster.put_workload(given.id, value, Workload(b"", given.origin))
        tell(given.id)
        return _made(step, given.id, "changed", detail=", ".join(parts))


def applied(
    old: dict[str, Any], given: dict[str, Any], marks: MarkStyle = NATIVE
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """A workload as it is after ``kubectl apply`` of a manifest, and which parts of it differ from before."""
    from_server = bool(old["metadata"].get("creationTimestamp"))
    value = dict(old)
    parts: list[str] = []

    meta = dict(old["metadata"])
    kept = _marks(meta.get("annotations"))
    given_meta = given["metadata"]
    for name in ("annotations", "labels"):
        now = {**(given_meta.get(name) or {}), **(kept if name == "annotations" else {})}
        if now != (meta.get(name) or {}):
            if not from_server or ALL.relevant(now) != ALL.relevant(meta.get(name) or {}) or name == "labels":
                parts.append(f"its {name}")
            meta[name] = now
    value["metadata"] = meta

    spec = {**given["spec"], **({} if "replicas" in given["spec"] else _replicas(old))}
    for name in _LOOKED_AT:
        there, content = old["spec"].get(name), spec.get(name)
        holds, says = there, content
        if name == "template":
            content = _with_marks(spec["template"], there or {}, marks)
            holds, says = _apart(there, marks), _apart(content, marks)
        if holds == says or (from_server and (content is None or covers(holds, says))):
            content = there
        else:
            parts.append("its pod template" if name == "template" else f"its {name}")
        if content is not None:
            spec[name] = content
    value["spec"] = spec
    return value, tuple(parts)


def covers(there: object, given: object) -> bool:
    """True if a server that has `there` has nothing to change for `given`: what it does not say is a default.

    What was taken out of a manifest can't be told from a default; of a list it is told by its length.
    """
    if isinstance(given, dict):
        if not isinstance(there, dict):
            return not given and there is None
        return all(covers(there.get(name), content) for name, content in given.items())
    if isinstance(given, list):
        if there is None:
            return not given
        return (
            isinstance(there, list)
            and len(there) == len(given)
            and all(covers(a, b) for a, b in zip(there, given, strict=True))
        )
    return there == given or (there is None and given in (None, "", 0, False))


def _replicas(old: dict[str, Any]) -> dict[str, Any]:
    """Who says no number leaves it to an autoscaler."""
    return {"replicas": old["spec"]["replicas"]} if "replicas" in old["spec"] else {}


def _marks(annotations: dict[str, str] | None) -> dict[str, str]:
    """reroll's own annotations of state, which no manifest of a person holds."""
    return {
        key: text
        for key, text in (annotations or {}).items()
        if key in (f"{PREFIX}applied", f"{PREFIX}config")
    }


def _with_marks(template: dict[str, Any], there: dict[str, Any], marks: MarkStyle) -> dict[str, Any]:
    """A template of a manifest, with what others than its author wrote on that in the cluster: the controller's mark,
    and the annotations that start a rollout."""
    kept = {
        key: text
        for key, text in ((there.get("metadata") or {}).get("annotations") or {}).items()
        if key == f"{PREFIX}config" or key == "kubectl.kubernetes.io/restartedAt"
    }
    result = dict(template)
    if kept:
        meta = dict(template.get("metadata") or {})
        meta["annotations"] = {**kept, **(meta.get("annotations") or {})}
        result["metadata"] = meta
    mark, _ = _taken(there, marks)
    if mark is not None and _taken(template, marks)[0] is None:
        marks.put(result, mark)
    return result


def _apart(template: dict[str, Any] | None, marks: MarkStyle) -> dict[str, Any] | None:
    """A template as it is compared. Marks that are merged by name stand apart in it, because where they stand among
    their neighbours in a list means nothing."""
    if template is None or not marks.by_name:
        return template
    mark, bare = _taken(template, marks)
    return {"mark": mark, "template": bare}


def _taken(template: dict[str, Any], marks: MarkStyle) -> tuple[str | None, dict[str, Any]]:
    """(the controller's mark, the template without it)."""
    bare: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(template))
    return marks.take(bare), bare


def differing(before: dict[str, bytes], after: dict[str, bytes]) -> tuple[str, ...]:
    """The keys that were added, removed or changed, sorted."""
    return tuple(sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key)))


def _made(
    step: Step, object: object, effect: Effect, *, keys: tuple[str, ...] = (), detail: str = ""
) -> Made:
    return Made(step.at, step.action, str(object), effect, keys, detail, str(step.origin))


def _absent(target: ConfigId | WorkloadId, there: Iterable[ConfigId | WorkloadId]) -> str:
    names = [str(each) for each in there if type(each) is type(target)]
    near = difflib.get_close_matches(str(target), names, 1, 0.75)
    same_name = [
        name for name in names if name.endswith(f"/{target[2]}") and name.startswith(target[0].lower())
    ]
    meant = near or same_name[:1]
    return f"there is no {target}" + (f" (there is {meant[0]})" if meant else "")
