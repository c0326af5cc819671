"""A stage for `reroll reloader`: its command line, in a namespace of the real API server."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from reroll.app import Controller
from reroll.cli.reloader_flags import read
from reroll.controller.reloader_metrics import ReloaderMetrics
from reroll.dialects import Dialects
from reroll.kube.client import Client
from reroll.kube.config import load_config
from reroll.settings import load

_spec = importlib.util.spec_from_file_location(
    "controller_stage", Path(__file__).parents[1] / "controller" / "conftest.py"
)
assert _spec is not None
assert _spec.loader is not None
_controller = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_controller)
define = _controller.define

if TYPE_CHECKING:
    from typing import TypeAlias

    Stage: TypeAlias = Any


@asynccontextmanager
async def running(
    stage: Stage, *arguments: str, environ: Mapping[str, str] | None = None
) -> AsyncIterator[Controller]:
    """`reroll reloader ARGUMENTS`, in this process; gives it when it works. By default in the stage's namespace."""
    given = {"KUBERNETES_NAMESPACE": stage.namespace} if environ is None else environ
    asked = read(["--settle=200ms", "--listen=", *arguments], given)
    settings = load({**asked.settings, "key_namespace": stage.namespace}, environ={})
    control = Controller(
        load_config(kubeconfig=str(stage.kubeconfig)),
        settings,
        dialects=Dialects(reloader=asked.keys),
        metrics=ReloaderMetrics("api", by_namespace=True),
    )
    ready = asyncio.Event()
    task = asyncio.create_task(control.run(lambda address: ready.set()))
    waiting = asyncio.create_task(ready.wait())
    try:
        async with asyncio.timeout(20):
            await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
        yield control
    finally:
        waiting.cancel()
        control.stop()
        await task


@pytest.fixture
async def stage(cluster: Any, namespace: str) -> AsyncIterator[Stage]:
    """A new namespace, and a client of the cluster's admin."""
    async with Client(load_config(kubeconfig=str(cluster.kubeconfig)), field_manager="test") as client:
        yield _controller.Stage(client, namespace, cluster.kubeconfig)


@pytest.fixture
def reloader() -> Any:
    """Runs the controller: see `running`."""
    return running
