"""Patches and updates on the sandbox and on the real server: the objects that come out, field by field."""

# ruff: noqa: E501
from __future__ import annotations

from typing import Any, TypeAlias

import pytest

from reroll.kube.client import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH
from tests.contract.servers import Server, differences, normal
from tests.contract.test_requests import CONFIG_MAPS, config_map

Json: TypeAlias = dict[str, Any]
STATEFUL_SETS = "/apis/apps/v1/namespaces/NS/statefulsets"
DEPLOYMENTS = "/apis/apps/v1/namespaces/NS/deployments"
KINDS = {
    "deployments": "/apis/apps/v1/namespaces/NS/deployments",
    "statefulsets": STATEFUL_SETS,
    "daemonsets": "/apis/apps/v1/namespaces/NS/daemonsets",
    "replicasets": "/apis/apps/v1/namespaces/NS/replicasets",
    "jobs": "/apis/batch/v1/namespaces/NS/jobs",
    "cronjobs": "/apis/batch/v1/namespaces/NS/cronjobs",
    "secrets": "/api/v1/namespaces/NS/secrets",
    "serviceaccounts": "/api/v1/namespaces/NS/serviceaccounts",
    "leases": "/apis/coordination.k8s.io/v1/namespaces/NS/leases",
    "events": "/api/v1/namespaces/NS/events",
    "controllerrevisions": "/apis/apps/v1/namespaces/NS/controllerrevisions",
    "services": "/api/v1/namespaces/NS/services",
}

LABELS = {"app": "web"}
POD = {
    "containers": [
        {
            "name": "app",
            "image": "app:1",
            "env": [
                {"name": "A", "value": "1"},
                {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "app", "key": "b", "optional": True}}},
                {"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            ],
            "envFrom": [{"configMapRef": {"name": "app"}}, {"prefix": "S_", "secretRef": {"name": "app"}}],
            "ports": [{"containerPort": 80}, {"containerPort": 90, "name": "more"}],
            "volumeMounts": [
                {"name": "config", "mountPath": "/etc/app"},
                {"name": "all", "mountPath": "/etc/one", "subPath": "one", "readOnly": True},
            ],
            "readinessProbe": {"httpGet": {"port": 80}},
            "resources": {"requests": {"cpu": "10m", "memory": "8Mi"}},
            "securityContext": {"runAsUser": 0},
        },
        {"name": "side", "image": "side"},
    ],
    "initContainers": [{"name": "first", "image": "first@sha256:" + "0" * 64, "command": ["a", ""]}],
    "volumes": [
        {"name": "config", "configMap": {"name": "app"}},
        {"name": "secret", "secret": {"secretName": "app", "items": [{"key": "a", "path": "b"}]}},
        {"name": "all", "projected": {"sources": [{"configMap": {"name": "x"}}, {"serviceAccountToken": {"path": "t"}}]}},
        {"name": "empty"},
    ],
    "tolerations": [{"key": "a", "operator": "Exists"}],
    "nodeSelector": {"no": "node"},
    "imagePullSecrets": [{"name": "pull"}],
    "terminationGracePeriodSeconds": 0,
}  # fmt: skip


def workload(kind: str, pod: Json = POD, **spec: Any) -> Json:
    """A workload with no pods, so that no controller writes to it more than once."""
    more: Json = {
        "selector": {"matchLabels": LABELS},
        "template": {"metadata": {"labels": LABELS}, "spec": pod},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": "web", "labels": {"a": "b"}, "annotations": {"note": ""}},
        "spec": more | spec,
    }


def job_template(**spec: Any) -> Json:
    return {"template": {"spec": {**POD, "restartPolicy": "Never"}}, **spec}


