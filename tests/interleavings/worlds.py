"""The little worlds in which plays happen: a few config objects, and a few workloads that consume them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tests.interleavings.pods import Use, uses
from tests.interleavings.server import CLASSES, Object

Choose = Callable[[int], int]
"""A number below the given one. 0 is the plainest: what shrinking goes for."""

CONFIGS = (("configmaps", "a"), ("configmaps", "b"), ("secrets", "s"))
KEYS = ("X", "Y")
CLASS = "p"


class Given(NamedTuple):
    """What there is at the beginning."""

    configs: list[tuple[str, Object]]
    """(plural, manifest)."""
    workloads: list[tuple[str, Object]]


def draw(choose: Choose, kinds: tuple[str, ...], *, classes: bool = False) -> Given:
    """A world whose workloads are of these kinds (plurals). `classes`: some mount a SecretProviderClass."""
    configs = [(plural, config(name, dict.fromkeys(KEYS, "0"))) for plural, name in CONFIGS[: 1 + choose(3)]]
    workloads = []
    for number in range(1 + choose(3)):
        plural = kinds[choose(len(kinds))]
        used = list(dict.fromkeys(_use(choose, configs) for _ in range(1 + choose(2))))
        if classes and plural in ("deployments", "statefulsets") and choose(4):
            used.append(Use(CLASSES, CLASS, None, True))
        workloads.append((plural, workload(choose, plural, f"w{number}", used)))
    return Given(configs, workloads)


def _use(choose: Choose, configs: list[tuple[str, Object]]) -> Use:
    plural, manifest = configs[choose(len(configs))]
    key = (None, "X", "Y")[choose(3)]
    return Use(plural, manifest["metadata"]["name"], key, choose(4) == 3)


def config(name: str, data: dict[str, str]) -> Object:
    return {"metadata": {"name": name}, "data": data}


def workload(choose: Choose, plural: str, name: str, used: list[Use]) -> Object:
    annotations = {"reroll.dev/auto": "true"}
    spec: dict[str, Any] = {"template": template(name, used)}
    if plural in ("deployments", "statefulsets"):
        spec["replicas"] = 1 + choose(3)
        spec["selector"] = {"matchLabels": {"app": name}}
        if choose(6) == 5:
            annotations["reroll.dev/mode"] = "restart"
    if plural == "deployments":
        spec["strategy"] = {"type": "Recreate" if choose(6) == 5 else "RollingUpdate"}
    elif plural == "statefulsets":
        spec["updateStrategy"] = (
            {"type": "RollingUpdate"},
            {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}},
            {"type": "OnDelete"},
        )[max(0, choose(8) - 5)]
    made: Object = {"metadata": {"name": name, "annotations": annotations}, "spec": spec}
    if plural == "jobs":
        spec["template"]["spec"]["restartPolicy"] = "Never"
        if choose(3) == 2:
            made["metadata"]["finalizers"] = ["example.com/hold"]
        if choose(3) == 2:
            spec["ttlSecondsAfterFinished"] = 60
    elif plural == "cronjobs":
        made["spec"] = {"schedule": "0 0 * * *", "jobTemplate": {"spec": spec}}
    return made


def template(name: str, used: list[Use]) -> Object:
    """A pod template that reads these at the start of its container."""
    container: dict[str, Any] = {"name": "main", "image": "app:1"}
    spec: dict[str, Any] = {"containers": [container]}
    for number, use in enumerate(used):
        if use.plural == CLASSES:
            csi = {
                "driver": "secrets-store.csi.k8s.io",
                "volumeAttributes": {"secretProviderClass": use.name},
            }
            spec["volumes"] = [{"name": "vault", "csi": csi}]
            container["volumeMounts"] = [{"name": "vault", "mountPath": "/vault"}]
            continue
        ref: dict[str, Any] = {"name": use.name}
        if use.optional:
            ref["optional"] = True
        of_secret = use.plural == "secrets"
        if use.key is None:
            container.setdefault("envFrom", []).append({"secretRef" if of_secret else "configMapRef": ref})
        else:
            source = {"secretKeyRef" if of_secret else "configMapKeyRef": {**ref, "key": use.key}}
            container.setdefault("env", []).append({"name": f"V{number}", "valueFrom": source})
    return {"metadata": {"labels": {"app": name}}, "spec": spec}


def describe(plural: str, manifest: Object) -> str:
    """In words."""
    spec: Any = manifest["spec"]
    of_pods = spec["jobTemplate"]["spec"]["template"] if plural == "cronjobs" else spec["template"]
    read = ", ".join(f"{use}{' (optional)' if use.optional else ''}" for use in uses(of_pods))
    how = {
        "replicas": spec.get("replicas"),
        "mode": manifest["metadata"]["annotations"].get("reroll.dev/mode"),
        "strategy": spec.get("strategy", {}).get("type"),
        "update": spec.get("updateStrategy"),
        "finalizers": manifest["metadata"].get("finalizers"),
        "ttl": spec.get("ttlSecondsAfterFinished"),
    }
    words = ", ".join(f"{name} {value}" for name, value in how.items() if value is not None)
    return f"          {plural}/{manifest['metadata']['name']} reads {read}" + (f"; {words}" if words else "")
