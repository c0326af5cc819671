"""Tables, which ``kubectl get`` asks for: the columns that the API server has for each kind.

Source: k8s.io/kubernetes pkg/printers/internalversion/printers.go, and for ages
k8s.io/apimachinery pkg/util/duration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias

from msgspec import Struct

from reroll.sandbox.served import Served

Json: TypeAlias = dict[str, Any]


class Column(Struct, frozen=True):
    """One column: its name, the value of its cell for an object at a time, and whether only wide output shows it."""

    name: str
    cell: Callable[[Json, float], Any]
    type: str = "string"
    wide: bool = False

    def definition(self) -> Json:
        """The column as a Table describes it."""
        format = "name" if self.name == "Name" else ""
        return {
            "name": self.name,
            "type": self.type,
            "format": format,
            "description": "",
            "priority": int(self.wide),
        }


def table(
    served: Served, objects: Iterable[Json], metadata: Json, now: float, *, include: str, header: bool = True
) -> Json:
    """A Table of objects. `include`: what rows hold of their object, "None", "Metadata" or "Object"."""
    columns = _columns(served)
    rows = []
    for obj in objects:
        row: Json = {"cells": [column.cell(obj, now) for column in columns]}
        if include != "None":
            row["object"] = obj if include == "Object" else partial(obj)
        rows.append(row)
    definitions = [column.definition() for column in columns] if header else []
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": definitions,
        "rows": rows,
    }


def partial(obj: Json) -> Json:
    """An object's metadata alone."""
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}


def age(timestamp: str | None, now: float) -> str:
    """How long ago, as kubectl writes it, such as ``5m12s``."""
    if not timestamp:
        return "<unknown>"
    return _duration(now - datetime.fromisoformat(timestamp).timestamp())


def _duration(seconds: float) -> str:
    whole = int(seconds)
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if whole < 120:
        return "<invalid>" if whole < -1 else f"{max(whole, 0)}s"
    if hours < 3:
        rest = whole % 60 if minutes < 10 else 0
        return f"{minutes}m{rest}s" if rest else f"{minutes}m"
    if hours < 48:
        rest = minutes % 60 if hours < 8 else 0
        return f"{hours}h{rest}m" if rest else f"{hours}h"
    if days < 730:
        rest = hours % 24 if days < 8 else 0
        return f"{days}d{rest}h" if rest else f"{days}d"
    rest = days % 365 if days < 8 * 365 else 0
    return f"{days // 365}y{rest}d" if rest else f"{days // 365}y"


# --- cells -------------------------------------------------------------------------------------------


def _at(path: str, default: Any = "") -> Callable[[Json, float], Any]:
    parts = path.split(".")

    def cell(obj: Json, now: float) -> Any:
        here: Any = obj
        for part in parts:
            here = here.get(part) if isinstance(here, dict) else None
        return default if here is None else here

    return cell


def _ready(obj: Json, now: float) -> str:
    return f"{obj.get('status', {}).get('readyReplicas', 0)}/{obj['spec'].get('replicas', 0)}"


def _containers(path: str, field: str) -> Callable[[Json, float], str]:
    find = _at(f"{path}.containers", ())
    return lambda obj, now: ",".join(container.get(field, "") for container in find(obj, now))


def _selector(path: str) -> Callable[[Json, float], str]:
    find = _at(path, None)

    def cell(obj: Json, now: float) -> str:
        selector = find(obj, now)
        if not selector:
            return "<none>"
        parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
        for rule in selector.get("matchExpressions") or ():
            words = {"In": "in", "NotIn": "notin"}
            values = ",".join(sorted(rule.get("values") or ()))
            key, operator = rule.get("key"), rule.get("operator")
            told = {"Exists": f"{key}", "DoesNotExist": f"!{key}"}
            parts.append(told.get(operator) or f"{key} {words.get(operator)} ({values})")
        return ",".join(parts)

    return cell


def _labels(labels: Json) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items())) or "<none>"


def _pod_containers(pod: Json) -> tuple[int, int, str, int]:
    """(ready, all, reason, restarts) of a Pod."""
    status = pod.get("status", {})
    reason = status.get("reason") or status.get("phase", "")
    statuses = status.get("containerStatuses") or []
    ready = sum(bool(each.get("ready")) for each in statuses)
    for each in reversed(statuses):
        state = each.get("state", {})
        waiting, ended = state.get("waiting") or {}, state.get("terminated")
        if waiting.get("reason"):
            reason = waiting["reason"]
        elif ended is not None:
            reason = ended.get("reason") or f"ExitCode:{ended.get('exitCode', 0)}"
    if pod["metadata"].get("deletionTimestamp") and status.get("phase") not in ("Succeeded", "Failed"):
        reason = "Terminating"
    restarts = sum(each.get("restartCount", 0) for each in statuses)
    return ready, len(pod["spec"].get("containers") or ()), reason, restarts


def _restarts(pod: Json, now: float) -> str:
    count = _pod_containers(pod)[3]
    last = max(
        (
            each.get("lastState", {}).get("terminated", {}).get("finishedAt") or ""
            for each in pod.get("status", {}).get("containerStatuses") or ()
        ),
        default="",
    )
    return f"{count} ({age(last, now)} ago)" if count and last else str(count)


