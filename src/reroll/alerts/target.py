"""Where messages go, and the forms in which they want them.

The forms for Slack, Teams, Google Chat and plain text are those of Reloader, to the letter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, TypeAlias

import msgspec
from msgspec import Struct

from reroll.alerts.delivery import Post, Poster, origin
from reroll.alerts.message import Message

JSON: Final = {"Content-Type": "application/json"}


class TargetError(ValueError):
    """An address for alerts that can't be used. The text never holds the address."""


class Target(Protocol):
    """One place where messages go."""

    @property
    def label(self) -> str:
        """What may be shown of its address."""
        ...

    @property
    def limit(self) -> int:
        """Characters that it takes in one message."""
        ...

    async def deliver(self, message: Message, poster: Poster) -> None:
        """Try once. Raises DeliveryError."""
        ...


class HttpTarget(Struct, frozen=True):
    """A service that takes a message as one POST."""

    label: str
    limit: int
    make: Callable[[Message], Post]

    async def deliver(self, message: Message, poster: Poster) -> None:
        await poster.post(self.make(message))


Form: TypeAlias = Callable[[Message], Any]
"""A message as what is encoded in JSON."""


def json_target(
    url: str, form: Form, *, limit: int = 3500, headers: Mapping[str, str] | None = None
) -> HttpTarget:
    """A service that takes JSON at `url`, which is http or https."""
    merged = JSON | dict(headers or {})
    return HttpTarget(
        origin(url), limit, lambda message: Post(url, msgspec.json.encode(form(message)), merged)
    )


def slack(message: Message) -> Any:
    """Slack's incoming webhook, with the attachment that Reloader sends."""
    color = "danger" if message.bad else "good"
    return {"attachments": [{"text": message.text, "color": color, "author_name": message.author}]}


def text(message: Message) -> Any:
    """What Microsoft Teams' connectors, Google Chat, Mattermost and Rocket.Chat take."""
    return {"text": message.text}


def discord(message: Message) -> Any:
    return {"content": message.plain, "username": message.author}


def adaptive_card(message: Message) -> Any:
    """What the workflows of Microsoft Teams take, which came after its connectors."""
    return {
        "type": "message",
        "attachments": [
            {
                "contentType": "application/vnd.microsoft.card.adaptive",
                "contentUrl": None,
                "content": {
                    "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                    "type": "AdaptiveCard",
                    "version": "1.4",
                    "body": [
                        {"type": "TextBlock", "text": message.title, "weight": "Bolder", "wrap": True},
                        {"type": "TextBlock", "text": message.plain, "wrap": True},
                    ],
                    "msteams": {"width": "full"},
                },
            }
        ],
    }


def raw_target(url: str) -> HttpTarget:
    """A service that takes plain text at `url`."""
    headers = {"Content-Type": "text/plain; charset=utf-8"}
    return HttpTarget(origin(url), 16_000, lambda message: Post(url, message.plain.encode(), headers))
