"""Kinds of CustomResourceDefinitions: those that a setting names, and Argo's and OpenShift's."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from reroll.app import Controller
from reroll.controller import watches
from reroll.core.kinds import DEPLOYMENT_CONFIG, ROLLOUT, WorkloadKind
from reroll.kube.client import Client
from reroll.kube.errors import Forbidden
from reroll.settings import SettingsError, load
from tests.conftest import Kubectl
from tests.controller.conftest import Define, NewWorkload, Stage

Json = dict[str, Any]
LEVEL = [{"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "app", "key": "level"}}}]

CLONE_SET = WorkloadKind("CloneSet", "apps.kruise.io", "v1alpha1", "clonesets", custom=True)
ADVANCED = WorkloadKind("StatefulSet", "apps.kruise.io", "v1beta1", "statefulsets", custom=True)
KNATIVE = WorkloadKind("Service", "serving.knative.dev", "v1", "services", custom=True)
DEEP = WorkloadKind(
    "Runner", "example.com", "v1", "runners", template=("spec", "pods", "main", "template"), custom=True
)
CUSTOM = (CLONE_SET, ADVANCED, KNATIVE, DEEP)
SETTING = (
    "clonesets.v1alpha1.apps.kruise.io, statefulsets.v1beta1.apps.kruise.io,services.v1.serving.knative.dev,"
    "runners.v1.example.com=spec.pods.main.template"
)


@pytest.fixture(scope="module", autouse=True)
def definitions(define: Callable[..., Any]) -> Iterator[None]:
    """The kinds of this file are served."""
    with define(*CUSTOM, ROLLOUT, DEPLOYMENT_CONFIG):
        yield


@pytest.fixture(autouse=True)
def known(stage: Stage) -> None:
    """The stage knows where they are."""
    stage.kinds |= {kind.id: kind for kind in CUSTOM}


def pod_template(**metadata: Any) -> Json:
    containers = [{"name": "main", "image": "example.invalid/app:1", "env": LEVEL}]
    return {"metadata": {"labels": {"app": "web"}, **metadata}, "spec": {"containers": containers}}


def an(kind: WorkloadKind, name: str = "web", template: Json | None = None, **spec: Any) -> Json:
    """An object of a kind, with its pod template in its place."""
    *outer, last = kind.template[1:]
    fields: Json = {last: pod_template() if template is None else template}
    for field in reversed(outer):
        fields = {field: fields}
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"name": name, "annotations": {"reroll.dev/auto": "true"}},
        "spec": {**fields, **spec},
    }


async def create(stage: Stage, kind: WorkloadKind, manifest: Json) -> Json:
    found: Json = stage._json(await stage.client.create(stage.path(kind.id), stage.encode(manifest)))
    return found


async def mark(stage: Stage, kind: WorkloadKind, name: str = "web") -> str | None:
    found = await stage.get(kind.id, name)
    for field in kind.template:
        found = found[field]
    value: str | None = found["metadata"].get("annotations", {}).get("reroll.dev/config")
    return value


@pytest.mark.parametrize("kind", [*CUSTOM, ROLLOUT, DEPLOYMENT_CONFIG], ids=lambda kind: kind.id)
async def test_it_follows_what_it_consumes(stage: Stage, kind: WorkloadKind) -> None:
    await stage.config_map("app", {"level": "info", "other": "1"})
    await create(stage, kind, an(kind))
    async with stage.controller(custom_kinds=SETTING) as control:
        await stage.adopted("web", kind.id)
        await stage.set("ConfigMap", "app", {"other": "2"})
        await stage.quiet(control)
        assert await mark(stage, kind) is None
        await stage.set("ConfigMap", "app", {"level": "debug"})
        first = await stage.until(lambda: mark(stage, kind), "no mark")
        await stage.quiet(control)
        [event] = await stage.until(lambda: stage.events("web"), "no Event")
        assert event["regarding"]["kind"] == kind.kind
        assert event["regarding"]["apiVersion"] == kind.api_version
        assert "configmap/app changed (level)" in event["note"]
        metrics = control.metrics.registry
        assert metrics.get_sample_value("reroll_rollouts_total", {"workload_kind": kind.id}) == 1
        generation = (await stage.get(kind.id, "web"))["metadata"]["generation"]
    # A start rolls nothing, and what changed while none ran is found.
    async with stage.controller(custom_kinds=SETTING) as control:
        await stage.quiet(control)
        assert await mark(stage, kind) == first
        assert (await stage.get(kind.id, "web"))["metadata"]["generation"] == generation
    await stage.set("ConfigMap", "app", {"level": "trace"})
    async with stage.controller(custom_kinds=SETTING):

        async def another() -> bool:
            now = await mark(stage, kind)
            return now is not None and now != str(first)

        await stage.until(another, "it was not rolled for what changed meanwhile")


async def test_two_kinds_of_one_name_are_told_apart(stage: Stage, new_workload: NewWorkload) -> None:
    """Kruise's StatefulSet and that of Kubernetes."""
    await stage.config_map("app", {"level": "info"})
    await stage.config_map("more", {"level": "info"})
    env = [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "more", "key": "level"}}}]
    await stage.create(new_workload("web", kind="StatefulSet", container={"env": env}))
    await create(stage, ADVANCED, an(ADVANCED))
    async with stage.controller(custom_kinds=SETTING) as control:
        await stage.adopted("web", "StatefulSet")
        await stage.adopted("web", ADVANCED.id)
        await stage.set("ConfigMap", "app", {"level": "debug"})
        await stage.until(lambda: mark(stage, ADVANCED), "no mark")
        await stage.quiet(control)
        assert await stage.rollouts("web", "StatefulSet") == 0
        # Each has a series of its own.
        synced = [
            sample.labels["resource"]
            for family in control.metrics.registry.collect()
            for sample in family.samples
            if sample.name == "reroll_store_synced"
        ]
        assert sorted(set(synced)) == sorted(synced)
        assert {"statefulsets", "statefulsets.apps.kruise.io"} <= set(synced)


