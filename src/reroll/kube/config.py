"""Which API server to speak to, and as whom: from a kubeconfig, or from the service account of this pod.

`load_config` is called once at the start and checks all it can without asking the server, so that a wrong
field is named at once and not as a refused request later. What can be rotated (tokens, certificates) is read
again while the process runs: see `reroll.kube.auth` and `reroll.kube.tls`.
"""

from __future__ import annotations

import base64
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from reroll.kube.auth import (
    Authorizer,
    Credentials,
    Fixed,
    TokenFile,
    UserCredentials,
    basic_authorization,
    checked_header_value,
    checked_token,
    impersonation_headers,
)
from reroll.kube.config_error import ConfigError
from reroll.kube.exec_plugin import CLUSTER_EXTENSION, ExecPlugin
from reroll.kube.kubeconfig import Cluster, Context, Entry, Kubeconfig, User, read_kubeconfig
from reroll.kube.proxy import choose_proxy, is_loopback
from reroll.kube.service_account import DIRECTORY, read_service_account, why_not_in_cluster
from reroll.kube.tls import Pem, Tls

__all__ = ["ClusterConfig", "ConfigError", "Credentials", "load_config"]


def _nobody() -> Credentials:
    return UserCredentials(Fixed())


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterConfig:
    """One API server and who we are to it. Its repr holds no credentials."""

    server: str
    """``https://host:port`` without a slash at the end; may hold a path prefix."""
    namespace: str = "default"
    """Of the context or the service account."""
    credentials: Credentials = field(default_factory=_nobody, repr=False)
    proxy: str | None = field(default=None, repr=False)
    """URL of an HTTP proxy; may hold its password."""
    tls_server_name: str | None = None
    """The name to expect in the server's certificate, where it is not the host of `server`."""
    origin: str = ""
    """For people, such as ``context dev of /home/x/.kube/config``."""
    in_cluster: bool = False
    tls: Tls | None = None
    """None: http, or https with the system's authorities and no client certificate."""

    def ssl_context(self) -> ssl.SSLContext | None:
        """A new context with the certificates of now; None for http.

        Make new connections with a new one when `credentials.certificate_generation` grew.
        """
        if not self.server.startswith("https://"):
            return None
        return (self.tls or Tls()).ssl_context()


def load_config(
    *,
    kubeconfig: str | None = None,
    context: str | None = None,
    server: str | None = None,
    token: str | None = None,
    impersonate_user: str | None = None,
    environ: Mapping[str, str] = os.environ,
    service_account_directory: str = DIRECTORY,
) -> ClusterConfig:
    """Find the API server as kubectl does, and check everything about the way to it.

    In this order: the file `kubeconfig`; the files of KUBECONFIG, or ``~/.kube/config``, where they have a
    current context (or `context` is given); a `server` given alone; the service account of this pod.

    `server` replaces the context's server and, with it, its tls-server-name; `token` replaces every other way
    to authenticate, client certificates included (an API server would believe those first);
    `impersonate_user` replaces all that the kubeconfig says about impersonation.

    Raises ConfigError.
    """
    given = _Given(
        server=server or "", token=token or "", impersonate=impersonate_user or "", environ=environ
    )
    explicit = bool(kubeconfig)
    paths = [os.path.expanduser(kubeconfig)] if kubeconfig else _default_paths(environ)
    files = read_kubeconfig(paths, must_exist=explicit)
    if context or files.current_context:
        return _from_context(files, _chosen_context(files, context), given)
    if given.server:
        return _connect(given, given.server, "--server", Cluster(), None, None, "--server")
    not_in_cluster = why_not_in_cluster(service_account_directory, environ)
    if not_in_cluster is None and not explicit:
        return _in_cluster(service_account_directory, given)
    raise ConfigError(_nothing_usable(files, not_in_cluster if not explicit else None, environ))


@dataclass(frozen=True, slots=True)
class _Given:
    """What the command line says over the files; empty where it does not."""

    server: str
    token: str = field(repr=False)
    impersonate: str
    environ: Mapping[str, str] = field(repr=False)


def _default_paths(environ: Mapping[str, str]) -> list[str]:
    if listed := [path for path in environ.get("KUBECONFIG", "").split(os.pathsep) if path]:
        return listed
    home = environ.get("HOME") or os.path.expanduser("~")
    return [os.path.join(home, ".kube", "config")]


