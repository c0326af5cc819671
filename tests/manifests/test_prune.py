"""Generations in a real cluster: what names one, what may go, and what may never."""

from __future__ import annotations

import asyncio
import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from reroll.kube.client import Client
from reroll.kube.config import load_config
from reroll.kube.errors import Forbidden
from reroll.manifests.hash_names import BASE_NAME, GENERATED
from reroll.manifests.prune import _MUST_BE_READ, Base, Found, delete_unused, survey
from tests.conftest import Cluster, Kubectl

SUFFIXES = ("22222bbbbb", "44444ccccc", "55555ddddd", "66666fffff", "77777ggggg")


def generation(base: str, suffix: str, kind: str = "ConfigMap", **metadata: Any) -> dict[str, Any]:
    marks = {"labels": {GENERATED: "true"}, "annotations": {BASE_NAME: base}}
    content = {"stringData": {"k": "s3cret"}} if kind == "Secret" else {"data": {"k": "v"}}
    return {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {"name": f"{base}-{suffix}", **marks, **metadata},
        "immutable": True,
        **content,
    }


def pod_spec(**names: str) -> dict[str, Any]:
    references = [{f"{kind}Ref": {"name": name}} for kind, name in names.items()]
    return {"containers": [{"name": "a", "image": "a", "envFrom": references}]}


def template(**names: str) -> dict[str, Any]:
    return {"metadata": {"labels": {"app": "a"}}, "spec": pod_spec(**names)}


class Stage:
    """A namespace in which objects are made one after the other, and looked through."""

    def __init__(self, cluster: Cluster, kubectl: Kubectl, namespace: str) -> None:
        self.cluster = cluster
        self.kubectl = kubectl
        self.namespace = namespace

    def create(self, *objects: dict[str, Any]) -> None:
        listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("-n", self.namespace, "create", "-f", "-", input=json.dumps(listed))

    def then(self, *objects: dict[str, Any]) -> None:
        """In a later second: creation times are whole seconds."""
        time.sleep(1.1 - time.time() % 1)
        self.create(*objects)

    async def look(self, *bases: Base, min_age: float = 0.0, now: float | None = None) -> Found:
        async with Client(load_config(kubeconfig=str(self.cluster.kubeconfig))) as client:
            return await survey(
                client,
                now=time.time() + 5 if now is None else now,
                namespaces=(self.namespace,),
                bases=bases,
                min_age=min_age,
            )

    async def delete(self, found: Found) -> dict[str, str]:
        async with Client(load_config(kubeconfig=str(self.cluster.kubeconfig))) as client:
            return states(await delete_unused(client, found))

    def there(self, kind: str = "configmap") -> set[str]:
        names = self.kubectl("-n", self.namespace, "get", kind, "-o", "name").split()
        return {name.partition("/")[2] for name in names} - {"kube-root-ca.crt"}


def states(found: Found) -> dict[str, str]:
    return {one.name: one.state for one in found.generations}


@pytest.fixture
def stage(cluster: Cluster, kubectl: Kubectl, namespace: str) -> Stage:
    return Stage(cluster, kubectl, namespace)


async def test_what_nothing_names_goes(stage: Stage) -> None:
    a, b, c, *_ = SUFFIXES
    stage.create(generation("app", a), generation("pw", a, "Secret"))
    stage.then(generation("app", b), generation("pw", b, "Secret"))
    stage.then(generation("app", c), generation("pw", c, "Secret"))
    replicas = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "old"}}
    selector = {"matchLabels": {"app": "a"}}
    spec = {"replicas": 0, "selector": selector, "template": template(configMap=f"app-{b}", secret=f"pw-{b}")}
    stage.create(replicas | {"spec": spec})
    found = await stage.look()
    assert states(found) == {
        f"app-{a}": "unused",
        f"app-{b}": "named",
        f"app-{c}": "newest",
        f"pw-{a}": "unused",
        f"pw-{b}": "named",
        f"pw-{c}": "newest",
    }
    assert {one.named_by for one in found.generations if one.state == "named"} == {("replicaset/old",)}
    assert {one.base for one in found.generations} == {"app", "pw"}
    assert found.unreadable == ()
    assert b"s3cret" not in msgspec.json.encode(found)
    done = await stage.delete(found)
    assert {name for name, state in done.items() if state == "deleted"} == {f"app-{a}", f"pw-{a}"}
    assert stage.there() == {f"app-{b}", f"app-{c}"}
    assert stage.there("secret") == {f"pw-{b}", f"pw-{c}"}
    assert set(states(await stage.look()).values()) == {"named", "newest"}