def without_status(answer: Any) -> Any:
    """What a controller may have written meanwhile is no part of the comparison."""
    if isinstance(answer, dict) and "metadata" in answer:
        answer = {**answer, "metadata": dict(answer["metadata"])}
        answer.pop("status", None)
        annotations = dict(answer["metadata"].get("annotations") or {})
        for name in ("deployment.kubernetes.io/revision", "deprecated.daemonset.template.generation"):
            annotations.pop(name, None)
        answer["metadata"]["annotations"] = annotations
        answer["metadata"]["managedFields"] = [
            entry
            for entry in answer["metadata"].get("managedFields") or ()
            if entry["manager"] != "kube-controller-manager"
        ]
    return answer


async def same(both: tuple[Server, Server], *steps: tuple[str, str, Any, str]) -> list[Any]:
    """Take the steps on both servers and compare what each answers, the whole object."""
    told: list[list[Any]] = []
    for server in both:
        answers = []
        for method, path, body, content_type in steps:
            answer = await server.request(method, path, body, content_type=content_type)
            answers.append((answer.code, normal(without_status(answer.body), server)))
        told.append(answers)
    for step, ours, theirs in zip(steps, *told, strict=True):
        found = differences(ours[1], theirs[1])
        assert not found, "\n".join(f"{step[0]} {line}" for line in found)
        assert ours[0] == theirs[0], step[:2]
    return told[0]


CREATED: list[tuple[str, Json]] = [
    ("deployments", workload("Deployment", replicas=0)),
    ("deployments", workload("Deployment", replicas=0, strategy={"type": "Recreate"}, paused=True)),
    ("deployments", workload("Deployment", replicas=0, strategy={"rollingUpdate": {"maxSurge": 1}})),
    ("deployments", workload("Deployment", {"containers": [{"name": "a", "image": "a:latest"}]}, replicas=0)),
    ("statefulsets", workload("StatefulSet", replicas=0, serviceName="web")),
    ("statefulsets", workload("StatefulSet", replicas=0, updateStrategy={"type": "OnDelete"})),
    ("daemonsets", workload("DaemonSet")),
    ("replicasets", workload("ReplicaSet", replicas=0)),
    ("jobs", {"metadata": {"name": "web"}, "spec": job_template(suspend=True)}),
    ("jobs", {"metadata": {"name": "web"}, "spec": job_template(suspend=True, parallelism=2)}),
    ("cronjobs", {"metadata": {"name": "web"}, "spec": {"schedule": "0 0 1 1 *", "suspend": True, "jobTemplate": {"spec": job_template()}}}),
    ("secrets", {"metadata": {"name": "web"}, "stringData": {"a": "b"}, "data": {"c": "ZA=="}}),
    ("secrets", {"metadata": {"name": "web"}, "type": "example.com/own", "immutable": True}),
    ("serviceaccounts", {"metadata": {"name": "web"}, "imagePullSecrets": [{"name": "a"}]}),
    ("leases", {"metadata": {"name": "web"}, "spec": {"holderIdentity": "me", "leaseDurationSeconds": 15, "renewTime": "2026-11-23T08:00:00.000000Z"}}),
    ("controllerrevisions", {"metadata": {"name": "web"}, "revision": 1, "data": {"a": {"b": [1, None]}}}),
    ("services", {"metadata": {"name": "web"}, "spec": {"clusterIP": "None", "selector": LABELS, "ports": [{"port": 80, "name": "http"}]}}),
]  # fmt: skip


@pytest.mark.parametrize(("plural", "body"), CREATED)
async def test_created_objects_are_completed_alike(
    both: tuple[Server, Server], plural: str, body: Json
) -> None:
    path = KINDS[plural]
    await same(
        both,
        ("POST", f"{path}?fieldManager=me", body, "application/json"),
        ("GET", f"{path}/web", None, ""),
    )


