"""`reroll unversion` on a real control plane: back at the sources, and nothing is lost."""

from __future__ import annotations

import pytest

from reroll.core.kinds import WorkloadKind
from tests.controller.conftest import Define, Stage
from tests.versions.conftest import ENV, MODE, Scene

pytestmark = pytest.mark.timeout(120)


async def mode(stage: Stage, name: str = "web") -> str | None:
    annotations = (await stage.get("Deployment", name))["metadata"]["annotations"]
    found: str | None = annotations.get("reroll.dev/mode")
    return found


async def test_back_at_its_source_and_it_stays(stage: Stage, scene: Scene) -> None:
    await stage.config_map("app", {"a": "1"})
    await scene.workload()
    async with stage.controller() as control:
        await scene.contents("1", "2")
        done = await scene.unversion("web")
        [back] = done.workloads
        assert (back.state, back.sources) == ("pointed back", ("configmap/app",))
        await scene.stays(control, 3, "app")
        annotations = (await scene.template())["metadata"].get("annotations", {})
        assert not [key for key in annotations if "reroll.dev" in key]
        assert await mode(stage) == "rollout"
        # From here on it is followed as any other.
        await stage.set("ConfigMap", "app", {"a": "3"})
        await stage.rolled("web", 4)
        await scene.stays(control, 4, "app")


async def test_versions_go_when_no_revision_names_them(stage: Stage, scene: Scene) -> None:
    await stage.config_map("app", {"a": "1"})
    await scene.workload(revisionHistoryLimit=0)
    async with stage.controller() as control:
        names = await scene.contents("1", "2", "3")
        fresh = await scene.unversion("web", young=float("inf"))
        assert not fresh.deleted, "whoever made one names it a moment later"
        await scene.stays(control, 4, "app")
        await stage.until(lambda: only_one(scene), "the history was not cut")
        planned = await scene.unversion("web", dry_run=True)
        assert len(planned.deleted) == 3
        assert await scene.copies() == names
        await stage.patch("ConfigMap", names[0], {"metadata": {"annotations": {"reroll.dev/keep": "true"}}})
        done = await scene.unversion("web")
        assert done.workloads[0].state == "unchanged"
        assert done.deleted == tuple(sorted(f"configmap/{stage.namespace}/{name}" for name in names[1:]))
        assert [kept.why for kept in done.kept] == ["it is annotated to be kept"]
        assert await scene.copies() == names[:1]
        assert await scene.data("app") == {"a": "3"}


async def only_one(scene: Scene) -> bool:
    return await scene.replica_sets() == 1


async def test_what_is_named_stays(stage: Stage, scene: Scene) -> None:
    await stage.config_map("app", {"a": "1"})
    await scene.workload()
    await scene.workload("api", revisionHistoryLimit=0)
    async with stage.controller():
        names = await scene.contents("1", "2")
        await stage.complete("api")
        done = await scene.unversion("web")
    assert not done.deleted
    why = {kept.version.rpartition("/")[2]: kept.why for kept in done.kept}
    assert "revision 2 of deployment/web" in why[names[0]]
    assert "deployment/api" in why[names[1]]


async def test_another_workload_can_go_back(stage: Stage, scene: Scene) -> None:
    await stage.config_map("app", {"a": "1"})
    await scene.workload("api", revisionHistoryLimit=0)
    async with stage.controller():
        names = await scene.contents("1", "2", name="api")
        await stage.until(lambda: only_one(scene), "the history was not cut")
        await scene.workload("web", revisionHistoryLimit=0)
        await scene.pointed()
        await stage.complete("web")
        done = await scene.unversion("web")
        why = {kept.version.rpartition("/")[2]: kept.why for kept in done.kept}
        assert (
            why[names[0]] == "deployment/api names another version of app, and can be rolled back to this one"
        )
        assert await scene.copies() == names


async def test_other_content_is_refused_or_written_back(stage: Stage, scene: Scene) -> None:
    await stage.config_map("app", {"a": "1"})
    await scene.workload()
    async with stage.controller() as control:
        names = await scene.contents("1", "2")
        await scene.roll_back()
        await scene.stays(control, 3, names[0])
        [back] = (await scene.unversion("web")).workloads
        assert (back.state, back.message) == (
            "refused",
            f"configmap/app has other content than {names[0]}, which its pods read: --restore-source writes that back",
        )
        await scene.stays(control, 3, names[0])
        done = await scene.unversion("web", restore=True)
        assert done.workloads[0].state == "pointed back"
        assert await scene.data("app") == {"a": "1"}
        await scene.stays(control, 4, "app")
        assert await scene.data(names[1]) == {"a": "2"}, "what the source had is kept"


