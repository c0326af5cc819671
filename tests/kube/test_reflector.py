"""The reflector against a real API server, through a proxy that fails: the handler ends up equal to the server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, MutableMapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from reroll.kube import reflector as module
from reroll.kube.auth import Fixed, UserCredentials
from reroll.kube.backoff import Backoff
from reroll.kube.client import Client
from reroll.kube.config import ClusterConfig
from reroll.kube.reflector import Collection, Reflector, Statistics
from reroll.kube.resources import CONFIG_MAPS, SECRETS
from tests.conftest import Cluster
from tests.faults.proxy import (
    EXPIRED,
    EXPIRED_EVENT,
    FORBIDDEN,
    Answer,
    EndWatch,
    ErrorEvent,
    Exchange,
    Fault,
    FaultProxy,
    NoBookmarks,
    Seen,
    Silence,
)

LIST = "sendInitialEvents=true"
RESUME = r"watch=true&resourceVersion=\d"


class Meta(msgspec.Struct, rename="camel"):
    name: str = ""
    namespace: str = ""
    resource_version: str = ""


class Thing(msgspec.Struct):
    metadata: Meta
    data: dict[str, str] | None = None


class Numbers(msgspec.Struct):
    """A ConfigMap whose values are numbers: none on a real server is."""

    metadata: Meta
    data: dict[str, int] | None = None


class Mirror:
    """A handler that keeps what it is told, and that it was told."""

    def __init__(self, broken: str = "", error: Exception | None = None) -> None:
        self.held: dict[tuple[str, str], Any] = {}
        self.calls: list[tuple[str, str, bool]] = []
        self.complete = 0
        self.versions: dict[str, str] = {}
        self.deletions: dict[str, str] = {}
        self._error = error or KeyError("the handler has a fault with this one: hunter2")
        self.breaks(broken)

    def breaks(self, name: str, *, times: int = 1000) -> None:
        """It fails on this one, so many times."""
        self._broken, self._times = name, times

    def _fail(self, name: str) -> None:
        if name == self._broken and self._times > 0:
            self._times -= 1
            raise self._error

    def upsert(self, obj: Thing | Numbers, *, live: bool) -> None:
        self._fail(obj.metadata.name)
        self.versions[obj.metadata.name] = obj.metadata.resource_version
        self.held[obj.metadata.namespace, obj.metadata.name] = obj.data
        self.calls.append(("upsert", obj.metadata.name, live))

    def delete(self, namespace: str, name: str, *, live: bool, version: str) -> None:
        self._fail(name)
        self.held.pop((namespace, name), None)
        self.deletions[name] = version
        self.calls.append(("delete", name, live))

    def known(self) -> Iterable[tuple[str, str]]:
        return list(self.held)

    def synced(self) -> None:
        self.complete += 1

    def names(self) -> set[str]:
        return {name for _, name in self.held if name != "kube-root-ca.crt"}


class Bench:
    """A namespace of the real server, with a proxy before it."""

    def __init__(self, proxy: FaultProxy, cluster: Cluster, namespace: str) -> None:
        self.proxy = proxy
        self.namespace = namespace
        credentials = UserCredentials(Fixed(f"Bearer {cluster.tokens['reroll']}"))
        config = ClusterConfig(server=proxy.url, credentials=credentials)
        self.client = Client(config, timeout=5.0, dead_connection=1.0)
        direct = ClusterConfig(server=proxy.upstream, credentials=credentials)
        self._direct = direct
        self.states: list[Statistics] = []

    async def put(self, name: str, **data: str) -> None:
        """Write a ConfigMap; faults of the proxy don't concern it."""
        body: dict[str, Any] = {"metadata": {"name": name}, "data": data}
        path = f"{self.proxy.upstream}{CONFIG_MAPS.path(self.namespace, name)}"
        headers = {"Authorization": (await self._direct.credentials.headers())["Authorization"]}
        async with self.proxy.session.put(path, json=body, headers=headers) as answer:
            if answer.status == 404:
                path = path.rpartition("/")[0]
                async with self.proxy.session.post(path, json=body, headers=headers) as made:
                    assert made.status == 201, await made.text()
            else:
                assert answer.status == 200, await answer.text()

    async def remove(self, name: str) -> None:
        path = f"{self.proxy.upstream}{CONFIG_MAPS.path(self.namespace, name)}"
        headers = {"Authorization": (await self._direct.credentials.headers())["Authorization"]}
        async with self.proxy.session.delete(path, headers=headers) as answer:
            assert answer.status == 200, await answer.text()

    async def streams_lists(self) -> bool:
        """Whether the server has streaming lists, which Kubernetes 1.30 has not switched on."""
        query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
        path = f"{self.proxy.upstream}{CONFIG_MAPS.path(self.namespace)}?{query}&timeoutSeconds=1"
        headers = {"Authorization": (await self._direct.credentials.headers())["Authorization"]}
        async with self.proxy.session.get(path, headers=headers) as answer:
            return bool(answer.status == 200)

    @asynccontextmanager
    async def follow(
        self, mirror: Mirror, *, synced: bool = True, object_type: type[Any] = Thing, **options: Any
    ) -> AsyncIterator[Reflector[Any]]:
        """A reflector of the namespace's ConfigMaps that runs; `synced`: and has read them all."""
        reflector: Reflector[Any] = Reflector(
            self.client,
            Collection(
                options.pop("resource", CONFIG_MAPS),
                object_type,
                self.namespace,
                stream_first=options.pop("stream_first", False),
                label_selector=options.pop("label_selector", ""),
                field_selector=options.pop("field_selector", ""),
                gather=options.pop("gather", 0.0),
            ),
            mirror,
            on_state=self.states.append,
            **options,
        )
        task = asyncio.create_task(reflector.run())
        try:
            if synced:
                await until(lambda: mirror.complete == 1, "the first list is complete")
                await until(lambda: reflector.statistics().state == "watching", "it watches")
            yield reflector
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def until_marked(self, mirror: Mirror, marker: str = "marker") -> None:
        """Wait until a change made now has arrived: all before it has, too."""
        await self.put(marker)
        await until(lambda: marker in mirror.names(), "the marker has arrived")

    def watches(self) -> list[Seen]:
        return self.proxy.requests("watch")