PATCHES: list[tuple[str, Any]] = [
    (MERGE_PATCH, {"metadata": {"labels": {"c": "d", "a": None}}}),
    (MERGE_PATCH, {"metadata": {"annotations": None, "finalizers": ["example.com/a"]}}),
    (MERGE_PATCH, {"spec": {"template": {"metadata": {"annotations": {"x": "y"}}}}}),
    (MERGE_PATCH, {"spec": {"template": {"spec": {"containers": [{"name": "new", "image": "new"}], "volumes": None, "initContainers": None}}}}),
    (MERGE_PATCH, {"spec": {"template": {"spec": {"nodeSelector": {"more": "x", "no": None}}}}}),
    (MERGE_PATCH, {"status": {"replicas": 9}, "spec": {"paused": True}}),
    (JSON_PATCH, [{"op": "add", "path": "/metadata/labels/x~1y", "value": "z"}]),
    (JSON_PATCH, [{"op": "remove", "path": "/spec/template/spec/containers/1"}]),
    (JSON_PATCH, [{"op": "add", "path": "/spec/template/spec/containers/0/env/0", "value": {"name": "Z", "value": "0"}}, {"op": "move", "from": "/metadata/labels/a", "path": "/metadata/labels/b"}]),
    (JSON_PATCH, [{"op": "test", "path": "/spec/replicas", "value": 0}, {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "app:2"}, {"op": "copy", "from": "/spec/template/spec/containers/0/env", "path": "/spec/template/spec/containers/1/env"}]),
    (STRATEGIC_MERGE_PATCH, {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "side:2"}]}}}}),
    (STRATEGIC_MERGE_PATCH, {"spec": {"template": {"spec": {"containers": [{"name": "new", "image": "new"}]}}}}),
    (STRATEGIC_MERGE_PATCH, {"spec": {"template": {"spec": {"containers": [{"name": "side", "$patch": "delete"}]}}}}),
    (STRATEGIC_MERGE_PATCH, {"spec": {"template": {"spec": {"$setElementOrder/containers": [{"name": "side"}, {"name": "app"}], "containers": [{"name": "app", "image": "app:2"}]}}}}),
    (STRATEGIC_MERGE_PATCH, {"spec": {"template": {"spec": {"containers": [{"$patch": "replace"}, {"name": "only", "image": "only"}], "initContainers": [{"$patch": "replace"}]}}}}),
    (STRATEGIC_MERGE_PATCH, {"spec": {"template": {"spec": {"containers": [{"name": "app", "env": [{"name": "B", "valueFrom": None, "value": "2"}, {"name": "D", "value": "4"}]}]}}}}),
    (STRATEGIC_MERGE_PATCH, {"spec": {"template": {"spec": {"containers": [{"name": "app", "$setElementOrder/env": [{"name": "C"}, {"name": "E"}, {"name": "A"}], "env": [{"name": "E", "value": "5"}, {"name": "B", "$patch": "delete"}]}]}}}}),
    (STRATEGIC_MERGE_PATCH, {"spec": {"template": {"spec": {"containers": [{"name": "app", "ports": [{"containerPort": 80, "name": "http"}], "volumeMounts": [{"mountPath": "/etc/app", "$patch": "delete"}, {"name": "empty", "mountPath": "/e"}]}]}}}}),
    (STRATEGIC_MERGE_PATCH, {"spec": {"template": {"spec": {"volumes": [{"name": "config", "$retainKeys": ["name", "secret"], "configMap": None, "secret": {"secretName": "s"}}]}}}}),
    (STRATEGIC_MERGE_PATCH, {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}),
    (STRATEGIC_MERGE_PATCH, {"spec": {"template": {"spec": {"tolerations": [{"key": "b", "operator": "Exists"}], "nodeSelector": {"more": "x"}}}}}),
    (STRATEGIC_MERGE_PATCH, {"metadata": {"finalizers": ["example.com/a", "example.com/b"]}}),
    (STRATEGIC_MERGE_PATCH, {"metadata": {"labels": {"$patch": "replace", "only": "this"}}}),
    (STRATEGIC_MERGE_PATCH, {"spec": {"template": {"spec": {"imagePullSecrets": [{"name": "more"}], "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["a"]}]}}}}),
    (STRATEGIC_MERGE_PATCH, {"spec": {"template": {"spec": {"containers": [{"name": "app", "readinessProbe": {"httpGet": None, "tcpSocket": {"port": "more"}}}]}}}}),
]  # fmt: skip


@pytest.mark.parametrize(("content_type", "patch"), PATCHES)
async def test_patched_objects_are_the_same(
    both: tuple[Server, Server], content_type: str, patch: Any
) -> None:
    await same(
        both,
        ("POST", f"{DEPLOYMENTS}?fieldManager=me", workload("Deployment", replicas=0), "application/json"),
        ("PATCH", f"{DEPLOYMENTS}/web?fieldManager=other", patch, content_type),
        ("PATCH", f"{DEPLOYMENTS}/web?fieldManager=third", {"metadata": {"labels": {"q": "r"}}}, MERGE_PATCH),
        ("GET", f"{DEPLOYMENTS}/web", None, ""),
        # Finalizers would keep the namespace.
        ("PATCH", f"{DEPLOYMENTS}/web?fieldManager=third", {"metadata": {"finalizers": None}}, MERGE_PATCH),
    )


async def test_lists_of_texts_are_merged_and_cut(both: tuple[Server, Server]) -> None:
    start = config_map("app") | {
        "metadata": {"name": "app", "finalizers": ["example.com/a", "example.com/b"]}
    }
    cut = {
        "metadata": {
            "$deleteFromPrimitiveList/finalizers": ["example.com/a"],
            "$setElementOrder/finalizers": ["example.com/c", "example.com/b"],
            "finalizers": ["example.com/c"],
        }
    }
    await same(
        both,
        ("POST", CONFIG_MAPS, start, "application/json"),
        ("PATCH", f"{CONFIG_MAPS}/app", cut, STRATEGIC_MERGE_PATCH),
        ("PATCH", f"{CONFIG_MAPS}/app", {"metadata": {"finalizers": None}}, MERGE_PATCH),
    )


def applied(containers: list[Json], **pod: Any) -> Json:
    spec = {
        "selector": {"matchLabels": LABELS},
        "template": {"metadata": {"labels": LABELS}, "spec": {"containers": containers, **pod}},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": spec | {"replicas": 0},
    }


ENV = [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]


@pytest.mark.parametrize(
    "steps",
    [
        # What is applied no more goes, unless somebody else has it.
        [("me", applied([{"name": "a", "image": "a", "env": ENV}])), ("me", applied([{"name": "a", "image": "a"}]))],
        [
            ("me", applied([{"name": "a", "image": "a", "env": ENV}])),
            ("other", applied([{"name": "a", "image": "a", "env": ENV[1:]}])),
            ("me", applied([{"name": "a", "image": "a"}])),
        ],
        # Conflicts: one, and several.
        [("me", applied([{"name": "a", "image": "a"}])), ("other", applied([{"name": "a", "image": "b"}]))],
        [
            ("me", applied([{"name": "a", "image": "a", "env": ENV}])),
            ("other", applied([{"name": "a", "image": "b", "env": [{"name": "B", "value": "3"}]}])),
        ],
        [
            ("me", applied([{"name": "a", "image": "a"}])),
            ("other force", applied([{"name": "a", "image": "b"}])),
            ("me", applied([{"name": "a", "image": "b"}])),
        ],
        # Lists by key: order, ports by two keys, atomic lists and maps.
        [
            ("me", applied([{"name": "a", "image": "a"}, {"name": "b", "image": "b"}])),
            ("me", applied([{"name": "c", "image": "c"}, {"name": "b", "image": "b"}, {"name": "a", "image": "a"}])),
        ],
        [
            ("me", applied([{"name": "a", "image": "a", "env": ENV}])),
            ("other", applied([{"name": "a", "image": "a", "env": [{"name": "Z", "value": "9"}, ENV[1]]}])),
        ],
        [("me", applied([{"name": "a", "image": "a", "ports": [{"containerPort": 80}, {"containerPort": 80, "protocol": "UDP"}]}]))],
        [
            ("me", applied([{"name": "a", "image": "a", "args": ["x"], "envFrom": [{"configMapRef": {"name": "c"}}]}], nodeSelector={"a": "b"})),
            ("me", applied([{"name": "a", "image": "a", "args": ["y"]}], nodeSelector={"c": "d"})),
        ],
        [("me", applied([{"name": "a", "image": "a", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}], volumes=[{"name": "v", "emptyDir": {}}]))],
    ],
)  # fmt: skip
async def test_applied_objects_are_the_same(
    both: tuple[Server, Server], steps: list[tuple[str, Json]]
) -> None:
    requests = []
    for manager, body in steps:
        name, _, force = manager.partition(" ")
        query = f"fieldManager={name}" + ("&force=true" if force else "")
        requests.append(("PATCH", f"{DEPLOYMENTS}/web?{query}", body, APPLY_PATCH))
    await same(both, *requests, ("GET", f"{DEPLOYMENTS}/web", None, ""))


async def test_apply_after_an_update(both: tuple[Server, Server]) -> None:
    await same(
        both,
        ("POST", f"{CONFIG_MAPS}?fieldManager=maker", config_map("app", a="1", b="2"), "application/json"),
        ("PATCH", f"{CONFIG_MAPS}/app?fieldManager=me", config_map("app", a="1"), APPLY_PATCH),
        ("PATCH", f"{CONFIG_MAPS}/app?fieldManager=me", config_map("app", b="3"), APPLY_PATCH),
        ("PATCH", f"{CONFIG_MAPS}/app?fieldManager=me&force=true", config_map("app", b="3"), APPLY_PATCH),
        ("PATCH", f"{CONFIG_MAPS}/app?fieldManager=me&force=true", config_map("app", b="3"), APPLY_PATCH),
        ("PATCH", f"{CONFIG_MAPS}/app?fieldManager=maker", {"data": {"a": None, "b": "4"}}, MERGE_PATCH),
        ("PATCH", f"{CONFIG_MAPS}/app?fieldManager=me", config_map("app"), APPLY_PATCH),
        ("GET", f"{CONFIG_MAPS}/app", None, ""),
        ("PATCH", f"{CONFIG_MAPS}/app?fieldManager=me", config_map("app", a="9"), APPLY_PATCH),
        ("PATCH", f"{CONFIG_MAPS}/app?fieldManager=me&force=true", config_map("app", a="9"), APPLY_PATCH),
    )


async def test_replaced_objects_and_their_managers(both: tuple[Server, Server]) -> None:
    body = config_map("app", a="1", b="2")
    await same(
        both,
        ("POST", f"{CONFIG_MAPS}?fieldManager=maker", body, "application/json"),
        ("PUT", f"{CONFIG_MAPS}/app?fieldManager=other", config_map("app", a="2", c="3"), "application/json"),
        ("PUT", f"{CONFIG_MAPS}/app?fieldManager=other", config_map("app"), "application/json"),
        (
            "PUT",
            f"{CONFIG_MAPS}/app?fieldManager=third",
            body | {"metadata": {"name": "app", "managedFields": [{}]}},
            "application/json",
        ),
        ("GET", f"{CONFIG_MAPS}/app", None, ""),
        ("PATCH", f"{CONFIG_MAPS}/app?fieldManager=me", config_map("app", a="9"), APPLY_PATCH),
        ("PATCH", f"{CONFIG_MAPS}/app?fieldManager=me&force=true", config_map("app", a="9"), APPLY_PATCH),
    )


SECRETS = "/api/v1/namespaces/NS/secrets"


@pytest.mark.parametrize("content_type", [MERGE_PATCH, STRATEGIC_MERGE_PATCH])
async def test_string_data_is_written_into_data(both: tuple[Server, Server], content_type: str) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "db"},
        "stringData": {"A": "1", "B": "2"},
    }
    await same(
        both,
        ("POST", SECRETS, secret, "application/json"),
        ("PATCH", f"{SECRETS}/db", {"stringData": {"A": "rotated"}}, content_type),
        ("PATCH", f"{SECRETS}/db", {"stringData": {"C": "new"}, "data": {"B": None}}, content_type),
        ("GET", f"{SECRETS}/db", None, ""),
        ("PUT", f"{SECRETS}/db", secret, "application/json"),
    )
