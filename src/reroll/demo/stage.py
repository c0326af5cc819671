"""Where the steps act: one namespace with the app, the controller's process, and the board that shows both."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from reroll.demo.board import Board
from reroll.demo.controller_process import ControllerProcess, Line
from reroll.demo.error import StepFailed
from reroll.demo.observer import DEPLOYMENTS, Look, Object, Observer, pod_problems
from reroll.demo.undo import undo_patch
from reroll.kube.client import JSON_PATCH, Client
from reroll.kube.resources import CONFIG_MAPS, PODS, REPLICA_SETS, SECRETS

SETTLE: Final = 1.0
"""Seconds, the controller's default, and given to it all the same."""
_LOOK_EVERY = 0.15
_DONE = ("rolled", "adopted", "recorded")
_ACTED_ON = ("roll", "adopt", "record")


class Stage:
    """What a step can do. Methods raise ApiError, and StepFailed where what they wait for does not come."""

    def __init__(
        self, client: Client, operator: Client, namespace: str, board: Board, connection: list[str]
    ) -> None:
        self.namespace = namespace
        self.board = board
        self._client = client
        self._operator = operator
        self._observer = Observer(client, namespace)
        self.controller = ControllerProcess([*connection, *_options(namespace)], self._heard)
        self._base: dict[str, int] = {}

    # --- doing ---------------------------------------------------------------------------------------

    async def config_map(self, name: str, data: Mapping[str, str]) -> None:
        """`kubectl patch configmap/NAME --type merge -p '{"data":...}'`"""
        await self._client.patch(
            CONFIG_MAPS.path(self.namespace, name), msgspec.json.encode({"data": data}), attempts=4
        )

    async def secret(self, name: str, data: Mapping[str, str]) -> None:
        """`kubectl patch secret/NAME --type merge -p '{"stringData":...}'`"""
        await self._client.patch(
            SECRETS.path(self.namespace, name), msgspec.json.encode({"stringData": data}), attempts=4
        )

    async def undo(self, deployment: str) -> None:
        """`kubectl rollout undo deployment/NAME`"""
        path = DEPLOYMENTS.path(self.namespace, deployment)
        current: dict[str, Any] = msgspec.json.decode(await self._client.get(path))
        patch = undo_patch(current, await self._observer.list(REPLICA_SETS))
        await self._client.patch(path, msgspec.json.encode(patch), content_type=JSON_PATCH)

    async def template(self, deployment: str) -> Object:
        """The pod template of a Deployment as it is now."""
        found = msgspec.json.decode(await self._client.get(DEPLOYMENTS.path(self.namespace, deployment)))
        template: Object = found["spec"]["template"]
        return template

    async def put_back(self, deployment: str, template: Object) -> None:
        """What an operator does that knows a Deployment by its own resource: it replaces the pod template, and with it
        whatever others had written there."""
        body = [{"op": "replace", "path": "/spec/template", "value": template}]
        await self._operator.patch(
            DEPLOYMENTS.path(self.namespace, deployment), msgspec.json.encode(body), content_type=JSON_PATCH
        )

    async def start_controller(self) -> None:
        """Raises DemoError when it doesn't become ready."""
        self.board.controller = "starting"
        await self.controller.start()
        self.board.controller = "running"
        self.board.say("  the controller runs", "quiet")

    async def kill_controller(self) -> None:
        await self.controller.kill()
        self.board.controller = "killed"
        self.board.say("  the controller was killed (SIGKILL)", "quiet")

    # --- seeing --------------------------------------------------------------------------------------

    async def look(self) -> Look:
        """The namespace as it is now; the board shows it."""
        look = await self._observer.look()
        for name, revision in look.revisions.items():
            self._base.setdefault(name, revision or 1)
        rollouts = {name: max(0, r - self._base[name]) for name, r in look.revisions.items()}
        self.board.observed(list(look.workloads.values()), rollouts)
        return look

    async def pod_problems(self) -> list[str]:
        """Why pods are not ready, as far as they tell."""
        return pod_problems(await self._observer.list(PODS))

    async def until(self, holds: Callable[[Look], bool], what: str, within: float) -> Look:
        """Look until it holds. Raises StepFailed after `within` seconds."""
        deadline = time.monotonic() + within
        while True:
            look = await self.look()
            if holds(look):
                return look
            if time.monotonic() > deadline:
                raise StepFailed(f"not within {within:.0f} s: {what}")
            await asyncio.sleep(_LOOK_EVERY)

    async def watch(self, seconds: float) -> Look:
        """Look for that long."""
        deadline = time.monotonic() + seconds
        while True:
            look = await self.look()
            if time.monotonic() > deadline:
                return look
            await asyncio.sleep(_LOOK_EVERY)

    def _heard(self, line: Line) -> None:
        """A line of the controller's log: decisions go to the board, warnings are said."""
        event, workload = line.get("event"), str(line.get("workload", ""))
        name = workload.rpartition("/")[2]
        reason = str(line.get("reason", ""))
        if event in _DONE:
            self.board.decided(name, event, reason)
        elif event == "decided":
            # What was acted on is told when it is done, with more to it.
            if line.get("decision") not in _ACTED_ON:
                self.board.decided(name, str(line.get("decision")), reason)
        elif line.get("level") in ("warning", "error"):
            detail = line.get("detail") or line.get("problem") or line.get("error") or ""
            self.board.say(f"  reroll: {event}{f' ({workload})' if workload else ''}: {detail}", "quiet")


def _options(namespace: str) -> list[str]:
    """How the controller is started: confined to the namespace, and heard in full."""
    return [
        "--namespace",
        namespace,
        "--key-namespace",
        namespace,
        "--settle",
        f"{SETTLE:g}s",
        "--listen",
        "127.0.0.1:0",
        "--log-format",
        "json",
        "--log-level",
        "debug",
    ]