@pytest.fixture(autouse=True)
def short_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failures in a row are put off by hundredths of seconds."""
    monkeypatch.setattr(module, "_READ_AGAIN_AFTER", (0.02, 0.02, 0.02))
    monkeypatch.setattr(module, "Backoff", lambda *numbers, **more: Backoff(0.02, 0.2))


@pytest.fixture
async def bench(cluster: Cluster, namespace: str) -> AsyncIterator[Bench]:
    if not cluster.tokens:
        pytest.skip("speaks to the API server with the tokens of our own cluster")
    async with FaultProxy(cluster.server, cluster.ca) as proxy:
        bench = Bench(proxy, cluster, namespace)
        async with bench.client:
            yield bench


async def until(holds: Callable[[], bool], what: str) -> None:
    try:
        async with asyncio.timeout(30):
            while not holds():  # noqa: ASYNC110 - what it waits for is on a server
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not within 30 s: {what}") from None


@dataclass(frozen=True)
class Scripted(Fault):
    """A watch of exactly these events, which then ends or (`hold`) goes on without a word."""

    events: tuple[dict[str, Any], ...]
    hold: bool = False

    async def __call__(self, exchange: Exchange) -> web.StreamResponse:
        response = await exchange.open_stream()
        for event in self.events:
            await response.write(json.dumps(event).encode() + b"\n")
        if self.hold:
            await asyncio.Event().wait()
        return response


def bookmark(version: str, **annotations: str) -> dict[str, Any]:
    metadata = {"resourceVersion": version, "annotations": annotations}
    return {"type": "BOOKMARK", "object": {"kind": "ConfigMap", "metadata": metadata}}


class TestFollowing:
    async def test_lists_then_follows(self, bench: Bench) -> None:
        await bench.put("old", A="1")
        mirror = Mirror()
        async with bench.follow(mirror) as reflector:
            assert mirror.names() == {"old"}
            await bench.put("new", A="2")
            await bench.put("old", A="3")
            await bench.remove("new")
            await bench.until_marked(mirror)
            assert [call for call in mirror.calls if call[1] != "kube-root-ca.crt"] == [
                ("upsert", "old", False),
                ("upsert", "new", True),
                ("upsert", "old", True),
                ("delete", "new", True),
                ("upsert", "marker", True),
            ]
            assert mirror.held[bench.namespace, "old"] == {"A": "3"}
            statistics = reflector.statistics()
            assert (statistics.synced, statistics.problem, statistics.relists) == (True, "", 0)

    async def test_many_pages(self, bench: Bench) -> None:
        names = {f"app-{number}" for number in range(70)}
        await asyncio.gather(*(bench.put(name) for name in names))
        bench.proxy.add(Answer(400, "BadRequest", "no streaming"), path=LIST)
        mirror = Mirror()
        async with bench.follow(mirror):
            assert mirror.names() == names
            pages = bench.proxy.requests("list")
            assert len(pages) >= 2
            assert all("continue" in page.query for page in pages[1:])
            assert "resourceVersion" not in pages[0].query

    async def test_list_again_streams_and_tells_of_what_vanished(self, bench: Bench) -> None:
        await bench.put("gone")
        await bench.put("kept")
        mirror = Mirror()
        async with bench.follow(mirror) as reflector:
            await bench.proxy.close()
            await bench.remove("gone")
            # Before it can come back, or a watch that resumes may tell it first.
            reflector.list_again()
            assert not reflector.statistics().synced
            await bench.proxy.open()
            await until(lambda: mirror.complete == 2, "it has listed again")
            assert mirror.names() == {"kept"}
            # By one call, from what the list lacks: nothing of the time between came by the watch that was ended.
            assert [call for call in mirror.calls if call[:2] == ("delete", "gone")] == [
                ("delete", "gone", False)
            ]
            await bench.until_marked(mirror)


class TestExpired:
    @pytest.mark.parametrize("fault", [EXPIRED, EXPIRED_EVENT], ids=["HTTP 410", "ERROR event"])
    async def test_lists_again(self, bench: Bench, fault: Fault) -> None:
        await bench.put("gone")
        await bench.put("kept", A="1")
        mirror = Mirror()
        async with bench.follow(mirror) as reflector:
            await bench.proxy.close()
            await bench.remove("gone")
            await bench.put("kept", A="2")
            rule = bench.proxy.add(fault, "watch", path=RESUME, times=1)
            await bench.proxy.open()
            await until(lambda: mirror.complete == 2, "it has listed again")
            assert rule.hits == 1
            assert mirror.names() == {"kept"}
            assert ("delete", "gone", False) in mirror.calls
            assert mirror.held[bench.namespace, "kept"] == {"A": "2"}
            assert reflector.statistics().relists == 1
            await bench.until_marked(mirror)

    async def test_continue_token(self, bench: Bench) -> None:
        names = {f"app-{number}" for number in range(70)}
        await asyncio.gather(*(bench.put(name) for name in names))
        bench.proxy.add(Answer(400, "BadRequest", "no streaming"), path=LIST)
        expired = bench.proxy.add(EXPIRED, "list", path="continue=", times=1)
        mirror = Mirror()
        async with bench.follow(mirror):
            assert expired.hits == 1
            assert mirror.names() == names
            await bench.until_marked(mirror)

    async def test_version_from_the_future(self, bench: Bench) -> None:
        """Asked of a server that is behind: not an error of ours, and a list tells what holds."""
        status = {
            "kind": "Status",
            "status": "Failure",
            "code": 504,
            "reason": "Timeout",
            "message": "Too large resource version",
            "details": {"causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large"}]},
        }
        mirror = Mirror()
        async with bench.follow(mirror):
            too_large = Scripted(({"type": "ERROR", "object": status},))
            rule = bench.proxy.add(too_large, "watch", path=RESUME, times=1)
            bench.proxy.drop_watches()
            await until(lambda: mirror.complete == 2, "it has listed again")
            assert rule.hits == 1
            await bench.until_marked(mirror)

    async def test_three_empty_watches_in_a_row(self, bench: Bench) -> None:
        """kubernetes #104171: a version that is gone can be answered with nothing at all."""
        mirror = Mirror()
        async with bench.follow(mirror):
            rule = bench.proxy.add(ErrorEvent(), "watch", path=RESUME)
            bench.proxy.drop_watches()
            await until(lambda: mirror.complete == 2, "it has listed again")
            assert rule.hits >= 3
            bench.proxy.remove(rule)
            await bench.until_marked(mirror)


