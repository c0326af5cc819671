"""The mode `version` on a real control plane: old pods keep old configuration, and an undo brings it back."""

from __future__ import annotations

import asyncio
import json
import re
import time
from typing import Any

import pytest

from reroll.core.kinds import WORKLOAD_KINDS
from reroll.core.records import ConfigId
from reroll.core.suffix_hash import suffix_hash
from reroll.kube.client import Client
from reroll.kube.config import load_config
from reroll.kube.resources import REPLICA_SETS
from reroll.versions.collect import collect
from reroll.versions.garbage import Plan
from reroll.versions.hold import let_go
from tests.conftest import Kubectl
from tests.controller.conftest import NewWorkload, Stage

Json = dict[str, Any]
MODE = {"reroll.dev/auto": "true", "reroll.dev/mode": "version"}
ENV = {"envFrom": [{"configMapRef": {"name": "app"}}]}
KINDS = ["Deployment", "StatefulSet", "DaemonSet"]

pytestmark = pytest.mark.timeout(120)


class Play:
    """The stage, with what these tests look at."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    async def template(self, name: str = "web", kind: str = "Deployment") -> Json:
        found: Json = (await self.stage.get(kind, name))["spec"]["template"]
        return found

    async def names(self, name: str = "web", kind: str = "Deployment") -> str:
        """What the first container's envFrom names."""
        container = (await self.template(name, kind))["spec"]["containers"][0]
        return str(container["envFrom"][0]["configMapRef"]["name"])

    async def pointed(self, unlike: str = "app", name: str = "web", kind: str = "Deployment") -> str:
        """Wait until the template names a version that is not `unlike`; its name."""

        async def at_another() -> str:
            found = await self.names(name, kind)
            return found if found not in (unlike, "app") else ""

        found: str = await self.stage.until(at_another, f"{name} was not pointed at a version")
        return found

    async def copy(self, name: str, kind: str = "ConfigMap") -> Json:
        found: Json = await self.stage.get(kind, name)
        return found

    async def copies(self) -> list[str]:
        listed = json.loads(await self.stage.client.list_page(self.stage.path("ConfigMap")))["items"]
        return sorted(
            each["metadata"]["name"]
            for each in listed
            if "reroll.dev/source" in each["metadata"].get("labels", {})
        )

    async def pods(self, key: str) -> set[str]:
        """What the environment of each running pod of web is, by the content of the ConfigMap that it names."""
        path = f"{self.stage.path('Pod')}?labelSelector=app%3Dweb"
        pods: list[Json] = json.loads(await self.stage.client.list_page(path))["items"]
        found = set()
        for pod in pods:
            if "deletionTimestamp" in pod["metadata"] or pod["status"].get("phase") != "Running":
                continue
            name = pod["spec"]["containers"][0]["envFrom"][0]["configMapRef"]["name"]
            found.add((await self.copy(name))["data"][key])
        return found


@pytest.fixture
def play(stage: Stage) -> Play:
    return Play(stage)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_plain_edit_is_a_new_object_and_a_new_reference(
    stage: Stage, play: Play, new_workload: NewWorkload, kind: str
) -> None:
    async with stage.controller() as control:
        await stage.config_map(
            "app", {"a": "1"}, labels={"team": "shop", "app.kubernetes.io/managed-by": "Helm"}
        )
        await stage.create(new_workload("web", kind=kind, annotations=MODE, container=ENV))
        first = await play.pointed(kind=kind)
        assert re.fullmatch(r"app-[2456789bcdfghkmt]{10}", first)
        copy = await play.copy(first)
        assert copy["immutable"] is True
        assert copy["data"] == {"a": "1"}
        labels = copy["metadata"]["labels"]
        assert labels == {"team": "shop", "reroll.dev/source": "app", "reroll.dev/version": "1"}
        annotations = (await play.template(kind=kind))["metadata"]["annotations"]
        assert annotations["version.reroll.dev/configmap.app"] == first
        await stage.set("ConfigMap", "app", {"a": "2"})
        second = await play.pointed(first, kind=kind)
        assert (await play.copy(second))["data"] == {"a": "2"}
        assert (await play.copy(second))["metadata"]["labels"]["reroll.dev/version"] == "2"
        assert (await play.copy(first))["data"] == {"a": "1"}, "old pods keep what they have"
        await stage.quiet(control)
        assert await stage.rollouts("web", kind) == 2, "one as it was put into the mode, one for the change"


