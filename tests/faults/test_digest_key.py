"""The key of the digests of Secrets is lost or changed: nothing rolls, and Secrets are followed from there on."""

from __future__ import annotations

import secrets

import pytest

from tests.faults.proxy import FORBIDDEN, FaultProxy
from tests.faults.world import World

KEY = "reroll-digest-key"


async def web_with_secret(world: World) -> None:
    """Two workloads: one that reads a Secret, one that serves to tell when something later was done."""
    await world.secret("db", {"password": "1"})
    await world.config_map("marker", {"A": "1"})
    await world.workload("web", secrets=["db"])
    await world.workload("other", config_maps=["marker"])


async def until_recorded_with(world: World, key_id: str, *names: str) -> None:
    for name in names:

        async def recorded(name: str = name) -> bool:
            return f'"key":"{key_id}"' in await world.applied(name)

        await world.until(recorded, f"{name} is recorded with the key in force")


@pytest.mark.parametrize("loss", ["lost", "changed"])
async def test_between_runs(world: World, proxy: FaultProxy, loss: str) -> None:
    await web_with_secret(world)
    first = await world.controller(proxy.url)
    await world.until_adopted("web", "other")
    await world.end(first)

    if loss == "lost":
        await world.delete("secrets", KEY)
    else:
        await world.secret(KEY, {"key": secrets.token_hex(20)})
    second = await world.controller(proxy.url)
    assert second.store.configs.key.id != first.store.configs.key.id
    await until_recorded_with(world, second.store.configs.key.id, "web")
    await world.until_idle(second)
    assert await world.all_rollouts() == {"web": 0, "other": 0}

    await world.secret("db", {"password": "2"})
    await world.until_rolled("web", 1)
    await world.config_map("marker", {"A": "2"})
    await world.until_rolled("other", 1)
    await world.until_idle(second)
    assert await world.all_rollouts() == {"web": 1, "other": 1}


@pytest.mark.parametrize("loss", ["lost", "changed"])
async def test_while_running(world: World, proxy: FaultProxy, loss: str) -> None:
    """The one that runs keeps its key, or takes the new one, and never takes the difference for a change."""
    await web_with_secret(world)
    first = await world.controller(proxy.url)
    await world.until_adopted("web", "other")
    if loss == "lost":
        await world.delete("secrets", KEY)
    else:
        await world.secret(KEY, {"key": secrets.token_hex(20)})
    await world.secret("db", {"password": "2"})
    await world.until_rolled("web", 1)

    # The next start finds what the first left, or another key; the first may still run, as in a rolling update.
    second = await world.controller(proxy.url)
    await until_recorded_with(world, second.store.configs.key.id, "web")
    await world.until_true(
        lambda: first.store.configs.key.id == second.store.configs.key.id, "both use the same key"
    )
    await world.config_map("marker", {"A": "2"})
    await world.until_rolled("other", 1)
    await world.until_idle(first, second)
    assert await world.all_rollouts() == {"web": 1, "other": 1}

    await world.secret("db", {"password": "3"})
    await world.until_rolled("web", 2)
    await world.until_idle(first, second)
    assert await world.all_rollouts() == {"web": 2, "other": 1}


async def test_changed_under_many_workloads(world: World, proxy: FaultProxy) -> None:
    """Every actor finds out at once that the key was replaced; they agree, and nothing goes to and fro."""
    names = [f"app-{number}" for number in range(30)]
    await world.secret("db", {"password": "1"})
    for name in names:
        await world.workload(name, secrets=["db"])
    first = await world.controller(proxy.url)
    await world.until_adopted(*names)
    await world.delete("secrets", KEY)
    second = await world.controller(proxy.url)
    await world.until_true(
        lambda: first.store.configs.key.id == second.store.configs.key.id, "both use the same key"
    )
    await until_recorded_with(world, second.store.configs.key.id, *names)

    await world.secret("db", {"password": "2"})
    for name in names:
        await world.until_rolled(name, 1)
    await world.until_idle(first, second)
    assert await world.all_rollouts() == dict.fromkeys(names, 1)
    assert first.store.configs.key.id == second.store.configs.key.id
    assert len(proxy.requests("get", resource="secrets", name=KEY)) < 12


async def test_two_first_starts_agree(world: World, proxy: FaultProxy) -> None:
    await web_with_secret(world)
    controls = [world.begin(world.config(proxy.url)) for _ in range(3)]
    await world.until_true(lambda: all(control.working for control in controls), "all work")
    assert len({control.store.configs.key.id for control in controls}) == 1


async def test_not_allowed_to_keep_it(world: World, proxy: FaultProxy) -> None:
    """A key for the lifetime of the process: Secrets are followed while it runs, a restart rolls nothing."""
    await web_with_secret(world)
    proxy.add(FORBIDDEN, "get", "create", path=f"/namespaces/{world.namespace}/secrets(/{KEY})?([?]|$)")
    first = await world.controller(proxy.url)
    await world.until_adopted("web", "other")
    await world.secret("db", {"password": "2"})
    await world.until_rolled("web", 1)
    await world.end(first)

    second = await world.controller(proxy.url)
    await until_recorded_with(world, second.store.configs.key.id, "web")
    await world.until_idle(second)
    assert await world.all_rollouts() == {"web": 1, "other": 0}
    await world.secret("db", {"password": "3"})
    await world.until_rolled("web", 2)


async def test_unusable_key(world: World, proxy: FaultProxy) -> None:
    """A Secret of that name that holds no key: nothing is begun, and what to do is said."""
    await world.secret(KEY, {"other": "content"})
    control = world.begin(world.config(proxy.url))

    def told() -> bool:
        reasons = [check.reason for check in control.ready_checks()]
        return any("holds no usable digest key" in reason for reason in reasons)

    await world.until_true(told, "the problem is told")
    assert not control.working
    await world.delete("secrets", KEY)
    await world.until_true(lambda: control.working, "it works once the Secret is gone")
