"""What the API server refuses: names, labels, and the rules of each kind that people and programs run into.

Sources: k8s.io/kubernetes pkg/apis/*/validation; https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

from reroll.sandbox.kinds import (
    CONFIG_MAP,
    CRON_JOB,
    CUSTOM_RESOURCE_DEFINITION,
    DAEMON_SET,
    DEPLOYMENT,
    EVENT,
    JOB,
    NAMESPACE,
    POD,
    REPLICA_SET,
    SECRET,
    SERVICE,
    STATEFUL_SET,
    Kind,
)
from reroll.sandbox.problems import Cause, Invalid, Refused

Json: TypeAlias = dict[str, Any]

_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_VALUE: Final = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_QUALIFIED: Final = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_CONFIG_KEY: Final = re.compile(r"[-._a-zA-Z0-9]+")
_ENV_NAME: Final = re.compile(r"[ -<>-~]+")

_SUBDOMAIN_TEXT: Final = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_LABEL_TEXT: Final = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_KEY_TEXT: Final = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME', "
    " or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)
_VALUE_TEXT: Final = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
_QUALIFIED_TEXT: Final = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_DATA_LIMIT: Final = 1024 * 1024
_ANNOTATIONS_LIMIT: Final = 256 * 1024


def check(kind: Kind, obj: Json, before: Json | None) -> None:
    """Raise Invalid where an object, complete with defaults, breaks a rule. `before`: what it replaces."""
    causes = list(_metadata(kind, obj["metadata"]))
    rule = _RULES.get(kind)
    if rule is not None:
        causes += rule(obj)
    if before is not None:
        causes += _unchanged(kind, obj, before)
    if causes:
        raise Invalid(kind, obj["metadata"].get("name", ""), causes)


def _metadata(kind: Kind, meta: Json) -> Iterator[Cause]:
    name = meta.get("name", "")
    if not name:
        yield Cause("metadata.name", "Required", "name or generateName is required")
    else:
        yield from _name(kind, name)
    for key, value in (meta.get("labels") or {}).items():
        yield from _qualified("metadata.labels", key)
        if len(value) > 63:
            yield Cause("metadata.labels", "Invalid", "must be no more than 63 characters", value)
        elif not _VALUE.fullmatch(value):
            yield Cause("metadata.labels", "Invalid", _VALUE_TEXT, value)
    annotations = meta.get("annotations") or {}
    for key in annotations:
        yield from _qualified("metadata.annotations", key.lower(), key)
    if sum(len(key) + len(value) for key, value in annotations.items()) > _ANNOTATIONS_LIMIT:
        yield Cause("metadata.annotations", "TooLong", f"may not be more than {_ANNOTATIONS_LIMIT} bytes")
    for n, owner in enumerate(meta.get("ownerReferences") or ()):
        for field in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(field):
                yield Cause(f"metadata.ownerReferences[{n}].{field}", "Invalid", "must not be empty", "")


def _name(kind: Kind, name: str) -> Iterator[Cause]:
    short = kind in (NAMESPACE, SERVICE)
    limit = 63 if short else 253
    if len(name) > limit:
        yield Cause("metadata.name", "Invalid", f"must be no more than {limit} characters", name)
    if short and "." in name:
        yield Cause("metadata.name", "Invalid", "must not contain dots", name)
    elif not (_LABEL if short else _SUBDOMAIN).fullmatch(name):
        yield Cause("metadata.name", "Invalid", _LABEL_TEXT if short else _SUBDOMAIN_TEXT, name)


def _qualified(field: str, key: str, shown: str = "") -> Iterator[Cause]:
    prefix, slash, name = key.rpartition("/")
    if not _QUALIFIED.fullmatch(name):
        yield Cause(
            field, "Invalid", _QUALIFIED_TEXT if name else "name part must be non-empty", shown or key
        )
    elif len(name) > 63:
        yield Cause(field, "Invalid", "name part must be no more than 63 characters", shown or key)
    if slash and not _SUBDOMAIN.fullmatch(prefix):
        yield Cause(field, "Invalid", f"prefix part {_SUBDOMAIN_TEXT}", shown or key)


# --- config objects ----------------------------------------------------------------------------------


def _data(obj: Json, *fields: str) -> Iterator[Cause]:
    size = 0
    seen: set[str] = set()
    for field in fields:
        for key, value in (obj.get(field) or {}).items():
            size += len(value)
            if len(key) > 253:
                yield Cause(f"{field}[{key}]", "Invalid", "must be no more than 253 characters", key)
            elif not _CONFIG_KEY.fullmatch(key) or key in (".", "..") or key.startswith(".."):
                yield Cause(f"{field}[{key}]", "Invalid", _KEY_TEXT, key)
            if key in seen:
                yield Cause(f"{field}[{key}]", "Invalid", "duplicate of key present in data", key)
            seen.add(key)
    if size > _DATA_LIMIT:
        yield Cause(
            "" if "binaryData" in fields else "data", "TooLong", f"may not be more than {_DATA_LIMIT} bytes"
        )


def _config_map(obj: Json) -> Iterator[Cause]:
    return _data(obj, "data", "binaryData")


def _secret(obj: Json) -> Iterator[Cause]:
    for value in (obj.get("data") or {}).values():
        try:
            b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise Refused("BadRequest", "illegal base64 data in the data of a Secret") from None
    yield from _data(obj, "data")
    needed = {
        "kubernetes.io/tls": ("tls.crt", "tls.key"),
        "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
        "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    }
    for key in needed.get(obj["type"], ()):
        if key not in (obj.get("data") or {}):
            yield Cause(f"data[{key}]", "Required")


# --- workloads ---------------------------------------------------------------------------------------


def _workload(obj: Json) -> Iterator[Cause]:
    spec = obj["spec"]
    yield from _not_negative(spec, "spec.", "replicas", "minReadySeconds", "revisionHistoryLimit")
    labels = (spec["template"].get("metadata") or {}).get("labels") or {}
    selector = spec.get("selector")
    if selector is None:
        yield Cause("spec.selector", "Required")
    elif not selector.get("matchLabels") and not selector.get("matchExpressions"):
        yield Cause(
            "spec.selector", "Invalid", f"empty selector is invalid for {obj['kind'].lower()}", selector
        )
    if selector is not None and not selects(selector, labels):
        detail = "`selector` does not match template `labels`"
        yield Cause("spec.template.metadata.labels", "Invalid", detail, labels)
    yield from _pod_spec(spec["template"]["spec"], "spec.template.spec")
    policy = spec["template"]["spec"]["restartPolicy"]
    if policy != "Always":
        yield Cause("spec.template.spec.restartPolicy", "NotSupported", 'supported values: "Always"', policy)


def selects(selector: Json, labels: Json) -> bool:
    """A LabelSelector holds for these labels."""
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for rule in selector.get("matchExpressions") or ():
        value, values = labels.get(rule.get("key")), rule.get("values") or ()
        holds = {
            "In": value in values,
            "NotIn": value not in values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }
        if not holds.get(rule.get("operator"), False):
            return False
    return True


def _job(obj: Json) -> Iterator[Cause]:
    yield from _job_spec(obj["spec"], "spec")


def _cron_job(obj: Json) -> Iterator[Cause]:
    if not obj["spec"].get("schedule"):
        yield Cause("spec.schedule", "Required")
    yield from _job_spec(obj["spec"]["jobTemplate"]["spec"], "spec.jobTemplate.spec")


def _job_spec(spec: Json, path: str) -> Iterator[Cause]:
    yield from _not_negative(spec, f"{path}.", "completions", "parallelism", "backoffLimit")
    yield from _pod_spec(spec["template"]["spec"], f"{path}.template.spec")
    policy = spec["template"]["spec"]["restartPolicy"]
    if policy not in ("OnFailure", "Never"):
        detail = 'supported values: "OnFailure", "Never"'
        reason: Any = "Required" if policy == "Always" else "NotSupported"
        detail = 'valid values: "OnFailure", "Never"' if reason == "Required" else detail
        yield Cause(f"{path}.template.spec.restartPolicy", reason, detail)


def _not_negative(spec: Json, path: str, *fields: str) -> Iterator[Cause]:
    for field in fields:
        if spec.get(field, 0) < 0:
            yield Cause(f"{path}{field}", "Invalid", "must be greater than or equal to 0", spec[field])


def _pod(obj: Json) -> Iterator[Cause]:
    return _pod_spec(obj["spec"], "spec")


def _pod_spec(spec: Json, path: str) -> Iterator[Cause]:
    volumes: set[str] = set()
    for n, volume in enumerate(spec.get("volumes") or ()):
        name = volume.get("name", "")
        if not name:
            yield Cause(f"{path}.volumes[{n}].name", "Required")
        elif not _LABEL.fullmatch(name):
            yield Cause(f"{path}.volumes[{n}].name", "Invalid", _LABEL_TEXT, name)
        if name in volumes:
            yield Cause(f"{path}.volumes[{n}].name", "Duplicate", "", name)
        volumes.add(name)
    if not spec.get("containers"):
        yield Cause(f"{path}.containers", "Required")
    names: set[str] = set()
    for field in ("containers", "initContainers"):
        for n, container in enumerate(spec.get(field) or ()):
            yield from _container(container, f"{path}.{field}[{n}]", volumes, names)


def _container(container: Json, path: str, volumes: set[str], names: set[str]) -> Iterator[Cause]:
    name = container.get("name", "")
    if not name:
        yield Cause(f"{path}.name", "Required")
    elif not _LABEL.fullmatch(name) or len(name) > 63:
        yield Cause(f"{path}.name", "Invalid", _LABEL_TEXT, name)
    if name in names:
        yield Cause(f"{path}.name", "Duplicate", "", name)
    names.add(name)
    if not container.get("image"):
        yield Cause(f"{path}.image", "Required")
    for n, variable in enumerate(container.get("env") or ()):
        if not variable.get("name"):
            yield Cause(f"{path}.env[{n}].name", "Required")
        elif not _ENV_NAME.fullmatch(variable["name"]):
            yield Cause(
                f"{path}.env[{n}].name", "Invalid", "a valid environment variable name", variable["name"]
            )
        if variable.get("value") and variable.get("valueFrom"):
            detail = "may not be specified when `value` is not empty"
            yield Cause(f"{path}.env[{n}].valueFrom", "Invalid", detail, "")
    for n, port in enumerate(container.get("ports") or ()):
        if not 0 < port.get("containerPort", 0) < 65536:
            reason: Any = "Invalid" if port.get("containerPort") else "Required"
            detail = "must be between 1 and 65535, inclusive" if reason == "Invalid" else ""
            yield Cause(f"{path}.ports[{n}].containerPort", reason, detail)
    for n, mount in enumerate(container.get("volumeMounts") or ()):
        if not mount.get("name"):
            yield Cause(f"{path}.volumeMounts[{n}].name", "Required")
        elif mount["name"] not in volumes:
            yield Cause(f"{path}.volumeMounts[{n}].name", "Invalid", "", mount["name"])
            # The server's own cause is "Not found", which has no words beside the value.
        if not mount.get("mountPath"):
            yield Cause(f"{path}.volumeMounts[{n}].mountPath", "Required")


# --- others ------------------------------------------------------------------------------------------


def _event(obj: Json) -> Iterator[Cause]:
    regarding = (obj.get("regarding") or {}).get("namespace", "")
    namespace = obj["metadata"].get("namespace", "")
    if (regarding or "default") != namespace:
        yield Cause("involvedObject.namespace", "Invalid", "does not match event.namespace", regarding)
    if not obj.get("eventTime"):
        return  # of the old kind, which has few rules
    for field in ("reportingController", "reportingInstance", "action", "reason"):
        if not obj.get(field):
            yield Cause(field, "Required")
        elif len(obj[field].encode()) > 128 and field != "reportingController":
            yield Cause(field, "Invalid", "can have at most 128 characters", "")
    if len(obj.get("note", "").encode()) > 1024:
        yield Cause("message", "Invalid", "can have at most 1024 characters", "")
    if obj.get("type") not in ("Normal", "Warning"):
        yield Cause("type", "Invalid", "has invalid value: " + str(obj.get("type", "")), "")


def _definition(obj: Json) -> Iterator[Cause]:
    spec = obj["spec"]
    names = spec.get("names") or {}
    for field in ("plural", "kind"):
        if not names.get(field):
            yield Cause(f"spec.names.{field}", "Required")
    if not spec.get("group"):
        yield Cause("spec.group", "Required")
    if spec.get("scope") not in ("Namespaced", "Cluster"):
        detail = 'supported values: "Cluster", "Namespaced"'
        yield Cause("spec.scope", "NotSupported", detail, spec.get("scope", ""))
    wanted = f"{names.get('plural', '')}.{spec.get('group', '')}"
    if obj["metadata"].get("name") != wanted:
        detail = 'must be spec.names.plural+"."+spec.group'
        yield Cause("metadata.name", "Invalid", detail, obj["metadata"].get("name", ""))
    versions = spec.get("versions") or ()
    if sum(bool(version.get("storage")) for version in versions) != 1:
        yield Cause("spec.versions", "Invalid", "must have exactly one version marked as storage version", [])


def _unchanged(kind: Kind, obj: Json, before: Json) -> Iterator[Cause]:
    """What may not change."""
    if kind in (CONFIG_MAP, SECRET) and before.get("immutable"):
        detail = "field is immutable when `immutable` is set"
        for field in ("immutable", "data", "binaryData"):
            if (obj.get(field) or None) != (before.get(field) or None):
                yield Cause(field, "Forbidden", detail)
    if kind is SECRET and obj["type"] != before["type"]:
        yield Cause("type", "Invalid", "field is immutable", obj["type"])
    if (
        kind in (DEPLOYMENT, DAEMON_SET, REPLICA_SET)
        and obj["spec"]["selector"] != before["spec"]["selector"]
    ):
        yield Cause("spec.selector", "Invalid", "field is immutable", obj["spec"]["selector"])
    if kind is JOB:
        for field in ("selector", "completionMode", "template"):
            old, new = before["spec"].get(field), obj["spec"].get(field)
            if new != old and not (field == "template" and obj["spec"].get("suspend")):
                yield Cause(f"spec.{field}", "Invalid", "field is immutable", new)
    if kind is STATEFUL_SET:
        allowed = {
            "replicas",
            "template",
            "updateStrategy",
            "minReadySeconds",
            "ordinals",
            "persistentVolumeClaimRetentionPolicy",
            "revisionHistoryLimit",
        }
        old, new = ({k: v for k, v in o["spec"].items() if k not in allowed} for o in (before, obj))
        if old != new:
            detail = (
                "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
                "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and "
                "'minReadySeconds' are forbidden"
            )
            yield Cause("spec", "Forbidden", detail)


_RULES: Final[dict[Kind, Callable[[Json], Iterator[Cause]]]] = {
    CONFIG_MAP: _config_map,
    SECRET: _secret,
    DEPLOYMENT: _workload,
    STATEFUL_SET: _workload,
    DAEMON_SET: _workload,
    REPLICA_SET: _workload,
    JOB: _job,
    CRON_JOB: _cron_job,
    POD: _pod,
    EVENT: _event,
    CUSTOM_RESOURCE_DEFINITION: _definition,
}
