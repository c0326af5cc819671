"""What names which versions now: pod templates, revisions that an undo can go back to, pods, and all else.

Any whole string in an object's JSON that is the name of a copy counts (`garbage.names_in`), so that what reroll knows
nothing of is a reason to keep what it names, too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import partial
from typing import Final, Literal, Protocol

import msgspec
from msgspec import Struct, field

from reroll.core.kinds import KINDS
from reroll.kube.errors import ApiError, Forbidden, NotFound
from reroll.kube.pages import read_list
from reroll.kube.pods import Meta as PodMeta
from reroll.kube.ports import Getter, Lister
from reroll.kube.resources import PODS, REPLICA_SETS, Resource
from reroll.versions.collect import CONTROLLER_REVISIONS, REPLICATION_CONTROLLERS
from reroll.versions.garbage import names_in

What = Literal["workload", "revision", "pod", "other"]

REVISIONS: Final = ("deployment.kubernetes.io/revision", "rollout.argoproj.io/revision")
"""Annotations of a ReplicaSet: the number of the revision that it is of a Deployment or Rollout."""

_POD_TEMPLATES: Final = Resource("", "v1", "podtemplates", "PodTemplate")
_KNOWN: Final[tuple[tuple[Resource, What, bool], ...]] = (
    *(
        (Resource(kind.group, kind.version, kind.plural, kind.kind), "workload", kind.optional)
        for kind in KINDS.values()
    ),
    (REPLICATION_CONTROLLERS, "revision", True),
    (REPLICA_SETS, "revision", False),
    (CONTROLLER_REVISIONS, "revision", False),
    (_POD_TEMPLATES, "other", True),
    (PODS, "pod", False),
)
"""(resource, what it is, whether a server may lack it, as the sandbox does). What makes others comes before what it
makes, so that nothing is missed in between."""

_OF_KUBERNETES: Final = (
    "",
    "apps",
    "batch",
    "autoscaling",
    "policy",
    "extensions",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "custom.metrics.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "external.metrics.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "internal.apiserver.k8s.io",
    "metrics.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
    "rbac.authorization.k8s.io",
    "resource.k8s.io",
    "scheduling.k8s.io",
    "storage.k8s.io",
    "storagemigration.k8s.io",
)
"""API groups whose objects, but for those above, name no ConfigMap or Secret of a workload: Kubernetes' own."""


class Use(Struct, frozen=True):
    """An object that names a version."""

    what: What
    kind: str
    namespace: str
    name: str
    of: str = ""
    """Of a revision and a pod: the workload behind it, as KIND/NAME; "" where that can't be told."""
    revision: int = 0
    """Of a revision: its number; 0: it has none."""

    def __str__(self) -> str:
        return f"{self.kind.lower()}/{self.name}"


class Uses(Struct, frozen=True):
    """Who names what."""

    found: dict[tuple[str, str], tuple[Use, ...]]
    """By (namespace, name) of a copy."""
    unread: tuple[str, ...] = ()
    """What could not be listed, and why, for people: whether it names anything is not known."""

    def of(self, namespace: str, name: str) -> tuple[Use, ...]:
        return self.found.get((namespace, name), ())


class Reader(Getter, Lister, Protocol):
    """What is asked of the API server."""