async def test_it_is_explained(stage: Stage) -> None:
    await stage.config_map("app", {"level": "info"})
    await create(stage, CLONE_SET, an(CLONE_SET))
    async with stage.controller(custom_kinds=SETTING):
        await stage.adopted("web", CLONE_SET.id)
    await stage.set("ConfigMap", "app", {"level": "debug"})
    command = [sys.executable, "-m", "reroll", "explain", "clonesets/web", "-n", stage.namespace]
    command += ["--kubeconfig", str(stage.kubeconfig), "--key-namespace", stage.namespace]

    async def run(*more: str) -> tuple[int, str]:
        done = await asyncio.to_thread(subprocess.run, [*command, *more], capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    code, said = await run("--custom-kinds", SETTING, "--exit-code")
    assert (code, "configmap/app changed (level)" in " ".join(said.split())) == (4, True), said
    code, said = await run()
    assert (code, "is no workload" in said) == (2, True), "without the setting there is no such kind"


async def test_the_owners_deploy_is_enough(stage: Stage) -> None:
    await stage.config_map("app", {"level": "info"})
    await create(stage, CLONE_SET, an(CLONE_SET))
    async with stage.controller(custom_kinds=SETTING, settle=0.5) as control:
        await stage.adopted("web", CLONE_SET.id)
        await stage.set("ConfigMap", "app", {"level": "debug"})
        changed = pod_template()
        changed["spec"]["containers"][0]["image"] = "example.invalid/app:2"
        await stage.patch(CLONE_SET.id, "web", {"spec": {"template": changed}})
        await stage.quiet(control)
        assert await mark(stage, CLONE_SET) is None


async def test_without_replicas_only_the_record_is_written(stage: Stage) -> None:
    await stage.config_map("app", {"level": "info"})
    await create(stage, CLONE_SET, an(CLONE_SET, replicas=0))
    async with stage.controller(custom_kinds=SETTING) as control:
        before = await stage.adopted("web", CLONE_SET.id)
        await stage.set("ConfigMap", "app", {"level": "debug"})
        await stage.quiet(control)
        assert await mark(stage, CLONE_SET) is None
        assert await stage.adopted("web", CLONE_SET.id) != before


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"template": None},
        {"template": "text"},
        {"template": {"spec": {"containers": "none"}}},
        {"template": []},
    ],
    ids=str,
)
async def test_one_with_something_else_in_its_place_stops_nobody(stage: Stage, spec: Json) -> None:
    await stage.config_map("app", {"level": "info"})
    odd = an(CLONE_SET, "odd")
    odd["spec"] = {**spec, "replicas": "three", "paused": 7, "updateStrategy": "soon", "suspend": {}}
    await create(stage, CLONE_SET, odd)
    await create(stage, CLONE_SET, an(CLONE_SET))
    async with stage.controller(custom_kinds=SETTING):
        await stage.adopted("web", CLONE_SET.id)
        await stage.set("ConfigMap", "app", {"level": "debug"})
        await stage.until(lambda: mark(stage, CLONE_SET), "no mark")
        assert (await stage.get(CLONE_SET.id, "odd"))["spec"] == odd["spec"]