def _node_status(node: Json, now: float) -> str:
    conditions = node.get("status", {}).get("conditions") or ()
    ready = next((c["status"] == "True" for c in conditions if c["type"] == "Ready"), None)
    word = "Unknown" if ready is None else "Ready" if ready else "NotReady"
    return word + (",SchedulingDisabled" if node.get("spec", {}).get("unschedulable") else "")


def _node_roles(node: Json, now: float) -> str:
    prefix = "node-role.kubernetes.io/"
    labels = node["metadata"].get("labels") or {}
    return ",".join(sorted(k.removeprefix(prefix) for k in labels if k.startswith(prefix))) or "<none>"


def _address(type: str) -> Callable[[Json, float], str]:
    def cell(node: Json, now: float) -> str:
        addresses = node.get("status", {}).get("addresses") or ()
        return next((each["address"] for each in addresses if each["type"] == type), "<none>")

    return cell


def _job_status(job: Json, now: float) -> str:
    conditions = job.get("status", {}).get("conditions") or ()
    held = {condition["type"] for condition in conditions if condition["status"] == "True"}
    for type, word in (("Complete", "Complete"), ("Failed", "Failed"), ("Suspended", "Suspended")):
        if type in held:
            return word
    return "Running"


def _completions(job: Json, now: float) -> str:
    done, wanted = job.get("status", {}).get("succeeded", 0), job["spec"].get("completions")
    if wanted is not None:
        return f"{done}/{wanted}"
    parallel = job["spec"].get("parallelism", 0)
    return f"{done}/1 of {parallel}" if parallel > 1 else f"{done}/1"


def _job_duration(job: Json, now: float) -> str:
    status = job.get("status", {})
    if not status.get("startTime"):
        return ""
    end = status.get("completionTime")
    return age(status["startTime"], datetime.fromisoformat(end).timestamp() if end else now)


def _controller(obj: Json, now: float) -> str:
    owner = next((o for o in obj["metadata"].get("ownerReferences") or () if o.get("controller")), None)
    if owner is None:
        return "<none>"
    group = owner["apiVersion"].rpartition("/")[0]
    return f"{owner['kind']}.{group}".lower().removesuffix(".") + f"/{owner['name']}"


def _event(field: str) -> Callable[[Json, float], Any]:
    """A cell of an Event, in either of its forms."""

    def cell(event: Json, now: float) -> Any:
        series = event.get("series") or {}
        regarding = event.get("involvedObject") or event.get("regarding") or {}
        source = event.get("source") or event.get("deprecatedSource") or {}
        first = event.get("firstTimestamp") or event.get("deprecatedFirstTimestamp") or event.get("eventTime")
        last = event.get("lastTimestamp") or event.get("deprecatedLastTimestamp") or first
        component = (
            source.get("component") or event.get("reportingComponent") or event.get("reportingController")
        )
        host = source.get("host") or event.get("reportingInstance")
        found: Json = {
            "last": age(series.get("lastObservedTime") or last, now),
            "first": age(first, now),
            "object": "/".join(
                part for part in (regarding.get("kind", "").lower(), regarding.get("name")) if part
            ),
            "path": regarding.get("fieldPath", ""),
            "source": ", ".join(part for part in (component, host) if part),
            "message": (event.get("message") or event.get("note") or "").strip(),
            "count": series.get("count") or event.get("count") or event.get("deprecatedCount") or 1,
        }
        return found[field]

    return cell


# --- columns -----------------------------------------------------------------------------------------

_NAME: Final = Column("Name", _at("metadata.name"))
_AGE: Final = Column("Age", lambda obj, now: age(obj["metadata"].get("creationTimestamp"), now))


def _count(name: str, path: str) -> Column:
    return Column(name, _at(path, 0), "integer")


def _template(path: str, selector: str = "") -> tuple[Column, ...]:
    columns = [
        Column("Containers", _containers(path, "name"), wide=True),
        Column("Images", _containers(path, "image"), wide=True),
    ]
    return (*columns, *([Column("Selector", _selector(selector), wide=True)] if selector else []))


def _data_count(obj: Json, now: float) -> int:
    return len(obj.get("data") or ()) + len(obj.get("binaryData") or ())


def _ports(service: Json, now: float) -> str:
    return ",".join(f"{p['port']}/{p['protocol']}" for p in service["spec"].get("ports") or ()) or "<none>"


