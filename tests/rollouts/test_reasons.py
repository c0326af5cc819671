"""Why a rollout does not end, out of made-up answers: containers, schedulers, events, logs."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from reroll.core.records import WorkloadId
from reroll.kube.errors import Forbidden
from reroll.rollouts.live import RESTARTED_AT, Live, decode_live
from reroll.rollouts.reasons import in_short, why

WEB = WorkloadId("StatefulSet", "shop", "web")


def live(**status: Any) -> Live:
    spec = {"selector": {"matchLabels": {"app": "web"}}, "template": {}}
    return decode_live(
        msgspec.json.encode({"metadata": {"name": "web", "uid": "w"}, "spec": spec, "status": status})
    )


def pod(name: str, *containers: dict[str, Any], revision: str = "", **status: Any) -> dict[str, Any]:
    meta = {"name": name, "uid": name, "labels": {"controller-revision-hash": revision}}
    return {"metadata": meta, "status": {"phase": "Running", "containerStatuses": list(containers), **status}}


class Answers:
    """An API server that has these pods, events and logs; None: it refuses."""

    def __init__(
        self, pods: list[dict[str, Any]] | None, events: Any = None, log: bytes | None = None
    ) -> None:
        self.pods, self.events, self.log = pods, events, log
        self.asked: list[str] = []

    async def list_page(self, path: str, *, accept: str | None = None, attempts: int = 4) -> bytes:
        self.asked.append(path)
        items = self.pods if "/pods" in path else self.events
        if items is None:
            raise Forbidden("not for you")
        return msgspec.json.encode({"metadata": {}, "items": items})

    async def get(self, path: str, *, accept: str | None = None, attempts: int = 4) -> bytes:
        self.asked.append(path)
        if self.log is None:
            raise Forbidden("not for you")
        return self.log


CRASHED = {
    "name": "main",
    "restartCount": 4,
    "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting"}},
    "lastState": {"terminated": {"exitCode": 3}},
}


async def test_a_crash_with_its_last_words() -> None:
    server = Answers([pod("web-0", CRASHED, revision="b")], log=b"one\ntwo\x1b[31m\nthree\n")
    found = await why(server, WEB, live(updateRevision="b"), log_lines=2)
    (reason,) = found.reasons
    assert reason.what == "pod web-0, container main: CrashLoopBackOff (exit code 3, 4 restarts)"
    assert reason.log == ("two[31m", "three")
    assert found.broken
    assert any("web-0/log?container=main&tailLines=2&previous=true" in each for each in server.asked)


async def test_a_pod_of_the_older_revision_breaks_nothing() -> None:
    found = await why(Answers([pod("web-0", CRASHED, revision="a")]), WEB, live(updateRevision="b"))
    assert found.reasons
    assert not found.broken


@pytest.mark.parametrize(
    ("reason", "broken"),
    [("InvalidImageName", True), ("ImagePullBackOff", False), ("CreateContainerConfigError", False)],
)
async def test_only_what_never_comes_right_by_itself_ends_the_wait(reason: str, broken: bool) -> None:
    """An image may be pushed, and a ConfigMap be created, a moment later."""
    waiting = {"name": "main", "state": {"waiting": {"reason": reason}}}
    found = await why(Answers([pod("web-0", waiting, revision="b")]), WEB, live(updateRevision="b"))
    assert found.broken is broken


async def test_no_log_is_asked_for() -> None:
    server = Answers([pod("web-0", CRASHED)])
    await why(server, WEB, live(), log_lines=0)
    assert not any("/log" in each for each in server.asked)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            pod(
                "p",
                {
                    "name": "main",
                    "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}},
                },
            ),
            "pod p, container main: ImagePullBackOff: no such image",
        ),
        (
            pod("p", {"name": "main", "state": {"running": {}}, "restartCount": 1}),
            "pod p, container main: runs and is not ready (1 restart)",
        ),
        (
            pod("p", {"name": "main", "state": {"waiting": {"reason": "ContainerCreating"}}}),
            "pod p is not ready",
        ),
        (
            pod(
                "p",
                conditions=[
                    {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}
                ],
            ),
            "pod p can't be scheduled: 0/3 nodes are available",
        ),
        (
            pod("p", phase="Failed", reason="Evicted", message="the node was low on memory"),
            "pod p failed: the node",
        ),
    ],
)
async def test_what_pods_tell(given: dict[str, Any], told: str) -> None:
    (reason,) = (await why(Answers([given], events=[]), WEB, live())).reasons
    assert reason.what.startswith(told)


async def test_events_are_told_once_and_the_last_of_them() -> None:
    events = [
        {"reason": "Unhealthy", "message": f"probe {n}", "lastTimestamp": f"2026-01-01T00:00:0{n}Z"}
        for n in range(5)
    ]
    running = {"name": "main", "state": {"running": {}}}
    found = await why(Answers([pod("p", running)], events=[*events, events[-1]]), WEB, live())
    assert [each.what for each in found.reasons[1:]] == [f"pod p: Unhealthy: probe {n}" for n in (2, 3, 4)]


async def test_what_may_not_be_read_is_no_condition() -> None:
    (reason,) = (await why(Answers(None), WEB, live())).reasons
    assert "its pods can't be read: not for you" in reason.what
    found = await why(Answers([pod(f"p{n}", CRASHED) for n in range(5)]), WEB, live())
    assert len(found.reasons) == 4
    assert found.reasons[-1].what == "and 2 more pods are not ready"


async def test_why_pods_are_not_even_made() -> None:
    event = {"reason": "FailedCreate", "message": "exceeded quota"}
    found = await why(Answers([], events=[event]), WEB, live())
    assert [each.what for each in found.reasons] == ["FailedCreate: exceeded quota"]
    failure = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}
    found = await why(Answers([], events=[event]), WEB, live(conditions=[failure]))
    assert [each.what for each in found.reasons] == ["its pods can't be made: exceeded quota"]


def test_selectors_of_all_forms() -> None:
    def selector(value: Any) -> str:
        return decode_live(msgspec.json.encode({"metadata": {}, "spec": {"selector": value}})).pods_selector

    expressions = [
        {"key": "a", "operator": "In", "values": ["x", "y"]},
        {"key": "b", "operator": "NotIn", "values": ["z"]},
        {"key": "c", "operator": "Exists"},
        {"key": "d", "operator": "DoesNotExist"},
    ]
    assert selector({"matchExpressions": expressions}) == "a in (x,y),b notin (z),c,!d"
    assert selector({"app": "web"}) == "app=web"
    assert selector(None) == ""
    assert RESTARTED_AT not in selector({"matchLabels": {"app": "web"}})


class TestInShort:
    """What an Event says of it: by the pods' statuses alone, with one list of them."""

    async def of(self, pods: list[dict[str, Any]] | None) -> tuple[str, list[str]]:
        spec = {"selector": {"matchLabels": {"app": "web"}}, "template": {}}
        workload = {"metadata": {"name": "web", "uid": "w"}, "spec": spec}
        answers = Answers(pods, [{"reason": "BackOff"}], log=msgspec.json.encode(workload))
        return await in_short(answers, WEB), answers.asked

    async def test_says_what_is_true_of_several_pods_once(self) -> None:
        words, asked = await self.of([pod("web-0", CRASHED), pod("web-1", CRASHED), pod("web-2", CRASHED)])
        assert words == "pod web-0, container main: CrashLoopBackOff (exit code 3, 4 restarts)"
        assert [path.partition("?")[0] for path in asked] == [
            "/apis/apps/v1/namespaces/shop/statefulsets/web",
            "/api/v1/namespaces/shop/pods",
        ]
        assert "labelSelector=app%3Dweb" in asked[1]

    async def test_names_two_things_at_most(self) -> None:
        waiting = [
            {"name": name, "state": {"waiting": {"reason": "ErrImagePull", "message": "m" * 999}}}
            for name in "abc"
        ]
        words, _ = await self.of([pod("web-0", *waiting)])
        assert words.count("ErrImagePull") == 2
        assert len(words.encode()) < 800

    async def test_a_pod_that_no_node_takes(self) -> None:
        condition = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}
        words, _ = await self.of([pod("web-0", phase="Pending", conditions=[condition])])
        assert words == "pod web-0 can't be scheduled: 0/3 nodes are available"

    async def test_a_pod_of_which_nothing_is_known(self) -> None:
        assert (await self.of([pod("web-0")]))[0] == "pod web-0 is not ready"

    async def test_pods_that_are_ready_or_go_are_no_reason(self) -> None:
        ready = pod("web-0", CRASHED, conditions=[{"type": "Ready", "status": "True"}])
        going = pod("web-1", CRASHED)
        going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        assert (await self.of([ready, going]))[0] == ""

    async def test_where_they_may_not_be_listed(self) -> None:
        assert (await self.of(None))[0] == ""
