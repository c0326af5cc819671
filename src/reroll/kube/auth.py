"""How a request says who sends it: the Authorization and Impersonate-* headers, kept fresh.

`UserCredentials` puts together an authorizer (a fixed token or password, a token file, an exec plugin), whom
to impersonate, and the watch over certificate files. The client asks for the headers of each request, and
says when the server refused them.

Source: https://kubernetes.io/docs/reference/access-authn-authz/authentication/
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable, Mapping
from typing import Final, Protocol
from urllib.parse import quote

import structlog
from multidict import CIMultiDict, CIMultiDictProxy

from reroll.kube.config_error import ConfigError
from reroll.kube.tls import Tls, read_file

log = structlog.get_logger("reroll.kube.auth")

REREAD_AFTER: Final = 60.0
"""Seconds after which token and certificate files are looked at again. The kubelet renews a pod's token at
80 % of its life, which is at least ten minutes; client-go re-reads each minute as well."""

_RENEWED_LATELY = 30.0  # seconds: a request may have been on its way that long with the token before


class Credentials(Protocol):
    """What the client needs to be known to the server."""

    async def headers(self) -> Mapping[str, str]:
        """The headers to add to a request. Cached; may read a file or run a plugin.

        It may be a multidict: several impersonated groups are several headers of one name.
        Raises ConfigError if there are no credentials to be had right now.
        """
        ...

    async def renew(self) -> bool:
        """After a 401: drop what is cached. True if asking again could help."""
        ...

    @property
    def certificate_generation(self) -> int:
        """Grows whenever the certificates to connect with changed."""
        ...


class Authorizer(Protocol):
    """One way to make an Authorization header."""

    async def authorization(self) -> str | None:
        """The header's value, or None where this way needs no header. Raises ConfigError."""
        ...

    async def renew(self) -> bool:
        """See `Credentials.renew`."""
        ...


class Fixed:
    """An Authorization header that never changes, or none."""

    def __init__(self, value: str | None = None) -> None:
        self._value = value

    async def authorization(self) -> str | None:
        return self._value

    async def renew(self) -> bool:
        return False


class TokenFile:
    """A token in a file that somebody renews: of a service account, or tokenFile in a kubeconfig.

    Where a later read fails, the last token stays in use. `fallback` serves until the first read succeeds.
    """

    def __init__(
        self,
        path: str,
        where: str,
        *,
        fallback: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Reads it once. Raises ConfigError where that fails and there is no `fallback`."""
        self._path = path
        self._where = where
        self._clock = clock
        self._changed_at = float("-inf")
        self._read_at = clock()
        try:
            self._token = self._read()
        except ConfigError:
            if fallback is None:
                raise
            self._token = fallback

    async def authorization(self) -> str | None:
        if self._clock() - self._read_at >= REREAD_AFTER:
            self._look()
        return f"Bearer {self._token}"

    async def renew(self) -> bool:
        """Reads it now. True also if it changed a moment ago: then the refused request had the one before."""
        self._look()
        return self._clock() - self._changed_at < _RENEWED_LATELY

    def _look(self) -> None:
        self._read_at = self._clock()
        try:
            token = self._read()
        except ConfigError as error:
            log.warning("token file is not readable, keeping the last token", problem=str(error))
            return
        if token != self._token:
            self._token = token
            self._changed_at = self._read_at

    def _read(self) -> str:
        raw = read_file(self._where, self._path)
        return checked_token(raw.decode("utf-8", errors="replace"), f"{self._where}: {self._path}")


class UserCredentials:
    """Everything a kubeconfig user or a service account has to show, as `Credentials`."""

    def __init__(
        self,
        authorizer: Authorizer,
        *,
        impersonation: Mapping[str, str] | None = None,
        tls: Tls | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._authorizer = authorizer
        self._impersonation = impersonation or {}
        self._tls = tls
        self._clock = clock
        self._looked_at = clock()
        self._built_for: str | None = None
        self._built = self._build(None)

    async def headers(self) -> Mapping[str, str]:
        if self._tls is not None and self._clock() - self._looked_at >= REREAD_AFTER:
            self._looked_at = self._clock()
            self._tls.reload()
        authorization = await self._authorizer.authorization()
        if authorization != self._built_for:
            self._built = self._build(authorization)
            self._built_for = authorization
        return self._built

    async def renew(self) -> bool:
        rotated = self._tls is not None and self._tls.reload()
        return await self._authorizer.renew() or rotated

    @property
    def certificate_generation(self) -> int:
        return self._tls.generation if self._tls is not None else 0

    def _build(self, authorization: str | None) -> Mapping[str, str]:
        headers: CIMultiDict[str] = CIMultiDict(self._impersonation)
        if authorization is not None:
            headers["Authorization"] = authorization
        return CIMultiDictProxy(headers)


def checked_token(token: str, where: str) -> str:
    """A bearer token without the white space around it. Raises ConfigError where it can't stand in a header."""
    token = token.strip()
    if not token:
        raise ConfigError(f"{where}: holds no token, it is empty")
    if re.search(r"[^\x21-\x7e]", token):
        raise ConfigError(
            f"{where}: holds no bearer token: there is white space or a special character in it"
        )
    return token


def basic_authorization(username: str, password: str, where: str) -> str:
    """The header value of HTTP basic authentication (RFC 7617). Raises ConfigError for a name with a colon."""
    if ":" in username:
        raise ConfigError(f"{where}: a name for basic authentication cannot hold a colon")
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode("ascii")


def impersonation_headers(
    user: str, uid: str, groups: list[str], extra: Mapping[str, list[str]], where: str
) -> Mapping[str, str]:
    """The Impersonate-* headers; several groups and values are several headers of one name.

    `where` names the user's place, such as ``FILE: users[0].user``.
    Raises ConfigError where a user is missing or a value can't stand in a header.

    Source: https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation
    """
    headers: CIMultiDict[str] = CIMultiDict()
    if not user:
        if uid or groups or extra:
            raise ConfigError(
                f"{where}.as: missing; as-uid, as-groups and as-user-extra need a user to act as"
            )
        return headers
    headers.add("Impersonate-User", checked_header_value(user, f"{where}.as"))
    if uid:
        headers.add("Impersonate-Uid", checked_header_value(uid, f"{where}.as-uid"))
    for index, group in enumerate(groups):
        headers.add("Impersonate-Group", checked_header_value(group, f"{where}.as-groups[{index}]"))
    for key, values in extra.items():
        # What a header's name cannot hold is percent-encoded, and so is the percent sign itself.
        name = "Impersonate-Extra-" + quote(key, safe="!#$&'*+-.^_`|~")
        for index, value in enumerate(values):
            headers.add(name, checked_header_value(value, f"{where}.as-user-extra.{key}[{index}]"))
    return headers


def checked_header_value(value: str, where: str) -> str:
    """`value` as it is. Raises ConfigError where it can't stand in a header."""
    if re.search(r"[\x00-\x1f\x7f]", value):
        raise ConfigError(f"{where}: holds a line break or another control character")
    return value
