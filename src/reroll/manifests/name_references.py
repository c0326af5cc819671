"""Where objects name other objects, and the names there when those are renamed.

The table is what kustomize rewrites (namereference.go of its v5), no more and no less, so that the outputs are equal;
`configurations` add to it. What Kubernetes reads beyond that is in `hash_names`, which knows the whole of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from reroll.manifests.names import Gvk, Resource
from reroll.manifests.yaml_text import Path

Fields = tuple[str, ...]
"""A way through mappings; a list on the way means each of its items."""


class Ambiguous(Exception):
    """A name that could be that of several objects."""


class Place(NamedTuple):
    """A field of one kind that names objects of another."""

    target: Gvk
    referrer: Gvk
    fields: Fields


def _fields(text: str) -> Fields:
    return tuple(text.split("/"))


_WITH_PODS: Final = {
    "Pod": "spec/",
    "PodTemplate": "template/spec/",
    "Deployment": "spec/template/spec/",
    "ReplicaSet": "spec/template/spec/",
    "DaemonSet": "spec/template/spec/",
    "StatefulSet": "spec/template/spec/",
    "Job": "spec/template/spec/",
    "CronJob": "spec/jobTemplate/spec/template/spec/",
}
"""The kinds whose pods are looked into, with the way to the pod's spec."""
_CONFIG_MAP_IN_PODS: Final = (
    "volumes/configMap/name",
    "containers/env/valueFrom/configMapKeyRef/name",
    "initContainers/env/valueFrom/configMapKeyRef/name",
    "containers/envFrom/configMapRef/name",
    "initContainers/envFrom/configMapRef/name",
    "volumes/projected/sources/configMap/name",
)
_SECRET_IN_PODS: Final = (
    "volumes/secret/secretName",
    "containers/env/valueFrom/secretKeyRef/name",
    "initContainers/env/valueFrom/secretKeyRef/name",
    "containers/envFrom/secretRef/name",
    "initContainers/envFrom/secretRef/name",
    "imagePullSecrets/name",
    "volumes/projected/sources/secret/name",
)
_OTHERS_IN_PODS: Final = {
    "Pod": "spec/",
    "StatefulSet": "spec/template/spec/",
    "Deployment": "spec/template/spec/",
    "ReplicationController": "spec/template/spec/",
    "CronJob": "spec/jobTemplate/spec/template/spec/",
    "Job": "spec/template/spec/",
    "DaemonSet": "spec/template/spec/",
}
_INGRESS: Final = ("metadata", "annotations")

CONFIG_MAP: Final = Gvk("", "v1", "ConfigMap")
SECRET: Final = Gvk("", "v1", "Secret")


