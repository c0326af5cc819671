"""Where kinds live in the API: group, version and plural, and the paths made of them."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from msgspec import Struct


class Resource(Struct, frozen=True):
    """One kind's place in the API."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    custom: bool = False
    """A setting named it: another group can have its plural too."""

    @property
    def id(self) -> str:
        """What it is called in logs and metrics."""
        return f"{self.plural}.{self.group}" if self.custom else self.plural

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None, **query: object) -> str:
        """The URL path of one object, of a namespace's collection, or (without a namespace) of all.

        `query` becomes the query string; None leaves a parameter out, True and False are written as the
        API writes them.
        """
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        middle = f"/namespaces/{quote(namespace, safe='')}" if namespace and self.namespaced else ""
        tail = f"/{quote(name, safe='')}" if name else ""
        pairs = {
            k: (str(v).lower() if isinstance(v, bool) else str(v)) for k, v in query.items() if v is not None
        }
        return f"{root}{middle}/{self.plural}{tail}" + (f"?{urlencode(pairs)}" if pairs else "")


CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
SECRETS = Resource("", "v1", "secrets", "Secret")
PODS = Resource("", "v1", "pods", "Pod")
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
EVENTS = Resource("events.k8s.io", "v1", "events", "Event")
REPLICA_SETS = Resource("apps", "v1", "replicasets", "ReplicaSet")
