"""What Reloader's own end-to-end suite asks of it, in a table: which change reloads which workload.

Each case is one workload with a ConfigMap and a Secret of its own. All of one kind and strategy live in one namespace
of the real API server; all objects change at once, and then each workload must carry the mark, or must not.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec
import pytest

from reroll.app import Controller
from reroll.core.kinds import DEPLOYMENT_CONFIG, ROLLOUT
from tests.controller.conftest import Define, Stage
from tests.reloader.conftest import Running

Json: TypeAlias = dict[str, Any]

R = "reloader.stakater.com"
CM, SECRET, AUTO = f"configmap.{R}/reload", f"secret.{R}/reload", f"{R}/auto"
CM_AUTO, SECRET_AUTO = f"configmap.{R}/auto", f"secret.{R}/auto"
CM_EXCLUDE, SECRET_EXCLUDE = f"configmaps.exclude.{R}/reload", f"secrets.exclude.{R}/reload"
SEARCH, MATCH, IGNORE = f"{R}/search", f"{R}/match", f"{R}/ignore"
MARK = f"{R}/last-reloaded-from"

NOTHING: Final[Json] = {}
ENV_FROM_CM: Json = {"envFrom": [{"configMapRef": {"name": "{cm}"}}]}
ENV_FROM_SECRET: Json = {"envFrom": [{"secretRef": {"name": "{secret}"}}]}
BOTH: Json = {"envFrom": [*ENV_FROM_CM["envFrom"], *ENV_FROM_SECRET["envFrom"]]}
ENV_CM: Json = {"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "{cm}", "key": "key"}}}]}
ENV_SECRET: Json = {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "{secret}", "key": "key"}}}]}
MOUNT: Json = {"volumeMounts": [{"name": "v", "mountPath": "/etc/v"}]}
CM_VOLUME: Json = {"name": "v", "configMap": {"name": "{cm}"}}
SECRET_VOLUME: Json = {"name": "v", "secret": {"secretName": "{secret}"}}
CM_SOURCE: Json = {"configMap": {"name": "{cm}"}}
SECRET_SOURCE: Json = {"secret": {"name": "{secret}"}}


def projected(*sources: Json) -> tuple[Json]:
    """Volumes: one that these sources make up."""
    return ({"name": "v", "projected": {"sources": list(sources)}},)


MIXED = projected(CM_SOURCE, SECRET_SOURCE)


class Case(NamedTuple):
    """One workload. ``{cm}`` and ``{secret}`` stand for the names of its two objects."""

    name: str
    reloads: bool
    annotations: Json = NOTHING
    change: str = "cm"
    """What changes: cm, secret, both, or the labels of one of them."""
    container: Json = NOTHING
    template: Json = NOTHING
    """Annotations of the pod template."""
    volumes: tuple[Json, ...] = ()
    init: Json | None = None
    other: Json | None = None
    """A second container."""
    on_config: Json = NOTHING
    """Annotations of both objects."""


CASES = (
    # by name
    Case("named-cm", True, {CM: "{cm}"}, container=ENV_FROM_CM),
    Case("named-secret", True, {SECRET: "{secret}"}, "secret", ENV_FROM_SECRET),
    Case("named-but-not-referenced", True, {CM: "{cm}"}),
    Case("named-among-several", True, {CM: "one, {cm} ,two"}, container=ENV_FROM_CM),
    Case("named-both-cm", True, {CM: "{cm}", SECRET: "{secret}"}, container=BOTH),
    Case("named-both-secret", True, {CM: "{cm}", SECRET: "{secret}"}, "secret", BOTH),
    Case("named-both-at-once", True, {CM: "{cm}", SECRET: "{secret}"}, "both", BOTH),
    Case("another-is-named", False, {CM: "other"}, container=ENV_FROM_CM),
    Case("cm-named-secret-changes", False, {CM: "{cm}"}, "secret", BOTH),
    Case("only-labels-of-cm", False, {CM: "{cm}"}, "cm-labels", ENV_FROM_CM),
    Case("only-labels-of-secret", False, {SECRET: "{secret}"}, "secret-labels", ENV_FROM_SECRET),
    Case("nothing-asks-for-it", False, {}, container=ENV_FROM_CM),
    # by pattern
    Case("pattern", True, {CM: "pattern-c.*"}, container=ENV_FROM_CM),
    Case("pattern-of-another", False, {CM: "others-.*"}, container=ENV_FROM_CM),
    Case("pattern-for-secrets", True, {SECRET: "pattern-for-secrets-.+"}, "secret", ENV_FROM_SECRET),
    Case("bad-pattern-beside-a-good-one", True, {CM: "bad[,{cm}"}, container=ENV_FROM_CM),
    # auto
    Case("auto-cm", True, {AUTO: "true"}, container=BOTH),
    Case("auto-secret", True, {AUTO: "true"}, "secret", BOTH),
    Case("auto-labels", False, {AUTO: "true"}, "cm-labels", BOTH),
    Case("auto-not-referenced", False, {AUTO: "true"}),
    Case("auto-false", False, {AUTO: "false"}, container=ENV_FROM_CM),
    Case("auto-false-but-named", True, {AUTO: "false", CM: "{cm}"}, container=ENV_FROM_CM),
    Case("typed-auto-cm", True, {CM_AUTO: "true"}, container=BOTH),
    Case("typed-auto-cm-secret-changes", False, {CM_AUTO: "true"}, "secret", BOTH),
    Case("typed-auto-secret", True, {SECRET_AUTO: "true"}, "secret", BOTH),
    Case("typed-auto-secret-cm-changes", False, {SECRET_AUTO: "true"}, "cm", BOTH),
    Case("auto-and-named-cm", True, {AUTO: "true", CM: "{cm}"}),
    Case("auto-and-named-secret", True, {AUTO: "true", SECRET: "{secret}"}, "secret", ENV_FROM_CM),
    Case("auto-beside-another-name", True, {AUTO: "true", CM: "other"}, container=ENV_FROM_CM),
    # excluded and ignored
    Case("excluded-cm", False, {AUTO: "true", CM_EXCLUDE: "{cm}"}, container=BOTH),
    Case("excluded-cm-secret-changes", True, {AUTO: "true", CM_EXCLUDE: "{cm}"}, "secret", BOTH),
    Case("excluded-secret", False, {AUTO: "true", SECRET_EXCLUDE: "{secret}"}, "secret", BOTH),
    Case("excluded-though-named", False, {CM: "{cm}", CM_EXCLUDE: "{cm}"}, container=ENV_FROM_CM),
    Case("excluded-on-the-template", False, {AUTO: "true"}, "cm", ENV_FROM_CM, {CM_EXCLUDE: "{cm}"}),
    Case("ignored-cm", False, {CM: "{cm}"}, "cm", ENV_FROM_CM, on_config={IGNORE: "true"}),
    Case("ignored-secret", False, {AUTO: "true"}, "secret", ENV_FROM_SECRET, on_config={IGNORE: "true"}),
    # search and match
    Case("search-with-match", True, {SEARCH: "true"}, "cm", ENV_FROM_CM, on_config={MATCH: "true"}),
    Case("search-without-match", False, {SEARCH: "true"}, container=ENV_FROM_CM),
    Case("match-without-search", False, {}, "cm", ENV_FROM_CM, on_config={MATCH: "true"}),
    Case("match-not-referenced", False, {SEARCH: "true"}, on_config={MATCH: "true"}),
    Case("search-on-the-template", True, {}, "cm", ENV_FROM_CM, {SEARCH: "true"}, on_config={MATCH: "true"}),
    # on the pod template
    Case("template-cm", True, {}, "cm", ENV_FROM_CM, {CM: "{cm}"}),
    Case("template-secret", True, {}, "secret", ENV_FROM_SECRET, {SECRET: "{secret}"}),
    Case("template-auto", True, {}, "cm", ENV_FROM_CM, {AUTO: "true"}),
    Case("template-and-workload", True, {CM: "{cm}"}, "cm", ENV_FROM_CM, {CM: "{cm}"}),
    Case("template-cm-secret-changes", False, {}, "secret", BOTH, {CM: "{cm}"}),
    Case("template-hidden-by-the-workload", False, {AUTO: "false"}, "cm", ENV_FROM_CM, {CM: "{cm}"}),
    # how it is consumed
    Case("env-cm", True, {CM: "{cm}"}, container=ENV_CM),
    Case("env-secret", True, {SECRET: "{secret}"}, "secret", ENV_SECRET),
    Case("env-auto", True, {AUTO: "true"}, container=ENV_CM),
    Case("volume-cm", True, {CM: "{cm}"}, "cm", MOUNT, volumes=(CM_VOLUME,)),
    Case("volume-secret", True, {SECRET: "{secret}"}, "secret", MOUNT, volumes=(SECRET_VOLUME,)),
    Case("volume-auto", True, {AUTO: "true"}, "cm", MOUNT, volumes=(CM_VOLUME,)),
    Case("projected-cm", True, {AUTO: "true"}, "cm", MOUNT, volumes=projected(CM_SOURCE)),
    Case("projected-secret", True, {AUTO: "true"}, "secret", MOUNT, volumes=projected(SECRET_SOURCE)),
    Case("projected-mixed-cm", True, {CM: "{cm}"}, "cm", MOUNT, volumes=MIXED),
    Case("projected-mixed-secret", True, {SECRET: "{secret}"}, "secret", MOUNT, volumes=MIXED),
    Case("init-env-cm", True, {CM: "{cm}"}, init=ENV_FROM_CM),
    Case("init-env-secret", True, {SECRET: "{secret}"}, "secret", init=ENV_FROM_SECRET),
    Case("init-auto", True, {AUTO: "true"}, init=ENV_FROM_CM),
    Case("init-volume-cm", True, {CM: "{cm}"}, init=MOUNT, volumes=(CM_VOLUME,)),
    Case("init-volume-secret", True, {SECRET: "{secret}"}, "secret", init=MOUNT, volumes=(SECRET_VOLUME,)),
    Case("two-containers", True, {AUTO: "true"}, container=ENV_FROM_CM, other=ENV_FROM_CM),
    Case("second-container", True, {AUTO: "true"}, "secret", ENV_FROM_CM, other=ENV_FROM_SECRET),
)  # fmt: skip

PATHS = {
    "Deployment": ("apps/v1", "deployments"),
    "DaemonSet": ("apps/v1", "daemonsets"),
    "StatefulSet": ("apps/v1", "statefulsets"),
    "Rollout": ("argoproj.io/v1alpha1", "rollouts"),
    "DeploymentConfig": ("apps.openshift.io/v1", "deploymentconfigs"),
}


def fill(value: Any, case: Case) -> Any:
    """The value with the names of the case's objects in it."""
    text = msgspec.json.encode(value).decode()
    text = text.replace("{cm}", f"{case.name}-cm").replace("{secret}", f"{case.name}-secret")
    return msgspec.json.decode(text)


