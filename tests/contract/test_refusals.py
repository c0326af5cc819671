"""What is answered to bad input: the codes and reasons of both, and the words where the sandbox has the same."""

# ruff: noqa: E501
from __future__ import annotations

from typing import Any

import pytest

from reroll.kube.client import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH
from tests.contract.servers import Server, normal
from tests.contract.test_requests import CONFIG_MAPS, DEPLOYMENTS, SECRETS, config_map, deployment

LEASES = "/apis/coordination.k8s.io/v1/namespaces/NS/leases"
JOBS = "/apis/batch/v1/namespaces/NS/jobs"


def changed(obj: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """An object with one field set, or (None) taken away."""
    *parents, last = path.split(".")
    here = obj
    for part in parents:
        here = here[part]
    here[last] = value
    if value is None:
        del here[last]
    return obj


WEB = "spec.template.spec"


@pytest.mark.parametrize(
    ("method", "path", "body", "content_type", "code", "reason"),
    [
        # Bodies
        ("POST", CONFIG_MAPS, b"{", "application/json", 400, "BadRequest"),
        ("POST", CONFIG_MAPS, b"", "application/json", 400, "BadRequest"),
        ("POST", CONFIG_MAPS, b"[]", "application/json", 400, "BadRequest"),
        ("POST", CONFIG_MAPS, b"\x00\xff", "application/json", 400, "BadRequest"),
        ("POST", CONFIG_MAPS, b"a: [", "application/yaml", 400, "BadRequest"),
        ("POST", CONFIG_MAPS, b"metadata:\n  name: yaml\n", "application/yaml", 201, ""),
        ("POST", CONFIG_MAPS, b"{}", "text/plain", 415, "UnsupportedMediaType"),
        ("POST", CONFIG_MAPS, b"k8s\x00\xff", "application/vnd.kubernetes.protobuf", 400, "BadRequest"),
        ("POST", CONFIG_MAPS, config_map("a") | {"kind": "Foo"}, "application/json", 400, "BadRequest"),
        ("POST", CONFIG_MAPS, config_map("a") | {"kind": "Secret"}, "application/json", 400, "BadRequest"),
        ("POST", CONFIG_MAPS, config_map("a") | {"apiVersion": "v2"}, "application/json", 400, "BadRequest"),
        ("POST", CONFIG_MAPS, config_map("a") | {"data": {"a": 1}}, "application/json", 400, "BadRequest"),
        ("POST", CONFIG_MAPS, config_map("a") | {"data": ["a"]}, "application/json", 400, "BadRequest"),
        ("POST", CONFIG_MAPS, config_map("a") | {"immutable": "yes"}, "application/json", 400, "BadRequest"),
        ("POST", DEPLOYMENTS, changed(deployment("a"), "spec.replicas", "2"), "application/json", 400, "BadRequest"),
        ("POST", SECRETS, {"metadata": {"name": "a"}, "data": {"a": "%"}}, "application/json", 400, "BadRequest"),
        # Unknown fields
        ("POST", f"{CONFIG_MAPS}?fieldValidation=Strict", config_map("a") | {"x": 1}, "application/json", 400, "BadRequest"),
        ("POST", f"{CONFIG_MAPS}?fieldValidation=Ignore", config_map("a") | {"x": 1}, "application/json", 201, ""),
        ("POST", f"{CONFIG_MAPS}?fieldValidation=Odd", config_map("a"), "application/json", 422, "Invalid"),
        ("POST", f"{CONFIG_MAPS}?dryRun=Some", config_map("a"), "application/json", 422, "Invalid"),
        # Places
        ("GET", f"{CONFIG_MAPS}/none", None, "", 404, "NotFound"),
        ("DELETE", f"{CONFIG_MAPS}/none", None, "", 404, "NotFound"),
        ("PUT", f"{CONFIG_MAPS}/none", config_map("none"), "application/json", 404, "NotFound"),
        ("PATCH", f"{CONFIG_MAPS}/none", {}, MERGE_PATCH, 404, "NotFound"),
        ("GET", "/api/v1/namespaces/none", None, "", 404, "NotFound"),
        ("POST", "/api/v1/namespaces/none/configmaps", config_map("a"), "application/json", 404, "NotFound"),
        ("GET", "/api/v1/namespaces/none/configmaps", None, "", 200, ""),
        ("GET", "/api/v1/namespaces/NS/foos", None, "", 404, "NotFound"),
        ("GET", "/apis/apps/v2/namespaces/NS/deployments", None, "", 404, "NotFound"),
        ("GET", f"{CONFIG_MAPS}/kube-root-ca.crt/status", None, "", 404, "NotFound"),
        ("POST", CONFIG_MAPS, config_map("a") | {"metadata": {"name": "a", "namespace": "other"}}, "application/json", 400, "BadRequest"),
        ("POST", "/api/v1/configmaps", config_map("a"), "application/json", 405, "MethodNotAllowed"),
        ("PUT", CONFIG_MAPS, config_map("a"), "application/json", 405, "MethodNotAllowed"),
        ("POST", f"{CONFIG_MAPS}/a", config_map("a"), "application/json", 405, "MethodNotAllowed"),
        ("PATCH", CONFIG_MAPS, {}, MERGE_PATCH, 405, "MethodNotAllowed"),
        ("DELETE", "/api/v1/configmaps", None, "", 405, "MethodNotAllowed"),
        # Names and the rules of kinds
        ("POST", CONFIG_MAPS, config_map("Bad_Name"), "application/json", 422, "Invalid"),
        ("POST", CONFIG_MAPS, config_map("x" * 254), "application/json", 422, "Invalid"),
        ("POST", CONFIG_MAPS, {"data": {}}, "application/json", 422, "Invalid"),
        ("POST", CONFIG_MAPS, config_map("a", **{"b/c": "1"}), "application/json", 422, "Invalid"),
        ("POST", CONFIG_MAPS, config_map("a") | {"binaryData": {"x": "YQ=="}, "data": {"x": "a"}}, "application/json", 422, "Invalid"),
        ("POST", CONFIG_MAPS, config_map("a", big="x" * (1 << 20) + "y"), "application/json", 422, "Invalid"),
        ("POST", CONFIG_MAPS, config_map("a") | {"metadata": {"name": "a", "labels": {"a b": "c"}}}, "application/json", 422, "Invalid"),
        ("POST", CONFIG_MAPS, config_map("a") | {"metadata": {"name": "a", "labels": {"a": "c d"}}}, "application/json", 422, "Invalid"),
        ("POST", SECRETS, {"metadata": {"name": "a"}, "type": "kubernetes.io/tls"}, "application/json", 422, "Invalid"),
        ("POST", "/api/v1/namespaces", {"metadata": {"name": "a.b"}}, "application/json", 422, "Invalid"),
        ("POST", DEPLOYMENTS, changed(deployment("a"), "spec.selector", None), "application/json", 422, "Invalid"),
        ("POST", DEPLOYMENTS, changed(deployment("a"), "spec.selector.matchLabels", {"b": "c"}), "application/json", 422, "Invalid"),
        ("POST", DEPLOYMENTS, changed(deployment("a"), "spec.replicas", -1), "application/json", 422, "Invalid"),
        ("POST", DEPLOYMENTS, changed(deployment("a"), f"{WEB}.containers", []), "application/json", 422, "Invalid"),
        ("POST", DEPLOYMENTS, changed(deployment("a"), f"{WEB}.containers", [{"name": "a"}]), "application/json", 422, "Invalid"),
        ("POST", DEPLOYMENTS, changed(deployment("a"), f"{WEB}.containers", [{"image": "a"}]), "application/json", 422, "Invalid"),
        ("POST", DEPLOYMENTS, changed(deployment("a"), f"{WEB}.restartPolicy", "Never"), "application/json", 422, "Invalid"),
        ("POST", DEPLOYMENTS, {"metadata": {"name": "a"}}, "application/json", 422, "Invalid"),
        ("POST", JOBS, {"metadata": {"name": "a"}, "spec": {"template": {"spec": {"containers": [{"name": "a", "image": "a"}]}}}}, "application/json", 422, "Invalid"),
        ("PUT", f"{LEASES}/a", {"metadata": {"name": "a"}, "spec": {}}, "application/json", 201, ""),
        # Queries
        ("GET", f"{CONFIG_MAPS}?labelSelector=a+b", None, "", 400, "BadRequest"),
        ("GET", f"{CONFIG_MAPS}?fieldSelector=data.a%3D1", None, "", 400, "BadRequest"),
        ("GET", f"{CONFIG_MAPS}?continue=nonsense", None, "", 400, "BadRequest"),
        ("GET", f"{CONFIG_MAPS}?limit=x", None, "", 400, "BadRequest"),
        ("GET", f"{CONFIG_MAPS}?watch=true&fieldSelector=data.a%3D1", None, "", 400, "BadRequest"),
    ],
)  # fmt: skip
async def test_a_refusal(
    server: Server, method: str, path: str, body: Any, content_type: str, code: int, reason: str
) -> None:
    answer = await server.request(method, path, body, content_type=content_type)
    assert (answer.code, answer.reason) == (code, reason), answer.body
    if code >= 400:
        assert answer.body["kind"] == "Status"
        assert answer.body["status"] == "Failure"
        assert answer.body["code"] == code
        assert answer.body["message"]


@pytest.mark.parametrize(
    ("body", "content_type", "code", "reason"),
    [
        (b"{", MERGE_PATCH, 400, "BadRequest"),
        (b"{", JSON_PATCH, 400, "BadRequest"),
        (b"{", STRATEGIC_MERGE_PATCH, 400, "BadRequest"),
        (b"[]", MERGE_PATCH, 400, "BadRequest"),
        (b"{}", JSON_PATCH, 400, "BadRequest"),
        (b"{}", "application/json", 415, "UnsupportedMediaType"),
        (b"{}", "text/plain", 415, "UnsupportedMediaType"),
        ([{"op": "test", "path": "/data/a", "value": "2"}], JSON_PATCH, 422, "Invalid"),
        ([{"op": "remove", "path": "/data/none"}], JSON_PATCH, 422, "Invalid"),
        ([{"op": "add", "path": "/none/a", "value": "2"}], JSON_PATCH, 422, "Invalid"),
        ([{"op": "odd", "path": "/data/a"}], JSON_PATCH, 422, "Invalid"),
        ([{"op": "replace", "path": "/data/a", "value": 1}], JSON_PATCH, 422, "Invalid"),
        ({"data": {"a": 1}}, MERGE_PATCH, 422, "Invalid"),
        ({"data": {"a": 1}}, STRATEGIC_MERGE_PATCH, 422, "Invalid"),
        ({"data": "x"}, MERGE_PATCH, 422, "Invalid"),
        ({"metadata": {"name": "other"}}, MERGE_PATCH, 400, "BadRequest"),
        ({"metadata": {"namespace": "other"}}, MERGE_PATCH, 400, "BadRequest"),
        ({"metadata": {"resourceVersion": "1"}}, MERGE_PATCH, 409, "Conflict"),
        ({"data": {"b/c": "1"}}, MERGE_PATCH, 422, "Invalid"),
        ({"kind": "Secret"}, MERGE_PATCH, 422, "Invalid"),
        ({"metadata": {"uid": "11111111-1111-4111-8111-111111111111"}}, MERGE_PATCH, 422, "Invalid"),
        ({"metadata": {"labels": {"a b": "c"}}}, STRATEGIC_MERGE_PATCH, 422, "Invalid"),
        (config_map("app", a="2"), APPLY_PATCH, 422, "Invalid"),  # without a fieldManager
    ],
)
async def test_a_refused_patch(server: Server, body: Any, content_type: str, code: int, reason: str) -> None:
    await server.request("POST", CONFIG_MAPS, config_map("app", a="1"))
    answer = await server.request("PATCH", f"{CONFIG_MAPS}/app", body, content_type=content_type)
    assert (answer.code, answer.reason) == (code, reason), answer.body
    assert (await server.request("GET", f"{CONFIG_MAPS}/app")).body["data"] == {"a": "1"}


@pytest.mark.parametrize(
    ("body", "code", "reason"),
    [
        ({"kind": "ConfigMap", "metadata": {"name": "app"}}, 400, "BadRequest"),
        ({"apiVersion": "v1", "metadata": {"name": "app"}}, 400, "BadRequest"),
        (config_map("other"), 400, "BadRequest"),
        (b"{", 400, "BadRequest"),
        (config_map("app") | {"metadata": {"name": "app", "managedFields": []}}, 400, "BadRequest"),
        (
            config_map("app") | {"metadata": {"name": "app", "managedFields": [{"manager": "a"}]}},
            400,
            "BadRequest",
        ),
        (config_map("app") | {"metadata": {"name": "app", "resourceVersion": "1"}}, 409, "Conflict"),
    ],
)
async def test_a_refused_apply(server: Server, body: Any, code: int, reason: str) -> None:
    await server.request("POST", CONFIG_MAPS, config_map("app", a="1"))
    path = f"{CONFIG_MAPS}/app?fieldManager=me"
    answer = await server.request("PATCH", path, body, content_type=APPLY_PATCH)
    assert (answer.code, answer.reason) == (code, reason), answer.body


async def test_immutable_config(server: Server) -> None:
    for path, obj in (
        (CONFIG_MAPS, config_map("app", a="1")),
        (SECRETS, {"metadata": {"name": "app"}, "data": {"a": "MQ=="}}),
    ):
        await server.request("POST", path, obj | {"immutable": True})
        for patch in ({"data": {"a": "Mg=="}}, {"immutable": False}, {"immutable": None}, {"data": None}):
            answer = await server.request("PATCH", f"{path}/app", patch, content_type=MERGE_PATCH)
            assert (answer.code, answer.reason) == (422, "Invalid"), patch
            assert "field is immutable when `immutable` is set" in answer.body["message"]
        labelled = {"metadata": {"labels": {"a": "b"}}}
        answer = await server.request("PATCH", f"{path}/app", labelled, content_type=MERGE_PATCH)
        assert answer.code == 200


async def test_fields_that_stay(server: Server) -> None:
    await server.request("POST", DEPLOYMENTS, deployment("web"))
    patch = {
        "spec": {
            "selector": {"matchLabels": {"more": "x"}},
            "template": {"metadata": {"labels": {"more": "x"}}},
        }
    }
    answer = await server.request("PATCH", f"{DEPLOYMENTS}/web", patch, content_type=MERGE_PATCH)
    assert (answer.code, answer.reason) == (422, "Invalid")
    assert [cause["field"] for cause in answer.body["details"]["causes"]] == ["spec.selector"]
    await server.request("POST", SECRETS, {"metadata": {"name": "s"}})
    answer = await server.request("PATCH", f"{SECRETS}/s", {"type": "other"}, content_type=MERGE_PATCH)
    assert (answer.code, answer.reason) == (422, "Invalid")


@pytest.mark.parametrize("path", ["/apis/foo.example", "/apis/foo.example/v1/namespaces/NS/foos", "/odd"])
async def test_a_group_that_there_is_not(server: Server, path: str) -> None:
    # The server's own words are for people; the sandbox says that it is the sandbox that has none.
    assert (await server.request("GET", path)).code == 404


async def test_a_token_is_asked_for(server: Server) -> None:
    answer = await server.request("GET", CONFIG_MAPS, token="wrong")
    assert (answer.code, answer.reason) == (401, "Unauthorized")
    assert answer.body == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "Unauthorized",
        "reason": "Unauthorized",
        "code": 401,
    }


