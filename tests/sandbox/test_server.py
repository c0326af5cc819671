"""The sandbox as a server: its beginning and end, who may ask, and what a real server would not do on demand."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from reroll.core.observe import ConfigMapObject
from reroll.kube.client import MERGE_PATCH, Client
from reroll.kube.config import load_config
from reroll.kube.errors import Gone, NotFound, Unauthorized
from reroll.kube.reflector import Collection, Reflector
from reroll.kube.resources import CONFIG_MAPS, NAMESPACES
from reroll.sandbox.kinds import CONFIG_MAP, DAEMON_SET, SECRET, Kind
from reroll.sandbox.server import Sandbox

Json = dict[str, Any]


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(bookmark=0.05) as sandbox:
        yield sandbox


@pytest.fixture
async def client(sandbox: Sandbox, tmp_path: Path) -> AsyncIterator[Client]:
    sandbox.write_kubeconfig(tmp_path / "kubeconfig")
    async with Client(load_config(kubeconfig=str(tmp_path / "kubeconfig"))) as client:
        yield client


def make(sandbox: Sandbox, name: str, **data: str) -> Json:
    return sandbox.storage.create(
        CONFIG_MAP, {"metadata": {"name": name, "namespace": "default"}, "data": data}
    )


async def lines(sandbox: Sandbox, path: str, count: int) -> list[Json]:
    headers = {"Authorization": f"Bearer {sandbox.token}"}
    found: list[Json] = []
    async with (
        asyncio.timeout(10),
        aiohttp.ClientSession(headers=headers) as session,
        session.get(sandbox.url + path) as answer,
    ):
        async for line in answer.content:
            found.append(msgspec.json.decode(line))
            if len(found) == count:
                break
    return found


class TestWhoMayAsk:
    async def test_nobody_without_the_token(self, sandbox: Sandbox) -> None:
        for path in ("/api", "/version", "/api/v1/secrets", "/apis/apps/v1", "/wrong/api", "/"):
            async with aiohttp.ClientSession() as session, session.get(sandbox.url + path) as answer:
                assert answer.status == 401
                assert (await answer.json())["reason"] == "Unauthorized"

    async def test_by_header_and_by_address(self, sandbox: Sandbox) -> None:
        headers = {"Authorization": f"Bearer {sandbox.token}"}
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{sandbox.url}/version", headers=headers) as answer:
                assert answer.status == 200
            async with session.get(f"{sandbox.url}/{sandbox.token}/version") as answer:
                assert answer.status == 200

    async def test_tokens_are_made_up(self) -> None:
        assert len({Sandbox().token for _ in range(5)}) == 5
        assert Sandbox(token="mine").token == "mine"

    async def test_the_client_says_so(self, sandbox: Sandbox, tmp_path: Path) -> None:
        path = tmp_path / "kubeconfig"
        sandbox.write_kubeconfig(path)
        path.write_text(path.read_text().replace(sandbox.token, "wrong"))
        async with Client(load_config(kubeconfig=str(path))) as client:
            with pytest.raises(Unauthorized):
                await client.get("/version", attempts=1)


class TestBeginningAndEnd:
    async def test_it_begins_with_what_a_cluster_has(self, client: Client) -> None:
        spaces = msgspec.json.decode(await client.get(NAMESPACES.path()))
        assert {s["metadata"]["name"] for s in spaces["items"]} >= {"default", "kube-system"}
        nodes: list[Json] = []
        async with asyncio.timeout(5):
            while not nodes:
                nodes = msgspec.json.decode(await client.get("/api/v1/nodes"))["items"]
        assert {c["type"]: c["status"] for c in nodes[0]["status"]["conditions"]}["Ready"] == "True"
        root = msgspec.json.decode(await client.get(CONFIG_MAPS.path("default", "kube-root-ca.crt")))
        assert "ca.crt" in root["data"]

    async def test_the_kubeconfig_is_private_even_where_one_was_open(
        self, sandbox: Sandbox, tmp_path: Path
    ) -> None:
        path = tmp_path / "kubeconfig"
        path.write_text("old")
        path.chmod(0o644)
        sandbox.write_kubeconfig(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    async def test_a_port_that_is_taken(self, sandbox: Sandbox) -> None:
        port = int(sandbox.url.rpartition(":")[2])
        with pytest.raises(OSError, match="address already in use"):
            async with Sandbox(port=port):
                pass

    async def test_watches_end_with_it(self) -> None:
        async with Sandbox() as sandbox:
            make(sandbox, "app")
            headers = {"Authorization": f"Bearer {sandbox.token}"}
            session = aiohttp.ClientSession(headers=headers)
            answer = await session.get(f"{sandbox.url}/api/v1/configmaps?watch=true&resourceVersion=0")
            assert await answer.content.readline()
        async with asyncio.timeout(5):
            # By an end of the answer or of the connection: both are one for a client.
            with contextlib.suppress(aiohttp.ClientError):
                await answer.read()
        answer.close()
        await session.close()

    async def test_objects_stay_as_they_are_without_rollouts(self) -> None:
        async with Sandbox(rollouts=False) as sandbox:
            assert sandbox.rollouts is None
            made = make(sandbox, "app")
            await asyncio.sleep(0)
            assert sandbox.storage.get(CONFIG_MAP, "default", "app") is made


class TestGone:
    async def test_a_watch_from_a_forgotten_version(self, sandbox: Sandbox) -> None:
        version = make(sandbox, "a")["metadata"]["resourceVersion"]
        make(sandbox, "b")
        sandbox.storage.forget_history()
        path = f"/api/v1/configmaps?watch=true&resourceVersion={version}"
        (event,) = await lines(sandbox, path, 1)
        assert event["type"] == "ERROR"
        assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")
        sandbox.api.gone_as_http = True
        (status,) = await lines(sandbox, path, 1)
        assert (status["kind"], status["code"]) == ("Status", 410)

    async def test_a_page_of_a_forgotten_list(self, sandbox: Sandbox, client: Client) -> None:
        for number in range(4):
            make(sandbox, f"c-{number}")
        first = msgspec.json.decode(await client.list_page(CONFIG_MAPS.path("default", limit=2)))
        make(sandbox, "later")
        sandbox.storage.forget_history()
        path = CONFIG_MAPS.path("default", limit=2, **{"continue": first["metadata"]["continue"]})
        with pytest.raises(Gone):
            await client.list_page(path)
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {sandbox.token}"}) as session,
            session.get(sandbox.url + path) as answer,
        ):
            token = (await answer.json())["metadata"]["continue"]
        rest = msgspec.json.decode(await client.list_page(CONFIG_MAPS.path("default", **{"continue": token})))
        assert [i["metadata"]["name"] for i in rest["items"]] == ["c-2", "c-3", "kube-root-ca.crt", "later"]

    async def test_a_list_as_of_an_earlier_version(self, sandbox: Sandbox, client: Client) -> None:
        version = make(sandbox, "a", x="1")["metadata"]["resourceVersion"]
        make(sandbox, "b")
        sandbox.storage.delete(CONFIG_MAP, "default", "a")
        path = CONFIG_MAPS.path("default", resourceVersion=version, resourceVersionMatch="Exact")
        found = msgspec.json.decode(await client.list_page(path))
        assert [i["metadata"]["name"] for i in found["items"]] == ["a", "kube-root-ca.crt"]
        assert found["metadata"]["resourceVersion"] == version


class TestWatches:
    async def test_bookmarks_and_the_end_of_the_time(self, sandbox: Sandbox) -> None:
        path = (
            f"/api/v1/secrets?watch=true&resourceVersion={sandbox.storage.version}&allowWatchBookmarks=true"
        )
        events = await lines(sandbox, f"{path}&timeoutSeconds=1", 1000)
        assert {event["type"] for event in events} == {"BOOKMARK"}
        assert int(events[0]["object"]["metadata"]["resourceVersion"]) >= 1
        assert (
            await lines(sandbox, path.replace("allowWatchBookmarks", "x") + "&timeoutSeconds=1", 1000) == []
        )

    async def test_reflectors_keep_up(self, sandbox: Sandbox, client: Client) -> None:
        held: dict[str, dict[str, str]] = {}

        class Handler:
            def upsert(self, obj: ConfigMapObject, *, live: bool) -> None:
                held[obj.metadata.name] = obj.data or {}

            def delete(self, namespace: str, name: str, *, live: bool, version: str) -> None:
                held.pop(name, None)

            def known(self) -> list[tuple[str, str]]:
                return [("default", name) for name in held]

            def synced(self) -> None: ...

        async def until(condition: Any) -> None:
            async with asyncio.timeout(10):
                while not condition():  # noqa: ASYNC110 - a handler tells nobody
                    await asyncio.sleep(0.01)

        make(sandbox, "a", x="1")
        reflector = Reflector(client, Collection(CONFIG_MAPS, ConfigMapObject, "default"), Handler())
        task = asyncio.create_task(reflector.run())
        await until(lambda: held.get("a") == {"x": "1"})
        path = CONFIG_MAPS.path("default", "a")
        await client.patch(path, b'{"data":{"x":"2"}}', content_type=MERGE_PATCH)
        await until(lambda: held.get("a") == {"x": "2"})
        sandbox.api.end_watches()
        sandbox.storage.forget_history()
        sandbox.storage.delete(CONFIG_MAP, "default", "a")
        make(sandbox, "b")
        await until(lambda: set(held) == {"b", "kube-root-ca.crt"})
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class TestWhatItDoesNotKnow:
    @pytest.mark.parametrize(
        ("path", "word"),
        [
            ("/api/v1/namespaces/default/pods/p/log", "pods/log"),
            ("/metrics", "/metrics"),
            ("/logs/x", "/logs/x"),
        ],
    )
    async def test_what_the_sandbox_does_not_know_is_named(
        self, client: Client, path: str, word: str
    ) -> None:
        with pytest.raises(NotFound, match=f"the sandbox does not know .*{word}"):
            await client.get(path)

    @pytest.mark.parametrize(
        "body",
        [
            {"metadata": {"name": "a", "ownerReferences": ["x"]}},
            {"metadata": {"name": "a", "labels": {"x": None}}},
            {"metadata": None},
            {"metadata": {"name": {"a": 1}}},
            {"metadata": {"name": "a", "managedFields": "x"}},
            {"data": {"x" * 300: "y"}, "metadata": {"name": "a"}},
        ],
    )
    async def test_odd_objects_are_refused_and_break_nothing(self, sandbox: Sandbox, body: Json) -> None:
        headers = {"Authorization": f"Bearer {sandbox.token}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            for method, path in (("POST", ""), ("PUT", "/a")):
                url = f"{sandbox.url}/api/v1/namespaces/default/configmaps{path}"
                async with session.request(method, url, json=body) as answer:
                    assert answer.status in (201, 400, 404, 422)
            async with session.get(f"{sandbox.url}/api/v1/configmaps") as answer:
                assert answer.status == 200

    async def test_no_value_of_a_secret_is_quoted(self, sandbox: Sandbox) -> None:
        headers = {"Authorization": f"Bearer {sandbox.token}"}
        url = f"{sandbox.url}/api/v1/namespaces/default/secrets"
        made = {"metadata": {"name": "s"}, "stringData": {"a": "hunter2"}}
        async with aiohttp.ClientSession(headers=headers) as session:
            async with session.post(url, json=made) as answer:
                assert answer.status == 201
            tries: list[tuple[str, Any]] = [
                ("application/merge-patch+json", {"data": {"a": ["hunter2"]}}),
                ("application/merge-patch+json", {"stringData": {"a": 2}, "data": {"hunter": "%hunter2"}}),
                ("application/json-patch+json", [{"op": "test", "path": "/data/a", "value": "hunter2"}]),
                ("application/strategic-merge-patch+json", {"metadata": {"finalizers": [{"a": "hunter2"}]}}),
                ("application/json-patch+json", [{"op": "hunter2"}]),
            ]
            for content_type, patch in tries:
                data = msgspec.json.encode(patch)
                async with session.patch(
                    f"{url}/s", data=data, headers={"Content-Type": content_type}
                ) as answer:
                    assert answer.status in (400, 422), patch
                    assert "hunter2" not in await answer.text()
            async with session.post(
                url, data=b'{"data": {"a": "hunter2', headers={"Content-Type": "application/json"}
            ) as answer:
                assert answer.status == 400
                assert "hunter2" not in await answer.text()


class TestHistory:
    @pytest.mark.parametrize(
        ("kind", "path", "made", "patch"),
        [
            (
                SECRET,
                "/api/v1/namespaces/default/secrets",
                {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}, "stringData": {"A": "1"}},
                {"stringData": {"A": "2"}},
            ),
            (
                DAEMON_SET,
                "/apis/apps/v1/namespaces/default/daemonsets",
                {
                    "apiVersion": "apps/v1",
                    "kind": "DaemonSet",
                    "metadata": {"name": "x", "annotations": {"a": "b"}},
                    "spec": {
                        "selector": {"matchLabels": {"a": "b"}},
                        "template": {
                            "metadata": {"labels": {"a": "b"}},
                            "spec": {"containers": [{"name": "a", "image": "a"}]},
                        },
                    },
                },
                {"spec": {"template": {"metadata": {"annotations": {"c": "d"}}}}},
            ),
        ],
    )
    async def test_a_write_leaves_what_was_there_before_as_it_was(
        self, kind: Kind, path: str, made: Json, patch: Json
    ) -> None:
        """A watch, a list and a conflict look at earlier versions, which share what a write left alone."""
        async with Sandbox(rollouts=False) as sandbox:
            headers = {"Authorization": f"Bearer {sandbox.token}"}
            async with aiohttp.ClientSession(headers=headers) as session:
                await session.post(sandbox.url + path, json=made)
                before = sandbox.storage.get(kind, "default", "x")
                as_it_was = copy.deepcopy(before)
                headers = {"Content-Type": MERGE_PATCH}
                async with session.patch(f"{sandbox.url}{path}/x", json=patch, headers=headers) as answer:
                    after = await answer.json()
        assert before == as_it_was
        assert int(after["metadata"]["resourceVersion"]) > int(before["metadata"]["resourceVersion"])
