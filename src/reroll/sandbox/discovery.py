"""What the API says of itself: discovery, plain and aggregated, and OpenAPI as far as kubectl asks for it.

Sources: https://kubernetes.io/docs/concepts/overview/kubernetes-api/ (discovery, OpenAPI); KEP-3352 (aggregated
discovery). kubectl looks into OpenAPI for one thing before it creates or applies: whether the server itself
validates fields, and where it does, takes its own knowledge of the built-in kinds for merging.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, TypeAlias

from reroll import __version__
from reroll.sandbox.served import Catalog, Served

Json: TypeAlias = dict[str, Any]

KUBERNETES: Final = ("1", "36", "3")
"""The version whose behaviour is played: that of the project's control plane for tests."""

OPENAPI_V2_PROTOBUF: Final = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"

_VERBS: Final = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
_SUBRESOURCE_VERBS: Final = ["get", "patch", "update"]
_REVIEWS: Final = ("authorization.k8s.io", "v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews")
"""A question that the sandbox answers with yes, and keeps no object of."""


def version() -> Json:
    """The answer of /version."""
    major, minor, patch = KUBERNETES
    return {
        "major": major,
        "minor": minor,
        "gitVersion": f"v{major}.{minor}.{patch}+reroll-sandbox-{__version__}",
        "gitCommit": "",
        "gitTreeState": "",
        "buildDate": "",
        "goVersion": "",
        "compiler": "",
        "platform": "",
    }


def _groups(catalog: Catalog) -> dict[str, dict[str, list[Served]]]:
    """Group, version, what is served there."""
    groups: dict[str, dict[str, list[Served]]] = {"": {"v1": []}, "authorization.k8s.io": {"v1": []}}
    for served in catalog.all():
        groups.setdefault(served.group, {}).setdefault(served.version, []).append(served)
    return groups


def api_versions() -> Json:
    """The answer of /api."""
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def api_group_list(catalog: Catalog) -> Json:
    """The answer of /apis."""
    groups = [api_group(catalog, name) for name in _groups(catalog) if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def api_group(catalog: Catalog, name: str) -> Json | None:
    """The answer of /apis/GROUP, None where there is no such group."""
    versions = _groups(catalog).get(name)
    if versions is None or not name:
        return None
    told = [{"groupVersion": f"{name}/{each}", "version": each} for each in versions]
    return {
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": name,
        "versions": told,
        "preferredVersion": told[0],
    }


def resource_list(catalog: Catalog, group: str, version: str) -> Json | None:
    """The answer of /apis/GROUP/VERSION, None where there is none."""
    served = _groups(catalog).get(group, {}).get(version)
    if served is None:
        return None
    resources: list[Json] = []
    for each in served:
        kind = each.kind
        entry = {
            "name": kind.plural,
            "singularName": kind.singular,
            "namespaced": kind.namespaced,
            "kind": kind.kind,
            "verbs": _VERBS,
            "shortNames": list(kind.short_names),
            "categories": list(kind.categories),
        }
        resources.append({key: value for key, value in entry.items() if value or key == "namespaced"})
        for name, scale in _subresources(each):
            told: Json = {"name": f"{kind.plural}/{name}", "singularName": "", "namespaced": kind.namespaced}
            told |= (
                {"group": "autoscaling", "version": "v1", "kind": "Scale"} if scale else {"kind": kind.kind}
            )
            resources.append(told | {"verbs": _SUBRESOURCE_VERBS})
    if (group, version) == _REVIEWS[:2]:
        name, kind_name = _REVIEWS[3], _REVIEWS[2]
        review = {"name": name, "singularName": kind_name.lower(), "namespaced": False, "kind": kind_name}
        resources.append(review | {"verbs": ["create"]})
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{group}/{version}" if group else version,
        "resources": resources,
    }


def _subresources(served: Served) -> list[tuple[str, bool]]:
    """(name, whether it is a Scale) of each."""
    kind = served.kind
    return [(name, name == "scale") for name, has in (("scale", kind.scale), ("status", kind.status)) if has]


def aggregated(catalog: Catalog, version: str, *, core: bool) -> Json:
    """All of /api or all of /apis in one answer, in `version` v2 or v2beta1."""
    items = [
        {
            "metadata": {"name": group, "creationTimestamp": None} if group else {"creationTimestamp": None},
            "versions": [
                {"version": name, "resources": _discovered(catalog, group, name), "freshness": "Current"}
                for name in versions
            ],
        }
        for group, versions in _groups(catalog).items()
        if (not group) is core
    ]
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"apidiscovery.k8s.io/{version}",
        "metadata": {},
        "items": items,
    }


def _discovered(catalog: Catalog, group: str, version: str) -> list[Json]:
    found = resource_list(catalog, group, version) or {"resources": []}
    resources: dict[str, Json] = {}
    for each in found["resources"]:
        name, _, subresource = each["name"].partition("/")
        response = {
            "group": each.get("group", group),
            "version": each.get("version", version),
            "kind": each["kind"],
        }
        if subresource:
            entry = {"subresource": subresource, "responseKind": response, "verbs": each["verbs"]}
            resources[name].setdefault("subresources", []).append(entry)
            continue
        resources[name] = {
            "resource": name,
            "responseKind": response,
            "scope": "Namespaced" if each["namespaced"] else "Cluster",
            "singularResource": each["singularName"],
            "verbs": each["verbs"],
        }
        for field in ("shortNames", "categories"):
            if field in each:
                resources[name][field] = each[field]
    return list(resources.values())


# --- OpenAPI -----------------------------------------------------------------------------------------


def openapi_index(catalog: Catalog) -> Json:
    """The answer of /openapi/v3: where the document of each group and version is."""
    roots = (
        f"apis/{group}/{version}" if group else f"api/{version}"
        for group, versions in _groups(catalog).items()
        for version in versions
    )
    url = f"?hash={catalog.version}"
    return {"paths": {root: {"serverRelativeURL": f"/openapi/v3/{root}{url}"} for root in roots}}


def openapi(catalog: Catalog, group: str, version: str) -> Json | None:
    """The document of one group and version: its paths and what their writes take. No schemas: what fields a kind
    has is the server's to check."""
    served = _groups(catalog).get(group, {}).get(version)
    if served is None:
        return None
    paths: Json = {}
    for each in served:
        root = f"/apis/{group}/{version}" if group else f"/api/{version}"
        collection = f"{root}/namespaces/{{namespace}}" if each.kind.namespaced else root
        collection += f"/{each.kind.plural}"
        paths[collection] = {"post": _operation(each, "post")}
        paths[f"{collection}/{{name}}"] = {verb: _operation(each, verb) for verb in ("get", "put", "patch")}
    info = {"title": "Kubernetes", "version": version}
    return {"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": {}}}


def _operation(served: Served, verb: str) -> Json:
    names: Iterable[str] = () if verb == "get" else ("dryRun", "fieldManager", "fieldValidation")
    identity = {"group": served.group, "version": served.version, "kind": served.kind.kind}
    return {
        "parameters": [{"name": name, "in": "query", "schema": {"type": "string"}} for name in names],
        "responses": {"200": {"description": "OK"}},
        "x-kubernetes-action": verb,
        "x-kubernetes-group-version-kind": identity,
    }
