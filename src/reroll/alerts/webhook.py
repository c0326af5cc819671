"""A webhook that is told of changes instead of having workloads reloaded, as ``--webhook-url`` of Reloader.

Reloader posts the same words for every change, ``{"webhook": "update successful"}``, and looks at no answer. Here
these words come with what changed and whom it concerns, and the post is tried again until it is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from types import TracebackType
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

import msgspec

from reroll.alerts.delivery import DeliveryError, Post, Poster, origin, persist
from reroll.alerts.target import JSON, TargetError
from reroll.core.records import ConfigId, WorkloadId
from reroll.kube.backoff import Backoff

_KINDS: Final = {
    "configmap": "ConfigMap",
    "secret": "Secret",
    "secretproviderclass": "SecretProviderClass",
}


class WebhookStatistics(msgspec.Struct, frozen=True):
    """What became of the posts so far."""

    sent: int
    retried: int
    failed: int
    problem: str
    """Why the last try failed; "" if it did not."""


class Webhook:
    """Posts to one URL, as an async context manager.

    `proxy` and `timeout` are `Poster`'s; `attempts` is how often one change is tried. Raises TargetError for a URL that
    is not http or https, without quoting it.
    """

    def __init__(
        self,
        url: str,
        *,
        attempts: int = 4,
        proxy: str = "",
        timeout: float = 10.0,
        backoff: Callable[[], Backoff] = lambda: Backoff(0.5, 30.0),
    ) -> None:
        try:
            parts = urlsplit(url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise TargetError(
                "the address of the webhook can't be used: write http://HOST/… or https://HOST/…"
            )
        self.label = origin(url)
        self._url = url
        self._attempts, self._backoff = attempts, backoff
        self._poster = Poster(proxy=proxy, timeout=timeout)
        self._sent = self._retried = self._failed = 0
        self._problem = ""

    async def __aenter__(self) -> Webhook:
        await self._poster.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._poster.__aexit__(kind, error, trace)

    async def send(
        self,
        config: ConfigId,
        workloads: Sequence[WorkloadId] = (),
        *,
        at: float,
        reason: str = "",
        version: int = 0,
    ) -> None:
        """Tell that `config` changed at the time `at` (seconds since the epoch), which concerns `workloads`.

        One and the same change has one `id`, however often it is posted: an answer that is lost leaves open whether the
        post was taken. `version`: the resourceVersion at which it was first seen, by which other controllers that saw
        it so have the same id; 0: not known. Raises DeliveryError when no try was taken.
        """
        told = body(config, workloads, at=at, reason=reason, version=version)
        post = Post(self._url, msgspec.json.encode(told), JSON)
        try:
            await persist(
                lambda: self._poster.post(post),
                attempts=self._attempts,
                backoff=self._backoff(),
                retried=self._again,
            )
        except DeliveryError as error:
            self._failed += 1
            self._problem = str(error)
            raise
        self._sent += 1
        self._problem = ""

    def give_up(self, changes: int) -> None:
        """Count so many changes as failed that were not sent, or of which it is not known whether they were taken."""
        self._failed += changes

    def _again(self, error: DeliveryError) -> None:
        self._retried += 1
        self._problem = str(error)

    def statistics(self) -> WebhookStatistics:
        """What became of the posts so far."""
        return WebhookStatistics(self._sent, self._retried, self._failed, self._problem)


def body(
    config: ConfigId, workloads: Sequence[WorkloadId], *, at: float, reason: str = "", version: int = 0
) -> dict[str, Any]:
    """What is posted: the words of Reloader first, then names only."""
    when = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        "webhook": "update successful",
        "id": change_id(config, reason, version),
        "time": when,
        "kind": _KINDS.get(config.kind, config.kind),
        "namespace": config.namespace,
        "name": config.name,
        "workloads": [{"kind": w.kind, "namespace": w.namespace, "name": w.name} for w in workloads],
        **({"reason": reason} if reason else {}),
    }


def change_id(config: ConfigId, reason: str, version: int) -> str:
    """32 hexadecimal digits, the same for all who tell of this change; `version`: its resourceVersion, 0 for none."""
    if not version:
        return uuid4().hex
    return blake2b(f"{config} {version} {reason}".encode(), digest_size=16).hexdigest()
