"""What the reader is asked to read, and can't."""

from __future__ import annotations

from typing import Any, cast

from structlog.testing import capture_logs

from reroll.controller.metrics import Metrics
from reroll.controller.reader import Reader
from reroll.core.records import ConfigId


async def test_a_kind_that_can_t_be_read_by_itself_is_refused() -> None:
    """It was put into the queue, failed, and was tried again for ever."""
    metrics = Metrics()
    reader = Reader(cast(Any, None), cast(Any, None), metrics, [""])
    with capture_logs() as logs:
        reader.want(ConfigId("secretproviderclass", "shop", "vault"))
    assert [(entry["log_level"], entry["object"]) for entry in logs] == [
        ("error", "secretproviderclass/shop/vault")
    ]
    await reader.catch_up()
    assert reader.caught_up
    failures = metrics.registry.get_sample_value(
        "reroll_failures_total", {"step": "read", "reason": "internal"}
    )
    assert failures == 1
