"""The ages of pods: what is asked of the server for them, how often, and what becomes of a failure."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from reroll.controller import ages as module
from reroll.controller.ages import Ages
from reroll.core.kinds import KINDS, WorkloadKind
from reroll.core.observe import epoch
from reroll.core.proof import NOT_PERMITTED, PodAges
from reroll.core.records import WorkloadId
from reroll.insight.simulation.clock import VirtualLoop
from reroll.kube.errors import ApiError, Forbidden, Gone, ServerError

WEB = WorkloadId("Deployment", "shop", "web")
FRESH = 5.0


class Pods:
    """A server that lists these pods, or fails. `takes`: seconds of each answer."""

    def __init__(self, *items: dict[str, Any], fails: ApiError | None = None, takes: float = 0.0) -> None:
        self.items, self.fails, self.takes = list(items), fails, takes
        self.asked: list[dict[str, str]] = []
        self.accepted: set[str | None] = set()

    async def list_page(self, path: str, *, accept: str | None = None) -> bytes:
        self.asked.append(dict(parse_qsl(urlsplit(path).query)) | {"path": urlsplit(path).path})
        self.accepted.add(accept)
        await asyncio.sleep(self.takes)
        if self.fails is not None:
            raise self.fails
        return json.dumps({"metadata": {}, "items": self.items}).encode()


def a_pod(at: int, name: str = "web", kind: str = "StatefulSet", api: str = "apps/v1", **meta: Any) -> Any:
    owner = {"apiVersion": api, "kind": kind, "name": name, "controller": True}
    created = f"2026-01-01T00:00:{at:02}Z"
    return {
        "metadata": {"namespace": "shop", "creationTimestamp": created, "ownerReferences": [owner], **meta}
    }


def of_web(at: int, **meta: Any) -> Any:
    return a_pod(at, "web-abc", "ReplicaSet", labels={"pod-template-hash": "abc"}, **meta)


def second(at: int) -> float:
    return epoch(f"2026-01-01T00:00:{at:02}Z")


def run(work: Coroutine[Any, Any, None]) -> None:
    """On virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(work)


class TestWhatIsTold:
    async def test_the_times_of_all_pods_that_stay(self) -> None:
        going = of_web(1, deletionTimestamp="2026-01-01T00:01:00Z")
        server = Pods(of_web(9), of_web(3), going, of_web(5), a_pod(0, "other"))
        found = await Ages(server).of(WEB)
        assert found == PodAges(3, second(3), (second(3), second(5), second(9)))
        assert server.accepted == {
            "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
        }
        assert server.asked[0]["fieldSelector"] == "status.phase!=Succeeded,status.phase!=Failed"

    async def test_of_a_great_many_only_the_oldest_times(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "MOST_TIMES", 2)
        found = await Ages(Pods(*map(of_web, (9, 3, 5)))).of(WEB)
        assert found == PodAges(3, second(3), (second(3), second(5)))

    async def test_no_pods(self) -> None:
        assert await Ages(Pods()).of(WEB) == PodAges(0, 0.0)

    @pytest.mark.parametrize(
        ("kind", "pod"),
        [
            (
                KINDS["Rollout"],
                a_pod(3, "web-abc", "ReplicaSet", labels={"rollouts-pod-template-hash": "abc"}),
            ),
            (
                KINDS["DeploymentConfig"],
                a_pod(
                    3,
                    "web-1",
                    "ReplicationController",
                    "v1",
                    annotations={"openshift.io/deployment-config.name": "web"},
                ),
            ),
            (KINDS["Job"], a_pod(3, "web", "Job", "batch/v1")),
        ],
    )
    async def test_of_each_kind(self, kind: WorkloadKind, pod: Any) -> None:
        found = await Ages(Pods(pod)).of(WorkloadId(kind.id, "shop", "web"))
        assert found == PodAges(1, second(3), (second(3),))

    async def test_a_custom_kind_is_told_from_the_built_in_one_of_its_name(self) -> None:
        custom = WorkloadKind("StatefulSet", "apps.kruise.io", "v1beta1", "statefulsets", custom=True)
        server = Pods(a_pod(3), a_pod(5, api="apps.kruise.io/v1beta1"))
        ages = Ages(server)
        assert await ages.of(WorkloadId("StatefulSet", "shop", "web")) == PodAges(1, second(3), (second(3),))
        found = await ages.of(WorkloadId(custom.id, "shop", "web"), kind=custom)
        assert found == PodAges(1, second(5), (second(5),))
        assert await ages.of(WorkloadId(custom.id, "shop", "web")) is NOT_PERMITTED
        assert "is not known" in ages.problem

    async def test_all_namespaces_at_once(self) -> None:
        assert (await Ages(Pods(of_web(3))).by_workload("")).keys() == {WEB}