WITH_TEMPLATES: dict[str, dict[str, Any]] = {
    "controllerrevisions": {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "revision": 1,
        "data": {"spec": {"template": template(configMap="NAME")}},
    },
    "deployments": {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "a"}},
            "template": template(configMap="NAME"),
        },
    },
    "statefulsets": {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "spec": {
            "replicas": 0,
            "serviceName": "a",
            "selector": {"matchLabels": {"app": "a"}},
            "template": template(configMap="NAME"),
        },
    },
    "daemonsets": {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "spec": {"selector": {"matchLabels": {"app": "a"}}, "template": template(configMap="NAME")},
    },
    "cronjobs": {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "spec": {
            "schedule": "0 0 1 1 *",
            "jobTemplate": {
                "spec": {"template": {"spec": pod_spec(configMap="NAME") | {"restartPolicy": "Never"}}}
            },
        },
    },
    "pods": {"apiVersion": "v1", "kind": "Pod", "spec": pod_spec(configMap="NAME")},
    "podtemplates": {"apiVersion": "v1", "kind": "PodTemplate", "template": template(configMap="NAME")},
    "ingresses": {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"annotations": {"nginx.ingress.kubernetes.io/fastcgi-params-configmap": "NAME"}},
        "spec": {"defaultBackend": {"service": {"name": "a", "port": {"number": 80}}}},
    },
    "an argument": {
        "apiVersion": "v1",
        "kind": "Pod",
        "spec": {"containers": [{"name": "a", "image": "a", "args": ["--config=shop/NAME,x"]}]},
    },
    "another ConfigMap": {"apiVersion": "v1", "kind": "ConfigMap", "data": {"operator.yaml": "use: NAME\n"}},
    "a role": {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "rules": [
            {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["NAME"], "verbs": ["get"]}
        ],
    },
}


@pytest.mark.parametrize("where", WITH_TEMPLATES)
async def test_what_something_names_stays(stage: Stage, where: str) -> None:
    stage.create(generation("app", SUFFIXES[0]), generation("app", SUFFIXES[1]))
    name = f"app-{SUFFIXES[0]}"
    namer = json.loads(json.dumps(WITH_TEMPLATES[where]).replace("NAME", name))
    namer["metadata"] = {"name": "namer"} | namer.get("metadata", {})
    stage.then(generation("app", SUFFIXES[2]), namer)
    found = await stage.look()
    assert states(found) == {name: "named", f"app-{SUFFIXES[1]}": "unused", f"app-{SUFFIXES[2]}": "newest"}
    (by,) = [one.named_by for one in found.generations if one.name == name]
    assert f"{namer['kind'].lower()}/namer" in by
    await stage.delete(found)
    assert stage.there() - {"namer"} == {name, f"app-{SUFFIXES[2]}"}


async def test_what_was_not_opted_in_stays(stage: Stage) -> None:
    old, new = SUFFIXES[:2]
    plain = generation("made", old)
    del plain["metadata"]["labels"], plain["metadata"]["annotations"]
    copied = generation("other", old)
    copied["metadata"]["name"] = f"hand-{old}"  # somebody copied the marks
    unhashed = generation("app", old)
    unhashed["metadata"]["name"] = "app"
    stage.create(plain, copied, unhashed)
    later = generation("made", new)
    later["metadata"].pop("labels")
    stage.then(later, generation("hand", new), generation("other", new))
    assert set(states(await stage.look())) == {f"hand-{new}", f"other-{new}"}
    found = await stage.look(Base("ConfigMap", "made"))
    assert states(found)[f"made-{old}"] == "unused"
    assert states(found)[f"made-{new}"] == "newest"
    assert states(await stage.look(Base("Secret", "made"), Base("ConfigMap", "mad"))).keys() == {
        f"hand-{new}",
        f"other-{new}",
    }
    await stage.delete(found)
    assert stage.there() == {"app", f"hand-{old}", f"hand-{new}", f"other-{new}", f"made-{new}"}


