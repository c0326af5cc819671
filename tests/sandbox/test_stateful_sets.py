"""StatefulSets of the sandbox, in virtual time."""

from __future__ import annotations

from typing import Any

import pytest

from reroll.sandbox.kinds import CONTROLLER_REVISION, POD, STATEFUL_SET
from reroll.sandbox.storage import Change, Object
from tests.sandbox.play import NAMESPACE, Play, condition, template

pytestmark = pytest.mark.looptime


def stateful(play: Play, **spec: Any) -> Object:
    selector = {"matchLabels": {"app": "web"}}
    return play.make(
        STATEFUL_SET,
        "web",
        spec={"replicas": 3, "serviceName": "web", "selector": selector, "template": image("1"), **spec},
    )


def image(version: str, **more: Any) -> Object:
    return template(image=f"app:{version}", **more)


def images(play: Play) -> dict[str, str]:
    return {pod["metadata"]["name"]: pod["spec"]["containers"][0]["image"] for pod in play.pods()}


def names_ever(play: Play) -> tuple[list[str], list[str]]:
    """(pods in the order of their creation, of their end), filled as it happens."""
    begun: list[str] = []
    ended: list[str] = []

    def note(change: Change) -> None:
        if change.kind is POD and change.type != "MODIFIED":
            (begun if change.type == "ADDED" else ended).append(change.object["metadata"]["name"])

    play.storage.listen(note)
    return begun, ended


class TestOrdered:
    async def test_pods_come_one_after_the_other(self, play: Play) -> None:
        stateful(play)
        await play.rest(0.2)
        assert list(images(play)) == ["web-0"]
        await play.rest(0.5)
        assert list(images(play)) == ["web-0", "web-1"]
        await play.rest()
        assert list(images(play)) == ["web-0", "web-1", "web-2"]

    async def test_their_identity_and_the_status(self, play: Play) -> None:
        stateful(play)
        await play.rest()
        (revision,) = play.storage.objects(CONTROLLER_REVISION)
        name = revision["metadata"]["name"]
        pod = play.get(POD, "web-1")
        assert pod["metadata"]["labels"] == {
            "app": "web",
            "controller-revision-hash": name,
            "statefulset.kubernetes.io/pod-name": "web-1",
            "apps.kubernetes.io/pod-index": "1",
        }
        assert (pod["spec"]["hostname"], pod["spec"]["subdomain"]) == ("web-1", "web")
        assert play.status(STATEFUL_SET, "web") == {
            "observedGeneration": 1,
            "replicas": 3,
            "readyReplicas": 3,
            "availableReplicas": 3,
            "currentReplicas": 3,
            "updatedReplicas": 3,
            "currentRevision": name,
            "updateRevision": name,
            "collisionCount": 0,
        }

    async def test_a_rollout_goes_downwards_one_by_one(self, play: Play) -> None:
        stateful(play)
        await play.rest()
        begun, ended = names_ever(play)
        play.spec(STATEFUL_SET, "web", template=image("2"))
        await play.rest()
        assert ended == begun == ["web-2", "web-1", "web-0"]
        assert set(images(play).values()) == {"app:2"}
        status = play.status(STATEFUL_SET, "web")
        assert status["currentRevision"] == status["updateRevision"]
        assert status["updatedReplicas"] == 3

    async def test_a_pod_that_is_not_ready_holds_it_up(self, play: Play) -> None:
        stateful(play)
        await play.rest()
        play.spec(
            STATEFUL_SET, "web", template=image("2", annotations={"sandbox.reroll.dev/ready-after": "1h"})
        )
        await play.rest(60)
        assert images(play) == {"web-0": "app:1", "web-1": "app:1", "web-2": "app:2"}
        status = play.status(STATEFUL_SET, "web")
        assert status["currentRevision"] != status["updateRevision"]
        assert (status["updatedReplicas"], status["currentReplicas"], status["readyReplicas"]) == (1, 2, 2)

    async def test_scaling_down_takes_the_highest_first(self, play: Play) -> None:
        stateful(play)
        await play.rest()
        _, ended = names_ever(play)
        play.spec(STATEFUL_SET, "web", replicas=0)
        await play.rest()
        assert ended == ["web-2", "web-1", "web-0"]
        assert play.status(STATEFUL_SET, "web")["replicas"] == 0

    async def test_a_deleted_pod_comes_back_under_its_name(self, play: Play) -> None:
        stateful(play)
        await play.rest()
        before = play.get(POD, "web-1")["metadata"]["uid"]
        play.storage.delete(POD, NAMESPACE, "web-1")
        await play.rest()
        after = play.get(POD, "web-1")
        assert after["metadata"]["uid"] != before
        assert condition(after, "Ready")[0] == "True"

    async def test_replaced_by_one_of_the_same_name(self, play: Play) -> None:
        stateful(play)
        await play.rest()
        play.storage.delete(STATEFUL_SET, NAMESPACE, "web")
        stateful(play, template=image("2"))
        await play.rest()
        assert images(play) == {"web-0": "app:2", "web-1": "app:2", "web-2": "app:2"}


