"""The end of a rollout that is followed, and what happens to the workload meanwhile."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from reroll.core.records import WorkloadId
from reroll.kube.errors import ApiError, NotFound, ServerError
from reroll.rollouts.live import Live, decode_live
from reroll.rollouts.wait import Ended, follow

WEB = WorkloadId("Deployment", "shop", "web")


def web(updated: int, *, mark: str = "ours", uid: str = "u", **spec: Any) -> bytes:
    """A Deployment of 2 pods, this many of them new."""
    template = {"metadata": {"annotations": {"mark": mark}}}
    counts = {"replicas": 2, "updatedReplicas": updated, "availableReplicas": 2, "observedGeneration": 1}
    return msgspec.json.encode(
        {
            "metadata": {"uid": uid, "generation": 1},
            "spec": {"replicas": 2, "template": template, **spec},
            "status": counts,
        }
    )


class Answers:
    """A server that says these in turn, and the last of them for ever; it has no pods and no Events."""

    def __init__(self, *answers: bytes | ApiError) -> None:
        self.answers = list(answers)

    async def get(self, path: str, *, accept: str | None = None, attempts: int = 4) -> bytes:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, ApiError):
            raise answer
        return answer

    async def list_page(self, path: str, *, accept: str | None = None, attempts: int = 4) -> bytes:
        return b'{"metadata": {}, "items": []}'


async def followed(*answers: bytes | ApiError, begun: Live | None = None, within: float = 20) -> Ended:
    return await follow(
        Answers(*answers), WEB, deadline=time.monotonic() + within, told=lambda progress: None, begun=begun
    )


async def test_to_its_end() -> None:
    ended = await followed(web(1), ServerError("etcd is away", status=500), web(2))
    assert (ended.state, ended.words) == ("done", "all 2 pods new and available")
    assert not ended.superseded


async def test_a_later_change_of_the_template_is_told() -> None:
    """The end that is seen is that of another rollout."""
    ended = await followed(web(1), web(1, mark="theirs"), web(2, mark="theirs"))
    assert (ended.state, ended.superseded) == ("done", True)
    assert ended.words.endswith("; its pod template was changed again in the meantime")


async def test_a_change_before_the_first_look_is_told_too() -> None:
    ended = await followed(web(2, mark="theirs"), begun=decode_live(web(0)))
    assert (ended.state, ended.superseded) == ("done", True)


async def test_scaling_is_no_later_change() -> None:
    assert not (await followed(web(1), web(2, replicas=2, minReadySeconds=1))).superseded


async def test_another_workload_of_its_name_is_not_followed() -> None:
    ended = await followed(web(1), web(2, uid="another"))
    assert (ended.state, ended.words) == ("failed", "it was deleted and created again in the meantime")
    ended = await followed(web(1), NotFound("gone", status=404))
    assert (ended.state, ended.words) == ("failed", "it was deleted in the meantime")


async def test_one_that_keeps_older_pods_is_at_its_end() -> None:
    server = Answers(web(0, updateStrategy={"type": "OnDelete"}))
    workload = WEB._replace(kind="StatefulSet")
    ended = await follow(server, workload, deadline=time.monotonic() + 20, told=lambda progress: None)
    assert (ended.state, ended.words) == ("done", "its update strategy is OnDelete: 0 of 2 pods are new")


async def test_one_that_is_paused_is_waited_for() -> None:
    ended = await followed(web(0, paused=True), web(1), web(2))
    assert ended.state == "done"
    ended = await followed(web(0, paused=True), within=0)
    assert (ended.state, ended.words) == ("timed out", "not done in time: it is paused: 0 of 2 pods are new")