def manifest(case: Case, kind: str) -> Json:
    labels = {"app": case.name}
    containers = [{"name": "main", "image": "example.invalid/app:1", **case.container}]
    if case.other is not None:
        containers.append({"name": "other", "image": "example.invalid/app:1", **case.other})
    pod: Json = {"containers": containers}
    if case.init is not None:
        pod["initContainers"] = [{"name": "init", "image": "example.invalid/app:1", **case.init}]
    if case.volumes:
        pod["volumes"] = list(case.volumes)
    found: Json = {
        "apiVersion": PATHS[kind][0],
        "kind": kind,
        "metadata": {"name": case.name, "annotations": case.annotations},
        "spec": {
            "selector": {"matchLabels": labels} if kind != "DeploymentConfig" else labels,
            "template": {"metadata": {"labels": labels, "annotations": case.template}, "spec": pod},
        },
    }
    if kind == "StatefulSet":
        found["spec"]["serviceName"] = case.name
    if kind != "DaemonSet":
        found["spec"]["replicas"] = 1
    return fill(found, case)  # type: ignore[no-any-return]


class World:
    """All cases of one kind, in the stage's namespace."""

    def __init__(self, stage: Stage, kind: str, cases: tuple[Case, ...] = CASES) -> None:
        self.stage, self.kind, self.cases = stage, kind, cases
        group, plural = PATHS[kind]
        self.path = f"/apis/{group}/namespaces/{stage.namespace}/{plural}"

    async def create(self) -> None:
        await asyncio.gather(*(self._create(case) for case in self.cases))

    async def _create(self, case: Case) -> None:
        await self.stage.config_map(f"{case.name}-cm", {"key": "1"}, annotations=case.on_config)
        await self.stage.secret(f"{case.name}-secret", {"key": "1"}, annotations=case.on_config)
        await self.stage.client.create(self.path, msgspec.json.encode(manifest(case, self.kind)))

    async def change(self, value: str) -> None:
        """Change what each case wants changed."""
        await asyncio.gather(*(self._change(case, value) for case in self.cases))

    async def _change(self, case: Case, value: str) -> None:
        if case.change.endswith("-labels"):
            kind = {"cm-labels": "ConfigMap", "secret-labels": "Secret"}[case.change]
            name = f"{case.name}-{case.change.removesuffix('-labels')}"
            await self.stage.patch(kind, name, {"metadata": {"labels": {"value": value}}})
            return
        if case.change in ("cm", "both"):
            await self.stage.set("ConfigMap", f"{case.name}-cm", {"key": value})
        if case.change in ("secret", "both"):
            await self.stage.set("Secret", f"{case.name}-secret", {"key": value})

    async def marks(self, strategy: str) -> dict[str, str]:
        """Workload -> its mark, of those that have one."""
        items = msgspec.json.decode(await self.stage.client.list_page(self.path))["items"]
        found = {}
        for item in items:
            template = item["spec"]["template"]
            mark = (template["metadata"].get("annotations") or {}).get(MARK)
            if strategy == "env-vars":
                variables = [
                    f"{entry['name']}={entry['value']}"
                    for container in template["spec"]["containers"]
                    for entry in container.get("env", ())
                    if entry["name"].startswith("STAKATER_")
                ]
                assert mark is None
                mark = " ".join(variables)
            if mark:
                found[item["metadata"]["name"]] = mark
        return found

    async def until_marked(self, strategy: str, before: dict[str, str]) -> dict[str, str]:
        """The marks, when every case that has to reload has another than `before`; or after ten seconds."""
        wanted = {case.name for case in self.cases if case.reloads}
        deadline = time.monotonic() + 10
        while True:
            marks = await self.marks(strategy)
            changed = {name for name, mark in marks.items() if before.get(name) != mark}
            if changed >= wanted or time.monotonic() > deadline:
                return marks
            await asyncio.sleep(0.1)