class TestResuming:
    @pytest.mark.parametrize("abort", [True, False], ids=["broken", "ended"])
    async def test_where_it_stood(self, bench: Bench, abort: bool) -> None:
        """Watches that live for a moment, under load: each event once, and no list in between."""
        mirror = Mirror()
        async with bench.follow(mirror) as reflector:
            dropping = bench.proxy.add(EndWatch(0.15, abort=abort), "watch")
            bench.proxy.drop_watches()
            for number in range(60):
                await bench.put("app", A=str(number))
                await asyncio.sleep(0.02)
            await until(lambda: dropping.hits >= 3, "watches were dropped")
            await bench.until_marked(mirror)
            assert len([call for call in mirror.calls if call[1] == "app"]) == 60
            assert mirror.complete == 1
            assert reflector.statistics().relists == 0
            assert reflector.statistics().restarts >= 3

    async def test_at_the_version_of_a_bookmark(self, bench: Bench) -> None:
        await bench.put("app")
        mirror = Mirror()
        async with bench.follow(mirror):
            bench.proxy.add(Scripted((bookmark("7654321"),)), "watch", path=RESUME, times=1)
            held = bench.proxy.add(Scripted((), hold=True), "watch", path="resourceVersion=7654321")
            bench.proxy.drop_watches()
            await until(lambda: held.hits == 1, "it resumes at the bookmark")
            assert "app" in mirror.names()

    async def test_not_at_a_version_of_the_initial_events(self, bench: Bench) -> None:
        """They come in no order: a streaming list that breaks is begun anew."""
        if not await bench.streams_lists():
            pytest.skip("this server has no streaming lists")
        for name in ("a", "b", "c"):
            await bench.put(name)
        mirror = Mirror()
        async with bench.follow(mirror) as reflector:
            broken = bench.proxy.add(Silence(lines=2), "watch", path=LIST, times=1)
            before = len(bench.watches())
            reflector.list_again()
            await until(lambda: mirror.complete == 2, "it has listed again")
            assert broken.hits == 1
            assert ["sendInitialEvents" in seen.query for seen in bench.watches()[before:]] == [True, True]
            assert mirror.names() == {"a", "b", "c"}
            bench.proxy.heal()
            await bench.until_marked(mirror)

    async def test_half_open_watch(self, bench: Bench) -> None:
        """Nothing comes for longer than bookmarks take: the connection is dead, and what was missed is read."""
        mirror = Mirror()
        async with bench.follow(mirror):
            silent = bench.proxy.add(Silence(), "watch", path=RESUME, times=1)
            bench.proxy.drop_watches()
            await until(lambda: silent.hits == 1, "the watch is silent")
            await bench.put("missed")
            await until(lambda: "missed" in mirror.names(), "it was found all the same")
            assert mirror.complete == 1