async def test_a_form_that_there_is_not(server: Server) -> None:
    answer = await server.request("GET", CONFIG_MAPS, accept="text/html")
    assert (answer.code, answer.reason) == (406, "NotAcceptable")


async def test_warnings_of_unknown_fields(server: Server) -> None:
    answer = await server.request("POST", CONFIG_MAPS, config_map("a") | {"dota": {}})
    assert answer.code == 201
    assert answer.headers["Warning"] == '299 - "unknown field \\"dota\\""'
    assert "dota" not in answer.body


async def test_a_version_that_is_yet_to_come(server: Server) -> None:
    answer = await server.request("GET", f"{CONFIG_MAPS}?resourceVersion=999999999")
    assert (answer.code, answer.reason) == (504, "Timeout")
    assert answer.body["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"
    assert answer.body["details"]["retryAfterSeconds"] == 1


_SAME_WORDS: list[tuple[str, str, Any, str]] = [
    ("GET", f"{CONFIG_MAPS}/none", None, ""),
    ("GET", "/apis/apps/v1/namespaces/NS/deployments/none", None, ""),
    ("GET", "/api/v1/namespaces/NS/foos", None, ""),
    ("POST", CONFIG_MAPS, config_map("twice"), "application/json"),
    ("POST", CONFIG_MAPS, config_map("Bad_Name"), "application/json"),
    ("POST", CONFIG_MAPS, {"data": {}}, "application/json"),
    ("POST", CONFIG_MAPS, config_map("a", **{"b/c": "1"}), "application/json"),
    (
        "POST",
        CONFIG_MAPS,
        config_map("a") | {"metadata": {"name": "a", "labels": {"a": "c d"}}},
        "application/json",
    ),
    ("POST", f"{CONFIG_MAPS}?fieldValidation=Strict", config_map("a") | {"x": 1}, "application/json"),
    (
        "POST",
        CONFIG_MAPS,
        config_map("a") | {"metadata": {"name": "a", "namespace": "other"}},
        "application/json",
    ),
    ("PUT", f"{CONFIG_MAPS}/a", config_map("b"), "application/json"),
    ("PATCH", f"{CONFIG_MAPS}/twice", config_map("twice"), APPLY_PATCH),
    ("PATCH", f"{CONFIG_MAPS}/twice?force=true", {}, MERGE_PATCH),
    ("PATCH", f"{CONFIG_MAPS}/twice", [{"op": "test", "path": "/data/a", "value": "2"}], JSON_PATCH),
    ("POST", "/api/v1/namespaces", {"metadata": {"name": "a.b"}}, "application/json"),
    ("POST", "/api/v1/namespaces/none/configmaps", config_map("a"), "application/json"),
    (
        "POST",
        DEPLOYMENTS,
        changed(deployment("a"), "spec.selector.matchLabels", {"b": "c"}),
        "application/json",
    ),
    ("POST", DEPLOYMENTS, changed(deployment("a"), "spec.replicas", -1), "application/json"),
    ("POST", DEPLOYMENTS, changed(deployment("a"), f"{WEB}.containers", [{"name": "a"}]), "application/json"),
    ("POST", DEPLOYMENTS, changed(deployment("a"), f"{WEB}.containers", []), "application/json"),
    ("POST", DEPLOYMENTS, changed(deployment("a"), f"{WEB}.restartPolicy", "Never"), "application/json"),
    ("POST", "/api/v1/configmaps", config_map("a"), "application/json"),
    ("GET", f"{CONFIG_MAPS}?fieldSelector=data.a%3D1", None, ""),
    ("GET", f"{CONFIG_MAPS}?watch=true&sendInitialEvents=true", None, ""),
]


@pytest.mark.parametrize(("method", "path", "body", "content_type"), _SAME_WORDS)
async def test_the_same_words(
    both: tuple[Server, Server], method: str, path: str, body: Any, content_type: str
) -> None:
    """The whole Status, word for word."""
    told = []
    for server in both:
        await server.request("POST", CONFIG_MAPS, config_map("twice", a="1"))
        answer = await server.request(method, path, body, content_type=content_type)
        told.append((answer.code, normal(answer.body, server)))
    assert told[0] == told[1]
