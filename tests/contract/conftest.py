"""The same cases on the sandbox and on the real control plane: where they differ, the sandbox is wrong.

`server` is one of the two, by turns; `both` gives them together, for cases that compare what they answer. The
sandbox plays the dev cluster's default version: on another one the comparisons are skipped.
"""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Iterator

import pytest

from devcluster import binaries, versions
from reroll.sandbox.server import Sandbox
from tests.contract.servers import Server


@pytest.fixture(scope="session")
def sandbox_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A sandbox in a thread of its own, so that tests may block."""
    folder = tmp_path_factory.mktemp("sandbox")
    loop = asyncio.new_event_loop()
    ready, over = threading.Event(), asyncio.Event()

    async def work() -> None:
        async with Sandbox(bookmark=1.0, ready_after=0.2) as sandbox:
            sandbox.write_kubeconfig(folder / "kubeconfig")
            ready.set()
            await over.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(work()))
    thread.start()
    assert ready.wait(30)
    # Not the one on PATH, which may be of another version, or run another for each version of a server.
    built = binaries.built(versions.chosen())
    kubectl = str(built / "kubectl") if built else shutil.which("kubectl")
    try:
        if kubectl is None:
            pytest.skip("kubectl is on no path")
        server = Server("sandbox", folder / "kubeconfig", kubectl, folder / "cache")
        yield server
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()


@pytest.fixture(scope="session")
def real_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The control plane of the session."""
    cluster = request.getfixturevalue("cluster")
    # The kubectl of both is the same, for its own words are no part of the contract.
    server = Server("real", cluster.kubeconfig, str(cluster.kubectl), tmp_path_factory.mktemp("cache"))
    yield server
    server.end()


@pytest.fixture(params=["sandbox", "real"])
def server(request: pytest.FixtureRequest) -> Server:
    """One of the two, with a namespace of the test's own."""
    found: Server = request.getfixturevalue(f"{request.param}_server")
    return found.fresh()


@pytest.fixture
def both(sandbox_server: Server, real_server: Server, cluster: object) -> tuple[Server, Server]:
    """The sandbox and the control plane, each with a namespace of the test's own; of the same version, for others
    answer otherwise (before 1.34, say, each template has a creationTimestamp of null)."""
    if real_server.minor != sandbox_server.minor:
        pytest.skip(
            f"the sandbox plays Kubernetes 1.{sandbox_server.minor}, and this is 1.{real_server.minor}"
        )
    return sandbox_server.fresh(), real_server.fresh()


def pytest_itemcollected(item: pytest.Item) -> None:
    """A case on the real control plane needs it, as the conftest of all tests sees by the fixture's name."""
    callspec = getattr(item, "callspec", None)
    names = getattr(item, "fixturenames", None)
    if names is not None and callspec is not None and callspec.params.get("server") == "real":
        names.append("cluster")
