"""DaemonSets of the sandbox, in virtual time."""

from __future__ import annotations

from typing import Any

import pytest

from reroll.sandbox.kinds import CONTROLLER_REVISION, DAEMON_SET, NODE, POD
from reroll.sandbox.storage import Object, Storage
from tests.sandbox.play import NAMESPACE, Play, condition, template

pytestmark = pytest.mark.looptime


def add_node(storage: Storage, name: str, **labels: str) -> Object:
    return storage.create(NODE, {"metadata": {"name": name, "labels": labels}, "spec": {}})


async def daemon(play: Play, pod: Object | None = None, **spec: Any) -> None:
    """A DaemonSet at rest on four nodes, one of them that of the sandbox."""
    await play.rest(0.1)
    for name in "abc":
        add_node(play.storage, name, disk="ssd" if name == "a" else "hdd")
    selector = {"matchLabels": {"app": "web"}}
    play.make(DAEMON_SET, "web", spec={"selector": selector, "template": pod or template(), **spec})
    await play.rest()


def by_node(play: Play) -> dict[str, str]:
    """The image that runs on each node."""
    return {pod["spec"]["nodeName"]: pod["spec"]["containers"][0]["image"] for pod in play.pods()}


class TestPlaces:
    async def test_one_pod_on_each_node(self, play: Play) -> None:
        await daemon(play)
        assert by_node(play).keys() == {"a", "b", "c", "sandbox"}
        assert len(play.pods()) == 4
        assert play.status(DAEMON_SET, "web") == {
            "observedGeneration": 1,
            "desiredNumberScheduled": 4,
            "currentNumberScheduled": 4,
            "updatedNumberScheduled": 4,
            "numberReady": 4,
            "numberAvailable": 4,
            "numberMisscheduled": 0,
        }

    async def test_only_nodes_with_the_labels_it_asks_for(self, play: Play) -> None:
        await daemon(play, template(nodeSelector={"disk": "ssd"}))
        assert by_node(play).keys() == {"a"}

    async def test_nodes_that_come_change_and_go(self, play: Play) -> None:
        await daemon(play, template(nodeSelector={"disk": "ssd"}))
        add_node(play.storage, "d", disk="ssd")
        await play.rest()
        assert by_node(play).keys() == {"a", "d"}
        node = play.storage.get(NODE, "", "a")
        play.storage.update(NODE, {**node, "metadata": {**node["metadata"], "labels": {}}})
        play.storage.delete(NODE, "", "d")
        await play.rest()
        assert by_node(play) == {}
        assert play.status(DAEMON_SET, "web")["desiredNumberScheduled"] == 0

    async def test_a_cordoned_node_keeps_and_gets_its_pod(self, play: Play) -> None:
        await daemon(play)
        node = play.storage.get(NODE, "", "a")
        play.storage.update(NODE, {**node, "spec": {"unschedulable": True}})
        (pod,) = (pod for pod in play.pods() if pod["spec"]["nodeName"] == "a")
        play.storage.delete(POD, NAMESPACE, pod["metadata"]["name"])
        await play.rest()
        assert by_node(play).keys() == {"a", "b", "c", "sandbox"}


class TestRollingUpdate:
    @pytest.mark.parametrize(
        ("unavailable", "most"), [(None, 1), (2, 2), ("50%", 2), ("26%", 2), ("100%", 4)]
    )
    async def test_as_many_are_missing_as_may_be(
        self, play: Play, unavailable: int | str | None, most: int
    ) -> None:
        rolling = {} if unavailable is None else {"maxUnavailable": unavailable}
        await daemon(play, updateStrategy={"type": "RollingUpdate", "rollingUpdate": rolling})
        missing: set[int] = set()

        def look(_: object) -> None:
            staying = [pod for pod in play.pods() if "deletionTimestamp" not in pod["metadata"]]
            missing.add(4 - sum(condition(pod, "Ready")[0] == "True" for pod in staying))

        play.storage.listen(look)
        play.spec(DAEMON_SET, "web", template=template(image="app:2"))
        await play.rest()
        assert set(by_node(play).values()) == {"app:2"}
        assert max(missing) == most
        assert play.status(DAEMON_SET, "web")["updatedNumberScheduled"] == 4

    async def test_broken_pods_are_replaced_at_once(self, play: Play) -> None:
        await daemon(play, template(annotations={"sandbox.reroll.dev/ready-after": "1h"}))
        play.spec(DAEMON_SET, "web", template=template(image="app:2"))
        await play.rest(0.3)
        assert list(by_node(play).values()) == ["app:2"] * 4

    async def test_it_stops_at_a_pod_that_never_gets_ready(self, play: Play) -> None:
        await daemon(play)
        play.spec(
            DAEMON_SET,
            "web",
            template=template(image="app:2", annotations={"sandbox.reroll.dev/ready-after": "1h"}),
        )
        await play.rest(60)
        assert sorted(by_node(play).values()) == ["app:1", "app:1", "app:1", "app:2"]
        assert play.status(DAEMON_SET, "web")["numberUnavailable"] == 1


async def test_on_delete_waits_for_who_deletes(play: Play) -> None:
    await daemon(play, updateStrategy={"type": "OnDelete"})
    play.spec(DAEMON_SET, "web", template=template(image="app:2"))
    await play.rest()
    assert set(by_node(play).values()) == {"app:1"}
    (pod,) = (pod for pod in play.pods() if pod["spec"]["nodeName"] == "b")
    play.storage.delete(POD, NAMESPACE, pod["metadata"]["name"])
    await play.rest()
    assert by_node(play) == {"a": "app:1", "b": "app:2", "c": "app:1", "sandbox": "app:1"}
    assert play.status(DAEMON_SET, "web")["updatedNumberScheduled"] == 1


async def test_its_revisions(play: Play) -> None:
    await daemon(play)
    play.spec(DAEMON_SET, "web", template=template(image="app:2"))
    await play.rest()
    held = sorted(play.storage.objects(CONTROLLER_REVISION), key=lambda one: int(one["revision"]))
    assert [one["revision"] for one in held] == [1, 2]
    digest = held[1]["metadata"]["labels"]["controller-revision-hash"]
    assert held[1]["metadata"]["name"] == f"web-{digest}"
    assert {pod["metadata"]["labels"]["controller-revision-hash"] for pod in play.pods()} == {digest}