def _nothing_usable(files: Kubeconfig, not_in_cluster: str | None, environ: Mapping[str, str]) -> str:
    """What was looked for and what to do."""
    if files.contexts:
        return (
            f"{_join(files.files)}: current-context: not set; choose one with --context or"
            f" `kubectl config use-context`; known: {_known(files.contexts)}"
        )
    looked = [] if environ.get("KUBECONFIG") or not_in_cluster is None else ["KUBECONFIG is not set"]
    looked += [f"{path} does not exist" for path in files.missing]
    looked += [f"{path} holds no contexts" for path in files.files]
    if not_in_cluster is not None:
        looked.append(not_in_cluster)
    return (
        f"no Kubernetes cluster is configured: {'; '.join(looked)}. Name a kubeconfig file with --kubeconfig or"
        " KUBECONFIG, or run in a pod that has a service account"
    )


# --- from a kubeconfig -----------------------------------------------------------------------------


def _chosen_context(files: Kubeconfig, asked: str | None) -> Entry[Context]:
    name = asked or files.current_context
    entry = files.contexts.get(name)
    if entry is not None:
        return entry
    known = f"known: {_known(files.contexts)}"
    if asked is None:
        raise ConfigError(
            f'{files.current_context_file}: current-context: no context named "{name}"; {known}'
        )
    if not files.files:
        raise ConfigError(f'no context named "{name}": {_join(files.missing)} does not exist')
    raise ConfigError(f'{_join(files.files)}: no context named "{name}"; {known}')


def _from_context(files: Kubeconfig, chosen: Entry[Context], given: _Given) -> ClusterConfig:
    cluster = _named(files.clusters, chosen, "cluster", chosen.value.cluster)
    user = _named(files.users, chosen, "user", chosen.value.user) if chosen.value.user else None
    return _connect(
        given,
        given.server or cluster.value.server,
        "--server" if given.server else cluster.at("server"),
        cluster.value,
        cluster,
        user,
        f"context {chosen.name} of {chosen.file}",
        chosen.value.namespace or "default",
    )


def _named(entries: dict[str, Any], chosen: Entry[Context], what: str, name: str) -> Any:
    if not name:
        raise ConfigError(f"{chosen.at(what)}: missing; name one of: {_known(entries)}")
    if name not in entries:
        raise ConfigError(f'{chosen.at(what)}: no {what} named "{name}"; known: {_known(entries)}')
    return entries[name]


def _connect(
    given: _Given,
    written_server: str,
    server_at: str,
    cluster: Cluster,
    cluster_entry: Entry[Cluster] | None,
    user: Entry[User] | None,
    origin: str,
    namespace: str = "default",
) -> ClusterConfig:
    """Put together what the files and the command line say."""
    secure_by_fields = bool(
        cluster.certificate_authority
        or cluster.certificate_authority_data
        or cluster.insecure_skip_tls_verify
    )
    server = _checked_server(written_server, server_at, secure_by_fields)
    https = server.startswith("https://")
    proxy = choose_proxy(
        server, cluster.proxy_url, cluster_entry.at("proxy-url") if cluster_entry else "", given.environ
    )
    tls = _tls(cluster_entry, user if not given.token else None) if https else None
    if https or is_loopback(urlsplit(server).hostname or ""):
        info = _cluster_info(server, cluster, tls)
        authorizer = _authorizer(user, given, info, tls)
    else:
        # As kubectl: nothing secret goes over a network in the clear.
        authorizer = Fixed()
    return ClusterConfig(
        server=server,
        namespace=namespace,
        credentials=UserCredentials(authorizer, impersonation=_impersonation(user, given), tls=tls),
        proxy=proxy,
        tls_server_name=(cluster.tls_server_name or None) if https and not given.server else None,
        origin=origin,
        tls=tls,
    )


def _checked_server(written: str, where: str, secure_by_fields: bool) -> str:
    """The server's URL in its one form. Without a scheme it is https where a field about TLS is set, else
    http, as in client-go."""
    if not written:
        raise ConfigError(f"{where}: missing; write the URL of the API server, such as https://HOST:6443")
    url = written if "://" in written else f"{'https' if secure_by_fields else 'http'}://{written}"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"{where}: not a URL: {error}") from None
    if parts.username is not None or parts.password is not None:
        raise ConfigError(f"{where}: holds a user name or password; those belong to an entry of users")
    if parts.scheme not in ("http", "https") or not host or " " in url:
        raise ConfigError(f'{where}: "{written}" is not a URL such as https://HOST:6443')
    if parts.query or parts.fragment:
        raise ConfigError(f'{where}: "{written}" has a part after its path; leave out what follows ? or #')
    return url.rstrip("/?#")


