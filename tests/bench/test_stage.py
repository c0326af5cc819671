"""What the bench sees of the cluster: templates by its watch, requests by the audit log."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from bench.stage import Deployment, Templates, kubeconfig_with_token, moved, verbs


def deployment(generation: int, image: str, name: str = "app") -> Deployment:
    manifest = {
        "metadata": {"name": name, "namespace": "shop", "generation": generation, "resourceVersion": "1"},
        "spec": {"replicas": 1, "template": {"spec": {"containers": [{"image": image}]}}},
        "status": {"replicas": generation},
    }
    return msgspec.json.decode(json.dumps(manifest), type=Deployment)


async def test_only_changed_templates_are_changes() -> None:
    templates = Templates()
    templates.begin()
    templates.upsert(deployment(1, "a"), live=True)  # new
    templates.upsert(deployment(1, "a"), live=True)  # its status
    templates.upsert(deployment(2, "a"), live=True)  # scaled
    assert templates.changes == {}
    assert not templates.news.is_set()
    templates.upsert(deployment(3, "b"), live=True)
    templates.upsert(deployment(4, "c"), live=True)
    assert templates.news.is_set()
    assert [len(times) for times in templates.of("shop").values()] == [2]
    assert templates.of("other") == {}


async def test_begin_forgets_changes_but_not_templates() -> None:
    templates = Templates()
    templates.upsert(deployment(1, "a"), live=False)
    templates.upsert(deployment(2, "b"), live=True)
    templates.begin()
    assert templates.changes == {}
    templates.upsert(deployment(3, "c"), live=True)
    assert list(templates.changes) == [("shop", "app")]


def event(user: str, verb: str, stage: str = "ResponseComplete", resource: str = "deployments") -> str:
    return json.dumps(
        {"user": {"username": user}, "verb": verb, "stage": stage, "objectRef": {"resource": resource}}
    )


def test_requests_of_others_watches_and_leases_do_not_count() -> None:
    lines = [
        event("me", "patch"),
        event("other", "patch"),
        event("me", "watch", "ResponseStarted"),
        event("me", "watch"),
        event("me", "update", resource="leases"),
        event("me", "create", resource="events"),
        json.dumps({"user": {"username": "me"}, "verb": "get", "stage": "ResponseComplete"}),
    ]
    assert verbs(lines, "me") == ["patch", "create", "get"]


@pytest.mark.parametrize("authority", ["ca.crt", "/elsewhere/ca.crt"])
def test_a_contestants_kubeconfig_is_of_the_same_cluster_and_another_user(
    tmp_path: Path, authority: str
) -> None:
    source = tmp_path / "config"
    cluster = {"server": "https://127.0.0.1:1", "certificate-authority": authority}
    source.write_text(
        json.dumps(
            {
                "current-context": "here",
                "contexts": [
                    {"name": "there", "context": {"cluster": "b", "user": "admin"}},
                    {"name": "here", "context": {"cluster": "a", "user": "admin"}},
                ],
                "clusters": [
                    {"name": "a", "cluster": cluster},
                    {"name": "b", "cluster": {"server": "https://127.0.0.1:2"}},
                ],
                "users": [{"name": "admin", "user": {"token": "of the admin"}}],
            }
        )
    )
    made = kubeconfig_with_token(source, "reloader", "its own")
    assert made["clusters"][0]["cluster"] == {
        "server": "https://127.0.0.1:1",
        "certificate-authority": str(tmp_path / authority),
    }
    assert made["users"] == [{"name": "reloader", "user": {"token": "its own"}}]
    assert "of the admin" not in json.dumps(made)


def test_a_server_from_afar_is_the_same_at_another_address() -> None:
    cluster = {"server": "https://10.0.0.1:6443", "certificate-authority": "/ca.crt"}
    given = {"clusters": [{"name": "bench", "cluster": cluster}], "users": ["whoever"]}
    assert moved(given, "https://127.0.0.1:5") == {
        "clusters": [
            {
                "name": "bench",
                "cluster": {
                    "server": "https://127.0.0.1:5",
                    "certificate-authority": "/ca.crt",
                    "tls-server-name": "10.0.0.1",
                },
            }
        ],
        "users": ["whoever"],
    }
    assert cluster["server"] == "https://10.0.0.1:6443"


async def test_every_event_of_a_deployment_is_counted() -> None:
    templates = Templates()
    templates.upsert(deployment(1, "a"), live=True)
    templates.upsert(deployment(1, "a"), live=True)
    templates.begin()
    assert templates.events == 2
