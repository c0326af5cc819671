"""No value of a Secret leaves the API server by way of reroll, also not when everything fails."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator

import pytest
import structlog
from prometheus_client import generate_latest

from reroll.logs import set_up
from tests.faults.proxy import Answer, FaultProxy
from tests.faults.world import World

OLD = "unique-marker-4e1d90c7b2a86f35"
NEW = "unique-marker-93ab20ef6c51d784"


def forms(value: str) -> list[str]:
    """How a value could show up: as it is, and in base64 wherever it begins in the group of three bytes."""
    encoded = []
    for shift in range(3):
        whole = base64.b64encode(b"\0" * shift + value.encode()).decode()
        encoded.append(whole[4:-4])  # the ends depend on what stands beside it
    return [value, value.encode().hex(), *encoded]


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """All that is logged, as JSON lines, down to debug."""
    before = structlog.get_config()
    stream = io.StringIO()
    set_up("debug", "json", stream)
    yield stream
    structlog.configure(**before)


async def test_values_are_nowhere(world: World, proxy: FaultProxy, log: io.StringIO) -> None:
    await world.secret("db", {"password": OLD})
    await world.secret("other", {"p": OLD})
    await world.workload("web", secrets=["db"])
    await world.workload("file", secrets=["db", "other"])
    control = await world.controller(proxy.url)
    await world.until_adopted("web", "file")
    await world.secret("db", {"password": NEW})
    await world.until_rolled("web", 1)

    # And when the server refuses, or quotes what it likes of a Secret.
    quoting = proxy.add(Answer(400, "BadRequest", f"can't have {NEW}"), path=f"{world.namespace}/secrets")
    failing = proxy.add(Answer(500, "InternalError"), "patch", path="/daemonsets/file", times=2)
    proxy.drop_watches()
    await world.until_true(lambda: quoting.hits >= 2, "the server quoted the value")
    proxy.remove(quoting)
    await world.secret("db", {"password": OLD})
    await world.until_rolled("web", 2)
    await world.until_true(lambda: failing.hits >= 2, "patches failed")
    await world.until_idle(control)

    async def told() -> bool:
        return len(await world.events("Rolled")) >= 2

    await world.until(told, "Events were sent")
    # What the test wrote itself went past the proxy.
    sent = [seen.body.decode("utf-8", "replace") for seen in proxy.seen]
    places = {
        "requests": "\n".join(sent) + "\n".join(seen.path + str(seen.query) for seen in proxy.seen),
        "workloads": json.dumps(await world.get("daemonsets")),
        "events": json.dumps(await world.get("events")),
        "logs": log.getvalue(),
        "metrics": generate_latest(control.metrics.registry).decode(),
        "health": repr([*control.ready_checks(), *control.watches.statistics()]),
        "store": repr(
            [control.store.configs.state(c.config) for e in control.store.entries() for c in e.consumed]
        )
        + repr(list(control.store.entries())),
    }
    assert "adopted" in places["logs"]
    assert "reroll_rollouts" in places["metrics"]
    for place, text in places.items():
        for value in (OLD, NEW):
            for form in forms(value):
                assert form not in text, f"a value of a Secret is in the {place}"