def _tls(cluster: Entry[Cluster] | None, user: Entry[User] | None) -> Tls:
    ca = None
    insecure = False
    if cluster is not None:
        value = cluster.value
        ca = _pem(
            cluster, "certificate-authority", value.certificate_authority, value.certificate_authority_data
        )
        insecure = value.insecure_skip_tls_verify
        if ca is not None and insecure:
            raise ConfigError(
                f"{cluster.at('insecure-skip-tls-verify')}: set together with a certificate-authority;"
                " remove one of them"
            )
    if user is None:
        return Tls(ca=ca, insecure=insecure)
    certificate = _pem(
        user, "client-certificate", user.value.client_certificate, user.value.client_certificate_data
    )
    key = _pem(user, "client-key", user.value.client_key, user.value.client_key_data)
    if certificate is not None and key is None:
        raise ConfigError(
            f"{user.at('client-key')}: missing; a client certificate needs its key"
            " (client-key or client-key-data)"
        )
    if key is not None and certificate is None:
        raise ConfigError(
            f"{user.at('client-certificate')}: missing; a client key needs its certificate"
            " (client-certificate or client-certificate-data)"
        )
    return Tls(ca=ca, certificate=certificate, key=key, insecure=insecure)


def _pem(entry: Entry[Any], field_name: str, path: str, data: str) -> Pem | None:
    """Data goes before a file, as the kubeconfig reference says."""
    if data:
        return Pem.from_base64(entry.at(f"{field_name}-data"), data)
    if path:
        return Pem(entry.at(field_name), path=entry.path(path))
    return None


def _authorizer(
    user: Entry[User] | None, given: _Given, cluster_info: Mapping[str, Any], tls: Tls | None
) -> Authorizer:
    if given.token:
        return Fixed(f"Bearer {checked_token(given.token, '--token')}")
    if user is None:
        return Fixed()
    value = user.value
    has_token = bool(value.token or value.token_file)
    if has_token and (value.username or value.password):
        raise ConfigError(
            f"{user.file}: {user.place}: holds a token and a username or password; only one of them can be sent"
        )
    if value.auth_provider is not None:
        raise ConfigError(
            f"{user.at('auth-provider')}: auth providers ({value.auth_provider.name or 'unnamed'}) were removed"
            f" in Kubernetes 1.26; use an exec plugin instead ({user.place}.exec), such as"
            " gke-gcloud-auth-plugin for gcp, or kubelogin for azure and oidc"
        )
    if has_token:
        token = checked_token(value.token, user.at("token")) if value.token else None
        if value.token_file:
            # The file goes before the token, which serves until the file can be read.
            return TokenFile(user.path(value.token_file), user.at("tokenFile"), fallback=token)
        return Fixed(f"Bearer {token}")
    if value.username or value.password:
        return Fixed(basic_authorization(value.username, value.password, user.at("username")))
    if value.exec is not None:
        return ExecPlugin(user, value.exec, cluster=cluster_info, tls=tls, environ=given.environ)
    return Fixed()


def _cluster_info(server: str, cluster: Cluster, tls: Tls | None) -> dict[str, Any]:
    """``spec.cluster`` of an ExecCredential: what an exec plugin may ask to be told of the cluster."""
    info: dict[str, Any] = {"server": server}
    if cluster.tls_server_name:
        info["tls-server-name"] = cluster.tls_server_name
    if cluster.insecure_skip_tls_verify:
        info["insecure-skip-tls-verify"] = True
    if tls is not None and (ca := tls.ca_data()) is not None:
        info["certificate-authority-data"] = base64.b64encode(ca).decode("ascii")
    if cluster.proxy_url:
        info["proxy-url"] = cluster.proxy_url
    if cluster.disable_compression:
        info["disable-compression"] = True
    for extension in cluster.extensions:
        if extension.name == CLUSTER_EXTENSION:
            info["config"] = extension.extension
    return info


def _impersonation(user: Entry[User] | None, given: _Given) -> Mapping[str, str]:
    if given.impersonate:
        return {"Impersonate-User": checked_header_value(given.impersonate, "--as")}
    if user is None:
        return {}
    value = user.value
    return impersonation_headers(
        value.impersonate,
        value.as_uid,
        value.as_groups,
        value.as_user_extra,
        f"{user.file}: {user.place}",
    )


# --- in a pod --------------------------------------------------------------------------------------


def _in_cluster(directory: str, given: _Given) -> ClusterConfig:
    account = read_service_account(directory, given.environ)
    tls = Tls(ca=account.ca)
    authorizer: Authorizer
    if given.token:
        authorizer = Fixed(f"Bearer {checked_token(given.token, '--token')}")
    else:
        authorizer = TokenFile(account.token_path, "token of the service account")
    return ClusterConfig(
        server=account.server,
        namespace=account.namespace,
        credentials=UserCredentials(authorizer, impersonation=_impersonation(None, given), tls=tls),
        proxy=choose_proxy(account.server, "", "", given.environ),
        origin="the service account of this pod",
        in_cluster=True,
        tls=tls,
    )


def _known(entries: Mapping[str, Any]) -> str:
    return ", ".join(sorted(entries)) or "none"


def _join(paths: tuple[str, ...]) -> str:
    return ", ".join(paths)
