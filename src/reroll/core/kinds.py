"""The kinds of workload that reroll knows: one table entry each, and what a setting adds to the table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

POD_TEMPLATE: Final = ("spec", "template")
"""Where the pod template stands in most kinds."""


class WorkloadKind(Struct, frozen=True):
    """Where a kind lives in the API, where in its objects the pod template stands, and how it is rolled."""

    kind: str
    """As its objects say it; "" for a custom kind that the API server has not told of yet."""
    group: str
    version: str
    plural: str
    short_names: tuple[str, ...] = ()
    """What kubectl also takes for it; for command lines."""
    template: tuple[str, ...] = POD_TEMPLATE
    """The fields that lead to the pod template."""
    re_created: bool = False
    """Its pod template can't be changed: it is rolled by being deleted and created again (Job)."""
    restart_at: tuple[str, ...] = ()
    """The field whose new time makes its own controller restart its pods (Argo Rollout); (): it has none."""
    optional: bool = False
    """A kind that not every cluster serves: it is followed while it is served."""
    custom: bool = False
    """A setting declared it."""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def id(self) -> str:
        """`WorkloadId.kind`: the kind, and for a custom one ``PLURAL.GROUP``, for Kruise has a StatefulSet too."""
        return f"{self.plural}.{self.group}" if self.custom else self.kind


DEPLOYMENT = WorkloadKind("Deployment", "apps", "v1", "deployments", ("deploy", "deployment"))
STATEFUL_SET = WorkloadKind("StatefulSet", "apps", "v1", "statefulsets", ("sts", "statefulset"))
DAEMON_SET = WorkloadKind("DaemonSet", "apps", "v1", "daemonsets", ("ds", "daemonset"))
CRON_JOB = WorkloadKind(
    "CronJob",
    "batch",
    "v1",
    "cronjobs",
    ("cj", "cronjob"),
    template=("spec", "jobTemplate", "spec", "template"),
)
JOB = WorkloadKind("Job", "batch", "v1", "jobs", ("job",), re_created=True)
ROLLOUT = WorkloadKind(
    "Rollout",
    "argoproj.io",
    "v1alpha1",
    "rollouts",
    ("ro", "rollout"),
    restart_at=("spec", "restartAt"),
    optional=True,
)
OF_THE_JOB: Final = (
    "controller-uid",
    "batch.kubernetes.io/controller-uid",
    "job-name",
    "batch.kubernetes.io/job-name",
)
"""Labels that the API server puts into the pod template of a Job: they tell this Job from any other of its name."""
DEPLOYMENT_CONFIG = WorkloadKind(
    "DeploymentConfig",
    "apps.openshift.io",
    "v1",
    "deploymentconfigs",
    ("dc", "deploymentconfig"),
    optional=True,
)

WORKLOAD_KINDS: dict[str, WorkloadKind] = {k.kind: k for k in (DEPLOYMENT, STATEFUL_SET, DAEMON_SET)}
"""Those whose pods run for as long as they are there: what `reroll simulate` plays."""

KINDS: dict[str, WorkloadKind] = {
    **WORKLOAD_KINDS,
    **{k.id: k for k in (CRON_JOB, JOB, ROLLOUT, DEPLOYMENT_CONFIG)},
}
"""All that need no declaration."""

_CUSTOM = re.compile(
    r"(?P<plural>[a-z0-9-]+)\.(?P<version>v[0-9a-z]+)\.(?P<group>[a-z0-9.-]+\.[a-z0-9-]+)(=(?P<path>[A-Za-z0-9_.]+))?"
)


def followed_kinds(names: str, custom: str = "") -> dict[str, WorkloadKind]:
    """The kinds that two settings name, by `WorkloadKind.id`.

    `names` holds plurals of `KINDS`, with commas between, such as ``deployments,cronjobs``. `custom` holds
    ``PLURAL.VERSION.GROUP`` as kubectl takes it, each with ``=PATH`` of its pod template where that is not
    spec.template. Raises ValueError, in words for people.
    """
    known = {kind.plural: kind for kind in KINDS.values()}
    found: dict[str, WorkloadKind] = {}
    for word in _words(names):
        if word not in known:
            raise ValueError(
                f"kinds: {word!r} is none of {', '.join(known)}; other kinds are named by custom_kinds"
            )
        found[known[word].id] = known[word]
    for word in _words(custom):
        kind = _custom(word)
        if any((kind.group, kind.plural) == (other.group, other.plural) for other in found.values()):
            raise ValueError(f"custom_kinds: {word!r}: {kind.plural}.{kind.group} is named twice")
        found[kind.id] = kind
    return found


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _custom(word: str) -> WorkloadKind:
    match = _CUSTOM.fullmatch(word)
    path = tuple((match["path"] or "spec.template").split(".")) if match else ()
    if match is None or path[0] != "spec" or "" in path:
        raise ValueError(
            f"custom_kinds: {word!r} can't be read: write PLURAL.VERSION.GROUP, and =PATH of its pod template where "
            f"that is not spec.template, such as clonesets.v1alpha1.apps.kruise.io=spec.template"
        )
    return WorkloadKind(
        "", match["group"], match["version"], match["plural"], template=path, optional=True, custom=True
    )


def find_kind(word: str, kinds: Mapping[str, WorkloadKind] = WORKLOAD_KINDS) -> WorkloadKind | None:
    """The kind that a word on a command line names: ``Deployment``, ``deployments``, ``deploy``, or of a custom one
    ``clonesets`` and ``clonesets.apps.kruise.io``."""
    lowered = word.lower()
    for kind in kinds.values():
        if lowered and lowered in (kind.kind.lower(), kind.plural, kind.id.lower(), *kind.short_names):
            return kind
    return None