class TestStreamingLists:
    @pytest.mark.parametrize("code", [400, 422])
    async def test_refused(self, bench: Bench, code: int) -> None:
        mirror = Mirror()
        async with bench.follow(mirror) as reflector:
            refused = bench.proxy.add(Answer(code, "Invalid" if code == 422 else "BadRequest"), path=LIST)
            lists = len(bench.proxy.requests("list"))
            reflector.list_again()
            await until(lambda: mirror.complete == 2, "it has listed by pages")
            reflector.list_again()
            await until(lambda: mirror.complete == 3, "and again")
            assert refused.hits == 1, "it is not asked for a second time"
            assert len(bench.proxy.requests("list")) == lists + 2
            await bench.until_marked(mirror)

    async def test_without_its_end(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        """Somebody on the way swallows bookmarks, and with them the end of the list."""
        monkeypatch.setattr(module, "_INCOMPLETE_LISTS", 1)
        await bench.put("app")
        mirror = Mirror()
        async with bench.follow(mirror) as reflector:
            swallowed = bench.proxy.add(NoBookmarks(), "watch")
            reflector.list_again()
            await until(lambda: mirror.complete == 2, "it has listed by pages")
            assert swallowed.hits >= 1
            await bench.until_marked(mirror)
            assert reflector.statistics().problem == ""

    async def test_ended_before_its_end(self, bench: Bench) -> None:
        """An orderly end in the middle is no complete list: nothing that was not listed is taken for gone."""
        await bench.put("app")
        mirror = Mirror()
        async with bench.follow(mirror) as reflector:
            ended = bench.proxy.add(Scripted(()), "watch", path=LIST, times=1)
            reflector.list_again()
            await until(lambda: mirror.complete == 2, "it has listed again")
            assert ended.hits == 1
            assert ("delete", "app", False) not in mirror.calls


class TestRefused:
    async def test_told_and_tried_again(self, bench: Bench) -> None:
        await bench.put("app")
        rule = bench.proxy.add(FORBIDDEN)
        mirror = Mirror()
        async with bench.follow(mirror, synced=False) as reflector:
            await until(lambda: reflector.statistics().state == "refused", "it is refused")
            assert "you may not" in reflector.statistics().problem
            assert not reflector.statistics().synced
            bench.proxy.remove(rule)
            await until(lambda: mirror.complete == 1, "it has listed")
            await until(lambda: reflector.statistics().state == "watching", "it watches")
            assert reflector.statistics().problem == ""
            assert mirror.names() == {"app"}
        told = [statistics.state for statistics in bench.states]
        assert "refused" in told
        assert told[-1] == "watching"

    async def test_no_such_kind(self, bench: Bench) -> None:
        nothing = msgspec.structs.replace(CONFIG_MAPS, plural="nothings")
        async with bench.follow(Mirror(), synced=False, resource=nothing) as reflector:
            await until(lambda: reflector.statistics().state == "refused", "it is refused")


class TestUnreadable:
    async def test_object_is_passed_over(self, bench: Bench) -> None:
        """One that does not fit is told of, and holds up nobody."""
        await bench.put("text", A="not a number")
        await bench.put("empty")
        mirror = Mirror()
        with capture_logs() as logs:
            async with bench.follow(mirror, object_type=Numbers):
                assert mirror.names() == {"empty"}
                await bench.put("more", A="text")
                await bench.until_marked(mirror)
                assert mirror.names() == {"empty", "marker"}
                assert mirror.complete == 1
        passed = {entry["name"]: entry for entry in logs if "skipped" in entry["event"]}
        assert passed.keys() >= {"text", "more"}
        assert "Expected `int`" in passed["text"]["detail"]

    async def test_of_a_secret_nothing_is_quoted(self, bench: Bench) -> None:
        secret = {"metadata": {"name": "s"}, "data": {"p": "aHVudGVyMg=="}}
        body = json.dumps(secret).encode()
        await bench.client.create(SECRETS.path(bench.namespace), body)
        with capture_logs() as logs:
            async with bench.follow(Mirror(), object_type=Numbers, resource=SECRETS):
                pass
        [entry] = [entry for entry in logs if "skipped" in entry["event"]]
        assert (entry["name"], entry["detail"]) == ("s", "ValidationError")

    async def test_what_the_handler_can_t_decode_is_passed_over(self, bench: Bench) -> None:
        """Such as a pod template, which a handler decodes by itself: it is no fault of the handler."""
        mirror = Mirror(broken="bad", error=msgspec.ValidationError("no template"))
        with capture_logs() as logs:
            async with bench.follow(mirror):
                await bench.put("bad", A="2")
                await bench.until_marked(mirror)
                assert mirror.complete == 1
        [entry] = [entry for entry in logs if "skipped" in entry["event"]]
        assert (entry["name"], entry["detail"]) == ("bad", "no template")


class TestAHandlerThatFails:
    """It is a fault of ours, and what it was told is lost: that object is read again, and after a list all are."""

    def failures(self, logs: Sequence[MutableMapping[str, Any]]) -> list[tuple[str, str, str]]:
        found = [entry for entry in logs if entry["event"].startswith("handler failed")]
        assert {entry["log_level"] for entry in found} <= {"error"}
        assert "hunter2" not in str(found)
        return [(entry["handler"], entry["name"], entry["detail"]) for entry in found]

    async def test_on_a_change_reads_that_object_alone(self, bench: Bench) -> None:
        await bench.put("good")
        mirror = Mirror()
        faults: list[bool] = []
        with capture_logs() as logs:
            async with bench.follow(mirror, on_fault=lambda: faults.append(True)) as reflector:
                lists = len(bench.proxy.requests("list"))
                mirror.breaks("bad", times=2)
                await bench.put("bad", A="hunter2")
                await until(lambda: "bad" in mirror.names(), "it is taken in")
                assert mirror.held[bench.namespace, "bad"] == {"A": "hunter2"}
                assert reflector.statistics().synced
                assert len(bench.proxy.requests("list")) == lists + 2
                assert (mirror.complete, reflector.statistics().relists) == (1, 0)
                assert mirror.calls.count(("upsert", "good", False)) == 1
        assert self.failures(logs) == [("Mirror", "bad", "KeyError")], "it is named once"
        assert faults == [True, True], "and counted each time"
        assert all(s.synced for s in bench.states if s.state == "watching")

    async def test_on_a_deletion(self, bench: Bench) -> None:
        await bench.put("bad")
        mirror = Mirror()
        async with bench.follow(mirror):
            mirror.breaks("bad", times=1)
            await bench.remove("bad")
            await until(lambda: mirror.names() == set(), "it is gone")
            assert mirror.complete == 1

    async def test_on_a_change_again_and_again_is_given_up_until_its_next_event(self, bench: Bench) -> None:
        mirror = Mirror()
        with capture_logs() as logs:
            async with bench.follow(mirror) as reflector:
                mirror.breaks("bad")
                await bench.put("bad", A="1")
                await until(lambda: any("skipped" in e["event"] for e in logs), "it is given up")
                lists = len(bench.proxy.requests("list"))
                await bench.put("bad", A="2")
                await bench.until_marked(mirror)
                mirror.breaks("")
                await bench.put("bad", A="3")
                await until(lambda: "bad" in mirror.names(), "it is taken in")
                assert len(bench.proxy.requests("list")) == lists
                assert (mirror.complete, reflector.statistics().relists) == (1, 0)
        assert len(self.failures(logs)) == 1

    async def test_on_what_cannot_be_read_again_lists_all(self, bench: Bench) -> None:
        mirror = Mirror()
        async with bench.follow(mirror):
            mirror.breaks("bad", times=1)
            bench.proxy.add(FORBIDDEN, "list", path=r"fieldSelector", times=20)
            await bench.put("bad", A="1")
            await until(lambda: mirror.complete == 2, "it has listed again")
            assert mirror.held[bench.namespace, "bad"] == {"A": "1"}

    async def test_on_a_name_that_is_listed(self, bench: Bench) -> None:
        await bench.put("bad")
        await bench.put("good")
        names: list[str] = []

        def listed(namespace: str, name: str, version: str) -> None:
            names.append(name)
            if name == "bad" and names.count("bad") == 1:
                raise KeyError(name)

        mirror = Mirror()
        async with bench.follow(mirror, listed=listed):
            assert names.count("bad") == names.count("good") == 2

    async def test_again_and_again_keeps_no_others_away(self, bench: Bench) -> None:
        """What it always fails on is given up after a few lists, and costs no further ones."""
        await bench.put("bad")
        await bench.put("good")
        mirror = Mirror(broken="bad")
        with capture_logs() as logs:
            async with bench.follow(mirror) as reflector:
                assert mirror.names() == {"good"}
                assert len(self.failures(logs)) == module._FAULTY_LISTS + 1
                await bench.put("bad", A="2")
                await bench.until_marked(mirror)
                assert len(self.failures(logs)) == module._FAULTY_LISTS + 1, "it is named already"
                assert (mirror.complete, reflector.statistics().relists) == (1, 0)
                mirror.breaks("")
                await bench.put("bad", A="3")
                await until(lambda: "bad" in mirror.names(), "it is taken in")
        assert [
            e["name"]
            for e in logs
            if e["event"] == "object skipped, because its handler failed again and again"
        ] == ["bad"]


class TestWhatAHandlerIsToldOfADeletion:
    async def test_its_version(self, bench: Bench) -> None:
        await bench.put("app")
        mirror = Mirror()
        async with bench.follow(mirror):
            await bench.remove("app")
            await until(lambda: "app" not in mirror.names(), "it is gone")
            deleted = int(mirror.deletions["app"])
            await bench.put("app")
            await until(lambda: "app" in mirror.names(), "it is there again")
            assert int(mirror.versions["app"]) > deleted

    async def test_the_version_of_the_list_that_misses_it(self, bench: Bench) -> None:
        await bench.put("app")
        mirror = Mirror()
        async with bench.follow(mirror):
            before = int(mirror.versions["app"])
            await bench.proxy.close()
            await bench.remove("app")
            bench.proxy.add(EXPIRED, "watch", path=RESUME, times=1)
            await bench.proxy.open()
            await until(lambda: mirror.complete == 2, "it has listed again")
            assert int(mirror.deletions["app"]) > before


class TestAnUnreadableStream:
    @pytest.mark.parametrize("line", ["no JSON", '{"type": 7}', "{}"])
    async def test_stream_is_begun_again(self, bench: Bench, line: str) -> None:
        @dataclass(frozen=True)
        class Garbage(Fault):
            async def __call__(self, exchange: Exchange) -> web.StreamResponse:
                response = await exchange.open_stream()
                await response.write(line.encode() + b"\n")
                return response

        mirror = Mirror()
        async with bench.follow(mirror):
            garbage = bench.proxy.add(Garbage(), "watch", path=RESUME, times=1)
            bench.proxy.drop_watches()
            await until(lambda: garbage.hits == 1, "garbage came")
            await bench.until_marked(mirror)
            assert mirror.complete == 1


async def test_stops_when_cancelled(bench: Bench) -> None:
    mirror = Mirror()
    async with bench.follow(mirror):
        pass
    before = len(bench.proxy.seen)
    await bench.put("app")
    assert len(bench.proxy.seen) == before
    assert "app" not in mirror.names()
