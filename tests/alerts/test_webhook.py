"""The webhook, against a service on loopback."""

from __future__ import annotations

import msgspec
import pytest

from reroll.alerts.delivery import DeliveryError
from reroll.alerts.target import TargetError
from reroll.alerts.webhook import Webhook
from reroll.core.records import ConfigId, WorkloadId
from tests.alerts.service import TOKEN, Service

DB = ConfigId("secret", "shop", "db")
WEB = WorkloadId("Deployment", "shop", "web")


async def test_reloaders_words_and_what_changed(service: Service) -> None:
    async with Webhook(service.url) as webhook:
        await webhook.send(DB, [WEB], at=1_750_000_000.25)
    (received,) = service.received
    body = msgspec.json.decode(received.body)
    assert len(body.pop("id")) == 32
    assert body == {
        "webhook": "update successful",
        "time": "2025-06-15T15:06:40.250Z",
        "kind": "Secret",
        "namespace": "shop",
        "name": "db",
        "workloads": [{"kind": "Deployment", "namespace": "shop", "name": "web"}],
    }
    assert received.headers["Content-Type"] == "application/json"


async def test_tried_again_it_is_the_same_post(service: Service, waits: list[float]) -> None:
    service.answers = [service.says(500), service.breaks(), service.breaks(), service.says(429)]
    async with Webhook(service.url, attempts=6) as webhook:
        await webhook.send(DB, at=0.0, reason="its keys changed")
        assert webhook.statistics().sent == 1
        assert webhook.statistics().retried >= 3
    bodies = {received.body for received in service.received}
    assert len(bodies) == 1
    assert msgspec.json.decode(bodies.pop())["reason"] == "its keys changed"


@pytest.mark.parametrize("status", [301, 404, 500])
async def test_what_is_not_taken_is_an_error(service: Service, waits: list[float], status: int) -> None:
    service.answers = [service.says(status, Location=service.url)] * 4
    async with Webhook(service.url) as webhook:
        with pytest.raises(DeliveryError, match=f"answered {status}") as caught:
            await webhook.send(DB, at=0.0)
        assert webhook.statistics().failed == 1
        assert webhook.statistics().problem == str(caught.value)
    assert TOKEN not in str(caught.value)
    assert len(service.received) == (4 if status == 500 else 1)


@pytest.mark.parametrize(
    "url", ["", TOKEN, f"ftp://{TOKEN}", "https://", f"http://h:{TOKEN}/", f"http://[{TOKEN}"]
)
def test_an_address_that_cant_be_used(url: str) -> None:
    with pytest.raises(TargetError, match="the address of the webhook can't be used") as caught:
        Webhook(url)
    assert TOKEN not in str(caught.value)