async def at_rest(stage: Stage, control: Controller) -> None:
    """Wait until what was done has arrived, and nothing is asked or settling any more."""
    await asyncio.sleep(0.3)
    await stage.idle(control)


async def play(world: World, control: Controller, strategy: str) -> None:
    """Two changes, and after each of them just those workloads are reloaded that have to be."""
    await at_rest(world.stage, control)
    assert await world.marks(strategy) == {}
    expected = {case.name: case.reloads for case in world.cases}
    before: dict[str, str] = {}
    for value in ("2", "3"):
        await world.change(value)
        marks = await world.until_marked(strategy, before)
        await at_rest(world.stage, control)
        assert {name: marks.get(name, "") != before.get(name, "") for name in expected} == expected
        assert await world.marks(strategy) == marks, "each change is one reload"
        before = marks


@pytest.mark.parametrize(
    ("kind", "strategy"),
    [
        ("Deployment", "annotations"),
        ("Deployment", "env-vars"),
        ("StatefulSet", "env-vars"),
        ("DaemonSet", "annotations"),
    ],
)
async def test_who_is_reloaded(stage: Stage, reloader: Running, kind: str, strategy: str) -> None:
    world = World(stage, kind)
    await world.create()
    async with reloader(stage, f"--reload-strategy={strategy}") as control:
        await play(world, control, strategy)


@pytest.mark.parametrize(
    ("kind", "strategy"),
    [(ROLLOUT, "env-vars"), (DEPLOYMENT_CONFIG, "annotations")],
    ids=("Rollout", "DeploymentConfig"),
)
async def test_who_is_reloaded_of_the_kinds_that_not_every_cluster_serves(
    stage: Stage, reloader: Running, define: Define, kind: Any, strategy: str
) -> None:
    with define(kind):
        world = World(stage, kind.kind)
        await world.create()
        async with reloader(stage, f"--reload-strategy={strategy}", "--is-Argo-Rollouts=true") as control:
            await play(world, control, strategy)
