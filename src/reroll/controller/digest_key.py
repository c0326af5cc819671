"""The installation's digest key: a Secret in the controller's own namespace, made on first start.

Two controllers that start at once agree, for only one create succeeds. A key that is lost or changed makes
the digests of Secrets incomparable: they are recorded again, and nothing is rolled.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import secrets
import time
from collections.abc import Callable
from typing import Protocol

import msgspec
import structlog

from reroll.core.digests import KEY_SIZE, DigestKey
from reroll.core.observe import SecretObject
from reroll.kube.backoff import Backoff
from reroll.kube.client import Client
from reroll.kube.errors import AlreadyExists, ApiError, Forbidden, NotFound
from reroll.kube.resources import SECRETS

log = structlog.get_logger("reroll.controller.digest_key")

_FIELD = "key"
_decode = msgspec.json.Decoder(SecretObject).decode


def key_places(name: str, *homes: str) -> list[tuple[str, str]]:
    """(namespace, name) where the Secret most likely is: in the namespace of the controller, in that of `reroll
    reloader` in Reloader's place, or in one of `homes`."""
    return [(namespace, name) for namespace in dict.fromkeys(["reroll", "reloader", *homes])]


class DigestKeySecret:
    """Reads, makes and checks the Secret that holds the key."""

    def __init__(self, client: Client, namespace: str, name: str) -> None:
        self._client = client
        self.namespace, self.name = namespace, name
        self._found: tuple[float, DigestKey] | None = None  # the last answer, and when it was asked for
        self._lock = asyncio.Lock()

    async def obtain(self) -> DigestKey:
        """The key in force; makes it where there is none.

        Where that is not allowed, a key for the lifetime of this process takes its place, with a warning:
        changes of Secrets are then followed while it runs, and recorded anew at each start.
        Raises ApiError for anything else.
        """
        try:
            return await self.read()
        except NotFound:
            return await self._create(secrets.token_bytes(KEY_SIZE))
        except Forbidden as error:
            return self._temporary(error)

    async def check(self, current: DigestKey) -> DigestKey:
        """The key in force now: `current`, or another that took its place. A lost one is written again.

        Many who ask at once share a request, and all get the same answer. Raises ApiError.
        """
        asked = time.monotonic()
        async with self._lock:
            if self._found is not None and self._found[0] >= asked:
                return self._found[1]
            began = time.monotonic()
            try:
                found = await self.read()
            except NotFound:
                found = await self._create(current.raw())
            except Forbidden:
                found = current
            self._found = began, found
            return found

    async def read(self) -> DigestKey:
        """The key as it is on the server. Raises NotFound, Forbidden and other ApiErrors."""
        secret = _decode(await self._client.get(SECRETS.path(self.namespace, self.name)))
        try:
            return DigestKey(base64.b64decode((secret.data or {})[_FIELD], validate=True))
        except (KeyError, ValueError, binascii.Error) as error:
            raise ApiError(
                f"secret/{self.namespace}/{self.name} holds no usable digest key: expected {KEY_SIZE} or more "
                f"bytes under the key {_FIELD!r}. Delete it, and reroll makes a new one: Secrets are then "
                f"recorded again, and nothing is rolled"
            ) from error

    async def _create(self, key: bytes) -> DigestKey:
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": self.name,
                "namespace": self.namespace,
                "labels": {"app.kubernetes.io/managed-by": "reroll"},
                "annotations": {"reroll.dev/ignore": "true"},
            },
            "type": "Opaque",
            "data": {_FIELD: base64.b64encode(key).decode()},
        }
        try:
            await self._client.create(SECRETS.path(self.namespace), msgspec.json.encode(body), attempts=4)
        except AlreadyExists:
            return await self.read()
        except (Forbidden, NotFound) as error:
            return self._temporary(error, key)
        log.info("digest key created", secret=f"{self.namespace}/{self.name}")
        return DigestKey(key)

    def _temporary(self, error: ApiError, key: bytes = b"") -> DigestKey:
        log.warning(
            "the digest key can't be kept, so a temporary one is used: changes of Secrets made while this "
            "controller is down are not seen. Allow it to get and create this Secret",
            secret=f"{self.namespace}/{self.name}",
            problem=error.message,
        )
        return DigestKey(key or secrets.token_bytes(KEY_SIZE))


class Keyed(Protocol):
    """What digests with the key: `config_objects.ConfigObjects`."""

    key: DigestKey

    def rekey(self, key: DigestKey) -> None: ...


class KeyInForce:
    """Keeps what digests on the key that is in force.

    `needed`: False where nothing is digested with a key. `replaced`: called when another key took its place, after
    the digests with the old one were dropped.
    """

    def __init__(
        self, secret: DigestKeySecret, keyed: Keyed, replaced: Callable[[], None], *, needed: bool
    ) -> None:
        self._secret, self._keyed, self._replaced, self._needed = secret, keyed, replaced, needed
        self.problem = "waiting for the API server"
        """Why there is no key yet; "" once there is."""

    async def obtain(self) -> None:
        """Wait for the API server, for ever, and get the digest key."""
        backoff = Backoff(0.5, 15.0, jitter=0.5)
        while self._needed:
            try:
                self._keyed.rekey(await self._secret.obtain())
                break
            except ApiError as error:
                self.problem = str(error)
                delay = max(backoff.next(), error.retry_after or 0.0)
                log.warning("waiting for the API server", problem=str(error), seconds=round(delay, 1))
                await asyncio.sleep(delay)
        self.problem = ""

    async def check(self) -> bool:
        """Is another digest key in force than ours? Then Secrets are read again with it. Raises ApiError."""
        if not self._needed:
            return False
        found = await self._secret.check(self._keyed.key)
        if found.id == self._keyed.key.id:
            return False
        log.warning("the digest key changed: Secrets are recorded again, nothing is rolled")
        self._keyed.rekey(found)
        self._replaced()
        return True
