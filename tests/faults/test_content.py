"""Config objects and annotations as large and as odd as the API allows."""

from __future__ import annotations

import pytest

from tests.faults.proxy import FaultProxy
from tests.faults.world import APPLIED, World

MEBIBYTE = 1024 * 1024


async def test_config_map_of_a_mebibyte(world: World, proxy: FaultProxy) -> None:
    """As large as the API takes one; a watch line then is longer than aiohttp's own readline would read."""
    large = {f"file-{number}": "x" * (MEBIBYTE // 8 - 100) for number in range(8)}
    await world.config_map("large", large)
    await world.workload("web", config_maps=["large"])
    control = await world.controller(proxy.url)
    await world.until_adopted("web")

    large["file-3"] = large["file-3"][:-1] + "y"
    await world.config_map("large", large)
    await world.until_rolled("web", 1)
    proxy.drop_watches()
    large["file-7"] = "small"
    await world.config_map("large", large)
    await world.until_rolled("web", 2)
    await world.until_idle(control)
    assert await world.rollouts("web") == 2
    assert len(await world.applied("web")) < 2000


async def test_ten_thousand_keys(world: World, proxy: FaultProxy) -> None:
    keys = {f"key-{number}": str(number) for number in range(10_000)}
    await world.config_map("many", keys)
    await world.workload("all", config_maps=["many"])
    await world.workload("one")
    container = {
        "name": "main",
        "image": "app:1",
        "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "many", "key": "key-77"}}}],
    }
    await world.patch("daemonsets", "one", {"spec": {"template": {"spec": {"containers": [container]}}}})
    control = await world.controller(proxy.url)
    await world.until_adopted("all", "one")
    assert len(await world.applied("all")) < 1000

    keys["key-9999"] = "changed"
    await world.config_map("many", keys)
    await world.until_rolled("all", 1)
    keys["key-77"] = "changed"
    await world.config_map("many", keys)
    await world.until_rolled("all", 2)
    await world.until_rolled("one", 2)  # the test's own change of the template was the first
    await world.until_idle(control)
    assert await world.all_rollouts() == {"all": 2, "one": 2}


async def test_binary_data_that_is_no_text(world: World, proxy: FaultProxy) -> None:
    """Bytes that are no UTF-8, and text of every kind; moving bytes between data and binaryData is no change."""
    odd = "\u0000 \u00e9 \U0001f512 \ufffd \u2028"
    await world.config_map("blob", {"text": odd}, binary={"jks": b"\xfe\xed\xfe\xed\x00\xff\xc3\x28"})
    await world.config_map("marker", {"A": "1"})
    await world.workload("web", config_maps=["blob"])
    await world.workload("other", config_maps=["marker"])
    control = await world.controller(proxy.url)
    await world.until_adopted("web", "other")

    await world.config_map("blob", {"text": odd}, binary={"jks": b"\xfe\xed\xfe\xed\x00\xff\xc3\x29"})
    await world.until_rolled("web", 1)
    await world.config_map(
        "blob", {}, binary={"jks": b"\xfe\xed\xfe\xed\x00\xff\xc3\x29", "text": odd.encode()}
    )
    await world.config_map("marker", {"A": "2"})
    await world.until_rolled("other", 1)
    await world.until_idle(control)
    assert await world.rollouts("web") == 1


BROKEN = [
    '{"v":1,',
    "not JSON",
    "null",
    '{"v":7,"template":"t","key":"k","configs":{}}',
    '{"v":1,"template":1,"key":[],"configs":{"configmap/app":7}}',
    "[" * 5000,
]


@pytest.mark.parametrize("value", BROKEN, ids=["cut", "text", "null", "version", "types", "nested"])
async def test_record_that_is_not_readable(world: World, proxy: FaultProxy, value: str) -> None:
    """At the start: recorded anew with a Warning, nothing is rolled, and it is followed from there on."""
    await world.config_map("app", {"A": "1"})
    await world.workload("web", config_maps=["app"])
    await world.patch("daemonsets", "web", {"metadata": {"annotations": {APPLIED: value}}})
    control = await world.controller(proxy.url)

    async def mended() -> bool:
        return "configmap/app" in await world.applied("web") and await world.applied("web") != value

    await world.until(mended, "the record is readable again")
    await world.until_idle(control)
    assert await world.rollouts("web") == 0

    async def told() -> bool:
        return bool([event for event in await world.events("Recorded", "web") if event["type"] == "Warning"])

    await world.until(told, "a Warning Event tells of it")
    await world.config_map("app", {"A": "2"})
    await world.until_rolled("web", 1)


async def test_record_broken_while_running(world: World, proxy: FaultProxy) -> None:
    """What this process knows is written again; a change made in the same moment is not lost with it."""
    await world.config_map("app", {"A": "1"})
    await world.workload("web", config_maps=["app"])
    control = await world.controller(proxy.url)
    await world.until_adopted("web")
    good = await world.applied("web")

    async def mended() -> bool:
        return await world.applied("web") == good

    await world.patch("daemonsets", "web", {"metadata": {"annotations": {APPLIED: '{"v":'}}})
    await world.until(mended, "the record is written again")
    assert await world.rollouts("web") == 0
    await world.patch("daemonsets", "web", {"metadata": {"annotations": {APPLIED: None}}})
    await world.config_map("app", {"A": "2"})
    await world.until_rolled("web", 1)
    await world.until_idle(control)
    assert await world.rollouts("web") == 1