class TestHowOftenItAsks:
    def test_one_list_serves_all_workloads_of_a_namespace_for_a_while(self) -> None:
        async def work() -> None:
            server = Pods(of_web(3), a_pod(4))
            ages = Ages(server)
            await asyncio.gather(ages.of(WEB), ages.of(WorkloadId("StatefulSet", "shop", "web")))
            await asyncio.sleep(FRESH - 1)
            await ages.of(WEB)
            assert len(server.asked) == 1
            await ages.of(WEB, within=1.0)
            assert len(server.asked) == 2
            await asyncio.sleep(FRESH)
            await ages.of(WEB)
            assert len(server.asked) == 3

        run(work())

    def test_with_its_own_selector_it_asks_for_no_others(self) -> None:
        async def work() -> None:
            server = Pods(of_web(3))
            ages = Ages(server)
            for _ in range(2):
                assert await ages.of(WEB, "app=web") == PodAges(1, second(3), (second(3),))
            assert [asked.get("labelSelector") for asked in server.asked] == ["app=web"]
            await ages.of(WEB)
            await asyncio.sleep(1)
            assert await ages.of(WEB, "app=other"), "the list of the namespace is fresh, and has it"
            assert [asked.get("labelSelector") for asked in server.asked] == ["app=web", None]

        run(work())

    def test_nothing_is_kept_of_what_is_old(self) -> None:
        async def work() -> None:
            ages = Ages(Pods())
            for number in range(50):
                await ages.of(WEB._replace(namespace=f"n{number}"))
                await asyncio.sleep(1)
            assert len(ages._answers) <= FRESH + 1
            assert len(ages._locks) <= FRESH + 1

        run(work())


class TestAFailure:
    @pytest.mark.parametrize("error", [ServerError("etcd is away", status=500), Gone("too old", status=410)])
    def test_is_no_answer_and_none_asks_again_for_a_while(self, error: ApiError) -> None:
        """Eight actors waited for eight lists in a row, and nobody else was served meanwhile."""

        async def work() -> None:
            server = Pods(fails=error, takes=4.0)
            ages = Ages(server)
            assert await asyncio.gather(*[ages.of(WEB._replace(name=str(n))) for n in range(8)]) == [None] * 8
            lists = len(server.asked)
            assert lists == (3 if isinstance(error, Gone) else 1)
            assert error.message in ages.problem
            assert await ages.of(WEB, within=0.0) is None
            assert len(server.asked) == lists
            server.fails = None
            await asyncio.sleep(FRESH)
            assert await ages.of(WEB) == PodAges(0, 0.0)
            assert ages.problem == ""

        run(work())

    def test_a_server_that_does_not_answer_is_not_waited_for(self) -> None:
        async def work() -> None:
            ages = Ages(Pods(takes=3600.0))
            assert await ages.of(WEB) is None
            assert "no answer" in ages.problem
            assert asyncio.get_running_loop().time() < 60.0

        run(work())

    async def test_pods_that_may_not_be_listed(self) -> None:
        ages = Ages(Pods(fails=Forbidden("no", status=403)))
        assert await ages.of(WEB) is NOT_PERMITTED
        assert "may not be listed" in ages.problem

    async def test_an_answer_that_is_not_understood(self) -> None:
        ages = Ages(Pods({"metadata": {"ownerReferences": 3}}))
        assert await ages.of(WEB) is None
        assert "not understood" in ages.problem
