"""kubectl on the sandbox and on the real server: the same commands, the same words."""

# ruff: noqa: E501
from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

from tests.contract.servers import Server, differences, normal, words

Step: TypeAlias = Callable[[Server], str]

CONFIG_MAP = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: app, labels: {tier: web}}
data: {LEVEL: info, file: "a\\nb\\n"}
"""
DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: web:1
        env: [{name: A, value: "1"}, {name: B, value: "2"}]
        envFrom: [{configMapRef: {name: app}}]
        volumeMounts: [{name: config, mountPath: /etc/app}]
      - {name: side, image: "side:1"}
      volumes: [{name: config, configMap: {name: app}}]
"""
# The same with a container less, an env changed and removed, and another added before the others.
CHANGED = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, annotations: {note: changed}}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: web:2
        env: [{name: Z, value: "0"}, {name: A, value: "3"}]
        envFrom: [{configMapRef: {name: app}}]
        volumeMounts: [{name: config, mountPath: /etc/app}]
      volumes: [{name: config, configMap: {name: app}}]
"""


def run(*arguments: str, input: str = "", editor: str = "") -> Step:
    """A step: one kubectl."""
    return lambda server: server.kubectl(*arguments, input=input, editor=editor)


def obj(*arguments: str) -> Step:
    """A step: an object, without its status and what the controllers manage."""

    def step(server: Server) -> str:
        found = json.loads(server.kubectl("get", *arguments, "-o", "json", "--show-managed-fields"))
        found.pop("status", None)
        meta = found["metadata"]
        meta["managedFields"] = [
            {k: v for k, v in entry.items() if k != "time"}
            for entry in meta.get("managedFields", ())
            if entry["manager"] != "kube-controller-manager"
        ]
        # They are in order of their times, and those are whole seconds.
        meta["managedFields"].sort(key=lambda entry: (entry["operation"], entry["manager"]))
        return json.dumps(found, indent=1, sort_keys=True)

    return step


def settled(server: Server) -> str:
    """A step: wait until the rollout is through, and say nothing of its way there."""
    said = server.kubectl("rollout", "status", "deployment/web", "--timeout=50s")
    return said.splitlines()[-1]


CASES: dict[str, list[Step]] = {
    "create": [
        run("create", "configmap", "app", "--from-literal=a=1", "--from-literal=b=2"),
        run("create", "configmap", "app", "--from-literal=a=1"),
        run("create", "secret", "generic", "app", "--from-literal=a=1"),
        run("create", "serviceaccount", "robot"),
        run("create", "job", "once", "--image=once"),
        run("create", "cronjob", "often", "--image=often", "--schedule=0 0 1 1 *"),
        run("create", "job", "now", "--from=cronjob/often"),
        run("create", "deployment", "web", "--image=web:1", "--replicas=0", "--port=80", "--", "sh", "-c", "true"),
        run("create", "-f", "-", input=CONFIG_MAP),
        run("create", "--validate=strict", "-f", "-", input=CONFIG_MAP.replace("data:", "dota:")),
        run("create", "-f", "-", input=CONFIG_MAP.replace("name: app", "name: Bad_Name")),
        run("create", "-f", "-", input=CONFIG_MAP.replace("ConfigMap", "Nonsense")),
        run("create", "--dry-run=server", "-f", "-", input=CONFIG_MAP.replace("name: app", "name: dry")),
        obj("configmap/app"),
        obj("secret/app"),
        obj("deployment/web"),
        obj("serviceaccount/robot"),
        obj("cronjob/often"),
    ],
    "apply": [
        run("apply", "-f", "-", input=CONFIG_MAP),
        run("apply", "-f", "-", input=CONFIG_MAP),
        run("apply", "-f", "-", input=CONFIG_MAP.replace("info", "debug").replace(', file: "a\\nb\\n"', "")),
        obj("configmap/app"),
        run("apply", "-f", "-", input=DEPLOYMENT),
        settled,
        run("apply", "-f", "-", input=CHANGED),
        obj("deployment/web"),
        run("apply", "-f", "-", input=CHANGED),
        run("diff", "-f", "-", input=CHANGED),
        run("delete", "-f", "-", input=CHANGED),
        run("delete", "deployment", "web"),
    ],
    "apply on the server's side": [
        run("apply", "--server-side", "-f", "-", input=CONFIG_MAP),
        run("apply", "--server-side", "-f", "-", input=CONFIG_MAP),
        run("apply", "--server-side", "--field-manager=other", "-f", "-", input=CONFIG_MAP.replace("info", "debug")),
        run(
            *("apply", "--server-side", "--field-manager=other", "--force-conflicts", "-f", "-"),
            input=CONFIG_MAP.replace("info", "debug"),
        ),
        obj("configmap/app"),
        run("apply", "--server-side", "-f", "-", input=DEPLOYMENT),
        run("apply", "--server-side", "-f", "-", input=CHANGED),
        obj("deployment/web"),
    ],
    "from the client's apply to the server's": [
        run("apply", "-f", "-", input=CONFIG_MAP),
        run("apply", "--server-side", "-f", "-", input=CONFIG_MAP.replace("info", "debug")),
        obj("configmap/app"),
    ],
    "change": [
        run("apply", "-f", "-", input=DEPLOYMENT),
        run("annotate", "deployment/web", "note=a", "other=b"),
        run("annotate", "deployment/web", "note=c"),
        run("annotate", "deployment/web", "--overwrite", "note=c", "other-"),
        run("label", "deployment/web", "tier=web"),
        run("set", "env", "deployment/web", "-c", "web", "C=3", "A-"),
        run("set", "image", "deployment/web", "web=web:2", "side=side:2"),
        run("set", "env", "deployment/web", "--list"),
        run("scale", "deployment/web", "--replicas=2"),
        run("scale", "deployment/web", "--current-replicas=1", "--replicas=3"),
        run("patch", "deployment/web", "-p", '{"spec":{"template":{"spec":{"containers":[{"name":"web","image":"web:3"}]}}}}'),
        run("patch", "deployment/web", "--type=merge", "-p", '{"metadata":{"labels":{"tier":null}}}'),
        run("patch", "deployment/web", "--type=json", "-p", '[{"op":"replace","path":"/spec/minReadySeconds","value":1}]'),
        run("patch", "deployment/web", "--type=json", "-p", '[{"op":"test","path":"/spec/minReadySeconds","value":9}]'),
        run("patch", "deployment/none", "-p", "{}"),
        run("edit", "deployment/web", editor="sed -i s/web:3/web:4/"),
        run("edit", "deployment/web", editor="true"),
        obj("deployment/web"),
    ],
    "roll out": [
        run("apply", "-f", "-", input=CONFIG_MAP),
        run("apply", "-f", "-", input=DEPLOYMENT),
        settled,
        run("set", "image", "deployment/web", "web=web:2"),
        settled,
        run("rollout", "history", "deployment/web"),
        run("rollout", "history", "deployment/web", "--revision=2"),
        run("rollout", "undo", "deployment/web"),
        settled,
        run("rollout", "history", "deployment/web"),
        run("rollout", "undo", "deployment/web", "--to-revision=9"),
        run("rollout", "restart", "deployment/web"),
        settled,
        run("rollout", "pause", "deployment/web"),
        run("rollout", "pause", "deployment/web"),
        run("rollout", "restart", "deployment/web"),
        run("rollout", "undo", "deployment/web"),
        run("rollout", "resume", "deployment/web"),
        run("rollout", "resume", "deployment/web"),
        settled,
    ],
    "look": [
        run("apply", "-f", "-", input=CONFIG_MAP + "---\n" + DEPLOYMENT.replace("replicas: 1", "replicas: 0")),
        run("create", "secret", "generic", "s", "--from-literal=a=1"),
        run("create", "cronjob", "often", "--image=often", "--schedule=0 0 1 1 *"),
        run("get", "configmap/app"),
        run("get", "configmaps,secrets", "-l", "tier=web"),
        run("get", "configmaps", "-l", "tier in (web)", "--show-labels"),
        run("get", "configmap/app", "-o", "wide"),
        run("get", "configmap/app", "-o", "name"),
        run("get", "configmap/app", "-o", "jsonpath={.data}"),
        run("get", "configmap/app", "-o", "go-template={{.data.LEVEL}}"),
        run("get", "configmaps", "-o", "custom-columns=N:.metadata.name,L:.data.LEVEL"),
        run("get", "secret/s"),
        run("get", "deployment/web"),
        run("get", "deployments", "-o", "wide"),
        run("get", "cronjobs", "-o", "wide"),
        run("get", "serviceaccounts"),
        run("get", "pods"),
        run("get", "configmap/none"),
        run("get", "nonsense"),
        run("get", "configmaps", "--field-selector=metadata.name=app"),
        run("get", "configmaps", "--field-selector=data.a=b"),
        run("get", "configmaps", "--chunk-size=1"),
        # With one key, for kubectl describes several in any order.
        run("patch", "configmap/app", "--type=merge", "-p", '{"data":{"LEVEL":null}}'),
        run("describe", "configmap/app"),
        run("describe", "secret/s"),
        run("auth", "can-i", "create", "pods"),
        run("delete", "configmap/app", "configmap/none"),
        run("delete", "secret", "--all"),
        run("delete", "deployment", "-l", "app=web"),
        run("delete", "deployment", "web", "--ignore-not-found"),
        run("get", "all"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_same_words(both: tuple[Server, Server], case: str) -> None:
    told: list[list[Any]] = []
    for server in both:
        answers = []
        for step in CASES[case]:
            text = step(server)
            try:
                answers.append(normal(json.loads(text), server))
            except ValueError:
                answers.append(words(text, server))
        told.append(answers)
    found = differences(told[0], told[1])
    assert not found, "\n".join(found)


def test_a_watch_tells_of_what_happens(server: Server) -> None:
    said: list[str] = []

    def look() -> None:
        said.append(
            server.kubectl("get", "configmaps", "-w", "--output-watch-events", "--request-timeout=5s")
        )

    watching = threading.Thread(target=look)
    watching.start()
    threading.Event().wait(2)
    server.kubectl("create", "configmap", "app", "--from-literal=a=1")
    server.kubectl("patch", "configmap/app", "-p", '{"data":{"b":"2"}}')
    server.kubectl("delete", "configmap/app")
    watching.join()
    rows = [line.split()[:3] for line in said[0].splitlines()]
    assert ["ADDED", "app", "1"] in rows, said
    assert rows.index(["MODIFIED", "app", "2"]) == rows.index(["ADDED", "app", "1"]) + 1
    assert rows.index(["DELETED", "app", "2"]) == rows.index(["MODIFIED", "app", "2"]) + 1


def test_events_are_seen_both_ways(both: tuple[Server, Server]) -> None:
    told: list[Any] = []
    for server in both:
        server.kubectl("create", "configmap", "app")
        uid = server.kubectl("get", "configmap/app", "-o", "jsonpath={.metadata.uid}")
        regarding = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "namespace": server.namespace,
            "name": "app",
            "uid": uid,
        }
        event = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": "web.1", "namespace": server.namespace},
            "eventTime": "2026-01-23T08:00:00.000001Z",
            "series": {"count": 3, "lastObservedTime": "2026-01-23T08:01:00.000000Z"},
            "reportingController": "reroll.dev/controller",
            "reportingInstance": "reroll-1",
            "action": "Roll",
            "reason": "Rolled",
            "regarding": regarding,
            "note": "rolled: configmap/app changed",
            "type": "Normal",
        }
        answers = [server.kubectl("create", "-f", "-", input=json.dumps(event))]
        answers += [
            words(server.kubectl(*arguments), server)
            for arguments in (
                ("get", "events"),
                ("get", "events", "-o", "wide"),
                ("get", "events.v1.events.k8s.io"),
                ("events",),
                ("events", "--for=configmap/app"),
                ("describe", "configmap/app"),
            )
        ]
        told.append(answers)
    found = differences(told[0], told[1])
    assert not found, "\n".join(found)