async def test_the_young_and_the_owned_stay(stage: Stage) -> None:
    owner: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owner"}}
    stage.create(generation("app", SUFFIXES[0]), owner)
    made = json.loads(stage.kubectl("-n", stage.namespace, "get", "configmap", "owner", "-o", "json"))
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": made["metadata"]["uid"]}
    stage.then(generation("app", SUFFIXES[1]), generation("owned", SUFFIXES[0], ownerReferences=[owner]))
    assert states(await stage.look(min_age=600)) == {
        f"app-{SUFFIXES[0]}": "young",
        f"app-{SUFFIXES[1]}": "newest",
    }
    assert states(await stage.look(min_age=600, now=time.time() + 700))[f"app-{SUFFIXES[0]}"] == "unused"


async def test_what_changed_meanwhile_stays(stage: Stage) -> None:
    stage.create(generation("app", SUFFIXES[0]), generation("app", SUFFIXES[1]))
    stage.then(generation("app", SUFFIXES[2]))
    found = await stage.look()
    stage.kubectl("-n", stage.namespace, "annotate", "cm", f"app-{SUFFIXES[0]}", "a=b")
    stage.kubectl("-n", stage.namespace, "delete", "cm", f"app-{SUFFIXES[1]}")
    assert await stage.delete(found) == {
        f"app-{SUFFIXES[0]}": "changed",
        f"app-{SUFFIXES[1]}": "changed",
        f"app-{SUFFIXES[2]}": "newest",
    }
    assert f"app-{SUFFIXES[0]}" in stage.there()


async def test_its_own_name_on_itself_is_no_reason_to_stay(stage: Stage) -> None:
    """Deploy tools write it there: kubectl the whole object, Argo CD what it tracks."""
    old = generation("app", SUFFIXES[0])
    tracked = f"shop:/ConfigMap:{stage.namespace}/app-{SUFFIXES[0]}"
    old["metadata"]["annotations"] |= {"argocd.argoproj.io/tracking-id": tracked}
    stage.kubectl("-n", stage.namespace, "apply", "-f", "-", input=json.dumps(old))
    stage.then(generation("app", SUFFIXES[1]))
    assert states(await stage.look()) == {f"app-{SUFFIXES[0]}": "unused", f"app-{SUFFIXES[1]}": "newest"}


def custom_resource(kind: str, version: str) -> dict[str, Any]:
    """A definition whose objects hold anything."""
    plural = f"{kind.lower()}s"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.prune.example.com"},
        "spec": {
            "group": "prune.example.com",
            "names": {"kind": kind, "plural": plural},
            "scope": "Namespaced",
            "versions": [
                {"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
            ],
        },
    }


async def test_a_kind_of_an_old_version_of_its_group_is_looked_through(
    stage: Stage, kubectl: Kubectl
) -> None:
    """As Istio's EnvoyFilter, which is in v1alpha3 while the group's preferred version is v1."""
    definitions = [custom_resource("Gate", "v1"), custom_resource("Filter", "v1alpha3")]
    names = [f"customresourcedefinition/{one['metadata']['name']}" for one in definitions]
    kubectl("create", "-f", "-", input="\n---\n".join(map(json.dumps, definitions)))
    try:
        kubectl("wait", "--for=condition=Established", "--timeout=60s", *names)
        stage.create(generation("app", SUFFIXES[0]))
        namer = {
            "apiVersion": "prune.example.com/v1alpha3",
            "kind": "Filter",
            "metadata": {"name": "namer"},
            "spec": {"config": f"app-{SUFFIXES[0]}"},
        }
        stage.then(generation("app", SUFFIXES[1]), namer)
        (old, _) = (await stage.look()).generations
        assert (old.state, old.named_by) == ("named", ("filter/namer",))
    finally:
        kubectl("delete", *names)


