"""A fault of reroll in what takes a watch's events in: it is counted, and costs no change."""

from __future__ import annotations

import pytest

from reroll.controller.handlers import Configs
from reroll.core.observe import ConfigMapObject, SecretObject
from tests.controller.conftest import Stage, workload


async def test_a_change_is_found_all_the_same(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    await stage.config_map("app", {"key": "1"})
    await stage.create(workload("web", container={"envFrom": [{"configMapRef": {"name": "app"}}]}))
    async with stage.controller() as control:
        await stage.adopted("web")
        taken_in = Configs.upsert
        failed: list[str] = []

        def upsert(self: Configs, obj: ConfigMapObject | SecretObject, *, live: bool) -> None:
            if obj.metadata.name == "app" and not failed:
                failed.append(obj.metadata.name)
                raise KeyError("a fault")
            taken_in(self, obj, live=live)

        monkeypatch.setattr(Configs, "upsert", upsert)
        await stage.set("ConfigMap", "app", {"key": "2"})
        await stage.rolled("web", 1)
        failures = {"step": "watch", "reason": "internal"}
        assert control.metrics.registry.get_sample_value("reroll_failures_total", failures) == 1
        assert all(each.synced for each in control.watches.of_required())