async def test_the_same_content_again_is_the_same_object(
    stage: Stage, play: Play, new_workload: NewWorkload
) -> None:
    async with stage.controller():
        await stage.config_map("app", {"a": "1"})
        await stage.create(new_workload("web", annotations=MODE, container=ENV))
        first = await play.pointed()
        await stage.set("ConfigMap", "app", {"a": "2"})
        second = await play.pointed(first)
        await stage.set("ConfigMap", "app", {"a": "1"})
        assert await play.pointed(second) == first
        assert await play.copies() == sorted([first, second])


async def test_undo_after_three_versions_brings_the_content_back(
    stage: Stage, play: Play, new_workload: NewWorkload, kubectl: Kubectl
) -> None:
    async with stage.controller() as control:
        await stage.config_map("app", {"a": "1"})
        await stage.create(new_workload("web", annotations=MODE, container=ENV, replicas=2))
        names = [await play.pointed()]
        await stage.complete("web")
        for value in ("2", "3"):
            await stage.set("ConfigMap", "app", {"a": value})
            names.append(await play.pointed(names[-1]))
            await stage.complete("web")
        assert await play.pods("a") == {"3"}
        kubectl("rollout", "undo", "deployment/web", "-n", stage.namespace)
        assert await play.pointed(names[2]) == names[1]
        await stage.complete("web")
        assert await play.pods("a") == {"2"}
        await stage.quiet(control)
        assert await play.names() == names[1], "an undo stays undone"
        [event] = await stage.until(lambda: told(stage, "SourceAhead"), "nobody was told")
        assert "configmap/app" in event["note"]
        # The next content goes on, whatever was undone.
        await stage.set("ConfigMap", "app", {"a": "4"})
        assert (await play.copy(await play.pointed(names[1])))["data"] == {"a": "4"}


async def told(stage: Stage, reason: str) -> list[Json]:
    return [event for event in await stage._all_events("web") if event["reason"] == reason]


async def test_what_it_does_not_read_makes_no_version(
    stage: Stage, play: Play, new_workload: NewWorkload
) -> None:
    one_key = {"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "app", "key": "a"}}}]}
    async with stage.controller() as control:
        await stage.config_map("app", {"a": "1", "b": "1"})
        await stage.create(new_workload("web", annotations=MODE, container=one_key))
        await stage.rolled("web", 1)
        await stage.set("ConfigMap", "app", {"b": "2"})
        await stage.quiet(control)
        assert await stage.rollouts("web") == 1
        assert len(await play.copies()) == 1


async def test_a_secret_has_versions_whose_names_tell_nothing(
    stage: Stage, play: Play, new_workload: NewWorkload
) -> None:
    async with stage.controller():
        await stage.secret("db", {"password": "hunter2"})
        container = {"env": [{"name": "P", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}]}
        await stage.create(new_workload("web", annotations=MODE, container=container))
        await stage.rolled("web", 1)
        env = (await play.template())["spec"]["containers"][0]["env"][0]
        name = env["valueFrom"]["secretKeyRef"]["name"]
        copy = await play.copy(name, "Secret")
        assert (copy["immutable"], copy["type"]) == (True, "Opaque")
        assert copy["data"] == (await stage.get("Secret", "db"))["data"]

        assert name != f"db-{suffix_hash({**copy, 'kind': 'Secret'})}", "kustomize's is a hash of the value"


async def test_what_kustomize_generated_is_a_version_already(
    stage: Stage, play: Play, new_workload: NewWorkload
) -> None:
    async with stage.controller() as control:
        await stage.create(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "app"},
                "data": {"a": "1"},
                "immutable": True,
            }
        )
        await stage.create(new_workload("web", annotations=MODE, container=ENV))
        await stage.adopted("web")
        await stage.quiet(control)
        assert await play.names() == "app"
        assert await stage.rollouts("web") == 0