def _places() -> Iterator[Place]:
    def each(target: Gvk, kind: str | Gvk, *ways: str) -> Iterator[Place]:
        referrer = kind if isinstance(kind, Gvk) else Gvk(kind=kind)
        for way in ways:
            yield Place(target, referrer, _fields(way))

    rbac = "rbac.authorization.k8s.io"
    yield from each(Gvk("storage.k8s.io", "v1", "StorageClass"), "PersistentVolume", "spec/storageClassName")
    yield from each(
        Gvk("storage.k8s.io", "v1", "StorageClass"), "PersistentVolumeClaim", "spec/storageClassName"
    )
    yield from each(
        Gvk("storage.k8s.io", "v1", "StorageClass"),
        "StatefulSet",
        "spec/volumeClaimTemplates/spec/storageClassName",
    )
    account = Gvk("", "v1", "ServiceAccount")
    for kind in ("RoleBinding", "ClusterRoleBinding"):
        yield from each(account, Gvk(rbac, "", kind), "subjects")
    for kind, spec in _OTHERS_IN_PODS.items():
        yield from each(account, kind, f"{spec}serviceAccountName")
    yield from each(Gvk(rbac, "", "Role"), Gvk(rbac, "", "RoleBinding"), "roleRef/name")
    for kind in ("RoleBinding", "ClusterRoleBinding"):
        yield from each(Gvk(rbac, "", "ClusterRole"), Gvk(rbac, "", kind), "roleRef/name")
    for target, ways in ((CONFIG_MAP, _CONFIG_MAP_IN_PODS), (SECRET, _SECRET_IN_PODS)):
        for kind, spec in _WITH_PODS.items():
            referrer = Gvk("", "v1" if kind == "Pod" else "", kind)
            yield from each(target, referrer, *(f"{spec}{way}" for way in ways))
        for kind in ("Role", "ClusterRole"):
            yield from each(target, kind, "rules/resourceNames")
    yield from each(CONFIG_MAP, "Node", "spec/configSource/configMap")
    yield Place(
        CONFIG_MAP,
        Gvk(kind="Ingress"),
        (*_INGRESS, "nginx.ingress.kubernetes.io/fastcgi-params-configmap"),
    )
    yield from each(SECRET, "Ingress", "spec/tls/secretName")
    for annotation in (
        "ingress.kubernetes.io/auth-secret",
        "nginx.ingress.kubernetes.io/auth-secret",
        "nginx.ingress.kubernetes.io/auth-tls-secret",
    ):
        yield Place(SECRET, Gvk(kind="Ingress"), (*_INGRESS, annotation))
    yield from each(SECRET, "ServiceAccount", "imagePullSecrets/name")
    for parameter in ("secretName", "adminSecretName", "userSecretName", "secretRef"):
        yield from each(SECRET, "StorageClass", f"parameters/{parameter}")
    yield from each(
        SECRET,
        Gvk("serving.knative.dev", "v1", "Service"),
        "spec/template/spec/containers/env/valueFrom/secretKeyRef/name",
    )
    yield from each(SECRET, "PersistentVolume", "spec/azureFile/secretName")
    service = Gvk("", "v1", "Service")
    yield from each(service, Gvk("apps", "", "StatefulSet"), "spec/serviceName")
    yield from each(
        service,
        "Ingress",
        "spec/rules/http/paths/backend/serviceName",
        "spec/backend/serviceName",
        "spec/rules/http/paths/backend/service/name",
        "spec/defaultBackend/service/name",
    )
    yield from each(service, Gvk("apiregistration.k8s.io", "", "APIService"), "spec/service/name")
    for kind in ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"):
        yield from each(
            service, Gvk("admissionregistration.k8s.io", "", kind), "webhooks/clientConfig/service"
        )
    for kind, spec in _OTHERS_IN_PODS.items():
        yield from each(Gvk("scheduling.k8s.io", "v1", "PriorityClass"), kind, f"{spec}priorityClassName")
    volume = Gvk("", "v1", "PersistentVolume")
    yield from each(volume, "PersistentVolumeClaim", "spec/volumeName")
    yield from each(volume, "ClusterRole", "rules/resourceNames")
    for kind, spec in _OTHERS_IN_PODS.items():
        yield from each(
            Gvk("", "v1", "PersistentVolumeClaim"), kind, f"{spec}volumes/persistentVolumeClaim/claimName"
        )
    for kind in ("Deployment", "StatefulSet", "ReplicaSet", "ReplicationController"):
        yield from each(Gvk(kind=kind), "HorizontalPodAutoscaler", "spec/scaleTargetRef/name")
    yield from each(Gvk("networking.k8s.io/v1", "v1", "IngressClass"), "Ingress", "spec/ingressClassName")
    policies = "admissionregistration.k8s.io"
    yield from each(
        Gvk(policies, "", "ValidatingAdmissionPolicy"),
        Gvk(policies, "", "ValidatingAdmissionPolicyBinding"),
        "spec/policyName",
    )


PLACES: Final = tuple(dict.fromkeys(_places()))


def split_path(path: str) -> Fields:
    """The fields of a path as `configurations` write it, ``a/b/c``; ``\\/`` is a slash inside of a field's name."""
    parts = path.removeprefix("/").replace("\\/", "\0").split("/")
    return tuple(part.replace("\0", "/").removesuffix("[]") for part in parts)