class TestParallel:
    async def test_all_pods_come_at_once(self, play: Play) -> None:
        stateful(play, podManagementPolicy="Parallel")
        await play.rest(0.2)
        assert len(images(play)) == 3

    async def test_a_rollout_is_one_by_one_all_the_same(self, play: Play) -> None:
        stateful(play, podManagementPolicy="Parallel")
        await play.rest()
        begun, _ = names_ever(play)
        play.spec(STATEFUL_SET, "web", template=image("2"))
        await play.rest(0.2)
        assert begun == ["web-2"]
        await play.rest()
        assert begun == ["web-2", "web-1", "web-0"]


class TestStrategies:
    async def test_a_partition_holds_back(self, play: Play) -> None:
        stateful(play, updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 2}})
        await play.rest()
        play.spec(STATEFUL_SET, "web", template=image("2"))
        await play.rest()
        assert images(play) == {"web-0": "app:1", "web-1": "app:1", "web-2": "app:2"}
        play.storage.delete(POD, NAMESPACE, "web-0")
        await play.rest()
        assert images(play)["web-0"] == "app:1"
        play.spec(
            STATEFUL_SET, "web", updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}
        )
        await play.rest()
        assert set(images(play).values()) == {"app:2"}

    async def test_on_delete_waits_for_who_deletes(self, play: Play) -> None:
        stateful(play, updateStrategy={"type": "OnDelete"})
        await play.rest()
        play.spec(STATEFUL_SET, "web", template=image("2"))
        await play.rest()
        assert set(images(play).values()) == {"app:1"}
        status = play.status(STATEFUL_SET, "web")
        assert status["observedGeneration"] == 2
        assert status["currentRevision"] != status["updateRevision"]
        assert "updatedReplicas" not in status
        play.storage.delete(POD, NAMESPACE, "web-1")
        await play.rest()
        assert images(play) == {"web-0": "app:1", "web-1": "app:2", "web-2": "app:1"}


class TestRevisions:
    async def test_an_undo_numbers_the_old_one_anew(self, play: Play) -> None:
        stateful(play)
        await play.rest()
        (first,) = play.storage.objects(CONTROLLER_REVISION)
        play.spec(STATEFUL_SET, "web", template=image("2"))
        await play.rest()
        play.spec(STATEFUL_SET, "web", template=image("1"))
        await play.rest()
        held = {one["metadata"]["uid"]: one["revision"] for one in play.storage.objects(CONTROLLER_REVISION)}
        assert sorted(held.values()) == [2, 3]
        assert held[first["metadata"]["uid"]] == 3

    async def test_the_data_is_a_patch_that_brings_the_template_back(self, play: Play) -> None:
        made = stateful(play)
        await play.rest()
        (revision,) = play.storage.objects(CONTROLLER_REVISION)
        assert revision["data"] == {"spec": {"template": {**made["spec"]["template"], "$patch": "replace"}}}
        assert revision["metadata"]["labels"]["app"] == "web"

    async def test_as_many_are_kept_as_the_limit_says(self, play: Play) -> None:
        stateful(play, replicas=1, revisionHistoryLimit=1)
        for version in "2345":
            await play.rest()
            play.spec(STATEFUL_SET, "web", template=image(version))
        await play.rest()
        assert sorted(one["revision"] for one in play.storage.objects(CONTROLLER_REVISION)) == [4, 5]
