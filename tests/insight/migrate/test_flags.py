"""Reloader's command line and environment in the words of `reroll controller`."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from reroll.cli.reloader_flags import read
from reroll.insight.migrate.flags import controller_flags

ALERTS = {"ALERT_ON_RELOAD": "true", "ALERT_WEBHOOK_URL": "https://example.invalid/T0KEN"}
PROXY = {"ALERT_WEBHOOK_PROXY": "http://user:T0KEN@proxy.invalid"}


@pytest.mark.parametrize(
    ("environment", "flags"),
    [
        ({}, ""),
        (ALERTS, "--alert-sink raw --alert-url ADDRESS"),
        ({**ALERTS, "ALERT_SINK": "slack"}, "--alert-sink slack --alert-url ADDRESS"),
        (
            {**ALERTS, **PROXY, "ALERT_ADDITIONAL_INFO": "T0KEN of prod"},
            "--alert-sink raw --alert-url ADDRESS --alert-info TEXT --alert-proxy ADDRESS",
        ),
        ({**ALERTS, "ALERT_ON_RELOAD": "false", "ALERT_SINK": "slack"}, ""),
        (PROXY, ""),
        ({**ALERTS, "ALERT_WEBHOOK_URL": ""}, ""),
    ],
)
def test_alerts_are_carried_over_and_no_secret_is_shown(environment: Mapping[str, str], flags: str) -> None:
    assert controller_flags(read((), environment).settings, read((), {}).settings) == flags


def test_the_proxy_of_the_webhook() -> None:
    asked = read(("--webhook-url=https://example.invalid/T0KEN",), PROXY).settings
    assert controller_flags(asked, read((), {}).settings) == "--alert-proxy ADDRESS --webhook-url ADDRESS"
