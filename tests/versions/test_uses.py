"""Who names which version: what may be listed, what may not, and what is not there."""

from __future__ import annotations

import json
from typing import Any

import pytest

from reroll.kube.errors import Forbidden, NotFound, ServerError
from reroll.versions.uses import find_uses

NAME = "app-h29d89cmmt"
WANTED = {("shop", NAME)}


def obj(name: str, **fields: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "shop", **fields.pop("metadata", {})}, **fields}


def naming(name: str, **metadata: Any) -> dict[str, Any]:
    return obj(name, metadata=metadata, spec={"anywhere": [{"deep": NAME}]})


class Server:
    """Lists by plural; what is not in it is empty. An exception is raised."""

    def __init__(self, **lists: Any) -> None:
        self.lists = lists
        self.asked: list[str] = []
        self.groups: dict[str, Any] = {}

    async def get(self, path: str) -> bytes:
        if path == "/apis":
            groups = [{"name": name, "preferredVersion": {"version": "v1"}} for name in self.groups]
            return json.dumps({"groups": groups}).encode()
        found = self.groups[path.split("/")[2]]
        if isinstance(found, Exception):
            raise found
        return json.dumps({"resources": found}).encode()

    async def list_page(self, path: str, *, accept: str | None = None) -> bytes:
        plural = path.partition("?")[0].rpartition("/")[2]
        self.asked.append(plural)
        found = self.lists.get(plural, [])
        if isinstance(found, Exception):
            raise found
        return json.dumps({"metadata": {"resourceVersion": "1"}, "items": found}).encode()


async def test_who_they_are() -> None:
    owner = {"kind": "Deployment", "name": "web", "controller": True}
    server = Server(
        deployments=[naming("web"), obj("api", spec={"x": f"{NAME}-not"})],
        replicasets=[
            naming("web-1", ownerReferences=[owner], annotations={"deployment.kubernetes.io/revision": "3"})
        ],
        controllerrevisions=[{**naming("db-1"), "revision": 4}],
        pods=[naming("web-1-x", ownerReferences=[{"kind": "StatefulSet", "name": "db", "controller": True}])],
    )
    found = await find_uses(server, ("shop",), WANTED)
    described = [(use.what, str(use), use.of, use.revision) for use in found.of("shop", NAME)]
    assert described == [
        ("workload", "deployment/web", "", 0),
        ("revision", "replicaset/web-1", "deployment/web", 3),
        ("revision", "controllerrevision/db-1", "", 4),
        ("pod", "pod/web-1-x", "statefulset/db", 0),
    ]
    assert not found.unread


async def test_another_namespace_is_another_name() -> None:
    other = {"metadata": {"name": "web", "namespace": "bank"}, "spec": NAME}
    found = await find_uses(Server(deployments=[other]), ("",), WANTED)
    assert not found.found


async def test_what_makes_others_is_asked_before_what_it_makes() -> None:
    server = Server()
    await find_uses(server, ("shop",), WANTED)
    asked = server.asked
    assert asked.index("deployments") < asked.index("replicasets") < asked.index("pods")
    assert asked.index("cronjobs") < asked.index("jobs") < asked.index("pods")


async def test_what_may_not_be_listed_is_told() -> None:
    found = await find_uses(Server(pods=Forbidden("pods is forbidden")), ("shop",), WANTED)
    assert found.unread == ("pods is forbidden",)


async def test_what_the_cluster_does_not_serve() -> None:
    found = await find_uses(Server(rollouts=NotFound("no")), ("shop",), WANTED)
    assert not found.unread
    with pytest.raises(NotFound):
        await find_uses(Server(pods=NotFound("no")), ("shop",), WANTED)


async def test_nothing_is_asked_for_nothing() -> None:
    server = Server()
    await find_uses(server, ("shop",), (), everything=True)
    assert not server.asked


class TestCustomResources:
    """`everything`: what names a version may be of any kind."""

    async def test_all_that_can_be_listed_in_namespaces(self) -> None:
        server = Server(widgets=[naming("w")], gadgets=[naming("g")])
        listable = {"namespaced": True, "verbs": ["get", "list"]}
        server.groups = {
            "example.com": [
                {"name": "widgets", "kind": "Widget", **listable},
                {"name": "widgets/status", "kind": "Widget", **listable},
                {"name": "clusterwidgets", "kind": "C", "namespaced": False, "verbs": ["list"]},
                {"name": "writeonly", "kind": "W", "namespaced": True, "verbs": ["create"]},
            ],
            "events.k8s.io": [{"name": "events", "kind": "Event", **listable}],
        }
        found = await find_uses(server, ("shop",), WANTED, everything=True)
        assert [str(use) for use in found.of("shop", NAME)] == ["widget/w"]
        assert not {"gadgets", "clusterwidgets", "writeonly", "events", "status"} & set(server.asked)
        assert "widgets" not in Server().asked

    async def test_an_api_that_is_down_leaves_it_open(self) -> None:
        server = Server()
        server.groups = {"metrics.example.com": ServerError("the server is currently unable")}
        found = await find_uses(server, ("shop",), WANTED, everything=True)
        assert found.unread == ("the API metrics.example.com/v1: the server is currently unable",)