async def test_a_schema_that_drops_the_mark_is_told(stage: Stage, define: Define, kubectl: Kubectl) -> None:
    kind = WorkloadKind("Pruner", "prune.example.com", "v1", "pruners", custom=True)
    stage.kinds[kind.id] = kind
    await stage.config_map("app", {"level": "info"})
    with define(kind):
        # As many operators generate it: metadata in a template is an object without properties.
        anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        template = {"type": "object", "properties": {"metadata": {"type": "object"}, "spec": anything}}
        schema = {
            "type": "object",
            "properties": {"spec": {"type": "object", "properties": {"template": template}}},
        }
        patch = [
            {"op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema", "value": schema},
        ]
        await asyncio.to_thread(
            kubectl,
            "patch",
            "crd",
            "pruners.prune.example.com",
            "--type=json",
            "-p",
            stage.encode(patch).decode(),
        )

        async def pruned() -> bool:
            probe = an(kind, "probe", pod_template(annotations={"a": "b"}))
            found = stage._json(
                await stage.client.create(stage.path(kind.id) + "?dryRun=All", stage.encode(probe))
            )
            return "annotations" not in found["spec"]["template"].get("metadata", {})

        await stage.until(pruned, "the schema is not in force")
        await create(stage, kind, an(kind))
        async with stage.controller(custom_kinds="pruners.v1.prune.example.com"):
            await stage.adopted("web", kind.id)
            await stage.set("ConfigMap", "app", {"level": "debug"})
            events = await stage.until(lambda: stage.at_least_events("web", 2), "no Event")
            [told] = [event for event in events if event["reason"] == "NotRolled"]
            assert "drops annotations" in told["note"]


# --- which are served ------------------------------------------------------------------------------------

COMING = WorkloadKind("Comer", "come.example.com", "v1", "comers", custom=True)
GOING = "comers.v1.come.example.com"


def followed(control: Controller, kind: WorkloadKind) -> list[str]:
    return [s.state for s in control.watches.of_optional() if s.resource == kind.id]


async def test_a_kind_that_comes_is_followed_and_one_that_goes_is_dropped(
    stage: Stage, define: Define, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reroll.controller.watches.SERVED_POLL", 0.3)
    stage.kinds[COMING.id] = COMING
    await stage.config_map("app", {"level": "info"})
    with capture_logs() as lines:
        async with stage.controller(custom_kinds=GOING) as control:
            assert followed(control, COMING) == []
            for turn in ("first", "second"):
                defined = define(COMING)
                await asyncio.to_thread(defined.__enter__)
                try:
                    await stage.until(
                        lambda: asyncio.sleep(0, followed(control, COMING)), "it is not followed"
                    )
                    await create(stage, COMING, an(COMING))
                    await stage.adopted("web", COMING.id)
                    await stage.set("ConfigMap", "app", {"level": turn})
                    await stage.until(lambda: mark(stage, COMING), "no mark")
                finally:
                    await asyncio.to_thread(defined.__exit__, None, None, None)
                await stage.until(
                    lambda: asyncio.sleep(0, not followed(control, COMING)), "it is still followed"
                )
                assert not [w for w in control.store.workloads() if w.kind == COMING.id]
                await stage.quiet(control)
            # All else went on.
            assert all(s.state == "watching" for s in control.watches.statistics())
    failures = [line for line in lines if line["log_level"] in ("warning", "error")]
    # The watch of a kind that is being removed may fail, and that is said once each time.
    assert [line["event"] for line in failures if line.get("resource") != COMING.id] == []
    assert len(failures) <= 2
    came = [line for line in lines if line["event"] == "kind followed" and line["kind"] == "Comer"]
    assert len(came) == 2


def test_a_kind_that_comes_is_noticed_within_30_seconds() -> None:
    assert watches.SERVED_POLL <= 15


async def test_a_kind_that_may_not_be_read_is_told_once_and_the_rest_goes_on(
    stage: Stage, new_workload: NewWorkload, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, refused = Client.request, 0

    async def request(self: Client, method: str, path: str, **options: Any) -> bytes:
        nonlocal refused
        if "/clonesets" in path:
            refused += 1
            raise Forbidden("clonesets is forbidden: reroll can't list them", status=403)
        return await real(self, method, path, **options)

    monkeypatch.setattr(Client, "request", request)
    await stage.config_map("app", {"level": "info"})
    await stage.create(new_workload("web", container={"env": LEVEL}))
    await create(stage, ADVANCED, an(ADVANCED))
    with capture_logs() as lines:
        async with stage.controller(custom_kinds=SETTING) as control:
            await stage.adopted("web")
            await stage.adopted("web", ADVANCED.id)
            await stage.set("ConfigMap", "app", {"level": "debug"})
            await stage.rolled("web", 1)
            await stage.until(lambda: mark(stage, ADVANCED), "no mark")
            await stage.until(lambda: asyncio.sleep(0, refused >= 3), "it is not tried again")
            assert all(check.ok for check in control.ready_checks())
            assert followed(control, CLONE_SET)[0] in ("refused", "listing")
    told = [line for line in lines if "clonesets" in str(line.get("problem", ""))]
    assert len(told) == 1


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("kinds", "deployments,pods", "'pods' is none of"),
        ("custom_kinds", "clonesets", "PLURAL.VERSION.GROUP"),
        ("custom_kinds", "clonesets.v1alpha1.apps.kruise.io=status.template", "PLURAL.VERSION.GROUP"),
        ("custom_kinds", "clonesets.v1alpha1.apps.kruise.io=spec..template", "PLURAL.VERSION.GROUP"),
        ("custom_kinds", "rollouts.v1alpha1.argoproj.io", "named twice"),
    ],
)
def test_a_setting_that_can_not_be_read_ends_the_start(name: str, value: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        load({name: value}, environ={})
