"""The services that `reroll.alerts.services` does not speak itself, by the package ``apprise``, if it is installed."""

from __future__ import annotations

import asyncio
import importlib
import logging
from typing import Any, Final

from msgspec import Struct

from reroll.alerts.delivery import DeliveryError, Poster
from reroll.alerts.message import Message
from reroll.alerts.target import Target, TargetError

_SECONDS: Final = 30.0


class LibraryTarget(Struct, frozen=True):
    """A service of the package ``apprise``. It goes its own ways: the proxy is that of the environment."""

    label: str
    limit: int
    service: Any

    def __repr__(self) -> str:
        return f"LibraryTarget({self.label})"

    async def deliver(self, message: Message, poster: Poster) -> None:
        kind = "warning" if message.bad else "info"
        try:
            async with asyncio.timeout(_SECONDS):
                done = await self.service.async_notify(
                    body=message.plain, title=message.title, notify_type=kind, body_format="text"
                )
        except Exception as error:  # whatever one of its many plugins raises, and its text may hold the URL
            raise DeliveryError(f"{self.label}: {type(error).__name__}", retryable=True) from None
        if not done:
            raise DeliveryError(f"{self.label}: the service did not take it", retryable=True)


def library_target(scheme: str, url: str) -> Target:
    """The target of a URL that only ``apprise`` understands. Raises TargetError."""
    try:
        apprise = importlib.import_module("apprise")
    except ImportError:
        raise TargetError(
            f"alerts by {scheme}:// need the package apprise: install it beside reroll. "
            "Or send them by apprise://HOST/KEY to an Apprise API server, which knows the same services"
        ) from None
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)  # it logs what it sends, and where
    service = apprise.Apprise()
    if not service.add(url):
        raise TargetError(
            f"an address for alerts begins with {scheme}://, and apprise does not understand it"
        )
    return LibraryTarget(f"{scheme}://…", 3500, service)
