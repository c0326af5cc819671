"""The way to the API server from inside a pod: its service account.

Source: https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from reroll.kube.config_error import ConfigError
from reroll.kube.tls import Pem, read_file

DIRECTORY: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
"""Where the kubelet puts the token, the authority and the namespace."""


class ServiceAccount(Struct, frozen=True):
    """What a pod knows of its API server and of itself."""

    server: str
    namespace: str
    token_path: str
    ca: Pem


def why_not_in_cluster(directory: str, environ: Mapping[str, str]) -> str | None:
    """None in a pod with a service account; else, for people, what is missing."""
    for name in ("KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"):
        if not environ.get(name):
            return f"this is not a pod ({name} is not set)"
    token = os.path.join(directory, "token")
    if not os.path.isfile(token):
        return (
            f"this pod has no service account token ({token} does not exist;"
            " is automountServiceAccountToken false?)"
        )
    return None


def read_service_account(directory: str, environ: Mapping[str, str]) -> ServiceAccount:
    """Of the pod that this process runs in, where `why_not_in_cluster` says None.

    Namespace as in client-go: POD_NAMESPACE (set by the downward API), else the mounted file.
    Raises ConfigError for a port that is none, or an unreadable namespace.
    """
    host, port = environ["KUBERNETES_SERVICE_HOST"], environ["KUBERNETES_SERVICE_PORT"]
    if not (port.isascii() and port.isdecimal() and len(port) < 6 and 0 < int(port) < 65536):
        raise ConfigError(f'environment variable KUBERNETES_SERVICE_PORT: "{port}" is not a port')
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    namespace = environ.get("POD_NAMESPACE", "").strip()
    path = os.path.join(directory, "namespace")
    if not namespace and os.path.exists(path):
        raw = read_file("namespace of the service account", path)
        namespace = raw.decode("utf-8", errors="replace").strip()
    return ServiceAccount(
        server=f"https://{host}:{port}",
        namespace=namespace or "default",
        token_path=os.path.join(directory, "token"),
        ca=Pem("certificate authority of the service account", path=os.path.join(directory, "ca.crt")),
    )