def found_at(value: object, fields: Fields, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every (path, value) that a way of fields leads to; what is null or not there is left out."""
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from found_at(item, fields, (*path, number))
    elif not fields:
        if value is not None:
            yield path, value
    elif isinstance(value, dict) and fields[0] in value:
        yield from found_at(value[fields[0]], fields[1:], (*path, fields[0]))


def set_at(value: Any, path: Path, new: object) -> None:
    """Put `new` where `path` leads, which is there."""
    for step in path[:-1]:
        value = value[step]
    value[path[-1]] = new


def fix_references(resources: Sequence[Resource], places: Iterable[Place] = PLACES) -> None:
    """Write the present names of `resources` wherever one of them names another by a former name.

    Raises Ambiguous where a name could mean several.
    """
    by_kind: dict[str, list[Place]] = {}
    for place in places:
        by_kind.setdefault(place.referrer.kind, []).append(place)
    anywhere = by_kind.pop("", [])
    named: dict[str, list[Resource]] = {}
    for resource in resources:
        for name in dict.fromkeys(each.name for each in resource.previous):
            named.setdefault(name, []).append(resource)
    if not named:
        return
    for resource in resources:
        gvk = resource.original.gvk
        for place in (*by_kind.get(gvk.kind, ()), *anywhere):
            if place.referrer.selects(gvk):
                for path, value in list(found_at(resource.value, place.fields)):
                    _fix(resource, place, path, value, named)


def _fix(
    referrer: Resource, place: Place, path: Path, value: Any, named: Mapping[str, list[Resource]]
) -> None:
    if isinstance(value, dict):
        name = value.get("name")
        if not isinstance(name, str):
            return
        candidates = named.get(name, ())
        if "namespace" in value:
            namespace = value["namespace"]
            before = [one for one in candidates if one.original.namespace == namespace]
            candidates = before or [one for one in candidates if one.id.namespace == namespace]
        target = _target(referrer, place, candidates, path, with_namespace=True)
        if target is not None and (target.name != name or target.namespace):
            value["name"] = target.name
            if target.namespace:
                value["namespace"] = target.namespace
    elif isinstance(value, str):
        target = _target(referrer, place, named.get(value, ()), path, with_namespace=False)
        if target is not None and target.name != value:
            set_at(referrer.value, path, target.name)


def _target(
    referrer: Resource, place: Place, candidates: Sequence[Resource], path: Path, *, with_namespace: bool
) -> Resource | None:
    """The object that is meant, of those that had this name."""
    if not candidates:
        return None
    found = [one for one in candidates if any(place.target.selects(was.gvk) for was in one.previous)]
    if place.fields[-2:] == ("roleRef", "name"):
        found = [one for one in found if _is_role(referrer, one)]
    found = [one for one in found if _within_reach(referrer, one)]
    if len(found) > 1:
        found = [one for one in found if one.alike(referrer, either_empty=True)]
        if len(found) > 1:
            found = [one for one in found if one.alike(referrer, either_empty=False)]
    if len(found) > 1 and len({(one.name, one.namespace if with_namespace else "") for one in found}) > 1:
        shown = ", ".join(f"{one.gvk.kind}/{one.name} ({one.where})" for one in found)
        raise Ambiguous(
            f"{referrer.where}: {referrer.gvk.kind}/{referrer.name}: {'.'.join(map(str, path))} could name several "
            f"objects: {shown}"
        )
    return found[0] if found else None


def _is_role(referrer: Resource, candidate: Resource) -> bool:
    role = referrer.value.get("roleRef")
    if not isinstance(role, dict) or "apiGroup" not in role or "kind" not in role:
        return True
    wanted = Gvk(str(role["apiGroup"] or ""), "", str(role["kind"] or ""))
    return any(wanted.selects(was.gvk) for was in candidate.previous)


def _within_reach(referrer: Resource, candidate: Resource) -> bool:
    if referrer.cluster_scoped or candidate.cluster_scoped:
        return True
    if referrer.id.namespace == candidate.id.namespace:
        return True
    if candidate.gvk.kind != "ServiceAccount" or referrer.gvk.kind != "RoleBinding":
        return False
    subjects = referrer.value.get("subjects")
    return isinstance(subjects, list) and any(
        isinstance(one, dict)
        and one.get("kind") == "ServiceAccount"
        and one.get("namespace") == candidate.namespace
        for one in subjects
    )
