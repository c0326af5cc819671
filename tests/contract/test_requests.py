"""Every request that reroll's client makes, and what else clients rely on: on the sandbox and on the real server."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from reroll.kube.client import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH
from reroll.kube.pages import METADATA_ONLY
from tests.contract.servers import Server

METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
CONFIG_MAPS = "/api/v1/namespaces/NS/configmaps"
SECRETS = "/api/v1/namespaces/NS/secrets"
DEPLOYMENTS = "/apis/apps/v1/namespaces/NS/deployments"
EVENTS = "/apis/events.k8s.io/v1/namespaces/NS/events"


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def deployment(name: str, **template: Any) -> dict[str, Any]:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "app", "image": "app:1"}], **template},
            },
        },
    }


def event(server: Server, name: str, **fields: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": server.namespace},
        "eventTime": "2026-11-23T08:00:00.000001Z",
        "reportingController": "reroll.dev/controller",
        "reportingInstance": "reroll-1",
        "action": "Roll",
        "reason": "Rolled",
        "regarding": {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "namespace": server.namespace,
            "name": "web",
            "uid": "c0ffee",
        },
        "note": "rolled: configmap/app changed",
        "type": "Normal",
        **fields,
    }


class TestReading:
    async def test_version(self, server: Server) -> None:
        answer = await server.request("GET", "/version")
        assert answer.code == 200
        assert answer.body["major"] == "1"
        assert answer.body["gitVersion"].startswith("v1.")

    async def test_one_object_and_its_metadata(self, server: Server) -> None:
        made = await server.request("POST", CONFIG_MAPS, config_map("app", a="1"))
        assert made.code == 201
        found = await server.request("GET", f"{CONFIG_MAPS}/app")
        assert found.body == made.body
        assert found.body["data"] == {"a": "1"}
        alone = await server.request("GET", f"{CONFIG_MAPS}/app", accept=METADATA)
        assert alone.body["kind"] == "PartialObjectMetadata"
        assert alone.body["apiVersion"] == "meta.k8s.io/v1"
        assert alone.body["metadata"] == made.body["metadata"]
        assert "data" not in alone.body

    async def test_a_list_by_pages_is_of_one_moment(self, server: Server) -> None:
        for number in range(5):
            await server.request("POST", CONFIG_MAPS, config_map(f"app-{number}", n=str(number)))
        first = await server.request("GET", f"{CONFIG_MAPS}?limit=2")
        assert len(first.body["items"]) == 2
        assert first.body["metadata"]["remainingItemCount"] == 4  # with kube-root-ca.crt
        assert first.body["kind"] == "ConfigMapList"
        assert "kind" not in first.body["items"][0]
        await server.request("DELETE", f"{CONFIG_MAPS}/app-4")
        await server.request("POST", CONFIG_MAPS, config_map("app-5"))
        names = [item["metadata"]["name"] for item in first.body["items"]]
        token = first.body["metadata"]["continue"]
        while token:
            page = await server.request("GET", f"{CONFIG_MAPS}?limit=2&continue={quote(token)}")
            assert page.code == 200, page.body
            assert page.body["metadata"]["resourceVersion"] == first.body["metadata"]["resourceVersion"]
            names += [item["metadata"]["name"] for item in page.body["items"]]
            token = page.body["metadata"].get("continue")
        assert names == [*(f"app-{number}" for number in range(5)), "kube-root-ca.crt"]

    async def test_a_list_of_metadata(self, server: Server) -> None:
        await server.request("POST", CONFIG_MAPS, config_map("app", a="1"))
        for query in ("", "?resourceVersion=0"):
            found = await server.request("GET", f"{CONFIG_MAPS}{query}", accept=METADATA_ONLY)
            assert found.body["kind"] == "PartialObjectMetadataList"
            assert found.body["apiVersion"] == "meta.k8s.io/v1"
            assert {item["metadata"]["name"] for item in found.body["items"]} == {"app", "kube-root-ca.crt"}
            assert all(item["kind"] == "PartialObjectMetadata" for item in found.body["items"])
            assert all("data" not in item for item in found.body["items"])

    async def test_the_whole_cluster(self, server: Server) -> None:
        await server.request("POST", CONFIG_MAPS, config_map("app", a="1"))
        found = await server.request("GET", "/api/v1/configmaps?limit=500")
        places = {(item["metadata"]["namespace"], item["metadata"]["name"]) for item in found.body["items"]}
        assert {(server.namespace, "app"), ("default", "kube-root-ca.crt")} <= places

    async def test_selectors(self, server: Server) -> None:
        for name, labels in (("a", {"tier": "web"}), ("b", {"tier": "db"}), ("c", {})):
            await server.request(
                "POST", CONFIG_MAPS, config_map(name) | {"metadata": {"name": name, "labels": labels}}
            )

        async def names(query: str) -> list[str]:
            found = await server.request("GET", f"{CONFIG_MAPS}?{query}")
            return [
                i["metadata"]["name"]
                for i in found.body["items"]
                if i["metadata"]["name"] != "kube-root-ca.crt"
            ]

        assert await names("fieldSelector=metadata.name%3Db") == ["b"]
        assert await names("fieldSelector=metadata.name!%3Db") == ["a", "c"]
        assert await names("labelSelector=tier") == ["a", "b"]
        assert await names("labelSelector=!tier") == ["c"]
        assert await names("labelSelector=tier%3Dweb") == ["a"]
        assert await names("labelSelector=tier+in+(web,db),tier!%3Ddb") == ["a"]
        assert await names("labelSelector=tier+notin+(web)") == ["b", "c"]

    async def test_secrets_come_as_base64(self, server: Server) -> None:
        secret = {"metadata": {"name": "s"}, "stringData": {"a": "ä"}, "data": {"b": "Yg=="}}
        made = await server.request("POST", SECRETS, secret)
        assert made.code == 201
        assert made.body["data"] == {"a": base64.b64encode("ä".encode()).decode(), "b": "Yg=="}
        assert made.body["type"] == "Opaque"
        assert "stringData" not in made.body
        changed = await server.request(
            "PATCH", f"{SECRETS}/s", {"stringData": {"b": "x"}}, content_type=MERGE_PATCH
        )
        assert changed.body["data"]["b"] == base64.b64encode(b"x").decode()


def _with_streaming_lists(server: Server) -> None:
    if server.minor < 34:
        pytest.skip("before 1.34 streaming lists (WatchList) are not on by themselves everywhere")


class TestWatching:
    async def test_a_watch_goes_on_from_a_list(self, server: Server) -> None:
        await server.request("POST", CONFIG_MAPS, config_map("app", a="1"))
        listed = await server.request("GET", CONFIG_MAPS)
        version = listed.body["metadata"]["resourceVersion"]
        await server.request("PATCH", f"{CONFIG_MAPS}/app", {"data": {"a": "2"}}, content_type=MERGE_PATCH)
        await server.request("POST", CONFIG_MAPS, config_map("other"))
        await server.request("DELETE", f"{CONFIG_MAPS}/app")
        events = await server.watch(f"{CONFIG_MAPS}?watch=true&resourceVersion={version}&timeoutSeconds=5", 3)
        assert [(e["type"], e["object"]["metadata"]["name"]) for e in events] == [
            ("MODIFIED", "app"),
            ("ADDED", "other"),
            ("DELETED", "app"),
        ]
        versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
        assert versions == sorted(set(versions))
        assert events[2]["object"]["data"] == {"a": "2"}
        assert events[0]["object"]["kind"] == "ConfigMap"

    async def test_a_watch_without_a_version_begins_with_what_there_is(self, server: Server) -> None:
        await server.request("POST", CONFIG_MAPS, config_map("app"))
        for query in ("", "&resourceVersion=0"):
            events = await server.watch(f"{CONFIG_MAPS}?watch=1&timeoutSeconds=5{query}", 2)
            assert {(e["type"], e["object"]["metadata"]["name"]) for e in events} == {
                ("ADDED", "app"),
                ("ADDED", "kube-root-ca.crt"),
            }

    async def test_a_streaming_list_ends_with_its_bookmark(self, server: Server) -> None:
        _with_streaming_lists(server)
        await server.request("POST", CONFIG_MAPS, config_map("app"))
        query = (
            "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
            "&timeoutSeconds=20"
        )
        events = await server.watch(f"{CONFIG_MAPS}?{query}", 3)
        assert [event["type"] for event in events] == ["ADDED", "ADDED", "BOOKMARK"]
        end = events[2]["object"]
        assert end["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        assert end["metadata"]["resourceVersion"].isdigit()
        assert end["kind"] == "ConfigMap"

    async def test_a_streaming_list_has_its_rules(self, server: Server) -> None:
        _with_streaming_lists(server)
        for query in ("sendInitialEvents=true", "resourceVersionMatch=NotOlderThan"):
            answer = await server.request("GET", f"{CONFIG_MAPS}?watch=true&{query}")
            assert (answer.code, answer.reason) == (422, "Invalid")
        only_new = "sendInitialEvents=false&resourceVersionMatch=NotOlderThan&timeoutSeconds=1"
        assert await server.watch(f"{CONFIG_MAPS}?watch=true&{only_new}", 1) == []

    async def test_an_object_that_leaves_the_selection_is_deleted_for_the_watch(self, server: Server) -> None:
        made = await server.request(
            "POST", CONFIG_MAPS, config_map("app") | {"metadata": {"name": "app", "labels": {"in": "yes"}}}
        )
        version = made.body["metadata"]["resourceVersion"]
        for value in ("no", "yes"):
            await server.request(
                "PATCH",
                f"{CONFIG_MAPS}/app",
                {"metadata": {"labels": {"in": value}}},
                content_type=MERGE_PATCH,
            )
        path = f"{CONFIG_MAPS}?watch=true&labelSelector=in%3Dyes&resourceVersion={version}&timeoutSeconds=5"
        events = await server.watch(path, 2)
        assert [event["type"] for event in events] == ["DELETED", "ADDED"]
        assert events[0]["object"]["metadata"]["labels"] == {"in": "yes"}
        assert int(events[0]["object"]["metadata"]["resourceVersion"]) > int(version)

    async def test_a_watch_of_metadata(self, server: Server) -> None:
        await server.request("POST", CONFIG_MAPS, config_map("app"))
        events = await server.watch(
            f"{CONFIG_MAPS}?watch=true&fieldSelector=metadata.name%3Dapp&timeoutSeconds=5", 1, accept=METADATA
        )
        assert events[0]["object"]["kind"] == "PartialObjectMetadata"


class TestWriting:
    async def test_the_patch_of_a_decision(self, server: Server) -> None:
        made = (await server.request("POST", DEPLOYMENTS, deployment("web"))).body
        patch = {
            "metadata": {
                "resourceVersion": "1",
                "uid": made["metadata"]["uid"],
                "annotations": {"reroll.dev/applied": "{}"},
            },
            "spec": {"template": {"metadata": {"annotations": {"reroll.dev/config": "abc"}}}},
        }
        path = f"{DEPLOYMENTS}/web"
        stale = await server.request("PATCH", f"{path}?fieldManager=reroll", patch, content_type=MERGE_PATCH)
        assert (stale.code, stale.reason) == (409, "Conflict")
        while True:  # the controllers write its status meanwhile
            now = (await server.request("GET", path)).body
            patch["metadata"]["resourceVersion"] = now["metadata"]["resourceVersion"]
            done = await server.request(
                "PATCH", f"{path}?fieldManager=reroll", patch, content_type=MERGE_PATCH
            )
            if done.code != 409:
                break
        assert done.code == 200
        assert done.body["metadata"]["generation"] > made["metadata"]["generation"]
        assert done.body["spec"]["template"]["metadata"]["annotations"] == {"reroll.dev/config": "abc"}
        (entry,) = (e for e in done.body["metadata"]["managedFields"] if e["manager"] == "reroll")
        assert entry["operation"] == "Update"
        assert entry["fieldsV1"] == {
            "f:metadata": {"f:annotations": {"f:reroll.dev/applied": {}}}
            if "f:metadata" in entry["fieldsV1"]
            and "." not in entry["fieldsV1"]["f:metadata"]["f:annotations"]
            else {"f:annotations": {".": {}, "f:reroll.dev/applied": {}}},
            "f:spec": {"f:template": {"f:metadata": {"f:annotations": {".": {}, "f:reroll.dev/config": {}}}}},
        }

    async def test_a_write_to_an_object_that_was_made_anew_is_a_conflict(self, server: Server) -> None:
        old = (await server.request("POST", CONFIG_MAPS, config_map("app"))).body
        await server.request("DELETE", f"{CONFIG_MAPS}/app")
        await server.request("POST", CONFIG_MAPS, config_map("app"))
        meta = {"uid": old["metadata"]["uid"], "resourceVersion": old["metadata"]["resourceVersion"]}
        patch = {"metadata": meta, "data": {"a": "1"}}
        answer = await server.request("PATCH", f"{CONFIG_MAPS}/app", patch, content_type=MERGE_PATCH)
        assert (answer.code, answer.reason) == (409, "Conflict")
        body = config_map("app") | {"metadata": {"name": "app", "uid": old["metadata"]["uid"]}}
        answer = await server.request("PUT", f"{CONFIG_MAPS}/app", body)
        assert (answer.code, answer.reason) == (409, "Conflict")

    async def test_what_changes_nothing_writes_nothing(self, server: Server) -> None:
        made = (await server.request("POST", CONFIG_MAPS, config_map("app", a="1"))).body
        for content_type, patch in (
            (MERGE_PATCH, {"data": {"a": "1"}}),
            (STRATEGIC_MERGE_PATCH, {"data": {"a": "1"}}),
            (JSON_PATCH, [{"op": "test", "path": "/data/a", "value": "1"}]),
        ):
            answer = await server.request("PATCH", f"{CONFIG_MAPS}/app", patch, content_type=content_type)
            assert answer.body["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]

    async def test_events_and_their_series(self, server: Server) -> None:
        made = await server.request("POST", f"{EVENTS}?fieldManager=reroll", event(server, "web.1"))
        assert made.code == 201, made.body
        series = {"series": {"count": 2, "lastObservedTime": "2026-11-23T08:01:00.000000Z"}}
        again = await server.request("PATCH", f"{EVENTS}/web.1", series, content_type=MERGE_PATCH)
        assert again.body["series"]["count"] == 2
        assert again.body["eventTime"] == "2026-11-23T08:00:00.000001Z"
        old = (await server.request("GET", "/api/v1/namespaces/NS/events/web.1")).body
        assert old["involvedObject"]["name"] == "web"
        assert old["message"] == "rolled: configmap/app changed"
        assert old["reportingComponent"] == "reroll.dev/controller"
        assert old["apiVersion"] == "v1"
        for path, field in (("/api/v1", "involvedObject"), ("/apis/events.k8s.io/v1", "regarding")):
            found = await server.request(
                "GET", f"{path}/namespaces/NS/events?fieldSelector={field}.uid%3Dc0ffee"
            )
            assert [item["metadata"]["name"] for item in found.body["items"]] == ["web.1"]
        twice = await server.request("POST", EVENTS, event(server, "web.1"))
        assert (twice.code, twice.reason) == (409, "AlreadyExists")

    @pytest.mark.parametrize(
        "fields",
        [
            {"reason": ""},
            {"action": "x" * 129},
            {"note": "x" * 1025},
            {"type": "Odd"},
            {"reportingController": ""},
        ],
    )
    async def test_events_have_limits(self, server: Server, fields: dict[str, str]) -> None:
        answer = await server.request("POST", EVENTS, event(server, "web.2", **fields))
        assert (answer.code, answer.reason) == (422, "Invalid")

    async def test_apply_creates_and_changes(self, server: Server) -> None:
        path = f"{CONFIG_MAPS}/app?fieldManager=demo"
        made = await server.request("PATCH", path, config_map("app", a="1", b="2"), content_type=APPLY_PATCH)
        assert made.code == 201
        changed = await server.request("PATCH", path, config_map("app", a="3"), content_type=APPLY_PATCH)
        assert changed.code == 200
        assert changed.body["data"] == {"a": "3"}
        refused = await server.request(
            "PATCH",
            f"{CONFIG_MAPS}/app?fieldManager=other",
            config_map("app", a="4"),
            content_type=APPLY_PATCH,
        )
        assert (refused.code, refused.reason) == (409, "Conflict")
        assert refused.body["message"] == 'Apply failed with 1 conflict: conflict with "demo": .data.a'
        assert refused.body["details"]["causes"] == [
            {"reason": "FieldManagerConflict", "message": 'conflict with "demo"', "field": ".data.a"}
        ]
        forced = await server.request(
            "PATCH",
            f"{CONFIG_MAPS}/app?fieldManager=other&force=true",
            config_map("app", a="4"),
            content_type=APPLY_PATCH,
        )
        assert forced.body["data"] == {"a": "4"}

    async def test_put_and_its_conflicts(self, server: Server) -> None:
        made = (await server.request("POST", CONFIG_MAPS, config_map("app", a="1"))).body
        changed = await server.request("PUT", f"{CONFIG_MAPS}/app", made | {"data": {"a": "2"}})
        assert changed.code == 200
        stale = await server.request("PUT", f"{CONFIG_MAPS}/app", made | {"data": {"a": "3"}})
        assert (stale.code, stale.reason) == (409, "Conflict")
        assert stale.body["message"].endswith(
            "the object has been modified; please apply your changes to the latest version and try again"
        )
        assert stale.body["details"] == {"name": "app", "kind": "configmaps"}

    async def test_dry_run_writes_nothing(self, server: Server) -> None:
        answer = await server.request("POST", f"{CONFIG_MAPS}?dryRun=All", config_map("app", a="1"))
        assert answer.code == 201
        assert "resourceVersion" not in answer.body["metadata"]
        assert answer.body["metadata"]["uid"]
        assert (await server.request("GET", f"{CONFIG_MAPS}/app")).code == 404
        await server.request("POST", CONFIG_MAPS, config_map("app", a="1"))
        changed = await server.request(
            "PATCH", f"{CONFIG_MAPS}/app?dryRun=All", {"data": {"a": "2"}}, content_type=MERGE_PATCH
        )
        assert changed.body["data"] == {"a": "2"}
        assert (await server.request("DELETE", f"{CONFIG_MAPS}/app?dryRun=All")).code == 200
        assert (await server.request("GET", f"{CONFIG_MAPS}/app")).body["data"] == {"a": "1"}

    async def test_generated_names(self, server: Server) -> None:
        body = {"metadata": {"generateName": "app-"}}
        names = {(await server.request("POST", CONFIG_MAPS, body)).body["metadata"]["name"] for _ in range(3)}
        assert len(names) == 3
        assert all(name.startswith("app-") and len(name) == 9 for name in names)

    async def test_the_status_is_apart(self, server: Server) -> None:
        await server.request("POST", DEPLOYMENTS, deployment("web") | {"status": {"replicas": 7}})
        patched = await server.request(
            "PATCH", f"{DEPLOYMENTS}/web", {"status": {"replicas": 7}}, content_type=MERGE_PATCH
        )
        assert patched.body.get("status", {}).get("replicas") != 7
        before = patched.body["metadata"]["generation"]
        own = await server.request(
            "PATCH",
            f"{DEPLOYMENTS}/web/status",
            {"status": {"collisionCount": 3}, "spec": {"paused": True}},
            content_type=MERGE_PATCH,
        )
        assert own.code == 200
        assert own.body["status"]["collisionCount"] == 3
        assert "paused" not in own.body["spec"]
        assert own.body["metadata"]["generation"] == before

    async def test_scale(self, server: Server) -> None:
        await server.request("POST", DEPLOYMENTS, deployment("web"))
        scale = (await server.request("GET", f"{DEPLOYMENTS}/web/scale")).body
        assert (scale["kind"], scale["apiVersion"]) == ("Scale", "autoscaling/v1")
        assert scale["spec"] == {"replicas": 1}
        assert scale["status"]["selector"] == "app=web"
        done = await server.request(
            "PATCH", f"{DEPLOYMENTS}/web/scale", {"spec": {"replicas": 3}}, content_type=MERGE_PATCH
        )
        assert done.body["spec"] == {"replicas": 3}
        found = (await server.request("GET", f"{DEPLOYMENTS}/web")).body
        assert found["spec"]["replicas"] == 3


class TestDeleting:
    async def test_the_answer(self, server: Server) -> None:
        made = (await server.request("POST", CONFIG_MAPS, config_map("app"))).body
        answer = await server.request("DELETE", f"{CONFIG_MAPS}/app")
        assert answer.code == 200
        assert answer.body["status"] == "Success"
        assert answer.body["details"] == {"name": "app", "kind": "configmaps", "uid": made["metadata"]["uid"]}

    async def test_conditions(self, server: Server) -> None:
        made = (await server.request("POST", CONFIG_MAPS, config_map("app"))).body
        for field, value in (("uid", "11111111-1111-4111-8111-111111111111"), ("resourceVersion", "1")):
            answer = await server.request("DELETE", f"{CONFIG_MAPS}/app", {"preconditions": {field: value}})
            assert (answer.code, answer.reason) == (409, "Conflict")
        conditions = {"preconditions": {"uid": made["metadata"]["uid"]}}
        assert (await server.request("DELETE", f"{CONFIG_MAPS}/app", conditions)).code == 200

    async def test_finalizers_hold(self, server: Server) -> None:
        body = config_map("app") | {"metadata": {"name": "app", "finalizers": ["example.com/hold"]}}
        await server.request("POST", CONFIG_MAPS, body)
        answer = await server.request("DELETE", f"{CONFIG_MAPS}/app")
        assert answer.body["metadata"]["deletionTimestamp"]
        assert (await server.request("GET", f"{CONFIG_MAPS}/app")).code == 200
        await server.request(
            "PATCH", f"{CONFIG_MAPS}/app", {"metadata": {"finalizers": None}}, content_type=MERGE_PATCH
        )
        assert (await server.request("GET", f"{CONFIG_MAPS}/app")).code == 404

    async def test_a_collection(self, server: Server) -> None:
        for name, labels in (("a", {"go": "yes"}), ("b", {"go": "yes"}), ("c", {})):
            await server.request(
                "POST", CONFIG_MAPS, config_map(name) | {"metadata": {"name": name, "labels": labels}}
            )
        answer = await server.request("DELETE", f"{CONFIG_MAPS}?labelSelector=go%3Dyes")
        assert answer.code == 200
        assert [item["metadata"]["name"] for item in answer.body["items"]] == ["a", "b"]
        left = await server.request("GET", CONFIG_MAPS)
        assert [item["metadata"]["name"] for item in left.body["items"]] == ["c", "kube-root-ca.crt"]

    async def test_a_namespace_with_what_is_in_it(self, server: Server) -> None:
        await server.request("POST", CONFIG_MAPS, config_map("app"))
        space = (await server.request("GET", "/api/v1/namespaces/NS")).body
        conditions = {"preconditions": {"uid": space["metadata"]["uid"]}}
        answer = await server.request("DELETE", "/api/v1/namespaces/NS", conditions)
        assert answer.code == 200
        assert answer.body["metadata"]["deletionTimestamp"]
        await server.until("/api/v1/namespaces/NS", 404)
        assert (await server.request("GET", f"{CONFIG_MAPS}/app")).code == 404


class TestDiscovery:
    async def test_groups_and_resources(self, server: Server) -> None:
        assert "v1" in (await server.request("GET", "/api")).body["versions"]
        groups = {group["name"] for group in (await server.request("GET", "/apis")).body["groups"]}
        assert {"apps", "batch", "events.k8s.io", "coordination.k8s.io", "apiextensions.k8s.io"} <= groups
        found = (await server.request("GET", "/apis/apps/v1")).body["resources"]
        by_name = {resource["name"]: resource for resource in found}
        deployments = by_name["deployments"]
        assert (deployments["kind"], deployments["namespaced"]) == ("Deployment", True)
        assert deployments["shortNames"] == ["deploy"]
        assert {"get", "list", "watch", "create", "update", "patch", "delete"} <= set(deployments["verbs"])
        assert by_name["deployments/scale"]["kind"] == "Scale"
        assert "deployments/status" in by_name

    async def test_aggregated(self, server: Server) -> None:
        accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        for path, group, resource in (("/api", "", "configmaps"), ("/apis", "apps", "deployments")):
            answer = await server.request("GET", path, accept=accept)
            assert answer.body["kind"] == "APIGroupDiscoveryList"
            assert "as=APIGroupDiscoveryList" in answer.headers["Content-Type"]
            (found,) = (item for item in answer.body["items"] if item["metadata"].get("name", "") == group)
            (version,) = (v for v in found["versions"] if v["version"] == "v1")
            (entry,) = (r for r in version["resources"] if r["resource"] == resource)
            assert entry["scope"] == "Namespaced"
            assert entry["responseKind"]["kind"] in ("ConfigMap", "Deployment")

    async def test_health(self, server: Server) -> None:
        for path in ("/healthz", "/livez", "/readyz"):
            answer = await server.request("GET", path)
            assert (answer.code, answer.body) == (200, "ok")

    async def test_may_i(self, server: Server) -> None:
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {"verb": "create", "resource": "pods"}},
        }
        answer = await server.request("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body)
        assert answer.code == 201
        assert answer.body["status"]["allowed"] is True


class TestCustomKinds:
    async def test_a_declared_kind_is_served(self, server: Server) -> None:
        group = f"{server.namespace}.example.com"
        definition = {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"widgets.{group}"},
            "spec": {
                "group": group,
                "scope": "Namespaced",
                "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"]},
                "versions": [
                    {
                        "name": "v1",
                        "served": True,
                        "storage": True,
                        "subresources": {"status": {}},
                        "schema": {
                            "openAPIV3Schema": {
                                "type": "object",
                                "x-kubernetes-preserve-unknown-fields": True,
                            }
                        },
                        "additionalPrinterColumns": [
                            {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
                        ],
                    }
                ],
            },
        }
        definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        assert (await server.request("POST", definitions, definition)).code == 201
        path = f"/apis/{group}/v1/namespaces/NS/widgets"
        await server.until(path, 200)
        body = {
            "apiVersion": f"{group}/v1",
            "kind": "Widget",
            "metadata": {"name": "w"},
            "spec": {"size": 3, "template": {"a": [1, 2]}},
            "status": {"no": 1},
        }
        made = await server.request("POST", path, body)
        assert made.code == 201, made.body
        assert made.body["spec"] == body["spec"]
        assert "status" not in made.body
        assert made.body["metadata"]["generation"] == 1
        changed = await server.request("PATCH", f"{path}/w", {"spec": {"size": 4}}, content_type=MERGE_PATCH)
        assert changed.body["metadata"]["generation"] == 2
        own = await server.request(
            "PATCH", f"{path}/w/status", {"status": {"ok": True}}, content_type=MERGE_PATCH
        )
        assert own.body["status"] == {"ok": True}
        assert own.body["metadata"]["generation"] == 2
        strategic = await server.request(
            "PATCH", f"{path}/w", {"spec": {}}, content_type=STRATEGIC_MERGE_PATCH
        )
        assert (strategic.code, strategic.reason) == (415, "UnsupportedMediaType")
        unversioned = await server.request("PUT", f"{path}/w", body)
        assert (unversioned.code, unversioned.reason) == (422, "Invalid")
        table = await server.request("GET", path, accept="application/json;as=Table;g=meta.k8s.io;v=v1")
        assert [column["name"] for column in table.body["columnDefinitions"]] == ["Name", "Size"]
        assert table.body["rows"][0]["cells"] == ["w", 4]
        await server.request("DELETE", f"{definitions}/widgets.{group}")


def test_the_kubeconfig_is_private(sandbox_server: Server) -> None:
    assert os.stat(sandbox_server.kubeconfig).st_mode & 0o077 == 0
    assert json.loads(Path(sandbox_server.kubeconfig).read_text())["kind"] == "Config"
