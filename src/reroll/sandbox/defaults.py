"""Fields that the API server fills in where an object leaves them out, as far as kubectl and controllers rely on them.

Source: k8s.io/kubernetes pkg/apis/{core,apps,batch}/v1/defaults.go, and the strategies of the registries.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from reroll.sandbox.kinds import (
    CRON_JOB,
    CUSTOM_RESOURCE_DEFINITION,
    DAEMON_SET,
    DEPLOYMENT,
    JOB,
    NAMESPACE,
    POD,
    REPLICA_SET,
    SECRET,
    SERVICE,
    STATEFUL_SET,
    Kind,
)

Json: TypeAlias = dict[str, Any]

_TEMPLATE_GENERATION: Final = "deprecated.daemonset.template.generation"


def fill(kind: Kind, obj: Json) -> None:
    """Fill in, in place. It is done at each write; what is set stays."""
    filler = _FILLERS.get(kind)
    if filler is not None:
        filler(obj)


def begin(kind: Kind, obj: Json, uid: str) -> None:
    """What a new object begins with, in place: its first status, and a Job's labels and selector."""
    if kind.status and kind.kind not in ("Node", "CustomResourceDefinition"):
        obj.pop("status", None)
    if kind is NAMESPACE:
        obj["status"] = {"phase": "Active"}
    elif kind is POD:
        obj["status"] = {"phase": "Pending", "qosClass": _quality(obj["spec"])}
    elif kind in (DEPLOYMENT, JOB, CRON_JOB):
        obj["status"] = {}
    elif kind in (REPLICA_SET, STATEFUL_SET):
        obj["status"] = {"replicas": 0} | ({"availableReplicas": 0} if kind is STATEFUL_SET else {})
    elif kind is DAEMON_SET:
        counts = ("currentNumberScheduled", "desiredNumberScheduled", "numberMisscheduled", "numberReady")
        obj["status"] = dict.fromkeys(counts, 0)
    elif kind is SERVICE:
        obj["status"] = {"loadBalancer": {}}
    if kind is JOB and not obj["spec"].get("manualSelector"):
        name = obj["metadata"]["name"]
        labels = obj["spec"]["template"].setdefault("metadata", {}).setdefault("labels", {})
        labels |= {
            "batch.kubernetes.io/controller-uid": uid,
            "batch.kubernetes.io/job-name": name,
            "controller-uid": uid,
            "job-name": name,
        }
        obj["spec"]["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
        obj["metadata"].setdefault("labels", dict(labels))
    if kind is SERVICE:
        _put(obj["spec"], clusterIP=f"10.96.{int(uid[:2], 16)}.{int(uid[2:4], 16)}")
        _put(
            obj["spec"],
            clusterIPs=[obj["spec"]["clusterIP"]],
            ipFamilies=["IPv4"],
            ipFamilyPolicy="SingleStack",
        )


def advance(kind: Kind, obj: Json, before: Json) -> None:
    """What a change counts: the changes of a DaemonSet's template, as ever in an annotation.

    Set in `obj`, not in its metadata in place, which may be the one that is stored.
    """
    if kind is DAEMON_SET and obj["spec"]["template"] != before["spec"]["template"]:
        count = int(before["metadata"].get("annotations", {}).get(_TEMPLATE_GENERATION, 0))
        annotations = {**obj["metadata"].get("annotations", {}), _TEMPLATE_GENERATION: str(count + 1)}
        obj["metadata"] = {**obj["metadata"], "annotations": annotations}


def _put(target: Json, **values: Any) -> None:
    for key, value in values.items():
        target.setdefault(key, value)


def _deployment(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    _put(spec, replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600)
    strategy = spec.setdefault("strategy", {})
    _put(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        _put(strategy.setdefault("rollingUpdate", {}), maxUnavailable="25%", maxSurge="25%")
    _template(spec)


def _stateful_set(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    _put(spec, replicas=1, revisionHistoryLimit=10, podManagementPolicy="OrderedReady", serviceName="")
    _put(
        spec.setdefault("persistentVolumeClaimRetentionPolicy", {}), whenDeleted="Retain", whenScaled="Retain"
    )
    strategy = spec.setdefault("updateStrategy", {})
    _put(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        _put(strategy.setdefault("rollingUpdate", {}), partition=0)
    _template(spec)


def _daemon_set(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    _put(spec, revisionHistoryLimit=10)
    _put(obj["metadata"].setdefault("annotations", {}), **{_TEMPLATE_GENERATION: "1"})
    strategy = spec.setdefault("updateStrategy", {})
    _put(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        _put(strategy.setdefault("rollingUpdate", {}), maxUnavailable=1, maxSurge=0)
    _template(spec)


def _replica_set(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    _put(spec, replicas=1)
    _template(spec)


def _job(obj: Json) -> None:
    _job_spec(obj.setdefault("spec", {}), created=True)


def _job_spec(spec: Json, *, created: bool) -> None:
    if created:
        if "completions" not in spec and "parallelism" not in spec:
            _put(spec, completions=1)
        _put(spec, parallelism=1, backoffLimit=6, completionMode="NonIndexed", suspend=False)
        _put(spec, podReplacementPolicy="TerminatingOrFailed", manualSelector=False)
    _template(spec)


def _cron_job(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    _put(
        spec, concurrencyPolicy="Allow", suspend=False, successfulJobsHistoryLimit=3, failedJobsHistoryLimit=1
    )
    _job_spec(spec.setdefault("jobTemplate", {}).setdefault("spec", {}), created=False)


def _pod(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    _put(spec, enableServiceLinks=True)
    _pod_spec(spec)
    for container in [*spec.get("containers", ()), *spec.get("initContainers", ())]:
        limits = (container.get("resources") or {}).get("limits")
        if limits:
            container["resources"]["requests"] = limits | container["resources"].get("requests", {})


def _template(spec: Json) -> None:
    _pod_spec(spec.setdefault("template", {}).setdefault("spec", {}))


def _pod_spec(spec: Json) -> None:
    _put(spec, restartPolicy="Always", dnsPolicy="ClusterFirst", schedulerName="default-scheduler")
    _put(spec, securityContext={}, terminationGracePeriodSeconds=30)
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    for field in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(field) or ():
            _container(container)
    for volume in spec.get("volumes") or ():
        _volume(volume)


def _container(container: Json) -> None:
    image = str(container.get("image", ""))
    tag = image.rpartition("/")[2].partition(":")[2]
    latest = "@" not in image and tag in ("", "latest")
    _put(container, imagePullPolicy="Always" if latest else "IfNotPresent", resources={})
    _put(container, terminationMessagePath="/dev/termination-log", terminationMessagePolicy="File")
    for port in container.get("ports") or ():
        _put(port, protocol="TCP")
    for variable in container.get("env") or ():
        if reference := (variable.get("valueFrom") or {}).get("fieldRef"):
            _put(reference, apiVersion="v1")
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if name in container:
            _put(container[name], timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3)
            if request := container[name].get("httpGet"):
                _put(request, path="/", scheme="HTTP")


def _volume(volume: Json) -> None:
    if volume.keys() <= {"name"}:
        volume["emptyDir"] = {}
    for source in ("configMap", "secret", "projected", "downwardAPI"):
        if source in volume:
            _put(volume[source], defaultMode=0o644)
    if "hostPath" in volume:
        _put(volume["hostPath"], type="")
    for part in (volume.get("projected") or {}).get("sources") or ():
        if "serviceAccountToken" in part:
            _put(part["serviceAccountToken"], expirationSeconds=3600)
    items = [volume.get("downwardAPI") or {}]
    items += [part.get("downwardAPI") or {} for part in (volume.get("projected") or {}).get("sources") or ()]
    for item in (item for each in items for item in each.get("items") or ()):
        if "fieldRef" in item:
            _put(item["fieldRef"], apiVersion="v1")


def _quality(spec: Json) -> str:
    """A Pod's QoS class (k8s.io/kubernetes pkg/apis/core/v1/helper/qos)."""
    resources = [container.get("resources") or {} for container in spec.get("containers") or ()]
    if not any(each.get("limits") or each.get("requests") for each in resources):
        return "BestEffort"
    full = all(
        {"cpu", "memory"} <= (each.get("limits") or {}).keys() and each["limits"] == each.get("requests")
        for each in resources
    )
    return "Guaranteed" if full else "Burstable"


def _secret(obj: Json) -> None:
    _put(obj, type="Opaque")
    added = obj.pop("stringData", None)
    if added:
        # Not in place: what a patch left alone is the map that is stored, see schema.read.
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in added.items()}
        obj["data"] = {**(obj.get("data") or {}), **encoded}


def _namespace(obj: Json) -> None:
    obj["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = obj["metadata"].get("name", "")
    if not obj.get("metadata", {}).get("deletionTimestamp"):
        obj.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])


def _service(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    _put(spec, type="ClusterIP", sessionAffinity="None", internalTrafficPolicy="Cluster")
    for port in spec.get("ports") or ():
        _put(port, protocol="TCP", targetPort=port.get("port"))


def _definition(obj: Json) -> None:
    names = obj.setdefault("spec", {}).setdefault("names", {})
    if isinstance(names.get("kind"), str):
        _put(names, singular=names["kind"].lower(), listKind=f"{names['kind']}List")
    _put(obj["spec"], conversion={"strategy": "None"})


_FILLERS: Final[dict[Kind, Callable[[Json], None]]] = {
    DEPLOYMENT: _deployment,
    STATEFUL_SET: _stateful_set,
    DAEMON_SET: _daemon_set,
    REPLICA_SET: _replica_set,
    JOB: _job,
    CRON_JOB: _cron_job,
    POD: _pod,
    SECRET: _secret,
    NAMESPACE: _namespace,
    SERVICE: _service,
    CUSTOM_RESOURCE_DEFINITION: _definition,
}
