"""Fixtures for alerts: a service on loopback, and what there is to tell."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What would have been waited between tries, in seconds; it is not."""
    waits: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float, result: Any = None) -> None:
        waits.append(seconds)
        await real(0)

    monkeypatch.setattr("reroll.alerts.delivery.asyncio.sleep", sleep)
    return waits