async def test_keys_that_it_does_not_read_may_differ(stage: Stage, scene: Scene) -> None:
    container = {"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "app", "key": "a"}}}]}
    await stage.config_map("app", {"a": "1", "b": "1"})
    await scene.workload(container=container)
    async with stage.controller() as control:
        await scene.pointed()
        await stage.complete("web")
        await stage.set("ConfigMap", "app", {"b": "2"})
        await stage.quiet(control)
        assert (await scene.unversion("web")).workloads[0].state == "pointed back"
        await scene.stays(control, 2, "app")


async def test_a_source_that_is_gone(stage: Stage, scene: Scene) -> None:
    await stage.config_map("app", {"a": "1"})
    await scene.workload()
    async with stage.controller():
        await scene.contents("1")
    await stage.delete("ConfigMap", "app")
    [back] = (await scene.unversion("web")).workloads
    assert (back.state, "configmap/app is gone" in back.message) == ("refused", True)
    assert await scene.names() != "app"
    [back] = (await scene.unversion("web", restore=True)).workloads
    assert back.state == "pointed back"
    assert await scene.data("app") == {"a": "1"}


@pytest.mark.parametrize("behind", ["api", "web"])
async def test_two_that_are_at_different_versions(stage: Stage, scene: Scene, behind: str) -> None:
    """What was done for one is not taken away for the other."""
    await stage.config_map("app", {"a": "1"})
    await scene.workload()
    await scene.workload("api")
    async with stage.controller() as control:
        names = await scene.contents("1", "2")
        await stage.complete("api")
        await scene.roll_back(behind)
        await scene.stays(control, 3, names[0], behind)
    done = await scene.unversion(everywhere=True, restore=True)
    states = {back.workload.rpartition("/")[2]: back for back in done.workloads}
    assert states["api"].state == "pointed back"
    assert states["web"].state == "refused"
    first = names[0] if behind == "api" else names[1]
    assert states["web"].message.startswith(f"configmap/app has the content of {first} for another workload")
    assert await scene.data("app") == {"a": "1" if behind == "api" else "2"}
    assert await scene.names("api") == "app"
    assert await scene.names() == (names[1] if behind == "api" else names[0])


async def test_a_mode_that_the_namespace_sets(stage: Stage, scene: Scene) -> None:
    path = f"/api/v1/namespaces/{stage.namespace}"
    await stage.client.patch(
        path, stage.encode({"metadata": {"annotations": {"reroll.dev/mode": "version"}}})
    )
    await stage.config_map("app", {"a": "1"})
    await scene.workload(annotations={"reroll.dev/auto": "true"})
    async with stage.controller() as control:
        await scene.contents("1")
        await scene.unversion("web")
        await scene.stays(control, 2, "app")
        assert await mode(stage) == "rollout"


async def test_a_resource_that_reroll_does_not_know_keeps_what_it_names(
    stage: Stage, scene: Scene, define: Define
) -> None:
    await stage.config_map("app", {"a": "1"})
    await scene.workload(revisionHistoryLimit=0)
    async with stage.controller():
        names = await scene.contents("1", "2")
        await stage.until(lambda: only_one(scene), "the history was not cut")
    await stage.delete("Deployment", "web")
    await stage.until(lambda: no_pods(stage), "its pods did not go")
    kind = WorkloadKind("Widget", "versions.example.com", "v1", "widgets")
    with define(kind):
        made = {
            "apiVersion": "versions.example.com/v1",
            "kind": "Widget",
            "metadata": {"name": "w"},
            "spec": {"anything": [{"where": names[0]}]},
        }
        await stage.client.create(
            f"/apis/versions.example.com/v1/namespaces/{stage.namespace}/widgets", stage.encode(made)
        )
        done = await scene.unversion(everywhere=True)
        assert [kept.why for kept in done.kept] == ["named by widget/w"], done.notes
        assert await scene.copies() == names[:1]


async def no_pods(stage: Stage) -> bool:
    return not stage._json(await stage.client.list_page(stage.path("Pod")))["items"]


async def test_what_has_no_versions(stage: Stage, scene: Scene) -> None:
    await stage.config_map("app", {"a": "1"})
    await scene.workload(annotations={**MODE, "reroll.dev/mode": "rollout"}, container=ENV)
    done = await scene.unversion("web", "none")
    assert [back.state for back in done.workloads] == ["unchanged", "refused"]
    assert not (await scene.unversion(everywhere=True)).workloads
