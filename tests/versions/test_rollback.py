"""`reroll rollback` on a real control plane, with and without a controller."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from reroll.core.digests import DigestKey
from reroll.kube.errors import NotFound
from reroll.versions.refusal import Refused
from tests.controller.conftest import NewWorkload, Stage
from tests.versions.conftest import ENV, MODE, Scene

Json = dict[str, Any]
KEY = DigestKey(b"k" * 32)

pytestmark = pytest.mark.timeout(120)


async def test_to_the_version_before_and_it_stays(stage: Stage, scene: Scene) -> None:
    await stage.config_map("app", {"a": "1"})
    await scene.workload()
    async with stage.controller() as control:
        names = await scene.contents("1", "2", "3")
        done = await scene.roll_back()
        assert (done.state, [(s.before, s.after, s.version) for s in done.steps]) == (
            "rolled back",
            [(names[2], names[1], 2)],
        )
        await scene.stays(control, 4, names[1])
        [event] = await scene.told("web", "SourceAhead")
        assert "reroll-rollback" in event["note"]
        assert await scene.data("app") == {"a": "3"}, "the source is left alone"
        assert await scene.replica_sets() == 4, "the mode, and three contents: no revision is new"
        # The next content goes on.
        await scene.contents("4")
        await scene.stays(control, 5, (await scene.copies())[-1])


async def test_with_its_source_there_is_one_rollout(stage: Stage, scene: Scene) -> None:
    await stage.config_map("app", {"a": "1"})
    await scene.workload()
    async with stage.controller(settle=1.0) as control:
        names = await scene.contents("1", "2")
        done = await scene.roll_back(restore=True)
        assert done.restored == (
            f"configmap/app gets the content of {names[0]}; what it had is kept as {names[1]}",
        )
        assert await scene.data("app") == {"a": "1"}
        await scene.stays(control, 3, names[0])
        assert await scene.copies() == names, "no version is new"
        assert (await scene.roll_back(version="1", restore=True)).state == "unchanged"
        await scene.contents("3")
        await scene.stays(control, 4, (await scene.copies())[-1])


async def test_to_a_revision_and_to_a_version(stage: Stage, scene: Scene) -> None:
    await stage.config_map("app", {"a": "1"})
    await scene.workload()
    async with stage.controller() as control:
        names = await scene.contents("1", "2", "3")
        # Revision 1 was made before it had versions.
        assert (await scene.roll_back(revision=2)).where == "revision 2"
        await scene.stays(control, 4, names[0])
        assert (await scene.roll_back(version=names[1])).where == "version 2"
        await scene.stays(control, 5, names[1])
        await scene.roll_back(version=names[2].removeprefix("app-"))
        await scene.stays(control, 6, names[2])
        await scene.roll_back(version="1")
        await scene.stays(control, 7, names[0])
        with pytest.raises(Refused, match="has no revision 2; those that are kept: "):
            await scene.roll_back(revision=2)
        with pytest.raises(Refused, match=r"has no version '9'; it has 1 \(app-"):
            await scene.roll_back(version="9")
        with pytest.raises(Refused, match="names no versions: what its pods read then is not kept"):
            await scene.roll_back(revision=1)


async def test_the_image_stays(stage: Stage, scene: Scene) -> None:
    await stage.config_map("app", {"a": "1"})
    await scene.workload()
    async with stage.controller() as control:
        names = await scene.contents("1", "2")
        image = {
            "op": "replace",
            "path": "/spec/template/spec/containers/0/image",
            "value": "example.invalid/app:2",
        }
        await stage.client.patch(
            stage.path("Deployment", "web"), stage.encode([image]), content_type="application/json-patch+json"
        )
        await stage.quiet(control)
        await scene.roll_back()
        await scene.stays(control, 4, names[0])
        assert (await scene.template())["spec"]["containers"][0]["image"] == "example.invalid/app:2"


async def test_what_a_rollout_failed_with_is_passed_over(stage: Stage, scene: Scene) -> None:
    await stage.config_map("app", {"a": "1"})
    await scene.workload()
    async with stage.controller():
        names = await scene.contents("1", "2", "3")
    failed = {"metadata": {"annotations": {"reroll.dev/failed": "deployment/web"}}}
    await stage.patch("ConfigMap", names[1], failed)
    done = await scene.roll_back()
    assert await scene.names() == names[0]
    assert "is passed over" in done.notes[0]
    done = await scene.roll_back(version="2")
    assert f"the rollout of deployment/web to {names[1]} failed" in done.notes, "who insists is told"


async def test_one_of_two_that_it_reads(stage: Stage, scene: Scene) -> None:
    both = {"envFrom": [*ENV["envFrom"], {"configMapRef": {"name": "more"}}]}
    await stage.config_map("app", {"a": "1"})
    await stage.config_map("more", {"b": "1"})
    await scene.workload(container=both)
    async with stage.controller() as control:
        names = await scene.contents("1", "2")
        await stage.set("ConfigMap", "more", {"b": "2"})
        await stage.rolled("web", 3)
        await stage.complete("web")
        more = await scene.copies("more")
        with pytest.raises(Refused, match="say which is meant with --config"):
            await scene.roll_back(version="1")
        await scene.roll_back(version="1", config=("configmap", "app"))
        await scene.stays(control, 4, names[0])
        assert await scene.names(config=("configmap", "more")) == more[1]
        with pytest.raises(Refused, match="its pod template names no configmap/other"):
            await scene.roll_back(config=("configmap", "other"))
        await scene.roll_back(config=("configmap", "more"))
        assert await scene.names() == names[0]
        assert await scene.names(config=("configmap", "more")) == more[0]


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet", "CronJob"])
async def test_other_kinds(stage: Stage, scene: Scene, new_workload: Any, kind: str) -> None:
    await stage.config_map("app", {"a": "1"})
    if kind == "CronJob":
        pod = {**new_workload("web", container=ENV)["spec"]["template"]["spec"], "restartPolicy": "Never"}
        spec = {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": {"spec": pod}}}}
        metadata = {"name": "web", "annotations": {"reroll.dev/auto": "true", "reroll.dev/mode": "version"}}
        await stage.create({"apiVersion": "batch/v1", "kind": kind, "metadata": metadata, "spec": spec})
    else:
        await scene.workload(kind=kind)
    async with stage.controller() as control:
        names = await scene.contents("1", "2", kind=kind)
        done = await scene.roll_back(kind=kind)
        assert done.where == ("the versions before" if kind == "CronJob" else "revision 2")
        assert await scene.names(kind=kind) == names[0]
        await stage.quiet(control)
        assert await scene.names(kind=kind) == names[0]


async def test_a_dry_run_changes_nothing(stage: Stage, scene: Scene) -> None:
    await stage.config_map("app", {"a": "1"})
    await scene.workload()
    async with stage.controller():
        names = await scene.contents("1", "2")
    before = (await stage.get("Deployment", "web"))["metadata"]["resourceVersion"]
    done = await scene.roll_back(dry_run=True, restore=True)
    assert (done.state, done.steps[0].after) == ("planned", names[0])
    assert done.restored
    assert (await stage.get("Deployment", "web"))["metadata"]["resourceVersion"] == before
    assert await scene.data("app") == {"a": "2"}


async def test_what_is_refused_is_not_done_by_halves(stage: Stage, scene: Scene) -> None:
    both = {"envFrom": [*ENV["envFrom"], {"configMapRef": {"name": "more"}}]}
    await stage.config_map("app", {"a": "1"})
    await stage.config_map("more", {"b": "1"})
    await scene.workload(container=both)
    async with stage.controller():
        await scene.contents("1")
        await stage.set("ConfigMap", "app", {"a": "2"})
        await stage.set("ConfigMap", "more", {"b": "2"})
        await stage.until(lambda: at_another(scene), "it is not pointed at the second version")
    await stage.patch("ConfigMap", "more", {"immutable": True})
    with pytest.raises(Refused, match="configmap/more is immutable"):
        await scene.roll_back(restore=True)
    assert await scene.data("app") == {"a": "2"}
    assert await scene.names() == (await scene.copies())[1]


async def at_another(scene: Scene) -> bool:
    copies = await scene.copies("more")
    return len(copies) == 2 and await scene.names(config=("configmap", "more")) == copies[1]


class TestTheSource:
    """What `--restore-source` does to it."""

    async def test_what_it_has_is_kept_first(self, stage: Stage, scene: Scene) -> None:
        await stage.config_map("app", {"a": "1"}, labels={"team": "shop"})
        await scene.workload()
        async with stage.controller():
            names = await scene.contents("1", "2")
        await stage.set("ConfigMap", "app", {"a": "3", "b": "more"})
        await scene.roll_back(restore=True)
        assert await scene.data("app") == {"a": "1"}
        copies = await scene.copies()
        assert copies[:2] == names
        assert await scene.data(copies[2]) == {"a": "3", "b": "more"}
        assert (await stage.get("ConfigMap", copies[2]))["immutable"] is True

    async def test_one_that_is_gone_comes_back(self, stage: Stage, scene: Scene) -> None:
        await stage.config_map("app", {"a": "1"}, labels={"team": "shop"})
        await scene.workload()
        async with stage.controller():
            await scene.contents("1", "2")
        await stage.delete("ConfigMap", "app")
        done = await scene.roll_back(restore=True)
        assert "was gone" in done.restored[0]
        found = await stage.get("ConfigMap", "app")
        assert (found["data"], found["metadata"]["labels"]) == ({"a": "1"}, {"team": "shop"})
        assert "immutable" not in found

    async def test_one_that_is_immutable_is_left(self, stage: Stage, scene: Scene) -> None:
        await stage.config_map("app", {"a": "1"})
        await scene.workload()
        async with stage.controller():
            names = await scene.contents("1", "2")
        await stage.patch("ConfigMap", "app", {"immutable": True})
        with pytest.raises(Refused, match="configmap/app is immutable"):
            await scene.roll_back(restore=True)
        assert await scene.names() == names[1], "nothing is done by halves"

    async def test_a_secret_takes_the_digest_key(self, stage: Stage, scene: Scene) -> None:
        container = {"envFrom": [{"secretRef": {"name": "db"}}]}
        await stage.secret("db", {"password": "hunter1"})
        await scene.workload(container=container)
        async with stage.controller():
            await stage.rolled("web", 1)
            await stage.set("Secret", "db", {"password": "hunter2"})
            await stage.rolled("web", 2)
        await stage.set("Secret", "db", {"password": "hunter3"})
        with pytest.raises(Refused, match="can't be named without the digest key") as refused:
            await scene.roll_back(restore=True)
        assert "hunter" not in str(refused.value)
        done = await scene.roll_back(restore=True, key=KEY)
        assert "hunter" not in repr(done)
        names = await scene.copies("db", "secret")
        assert await scene.data("db", "Secret") == await scene.data(names[0], "Secret")
        assert len(names) == 3


async def test_what_can_t_be_rolled_back(stage: Stage, scene: Scene) -> None:
    with pytest.raises(NotFound):
        await scene.roll_back()
    await stage.config_map("app", {"a": "1"})
    await scene.workload(annotations={})
    with pytest.raises(Refused, match="it is for the mode version"):
        await scene.roll_back()
    await scene.workload("api")
    async with stage.controller():
        [name] = await scene.contents("1", name="api")
    with pytest.raises(Refused, match="nothing is known of what it read before"):
        await scene.roll_back("api")
    # Somebody took away what makes it a version.
    await stage.patch("ConfigMap", name, {"metadata": {"labels": {"reroll.dev/source": None}}})
    with pytest.raises(Refused, match="there are no versions of that"):
        await scene.roll_back("api", version=name)


async def test_garbage_collection_has_an_eye_on_it(stage: Stage, scene: Scene) -> None:
    await stage.config_map("app", {"a": "1"})
    await scene.workload()
    async with stage.controller():
        names = await scene.contents("1", "2")
    mark = {"metadata": {"annotations": {"reroll.dev/unused-since": "2026-01-01T00:00:00Z"}}}
    await stage.patch("ConfigMap", names[0], mark)
    await scene.roll_back(version="1")
    annotations = (await stage.get("ConfigMap", names[0]))["metadata"]["annotations"]
    assert "reroll.dev/unused-since" not in annotations


@pytest.mark.parametrize("restore", [False, True])
async def test_out_of_a_rollout_that_hangs(
    stage: Stage, scene: Scene, new_workload: NewWorkload, restore: bool
) -> None:
    nodes = len(msgspec.json.decode(await stage.client.list_page("/api/v1/nodes"))["items"])
    made = new_workload(
        "web",
        annotations=MODE,
        container=ENV,
        replicas=nodes,
        strategy={"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
    )
    # Where no pod may be beside another one of it, one more finds no node.
    apart = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}}}
    made["spec"]["template"]["spec"]["affinity"] = {
        "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [apart]}
    }
    await stage.config_map("app", {"a": "1"})
    await stage.create(made)
    async with stage.controller(settle=1.0) as control:
        names = await scene.contents("1")
        before = await pods(stage)
        no_room = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
        await stage.patch("Deployment", "web", {"spec": {"strategy": no_room}})
        names += await scene.contents("2", ended=False)
        await scene.roll_back(restore=restore)
        await scene.stays(control, 3, names[0])
        assert await pods(stage) == before, "what works was never touched"


async def pods(stage: Stage) -> set[str]:
    found = msgspec.json.decode(await stage.client.list_page(stage.path("Pod")))["items"]
    return {pod["metadata"]["uid"] for pod in found if "deletionTimestamp" not in pod["metadata"]}


async def test_somebody_else_writes_at_the_same_time(
    stage: Stage, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stage.config_map("app", {"a": "1"})
    await scene.workload()
    async with stage.controller():
        names = await scene.contents("1", "2", "3")
    patch = stage.client.patch
    meddled = False

    async def meddling(path: str, body: bytes, **more: Any) -> bytes:
        """Just before, somebody else points it where it is to go."""
        nonlocal meddled
        if path == stage.path("Deployment", "web") and not meddled:  # and not of the dry run before
            meddled = True
            await scene.roll_back(version="2")
        return await patch(path, body, **more)

    monkeypatch.setattr(stage.client, "patch", meddling)
    done = await scene.roll_back()
    assert meddled
    assert (done.state, await scene.names()) == ("unchanged", names[1]), "it is not taken one further"
