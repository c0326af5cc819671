"""The flags of `reroll controller` that say what Reloader's command line said."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any, Final

from reroll.settings import Settings

_SWITCHES: Final = ("auto_all", "on_delete", "leader_election")
_TEXTS: Final = ("namespace_selector", "config_selector")
_UNSHOWN: Final = {
    "alert_url": "ADDRESS",
    "alert_info": "TEXT",
    "alert_proxy": "ADDRESS",
    "webhook_url": "ADDRESS",
}
"""Flags whose values can hold a secret, and what stands in their place."""


def controller_flags(asked: Mapping[str, Any], usual: Mapping[str, Any]) -> str:
    """As a shell takes them; "" if none are needed.

    `asked` are the settings by Reloader's command line, `usual` those by none at all. How pod templates are marked and
    how long to settle are left to reroll. Addresses and the text in front of alerts are named and not shown, for they
    can hold a secret.
    """
    words = []
    for namespace in asked.get("namespaces", ()):
        words += ["--namespace", namespace]
    if asked.get("namespaces_to_ignore"):
        words += ["--namespaces-to-ignore", ",".join(asked["namespaces_to_ignore"])]
    for name in _TEXTS:
        if asked.get(name):
            words += [_flag(name), asked[name]]
    words += [_flag(name) for name in _SWITCHES if asked.get(name)]
    if asked.get("on_create") == "always":
        words += ["--on-create", "always"]
    for name, ours in (("config_kinds", Settings().config_kinds), ("kinds", Settings().kinds)):
        left_out = set(usual[name].split(",")) - set(asked[name].split(","))
        if left_out:
            words += [_flag(name), ",".join(kind for kind in ours.split(",") if kind not in left_out)]
    if asked.get("alert_url") and asked.get("alert_sink"):
        words += [_flag("alert_sink"), asked["alert_sink"]]
    posts = bool(asked.get("alert_url") or asked.get("webhook_url"))
    return " ".join(
        [shlex.join(words)] * bool(words)
        + [f"{_flag(name)} {value}" for name, value in _UNSHOWN.items() if posts and asked.get(name)]
    )


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
