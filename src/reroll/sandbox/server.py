"""A Kubernetes API in memory, on loopback: the file to read first.

    async with Sandbox() as sandbox:
        sandbox.write_kubeconfig(path)

storage ◄─ registry ◄─ api ◄─ HTTP, with namespaces and rollouts acting on the storage beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final
from urllib.parse import quote

import msgspec
from aiohttp import web

from reroll.sandbox.api import Api
from reroll.sandbox.crashes import CrashRule
from reroll.sandbox.namespaces import Namespaces
from reroll.sandbox.pods_page import pods_page
from reroll.sandbox.registry import Registry
from reroll.sandbox.rollouts import Rollouts
from reroll.sandbox.served import Catalog
from reroll.sandbox.storage import Storage

_HOST: Final = "127.0.0.1"
_SHUTDOWN: Final = 0.5  # seconds for requests in flight at the end


class Sandbox:
    """A Kubernetes API as an async context manager; it is gone with its block.

    `port` 0 takes a free one; `token` is made up unless given; `now` is its clock, in seconds since the epoch.
    `rollouts` makes what moves the workloads, None for objects that stay as they are written; the default is
    `Rollouts` with pods that are ready after `ready_after` seconds and crash by the rule `crash`.
    `bookmark` seconds lie between the bookmarks of a watch. Entering raises OSError where the port can't be had.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        token: str | None = None,
        now: Callable[[], float] = time.time,
        rollouts: bool = True,
        ready_after: float = 0.5,
        crash: CrashRule | None = None,
        bookmark: float = 60.0,
    ) -> None:
        self._port = port
        self.token = token or secrets.token_urlsafe(24)
        self.storage = Storage(now)
        self.catalog = Catalog(self.storage)
        self.registry = Registry(self.storage, self.catalog)
        self.api = Api(self.registry, self.token, bookmark=bookmark)
        Namespaces(self.storage).begin()
        self.rollouts = (
            Rollouts(self.storage, ready_after=ready_after, crash=crash, busy=self.api.busy)
            if rollouts
            else None
        )
        if self.rollouts is not None:
            kubelet = self.rollouts.kubelet
            self.api.pages["pods"] = lambda: pods_page(self.storage, kubelet)
        self._acting: asyncio.Task[None] | None = None
        self._runner: web.ServerRunner | None = None
        self.url = ""
        """Where it is, such as ``http://127.0.0.1:41234``; empty before it is entered."""

    async def __aenter__(self) -> Sandbox:
        # One handler for all paths: no router, which would cost as much as most requests do.
        server = web.Server(self.api.handle, access_log=None, handler_cancellation=True)
        runner = web.ServerRunner(server, shutdown_timeout=_SHUTDOWN)
        await runner.setup()
        try:
            await web.TCPSite(runner, _HOST, self._port, backlog=1024).start()
        except BaseException:
            await runner.cleanup()
            raise
        self._runner = runner
        self.url = f"http://{_HOST}:{runner.addresses[0][1]}"
        if self.rollouts is not None:
            self._acting = asyncio.create_task(self.rollouts.run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._acting is not None:
            self._acting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._acting
        self.api.end_watches()
        if self._runner is not None:
            await self._runner.cleanup()

    def write_kubeconfig(self, path: str | os.PathLike[str]) -> None:
        """Write a kubeconfig for this sandbox, which only this user can read.

        Its server's URL holds the token, too: kubectl sends none of a user's over plain HTTP.
        """
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "sandbox", "cluster": {"server": f"{self.url}/{quote(self.token, safe='')}"}}
            ],
            "users": [{"name": "sandbox", "user": {"token": self.token}}],
            "contexts": [{"name": "sandbox", "context": {"cluster": "sandbox", "user": "sandbox"}}],
            "current-context": "sandbox",
        }
        target = Path(path)
        target.touch(mode=0o600)
        target.chmod(0o600)
        # JSON is YAML.
        target.write_bytes(msgspec.json.format(msgspec.json.encode(config)) + b"\n")