async def test_two_workloads_of_which_one_has_versions(
    stage: Stage, play: Play, new_workload: NewWorkload
) -> None:
    async with stage.controller() as control:
        await stage.config_map("app", {"a": "1"})
        await stage.create(new_workload("web", annotations=MODE, container=ENV))
        await stage.create(new_workload("api", container=ENV))
        first = await play.pointed()
        await stage.set("ConfigMap", "app", {"a": "2"})
        await play.pointed(first)
        await stage.rolled("api", 1)
        await stage.quiet(control)
        assert await play.names("api") == "app"
        assert await stage.rollouts("api") == 1


async def test_a_tool_that_writes_the_source_again_is_followed_by_one_rollout(
    stage: Stage, play: Play, new_workload: NewWorkload
) -> None:
    async with stage.controller() as control:
        await stage.config_map("app", {"a": "1"})
        manifest = new_workload("web", annotations=MODE, container=ENV)
        await stage.create(manifest)
        first = await play.pointed()
        manifest["spec"]["template"]["spec"]["containers"][0]["image"] = "example.invalid/app:2"
        await stage.patch(
            "Deployment", "web", {"spec": {"template": {"spec": manifest["spec"]["template"]["spec"]}}}
        )
        await stage.until(lambda: image(play, first), "it is not pointed at the version again")
        await stage.quiet(control)
        assert await stage.rollouts("web") == 3, "the mode, the deploy, and pointing it again"


async def image(play: Play, version: str) -> bool:
    template = await play.template()
    return template["spec"]["containers"][0]["image"].endswith(":2") and await play.names() == version


async def test_a_restart_of_the_controller_makes_and_rolls_nothing(
    stage: Stage, play: Play, new_workload: NewWorkload
) -> None:
    await stage.config_map("app", {"a": "1"})
    await stage.create(new_workload("web", annotations=MODE, container=ENV))
    async with stage.controller() as control:
        first = await play.pointed()
        await stage.quiet(control)
    async with stage.controller() as control:
        await stage.quiet(control)
        assert await stage.rollouts("web") == 1
        assert await play.copies() == [first]


async def test_in_another_mode_by_now_it_is_pointed_back_at_its_sources(
    stage: Stage, play: Play, new_workload: NewWorkload
) -> None:
    async with stage.controller() as control:
        await stage.config_map("app", {"a": "1"})
        await stage.create(new_workload("web", annotations=MODE, container=ENV))
        await play.pointed()
        await stage.patch("Deployment", "web", {"metadata": {"annotations": {"reroll.dev/mode": "rollout"}}})
        await stage.quiet(control)
        assert await stage.rollouts("web") == 1, "the copy has what the source has"
        await stage.set("ConfigMap", "app", {"a": "2"})
        await stage.rolled("web", 2)
        await stage.quiet(control)
        assert await play.names() == "app"
        annotations = (await play.template())["metadata"]["annotations"]
        assert not [key for key in annotations if key.startswith("version.reroll.dev/")]
        assert await stage.rollouts("web") == 2


