"""The sandbox as the stage of the demo: an API server in this process, on loopback, gone with it."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from reroll.sandbox.server import Sandbox


@asynccontextmanager
async def sandbox() -> AsyncIterator[str]:
    """Gives the path of its kubeconfig, which only this user can read."""
    with tempfile.TemporaryDirectory(prefix="reroll-sandbox-") as folder:
        kubeconfig = Path(folder) / "kubeconfig"
        async with Sandbox() as box:
            box.write_kubeconfig(kubeconfig)
            yield str(kubeconfig)
