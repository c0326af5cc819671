"""Who takes part in the plays: workloads of each kind, and what they consume."""

from __future__ import annotations

from typing import Any, NamedTuple

from reroll.kube.resources import Resource

CONFIG_MAPS = ("a", "b")
KEYS = ("X", "Y")
PASSWORDS = tuple(f"marker-{number}-correct-horse" for number in range(3))
CONFIGS = (("configmaps", "a"), ("configmaps", "b"), ("secrets", "s"))

DEPLOYMENTS, STATEFUL_SETS, DAEMON_SETS = (
    Resource("apps", "v1", f"{kind.lower()}s", kind) for kind in ("Deployment", "StatefulSet", "DaemonSet")
)
JOBS, CRON_JOBS = (Resource("batch", "v1", f"{kind.lower()}s", kind) for kind in ("Job", "CronJob"))
RESOURCES = (DEPLOYMENTS, STATEFUL_SETS, DAEMON_SETS, JOBS, CRON_JOBS)

HOLD = "example.com/hold"
"""A finalizer: its object is gone when somebody has taken it away."""


class Follower(NamedTuple):
    """A workload, and the ConfigMaps and Secrets that it takes its environment from."""

    resource: Resource
    config_maps: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    replicas: int = 1
    mode: str = ""
    optional: bool = False
    """It starts without what it consumes."""

    @property
    def consumed(self) -> list[tuple[str, str]]:
        return [("configmaps", n) for n in self.config_maps] + [("secrets", n) for n in self.secrets]


FOLLOWERS = {
    "one": Follower(DEPLOYMENTS, ("a",), replicas=2),
    "both": Follower(DAEMON_SETS, ("a", "b")),
    "secret": Follower(STATEFUL_SETS, (), ("s",)),
    "all": Follower(DEPLOYMENTS, ("a", "b"), ("s",)),
    "evicted": Follower(DEPLOYMENTS, ("b",), replicas=2, mode="restart"),
    "without": Follower(STATEFUL_SETS, ("b",), replicas=2, optional=True),
    "work": Follower(JOBS, ("a",)),
    "nightly": Follower(CRON_JOBS, ("a", "b")),
}
PAUSABLE = ("one", "all")
SCALABLE = ("one", "secret", "all", "evicted")
ROLLING = ("one", "both", "secret", "all", "without")
"""Their own controllers replace their pods when the template changes, and keep its revisions."""
BYSTANDER = "bystander"
"""Consumes everything, and asks for nothing."""
DONE = "done"
"""A Job that follows, and is finished: what has run is not run again."""


def manifest(name: str, follower: Follower) -> dict[str, Any]:
    """The object as a person creates it. Pods come to run, but for those of the Job, so that it does not end."""
    annotations = {"reroll.dev/auto": "true"} | ({"reroll.dev/mode": follower.mode} if follower.mode else {})
    metadata: dict[str, Any] = {"name": name, "annotations": annotations}
    template = _template(name, follower)
    resource = follower.resource
    if resource is CRON_JOBS:
        spec: dict[str, Any] = {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": template}}}
    elif resource is JOBS:
        spec = {"template": template, "ttlSecondsAfterFinished": 3600}
        if name != DONE:
            template["spec"]["nodeSelector"] = {"no-such-label": "true"}
            metadata["finalizers"] = [HOLD]
    else:
        spec = {"selector": {"matchLabels": {"app": name}}, "template": template}
        if resource is DAEMON_SETS:
            spec["updateStrategy"] = {"rollingUpdate": {"maxUnavailable": "100%"}}
        else:
            spec["replicas"] = follower.replicas
        if resource is STATEFUL_SETS:
            spec["podManagementPolicy"] = "Parallel"
    return {"metadata": metadata, "spec": spec}


def _template(name: str, follower: Follower) -> dict[str, Any]:
    optional = {"optional": True} if follower.optional else {}
    env_from = [{"configMapRef": {"name": each, **optional}} for each in follower.config_maps]
    env_from += [{"secretRef": {"name": each, **optional}} for each in follower.secrets]
    pod: dict[str, Any] = {
        "containers": [{"name": "main", "image": "app:1", "envFrom": env_from}],
        "terminationGracePeriodSeconds": 0,
    }
    if follower.resource in (JOBS, CRON_JOBS):
        pod["restartPolicy"] = "Never"
    return {"metadata": {"labels": {"app": name}}, "spec": pod}


def template_of(workload: dict[str, Any]) -> dict[str, Any]:
    """The pod template of a workload of any of these kinds."""
    spec = workload["spec"]
    found: dict[str, Any] = (
        spec["jobTemplate"]["spec"]["template"] if "jobTemplate" in spec else spec["template"]
    )
    return found