_POD_TEMPLATE: Final = "spec.template.spec"
_COLUMNS: Final[dict[str, tuple[Column, ...]]] = {
    "Namespace": (_NAME, Column("Status", _at("status.phase")), _AGE),
    "ConfigMap": (_NAME, Column("Data", _data_count), _AGE),
    "Secret": (_NAME, Column("Type", _at("type")), Column("Data", _data_count), _AGE),
    "ServiceAccount": (_NAME, _AGE),
    "Service": (
        _NAME,
        Column("Type", _at("spec.type")),
        Column("Cluster-IP", _at("spec.clusterIP", "<none>")),
        Column("External-IP", lambda obj, now: "<none>"),
        Column(
            "Port(s)",
            _ports,
        ),
        _AGE,
        Column("Selector", lambda obj, now: _labels(obj["spec"].get("selector") or {}), wide=True),
    ),
    "Pod": (
        _NAME,
        Column("Ready", lambda obj, now: "{}/{}".format(*_pod_containers(obj))),
        Column("Status", lambda obj, now: _pod_containers(obj)[2]),
        Column("Restarts", _restarts),
        _AGE,
        Column("IP", _at("status.podIP", "<none>"), wide=True),
        Column("Node", _at("spec.nodeName", "<none>"), wide=True),
        Column("Nominated Node", _at("status.nominatedNodeName", "<none>"), wide=True),
        Column("Readiness Gates", lambda obj, now: "<none>", wide=True),
    ),
    "Node": (
        _NAME,
        Column("Status", _node_status),
        Column("Roles", _node_roles),
        _AGE,
        Column("Version", _at("status.nodeInfo.kubeletVersion")),
        Column("Internal-IP", _address("InternalIP"), wide=True),
        Column("External-IP", _address("ExternalIP"), wide=True),
        Column("OS-Image", _at("status.nodeInfo.osImage", "<unknown>"), wide=True),
        Column("Kernel-Version", _at("status.nodeInfo.kernelVersion", "<unknown>"), wide=True),
        Column("Container-Runtime", _at("status.nodeInfo.containerRuntimeVersion", "<unknown>"), wide=True),
    ),
    "Deployment": (
        _NAME,
        Column("Ready", _ready),
        _count("Up-to-date", "status.updatedReplicas"),
        _count("Available", "status.availableReplicas"),
        _AGE,
        *_template(_POD_TEMPLATE, "spec.selector"),
    ),
    "ReplicaSet": (
        _NAME,
        _count("Desired", "spec.replicas"),
        _count("Current", "status.replicas"),
        _count("Ready", "status.readyReplicas"),
        _AGE,
        *_template(_POD_TEMPLATE, "spec.selector"),
    ),
    "StatefulSet": (_NAME, Column("Ready", _ready), _AGE, *_template(_POD_TEMPLATE)),
    "DaemonSet": (
        _NAME,
        _count("Desired", "status.desiredNumberScheduled"),
        _count("Current", "status.currentNumberScheduled"),
        _count("Ready", "status.numberReady"),
        _count("Up-to-date", "status.updatedNumberScheduled"),
        _count("Available", "status.numberAvailable"),
        Column(
            "Node Selector",
            lambda obj, now: _labels(obj["spec"]["template"]["spec"].get("nodeSelector") or {}),
        ),
        _AGE,
        *_template(_POD_TEMPLATE, "spec.selector"),
    ),
    "ControllerRevision": (_NAME, Column("Controller", _controller), _count("Revision", "revision"), _AGE),
    "Job": (
        _NAME,
        Column("Status", _job_status),
        Column("Completions", _completions),
        Column("Duration", _job_duration),
        _AGE,
        *_template(_POD_TEMPLATE, "spec.selector"),
    ),
    "CronJob": (
        _NAME,
        Column("Schedule", _at("spec.schedule")),
        Column("Timezone", _at("spec.timeZone", "<none>")),
        Column("Suspend", lambda obj, now: str(bool(obj["spec"].get("suspend"))), "boolean"),
        Column("Active", lambda obj, now: len(obj.get("status", {}).get("active") or ()), "integer"),
        Column(
            "Last Schedule",
            lambda obj, now: (
                age(time, now) if (time := obj.get("status", {}).get("lastScheduleTime")) else "<none>"
            ),
        ),
        _AGE,
        *_template("spec.jobTemplate.spec.template.spec", "spec.jobTemplate.spec.selector"),
    ),
    "Event": (
        Column("Last Seen", _event("last")),
        Column("Type", _at("type")),
        Column("Reason", _at("reason")),
        Column("Object", _event("object")),
        Column("Subobject", _event("path"), wide=True),
        Column("Source", _event("source"), wide=True),
        Column("Message", _event("message")),
        Column("First Seen", _event("first"), wide=True),
        Column("Count", _event("count"), "integer", wide=True),
        Column("Name", _at("metadata.name"), wide=True),
    ),
    "Lease": (_NAME, Column("Holder", _at("spec.holderIdentity")), _AGE),
    "CustomResourceDefinition": (_NAME, Column("Created At", _at("metadata.creationTimestamp"), "date")),
}


def _columns(served: Served) -> Sequence[Column]:
    if served.built_in:
        return _COLUMNS[served.kind.kind]
    declared = [
        Column(column["name"], _declared(column), column["type"], bool(column.get("priority")))
        for column in served.columns
    ]
    return (_NAME, *(declared or [_AGE]))


def _declared(column: Json) -> Callable[[Json, float], Any]:
    """A cell by a declared kind's JSON path; one that is no plain path stays empty."""
    find = _at(column["jsonPath"].removeprefix("."), None)

    def cell(obj: Json, now: float) -> Any:
        value = find(obj, now)
        return age(value, now) if value is not None and column["type"] == "date" else value

    return cell
