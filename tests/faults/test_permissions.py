"""What may not be read holds up nothing else, is told, and is followed from the moment it may be read."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest

from reroll.app import Controller
from tests.faults.proxy import FORBIDDEN, FaultProxy
from tests.faults.world import World


@pytest.fixture
async def neighbour(world: World) -> AsyncIterator[str]:
    """A second namespace."""
    name = f"test-{uuid.uuid4().hex[:10]}"
    await world.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    yield name
    await world.request("DELETE", f"/api/v1/namespaces/{name}")


def not_ready(control: Controller) -> dict[str, str]:
    """The checks of /readyz that fail, with their reasons."""
    return {check.name: check.reason for check in control.ready_checks() if not check.ok}


async def test_secrets_of_one_namespace(world: World, proxy: FaultProxy, neighbour: str) -> None:
    """Two namespaces are worked in, and the Secrets of one may not be read."""
    ours = world.namespace
    for namespace in (ours, neighbour):
        await world.config_map("open", {"A": "1"}, namespace=namespace)
        await world.secret("closed", {"A": "1"}, namespace=namespace)
        await world.workload("web", config_maps=["open"], secrets=["closed"], namespace=namespace)
    forbidden = proxy.add(FORBIDDEN, path=f"/namespaces/{neighbour}/secrets")
    control = await world.controller(proxy.url, namespaces=(ours, neighbour))
    await world.until_adopted("web")
    await world.until_adopted("web", namespace=neighbour)
    assert list(not_ready(control)) == [f"secrets/{neighbour}"]
    assert "you may not" in not_ready(control)[f"secrets/{neighbour}"]

    await world.secret("closed", {"A": "2"}, namespace=neighbour)  # not seen
    await world.secret("closed", {"A": "2"})
    await world.until_rolled("web", 1)
    await world.config_map("open", {"A": "2"}, namespace=neighbour)
    await world.until_rolled("web", 1, namespace=neighbour)

    proxy.remove(forbidden)
    await world.until_true(lambda: not_ready(control) == {}, "all is read")

    async def recorded() -> bool:
        return "secret/closed" in await world.applied("web", namespace=neighbour)

    await world.until(recorded, "what could be read at last is recorded")
    assert await world.rollouts("web", namespace=neighbour) == 1, "and rolls nothing"
    await world.secret("closed", {"A": "3"}, namespace=neighbour)
    await world.until_rolled("web", 2, namespace=neighbour)


async def test_secrets_of_the_whole_cluster(world: World, proxy: FaultProxy) -> None:
    await world.config_map("open", {"A": "1"})
    await world.secret("closed", {"A": "1"})
    await world.workload("both", config_maps=["open"], secrets=["closed"])
    forbidden = proxy.add(FORBIDDEN, path="^/api/v1/secrets")
    control = await world.controller(
        proxy.url, namespaces=(), namespace_selector=f"kubernetes.io/metadata.name={world.namespace}"
    )
    await world.until_adopted("both")
    assert list(not_ready(control)) == ["secrets"]

    await world.config_map("open", {"A": "2"})
    await world.until_rolled("both", 1)

    proxy.remove(forbidden)
    await world.until_true(lambda: not_ready(control) == {}, "all is listed")

    async def recorded() -> bool:
        return "secret/closed" in await world.applied("both")

    await world.until(recorded, "what is in it now was read, and counts from here on")
    await world.secret("closed", {"A": "2"})
    await world.until_rolled("both", 2)


async def test_secrets_no_longer_allowed(world: World, proxy: FaultProxy) -> None:
    """A permission that is taken away while all runs: what was known stays known, nothing is taken for gone."""
    await world.config_map("open", {"A": "1"})
    await world.secret("closed", {"A": "1"})
    await world.workload("web", config_maps=["open"], secrets=["closed"])
    control = await world.controller(proxy.url)
    await world.until_adopted("web")

    def secrets_are(state: str) -> bool:
        return any(s.resource == "secrets" and s.state == state for s in control.watches.statistics())

    forbidden = proxy.add(FORBIDDEN, path=f"/namespaces/{world.namespace}/secrets")
    proxy.drop_watches()
    await world.until_true(lambda: secrets_are("refused"), "the Secrets are refused")
    await world.secret("closed", {"A": "2"})
    await world.config_map("open", {"A": "2"})
    await world.until_rolled("web", 1)

    proxy.remove(forbidden)
    await world.until_rolled("web", 2)


async def test_optional_secret_appears_after_all_is_read(world: World, proxy: FaultProxy) -> None:
    """That an optional Secret is missing can be told once Secrets may be read; its appearing then rolls."""
    await world.config_map("open", {"A": "1"})
    await world.workload("web", config_maps=["open"])
    optional = {"secretRef": {"name": "extra", "optional": True}}
    container = {"name": "main", "image": "app:1", "envFrom": [{"configMapRef": {"name": "open"}}, optional]}
    await world.patch("daemonsets", "web", {"spec": {"template": {"spec": {"containers": [container]}}}})
    forbidden = proxy.add(FORBIDDEN, path=f"/namespaces/{world.namespace}/secrets")
    control = await world.controller(proxy.url)
    await world.until_adopted("web")

    proxy.remove(forbidden)
    await world.until_true(lambda: not_ready(control) == {}, "all is read")

    async def recorded() -> bool:
        return '"secret/extra":null' in await world.applied("web")

    await world.until(recorded, "its absence is recorded")
    await world.secret("extra", {"A": "1"})
    await world.until_rolled("web", 2)  # the test's own change of the template was the first


async def test_patches_of_one_workload_are_forbidden(world: World, proxy: FaultProxy) -> None:
    """An admission rule or RBAC says no to one: its owner hears of it, and the other goes on."""
    await world.config_map("app", {"A": "1"})
    await world.workload("refused", config_maps=["app"])
    await world.workload("allowed", config_maps=["app"])
    await world.controller(proxy.url)
    await world.until_adopted("refused", "allowed")

    forbidden = proxy.add(FORBIDDEN, "patch", path="/daemonsets/refused")
    await world.config_map("app", {"A": "2"})
    await world.until_rolled("allowed", 1)

    async def told() -> bool:
        return bool(await world.events("Failed", "refused"))

    await world.until(told, "a Warning Event tells of it")
    assert await world.rollouts("refused") == 0
    proxy.remove(forbidden)
    await world.until_rolled("refused", 1)


@pytest.mark.parametrize("verb", ["patch", "watch", "create"])
async def test_one_verb_is_forbidden(world: World, proxy: FaultProxy, verb: str) -> None:
    """403 on one verb of one resource: what it stands for waits, all else goes on, and nothing is lost."""
    resource = {"patch": "/daemonsets/", "watch": "/daemonsets[?]", "create": "/events"}[verb]
    for name in ("app", "other"):
        await world.config_map(name, {"A": "1"})
        await world.workload(name, config_maps=[name])
    await world.controller(proxy.url)
    await world.until_adopted("app", "other")

    refused = proxy.add(FORBIDDEN, verb, path=resource)
    proxy.drop_watches()
    await world.config_map("app", {"A": "2"})
    await world.until_true(lambda: refused.hits > 0, "it was refused")
    if verb != "patch":
        await world.until_rolled("app", 1)
    proxy.remove(refused)
    await world.until_rolled("app", 1)
    await world.config_map("other", {"A": "2"})
    await world.until_rolled("other", 1)
    assert await world.all_rollouts() == {"app": 1, "other": 1}
