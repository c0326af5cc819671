"""The setting that says where alerts go, read into targets.

An http(s) address is posted to in the form that the setting's `sink` names. A URL with a scheme of its own, such as
``ntfy://``, names its service itself: see `reroll.alerts.services`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from reroll.alerts.services import service_targets
from reroll.alerts.target import (
    Form,
    Target,
    TargetError,
    adaptive_card,
    discord,
    json_target,
    raw_target,
    slack,
    text,
)

_FORMS: Final[dict[str, tuple[Form, int]]] = {
    "slack": (slack, 7000),
    "teams": (text, 16_000),
    "workflow": (adaptive_card, 16_000),
    "gchat": (text, 4000),
    "discord": (discord, 1900),
    "mattermost": (text, 16_000),
}
SINKS: Final = (*_FORMS, "raw")
"""Forms that a setting can name for an http(s) address."""

_HOSTS: Final = {
    "hooks.slack.com": "slack",
    "hooks.slack-gov.com": "slack",
    "chat.googleapis.com": "gchat",
    "discord.com": "discord",
    "discordapp.com": "discord",
}
_DOMAINS: Final = {
    ".webhook.office.com": "teams",
    ".logic.azure.com": "workflow",
    ".powerplatform.com": "workflow",
}


def parse_targets(urls: str, sink: str = "") -> tuple[Target, ...]:
    """The targets in `urls`, which are separated by white space.

    `sink` is one of `SINKS` and says which form http(s) addresses want; "" lets the host tell, where it is that of
    a service we know. Any other word means `raw`, as in Reloader. Raises TargetError.
    """
    found = [target for url in urls.split() for target in _targets(url, sink.strip().lower())]
    if not found:
        raise TargetError("no address to send alerts to is set")
    return tuple(found)


def _targets(url: str, sink: str) -> Iterator[Target]:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = None, None
    scheme = url.partition("://")[0].lower() if "://" in url else ""
    if not scheme:
        raise TargetError("an address for alerts begins with its scheme, such as https://")
    if scheme not in ("http", "https"):
        yield from service_targets(scheme, url)
        return
    if parts is None or not host:
        raise TargetError(f"an address for alerts can't be read: write {scheme}://HOST/…")
    form = sink or _HOSTS.get(host) or next((f for d, f in _DOMAINS.items() if host.endswith(d)), "raw")
    if form in _FORMS:
        make, limit = _FORMS[form]
        yield json_target(url, make, limit=limit)
    else:
        yield raw_target(url)