async def find_uses(
    api: Reader, namespaces: Sequence[str], wanted: Collection[tuple[str, str]], *, everything: bool = False
) -> Uses:
    """Who names `wanted`, (namespace, name), in these namespaces, ("",) for all. `everything`: look at objects of all
    kinds that the cluster serves, not just those that have pod templates. Raises ApiError."""
    found: dict[tuple[str, str], dict[Use, None]] = {}
    unread: list[str] = []
    wanted = frozenset(wanted)
    kinds = list(_KNOWN)
    if everything and wanted:
        others, problems = await _custom(api)
        kinds = [*((resource, "other", True) for resource in others), *kinds]
        unread += problems
    for resource, what, optional in kinds if wanted else ():
        for namespace in namespaces:
            begun: dict[tuple[str, str], dict[Use, None]] = {}

            def take(
                raw: msgspec.Raw,
                resource: Resource = resource,
                what: What = what,
                begun: dict[tuple[str, str], dict[Use, None]] = begun,
            ) -> None:
                names = names_in(bytes(raw))
                if names:
                    use = _use(msgspec.json.decode(raw, type=_Object), resource.kind, what)
                    for name in names:
                        if (use.namespace, name) in wanted:
                            begun.setdefault((use.namespace, name), {})[use] = None

            try:
                await read_list(
                    api, partial(resource.path, namespace or None, None), take, begin_again=begun.clear
                )
            except NotFound:
                if not optional:
                    raise
            except Forbidden as error:
                unread.append(error.message or resource.plural)
            for key, uses in begun.items():
                found.setdefault(key, {}).update(uses)
    return Uses({key: tuple(uses) for key, uses in found.items()}, tuple(unread))


def _use(obj: _Object, kind: str, what: What) -> Use:
    meta = obj.metadata
    of, revision = "", 0
    if what == "revision":
        owner = next((each for each in meta.owner_references or () if each.controller), None)
        of = f"{owner.kind.lower()}/{owner.name}" if owner is not None else ""
        numbers = [(meta.annotations or {}).get(key, "") for key in REVISIONS]
        revision = obj.revision or next((int(n) for n in numbers if n.isascii() and n.isdigit()), 0)
    elif what == "pod" and meta.workload is not None:
        of = f"{meta.workload.kind.lower()}/{meta.workload.name}"
    return Use(what, kind, meta.namespace, meta.name, of, revision)


async def _custom(api: Getter) -> tuple[list[Resource], list[str]]:
    """Every resource that is not Kubernetes' own, lives in namespaces and can be listed; and what of them can't be
    told, for people."""
    found: list[Resource] = []
    problems: list[str] = []
    groups = msgspec.json.decode(await api.get("/apis"), type=_Groups).groups or ()
    for group in groups:
        if group.name in _OF_KUBERNETES:
            continue
        version = group.preferred_version.version
        try:
            body = await api.get(f"/apis/{group.name}/{version}")
        except ApiError as error:  # such as an API whose own server is down
            problems.append(f"the API {group.name}/{version}: {error.message}")
            continue
        known = {(kind.group, kind.plural) for kind in KINDS.values()}
        found += [
            Resource(group.name, version, each.name, each.kind)
            for each in msgspec.json.decode(body, type=_Resources).resources or ()
            if each.namespaced
            and "list" in (each.verbs or ())
            and "/" not in each.name
            and (group.name, each.name) not in known
        ]
    return found, problems


def words(uses: Iterable[Use]) -> list[str]:
    """Who they are, for people; of pods the number."""
    listed, pods = [], 0
    for use in uses:
        if use.what == "pod":
            pods += 1
        elif use.what == "revision":
            number = f"revision {use.revision} of " if use.revision else "of "
            listed.append(f"{use} ({number}{use.of})" if use.of else str(use))
        else:
            listed.append(str(use))
    return [*listed, *([f"{pods} pod{'' if pods == 1 else 's'}"] if pods else [])]


class _Object(Struct, gc=False):
    metadata: PodMeta
    revision: int = 0
    """Of a ControllerRevision."""


class _Version(Struct, gc=False):
    version: str = ""


class _Group(Struct, gc=False, rename="camel"):
    name: str = ""
    preferred_version: _Version = field(default_factory=_Version)


class _Groups(Struct, gc=False):
    groups: list[_Group] | None = None


class _ApiResource(Struct, gc=False):
    name: str = ""
    kind: str = ""
    namespaced: bool = False
    verbs: list[str] | None = None


class _Resources(Struct, gc=False):
    resources: list[_ApiResource] | None = None
