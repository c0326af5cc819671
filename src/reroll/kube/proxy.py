"""Which HTTP proxy stands between this process and the API server, if any.

`proxy-url` of the kubeconfig goes before the environment, and NO_PROXY has a say only in the environment's
choice. The environment is read as kubectl (Go's net/http) reads it, so that both take the same way; aiohttp's
own reading differs in CIDR ranges and in loopback.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

from reroll.kube.config_error import ConfigError


def choose_proxy(server: str, proxy_url: str, where: str, environ: Mapping[str, str]) -> str | None:
    """The URL of the proxy for `server` (a whole URL), or None.

    `where` names the field that holds `proxy_url`, for messages. Raises ConfigError where the chosen one is
    no http:// or https:// URL.
    """
    if proxy_url:
        return _checked(proxy_url, where)
    target = urlsplit(server)
    name = "HTTPS_PROXY" if target.scheme == "https" else "HTTP_PROXY"
    for variable in (name, name.lower()):
        if value := environ.get(variable, "").strip():
            if _bypassed(target, environ.get("NO_PROXY") or environ.get("no_proxy") or ""):
                return None
            return _checked(
                value if "://" in value else f"http://{value}", f"environment variable {variable}"
            )
    return None


def _checked(url: str, where: str) -> str:
    # The URL is not quoted in messages: it may hold a password.
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ConfigError(f"{where}: not a URL; write http://HOST:PORT") from None
    if parts.scheme.startswith("socks"):
        raise ConfigError(
            f"{where}: {parts.scheme} proxies are not supported; use an http:// or https:// proxy,"
            " or a tunnel to the API server"
        )
    if parts.scheme not in ("http", "https"):
        raise ConfigError(f"{where}: a proxy URL begins with http:// or https://")
    if not host:
        raise ConfigError(f"{where}: names no host; write {parts.scheme}://HOST:PORT")
    return url


def is_loopback(host: str) -> bool:
    """True for this machine's own names and addresses."""
    if host == "localhost":
        return True
    address = _address(host)
    return address is not None and address.is_loopback


def _bypassed(target: SplitResult, no_proxy: str) -> bool:
    """The rules of golang.org/x/net/http/httpproxy: ``*``; a name, which also covers its subdomains; ``.name``
    and ``*.name``, only the subdomains; an address; a CIDR range; each of the single ones with ``:port``."""
    host = (target.hostname or "").rstrip(".")
    if is_loopback(host):
        return True
    port = str(target.port or (443 if target.scheme == "https" else 80))
    address = _address(host)
    for item in no_proxy.lower().split(","):
        rule = item.strip()
        if not rule:
            continue
        if rule == "*":
            return True
        if "/" in rule:
            try:
                network = ipaddress.ip_network(rule, strict=False)
            except ValueError:
                continue
            if address is not None and address in network:
                return True
            continue
        rule_host, rule_port = _split_port(rule)
        if rule_port and rule_port != port:
            continue
        if (rule_address := _address(rule_host)) is not None:
            if rule_address == address:
                return True
            continue
        suffix = rule_host.removeprefix("*")
        if suffix.startswith("."):
            if host.endswith(suffix):
                return True
        elif suffix and (host == suffix or host.endswith(f".{suffix}")):
            return True
    return False


def _split_port(rule: str) -> tuple[str, str]:
    if rule.startswith("["):
        host, _, rest = rule[1:].partition("]")
        return host, rest.removeprefix(":")
    if rule.count(":") == 1:
        host, _, port = rule.partition(":")
        return host, port
    return rule, ""


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