async def test_other_namespaces_are_not_touched(stage: Stage, cluster: Cluster, kubectl: Kubectl) -> None:
    """Equal content has equal names in every namespace: a pod here does not keep what is there."""
    other = f"{stage.namespace}-other"
    kubectl("create", "namespace", other)
    try:
        there = Stage(cluster, kubectl, other)
        for each in (stage, there):
            each.create(generation("app", SUFFIXES[0]))
        for each in (stage, there):
            each.then(generation("app", SUFFIXES[1]))
        stage.create({"metadata": {"name": "x"}, **json.loads(json.dumps(WITH_TEMPLATES["pods"]).replace(
            "NAME", f"app-{SUFFIXES[0]}"))})  # fmt: skip
        async with Client(load_config(kubeconfig=str(cluster.kubeconfig))) as client:
            both = await survey(client, now=time.time() + 5, namespaces=(stage.namespace, other))
        assert [(one.namespace, one.state) for one in both.generations] == [
            (stage.namespace, "named"),
            (stage.namespace, "newest"),
            (other, "unused"),
            (other, "newest"),
        ]
        await there.delete(await there.look())
        assert there.there() == {f"app-{SUFFIXES[1]}"}
        # What tells the namespace too, such as an argument NAMESPACE/NAME, means this one.
        there.create(generation("app", SUFFIXES[0]))
        stage.create(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "y"},
                "spec": {
                    "containers": [
                        {"name": "a", "image": "a", "args": [f"--default={other}/app-{SUFFIXES[0]}"]}
                    ]
                },
            }
        )
        async with Client(load_config(kubeconfig=str(cluster.kubeconfig))) as client:
            both = await survey(client, now=time.time() + 5, namespaces=(stage.namespace, other))
        by = {(one.namespace, one.name): one.named_by for one in both.generations}
        assert by[other, f"app-{SUFFIXES[0]}"] == ("pod/y",)
        assert stage.there() == {f"app-{SUFFIXES[0]}", f"app-{SUFFIXES[1]}"}
    finally:
        kubectl("delete", "namespace", other, "--wait=false")


def as_account(stage: Stage, folder: Path, *resources: str) -> Path:
    """A kubeconfig of a ServiceAccount that may list these."""
    account = "reader-" + str(len(resources))
    run = partial(stage.kubectl, "-n", stage.namespace)
    run("create", "serviceaccount", account)
    if resources:
        run("create", "role", account, "--verb=list", f"--resource={','.join(resources)}")
        run(
            "create",
            "rolebinding",
            account,
            f"--role={account}",
            f"--serviceaccount={stage.namespace}:{account}",
        )
    config = json.loads(stage.kubectl("config", "view", "--raw", "--flatten", "-o", "json"))
    token = run("create", "token", account).strip()
    config["users"] = [{"name": user["name"], "user": {"token": token}} for user in config["users"]]
    file = folder / account
    file.write_text(json.dumps(config))
    return file


async def test_what_may_not_be_read_is_told(stage: Stage, tmp_path: Path) -> None:
    stage.create(generation("app", SUFFIXES[0]))
    needed = sorted(_MUST_BE_READ)
    enough = as_account(stage, tmp_path, "configmaps", "secrets", *needed)
    too_little = as_account(
        stage, tmp_path, "configmaps", "secrets", *(one for one in needed if one != "pods")
    )
    async with Client(load_config(kubeconfig=str(enough))) as client:
        found = await survey(client, now=time.time(), namespaces=(stage.namespace,))
        assert "ingresses.networking.k8s.io" in found.unreadable
        assert "persistentvolumes" in found.unreadable
        assert not set(found.unreadable) & {*_MUST_BE_READ, "configmaps", "secrets"}
    async with Client(load_config(kubeconfig=str(too_little))) as client:
        with pytest.raises(Forbidden, match="pods"):
            await survey(client, now=time.time(), namespaces=(stage.namespace,))
    await asyncio.sleep(0.2)  # connections say goodbye
