"""A stage for `reroll reloader`: its command line, in a namespace of the real API server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeAlias

import pytest

from reroll.app import Controller
from reroll.cli.reloader_flags import read
from reroll.controller.reloader_metrics import ReloaderMetrics
from reroll.dialects import Dialects
from reroll.kube.client import Client
from reroll.kube.config import load_config
from reroll.settings import load
from tests.conftest import Cluster
from tests.controller.conftest import Stage, at_work, define

__all__ = ["define"]

Running: TypeAlias = Callable[..., AbstractAsyncContextManager[Controller]]
"""The fixture `reloader`: `running`."""


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
    async with at_work(control):
        yield control


@pytest.fixture
async def stage(cluster: Cluster, namespace: str) -> AsyncIterator[Stage]:
    """A new namespace, and a client of the cluster's admin."""
    async with Client(load_config(kubeconfig=str(cluster.kubeconfig)), field_manager="test") as client:
        yield Stage(client, namespace, cluster.kubeconfig)


@pytest.fixture
def reloader() -> Running:
    """Runs the controller: see `running`."""
    return running
