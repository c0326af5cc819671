"""Which pods go, and which goes next."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from reroll.controller.result import Again, Done, Held
from reroll.core.compare import ConfigChange
from reroll.core.decision import Decision, How, Kind
from reroll.core.kinds import DAEMON_SET, DEPLOYMENT, DEPLOYMENT_CONFIG, ROLLOUT, STATEFUL_SET, WorkloadKind
from reroll.core.observe import epoch
from reroll.core.records import Applied, Change, ConfigId, WorkloadId
from reroll.kube.errors import ApiError, Conflict, Gone, NotFound, TooManyRequests
from reroll.modes.restart import Pod, begin, desired, evict, next_step, pods_of, selector_of, tell, to_go
from tests.controller import played
from tests.controller.played import DEPLOYMENTS, World
from tests.records import deployment

ADVANCED = WorkloadKind("StatefulSet", "apps.kruise.io", "v1beta1", "statefulsets", custom=True)
RECORD = deployment(resource_version="5")
PATH = f"{DEPLOYMENTS}/web"


def pod(name: str, created: float = 1.0, *, ready: bool = True, going: bool = False) -> Pod:
    return Pod(name, f"{name}-and-more-of-its-uid", created, ready, going)


def written(*names: str) -> frozenset[str]:
    return frozenset(pod(name).short for name in names)


def names(pods: tuple[Pod, ...]) -> list[str]:
    return [pod.name for pod in pods]


def stale(*stamps: float) -> Decision:
    changes = tuple(
        ConfigChange(ConfigId("configmap", "shop", f"c{i}"), ("k",), change=Change(stamp, stamp, 1))
        for i, stamp in enumerate(stamps)
    )
    return Decision(Kind.ROLL, "r", changes=changes, applied=Applied("t", "k", {}), how=How.EVICT)


class TestWhoIsToGo:
    PODS = (pod("old", 10.0), pod("same", 20.0), pod("new", 21.0), pod("going", 10.0, going=True))

    def test_all_that_were_not_surely_created_after_the_last_change(self) -> None:
        assert names(to_go(self.PODS, stale(20.0))) == ["old", "same"]
        assert names(to_go(self.PODS, stale(5.0, 20.0))) == ["old", "same"]
        assert names(to_go(self.PODS, stale(5.0))) == []

    def test_all_where_the_time_of_a_change_is_not_known(self) -> None:
        assert names(to_go(self.PODS, stale(5.0, 0.0))) == ["old", "same", "new"]

    def test_they_are_written_down_with_the_record(self) -> None:
        body = json.loads(begin(RECORD, stale(20.0), self.PODS[:2]))
        assert body["metadata"]["annotations"]["reroll.dev/restarting"] == "old-and- same-and"
        assert body["metadata"]["resourceVersion"] == "5"
        assert "spec" not in body
        assert (
            json.loads(begin(RECORD, stale(20.0), ()))["metadata"]["annotations"]["reroll.dev/restarting"]
            is None
        )


class TestWhoGoesNext:
    def test_the_oldest_first(self) -> None:
        step = next_step(written("a", "b", "c"), [pod("a", 3), pod("b", 1), pod("c", 2)], 3)
        assert names(step.evict) == ["b"]
        assert step.left == 3

    def test_all_that_are_not_ready_at_once(self) -> None:
        pods = [pod("a"), pod("b", ready=False), pod("c", ready=False)]
        assert names(next_step(written("a", "b", "c"), pods, 3).evict) == ["b", "c"]

    @pytest.mark.parametrize(
        ("pods", "why"),
        [
            ([pod("a", going=True), pod("b"), pod("c")], "terminating"),
            ([pod("new", ready=False), pod("b"), pod("c")], "new, which was started again"),
            ([pod("b"), pod("c")], "no successor"),
        ],
    )
    def test_one_waits_for_another(self, pods: list[Pod], why: str) -> None:
        step = next_step(written("a", "b", "c"), pods, 3)
        assert step.evict == ()
        assert why in step.wait_for
        assert step.left

    def test_those_that_started_since_are_not_touched(self) -> None:
        pods = [pod("new"), pod("newer"), pod("c")]
        assert names(next_step(written("a", "b", "c"), pods, 3).evict) == ["c"]

    def test_it_is_over_when_the_last_is_gone(self) -> None:
        assert next_step(written("a"), [pod("a", going=True), pod("new")], 1).left == 1
        assert next_step(written("a"), [pod("new")], 1).left == 0
        assert next_step(written("a"), [], 0).left == 0

    def test_scaled_down_in_the_middle(self) -> None:
        assert names(next_step(written("a", "b", "c"), [pod("b")], 1).evict) == ["b"]

    def test_where_nobody_says_how_many_there_are_to_be(self) -> None:
        assert names(next_step(written("a", "b"), [pod("b")], None).evict) == ["b"]


def test_how_many_a_daemon_set_is_to_have() -> None:
    assert desired(b'{"status": {"desiredNumberScheduled": 4}}') == 4
    for other in (b"{}", b'{"status": {"replicas": 1}}', b'{"status": {"desiredNumberScheduled": "four"}}'):
        assert desired(other) is None


class TestWhoseAPodIs:
    """By its owner alone; the ReplicaSet in between is told by its name."""

    def an_item(self, of: str, name: str, **meta: Any) -> dict[str, Any]:
        version, _, kind = of.rpartition("/")
        reference = {"apiVersion": version, "kind": kind, "name": name, "uid": "o", "controller": True}
        return {
            "metadata": {
                "name": "p",
                "uid": "uid",
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "ownerReferences": [{**reference, **meta.pop("owner", {})}],
                **meta,
            },
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
        }

    async def found(self, kind: WorkloadKind, *items: dict[str, Any]) -> tuple[Pod, ...]:
        return await pods_of(Pages({"items": items}), WorkloadId(kind.id, "shop", "web"), kind)

    @pytest.mark.parametrize(
        ("kind", "owner", "name", "meta", "ours"),
        [
            (DEPLOYMENT, "apps/v1/ReplicaSet", "web-abc", {"labels": {"pod-template-hash": "abc"}}, True),
            (DEPLOYMENT, "apps/v1/ReplicaSet", "web-x-abc", {"labels": {"pod-template-hash": "abc"}}, False),
            (DEPLOYMENT, "apps/v1/ReplicaSet", "web-abc", {}, False),
            (
                ROLLOUT,
                "apps/v1/ReplicaSet",
                "web-abc",
                {"labels": {"rollouts-pod-template-hash": "abc"}},
                True,
            ),
            (ROLLOUT, "apps/v1/ReplicaSet", "web-abc", {"labels": {"pod-template-hash": "abc"}}, False),
            (STATEFUL_SET, "apps/v1/StatefulSet", "web", {}, True),
            (STATEFUL_SET, "apps.kruise.io/v1beta1/StatefulSet", "web", {}, False),
            (ADVANCED, "apps.kruise.io/v1alpha1/StatefulSet", "web", {}, True),
            (ADVANCED, "apps/v1/StatefulSet", "web", {}, False),
            (DAEMON_SET, "apps/v1/DaemonSet", "web", {}, True),
            (DAEMON_SET, "apps/v1/DaemonSet", "web", {"owner": {"controller": False}}, False),
            (DAEMON_SET, "apps/v1/DaemonSet", "other", {}, False),
            (
                DEPLOYMENT_CONFIG,
                "v1/ReplicationController",
                "web-3",
                {"annotations": {"openshift.io/deployment-config.name": "web"}},
                True,
            ),
            (DEPLOYMENT_CONFIG, "v1/ReplicationController", "web-3", {}, False),
        ],
    )
    async def test_by_its_owner(
        self, kind: WorkloadKind, owner: str, name: str, meta: dict[str, Any], ours: bool
    ) -> None:
        assert len(await self.found(kind, self.an_item(owner, name, **dict(meta)))) == ours

    async def test_what_is_read_of_it(self) -> None:
        item = self.an_item("apps/v1/DaemonSet", "web", deletionTimestamp="2026-01-01T00:01:00Z")
        item["status"] = {"phase": "Pending"}
        [read] = await self.found(DAEMON_SET, item)
        assert read == Pod("p", "uid", epoch("2026-01-01T00:00:00Z"), ready=False, going=True)

    async def test_those_that_have_come_to_their_end_are_not_asked_for(self) -> None:
        pages = Pages({"items": []})
        assert await pods_of(pages, WorkloadId("DaemonSet", "shop", "web"), DAEMON_SET) == ()
        assert pages.queries[0]["fieldSelector"] == "status.phase!=Succeeded,status.phase!=Failed"
        assert "labelSelector" not in pages.queries[0]

    async def test_only_those_that_its_selector_finds_are_asked_for(self) -> None:
        """And the owner is looked at all the same: two workloads can have one selector."""
        items = [self.an_item("apps/v1/DaemonSet", name) for name in ("web", "other")]
        pages = Pages({"items": items})
        found = await pods_of(
            pages, WorkloadId("DaemonSet", "shop", "web"), DAEMON_SET, "app=web,tier in (a,b)"
        )
        assert len(found) == 1
        assert [query["labelSelector"] for query in pages.queries] == ["app=web,tier in (a,b)"]

    async def test_a_list_of_many_pages_that_expires_begins_anew(self) -> None:
        first = self.an_item("apps/v1/DaemonSet", "web", uid="first")
        second = self.an_item("apps/v1/DaemonSet", "web", uid="second")
        page = {"metadata": {"continue": "more"}, "items": [first]}
        pages = Pages(page, Gone("too old"), page, {"items": [second]})
        found = await pods_of(pages, WorkloadId("DaemonSet", "shop", "web"), DAEMON_SET)
        assert [pod.uid for pod in found] == ["first", "second"]
        assert ["continue=more" in path for path in pages.asked] == [False, True, False, True]


class Pages:
    """A server that answers lists with these, in turn."""

    def __init__(self, *answers: dict[str, Any] | ApiError) -> None:
        self.answers, self.asked = list(answers), list[str]()

    @property
    def queries(self) -> list[dict[str, str]]:
        return [dict(parse_qsl(urlsplit(path).query)) for path in self.asked]

    async def list_page(self, path: str, *, accept: str | None = None) -> bytes:
        self.asked.append(path)
        answer = self.answers.pop(0)
        if isinstance(answer, ApiError):
            raise answer
        return json.dumps({"metadata": {}, **answer}).encode()


class Creator:
    """A server that refuses, or takes, an eviction."""

    def __init__(self, refuses: ApiError | None = None) -> None:
        self.refuses = refuses
        self.asked: list[tuple[str, dict[str, Any]]] = []

    async def create(self, path: str, body: bytes) -> bytes:
        self.asked.append((path, json.loads(body)))
        if self.refuses is not None:
            raise self.refuses
        return b"{}"


async def test_an_eviction_is_of_one_pod_and_none_that_took_its_name() -> None:
    server = Creator()
    await evict(server, "shop", pod("web-1"))
    [(path, body)] = server.asked
    assert path == "/api/v1/namespaces/shop/pods/web-1/eviction"
    assert body["apiVersion"] == "policy/v1"
    assert body["deleteOptions"] == {"preconditions": {"uid": pod("web-1").uid}}


@pytest.mark.parametrize("gone", [NotFound("gone"), Conflict("another uid")])
async def test_one_that_is_gone_is_no_error(gone: ApiError) -> None:
    await evict(Creator(gone), "shop", pod("web-1"))


async def test_a_budget_that_says_not_now_is_heard() -> None:
    with pytest.raises(TooManyRequests):
        await evict(Creator(TooManyRequests("not now", status=429)), "shop", pod("web-1"))


def test_a_controller_of_its_own_is_told_by_one_field() -> None:
    body = json.loads(tell(RECORD, stale(20.0), ROLLOUT, 0.9))
    # The next whole second: Argo leaves pods of the same one alone.
    assert body["spec"] == {"restartAt": "1970-01-01T00:00:01Z"}
    assert body["metadata"]["annotations"].keys() == {"reroll.dev/applied"}


@pytest.mark.parametrize(
    ("present", "told"),
    [
        ({"restartAt": "1970-01-01T00:00:01Z"}, "1970-01-01T00:00:02Z"),
        ({"restartAt": "1970-01-01T00:00:02Z"}, "1970-01-01T00:00:01Z"),
        ({"restartAt": None}, "1970-01-01T00:00:01Z"),
    ],
)
def test_told_twice_in_one_second_it_is_another_time(present: dict[str, Any], told: str) -> None:
    body = json.loads(tell(RECORD, stale(20.0), ROLLOUT, 0.9, {"spec": present}))
    assert body["spec"] == {"restartAt": told}


def selecting(selector: object) -> bytes:
    return json.dumps({"spec": {"selector": selector}}).encode()


@pytest.mark.parametrize(
    ("selector", "written"),
    [
        ({"matchLabels": {"b": "2", "a": "1"}}, "a=1,b=2"),
        (
            {
                "matchLabels": {"a": "1"},
                "matchExpressions": [
                    {"key": "tier", "operator": "In", "values": ["web", "api"]},
                    {"key": "old", "operator": "NotIn", "values": ["yes"]},
                    {"key": "team", "operator": "Exists"},
                    {"key": "canary", "operator": "DoesNotExist"},
                ],
            },
            "a=1,tier in (web,api),old notin (yes),team,!canary",
        ),
        ({"matchExpressions": [{"key": "a", "operator": "Near"}]}, ""),
        ({"matchLabels": "all"}, ""),
        ({"app": "web"}, "app=web"),
        (None, ""),
    ],
)
def test_its_pods_alone_are_listed(selector: object, written: str) -> None:
    assert selector_of(DEPLOYMENT, selecting(selector)) == written


def test_a_custom_kind_may_select_something_else() -> None:
    assert selector_of(ADVANCED, selecting({"matchLabels": {"node": "a"}})) == ""


class TestARestartThatGoesOn:
    """The mode, step by step, on a played server."""

    async def begun(self) -> World:
        """Its pod is written down, and was evicted."""
        world = World()
        world.config(version=1, PORT="1")
        manifest = played.deployment(**{"reroll.dev/mode": "restart"})
        manifest["spec"]["selector"] = {"matchLabels": {"app": "web"}}
        world.server.put(DEPLOYMENTS, manifest)
        world.tell(PATH, live=False)
        assert await world.reconcile() == Done()
        world.server.pods = [played.pod()]
        world.config(version=100, PORT="2")
        return world

    async def test_pods_are_evicted_and_looked_after_until_they_are_gone(self) -> None:
        world = await self.begun()
        assert await world.reconcile() == Again(1.0, "its pods are evicted one after another")
        assert world.server.writes() == ["patch web", "patch web", "create eviction"]
        assert world.annotations()["reroll.dev/restarting"] == "web-abc-"
        assert (
            world.server.listed[-2:]
            == [
                "labelSelector=app%3Dweb&fieldSelector=status.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed"
            ]
            * 2
        )
        assert world.server.requests.count(("get", "web")) == 1, "for the selector, once"
        # Whoever removes annotations that they don't know ends no restart.
        del world.annotations()["reroll.dev/restarting"]
        world.server.put(DEPLOYMENTS, world.server.objects[PATH])
        world.tell(PATH)
        assert isinstance(await world.reconcile(), Again)
        world.server.pods = []
        assert await world.reconcile() == Done()
        assert "reroll.dev/restarting" not in world.annotations()
        before = len(world.server.requests)
        assert await world.reconcile() == Done()
        assert len(world.server.requests) == before

    async def test_a_budget_holds_it_for_as_long_as_it_says(self) -> None:
        world = await self.begun()
        error = TooManyRequests("the budget says no", status=429, retry_after=10.0)
        world.server.fail = lambda verb, name: error if verb == "create" else None
        result = await world.reconcile()
        assert isinstance(result, Held)
        assert result.at_least == 10.0
        assert [reason for reason, _ in world.events.sent] == ["Rolled", "Held"]
        await world.reconcile()
        assert len(world.events.sent) == 2, "told once"

    async def test_the_next_term_goes_on_by_what_is_written_down(self) -> None:
        world = await self.begun()
        await world.reconcile()
        world.lose_the_lead()
        world.lead()
        assert isinstance(await world.reconcile(), Again)
        world.server.pods = []
        assert await world.reconcile() == Done()
        assert "reroll.dev/restarting" not in world.annotations()

    async def test_what_is_taken_away_from_the_mode_is_left_as_it_is(self) -> None:
        world = await self.begun()
        await world.reconcile()
        world.annotations()["reroll.dev/mode"] = "rollout"
        world.server.put(DEPLOYMENTS, world.server.objects[PATH])
        world.tell(PATH)
        evictions = world.server.writes().count("create eviction")
        assert await world.reconcile() == Done()
        assert world.server.writes().count("create eviction") == evictions
        assert "reroll.dev/restarting" not in world.annotations()
