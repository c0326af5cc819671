"""Fixtures of the fault tests: a proxy that can fail, and a world behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.conftest import Cluster
from tests.faults.proxy import FaultProxy
from tests.faults.world import World


@pytest.fixture
async def proxy(cluster: Cluster) -> AsyncIterator[FaultProxy]:
    """The API server, through a proxy that can fail."""
    if not cluster.tokens:
        pytest.skip("speaks to the API server with the tokens of our own cluster")
    async with FaultProxy(cluster.server, cluster.ca) as proxy:
        yield proxy


@pytest.fixture
async def world(proxy: FaultProxy, cluster: Cluster, namespace: str) -> AsyncIterator[World]:
    """A namespace of the real server. Its controllers are stopped while the proxy still stands, healed."""
    async with World(cluster, namespace) as world:
        yield world
        proxy.heal()  # a controller that stops still sends its Events
