"""A stage on the real control plane, with workloads in the mode `version`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from reroll.app import Controller
from reroll.core.kinds import KINDS
from reroll.core.pointing import named
from reroll.core.records import ConfigId, ConfigKind, WorkloadId
from reroll.kube.resources import REPLICA_SETS
from reroll.versions import rollback, unversion
from reroll.versions.shelf import Shelf, read_shelf
from reroll.versions.templates import template_of
from reroll.versions.wanted import Wish
from tests.controller.conftest import NewWorkload, Stage, control, define, new_workload, stage

__all__ = ["control", "define", "new_workload", "stage"]

Json = dict[str, Any]
MODE = {"reroll.dev/auto": "true", "reroll.dev/mode": "version"}
ENV = {"envFrom": [{"configMapRef": {"name": "app"}}]}


class Scene:
    """The stage, with what these tests do and look at."""

    def __init__(self, stage: Stage, new_workload: NewWorkload) -> None:
        self.stage, self._new_workload = stage, new_workload

    # --- doing ---------------------------------------------------------------------------------------

    async def workload(self, name: str = "web", **more: Any) -> None:
        """A workload in the mode `version` that reads the ConfigMap `app`."""
        await self.stage.create(self._new_workload(name, **{"annotations": MODE, "container": ENV, **more}))

    async def contents(
        self, *values: str, name: str = "web", kind: str = "Deployment", ended: bool = True
    ) -> list[str]:
        """Give `app` one content after the other, each when the one before has its version; their names."""
        names: list[str] = []
        for value in values:
            before = await self.names(name, kind)
            if await self.data("app") == {"a": value}:
                before = "app"
            else:
                await self.stage.set("ConfigMap", "app", {"a": value})
            names.append(await self.pointed(before, name, kind))
            if ended and kind == "Deployment":
                await self.stage.complete(name)
        return names

    async def roll_back(
        self, name: str = "web", kind: str = "Deployment", **more: Any
    ) -> rollback.RolledBack:
        """`reroll rollback`."""
        wish = {key: more.pop(key) for key in ("revision", "version", "config") if key in more}
        options = rollback.Options(Wish(**wish), **more)
        client = self.stage.client
        before, client.field_manager = client.field_manager, "reroll-rollback"
        try:
            return await rollback.roll_back(
                client, WorkloadId(kind, self.stage.namespace, name), KINDS[kind], options
            )
        finally:
            client.field_manager = before

    async def unversion(
        self, *names: str, now: float = 0.0, everywhere: bool = False, **more: Any
    ) -> unversion.Unversioned:
        """`reroll unversion`, of Deployments."""
        workloads = [WorkloadId("Deployment", self.stage.namespace, name) for name in names]
        client, places = self.stage.client, (self.stage.namespace,) if everywhere else ()
        if everywhere:
            workloads = await unversion.versioned(client, places)
        options = unversion.Options(**{"young": float("-inf"), **more})
        before, client.field_manager = client.field_manager, "reroll-unversion"
        try:
            return await unversion.unversion(client, workloads, now, options, everywhere=places)
        finally:
            client.field_manager = before

    # --- seeing --------------------------------------------------------------------------------------

    async def template(self, name: str = "web", kind: str = "Deployment") -> Json:
        found = template_of(KINDS[kind], await self.stage.get(kind, name))
        assert found is not None
        return found

    async def names(
        self,
        name: str = "web",
        kind: str = "Deployment",
        config: tuple[ConfigKind, str] = ("configmap", "app"),
    ) -> str:
        """What the template has for a source."""
        return named(await self.template(name, kind))[config]

    async def pointed(self, unlike: str = "app", name: str = "web", kind: str = "Deployment") -> str:
        """Wait until the template names a version that is not `unlike`; its name."""

        async def at_another() -> str:
            found = await self.names(name, kind)
            return found if found not in (unlike, "app") else ""

        found: str = await self.stage.until(at_another, f"{name} was not pointed at a version")
        return found

    async def shelf(self, name: str = "app", kind: ConfigKind = "configmap") -> Shelf:
        return await read_shelf(self.stage.client, ConfigId(kind, self.stage.namespace, name))

    async def copies(self, name: str = "app", kind: ConfigKind = "configmap") -> list[str]:
        return [copy.config.name for copy in (await self.shelf(name, kind)).copies]

    async def data(self, name: str, kind: str = "ConfigMap") -> Json:
        found: Json = (await self.stage.get(kind, name))["data"]
        return found

    async def replica_sets(self) -> int:
        return len(
            json.loads(await self.stage.client.list_page(REPLICA_SETS.path(self.stage.namespace)))["items"]
        )

    async def told(self, name: str, reason: str) -> list[Json]:
        """Events of this reason, when there are any."""

        async def found() -> list[Json]:
            return [event for event in await self.stage._all_events(name) if event["reason"] == reason]

        events: list[Json] = await self.stage.until(found, f"{name} has no Event {reason}")
        return events

    async def stays(self, control: Controller, rollouts: int, names: str, name: str = "web") -> None:
        """The controller has seen all, and is content: so many changes of the template, no more."""
        await self.stage.complete(name)
        await self.stage.quiet(control)
        assert await self.names(name) == names
        assert await self.stage.rollouts(name) == rollouts


@pytest.fixture
def scene(stage: Stage, new_workload: Callable[..., Json]) -> Scene:
    return Scene(stage, new_workload)


@pytest.fixture(autouse=True)
async def goodbye() -> AsyncIterator[None]:
    """Watches that the stage ends still say goodbye by TLS when its client is closed: the loop goes on so long."""
    yield
    await asyncio.sleep(0.05)
