"""What `kustomize build` makes of a kustomization with generators, made without kustomize, and equal to it.

In kustomize's order: of each folder, bases and resources, then generators, then namespace, prefix and suffix; at the
very end, once for all, hashes are put to names and references are rewritten.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from reroll.core.suffix_hash import suffix_hash
from reroll.manifests.generators import absorb, generated
from reroll.manifests.go_yaml import dump
from reroll.manifests.kustomization import (
    Kustomization,
    SortOptions,
    read_kustomization,
    read_name_references,
)
from reroll.manifests.name_references import (
    PLACES,
    Ambiguous,
    Place,
    fix_references,
    found_at,
    set_at,
)
from reroll.manifests.names import Gvk, Id, Resource
from reroll.manifests.problem import ManifestError
from reroll.manifests.resource_files import Folder, read_resources

_LOCAL: Final = "config.kubernetes.io/local-config"
"""An annotation of objects that are input to tools only, and are not written."""

# fmt: off
_FIRST: Final = (
    "Namespace", "ResourceQuota", "StorageClass", "CustomResourceDefinition", "ServiceAccount", "PodSecurityPolicy",
    "Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding", "ConfigMap", "Secret", "Endpoints", "Service",
    "LimitRange", "PriorityClass", "PersistentVolume", "PersistentVolumeClaim", "Deployment", "StatefulSet", "CronJob",
    "PodDisruptionBudget",
)
# fmt: on
_LAST: Final = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
_SERVICE_OF_CRD: Final = ("spec", "conversion", "webhook", "clientConfig", "service", "namespace")


def build(path: Path) -> list[Resource]:
    """The objects of the kustomization in a folder, in the order in which they are written. Raises ManifestError."""
    builder = _Builder()
    resources = builder.folder(Folder(path), ())
    for resource in resources:
        if resource.hashed:
            resource.remember()
            resource.metadata["name"] = f"{resource.name}-{suffix_hash(resource.value)}"
    try:
        fix_references(resources, dict.fromkeys((*PLACES, *builder.places)))
    except Ambiguous as error:
        raise ManifestError(str(path), 0, 0, str(error)) from None
    kept = [
        one for one in resources if (one.metadata.get("annotations") or {}).get(_LOCAL, "false") == "false"
    ]
    return in_order(kept, builder.sort)


def as_yaml(resources: Sequence[Resource]) -> str:
    """The stream of documents, as kustomize writes it. Raises ManifestError."""
    texts: list[str] = []
    for resource in resources:
        try:
            texts.append(dump(resource.value))
        except ValueError as error:
            raise ManifestError(
                resource.where, 0, 0, f"{resource.gvk.kind}/{resource.name}: {error}"
            ) from None
    return "---\n".join(texts)


class _Builder:
    """Builds folders, a folder after its bases."""

    def __init__(self) -> None:
        self.places: list[Place] = []
        self.sort: SortOptions | None = None

    def folder(self, folder: Folder, above: tuple[Path, ...]) -> list[Resource]:
        """The objects of a folder, without hashes. `above` are the folders that it is a base of."""
        if folder.path in above:
            raise ManifestError(folder.shown, 0, 0, "is a base of itself")
        kustomization = read_kustomization(folder)
        resources: list[Resource] = []
        known: dict[Id, Resource] = {}
        for file in kustomization.resources:
            for one in self._resources(folder, file, (*above, folder.path), kustomization):
                if (other := known.get(one.id)) is not None:
                    raise ManifestError(
                        one.where, 0, 0, f"{one.gvk.kind} {one.name} is there already, in {other.where}"
                    )
                known[one.id] = one
                resources.append(one)
        for file in kustomization.configurations:
            self.places += read_name_references(folder, file)
        _generate(resources, kustomization, folder)
        if kustomization.namespace:
            for resource in resources:
                resource.remember()
                _put_in(resource, kustomization.namespace)
            _all_distinct(resources, kustomization)
        _name(resources, kustomization)
        if not above:
            self.sort = kustomization.sort
        return resources

    def _resources(
        self, folder: Folder, file: str, above: tuple[Path, ...], kustomization: Kustomization
    ) -> list[Resource]:
        if "://" in file or file.startswith(("github.com/", "git@", "git::")):
            raise ManifestError(
                kustomization.file, 0, 0, f"{file} is not on this machine: build this with kustomize"
            )
        if folder.is_folder(file):
            base = Folder(folder.path / file)
            base.shown = folder.name_of(file)
            return self.folder(base, above)
        return read_resources(folder.read(file), folder.name_of(file))


def _generate(resources: list[Resource], kustomization: Kustomization, folder: Folder) -> None:
    """Put what the generators make to the resources. Nearly all of it is new, so names are looked up, not searched."""
    known = {each for resource in resources for each in (*resource.previous, resource.id)}
    for generator in kustomization.generators:
        made = generated(generator, folder)
        if made.id in known or made.behavior in ("merge", "replace"):
            absorb(resources, made)
        else:
            resources.append(made)
        known.add(made.id)


def _name(resources: Sequence[Resource], kustomization: Kustomization) -> None:
    for added, before in ((kustomization.prefix, True), (kustomization.suffix, False)):
        if not added:
            continue
        for resource in resources:
            if _keeps_name(resource.original.gvk):
                continue
            (resource.prefixes if before else resource.suffixes).append(added)
            resource.remember()
            resource.metadata["name"] = f"{added}{resource.name}" if before else f"{resource.name}{added}"


def _keeps_name(gvk: Gvk) -> bool:
    """What is called after something else, or is that by which others are found."""
    return gvk.kind in ("CustomResourceDefinition", "Namespace") or (
        gvk.group == "apiregistration.k8s.io" and gvk.kind == "APIService"
    )


def _put_in(resource: Resource, namespace: str) -> None:
    """Put an object in a namespace, and what names namespaces in it."""
    gvk, value = resource.gvk, resource.value
    if not resource.cluster_scoped:
        resource.metadata["namespace"] = namespace
    if gvk.kind in ("RoleBinding", "ClusterRoleBinding"):
        subjects = value.get("subjects")
        for subject in subjects if isinstance(subjects, list) else ():
            if isinstance(subject, dict) and subject.get("name") == "default":
                subject["namespace"] = namespace
    elif gvk.kind == "Namespace" and value["apiVersion"] == "v1":
        resource.metadata["name"] = namespace
    elif gvk.group == "apiregistration.k8s.io" and gvk.kind == "APIService":
        spec: Any = value.setdefault("spec", {})
        if isinstance(spec, dict) and isinstance(service := spec.setdefault("service", {}), dict):
            service["namespace"] = namespace
    elif gvk.group == "apiextensions.k8s.io" and gvk.kind == "CustomResourceDefinition":
        for path, _ in list(found_at(value, _SERVICE_OF_CRD)):
            set_at(value, path, namespace)


def _all_distinct(resources: Sequence[Resource], kustomization: Kustomization) -> None:
    known: dict[Id, Resource] = {}
    for resource in resources:
        other = known.setdefault(resource.id, resource)
        if other is not resource:
            twice = f"{resource.gvk.kind} {resource.name} twice, from {other.where} and {resource.where}"
            where = f"in namespace {kustomization.namespace}"
            raise ManifestError(kustomization.file, 0, 0, f"{where} there would be {twice}")


def in_order(resources: Sequence[Resource], sort: SortOptions | None) -> list[Resource]:
    """As kustomize writes them: by kind, what others need first, unless the kustomization says otherwise."""
    if sort is not None and not sort.by_kind:
        return list(resources)
    first: tuple[str, ...] = _FIRST
    last: tuple[str, ...] = _LAST
    if sort is not None and sort.first is not None:
        first, last = sort.first, sort.last or ()
    places = {kind: number - len(first) for number, kind in enumerate(first)}
    places |= {kind: number + 1 for number, kind in enumerate(last)}

    def place(resource: Resource) -> tuple[int, str, str]:
        group, version, kind = resource.gvk
        return (
            places.get(kind, 0),
            f"{group or '~G'}_{version or '~V'}_{kind}",
            f"{resource.namespace or '~X'}|{resource.name or '~N'}",
        )

    return sorted(resources, key=place)