class TestGarbage:
    """One pass after the other, at times of the test's choosing."""

    async def pass_at(self, stage: Stage, hours: float) -> Plan:
        kinds = [known for known in WORKLOAD_KINDS.values() if not known.optional]
        return await collect(stage.client, kinds, time.time() + hours * 3600, namespaces=(stage.namespace,))

    async def versions(self, stage: Stage, play: Play, count: int) -> list[str]:
        names = [await play.pointed()]
        for number in range(2, count + 1):
            await stage.set("ConfigMap", "app", {"a": str(number)})
            names.append(await play.pointed(names[-1]))
        await stage.complete("web")
        return names

    async def test_what_the_history_of_a_workload_names_is_never_deleted(
        self, stage: Stage, play: Play, new_workload: NewWorkload, kubectl: Kubectl
    ) -> None:
        async with stage.controller():
            await stage.config_map("app", {"a": "1"})
            await stage.create(new_workload("web", annotations=MODE, container=ENV, revisionHistoryLimit=1))
            names = await self.versions(stage, play, 6)
        await stage.until(lambda: self._replica_sets(stage, 2), "the history was not cut")
        marked = await self.pass_at(stage, 2)
        assert {copy.config.name for copy in marked.mark} == set(names[:3])
        assert await play.copies() == sorted(names), "nothing goes before it was marked for a while"
        assert not (await self.pass_at(stage, 2.01)).delete
        gone = await self.pass_at(stage, 3)
        assert {copy.config.name for copy in gone.delete} == set(names[:3])
        assert await play.copies() == sorted(names[3:])
        kubectl("rollout", "undo", "deployment/web", "-n", stage.namespace)
        assert await play.names() == names[4], "an undo finds what it goes back to"

    async def _replica_sets(self, stage: Stage, most: int) -> bool:
        path = REPLICA_SETS.path(stage.namespace)
        return len(json.loads(await stage.client.list_page(path))["items"]) <= most

    async def test_what_comes_back_between_the_mark_and_the_end_stays(
        self, stage: Stage, play: Play, new_workload: NewWorkload
    ) -> None:
        async with stage.controller():
            await stage.config_map("app", {"a": "1"})
            await stage.create(new_workload("web", annotations=MODE, container=ENV, revisionHistoryLimit=0))
            names = await self.versions(stage, play, 5)
            await stage.until(lambda: self._replica_sets(stage, 1), "the history was not cut")
            assert {copy.config.name for copy in (await self.pass_at(stage, 2)).mark} == set(names[:2])
            await stage.set("ConfigMap", "app", {"a": "1"})
            assert await play.pointed(names[-1]) == names[0]
            found = await self.pass_at(stage, 3)
            assert {copy.config.name for copy in found.delete} == {names[1]}
            assert names[0] in await play.copies()


async def test_a_version_whose_rollout_failed_goes_no_further(
    stage: Stage, play: Play, new_workload: NewWorkload
) -> None:
    nodes = len(json.loads(await stage.client.list_page("/api/v1/nodes"))["items"])
    made = new_workload(
        "web",
        annotations=MODE,
        container=ENV,
        replicas=nodes,
        progressDeadlineSeconds=2,
        strategy={"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
    )
    # Where no pod may be beside another one of it, one more finds no node: its rollout fails.
    apart = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}}}
    made["spec"]["template"]["spec"]["affinity"] = {
        "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [apart]}
    }
    await stage.config_map("app", {"a": "1"})
    await stage.create(made)
    async with stage.controller() as control:
        first = await play.pointed()
        await stage.complete("web")
        no_room = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
        await stage.patch("Deployment", "web", {"spec": {"strategy": no_room}})
        await stage.set("ConfigMap", "app", {"a": "broken"})
        second = await play.pointed(first)
        await stage.until(lambda: told(stage, "RolloutFailed"), "the rollout did not fail")
        assert await play.pods("a") == {"1"}, "what works runs on"
        assert (await play.copy(second))["metadata"]["annotations"]["reroll.dev/failed"] == "deployment/web"

        await stage.create(new_workload("api", annotations=MODE, container=ENV))
        await stage.adopted("api")
        await stage.until(lambda: held(stage, "api"), "nobody was told that it waits")
        assert await play.names("api") == "app"
        api = Client(load_config(kubeconfig=str(stage.kubeconfig)))
        async with api:
            [released] = await let_go(api, ConfigId("configmap", stage.namespace, "app"))
        assert released.config.name == second
        # It is tried again after ten seconds or more.
        async with asyncio.timeout(40):
            while await play.names("api") != second:  # noqa: ASYNC110 - it is on a server
                await asyncio.sleep(0.2)
        await stage.set("ConfigMap", "app", {"a": "2"})
        third = await play.pointed(second, "api")
        assert (await play.copy(third))["data"] == {"a": "2"}, "another content goes on"
        assert await play.pointed(second) == third
        await stage.idle(control)


async def held(stage: Stage, name: str) -> list[Json]:
    return [event for event in await stage._all_events(name) if "held back" in event["note"]]
